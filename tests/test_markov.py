"""tfcourse.markov against loops, PyTorch's own, and bad input."""

import math
from collections import Counter
from itertools import pairwise
from time import process_time

import pytest
import torch
from torch import nn

from tests.parity import seeded
from tfcourse.data.corpus import load_corpus
from tfcourse.fitting import cross_entropy, fit, initialize
from tfcourse.markov import (
    MarkovModel,
    MaskedVotes,
    bits_per_byte,
    byte_ids,
    conditional_entropy,
    count,
    count_pairs,
    earlier,
    entropy,
    lags_of,
    look_up,
    pack,
    pair_feature_block,
    require_probabilities,
    sample,
    shares,
    vote,
)
from tfcourse.one_hot import Vocabulary, one_hot

N = 5
PROGRAM = "check the program log and find out whether it ran please"
BATTERY = "check the battery log and find out whether it ran down please"


def some_ids(t=200, n=N, seed=0):
    return torch.randint(0, n, (t,), generator=seeded(seed))


# Counting


@pytest.mark.parametrize("lags", [(), (1,), (2, 1), (3, 2, 1), (4, 1), (5, 2)])
def test_counts_are_those_of_a_loop(lags):
    ids = some_ids()
    loop = Counter()
    for t in range(max(lags, default=0), len(ids)):
        loop[tuple(ids[t - lag].item() for lag in (*lags, 0))] += 1
    counts = count(ids, lags, N)
    assert counts.counts.sum() == sum(loop.values())
    assert (counts.windows.diff() > 0).all()
    table = counts.table().view((N,) * (len(lags) + 1))
    for window, times in loop.items():
        assert table[window] == times
    totals = look_up(counts.contexts, counts.totals, torch.arange(N ** len(lags)))
    assert torch.equal(totals, counts.table().sum(dim=1))


def test_first_order_counts_equal_bincount():
    ids = some_ids(seed=1)
    pairs = torch.bincount(ids[:-1] * N + ids[1:], minlength=N * N).view(N, N)
    assert torch.equal(count(ids, lags_of(1), N).table(), pairs)


