"""What the tools share: where notebooks are, and how they are read and written."""

import hashlib
import re
import runpy
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
FOLDERS = ("chapters", "exercises", "solutions")
HEADING = re.compile(r"# tfcourse\.(\w+): (\w+)")  # the first line of a woven cell


def registry(root):
    """The chapters and the rooms, from the file alone: the package is not imported."""
    names = runpy.run_path(str(root / "tfcourse/notebook/chapters.py"))
    return names["CHAPTERS"], names["ROOMS"]


def notebooks(root, *folders):
    """The notebooks of these folders, in the order of the course."""
    return [
        path for folder in folders for path in sorted(root.glob(f"{folder}/*.ipynb"))
    ]


def read(path):
    return nbformat.read(path, as_version=4)


def write(notebook, path):
    """Write the notebook, whole or not at all; True where its bytes changed."""
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    if path.exists() and path.read_text("utf-8") == text:
        return False
    partial = path.with_suffix(".partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)
    return True


def code_cells(notebook):
    """The code cells, each with its index in the notebook."""
    return [(i, cell) for i, cell in enumerate(notebook.cells) if is_code(cell)]


def is_code(cell):
    return cell.cell_type == "code"


def heading(cell):
    """The module and the name that a woven cell shows, or None for any other cell."""
    match = HEADING.fullmatch(cell.source.partition("\n")[0])
    return match and match.groups()


def tags(cell):
    return set(cell.metadata.get("tags", ()))


def digest(cell):
    """A short fingerprint of a cell's source."""
    return hashlib.sha256(cell.source.encode()).hexdigest()[:16]


def place(path, root, index=None, cell=None):
    """How a message names a file, or a cell of it (its index counts from 0)."""
    file = (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
    return file if cell is None else f"{file} cell {index} (id {cell.get('id')})"
