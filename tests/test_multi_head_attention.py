"""tfcourse.multi_head_attention against PyTorch's layer, its seams, and bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from tests.parity import ToyCache, close, filled, gradients, random, refused, seeded
from tfcourse.attention import causal_mask, padding_mask
from tfcourse.multi_head_attention import (
    HeadProjections,
    MultiHeadAttention,
    merge_heads,
    multiply_adds,
    next_positions,
    parameter_count,
    split_heads,
)

B, T, S, H, K = 2, 5, 7, 3, 4  # no two alike: an axis taken for another shows
D = H * K


def ours_and_theirs(bias=True):
    """Our layer and PyTorch's, with the same weights."""
    ours = filled(MultiHeadAttention(D, H, bias=bias))
    theirs = nn.MultiheadAttention(D, H, bias=bias, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.linear.weight)
        theirs.out_proj.weight.copy_(ours.out.weight)
        if bias:
            theirs.in_proj_bias.copy_(ours.qkv.linear.bias)
            theirs.out_proj.bias.copy_(ours.out.bias)
    return ours, theirs


# Against PyTorch


LENGTHS = torch.tensor([3, S])
OPEN = padding_mask(LENGTHS, S)
KINDS = {  # what ours is given, and what theirs: there, True = may NOT attend
    "self": (S, False, {}, {}),
    "cross": (T, True, {}, {}),
    "causal": (S, False, {"causal": True}, {"attn_mask": ~causal_mask(S)}),
    "causal mask": (S, False, {"mask": causal_mask(S)}, {"attn_mask": ~causal_mask(S)}),
    "padded": (S, False, {"mask": OPEN}, {"key_padding_mask": ~OPEN[:, 0]}),
    "padded cross": (T, True, {"mask": OPEN}, {"key_padding_mask": ~OPEN[:, 0]}),
    "padded causal": (
        S,
        False,
        {"mask": OPEN, "causal": True},
        {"attn_mask": ~causal_mask(S), "key_padding_mask": ~OPEN[:, 0]},
    ),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_it_equals_pytorchs_layer_and_so_do_the_gradients(kind, bias):
    t, crossed, options, their_options = KINDS[kind]
    ours, theirs = ours_and_theirs(bias)
    x = random(B, t, D).requires_grad_()
    context = random(B, S, D, seed=1).requires_grad_() if crossed else None
    keys = x if context is None else context
    expected, expected_weights = theirs(
        x, keys, keys, average_attn_weights=False, **their_options
    )
    fused = ours(x, context=context, **options)
    shown, weights = ours(x, context=context, return_weights=True, **options)
    close(weights, expected_weights)
    inputs = [x] if context is None else [x, context]
    our_inputs = [*inputs, ours.qkv.linear.weight, ours.out.weight]
    their_inputs = [*inputs, theirs.in_proj_weight, theirs.out_proj.weight]
    if bias:
        our_inputs += [ours.qkv.linear.bias, ours.out.bias]
        their_inputs += [theirs.in_proj_bias, theirs.out_proj.bias]
    wanted = gradients(expected, their_inputs)
    for out in (fused, shown):
        close(out, expected)
        for mine, its in zip(gradients(out, our_inputs), wanted, strict=True):
            close(mine, its, 1e-8)


@pytest.mark.parametrize("n_kv_heads", [1, 2, 3, 6])
@pytest.mark.parametrize("crossed", [False, True])
def test_shared_keys_and_values_equal_pytorchs_enable_gqa(n_kv_heads, crossed):
    layer = filled(MultiHeadAttention(12, 6, n_kv_heads))
    x = random(B, T, 12).requires_grad_()
    context = random(B, S, 12, seed=1) if crossed else None
    q, k, v = layer.qkv(x, context)
    assert k.shape == v.shape == (B, n_kv_heads, S if crossed else T, 2)
    expected = scaled_dot_product_attention(q, k, v, enable_gqa=True)
    expected = layer.out(merge_heads(expected))
    shown, weights = layer(x, context=context, return_weights=True)
    assert weights.shape == (B, 6, T, S if crossed else T)
    inputs = [x, layer.qkv.linear.weight]
    for out in (layer(x, context=context), shown):
        close(out, expected)
        for mine, its in zip(
            gradients(out, inputs), gradients(expected, inputs), strict=True
        ):
            close(mine, its, 1e-8)


def test_shared_keys_equal_a_full_layer_with_repeated_rows():
    few = filled(MultiHeadAttention(12, 6, 2))
    full = MultiHeadAttention(12, 6).double()
    with torch.no_grad():
        for name in ("weight", "bias"):
            q, k, v = getattr(few.qkv.linear, name).split(few.qkv.widths)
            repeated = [
                y.unflatten(0, (2, -1)).repeat_interleave(3, dim=0).flatten(0, 1)
                for y in (k, v)
            ]
            getattr(full.qkv.linear, name).copy_(torch.cat([q, *repeated]))
            getattr(full.out, name).copy_(getattr(few.out, name))
    x = random(B, T, 12)
    close(few(x, causal=True), full(x, causal=True))


def test_it_equals_a_loop_over_heads():
    """Head by head, with slices of the big matrices, and one key and query at a time."""
    layer, x = filled(MultiHeadAttention(D, H)), random(B, T, D)
    w_q, w_k, w_v = layer.qkv.linear.weight.split(D)
    b_q, b_k, b_v = layer.qkv.linear.bias.split(D)
    for b in range(B):
        heads = []
        for h in range(H):
            rows = slice(h * K, (h + 1) * K)
            q, k, v = (
                x[b] @ w[rows].T + c[rows]
                for w, c in ((w_q, b_q), (w_k, b_k), (w_v, b_v))
            )
            weights = (q @ k.T / math.sqrt(K)).softmax(dim=-1)
            heads.append(weights @ v)
        close(layer(x)[b], layer.out(torch.cat(heads, dim=-1)))


# Splitting and merging


def test_heads_are_cut_and_laid_together_again():
    x = random(B, T, D)
    heads = split_heads(x, H)
    assert heads.shape == (B, H, T, K)
    assert torch.equal(merge_heads(heads), x)
    for b in range(B):
        for h in range(H):
            assert torch.equal(heads[b, h], x[b, :, h * K : (h + 1) * K])
    assert heads.data_ptr() == x.data_ptr()  # a view: nothing was copied
    other = random(B, H, T, K)
    assert torch.equal(split_heads(merge_heads(other), H), other)


def test_a_plain_reshape_would_mix_positions():
    """Without the transpose a head gets whole positions instead of parts of each."""
    x = random(B, T, D)
    assert not torch.equal(x.reshape(B, H, T, K), split_heads(x, H))


# What it costs


@pytest.mark.parametrize("n_kv_heads", [None, 1, 2, 4, 8])
@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_as_many_as_counted(n_kv_heads, bias):
    layer = MultiHeadAttention(32, 8, n_kv_heads, bias)
    counted = sum(p.numel() for p in layer.parameters())
    assert parameter_count(32, 8, n_kv_heads, bias) == counted


def test_the_number_of_heads_costs_nothing():
    assert len({parameter_count(512, h) for h in (1, 2, 8, 64)}) == 1
    assert len({str(multiply_adds(64, 512, h)) for h in (1, 2, 8, 64)}) == 1


@pytest.mark.parametrize("n_kv_heads", [None, 1, 2])
def test_multiply_adds_are_half_of_pytorchs_count(n_kv_heads):
    layer = MultiHeadAttention(D * 2, 4, n_kv_heads)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.randn(1, T, D * 2, generator=seeded()), return_weights=True)
    assert 2 * sum(multiply_adds(T, D * 2, 4, n_kv_heads).values()) == (
        counter.get_total_flops()
    )


