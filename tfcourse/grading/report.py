"""What a course gets: a table of grades, a page for each student, a summary."""

import contextlib
import csv
import hashlib
import html
import io
import json
import os
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tfcourse.checks.verdict import HEADS, Verdict
from tfcourse.grading.judge import Mark, Plan, Record

BARS = 8  # of the distribution
SHOWN = 12  # wrong answers that the summary lists
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: auto;
 padding: 1rem; --pst-color-surface: Canvas; --pst-color-text-base: CanvasText;
 --pst-color-success: #2e8b57; --pst-color-danger: #c0392b; --pst-color-info: #607d8b }}
code {{ overflow-wrap: anywhere }} .points {{ float: right }}
</style></head><body>
<h1>{title}</h1>
<p><strong>{points} of {of} points</strong></p>
{parts}
</body></html>
"""


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with open(fd, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def file_name(student: str, ending: str) -> str:
    """A name for this student's file, of a length that every disk takes."""
    if len(student.encode()) <= 200:
        return f"{student}{ending}"
    digest = hashlib.sha256(student.encode()).hexdigest()[:12]
    return f"{student[:40]}-{digest}{ending}"


def keep(out: Path, record: Record) -> None:
    """Store a record, so that an interrupted run need not repeat it."""
    text = json.dumps(record.as_json(), indent=1, ensure_ascii=False) + "\n"
    write(out / "records" / file_name(record.student, ".json"), text)


def kept(out: Path) -> dict[str, Record]:
    """The records that are stored, by student."""
    found = {}
    for path in sorted((out / "records").glob("*.json")):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            record = Record.from_json(json.loads(path.read_text("utf-8")))
            found[record.student] = record
    return found


def write_all(out: Path, plan: Plan, records: Iterable[Record]) -> str:
    """Write grades.csv, the pages and summary.txt; return the summary."""
    records = sorted(records, key=lambda record: record.student)
    write(out / "grades.csv", table(plan, records))
    for record in records:
        page = feedback(plan, record)
        write(out / "feedback" / file_name(record.student, ".html"), page)
    told = summary(plan, records)
    write(out / "summary.txt", told)
    return told


def table(plan: Plan, records: Iterable[Record]) -> str:
    """One line for each student, in a fixed order, without anything that varies."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    columns = [mark.column for mark in plan.blank()]
    rows.writerow(["student", *columns, "points", "of", "look"])
    for record in records:
        points = {mark.column: mark.points for mark in record.marks}
        look = "yes" if record.look else ""
        earned = [points.get(column, 0) for column in columns]
        rows.writerow([cell(record.student), *earned, record.points, record.of, look])
    return file.getvalue()


def cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula.

    >>> cell("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text[:1] in "=+-@" else text


def feedback(plan: Plan, record: Record) -> str:
    """What the student reads: a page without scripts, in which all is escaped."""
    parts = [_part(mark) for mark in record.marks]
    if record.notes:
        notes = "".join(f"<li><code>{html.escape(n)}</code></li>" for n in record.notes)
        parts.append(f"<h2>Cells that stopped</h2><ul>{notes}</ul>")
    title = f"{record.student} · {plan.chapter.number} {plan.chapter.title}"
    return PAGE.format(
        title=html.escape(title),
        points=record.points,
        of=record.of,
        parts="\n".join(parts),
    )


def _part(mark: Mark) -> str:
    earned = f"<span class='points'>{mark.points} of {mark.of}</span>"
    if mark.private:
        word = "passed" if mark.status == "right" else "not passed"
        title = html.escape(mark.title)
        return f"<p>{earned}{mark.id}, a further test, “{title}”: {word}.</p>"
    told = Verdict(mark.id, mark.title, mark.status, mark.says, mark.seen, mark.given)
    return f"<p>{earned}</p>{told._repr_html_()}"


def summary(plan: Plan, records: list[Record]) -> str:
    """What an instructor reads in a minute."""
    chapter = plan.chapter
    of = sum(mark.of for mark in plan.blank())
    lines = [
        f"Chapter {chapter.number}, {chapter.title}: {_count(records)}, {of} points"
    ]
    if not records:
        return lines[0] + "\n"
    points = [record.points for record in records]
    mean, median = statistics.mean(points), statistics.median(points)
    lines += [f"mean {mean:.1f}, median {median:g}", "", *_distribution(points, of)]
    lines += ["", "What became of each exercise", *_outcomes(plan, records)]
    lines += ["", "The commonest wrong answers", *_mistakes(records)]
    lines += ["", "Who needs a look", *_looks(records)]
    return "\n".join(lines) + "\n"


def _count(records: list[Record]) -> str:
    return "1 submission" if len(records) == 1 else f"{len(records)} submissions"


def _distribution(points: list[int], of: int) -> list[str]:
    width = max(1, -(-(of + 1) // BARS))
    bars = Counter(p // width for p in points)
    scale = max(1, max(bars.values()) / 40)
    return [
        f"  {i * width:3}–{min(of, (i + 1) * width - 1):<3} {bars[i]:4} "
        f"{'█' * round(bars[i] / scale)}".rstrip()
        for i in range(of // width + 1)
    ]


def _outcomes(plan: Plan, records: list[Record]) -> list[str]:
    names = list(HEADS)
    lines = ["  " + " ".join(f"{name:>9}" for name in names)]
    for blank in plan.blank():
        marks = [m for r in records for m in r.marks if m.column == blank.column]
        counts = Counter(mark.status for mark in marks)
        numbers = " ".join(f"{counts[name]:9}" for name in names)
        name = blank.column if blank.private else f"{blank.id} {blank.title}"
        lines.append(f"  {numbers}  {name}")
    return lines


def _mistakes(records: list[Record]) -> list[str]:
    """By what the check said, or by what it saw, numbers aside."""
    heard = Counter(
        (mark.column, mark.says or re.sub(r"\d[\d.e+-]*", "…", mark.seen))
        for record in records
        for mark in record.marks
        if mark.status in ("wrong", "error")
    )
    common = sorted(heard.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    told = [f"  {count:4} × {column}: {says[:160]}" for (column, says), count in common]
    return told or ["  none"]


def _looks(records: list[Record]) -> list[str]:
    told = [f"  {r.student}: {'; '.join(r.look)[:300]}" for r in records if r.look]
    return told or ["  nobody"]
