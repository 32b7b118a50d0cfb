"""The directives of book/_ext, in a small book; their mistakes are told as warnings."""

import base64
import doctest
import io
import re
import sys

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from tfcourse.checks import proofs
from tfcourse.checks.registry import Exercise
from tfcourse.widgets import SoftLookup
from tools.notebooks import ROOT, write

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from course import assets, directives

TOPICS = """
- {id: R1, title: The recurrence, chapter: 1}
- {id: R2, title: Products, chapter: 1}
"""


@pytest.fixture
def build(tmp_path):
    """Build a book of one page, beside a chapter; return its HTML and the warnings."""

    def build(text, *cells):
        source, out = tmp_path / "source", tmp_path / "out"
        (source / "book").mkdir(parents=True)
        (source / "chapters").mkdir()
        (source / "book" / "topics.yml").write_text(TOPICS)
        contents = "```{toctree}\nchapters/01_recurrent\n```\n" if cells else ""
        (source / "index.md").write_text(f"# Page\n\n{text}\n\n{contents}")
        if cells:
            cells = [new_markdown_cell("# Chapter"), *cells]
            language = {"language_info": {"name": "python"}}
            notebook = new_notebook(cells=cells, metadata=language)
            write(notebook, source / "chapters" / "01_recurrent.ipynb")
        warnings = io.StringIO()
        settings = {
            "extensions": ["myst_nb", "course"],
            "nb_execution_mode": "off",
            "nb_ipywidgets_js": {},
            "exclude_patterns": ["book"],
            "nitpicky": True,
        }
        folders = (source, None, out, tmp_path / "doctrees")
        with patch_docutils(), docutils_namespace():
            app = Sphinx(*folders, "html", settings, status=None, warning=warnings)
            app.build()
        told = re.sub(r"\x1b\[[\d;]*m", "", warnings.getvalue())
        return (out / "index.html").read_text("utf-8"), told

    return build


def test_the_map_links_what_is_written(build):
    page, told = build("```{course-map}\n```", new_markdown_cell("Text."))
    assert told == ""
    assert re.search(r'<ol [^>]*start="5"', page)
    assert re.search(
        r'href="chapters/01_recurrent.html"[^>]*>.*Vanishing gradients', page
    )
    assert "One-hot vectors <span" in page
    assert page.count("in preparation") == 15


def test_the_syllabus_links_a_topic_to_its_section(build):
    section = new_markdown_cell("(topic-R2)=\n## A section")
    page, told = build("```{syllabus}\n```", section)
    assert told == ""
    assert re.search(r'href="chapters/01_recurrent.html#\S*"[^>]*>.*Products', page)
    assert page.count("in preparation") == 1


def test_an_unknown_topic_is_told(build):
    _, told = build(
        "```{syllabus}\n```", new_markdown_cell("(topic-R99)=\n## A section")
    )
    assert "index.md" in told
    assert "01_recurrent.ipynb has the target (topic-R99)=" in told


def row(**changes):
    values = {"model": "a|b", "bits_per_byte": 2.5, "model_bytes": 3_400_000}
    values |= {"bytes_per_second": 12_000.0} | changes
    output = new_output("display_data", {"text/plain": "a row"})
    output.metadata["tfcourse-scoreboard"] = values
    return new_code_cell("scoreboard_row(...)", outputs=[output], execution_count=1)


def test_the_scoreboard_is_sorted(build):
    page, told = build(
        "```{scoreboard}\n```", row(), row(model="best", bits_per_byte=1.5)
    )
    assert told == ""
    cells = re.findall(r"<td[^>]*><p>(.*?)</p></td>", page)
    assert cells[:4] == ["best", "1.500", "3.4 MB", "12 kB/s"]
    assert cells[5] == "a|b"


def test_a_wrong_row_is_told(build):
    _, told = build("```{scoreboard}\n```", row(bits_per_byte=-1))
    assert "index.md:3" in told
    assert "01_recurrent.ipynb, cell 1: bits_per_byte must be" in told


def test_an_empty_scoreboard_says_so(build):
    page, told = build("```{scoreboard}\n```")
    assert told == ""
    assert "No model is on the board yet" in page


def test_proved_answers_are_shown_as_they_are(build, monkeypatch):
    rows = [
        proofs.Row("01-1", "Clip", "Clips each $w$ by itself.", "Look at `a | b` * c."),
        proofs.Row("01-1", "Clip", "Forgets <b>one</b>.", "One of them is missing."),
    ]
    monkeypatch.setattr(proofs, "rows", lambda root: rows)
    page, told = build("```{proved-answers}\n```")
    assert told == ""
    assert page.count("01-1 Clip") == 1
    assert "Clips each $w$ by itself." in page
    assert "Forgets &lt;b&gt;one&lt;/b&gt;." in page
    assert re.search(r"Look at <code[^>]*>.*a</span> .*b</span></code> \* c\.", page)


