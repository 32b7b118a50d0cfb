"""What notebooks lean on: devices, seeds, show, glue and the scoreboard."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from docutils.core import publish_string
from myst_nb.docutils_ import Parser
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbformat.v4 import writes as write_notebook
from torch import nn

from tfcourse.notebook import best_device, generator, glue, scoreboard_row, show
from tfcourse.notebook.scoreboard import KEY, Row, read_rows
from tfcourse.recurrent import rnn_step


@pytest.fixture
def displayed(monkeypatch):
    """What the functions display: a list of (data, metadata)."""
    seen = []
    for name in ("show", "glue", "scoreboard"):
        module = importlib.import_module(f"tfcourse.notebook.{name}")
        monkeypatch.setattr(
            module,
            "display",
            lambda data, raw, metadata=None: seen.append((data, metadata)),
        )
    return seen


def test_each_name_is_the_function_and_not_its_module():
    assert all(map(callable, (show, glue, scoreboard_row, generator, best_device)))


@pytest.mark.parametrize("missing", ["IPython", "matplotlib"])
def test_a_missing_library_is_one_clear_error(missing):
    program = f"import sys; sys.modules[{missing!r}] = None; import tfcourse.notebook"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip().splitlines()[-1] == (
        f"ModuleNotFoundError: the notebooks need {missing}, which is not installed "
        'here: pip install "tfcourse[book]"'
    )


# Devices and seeds


def test_the_environment_chooses_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("TFCOURSE_DEVICE", "cpu")
    assert best_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "kind"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_is_cuda_then_mps_then_the_cpu(monkeypatch, cuda, mps, kind):
    monkeypatch.delenv("TFCOURSE_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert best_device() == torch.device(kind)


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99", "c p u"])
def test_a_bad_device_is_named_with_its_remedy(monkeypatch, name):
    monkeypatch.setenv("TFCOURSE_DEVICE", name)
    with pytest.raises(ValueError, match=rf'such as "cpu".*TFCOURSE_DEVICE=\'{name}'):
        best_device()


def test_a_generator_repeats_itself_and_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    first, again, other = (
        torch.randn(8, generator=generator(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert generator(0, torch.device("cpu")).device.type == "cpu"


# show


@pytest.mark.parametrize(
    ("folder", "link"),
    [
        ("chapters", "01_recurrent.ipynb"),
        ("solutions", "../chapters/01_recurrent.ipynb"),
        ("work", "../chapters/01_recurrent.ipynb"),
    ],
)
def test_show_recalls_the_source_and_the_chapter(
    displayed, monkeypatch, tmp_path, folder, link
):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    show(rnn_step)
    ((data, _),) = displayed
    assert data["text/plain"].startswith("def rnn_step(")
    assert data["text/markdown"] == (
        f"Built in [chapter 1, Vanishing gradients]({link}):\n\n"
        f"````python\n{data['text/plain']}````\n"
    )


def test_show_moves_a_method_to_the_margin(displayed):
    from tfcourse.recurrent import RNNCell

    show(RNNCell.forward)
    assert displayed[0][0]["text/plain"].startswith("def forward(")


@pytest.mark.parametrize("stranger", [nn.Linear, print, lambda: 0, glue, Row])
def test_show_refuses_what_no_chapter_built(displayed, stranger):
    with pytest.raises(ValueError, match="import it from the module that teaches it"):
        show(stranger)
    assert not displayed


@pytest.mark.parametrize("thing", [3, "rnn_step", nn.Linear(1, 1)])
def test_show_refuses_what_is_no_definition(thing):
    with pytest.raises(TypeError, match="takes a function or a class; got"):
        show(thing)


# glue


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (1.5, ".2f", "1.50"),
        (1234567, ",", "1,234,567"),
        (0.256, ".0%", "26%"),
        (0.0000073, ".1e", "7.3·10⁻⁶"),
        (36000.0, ".0e", "4·10⁴"),
        (torch.tensor(2.5), "", "2.5"),
        (torch.tensor([[0.5]], requires_grad=True), ".1f", "0.5"),
        (np.float32(0.25), ".3f", "0.250"),
        (np.array([7]), "03d", "007"),
        ("it's a word", "", "it's a word"),
    ],
)
def test_what_is_glued_stands_in_the_prose_as_formatted(
    displayed, tmp_path, monkeypatch, value, spec, text
):
    monkeypatch.chdir(tmp_path)  # the parser leaves a folder behind
    glue("name", value, spec)
    ((data, metadata),) = displayed
    output = new_output("display_data", data=data, metadata=metadata)
    notebook = new_notebook(
        cells=[
            new_markdown_cell("It is {glue:text}`name`."),
            new_code_cell("x", outputs=[output]),
        ],
        metadata={"language_info": {"name": "python", "pygments_lexer": "python"}},
    )
    page = publish_string(
        write_notebook(notebook),
        parser=Parser(),
        writer_name="pseudoxml",
        settings_overrides={
            "nb_execution_mode": "off",
            "halt_level": 2,
            "smart_quotes": False,
        },
    ).decode()
    lines = [line.strip() for line in page.splitlines()]
    start = lines.index('<inline classes="pasted-text">')
    assert lines[start - 1 : start + 3] == [
        "It is",
        '<inline classes="pasted-text">',
        text,
        ".",
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), torch.tensor(-np.inf)])
def test_glue_refuses_what_is_not_finite(displayed, value):
    with pytest.raises(ValueError, match="finite numbers; 'loss' is"):
        glue("loss", value, ".2f")
    assert not displayed


def test_glue_refuses_several_numbers():
    with pytest.raises(ValueError, match=r"'loss' .*single number; got shape \(2,\)"):
        glue("loss", torch.ones(2))


@pytest.mark.parametrize("value", [None, [1.0], 1j])
def test_glue_refuses_what_is_no_number_or_text(value):
    with pytest.raises(TypeError, match="a number or a string; 'loss' is a"):
        glue("loss", value)


@pytest.mark.parametrize(("name", "value"), [("", 1.0), ("loss", ""), ("loss", "  ")])
def test_glue_refuses_the_empty(name, value):
    with pytest.raises(ValueError, match="needs a name and a text"):
        glue(name, value)


# The scoreboard


def write_rows(root, stem, *rows):
    """A chapter with one prose cell, and one cell for each row."""
    cells = [new_markdown_cell("# Title")]
    for row in rows:
        output = new_output("display_data", {"text/plain": ""}, metadata={KEY: row})
        cells.append(new_code_cell("scoreboard_row(...)", outputs=[output]))
    (root / "chapters").mkdir(exist_ok=True)
    path = root / "chapters" / f"{stem}.ipynb"
    path.write_text(write_notebook(new_notebook(cells=cells)), "utf-8")


def figures_of(model, /, **changed):
    row = {
        "model": model,
        "bits_per_byte": 4.2,
        "model_bytes": 65536,
        "bytes_per_second": 1e6,
    }
    return row | changed


def test_a_row_is_an_output_that_can_be_read_and_stored(displayed):
    scoreboard_row("bigram", torch.tensor(4.25), np.int64(65536), 1e6)
    ((data, metadata),) = displayed
    assert data == {
        "text/plain": "bigram: 4.250 bits per byte, 65,536 bytes of model, "
        "1,000,000 bytes of text per second"
    }
    assert json.loads(json.dumps(metadata))[KEY] == figures_of(
        "bigram", bits_per_byte=4.25
    )


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model": " "}, "names its model"),
        ({"bits_per_byte": 0.0}, "bits_per_byte must be a finite number above 0"),
        ({"bits_per_byte": float("nan")}, "got bits_per_byte=nan for 'gpt'"),
        ({"bits_per_byte": "4"}, "got bits_per_byte='4'"),
        ({"model_bytes": 1.5}, "model_bytes must be a whole number"),
        ({"bytes_per_second": float("inf")}, "bytes_per_second must be a finite"),
        ({"bytes_per_second": torch.ones(2)}, "'bytes_per_second' must be a single"),
    ],
)
def test_a_row_that_cannot_be_is_refused(displayed, changed, says):
    with pytest.raises(ValueError, match=says):
        scoreboard_row(**figures_of("gpt", **changed))
    assert not displayed


def test_rows_are_read_in_the_order_of_the_course(tmp_path):
    write_rows(tmp_path, "11_gpt", figures_of("gpt"))
    write_rows(tmp_path, "03_markov", figures_of("unigram"), figures_of("bigram"))
    write_rows(tmp_path, "99_other", figures_of("not a chapter"))
    read = read_rows(tmp_path)
    assert [(c.number, row.model) for c, row in read] == [
        (3, "unigram"),
        (3, "bigram"),
        (11, "gpt"),
    ]
    assert read[0][1] == Row(**figures_of("unigram"))


def test_no_chapters_no_rows(tmp_path):
    assert read_rows(tmp_path) == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (figures_of("gpt", bits_per_byte=-1), "bits_per_byte must be"),
        ({"model": "gpt"}, "missing 3 required"),
        (figures_of("gpt", colour="red"), "unexpected keyword argument 'colour'"),
        (figures_of("unigram"), "'unigram' is on the scoreboard already"),
    ],
)
def test_a_wrong_row_names_its_notebook_and_cell(tmp_path, row, says):
    write_rows(tmp_path, "03_markov", figures_of("unigram"))
    write_rows(tmp_path, "11_gpt", figures_of("bigram"), row)
    with pytest.raises(ValueError, match=rf"11_gpt\.ipynb, cell 2: .*{says}"):
        read_rows(tmp_path)


# All of it in a kernel, as a reader meets it


def test_a_notebook_shows_each_thing_once(tmp_path):
    cells = [
        "from tfcourse.notebook import figures, glue, scoreboard_row, show",
        "from tfcourse.recurrent import rnn_step",
        'curve = {"loss": ([0, 1, 2], [2.0, 1.5, 1.2])}',
        'kept = figures.lines(curve, xlabel="step", ylabel="nats")',
        "kept",
        'figures.lines(curve, xlabel="step", ylabel="nats")',
        "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])",
        "figures.heatmap([[0.2, 0.8]])",
        'glue("loss", 1.2, ".2f")',
        'scoreboard_row("bigram", 4.25, 65536, 1e6)',
        "show(rnn_step)",
    ]
    notebook = new_notebook(cells=[new_code_cell(text) for text in cells])
    (tmp_path / "chapters").mkdir()
    resources = {"metadata": {"path": str(tmp_path / "chapters")}}
    NotebookClient(notebook, kernel_name="python3", resources=resources).execute()
    kinds = [[set(o.get("data", ())) for o in cell.outputs] for cell in notebook.cells]
    picture = [{"image/svg+xml", "text/plain"}]
    assert kinds == [
        *[[]] * 4,
        *[picture] * 4,
        [{"application/papermill.record/text/plain"}],
        [{"text/plain"}],
        [{"text/markdown", "text/plain"}],
    ]
    first, same = (notebook.cells[n].outputs[0]["data"] for n in (4, 5))
    assert first["image/svg+xml"] == same["image/svg+xml"]
    for cell in notebook.cells[4:8]:
        svg = cell.outputs[0]["data"]["image/svg+xml"]
        assert 'width="518.4pt"' in svg  # 7.2 inches
        assert "<dc:date>" not in svg and "<dc:creator>" not in svg
    path = tmp_path / "chapters" / "03_markov.ipynb"
    path.write_text(write_notebook(notebook), "utf-8")
    assert [row.model for _, row in read_rows(tmp_path)] == ["bigram"]
