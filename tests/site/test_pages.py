"""Every page of the book, from a server and from disk, light and dark, wide and narrow.

A page may load 1 MB in all, MathJax and theme included, counted as a server sends it
(compressed). Files of model weights, which a figure loads when asked, would not count.
"""

import random
from pathlib import Path

import pytest
import yaml
from visit import visit

from tfcourse.notebook.chapters import CHAPTERS
from tools.notebooks import ROOT

WAYS = {
    "server, light, wide": {"color_scheme": "light", "viewport": (1280, 900)},
    "disk, dark, narrow": {"color_scheme": "dark", "viewport": (360, 740)},
}


def named(entry):
    """The pages that an entry of the table of contents names, with those below it."""
    for key, value in entry.items():
        if key in ("root", "file"):
            yield value
        elif isinstance(value, list):
            for below in value:
                yield from named(below)


CONTENTS = list(named(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))))
PAGES = [f"{name}.html" for name in [*CONTENTS, "genindex", "search"]]


@pytest.fixture(scope="session")
def contexts(browser):
    """For each way a context, which keeps what it has loaded."""
    opened = {
        way: browser.new_context(
            color_scheme=look["color_scheme"],
            viewport=dict(zip(("width", "height"), look["viewport"], strict=True)),
        )
        for way, look in WAYS.items()
    }
    yield opened
    for context in opened.values():
        context.close()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("way", WAYS)
def test_page(way, page, contexts, address, book):
    base = address if way.startswith("server") else f"{book.as_uri()}/"
    problems = visit(contexts[way], base, page, book)
    assert not problems, "\n".join([f"{page} ({way}):", *problems])


def test_every_page_is_visited(book):
    built = {path.relative_to(book).as_posix() for path in book.rglob("*.html")}
    built -= {path for path in built if path.startswith("_static/")}
    assert built == {*PAGES, "index.html"}


def test_the_table_of_contents_has_the_chapters_of_the_registry_that_are_on_disk():
    for folder in ("chapters", "exercises"):
        stems = [chapter.stem for chapter in CHAPTERS]
        found = [stem for stem in stems if (ROOT / folder / f"{stem}.ipynb").exists()]
        listed = [Path(name).stem for name in CONTENTS if name.startswith(folder)]
        assert listed == found, f"_toc.yml and {folder}/ disagree: correct _toc.yml"
        on_disk = {path.stem for path in (ROOT / folder).glob("*.ipynb")}
        assert on_disk == set(found), f"{folder}/ has notebooks that no chapter has"


def test_the_parts_are_those_of_the_registry():
    for part in yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))["parts"]:
        for entry in part["chapters"]:
            for chapter in CHAPTERS:
                if entry["file"] == f"chapters/{chapter.stem}":
                    assert part["caption"] == chapter.part
                    assert part.get("numbered")


PLANTED = """<!doctype html><html lang="en"><title>planted</title><article>
<h1>Planted</h1><img src="none.png"><p style="width: 2000px">wide</p>
<p style="color: #bbb; background: #fff">hardly legible</p>
<p>raw $x$</p><p>{glue:text}`lost`</p><span class="math">x</span>
<div class="tfc-host" data-state="ready"><div class="tfc"><svg><path d="MNaN"/></svg></div>
</div><div class="tfc-host"></div><i class="fa-solid fa-bars"></i>
<script>console.error("planted")</script><img alt="x" src="https://example.org/x.png">
<script src="heavy.js"></script></article></html>"""
FOUND = (
    "request to another host: https://example.org/x.png",
    "failed request: ",
    "console: planted",
    "too wide: by ",
    "no alternative text: ",
    "figure does not start: ",
    "figure is not finite: ",
    "formula not typeset: ",
    "raw markup: raw $x$",
    "raw markup: {glue:text}",
    "icon missing: ",
    "accessibility: color-contrast",
    "accessibility: image-alt",
    "heavy: 1.",
)


def test_planted_faults_are_found(contexts, tmp_path):
    (tmp_path / "planted.html").write_text(PLANTED)
    noise = random.Random(0).randbytes(800_000).hex()  # which hardly compresses by half
    (tmp_path / "heavy.js").write_text(f"/* {noise} */" * 2)
    narrow = contexts["disk, dark, narrow"]
    problems = visit(narrow, f"{tmp_path.as_uri()}/", "planted.html", tmp_path)
    for start in FOUND:
        assert any(p.startswith(start) for p in problems), (
            f"{start!r} not in {problems}"
        )
