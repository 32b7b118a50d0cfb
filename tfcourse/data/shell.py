"""What a command does: a small interpreter, and a judge that compares outcomes.

The interpreter knows exactly the commands that tfcourse.data.commands can write, and runs
them on a small computer made for the purpose: a temporary folder with files of several
sizes, dates, names and contents, a list of processes, and a battery. Nothing is ever
handed to a real shell.
"""

import atexit
import fnmatch
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from tfcourse.data.commands import BATTERY, NAMES, PLACES, PROGRAMS, WORDS

HOME = "home"  # where commands run, beside the places that they copy to
NOW = 1_700_000_000  # seconds, on the small computer's clock
DAY = 24 * 60 * 60
FILE_SIZES = (0.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150)  # kB: the grammar's,
FILE_AGES = (0.5, 2.5, 3.5, 5, 7.5, 10, 14.5, 20, 30.5, 40)  # days, and some between
SHARES_USED = (3, 5, 7, 10, 15, 25, 40, 50, 60, 75, 90)  # per cent, likewise
KINDS = {"txt": "papers", "jpg": "pictures", "log": "logs"}  # ending: folder
YES_OR_NO = ["&&", "echo", "yes", "||", "echo", "no"]


class CommandError(ValueError):
    """A command that the interpreter does not know; says where it stopped."""


@dataclass(frozen=True)
class Outcome:
    """What a command said, and what the folders hold after it: () if it changes nothing."""

    said: tuple[str, ...]
    tree: tuple[str, ...]


