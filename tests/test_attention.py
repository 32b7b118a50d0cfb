"""tfcourse.attention against loops and PyTorch's own, its properties, and bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from tests.parity import close, gradients, random, refused, seeded
from tfcourse.attention import (
    AttentionLayer,
    additive_scores,
    attention,
    causal_mask,
    four_axes,
    padding_mask,
    scaled_scores,
    softmax,
)

B, H, T, S, K, W = 2, 3, 5, 7, 4, 6  # no two alike: an axis taken for another shows


def qkv(*lead, t=T, s=S, dtype=torch.float64):
    q, k, v = (random(*lead, n, w, seed=n + w) for n, w in ((t, K), (s, K), (s, W)))
    return [x.to(dtype).requires_grad_() for x in (q, k, v)]


def some_mask(*shape, seed=5):
    mask = torch.rand(*shape, generator=seeded(seed)) < 0.6
    mask[..., 0] = True  # every query has a key
    return mask


def by_loop(q, k, v, mask=None, bias=None):
    """Attention as defined, number by number: (t, k), (s, k), (s, w) -> (t, w)."""
    rows = []
    for i in range(len(q)):
        scores = []
        for j in range(len(k)):
            score = sum(q[i, n] * k[j, n] for n in range(q.shape[1]))
            score = score / math.sqrt(q.shape[1])
            score = score if bias is None else score + bias[i, j]
            scores.append(score if mask is None or mask[i, j] else -math.inf)
        exps = [math.exp(score) for score in scores]
        rows.append(sum(e / sum(exps) * v[j] for j, e in enumerate(exps)))
    return torch.stack(rows)


# Against a loop and PyTorch


@pytest.mark.parametrize("lead", [(), (B,), (B, H)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_both_ways_equal_the_loop_and_pytorch(lead, masked, biased):
    q, k, v = inputs = qkv(*lead)
    mask = some_mask(*lead, T, S) if masked else None
    bias = random(*lead, T, S, seed=3) if biased else None
    fused = attention(q, k, v, mask=mask, score_bias=bias)
    shown, weights = attention(q, k, v, mask=mask, score_bias=bias, return_weights=True)
    at = (0,) * len(lead)
    loop = by_loop(
        *(x[at].detach() for x in inputs),
        *(None if x is None else x[at] for x in (mask, bias)),
    )
    added = torch.zeros(()) if bias is None else bias
    added = (
        added
        if mask is None
        else added.expand(mask.shape).masked_fill(~mask, -math.inf)
    )
    added = None if bias is None and mask is None else added.double()
    theirs = scaled_dot_product_attention(q, k, v, attn_mask=added)
    assert weights.shape == (*lead, T, S)
    for ours in (fused, shown):
        close(ours[at], loop)
        close(ours, theirs)
        for mine, its in zip(
            gradients(ours, inputs), gradients(theirs, inputs), strict=True
        ):
            close(mine, its, 1e-8)


def test_causal_equals_pytorchs_where_both_lengths_agree():
    q, k, v = inputs = qkv(B, H, s=T)
    theirs = scaled_dot_product_attention(q, k, v, is_causal=True)
    for ours in (
        attention(q, k, v, causal=True),
        attention(q, k, v, causal=True, return_weights=True)[0],
        attention(q, k, v, mask=causal_mask(T)),
    ):
        close(ours, theirs)
        for mine, its in zip(
            gradients(ours, inputs), gradients(theirs, inputs), strict=True
        ):
            close(mine, its, 1e-8)


def test_one_causal_query_sees_the_whole_past():
    """Trap 8: PyTorch's is_causal lets one query and a longer past attend to key 0 only."""
    q, k, v = qkv(B, H)
    last = attention(q[:, :, -1:], k, v, causal=True)
    close(last, attention(q, k, v)[:, :, -1:])
    wrong = scaled_dot_product_attention(q[:, :, -1:], k, v, is_causal=True)
    close(wrong, v[:, :, :1])


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_shared_keys_equal_repeated_ones(groups):
    q, k, v = (
        random(B, 6, T, K),
        random(B, groups, S, K, seed=1),
        random(B, groups, S, W, seed=2),
    )
    repeated = [x.repeat_interleave(6 // groups, dim=1) for x in (k, v)]
    expected = attention(q, *repeated)
    close(attention(q, k, v), expected)
    close(attention(q, k, v, return_weights=True)[0], expected)


def test_the_scale_is_the_root_of_the_width_of_a_key():
    """Trap 1: with scores small enough for the softmax not to saturate."""
    q, k = 0.1 * random(T, 64), 0.1 * random(S, 64, seed=1)
    close(scaled_scores(q, k), (q @ k.T) / 8)
    variance = scaled_scores(random(400, 64), random(400, 64, seed=1)).var()
    assert 0.9 < variance < 1.1


def test_additive_scores_equal_a_loop():
    q, k, w_q, w_k, w = (
        random(T, K),
        random(S, K, seed=1),
        random(8, K),
        random(8, K, seed=2),
        random(8),
    )
    scores = additive_scores(q, k, w_q, w_k, w)
    for i in range(T):
        for j in range(S):
            close(scores[i, j], w @ torch.tanh(w_q @ q[i] + w_k @ k[j]))
    batch = additive_scores(q.expand(B, H, T, K), k.expand(B, H, S, K), w_q, w_k, w)
    close(batch[1, 2], scores)


# Softmax and masks


def test_softmax_equals_pytorchs_and_stays_finite_for_large_scores():
    scores = random(B, T, S)
    close(softmax(scores), scores.softmax(dim=-1))
    close(softmax(scores, temperature=0.5), (2 * scores).softmax(dim=-1))
    large = torch.tensor([1e5, 1e5 - 1, -1e5])
    assert softmax(large).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_masked_scores_of_any_size_stay_finite(dtype):
    """Trap 7: -1e9 is no number of float16."""
    q, k, v = (x.detach().to(dtype) for x in qkv(B, H, s=T))
    if dtype != torch.float16:
        q = q * (1e5 / scaled_scores(q, k).abs().max())
    mask = causal_mask(T)
    mask[2] = False
    for out in (
        attention(q, k, v, mask=mask),
        attention(q, k, v, mask=mask, return_weights=True)[0],
    ):
        assert out.dtype == dtype and out.isfinite().all()
        assert (out[:, :, 2] == 0).all()
        close(out[:, :, 0], v[:, :, 0])


def test_a_query_without_keys_gets_zeros_and_passes_no_gradient():
    """Trap 6: neither NaN nor a mean over what is masked."""
    q, k, v = inputs = qkv(B, H)
    mask = torch.ones(T, S, dtype=torch.bool)
    mask[1] = False
    for bias in (None, random(T, S)):
        fused = attention(q, k, v, mask=mask, score_bias=bias)
        shown, weights = attention(
            q, k, v, mask=mask, score_bias=bias, return_weights=True
        )
        assert (weights[:, :, 1] == 0).all()
        for out in (fused, shown):
            assert (out[:, :, 1] == 0).all() and (out[:, :, 0] != 0).all()
            assert all(g.isfinite().all() for g in gradients(out, inputs))
            assert (gradients(out[:, :, 1], inputs)[0] == 0).all()


def test_a_masked_key_has_no_weight_at_all():
    """Trap 2: multiplied by 0 the score is 0, and a score of 0 still has weight."""
    mask = some_mask(B, T, S)
    _, weights = attention(*qkv(B), mask=mask, return_weights=True)
    assert (weights[~mask] == 0).all()
    close(weights.sum(dim=-1), torch.ones(B, T, dtype=torch.float64))


def test_padding_is_as_if_it_were_not_there():
    q, k, v = qkv(B, H)
    lengths = torch.tensor([3, S])
    out = attention(q, k, v, mask=four_axes(padding_mask(lengths, S)))
    close(out[0], attention(q[0], k[0, :, :3], v[0, :, :3]))
    close(out[1], attention(q[1], k[1], v[1]))


def test_uniform_weights_average():
    q, k, v = qkv(B)
    close(
        attention(torch.zeros_like(q), k, v),
        v.mean(dim=1, keepdim=True).expand(B, T, W),
    )


# Properties


sizes = st.integers(1, 6)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(sizes, sizes, sizes, sizes, st.integers(0, 99))
def test_properties(b, t, extra, width, seed):
    s = t + extra - 1
    q, k, v = (
        random(b, t, width, seed=seed),
        random(b, s, width, seed=seed + 1),
        random(b, s, 3, seed=seed + 2),
    )
    out, weights = attention(q, k, v, causal=True, return_weights=True)
    close(weights.sum(dim=-1), torch.ones(b, t, dtype=torch.float64))
    assert (weights >= 0).all()
    order = torch.randperm(s, generator=seeded(seed))
    close(attention(q, k[:, order], v[:, order]), attention(q, k, v))
    changed_k, changed_v = k.clone(), v.clone()
    changed_k[:, -1], changed_v[:, -1] = 9.0, -9.0  # the last position
    later = attention(q, changed_k, changed_v, causal=True)
    close(later[:, :-1], out[:, :-1])
    assert not torch.allclose(later[:, -1], out[:, -1])


def test_inputs_need_not_lie_in_order_and_stay_as_they_are():
    q, k, v = (x.detach() for x in qkv(B, H, s=T))
    turned = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    before = [x.clone() for x in turned]
    assert not turned[0].is_contiguous()
    close(attention(*turned, causal=True), attention(q, k, v, causal=True))
    assert all(torch.equal(x, y) for x, y in zip(turned, before, strict=True))


def test_the_layer_is_its_matrices_and_attention():
    layer = AttentionLayer(W, K).double()
    x, context = random(B, T, W), random(B, S, W, seed=1)
    weight = {name: p.T for name, p in layer.named_parameters()}
    q, k, v = (
        y @ weight[f"{n}.weight"] for n, y in (("q", x), ("k", context), ("v", context))
    )
    close(layer(x, context=context), attention(q, k, v))
    out, weights = layer(x, causal=True, return_weights=True)
    assert out.shape == (B, T, K) and (weights.triu(1) == 0).all()


# Bad input


BAD = {
    "axes": (
        lambda: attention(random(K), random(S, K), random(S, W)),
        "same 2, 3 or 4 axes; got q (4,)",
    ),
    "width": (
        lambda: attention(random(T, K), random(S, W), random(S, W)),
        "same width; got q (5, 4), k (7, 6)",
    ),
    "values": (
        lambda: attention(random(T, K), random(S, K), random(T, W)),
        "each key needs one value",
    ),
    "none": (
        lambda: attention(random(T, K), random(0, K), random(0, W)),
        "got no keys: q (5, 4), k (0, 4)",
    ),
    "batch": (
        lambda: attention(random(B, T, K), random(3, S, K), random(3, S, W)),
        "agree in their first axes",
    ),
    "heads": (
        lambda: attention(random(B, 3, T, K), random(B, 2, S, K), random(B, 2, S, W)),
        "agree in their first axes",
    ),
    "mask": (
        lambda: attention(*qkv(B), mask=torch.ones(T, T, dtype=torch.bool)),
        "mask must fit scores of shape (2, 5, 7); got (5, 5)",
    ),
    "temperature": (
        lambda: softmax(random(3), temperature=0),
        "temperature must be above 0; got 0",
    ),
    "causal": (lambda: causal_mask(3, 2), "got t=3, s=2"),
    "lengths": (
        lambda: padding_mask(torch.tensor([1, 9]), 7),
        "from 0 to s=7; got [1, 9]",
    ),
}


@pytest.mark.parametrize(("call", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, says):
    refused(call, says)


def test_a_mask_of_numbers_is_told_where_it_belongs():
    with pytest.raises(TypeError, match="got torch.float64.*score_bias"):
        attention(*qkv(B), mask=random(T, S))
