"""tools.make_exercises: nothing of an answer is left, and what is planted is caught."""

import sys
from types import ModuleType

import pytest
from little_course import code, prose
from nbformat.v4 import new_output

from tfcourse.checks import exercise, registry
from tfcourse.notebook.chapters import CHAPTERS, Chapter
from tools import make_exercises
from tools.make_exercises import check, make, orphans
from tools.notebooks import ROOT, read, write

CHAPTER = Chapter(77, "Planted", "Part", ("planted",), "Z")
MASTER, MADE = "solutions/77_planted.ipynb", "exercises/77_planted.ipynb"
PRINTED = [new_output("stream", text="the secret")]
ANSWER = """def double(x):
    # twice
    ### BEGIN SOLUTION
    secret = x + x
    return secret
    ### END SOLUTION"""


def answer_cell(source, id, grade_id, **metadata):
    """A cell that answers an exercise."""
    nbgrader = {"grade_id": grade_id, "solution": True, "grade": False}
    nbgrader |= {"locked": False, "schema_version": 3, "task": False}
    return code(source, id, nbgrader=nbgrader, count=7, outputs=PRINTED, **metadata)


def cells():
    """A whole master, by cell id."""
    made = [
        prose("## Double it\n\n```{dropdown} A hint\nAdd.\n```", "goal"),
        code("import time", "start", count=1),
        answer_cell(ANSWER, "answer", "77-1"),
        code('check("77-1")', "ask", outputs=PRINTED, count=3),
        prose("The secret is the sum.", "why"),
        answer_cell("guess = 'secret'", "guess", "77-2", stub="guess = None  # a or b"),
        code('check("77-2")', "ask-again"),
        code("time.time()", "clock", "measured", "nbval-ignore-output", measured="1f"),
        code("1 / 0", "raises", "raises-exception", "measured"),
    ]
    made[4].metadata["tags"] = ["solution-only"]
    return {cell.id: cell for cell in made}


@pytest.fixture
def planted(course, monkeypatch):
    """A course whose only chapter has two exercises."""
    monkeypatch.setattr(registry, "REGISTRY", {})
    name = "tfcourse.checks.planted"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    setting = {"title": "Planted", "minutes": 5, "difficulty": 1, "points": 2}
    for id in ("77-1", "77-2"):
        exercise(id, **setting)(lambda answer, draw: None)
    course.notebook(MASTER, *cells().values())
    return course


def test_an_exercise_is_the_master_without_its_answers(planted):
    assert make(planted.root, [CHAPTER]) == ([MADE], [])
    text = (planted.root / MADE).read_text("utf-8")
    for leaf in ("secret", "SOLUTION", "stub", '"measured"', "nbval"):
        assert leaf not in text
    made = {cell.id: cell for cell in read(planted.root / MADE).cells}
    assert list(made) == [id for id in cells() if id != "why"]
    assert made["goal"] == cells()["goal"]
    assert made["answer"].source == (
        "def double(x):\n    # twice\n    raise NotImplementedError  # your code here"
    )
    assert made["answer"].metadata == cells()["answer"].metadata
    assert made["guess"].source == "guess = None  # a or b"
    assert made["clock"].metadata == {}
    assert made["raises"].metadata == {"tags": ["raises-exception"]}
    for id, cell in made.items():
        if id != "goal":
            assert cell.outputs == [] and cell.execution_count is None


def test_a_stub_takes_the_place_of_the_whole_cell(planted):
    changed = cells()
    changed["guess"].source = "x = 1\n### BEGIN SOLUTION\nguess = x\n### END SOLUTION"
    planted.notebook(MASTER, *changed.values())
    make(planted.root, [CHAPTER])
    (made,) = (c for c in read(planted.root / MADE).cells if c.id == "guess")
    assert made.source == "guess = None  # a or b"


def test_widget_state_is_dropped(planted):
    master = read(planted.root / MASTER)
    master.metadata["widgets"] = {"state": {"1": {"secret": 1}}}
    write(master, planted.root / MASTER)
    make(planted.root, [CHAPTER])
    assert "widgets" not in read(planted.root / MADE).metadata


def test_a_second_run_changes_nothing(planted):
    make(planted.root, [CHAPTER])
    before = (planted.root / MADE).read_bytes()
    assert make(planted.root, [CHAPTER]) == ([], [])
    assert (planted.root / MADE).read_bytes() == before
    assert check(planted.root, [CHAPTER]) == []


def planted_region(changed):
    changed["answer"].source = ANSWER.replace("    ### END SOLUTION", "")


def planted_end(changed):
    changed["answer"].source = ANSWER.replace("### BEGIN SOLUTION", "### BEGN SOLUTION")


