"""What the figures compute in the browser is what NumPy computes."""

import re
from collections import Counter
from functools import cache
from itertools import chain

import numpy as np
import pytest

from tfcourse import widgets
from tfcourse.bpe import FIRST_NEW, Tokenizer, merge_lines, readable, train_tokenizer
from tfcourse.data.corpus import load_corpus
from tfcourse.gpt import GPTConfig
from tfcourse.kv_cache import CARDS, Machine, bytes_per_token, reading_work
from tfcourse.multi_head_attention import multiply_adds
from tfcourse.widgets import (
    SHAPES,
    AttentionPlayground,
    BitsAndGroups,
    CacheFilling,
    ClockHands,
    CommandTranslator,
    Directions,
    HeadsSideBySide,
    LearningRateSchedule,
    MergeStepper,
    ModelChoice,
    RotaryScore,
    RotateAndQuantize,
    ServingCalculator,
    SoftmaxTemperature,
    TransitionTable,
    VoteStepper,
)

KEYS = [25, 75, 165, 280]


@pytest.fixture
def call(book, page):
    """Call a function that a figure exports, in the browser."""
    page.goto("about:blank")

    def call(name, *arguments):
        script = f"{name.partition('.')[0]}.js"
        page.add_script_tag(path=book / "_static" / "figures" / script)
        return page.evaluate(f"(given) => tfcourseFigures.{name}(...given)", arguments)

    return call


@pytest.mark.parametrize(
    ("rho", "shear", "slope"),
    [(0.9, 1.0, 1.0), (1.5, 3.0, 1.0), (0.5, 0.0, 0.3), (1.25, 0.1, 0.8)],
)
def test_gradient_sizes(call, rho, shear, slope):
    sizes = call("SpectralRadius.gradientSizes", rho, shear, slope)
    sizes = {name: np.array(values, dtype=float) for name, values in sizes.items()}
    factor = slope * rho * np.array([[1, shear], [0, 1]])
    lags = np.arange(61)
    powers = [np.linalg.matrix_power(factor, lag) for lag in lags]
    exact = [np.linalg.svd(power, compute_uv=False)[0] for power in powers]
    bound = np.linalg.svd(factor, compute_uv=False)[0] ** lags
    np.testing.assert_allclose(sizes["exact"], exact, rtol=1e-11)
    np.testing.assert_allclose(sizes["eigenvalue"], (slope * rho) ** lags, rtol=1e-11)
    np.testing.assert_allclose(sizes["bound"], bound, rtol=1e-11)


@pytest.mark.parametrize(
    ("rho", "shear", "slope", "words"),
    [
        (
            0.9,
            1.0,
            1.0,
            r"at most 0\.26 times .* fades, .* grows to 3\.5 times, at lag 9",
        ),
        (0.7, 0.0, 1.0, r"at most 1\.8·10⁻⁸ times .* vanished\.$"),
        (1.5, 0.0, 1.0, r"at most 6\.4·10⁸ times .* exploded\.$"),
        (1.25, 0.0, 0.8, r"at most 1 times .* neither fades nor grows\.$"),
        (1.0, 2.0, 1.0, r"at most 100 times .* grows in proportion to the lag\.$"),
    ],
)
def test_the_sentence_tells_what_the_curve_does(call, rho, shear, slope, words):
    sizes = call("SpectralRadius.gradientSizes", rho, shear, slope)
    told = call("SpectralRadius.verdict", sizes, rho * slope, shear)
    assert re.search(words, told), told


@pytest.mark.parametrize(("query", "sharpness"), [(40, 4), (0, 0), (359, 20), (120, 1)])
def test_soft_lookup(call, query, sharpness):
    found = call("SoftLookup.lookUp", KEYS, query, sharpness)
    scores = np.cos(np.radians(np.array(KEYS) - query))
    weights = np.exp(sharpness * scores)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-12)
    np.testing.assert_allclose(found["weights"], weights / weights.sum(), rtol=1e-11)


def test_commands_are_drawn_with_the_shares_of_the_table_and_a_seed(call):
    given = TransitionTable()
    commands = call("TransitionTable.drawn", given.words, given.table, 3, 4000)
    assert commands[:5] == call("TransitionTable.drawn", given.words, given.table, 3, 5)
    assert commands[:5] != call("TransitionTable.drawn", given.words, given.table, 4, 5)
    counted = Counter(commands)
    for name, share in {"directories": 0.2, "files": 0.3, "photos": 0.5}.items():
        assert abs(counted[f"show me my {name} please"] / 4000 - share) < 0.03
    assert sum(counted.values()) == 4000 and len(counted) == 3


