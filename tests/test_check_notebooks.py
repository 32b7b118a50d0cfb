"""tools/check_notebooks.py: a sound notebook passes, and each planted mistake is named."""

import json
import sys
from types import SimpleNamespace

import pytest
from little_course import code, prose
from nbformat.v4 import new_output

from tools.check_notebooks import markdown_problems, problems
from tools.notebooks import digest, read, write

CHAPTER = "chapters/01_recurrent.ipynb"
ALT = "A line that falls from one to zero over ten steps"
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"

PRINTED = new_output("stream", name="stdout", text="1\n")
WARNED = new_output("stream", name="stderr", text="a warning\n")
FIGURE = new_output("display_data", data={"image/svg+xml": "<svg/>"})
DIAL = new_output("display_data", data={VIEW: {"model_id": "dial"}})
LOST = new_output("display_data", data={VIEW: {"model_id": "lost"}})
ERROR = new_output("error", ename="E", evalue="", traceback=[])


def sound():
    """The cells of a notebook that has one of everything, by id."""
    measured = code(
        "assert speed() < 9", "clock", "measured", "nbval-ignore-output", count=4
    )
    measured.metadata["measured"] = digest(measured)
    cells = [
        prose("# A chapter", "title"),
        code(
            "# tfcourse.recurrent: imports\nimport torch",
            "imports",
            "hide-input",
            count=1,
        ),
        code(
            "draw()",
            "figure",
            outputs=[FIGURE],
            count=2,
            mystnb={"image": {"alt": ALT}},
        ),
        prose("A word.", "word"),
        code("1 / 0", "error", "raises-exception", outputs=[ERROR], count=3),
        prose("Another.", "another"),
        measured,
        code('check("01-1")', "check", count=5),
        prose("A last one.", "last"),
        code("# tfcourse.recurrent: long\n" + "x = 1\n" * 20, "woven", count=6),
        code("hidden()", "hidden", "remove-cell", count=7),
        prose(f"![{ALT}](a.svg)", "picture"),
        code("Dial()", "dial", outputs=[DIAL], count=8),
    ]
    return {cell.id: cell for cell in cells}


def write_chapter(course, cells, name=CHAPTER, script="export"):
    path = course.notebook(name, *cells.values())
    notebook = read(path)
    model = {"_anywidget_id": "dials.Dial", "_esm": script, "_css": ""}
    notebook.metadata["widgets"] = {STATE: {"state": {"dial": {"state": model}}}}
    write(notebook, path)
    return path


@pytest.fixture(autouse=True)
def dials(monkeypatch):
    """A module with one widget class."""
    dial = SimpleNamespace(_esm="export", _css="")
    monkeypatch.setitem(sys.modules, "dials", SimpleNamespace(Dial=dial))


def test_a_sound_chapter_passes(course):
    assert problems(write_chapter(course, sound()), course.root) == []


def test_a_sound_exercise_passes(course):
    cells = [
        prose("# Exercises", "title"),
        code("x = 1\n" * 20, "answer", nbgrader={"solution": True}),
        code('check("01-1")', "check"),
    ]
    path = course.notebook("exercises/01_recurrent.ipynb", *cells)
    assert problems(path, course.root) == []


