"""Grading: what is read, how it is judged, what is written; interrupted and shared out."""

import json
import math
import os
import re
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hostile import HONEST, MASK, START, notebook, written

from tfcourse.checks.proofs import answers_file, load
from tfcourse.grading import batch, command, handed, handout, report
from tfcourse.grading.inside import wire
from tfcourse.grading.inside.worker import Cells, _reply, without_magics
from tfcourse.grading.judge import Mark, Plan, Record, grade
from tfcourse.grading.remote import Remote, Session
from tfcourse.grading.sandbox import Connection, Container, Limits, NoSandbox, Sandbox
from tfcourse.grading.submission import (
    Submission,
    passed_over,
    steps,
    submissions,
)
from tfcourse.notebook.chapters import CHAPTERS, by_number
from tools.notebooks import ROOT

WRITTEN = [c for c in CHAPTERS if (ROOT / "solutions" / f"{c.stem}.ipynb").exists()]
SECRET = "a secret of the tests"


# The pipe


def crossing(value):
    """What arrives of a value."""
    return arriving(wire.pack(value))


def arriving(message):
    """The value of a message."""
    length, size = wire.HEAD.unpack(message[: wire.HEAD.size])
    start = wire.HEAD.size + length
    assert len(message) == start + size
    return wire.unpack(message[wire.HEAD.size : start], message[start:])


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, -(10**30), 0.1, math.inf, "Straße\n", "\ud800"),
        *([], (), {}, [1, (2, [3.0])], {1: "a", (2, None): [True]}),
    ],
    ids=repr,
)
def test_plain_values_cross(value):
    got = crossing(value)
    assert got == value and type(got) is type(value)
    assert math.isnan(crossing(math.nan))


@pytest.mark.parametrize("dtype", wire.DTYPES.values(), ids=wire.DTYPES)
def test_tensors_cross(dtype):
    for shape in ((), (0,), (2, 3), (4, 0, 1)):
        tensor = (3 * torch.randn(shape)).to(dtype)
        got = crossing([tensor, {"t": tensor.mT if len(shape) > 1 else tensor}])[0]
        assert got.dtype == dtype and torch.equal(got, tensor)


def test_what_may_not_cross_is_named():
    for value, told in (
        (object(), "a object may not cross"),
        (torch.zeros(2, device="meta"), "meta"),
        (torch.zeros(1 << 25), "too large"),
        ("x" * (5 << 20), "too large"),
    ):
        with pytest.raises((TypeError, NotImplementedError), match=told):
            wire.pack(value)
    deep = []
    for _ in range(30):
        deep = [deep]
    with pytest.raises(TypeError, match="24 deep"):
        wire.pack(deep)


@pytest.mark.parametrize(
    "tree",
    [
        "[1]",
        '{"tensor": 0}',
        '{"tensor": 5, "dtype": "float32", "shape": []}',
        '{"tensor": 0, "dtype": "float32", "shape": [2]}',
        '{"tensor": 0, "dtype": "float32", "shape": [-1]}',
        '{"tensor": 0, "dtype": "float32", "shape": [1, 0, 9999999999999]}',
        '{"tensor": 0, "dtype": "object", "shape": [1]}',
        '{"dict": [[{"list": []}, 1]]}',
        '{"dict": [1]}',
        '{"list": 7}',
        '{"set": [1]}',
        '{"a": 1, "b": 2}',
        "9" * 5000,
        "[" * 5000,
        '{"list": [' * 40 + "]}" * 40,
    ],
    ids=lambda tree: tree[:40],
)
def test_hostile_bytes_are_no_message(tree):
    text = f'{{"value": {tree}, "sizes": [4]}}'.encode()
    with pytest.raises(wire.WireError):
        wire.unpack(text, bytes(4))


def test_sizes_must_add_up():
    for sizes in ("[3]", "[-4, 8]", "[true]", '["4"]', "4", "null"):
        with pytest.raises(wire.WireError):
            wire.unpack(f'{{"value": 1, "sizes": {sizes}}}'.encode(), bytes(4))


def test_waiting_has_an_end():
    reads, writes = os.pipe()
    try:
        with pytest.raises(TimeoutError):
            wire.receive(reads, wire.Patience(0.01))
        os.set_blocking(writes, False)
        with pytest.raises(TimeoutError):
            wire.send(writes, bytes(1 << 20), wire.Patience(0.01))
    finally:
        os.close(reads)
        os.close(writes)


