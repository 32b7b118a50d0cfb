"""What all tests share: the environment of the notebooks, and a course to damage."""

import os

import pytest
from little_course import Course

from tools.environment import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before anything imports torch


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path)
