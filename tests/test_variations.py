"""tfcourse.variations: other sequences, other mixers, and what they give up."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.parity import close, copy_block, filled, random, refused, seeded
from tfcourse.block import Block, LayerNorm, Stack
from tfcourse.variations import (
    DecisionTransformer,
    GridWorld,
    VisionTransformer,
    act_for_return,
    attention_maps,
    cut_patches,
    interleave,
    mean_attention_distance,
    patch_distances,
    patch_grid,
    returns_to_go,
    spectrogram,
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
