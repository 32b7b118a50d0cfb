"""Hand out, and nbgrader: what is written, what is kept, and what cannot run in it."""

import ast
import csv
import json
import os
import shutil
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbgrader.api
import pytest
from hostile import CANARY, notebook, written
from nbconvert.exporters import HTMLExporter
from nbgrader.api import Gradebook
from nbgrader.auth import Authenticator
from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.converters.base import NbGraderException
from nbgrader.exchange.default import ExchangeReleaseAssignment
from nbgrader.plugins import CsvExportPlugin
from nbgrader.server_extensions.formgrader.handlers import template_path

from tfcourse.checks import exercises_of
from tfcourse.grading import command, handout, report
from tfcourse.grading.copies import LONGEST, MOST, copied, parts, said
from tfcourse.grading.gradebook import NEEDED, Course, concerns, student_id
from tfcourse.grading.judge import Mark, Plan, Record
from tfcourse.grading.submission import Submission, submissions
from tfcourse.notebook.chapters import by_number
from tools.notebooks import ROOT

pytestmark = pytest.mark.filterwarnings("ignore")  # nbgrader's own
CHAPTER = by_number(5)
STEM = CHAPTER.stem
PLAN = Plan.of(CHAPTER, "a secret of the tests")
POINTS = {e.id: e.points for e in exercises_of(CHAPTER)}
SCRIPT = '<script>alert("x")</script><img src="x" onerror="alert(1)">'
MARKDOWN = (
    f"{SCRIPT} [a](javascript:alert(1)) ![b](https://tracker.example/b.png) "
    "<a href='javascript:alert(1)'>c</a> $\\href{javascript:alert(1)}{d}$ {{ 7*7 }}"
)


@pytest.fixture(scope="module", autouse=True)
def version_of_the_database():
    """Asked of a process of its own each time that a gradebook is made: once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nbgrader.api, "get_alembic_version", lambda: "head")
        yield


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A course folder with the release of chapter 5."""
    folder = tmp_path_factory.mktemp("released") / "course"
    assert Course(folder).assign(CHAPTER, POINTS) == ""
    return folder


@pytest.fixture
def fresh(released, tmp_path):
    """A copy of it."""
    shutil.copytree(released, tmp_path / "course")
    return Course(tmp_path / "course")


@pytest.fixture
def course(fresh, monkeypatch):
    """A copy whose release, which takes its time, is not written again."""
    monkeypatch.setattr(fresh, "assign", lambda chapter, points: "")
    return fresh


def record(student, right=(), look=(), **says):
    """A record in which these exercises are right, and the others say something."""
    marks = [
        replace(mark, status="right") if mark.id in right
        else replace(mark, status="wrong", says="Look again.", **says)
        for mark in PLAN.blank()
    ]  # fmt: skip
    return Record(student, tuple(marks), look=tuple(look))


def handed_in(folder, **cells):
    """A folder with a notebook of these cells for each student."""
    for student, sources in cells.items():
        path = folder / student / f"{STEM}.ipynb"
        path.parent.mkdir(parents=True)
        written(notebook(sources))(path)
    return folder


def book(course):
    return Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}", "course")


def grades(course, student):
    with book(course) as opened:
        found = opened.find_submission_notebook(STEM, STEM, student)
        return {g.name: (g.score, g.needs_manual_grade) for g in found.grades}


def feedback(course, student):
    """The page that nbgrader's own converter makes."""
    course._directory.student_id, course._directory.assignment_id = student, STEM
    GenerateFeedback(
        coursedir=course._directory, config=course._config, force=True
    ).start()
    return (course.folder / "feedback" / student / STEM / f"{STEM}.html").read_text()


def sources(course, student, step="autograded"):
    """The cells of a student's notebook in the course folder."""
    path = course.folder / step / student / STEM / f"{STEM}.ipynb"
    return json.loads(path.read_text())["cells"]


def texts(cells):
    return ["".join(cell["source"]) for cell in cells]