def test_windows_can_be_unpacked_and_fit_64_bits():
    ids = some_ids(50, 256)
    windows = pack(ids, lags_of(3), 256)
    for place, lag in enumerate((0, 1, 2, 3)):
        assert torch.equal(windows // 256**place % 256, ids[3 - lag : 50 - lag])
    top = torch.full((8,), 255)
    assert pack(top, lags_of(6), 256).tolist() == [256**7 - 1] * 2
    with pytest.raises(ValueError, match="a window of 8 tokens, each one of 256"):
        pack(top, lags_of(7), 256)


def test_nothing_changes_its_inputs():
    ids = some_ids(20)
    before = ids.clone()
    model = MarkovModel([count(ids, lags_of(k), N) for k in range(3)], 1.0)
    model.probabilities(ids)
    sample(model.next_probabilities, ids[:3], 4, seeded())
    assert torch.equal(ids, before)


def test_order_3_of_the_whole_corpus_takes_less_than_10_seconds_of_cpu():
    corpus = load_corpus()
    ids = byte_ids(corpus.train + corpus.held_out)
    start = process_time()
    counts = count(ids, lags_of(3), 256)
    assert process_time() - start < 10
    assert counts.counts.sum() == len(ids) - 3
    some = b"self"
    times = (corpus.train + corpus.held_out).count(some)  # it cannot overlap itself
    assert (
        look_up(counts.windows, counts.counts, pack(byte_ids(some), (3, 2, 1), 256))
        == times
    )


# Probabilities


def test_shares_sum_to_one_where_anything_was_counted():
    rows = shares(torch.tensor([[1, 2, 0], [0, 0, 0]]))
    assert rows.sum(dim=1).tolist() == [1.0, 0.0]


def test_shares_of_weights_whose_sum_is_below_one():
    rows = shares(torch.tensor([[0.1, 0.3], [0.0, 0.0], [0.0, 1e-6]]))
    torch.testing.assert_close(rows, torch.tensor([[0.25, 0.75], [0, 0], [0, 1]]))


def test_entropy_equals_pytorchs_and_has_its_bounds():
    p = torch.rand(4, N, generator=seeded()).softmax(dim=-1)
    expected = torch.distributions.Categorical(p).entropy()
    torch.testing.assert_close(entropy(p), expected)
    assert (entropy(p) < math.log(N)).all()
    assert entropy(torch.eye(3)).tolist() == [0.0, 0.0, 0.0]
    assert entropy(torch.full((8,), 1 / 8)).item() == pytest.approx(3 * math.log(2))


def test_conditional_entropy_is_the_loss_of_the_counted_table():
    ids = some_ids(seed=2)
    counts = count(ids, lags_of(1), N).table()
    loss = cross_entropy(shares(counts.double()).log()[ids[:-1]], ids[1:])
    assert conditional_entropy(counts).item() == pytest.approx(loss.item(), abs=1e-12)
    second = count(ids, lags_of(2), N).table()
    assert conditional_entropy(second) < conditional_entropy(counts)


def test_bits_per_byte_of_knowing_nothing():
    assert bits_per_byte(torch.tensor(10 * math.log(256)), 10) == pytest.approx(8)


def test_samples_have_the_shares_of_the_table_and_a_seed():
    table = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])

    def draw(seed, steps=20_000):
        return sample(
            lambda ids: table[ids[-1]], torch.tensor([0]), steps, seeded(seed)
        )

    ids = draw(1)
    assert len(ids) == 20_001
    counted = shares(count(ids, lags_of(1), 3).table())
    assert (counted - table).abs().max() < 0.02
    assert torch.equal(draw(2, 50), draw(2, 50))
    assert not torch.equal(draw(2, 50), draw(3, 50))
    stopped = sample(
        lambda ids: table[ids[-1]], torch.tensor([0]), 50, seeded(), stop=2
    )
    assert stopped[-1] == 2 and (stopped[:-1] != 2).all()


# The smoothed model


def by_hand(ids, lags, alpha, context, token):
    """The formula with loops: the probability of the token after the context."""
    p = 1 / N
    for k in range(len(lags), -1, -1):
        short = lags[k:]
        if max(short, default=0) > len(context):
            break
        total = hits = 0
        for t in range(max(short, default=0), len(ids)):
            if all(ids[t - lag] == context[-lag] for lag in short):
                total += 1
                hits += ids[t] == token
        p = (hits + alpha * p) / (total + alpha)
    return p


@pytest.mark.parametrize("lags", [(), (1,), (2, 1), (3, 2, 1), (4, 1)])
def test_the_model_is_the_formula(lags):
    train, text, alpha = some_ids(60).tolist(), some_ids(12, seed=3), 0.7
    levels = [count(torch.tensor(train), lags[k:], N) for k in range(len(lags), -1, -1)]
    model = MarkovModel(levels, alpha)
    p = model.probabilities(text)
    for t, token in enumerate(text.tolist()):
        context = text[:t].tolist()
        assert p[t].item() == pytest.approx(by_hand(train, lags, alpha, context, token))
        row = model.next_probabilities(text[:t])
        assert row[token].item() == pytest.approx(p[t].item(), abs=1e-12)
        assert row.sum().item() == pytest.approx(1, abs=1e-12)
        assert (row > 0).all()


def test_the_future_does_not_change_the_past():
    levels = [count(some_ids(60), lags_of(k), N) for k in range(3)]
    model, text = MarkovModel(levels, 1.0), some_ids(12, seed=3)
    changed = text.clone()
    changed[7:] = (changed[7:] + 1) % N
    assert torch.equal(model.probabilities(text)[:7], model.probabilities(changed)[:7])


