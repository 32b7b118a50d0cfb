"""What all tests share: the environment of the notebooks, and a course to damage."""

import os

import pytest
from little_course import Course

from tools.ensure_bubblewrap import REASON, works
from tools.environment import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before anything imports torch


@pytest.fixture(scope="session")
def bubblewrap():
    """There is a sandbox; else the test is skipped, which fails with CI=true."""
    if not works():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(REASON)


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path)