def test_rows_of_a_table_that_do_not_sum_to_100_are_told(call):
    words, table = ["show", "please"], [[0, 100], [0, 100]]
    assert call("TransitionTable.complaint", words, table) == ""
    assert "show sums to 50" in call(
        "TransitionTable.complaint", words, [[0, 50], [1, 99]]
    )
    assert call("TransitionTable.drawn", words, [[0, 50], [0, 0]], 0, 1) == [
        "show please"
    ]
    zeros = [[0, 0], [0, 100]]
    assert "only zeros" in call("TransitionTable.complaint", words, zeros)
    assert call("TransitionTable.drawn", words, zeros, 0, 1) == [
        "show (and nothing can follow)"
    ]
    (endless,) = call("TransitionTable.drawn", words, [[100, 0], [100, 0]], 0, 1)
    assert endless.endswith(" …")


@pytest.mark.parametrize("chosen", [0, 1])
@pytest.mark.parametrize("masked", [False, True])
def test_pairs_vote_as_in_python(call, chosen, masked):
    for place in range(2, 11):
        still = VoteStepper(chosen=chosen, place=place, masked=masked)
        mask = still.mask if masked else None
        cast = call("VoteStepper.ballots", still.commands, chosen, place, mask)
        assert call("VoteStepper.tally", cast) == still.votes()


@pytest.mark.parametrize(("turn", "tilt"), [(35, 20), (0, 0), (359, -90), (120, 75)])
def test_directions_are_seen_as_in_the_still_picture(call, turn, tilt):
    figure = Directions(turn=turn, tilt=tilt)
    for point in ([1.0, 0.5, 0.4], [-1.1, 0.1, 0.3]):
        across, up, near = call("Directions.project", point, turn, tilt)
        np.testing.assert_allclose([across, up], figure.seen([point])[0], atol=1e-12)
        np.testing.assert_allclose(across**2 + up**2 + near**2, np.dot(point, point))


@pytest.mark.parametrize("start", ["dog", "cat"])
def test_a_word_goes_the_same_way_in_the_browser(call, start):
    figure = Directions(first=0.4, second=1.3)
    given = [figure.words, start, figure.directions, [0.4, 1.3]]
    path = call("Directions.journey", *given)
    np.testing.assert_allclose(path, figure.journey(start), atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sentence", ["", "The cat, or an Öre? constructor ?! 猫 𝔸 it"])
def test_a_sentence_attends_as_in_python(call, sentence, causal):
    figure = AttentionPlayground(across=-1.3, up=2.1, place=4, causal=causal)
    figure.sentence = sentence or figure.sentence
    words = call("AttentionPlayground.split", figure.sentence)
    for word in words:
        found = call("AttentionPlayground.vectors", word, figure.table)
        three = [found[name] for name in ("query", "key", "value")]
        np.testing.assert_array_equal(three, figure.vectors(word))
    seen = 5 if causal else len(words)
    found = call("AttentionPlayground.attend", words, figure.table, [-1.3, 2.1], seen)
    for name, expected in zip(
        ("scores", "weights", "mix"), figure.attend(), strict=True
    ):
        np.testing.assert_allclose(found[name], expected, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1, 10])
@pytest.mark.parametrize("scores", [[2, 1, 0], [-3, 5, 5, 4.9, -1]])
def test_softmax_of_scores(call, scores, temperature):
    weights = call("SoftmaxTemperature.softmax", scores, temperature)
    figure = SoftmaxTemperature(scores=scores, temperature=temperature)
    np.testing.assert_allclose(weights, figure.softmax(), rtol=1e-11)
    entropy = -sum(p * np.log2(p) for p in figure.softmax() if p > 0)
    np.testing.assert_allclose(call("SoftmaxTemperature.bits", weights), entropy)
    shares = call("SoftmaxTemperature.rescaled", scores)
    np.testing.assert_allclose(shares, np.array(scores) / sum(scores))


def test_rescaling_is_told_where_it_makes_no_weights(call):
    assert call("SoftmaxTemperature.rescaled", [1, -3, 2]) is None
    assert "sum to 0" in call("SoftmaxTemperature.verdict", [1, -3, 2], 1)
    assert "no weights" in call("SoftmaxTemperature.verdict", [1, -2, 2], 1)
    told = call("SoftmaxTemperature.verdict", [1, 1, 1, 1], 3)
    assert "0.25, 0.25, 0.25, 0.25: 2.00 of at most 2.00 bits" in told


def test_the_strongest_keys_are_those_of_python(call):
    figure = HeadsSideBySide()
    for query in range(len(figure.tokens)):
        figure.query = query
        found = call("HeadsSideBySide.strongest", figure.weights, query)
        expected = figure.strongest()
        for (key, weight), one in zip(expected[:2], found[:2], strict=True):
            assert (one["key"], one["weight"]) == (key, weight)
        assert found[2] == {"key": -1, "weight": 0.1}  # all alike


