"""tfcourse.position: against Hugging Face's Llama, its invariants, and known mistakes."""

import cmath
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaRotaryEmbedding,
)

from tests.parity import ToyCache, close, filled, random, refused
from tfcourse.multi_head_attention import MultiHeadAttention
from tfcourse.position import (
    LearnedPosition,
    RelativeBias,
    Rotary,
    SinusoidalPosition,
    alibi,
    angles,
    convert_layout,
    lags,
    sinusoids,
    stretched_base,
    turn,
)

B, T, H, G, K = 2, 5, 6, 3, 8
D = H * K
BASE = 50.0  # small, so that every hand turns visibly
PLACES = torch.arange(T)


# The clock


def test_angles_equal_the_formula_one_by_one():
    found = angles(torch.tensor([0, 1, 7], dtype=torch.float64), width=6, base=BASE)
    for row, position in enumerate((0, 1, 7)):
        for i in range(3):
            assert found[row, i].item() == pytest.approx(position / BASE ** (2 * i / 6))
    assert found.dtype == torch.float64
    assert angles(PLACES.bfloat16(), 4).dtype == torch.float32


def test_far_angles_are_not_computed_in_narrow_numbers():
    """Trap 20: at 8193 a bfloat16 position would be 8192, a step too few."""
    x = torch.zeros(1, 1, 1, 4, dtype=torch.bfloat16)
    x[..., 0] = 1
    turned = Rotary()(x, torch.tensor([8193]))
    assert turned.dtype == torch.bfloat16
    assert turned[..., 0].item() == pytest.approx(math.cos(8193), abs=0.01)
    assert abs(math.cos(8192) - math.cos(8193)) > 0.5


def test_sinusoids_equal_the_formula_and_move_by_one_matrix():
    table = sinusoids(torch.arange(40, dtype=torch.float64), D, BASE)
    for p, i in ((0, 0), (3, 1), (39, 23)):
        angle = p / BASE ** (2 * i / D)
        assert table[p, 2 * i].item() == pytest.approx(math.sin(angle))
        assert table[p, 2 * i + 1].item() == pytest.approx(math.cos(angle))
    narrow = sinusoids(torch.arange(40, dtype=torch.float64), 8, BASE)
    step = torch.linalg.lstsq(narrow[:-7], narrow[7:]).solution
    close(narrow[:-7] @ step, narrow[7:])
    close(step @ step.T, torch.eye(8, dtype=torch.float64))


# Added to the tokens


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
def test_each_position_gets_its_own_vector_in_a_batch_first_model(kind):
    """Trap 5: a table laid along the batch would give every token the same vector."""
    add = SinusoidalPosition() if kind == "sinusoidal" else LearnedPosition(9, D)
    x = random(B, T, D)
    added = add.double()(x) - x
    close(added[0], added[1])
    assert (torch.cdist(added[0], added[0]) + torch.eye(T) > 1e-3).all()
    close(add(x, PLACES), add(x))
    close(add(x[:, 2:], torch.arange(2, T)), add(x)[:, 2:])
    each = torch.stack([PLACES, PLACES.flip(0)])
    close(add(x, each)[1] - x[1], added[1].flip(0))


def test_the_sinusoids_are_in_the_precision_of_the_stream():
    exact = SinusoidalPosition()(torch.zeros(1, 5000, 4, dtype=torch.float64))
    close(exact[0], sinusoids(torch.arange(5000).double(), 4))
    assert SinusoidalPosition()(torch.zeros(1, 2, 4).bfloat16()).dtype == torch.bfloat16


def test_parameters_are_as_many_as_said():
    counts = {
        SinusoidalPosition(): 0,
        LearnedPosition(9, D): 9 * D,
        RelativeBias(H, 4): H * 9,
    }
    for module, count in counts.items():
        assert sum(p.numel() for p in module.parameters()) == count


# Added to the scores


@pytest.mark.parametrize(("t", "s"), [(4, 4), (1, 6), (3, 6), (0, 2)])
def test_biases_depend_on_the_lag_alone(t, s):
    relative = filled(RelativeBias(H, 2))
    slopes, near = alibi(H, t, s), relative(t, s)
    assert slopes.shape == near.shape == (1, H, t, s)
    for i in range(t):
        for j in range(s):
            lag = s - t + i - j
            assert lags(t, s)[i, j] == lag
            column = min(max(lag, -2), 2) + 2
            close(near[0, :, i, j], relative.table[:, column])
            for h in range(H):
                slope = 2 ** (-8 * (h + 1) / H)
                assert slopes[0, h, i, j].item() == pytest.approx(-slope * abs(lag))


