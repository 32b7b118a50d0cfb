"""The pages that are computed: map, syllabus, scoreboard, exercises, proved answers.

Each directive writes Markdown and has it parsed, so that a link which leads nowhere
is reported by Sphinx like any other, with the page and the target.
"""

import json
import re
from collections import Counter
from itertools import groupby
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from tfcourse.checks import exercises_of, proofs
from tfcourse.notebook.chapters import CHAPTERS, Chapter, by_number
from tfcourse.notebook.scoreboard import read_rows

LOGGER = logging.getLogger(__name__)
TARGET = re.compile(r"^\(topic-([A-Za-z]+\d+)\)=", re.MULTILINE)
SOON = '<span class="tfc-soon">in preparation</span>'

QUESTIONS = {
    1: "Why a network that reads word by word forgets how the sentence began.",
    2: "How a word becomes numbers, and why a matrix product is a lookup.",
    3: "Predict the next word by counting; then let gradients find what to count.",
    4: "Words as directions: near where they mean alike.",
    5: "Let every word look at every other, and decide for itself what matters.",
    6: "Several looks at once, at the price of one.",
    7: "Attention does not know order. Four ways to tell it.",
    8: "Residual paths, normalization, feed-forward: what makes it stack.",
    9: "From an English sentence to a shell command that does what it says.",
    10: "Where the pieces of text come from, learned from text.",
    11: "A small GPT, trained on source code that you already have.",
    12: "From logits to text: greedy, warm, cut off, penalized.",
    13: "Never compute a key twice.",
    14: "The same model in fewer bits, and what each bit is worth.",
    15: "Rotate, then round: a cache of a few bits per number.",
    16: "Images, linear attention, long contexts; and where it all ends.",
}


class CourseTable(SphinxDirective):
    """A directive whose Markdown depends on the chapters that are on disk."""

    look = "tfc-computed"

    def markdown(self) -> str:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        try:
            text = self.markdown()
        except (AssertionError, OSError, ValueError) as error:
            raise self.error(str(error)) from error
        return [
            nodes.container("", *self.parse_text_to_nodes(text), classes=[self.look])
        ]

    def written(self) -> dict[Chapter, Path]:
        """The chapters that are on disk, and their notebooks."""
        folder = Path(self.env.srcdir, "chapters")
        paths = {chapter: folder / f"{chapter.stem}.ipynb" for chapter in CHAPTERS}
        return {chapter: path for chapter, path in paths.items() if path.exists()}


class CourseMap(CourseTable):
    """All chapters by part; those that are written are linked."""

    look = "tfc-map"

    def markdown(self) -> str:
        written = self.written()
        lines = []
        for chapter in CHAPTERS:
            if chapter == first_of_part(chapter):
                lines += ["", f"**{chapter.part}**", ""]
            title = f"{chapter.title} {SOON}"
            if chapter in written:
                title = f"[{chapter.title}](/chapters/{chapter.stem}.ipynb)"
            lines.append(f"{chapter.number}. {title}\\")
            lines.append(f"    {QUESTIONS[chapter.number]}")
        return "\n".join(lines)


class Syllabus(CourseTable):
    """Every topic of `book/topics.yml`, linked to the section that meets it."""

    look = "tfc-syllabus"

    def markdown(self) -> str:
        path = Path(self.env.srcdir, "book", "topics.yml")
        self.env.note_dependency(str(path))
        topics = yaml.safe_load(path.read_text("utf-8"))
        done = self.done({topic["id"] for topic in topics})
        lines = []
        for chapter in CHAPTERS:
            lines += ["", f"**{chapter.number}. {chapter.title}**", ""]
            lines += ["| id | topic | state |", "|--|--|--|"]
            for topic in (t for t in topics if t["chapter"] == chapter.number):
                name, title, where = topic["id"], topic["title"], SOON
                if name in done:
                    title, where = f"[{title}](#topic-{name.lower()})", "✓ written"
                lines.append(f"| {name} | {title} | {where} |")
        return "\n".join(lines)

    def done(self, known: set[str]) -> set[str]:
        """The topics with a target in a chapter; one that is not in the list is told."""
        found = set()
        for path in self.written().values():
            for cell in json.loads(path.read_text("utf-8"))["cells"]:
                ids = TARGET.findall("".join(cell["source"]))
                for name in (name for name in ids if name not in known):
                    LOGGER.warning(
                        "%s has the target (topic-%s)=, but book/topics.yml has no "
                        "topic %s",
                        *(path.name, name, name),
                        location=self.get_location(),
                    )
                found.update(ids)
        return found & known