# What is set in which cell, and the words that must name it.
PLANTED = {
    "order": ("error", {"execution_count": 7}, "ran as 7, not as 3"),
    "not run": ("figure", {"execution_count": None}, "ran as None, not as 2"),
    "error": ("figure", {"outputs": [ERROR]}, "holds an error"),
    "no error": ("error", {"outputs": []}, "raises nothing"),
    "warning": ("figure", {"outputs": [PRINTED, WARNED]}, "stderr"),
    "semicolon": ("figure", {"source": "draw();\n"}, "ends in ';'"),
    "no alt": ("figure", {"metadata": {}}, "without alternative text"),
    "lost figure": ("figure", {"outputs": [PRINTED]}, "shows no figure"),
    "blank alt": ("figure", {"metadata": {"mystnb": {"image": {"alt": " "}}}}, "without"),
    "file alt": (
        "figure",
        {"metadata": {"mystnb": {"image": {"alt": "vanishing_gradients.svg"}}}},
        "a file name",
    ),
    "short alt": ("figure", {"metadata": {"mystnb": {"image": {"alt": "A line"}}}}, "short"),
    "nbval alone": ("figure", {"metadata": {"tags": ["nbval-ignore-output"]}}, "both tags"),
    "measured alone": ("clock", {"metadata": {"tags": ["measured"]}}, "both tags"),
    "no bound": ("clock", {"source": "speed()"}, "asserts nothing"),
    "other source": ("clock", {"source": "assert speed() < 8"}, "of another source"),
    "skipped": ("figure", {"metadata": {"tags": ["nbval-skip"]}}, "nbval-skip"),
    "by comment": ("figure", {"source": "# NBVAL_SKIP\ndraw()"}, "by a comment"),
    "long": ("figure", {"source": "draw()\n\n" * 16}, "has 16 lines"),
    "no prose": ("another", {"source": " "}, "cell 6 (id clock) follows code"),
    "no view": ("dial", {"outputs": [LOST]}, "not stored"),
    "filler": ("word", {"source": "It is simply so."}, "says 'simply'"),
    "picture": ("picture", {"source": "![](a.svg)"}, "a picture without"),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_mistake_is_named(course, planted):
    id, change, says = PLANTED[planted]
    cells = sound()
    cells[id].update(change)
    found = problems(write_chapter(course, cells), course.root)
    place = CHAPTER if planted in ("no prose", "no view") else f"(id {id})"
    assert any(says in problem and place in problem for problem in found), found


def test_a_widget_of_another_script_is_named(course):
    path = write_chapter(course, sound(), script="export older")
    (problem,) = problems(path, course.root)
    assert "another _esm than dials.Dial has now: run `make execute`" in problem


def test_a_widget_whose_class_is_gone_is_named(course, monkeypatch):
    monkeypatch.delitem(sys.modules, "dials")
    (problem,) = problems(write_chapter(course, sound()), course.root)
    assert "stores a dials.Dial, which there is no more" in problem


def test_outputs_in_an_exercise_are_named(course):
    path = course.notebook("exercises/01_recurrent.ipynb", code("1", "a", count=1))
    (problem,) = problems(path, course.root)
    assert "cell 0 (id a) has outputs, in an exercise" in problem


def test_broken_files_are_named(course):
    path = write_chapter(course, sound())
    raw = json.loads(path.read_text("utf-8"))

    def found(change):
        broken = json.loads(json.dumps(raw))
        change(broken)
        path.write_text(json.dumps(broken), "utf-8")
        (problem,) = problems(path, course.root)
        assert problem.startswith(CHAPTER)
        return problem

    assert "without an id" in found(lambda nb: nb["cells"][3].update(id="title"))
    assert "not a valid" in found(lambda nb: nb["cells"][1].pop("execution_count"))
    path.write_text("{", "utf-8")
    assert "not JSON" in problems(path, course.root)[0]


@pytest.mark.parametrize(
    "text",
    [
        "Clearly it holds.",
        "It holds, of\ncourse.",
        "As seen above, it holds.",
        "The table below shows it.",
        "See below.",
        f":::{{figure}} a.svg\nA caption\n:::\n{ALT}",
        "```{figure} a.svg\n:alt: a line\nA caption\n```",
    ],
)
def test_prose_that_is_refused(text):
    assert len(list(markdown_problems(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "The loss is below 2 nats, and above the bound.",
        "Write `simply`, or $clearly$, or\n```\nobviously\n```",
        "> Clearly, said the paper, and was kindly corrected.",
        "An [earlier chapter](clearly.md) built it.",
        f":::{{figure}} a.svg\n:alt: {ALT}\nA caption\n:::",
    ],
)
def test_prose_that_passes(text):
    assert list(markdown_problems(text)) == []