# Hand out


def test_the_archive_has_the_same_bytes_each_time(tmp_path):
    assert handout.main(["--chapter", "05", "--out", str(tmp_path / "a")]) == 0
    one = (tmp_path / "a" / f"{STEM}.zip").read_bytes()
    two = handout.archive(CHAPTER, tmp_path / "b").read_bytes()
    assert one == two
    with zipfile.ZipFile(tmp_path / "a" / f"{STEM}.zip") as archive:
        assert archive.namelist() == [f"{STEM}/README.txt", f"{STEM}/{STEM}.ipynb"]
        assert (
            archive.read(f"{STEM}/{STEM}.ipynb")
            == (ROOT / "exercises" / f"{STEM}.ipynb").read_bytes()
        )
        told = archive.read(f"{STEM}/README.txt").decode()
    assert "6 exercises: 23 points" in told and 'check("05-1")' in told
    assert (
        "Python 3.11.5 or newer, `make` and `git`" in (ROOT / "README.md").read_text()
    )
    assert "Python 3.11.5 or newer, make and git" in told


def test_what_cannot_be_handed_out_is_told_in_a_sentence(capsys, monkeypatch):
    assert handout.main(["--chapter", "five"]) == 1
    assert handout.main(["--chapter", "99"]) == 1
    monkeypatch.setattr(handout, "EXERCISES", Path("/nowhere"))
    assert handout.main(["--chapter", "05"]) == 1
    told = capsys.readouterr().err
    assert "such as 05, not 'five'" in told and "no chapter 99" in told
    assert "05_attention.ipynb is missing" in told


def test_the_release_has_the_points_and_keeps_the_stubs(released, tmp_path):
    made = json.loads((released / "release" / STEM / f"{STEM}.ipynb").read_text())
    ours = json.loads((ROOT / "exercises" / f"{STEM}.ipynb").read_text())
    assert texts(made["cells"]) == texts(ours["cells"])
    marked = [c["metadata"]["nbgrader"] for c in made["cells"] if c["metadata"]]
    assert {m["grade_id"]: m["points"] for m in marked} == POINTS
    with book(Course(released)) as opened:
        cells = opened.find_notebook(STEM, STEM).grade_cells
        assert {cell.name: cell.max_score for cell in cells} == POINTS
        assert opened.find_assignment(STEM).max_score == sum(POINTS.values()) == 23
    config = Course(released)._config.copy()
    config.Exchange.root = str(tmp_path)
    directory = Course(released)._directory
    directory.assignment_id = STEM
    ExchangeReleaseAssignment(
        coursedir=directory, config=config, authenticator=Authenticator()
    ).start()
    assert (tmp_path / f"course/outbound/{STEM}/{STEM}.ipynb").exists()


def test_an_exercise_that_the_notebook_lacks_is_named():
    with pytest.raises(ValueError, match="no answer cell for 05-7"):
        handout.source(CHAPTER, POINTS | {"05-7": 1})


