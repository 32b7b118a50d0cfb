"""Grading many submissions: graders side by side, and whatever becomes of one of them.

A grader is a fork of this process with a sandbox of its own. It is told which
submission to grade and tells how it goes, a line each. Should one die or not end (a
check that was led into a loop, say), what it had judged counts, the exercise at fault
is given up, and a new one takes over.
"""

import ctypes
import json
import os
import resource
import select
import selectors
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfcourse.grading.inside.confine import DIE_WITH_PARENT
from tfcourse.grading.judge import Mark, Plan, Record, grade
from tfcourse.grading.sandbox import NoSandbox
from tfcourse.grading.submission import Submission

GRADER_MEMORY = 4 << 30  # bytes, beside what it has from the start
LOOK = 1.0  # seconds to wait for news
KINDNESS = 5  # seconds for a grader to end its sandbox
GAVE_UP = "The check did not come to an end with this answer."
BROKEN = "Reading this submission, or running its cells, stopped the grader twice."


@dataclass
class Job:
    """A submission to grade, and what is known of it so far."""

    submission: Submission
    known: list[Mark] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    judging: str = ""
    tries: int = 0
    found: dict[str, list[Mark]] = field(default_factory=dict)

    def hear(self, event: dict) -> None:
        """Keep what the grader tells."""
        if "judging" in event:
            self.judging = event["judging"]
        if "judged" in event:
            marks = [Mark(**mark) for mark in event["judged"]]
            self.found[self.judging] = marks
            self.judging = ""

    def again(self, plan: Plan) -> None:
        """The grader is gone: its marks are known now, and the one at fault lost."""
        lost = [
            replace(mark, status="error", says=GAVE_UP)
            for mark in plan.blank()
            if mark.id == self.judging
        ]
        right = [ms for ms in self.found.values() if all(m.points for m in ms)]
        kept = [m for marks in right for m in marks if m.id != self.judging]
        columns = {m.column for m in kept + lost}
        self.known = [m for m in self.known if m.column not in columns] + kept + lost
        self.tries += not self.judging
        self.judging = ""


class Grader:
    """A forked process that grades what it is told to, one submission at a time."""

    def __init__(self, plan: Plan, place):
        self._plan, self._place = plan, place
        self.job: Job | None = None
        self._start()

    def _start(self) -> None:
        orders, self._orders = os.pipe()
        self.events, events = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._orders)
            os.close(self.events)
            _grader(self._plan, self._place, orders, events)
        os.close(orders)
        os.close(events)
        self._heard, self.left = b"", 0.0

    def give(self, job: Job) -> None:
        """Let it grade this."""
        self.job = job
        self.left = 1.5 * self._plan.limits.submission + 180  # seconds for all of it
        student = job.submission.student, os.fsencode(job.submission.path).hex()
        known = [vars(mark) for mark in job.known]
        order = {"student": student, "known": known, "given_up": job.given_up}
        with suppress(OSError):  # if it is gone, its events end, and that is heard
            _write(self._orders, json.dumps(order).encode() + b"\n")

    def hear(self) -> Iterator[dict]:
        """What it has told since; EOFError when it is gone."""
        part = os.read(self.events, 1 << 16)
        if not part:
            raise EOFError
        *lines, self._heard = (self._heard + part).split(b"\n")
        yield from map(json.loads, lines)

    def end(self) -> None:
        """End it, and with it its sandbox: kindly, where it is waiting for work."""
        if self.job is None:
            with suppress(OSError):
                _write(self._orders, b"null\n")
            select.select([self.events], [], [], KINDNESS)
        with suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._orders)
        os.close(self.events)

    def renew(self) -> None:
        """Another one in its place."""
        self.end()
        self._start()


def _grader(plan: Plan, place, orders: int, events: int) -> None:
    """The life of a grader; it never returns."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
        _bound_memory()

        def tell(event: dict) -> None:
            _write(events, json.dumps(event).encode() + b"\n")

        with open(orders, encoding="ascii") as lines:
            for line in lines:
                order = json.loads(line)
                if order is None:
                    break
                student, path = order.pop("student")
                order["known"] = [Mark(**mark) for mark in order["known"]]
                path = Path(os.fsdecode(bytes.fromhex(path)))
                submission = Submission(student, path)
                try:
                    record = grade(plan, submission, place, tell, **order)
                except NoSandbox as error:
                    tell({"stop": str(error)})
                    break
                tell({"record": record.as_json()})
        status = 0
    except BaseException as error:  # noqa: BLE001 - it is told, and the next one begins
        print(f"grader: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        with suppress(Exception):
            place.close()
        os._exit(status)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _bound_memory() -> None:
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            already = int(file.read().split()[0]) * resource.getpagesize()
        most = already + GRADER_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def run(
    plan: Plan,
    todo: Iterable[Job],
    place: Callable[[], object],
    graders: int = 2,
) -> Iterator[Record]:
    """The records of all submissions, in the order in which they get ready."""
    waiting = deque(todo)
    team = [Grader(plan, place()) for _ in range(min(graders, len(waiting)))]
    with selectors.DefaultSelector() as selector:
        try:
            for grader in team:
                selector.register(grader.events, selectors.EVENT_READ, grader)
                grader.give(waiting.popleft())
            while any(grader.job for grader in team):
                yield from _round(plan, team, selector, waiting)
        finally:
            for grader in team:
                grader.end()


def _round(plan: Plan, team: list, selector, waiting: deque) -> Iterator[Record]:
    """Hear who has something to tell; replace who is gone or takes too long."""
    start = time.monotonic()
    ready = {key.data for key, _ in selector.select(timeout=LOOK)}
    passed = min(time.monotonic() - start, 2 * LOOK)  # more, if the machine slept
    for grader in team:
        job, record = grader.job, None
        grader.left -= passed
        if job is None:
            continue
        gone = grader.left < 0
        if grader in ready and not gone:
            try:
                for event in grader.hear():
                    if "stop" in event:
                        raise NoSandbox(event["stop"])
                    job.hear(event)
                    if "record" in event:
                        record = Record.from_json(event["record"])
            except (EOFError, ValueError):
                gone = record is None
        if gone:
            selector.unregister(grader.events)
            grader.renew()
            selector.register(grader.events, selectors.EVENT_READ, grader)
            job.again(plan)
            if job.tries < 2:
                grader.give(job)
                continue
            record = _broken(plan, job)
        if record is not None:
            grader.job = None
            yield _flagged(record)
            if waiting:
                grader.give(waiting.popleft())


def _broken(plan: Plan, job: Job) -> Record:
    known = {mark.column: mark for mark in job.known}
    lost = (replace(m, status="error", says=GAVE_UP) for m in plan.blank())
    marks = tuple(known.get(mark.column, mark) for mark in lost)
    return Record(job.submission.student, marks, (), (BROKEN,))


def _flagged(record: Record) -> Record:
    """With a word on each exercise that was given up."""
    if record.look == (BROKEN,):
        return record
    given_up = [m.id for m in record.marks if m.says == GAVE_UP]
    told = tuple(f"{id}: {GAVE_UP}" for id in dict.fromkeys(given_up))
    return replace(record, look=tuple(dict.fromkeys(record.look + told)))
