"""Grading one submission: which checks it is put to, when, and what they say."""

import hashlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tfcourse.checks import Exercise, exercises_of
from tfcourse.grading.remote import Remote, Session
from tfcourse.grading.sandbox import Limits
from tfcourse.grading.submission import Submission, Unreadable, shown, steps
from tfcourse.notebook.chapters import CHAPTERS, Chapter

RANKS = ("", "missing", "unwritten", "error", "wrong", "right")
PRIVATE: dict[tuple[str, str], Exercise] = {}


@dataclass(frozen=True)
class Mark:
    """What one exercise, or one of the instructor's own tests of it, has earned."""

    id: str
    title: str
    of: int
    status: str = ""
    says: str = ""
    seen: str = ""
    given: str = ""
    private: bool = False

    @property
    def points(self) -> int:
        """All of the points where it is right; there are no halves."""
        return self.of if self.status == "right" else 0

    @property
    def column(self) -> str:
        """Its name in the table of grades."""
        return f"{self.id} {self.title}" if self.private else self.id


@dataclass(frozen=True)
class Record:
    """All that is known of a submission; `look` says why a person should look at it."""

    student: str
    marks: tuple[Mark, ...]
    notes: tuple[str, ...] = ()
    look: tuple[str, ...] = ()
    key: str = ""

    @property
    def points(self) -> int:
        return sum(mark.points for mark in self.marks)

    @property
    def of(self) -> int:
        return sum(mark.of for mark in self.marks)

    def as_json(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_json(found: dict) -> "Record":
        marks = tuple(Mark(**mark) for mark in found.pop("marks"))
        lists = {name: tuple(found.pop(name)) for name in ("notes", "look")}
        return Record(marks=marks, **lists, **found)


def private_test(id: str, *, title: str, points: int):
    """Register a test of the instructor's own: `function(answer, draw)`, as a check.

    The student reads its title and whether it passed; nothing of what it saw.
    """

    def register(function):
        (chapter,) = [c for c in CHAPTERS if f"{c.number:02}" == id[:2]]
        (asked,) = [e for e in exercises_of(chapter) if e.id == id] or [None]
        if asked is None:
            raise ValueError(f"private_test({id!r}): there is no such exercise")
        PRIVATE[id, title] = Exercise(
            id, title, asked.kind, 1, 1, points, asked.choices, function
        )
        return function

    return register


@dataclass(frozen=True)
class Plan:
    """How a chapter is graded: the same for every submission."""

    chapter: Chapter
    seed: str
    draws: int = 3
    per_student: bool = False
    limits: Limits = field(default_factory=Limits)
    tests: Path | None = None
    exercises: tuple[Exercise, ...] = ()
    private: tuple[Exercise, ...] = ()

    @staticmethod
    def of(chapter: Chapter, seed: str, *, tests: Path | None = None, **more) -> "Plan":
        """The plan, with the chapter's exercises and the tests of a file."""
        exercises = exercises_of(chapter)
        if not exercises:
            raise ValueError(f"chapter {chapter.number} has no exercises")
        PRIVATE.clear()
        if tests is not None:
            spec = importlib.util.spec_from_file_location("private_tests", tests)
            if not tests.is_file() or spec is None:
                raise ValueError(f"{tests} is no Python file: name one with --tests")
            try:
                spec.loader.exec_module(importlib.util.module_from_spec(spec))
            except Exception as error:
                raise ValueError(
                    f"{tests} stopped with {type(error).__name__}: {error}"
                ) from error
        own = {e.id for e in exercises}
        private = tuple(e for (id, _), e in PRIVATE.items() if id in own)
        return Plan(
            chapter, seed, tests=tests, exercises=exercises, private=private, **more
        )

    def blank(self) -> tuple[Mark, ...]:
        """A mark for all that is judged; the tests of an exercise stand behind it."""
        return tuple(
            Mark(e.id, e.title, e.points, private=e is not exercise)
            for exercise in self.exercises
            for e in self.tests_of(exercise)
        )

    def tests_of(self, exercise: Exercise) -> tuple[Exercise, ...]:
        """The check that learners have, and the instructor's tests."""
        return exercise, *(e for e in self.private if e.id == exercise.id)

    def seeds(self, student: str, test: Exercise) -> list[int]:
        """From which the inputs are drawn; nobody can tell them without the secret."""
        who = student if self.per_student else ""
        name = f"{self.seed}\0{who}\0{test.id}\0{test.title}"
        hashes = (
            hashlib.sha256(f"{name}\0{i}".encode()).digest() for i in range(self.draws)
        )
        return [int.from_bytes(h[:8], "big") >> 1 for h in hashes]

    def key(self) -> str:
        """A hash of all that a grade rests on, but for the submission."""
        modules = {e.function.__module__ for e in self.exercises}
        modules |= {f"tfcourse.checks.{n}" for n in ("compare", "registry", "answers")}
        texts = [inspect.getsource(sys.modules[name]) for name in sorted(modules)]
        texts += [self.tests.read_text("utf-8")] if self.tests else []
        how = (self.chapter.stem, self.seed, self.draws, self.per_student, self.limits)
        return hashlib.sha256("\0".join([repr(how), *texts]).encode()).hexdigest()


def grade(
    plan: Plan,
    submission: Submission,
    place,
    tell: Callable[[dict], None] = lambda event: None,
    known: Iterable[Mark] = (),
    given_up: Iterable[str] = (),
) -> Record:
    """Put a submission to all checks but those whose marks are known already.

    `tell` hears of each check before and after; what is `given_up` is not tried.
    """
    marks = {m.column: m for m in plan.blank()} | {m.column: m for m in known}
    kinds = {e.id: e.kind for e in plan.exercises}
    try:
        todo = steps(submission.read(), kinds)
    except Unreadable as error:
        unread = "missing", f"{error} Nothing in it could be graded."
        marks = [
            Mark(m.id, m.title, m.of, *unread, private=m.private) for m in plan.blank()
        ]
        return Record(submission.student, tuple(marks), (), (str(error),))
    session = Session(place, plan.limits)
    judging = _Judging(plan, submission.student, session, marks, tell)
    judging.settled |= {m.id for m in known} | set(given_up)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in todo:
            session.run(step)
            for id in step.judged:
                judging.judge(id)
        for id in kinds:
            judging.judge(id)
    session.close()
    look = judging.look if any(s.judged for s in todo) else [WRONG_FILE, *judging.look]
    notes = [shown(note)[:300] for note in session.notes[:20]]
    return Record(submission.student, tuple(marks.values()), tuple(notes), tuple(look))


WRONG_FILE = "No cell of it belongs to this chapter: is it the right notebook?"


class _Judging:
    """The marks of one submission as they grow: of several attempts, the best."""

    def __init__(self, plan, student, session, marks, tell):
        self._plan, self._student, self._session = plan, student, session
        self._marks, self._tell = marks, tell
        self.settled: set[str] = set()
        self.look: list[str] = []

    def judge(self, id: str) -> None:
        """Put an exercise to its check and to the instructor's tests, unless settled."""
        if id in self.settled:
            return
        (exercise,) = [e for e in self._plan.exercises if e.id == id]
        self._tell({"judging": id})
        before, mine = self._session.deaths, []
        for test in self._plan.tests_of(exercise):
            private = test is not exercise
            mark = self._mark(test, private)
            old = self._marks[mark.column]
            if RANKS.index(mark.status) > RANKS.index(old.status):
                self._marks[mark.column] = mark
            mine.append(self._marks[mark.column])
        self._tell({"judged": [asdict(mark) for mark in mine]})
        done = all(mark.status == "right" for mark in mine)
        guessed = exercise.kind != "code" and mine[0].status in ("wrong", "error")
        died = self._session.deaths > before
        if died:
            self.look.append(f"{id}: {mine[0].says}")
        if done or guessed or died:
            self.settled.add(id)

    def _mark(self, test: Exercise, private: bool) -> Mark:
        """Right where it is right for every draw; else what the first other one says."""
        verdict = None
        for seed in self._plan.seeds(self._student, test):
            verdict = test.judge(Remote(self._session), seed)
            if verdict.status != "right":
                break
        texts = [shown(t)[:600] for t in (verdict.says, verdict.seen, verdict.given)]
        if verdict.status == "error" and verdict.cause is not None:
            self.look.append(f"{test.id}: {texts[0]}")
        return Mark(test.id, test.title, test.points, verdict.status, *texts, private)