def test_the_slopes_of_eight_heads_are_the_papers():
    slopes = -alibi(8, 1, 2)[0, :, 0, 0]
    assert slopes.tolist() == [2.0**-h for h in range(1, 9)]


@pytest.mark.parametrize("kind", ["relative", "alibi"])
def test_biases_go_through_the_layer_and_can_be_learned(kind):
    layer, x = filled(MultiHeadAttention(D, H, G)), random(B, T, D)
    bias = filled(RelativeBias(H, 2))(T) if kind == "relative" else alibi(H, T).double()
    close(layer(x, score_bias=bias), layer(x, score_bias=bias, return_weights=True)[0])
    if kind == "relative":
        layer(x, score_bias=bias).sum().backward()
        assert bias.requires_grad


# Turning queries and keys


@pytest.mark.parametrize("interleaved", [False, True])
def test_it_turns_each_pair_by_its_angle(interleaved):
    x, places = random(B, H, T, K), torch.tensor([0, 1, 4, 9, 30])
    turned = Rotary(BASE, interleaved)(x, places)
    for t, place in enumerate(places.tolist()):
        for i in range(K // 2):
            pair = [2 * i, 2 * i + 1] if interleaved else [i, i + K // 2]
            point = torch.view_as_complex(x[:, :, t, pair].contiguous())
            point = point * cmath.exp(1j * place / BASE ** (2 * i / K))
            close(turned[:, :, t, pair], torch.view_as_real(point))
    close(turned.norm(dim=-1), x.norm(dim=-1))
    close(turned[:, :, 0], x[:, :, 0])


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(-200, 3000), st.booleans())
def test_scores_depend_on_the_lag_alone(p, r, shift, interleaved):
    rotary = Rotary(BASE, interleaved)
    q, k = random(1, 1, 1, K), random(1, 1, 1, K, seed=1)

    def score(p, r):
        return (rotary(q, torch.tensor([p])) * rotary(k, torch.tensor([r]))).sum()

    close(score(p + shift, r + shift), score(p, r), 1e-9)
    close((q * rotary(k, torch.tensor([r - p]))).sum(), score(p, r), 1e-9)


def test_every_sequence_may_have_positions_of_its_own():
    x, rotary = random(B, H, T, K), Rotary(BASE)
    each = torch.stack([PLACES, PLACES + 3])
    close(rotary(x, each)[1:], rotary(x[1:], PLACES + 3))


def test_a_stretch_divides_the_positions():
    x = random(B, H, T, K)
    close(Rotary(BASE, stretch=2.0)(x, 2 * PLACES), Rotary(BASE)(x, PLACES))


def test_a_stretched_base_slows_the_last_hand_by_the_factor_and_not_the_first():
    base = stretched_base(BASE, 4.0, K)
    before, after = (
        angles(torch.tensor(1.0), K, BASE),
        angles(torch.tensor(1.0), K, base),
    )
    assert after[0] == before[0] == 1
    assert after[-1].item() == pytest.approx(before[-1].item() / 4)


# Against Hugging Face's Llama


def llama():
    """Their attention layer of random weights, and ours with the same ones."""
    config = LlamaConfig(
        hidden_size=D,
        num_attention_heads=H,
        num_key_value_heads=G,
        attention_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": BASE},
        attn_implementation="sdpa",
    )
    theirs = filled(LlamaAttention(config, layer_idx=0)).eval()
    ours = MultiHeadAttention(D, H, G, rotate=Rotary(BASE)).double()
    with torch.no_grad():
        for name in ("weight", "bias"):
            parts = [theirs.q_proj, theirs.k_proj, theirs.v_proj]
            parts = [getattr(part, name) for part in parts]
            getattr(ours.qkv.linear, name).copy_(torch.cat(parts))
            getattr(ours.out, name).copy_(getattr(theirs.o_proj, name))
    return config, theirs, ours


def interleave(layer):
    """Put the rows of the layer's queries and keys in the order of interleaved pairs."""
    with torch.no_grad():
        for tensor in (layer.qkv.linear.weight, layer.qkv.linear.bias):
            q, k, v = tensor.split(layer.qkv.widths)
            q, k = convert_layout(q, H, True), convert_layout(k, G, True)
            tensor.copy_(torch.cat([q, k, v]))


def their_output(theirs, x, first=0):
    angle = angles(torch.arange(first, first + T).double(), K, BASE)
    angle = torch.cat([angle, angle], dim=-1)[None]
    return theirs(x, (angle.cos(), angle.sin()), None)[0]


@pytest.mark.parametrize("interleaved", [False, True])
def test_it_equals_llamas_attention_in_both_layouts(interleaved):
    _, theirs, ours = llama()
    if interleaved:
        interleave(ours)
        ours.rotate = Rotary(BASE, interleaved=True)
    x = random(B, T, D)
    close(ours(x, causal=True), their_output(theirs, x))


def test_the_angles_are_llamas():
    config, _, _ = llama()
    cos, sin = LlamaRotaryEmbedding(config)(torch.zeros(1), 900 + PLACES[None])
    ours = angles(900 + PLACES, K, BASE)
    close(
        ours.cos(), cos[0, :, : K // 2], 2e-4
    )  # theirs multiply by 1 / base^..., ours
    close(ours.sin(), sin[0, :, : K // 2], 2e-4)  # divide: a rounding, times 900


def mixed(x, positions):
    """The mistake: interleaved pairs turned, then laid down as halves."""
    angle = angles(positions.double(), x.shape[-1], BASE)
    return torch.cat(turn(x[..., 0::2], x[..., 1::2], angle), dim=-1)


def wrong_way(x, positions):
    """The mistake: sine and cosine exchanged."""
    angle = math.pi / 2 - angles(positions.double(), x.shape[-1], BASE)
    return torch.cat(turn(*x.chunk(2, dim=-1), angle), dim=-1)


@pytest.mark.parametrize("wrong", [mixed, wrong_way, Rotary(BASE, interleaved=True)])
def test_a_mixed_layout_is_seen(wrong):
    """The test against Llama's layer would catch each of these."""
    _, theirs, ours = llama()
    ours.rotate, x = wrong, random(B, T, D)
    assert (ours(x, causal=True) - their_output(theirs, x)).abs().max() > 1e-3


class LateCache(ToyCache):
    """The mistake: after the first piece, positions lag behind by one."""

    def positions(self, t):
        return (super().positions(t) - int(self.k is not None)).clamp(min=0)


@pytest.mark.parametrize("cache", [ToyCache, LateCache])
def test_a_position_offset_by_one_is_seen(cache):
    _, _, ours = llama()
    x, kept = random(B, T, D), cache()
    parts = [ours(part, cache=kept) for part in x.split([3, 1, 1], dim=1)]
    off = (torch.cat(parts, dim=1) - ours(x, causal=True)).abs().max()
    assert off < 1e-10 if cache is ToyCache else off > 1e-3


def test_the_layouts_convert_into_each_other():
    weight = random(D, 7)
    there = convert_layout(weight, H, True)
    assert torch.equal(convert_layout(there, H, False), weight)
    assert not torch.equal(there, weight)
    q, k = random(B, T, D), random(B, T, D, seed=1)
    scores = {}
    for interleaved in (False, True):
        turned = []
        for x in (q, k):
            w = convert_layout(weight_of(x), H, True) if interleaved else weight_of(x)
            rows = (x @ w.T).unflatten(-1, (H, K)).transpose(1, 2)
            turned.append(Rotary(BASE, interleaved)(rows, PLACES))
        scores[interleaved] = turned[0] @ turned[1].transpose(-2, -1)
    close(scores[True], scores[False])


def weight_of(x):
    """A matrix of its own for each input."""
    return random(D, D, seed=int(x.abs().sum().item()))


# Bad input


BAD = {
    "odd width": (
        lambda: angles(PLACES, 5),
        "the width must be even: each pair is a hand; got 5",
    ),
    "odd head": (lambda: Rotary()(random(B, H, T, 3), PLACES), "got 3"),
    "base": (
        lambda: sinusoids(PLACES, 4, base=1.0),
        "base must be above 1; got base=1",
    ),
    "stretch": (
        lambda: Rotary(stretch=0.0),
        "stretch must be above 0; got stretch=0.0",
    ),
    "too long": (
        lambda: LearnedPosition(4, D)(random(B, T, D)),
        "the learned table has positions 0 to 3; got 0 to 4",
    ),
    "before the start": (
        lambda: LearnedPosition(9, D)(random(B, T, D), PLACES - 1),
        "the learned table has positions 0 to 8; got -1 to 3",
    ),
    "more queries than keys": (
        lambda: lags(3, 2),
        "lags are for the last t of s positions; got t=3, s=2",
    ),
    "no heads": (lambda: alibi(0, 3), "n_heads must be 1 or more; got n_heads=0"),
    "no lags": (
        lambda: RelativeBias(2, -1),
        "n_heads must be 1 or more and max_lag 0 or more; got n_heads=2, max_lag=-1",
    ),
    "rows": (
        lambda: convert_layout(random(9, 2), 3, True),
        "the rows must be n_heads times an even width; got 9 rows, n_heads=3",
    ),
    "two wide": (
        lambda: stretched_base(10.0, 2.0, 2),
        "width must be 4 or more and factor above 0; got width=2, factor=2.0",
    ),
}


@pytest.mark.parametrize(("call", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, says):
    refused(call, says)