# Positions and caches


def recorder(calls):
    def rotate(x, positions):
        calls.append((tuple(x.shape), positions.tolist()))
        return x * (1 + positions[..., None].to(x.dtype) / 10)

    return rotate


def test_rotate_is_called_on_queries_and_keys_with_their_positions():
    calls = []
    layer = filled(MultiHeadAttention(12, 6, 2, rotate=recorder(calls)))
    layer(random(B, T, 12))
    assert calls == [((B, 6, T, 2), [*range(T)]), ((B, 2, T, 2), [*range(T)])]
    calls.clear()
    layer(random(B, 3, 12), positions=torch.tensor([4, 5, 9]))
    assert [positions for _, positions in calls] == [[4, 5, 9]] * 2


def test_positions_go_on_from_what_a_cache_holds():
    calls, cache = [], ToyCache()
    layer = filled(MultiHeadAttention(D, H, rotate=recorder(calls)))
    for t in (3, 1, 2):
        layer(random(B, t, D), cache=cache)
    assert [positions for _, positions in calls[::2]] == [[0, 1, 2], [3], [4, 5]]
    assert next_positions(random(B, 2, D), None).tolist() == [0, 1]
    assert next_positions(random(B, 2, D), cache).tolist() == [6, 7]


def test_given_positions_win_over_those_of_the_cache():
    calls, cache = [], ToyCache()
    layer = filled(MultiHeadAttention(D, H, rotate=recorder(calls)))
    layer(random(B, 2, D), cache=cache, positions=torch.tensor([7, 8]))
    assert calls[0][1] == [7, 8]


@pytest.mark.parametrize("chunks", [[1] * S, [S], [4, 1, 2], [3, 4]])
@pytest.mark.parametrize("n_kv_heads", [H, 1])
@pytest.mark.parametrize("rotated", [False, True])
def test_in_pieces_with_a_cache_it_is_the_whole_sequence(chunks, n_kv_heads, rotated):
    """Traps 8 and 9: a query of one sees its past, and a prefill is causal."""
    rotate = recorder([]) if rotated else None
    layer = filled(MultiHeadAttention(D, H, n_kv_heads, rotate=rotate))
    x, cache, parts = random(B, S, D), ToyCache(), []
    whole, weights = layer(x, causal=True, return_weights=True)
    seen = 0
    for part in x.split(chunks, dim=1):
        out, shown = layer(part, cache=cache, return_weights=True)
        rows = slice(seen, seen := seen + part.shape[1])
        close(shown, weights[:, :, rows, :seen])
        parts.append(out)
    close(torch.cat(parts, dim=1), whole)
    assert cache.k.shape == (B, n_kv_heads, S, K)