def planted_nesting(changed):
    changed["answer"].source = ANSWER.replace(
        "    return", "    ### BEGIN SOLUTION\n    return"
    )


def planted_hidden(changed):
    changed["ask"].source += "\n### BEGIN HIDDEN TESTS\nassert double(3) == 6"


def planted_plain(changed):
    changed["answer"].source = "def double(x):\n    return 2 * x"


def planted_homeless(changed):
    del changed["answer"].metadata["nbgrader"]


def planted_unasked(changed):
    del changed["ask"]


def planted_last_unasked(changed):
    del changed["ask-again"]


def planted_other_question(changed):
    changed["ask"].source = "check('77-3')"


def planted_twice(changed):
    changed["again"] = answer_cell(ANSWER, "again", "77-1")
    changed["ask-once-more"] = code('check("77-1")', "ask-once-more")


def planted_unregistered(changed):
    changed["answer"].metadata.nbgrader.grade_id = "77-3"
    changed["ask"].source = 'check("77-3")'


HERE = f"{MASTER} cell 2 (id answer): "


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (planted_region, HERE + "each BEGIN SOLUTION needs its END SOLUTION"),
        (planted_end, HERE + "each BEGIN SOLUTION needs its END SOLUTION"),
        (planted_nesting, HERE + "each BEGIN SOLUTION needs its END SOLUTION"),
        (planted_hidden, "cell 3 (id ask): each BEGIN HIDDEN TESTS needs its END"),
        (planted_plain, HERE + "an answer cell without a region: mark it"),
        (planted_homeless, HERE + "a solution region outside an answer cell"),
        (planted_unasked, HERE + 'a cell check("77-1") must follow'),
        (planted_last_unasked, '(id guess): a cell check("77-2") must follow'),
        (planted_other_question, '(id ask): check("77-3") follows no answer cell of'),
        (planted_twice, f"{MASTER}: two cells have the grade_id 77-1"),
        (planted_unregistered, "tfcourse/checks/planted.py registers no exercise 77-3"),
        (planted_unregistered, f"{MASTER}: no cell has the grade_id 77-1, which"),
    ],
)
def test_a_planted_fault_is_named_and_nothing_is_written(planted, plant, told):
    changed = cells()
    plant(changed)
    planted.notebook(MASTER, *changed.values())
    written, found = make(planted.root, [CHAPTER])
    assert told in "\n".join(found)
    assert not written and not (planted.root / MADE).exists()
    assert check(planted.root, [CHAPTER]) == found


def test_a_name_outside_the_registry_is_refused(planted):
    assert make(planted.root, [])[1] == [
        f"{MASTER}: no chapter of the registry has this name"
    ]


REMEDY = "run `python -m tools.make_exercises`"


def test_check_names_the_first_cell_that_differs(planted):
    assert check(planted.root, [CHAPTER]) == [f"{MADE} is missing: {REMEDY}"]
    make(planted.root, [CHAPTER])
    edited = read(planted.root / MADE)
    edited.cells[0].source += "\nEdited by hand."
    edited.cells[2].source += "\n# and here"
    write(edited, planted.root / MADE)
    assert check(planted.root, [CHAPTER]) == [
        f"{MADE} cell 0 (id goal) differs from what solutions/ makes: {REMEDY}"
    ]
    edited.cells = edited.cells[:0]
    write(edited, planted.root / MADE)
    assert f"{MADE} cell 0 (id goal) differs" in check(planted.root, [CHAPTER])[0]
    make(planted.root, [CHAPTER])
    file = planted.root / MADE
    file.write_text(file.read_text("utf-8") + "\n", "utf-8")
    assert check(planted.root, [CHAPTER]) == [
        f"{MADE} differs from what solutions/ makes: {REMEDY}"
    ]


def test_an_exercise_without_a_master_is_named(planted):
    make(planted.root, [CHAPTER])
    (planted.root / MASTER).unlink()
    assert orphans(planted.root) == [
        f"{MADE} has no master in solutions/: write one, or delete it"
    ]
    assert check(planted.root, [CHAPTER]) == orphans(planted.root)


def test_the_command(planted, monkeypatch, capsys):
    monkeypatch.setattr(make_exercises, "ROOT", planted.root)
    monkeypatch.setattr(make_exercises, "CHAPTERS", [CHAPTER])
    assert make_exercises.main(["--check"]) == 1
    assert make_exercises.main([]) == 0
    assert f"made {MADE}" in capsys.readouterr().out
    assert make_exercises.main(["--check"]) == 0
    with pytest.raises(SystemExit):
        make_exercises.main(["--chekc"])


def test_the_exercises_of_this_course_are_what_the_solutions_make():
    assert check(ROOT, CHAPTERS) == []
