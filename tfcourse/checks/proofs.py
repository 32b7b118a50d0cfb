"""Proofs that the checks are right: answers, right and wrong, and what each is told.

tests/answers/NN_<module>.py holds them. A function with a docstring (for a wrong
answer, the mistake in words) returns what a learner would have defined: one function
or class, or a dict of names.

    @wrong("01-1", says="the norm of them all together")
    def each_on_its_own():
        \"\"\"Clips each tensor by its own norm.\"\"\"

        def clip(gradients, limit): ...

        return clip
"""

import contextlib
import functools
import importlib.util
import io
import json
import linecache
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from tfcourse.checks.answers import Notebook
from tfcourse.checks.registry import Exercise, exercises_of, find
from tfcourse.checks.verdict import Verdict
from tfcourse.notebook.chapters import CHAPTERS, Chapter

SEEDS = (None, 1, 2, 3)  # None: the inputs that learners meet
OUTCOMES = {  # what an answer of each kind must be told
    "solution": ("right",),
    "stub": ("unwritten",),
    "right": ("right",),
    "wrong": ("wrong", "error"),
}
NEEDED = {"code": (1, 3), "prediction": (0, 1), "measurement": (1, 2)}  # right, wrong
_declared: list["Proof"] = []


@dataclass(frozen=True)
class Proof:
    """One answer to one exercise, and what its check must say to it."""

    id: str
    kind: str
    name: str
    answer: Callable[[], dict]
    words: str = ""
    says: str = ""

    def __str__(self):
        return f"{self.id} {self.kind} {self.name}".strip()

    def verdict(self, seed: int | None = None) -> Verdict:
        """What the check says to this answer."""
        with quietly():
            return find(self.id).judge(Notebook(self.answer()), seed)


def right(id: str):
    """Declare another right answer to exercise `id`."""
    return _declaration(id, "right", "")


def wrong(id: str, *, says: str):
    """Declare a wrong answer, and a part of the reply that it must get."""
    if not says.strip():
        raise ValueError(f"@wrong({id!r}): says must be a part of the reply; got ''")
    return _declaration(id, "wrong", says)


def _declaration(id: str, kind: str, says: str):
    def declare(function):
        name, words = function.__name__, " ".join((function.__doc__ or "").split())
        if not words:
            raise ValueError(
                f"@{kind}({id!r}): {name} needs a docstring: the answer in words"
            )
        answer = functools.partial(_names, function)
        _declared.append(Proof(id, kind, name, answer, words, says))
        return function

    return declare


def _names(function: Callable) -> dict:
    answer = function()
    return answer if isinstance(answer, dict) else {answer.__name__: answer}


def load(path: Path) -> list[Proof]:
    """The answers that a file of tests/answers declares, in its order."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: a written chapter has its checks proved there"
        )
    _declared.clear()
    spec = importlib.util.spec_from_file_location(f"answers_{path.stem}", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return list(_declared)


def written(root: Path, chapters: Iterable[Chapter] = CHAPTERS) -> list[Chapter]:
    """The chapters that are on disk."""
    return [c for c in chapters if (root / "chapters" / f"{c.stem}.ipynb").exists()]


def answers_file(chapter: Chapter, root: Path) -> Path:
    """Where a chapter's answers are declared."""
    return root / "tests" / "answers" / f"{chapter.stem}.py"


def proofs_of(chapter: Chapter, root: Path) -> list[Proof]:
    """For each exercise its solution and its stub; then the declared answers."""
    file = answers_file(chapter, root)
    declared, known = load(file), {e.id for e in exercises_of(chapter)}
    for proof in declared:
        if proof.id not in known:
            raise ValueError(f"{file}: {proof.name} answers {proof.id!r}: no such id")
    notebooks = [
        Proof(id, kind, "", functools.partial(run_notebook, root / folder / name))
        for name in [f"{chapter.stem}.ipynb"]
        for id in sorted(known)
        for kind, folder in (("solution", "solutions"), ("stub", "exercises"))
    ]
    return notebooks + declared


