"""The interactive figures, as far as Python sees them; tests/site runs them."""

import re
from dataclasses import astuple
from itertools import chain, product

import numpy as np
import pytest
import torch
import traitlets

from tfcourse import widgets
from tfcourse.bpe import Tokenizer, merge_lines, readable, split_text, train_tokenizer
from tfcourse.data.packed import unpacked
from tfcourse.data.stored import WEIGHTS
from tfcourse.generation import Sampler
from tfcourse.gpt import GPT, GPTConfig, stored_gpt
from tfcourse.kv_cache import (
    CARDS,
    BlockPool,
    Machine,
    PagedText,
    WindowCache,
    bytes_per_token,
    latent_bytes_per_token,
    read_texts,
    reading_work,
)
from tfcourse.position import Rotary, sinusoids
from tfcourse.quantization import quantize
from tfcourse.training import Recipe, warmup_cosine
from tfcourse.vector_quantization import (
    TurboQuant,
    expected_distortion,
    random_rotation,
    sphere_codebook,
)
from tfcourse.widgets import (
    SHAPES,
    AttentionPlayground,
    BitsAndGroups,
    BlockTraveller,
    CacheFilling,
    ClockHands,
    CodeModel,
    CommandTranslator,
    Directions,
    HeadsSideBySide,
    LearningRateSchedule,
    MergeStepper,
    ModelChoice,
    NextToken,
    RotaryScore,
    RotateAndQuantize,
    ServingCalculator,
    SoftLookup,
    SoftmaxTemperature,
    SpectralRadius,
    TransitionTable,
    VoteStepper,
)
from tools.train_code_model import CONFIG

FIGURES = [getattr(widgets, name) for name in widgets.__all__]
FOLDER = widgets.HERE


def drawn(figure):
    """The heights of the curves or bars of a still picture."""
    axes = figure.still().axes[0]
    return [line.get_ydata() for line in axes.lines] or [
        bar.get_height() for bar in axes.patches
    ]


@pytest.mark.parametrize("figure", FIGURES)
def test_the_module_is_plain(figure):
    lines = re.findall(r"^(?:import|export)\b.*", figure._esm, flags=re.MULTILINE)
    assert len(lines) == 1
    assert lines[0].startswith("export default { render")


def test_every_module_belongs_to_a_figure():
    texts = [figure._esm for figure in FIGURES]
    for path in FOLDER.glob("*.js"):
        assert any(path.read_text("utf-8") in text for text in texts), path.name


def test_every_style_class_is_prefixed():
    css = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.css"))
    rules = re.findall(r"([^{}]+)\{[^{}]*\}", re.sub(r"/\*.*?\*/", "", css))
    names = re.findall(r"\.([a-z][\w-]*)", " ".join(rules))
    assert names
    assert {name for name in names if not re.match(r"tfc(-|$)", name)} == set()


@pytest.mark.parametrize("figure", FIGURES)
def test_the_still_picture_has_the_same_bytes_again(figure):
    assert figure().svg() == figure().svg()
    assert figure().svg().startswith("<?xml")


@pytest.mark.parametrize("figure", FIGURES)
def test_the_output_holds_widget_picture_and_a_line_of_text(figure):
    data, _ = figure()._repr_mimebundle_()
    assert set(data) == {
        "application/vnd.jupyter.widget-view+json",
        "image/svg+xml",
        "text/plain",
    }
    first = figure.__doc__.splitlines()[0]
    assert data["text/plain"] == f"{figure.__name__}: {first}"


def test_the_settings_are_the_traits_that_a_reader_turns():
    assert SpectralRadius(rho=1.2).settings() == {
        "rho": 1.2,
        "shear": 1.0,
        "slope": 1.0,
    }
    assert set(SoftLookup().settings()) == {"angle", "entries", "sharpness"}
    with pytest.raises(traitlets.TraitError):
        SpectralRadius(rho="large")


def test_the_curves_are_those_of_the_matrix():
    exact, eigenvalue, bound = drawn(SpectralRadius(rho=1.1, shear=2.0, slope=0.8))
    matrix = 0.8 * 1.1 * np.array([[1, 2], [0, 1]])
    power = np.linalg.matrix_power(matrix, 30)
    np.testing.assert_allclose(exact[30], np.linalg.svd(power)[1][0], rtol=1e-12)
    np.testing.assert_allclose(eigenvalue[30], 0.88**30, rtol=1e-12)
    np.testing.assert_allclose(bound[30], np.linalg.svd(matrix)[1][0] ** 30, rtol=1e-12)


def test_the_weights_are_a_softmax():
    np.testing.assert_allclose(drawn(SoftLookup(sharpness=0)), 0.25)
    scores = np.cos(np.radians(np.array([25, 75, 165, 280]) - 90))
    softmax = np.exp(3 * scores) / np.exp(3 * scores).sum()
    np.testing.assert_allclose(drawn(SoftLookup(angle=90, sharpness=3)), softmax)


def test_the_transition_table_begins_with_rows_that_sum_to_100():
    figure = TransitionTable()
    assert [sum(row) for row in figure.table] == [100] * 7
    assert len(figure.words) == len(figure.table) == len(figure.table[0])
    image = figure.still().axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), figure.table)
    assert set(figure.settings()) == {"seed", "table", "words"}


@pytest.mark.parametrize(
    ("chosen", "masked", "votes"),
    [
        (0, False, {"please": 5, "down": 4}),
        (1, False, {"please": 4, "down": 5}),
        (0, True, {"please": 1, "down": 0}),
        (1, True, {"please": 0, "down": 1}),
    ],
)
def test_the_pairs_vote_four_to_five_and_behind_the_mask_none_to_one(
    chosen, masked, votes
):
    figure = VoteStepper(chosen=chosen, masked=masked)
    assert figure.votes() == votes
    assert drawn(figure) == list(votes.values())


def test_the_mask_is_that_of_the_last_word():
    assert VoteStepper(place=4, masked=True).votes() == {"and": 3}  # "log" has none
    assert VoteStepper(place=2).votes() == {"program": 0.5, "battery": 0.5}