@contextmanager
def small_computer() -> Iterator[Path]:
    """A temporary folder with something in it; gone at the end."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        _fill(root)
        yield root


def _fill(root: Path) -> None:
    for place in PLACES:
        (root / place).mkdir()
    for kind, folder in KINDS.items():
        for i, name in enumerate(NAMES):
            for j in range(6):
                path = root / HOME / folder / f"{'my-' * (j % 2)}{name}{j}.{kind}"
                size = FILE_SIZES[(i + 3 * j) % len(FILE_SIZES)]
                word = [*WORDS, ""][(2 * i + j) % (len(WORDS) + 1)]
                age = FILE_AGES[(i + j) % len(FILE_AGES)]
                _write(path, word, round(1024 * size), age)
    for i, name in enumerate(NAMES):
        for prefix in ("", "my-"):
            path = root / HOME / "folders" / f"{prefix}{name}"
            path.mkdir(parents=True)
            _age(path, FILE_AGES[(i + len(prefix)) % len(FILE_AGES)])
    for folder in (*KINDS.values(), "folders"):
        _age(root / HOME / folder, FILE_AGES[-1])
    _write(root / HOME / "program.log", "finished", 700, FILE_AGES[1])
    _write(root / HOME / "battery.log", "charging, full", 700, FILE_AGES[2])
    battery = root / BATTERY.lstrip("/")
    battery.mkdir(parents=True)
    (battery / "capacity").write_text("25\n", "utf-8")
    (battery / "status").write_text("Discharging\n", "utf-8")
    for path in battery.iterdir():
        _age(path, 0)


def _write(path: Path, word: str, size: int, age: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{word}\n".encode().ljust(size, b"."))
    _age(path, age)


def _age(path: Path, days: float) -> None:
    os.utime(path, (NOW - days * DAY,) * 2)


def _processes() -> list[tuple[int, int, int, str]]:
    """Number, per cent of a processor, per cent of memory, and name of each process."""
    n = len(SHARES_USED)
    return [
        (100 + i, SHARES_USED[i % n], SHARES_USED[(i // 2 + i) % n], PROGRAMS[i % 5])
        for i in range(33)
    ]


@lru_cache(maxsize=10_000)
def outcome(command: str) -> Outcome:
    """What a command says and leaves behind on a fresh small computer.

    Several commands are joined by ";". Raises CommandError, naming the word, for anything
    that the grammar cannot have written.
    """
    reader = _Reader(command.split())
    commands = parse(reader)
    with small_computer() if reader.changes else nullcontext(_unchanged()) as root:
        said = [line for run in commands for line in run(root)]
        tree = _tree(root) if reader.changes else ()
    return Outcome(tuple(said), tree)


@lru_cache(maxsize=1)
def _unchanged() -> Path:
    """A small computer for all commands that only look, gone when Python ends."""
    computer = small_computer()
    atexit.register(computer.__exit__, None, None, None)
    return computer.__enter__()


def _tree(root: Path) -> tuple[str, ...]:
    return tuple(sorted(_described(path, root) for path in root.rglob("*")))


def same_outcome(predicted: str, reference: str) -> bool:
    """Whether the predicted command says and leaves behind what the reference does.

    A prediction that is no command is wrong; a reference that is none raises CommandError.
    """
    wanted = outcome(reference)
    try:
        return outcome(predicted) == wanted
    except CommandError:
        return False


def executed_accuracy(predicted: Sequence[str], references: Sequence[str]) -> float:
    """The share of predicted commands that do what their reference does: from 0 to 1.

    ValueError for lists of different lengths, or none; CommandError as same_outcome.
    """
    if len(predicted) != len(references) or not references:
        raise ValueError(
            "there must be a reference for each prediction, and one or more; "
            f"got {len(predicted)} predictions, {len(references)} references"
        )
    return sum(map(same_outcome, predicted, references)) / len(references)


class _Reader:
    """The words of a command, taken one after the other."""

    def __init__(self, words: list[str]):
        self.words, self.place = words, 0
        self.changes = False  # whether one of the commands copies or moves

    def see(self, *words: str) -> bool:
        """Whether these come next; if so, they are taken."""
        end = self.place + len(words)
        if tuple(self.words[self.place : end]) != words:
            return False
        self.place = end
        return True

    def take(self, *words: str) -> None:
        """Take these; CommandError where others come."""
        if not self.see(*words):
            self.fail(" ".join(words))

    def next(self) -> str:
        """Take one word, whatever it is; CommandError at the end."""
        if self.place == len(self.words):
            self.fail("a word")
        self.place += 1
        return self.words[self.place - 1]

    def refuse(self, wanted: str) -> NoReturn:
        """CommandError at the word that was taken last."""
        self.place -= 1
        self.fail(wanted)

    def fail(self, wanted: str) -> NoReturn:
        """CommandError at the word that comes next."""
        got = "".join(self.words[self.place : self.place + 1]) or "the end"
        raise CommandError(
            f"expected {wanted} and got {got} as word {self.place + 1} of "
            f"{' '.join(self.words)!r}"
        )


def parse(reader: _Reader) -> list:
    """The commands that are joined by ";", each as a function of the folder -> lines."""
    commands = [_one(reader)]
    while reader.place < len(reader.words):
        reader.take(";")
        commands.append(_one(reader))
    return commands


def _one(reader: _Reader):
    if reader.see("find", "."):
        return _find(reader)
    if reader.see("ps", "-e", "--no-headers", "-o", "pid,pcpu,pmem,comm"):
        return _ps(reader)
    if reader.see("cat"):
        path = _battery_file(reader.next(), reader)
        return lambda root: path(root).read_text("utf-8").splitlines()
    if reader.see("["):
        return _compare(reader)
    if reader.see("grep", "-q"):
        return _grep(reader)
    reader.fail("find, ps, cat, [ or grep")


def _battery_file(name: str, reader: _Reader):
    if name not in (f"{BATTERY}/capacity", f"{BATTERY}/status"):
        reader.refuse(f"{BATTERY}/capacity or {BATTERY}/status")
    return lambda root: root / name.lstrip("/")


def _compare(reader: _Reader):
    """[ $(cat capacity) -lt 20 ] && echo yes || echo no"""
    reader.take("$(cat")
    path = _battery_file(reader.next().removesuffix(")"), reader)
    sign = reader.next()
    if sign not in ("-lt", "-ge"):
        reader.refuse("-lt or -ge")
    level = _number(reader.next(), reader)
    reader.take("]", *YES_OR_NO)

    def run(root: Path) -> list[str]:
        text = path(root).read_text("utf-8").strip()
        if not text.isdigit():
            return ["no"]
        return _yes_or_no((int(text) < level) == (sign == "-lt"))

    return run


def _grep(reader: _Reader):
    """grep -q word file && echo yes || echo no"""
    word, name = reader.next(), reader.next()
    ours = name in ("program.log", "battery.log")
    path = (lambda root: root / HOME / name) if ours else _battery_file(name, reader)
    reader.take(*YES_OR_NO)

    def run(root: Path) -> list[str]:
        lines = path(root).read_text("utf-8").splitlines()
        start = word.startswith("^")
        return _yes_or_no(
            any(line.startswith(word[1:]) if start else word in line for line in lines)
        )

    return run


def _yes_or_no(truth: bool) -> list[str]:
    return ["yes" if truth else "no"]


def _number(word: str, reader: _Reader) -> int:
    if not word.isdigit():
        reader.refuse("a number")
    return int(word)


def _pipe(reader: _Reader):
    """What may come after a list: nothing, a count of it, or whether there is any."""
    if reader.see("|", "wc", "-l"):
        return lambda lines: [str(len(lines))]
    if reader.see("|", "grep", "-q", ".", *YES_OR_NO):
        return lambda lines: _yes_or_no(bool(lines))
    return lambda lines: lines


# Processes


def _ps(reader: _Reader):
    tests, columns = [], slice(None)
    while reader.see("|", "awk"):
        program = reader.next()
        if program == "'{print$1}'":
            columns = slice(0, 1)
            break
        tests.append(_awk(program, reader))
    after = _pipe(reader)

    def run(root: Path) -> list[str]:
        rows = [row for row in _processes() if all(test(row) for test in tests)]
        return after([" ".join(map(str, row[columns])) for row in rows])

    return run


def _awk(program: str, reader: _Reader):
    """'$2>50', '$3<=50', '$4=="name"', '$4!="name"' as a test of a row."""
    column, inner = program[1:3], program[3:-1]
    if program[:1] == program[-1:] == "'":
        for sign in ("==", "!="):
            if column == "$4" and inner.startswith(f'{sign}"') and inner[-1] == '"':
                name = inner[3:-1]
                return lambda row: (row[3] == name) == (sign == "==")
        for sign in ("<=", ">"):
            value = inner.removeprefix(sign)
            if column in ("$2", "$3") and inner.startswith(sign) and value.isdigit():
                place, limit = int(column[1]) - 1, int(value)
                return lambda row: (row[place] > limit) == (sign == ">")
    reader.refuse("a test of a column")


# Files


def _find(reader: _Reader):
    """find . tests, and then -print, -ls, or -exec with cp or mv; what _pipe knows."""
    tests = []
    while reader.place < len(reader.words):
        if reader.see("-print"):
            action = _names
        elif reader.see("-ls"):
            action = _details
        elif reader.see("-exec", "cp", "-r", "-t"):
            action = _transfer(reader, _copy)
        elif reader.see("-exec", "mv", "-t"):
            action = _transfer(reader, shutil.move)
        else:
            tests.append(_test(reader))
            continue
        return _acted(tests, action, _pipe(reader))
    reader.fail("-print, -ls or -exec")


def _acted(tests: list, action, after):
    def run(root: Path) -> list[str]:
        home = root / HOME
        found = [
            path
            for path in [home, *sorted(home.rglob("*"))]
            if all(test(path, home) for test in tests)
        ]
        return after(action(found, home))

    return run


def _names(found: list[Path], home: Path) -> list[str]:
    return [f"./{path.relative_to(home)}" for path in found]


def _details(found: list[Path], home: Path) -> list[str]:
    return [f"./{_described(path, home)}" for path in found]


def _described(path: Path, root: Path) -> str:
    """Kind, size and day of a file, and where it lies; of a folder, where it lies."""
    name = path.relative_to(root)
    if path.is_dir():
        return f"{name}/"
    state = path.stat()
    return f"{name} {state.st_size} {state.st_mtime:.0f}"


def _transfer(reader: _Reader, act):
    """-exec cp -r -t /place {} +, or mv: what was found goes there, as far as it can."""
    reader.changes, place = True, reader.next()
    if place.removeprefix("/") not in PLACES or not place.startswith("/"):
        reader.refuse(f"one of {', '.join('/' + p for p in PLACES)}")
    reader.take("{}", "+")

    def run(found: list[Path], home: Path) -> list[str]:
        said = []
        for path in found:
            goal = home.parent / place[1:] / path.name
            if path == home or not path.exists() or goal.exists():
                said.append(f"cannot take {path.relative_to(home)}")
            else:
                act(path, goal)
        return said

    return run


def _copy(path: Path, goal: Path) -> None:
    (shutil.copytree if path.is_dir() else shutil.copy2)(path, goal)


def _test(reader: _Reader):
    if reader.see("!"):
        test = _test(reader)
        return lambda path, home: not test(path, home)
    if reader.see("-mindepth", "1"):
        return lambda path, home: path != home
    if reader.see("-type", "f"):
        return lambda path, home: path.is_file()
    if reader.see("-type", "d"):
        return lambda path, home: path.is_dir()
    if reader.see("-name"):
        pattern = reader.next().strip("'")
        return lambda path, home: fnmatch.fnmatchcase(path.name, pattern)
    if reader.see("-size"):
        return _measured(reader, "k", lambda state: -(-state.st_size // 1024))
    if reader.see("-mtime"):
        return _measured(reader, "", lambda state: (NOW - state.st_mtime) // DAY)
    if reader.see("-exec", "grep", "-q"):
        word = reader.next()
        reader.take("{}", "\\;")
        return lambda path, home: path.is_file() and word.encode() in path.read_bytes()
    reader.fail("a test of find")


def _measured(reader: _Reader, unit: str, measure):
    """+5 is more than 5, -5 less: whole kilobytes, begun ones counting, or whole days."""
    word = reader.next()
    sign, number = word[:1], word[1:].removesuffix(unit)
    if sign not in ("+", "-") or not number.isdigit() or not word.endswith(unit):
        reader.refuse(f"+ or - and a number{' and ' + unit if unit else ''}")
    limit = int(number)
    if sign == "+":
        return lambda path, home: measure(path.stat()) > limit
    return lambda path, home: measure(path.stat()) < limit
