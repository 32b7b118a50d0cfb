"""Variations: other sequences, cheaper mixers, fewer pairs, memories."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.parity import close, copy_block, filled, gradients, random, refused, seeded
from tfcourse.attention import attention, causal_mask
from tfcourse.block import Block, LayerNorm, Stack
from tfcourse.generation import Sampler, generate
from tfcourse.gpt import GPT, GPTConfig, initialize_gpt
from tfcourse.kv_cache import CachedModel, KVCache, caches_for, window_mask
from tfcourse.multi_head_attention import MultiHeadAttention
from tfcourse.position import Rotary
from tfcourse.variations import (
    MIXERS,
    CompressedMemory,
    DecisionTransformer,
    GatedConvolution,
    GridWorld,
    LinearAttention,
    SegmentMemory,
    SparseAttention,
    StateCache,
    TimeMix,
    VisionTransformer,
    act_for_return,
    attention_maps,
    chunk_step,
    cut_patches,
    elu_features,
    hash_buckets,
    hash_mask,
    interleave,
    layers_to_reach,
    linear_attention,
    local_attention,
    mean_attention_distance,
    normalized,
    partition_mask,
    patch_distances,
    patch_grid,
    random_mask,
    returns_to_go,
    shifted,
    span_means,
    spans_before,
    spectrogram,
    strided_mask,
    with_mixer,
    with_ones,
)

# Patches


@given(*[st.integers(1, 4)] * 5)
@settings(max_examples=40, deadline=None)
def test_patches_are_those_of_a_loop(b, rows, columns, height, width):
    x = random(b, rows * height, columns * width)
    want = [
        x[:, r * height : (r + 1) * height, c * width : (c + 1) * width].flatten(1)
        for r in range(rows)
        for c in range(columns)
    ]
    before = x.clone()
    assert torch.equal(cut_patches(x, (height, width)), torch.stack(want, dim=1))
    assert torch.equal(x, before)


def test_patches_of_an_image_are_those_that_a_convolution_reads():
    x, weight = random(3, 6, 8), random(5, 2, 4)
    ours = cut_patches(x, (2, 4)) @ weight.flatten(1).T
    theirs = F.conv2d(x[:, None], weight[:, None], stride=(2, 4))
    close(ours, theirs.flatten(2).transpose(1, 2))


def test_a_sound_and_a_photograph_are_cut_by_the_same_function():
    sound, photograph = random(2, 3, 12), random(2, 4, 6, 3)
    assert torch.equal(cut_patches(sound, (4,)), sound.unflatten(-1, (3, 4)))
    patches = cut_patches(photograph, (2, 3, 3))
    assert patches.shape == (2, 4, 18)
    assert torch.equal(patches[:, 1], photograph[:, :2, 3:].flatten(1))


@pytest.mark.parametrize(
    ("shape", "patch"), [((5, 8), (2, 2)), ((8,), (2, 2)), ((8, 8), (0, 2)), ((), ())]
)
def test_patches_that_do_not_fit_are_refused(shape, patch):
    refused(lambda: patch_grid(shape, patch), f"shape={shape}, patch={patch}")
    if patch:
        refused(lambda: cut_patches(torch.zeros(shape), patch), "pad or crop first")


def test_distances_are_those_of_a_loop():
    places = [(r, c) for r in range(2) for c in range(4)]
    want = [
        [((a - c) ** 2 + (b - d) ** 2) ** 0.5 for c, d in places] for a, b in places
    ]
    close(patch_distances((2, 4)), torch.tensor(want), atol=1e-6)
    assert patch_distances((3,)).tolist() == [[0, 1, 2], [1, 0, 1], [2, 1, 0]]


# An encoder that reads patches


def vision(**options):
    sizes = {"d_model": 8, "n_heads": 2, "n_layers": 2, "d_ff": 12} | options
    return filled(VisionTransformer((4, 6), (2, 2), 5, **sizes))


def test_the_encoder_is_that_of_pytorch():
    model, x = vision(), random(3, 4, 6)
    theirs = model.tokens(x)
    for block in model.encoder.blocks:
        assert type(block) is Block
        layer = torch.nn.TransformerEncoderLayer(
            8, 2, 12, dropout=0.0, batch_first=True, norm_first=True
        ).double()
        copy_block(block, layer)
        theirs = layer(theirs)
    close(model(x), model.answer(model.encoder.norm(theirs).mean(dim=1)))


def test_a_slope_lowers_the_scores_of_what_is_far():
    near, x = vision(slope=50.0), random(3, 4, 6)
    for weights in attention_maps(near.encoder, near.tokens(x), score_bias=near.bias):
        close(weights, torch.eye(6).double().expand(3, 2, 6, 6), atol=1e-6)
    assert vision().bias is None
    assert set(near.state_dict()) == set(vision().state_dict())


def test_another_shape_is_refused():
    refused(lambda: vision()(random(3, 6, 4)), "x must be (b, 4, 6); got (3, 6, 4)")


def test_attention_maps_are_those_that_were_used():
    stack = filled(Stack([Block(8, 2) for _ in range(3)], LayerNorm(8)))
    x, bias = random(3, 5, 8), random(5, 5)
    maps = attention_maps(stack, x, score_bias=bias)
    assert [weights.shape for weights in maps] == [(3, 2, 5, 5)] * 3
    for block, weights in zip(stack.blocks, maps, strict=True):
        attend = block.attention
        v = attend.module.qkv(attend.norm(x))[2]
        close(
            x + attend.module.out((weights @ v).transpose(1, 2).flatten(2)),
            attend(x, score_bias=bias),
        )
        x = block(x, score_bias=bias)


def test_mean_attention_distance_is_that_of_a_loop():
    weights, distances = random(3, 2, 4, 5).softmax(dim=-1), random(4, 5).abs()
    want = [
        sum(
            weights[b, h, t, s] * distances[t, s]
            for b in range(3)
            for t in range(4)
            for s in range(5)
        )
        / 12
        for h in range(2)
    ]
    close(mean_attention_distance(weights, distances), torch.stack(want))
    says = "got weights (3, 2, 4, 5), distances (5, 4)"
    refused(lambda: mean_attention_distance(weights, distances.T), says)


# States, actions, rewards


def test_a_step_is_that_of_a_loop():
    world = GridWorld(3)
    for state in range(9):
        for action, (down, right) in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
            row, column = divmod(state, 3)
            inside = 0 <= row + down < 3 and 0 <= column + right < 3
            moves = inside and state != 8
            want = state + 3 * down + right if moves else state
            got, reward = world.step(torch.tensor([state]), torch.tensor([action]))
            assert (got.item(), reward.item()) == (want, 0.0 if state == 8 else -1.0)
    refused(lambda: GridWorld(1), "got side=1")


def test_the_shortest_way_has_the_best_return():
    world, plan = GridWorld(3), torch.tensor([1, 1, 2, 2, 0, 3])
    choose = lambda states, actions, rewards: plan[actions.shape[1]].expand(len(states))
    states, _, rewards = world.walk(2, 6, choose)
    assert states.tolist() == [[0, 1, 2, 5, 8, 8]] * 2
    assert rewards.sum(dim=1).tolist() == [world.best] * 2 == [-4, -4]
    assert torch.equal(
        returns_to_go(rewards)[0], torch.tensor([-4.0, -3, -2, -1, 0, 0])
    )


def decisions(**sizes):
    return filled(DecisionTransformer(9, 4, 6, d_model=8, **sizes))


def inputs(b=3, t=5):
    returns, gen = random(b, t), seeded(1)
    states = torch.randint(9, (b, t), generator=gen)
    return returns, states, torch.randint(4, (b, t), generator=gen)


def test_interleaved_tokens_come_back():
    parts = random(3, 2, 5, 4).unbind()
    mixed = interleave(*parts)
    assert mixed.shape == (2, 15, 4)
    assert all(torch.equal(mixed[:, i::3], part) for i, part in enumerate(parts))


def test_a_decision_sees_what_came_before_and_not_its_own_action():
    model, (returns, states, actions) = decisions(), inputs()
    want = model((returns, states, actions))
    assert want.shape == (3, 5, 4)
    close(model((returns, states, actions[:, :-1])), want)
    for step in range(5):
        other = actions.clone()
        other[:, step] = (other[:, step] + 1) % 4
        got = model((returns, states, other))
        close(got[:, : step + 1], want[:, : step + 1])
        assert (
            step == 4 or (got[:, step + 1 :] - want[:, step + 1 :]).abs().min() > 1e-6
        )
        later = returns.clone()
        later[:, step] += 1
        got = model((later, states, actions))
        close(got[:, :step], want[:, :step])
        assert (got[:, step:] - want[:, step:]).abs().max() > 1e-6


def test_what_was_spent_is_no_longer_asked_for():
    asked = []

    class Listens(torch.nn.Module):
        def forward(self, inputs):
            returns, states, actions = inputs
            assert states.shape == returns.shape == (2, actions.shape[1] + 1)
            asked.append(returns[0].tolist())
            return torch.tensor([-40.0, 40.0, -40.0, -40.0]).expand(*states.shape, 4)

    _, actions, _ = GridWorld(3).walk(2, 3, act_for_return(Listens(), -4.0, seeded()))
    assert actions.tolist() == [[1, 1, 1]] * 2
    assert asked == [[-4], [-4, -3], [-4, -3, -2]]


# Sound


@pytest.mark.parametrize(("window", "hop"), [(16, 8), (15, 4), (8, 8)])
def test_a_spectrogram_is_that_of_pytorch(window, hop):
    sound = random(3, 60)
    before = sound.clone()
    hann = torch.hann_window(window, dtype=torch.float64)
    waves = torch.stft(
        sound, window, hop, window=hann, center=False, return_complex=True
    )
    close(spectrogram(sound, window, hop), waves.abs().square())
    assert torch.equal(sound, before)


def test_a_spectrogram_needs_a_window_of_sound():
    refused(lambda: spectrogram(random(15), 16, 8), "window=16, 15 samples")
    refused(lambda: spectrogram(random(20), 16, 0), "hop=0")


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
