"""The exercises, by id: what is asked, and the function that checks an answer."""

import importlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch

from tfcourse.checks.answers import Answer
from tfcourse.checks.compare import Finding, describe, in_one_line
from tfcourse.checks.drawing import Draw
from tfcourse.checks.verdict import Verdict
from tfcourse.notebook.chapters import Chapter, by_number

KINDS = ("code", "prediction", "measurement")
ID = re.compile(r"(\d\d)-[1-9]\d*")
REGISTRY: dict[str, "Exercise"] = {}


@dataclass(frozen=True)
class Exercise:
    """One exercise; `function(answer, draw)` raises a Mistake for the first it sees.

    What the function returns, if anything, is said to a learner who is right.
    """

    id: str
    title: str
    kind: str
    minutes: int
    difficulty: int
    points: int
    choices: tuple[str, ...]
    function: Callable[[Answer, Draw], str | None]

    def __post_init__(self):
        self._require(ID.fullmatch(self.id), "id", 'like "01-2": chapter, number')
        self._require(self.title.strip(), "title", "a few words")
        self._require(self.kind in KINDS, "kind", f"one of {', '.join(KINDS)}")
        self._require(self.difficulty in range(1, 6), "difficulty", "1 to 5")
        for name in ("minutes", "points"):
            number = getattr(self, name)
            whole = isinstance(number, int) and number > 0
            self._require(whole, name, "a whole number above 0")
        enough = len(set(self.choices)) == len(self.choices) >= 2
        if self.kind == "prediction":
            self._require(enough, "choices", "two or more, all different")
        else:
            self._require(not self.choices, "choices", "empty but for a prediction")

    def _require(self, met: object, name: str, need: str) -> None:
        if not met:
            raise ValueError(
                f"exercise {self.id!r}: {name} must be {need}; "
                f"got {name}={getattr(self, name)!r}"
            )

    @property
    def place(self) -> str:
        """File and line of the check, for error messages."""
        code = self.function.__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    def judge(self, learner, seed: int | None = None) -> Verdict:
        """The verdict on what `learner` (a Notebook, or a proxy of one) defines.

        Without a seed the inputs are fixed by the id, so that a learner who changes
        nothing is told the same thing again.
        """
        seed = zlib.crc32(self.id.encode()) if seed is None else seed
        answer = Answer(learner, self.choices)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                reply = self.function(answer, Draw(seed))
        except Finding as found:
            return Verdict(
                self.id,
                self.title,
                found.status,
                found.says,
                found.seen,
                self._given(found, answer),
            )
        except Exception as error:  # noqa: BLE001 - the check could not use an answer
            return self._stumbled(error, answer)
        return Verdict(self.id, self.title, "right", says=reply or "")

    def _given(self, found: Finding, answer: Answer) -> str:
        if found.status in ("missing", "unwritten"):  # whatever the input
            return ""
        return answer.last_call if found.given is None else told(found.given)

    def _stumbled(self, error: Exception, answer: Answer) -> Verdict:
        what = in_one_line(error)
        if answer.came_back:
            status, says = "wrong", f"The check could not go on from there ({what})."
        else:
            status, says = "error", f"The check itself failed ({what}): please tell us."
        seen, given = answer.came_back, answer.last_call
        return Verdict(self.id, self.title, status, says, seen, given, error)


def told(given: object) -> str:
    """The input that showed a mistake, in words."""
    if isinstance(given, dict):
        return ", ".join(f"{name} = {describe(v)}" for name, v in given.items())
    return given if isinstance(given, str) else describe(given)


def exercise(
    id: str,
    *,
    title: str,
    kind: str = "code",
    minutes: int,
    difficulty: int,
    points: int,
    choices: tuple[str, ...] = (),
):
    """Register the decorated function as the check of exercise `id`."""

    def register(function):
        new = Exercise(
            id, title, kind, minutes, difficulty, points, tuple(choices), function
        )
        old = REGISTRY.get(id)
        if old and old.place != new.place:  # the same place again is a reload
            raise ValueError(
                f"exercise {id!r} is registered twice: {old.place} and {new.place}"
            )
        REGISTRY[id] = new
        return function

    return register


def exercises_of(chapter: Chapter) -> tuple[Exercise, ...]:
    """The chapter's exercises in the order of their module; none if it has none yet."""
    module = f"tfcourse.checks.{chapter.modules[0]}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
    return tuple(
        e for e in REGISTRY.values() if e.id.startswith(f"{chapter.number:02}-")
    )


def find(id: str) -> Exercise:
    """The exercise of this id; ValueError, naming those that exist, where none is."""
    if id in REGISTRY:
        return REGISTRY[id]
    match = ID.fullmatch(str(id))
    if not match:
        raise ValueError(f'An exercise is named like "01-2", not {id!r}.')
    chapter = by_number(int(match[1]))
    known = {e.id: e for e in exercises_of(chapter)}
    if id not in known:
        listed = ", ".join(known) or "no exercises yet"
        raise ValueError(
            f'There is no exercise "{id}". Chapter {chapter.number} has {listed}.'
        )
    return known[id]
