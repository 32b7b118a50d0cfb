"""Each check of the course, proved by right and wrong answers; and the proving itself.

The first tests run over the chapters that are written. The others plant a chapter of
their own, whole or with one fault, and hold for a course that has no chapter yet.
"""

import sys
import zlib
from pathlib import Path
from types import ModuleType

import pytest
from nbformat import v4

from tfcourse.checks import (
    Draw,
    Mistake,
    close,
    exercise,
    exercises_of,
    proofs,
    registry,
)
from tfcourse.checks.proofs import incomplete, proofs_of, prove, right, wrong
from tfcourse.notebook.chapters import Chapter

ROOT = Path(__file__).parents[1]
WRITTEN = proofs.written(ROOT)
PROVABLE = [c for c in WRITTEN if proofs.answers_file(c, ROOT).exists()]


@pytest.mark.parametrize("chapter", WRITTEN, ids=lambda c: c.stem)
def test_the_checks_of_a_chapter_are_proved_completely(chapter):
    exercises, answers = exercises_of(chapter), proofs_of(chapter, ROOT)
    assert exercises, f"tfcourse/checks/{chapter.modules[0]}.py registers no exercise"
    assert [fault for e in exercises for fault in incomplete(e, answers)] == []
    homes = {e.function.__module__ for e in exercises}
    assert homes == {f"tfcourse.checks.{chapter.modules[0]}"}


@pytest.mark.parametrize(
    "proof", [p for c in PROVABLE for p in proofs_of(c, ROOT)], ids=str
)
def test_the_check_says_what_it_must(proof):
    prove(proof)


def test_every_file_of_answers_belongs_to_a_written_chapter():
    files = {path.name for path in (ROOT / "tests/answers").glob("*.py")}
    assert files <= {f"{chapter.stem}.py" for chapter in WRITTEN}


# a planted chapter

CHAPTER = Chapter(77, "Planted", "Part", ("planted",), "Z")
SETTING = {"minutes": 5, "difficulty": 1, "points": 2}
SOLUTION = (
    "from tfcourse.checks import check",
    "def double(x):\n    return x + x",
    'check("77-1")',
    'guess = "a"',
    'check("77-2")',
    "rates = [1.0, 0.5]",
    'check("77-3")',
)
STUB = (
    "from tfcourse.checks import check",
    "def double(x):\n    raise NotImplementedError",
    'check("77-1")',
    "guess = None",
    'check("77-2")',
    "rates = None",
    'check("77-3")',
    "double(3)",  # a cell that stops at the stub
)
ANSWERS = '''
from tfcourse.checks.proofs import right, wrong


@right("77-1")
def times_two():
    """Multiplies."""
    return {"double": lambda x: 2 * x}


@wrong("77-1", says="Squared")
def square():
    """Squares
    the input."""

    def double(x):
        return x * x

    return double


@wrong("77-1", says="first")
def unchanged():
    """Returns the input."""
    return {"double": lambda x: x}


@wrong("77-1", says="TypeError")
def misses_an_argument():
    """Takes no argument."""
    return {"double": lambda: None}


@wrong("77-2", says="never b")
def b():
    """Takes the factor for a sum."""
    return {"guess": "b"}


@right("77-3")
def a_tuple():
    """The rates as a tuple."""
    return {"rates": (1.0, 0.5)}


@wrong("77-3", says="expected 0.5 at")
def constant():
    """The first rate again."""
    return {"rates": [1.0, 1.0]}


@wrong("77-3", says="two")
def one():
    """Only the first rate."""
    return {"rates": [1.0]}
'''


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """The root of a course whose only chapter has three exercises, all proved."""
    monkeypatch.setattr(registry, "REGISTRY", {})
    name = "tfcourse.checks.planted"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))

    @exercise("77-1", title="Double", **SETTING)
    def _(answer, draw):
        x = draw.uniform(3, 4)
        got = answer.double(x)
        if got == x * x:
            raise Mistake("Squared, not doubled.")
        close(got, x + x, says="Look at the first line again.")

    @exercise("77-2", title="Guess", kind="prediction", choices=("a", "b"), **SETTING)
    def _(answer, draw):
        if answer.choice("guess") == "b":
            raise Mistake("It is never b.")

    @exercise("77-3", title="Rates", kind="measurement", **SETTING)
    def _(answer, draw):
        rates = answer.value("rates")
        if len(rates) != 2:
            raise Mistake("There are two rates.")
        close(rates, [1.0, 0.5], says="It halves.")

    write(tmp_path, "chapters", ())
    write(tmp_path, "solutions", SOLUTION)
    write(tmp_path, "exercises", STUB)
    answers(tmp_path, ANSWERS)
    return tmp_path


