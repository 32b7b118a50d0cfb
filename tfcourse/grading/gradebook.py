"""Nbgrader's course folder and gradebook, written from what the grader found.

Points come from the checks alone. Nbgrader keeps them, with the marks and comments that
people give in its formgrader, and makes feedback pages and the table of grades.
"""

import csv
import hashlib
import io
import json
import logging
import os
import re
import stat
import sys
import warnings
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

from nbconvert.exporters import NotebookExporter
from nbgrader.api import Gradebook
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import parse_utc
from sqlalchemy.exc import SQLAlchemyError
from traitlets.config import PyFileConfigLoader

from tfcourse.grading import handout, report
from tfcourse.grading.copies import copied, marked
from tfcourse.grading.judge import Plan, Record
from tfcourse.grading.submission import submissions
from tfcourse.notebook.chapters import Chapter

CONFIG = "nbgrader_config.py"
NEEDED = """\
# The answers are cleared already, and what is given stays.
c.ClearSolutions.enabled = False
# `python -m tfcourse.grading` grades. Nbgrader's own autograder would run what students
# wrote with your rights: this keeps it from running.
c.Autograde.exporter_class = "tfcourse.grading.gradebook.NoAutograder"
"""
MADE = """\
# Made by `python -m tfcourse.grading`, and yours from now on: it is not written again.
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = {course_id!r}
"""
PLAIN = re.compile(
    r"(?!.*-[0-9a-f]{10}$)\w[\w.@-]{0,79}"
)  # names that stay as they are
REFUSED = (
    "Nothing was run: nbgrader's autograder would run the answers without a sandbox. "
    "Grade with `python -m tfcourse.grading FOLDER --chapter NN --gradebook COURSE`, "
    "which also writes autograded/ and the gradebook."
)
STAMPS = {  # what nbgrader's exchange puts beside a notebook
    "timestamp.txt": re.compile(r"[\w :.+/-]{8,60}"),
    "submission_secret.txt": re.compile(r"[0-9a-f]{16,256}"),
}


class NoAutograder(NotebookExporter):
    """In the place of the one that nbgrader's autograder begins with: it ends there."""

    def __init__(self, parent, **_):
        parent.log.error(REFUSED)
        raise NbGraderException(REFUSED)


def student_id(name: str) -> str:
    """The name, or where nbgrader could trip over it (paths, links, its CSV), another.

    >>> student_id("ada.l-2@uni"), student_id("José"), student_id("a/b, <i>")
    ('ada.l-2@uni', 'José', 'a_b_i_-d4de344064')
    """
    if PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    kept = re.sub(r"[^\w.@-]+", "_", name).lstrip(".-@")[:60]
    return f"{kept or 'student'}-{digest}"