def test_exercises_stand_in_a_table_that_leads_to_what_is_caught(build, monkeypatch):
    about = {"kind": "code", "difficulty": 3, "minutes": 10, "choices": ()}
    asked = [
        Exercise("01-1", "Clip | cut", points=3, function=None, **about),
        Exercise("01-2", "Carry", points=4, function=None, **about),
    ]
    answers = [
        proofs.Proof(id, kind, "", None)
        for id, kind in (("01-1", "wrong"), ("01-1", "wrong"), ("01-1", "right"))
    ]
    rows = [proofs.Row("01-1", "Clip", f"{n} times.", "Once.") for n in (2, 3)]
    monkeypatch.setattr(directives, "exercises_of", lambda chapter: asked)
    monkeypatch.setattr(proofs, "proofs_of", lambda chapter, root: answers)
    monkeypatch.setattr(proofs, "rows", lambda root: rows)
    table = "```{exercise-table}\n```\n\n```{proved-answers}\n```"
    page, told = build(table, new_code_cell("1"))
    assert "caught-01-2" in told  # nothing is proved of it: the link leads nowhere
    assert told.count("WARNING") == 1
    cells = re.findall(r"<td[^>]*><p>(.*?)</p></td>", page)
    assert "01-1 Clip | cut" in cells
    assert page.count("<strong>7</strong>") == 1
    assert page.count("<strong>20</strong>") == 1
    assert re.search(r'href="#caught-01-1">2<', page)
    assert 'id="caught-01-1"' in page


def test_a_proof_that_does_not_run_is_told(build, monkeypatch):
    def rows(root):
        raise AssertionError("tests/answers/01_recurrent.py is missing")

    monkeypatch.setattr(proofs, "rows", rows)
    _, told = build("```{proved-answers}\n```")
    assert "tests/answers/01_recurrent.py is missing" in told


def test_a_playground_shows_its_still_picture_and_its_caption(build):
    page, told = build("```{playground} SoftLookup\nTurn *it*.\n```")
    assert told == ""
    assert '<div class="tfc-host" data-figure="SoftLookup">' in page
    assert re.search(r'<img alt="SoftLookup: [^"]+" src="_images/SoftLookup.svg"', page)
    assert re.search(r"<figcaption>.*Turn <em>it</em>", page, flags=re.DOTALL)


def test_an_unknown_playground_is_told(build):
    _, told = build("```{playground} Nothing\n```")
    assert "index.md:3" in told
    assert (
        "there is no interactive figure 'Nothing'; there are: AttentionPlayground, "
        in told
    )


def test_a_widget_in_a_notebook_keeps_its_picture_as_fallback(build, tmp_path):
    data = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "abc"},
        "image/svg+xml": '<svg xmlns="http://www.w3.org/2000/svg"/>',
        "text/plain": "SpectralRadius",
    }
    alt = {"mystnb": {"image": {"alt": "three curves"}}}
    output = new_output("execute_result", data, execution_count=1)
    cell = new_code_cell("w", outputs=[output], execution_count=1, metadata=alt)
    _, told = build("Text.", cell)
    assert told == ""
    chapter = (tmp_path / "out" / "chapters" / "01_recurrent.html").read_text("utf-8")
    host = chapter[chapter.index('<div class="tfc-host">') :]
    host = host[: host.index("</noscript></div>")]
    assert 'alt="three curves"' in host
    assert '"model_id": "abc"' in host


def test_a_module_with_an_import_is_refused():
    with pytest.raises(Exception, match="the module of Dot must have one line"):
        assets.as_expression("Dot", "import x from 'y';\nexport default { x };")
    with pytest.raises(Exception, match="the module of Dot must have one line"):
        assets.as_expression("Dot", "const x = 1;")


def test_what_is_heavy_is_a_script_of_its_own_named_after_its_content():
    class Dot(SoftLookup):
        content = b"first"

        def heavy(self):
            return self.content

    first, own = assets.figure_scripts("Dot", Dot).items()
    assert re.fullmatch(r"Dot-[0-9a-f]{8}\.js", first[0])
    assert base64.b64decode(first[1].split('"')[1]) == b"first"
    assert own[0] == "Dot.js"
    assert f'"data_script": "{first[0]}", "data_bytes": {len(first[1])}' in own[1]
    Dot.content = b"second"
    assert first[0] not in assets.figure_scripts("Dot", Dot)
    assert set(assets.figure_scripts("SoftLookup", SoftLookup)) == {"SoftLookup.js"}


def test_the_style_of_the_page_has_that_of_every_figure():
    style = assets.figure_style()
    assert style.count("--tfc-blue: #0b62a8") == 1
    for own in (".tfc-code-token", ".tfc-fill-entry", ".tfc-serve-list"):
        assert own in style


@pytest.mark.parametrize("module", [assets, directives])
def test_examples(module):
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0
