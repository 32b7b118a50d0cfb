"""tools.lab: a learner's copy is made once, and never overwritten."""

import subprocess
import sys

import pytest
from jupyter_server.serverapp import ServerApp
from little_course import code

from tools import lab


@pytest.fixture
def book(course):
    course.notebook("chapters/01_a.ipynb", code("1", "a"))
    course.notebook("exercises/01_a.ipynb", code("2", "a"))
    course.notebook("solutions/01_a.ipynb", code("3", "a"))
    return course


def copied(book):
    files = (book.root / "work").rglob("*")
    return sorted(f.relative_to(book.root).as_posix() for f in files if f.is_file())


def test_chapters_and_exercises_are_copied_and_solutions_are_not(book):
    names = ["work/chapters/01_a.ipynb", "work/exercises/01_a.ipynb"]
    assert lab.copy(book.root) == [f"copied {name}" for name in names]
    assert copied(book) == names
    for name in names:
        original = book.root / name.removeprefix("work/")
        assert (book.root / name).read_bytes() == original.read_bytes()


def test_a_copy_is_never_overwritten(book):
    lab.copy(book.root)
    mine = book.file("work/exercises/01_a.ipynb", "my work")
    book.notebook("chapters/02_b.ipynb", code("4", "b"))
    assert lab.copy(book.root) == [
        "kept   work/chapters/01_a.ipynb",
        "copied work/chapters/02_b.ipynb",
        "kept   work/exercises/01_a.ipynb (yours; rename it to get the book's as well)",
    ]
    assert mine.read_text("utf-8") == "my work"


def test_the_lab_is_rooted_in_work_and_gets_the_options(book, monkeypatch, capsys):
    called = []
    monkeypatch.setattr(lab, "ROOT", book.root)
    monkeypatch.setattr(subprocess, "call", lambda command: called.append(command) or 3)
    assert lab.main(["--no-browser", "--port=9"]) == 3
    root = f"--ServerApp.root_dir={book.root / 'work'}"
    start = [sys.executable, "-m", "jupyterlab"]
    assert called == [[*start, root, "--no-browser", "--port=9"]]
    assert "copied work/chapters/01_a.ipynb" in capsys.readouterr().out


def test_the_server_has_that_option():
    assert "root_dir" in ServerApp.class_trait_names()