@pytest.mark.parametrize(("width", "base"), [(12, 1000), (2, 50), (32, 10_000)])
def test_hands_stand_as_in_python(call, width, base):
    figure = ClockHands(width=width, base=base)
    for place in (0, 1, 21, 63):
        found = call("ClockHands.sinusoids", place, width, base)
        np.testing.assert_allclose(found, figure.sinusoids(place), atol=1e-12)
        product = figure.sinusoids(place) @ figure.sinusoids(7)
        found = call("ClockHands.dot", place, 7, width, base)
        np.testing.assert_allclose(found, product, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((21, 18, 12, 1000), "hand 0 by 57° and hand 5 by 0.18°. Positions 21 and 18"),
        ((3, 2, 2, 50), "hand 0 by 57°. Positions 3 and 2 are 1 step apart"),
        ((9, 9, 4, 50), "Position 9 with itself: dot product 2.00, the most."),
    ],
)
def test_the_clocks_tell_a_step_and_a_distance(call, given, words):
    assert words in call("ClockHands.sentence", *given)


@pytest.mark.parametrize(("p", "r"), [(24, 19), (0, 63), (5, 5)])
@pytest.mark.parametrize(("width", "base"), [(8, 10_000), (6, 50), (2, 3.16)])
def test_a_turned_query_and_a_turned_key_score_as_in_python(call, width, base, p, r):
    query, key = np.random.default_rng(1).normal(size=(2, 8)).tolist()
    figure = RotaryScore(query=query, key=key, width=width, base=base, pair=-1)
    given = call("RotaryScore.pairs", query, key, width, base)
    parts = call("RotaryScore.parts", given, p, r)
    np.testing.assert_allclose(parts, figure.parts(p - r), atol=1e-12)
    found = call("RotaryScore.score", query, key, width, base, p, r)
    np.testing.assert_allclose(found, figure.parts(p - r).sum(), atol=1e-12)


@pytest.mark.parametrize("p", [0, 24, 63])
@pytest.mark.parametrize("lag", [-63, -5, 0, 40, 63])
def test_a_lag_that_is_set_moves_the_key_and_if_it_must_the_query(call, p, lag):
    query, key = call("RotaryScore.placed", p, lag)
    assert query - key == lag
    assert 0 <= min(query, key) and max(query, key) <= 63
    if 0 <= p - lag <= 63:
        assert query == p


def test_the_rotary_sentence_tells_score_and_pair(call):
    given = call("RotaryScore.pairs", [1, 0, 2, 0], [1, 0, 1, 0], 4, 100)
    told = call("RotaryScore.sentence", given, 9, 9, -1)
    assert "lag 0: score 3.00 of at most 3.00. Any two positions" in told
    told = call("RotaryScore.sentence", given, 2, 5, 1)
    assert "Query at 2, key at 5, lag −3: score" in told
    assert "Pair 1 adds 1.91 of at most 2.00; it turns by 5.7° a step, once" in told
    assert told.endswith("round in 63 steps.")


def test_the_alignment_is_that_of_python(call):
    figure = CommandTranslator()
    for head in (-1, 0, 1):
        figure.head = head
        found = call("CommandTranslator.look", figure.cases[0]["weights"], head)
        np.testing.assert_allclose(found, figure.aligned(), atol=1e-12)


STICK = {"folder": "stick/", "count": 3, "names": ["a"]}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"said": ["48"], "lines": 1}, "The command says “48”."),
        (
            {"lines": 9, "said": ["a"] * 8, "right": True},
            "The command says 9 lines. This is what was asked for.",
        ),
        ({"fault": "got rm"}, "That is no command: got rm"),
        ({}, "The command says nothing and changes nothing."),
        (
            {"added": [STICK, STICK], "right": False, "wanted": "ls"},
            (
                "The command adds 6 names to the folders. "
                "This is not what was asked for: that would be ls"
            ),
        ),
        (
            {"added": [STICK], "taken": [STICK | {"count": 1}], "right": False},
            (
                "The command adds 3 names to the folders and takes 1 name from them. "
                "This is not what was asked for."
            ),
        ),
    ],
)
def test_what_a_command_does_is_told(call, given, words):
    nothing = {"fault": "", "said": [], "lines": 0, "added": [], "taken": []}
    assert (
        call(
            "CommandTranslator.result",
            {**nothing, "wanted": "", "right": None, **given},
        )
        == words
    )


def test_where_a_token_looks_is_told_and_at_the_end_what_comes_of_it(call):
    (case,) = CommandTranslator().cases
    told = call("CommandTranslator.sentence", case, 0, 5)
    assert told == (
        "Token 6 of 11, '*.jpg': head 0 looks most at “photos” (0.91), "
        "then at “count” (0.05)."
    )
    told = call("CommandTranslator.sentence", case, -1, 10)
    assert told.startswith("Token 11 of 11, <end>: the heads look most at “count”")
    assert told.endswith("The command says “48”.")


