"""tfcourse.variations: what is left out is left out, and nothing else."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parity import close, filled, random, refused, seeded
from tfcourse.attention import attention, causal_mask
from tfcourse.block import Block, Stack
from tfcourse.gpt import GPT, GPTConfig
from tfcourse.kv_cache import window_mask
from tfcourse.multi_head_attention import MultiHeadAttention
from tfcourse.position import Rotary
from tfcourse.variations import (
    CompressedMemory,
    SegmentMemory,
    SparseAttention,
    hash_buckets,
    hash_mask,
    layers_to_reach,
    local_attention,
    partition_mask,
    random_mask,
    span_means,
    spans_before,
    strided_mask,
)

B, H, T, K = 2, 3, 11, 5  # no two alike


def qkv(b=B, h=H, t=T, k=K):
    return [random(b, h, t, k, seed=seed) for seed in (1, 2, 3)]


def places(t):
    return torch.arange(t)


# Sparse attention: masks


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 20])
def test_strided_is_the_rule_pair_by_pair(stride):
    mask = strided_mask(places(T)[4:], places(T), stride)
    for i in range(4, T):
        for j in range(T):
            near, far = 0 <= i - j < stride, i >= j and (i - j) % stride == 0
            assert mask[i - 4, j] == (near or far)


@pytest.mark.parametrize("n", [0, 1, 3, 50])
def test_random_draws_so_many_of_those_before(n):
    mask = random_mask(places(T), places(T), n, seeded())
    assert mask.sum(dim=1).tolist() == [1 + min(n, i) for i in range(T)]
    assert not (mask & ~causal_mask(T)).any() and mask.diagonal().all()
    assert torch.equal(mask, random_mask(places(T), places(T), n, seeded()))
    if n in (1, 3):
        assert not torch.equal(mask, random_mask(places(T), places(T), n, seeded(1)))


@pytest.mark.parametrize(
    "mask",
    [
        strided_mask(places(T), places(T), T),
        strided_mask(places(T), places(T), 1),
        window_mask(places(T), places(T), T),
        window_mask(places(T), places(T), 1, sinks=T),
        random_mask(places(T), places(T), T, seeded()),
        hash_mask(*qkv()[:2], n_buckets=2, rounds=60, generator=seeded()),
    ],
)
def test_full_masks_are_chapter_5s_attention(mask):
    q, k, v = qkv()
    close(attention(q, k, v, mask=mask), attention(q, k, v, causal=True))


def brute_reach(mask, wanted):
    """Paths, one step at a time, in sets."""
    t = len(mask)
    seen = [{i} for i in range(t)]
    for layers in range(t + 1):
        if all(j in seen[i] for i in range(t) for j in range(t) if wanted[i, j]):
            return layers
        seen = [
            seen[i].union(*(seen[j] for j in range(t) if mask[i, j])) for i in range(t)
        ]
    return None


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 7), st.integers(0, 10**6), st.floats(0.05, 0.7))
def test_layers_are_steps_along_paths(t, seed, share):
    mask = torch.rand(t, t, generator=seeded(seed)) < share
    for wanted in (causal_mask(t), torch.ones(t, t, dtype=torch.bool)):
        assert layers_to_reach(mask, wanted) == brute_reach(mask, wanted)


def test_layers_of_known_patterns():
    p, wanted = places(64), causal_mask(64)
    assert layers_to_reach(wanted, wanted) == 1
    assert layers_to_reach(window_mask(p, p, 8), wanted) == 9  # 63 / 7
    assert layers_to_reach(strided_mask(p, p, 8), wanted) == 2
    assert layers_to_reach(window_mask(p, p, 8, sinks=4), wanted) == 9
    assert layers_to_reach(torch.eye(64).bool(), wanted) is None


# Local attention in blocks


@pytest.mark.parametrize("t", [1, 5, 8, 11])
@pytest.mark.parametrize("window", [1, 2, 4, 5, 11, 30])
def test_blocks_are_the_masked_attention(t, window):
    q, k, v = qkv(t=t)
    v = v[..., :4]
    before = [x.clone() for x in (q, k, v)]
    mask = window_mask(places(t), places(t), window)
    out = local_attention(q, k, v, window)
    close(out, attention(q, k, v, mask=mask))
    assert out.shape == (B, H, t, 4)
    assert all(torch.equal(x, y) for x, y in zip((q, k, v), before, strict=True))


def test_gradients_through_blocks_are_those_through_the_mask():
    inputs = [x.requires_grad_() for x in qkv()]
    mask = window_mask(places(T), places(T), 4)
    weights = random(B, H, T, K, seed=9)
    ways = local_attention(*inputs, 4), attention(*inputs, mask=mask)
    ours, theirs = (torch.autograd.grad((w * weights).sum(), inputs) for w in ways)
    for mine, true in zip(ours, theirs, strict=True):
        close(mine, true)


# Hashing


def test_near_directions_meet_more_often_and_length_does_not_count():
    x, noise = random(4000, 8), random(4000, 8, seed=1)
    same = {
        share: (
            hash_buckets(x, 8, seeded()) == hash_buckets(x + share * noise, 8, seeded())
        )
        .double()
        .mean()
        for share in (0.0, 0.2, 1.0, 1e6)
    }
    assert same[0.0] == 1 > same[0.2] > same[1.0] > same[1e6] > 0.1
    shares = hash_buckets(x, 8, seeded()).bincount() / 4000
    assert abs(same[1e6] - (shares**2).sum()) < 0.02  # as if drawn by lot
    assert torch.equal(hash_buckets(x, 8, seeded()), hash_buckets(5 * x, 8, seeded()))
    assert hash_buckets(x, 8, seeded()).unique().tolist() == list(range(8))


def test_the_mask_of_hashing_pair_by_pair():
    q, k, _ = qkv()
    one, two = (hash_mask(q, k, 4, rounds, seeded()) for rounds in (1, 2))
    buckets = hash_buckets(torch.stack([q, k]), 4, seeded())
    for i in range(T):
        for j in range(T):
            same = buckets[0][..., i] == buckets[1][..., j]
            wanted = same & (j <= i) | (i == j)
            assert torch.equal(one[..., i, j], wanted)
    assert (one <= two).all() and not torch.equal(one, two)


# Binary partitioning


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 300), st.integers(1, 5))
def test_spans_cover_the_past_once_and_are_few(end, near):
    spans = spans_before(end, near)
    covered = [
        token
        for level, place in spans
        for token in range(place * 2**level, (place + 1) * 2**level)
    ]
    assert sorted(covered) == list(range(end))
    assert len(spans) <= (near + 1) * end.bit_length()
    levels = [level for level, _ in spans]
    assert levels == sorted(levels)  # fine ones near, coarse ones far


@pytest.mark.parametrize("t", [1, 2, 7, 8, 13])
def test_partition_attends_to_the_means_it_says(t):
    q, k, v = qkv(t=t)
    mask, members = partition_mask(t, 1), span_means(torch.eye(t)) > 0
    assert mask.shape == (t, len(members))
    assert torch.equal(mask.double() @ members.double(), causal_mask(t).double())
    out = attention(q, span_means(k), span_means(v), mask=mask)
    for i in range(t):
        spans = [
            slice(place * 2**level, (place + 1) * 2**level)
            for level, place in spans_before(i + 1, 1)
        ]
        keys, values = (
            torch.stack([x[:, :, s].mean(dim=2) for s in spans], dim=2) for x in (k, v)
        )
        close(out[:, :, i : i + 1], attention(q[:, :, i : i + 1], keys, values))


def test_partition_with_enough_near_ones_is_full():
    q, k, v = qkv()
    out = attention(q, span_means(k), span_means(v), mask=partition_mask(T, T))
    close(out, attention(q, k, v, causal=True))


# In the place of multi-head attention


def full(q, k, v):
    return attention(q, k, v, causal=True)


@pytest.mark.parametrize("n_kv_heads", [3, 1])
def test_a_full_mix_is_the_module_it_was_made_from(n_kv_heads):
    heads = filled(MultiHeadAttention(12, 3, n_kv_heads, rotate=Rotary()))
    x = random(B, T, 12)
    for positions in (None, places(T) + 7):
        wanted = heads(x, causal=True, positions=positions)
        close(SparseAttention(heads, full)(x, causal=True, positions=positions), wanted)


def test_it_stands_in_a_block_and_in_a_gpt():
    config = GPTConfig(17, 16, 12, 3, 2, position="rotary")
    model = filled(GPT(config))
    ids = torch.randint(17, (2, 9), generator=seeded())
    sparse = copy.deepcopy(model)
    for block in sparse.stack.blocks:
        heads = block.attention.module
        block.attention.module = SparseAttention(
            heads, lambda q, k, v: local_attention(q, k, v, 4)
        )
    mask = window_mask(places(9), places(9), 4).expand(2, 9, 9)
    close(sparse(ids), model(ids, mask=mask))
    assert (sparse(ids) - model(ids)).abs().max() > 1e-3


# Memory across segments


def stack(rotate=True, layers=2):
    blocks = [Block(12, 3, rotate=Rotary() if rotate else None) for _ in range(layers)]
    return filled(Stack(blocks, torch.nn.LayerNorm(12)))


def in_segments(model, x, size, make):
    caches = [make() for _ in model.blocks]
    return torch.cat([model(part, caches=caches) for part in x.split(size, dim=1)], 1)


@pytest.mark.parametrize("size", [1, 4, 11])
def test_a_memory_that_forgets_nothing_is_reading_the_whole(size):
    model, x = stack(), random(B, T, 12)
    whole = model(x, causal=True)
    close(in_segments(model, x, size, lambda: SegmentMemory(T)), whole)
    close(in_segments(model, x, size, lambda: CompressedMemory(T, 2, 3)), whole)
    close(in_segments(model, x, size, lambda: CompressedMemory(2, T, 1)), whole)


def test_no_memory_is_reading_each_segment_alone():
    model, x = stack(), random(B, T, 12)
    alone = torch.cat([model(part, causal=True) for part in x.split(4, dim=1)], 1)
    close(in_segments(model, x, 4, lambda: SegmentMemory(0)), alone)


def test_each_of_a_segment_sees_the_memory_and_those_before():
    k, v = qkv()[:2]
    memory = SegmentMemory(3)
    memory.update(k[..., :5, :], v[..., :5, :])
    assert memory.positions(4).tolist() == [5, 6, 7, 8]
    keys, values, mask = memory.update(k[..., 5:9, :], v[..., 5:9, :])
    assert torch.equal(keys, k[..., 2:9, :]) and torch.equal(values, v[..., 2:9, :])
    assert torch.equal(mask, causal_mask(4, 7))


def test_how_far_back_is_layers_times_memory():
    model, x = stack(layers=3), random(1, 40, 12)

    def last(x):
        return in_segments(model, x, 8, lambda: SegmentMemory(8))[:, 39]

    for place, arrives in ((7, False), (8, True)):  # 32 - 3 * 8
        other = x.clone()
        other[:, place, 0] += 1  # one channel: a norm hides what all have
        assert bool((last(other) - last(x)).abs().max() > 1e-9) == arrives


def test_no_gradient_goes_into_the_memory():
    model, x = stack(), random(B, T, 12).requires_grad_()
    out = in_segments(model, x, 4, lambda: SegmentMemory(8))
    (gradient,) = torch.autograd.grad(out[:, 4:8].sum(), x)
    assert gradient[:, :4].eq(0).all() and gradient[:, 4:8].ne(0).any()


def test_old_ones_are_averaged_and_the_oldest_means_leave():
    k, v = qkv(t=23)[:2]
    memory, start = CompressedMemory(length=4, compressed=3, rate=2), 0
    for size in (5, 1, 7, 3, 7):
        parts = [x[..., start : start + size, :] for x in (k, v)]
        start += size
        keys, _, mask = memory.update(*parts)
        assert torch.equal(mask, causal_mask(size, keys.shape[-2]))
        for seen, true in ((memory.memory[0], k), (memory.memory[1], v)):
            old = max(0, start - 4) // 2
            means = true[..., : 2 * old, :].unflatten(-2, (-1, 2)).mean(-2)[..., -3:, :]
            close(seen, torch.cat([means, true[..., 2 * old : start, :]], dim=-2))
    assert memory.memory.shape[-2] == 3 + 5  # one of 19 old ones waits


# Refusals


q3, k3, v3 = qkv()
HEADS = MultiHeadAttention(12, 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: strided_mask(places(3), places(3), 0), "stride=0"),
        (lambda: random_mask(places(3), places(3), -1, seeded()), "n=-1"),
        (lambda: local_attention(q3, k3, v3, 0), "window=0"),
        (lambda: local_attention(q3, k3[:, :1], v3, 2), "(2, 1, 11, 5)"),
        (lambda: local_attention(q3[0], k3[0], v3[0], 2), "(3, 11, 5)"),
        (lambda: hash_buckets(q3, 3, seeded()), "n_buckets=3"),
        (lambda: hash_buckets(q3, 0, seeded()), "n_buckets=0"),
        (lambda: hash_mask(q3, k3, 2, 0, seeded()), "rounds=0"),
        (lambda: spans_before(4, 0), "near=0"),
        (lambda: partition_mask(4, -1), "near=-1"),
        (lambda: SegmentMemory(-1), "length=-1"),
        (lambda: CompressedMemory(1, -1, 2), "compressed=-1"),
        (lambda: CompressedMemory(1, 1, 0), "rate=0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, words):
    refused(call, words)


@pytest.mark.parametrize(
    "given",
    [
        {"mask": causal_mask(4)},
        {"context": torch.ones(1, 4, 12)},
        {"cache": SegmentMemory(2)},
        {"score_bias": torch.zeros(4, 4)},
        {"return_weights": True},
        {"causal": False},
    ],
)
def test_sparse_attention_says_what_it_does_not_take(given):
    layer = SparseAttention(HEADS, full)
    options = {"causal": True} | given
    refused(lambda: layer(torch.ones(1, 4, 12), **options), f"no {next(iter(given))}=")


def test_a_memory_is_for_one_batch_and_shape():
    memory = SegmentMemory(4)
    memory.update(q3, k3)
    refused(lambda: memory.update(q3[:1], k3[:1]), "a SegmentMemory of its own")
    assert memory.read == T