def test_directions_are_added_and_seen_from_the_side_and_from_above():
    figure = Directions(first=0.5, second=2.0)
    dog, halfway, end = figure.journey("dog")
    np.testing.assert_allclose(dog, [1.0, 0.5, 0.4])
    np.testing.assert_allclose(halfway - dog, [-0.05, 0.5, 0.1])
    np.testing.assert_allclose(end - halfway, [0.2, 0.0, 2.2])
    figure = Directions(turn=0, tilt=0)  # seen along x: y goes right, z up
    np.testing.assert_allclose(figure.seen([[7, 2, 3]]), [[2, 3]], atol=1e-12)
    figure = Directions(turn=0, tilt=90)  # seen along z: x comes nearer
    np.testing.assert_allclose(figure.seen([[7, 2, 3]]), [[2, -7]], atol=1e-12)


def test_directions_lead_to_the_words_that_they_should():
    words = {name: place for name, *place in Directions().words}

    def reached(start, **amounts):
        end = Directions(**amounts).journey(start)[-1]
        return min(words, key=lambda name: np.linalg.norm(end - words[name]))

    assert reached("dog", first=1, second=0) == "beagle"
    assert reached("dog", first=0, second=1) == "terrier"
    assert reached("dog", first=1, second=1) == "stray"
    assert reached("cat", first=0, second=1) == "alley cat"


def test_attention_is_the_softmax_of_the_scaled_scores_and_mixes_the_values():
    figure = AttentionPlayground(sentence="cat mat it", across=1.0, up=0.5)
    table = np.array([figure.table[word] for word in ("cat", "mat", "it")])
    scores = table[:, 2:4] @ [1.0, 0.5] / np.sqrt(2)
    weights = np.exp(scores) / np.exp(scores).sum()
    for found, expected in zip(
        figure.attend(), (scores, weights, weights @ table[:, 4:]), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(drawn(figure), weights)


def test_it_means_the_cat_and_behind_the_mask_it_cannot_see_what_follows():
    figure = AttentionPlayground()
    words = figure.sentence.split()
    assert words[figure.place] == "it"
    assert figure.table["it"][:2] == [figure.across, figure.up]
    _, weights, _ = figure.attend()
    assert words[weights.argmax()] == "cat" and 0.5 < weights.max() < 0.8
    assert weights[-1] > 0.01
    figure.causal = True
    _, masked, _ = figure.attend()
    assert masked[8:].sum() == 0 and abs(masked.sum() - 1) < 1e-12
    np.testing.assert_allclose(masked[:8], weights[:8] / weights[:8].sum())


def test_every_word_has_vectors_and_the_same_ones_each_time():
    figure = AttentionPlayground()
    cat, other = figure.vectors("Cat,"), figure.vectors("dragon")
    np.testing.assert_array_equal(cat.ravel(), figure.table["cat"])
    np.testing.assert_array_equal(other, figure.vectors("dragon"))
    assert other.shape == (3, 2) and abs(other).max() <= 1.6
    assert (other != figure.vectors("dragons")).any()
    with pytest.raises(ValueError, match="no word"):
        AttentionPlayground(sentence=" ").still()


def test_softmax_of_two_one_zero_and_its_temperature():
    np.testing.assert_allclose(
        SoftmaxTemperature().softmax(), [0.665, 0.245, 0.090], atol=5e-4
    )
    np.testing.assert_allclose(drawn(SoftmaxTemperature())[3:], [2 / 3, 1 / 3, 0])
    cold = SoftmaxTemperature(scores=[5.0, -3.0, 4.0], temperature=0.1)
    np.testing.assert_allclose(cold.softmax(), [1, 0, 0], atol=1e-4)
    assert len(drawn(SoftmaxTemperature(scores=[1.0, 1.0, -2.0]))) == 3


def test_heads_to_begin_with_are_weights_that_do_their_jobs():
    figure = HeadsSideBySide()
    weights = np.array(figure.weights)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=0.005)
    named = [figure.tokens[key] for key, _ in figure.strongest()]
    assert named[:2] == ["because", "cat"]
    assert weights[2].min() == weights[2].max()
    image = figure.still().axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), weights[:, 7])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"jobs": ["one"]},
            r"1 jobs and 10 tokens need weights of shape \(1, 10, 10\)",
        ),
        ({"query": 10}, "query must be from 0 to 9; got 10"),
    ],
)
def test_heads_that_do_not_fit_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        HeadsSideBySide(**given).still()


@pytest.mark.parametrize(("width", "base"), [(12, 1000.0), (2, 50.0), (16, 10_000.0)])
def test_the_clocks_show_the_sinusoids_of_the_package(width, base):
    figure = ClockHands(width=width, base=base, position=21, other=4)
    places = torch.tensor([21, 4], dtype=torch.float64)
    expected = sinusoids(places, width, base)
    image = figure.still().axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), expected, atol=1e-12)


def turned_score(figure):
    """The score that the package's rotation gives, in the interleaved layout."""
    rotary = Rotary(figure.base, interleaved=True)
    turned = [
        rotary(
            torch.tensor(vector[: figure.width], dtype=torch.float64)[None, None, None],
            torch.tensor([place]),
        )
        for vector, place in (
            (figure.query, figure.query_position),
            (figure.key, figure.key_position),
        )
    ]
    return (turned[0] * turned[1]).sum().item()


def test_the_rotary_score_is_that_of_the_turned_vectors():
    draw = np.random.default_rng(0)
    query, key = draw.normal(size=(2, 8)).tolist()
    for base, p, r in [(10_000.0, 24, 19), (50.0, 3, 60), (5.0, 63, 0)]:
        figure = RotaryScore(query=query, key=key, width=8, base=base, pair=3)
        figure.query_position, figure.key_position = p, r
        score, _, spot = drawn(figure)
        assert spot[0] == pytest.approx(turned_score(figure), abs=1e-9)
        assert score[p - r + 63] == pytest.approx(spot[0], abs=1e-9)
        figure.width = 6  # the rest of the numbers are not used
        figure.pair = -1
        assert len(drawn(figure)) == 2
        assert drawn(figure)[-1][0] == pytest.approx(turned_score(figure), abs=1e-9)


def test_equal_vectors_have_their_best_score_at_lag_0():
    figure = RotaryScore()
    score, part, _ = drawn(figure)
    assert score.argmax() == part.argmax() == 63
    assert (score.max(), part.max()) == (8, 1)


