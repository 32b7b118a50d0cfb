"""Every experiment runs in its smallest case, and its results are stored."""

import subprocess
import sys

import pytest

from tfcourse.data.stored import RESULTS
from tools.experiments import chapter_cells
from tools.notebooks import ROOT

NAMES = sorted(p.stem for p in (ROOT / "tools/experiments").glob("[0-9]*.py"))


def test_results_and_experiments_belong_together():
    assert NAMES and NAMES == sorted(path.stem for path in RESULTS.glob("*.json"))


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