def prove(proof: Proof) -> None:
    """AssertionError unless the check tells this answer, for each seed, what it must."""
    for seed in SEEDS:
        verdict = proof.verdict(seed)
        told = f"{proof} (seed {seed}): the check says\n{verdict!r}"
        expected = OUTCOMES[proof.kind]
        if verdict.status not in expected:
            raise AssertionError(
                f"{told}\nwhere it must be {' or '.join(expected)}"
            ) from verdict.cause
        if proof.says not in verdict.text:
            raise AssertionError(f"{told}\nwhere it must say {proof.says!r}")


def incomplete(exercise: Exercise, proofs: Iterable[Proof]) -> list[str]:
    """What is still missing before this exercise's check counts as proved."""
    mine = [p for p in proofs if p.id == exercise.id]
    rights = [p for p in mine if p.kind == "right"]
    wrongs = [p for p in mine if p.kind == "wrong"]
    needs = zip(
        ("right", "wrong"), NEEDED[exercise.kind], (rights, wrongs), strict=True
    )
    found = [
        f"{exercise.id} needs {need} @{kind} or more, as it is a {exercise.kind} "
        f"exercise; it has {len(have)}"
        for kind, need, have in needs
        if len(have) < need
    ]
    found += _alike(wrongs, "says", [p.says for p in wrongs])
    # a reply without what was seen: other numbers make no hint of one's own
    found += _alike(wrongs, "reply", [p.verdict().says for p in wrongs])
    if exercise.kind == "prediction":
        replied = {v for p in wrongs for v in p.answer().values() if isinstance(v, str)}
        left = [c for c in exercise.choices if c not in replied]
        if len(left) != 1:
            found.append(
                f"{exercise.id} needs an @wrong for each wrong choice, so that one is "
                f"left; left are {', '.join(left) or 'none'}"
            )
    return found


def _alike(proofs: list[Proof], what: str, texts: list[str]) -> list[str]:
    first: dict[str, str] = {}
    return [
        f"{proof}: the same {what} as {first[text]}: {text!r}"
        for proof, text in zip(proofs, texts, strict=True)
        if first.setdefault(text, proof.name) != proof.name
    ]


class Row(NamedTuple):
    """A line of the instructors' table: a mistake, and the reply it gets."""

    id: str
    title: str
    words: str
    reply: str


def rows(root: Path, chapters: Iterable[Chapter] = CHAPTERS) -> Iterator[Row]:
    """Every wrong answer that the checks of the written chapters are proved to catch."""
    for chapter in written(root, chapters):
        for proof in proofs_of(chapter, root):
            if proof.kind == "wrong":
                verdict = proof.verdict()
                yield Row(proof.id, verdict.title, proof.words, verdict.text)


@functools.cache
def run_notebook(path: Path) -> dict:
    """What a notebook's cells define, run in order in one namespace.

    Calls of `check` do nothing there. A cell may stop at an untouched stub, or where
    it is tagged raises-exception.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: a written chapter has it")
    names = {"__name__": "__main__"}
    inert = mock.patch("tfcourse.checks.check", lambda *_, **__: None)
    with quietly(), inert:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for number, cell in enumerate(cells, start=1):
            if cell["cell_type"] == "code":
                _run_cell(cell, f"{path}, cell {number}", names)
    return names


def _run_cell(cell: dict, place: str, names: dict) -> None:
    source = "".join(cell["source"])
    lines = source.splitlines(keepends=True)
    linecache.cache[place] = (len(source), None, lines, place)  # for messages
    try:
        exec(compile(source, place, "exec"), names)  # noqa: S102 - our notebooks
    except NotImplementedError:
        pass
    except Exception as error:
        if "raises-exception" not in cell["metadata"].get("tags", ()):
            raise AssertionError(f"{place}: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def quietly():
    """Without the output and the warnings of answers."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