def write(root, folder, cells):
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in cells])
    (root / folder).mkdir(exist_ok=True)
    path = root / folder / f"{CHAPTER.stem}.ipynb"
    path.write_text(v4.writes(notebook), encoding="utf-8")
    proofs.run_notebook.cache_clear()


def answers(root, text):
    file = proofs.answers_file(CHAPTER, root)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def faults(root):
    """What the tests over the written chapters would find here."""
    found = []
    for proof in (every := proofs_of(CHAPTER, root)):
        try:
            prove(proof)
        except (AssertionError, FileNotFoundError) as error:
            found.append(str(error))
    return found + [f for e in exercises_of(CHAPTER) for f in incomplete(e, every)]


def test_a_planted_chapter_is_proved(planted):
    assert proofs.written(planted, [CHAPTER]) == [CHAPTER]
    assert [str(p) for p in proofs_of(CHAPTER, planted)][:3] == [
        "77-1 solution",
        "77-1 stub",
        "77-2 solution",
    ]
    assert len(proofs_of(CHAPTER, planted)) == 2 * 3 + 8
    assert faults(planted) == []


def test_the_table_of_wrong_answers(planted):
    rows = list(proofs.rows(planted, [CHAPTER]))
    assert [row.id for row in rows] == ["77-1"] * 3 + ["77-2"] + ["77-3"] * 2
    assert rows[0] == ("77-1", "Double", "Squares the input.", "Squared, not doubled.")


def planting(text, old, new):
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("return x * x", "return x + x", "77-1 wrong square (seed None)"),
        ('says="Squared"', 'says="cubed"', "where it must say 'cubed'"),
        ("2 * x", "3 * x", "77-1 right times_two (seed None): the check says"),
        ('{"guess": "b"}', '{"gess": "b"}', "Not found. `guess` is not defined"),
        ("lambda: None", "lambda x: 0 * x", "77-1 wrong misses_an_argument: the same"),
        ('says="TypeError"', 'says="first"', "the same says as unchanged: 'first'"),
        ('@right("77-1")', '@right("77-3")', "77-1 needs 1 @right or more"),
        ('@wrong("77-3", says="two")', '@right("77-3")', "77-3 needs 2 @wrong or more"),
        ('{"guess": "b"}', '{"guess": "c"}', "an @wrong for each wrong choice"),
    ],
)
def test_a_planted_answer_is_caught(planted, old, new, told):
    answers(planted, planting(ANSWERS, old, new))
    assert told in "\n".join(faults(planted))


def test_an_answer_that_is_right_for_the_first_input_only_is_caught(planted):
    x = Draw(zlib.crc32(b"77-1")).uniform(3, 4)
    answers(planted, planting(ANSWERS, "2 * x", str(2 * x)))
    (fault,) = faults(planted)
    assert fault.startswith("77-1 right times_two (seed 1): the check says")


@pytest.mark.parametrize(
    ("folder", "cells", "told"),
    [
        ("solutions", SOLUTION[:1], "77-1 solution (seed None): the check says"),
        ("solutions", ("1 / 0",), "77_planted.ipynb, cell 1: ZeroDivisionError"),
        ("solutions", ("x = (",), "77_planted.ipynb, cell 1: SyntaxError"),
        ("exercises", SOLUTION, "77-1 stub (seed None): the check says\n✓"),
        ("exercises", STUB[2:], "cell 1: NameError: name 'check' is not defined"),
        ("exercises", (STUB[0], *STUB[3:-1]), "where it must be unwritten"),
    ],
)
def test_a_planted_notebook_is_caught(planted, folder, cells, told):
    write(planted, folder, cells)
    assert told in "\n".join(faults(planted))


def test_a_cell_may_be_tagged_to_raise(planted):
    cell = v4.new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
    path = planted / "solutions" / f"{CHAPTER.stem}.ipynb"
    notebook = v4.reads(path.read_text("utf-8"))
    notebook.cells.insert(0, cell)
    path.write_text(v4.writes(notebook), "utf-8")
    assert faults(planted) == []


def test_missing_files_are_named(planted):
    (planted / "exercises" / f"{CHAPTER.stem}.ipynb").unlink()
    assert "77_planted.ipynb is missing" in "\n".join(faults(planted))
    proofs.answers_file(CHAPTER, planted).unlink()
    with pytest.raises(FileNotFoundError, match="77_planted.py is missing"):
        proofs_of(CHAPTER, planted)


def test_answers_to_unknown_exercises_are_refused(planted):
    answers(planted, planting(ANSWERS, '@right("77-1")', '@right("77-9")'))
    with pytest.raises(ValueError, match="times_two answers '77-9'"):
        proofs_of(CHAPTER, planted)


def test_declarations_need_words():
    with pytest.raises(ValueError, match="nameless needs a docstring"):

        @right("77-1")
        def nameless():
            pass

    with pytest.raises(ValueError, match="says must be a part of the reply"):
        wrong("77-1", says=" ")
