"""tfcourse.notebook.same_arithmetic: true in the environment of the tests, only there."""

from tfcourse.notebook import same_arithmetic
from tools.environment import ENVIRONMENT, MEASURING


def test_only_the_environment_of_the_stored_outputs_computes_the_same(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    assert same_arithmetic()
    for name in ENVIRONMENT.keys() - MEASURING.keys():
        monkeypatch.delenv(name)
    assert not same_arithmetic()
