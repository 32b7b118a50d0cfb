"""Variations of the transformer, and what they give up (chapter 16)."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tfcourse.block import Block, LayerNorm, Stack
from tfcourse.embedding import Embedding
from tfcourse.position import LearnedPosition


def patch_grid(shape: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """How many patches lie along each axis of something of this shape.

    ValueError where they do not fit without a rest.

    >>> patch_grid((224, 224), (16, 16))
    (14, 14)
    """
    shape, patch = tuple(shape), tuple(patch)
    fits = len(shape) == len(patch) > 0 and all(p > 0 for p in patch)
    if not fits or any(n % p for n, p in zip(shape, patch, strict=True)):
        raise ValueError(
            "each axis must be a whole number of patches; "
            f"got shape={shape}, patch={patch}: pad or crop first"
        )
    return tuple(n // p for n, p in zip(shape, patch, strict=True))


def cut_patches(x: Tensor, patch: Sequence[int]) -> Tensor:
    """The last axes cut into equal patches, in reading order, each laid out flat.

    x: (..., height, width), patch: (rows, columns)  ->  (..., t, rows * columns); with
    another number of axes likewise: (samples,) of a sound, (height, width, colours) of a
    photograph. ValueError where the patches do not fit.

    >>> cut_patches(torch.arange(8).reshape(2, 4), (2, 2)).tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    axes = len(patch)
    grid = patch_grid(x.shape[max(x.ndim - axes, 0) :], patch)
    before = x.ndim - axes
    sizes = [n for pair in zip(grid, patch, strict=True) for n in pair]
    cut = x.reshape(
        *x.shape[:before], *sizes
    )  # (..., rows of patches, rows of one, ...)
    order = [*range(before), *(before + i + 2 * j for i in (0, 1) for j in range(axes))]
    cut = cut.permute(order)
    return cut.reshape(*x.shape[:before], math.prod(grid), math.prod(patch))


def patch_distances(grid: Sequence[int]) -> Tensor:
    """How far any two patches lie apart, from centre to centre, in patches.

    grid: of patches, such as (rows, columns)  ->  (t, t).

    >>> patch_distances((1, 3)).tolist()
    [[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]]
    """
    axes = [torch.arange(float(n)) for n in grid]
    places = torch.cartesian_prod(*axes).reshape(-1, len(axes))
    return torch.linalg.vector_norm(places[:, None] - places, dim=-1)


class VisionTransformer(nn.Module):
    """An encoder that reads patches: what is in the picture, or in the sound?

    A matrix makes a vector of each patch, a learned one for its place is added, blocks of
    chapter 8 read them, and the mean of what they say is scored. slope: of a penalty on
    each score that grows with the distance of the patches, 0 for none.
    Called with x: (b, *shape)  ->  logits (b, n_classes). ValueError for another shape.
    Source: Dosovitskiy et al. (2021), section 3.1; they read from a class token, and
    compare it with the mean in appendix D.3.
    """

    def __init__(
        self,
        shape: Sequence[int],
        patch: Sequence[int],
        n_classes: int,
        d_model: int = 32,
        n_heads: int = 4,
        n_layers: int = 2,
        d_ff: int | None = None,
        slope: float = 0.0,
    ):
        super().__init__()
        grid = patch_grid(shape, patch)
        self.shape, self.patch = tuple(shape), tuple(patch)
        self.embed = nn.Linear(math.prod(patch), d_model)
        self.place = LearnedPosition(math.prod(grid), d_model)
        blocks = [Block(d_model, n_heads, d_ff) for _ in range(n_layers)]
        self.encoder = Stack(blocks, LayerNorm(d_model))
        self.answer = nn.Linear(d_model, n_classes)
        bias = -slope * patch_distances(grid) if slope else None
        self.register_buffer("bias", bias, persistent=False)

    def tokens(self, x: Tensor) -> Tensor:
        """(b, *shape)  ->  (b, t, d), what the first block is given."""
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"x must be (b, {', '.join(map(str, self.shape))}); got {tuple(x.shape)}"
            )
        return self.place(self.embed(cut_patches(x, self.patch)))

    def forward(self, x: Tensor) -> Tensor:
        read = self.encoder(self.tokens(x), score_bias=self.bias)
        return self.answer(read.mean(dim=1))


def attention_maps(stack: Stack, x: Tensor, **options) -> list[Tensor]:
    """The weights of every head, block by block, while a stack of pre-norm blocks reads.

    x: (b, t, d), options: mask, causal, score_bias  ->  l tensors (b, h, t, s).
    """
    maps = []
    for block in stack.blocks:
        attend = block.attention
        asked = attend.norm(x) if attend.pre_norm else x
        maps.append(attend.module(asked, return_weights=True, **options)[1])
        x = block(x, **options)
    return maps


def mean_attention_distance(weights: Tensor, distances: Tensor) -> Tensor:
    """How far a head looks, on average over what it looks at and over who asks.

    The mean over queries of sum_s weight[t, s] distance[t, s].
    weights: (b, h, t, s), distances: (t, s)  ->  (h,), in the units of the distances.
    Source: Dosovitskiy et al. (2021), section 4.5 and figure 7.
    """
    if weights.shape[-2:] != distances.shape:
        raise ValueError(
            "each weight needs a distance; "
            f"got weights {tuple(weights.shape)}, distances {tuple(distances.shape)}"
        )
    return (weights * distances).sum(dim=-1).mean(dim=(0, 2))