def test_a_word_that_stands_twice_is_told_with_its_place(call):
    """Not “not”, then at “not”."""
    one = {"english": "not my not", "shell": "!", "weights": [[[0.5, 0.1, 0.4]]]}
    told = call("CommandTranslator.sentence", one, 0, 0)
    assert told.endswith("most at “not” (word 1, 0.50), then at “not” (word 3, 0.40).")


TYPED = {
    "empty": "",
    "a letter": "a",
    "a space": " ",
    "a sentence": "The transformer reads the words, and then it reads them again.",
    "anagrams": "listen silent enlist tinsel inlets",
    "no word": "ksowjmckder",
    "capitals": "THE The tHE McDONALD iPhone",
    "contractions": "it's we'll they've I'm you'd can't we're 'sdmt 'S 'LL ''s",
    "typographic quotes": "it’s “quoted” – and… so",
    "runs of spaces": "a  b   c    d          e",
    "spaces at both ends": "   in the middle    ",
    "only spaces": " " * 300,
    "new lines": "one\ntwo\r\nthree\n\n\n  four\t\tfive\t six\n",
    "rare spaces": "a\xa0b\u2003c\u3000d\u2028e\u2029f\u205fg\u1680h\u202f\x85i",
    "no spaces, though some think so": "a\ufeffb\x1cc\x1dd\x1ee\x1ff\u200bg\u180eh",
    "control characters": "".join(map(chr, range(32))) + "\x7f\x80\x9f\xad",
    "all bytes": "".join(map(chr, range(256))),
    "digits": "3 31 314 3141 31415 0.5 1,000,000 2026-01-31 12:30",
    "digits and letters": "abc123def 4x4 x86_64 H2O 1st",
    "other numbers": "½ ² Ⅷ ٣٤٥ ५६ 五 ① 𝟘𝟙",
    "code": "def f(x):\n    return x[0] + {'a': 1}['a']  # why?\n",
    "signs": "!!! ... --- <|end|> $5 #1 a+b=c €£¥ §",
    "accents": "naïve café Ærøskøbing Straße Ğ ĠĠt Ċ",
    "combining marks": "nai\u0308ve cafe\u0301 a\u0300\u0301\u0302\u0303 \u0301\u0301 \u0301",
    "Chinese": "机器学习需要大量的数据。注意力就是你所需要的一切!",
    "Japanese": "トランスフォーマーは、注意だけで読む。ﾊﾝｶｸ",
    "Korean": "트랜스포머 \u1112\u1161\u11ab",
    "Hindi": "ध्यान ही सब कुछ है क्षेत्र",
    "Thai": "ความใส่ใจคือสิ่งที่คุณต้องการ",
    "Arabic": "الانتباه هو كل ما تحتاجه َُِ",
    "Hebrew": "שָׁלוֹם עולם",
    "Greek and Russian": "Προσοχή внимание ἀρχή Ёлка",
    "emoji": "☕🙂🙂 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇳🇱🇫🇷 1️⃣ ❤️x",
    "beyond the plane": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠮷野家 𒀀𒁀 🀄 \U0010ffff\U000e0001",
    "no characters": "\ufffd \ufffe \uffff \ufdd0 \ue000",
    "left and right": "abc\u200fdef\u202eghi\u202c \u2066x\u2069",
    "one letter": "a" * 2000,
    "two letters": "th" * 1000,
    "letters without an end": "thequickbrownfoxjumpsoverthelazydog" * 57,
    "the same word": "transformer " * 150,
    "signs without an end": "=-" * 700,
    "names of JavaScript": "constructor __proto__ toString undefined NaN null",
}


@cache
def tokenizer():
    """The merges of a chapter's size, of a part of the course's text."""
    return train_tokenizer([load_corpus().train[:1_000_000]], FIRST_NEW + 1500)


def flat(words):
    return list(chain.from_iterable(words))


def test_a_text_that_is_typed_ends_as_the_ids_of_the_tokenizer(call):
    lines = merge_lines(tokenizer())
    for name, text in TYPED.items():
        told = call("MergeStepper.story", lines, text)
        found = flat(call("MergeStepper.pieces", told, len(told["steps"])))
        assert [piece["id"] for piece in found] == tokenizer().encode(text), name
        assert told["bytes"] == len(text.encode()), name
        assert "".join(word["word"] for word in told["words"]) == text
        for piece in found:
            face = readable(tokenizer().pieces[piece["id"]])
            assert piece["face"] == face, name


