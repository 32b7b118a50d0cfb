"""Grade a folder of submissions of one chapter.

The folder holds a notebook for each student (`ada.ipynb`), or a folder for each
(`ada/anything.ipynb`). What they wrote is run in a sandbox; what is written goes into
the folder OUT: grades.csv, feedback/ (a page for each student), summary.txt, and
records/, from which an interrupted run goes on where it stopped. The same command again
grades what is new or has changed, be it a submission, a check or its points.

Inputs are drawn from the secret in OUT/seed.txt, made by the first run: keep it to
yourself, and give it to the other machines if you share the work out.
"""

import argparse
import os
import re
import secrets
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

from tfcourse.grading import batch, report
from tfcourse.grading.handout import require_nbgrader
from tfcourse.grading.judge import Plan, Record
from tfcourse.grading.sandbox import Container, Limits, NoSandbox, Sandbox
from tfcourse.grading.submission import Submission, passed_over, submissions
from tfcourse.notebook.chapters import CHAPTERS, Chapter, by_number

SHARD = "shard.txt"
EXAMPLES = """examples:
  python -m tfcourse.grading submissions --chapter 05
  python -m tfcourse.grading submissions --chapter 05 --only 05-3 --only ada
  python -m tfcourse.grading submissions --chapter 05 --gradebook course
  python -m tfcourse.grading submissions --chapter 05 --shard 1/4 --out part1 \\
      --seed-file seed.txt
  python -m tfcourse.grading --merge part1 part2 part3 part4 --chapter 05 --out all \\
      --seed-file seed.txt
"""


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    made = argparse.ArgumentParser(
        prog="python -m tfcourse.grading",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("folder", nargs="?", type=_place, help="the folder with the submissions")
    add("--chapter", required=True, help="its number, such as 05")
    add("--out", type=Path, help="where to write (grades/NN_name)")
    add("--seed-file", type=Path, help="the secret (OUT/seed.txt, made if missing)")
    add("--per-student", action="store_true", help="other inputs for each student")
    add("--draws", type=int, default=3, help="inputs for each check (3)")
    add("--tests", type=Path, help="a Python file with tests of your own")
    add("--only", action="append", default=[], metavar="ID|STUDENT",
        help="grade only this exercise, or this student, again; may be repeated")  # fmt: skip
    add("--shard", metavar="I/N", help="the I-th of N parts of the students")
    add("--merge", nargs="+", type=Path, metavar="OUT", help="join what shards wrote")
    add("--gradebook", type=Path, metavar="COURSE",
        help="then write all of it into nbgrader's course folder, with its gradebook")  # fmt: skip
    add(
        "--graders",
        type=int,
        default=os.cpu_count() or 1,
        help="side by side (%(default)s)",
    )
    add("--container", metavar="IMAGE",
        help="without bubblewrap: a container of this image for each submission")  # fmt: skip
    for name, words in (
        ("call", "seconds for one call of a check"),
        ("cell", "seconds for one cell"),
        ("submission", "seconds for one submission"),
    ):
        default = getattr(Limits, name)
        add(
            f"--{name}-seconds",
            type=float,
            default=default,
            help=f"{words} (%(default)s)",
        )
    add(
        "--memory", type=float, default=2.0, help="GiB for one submission (%(default)s)"
    )
    return made


def _place(text: str) -> Path:
    """A path that was named; an empty one is a variable that was forgotten."""
    if not text:
        raise argparse.ArgumentTypeError(
            "name the folder, such as make grade SUBMISSIONS=submissions CHAPTER=05"
        )
    return Path(text)


def main(arguments: list[str] | None = None) -> int:
    """Grade, or join what was graded; 1 with a sentence where that is not possible."""
    asked = parser().parse_args(arguments)
    try:
        plan, out = planned(asked)
        if asked.merge:
            told = merge(plan, asked.merge, out)
        else:
            told = grade_folder(plan, asked, out)
        added = enter(plan, asked, out) if asked.gradebook else ""
    except (NoSandbox, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it was", file=sys.stderr)
        return 130
    print(told, end="")
    print(f"\nwritten: {out / 'grades.csv'}, {out / 'feedback'}, {out / 'summary.txt'}")
    print(added, end="")
    return 0


def planned(asked: argparse.Namespace) -> tuple[Plan, Path]:
    """How to grade, and where to write."""
    if bool(asked.merge) == bool(asked.folder):
        raise ValueError("name the folder with the submissions, or --merge OUT OUT ...")
    require_gradebook(asked)
    if not re.fullmatch(r"\d{1,2}", asked.chapter):
        raise ValueError(f"--chapter is a number such as 05, not {asked.chapter!r}")
    if asked.draws < 1 or asked.graders < 1:
        raise ValueError(
            f"--draws and --graders must be 1 or more; got {asked.draws} and {asked.graders}"
        )
    chapter = by_number(int(asked.chapter))
    out = asked.out or Path("grades") / chapter.stem
    require_own(out, chapter, asked)
    limits = Limits(
        call=asked.call_seconds,
        cell=asked.cell_seconds,
        submission=asked.submission_seconds,
        memory=round(asked.memory * 2**30),
    )
    plan = Plan.of(
        chapter,
        secret(asked.seed_file or out / "seed.txt", make=not asked.seed_file),
        tests=asked.tests,
        draws=asked.draws,
        per_student=asked.per_student,
        limits=limits,
    )
    return plan, out


def require_own(out: Path, chapter: Chapter, asked: argparse.Namespace) -> None:
    """ValueError where OUT holds something else than what is to be written there."""
    ids = {m.id[:2] for r in report.kept(out).values() for m in r.marks}
    for other in ids - {f"{chapter.number:02}"}:
        raise ValueError(f"{out} holds grades of chapter {other}: name another --out")
    if asked.shard and not asked.seed_file:
        raise ValueError("--shard needs --seed-file, the same one for all parts")
    if asked.shard and (out / SHARD).exists():
        before = (out / SHARD).read_text("utf-8").strip()
        if before != asked.shard:
            raise ValueError(f"{out} holds part {before}: name another --out")


def secret(path: Path, make: bool) -> str:
    """The text of the file, made where it is missing."""
    if not path.exists():
        if not make:
            raise ValueError(f"{path} is missing: write a secret into it, a long one")
        report.write(path, secrets.token_hex(16) + "\n", mode=0o600)
    text = path.read_text("utf-8").strip()
    if len(text) < 8:
        raise ValueError(f"{path} holds {len(text)} characters: a secret has 8 or more")
    return text


def shard(found: list[Submission], part: str | None) -> list[Submission]:
    """The students of this part: who is in it depends on the name alone."""
    if part is None:
        return found
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"--shard is a part of all, such as 2/4, not {part!r}")
    own, parts = int(match[1]), int(match[2])
    return [s for s in found if zlib.crc32(s.student.encode()) % parts == own - 1]


def grade_folder(plan: Plan, asked: argparse.Namespace, out: Path) -> str:
    """Grade what is not graded yet; write everything; return the summary."""
    found = shard(submissions(asked.folder, plan.chapter.stem), asked.shard)
    if asked.shard:
        report.write(out / SHARD, asked.shard + "\n")
    if others := passed_over(asked.folder):
        told = ", ".join(others)[:300]
        print(f"no notebook, and not graded: {told}", file=sys.stderr)
    if not found and not asked.shard:
        raise ValueError(f"{asked.folder} holds no notebook and no folder with one")
    own = {exercise.id for exercise in plan.exercises}
    names = {s.student for s in found}
    strange = [name for name in asked.only if name not in own | names]
    if strange and not asked.shard:
        raise ValueError(
            f"--only names no exercise and no student: {', '.join(strange)}"
        )
    records = {n: r for n, r in report.kept(out).items() if n in names}
    key = plan.key()
    keys = {s.student: f"{s.digest()} {key}" for s in found}
    doubts = {s.student: (s.doubt,) if s.doubt else () for s in found}
    todo = [j for s in found if (j := job(s, records, keys, set(asked.only), own))]
    progress = Progress(len(found), len(found) - len(todo))
    for record in batch.run(plan, todo, place(asked, plan), asked.graders):
        look = record.look + doubts[record.student]
        record = replace(record, key=keys[record.student], look=look)
        report.keep(out, record)
        records[record.student] = record
        progress.step(record)
    progress.end()
    return report.write_all(out, plan, records.values())


def job(submission, records: dict, keys: dict, only: set, ids: set) -> batch.Job | None:
    """What is to do for a student, or None: new, changed, or asked for."""
    name = submission.student
    record = records.get(name)
    if not only:
        done = record is not None and record.key == keys[name]
        return None if done else batch.Job(submission)
    again = only & ids
    if name in only or record is None:
        return batch.Job(submission)
    if not again:
        return None
    return batch.Job(submission, known=[m for m in record.marks if m.id not in again])


def place(asked: argparse.Namespace, plan: Plan):
    """What makes the place where a grader runs answers."""
    chapters = CHAPTERS[: plan.chapter.number]
    if asked.container:
        return lambda: Container(asked.container, plan.limits, chapters)
    return lambda: Sandbox(plan.limits, chapters)


def require_all(parts: list[Path]) -> None:
    """ValueError where a shard is missing, or they are parts of other wholes."""
    told = [
        (p / SHARD).read_text("utf-8").strip() for p in parts if (p / SHARD).exists()
    ]
    for number in {whole.partition("/")[2] for whole in told}:
        for i in range(1, int(number) + 1):
            if f"{i}/{number}" not in told:
                raise ValueError(
                    f"part {i} of {number} is missing: name its --out, too"
                )


def merge(plan: Plan, parts: list[Path], out: Path) -> str:
    """Join the records of shards, as if they had been one run."""
    require_all(parts)
    records: dict[str, Record] = {}
    for part in parts:
        found = report.kept(part)
        if not found and not (part / "grades.csv").exists():
            raise ValueError(f"{part} holds no grades: is it the --out of a shard?")
        for name, record in found.items():
            if name in records and records[name] != record:
                raise ValueError(f"{name} is in two of the parts, with other grades")
            if record.key.split()[-1] != plan.key():
                raise ValueError(
                    f"{part} was graded with another seed, other checks or other options: "
                    "give the ones of the shards, or grade them again"
                )
            records[name] = record
    for record in records.values():
        report.keep(out, record)
    return report.write_all(out, plan, records.values())


def require_gradebook(asked: argparse.Namespace) -> None:
    """ValueError where --gradebook cannot be done, before anything is graded."""
    if not asked.gradebook:
        return
    require_nbgrader("--gradebook")
    if asked.merge or asked.shard:
        raise ValueError(
            "--gradebook takes all students at once: --merge the shards first; then the "
            "same command with the folder, its --out and --gradebook grades nothing anew"
        )
    own = asked.gradebook.resolve() / "submitted"
    if asked.folder.resolve().is_relative_to(own):
        raise ValueError(
            f"{own} is where --gradebook writes copies: collect submissions elsewhere, "
            "such as with nbgrader's --CourseDirectory.submitted_directory=collected"
        )


def enter(plan: Plan, asked: argparse.Namespace, out: Path) -> str:
    """Write what is graded into nbgrader's course folder; say where."""
    from tfcourse.grading.gradebook import Course  # needs nbgrader

    told = Course(asked.gradebook).add(plan, asked.folder, report.kept(out))
    return f"{told}written: {asked.gradebook / 'gradebook.db'}, and the folders beside it\n"


class Progress:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, done: int):
        self._total, self._done, self._start = total, done, time.monotonic()
        self._tty = sys.stderr.isatty()
        if done:
            print(f"{done} of {total} were graded before", file=sys.stderr)

    def step(self, record: Record) -> None:
        """One more is graded."""
        self._done += 1
        filled = 30 * self._done // self._total
        bar = "█" * filled + "·" * (30 - filled)
        line = f"{bar} {self._done}/{self._total} {record.student[:30]}"
        line += f" {record.points} of {record.of}"
        if self._tty:
            print(f"\r{line:90.90}", end="", file=sys.stderr, flush=True)
        elif self._done == self._total or self._done % 10 == 0:
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """The time that it took."""
        if self._tty:
            print(file=sys.stderr)
        seconds = time.monotonic() - self._start
        print(f"{seconds:.1f} s", file=sys.stderr)
