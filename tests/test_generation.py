"""tfcourse.generation against Hugging Face's processors and loops, and what it refuses."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tests.parity import close, filled, random, refused, seeded
from tfcourse.bpe import Tokenizer
from tfcourse.generation import (
    Sampler,
    attend,
    complete,
    forward,
    generate,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    log_probability,
    next_scores,
    numpy_weights,
    penalize,
    rms_norm,
    rotate,
    softmax,
    think,
    until,
)
from tfcourse.gpt import GPT, GPTConfig, from_gpt2
from tfcourse.position import Rotary

N, T = 23, 9
SHAPE = {"vocab_size": N, "context_length": 12, "d_model": 24, "n_heads": 3}
LLAMA = {"norm": "rms", "activation": "swiglu", "position": "rotary", "bias": False}
IDS = torch.randint(N, (4, T), generator=seeded())
LOGITS = 3 * random(50, 31, seed=2)  # fifty distributions over 31 tokens


def model(**changes):
    return filled(GPT(GPTConfig(n_layers=2, **SHAPE | LLAMA | changes))).eval()


def support(logits):
    return torch.isfinite(logits)


@pytest.mark.parametrize("k", [1, 2, 7, 31, 100])
def test_top_k_keeps_the_k_best_as_hugging_face_does(k):
    kept = keep_top_k(LOGITS, k)
    theirs = TopKLogitsWarper(k)(None, LOGITS)
    assert torch.equal(kept, theirs)
    assert (support(kept).sum(-1) == min(k, 31)).all()
    for row, kept_row in zip(LOGITS.tolist(), support(kept).tolist(), strict=True):
        best = sorted(range(31), key=lambda i: -row[i])[:k]
        assert {i for i, there in enumerate(kept_row) if there} == set(best)


def by_hand_top_p(row, p):
    """The nucleus of one distribution, token by token."""
    chances = np.exp(np.array(row) - max(row))
    chances = chances / chances.sum()
    nucleus, total = set(), 0.0
    for i in sorted(range(len(row)), key=lambda i: -chances[i]):
        if total >= p:
            break
        nucleus.add(i)
        total += chances[i]
    return nucleus


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.5, 0.9, 0.999, 1.0])
def test_top_p_keeps_the_nucleus_as_hugging_face_does(p):
    kept = keep_top_p(LOGITS, p)
    if p < 1:  # theirs is left out at 1
        assert torch.equal(kept, TopPLogitsWarper(p)(None, LOGITS))
    for row, kept_row in zip(LOGITS.tolist(), support(kept).tolist(), strict=True):
        nucleus = {i for i, there in enumerate(kept_row) if there}
        assert nucleus == (by_hand_top_p(row, p) if p < 1 else set(range(31)))


def test_the_nucleus_is_the_smallest_that_reaches_p():
    chances, kept = LOGITS.softmax(-1), support(keep_top_p(LOGITS, 0.7))
    inside = torch.where(kept, chances, 0.0).sum(-1)
    least = torch.where(kept, chances, math.inf).amin(-1)
    assert (inside >= 0.7).all() and (inside - least < 0.7).all()
    assert (kept.sum(-1) < 31).any()


@pytest.mark.parametrize("n", [2048, 200_000])
def test_a_top_p_of_1_keeps_every_token_though_sums_are_rounded(n):
    logits = 4 * torch.randn(1, n, generator=seeded(3))
    assert support(keep_top_p(logits, 1.0)).all()
    assert Sampler().probabilities(logits, IDS[:1, :0]).count_nonzero() == n


def test_the_nucleus_of_many_single_precision_tokens_is_exact():
    logits = torch.zeros(1, 4096)  # each has 1 / 4096
    kept = support(keep_top_p(logits, 0.25)).sum().item()
    assert kept == 1024


@pytest.mark.parametrize("p", [0.0, 0.05, 0.3, 1.0])
def test_min_p_keeps_what_is_near_the_best_as_hugging_face_does(p):
    kept = keep_min_p(LOGITS, p)
    if 0 < p < 1:  # at 1 theirs compares rounded numbers
        assert torch.equal(kept, MinPLogitsWarper(p)(None, LOGITS))
    chances = LOGITS.softmax(-1)
    near = chances >= p * chances.amax(-1, keepdim=True) * (1 - 1e-12)
    assert torch.equal(support(kept), near)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_temperature_and_then_the_others_as_hugging_face_does(temperature):
    sampler = Sampler(temperature, top_k=20, top_p=0.9, min_p=0.02)
    theirs = LOGITS
    for warp in (
        TemperatureLogitsWarper(temperature),
        TopKLogitsWarper(20),
        TopPLogitsWarper(0.9),
        MinPLogitsWarper(0.02),
    ):
        theirs = warp(None, theirs)
    ours = sampler.probabilities(LOGITS, torch.zeros(50, 0, dtype=torch.long))
    close(ours, theirs.softmax(-1), atol=1e-12)
    close(ours.sum(-1), torch.ones(50).double(), atol=1e-12)


def test_repetition_is_that_of_hugging_face():
    ids = torch.randint(31, (50, 12), generator=seeded(5))
    for penalty in (0.7, 1.3, 2.0):
        theirs = RepetitionPenaltyLogitsProcessor(penalty)(ids, LOGITS)
        assert torch.equal(penalize(LOGITS, ids, repetition=penalty), theirs)


def test_presence_is_taken_once_and_frequency_each_time():
    ids = torch.tensor([[3, 3, 3, 5], [0, 1, 1, 0]])
    logits = LOGITS[:2]
    lowered = logits - penalize(logits, ids, presence=0.4, frequency=0.25)
    expected = torch.zeros(2, 31, dtype=torch.float64)
    for row, tokens in enumerate(ids.tolist()):
        for token, times in Counter(tokens).items():
            expected[row, token] = 0.4 + 0.25 * times
    close(lowered, expected, atol=1e-12)


def test_a_shift_of_all_scores_matters_to_repetition_only():
    ids = torch.tensor([[3, 5]]).expand(50, 2)

    def moved(**penalty):
        both = [penalize(x, ids, **penalty).softmax(-1) for x in (LOGITS, LOGITS + 10)]
        return (both[0] - both[1]).abs().max()

    assert moved(presence=1.0, frequency=0.5) < 1e-12
    assert moved(repetition=1.5) > 0.1


def test_nothing_changes_its_inputs():
    logits, ids = LOGITS.clone(), torch.zeros(50, 3, dtype=torch.long)
    settings_ = {"presence": 1.0, "frequency": 0.5, "repetition": 1.2}
    Sampler(0.7, 5, 0.8, 0.1, **settings_).probabilities(logits, ids)
    assert torch.equal(logits, LOGITS) and not ids.any()


def test_frequencies_of_5000_draws_are_the_probabilities():
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0])
    for sampler in (
        Sampler(),
        Sampler(temperature=0.5),
        Sampler(temperature=2.0, top_k=3),
        Sampler(top_p=0.8),
        Sampler(min_p=0.3),
        Sampler(presence=1.0),
    ):
        prompts = torch.zeros(5000, 1, dtype=torch.long)
        drawn = generate(
            lambda ids: logits.expand(len(ids), 5), prompts, 1, sampler, seeded(7)
        )
        seen = torch.bincount(next(drawn), minlength=5) / 5000
        expected = sampler.probabilities(logits[None], prompts[:1])[0]
        assert (seen - expected).abs().max() < 0.03
        assert (seen[expected == 0] == 0).all()


def test_greedy_takes_the_best_and_leaves_the_dice_alone():
    step = next_scores(model().float())
    before = torch.get_rng_state()
    drawn = list(generate(step, IDS, 3, Sampler(greedy=True)))
    ids = IDS
    for new in drawn:
        assert torch.equal(new, step(ids).argmax(-1))
        ids = torch.cat([ids, new[:, None]], dim=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_greedy_is_the_limit_of_low_temperature():
    cold = Sampler(temperature=1e-4).probabilities(LOGITS, IDS[:1, :0].expand(50, 0))
    greedy = Sampler(greedy=True).probabilities(LOGITS, IDS[:1, :0].expand(50, 0))
    close(cold, greedy.double(), atol=1e-6)


def test_the_text_is_hugging_faces_greedy_text():
    shape = {"vocab_size": N, "n_positions": 40, "n_embd": 24, "n_head": 3}
    shape |= {"n_layer": 2, "bos_token_id": 0, "eos_token_id": 0}
    theirs = filled(GPT2LMHeadModel(GPT2Config(**shape))).eval()
    for penalty in (1.0, 1.3):
        options = {"max_new_tokens": 20, "min_new_tokens": 20, "do_sample": False}
        options |= {"repetition_penalty": penalty, "pad_token_id": 0}
        said = theirs.generate(IDS, attention_mask=torch.ones_like(IDS), **options)
        scores = next_scores(from_gpt2(theirs.state_dict(), n_heads=3).eval())

        def without_end(ids, scores=scores):
            return scores(ids).index_fill(1, torch.tensor([0]), -math.inf)

        sampler = Sampler(greedy=True, repetition=penalty)
        ours = torch.stack(list(generate(without_end, IDS, 20, sampler)), dim=1)
        assert torch.equal(ours, said[:, T:])


def test_the_same_seed_draws_the_same_text_and_another_another():
    step = next_scores(model())
    texts = [
        torch.stack(list(generate(step, IDS, 3, Sampler(3.0), seeded(s))))
        for s in (1, 1, 2)
    ]
    assert torch.equal(texts[0], texts[1])
    assert not torch.equal(texts[0], texts[2])


def test_one_row_is_drawn_as_in_a_batch():
    step = next_scores(model())
    together = torch.stack(list(generate(step, IDS, 3, Sampler(greedy=True))), dim=1)
    for row, expected in zip(IDS, together, strict=True):
        alone = list(generate(step, row[None], 3, Sampler(greedy=True)))
        assert torch.equal(torch.cat(alone), expected)


def test_the_scores_are_the_models_and_may_be_changed_in_place():
    asked = model()
    scores = next_scores(asked)(IDS)
    close(scores, asked(IDS)[:, -1].float(), atol=1e-6)
    scores[:, 0] = -math.inf  # an inference tensor would refuse
    (scores * torch.ones(N, requires_grad=True))[:, 1:].sum().backward()


def test_a_text_that_does_not_fit_is_refused_or_loses_its_beginning():
    long = torch.randint(N, (2, 15), generator=seeded(1))
    step = next_scores(model())
    refused(lambda: step(long), "context_length=12 tokens; it has 15")
    refused(lambda: step(long), "next_scores(model, sliding=True)")
    refused(lambda: list(generate(step, IDS, 5, Sampler())), "it has 13")
    sliding = next_scores(model(), sliding=True)
    close(sliding(long), step(long[:, -12:]))
    assert len(list(generate(sliding, long, 5, Sampler(), seeded()))) == 5
    assert len(list(generate(step, IDS, 4, Sampler(), seeded()))) == 4  # just fits


def test_a_model_in_training_mode_is_refused():
    refused(lambda: next_scores(model(dropout=0.1).train()), "model.eval()")


@pytest.mark.parametrize(
    "given, says",
    [
        ({"temperature": 0}, "got 0: for the likeliest token"),
        ({"temperature": -1.0}, "got -1.0"),
        ({"temperature": math.inf}, "got inf"),
        ({"temperature": math.nan}, "got nan"),
        ({"top_k": 0}, "top_k must be a whole number, 1 or more; got 0"),
        ({"top_k": 2.5}, "got 2.5"),
        ({"top_p": 0}, "top_p must be above 0 and at most 1; got 0"),
        ({"top_p": 1.1}, "got 1.1"),
        ({"top_p": math.nan}, "got nan"),
        ({"min_p": -0.1}, "min_p must be from 0 to 1; got -0.1"),
        ({"min_p": 2}, "got 2"),
        ({"repetition": 0}, "repetition must be above 0; got 0"),
        ({"presence": math.nan}, "presence must be a finite number; got nan"),
        ({"frequency": math.inf}, "frequency must be a finite number; got inf"),
    ],
)
def test_what_no_sampler_can_do_is_refused_when_it_is_made(given, says):
    refused(lambda: Sampler(**given), says)
    refused(lambda: Sampler(**given, greedy=True), says)


@pytest.mark.parametrize(
    "ids", [torch.zeros(1, 0), torch.zeros(0, 3), torch.zeros(3), torch.zeros(1, 1, 1)]
)
def test_a_prompt_without_tokens_is_refused_at_once(ids):
    says = f"got shape {tuple(ids.shape)}"
    refused(lambda: generate(None, ids.long(), 3, Sampler()), says)


def test_a_negative_length_is_refused_at_once_and_none_is_nothing():
    refused(lambda: generate(None, IDS, -1, Sampler()), "n_new must be 0 or more")
    assert list(generate(None, IDS, 0, Sampler())) == []


def test_stops_end_a_text_wherever_its_parts_are_cut():
    assert "".join(until(["a = 1\nb"], ["\n"])) == "a = 1"
    assert list(until(["a", " = 1\n", "\n", "b"], ["\n\n"])) == ["a", " = 1"]
    assert list(until(["ab", "c"], ["bd"])) == ["a", "bc"]
    assert list(until(["ab"], ["bd"])) == ["a", "b"]
    assert list(until(["\nx"], "\n")) == []
    assert list(until(["one", "two"], [])) == ["one", "two"]
    refused(lambda: until(["a"], ["b", ""]), "got ''")


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.text("abc", max_size=4), max_size=8),
    st.lists(st.text("abc", min_size=1, max_size=3), max_size=3),
)
def test_parts_do_not_matter_and_nothing_is_held_back_for_nothing(parts, stops):
    whole = "".join(parts)
    ends = [
        (end, end - len(stop))
        for stop in stops
        for end in range(len(whole) + 1)
        if whole[:end].endswith(stop)
    ]
    expected = whole[: min(ends)[1]] if ends else whole
    got = list(until(parts, stops))
    assert "".join(got) == expected
    assert "" not in got
    # after each part, all is out but what a stop string could begin with
    for n in range(len(parts)):
        so_far = "".join(parts[:n])
        if any(stop in so_far for stop in stops):
            break
        told = first_parts(parts[:n], stops)
        left = so_far[len(told) :]
        assert told + left == so_far
        assert not left or any(stop.startswith(left) for stop in stops)


def first_parts(parts, stops):
    """What is told of these parts before the next one is asked for."""
    said, told = "", []

    def source():
        yield from parts
        told.append(said)

    for text in until(source(), stops):
        said += text
    return told[0]


def letters(text):
    """A step that says one letter after the other, and counts how often it is asked."""
    tokenizer = Tokenizer([])
    ids = tokenizer.encode(text)

    def step(seen):
        step.asked += 1
        scores = torch.zeros(len(seen), len(tokenizer))
        scores[:, ids[(seen.shape[1] - 1) % len(ids)]] = 9.0
        return scores

    step.asked = 0
    return step, tokenizer


def test_a_completion_comes_in_parts_and_stops_without_asking_on():
    greedy = Sampler(greedy=True)
    step, tokenizer = letters("né = 1\n\nx")
    assert list(complete(step, tokenizer, "#", 4, greedy)) == ["n", "é", " "]
    step, _ = letters("né = 1\n\nx")
    parts = complete(step, tokenizer, "#", 99, greedy, stops=["\n"])
    assert "".join(parts) == "né = 1" and step.asked == 8
    step, _ = letters("né = 1\n\nx")
    (one,) = tokenizer.encode("1")
    parts = complete(step, tokenizer, "#", 99, greedy, stop_ids=[one])
    assert "".join(parts) == "né = " and step.asked == 7


def test_half_a_character_at_the_limit_is_told_as_such():
    step, tokenizer = letters("né")
    parts = complete(step, tokenizer, "#", 2, Sampler(greedy=True))
    assert "".join(parts) == "n�"


def test_a_completion_of_nothing_is_refused_at_once():
    step, tokenizer = letters("x")
    refused(lambda: complete(step, tokenizer, "", 5, Sampler()), "a token or more")
    refused(
        lambda: complete(step, tokenizer, "a", 5, Sampler(), stops=[""]), "stop string"
    )


@pytest.mark.parametrize("start", [1, 4, T])
def test_a_log_probability_is_the_product_of_the_steps(start):
    asked = model()
    step, expected = next_scores(asked), torch.zeros(4)
    for i in range(start, T):
        chances = step(IDS[:, :i]).log_softmax(-1)
        expected += chances[torch.arange(4), IDS[:, i]]
    close(log_probability(asked, IDS, start), expected, atol=1e-4)


@pytest.mark.parametrize("start", [0, -1, T + 1])
def test_a_start_outside_the_text_is_refused(start):
    refused(lambda: log_probability(model(), IDS, start), f"got {start}")


def test_the_pieces_in_numpy_are_those_of_torch():
    x = random(5, 24).float()
    gain = random(24, seed=1).float()
    theirs = torch.nn.functional.rms_norm(x, (24,), gain, 1e-5)
    close(torch.from_numpy(rms_norm(x.numpy(), gain.numpy())), theirs, atol=1e-5)
    close(torch.from_numpy(softmax(x.numpy())), x.softmax(-1), atol=1e-6)
    heads = random(3, 5, 8, seed=2).float()
    turned = Rotary(1000.0)(heads[None], torch.arange(5))[0]
    close(torch.from_numpy(rotate(heads.numpy(), 1000.0)), turned, atol=1e-5)
    wide, narrow = random(80, 24, seed=3).float(), random(24, 40, seed=4).float()
    gates, values = (100 * x @ wide.T).chunk(2, dim=-1)  # large: exp(-gate) overflows
    theirs = (torch.nn.functional.silu(gates) * values) @ narrow.T
    ours = torch.from_numpy(think(100 * x.numpy(), wide.numpy(), narrow.numpy()))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1.0)


@pytest.mark.parametrize("n_kv_heads", [1, 3])
@pytest.mark.parametrize("t", [1, 2, 12])
def test_the_logits_in_numpy_are_those_of_torch(n_kv_heads, t):
    asked = model(n_kv_heads=n_kv_heads).float()
    ids = torch.randint(N, (t,), generator=seeded(t))
    ours = forward(ids.tolist(), *numpy_weights(asked))
    assert ours.shape == (t, N) and ours.dtype == np.float32
    with torch.no_grad():
        torch.testing.assert_close(
            torch.from_numpy(ours), asked(ids[None])[0], rtol=1e-4, atol=1e-4
        )


def test_numpys_attention_does_not_see_what_follows():
    config = model().config
    x, qkv, out = (random(*s).numpy() for s in ((6, 24), (72, 24), (24, 24)))
    before = attend(x, qkv, out, config)
    x[4:] += 1
    after = attend(x, qkv, out, config)
    np.testing.assert_array_equal(before[:4], after[:4])
    assert abs(before[4] - after[4]).max() > 1e-3


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "layer"},
        {"position": "learned"},
        {"activation": "relu"},
        {"bias": True},
        {"tied": False},
    ],
)
def test_a_model_of_other_parts_is_refused_by_numpy(changes):
    (value,) = changes.values()
    says = f"this model has {value!r}"
    refused(lambda: numpy_weights(model(**changes)), says)