@pytest.mark.parametrize(
    "name",
    ["a sentence", "contractions", "runs of spaces", "digits", "code", "accents"],
)
def test_each_merge_of_the_browser_is_that_of_python(call, name):
    lines, text = merge_lines(tokenizer()), TYPED[name]
    told = call("MergeStepper.story", lines, text)
    steps = MergeStepper(tokenizer_merges=lines, text=text).steps()
    assert [step["rank"] for step in told["steps"]] == [rank for rank, _ in steps[1:]]
    for step, (rank, words) in enumerate(steps):
        found = call("MergeStepper.pieces", told, step)
        ids = [[piece["id"] for piece in word] for word in found]
        assert ids == [list(map(ord, word)) for word in words]
        assert flat(ids) == Tokenizer(tokenizer().merges[: rank + 1]).encode(text)
        fresh = {piece["id"] for piece in flat(found) if piece["fresh"]}
        assert fresh == ({FIRST_NEW + rank} if step else set())
        marked = [piece["face"] for piece in flat(found) if piece["next"]]
        following = dict(enumerate(told["steps"])).get(step)
        if following is None:
            assert marked == []
        else:
            assert following["before"] == len(flat(ids))
            pairs = following["before"] - following["after"]
            assert marked == [following["left"], following["right"]] * pairs
    assert len(steps) > 3


@pytest.mark.parametrize(
    ("text", "step", "words"),
    [
        ("", 0, "There is no text yet: type one."),
        (
            "lowest",
            0,
            "Every byte is a piece of its own: 6 pieces. Next: merge 1, e s → es.",
        ),
        (
            "the lowest owl, the new low",
            3,
            "Merge 3: l o → lo, id 258; pieces 25 → 23. Next: merge 4, lo w → low.",
        ),
        (
            "lowest",
            4,
            (
                "Merge 4: lo w → low, id 259; pieces 3 → 2. No learned pair is left: "
                "these are the ids of the text."
            ),
        ),
        (
            "x",
            0,
            (
                "Every byte is a piece of its own: 1 piece. No learned pair is left: "
                "these are the ids of the text."
            ),
        ),
    ],
)
def test_a_merge_is_told_with_its_number_and_what_it_saves(call, text, step, words):
    told = call("MergeStepper.story", MergeStepper().tokenizer_merges, text)
    assert call("MergeStepper.sentence", told, step) == words


@pytest.mark.parametrize(
    ("word", "seen"),
    [
        (" the", "␣the"),
        ("\t\n ", "⇥↵␣"),
        ("\u0301", "◌\u0301"),
        (" \u0301", "␣◌\u0301"),
        ("\x00", "U+0000"),
        ("\u3000", "U+3000"),
        ("👩\u200d👧", "👩\u200d👧"),
    ],
)
def test_what_has_no_face_is_seen(call, word, seen):
    assert call("MergeStepper.visible", word) == seen


@pytest.mark.parametrize(
    ("steps", "warm_up", "floor", "lr"),
    [
        (200, 30, 0.1, 0.2),
        (200, 0, 1.0, 0.2),
        (20, 30, 0.0, 0.01),
        (400, 100, 0.5, 0.5),
    ],
)
def test_a_walk_is_that_of_python(call, steps, warm_up, floor, lr):
    figure = LearningRateSchedule(steps=steps, warm_up=warm_up, floor=floor, lr=lr)
    rates, numbers = figure.rates(), list(range(1, 101))
    found = call("LearningRateSchedule.schedule", steps, warm_up, floor, lr)
    np.testing.assert_allclose(found, rates, rtol=1e-12)
    walks = figure.walk(rates, numbers)
    for number in (1, 17, 100):
        places = call("LearningRateSchedule.walk", found, number)
        np.testing.assert_allclose(places, walks[:, number - 1], atol=1e-9)
    heights, deep = figure.ends(rates, numbers)
    overall = call("LearningRateSchedule.overall", found)
    assert overall["deep"] == deep.sum()
    np.testing.assert_allclose(overall["mean"], heights.mean(), atol=1e-9)
    end = call("LearningRateSchedule.end", places)  # of the last number
    assert end["deep"] == deep[-1]
    np.testing.assert_allclose(end["height"], heights[-1], atol=1e-9)


@pytest.mark.parametrize("level", [0.02, 0.3, 0.45, 5.0])
def test_a_contour_runs_where_the_landscape_has_its_height(call, level):
    points = np.reshape(call("LearningRateSchedule.contour", level), (-1, 2))
    assert len(points) > 20
    heights = widgets._two_valleys(points)[0] - widgets._two_valleys(widgets.DEEP)[0]
    np.testing.assert_allclose(heights, level, rtol=0.02, atol=0.004)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, r"^30 of 200 steps of warm-up, a rate of 0\.2 at most, at the end 10% "),
        ({}, r"ends 0\.004 above .* in the deep valley; .* 0\.340 .* the shallow"),
        ({"warm_up": 0}, r"^No warm-up in 200 steps, .* 0\.303 .* in the shallow"),
        ({"noise": 11, "floor": 1.0}, r"at the end 100% of it\. With noise 11 "),
    ],
)
def test_a_schedule_is_told_with_where_it_leads(call, given, words):
    figure = LearningRateSchedule(**given)
    settings = figure.settings()
    ends = []
    for rates in (figure.rates(), [figure.lr] * figure.steps):
        places = call("LearningRateSchedule.walk", rates, figure.noise)
        ends.append(call("LearningRateSchedule.end", places))
    told = call("LearningRateSchedule.sentence", settings, *ends)
    assert re.search(words, told), told


