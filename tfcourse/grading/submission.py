"""Reading what was handed in: nothing in it is trusted, and nothing honest is lost."""

import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

LARGEST = 25 << 20  # bytes of a notebook
MOST_CELLS = 2000
CHECK = re.compile(r"""^[ \t]*check\(\s*["']([^"']*)["']\s*\)""", re.MULTILINE)
TIMES = 3  # how often a code exercise is judged at most, where its cell was copied


class Unreadable(ValueError):
    """Not a notebook; the message says what it is, and what the student may do."""


@dataclass(frozen=True)
class Step:
    """One code cell, and the exercises that are judged when it has run."""

    name: str
    source: str
    judged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Submission:
    """What a student handed in: a file, and why it may be the wrong one, if so."""

    student: str
    path: Path
    doubt: str = ""

    def read(self) -> bytes:
        """The file's bytes; Unreadable where it is not a plain file of fair size."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags)
        except OSError as error:
            what = "a link" if self.path.is_symlink() else error.strerror
            raise Unreadable(f"The file cannot be opened: {what}.") from None
        try:
            _require_fair(os.fstat(fd))
            return _whole(fd)
        finally:
            os.close(fd)

    def digest(self) -> str:
        """A hash of what was handed in, readable or not."""
        try:
            return hashlib.sha256(self.read()).hexdigest()
        except Unreadable as error:
            return hashlib.sha256(str(error).encode()).hexdigest()


def _require_fair(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise Unreadable("There is no notebook in this folder.")
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable("This is not a plain file.")
    if found.st_size > LARGEST:
        raise Unreadable(
            f"The file has {found.st_size >> 20} MB, and at most {LARGEST >> 20} are "
            "read: clear the outputs, and save again."
        )


def _whole(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def submissions(folder: Path, stem: str) -> list[Submission]:
    """One for each student, by name: `ada.ipynb`, or the best match in folder `ada`."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: name the one with the submissions")
    found: dict[str, Submission] = {}
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        is_folder = path.is_dir() and not path.is_symlink()
        if path.name.startswith(".") or not (is_folder or path.suffix == ".ipynb"):
            continue
        own = name = shown(path.name.removesuffix(".ipynb"))
        while name in found:
            name += "~"
        notebooks = _notebooks(path) if is_folder else [path]
        ranked = sorted(notebooks, key=lambda p: _match(p, stem), reverse=True)
        doubt = "" if name == own else f"This is a second submission called {own}."
        if len(ranked) > 1 and _match(ranked[0], stem)[0] == _match(ranked[1], stem)[0]:
            doubt = f"{shown(ranked[0].name)} was graded; {shown(ranked[1].name)} fits as well."
        found[name] = Submission(name, ranked[0] if ranked else path, doubt)
    return [found[name] for name in sorted(found)]


def passed_over(folder: Path) -> list[str]:
    """The files in the folder that are no submission, such as archives."""
    files = (p for p in folder.iterdir() if not p.is_dir() and p.suffix != ".ipynb")
    return sorted(shown(p.name) for p in files if not p.name.startswith("."))


def shown(text: str) -> str:
    """A name or message that may be written anywhere: text, in one line.

    >>> shown("a\\x1b[31mb\\n c")
    'a[31mb c'
    """
    text = text.encode("utf-8", "replace").decode()
    kept = "".join(c if c.isprintable() else " " * c.isspace() for c in text)
    return " ".join(kept.split())


def _notebooks(folder: Path, depth: int = 3) -> list[Path]:
    """The notebooks in a folder, but for what Jupyter keeps for itself."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda p: p.name)[:1000]:
        if path.name.startswith("."):
            continue
        if path.suffix == ".ipynb":
            found.append(path)
        elif depth and path.is_dir() and not path.is_symlink():
            found += _notebooks(path, depth - 1)
    return found


def _match(path: Path, stem: str) -> tuple[int, bool]:
    """How well a file fits a chapter: checks and answers of it; then its name."""
    try:
        text = Submission("", path).read()
    except Unreadable:
        return -1, False
    number = stem[:2].encode()
    return len(set(re.findall(rb"\b" + number + rb"-\d+\b", text))), path.stem == stem


def steps(data: bytes, exercises: dict[str, str]) -> list[Step]:
    """The code cells in order, and after which of them each exercise is judged.

    `exercises` gives the kind of each. An answer is judged where the student checked
    it; at its own cell where that line is gone; and always, at last, after all cells.
    """
    cells = [c for c in cells_of(data) if c.get("cell_type") == "code"][:MOST_CELLS]
    sources = [text_of(cell) for cell in cells]
    marks = [
        (CHECK.findall(source), grade_id(cell))
        for source, cell in zip(sources, cells, strict=True)
    ]
    judged: list[list[str]] = [[] for _ in cells]
    for id, kind in exercises.items():
        checked = [i for i, (ids, _) in enumerate(marks) if id in ids]
        places = checked or [i for i, (_, own) in enumerate(marks) if own == id]
        # one guess is a guess; an attempt at code may be tried where it stood
        for i in places[-(TIMES if kind == "code" else 1) :]:
            judged[i].append(id)
    return [
        Step(f"cell {i + 1}", source, tuple(ids))
        for i, (source, ids) in enumerate(zip(sources, judged, strict=True))
    ]


def cells_of(data: bytes) -> list[dict]:
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Unreadable("The file is not text in UTF-8: save it in Jupyter.") from None
    except (ValueError, RecursionError) as error:
        told = str(error)[:80]
        raise Unreadable(
            f"The file is not a notebook, as it is no JSON ({told})."
        ) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        version = notebook.get("nbformat") if isinstance(notebook, dict) else None
        raise Unreadable(
            f"The file has no list of cells (its nbformat is {str(version)[:20]}, and "
            "4 has one): open it in Jupyter, and save it again."
        )
    return [cell for cell in cells if isinstance(cell, dict)]


def text_of(cell: dict) -> str:
    """The cell's text, however it is kept, with the line ends of this course."""
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str):
        return ""
    return source.replace("\r\n", "\n").replace("\r", "\n")


def grade_id(cell: dict) -> object:
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