def test_a_machine_that_slept_is_charged_for_one_look(monkeypatch):
    now = iter((0, 3600))
    monkeypatch.setattr(wire.time, "monotonic", lambda: next(now))
    patience = wire.Patience(10)

    class Poll:
        def poll(self, milliseconds):
            return []

    assert not patience.spent_on(Poll())
    assert patience.left == 9


def test_an_answer_to_nothing_that_was_asked_is_refused():
    reads, theirs = os.pipe()
    takes, writes = os.pipe()
    connection = Connection(reads, writes, lambda: "")
    os.write(theirs, wire.pack(("guessed", "value", 1)))
    with pytest.raises(wire.WireError, match="no answer to what was asked"):
        connection.ask(("ask", ()), wire.Patience(1))
    connection.close()
    os.close(theirs)
    os.close(takes)


# What was handed in


def test_students_and_their_files(tmp_path):
    for name in ("bob.ipynb", "ada/x/05_attention.ipynb", "ada/old.ipynb", ".x.ipynb",
                 "ada/.ipynb_checkpoints/a.ipynb", "notes.txt", "cy/readme"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "ada.ipynb").symlink_to(tmp_path / "bob.ipynb")
    found = {s.student: s.path.name for s in submissions(tmp_path, "05_attention")}
    assert found == {
        "ada": "05_attention.ipynb",
        "ada~": "ada.ipynb",
        "bob": "bob.ipynb",
        "cy": "cy",
    }
    assert passed_over(tmp_path) == ["notes.txt"]
    doubts = {s.student: s.doubt for s in submissions(tmp_path, "05_attention")}
    assert doubts == {
        "ada": "05_attention.ipynb was graded; old.ipynb fits as well.",
        "ada~": "This is a second submission called ada.",
        "bob": "",
        "cy": "",
    }
    with pytest.raises(ValueError, match="is not a folder"):
        submissions(tmp_path / "bob.ipynb", "05_attention")


def test_the_renamed_file_with_the_chapters_answers_is_taken(tmp_path):
    folder = tmp_path / "ada"
    folder.mkdir()
    written(notebook((START, *HONEST)))(folder / "final (2).ipynb")
    written(notebook(('check("06-1")',)))(folder / "05_attention.ipynb")
    (found,) = submissions(tmp_path, "05_attention")
    assert found.path.name == "final (2).ipynb"


def judged(*cells, kind="code"):
    data = json.dumps(notebook(cells)).encode()
    return [step.judged for step in steps(data, {"05-3": kind})]


def test_an_answer_is_judged_where_it_was_checked():
    answer, check = ("x = 1", "05-3"), 'check("05-3")'
    assert judged("a", answer, check, "b") == [(), (), ("05-3",), ()]
    assert judged("a", answer, "b") == [(), ("05-3",), ()]
    assert judged("a", "# check('05-3')") == [(), ()]
    many = [answer, check] * 5
    assert sum(map(len, judged(*many))) == 3
    assert sum(map(len, judged(*many, kind="prediction"))) == 1
    assert judged(*many, kind="prediction")[-1] == ("05-3",)


def test_jupyters_own_lines_are_passed_over():
    assert without_magics("x = 1\n  %timeit x\n!ls\nx?") == "x = 1\n  pass\npass\npass"
    assert without_magics("%%bash\nx = 1") == "pass"
    assert without_magics("%%time\nx = 1") == "pass\nx = 1"


def test_what_exercises_hand_out_is_there_and_checks_are_not():
    made = handed.modules()
    assert "def somebodys_layer" in made["tfcourse.checks.multi_head_attention"]
    for name, text in made.items():
        assert "@exercise" not in text or name == "tfcourse.checks", name
        assert "Mistake(" not in text or name.endswith(("answers", "compare")), name


# Judging, with a worker in this process


class Here:
    """In place of a sandbox: workers in this process, through the pipe's own encoding."""

    def __init__(self, names=()):
        self._names = dict(names)

    def worker(self):
        main = sys.modules["__main__"]
        cells = Cells()
        sys.modules["__main__"] = main
        cells.names |= self._names
        return Working(cells)

    def close(self):
        pass


class Working:
    """A worker that is asked, and answers in what arrives of messages."""

    def __init__(self, cells):
        self._cells = cells

    def ask(self, request, patience):
        kind, rest = crossing(request)
        return arriving(_reply(self._cells, "token", kind, rest))[1:]

    def close(self):
        return "let go"


PLANTED = "def window_mask(t, s, window):\n    return 7"


