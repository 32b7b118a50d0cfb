"""tools/weave.py: a sound little course passes, and each planted mistake is named."""

import runpy

import pytest
from little_course import code, prose

from tools.notebooks import read
from tools.weave import check, weave

FILES = {
    "tfcourse/__init__.py": '"""The package."""\n',
    "tfcourse/recurrent.py": '''\
"""Recurrence."""

import math
# a comment within the block belongs to it
import torch

SCALE: float = 0.5


def step(x):
    """One step."""
    return math.tanh(SCALE * x)


@torch.no_grad()
def steps(x):
    """Two steps."""
    return step(step(x))
''',
    "tfcourse/fitting.py": '"""Fitting."""\n\n\ndef fit(f):\n    return f(1.0)\n',
    "tfcourse/one_hot.py": '''\
"""One-hot vectors."""

from tfcourse.recurrent import step


def one_hot(i):
    return step(i)
''',
    "tfcourse/data/__init__.py": '"""Data."""\n',
    "tfcourse/grading/a.py": '"""Grading."""\nimport tfcourse.checks.recurrent\nimport tfcourse.grading.b\n',
    "tfcourse/checks/__init__.py": '"""Checks."""\n',
    "tfcourse/checks/recurrent.py": "from tfcourse.recurrent import step\n",
    "chapters/01_recurrent.ipynb": '''\
# tfcourse.recurrent: imports
import math
# a comment within the block belongs to it
import torch
%%
from tfcourse.notebook import glue
%%
# tfcourse.recurrent: SCALE
SCALE: float = 0.5
%%
# tfcourse.fitting: fit
def fit(f):
    return f(1.0)
%%
# tfcourse.recurrent: step
def step(x):
    """One step."""
    return math.tanh(SCALE * x)
%%
# tfcourse.recurrent: steps
@torch.no_grad()
def steps(x):
    """Two steps."""
    return step(step(x))
%%
if True:
    !ls
print(5
      % 3)
''',
    "chapters/02_one_hot.ipynb": """\
# tfcourse.one_hot: imports
from tfcourse.recurrent import step
%%
# tfcourse.one_hot: one_hot
def one_hot(i):
    return step(i)
""",
    "solutions/01_recurrent.ipynb": "from tfcourse.recurrent import step",
    "exercises/01_recurrent.ipynb": "from tfcourse.checks import check",
}

ONE, TWO = "chapters/01_recurrent.ipynb", "chapters/02_one_hot.ipynb"
SOLUTION = "solutions/01_recurrent.ipynb"
RECURRENT, FITTING = "tfcourse/recurrent.py", "tfcourse/fitting.py"
LONG = "def fit(f):\n" + "".join(f"    f({i})\n" for i in range(40))
DOCUMENTED = 'def fit(f):\n    """A\n' + "    b\n" * 12 + '    """\n'

# What is replaced, by what, in which file; and the words that must name it.
PLANTED = {
    "W1 changed": (ONE, "SCALE * x)", "x)", "cell 4 (id c4) differs from 'step'"),
    "W1 a space": (ONE, "0.5", "0.5 ", "cell 2 (id c2) differs from 'SCALE'"),
    "W1 unknown": (ONE, ": step\n", ": stop\n", "no such piece"),
    "W1 malformed": (ONE, ": SCALE", ":SCALE", "correct that line"),
    "W2 not shown": (ONE, "# tfcourse.recurrent: step\n", "", "not show 'step'"),
    "W2 twice": (ONE, "if True:", "# tfcourse.fitting: fit", "a second time"),
    "W2 another's": (TWO, "# tfcourse.one_hot: one_hot", "# tfcourse.fitting: fit", "show()"),
    "W2 in a solution": (SOLUTION, "from", "# tfcourse.fitting: fit\nfrom", "only chapters"),
    "W2 loose text": (FITTING, "def", "# loose\ndef", "line 4: text outside"),
    "W2 a statement": (FITTING, "def", "print()\ndef", "line 4: only imports"),
    "W2 an unpacking": (FITTING, "def", "a, b = 1, 2\ndef", "line 4: only imports"),
    "W2 one line": (FITTING, "def", "a = 1; b = 2\ndef", "two statements"),
    "W2 imports twice": (RECURRENT, "0.5\n", "0.5\nimport os\n", "a second 'imports'"),
    "W2 name twice": (RECURRENT, "0.5\n", "0.5\nSCALE = 1\n", "a second 'SCALE'"),
    "W2 no docstring": (FITTING, '"""Fitting."""', "", "no docstring"),
    "W2 long": (FITTING, "def fit(f):\n", LONG, "fit has 42 lines"),
    "W2 documented": (FITTING, "def fit(f):\n", DOCUMENTED, "docstring of fit has 13"),
    "W2 not Python": (FITTING, "def", "df", "fitting.py line 4 is not Python"),
    "W3 own module": (ONE, "if True:", "from tfcourse.fitting import fit\nif True:", "cell 6"),
    "W3 a later one": (SOLUTION, "recurrent", "one_hot", "built in chapter 2"),
    "W3 bare": (ONE, "if True:", "import tfcourse\nif True:", "bare package"),
    "W3 from bare": (SOLUTION, "tfcourse.recurrent", "tfcourse", "bare package"),
    "W3 unknown": (ONE, "tfcourse.notebook", "tfcourse.notebok", "correct the name"),
    "W3 not Python": (ONE, "print(5", "print((5", "cell 6 (id c6) line"),
    "W4 a later one": (RECURRENT, "0.5\n", "0.5\nimport tfcourse.fitting\n", "chapter 1"),
    "W4 a room": (FITTING, "def", "import tfcourse.notebook\ndef", "not open"),
    "W4 relative": (FITTING, "def", "from .data import x\ndef", "relatively"),
    "W4 room": ("tfcourse/data/__init__.py", '"""Data."""', "import tfcourse.fitting", "no chapter's"),
    "W4 graders": ("tfcourse/data/__init__.py", '"""Data."""', "import tfcourse.grading", "not open"),
    "W4 graders' own": ("tfcourse/grading/a.py", "checks", "fitting", "no chapter's"),
    "W4 checks": ("tfcourse/checks/recurrent.py", "recurrent", "one_hot", "up to 1"),
    "W4 package": ("tfcourse/__init__.py", '"""', 'import tfcourse.fitting\n"""', "no chapter's"),
}  # fmt: skip