def settings(figure, **changes):
    """What the browser is told of a figure."""
    return figure.settings() | changes


@pytest.mark.parametrize("kind", ["whole", "window", "blocks"])
@pytest.mark.parametrize(
    "sizes",
    [{}, {"prompt": 8, "sinks": 0, "block_size": 2}, {"prompt": 1, "block_size": 3}],
)
def test_the_cache_of_the_browser_fills_as_python_s(call, kind, sizes):
    figure = CacheFilling(kind=kind, n_blocks=12, step=0, **sizes)
    given = settings(figure)
    assert call("CacheFilling.steps", given) == figure.count()
    for step in range(figure.count() + 1):
        figure.step = step
        told = call("CacheFilling.story", given, step)
        places = [p and (p["text"], p["position"]) for p in told["places"]]
        assert places == figure.memory()
        found = call("CacheFilling.entries", given, told)
        texts = (figure.words, figure.others)
        words = [texts[held[0]][held[1]] if held else "" for held in figure.memory()]
        assert [entry["word"] for entry in found] == words
        assert sum(entry["look"] == "new" for entry in found) == len(told["fresh"])


def products(t, width=256):
    return sum(multiply_adds(t, width, n_heads=4).values())


def test_products_with_a_cache_and_without_are_those_of_the_package(call):
    given = settings(CacheFilling())
    whole = [call("CacheFilling.story", given, step) for step in range(7)]
    sums = [0, 0]
    for step, told in enumerate(whole[1:], start=1):
        t = 5 + step
        new = told["now"]["columns"][0]
        assert (new, told["now"]["columns"][1]) == (6 if step == 1 else 1, t)
        linear = multiply_adds(new, 256, 4)["linear"]
        # every new query meets every key, and mixes every value
        expected = [linear + 2 * new * t * 256, products(t)]
        assert told["now"]["products"] == expected
        sums = [a + b for a, b in zip(sums, expected, strict=True)]
        assert told["all"] == sums
    window = call("CacheFilling.story", given | {"kind": "window"}, 4)
    assert window["now"]["products"] == [4 * 256**2 + 2 * 6 * 256, products(9)]
    blocks = call("CacheFilling.story", given | {"kind": "blocks"}, 2)
    first, second = 4 * 256**2 + 2 * 7 * 256, 2 * 4 * 256**2 + 2 * 2 * 6 * 256
    assert blocks["now"]["products"] == [first + second, products(7) + products(6)]


