"""The hostile suite: what a submission may try, and what it gets.

One run of the command grades them all, among honest submissions.
"""

import csv
import ctypes
import http.server
import json
import os
import resource
import subprocess
import sys
import threading
import time

import pytest
from hostile import (
    ALL,
    CANARY,
    HONEST_CASES,
    PLACES,
    cases,
    notebook,
    written,
)

from tools.notebooks import ROOT

CHILD_SUBREAPER = 36
LIMITS = "--call-seconds 3 --cell-seconds 4 --submission-seconds 30 --memory 0.3"
# what cannot be read at all; the other places hold nothing of interest
CLOSED = {name for name, _ in PLACES} - {"the_environment", "other_processes"}


def grading(*arguments, **environment):
    """The command, as an instructor calls it; the process when it has ended."""
    return subprocess.run(
        [sys.executable, "-m", "tfcourse.grading", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def hand_in(case, folder):
    """Put a submission where the grader looks."""
    path = folder / f"{case.name}.ipynb"
    (case.make or written(notebook(case.cells, case.metadata)))(path)


class Visits(http.server.BaseHTTPRequestHandler):
    """A server that counts who comes."""

    seen = 0

    def do_GET(self):
        type(self).seen += 1


@pytest.fixture
def listening():
    server = http.server.HTTPServer(("127.0.0.1", 0), Visits)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def tree(folder):
    """All that is in a folder, with sizes and times, but for what Python caches."""
    return {
        (path, path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and not path.is_dir()
    }


def children():
    """The processes below this one."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            found |= set(file.read().split())
    return found


def left_running(mine):
    """The processes below this one that are new and do not end by themselves."""
    for _ in range(100):
        while (orphans := children() - mine) and os.waitpid(-1, os.WNOHANG)[0]:
            pass
        if not orphans:
            break
        time.sleep(0.1)
    return orphans


def faults_of(case, record, of):
    """In words, where a submission did not get what it should."""
    points = sum(m["of"] for m in record["marks"] if m["status"] == "right")
    if points != case.points:
        states = {m["id"]: (m["status"], m["says"][:60]) for m in record["marks"]}
        yield f"{case.name}: {points} points, not {case.points}: {states} {record}"
    if case.looks not in (None, bool(record["look"])):
        yield f"{case.name}: a look is needed: {record['look']}, not {case.looks}"
    if sum(m["of"] for m in record["marks"]) != of:
        yield f"{case.name}: another total"
    closed = case.name in {f"reads_{name}" for name in CLOSED}
    if closed and not any("Error" in note for note in record["notes"]):
        yield f"{case.name}: it was read: {record['notes']}"


def test_every_hostile_notebook_gets_the_honest_grade(tmp_path, listening, bubblewrap):
    folder, out = tmp_path / "submissions", tmp_path / "out"
    folder.mkdir()
    hostile = list(cases(folder, out, listening))
    assert len({case.name for case in hostile}) == len(hostile) >= 40
    for case in (*hostile, *HONEST_CASES):
        hand_in(case, folder)
    out.mkdir()
    (out / "seed.txt").write_text(f"{CANARY}-secret")
    (tmp_path / "private.py").write_text(f"# {CANARY}-secret")
    Visits.seen = 0
    places = folder, ROOT / "tfcourse", ROOT / "solutions"
    before, mine = [tree(place) for place in places], children()
    ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)
    run = grading(
        *(folder, "--chapter", "05", "--out", out, "--graders", 2, *LIMITS.split()),
        SECRET_OF_THE_HOST=f"{CANARY}-secret",
    )
    assert run.returncode == 0, run.stderr
    # nothing is left running, written, or found out
    assert left_running(mine) == set()
    assert [tree(place) for place in places] == before
    assert Visits.seen == 0
    (out / "seed.txt").unlink()
    for path in out.rglob("*.*"):
        told = path.read_text("utf-8")
        for leak in (f"{CANARY}-secret", CANARY.upper(), "SECRET_OF_THE_HOST"):
            assert leak not in told, path
        if path.suffix == ".html":
            assert "<script" not in told and "<img" not in told
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 << 20  # KiB
    # and each has the honest grade
    records = {}
    for path in (out / "records").glob("*.json"):
        record = json.loads(path.read_text("utf-8"))
        records[record["student"]] = record
    expected = (*hostile, *HONEST_CASES)
    assert records.keys() == {case.name for case in expected}
    faults = [f for c in expected for f in faults_of(c, records[c.name], ALL)]
    assert not faults, "\n".join(faults)
    with open(out / "grades.csv", encoding="utf-8", newline="") as file:
        rows = {row["student"].lstrip("'"): row for row in csv.DictReader(file)}
    assert {n: int(row["points"]) for n, row in rows.items()} == {
        case.name: case.points for case in expected
    }