def test_alembic_is_found_without_an_activated_environment(released, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin")
    Course(released)
    assert shutil.which("alembic")


def test_a_configuration_of_ones_own_stays_and_is_told_what_it_lacks(tmp_path):
    (tmp_path / "nbgrader_config.py").write_text("c = get_config()\n")
    told = Course(tmp_path).assign(CHAPTER, POINTS)
    assert NEEDED in told
    assert (tmp_path / "nbgrader_config.py").read_text() == "c = get_config()\n"
    made = json.loads((tmp_path / "release" / STEM / f"{STEM}.ipynb").read_text())
    assert any("prediction = None" in text for text in texts(made["cells"]))


# The gradebook


def test_manual_marks_and_comments_survive_a_regrade(course, tmp_path):
    folder = handed_in(
        tmp_path / "in",
        ada=[("prediction = 'sharper'", "05-1")],
        bob=[("prediction = 'flatter'", "05-1")],
    )
    records = {"ada": record("ada", ["05-1"]), "bob": record("bob", ["05-1", "05-2"])}
    course.add(PLAN, folder, records)
    course.add(PLAN, folder, records)
    assert grades(course, "ada")["05-1"] == (2, False)
    with book(course) as opened:
        assert [s.id for s in opened.students] == ["ada", "bob"]
        opened.find_grade("05-3", STEM, STEM, "ada").manual_score = 2.5
        opened.find_grade("05-4", STEM, STEM, "ada").manual_score = 1
        opened.find_comment("05-3", STEM, STEM, "ada").manual_comment = "Nearly **so**"
        opened.db.commit()
    course.add(PLAN, folder, records | {"ada": record("ada", ["05-1", "05-3"])})
    found = grades(course, "ada")
    assert found["05-3"] == (2.5, True)  # another score below it: look again
    assert found["05-4"] == (1, False)
    assert "Nearly <strong>so</strong>" in feedback(course, "ada")
    with book(course) as opened:
        CsvExportPlugin(to=str(tmp_path / "out.csv")).export(opened)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [(r["student_id"], r["score"]) for r in rows] == [
        ("ada", "5.5"),
        ("bob", "6.0"),
    ]


def test_stored_records_are_enough(released, tmp_path, capsys):
    shutil.copytree(released, tmp_path / "course")
    folder = handed_in(tmp_path / "in", ada=[("x = 1", "05-1")])
    arguments = [str(folder), "--chapter", "05", "--out", str(tmp_path / "out")]
    arguments += ["--gradebook", str(tmp_path / "course")]
    plan, out = command.planned(command.parser().parse_args(arguments))
    (submission,) = submissions(folder, STEM)
    key = f"{submission.digest()} {plan.key()}"
    report.keep(out, replace(record("ada", ["05-2"]), key=key))
    assert command.main(arguments) == 0
    assert "gradebook.db" in capsys.readouterr().out
    assert grades(Course(tmp_path / "course"), "ada")["05-2"] == (4, False)


def test_the_answer_has_what_the_check_said_below_it(course, tmp_path):
    folder = handed_in(tmp_path / "in", ada=[("prediction = 'sharper'", "05-1")])
    found = replace(record("ada", ["05-2"], given="x = 3"), notes=("cell 1: stopped",))
    course.add(PLAN, folder, {"ada": found})
    cells = sources(course, "ada")
    (cell,) = [c for c in cells if c["metadata"].get("nbgrader", {}).get("grade_id") == "05-1"]  # fmt: skip
    assert cell["source"] == "prediction = 'sharper'"
    (output,) = cell["outputs"]
    assert output["text"] == (
        "✗ 05-1 A bias for the keys · Not yet. Look again.\nSeen with: x = 3\n"
        "(0 of 2 points)\n"
    )
    assert cells[-1]["outputs"][0]["text"] == "cell 1: stopped\n"
    assert not any(c.get("outputs") for c in sources(course, "ada", "submitted"))


def test_the_instructors_tests_count_in_the_cell_of_their_exercise(fresh, tmp_path):
    own = replace(PLAN.exercises[0], title="further", points=5)
    plan = replace(PLAN, private=(own,))
    folder = handed_in(tmp_path / "in", ada=[("x = 1", "05-1")])
    marks = [replace(m, status="right", seen=CANARY) for m in plan.blank()]
    fresh.add(plan, folder, {"ada": Record("ada", tuple(marks))})
    assert grades(fresh, "ada")["05-1"] == (7, False)
    with book(fresh) as opened:
        assert opened.find_grade("05-1", STEM, STEM, "ada").max_score == 7
    assert CANARY not in said(marks[1])


def test_who_needs_a_look_is_flagged(course, tmp_path):
    folder = handed_in(tmp_path / "in", ada=["x"], bob=["x"], cy=["x"])
    looks = {"ada": ["05-3: It stopped."], "bob": ["Is it: the right file?"], "cy": []}
    course.add(PLAN, folder, {n: record(n, look=look) for n, look in looks.items()})
    flagged = {n: [id for id, g in grades(course, n).items() if g[1]] for n in looks}
    assert flagged == {"ada": ["05-3"], "bob": list(POINTS), "cy": []}
    assert concerns("05-3: It stopped.", "05-3")


def test_what_cannot_be_read_stops_nobody(course, tmp_path):
    folder = handed_in(tmp_path / "in", ada=[("x = 1", "05-1")])
    (tmp_path / "secret.ipynb").write_text(json.dumps(notebook([f"# {CANARY}"])))
    (folder / "link.ipynb").symlink_to(tmp_path / "secret.ipynb")
    (folder / "device.ipynb").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.ipynb")
    (folder / "bytes.ipynb").write_bytes(b"\xff\xfe")
    (folder / "deep.ipynb").write_text("[" * 100_000)
    (folder / "huge.ipynb").write_bytes(b" " * (26 << 20))
    (folder / "nothing").mkdir()
    names = [s.student for s in submissions(folder, STEM)]
    assert len(names) == 8
    unread = [replace(m, status="missing", says="Not read.") for m in PLAN.blank()]
    records = {n: Record(n, tuple(unread), look=("Not read.",)) for n in names}
    course.add(PLAN, folder, records | {"ada": record("ada", ["05-1"])})
    for name in set(names) - {"ada"}:
        assert grades(course, name)["05-1"] == (0, True)
        assert "prediction = None" in "".join(texts(sources(course, name)))
    assert grades(course, "ada")["05-1"] == (2, False)
    written = [p for p in course.folder.rglob("*") if p.is_file()]
    assert not any(CANARY in p.read_text("utf-8", "ignore") for p in written)
    assert all(p.stat().st_size < 1 << 20 and not p.is_symlink() for p in written)


def test_the_exchanges_stamps_are_kept_where_they_are_in_order(course, tmp_path):
    folder = handed_in(tmp_path / "in", ada=["x"], bob=["x"], cy=["x"])
    for student, text in (("ada", "2026-01-02 03:04:05 UTC"), ("bob", "now\n<b>")):
        (folder / student / "timestamp.txt").write_text(text)
    (folder / "ada" / "submission_secret.txt").write_text("0f" * 64)
    (folder / "cy" / "timestamp.txt").symlink_to(folder / "ada" / "timestamp.txt")
    (folder / "flat.ipynb").write_text("{}")
    (folder / "timestamp.txt").write_text("2026-01-02 03:04:05 UTC")
    names = ("ada", "bob", "cy", "flat")
    course.add(PLAN, folder, {n: record(n) for n in names})
    with book(course) as opened:
        when = {n: opened.find_submission(STEM, n).timestamp for n in names}
    assert str(when.pop("ada")) == "2026-01-02 03:04:05"
    assert set(when.values()) == {None}
    stamps = sorted(p.name for p in (course.folder / "autograded/ada" / STEM).iterdir())
    assert stamps == [f"{STEM}.ipynb", "submission_secret.txt", "timestamp.txt"]


def test_exercises_that_changed_under_submissions_are_told(
    fresh, tmp_path, monkeypatch
):
    folder = handed_in(tmp_path / "in", ada=["x"])
    fresh.add(PLAN, folder, {"ada": record("ada", ["05-1"])})
    less = handout.source(CHAPTER, POINTS)
    less["cells"] = less["cells"][:-3]
    monkeypatch.setattr(handout, "source", lambda *_: less)
    with pytest.raises(
        ValueError, match="(?s)Cannot add or remove.*db assignment remove"
    ):
        fresh.add(PLAN, folder, {"ada": record("ada")})
    assert grades(fresh, "ada")["05-1"] == (2, False)


# Names


def test_names_that_nbgrader_cannot_take_get_another(course, tmp_path):
    names = [
        "=1+1,2",
        "a b",
        "../x",
        SCRIPT,
        "a+b",
        "*",
        "ada~",
        "x" * 300,
        "-rf",
        "..",
    ]
    ids = [student_id(name) for name in names]
    assert len(set(ids)) == len(ids)
    for id in ids:
        assert not set(id) & set("/\\,+*?[]<>\"' &%#") and len(id) < 100
        assert id[0].isalnum() or id[0] == "_"
    assert student_id(ids[0]) != ids[0]  # nobody can take the name of another
    folder = handed_in(tmp_path / "in", **{"=1+1,2": ["x"], "ada.l-2@uni": ["x"]})
    course.add(PLAN, folder, {n: record(n) for n in ("=1+1,2", "ada.l-2@uni")})
    course._list(["later"])
    rows = list(csv.reader((course.folder / "students.csv").read_text().splitlines()))
    assert rows == [
        ["student_id", "student"],
        [ids[0], "'=1+1,2"],
        ["ada.l-2@uni", "ada.l-2@uni"],
        ["later", "later"],
    ]
    assert grades(course, ids[0])["05-1"] == (0, False)


# What a student's notebook may show


class Dangers(HTMLParser):
    """What in a page could run, or call another server."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "img", "iframe", "object", "embed", "svg", "link", "base"):
            self.found.append((tag, tuple(attributes)))
        for name, value in attributes:
            if name.startswith("on") or "javascript:" in (value or ""):
                self.found.append((tag, name, value))


def formgrader(course, student):
    """The page that formgrader makes of a submission."""
    exporter = HTMLExporter(
        template_name="formgrade", extra_template_basedirs=[template_path]
    )
    resources = dict.fromkeys(("base_url", "notebook_id", "submission_id", "student"))
    path = course.folder / "autograded" / student / STEM / f"{STEM}.ipynb"
    return exporter.from_filename(
        str(path), resources=resources | {"index": 0, "total": 1}
    )[0]


def hostile():
    """A notebook with a script wherever one can stand."""
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": SCRIPT}},
        {"output_type": "stream", "name": "stdout", "text": SCRIPT + CANARY},
    ]
    answer = {"nbgrader": {"grade_id": "05-1", "solution": True}, "tags": [SCRIPT]}
    raw = {"raw_mimetype": "text/html", "format": "text/html"}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": MARKDOWN,
         "attachments": {"a.svg": {"image/svg+xml": SCRIPT}}},
        {"cell_type": "raw", "metadata": raw, "source": SCRIPT},
        {"cell_type": "code", "id": SCRIPT, "metadata": answer, "outputs": outputs,
         "source": f"prediction = '''{SCRIPT}'''\n# </pre>{MARKDOWN}"},
        {"cell_type": "code", "metadata": {}, "source": f"%%html\n{SCRIPT}"},
    ]  # fmt: skip
    metadata = {"language_info": {"name": SCRIPT}, "title": SCRIPT, "widgets": SCRIPT}
    return notebook(cells, metadata)


def test_nothing_of_a_students_can_run_in_the_pages(course, tmp_path):
    folder = handed_in(tmp_path / "in", ada=[("prediction = 'flatter'", "05-1")])
    (folder / "bob").mkdir()
    written(hostile())(folder / "bob" / f"{STEM}.ipynb")
    marks = tuple(
        replace(m, status="wrong", says=SCRIPT, seen=MARKDOWN, given=SCRIPT)
        for m in PLAN.blank()
    )
    records = {"ada": record("ada"), "bob": Record("bob", marks, notes=(SCRIPT,))}
    course.add(PLAN, folder, records)
    for page in (feedback, formgrader):
        text = page(course, "bob")
        assert "tracker.example" in text  # it is shown,
        assert Dangers(text).found == Dangers(page(course, "ada")).found  # and inert
        assert (
            CANARY not in text
            and "49" not in text.partition("tracker.example")[2][:200]
        )
    assert Dangers(SCRIPT).found != Dangers("").found


def test_nbgraders_own_autograder_runs_nothing(course, tmp_path):
    folder = handed_in(tmp_path / "in", ada=["open('ran', 'w')"])
    course.add(PLAN, folder, {"ada": record("ada", ["05-1"])})
    before = sources(course, "ada")
    course._directory.student_id, course._directory.assignment_id = "ada", STEM
    autograde = Autograde(
        coursedir=course._directory, config=course._config, force=True
    )
    with pytest.raises(NbGraderException, match="Nothing was run"):
        autograde.start()
    assert sources(course, "ada") == before and grades(course, "ada")["05-1"] == (
        2,
        False,
    )


# Copies


def copy_of(released, *cells, tmp_path):
    release = json.loads((released / "release" / STEM / f"{STEM}.ipynb").read_text())
    written(notebook(cells))(tmp_path / "a.ipynb")
    return texts(copied(release, Submission("ada", tmp_path / "a.ipynb"))["cells"])


def test_the_last_attempt_is_the_answer_and_the_others_are_shown(released, tmp_path):
    found = copy_of(
        released,
        "before = 0",
        ("prediction = 'flatter'", "05-1"),
        ("prediction = 'sharper'", "05-1"),
        "helper = 1",
        'check("05-1")',
        ("prediction = None  # replace None by one of the four", "05-1"),
        ("stray = 1", "nobody"),
        tmp_path=tmp_path,
    )
    assert found[0] == "before = 0"
    at = found.index("prediction = 'sharper'")
    assert found[at + 1 : at + 4] == [
        "prediction = 'flatter'",
        "helper = 1",
        "stray = 1",
    ]
    assert found[at + 4] == 'check("05-1")'
    assert len(found) == 22 + 4


def test_copies_are_of_bounded_size(released, tmp_path):
    cells = [("y" * 3 * LONGEST, "05-1"), *(f"x{i} = 1" for i in range(3 * MOST))]
    found = copy_of(released, *cells, "\x1b\u202e\ud800 = 1", tmp_path=tmp_path)
    assert len(found) == 22 + MOST
    assert max(map(len, found)) < LONGEST + 50
    assert parts({"cells": []}, [{"source": "\x1b\u202e\ud800", "cell_type": "code"}]
        ).others == {-1: ["\ufffd" * 3]}  # fmt: skip


# Without nbgrader, and what is refused


def test_only_the_gradebook_needs_nbgrader(monkeypatch, capsys, tmp_path):
    for path in (ROOT / "tfcourse" / "grading").rglob("*.py"):
        imported = {
            (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        outside = {"nbgrader", "nbconvert", "traitlets", "sqlalchemy", "nbformat"}
        needs = {name.split(".")[0] for name in imported} & outside
        assert not needs or path.name == "gradebook.py"
        lazily = "tfcourse.grading.gradebook" in imported
        assert not lazily, f"{path.name} imports the gradebook as it is imported"
    monkeypatch.setattr(handout, "find_spec", lambda name: None)
    assert command.main([str(tmp_path), "--chapter", "05", "--gradebook", "c"]) == 1
    assert handout.main(["--chapter", "05", "--release", "c"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and all("pip install 'tfcourse[grading]'" in t for t in told)


def test_a_gradebook_takes_all_students_and_no_copies(tmp_path, capsys):
    wanted = ["--chapter", "05", "--gradebook", str(tmp_path)]
    assert command.main(["--merge", "a", "b", *wanted]) == 1
    assert command.main([str(tmp_path), "--shard", "1/2", *wanted]) == 1
    assert command.main([str(tmp_path / "submitted" / "ada"), *wanted]) == 1
    told = capsys.readouterr().err
    assert told.count("--merge the shards first") == 2
    assert "submitted_directory=collected" in told
    assert not (tmp_path / "gradebook.db").exists()


def test_a_mark_is_told_in_plain_text():
    right = Mark("05-1", "A title", 2, "right", says="So it is.")
    assert said(right) == "✓ 05-1 A title · Right. So it is.\n(2 of 2 points)"
