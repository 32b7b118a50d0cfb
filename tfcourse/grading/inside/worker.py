"""The process that runs a learner's cells and answers what a check asks of them."""

import ast
import builtins
import linecache
import os
import re
import sys
import types
from importlib import import_module

from tfcourse.grading.inside import wire

METHODS = (
    *("value", "call", "left", "make"),
    *("call_made", "state", "load", "gradients"),
)
MAGIC = re.compile(r"[%!?]|.*\?\s*$")


def serve(reads: int, writes: int) -> None:
    """Answer requests until the grader hangs up."""
    cells = Cells()
    while True:
        try:
            token, kind, rest = wire.receive(reads)
        except EOFError:
            return
        wire.send(writes, _reply(cells, token, kind, rest))


def _reply(cells: "Cells", token: str, kind: str, rest: tuple) -> bytes:
    finding = import_module("tfcourse.checks.compare").Finding
    try:
        return wire.pack((token, "value", getattr(cells, kind)(*rest)))
    except finding as found:
        told = found.status, str(found.says), str(found.seen)
        return wire.pack((token, "found", told))
    except BaseException as error:  # noqa: BLE001 - the learner's code may raise any
        return wire.pack((token, "raised", _told(error)))


def _told(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {str(error)[:300]}"
    except BaseException:  # noqa: BLE001 - nor need its message be one
        return "an error without a message"


class Cells:
    """The notebook's namespace, and the learner's side of the checks over it."""

    def __init__(self):
        self.module = types.ModuleType("__main__")
        self.names = self.module.__dict__
        self.names |= {"__builtins__": builtins, "display": lambda *_, **__: None}
        sys.modules["__main__"] = self.module
        self.notebook = import_module("tfcourse.checks.answers").Notebook(self.names)

    def run(self, name: str, source: str) -> None:
        """Run a cell."""
        tree = _parsed(source, name)
        lines = source.splitlines(keepends=True)
        linecache.cache[name] = (len(source), None, lines, name)  # for messages
        exec(compile(tree, name, "exec"), self.names)  # noqa: S102 - in the sandbox

    def echo(self, text: str) -> str:
        """The text: the worker still answers."""
        return text

    def ask(self, method: str, args: tuple) -> object:
        """What the learner's side of a check returns."""
        if method not in METHODS:
            raise ValueError(f"a check asks for one of {METHODS}, not {method!r}")
        return getattr(self.notebook, method)(*args)


def _parsed(source: str, name: str) -> ast.Module:
    """The cell's syntax tree; where it is no Python, without Jupyter's own lines."""
    try:
        return ast.parse(source, name)
    except SyntaxError:
        kept = without_magics(source)
        if kept == source:
            raise
        return ast.parse(kept, name)


def without_magics(source: str) -> str:
    """The cell with `%magic`, `!command` and `name?` lines passed over.

    >>> without_magics("%matplotlib inline\\nx = 1")
    'pass\\nx = 1'
    """
    lines = source.split("\n")
    first = lines[0].lstrip()
    if first.startswith("%%") and not first.startswith(("%%time", "%%capture")):
        return "pass"  # the cell is in another language
    return "\n".join(
        line[: len(line) - len(line.lstrip())] + "pass"
        if MAGIC.match(line.lstrip())
        else line
        for line in lines
    )


def go_silent() -> None:
    """Standard input is empty, and what is printed is gone."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    if nothing > 2:
        os.close(nothing)