def test_a_large_alpha_leans_on_the_shorter_memory():
    levels = [count(some_ids(60), lags_of(k), N) for k in range(2)]
    text = some_ids(12, seed=3)
    order_0 = MarkovModel(levels[:1], 1e-6).probabilities(text)
    leaning = MarkovModel([levels[0], levels[1]], 1e9).probabilities(text)
    assert (leaning - 1 / N).abs().max() < 1e-6  # each level leans, down to 1 / n
    assert (order_0 - levels[0].table()[0, text] / 60).abs().max() < 1e-6


# Pairs that vote


@pytest.fixture(scope="module")
def spoken():
    words = Vocabulary([*PROGRAM.split(), "battery", "down"])
    return words, [words.encode(text.split()) for text in (PROGRAM, BATTERY)]


def test_earlier_marks_what_was_before():
    ids = some_ids(9)
    for t, row in enumerate(earlier(ids, N)):
        assert row.nonzero()[:, 0].tolist() == sorted(set(ids[:t].tolist()))


def test_pairs_and_votes_are_those_of_a_loop(spoken):
    words, sentences = spoken
    n = len(words)
    loop = Counter()
    for text in (PROGRAM.split(), BATTERY.split()):
        for t, (last, after) in enumerate(pairwise(text)):
            for word in set(text[:t]):
                loop[word, last, after] += 1
    counts = count_pairs(sentences, n)
    assert counts.sum() == sum(loop.values())
    for names, times in loop.items():
        assert counts[tuple(words.encode(names))] == times
    pairs, ids = shares(counts), sentences[1]
    mask = torch.rand(len(ids), n, generator=seeded())
    got = vote(pairs, earlier(ids, n), ids, mask)
    for t in range(len(ids)):
        want = sum(
            (mask[t, word] * pairs[word, ids[t]] for word in set(ids[:t].tolist())),
            torch.zeros(n),
        )
        torch.testing.assert_close(got[t], want)


def test_four_against_five_and_with_the_mask_none_against_one(spoken):
    words, sentences = spoken
    n = len(words)
    assert n == 13 and n**8 == 815_730_721
    pairs = shares(count_pairs(sentences, n))
    options = words.encode(["down", "please"])
    mask = torch.zeros(n)
    mask[words.encode(["battery", "program"])] = 1
    for ids, plain, masked in zip(
        sentences, ([4.0, 5.0], [5.0, 4.0]), ([0.0, 1.0], [1.0, 0.0]), strict=True
    ):
        seen = earlier(ids, n)
        assert vote(pairs, seen, ids)[9, options].tolist() == plain
        assert (
            vote(pairs, seen, ids, mask.expand(12, n)[: len(ids)])[9, options].tolist()
            == masked
        )


@pytest.mark.parametrize("rivals", [False, True])
def test_a_feature_is_on_when_all_its_words_are_there(rivals):
    features = [(0, 3), (1, 3), (0, 2, 4)]
    block = pair_feature_block(features, torch.eye(3, N), N, rivals=rivals)
    assert block.w_1.shape == (2 * N, 3) and block.b_1.tolist() == [-1, -1, -2]
    for bits in range(2**N):
        seen = torch.tensor([float(bits >> i & 1) for i in range(N)])
        for last in range(N):
            x = torch.cat([seen, one_hot(torch.tensor(last), N)])
            for j, (*before, end) in enumerate(features):
                on = last == end and all(seen[w] for w in before)
                rival = rivals and end == 3 and bool(seen[1 - before[0]])
                assert block.features(x)[j] == float(on and not rival)


def test_the_worked_example():
    """[battery, program, ran, 1] = [1, 0, 1, 1] -> (1, -1) -> ReLU (1, 0)."""
    block = pair_feature_block([(0, 2), (1, 2)], torch.eye(2, 3), 3, rivals=True)
    x = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    assert (x @ block.w_1 + block.b_1).tolist() == [1.0, -1.0]
    assert block.features(x).tolist() == [1.0, 0.0]


