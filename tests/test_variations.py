"""tfcourse.variations: what stands in attention's place gives the same in all its forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.parity import close, filled, gradients, random, refused, seeded
from tfcourse.block import Block
from tfcourse.generation import Sampler, generate
from tfcourse.gpt import GPT, GPTConfig, initialize_gpt
from tfcourse.kv_cache import CachedModel, KVCache, caches_for
from tfcourse.multi_head_attention import MultiHeadAttention
from tfcourse.variations import (
    MIXERS,
    GatedConvolution,
    LinearAttention,
    StateCache,
    TimeMix,
    chunk_step,
    elu_features,
    linear_attention,
    normalized,
    shifted,
    with_mixer,
    with_ones,
)

# Linear attention, a recurrence, a convolution

RB, RH, RT, RK, RM, RD = 2, 3, 13, 5, 7, 12  # no two of a tensor alike
SHAPE = {"context_length": 32, "d_model": RD, "n_heads": RH, "n_layers": 2}
MAKERS = {
    "linear": lambda: LinearAttention(RD, RH, chunk=4),
    "decaying": lambda: LinearAttention(RD, RH, half_lives=[1.0, 3.0, 50.0], chunk=4),
    "time mix": lambda: TimeMix(RD, RH, chunk=4),
    "convolution": lambda: GatedConvolution(RD, 3, 4, dilation=2),
}
LAYERS = {name: filled(make()) for name, make in MAKERS.items()}
READ = random(RB, RT, RD, seed=1)


def heads(t=RT):
    """q, k, v, decay and bonus of a few heads."""
    q, k = random(2, RB, RH, t, RK)
    decay = 0.2 + 0.8 * torch.rand(RH, RK, generator=seeded(2), dtype=torch.float64)
    return q, k, random(RB, RH, t, RM, seed=3), decay, random(RH, RK, seed=4)


def token_by_token(q, k, v, decay, bonus):
    """The definition, as a loop: read, then forget and write."""
    state, out = q.new_zeros(*q.shape[:2], RK, RM), []
    for i in range(q.shape[2]):
        written = k[:, :, i, :, None] * v[:, :, i, None, :]
        seen = state + bonus[:, :, None] * written
        out.append(torch.einsum("bhk,bhkm->bhm", q[:, :, i], seen))
        state = decay[:, :, None] * state + written
    return torch.stack(out, dim=2), state


@pytest.mark.parametrize("chunk", [1, 4, RT, 99])
def test_all_chunks_equal_the_loop_over_tokens(chunk):
    q, k, v, decay, bonus = heads()
    options = {"decay": decay, "bonus": bonus, "chunk": chunk}
    found = linear_attention(q, k, v, **options)
    for ours, theirs in zip(found, token_by_token(q, k, v, decay, bonus), strict=True):
        close(ours, theirs, atol=1e-9)


def test_without_decay_and_bonus_it_is_masked_weights_without_a_softmax():
    q, k, v, *_ = heads()
    out, state = linear_attention(q, k, v, chunk=4)
    close(out, (q @ k.mT).tril() @ v, atol=1e-9)
    close(state, k.mT @ v, atol=1e-9)


def test_gradients_are_those_of_the_loop():
    inputs = [x.requires_grad_() for x in heads()]
    q, k, v, decay, bonus = inputs
    ours, _ = linear_attention(q, k, v, decay=decay, bonus=bonus, chunk=4)
    theirs, _ = token_by_token(*inputs)
    for a, b in zip(gradients(ours, inputs), gradients(theirs, inputs), strict=True):
        close(a, b, atol=1e-9)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_a_text_may_come_in_any_pieces(sizes, chunk):
    q, k, v, decay, bonus = heads(sum(sizes))
    options = {"decay": decay, "bonus": bonus, "chunk": chunk}
    whole, end = linear_attention(q, k, v, **options)
    state, out = None, []
    for part in zip(*(x.split(sizes, dim=2) for x in (q, k, v)), strict=True):
        read, state = linear_attention(*part, state=state, **options)
        out.append(read)
    close(torch.cat(out, dim=2), whole, atol=1e-9)
    close(state, end, atol=1e-9)


def test_float32_keeps_its_digits_where_the_powers_are_long():
    q, k, v, decay, bonus = heads(64)
    decay = decay.clamp(max=0.3)
    exact, _ = linear_attention(q, k, v, decay=decay, bonus=bonus, chunk=1)
    single = [x.float() for x in (q, k, v)]
    options = {"decay": decay.float(), "bonus": bonus.float()}
    out, _ = linear_attention(*single, **options, chunk=32)
    close(out.double(), exact, atol=1e-4)


def test_gradients_are_numbers_up_to_the_strongest_decay():
    layer = TimeMix(RD, RH)
    with torch.no_grad():
        layer.rate.fill_(5.0)  # far above the ceiling
    x = random(RB, 96, RD, dtype=torch.float32).requires_grad_()
    layer(x, causal=True).sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    decay = torch.full((RH, RK), 0.14, requires_grad=True)  # 0.14 ** 32 is just allowed
    q, k, v = random(3, RB, RH, 64, RK, dtype=torch.float32)
    out, state = linear_attention(q, k, v, decay=decay, chunk=32)
    (out.sum() + state.sum()).backward()
    exact = decay.detach().double().requires_grad_()
    doubles = (x.double() for x in (q, k, v))
    out, state = linear_attention(*doubles, decay=exact, chunk=1)
    (out.sum() + state.sum()).backward()
    torch.testing.assert_close(decay.grad.double(), exact.grad, rtol=1e-3, atol=1e-3)


def test_a_chunk_that_would_overflow_is_refused_with_a_remedy():
    q, k, v, decay, _ = heads(64)
    single = [x.float() for x in (q, k, v)]
    small = decay.float().clamp(max=0.05)
    refused(
        lambda: linear_attention(*single, decay=small, chunk=64),
        "would overflow; got decay=0.05, chunk=64: take a smaller chunk",
    )
    linear_attention(*single, decay=small, chunk=16)
    for wrong in (0.0, 1.5, -0.1):
        shares = torch.full((RH, RK), wrong)
        refused(lambda d=shares: linear_attention(*single, decay=d), "at most 1; got")
    refused(lambda: linear_attention(*single, chunk=0), "chunk must be 1 or more; got")


def test_a_chunk_step_changes_none_of_its_inputs():
    q, k, v, decay, bonus = heads()
    given = [q, k, v, random(RB, RH, RK, RM), decay, bonus]
    before = [x.clone() for x in given]
    chunk_step(*given)
    assert all(map(torch.equal, given, before))


def test_ones_beside_values_sum_the_weights():
    weights, v = random(RT, RT).abs(), random(RT, RM)
    share = weights / weights.sum(dim=-1, keepdim=True)
    close(normalized(weights @ with_ones(v)), share @ v)
    assert (elu_features(random(9, 9) * 5) > 0).all()


def test_linear_attention_is_a_weighed_mean_of_what_came_before():
    layer = LAYERS["linear"]
    q, k, v = layer.qkv(READ)
    weights = (elu_features(q) @ elu_features(k).mT).tril()
    mixed = weights / weights.sum(dim=-1, keepdim=True) @ v
    expected = layer.out(mixed.transpose(1, 2).flatten(2))
    close(layer(READ, causal=True), expected, atol=1e-9)


def test_a_half_life_halves():
    layer = LAYERS["decaying"]
    q, k, v = layer.qkv(READ)
    lag = torch.arange(RT)[:, None] - torch.arange(RT)
    kept = 0.5 ** (lag / torch.tensor([1.0, 3.0, 50.0]).view(RH, 1, 1))
    weights = (elu_features(q) @ elu_features(k).mT * kept).tril()
    mixed = weights / weights.sum(dim=-1, keepdim=True) @ v
    expected = layer.out(mixed.transpose(1, 2).flatten(2))
    close(layer(READ, causal=True), expected, atol=1e-5)
    halves = layer.decay[:, 0] ** random(3).new_tensor([1.0, 3.0, 50.0])
    close(halves, torch.full_like(halves, 0.5), atol=1e-5)  # made in float32
    assert "decay" not in layer.state_dict()


def test_the_time_mix_is_its_formula():
    layer = LAYERS["time mix"]
    before = F.pad(READ, (0, 0, 1, 0))[:, :-1]
    r, k, v, g = (
        (READ * layer.shares[name] + before * (1 - layer.shares[name])) @ w.weight.T
        for name, w in layer.linear.items()
    )
    r, k, v = (x.unflatten(-1, (RH, -1)).transpose(1, 2) for x in (r, k, v))
    w = (-layer.rate.clamp(max=0.69).exp()).exp().view(RH, -1)
    u, state, rows = layer.bonus.view(RH, -1), 0, []
    for i in range(RT):
        written = k[:, :, i, :, None] * v[:, :, i, None, :]
        seen = state + u[:, :, None] * written
        rows.append((r[:, :, i, None] @ seen).flatten(1))
        state = w[:, :, None] * state + written
    x = torch.stack(rows, dim=1)
    x = F.group_norm(x.flatten(0, 1), RH, layer.norm.weight, layer.norm.bias)
    close(layer(READ, causal=True), layer.out(x.view_as(g) * F.silu(g)), atol=1e-9)


def test_the_convolution_is_its_formula():
    layer = LAYERS["convolution"]
    padded = F.pad(READ, (0, 0, layer.reach, 0))
    value, gate = (
        sum(
            torch.einsum(
                "btgi,goi->btgo",
                padded[:, 2 * lag : 2 * lag + RT].unflatten(-1, (4, -1)),
                conv.weight[..., lag].unflatten(0, (4, -1)),
            ).flatten(2)
            for lag in range(3)
        )
        for conv in (layer.value, layer.gate)
    )
    expected = layer.out(value * gate.sigmoid())
    close(layer(READ, causal=True), expected, atol=1e-9)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_the_same_in_one_piece_and_in_many(name):
    layer, whole = LAYERS[name], LAYERS[name](READ, causal=True)
    assert whole.shape == READ.shape
    for sizes in ([1] * RT, [6, 1, 4, 2]):
        cache = StateCache()
        parts = [layer(x, cache=cache) for x in READ.split(sizes, dim=1)]
        close(torch.cat(parts, dim=1), whole, atol=1e-9)
        assert cache.length == RT


@pytest.mark.parametrize("name", LAYERS)
def test_the_future_changes_nothing_and_the_past_does(name):
    other = READ.clone()
    other[:, 8] += 1
    moved = LAYERS[name](other, causal=True) - LAYERS[name](READ, causal=True)
    assert (moved[:, :8] == 0).all() and moved[:, 8:].abs().amax() > 1e-6


@pytest.mark.parametrize("name", LAYERS)
def test_the_state_does_not_grow(name):
    cache, sizes = StateCache(), []
    for x in READ.split(1, dim=1):
        LAYERS[name](x, cache=cache)
        sizes.append(sum(y.numel() for y in cache.kept.values()))
    assert len(set(sizes)) == 1 and sizes[0] > 0


@pytest.mark.parametrize("name", LAYERS)
def test_what_asks_for_pairs_is_refused(name):
    layer, mask = LAYERS[name], torch.ones(RT, RT, dtype=torch.bool)
    refused(lambda: layer(READ, causal=True, mask=mask), "give no mask, or take Multi")
    refused(
        lambda: layer(READ, causal=True, context=READ, return_weights=True),
        "give no context, return_weights",
    )
    refused(lambda: layer(READ), "reads from left to right: say causal=True")
    with pytest.raises(TypeError, match="carries a StateCache; got a KVCache"):
        layer(READ, cache=KVCache(RB, RH, RD // RH, RT))
    with pytest.raises(TypeError, match="softmax attention needs a KVCache"):
        MultiHeadAttention(RD, RH)(READ.float(), cache=StateCache())


def test_shifted_looks_one_back():
    last = random(RB, 1, RD)
    close(shifted(READ, last), torch.cat([last, READ], dim=1)[:, :-1])
    assert (shifted(READ, None)[:, 0] == 0).all()


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_mixer_takes_attentions_place_in_a_gpt(mixer):
    config = GPTConfig(19, **SHAPE, bias=False)
    model = initialize_gpt(GPT(config), seeded())
    plain = {name: x.clone() for name, x in model.state_dict().items()}
    assert with_mixer(model, mixer, seeded(1)) is model
    model, ids = model.double().eval(), torch.randint(19, (RB, RT), generator=seeded())
    for name, x in model.state_dict().items():
        if ".attention.module." not in name:
            close(x, plain[name].double())
    for block in model.stack.blocks:
        assert type(block) is Block
        wide = [p for p in block.attention.module.parameters() if p.ndim > 1]
        assert all(0.005 < p.std() < 0.04 for p in wide)
    if mixer == "softmax":
        return
    caches = caches_for(model, StateCache, RB)
    with torch.no_grad():
        whole = model(ids)[:, -1]
    reader = CachedModel(model, caches)
    for t in range(3, RT + 1):
        found = reader(ids[:, :t])
    close(found, whole, atol=1e-9)
    close(reader(ids[:, :-1]), CachedModel(model, caches)(ids[:, :-1]), atol=1e-9)
    new = torch.stack(list(generate(reader, ids, 5, Sampler(greedy=True))))
    assert new.shape[0] == 5 and caches[0].length == RT + 4


def test_an_unknown_mixer_is_refused_by_name():
    model = GPT(GPTConfig(19, **SHAPE))
    refused(lambda: with_mixer(model, "recurrence", seeded()), "recurrence")


def test_equal_parameters_for_the_three_that_are_compared_as_they_are():
    sizes = {}
    for mixer in ("softmax", "linear", "decaying", "convolution"):
        shape = SHAPE | {"d_model": 128, "n_heads": 4}
        model = with_mixer(GPT(GPTConfig(19, **shape, bias=False)), mixer, seeded())
        sizes[mixer] = sum(p.numel() for p in model.parameters())
    assert len(set(sizes.values())) == 1 and math.prod(sizes.values()) > 0
