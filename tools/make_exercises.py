"""Make exercises/ from solutions/: the same notebooks without answers and outputs.

usage: python -m tools.make_exercises [--check]

An answer stands in a code cell whose nbgrader metadata name an exercise that
tfcourse.checks registers (grade_id "01-1"), and a cell check("01-1") follows it. What
stands between `### BEGIN SOLUTION` and `### END SOLUTION` gives way to a line that
raises NotImplementedError; where the cell's metadata hold a "stub", that text takes the
place of the whole cell. A cell tagged `solution-only` is left out. With --check, nothing
is written: what differs is named, and the tool fails.
"""

import re
import sys

import nbformat
from nbgrader.preprocessors import ClearHiddenTests, ClearOutput, ClearSolutions

from tfcourse.checks import exercises_of
from tfcourse.notebook.chapters import CHAPTERS
from tools.notebooks import (
    ROOT,
    code_cells,
    is_code,
    notebooks,
    place,
    read,
    tags,
    write,
)

STUB = "raise NotImplementedError  # your code here"
OF_MASTERS = ("stub", "measured", "execution")  # metadata that exercises do not keep
OF_OUTPUTS = {"measured", "nbval-ignore-output"}  # tags that speak of outputs
CHECK = re.compile(r"""^check\(["'](.*?)["']\)""", re.MULTILINE)


def exercise_id(cell):
    """The exercise that this cell answers, or None."""
    nbgrader = cell.metadata.get("nbgrader", {})
    return nbgrader.get("grade_id") if nbgrader.get("solution") else None


def problems(path, root, chapters):
    """What keeps a master from becoming an exercise, one line each."""
    notebook = read(path)
    found = []
    for index, cell in enumerate(notebook.cells):
        here = place(path, root, index, cell)
        found += [f"{here}: {fault}" for fault in cell_faults(cell)]
    return (
        found
        + sequence_faults(notebook, path, root)
        + unmatched(notebook, path, root, chapters)
    )


def cell_faults(cell):
    """Regions that are not closed, or stand where no exercise is; answers unmarked."""
    for region in ("SOLUTION", "HIDDEN TESTS"):
        marks = re.findall(rf"(BEGIN|END) {region}\b", cell.source)
        if marks != ["BEGIN", "END"] * (len(marks) // 2):
            yield f"each BEGIN {region} needs its END {region}"
    region = "BEGIN SOLUTION" in cell.source
    if region and not exercise_id(cell):
        yield (
            "a solution region outside an answer cell: give the cell nbgrader "
            "metadata with its grade_id, or tag it solution-only"
        )
    if exercise_id(cell) and not region and "stub" not in cell.metadata:
        yield (
            "an answer cell without a region: mark it with ### BEGIN SOLUTION and "
            '### END SOLUTION, or give its metadata a "stub"'
        )


def sequence_faults(notebook, path, root):
    """Answer cells that no check follows, and checks that follow no answer cell."""
    found, waiting = [], None
    for index, cell in code_cells(notebook):
        here = place(path, root, index, cell)
        for id in CHECK.findall(cell.source):
            if waiting and waiting[0] == id:
                waiting = None
            else:
                found.append(f'{here}: check("{id}") follows no answer cell of {id}')
        if exercise_id(cell):
            found += [unchecked(*waiting)] if waiting else []
            waiting = exercise_id(cell), here
    return found + ([unchecked(*waiting)] if waiting else [])


def unchecked(id, here):
    return f'{here}: a cell check("{id}") must follow this answer cell'


def unmatched(notebook, path, root, chapters):
    """Exercises of the notebook that are not registered, and the other way round."""
    here = place(path, root)
    chapter = next((c for c in chapters if c.stem == path.stem), None)
    if chapter is None:
        return [f"{here}: no chapter of the registry has this name"]
    module = f"tfcourse/checks/{chapter.modules[0]}.py"
    answered = [exercise_id(c) for c in notebook.cells if exercise_id(c)]
    registered = [e.id for e in exercises_of(chapter)]
    twice = {id for id in answered if answered.count(id) > 1}
    return [
        *(f"{here}: two cells have the grade_id {id}" for id in sorted(twice)),
        *(
            f"{here}: {module} registers no exercise {id}"
            for id in sorted(set(answered) - set(registered))
        ),
        *(
            f"{here}: no cell has the grade_id {id}, which {module} registers"
            for id in registered
            if id not in answered
        ),
    ]


def exercise(path):
    """The notebook for learners that a master without problems becomes."""
    notebook = read(path)
    notebook.cells = [c for c in notebook.cells if "solution-only" not in tags(c)]
    for clearing in (
        ClearSolutions(enforce_metadata=False, code_stub={"python": STUB}),
        ClearHiddenTests(enforce_metadata=False),
        ClearOutput(),
    ):
        notebook, _ = clearing.preprocess(notebook, {})
    for cell in notebook.cells:
        strip(cell)
    notebook.metadata.pop("widgets", None)
    return notebook


def strip(cell):
    """Put the cell's stub in its place, and drop what only a master needs."""
    cell.source = cell.metadata.get("stub", cell.source)
    for name in OF_MASTERS:
        cell.metadata.pop(name, None)
    if "tags" in cell.metadata and is_code(cell):
        kept = [tag for tag in cell.metadata.tags if tag not in OF_OUTPUTS]
        cell.metadata["tags"] = kept
        if not kept:
            del cell.metadata["tags"]


def make(root, chapters):
    """Write the exercises; return what changed and what is wrong, one line each."""
    (root / "exercises").mkdir(exist_ok=True)
    changed, found = [], []
    for master in notebooks(root, "solutions"):
        target = root / "exercises" / master.name
        faults = problems(master, root, chapters)
        if not faults and write(exercise(master), target):
            changed.append(place(target, root))
        found += faults
    return changed, found + orphans(root)


def check(root, chapters):
    """What is wrong, and where exercises/ is not what solutions/ makes, a line each."""
    found = []
    for master in notebooks(root, "solutions"):
        faults = problems(master, root, chapters)
        target = root / "exercises" / master.name
        found += faults or differences(exercise(master), target, root)
    return found + orphans(root)


def differences(wanted, target, root):
    """In one line, the first place where the file is not the notebook wanted."""
    remedy = "run `python -m tools.make_exercises`"
    here = place(target, root)
    if not target.exists():
        return [f"{here} is missing: {remedy}"]
    if target.read_text("utf-8") == nbformat.writes(wanted).rstrip("\n") + "\n":
        return []
    stored = read(target)
    for index, cell in enumerate(wanted.cells):
        if index == len(stored.cells) or stored.cells[index] != cell:
            here = place(target, root, index, cell)
            break
    return [f"{here} differs from what solutions/ makes: {remedy}"]


def orphans(root):
    """Exercises without a master."""
    return [
        f"{place(path, root)} has no master in solutions/: write one, or delete it"
        for path in notebooks(root, "exercises")
        if not (root / "solutions" / path.name).exists()
    ]


def main(arguments):
    if arguments not in ([], ["--check"]):
        sys.exit("usage: python -m tools.make_exercises [--check]")
    if arguments:
        found = check(ROOT, CHAPTERS)
    else:
        changed, found = make(ROOT, CHAPTERS)
        for name in changed:
            print("made", name)
    print(*found or ["exercises/ is what solutions/ makes"], sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