class Scoreboard(CourseTable):
    """The rows that the committed chapters hold, best first."""

    def markdown(self) -> str:
        for path in self.written().values():
            self.env.note_dependency(str(path))
        rows = read_rows(self.env.srcdir)
        if not rows:
            return (
                "No model is on the board yet. The first rows come with the "
                f"chapter *{by_number(3).title}*."
            )
        lines = ["| model | bits per byte | size | speed | chapter |"]
        lines.append("|:--|--:|--:|--:|:--|")
        for chapter, row in sorted(rows, key=lambda pair: pair[1].bits_per_byte):
            link = f"[{chapter.title}](/chapters/{chapter.stem}.ipynb)"
            lines.append(
                f"| {cell(row.model)} | {row.bits_per_byte:.3f} "
                f"| {in_bytes(row.model_bytes)} "
                f"| {in_bytes(row.bytes_per_second)}/s | {link} |"
            )
        return "\n".join(lines)


class ExerciseTable(CourseTable):
    """Every exercise with its facts; the last column leads to what its check catches."""

    look = "tfc-exercises"

    def markdown(self) -> str:
        root = Path(self.env.srcdir)
        lines = [
            "| exercise | kind | difficulty | minutes | points | mistakes caught |"
        ]
        lines += ["|:--|:--|--:|--:|--:|--:|"]
        for chapter in proofs.written(root):
            exercises, proved = exercises_of(chapter), proofs.proofs_of(chapter, root)
            caught = Counter(proof.id for proof in proved if proof.kind == "wrong")
            minutes = sum(e.minutes for e in exercises)
            points = sum(e.points for e in exercises)
            title = f"{chapter.number} {chapter.title}"
            lines.append(f"| **{title}** | | | **{minutes}** | **{points}** | |")
            for e in exercises:
                facts = f"{e.kind} | {e.difficulty} | {e.minutes} | {e.points}"
                wrong = f"[{caught[e.id]}](#caught-{e.id})"
                lines.append(f"| {cell(f'{e.id} {e.title}')} | {facts} | {wrong} |")
        return "\n".join(lines)


class ProvedAnswers(CourseTable):
    """The wrong answers that the checks are proved to catch, and what each is told."""

    look = "tfc-proved"

    def markdown(self) -> str:
        root = Path(self.env.srcdir)
        for path in (root / "tests" / "answers").glob("*.py"):
            self.env.note_dependency(str(path))
        rows = list(proofs.rows(root))
        if not rows:
            return "No chapter with exercises is written yet."
        lines = []
        for (id, title), group in groupby(rows, key=lambda row: row[:2]):
            lines += ["", f"(caught-{id})=", f"**{cell(f'{id} {title}')}**", ""]
            lines += ["| the mistake | what it is told |", "|--|--|"]
            lines += [f"| {cell(row.words)} | {cell(row.reply)} |" for row in group]
        return "\n".join(lines)


def first_of_part(chapter: Chapter) -> Chapter:
    """The chapter that opens the part which this chapter stands in."""
    return next(other for other in CHAPTERS if other.part == chapter.part)


def cell(text: str) -> str:
    """Plain text, but for `code`, as it must stand in a cell of a Markdown table.

    >>> print(cell("`a | b` costs $5"))
    `a \\| b` costs \\$5
    """
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    parts[::2] = [re.sub(r"([\\*_$<\[\]{}~])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts).replace("|", "\\|")


def in_bytes(count: float) -> str:
    """A number of bytes, to three digits.

    >>> [in_bytes(count) for count in (512, 34_560, 3_400_000, 2.5e9)]
    ['512 B', '34.6 kB', '3.4 MB', '2.5 GB']
    """
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def setup(app) -> None:
    app.add_directive("course-map", CourseMap)
    app.add_directive("syllabus", Syllabus)
    app.add_directive("scoreboard", Scoreboard)
    app.add_directive("exercise-table", ExerciseTable)
    app.add_directive("proved-answers", ProvedAnswers)
