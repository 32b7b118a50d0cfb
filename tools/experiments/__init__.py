"""What is too long for a chapter: each module `NN_name` writes one file of results.

An experiment runs the chapter's own cells, so that the page shows what was run. From
the root: `python -m tools.experiments.NN_name`, or with `--smoke` for the smallest
case only, which writes nothing.
"""

import json
import platform
import sys
import time

import torch

from tfcourse.data.stored import RESULTS
from tools.environment import enter
from tools.notebooks import ROOT, code_cells, read


def chapter_cells(stem, *ids):
    """Run these cells of a chapter, in this order; return the names they define."""
    cells = {
        cell.id: cell.source
        for _, cell in code_cells(read(ROOT / f"chapters/{stem}.ipynb"))
    }
    names = {"__name__": stem}
    for id in ids:
        if id not in cells:
            raise KeyError(f"chapters/{stem}.ipynb has no code cell with the id {id!r}")
        exec(compile(cells[id], f"{stem}.ipynb:{id}", "exec"), names)  # noqa: S102 - ours
    return names


def run(name, rows, smoke_rows):
    """Collect the rows (an iterator of dicts), telling each, and store them."""
    enter()
    smoke = "--smoke" in sys.argv[1:]
    start, collected = time.process_time(), []
    for row in smoke_rows() if smoke else rows():
        print(json.dumps(row), flush=True)
        collected.append(row)
    if smoke:
        return
    stored = {
        "command": f"python -m tools.experiments.{name}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "seconds": round(time.process_time() - start),
        "rows": collected,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(stored, indent=1) + "\n", "utf-8")