@pytest.fixture
def handed_in(tmp_path):
    def make(*cells, student="ada"):
        path = tmp_path / f"{student}.ipynb"
        written(notebook(cells))(path)
        return Submission(student, path)

    return make


def plan(**more):
    return Plan.of(by_number(5), SECRET, **more)


def points(record):
    return {mark.column: mark.points for mark in record.marks if mark.points}


def test_the_best_attempt_at_code_counts_and_the_last_guess(handed_in):
    wrong, right = (PLANTED, "05-3"), HONEST[0]
    three = (START, wrong, HONEST[1], right, HONEST[1], wrong)
    assert points(grade(plan(), handed_in(*three), Here())) == {"05-3": 3}
    guesses = [
        cell
        for guess in ("nothing changes", "flatter")
        for cell in ((f"prediction = {guess!r}", "05-1"), 'check("05-1")')
    ]
    assert points(grade(plan(), handed_in(START, *guesses), Here())) == {}
    assert points(grade(plan(), handed_in(START, *guesses[:2]), Here())) == {"05-1": 2}


def test_inputs_depend_on_the_secret_the_exercise_and_if_wanted_the_student():
    exercise, other = plan().exercises[:2]
    drawn = plan().seeds("ada", exercise)
    assert len(set(drawn)) == 3 and all(0 <= seed < 2**63 for seed in drawn)
    assert plan().seeds("bob", exercise) == drawn != plan().seeds("ada", other)
    own = plan(per_student=True)
    assert own.seeds("ada", exercise) != own.seeds("bob", exercise) != drawn
    assert Plan.of(by_number(5), "another").seeds("ada", exercise) != drawn


TESTS = """
from tfcourse.checks import Mistake
from tfcourse.grading.judge import private_test

@private_test("05-3", title="a long window", points=2)
def _(answer, draw):
    size = draw.integer(4, 9)
    if answer.window_mask(size, size, 99).sum() != size * (size + 1) // 2:
        raise Mistake(f"leaked-{size}", seen="leaked-too", given="and-this")
"""