@pytest.mark.parametrize(
    ("kind", "step", "words"),
    [
        (
            "whole",
            0,
            (
                "Nothing is kept yet: there is room for 11 entries, a key and a value "
                "each."
            ),
        ),
        (
            "window",
            1,
            (
                "Step 1: the prompt, 6 words, is read at once: 6 keys and values are "
                "computed and kept."
            ),
        ),
        (
            "whole",
            3,
            (
                "Step 3: only “it” is new: one key and one value are computed, and its "
                "query reads all 8 entries. Without a cache, 8 keys and values would be "
                "computed."
            ),
        ),
        (
            "window",
            3,
            (
                "Step 3: “it” takes the place of “sat”, which is forgotten. Its query "
                "reads 6 entries: the first and the last 5. Without a cache, 8 keys "
                "and values would be computed."
            ),
        ),
        (
            "blocks",
            2,
            (
                "Step 2: new in the first text: “because” (block 1). The second text "
                "begins alike: block 0 is shared, 4 words are not computed again, 2 "
                "are, into block 2."
            ),
        ),
        (
            "blocks",
            4,
            (
                "Step 4: new in the first text: “was” (block 3, taken now). New in the "
                "second text: “then” (block 2)."
            ),
        ),
        (
            "blocks",
            7,
            (
                "Step 7: the first text is done and gives its blocks back. Block 0 "
                "stays: the second text still reads it. New in the second text: “well” "
                "(block 4)."
            ),
        ),
    ],
)
def test_a_step_of_the_cache_is_told(call, kind, step, words):
    given = settings(CacheFilling(), kind=kind)
    assert call("CacheFilling.sentence", given, step) == words


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["name"])
def test_a_step_costs_in_the_browser_what_it_costs_in_python(call, shape):
    model = SHAPES.index(shape)
    for batch, length, weight_bits, cache_bits, count, card in [
        (1, 128, 16, 16, 1, 0),
        (32, 8192, 8, 16, 2, 1),
        (512, 131_072, 4, 2, 16, 2),
    ]:
        figure = ServingCalculator(
            model=model,
            batch=batch,
            length=length,
            count=count,
            weight_bits=weight_bits,
            cache_bits=cache_bits,
            card=card,
        )
        found = call(
            "ServingCalculator.cost", shape, figure.cards[card], settings(figure)
        )
        for name, expected in figure.costs().items():
            assert found[name] == pytest.approx(expected, rel=1e-12), name
        needed = found["weights"] + found["cache"]
        assert found["fits"] == (needed <= found["memory"])
        each = found["cache"] / batch
        left = found["memory"] - found["weights"]
        assert found["most"] == max(0, left // each)


def test_the_browser_agrees_with_the_package_for_llama_3(call):
    model = next(i for i, s in enumerate(SHAPES) if s["name"] == "Llama 3 8B")
    shape = SHAPES[model]
    config = GPTConfig(
        *(128_256, 8192, 4096, 32, 32), n_kv_heads=8, d_ff=14_336, tied=False,
        activation="swiglu", norm="rms", position="rotary", bias=False,
    )  # fmt: skip
    figure = ServingCalculator(model=model)
    for card, machine in enumerate(CARDS):
        assert isinstance(machine, Machine)
        for bits in (16, 8, 4):
            given = settings(figure, weight_bits=bits, cache_bits=bits)
            found = call("ServingCalculator.cost", shape, figure.cards[card], given)
            work = reading_work(config, 1, 8191, 32, bits / 8)
            near = {"rel": 1e-12}
            assert found["seconds"] == pytest.approx(machine.seconds(work), **near)
            assert found["flops"] == pytest.approx(work.flops, **near)
            assert found["bytes"] == pytest.approx(work.bytes, **near)
            assert found["perToken"] == bytes_per_token(32, 8, 128, bits / 8)


def test_a_calculation_is_told(call):
    figure = ServingCalculator()
    told = call(
        "ServingCalculator.sentence",
        SHAPES[1],
        figure.cards[1],
        settings(figure),
    )
    assert told == (
        "Llama 3 8B with 32 texts of 8192 tokens needs 50.4 GB: it fits into 80 GB, one "
        "H100 SXM. There is room for 59 such texts. A step takes at least 14.7 ms, 2170 "
        "tokens a second: reading the cache takes longest."
    )


@pytest.mark.parametrize("outlier", [False, True])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    ("bits", "group", "clip"), [(8, 0, 1.0), (4, 64, 1.0), (2, 256, 0.6), (3, 8, 0.95)]
)
def test_weights_come_back_as_in_python(call, bits, group, clip, symmetric, outlier):
    figure = BitsAndGroups(bits=bits, group=group, clip=clip, row=3, outlier=outlier)
    figure.symmetric = symmetric
    found = call("BitsAndGroups.look", settings(figure))
    restored = figure.restored()
    np.testing.assert_array_equal(found["restored"], restored.ravel())
    (here,) = (s for s in found["all"] if (s["width"], s["group"]) == (bits, group))
    error, n_bytes = figure.measure()
    assert here["bytes"] == here["codes"] + here["scales"] + here["zeros"] == n_bytes
    assert here["error"] == pytest.approx(error, rel=1e-9)
    rows = figure.matrix()[3].astype(float), restored[3].astype(float)
    own = np.linalg.norm(rows[0] - rows[1]) / np.linalg.norm(rows[0])
    told = re.search(r"of row 3 alone ([\d.]+)\u00a0%", found["told"])
    assert float(told[1]) == pytest.approx(100 * own, rel=6e-3)
    levels = [(level["at"], level["count"]) for level in found["histogram"]["levels"]]
    part = restored[3, :group] if group else restored.ravel()
    expected = Counter(part.tolist())
    assert {at: count for at, count in levels if count} == expected
    assert len(levels) == 2**bits - symmetric
    assert sum(found["histogram"]["bins"]) == part.size


def test_every_setting_of_bits_and_groups_is_a_dot(call):
    figure = BitsAndGroups(symmetric=False)
    found = call("BitsAndGroups.look", settings(figure))["all"]
    assert len(found) == 7 * 8  # groupings, bits
    for group in (0, 256, 32):
        ours = [(dot["bits"], dot["error"]) for dot in found if dot["group"] == group]
        expected = zip(*figure.curve(group), strict=True)
        np.testing.assert_allclose(ours, list(expected), rtol=1e-9)
    figure.symmetric = True
    assert len(call("BitsAndGroups.look", settings(figure))["all"]) == 7 * 7


