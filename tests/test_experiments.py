"""Every experiment runs in its smallest case, and its results are stored."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tfcourse.data.stored import RESULTS
from tools.experiments import chapter_cells
from tools.notebooks import ROOT

NAMES = sorted(p.stem for p in (ROOT / "tools/experiments").glob("[0-9]*.py"))


def test_every_result_names_the_program_that_makes_it_and_every_program_has_one():
    commands = {
        path.stem: json.loads(path.read_text("utf-8"))["command"].split()
        for path in RESULTS.glob("*.json")
    }
    assert all(command[:2] == ["python", "-m"] for command in commands.values())
    assert all(find_spec(command[2]) for command in commands.values())
    made = {n for n, c in commands.items() if c[2] == f"tools.experiments.{n}"}
    assert NAMES and made == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_case_runs_and_stores_nothing(name):
    before = (RESULTS / f"{name}.json").read_bytes()
    command = [sys.executable, "-m", f"tools.experiments.{name}", "--smoke"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{")
    assert (RESULTS / f"{name}.json").read_bytes() == before


def test_a_missing_cell_is_named():
    with pytest.raises(KeyError, match="no code cell with the id 'nowhere'"):
        chapter_cells("01_recurrent", "nowhere")