class Course:
    """A course folder of nbgrader's, made where it is missing."""

    def __init__(self, folder: Path):
        self.folder = folder
        beside = os.path.dirname(sys.executable)  # nbgrader calls `alembic` by its name
        if beside not in os.environ.get("PATH", "").split(os.pathsep):
            os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), beside])
        if not (folder / CONFIG).exists():
            course_id = re.sub(r"[^\w-]", "_", folder.resolve().name) or "course"
            text = MADE.format(course_id=course_id) + NEEDED
            report.write(folder / CONFIG, text)
        loader = PyFileConfigLoader(CONFIG, path=str(folder.resolve()))
        self._config = loader.load_config()
        self._directory = CourseDirectory(
            config=self._config, root=str(folder.resolve())
        )

    def _lacks(self) -> str:
        """What to add to a configuration that is not ours, if anything."""
        ours = self._config.ClearSolutions.get("enabled") is False
        if ours and "exporter_class" in self._config.Autograde:
            return ""
        return f"please add to {self.folder / CONFIG}:\n{NEEDED}"

    def place(self, step: str, student: str, chapter: Chapter) -> Path:
        """The folder that nbgrader has for a step, a student and an assignment."""
        return Path(self._directory.format_path(step, student, chapter.stem))

    def assign(self, chapter: Chapter, points: dict[str, int]) -> str:
        """Write source/, release/ and the gradebook's assignment; say what is amiss."""
        made = json.dumps(handout.source(chapter, points), indent=1, ensure_ascii=False)
        place = self.place(self._directory.source_directory, ".", chapter)
        report.write(place / f"{chapter.stem}.ipynb", made + "\n")
        config = self._config.copy()
        config.ClearSolutions.enabled = False
        self._directory.assignment_id = chapter.stem
        log = _Log()
        with self._problems(chapter, log):
            generate = GenerateAssignment(
                coursedir=self._directory, config=config, force=True, log=log
            )
            generate.start()
        return self._lacks()

    @contextmanager
    def _problems(self, chapter: Chapter, log: "_Log | None" = None):
        """What nbgrader or its database cannot do, as a sentence."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # those of nbgrader about its queries
                yield
        except NbGraderException as error:
            raise ValueError(
                f"nbgrader did not write {chapter.stem} in {self.folder}: "
                f"{(log and log.problem) or error}\n"
                "If exercises were added or left out since submissions were graded, "
                f"export its marks, then `nbgrader db assignment remove {chapter.stem} "
                "--force` there, and run this again."
            ) from None
        except SQLAlchemyError as error:
            raise ValueError(
                f"{self._directory.db_url} cannot be used ({str(error).splitlines()[0]}): "
                f"if nbgrader was updated, copy it, then `nbgrader db upgrade` in "
                f"{self.folder}"
            ) from None

    def add(self, plan: Plan, folder: Path, records: dict) -> str:
        """Write the folder's submissions, what the checks said, and the scores."""
        chapter = plan.chapter
        points: dict[str, int] = {}
        for mark in plan.blank():
            points[mark.id] = points.get(mark.id, 0) + mark.of
        told = self.assign(chapter, points)
        step = self._directory.release_directory
        path = self.place(step, ".", chapter) / f"{chapter.stem}.ipynb"
        release = json.loads(path.read_text("utf-8"))
        found = submissions(folder, chapter.stem)
        graded = [s for s in found if s.student in records]
        where = self._directory.db_url, self._directory.course_id
        with self._problems(chapter), Gradebook(*where) as book:
            for submission in graded:
                record = records[submission.student]
                own = submission.path.parent
                stamps = found_stamps(own) if own != folder else {}
                self._copy(chapter, copied(release, submission), record, stamps)
                enter(book, chapter.stem, record, stamps.get("timestamp.txt"))
        self._list(s.student for s in graded)
        return told

    def _copy(self, chapter, plain: dict, record: Record, stamps: dict) -> None:
        """Write a student's two notebooks, and what the exchange needs beside them."""
        student = student_id(record.student)
        for step, notebook in (
            (self._directory.submitted_directory, plain),
            (self._directory.autograded_directory, marked(plain, record)),
        ):
            text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            place = self.place(step, student, chapter)
            for name, whole in {f"{chapter.stem}.ipynb": text, **stamps}.items():
                report.write(place / name, whole)

    def _list(self, students: Iterable[str]) -> None:
        """Keep students.csv: who is meant by each id."""
        path = self.folder / "students.csv"
        rows = {}
        if path.exists():
            with open(path, encoding="utf-8", newline="") as file:
                rows = {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
        rows |= {student_id(name): report.cell(name) for name in students}
        rows.pop("student_id", None)
        file = io.StringIO()
        table = csv.writer(file, lineterminator="\n")
        table.writerows([("student_id", "student"), *sorted(rows.items())])
        report.write(path, file.getvalue())


def found_stamps(folder: Path) -> dict[str, str]:
    """The small files of nbgrader's exchange in the folder, where they are in order."""
    found = {}
    for name, pattern in STAMPS.items():
        try:
            status = (folder / name).lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > 300:
                continue
            text = (folder / name).read_text("ascii").strip()
            if pattern.fullmatch(text):
                if name == "timestamp.txt":
                    parse_utc(text)
                found[name] = text
        except (OSError, ValueError, OverflowError):
            continue
    return found


def enter(book: Gradebook, assignment: str, record: Record, stamp: str | None) -> None:
    """Put a record into the gradebook: scores, and what a person should look at.

    Marks and comments that people gave stay; where the score below a mark is another
    than before, the mark is flagged for review.
    """
    student = student_id(record.student)
    book.update_or_create_student(student)
    when = {"timestamp": stamp} if stamp else {}
    submission = book.update_or_create_submission(assignment, student, **when)
    (notebook,) = submission.notebooks
    for grade in notebook.grades:
        marks = [mark for mark in record.marks if mark.id == grade.name]
        score = float(sum(mark.points for mark in marks))
        if grade.auto_score != score:
            look = any(concerns(told, grade.name) for told in record.look)
            grade.needs_manual_grade = look or grade.manual_score is not None
        grade.auto_score = score
    for comment in notebook.comments:
        status = {mark.status for mark in record.marks if mark.id == comment.name}
        nothing = status <= {"", "missing", "unwritten"}
        comment.auto_comment = "No response." if nothing else None
    book.db.commit()


def concerns(told: str, id: str) -> bool:
    """Whether a reason to look is about this exercise, or about all of them.

    >>> concerns("05-3: It stopped.", "05-3"), concerns("05-3: It stopped.", "05-1")
    (True, False)
    """
    about = re.match(r"(\d\d-\d+): ", told)
    return about is None or about[1] == id


class _Log(logging.Logger):
    """Nbgrader tells its steps, which are many; the first error is kept."""

    def __init__(self):
        super().__init__("nbgrader", logging.ERROR)
        self.problem = ""

    def handle(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip().split("\n")
        if len(text) > 1 and not self.problem:  # a traceback, and its last line
            self.problem = text[-1]