def test_a_scale_is_rounded_up_to_sixteen_bits(call):
    scales = [0.0, 1e-9, 2.0**-24, 6e-8, 1e-5, 0.1, 0.125, 1 / 3, 1.0, 1.0001, 2047.9]
    for scale in scales:
        found = call("BitsAndGroups.half", scale)
        assert found == float(np.float16(found)) >= scale
        below = float(np.nextafter(np.float16(found), np.float16(0)))
        assert below < scale or found == 2.0**-24  # the smallest is kept for 0 too


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, r"^4 bits, symmetric, one scale for 64 weights: 4\.250 true bits "),
        ({}, r"A step in row 32 is 0\.0\d+\. (Better in|No other)"),
        (
            {"group": 0, "outlier": True},
            r"one scale for the matrix: .* A step is .* Better in no more",
        ),
        ({"group": 256, "clip": 0.8}, r"for each row, clipped at 80\u00a0% of the ran"),
        ({"bits": 1}, r"^1 bit, symmetric, .* no such grid\. .* Take the affine one\."),
    ],
)
def test_bits_and_groups_are_told(call, given, words):
    told = call("BitsAndGroups.look", settings(BitsAndGroups(), **given))["told"]
    assert re.search(words, told), told


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("angle", [0, 30, 200])
def test_turned_vectors_err_as_in_python(call, angle, bits):
    figure, other = (RotateAndQuantize(angle=angle, bits=bits) for _ in range(2))
    for book in figure.codebooks:
        d = book["d"]
        np.testing.assert_allclose(
            call("RotateAndQuantize.vector", d, angle), figure.vector(d), atol=1e-12
        )
        found = call("RotateAndQuantize.measure", book, bits, angle)
        errors = figure.errors(d)
        np.testing.assert_allclose(found["errors"], errors, atol=1e-9)
        near = {"abs": 1e-9}
        assert found["mean"] == pytest.approx(errors.mean(), **near)
        assert found["nine"] == pytest.approx([errors[50], errors[-51]], **near)
        assert found["plain"] == pytest.approx(figure.error(figure.vector(d)), **near)
        assert found["own"] == pytest.approx(figure.own_grid_error(d), **near)
        most = 0
        for other.angle in range(181):
            most = max(most, other.error(other.vector(d)))
        assert most <= found["worst"] + 1e-9 < most * 1.05


def test_a_turn_in_the_plane_turns_back(call):
    figure = RotateAndQuantize()
    codebook = figure.codebook(2)
    for angle, turn in ((0, 0), (30, 40), (100, 350)):
        trip = call("RotateAndQuantize.trip", angle, turn, codebook.tolist())
        way = np.radians(angle + turn)
        np.testing.assert_allclose(trip["y"], [np.cos(way), np.sin(way)], atol=1e-12)
        y = np.array(trip["y"])
        code = codebook[abs(y[:, None] - codebook).argmin(axis=1)]
        np.testing.assert_array_equal(trip["code"], code)
        assert trip["error"] == pytest.approx(figure.error(y), abs=1e-12)
        np.testing.assert_allclose(np.linalg.norm(trip["back"]), np.linalg.norm(code))
    around = call("RotateAndQuantize.all", 0, codebook.tolist())["mean"]
    ways = np.radians(np.arange(0, 360, 3))
    expected = figure.error(np.stack([np.cos(ways), np.sin(ways)], axis=1)).mean()
    assert around == pytest.approx(expected, abs=1e-9)


def test_a_turn_is_told(call):
    figure = RotateAndQuantize()
    given = settings(figure)
    found = [
        call("RotateAndQuantize.measure", book, figure.bits, figure.angle)
        for book in figure.codebooks
    ]
    told = call("RotateAndQuantize.sentence", given, found, figure.codebook(2).tolist())
    assert re.search(r"^The first coordinate holds 75\u00a0% of the square\. ", told)
    assert re.search(r"2 bits each: not turned, .* turned by 40°, 0\.0093; on av", told)
    many = f"{figure.error(figure.vector(128)):.2f}"
    assert f"128 coordinates: not turned {many}, or " in told


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"leave": "no", "output": "label", "examples": "many"},
        {"output": "search", "length": "book", "facts": "yes"},
        {"middle": "yes", "wait": "night", "requests": "many"},
    ],
)
def test_the_choice_of_a_model_is_that_of_python(call, answers):
    figure = ModelChoice()
    before = [list(row) for row in figure.advice()]
    figure.answers = figure.answers | answers
    rows = call("ModelChoice.advice", figure.rules, figure.answers)
    assert rows == [list(row) for row in figure.advice()]
    other = call("ModelChoice.changed", before, rows)
    assert other == [
        new for old, new in zip(before, rows, strict=True) if old[1] != new[1]
    ]
