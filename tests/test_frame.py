"""The frame: registry, table of contents, README, Makefile, pins and files agree."""

import re
import subprocess
import tomllib

import pytest
import yaml
from little_course import code
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tfcourse
from tools.notebooks import (
    FOLDERS,
    ROOT,
    code_cells,
    notebooks,
    place,
    read,
    registry,
)
from tools.run_tests import STEPS

LARGEST_SCRIPT = 40_000  # characters of a .js file
LONGEST_LINE = 400  # characters: longer ones are not written by hand


def text(name):
    return (ROOT / name).read_text("utf-8")


def tracked():
    """The files that git tracks, or would: the new ones that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        run = subprocess.run(
            command, cwd=ROOT, capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this copy is no git checkout: there is no list of tracked files")
    return [name for name in run.stdout.splitlines() if (ROOT / name).exists()]


# The registry, the table of contents, the disk


def files_of(toc):
    """The files that a table of contents names, in order."""
    if isinstance(toc, list):
        for entry in toc:
            yield from files_of(entry)
    elif isinstance(toc, dict):
        for key, value in toc.items():
            if key in ("root", "file"):
                yield value
            else:
                yield from files_of(value)


def toc_faults(root):
    """Where the registry, the table of contents and the notebooks on disk disagree."""
    chapters, _ = registry(root)
    toc = yaml.safe_load((root / "_toc.yml").read_text("utf-8"))
    for folder in ("chapters", "exercises"):
        known = [f"{folder}/{chapter.stem}" for chapter in chapters]
        disk = {f"{folder}/{path.stem}" for path in notebooks(root, folder)}
        shown = [name for name in files_of(toc) if name.startswith(f"{folder}/")]
        for name in sorted(disk - set(known)):
            yield f"{name}.ipynb is not in the registry (tfcourse/notebook/chapters.py)"
        for name in sorted(disk - set(shown)):
            yield f"{name}.ipynb is not in _toc.yml: add it"
        for name in sorted(set(shown) - disk):
            yield f"_toc.yml names {name}, which is not on disk"
        if shown != [name for name in known if name in shown]:
            yield f"_toc.yml has {folder}/ in another order than the registry: {shown}"


def test_registry_contents_and_disk_agree():
    assert list(toc_faults(ROOT)) == []


ONE, TWO = "chapters/01_recurrent", "chapters/02_one_hot"


@pytest.mark.parametrize(
    ("listed", "disk", "says"),
    [
        ([ONE, TWO], [ONE, TWO], None),
        ([ONE], [ONE, TWO], f"{TWO}.ipynb is not in _toc.yml"),
        ([ONE, TWO], [ONE], f"_toc.yml names {TWO}, which is not on disk"),
        ([TWO, ONE], [ONE, TWO], "another order"),
        ([ONE, ONE], [ONE], "another order"),
        (["chapters/01_rnn"], ["chapters/01_rnn"], "not in the registry"),
    ],
)
def test_a_disagreement_is_named(course, listed, disk, says):
    sections = [{"file": name, "sections": []} for name in listed]
    course.file(
        "_toc.yml", yaml.safe_dump({"root": "i", "parts": [{"chapters": sections}]})
    )
    for name in disk:
        course.notebook(f"{name}.ipynb", code("1", "a"))
    faults = list(toc_faults(course.root))
    assert any(says in fault for fault in faults) if says else faults == []


# The topics


def owner(topic, chapters):
    """The number of the chapter that owes a topic: its id, or else its letter, tells."""
    for name in (topic, topic[0]):
        for chapter in chapters:
            if name in chapter.topics.split():
                return chapter.number
    return None


def test_each_topic_belongs_to_the_chapter_that_the_registry_says():
    chapters, _ = registry(ROOT)
    topics = yaml.safe_load(text("book/topics.yml"))
    ids = [topic["id"] for topic in topics]
    assert len(ids) == len(set(ids))
    assert {t["id"]: t["chapter"] for t in topics} == {
        i: owner(i, chapters) for i in ids
    }
    assert {t["chapter"] for t in topics} == {c.number for c in chapters}


def test_each_topic_target_of_a_chapter_is_a_topic():
    topics = {topic["id"] for topic in yaml.safe_load(text("book/topics.yml"))}
    for path in notebooks(ROOT, "chapters"):
        for index, cell in enumerate(read(path).cells):
            for id in re.findall(r"^\(topic-(\w+)\)=", cell.source, re.MULTILINE):
                here = place(path, ROOT, index, cell)
                assert id.upper() in topics, (
                    f"{here}: (topic-{id})= is in no topics.yml"
                )


def test_each_topic_of_a_written_chapter_has_its_target():
    chapters, _ = registry(ROOT)
    paths = notebooks(ROOT, "chapters")
    stems = {path.stem for path in paths}
    written = {c.number for c in chapters if c.stem in stems}
    text_of_all = "\n".join(cell.source for p in paths for cell in read(p).cells)
    there = re.findall(r"^\(topic-(\w+)\)=", text_of_all, re.MULTILINE)
    for topic in yaml.safe_load(text("book/topics.yml")):
        assert topic["id"] in there or topic["chapter"] not in written, (
            f"chapter {topic['chapter']} has no section (topic-{topic['id']})="
        )


# The README, the Makefile, continuous integration


def test_the_map_in_the_readme_is_true():
    block = re.search(r"## What is where\n+```\n(.*?)```", text("README.md"), re.DOTALL)
    named = {line.split()[0] for line in block[1].splitlines()}
    files = tracked()
    there = set(files) | {f"{f[: m.end()]}" for f in files for m in re.finditer("/", f)}
    assert named <= there, f"README.md names what is not there: {named - there}"
    top = {re.match(r"[^/]*/?", name)[0] for name in files}
    assert top <= named, f"the map in README.md lacks {top - named}"


def test_the_readme_names_each_make_target_and_no_other():
    phony = re.search(r"^\.PHONY:(.*)$", text("Makefile"), re.MULTILINE)[1].split()
    rules = re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE)
    assert sorted(phony) == sorted(rules)
    named = re.findall(
        r"`make\s([a-z]+)|^make ([a-z]+)  ", text("README.md"), re.MULTILINE
    )
    readme = {inline or listed for inline, listed in named}
    assert readme == set(rules)


def test_continuous_integration_calls_what_the_readme_names_and_nothing_else():
    lines = [line for line in text(".ci/run").splitlines() if not line.startswith("#")]
    assert "set -euo pipefail" in lines and "export CI=true" in lines
    commands = [
        line for line in lines if not line.startswith(("set ", "export ", "cd "))
    ]
    assert commands == ["make test"]
    assert "`make test`" in text("README.md")


def contributing_faults(page):
    """The files, make targets and steps in CONTRIBUTING.md that do not exist.

    Its example is a chapter that may not be written yet: the first stands in for it.
    """
    page = page.replace("03_markov", "01_recurrent").replace("markov", "recurrent")
    rules = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    for command, steps in re.findall(r"make\s([a-z]+)(?: STEPS='([^']*)')?`", page):
        if command not in rules:
            yield f"make {command}"
        yield from set(steps.split()) - {step.name for step in STEPS}
    for name in re.findall(r"`([\w./]+/[\w./]*|\w+\.(?:py|yml|md))`", page):
        if not (ROOT / name).exists():
            yield name


def test_the_page_for_contributors_is_true():
    assert list(contributing_faults(text("CONTRIBUTING.md"))) == []


def test_an_untrue_page_for_contributors_is_caught():
    page = "See `tools/nothing.py`, run `make tea`, `make test STEPS='weave iron'`."
    assert set(contributing_faults(page)) == {"tools/nothing.py", "make tea", "iron"}


# Versions


def test_the_version_is_one():
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert project["version"] == tfcourse.__version__
    assert f"## {tfcourse.__version__}" in text("CHANGELOG.md")


def test_each_dependency_admits_its_pin():
    pins = dict(
        re.findall(r"^([\w.-]+)==(\S+)$", text("requirements.txt"), re.MULTILINE)
    )
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    project = tomllib.loads(text("pyproject.toml"))["project"]
    extras = project["optional-dependencies"].values()
    for line in [
        *project["dependencies"],
        *(line for extra in extras for line in extra),
    ]:
        wanted = Requirement(line)
        pin = pins.get(canonicalize_name(wanted.name))
        assert pin, f"requirements.txt does not pin {wanted.name}"
        assert wanted.specifier.contains(pin), f"{line} does not admit the pin {pin}"


def test_every_line_of_the_requirements_is_a_pin():
    for line in text("requirements.txt").splitlines():
        assert re.fullmatch(r"(#.*)?|[\w.-]+==[\w.]+", line), line


# Files


def test_no_notebook_meddles_with_the_path():
    for path in notebooks(ROOT, *FOLDERS):
        for index, cell in code_cells(read(path)):
            where = place(path, ROOT, index, cell)
            assert "sys.path" not in cell.source, f"{where}: the package is installed"


def test_no_script_of_others_is_committed():
    for name in tracked():
        if name.endswith((".js", ".mjs")):
            script = text(name)
            longest = max(map(len, script.splitlines()), default=0)
            assert len(script) <= LARGEST_SCRIPT, f"{name} is too large to be ours"
            assert longest <= LONGEST_LINE, (
                f"{name} is minified: take it from a package"
            )
            assert name.startswith(("tfcourse/widgets/", "book/")), (
                f"{name} is misplaced"
            )
