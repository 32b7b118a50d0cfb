"""Checks of the exercises: `check("01-1")` looks at what the notebook defines.

Each chapter's checks are a module of this package, named like the chapter's first
module and imported when one of its exercises is first checked.
"""

import sys

from tfcourse.checks.answers import Answer, Notebook, gradients
from tfcourse.checks.compare import Finding, Mistake, close, describe, differs
from tfcourse.checks.drawing import Draw
from tfcourse.checks.registry import Exercise, exercise, exercises_of, find
from tfcourse.checks.verdict import Verdict

__all__ = [
    "Answer",
    "Draw",
    "Exercise",
    "Finding",
    "Mistake",
    "Notebook",
    "Verdict",
    "check",
    "close",
    "describe",
    "differs",
    "exercise",
    "exercises_of",
    "find",
    "gradients",
]


def check(id: str) -> Verdict:
    """Judge the answer that the calling notebook holds for this exercise.

    A mistake in the answer never raises here: the verdict says what was seen.
    """
    try:
        found = find(id)
    except ValueError as error:
        return Verdict(str(id), "", "missing", says=str(error))
    return found.judge(Notebook(sys._getframe(1).f_globals))