def test_the_block_says_what_the_tables_say_and_equals_pytorchs_layers(spoken):
    words, sentences = spoken
    n = len(words)
    pairs = shares(count_pairs(sentences, n))
    features = pairs.sum(dim=-1).nonzero()
    block = pair_feature_block(features.tolist(), pairs[tuple(features.T)], n)
    layers = nn.Sequential(
        nn.Linear(2 * n, len(features)), nn.ReLU(), nn.Linear(len(features), n)
    )
    with torch.no_grad():
        for own, given in zip(
            layers.parameters(),
            (block.w_1.T, block.b_1, block.w_2.T, torch.zeros(n)),
            strict=True,
        ):
            own.copy_(given)
    for ids in sentences:
        seen, q = earlier(ids, n), one_hot(ids, n)
        soft = torch.rand(len(ids), n, generator=seeded())
        for mask in (torch.ones_like(soft), soft):
            x, want = torch.cat([seen * mask, q], dim=1), vote(pairs, seen, ids, mask)
            torch.testing.assert_close(block(x), want, rtol=0, atol=1e-5)
            torch.testing.assert_close(layers(x), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_descent_finds_battery_and_program(spoken, seed):
    words, sentences = spoken
    n = len(words)
    pairs = shares(count_pairs(sentences, n))
    features = pairs.sum(dim=-1).nonzero()
    block = pair_feature_block(features.tolist(), pairs[tuple(features.T)], n)
    model = initialize(MaskedVotes(block), seeded(seed))
    rows = [torch.cat([earlier(s, n), one_hot(s, n)], dim=1)[1:-1] for s in sentences]
    data = torch.cat(rows), torch.cat([s[2:] for s in sentences])
    sgd = torch.optim.SGD(model.parameters(), lr=10.0)
    fit(model, lambda step: data, cross_entropy, 300, optimizer=sgd, max_norm=None)
    ran = one_hot(words.encode(["ran"]), n)
    before = words.encode(PROGRAM.split()[:2] + PROGRAM.split()[3:9])
    mask = model.mask(ran)[0]
    assert mask[words.encode(["battery", "program"])].min() > 0.9
    assert mask[before].max() < 0.1
    assert [name for name, _ in model.named_parameters()] == ["keys"]


# Bad input


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: lags_of(-1), "order must be 0 or more; got order=-1"),
        (lambda: byte_ids(b""), "the text is empty"),
        (
            lambda: count(torch.tensor([], dtype=torch.long), lags_of(1), 3),
            "needs 2 tokens or more; got 0: is the text empty",
        ),
        (
            lambda: count(torch.tensor([0, 1, 2]), lags_of(3), 3),
            r"lags \(3, 2, 1\) needs 4 tokens or more; got 3",
        ),
        (lambda: count(torch.tensor([0, 3]), lags_of(1), 3), r"0 ... 2; got 3"),
        (lambda: Vocabulary(["my"]).encode(["your"]), "'your' is not among the 1"),
        (
            lambda: require_probabilities(torch.tensor([0.2, 0.3, 0.6])),
            "one of these sums to 1.1: divide it by its sum",
        ),
        (
            lambda: require_probabilities(torch.tensor([[1.0, 0.0], [0.0, 0.0]])),
            "sums to 0: .* never counted",
        ),
        (
            lambda: require_probabilities(torch.tensor([1.5, -0.5])),
            "0 or more; got -0.5: are these logits",
        ),
        (lambda: require_probabilities(torch.tensor([math.nan, 1.0])), "sums to nan"),
        (
            lambda: sample(
                lambda ids: torch.tensor([0.5, 0.6]), torch.tensor([0]), 1, seeded()
            ),
            "sums to 1.1",
        ),
        (lambda: entropy(torch.tensor([0.5, 0.6])), "sums to 1.1"),
        (
            lambda: MarkovModel([count(torch.tensor([0, 1]), (), 2)], 0),
            "alpha must be above 0; got alpha=0",
        ),
        (lambda: bits_per_byte(1.0, 0), "got n_bytes=0"),
        (lambda: count_pairs([], 3), "needs a sentence or more"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_words_are_not_numbers_with_a_point():
    with pytest.raises(TypeError, match="ids must be integers"):
        count(torch.tensor([0.0, 1.0]), lags_of(1), 2)
