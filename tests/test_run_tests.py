"""tools/run_tests.py goes on after a failure; tools/ensure_chromium.py finds or says why."""

import pytest

from tools import ensure_chromium, run_tests
from tools.ensure_chromium import chromium
from tools.run_tests import STEPS, Step


def test_other_steps_run_though_one_fails(capfd):
    steps = [
        Step("bad", "a module that is not there", "tools.nowhere"),
        Step("good", "one that is", "tools.environment"),
        Step("child", "one that needs the first", "tools.environment", needs="bad"),
    ]
    assert run_tests.run(steps) == ["bad", "child"]
    told = capfd.readouterr().out
    assert "FAILED bad" in told and "passed good" in told
    assert "left out, for 'bad' failed" in told


def test_a_failure_fails_the_command_and_is_named(monkeypatch, capfd):
    monkeypatch.setattr(run_tests, "STEPS", [Step("bad", "", "tools.nowhere")])
    assert run_tests.main([])
    assert "failed: bad; again: make test STEPS='bad'" in capfd.readouterr().out
    with pytest.raises(SystemExit, match="no such step: good"):
        run_tests.main(["good"])


def test_each_step_is_there_and_needs_one_before_it():
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    for place, step in enumerate(STEPS):
        assert not step.needs or step.needs in names[:place]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that is all of the PATH, and a Playwright without a browser."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ensure_chromium, "_playwrights_own", lambda: None)
    monkeypatch.setattr(ensure_chromium, "install", lambda: None)
    chromium.cache_clear()
    yield tmp_path
    chromium.cache_clear()


def browser(folder, name, status):
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {status}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_chromium_that_starts_is_found(folder):
    browser(folder, "chromium", 1)
    path = browser(folder, "google-chrome", 0)
    assert chromium() == (path, "")


def test_without_a_chromium_the_reason_is_told(folder, monkeypatch, capsys):
    browser(folder, "chromium", 1)
    path, reason = chromium()
    assert path is None and "sudo apt-get install chromium" in reason
    monkeypatch.delenv("CI", raising=False)
    assert not ensure_chromium.main()
    assert reason in capsys.readouterr().out
    monkeypatch.setenv("CI", "true")
    assert ensure_chromium.main()