def test_tests_of_the_instructors_own_tell_nothing(handed_in, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(TESTS)
    own = plan(tests=file)
    right = grade(own, handed_in(START, *HONEST), Here())
    assert points(right) == {"05-3": 3, "05-3 a long window": 2}
    short = HONEST[0][0].replace(
        "ago < window", "ago < min(window, 20) - 18 * (t == s)"
    )
    record = grade(own, handed_in(START, (short, "05-3"), HONEST[1]), Here())
    (mark,) = [m for m in record.marks if m.private]
    assert mark.status == "wrong" and "leaked" in mark.says
    page = report.feedback(own, record)
    assert "a long window" in page and "not passed" in page
    assert "leaked" not in page and "and-this" not in page
    file.write_text(TESTS.replace("05-3", "05-9"))
    with pytest.raises(ValueError, match="05-9.*no such exercise"):
        plan(tests=file)
    with pytest.raises(ValueError, match="no Python file"):
        plan(tests=tmp_path / "missing.py")


def test_a_worker_that_says_it_is_right_is_not_believed(handed_in):
    class Liar(Here):
        def worker(self):
            made = super().worker()
            honest = made.ask

            def ask(request, patience):
                lie = "found", ("right", "yes", "")
                return lie if request[0] == "ask" else honest(request, patience)

            made.ask = ask
            return made

    record = grade(plan(), handed_in(START, *HONEST), Liar())
    assert record.points == 0
    assert {m.status for m in record.marks} == {"error"}


# What is written


def some_records():
    blank = plan().blank()
    marks = {
        "ada": [replace(m, status="right") for m in blank],
        "=bob<b>": [replace(m, status="wrong", says="<script>x") for m in blank],
    }
    looks = {"=bob<b>": ("05-1: It took longer.",)}
    return [
        Record(name, tuple(own), ("cell 1: <i>",), looks.get(name, ()), "k")
        for name, own in marks.items()
    ]


def test_the_files_are_the_same_in_any_order_and_safe_to_open(tmp_path):
    records = some_records()
    for out, order in (("a", records), ("b", records[::-1])):
        for record in order:
            report.keep(tmp_path / out, record)
        report.write_all(tmp_path / out, plan(), report.kept(tmp_path / out).values())
    assert files(tmp_path / "a") == files(tmp_path / "b")
    table = (tmp_path / "a" / "grades.csv").read_text()
    assert table.splitlines()[1:] == [
        "'=bob<b>,0,0,0,0,0,0,0,23,yes",
        "ada,2,4,3,3,5,6,23,23,",
    ]
    page = (tmp_path / "a" / "feedback" / "=bob<b>.html").read_text()
    assert "<script" not in page and "&lt;script&gt;x" in page and "<i>" not in page
    told = (tmp_path / "a" / "summary.txt").read_text()
    assert "2 submissions, 23 points" in told and "mean 11.5" in told
    assert "1 × 05-1: <script>x" in told and "=bob<b>: 05-1: It took longer." in told


def files(folder):
    """All files of a folder with what they hold."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "seed.txt"
    }


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "grades.csv"
    report.write(path, "old")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(report.os, "fsync", full)
    with pytest.raises(OSError):
        report.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_long_name_has_a_file():
    assert len(report.file_name("é" * 200, ".html").encode()) < 255


# The command, in the sandbox


@pytest.fixture
def folder(tmp_path):
    """Six submissions of chapter 5."""
    folder = tmp_path / "submissions"
    folder.mkdir()
    wrong = (PLANTED, "05-3")
    for name in ("ada", "bob", "cy"):
        written(notebook((START, *HONEST)))(folder / f"{name}.ipynb")
    for name in ("dan", "eve", "fay"):
        written(notebook((START, wrong, 'check("05-3")')))(folder / f"{name}.ipynb")
    return folder


def run(*arguments):
    return command.main([*map(str, arguments), "--chapter", "5", "--graders", "1"])


def test_shared_out_interrupted_and_merged_it_is_the_same(
    folder, tmp_path, monkeypatch, bubblewrap
):
    seed = tmp_path / "seed"
    seed.write_text(SECRET)
    common = ("--seed-file", seed, "--per-student")
    whole, parts = tmp_path / "whole", [tmp_path / f"part{i}" for i in (1, 2)]
    stopping = batch.run

    def stops(*arguments):
        for count, record in enumerate(stopping(*arguments)):
            if count == 2:
                raise KeyboardInterrupt
            yield record

    monkeypatch.setattr(batch, "run", stops)
    assert run(folder, "--out", whole, *common) == 130
    kept = {p: p.stat().st_mtime_ns for p in (whole / "records").iterdir()}
    assert len(kept) == 2
    monkeypatch.setattr(batch, "run", stopping)
    assert run(folder, "--out", whole, *common) == 0
    assert {p: p.stat().st_mtime_ns for p in kept} == kept  # no work is repeated
    for i, part in enumerate(parts, 1):
        assert run(folder, "--out", part, *common, "--shard", f"{i}/2") == 0
    merged = tmp_path / "merged"
    assert run("--merge", *parts, "--out", merged, *common) == 0
    assert files(merged) == files(whole)
    table = (merged / "grades.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1:]] == ["ada", "bob", "cy", "dan",
                                                           "eve", "fay"]  # fmt: skip
    assert run("--merge", *parts, "--out", tmp_path / "x", "--seed-file", seed) == 1


def test_only_what_is_asked_for_is_graded_again(folder, tmp_path, bubblewrap):
    for name in ("bob", "cy", "eve", "fay"):
        (folder / f"{name}.ipynb").unlink()
    out = tmp_path / "out"
    assert run(folder, "--out", out) == 0
    assert stat.S_IMODE((out / "seed.txt").stat().st_mode) == 0o600
    path = out / "records" / "dan.json"
    record = json.loads(path.read_text())
    for mark in record["marks"]:
        mark["status"] = "right"  # a person was kind
    path.write_text(json.dumps(record))
    before = (out / "records" / "ada.json").stat().st_mtime_ns
    assert run(folder, "--out", out, "--only", "05-3", "--only", "dan") == 0
    again = json.loads(path.read_text())
    assert {m["id"]: m["status"] for m in again["marks"]}["05-1"] == "missing"
    record["student"] = "dan"
    path.write_text(json.dumps(record))
    assert run(folder, "--out", out, "--only", "05-3") == 0
    states = {m["id"]: m["status"] for m in json.loads(path.read_text())["marks"]}
    assert states["05-3"] == "wrong" and states["05-1"] == "right"
    assert (out / "records" / "ada.json").stat().st_mtime_ns > before
    assert run(folder, "--out", out, "--only", "05-9") == 1


@pytest.mark.parametrize("fault", ["dies", "loops"])
def test_a_check_that_is_led_astray_costs_one_exercise(folder, monkeypatch, fault):
    from tfcourse.grading import judge

    honest = judge._Judging._mark

    def astray(self, test, private):
        if test.id == "05-2":
            if fault == "dies":
                os._exit(9)
            while True:
                pass
        return honest(self, test, private)

    monkeypatch.setattr(judge._Judging, "_mark", astray)
    give = batch.Grader.give

    def hurried(self, job):
        give(self, job)
        self.left = 4 if fault == "loops" else self.left

    monkeypatch.setattr(batch.Grader, "give", hurried)
    job = batch.Job(Submission("ada", folder / "ada.ipynb"))
    (record,) = batch.run(plan(), [job], Here, 1)
    assert points(record) == {"05-3": 3}
    assert record.look == (f"05-2: {batch.GAVE_UP}",)


def test_a_submission_that_stops_the_grader_twice_is_left_to_a_person(
    folder, monkeypatch
):
    monkeypatch.setattr(batch, "grade", lambda *_, **__: os._exit(9))
    jobs = [batch.Job(s) for s in submissions(folder, "05_attention")[:2]]
    records = list(batch.run(plan(), jobs, Here, 1))
    assert [r.student for r in records] == ["ada", "bob"]
    assert {r.look for r in records} == {(batch.BROKEN,)}
    assert {r.points for r in records} == {0}


# No sandbox, no grading


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of programs, and no other."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))

    def program(name, text):
        (path / name).write_text(text)
        (path / name).chmod(0o755)

    return program


def test_without_bubblewrap_nothing_is_graded(folder, tmp_path, programs, capsys):
    assert run(folder, "--out", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert "there is no `bwrap` here" in told and "apt install bubblewrap" in told
    assert not (tmp_path / "out" / "grades.csv").exists()


def test_where_it_is_forbidden_nothing_is_graded(folder, tmp_path, programs, capsys):
    programs("bwrap", "#!/bin/sh\necho bwrap: No permissions to create >&2\nexit 1\n")
    assert run(folder, "--out", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert "No permissions to create" in told and "--container IMAGE" in told
    assert not (tmp_path / "out" / "records").exists()


def test_a_container_that_is_named_does_the_same(
    folder, tmp_path, programs, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    programs(
        "podman",
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$1" = run ] && '
        f"exec {sys.executable} -m tfcourse.grading.inside.alone || exit 0\n",
    )
    place = Container("course:1", Limits(), CHAPTERS[:5])
    record = grade(plan(), Submission("ada", folder / "ada.ipynb"), place)
    assert points(record) == {"05-3": 3} and record.look == ()
    ran, removed = (tmp_path / "calls").read_text().splitlines()
    for option in (
        "--network=none",
        "--read-only",
        "--cap-drop=ALL",
        "--pids-limit=64",
    ):
        assert f" {option} " in ran
    assert removed.startswith("rm --force tfcourse-")


def test_a_container_needs_its_program(programs):
    with pytest.raises(NoSandbox, match="needs podman or docker"):
        Container("course:1", Limits()).worker()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name the folder"),
        (("x", "--merge", "y"), "name the folder"),
        (("x", "--draws", "0"), "--draws and --graders must be 1 or more; got 0"),
        (("x", "--seed-file", "nowhere"), "nowhere is missing"),
        (("nowhere",), "nowhere is not a folder"),
        (("x", "--shard", "1/2"), "--shard needs --seed-file"),
    ],
)
def test_errors_name_the_value_and_the_remedy(arguments, told, tmp_path, capsys):
    assert run(*arguments, "--out", tmp_path / "out") == 1
    assert told in capsys.readouterr().err


def test_tests_that_do_not_run_are_told(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("1 / 0")
    assert run("x", "--tests", tmp_path / "mine.py", "--out", tmp_path / "out") == 1
    assert "mine.py stopped with ZeroDivisionError" in capsys.readouterr().err


def test_a_forgotten_folder_is_asked_for(capsys):
    with pytest.raises(SystemExit):
        run("")
    assert "SUBMISSIONS=submissions" in capsys.readouterr().err


def test_what_is_in_the_way_is_told(tmp_path, capsys):
    out, seed = tmp_path / "out", tmp_path / "seed"
    seed.write_text(SECRET)
    report.keep(out, Record("ada", (Mark("06-1", "Heads", 2),)))
    assert run("x", "--out", out) == 1
    assert "holds grades of chapter 06" in capsys.readouterr().err
    parts = [tmp_path / name for name in ("one", "two")]
    for i, part in enumerate(parts, start=1):
        report.write(part / "shard.txt", f"{i}/3\n")
    shard = ("x", "--shard", "2/3", "--seed-file", seed, "--out", parts[0])
    assert run(*shard) == 1
    assert "one holds part 1/3" in capsys.readouterr().err
    assert run("--merge", *parts, "--out", tmp_path / "all", "--seed-file", seed) == 1
    assert "part 3 of 3 is missing" in capsys.readouterr().err


def test_a_shard_is_a_part():
    for part in ("3/2", "0/2", "x", "1/"):
        with pytest.raises(ValueError, match="a part of all, such as 2/4"):
            command.shard([], part)
    everybody = [Submission(f"s{i}", Path()) for i in range(50)]
    parts = [command.shard(everybody, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(s.student for p in parts for s in p) == sorted(
        s.student for s in everybody
    )


# The course's own notebooks and answers


@pytest.fixture(scope="module")
def sandbox(bubblewrap):
    place = Sandbox(Limits(call=120, cell=300, submission=900))
    yield place
    place.close()


@pytest.mark.parametrize("chapter", WRITTEN, ids=lambda c: c.stem)
def test_solutions_get_full_marks_and_untouched_exercises_none(chapter, sandbox):
    limits = Limits(call=120, cell=300, submission=900)
    own = Plan.of(chapter, SECRET, draws=1, limits=limits)
    full, none = (
        grade(own, Submission("a", ROOT / name / f"{chapter.stem}.ipynb"), sandbox)
        for name in ("solutions", "exercises")
    )
    assert [m for m in full.marks if m.status != "right"] == [] and full.look == ()
    assert {m.status for m in none.marks} == {"unwritten"} and none.look == ()
    assert full.points == full.of == none.of and none.points == 0


@pytest.mark.parametrize("chapter", WRITTEN, ids=lambda c: c.stem)
def test_the_published_answers_get_their_own_reply(chapter):
    """Right and wrong ones, through the pipe's encoding, on inputs from the secret."""
    own = Plan.of(chapter, SECRET)
    exercises = {e.id: e for e in own.exercises}
    proofs = load(answers_file(chapter, ROOT))
    assert len(proofs) > 15
    for proof in proofs:
        exercise = exercises[proof.id]
        session = Session(Here(proof.answer()), Limits())
        told = []
        for seed in own.seeds("ada", exercise):
            told.append(exercise.judge(Remote(session), seed))
            right = told[-1].status == "right"
            assert right == (proof.kind == "right"), (str(proof), told)
            if proof.says in told[-1].text:
                break  # another draw may show another mistake of the same answer first
        assert proof.says in told[-1].text, (str(proof), told)


# The instructors' page


def blocks(kind):
    """The blocks of this kind on the page."""
    page = (ROOT / "book" / "instructors.md").read_text("utf-8")
    return re.findall(rf"```{kind}\n(.*?)```", page, flags=re.DOTALL)


def test_the_page_shows_the_summary_of_its_three_students(tmp_path, bubblewrap):
    (shown,) = (text for text in blocks("text") if text.startswith("Chapter 5"))
    folder, out = tmp_path / "submissions", tmp_path / "out"
    (folder / "cy").mkdir(parents=True)
    right, untouched = (
        json.loads((ROOT / name / "05_attention.ipynb").read_text("utf-8"))
        for name in ("solutions", "exercises")
    )
    written(right)(folder / "ada.ipynb")
    written(untouched)(folder / "cy" / "my attempt (final).ipynb")
    for cell in right["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "05-3":
            cell["source"] = MASK.replace("(ago >= 0) & ", "")
    written(right)(folder / "bob.ipynb")
    assert run(folder, "--out", out, "--draws", 1) == 0
    assert (out / "summary.txt").read_text("utf-8") == shown


def test_the_page_has_a_private_test_that_works(handed_in, tmp_path):
    (tmp_path / "mine.py").write_text("".join(blocks("python")))
    own = plan(draws=1, tests=tmp_path / "mine.py")
    for mask, earned in ((MASK, 2), (MASK.replace("< window", "<= window"), 0)):
        submission = handed_in(START, (mask, "05-3"), 'check("05-3")')
        (mark,) = (m for m in grade(own, submission, Here()).marks if m.private)
        assert (mark.title, mark.points) == ("a window of one", earned)


def test_options_that_the_page_names_are_there():
    page = (ROOT / "book" / "instructors.md").read_text("utf-8")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page))
    named -= {"--sshlogin", "--array", "--cpus-per-task", "--force"}  # other programs'
    parsers = command.parser(), handout.parser()
    known = {o for p in parsers for a in p._actions for o in a.option_strings}
    assert len(named) > 10 and named <= known