class GridWorld:
    """A square of cells; one walks from the upper left corner to the lower right one.

    Actions 0, 1, 2, 3: up, right, down, left; who would leave the square stays. Each
    step costs 1 until one is there; there, nothing moves or costs any more.
    A state is the number of a cell, row by row.
    """

    def __init__(self, side: int = 4):
        if side < 2:
            raise ValueError(f"side must be 2 or more; got side={side}")
        self.side, self.goal = side, side * side - 1
        self.best = -2 * (side - 1)  # the return of the shortest way

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """states and actions: (b,)  ->  next states and rewards, (b,) both."""
        moves = torch.tensor([[-1, 0], [0, 1], [1, 0], [0, -1]])[actions]
        cells = torch.stack([states // self.side, states % self.side], dim=-1)
        row, column = (cells + moves).clamp(0, self.side - 1).unbind(dim=-1)
        there = states == self.goal
        moved = torch.where(there, states, row * self.side + column)
        return moved, torch.where(there, 0.0, -1.0)

    def walk(
        self, n: int, steps: int, choose: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """n walks: states, actions, rewards, (n, steps) each.

        choose: (states (n, i + 1), actions and rewards (n, i))  ->  actions (n,).
        """
        states = torch.zeros(n, 1, dtype=torch.long)
        actions, rewards = states[:, :0], states[:, :0].float()
        for _ in range(steps):
            action = choose(states, actions, rewards)
            state, reward = self.step(states[:, -1], action)
            states = torch.cat([states, state[:, None]], dim=1)
            actions = torch.cat([actions, action[:, None]], dim=1)
            rewards = torch.cat([rewards, reward[:, None]], dim=1)
        return states[:, :-1], actions, rewards


def returns_to_go(rewards: Tensor) -> Tensor:
    """What is still to come at each step: the sum of this reward and all later ones.

    rewards: (..., t)  ->  (..., t). Source: Chen et al. (2021), section 3.

    >>> returns_to_go(torch.tensor([1.0, 0.0, 2.0])).tolist()
    [3.0, 2.0, 2.0]
    """
    return rewards.flip(-1).cumsum(dim=-1).flip(-1)


def interleave(*parts: Tensor) -> Tensor:
    """The parts of each step side by side in one sequence: a_1 b_1 a_2 b_2 ...

    parts: m tensors (b, t, d)  ->  (b, m t, d).

    >>> interleave(torch.tensor([[[1], [3]]]), torch.tensor([[[2], [4]]])).tolist()
    [[[1], [2], [3], [4]]]
    """
    return torch.stack(parts, dim=2).flatten(1, 2)


class DecisionTransformer(nn.Module):
    """What was done next by those who came to such a return from such a state?

    Three tokens for each step: the return to go (divided by `scale`), the state, the
    action; all three get the step's learned position. A causal stack reads them, and the
    token of the state tells the action. Called with (returns: (b, t), states: (b, t),
    actions: (b, t) or, the last being unknown, (b, t - 1))  ->  logits (b, t, n_actions).
    Source: Chen et al. (2021), section 3.
    """

    def __init__(
        self,
        n_states: int,
        n_actions: int,
        steps: int,
        d_model: int = 32,
        n_heads: int = 2,
        n_layers: int = 2,
        scale: float = 1.0,
    ):
        super().__init__()
        self.scale = scale
        self.asked = nn.Linear(1, d_model)
        self.state = Embedding(n_states, d_model)
        self.action = Embedding(n_actions, d_model)
        self.place = LearnedPosition(steps, d_model)
        blocks = [Block(d_model, n_heads) for _ in range(n_layers)]
        self.stack = Stack(blocks, LayerNorm(d_model))
        self.answer = nn.Linear(d_model, n_actions)

    def forward(self, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        returns, states, actions = inputs
        missing = states.shape[1] - actions.shape[1]
        actions = nn.functional.pad(actions, (0, missing))  # whatever: nobody sees it
        asked = self.asked(returns[..., None] / self.scale)
        parts = (asked, self.state(states), self.action(actions))
        x = self.stack(interleave(*map(self.place, parts)), causal=True)
        return self.answer(x[:, 1::3])


def act_for_return(
    model: DecisionTransformer, asked: float, generator: torch.Generator
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A way to choose in GridWorld.walk: ask for a return, and for what is left of it.

    The next action is drawn from what the model gives each. Source: Chen et al. (2021),
    section 3, "evaluation".
    """

    @torch.no_grad()
    def choose(states: Tensor, actions: Tensor, rewards: Tensor) -> Tensor:
        spent = nn.functional.pad(rewards, (1, 0)).cumsum(dim=1)
        logits = model.eval()((asked - spent, states, actions))[:, -1]
        return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]

    return choose


def spectrogram(sound: Tensor, window: int, hop: int) -> Tensor:
    """How loud each pitch is at each time: squared sizes of short Fourier transforms.

    |sum_n sound[hop i + n] hann[n] e^(-2 pi j f n / window)|^2 for frame i and frequency
    f = 0, ..., window / 2, of f / window cycles a sample.
    sound: (..., samples)  ->  (..., window // 2 + 1, frames). ValueError for less than a
    window of sound. Source: Gabor (1946).
    """
    if not 0 < hop <= window <= sound.shape[-1]:
        raise ValueError(
            "hop, window and the sound must not shrink in this order; "
            f"got hop={hop}, window={window}, {sound.shape[-1]} samples"
        )
    frames = sound.unfold(-1, window, hop)  # (..., frames, window), overlapping
    hann = torch.hann_window(window, dtype=sound.dtype, device=sound.device)
    waves = torch.fft.rfft(frames * hann)
    return (waves.real.square() + waves.imag.square()).transpose(-2, -1)
