"""A copy of a submission that is safe to show: the release, with the student's code.

Of what was handed in only the text of cells is taken. Code stays code, which every
viewer escapes; any other text becomes a comment, since no viewer escapes all that can
do harm in Markdown (links, pictures, what MathJax obeys). Outputs, metadata,
attachments and other files stay behind.
"""

import copy
import unicodedata
from dataclasses import dataclass, field

from tfcourse.checks.verdict import Verdict
from tfcourse.grading.judge import Mark, Record
from tfcourse.grading.submission import (
    Submission,
    Unreadable,
    cells_of,
    grade_id,
    text_of,
)

LONGEST = 100_000  # characters of a cell; the rest is cut off
MOST = 200  # cells beside the answers
ALL = 400_000  # characters in these


@dataclass
class Parts:
    """What a student wrote: answers by id, and the other cells by what they follow."""

    answers: dict[str, str] = field(default_factory=dict)
    others: dict[int, list[str]] = field(default_factory=dict)
    count: int = 0
    size: int = 0

    def add(self, after: int, source: str) -> None:
        """Keep a cell that stands behind cell `after` of the release."""
        self.count += 1
        self.size += len(source)
        if self.count <= MOST and self.size <= ALL:
            self.others.setdefault(after, []).append(source)

    def behind(self, place: int) -> list[dict]:
        """These cells, to be put behind cell `place` of the release; -1 is before all."""
        sources = enumerate(self.others.get(place, ()))
        return [_code(f"other-{place + 1}-{i}", source) for i, source in sources]


def copied(release: dict, submission: Submission) -> dict:
    """The release with what the student wrote; as it is where nothing can be read."""
    made = copy.deepcopy(release)
    try:
        found = parts(release, cells_of(submission.read()))
    except Unreadable:
        found = Parts()
    together = found.behind(-1)
    for place, cell in enumerate(made["cells"]):
        cell["source"] = found.answers.get(grade_id(cell), cell["source"])
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        together += [cell, *found.behind(place)]
    made["cells"] = together
    return made


def parts(release: dict, handed_in: list[dict]) -> Parts:
    """Sort the cells that were handed in: answers, what we gave, all the rest."""
    known = {grade_id(c): i for i, c in enumerate(release["cells"]) if grade_id(c)}
    given = {text_of(c).strip(): i for i, c in enumerate(release["cells"])}
    found, place = Parts(), -1
    for cell in handed_in:
        source, id = text_of(cell), grade_id(cell)
        code = cell.get("cell_type") == "code"
        if source.strip() in given:
            place = given[source.strip()]
        elif code and isinstance(id, str) and id in known:
            place = known[id]
            if id in found.answers:  # of several attempts the last is the answer
                found.add(place, found.answers[id])
            found.answers[id] = shown(source)
        elif source.strip():
            if not code:
                source = "\n".join("# " + line for line in source.splitlines())
            found.add(place, shown(source))
    return found


def shown(source: str) -> str:
    """A cell's text of bounded length, in which nothing is invisible but spaces.

    >>> shown("a\\x1b =\\xa01\\n")
    'a\ufffd =\\xa01\\n'
    """
    cut = len(source) - LONGEST
    kept = source[:LONGEST] + (f"\n# … {cut} more characters" if cut > 0 else "")
    return "".join(c if _plain(c) else "\ufffd" for c in kept)


def _plain(c: str) -> bool:
    return c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs"


def _code(id: str, source: str, says: str = "") -> dict:
    return {
        "cell_type": "code",
        "id": id,
        "metadata": {},
        "execution_count": None,
        "outputs": _output(says) if says else [],
        "source": source,
    }


def _output(says: str) -> list[dict]:
    return [{"output_type": "stream", "name": "stdout", "text": says}]


def marked(notebook: dict, record: Record) -> dict:
    """The copy with what the checks said, below each answer; and with stopped cells."""
    made = copy.deepcopy(notebook)
    for cell in made["cells"]:
        marks = [m for m in record.marks if m.id == grade_id(cell)]
        if marks:
            cell["outputs"] = _output("\n".join(map(said, marks)) + "\n")
    if record.notes:
        notes = "\n".join(record.notes) + "\n"
        made["cells"].append(_code("stopped", "# Cells that stopped:", notes))
    return made


def said(mark: Mark) -> str:
    """What the student reads of a mark, as plain text."""
    points = f"({mark.points} of {mark.of} points)"
    if mark.private:
        word = "passed" if mark.status == "right" else "not passed"
        return f"A further test, “{mark.title}”: {word}. {points}"
    told = Verdict(mark.id, mark.title, mark.status, mark.says, mark.seen, mark.given)
    return f"{told!r}\n{points}"
