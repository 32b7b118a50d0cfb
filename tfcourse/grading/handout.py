"""Hand out the exercises of a chapter: an archive, or a release for nbgrader.

Without --release, the archive OUT/NN_name.zip is written: the exercise notebook, and a
README.txt that says how to start. The same course gives the same bytes.

With --release COURSE, nbgrader's course folder COURSE gets the assignment NN_name: in
source/ and in release/ the notebook with its points, and both in gradebook.db.
"""

import argparse
import json
import re
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tfcourse.checks import exercises_of
from tfcourse.notebook.chapters import Chapter, by_number

EXERCISES = Path(__file__).parents[2] / "exercises"
DATE = (1980, 1, 1, 0, 0, 0)  # the first that an archive can hold
README = """\
Chapter {number}, {title}: exercises
The Transformer, Executed (the package tfcourse, {version})

{stem}.ipynb holds {count} exercises: {points} points, about {minutes} minutes.

You need Python 3.11.5 or newer, make and git; on Debian and Ubuntu, python3-venv too.

1. Get the course, {version}, from where your instructor says. In its folder:

       make lab

   The first time this installs what is needed, into .venv; then it opens JupyterLab
   on the folder work/. Without make, the same by hand, in the course's folder:

       python3 -m venv .venv
       .venv/bin/pip install -r requirements.txt
       .venv/bin/pip install --no-deps --no-build-isolation -e .
       .venv/bin/python -m tools.lab

2. Put {stem}.ipynb into work/, and open it there.
3. Write your answers where it says so, and run the cells. After each answer,
   check("{first}") and its like tell you what they saw.
4. Save the notebook, and hand in that one file. Leave the answer cells where they are;
   cells of your own may stand between them. Stored outputs are not graded: your
   answers are run again, and checked with other inputs.
"""


def notebook(chapter: Chapter) -> Path:
    """The chapter's exercise notebook; ValueError where this copy of the course has none."""
    path = EXERCISES / f"{chapter.stem}.ipynb"
    if not path.is_file():
        raise ValueError(
            f"{path} is missing: run this from a copy of the course's repository, in "
            "which `make exercises` writes the notebooks"
        )
    return path


def source(chapter: Chapter, points: dict[str, int]) -> dict:
    """The notebook as nbgrader wants it: each answer is a cell that earns points.

    nbgrader leaves the grade of a cell that is an answer to people, so that nothing
    but the sandboxed checks ever gives a point by itself.
    """
    made = json.loads(notebook(chapter).read_text("utf-8"))
    left = dict(points)
    for cell in made["cells"]:
        mine = cell["metadata"].get("nbgrader", {})
        if mine.get("solution"):
            mine |= {"grade": True, "points": left.pop(mine["grade_id"])}
    if left:
        raise ValueError(
            f"{notebook(chapter)} has no answer cell for {', '.join(left)}: `make "
            "exercises` writes the notebook anew"
        )
    return made


def readme(chapter: Chapter) -> str:
    """The text of README.txt."""
    exercises = exercises_of(chapter)
    return README.format(
        number=chapter.number,
        title=chapter.title,
        version=version("tfcourse"),
        stem=chapter.stem,
        count=len(exercises),
        points=sum(e.points for e in exercises),
        minutes=sum(e.minutes for e in exercises),
        first=exercises[0].id,
    )


def archive(chapter: Chapter, out: Path) -> Path:
    """Write OUT/NN_name.zip, of the same bytes for the same course; return its path."""
    files = {
        f"{chapter.stem}/README.txt": readme(chapter),
        f"{chapter.stem}/{chapter.stem}.ipynb": notebook(chapter).read_text("utf-8"),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{chapter.stem}.zip"
    # stored, not compressed: what compression makes depends on a library's version
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            file.writestr(info, text.encode())
    return path


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    made = argparse.ArgumentParser(
        prog="python -m tfcourse.grading.handout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--chapter", required=True, help="its number, such as 05")
    made.add_argument("--out", type=Path, default=Path("handouts"),
        help="where the archive goes (%(default)s)")  # fmt: skip
    made.add_argument("--release", type=Path, metavar="COURSE",
        help="instead of an archive: a release in nbgrader's course folder")  # fmt: skip
    return made


def main(arguments: list[str] | None = None) -> int:
    """Write what is asked for; 1 with a sentence where that is not possible."""
    asked = parser().parse_args(arguments)
    try:
        chapter = chosen(asked.chapter)
        if asked.release is None:
            print("written:", archive(chapter, asked.out))
        else:
            print(release(chapter, asked.release), end="")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def chosen(number: str) -> Chapter:
    """The chapter of this number, with exercises; ValueError for any other text."""
    if not re.fullmatch(r"\d{1,2}", number):
        raise ValueError(f"--chapter is a number such as 05, not {number!r}")
    chapter = by_number(int(number))
    if not exercises_of(chapter):
        raise ValueError(f"chapter {chapter.number} has no exercises")
    return chapter


def release(chapter: Chapter, course: Path) -> str:
    """Write nbgrader's release, and say what to do next."""
    require_nbgrader("--release")
    from tfcourse.grading import gradebook

    points = {e.id: e.points for e in exercises_of(chapter)}
    told = gradebook.Course(course).assign(chapter, points)
    return (
        f"{told}written: {course / 'source' / chapter.stem}, "
        f"{course / 'release' / chapter.stem}\n"
        f"next: hand out the notebook in release/, or, in {course}, with nbgrader's "
        f"exchange:\n  nbgrader release_assignment {chapter.stem}\n"
    )


def require_nbgrader(option: str) -> None:
    """ValueError, with how to install it, where nbgrader is not."""
    if not find_spec("nbgrader"):
        raise ValueError(
            f"{option} needs nbgrader, which is not installed: "
            "pip install 'tfcourse[grading]'"
        )


if __name__ == "__main__":
    sys.exit(main())