def write_course(course, files):
    for name, text in files.items():
        if name.endswith(".ipynb"):
            cells = text.rstrip("\n").split("\n%%\n")
            course.notebook(name, *(code(c, f"c{i}") for i, c in enumerate(cells)))
        else:
            course.file(name, text)


def test_a_sound_course_passes(course):
    write_course(course, FILES)
    assert check(course.root) == []


def test_a_module_may_import_an_earlier_one_of_its_chapter(course):
    head = "from tfcourse.recurrent import step"
    fitting = FILES[FITTING].replace("def", f"{head}\n\n\ndef", 1)
    cell = f"# tfcourse.fitting: imports\n{head}\n%%\n# tfcourse.fitting: fit"
    one = FILES[ONE].replace("# tfcourse.fitting: fit", cell)
    write_course(course, FILES | {FITTING: fitting, ONE: one})
    assert check(course.root) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_mistake_is_named(course, planted):
    name, old, new, says = PLANTED[planted]
    assert old in FILES[name]
    write_course(course, FILES | {name: FILES[name].replace(old, new, 1)})
    problems = check(course.root)
    assert any(name in problem and says in problem for problem in problems), problems


def test_a_registry_entry_that_is_gone_is_named(course):
    write_course(course, FILES)
    registry = course.root / "tfcourse/notebook/chapters.py"
    registry.write_text(
        registry.read_text("utf-8").replace('"one_hot"', '"hot"'), "utf-8"
    )
    problems = check(course.root)
    assert any(
        "tfcourse/one_hot.py is in no chapter" in problem for problem in problems
    )
    assert any(
        f"{TWO} is no chapter of the registry" in problem for problem in problems
    )


def test_two_cells_in_the_wrong_order_are_named(course):
    cells = FILES[ONE].split("\n%%\n")
    cells[4], cells[5] = cells[5], cells[4]
    write_course(course, FILES | {ONE: "\n%%\n".join(cells)})
    (problem,) = check(course.root)
    assert "cell 5 (id c5) weaves 'step' after 'steps'" in problem


@pytest.mark.parametrize(
    ("gone", "says"),
    [(ONE, "is not written"), (FITTING, "write the module"), (TWO, "not written")],
)
def test_a_missing_file_is_named(course, gone, says):
    write_course(course, {name: FILES[name] for name in FILES if name != gone})
    assert any(says in problem for problem in check(course.root))


def test_a_chapter_that_the_registry_lacks_is_named(course):
    write_course(course, FILES | {"chapters/01_recurrence.ipynb": "1"})
    (problem,) = check(course.root)
    assert "chapters/01_recurrence.ipynb is no chapter of the registry" in problem


def test_weave_writes_what_the_package_says_and_then_nothing(course):
    stale = (
        FILES[ONE].replace("SCALE * x)", "x)").replace("def fit(f):\n    return", "")
    )
    write_course(course, FILES | {ONE: stale})
    assert weave(course.root) == [ONE]
    assert check(course.root) == []
    assert weave(course.root) == []


def test_the_cloud_cell_comes_and_goes_with_the_address(course):
    write_course(course, FILES)
    solution = course.root / SOLUTION
    course.notebook(SOLUTION, prose("# Answers", "title"), *read(solution).cells)
    before = {path: path.read_bytes() for path in course.root.glob("*/*.ipynb")}
    address = "https://example.org/course"
    course.file("_config.yml", f"repository: {{url: '{address}', branch: v1}}")
    assert len(check(course.root)) == 4  # two chapters, a solution, an exercise

    weave(course.root)
    (exercise,) = check(course.root)
    assert "exercises/01_recurrent.ipynb" in exercise and "make exercises" in exercise
    title, cloud, _ = read(solution).cells
    assert title.id == "title" and cloud.id == "cloud"
    assert set(cloud.metadata.tags) == {"cloud", "remove-cell"}
    assert f'--no-deps "git+{address}@v1"' in cloud.source
    assert weave(course.root) == []

    course.file("_config.yml", "repository: {url: ''}")
    assert len(check(course.root)) == 3
    weave(course.root)
    assert before == {path: path.read_bytes() for path in before}


def test_the_cloud_cell_does_nothing_where_the_course_is_installed(course):
    course.file("_config.yml", "repository: {url: 'https://example.org/course'}")
    course.notebook(SOLUTION)
    weave(course.root)
    (cell,) = read(course.root / SOLUTION).cells
    calls = cell.source.replace("    %pip", "    1 / 0  # %pip")
    runpy.run_path(course.file("cell.py", calls))
