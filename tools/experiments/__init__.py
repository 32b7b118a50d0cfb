"""What is too long for a chapter: each module `NN_name` writes one file of results.

An experiment runs the chapter's own cells, so that the page shows what was run. From
the root: `python -m tools.experiments.NN_name`, or with `--smoke` for the smallest
case only, which writes nothing.
"""

import json
import platform
import sys
import time
from contextlib import redirect_stdout
from io import StringIO

import torch

from tfcourse.data.stored import RESULTS
from tools.environment import enter
from tools.notebooks import ROOT, code_cells, heading, read


def chapter_cells(stem, *ids):
    """Run a chapter's woven cells and then these, in this order; the names they define.

    What the cells print is for the page, and not shown.
    """
    cells = {
        cell.id: cell for _, cell in code_cells(read(ROOT / f"chapters/{stem}.ipynb"))
    }
    woven = [id for id, cell in cells.items() if heading(cell)]
    names = {"__name__": stem}
    with redirect_stdout(StringIO()):
        for id in [*woven, *ids]:
            if id not in cells:
                raise KeyError(
                    f"chapters/{stem}.ipynb has no code cell with the id {id!r}"
                )
            code = compile(cells[id].source, f"{stem}.ipynb:{id}", "exec")
            exec(code, names)  # noqa: S102 - ours
    return names


def rounded(shares):
    """Numbers to four digits after the point, as the rows hold them."""
    return [round(share, 4) for share in shares]


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