def test_the_mask_of_a_cache_and_a_given_one_must_both_allow():
    layer, x = filled(MultiHeadAttention(D, H)), random(B, S, D)
    mask = padding_mask(torch.tensor([S, 4]), S)
    _, weights = layer(x, mask=mask, cache=ToyCache(), return_weights=True)
    allowed = (mask & causal_mask(S))[:, None].expand_as(weights)
    assert torch.equal(weights > 0, allowed)


# Properties


sizes = st.integers(1, 4)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(sizes, st.integers(2, 6), sizes, sizes, sizes, st.integers(0, 99))
def test_properties(b, t, g, groups, k, seed):
    h = g * groups
    layer = filled(MultiHeadAttention(h * k, h, g), seed)
    x = random(b, t, h * k, seed=seed)
    out, weights = layer(x, causal=True, return_weights=True)
    close(weights.sum(dim=-1), torch.ones(b, h, t, dtype=torch.float64))
    assert (weights >= 0).all() and (weights.triu(1) == 0).all()
    changed = x.clone()
    changed[:, -1] += 3
    close(layer(changed, causal=True)[:, :-1], out[:, :-1])
    order = torch.randperm(t, generator=seeded(seed))
    close(layer(x[:, order]), layer(x)[:, order])
    context = random(b, t + 1, h * k, seed=seed + 1)
    order = torch.randperm(t + 1, generator=seeded(seed))
    close(layer(x, context=context[:, order]), layer(x, context=context))


def test_the_shapes_of_a_mask_that_fit():
    layer, x = filled(MultiHeadAttention(D, H)), random(B, T, D)
    mask = torch.rand(B, H, T, T, generator=seeded()) < 0.6
    mask[..., 0] = True
    one_by_one = torch.cat([layer(x[i : i + 1], mask=mask[i, 0]) for i in range(B)])
    close(layer(x, mask=mask[:, 0]), one_by_one)
    close(layer(x, mask=mask[:, :1].expand_as(mask)), one_by_one)
    _, weights = layer(x, mask=mask, return_weights=True)
    assert torch.equal(weights > 0, mask)


def test_a_bias_on_the_scores_is_added():
    layer, x = filled(MultiHeadAttention(D, H)), random(B, T, D)
    _, plain = layer(x, return_weights=True)
    bias = random(1, H, T, T, seed=8)
    out, weights = layer(x, score_bias=bias, return_weights=True)
    close(weights, (plain.log() + bias).softmax(dim=-1))
    close(layer(x, score_bias=bias), out)


def test_inputs_need_not_lie_in_order_and_stay_as_they_are():
    layer, context = filled(MultiHeadAttention(D, H)), random(B, S, D, seed=1)
    x = random(B, T, D)
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    before = turned.clone()
    assert not turned.is_contiguous()
    close(layer(turned, context=context), layer(x, context=context))
    assert torch.equal(turned, before)


# Bad input


BAD = {
    "heads": (
        lambda: MultiHeadAttention(512, 6),
        "d_model must be divisible by n_heads; got d_model=512, n_heads=6",
    ),
    "no heads": (
        lambda: MultiHeadAttention(8, 0),
        "d_model must be divisible by n_heads; got d_model=8, n_heads=0",
    ),
    "key heads": (
        lambda: HeadProjections(12, 6, 4, bias=True),
        "n_heads must be divisible by n_kv_heads; got n_heads=6, n_kv_heads=4",
    ),
    "no key heads": (
        lambda: MultiHeadAttention(12, 6, 0),
        "n_heads must be divisible by n_kv_heads; got n_heads=6, n_kv_heads=0",
    ),
    "split": (
        lambda: split_heads(random(B, T, D), 5),
        "the width must be divisible by n_heads; got width 12, n_heads=5",
    ),
    "rotate": (
        lambda: MultiHeadAttention(D, H, rotate=recorder([])).double()(
            random(B, T, D), context=random(B, S, D)
        ),
        "rotate= counts the positions of x: give no context=",
    ),
    "mask": (
        lambda: MultiHeadAttention(D, H).double()(
            random(B, T, D), mask=torch.ones(S, S, dtype=torch.bool)
        ),
        "mask must fit scores of shape (2, 3, 5, 5); got (1, 1, 7, 7)",
    ),
}


@pytest.mark.parametrize(("call", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, says):
    refused(call, says)


def test_a_mask_of_numbers_is_refused():
    layer = MultiHeadAttention(D, H).double()
    with pytest.raises(TypeError, match="score_bias"):
        layer(random(B, T, D), mask=random(T, T))
