"""Execute notebooks in place, so that a second run changes no byte.

usage: python -m tools.execute [NOTEBOOK ...]     (default: all chapters and solutions)

The output of a cell tagged `measured` depends on clock or machine. Such a cell is run
like any other, but its stored output is kept while its source is unchanged. A new one,
and with MEASURE=1 in the environment every one, is measured in a run of its own. A
notebook that fails stays as it was.
"""

import asyncio
import copy
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import from_dict

from tools.environment import ENVIRONMENT, MEASURING, inside
from tools.notebooks import (
    ROOT,
    code_cells,
    digest,
    notebooks,
    place,
    read,
    tags,
    write,
)

TIMEOUT = 300  # seconds for one cell, as in the tests
KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}


class NotebookError(Exception):
    """A notebook stopped: the message names its file, the cell and the error."""


def execute(path, root, measure=False):
    """Execute one notebook and write it back; True where its bytes changed."""
    notebook = read(path)
    kept = {} if measure else measured_outputs(notebook)
    measured = {i for i, cell in code_cells(notebook) if "measured" in tags(cell)}
    if measured - set(kept):
        kept = clocked(notebook, path, root, measured) | kept
    for _, cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
        cell.metadata.pop("execution", None)
        cell.metadata.pop("measured", None)
    notebook.metadata.pop("widgets", None)
    widgets = run(notebook, path, root)
    for index, cell in code_cells(notebook):
        cell.outputs = kept.get(index, merged(cell.outputs))
        if "measured" in tags(cell):
            cell.metadata["measured"] = digest(cell)
    notebook.metadata["kernelspec"] = KERNEL
    notebook.metadata["language_info"] = {"name": "python"}
    return write(repeatable(notebook, path, root, widgets), path)


def measured_outputs(notebook):
    """The stored outputs of measured cells whose source is what it was then."""
    return {
        index: cell.outputs
        for index, cell in code_cells(notebook)
        if "measured" in tags(cell) and cell.metadata.get("measured") == digest(cell)
    }


def clocked(notebook, path, root, measured):
    """The outputs of measured cells, from a run with this machine's own kernels."""
    trial = copy.deepcopy(notebook)
    run(trial, path, root, MEASURING)
    return {index: merged(trial.cells[index].outputs) for index in measured}


def run(notebook, path, root, environment=ENVIRONMENT):
    """Run all cells in a fresh kernel; return the widgets' ids in order of making."""
    current = {}
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=lambda cell, cell_index: current.update(
            index=cell_index, cell=cell
        ),
    )
    try:
        asyncio.run(client.async_execute(env=inside(environment)))
        return list(client.widget_state)
    except CellExecutionError as error:
        message = f"{error.ename}: {error.evalue}".splitlines()[0].rstrip(": ")
    except CellTimeoutError:
        message = f"it took longer than {TIMEOUT} s"
    except DeadKernelError:
        message = "its kernel died: is there memory enough?"
    raise NotebookError(f"{place(path, root, **current)} failed: {message}")


def merged(outputs):
    """The outputs with neighbouring pieces of one stream joined: the kernel splits
    what a cell prints by the clock."""
    joined = []
    for output in outputs:
        last = joined[-1] if joined else None
        if (
            last
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            joined.append(output)
    return joined


def repeatable(notebook, path, root, widgets):
    """The notebook with widget ids by count, and tracebacks that name no folder of
    this machine."""
    for _, cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                lines = output.traceback
                output.traceback = [without_folders(line, root) for line in lines]
    text = json.dumps(notebook)
    for number, widget in enumerate(widgets):
        text = text.replace(widget, f"{path.parent.name}-{path.stem}-{number}")
    return from_dict(json.loads(text))


def without_folders(line, root):
    """A line of a traceback where files are named from the course's folder on."""
    home = Path.home()
    for folder in (Path(sys.prefix), root):
        line = line.replace(f"{folder}/", "")
        if home in folder.parents:
            line = line.replace(f"~/{folder.relative_to(home)}/", "")
    return line


def main(arguments):
    paths = [Path(name).resolve() for name in arguments]
    paths = paths or notebooks(ROOT, "chapters", "solutions")
    measure = os.environ.get("MEASURE") == "1"

    def one(path):
        """Execute one notebook, telling how it went; True where it failed."""
        start = time.perf_counter()
        try:
            result = "changed" if execute(path, ROOT, measure) else "unchanged"
        except NotebookError as error:
            print(error, flush=True)
            return True
        seconds = time.perf_counter() - start
        print(f"{place(path, ROOT)}: {result}, {seconds:.1f} s", flush=True)
        return False

    print(f"executing {len(paths)} notebooks", flush=True)
    with ThreadPoolExecutor(1 if measure else 2) as pool:  # alone, to read the clock
        failed = sum(pool.map(one, paths))
    if failed:
        print(f"{failed} of {len(paths)} failed, and stay as they were")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