@pytest.mark.parametrize(
    ("figure", "given", "words"),
    [
        (ClockHands, {"width": 5}, "the width must be even: each pair turns; got 5"),
        (RotaryScore, {"width": 0}, "the width must be even"),
        (RotaryScore, {"pair": 8}, "pair must be from -1 to 7; got 8"),
        (
            RotaryScore,
            {"key": [1.0]},
            "need 16 numbers, the width, or more; got 32 and",
        ),
    ],
)
def test_clocks_and_pairs_that_do_not_fit_are_refused(figure, given, words):
    with pytest.raises(ValueError, match=words):
        figure(**given).still()


def norm(x):
    """What a norm without gain and shift makes of vectors."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True))


def travelled(placement):
    figure = BlockTraveller(placement=placement)
    way = figure.travel()
    image = figure.still().axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), way)
    low, high = image.get_clim()
    assert low == -high == -abs(way).max()
    return dict(enumerate(way))


def test_before_a_norm_or_after_it_the_stations_add_up():
    way = travelled("pre-norm")
    np.testing.assert_allclose(way[1], norm(way[0]), atol=2e-3)
    np.testing.assert_allclose(way[3], way[0] + way[2], atol=2e-3)
    np.testing.assert_allclose(way[4], norm(way[3]), atol=2e-3)
    np.testing.assert_allclose(way[5], np.maximum(way[4], 0), atol=2e-3)
    np.testing.assert_allclose(way[6], way[3] + way[5], atol=2e-3)
    way = travelled("post-norm")
    np.testing.assert_allclose(way[2], way[0] + way[1], atol=2e-3)
    np.testing.assert_allclose(way[3], norm(way[2]), atol=2e-3)
    np.testing.assert_allclose(way[4], np.maximum(way[3], 0), atol=2e-3)
    np.testing.assert_allclose(way[5], way[3] + way[4], atol=2e-3)
    np.testing.assert_allclose(way[6], norm(way[5]), atol=2e-3)


def test_what_attention_adds_is_the_mix_by_the_weights():
    figure = BlockTraveller()
    for placement, entering in (("pre-norm", 1), ("post-norm", 0)):
        weights = np.array(figure.weights[placement])
        np.testing.assert_allclose(weights.sum(-1), 1, atol=2e-3)
        vectors = np.array(figure.stations[placement])
        mixed = weights @ vectors[entering]
        added = vectors[figure.names[placement].index("attention adds")]
        np.testing.assert_allclose(added, mixed, atol=3e-3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tokens": ["one"]}, r"7 stations of 1 tokens, pre-norm, need vectors"),
        ({"token": 3}, "token must be from 0 to 2; got 3"),
        ({"station": 7}, "station must be from 0 to 6; got 7"),
        (
            {"weights": {"pre-norm": [[1.0]], "post-norm": [[1.0]]}},
            r"3 tokens, pre-norm, need weights \(3, 3\); got \(1, 1\)",
        ),
    ],
)
def test_travels_that_do_not_fit_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        BlockTraveller(**given).still()
    with pytest.raises(traitlets.TraitError):
        BlockTraveller(placement="no norm")


def case(english, shell, **more):
    """A case in which every token looks at all words alike."""
    words, tokens = english.split(), [*shell.split(), "<end>"]
    weights = np.full((2, len(tokens), len(words)), 1 / len(words))
    return {"english": english, "shell": shell, "weights": weights, **more}


def test_the_alignment_that_is_shown_is_that_of_a_head_or_the_mean():
    figure = CommandTranslator()
    first, second = np.array(figure.cases[0]["weights"])
    np.testing.assert_allclose(first.sum(-1), 1, atol=0.02)
    for head, expected in ((-1, (first + second) / 2), (0, first), (1, second)):
        figure.head = head
        np.testing.assert_array_equal(figure.aligned(), expected)
        image = figure.still().axes[0].images[0]
        np.testing.assert_array_equal(image.get_array(), expected.T)


def test_a_case_is_kept_small_and_its_folders_are_counted():
    names = [f"stick/{i}.txt" for i in range(9)] + ["stick/a/", "stick/a/b.txt"]
    taken = [f"home/{folder}/x" for folder in "abcdef"]
    said = [str(i) for i in range(20)]
    given = case("move it", "mv -t /stick", said=said, added=names, taken=taken)
    (kept,) = CommandTranslator([given | {"right": True}]).cases
    assert kept["said"] == said[:8] and kept["lines"] == 20
    stick, inner = kept["added"]
    assert stick == {
        "folder": "stick/",
        "count": 10,
        "names": ["0.txt", "1.txt", "2.txt", "3.txt"],
    }
    assert inner == {"folder": "stick/a/", "count": 1, "names": ["b.txt"]}
    assert [change["count"] for change in kept["taken"]] == [1] * 6
    assert kept["taken"][-1]["folder"] == "in other folders"
    assert (kept["right"], kept["wanted"], kept["fault"]) == (True, "", "")
    assert kept["weights"][0][0] == [0.5, 0.5]


def test_a_sentence_that_is_typed_is_translated_and_comes_after_the_recorded_ones():
    heard = []

    def translate(sentence):
        heard.append(sentence)
        return case(sentence, "ls -l")

    figure = CommandTranslator([case("a b", "c")] * 2, translate=translate)
    assert figure.live and figure.answered == 0
    for count, sentence in enumerate(("show it", "and so on"), start=1):
        figure._handle_custom_msg({"sentence": sentence}, [])  # as the browser asks
        assert [c["english"] for c in figure.cases] == ["a b", "a b", sentence]
        assert (figure.chosen, figure.token, figure.answered) == (2, 2, count)
    assert heard == ["show it", "and so on"]


def test_what_cannot_be_translated_is_told_and_the_figure_stays():
    def translate(sentence):
        if not sentence:
            raise KeyError
        raise ValueError(f"no word {sentence}")

    figure = CommandTranslator(translate=translate)
    for sentence, trouble in (("eat", "no word eat"), ("", "KeyError")):
        figure.ask(sentence)
        assert (figure.trouble, figure.chosen, len(figure.cases)) == (trouble, 0, 1)
    assert figure.answered == 2
    figure = CommandTranslator()
    figure.ask("show my files")
    assert not figure.live and "without translate=" in figure.trouble
    figure = CommandTranslator(translate=lambda sentence: case("a b", "c"))
    figure.trouble = "old"
    figure.ask("a b")
    assert figure.trouble == ""


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            lambda: CommandTranslator([case("a b", "c") | {"shell": "c d"}]),
            (
                r"2 tokens with their end, and 2 words need weights of shape "
                r"\(heads, 3, 2\); got \(2, 2, 2\)"
            ),
        ),
        (
            lambda: CommandTranslator([case("a", "c") | {"english": " "}]),
            "and 0 words need weights",
        ),
        (
            lambda: CommandTranslator(head=2).still(),
            "head must be from -1 to 1; got 2",
        ),
        (
            lambda: CommandTranslator(chosen=1).still(),
            "chosen must be from 0 to 0; got 1",
        ),
    ],
)
def test_cases_that_do_not_fit_are_refused(made, words):
    with pytest.raises(ValueError, match=words):
        made()


WORDS = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
FROM_WORDS = train_tokenizer([f"{word}\n" * n for word, n in WORDS.items()], 300)
TEXTS = [
    "",
    "the lowest of the newer",
    "aaaa newestest  lowlow",
    "It's 12½ o'clock, they'll\tsay\r\n\n  \x00\x1c\x85 end ",
    "n\u0303ewe\u0301st 👩\u200d👧 最低 widest ͏",
]


def ids_of(figure):
    return list(chain.from_iterable(figure.pieces()))


def test_the_merges_to_begin_with_are_those_of_the_words_of_the_textbook():
    assert MergeStepper().tokenizer_merges == merge_lines(FROM_WORDS)


@pytest.mark.parametrize("text", TEXTS)
def test_every_step_is_what_the_merges_up_to_it_encode(text):
    figure = MergeStepper(text=text)
    steps = figure.steps()
    for step, (rank, _) in enumerate(steps):
        figure.step = step
        known = Tokenizer(FROM_WORDS.merges[: rank + 1])
        assert ids_of(figure) == known.encode(text)
    assert ids_of(figure) == FROM_WORDS.encode(text)
    counts = [sum(map(len, words)) for _, words in steps]
    assert counts == sorted(set(counts), reverse=True)  # each step merges something
    assert counts[0] == len(text.encode())


def test_a_text_is_cut_as_the_tokenizer_cuts_it():
    for text in TEXTS:
        assert widgets._cut(text) == split_text(text)
    for c in map(chr, [*range(0xD800), *range(0xE000, 0x10000)]):
        text = f"a{c}a 1{c}1 !{c}! {c}"  # beside a letter, a number, a sign, a space
        assert widgets._cut(text) == split_text(text)


def test_the_still_picture_shows_faces_and_ids_and_what_is_new():
    figure = MergeStepper(text="lowest low $5$", step=2)
    (axes,) = figure.still().axes
    said = [text.get_text() for text in axes.texts]
    ids = ids_of(figure)
    assert said[1::2] == list(map(str, ids))
    assert said[0::2] == [readable(FROM_WORDS.pieces[i]) for i in ids]
    assert axes.get_title("left") == "step 2: 14 bytes in 12 pieces"
    white = (1, 1, 1, 1)
    filled = [box.get_facecolor() != white for box in axes.patches]
    assert filled == [i == 256 + figure.steps()[2][0] for i in ids]
    assert any(filled)


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (["e s", "est t"], 2),
        (["e s", "es"], 2),
        ([""], 1),
        (["e s", "e s"], 2),
        (["e  s"], 1),
        (["e s t"], 1),
        ([" e"], 1),
    ],
)
def test_lines_that_are_no_merges_are_refused_by_number(lines, number):
    says = (
        f"merge {number} must be two known pieces .* got {re.escape(repr(lines[-1]))}"
    )
    with pytest.raises(ValueError, match=says):
        MergeStepper(tokenizer_merges=lines)
    figure = MergeStepper()
    with pytest.raises(ValueError, match=says):
        figure.tokenizer_merges = lines


@pytest.mark.parametrize("step", [-1, 8])
def test_a_step_that_the_text_does_not_have_is_refused(step):
    with pytest.raises(ValueError, match=f"step must be from 0 to 7; got {step}"):
        MergeStepper(step=step).still()


def test_the_bytes_of_the_code_model_are_the_stored_ones_in_eight_bits():
    content = CodeModel().heavy()
    model, tokenizer = stored_gpt("11_code")
    tensors, about = unpacked(content)
    assert set(tensors) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        half = tensor.abs().amax(dim=-1, keepdim=True) / 254 if tensor.ndim == 2 else 0
        assert ((tensors[name] - tensor).abs() <= half * 1.0001).all(), name
    assert about["config"]["d_model"] == model.config.d_model
    pieces = [bytes([byte]) for byte in about["bytes"]]
    for left, right in about["merges"]:
        pieces.append(pieces[left] + pieces[right])
    assert pieces == tokenizer.pieces
    assert about["pattern"] == tokenizer.pattern
    assert len(content) < (WEIGHTS / "11_code.safetensors").stat().st_size * 0.55
    assert len(content) * 4 / 3 < 5_000_000  # what a page may load at a click
    assert MergeStepper().heavy() == b""


def test_the_code_model_is_sent_when_the_browser_asks_and_not_stored(monkeypatch):
    figure, sent = CodeModel(), []
    monkeypatch.setattr(CodeModel, "heavy", lambda self: b"model")
    figure.send = lambda content, buffers=(): sent.append((content, list(buffers)))
    figure._handle_custom_msg({"wanted": "model"}, [])  # as the browser asks
    assert sent == [({}, [b"model"])]
    own = ("head", "layer", "likeliest", "temperature", "text")
    assert set(figure.settings()) == set(own)

    def heavy(self):
        raise ValueError("no stored weights")

    monkeypatch.setattr(CodeModel, "heavy", heavy)
    figure.send_model()
    assert sent[1:] == [({"trouble": "no stored weights"}, [])]


def test_the_still_picture_of_the_code_model_shows_what_is_likeliest():
    figure = CodeModel(likeliest=[(" values", torch.tensor(0.5)), (" x", 0.25)])
    assert figure.likeliest == [[" values", 0.5], [" x", 0.25]]
    assert drawn(figure) == [0.5, 0.25]
    labels = [label.get_text() for label in figure.still().axes[0].get_xticklabels()]
    assert labels == ["␣values", "␣x"]
    (axes,) = CodeModel(text="a  b").still().axes
    assert [text.get_text() for text in axes.texts][0::2] == ["a", "␣", "␣b"]
    for wrong in ([("a", 0.7), ("b", 0.7)], [("a", -0.1)], [("a", float("nan"))]):
        with pytest.raises(ValueError, match="no probabilities"):
            CodeModel(likeliest=wrong)


@pytest.mark.parametrize(
    ("steps", "warm_up", "floor"), [(200, 30, 0.1), (20, 0, 1.0), (20, 30, 0.0)]
)
def test_the_rates_are_those_of_the_package(steps, warm_up, floor):
    figure = LearningRateSchedule(steps=steps, warm_up=warm_up, floor=floor, lr=0.3)
    recipe = Recipe(steps=steps, batch=1, lr=0.3, warm_up=warm_up, floor=floor)
    expected = [0.3 * warmup_cosine(step, recipe) for step in range(steps)]
    np.testing.assert_allclose(figure.rates(), expected, rtol=1e-14)


def test_the_slope_is_that_of_the_lower_of_two_valleys():
    places = np.random.default_rng(0).uniform(-1.2, 1.2, (200, 2))
    places = np.concatenate([places, np.linspace(widgets.DEEP, widgets.SHALLOW, 41)])
    height, slope, deep = widgets._two_valleys(places)
    for axis, step in enumerate(np.eye(2) * 1e-5):
        ahead, behind = (widgets._two_valleys(places + s)[0] for s in (step, -step))
        np.testing.assert_allclose(slope[:, axis], (ahead - behind) / 2e-5, atol=1e-5)
    lower = widgets._valley(places, widgets.DEEP)[0]
    higher = widgets._valley(places, widgets.SHALLOW)[0] + widgets.GAP
    np.testing.assert_array_equal(deep, lower < higher)
    assert (np.minimum(lower, higher) - height).max() <= widgets.SOFT**0.5 / 2
    apart = abs(lower - higher) > 1
    np.testing.assert_allclose(
        height[apart], np.minimum(lower, higher)[apart], atol=5e-3
    )


def test_the_noise_is_that_of_the_generator_and_has_variance_1():
    noises = widgets._noises(np.array([3, 100]), 50)
    state = 100 * 2654435761 % 2**32
    for step in range(51):  # the first one warms it up
        pair = []
        for _ in range(2):
            total = 0.0
            for _ in range(4):
                state = (1664525 * state + 1013904223) % 2**32
                total += state / 2**32
            pair.append((total - 2) * 3**0.5)
        if step:
            np.testing.assert_allclose(noises[step - 1, 1], pair, rtol=1e-12)
    every = widgets._noises(np.arange(1, 101), 200)
    assert abs(every.mean()) < 0.02 and abs(every.var() - 1) < 0.02
    for a, b in ((every[1:], every[:-1]), (every[..., 0], every[..., 1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02
    neighbours = every.swapaxes(0, 1).reshape(100, -1)
    apart = np.corrcoef(neighbours)[~np.eye(100, dtype=bool)]
    assert abs(apart).max() < 5 / 400**0.5  # the walks have noises of their own


def test_the_walk_is_adams():
    figure = LearningRateSchedule()
    rates, (number,) = figure.rates(), (17,)
    place = torch.tensor(widgets.START, requires_grad=True)
    adam = torch.optim.Adam([place], betas=(0.9, 0.95))
    expected = [widgets.START]
    noises = widgets._noises(np.array([number]), len(rates))[:, 0]
    for rate, noise in zip(rates, noises, strict=True):
        slope = widgets._two_valleys(place.detach().numpy())[1]
        place.grad = torch.tensor(slope + noise)
        adam.param_groups[0]["lr"] = rate
        adam.step()
        expected.append(place.detach().numpy().copy())
    found = figure.walk(rates, [number])[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_warm_up_chooses_the_valley_and_decay_its_bottom():
    means, counts = {}, {}
    for name, warm_up, floor in (
        ("full", 0, 1.0),
        ("warm", 30, 1.0),
        ("decay", 0, 0.1),
        ("both", 30, 0.1),
    ):
        figure = LearningRateSchedule(warm_up=warm_up, floor=floor)
        heights, deep = figure.ends(figure.rates(), list(range(1, 101)))
        means[name], counts[name] = heights.mean(), deep.sum()
    assert counts["warm"] == counts["both"] == 100
    assert max(counts["full"], counts["decay"]) < 60
    assert means["both"] < means["warm"] / 5 < means["decay"] / 5 < means["full"] / 5
    small = LearningRateSchedule(warm_up=0, lr=0.02)  # needs no warm-up
    assert small.ends(small.rates(), list(range(1, 101)))[1].all()


def test_the_two_walks_of_the_still_picture_are_those_of_one_noise():
    figure = LearningRateSchedule()
    full, mine = figure.still().axes
    assert full.get_title("left") == "full rate: ends at 0.34"
    assert mine.get_title("left") == "schedule: ends at 0.00"
    way = figure.walk(figure.rates(), [figure.noise])[:, 0]
    np.testing.assert_array_equal(mine.lines[0].get_xydata(), way)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 0}, "steps must be 1 or more .* got steps=0, warm_up=30"),
        ({"warm_up": -1}, "warm_up 0 or more; got steps=200, warm_up=-1"),
        ({"noise": 0}, r"noise must be from 1 to 100; got \[0\]"),
        ({"noise": 101}, r"noise must be from 1 to 100; got \[101\]"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        LearningRateSchedule(**given).still()


def with_logits(n=40, **settings):
    logits = np.random.default_rng(1).normal(scale=3, size=n).round(2).tolist()
    cases = [{"prompt": "a", "logits": [0.0] * n}, {"prompt": "b", "logits": logits}]
    return NextToken(tokens=[f"t{i}" for i in range(n)], cases=cases, **settings)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.7), (9, 0.8)])
def test_the_next_token_is_that_of_the_packages_sampler(temperature, top_k, top_p):
    figure = with_logits(chosen=1, temperature=temperature, top_k=top_k, top_p=top_p)
    sampler = Sampler(temperature, top_k=top_k or None, top_p=top_p)
    logits = torch.tensor([figure.cases[1]["logits"]], dtype=torch.float64)
    expected = sampler.probabilities(logits, torch.zeros(1, 0, dtype=torch.long))[0]
    np.testing.assert_allclose(figure.chances(), expected, atol=1e-12)
    assert np.array_equal(figure.chances() > 0, expected.numpy() > 0)
    best = np.argsort(-np.array(figure.cases[1]["logits"]))[:10]
    np.testing.assert_allclose(drawn(figure), figure.chances()[best])


def test_paris_has_its_quoted_probabilities_at_a_hidden_temperature():
    figure = NextToken(temperature=2.87)
    paris, london, city, _ = figure.chances()
    assert london / paris == pytest.approx(0.06 / 0.82, abs=1e-3)
    assert city / paris == pytest.approx(0.03 / 0.82, abs=5e-3)
    figure.temperature = 1.0
    assert figure.chances()[0] == pytest.approx(0.999, abs=5e-4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"chosen": 2}, "chosen must be from 0 to 1; got 2"),
        ({"tokens": ["one"]}, r"1 tokens need as many logits; got \(40,\)"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"top_k": -1}, "got 1.0, -1, 1.0"),
        ({"top_p": 0.0}, "top_p above 0 and at most 1"),
        ({"top_p": 1.5}, "got 1.0, 0, 1.5"),
    ],
)
def test_a_next_token_that_does_not_fit_is_refused(given, words):
    figure = with_logits()
    for name, value in given.items():
        setattr(figure, name, value)
    with pytest.raises(ValueError, match=words):
        figure.still()


PASSES = [("whole", 6), ("window", 6), ("blocks", 7)]  # with the steps that there are
TINY = GPT(
    GPTConfig(vocab_size=32, context_length=32, d_model=4, n_heads=1, n_layers=1)
)
TINY.eval()


def ids_of_words(words):
    """A number for each word."""
    known = list(dict.fromkeys(CacheFilling().words + CacheFilling().others))
    return [known.index(word) for word in words]


def paged(figure):
    """The places of the two texts of a figure as the package fills them."""
    pool = BlockPool(TINY, figure.n_blocks, figure.block_size)
    texts = [PagedText(pool, ids_of_words(w)) for w in (figure.words, figure.others)]
    places = [None] * (figure.n_blocks * figure.block_size)

    def read(number, n):
        text, start = texts[number], texts[number].length
        read_texts(TINY, [text], [n])
        for p in range(start, text.length):
            block = text.blocks[p // pool.block_size]
            places[block * pool.block_size + p % pool.block_size] = (number, p)

    for step in range(1, figure.step + 1):
        for number, text in enumerate(texts[:step]):
            if text.blocks and text.length == len(text.ids):
                text.release()
            elif text.blocks:
                read(number, 1)
            elif not text.length and step == number + 1:
                whole, text.ids = text.ids, text.ids[: figure.prompt]
                text.adopt()
                read(number, figure.prompt - text.length)
                text.ids = whole
    return places, texts


def windowed(figure):
    """The places of a window as the package fills them."""
    cache = WindowCache(1, 1, 1, figure.window, figure.sinks)
    for step in range(figure.step):
        t = 1 if step else figure.prompt
        cache.update(*torch.zeros(2, 1, 1, t, 1))
    held = cache.held.tolist()[: cache.length]
    return [(0, p) for p in held] + [None] * (len(cache.held) - len(held))


def kept_by_the_package(figure):
    if figure.kind == "blocks":
        return paged(figure)[0]
    if figure.kind == "window":
        return windowed(figure)
    n = figure.prompt + figure.step - 1 if figure.step else 0
    return [(0, p) if p < n else None for p in range(len(figure.words))]


@pytest.mark.parametrize(("kind", "count"), PASSES)
def test_the_memory_fills_as_the_caches_of_the_package_do(kind, count):
    assert CacheFilling(kind=kind).count() == count
    for step in range(count + 1):
        figure = CacheFilling(kind=kind, step=step)
        assert figure.memory() == kept_by_the_package(figure), step


@pytest.mark.parametrize("sizes", [(2, 1, 8), (3, 0, 7), (4, 2, 5), (11, 0, 6)])
def test_other_sizes_fill_as_those_of_the_package(sizes):
    size, sinks, prompt = sizes
    given = {"block_size": size, "window": size, "sinks": sinks, "prompt": prompt}
    for kind in ("window", "blocks"):
        figure = CacheFilling(kind=kind, n_blocks=12, **given)
        for step in range(figure.count() + 1):
            figure.step = step
            assert figure.memory() == kept_by_the_package(figure), (kind, step)


def test_two_texts_share_what_is_full_and_alike():
    figure = CacheFilling(kind="blocks", step=2)
    memory, (_, (first, second)) = figure.memory(), paged(figure)
    assert first.blocks == [0, 1] and second.blocks == [0, 2]
    assert [held and held[0] for held in memory[:10]] == [0] * 7 + [None, 1, 1]
    (axes,) = figure.still().axes
    assert [text.get_text() for text in axes.texts][0:8:2] == figure.words[:4]
    assert axes.get_title("left") == "step 2: 9 of 24 places are filled"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"step": 7}, "step must be from 0 to 6; got 7"),
        ({"prompt": 12}, "the texts need 12 words or more"),
        ({"kind": "blocks", "n_blocks": 4, "step": 5}, "n_blocks=4 are too few"),
    ],
)
def test_a_cache_that_cannot_be_filled_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        CacheFilling(**given).still()


def config_of(shape):
    """The shape as the package writes it, where it can: plain heads that make up d_model."""
    names = ("vocab_size", "context_length", "d_model", "n_heads", "n_layers")
    names += ("n_kv_heads", "d_ff", "tied")
    plain = {"activation": "swiglu", "norm": "rms", "position": "rotary", "bias": False}
    return GPTConfig(**{name: shape[name] for name in names}, **plain)


PLAIN = [
    i
    for i, shape in enumerate(SHAPES)
    if "window" not in shape and "d_latent" not in shape
]
SERVED = [
    (1, 128, 16, 1),
    (32, 8192, 16, 1),
    (512, 131_072, 4, 8),
]  # batch, length, bits, cards


@pytest.mark.parametrize("served", SERVED)
@pytest.mark.parametrize("model", PLAIN)
def test_a_step_costs_what_the_package_says(model, served):
    batch, length, bits, count = served
    figure = ServingCalculator(model=model, batch=batch, length=length, count=count)
    figure.weight_bits = figure.cache_bits = bits
    config = config_of(SHAPES[model])
    work = reading_work(config, 1, length - 1, batch, bits / 8)
    for figure.card, card in enumerate(CARDS):
        name, flops, bandwidth, memory = figure.cards[figure.card]
        assert (name, flops, bandwidth, memory) == astuple(card)
        many = Machine(name, count * flops, count * bandwidth, count * memory)
        found = figure.costs()
        assert found["seconds"] == pytest.approx(many.seconds(work), rel=1e-12)
        assert found["computing"] == pytest.approx(work.flops / many.flops, rel=1e-12)
        reading = sum(found["reading"])
        assert reading == pytest.approx(work.bytes / many.bandwidth, rel=1e-12)
        each = bytes_per_token(
            config.n_layers, config.n_kv_heads, config.d_head, bits / 8
        )
        assert found["cache"] == batch * length * each
        assert found["memory"] == many.memory


def test_published_models_have_as_many_weights_as_is_said():
    said = {  # in billions: all, and those of a token
        "Llama 2 7B": (6.74, 6.61),
        "Llama 3 8B": (8.03, 7.50),
        "Llama 3.1 70B": (70.6, 69.5),
        "Qwen3 8B": (8.19, 7.57),
        "DeepSeek-V3": (671, 36.6),
        "Gemma 3 27B": (27.0, 27.0),
    }
    for model, shape in enumerate(SHAPES[:-1]):
        total, used, read = ServingCalculator(model=model, batch=1).weights()
        for found, expected in zip((total, used), said[shape["name"]], strict=True):
            assert found / 1e9 == pytest.approx(expected, rel=2e-3), shape["name"]
        assert read == used
    config = config_of(SHAPES[-1])
    assert config == CONFIG  # of the model that the course trains
    learned = sum(p.numel() for p in GPT(config).parameters() if p.ndim == 2)
    assert ServingCalculator(model=len(SHAPES) - 1).weights()[0] == learned


def test_latents_windows_and_experts_are_counted():
    names = [shape["name"] for shape in SHAPES]
    figure = ServingCalculator(model=names.index("DeepSeek-V3"), batch=3, length=1000)
    each = latent_bytes_per_token(n_layers=61, d_latent=512, d_rotated=64)
    assert figure.costs()["cache"] == 3 * 1000 * each
    rare, often = 1 - 8 / 256, figure.weights()
    routed = 58 * 256 * 3 * 7168 * 2048
    always = often[1] - routed * (1 - rare)
    assert often[2] == pytest.approx(always + routed * (1 - rare**3))
    figure = ServingCalculator(model=names.index("Gemma 3 27B"), batch=2)
    for figure.length in (512, 1024, 131_072):
        local = bytes_per_token(52, 16, 128) * min(figure.length, 1024)
        whole = bytes_per_token(10, 16, 128) * figure.length
        assert figure.costs()["cache"] == 2 * (local + whole)
    with pytest.raises(ValueError, match="model must be from 0 to 6; got 7"):
        ServingCalculator(model=7).still()
    with pytest.raises(ValueError, match="card must be from 0 to 2; got 3"):
        ServingCalculator(card=3).still()


def test_the_bars_are_the_times_of_a_step_in_milliseconds():
    figure = ServingCalculator()
    found = figure.costs()
    times = [*found["reading"], found["computing"]]
    np.testing.assert_allclose(drawn(figure), 1000 * np.array(times))
    assert 0.014 < found["seconds"] < 0.016


@pytest.mark.parametrize("outlier", [False, True])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [0, 256, 64, 8])
def test_bits_and_groups_are_those_of_the_package(group, symmetric, outlier):
    settings = {"group": group, "symmetric": symmetric, "outlier": outlier}
    for bits in range(2 if symmetric else 1, 9):
        for clip in (1.0, 0.65):
            figure = BitsAndGroups(bits=bits, clip=clip, **settings)
            matrix = torch.from_numpy(figure.matrix())
            per = group or "tensor"
            given = quantize(matrix, bits, per=per, symmetric=symmetric, clip=clip)
            back = given.dequantize()
            np.testing.assert_array_equal(figure.restored(), back)
            error, n_bytes = figure.measure()
            assert n_bytes == given.n_bytes
            expected = ((matrix - back).norm() / matrix.norm()).item()
            assert error == pytest.approx(expected, rel=1e-5)


def test_the_weights_are_the_stored_ones_and_the_outlier_is_planted():
    model, _ = stored_gpt("11_code")
    weights = model.stack.blocks[0].attention.module.qkv.linear.weight
    figure = BitsAndGroups()
    np.testing.assert_array_equal(figure.matrix(), weights[::12].detach())
    again = BitsAndGroups(weights[::12], bits=3)
    assert (again.weights, again.columns, again.bits) == (figure.weights, 256, 3)
    changed = BitsAndGroups(outlier=True).matrix()
    (row,), (column,) = np.nonzero(changed != figure.matrix())
    assert (row, column) == (32, 0)  # the first of the row that is looked at
    assert changed[row, column] == 4 * abs(figure.matrix()).max()
    assert row == figure.row


def test_the_still_picture_has_the_curves_of_the_groupings():
    figure = BitsAndGroups(group=32)
    curves = [line.get_xydata() for line in figure.still().axes[0].lines]
    assert [len(curve) for curve in curves] == [7, 7, 7, 1]
    error, n_bytes = figure.measure()
    np.testing.assert_allclose(curves[3], [[4.5, error]])  # as the course counts it
    np.testing.assert_array_equal(curves[2][2], curves[3][0])
    assert n_bytes * 8 == 4.5 * 64 * 256


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bits": 1}, "one bit has no symmetric grid"),
        ({"group": 60}, "group must divide columns; got 60, 256"),
        ({"row": 64}, "row must be from 0 to 63; got 64"),
        ({"matrix": torch.ones(3)}, r"a matrix of finite .*; got shape \(3,\)"),
        ({"matrix": torch.full((2, 2), torch.nan)}, r"got shape \(2, 2\)"),
    ],
)
def test_bits_and_groups_that_cannot_be_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        BitsAndGroups(**given).still()


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_the_codebooks_are_those_of_the_package(bits):
    figure = RotateAndQuantize(bits=bits)
    for d in (16, 128):
        expected = sphere_codebook(d, bits)
        np.testing.assert_allclose(figure.codebook(d), expected, atol=2e-6)
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    values, x = figure.codebook(2), np.cos(angles)  # the first coordinate, in the plane
    codes = abs(x[:, None] - values).argmin(axis=1)
    means = [x[codes == code].mean() for code in range(2**bits)]
    np.testing.assert_allclose(values, means, atol=2e-4)  # each the mean of its own


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("d", [16, 128])
def test_random_turns_err_as_random_rotations_do(d, bits):
    figure = RotateAndQuantize(bits=bits, angle=20)
    errors = figure.errors(d)
    assert errors.shape == (1000,) and (np.diff(errors) >= 0).all()
    noise = errors.std() / 1000**0.5
    assert abs(errors.mean() - expected_distortion(d, bits)) < 4 * noise
    x = torch.from_numpy(figure.vector(d)).float()
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(200):
        codec = TurboQuant(random_rotation(d, generator), bits)
        found.append(((codec.decode(codec.encode(x)) - x) ** 2).sum().item())
    assert abs(np.mean(found) - errors.mean()) < 4 * noise * 5**0.5
    np.testing.assert_allclose(np.median(found), np.median(errors), rtol=0.06)


@pytest.mark.parametrize("angle", [0, 30, 135])
@pytest.mark.parametrize("d", [2, 16, 128])
def test_a_vector_that_is_not_turned_is_quantized_as_the_package_does(d, angle):
    figure = RotateAndQuantize(angle=angle)
    x = torch.from_numpy(figure.vector(d))
    assert x.norm() == pytest.approx(1)
    assert x[0] == pytest.approx(np.cos(np.radians(angle)), abs=1e-12)
    if d > 2:
        codec = TurboQuant(torch.eye(d), 2)
        back = codec.decode(codec.encode(x))
        error = figure.error(x.numpy())
        assert error == pytest.approx(((back - x) ** 2).sum().item(), abs=1e-3)
    for figure.bits in (1, 2, 4):
        back = quantize(x, figure.bits, per="tensor", symmetric=False).dequantize()
        expected = ((back - x) ** 2).sum().item()
        assert figure.own_grid_error(d) == pytest.approx(expected, abs=2e-3)


def test_turning_helps_vectors_with_an_outlier_the_more_dimensions_there_are():
    figure = RotateAndQuantize()
    spread = []
    for d in (2, 16, 128):
        errors = figure.errors(d)
        spread.append(errors.std() / errors.mean())
    assert spread[0] > 1.5 * spread[1]
    assert spread[1] / spread[2] == pytest.approx((128 / 16) ** 0.5, rel=0.15)
    assert figure.errors(128).max() < min(
        figure.error(figure.vector(128)), figure.own_grid_error(128)
    )
    panels = figure.still().axes
    assert [panel.get_title("left") for panel in panels] == [
        "2 coordinates",
        "16 coordinates",
        "128 coordinates",
    ]
    shown = panels[1].lines[0].get_ydata()
    np.testing.assert_allclose(shown, figure.errors(16)[::20])
    with pytest.raises(ValueError, match=r"d must be one of \[2, 16, 128\]; got 64"):
        figure.codebook(64)


def test_normal_numbers_are_normal():
    numbers = widgets._normals(100_000, seed=7)
    assert abs(numbers.mean()) < 0.01 and abs(numbers.var() - 1) < 0.02
    assert abs((numbers**4).mean() - 3) < 0.1
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.01
    np.testing.assert_array_equal(widgets._normals(3, seed=7), numbers[:3])


def choice(**answers):
    figure = ModelChoice()
    figure.answers = figure.answers | answers
    return {decision: what for decision, what, _ in figure.advice()}


def test_the_first_rule_that_fits_counts():
    assert choice()["kind"] == "a decoder"
    assert choice(middle="yes")["kind"] == "a decoder that was taught gaps"
    assert choice(middle="yes", output="label")["kind"] == "an encoder"
    assert choice(leave="no", wait="night")["place"] == "your own hardware"
    assert choice(wait="night")["place"] == "a host, in batches"
    assert choice(facts="yes")["facts"] == "retrieval into the prompt"


def test_every_rule_can_come_to_count_and_every_decision_is_always_made():
    figure = ModelChoice()
    names = [name for name, _, _ in figure.questions]
    choices = [[answer for answer, _ in offered] for *_, offered in figure.questions]
    decisions = list(dict.fromkeys(rule[0] for rule in figure.rules))
    used = set()
    for answers in product(*choices):
        figure.answers = dict(zip(names, answers, strict=True))
        found = figure.advice()
        assert [row[0] for row in found] == decisions
        used.update(found)
    assert len(used) == len(figure.rules)
    assert all(why.endswith(".") for *_, why in figure.rules)


def test_every_answer_matters():
    figure = ModelChoice()
    asked = {
        (name, answer) for rule in figure.rules for name, answer in rule[1].items()
    }
    for name, _, choices in figure.questions:
        answers = {answer for n, answer in asked if n == name}
        assert answers < {answer for answer, _ in choices}
        assert len(answers) == len(choices) - 1


def test_the_still_picture_of_the_choice_shows_all_of_it():
    texts = [text.get_text() for text in ModelChoice().still().axes[0].texts]
    for decision, what, _ in ModelChoice().advice():
        assert what in texts and decision in texts


def test_an_answer_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="leave must be one of yes, no; got 'perhaps'"):
        choice(leave="perhaps")
