"""tools/execute.py: the same bytes twice, kept measurements, and failures that are named."""

import os

import pytest
from little_course import code
from nbformat.v4 import new_output

from tools.environment import ENVIRONMENT, MEASURING
from tools.execute import NotebookError, execute, main, repeatable
from tools.notebooks import read

ENVIRON = "import os\nprint(*(os.environ.get(name) for name in {names}), sep='\\n')"
FIGURE = """\
import matplotlib.pyplot as plt
from matplotlib_inline.backend_inline import set_matplotlib_formats
plt.rcParams["svg.hashsalt"] = "tfcourse"
set_matplotlib_formats("svg", metadata={"Date": None})
_ = plt.plot([0, 1])"""
WIDGET = "from ipywidgets import IntSlider\nIntSlider()"
SLOW_PRINT = """\
import time
for word in ("one", "two"):
    print(word, flush=True)
    time.sleep(0.3)"""
CLOCK = "import time\nprint(time.perf_counter())"
TRACEBACK = "from helper import fail\nfail()"


def lesson(course, clock=CLOCK):
    course.file("chapters/helper.py", "def fail():\n    raise ValueError('no')\n")
    cells = {
        "environment": code(ENVIRON.format(names=list(ENVIRONMENT)), "environment"),
        "figure": code(FIGURE, "figure"),
        "widget": code(WIDGET, "widget"),
        "slow": code(SLOW_PRINT, "slow", count=9),
        "clock": code(clock, "clock", "measured", "nbval-ignore-output"),
        "traceback": code(TRACEBACK, "traceback", "raises-exception"),
    }
    return course.notebook("chapters/01_recurrent.ipynb", *cells.values())


def cells(path):
    return {cell.id: cell for cell in read(path).cells}


def test_a_second_run_changes_no_byte_and_keeps_what_was_measured(course):
    path = lesson(course)
    assert execute(path, course.root)
    first, before = cells(path), path.read_bytes()
    assert [cell.execution_count for cell in first.values()] == [1, 2, 3, 4, 5, 6]
    assert first["environment"].outputs[0].text.splitlines() == list(
        ENVIRONMENT.values()
    )
    assert "<svg" in first["figure"].outputs[0].data["image/svg+xml"]
    assert [output.text for output in first["slow"].outputs] == ["one\ntwo\n"]
    widget = first["widget"].outputs[0].data["application/vnd.jupyter.widget-view+json"]
    assert widget["model_id"].startswith("chapters-01_recurrent-")
    (error,) = first["traceback"].outputs
    assert any("chapters/helper.py" in line for line in error.traceback)
    assert str(course.root) not in path.read_text("utf-8")

    assert not execute(path, course.root)
    assert path.read_bytes() == before

    assert execute(path, course.root, measure=True)
    assert cells(path)["clock"].outputs != first["clock"].outputs


def test_a_measured_cell_of_another_source_is_measured_anew(course):
    path = course.notebook(
        "chapters/01_recurrent.ipynb",
        code(
            "print('new')", "clock", "measured", measured="the digest of another source"
        ),
    )
    execute(path, course.root)
    assert cells(path)["clock"].outputs[0].text == "new\n"


def test_a_clock_runs_with_the_kernels_of_the_machine_and_all_else_with_common_ones(
    course,
):
    assert os.environ["MKL_CBWR"] and "MKL_CBWR" not in MEASURING
    source = "import os\nprint(os.environ.get('MKL_CBWR'))"
    path = course.notebook(
        "chapters/01_recurrent.ipynb",
        code(source, "clock", "measured"),
        code(source, "digits"),
    )
    execute(path, course.root)
    said = {id: cell.outputs[0].text.strip() for id, cell in cells(path).items()}
    assert said == {"clock": "None", "digits": ENVIRONMENT["MKL_CBWR"]}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise KeyError('lost')", "KeyError: 'lost'"),
        ("assert 1 > 2", "AssertionError"),
        ("import os\nos._exit(1)", "its kernel died"),
    ],
)
def test_a_failure_names_its_cell_and_leaves_the_file_as_it_was(course, source, says):
    path = course.notebook(
        "solutions/01_recurrent.ipynb", code("1", "a"), code(source, "b")
    )
    before = path.read_bytes()
    with pytest.raises(NotebookError) as failure:
        execute(path, course.root)
    message = str(failure.value)
    assert message.startswith(
        "solutions/01_recurrent.ipynb cell 1 (id b) failed: " + says
    )
    assert "\n" not in message
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_among_others_is_counted(course, capsys):
    good = course.notebook("chapters/01_recurrent.ipynb", code("1", "a"))
    bad = course.notebook("chapters/02_one_hot.ipynb", code("1 / 0", "a"))
    assert main([str(good), str(bad)])
    told = capsys.readouterr().out
    assert "01_recurrent.ipynb: changed" in told and "1 of 2 failed" in told


def test_tracebacks_do_not_tell_where_the_course_lies(course, monkeypatch):
    monkeypatch.setenv("HOME", str(course.root.parent))
    lines = [f"File ~/{course.root.name}/tfcourse/a.py", f"File {course.root}/b.py"]
    error = new_output("error", ename="E", evalue="", traceback=lines)
    path = course.notebook("chapters/a.ipynb", code("1", "a", outputs=[error]))
    (cell,) = repeatable(read(path), path, course.root, []).cells
    assert cell.outputs[0].traceback == ["File tfcourse/a.py", "File b.py"]
