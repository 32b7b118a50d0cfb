"""The same blocks on other sequences, cheaper mixers of tokens, and limits (chapter 16)."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tfcourse.attention import attention, causal_mask
from tfcourse.block import Block, LayerNorm, Stack, choose
from tfcourse.bpe import Tokenizer, load_tokenizer
from tfcourse.data.stored import WEIGHTS, stored_weights
from tfcourse.embedding import Embedding
from tfcourse.gpt import GPT, GPTConfig
from tfcourse.kv_cache import window_mask
from tfcourse.multi_head_attention import (
    HeadProjections,
    MultiHeadAttention,
    merge_heads,
    next_positions,
    split_heads,
)
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


def elu_features(x: Tensor) -> Tensor:
    """Numbers above 0 in place of any: elu(x) + 1, which is x + 1 above 0, else exp(x).

    (..., k)  ->  (..., k). Source: Katharopoulos et al. (2020), equation 7.

    >>> elu_features(torch.tensor([-1.0, 0.0, 2.0])).round(decimals=3)
    tensor([0.3680, 1.0000, 3.0000])
    """
    return F.elu(x) + 1


def with_ones(v: Tensor) -> Tensor:
    """Values with a 1 beside them, in which weights add up: (..., m)  ->  (..., m + 1)."""
    return F.pad(v, (0, 1), value=1.0)


def normalized(sums: Tensor) -> Tensor:
    """Sums of weighed values, by the sum of the weights: (..., m + 1)  ->  (..., m)."""
    return sums[..., :-1] / sums[..., -1:]


def chunk_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    state: Tensor,
    decay: Tensor | None = None,
    bonus: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Some positions at once: they read the state S and each other, then write into it.

    Position i, from 0, reads q_i wⁱ S, (q_i w^(i-1-j) · k_j) v_j for each j < i and
    (q_i u · k_i) v_i; after t of them S is wᵗ S + the sum of w^(t-1-j) k_j v_jᵀ.
    q, k: (b, h, t, k), v: (b, h, t, m), state: (b, h, k, m); decay w and bonus u: (h, k),
    1 unless given  ->  (b, h, t, m) and the new state.
    Sources: Katharopoulos et al. (2020), equations 16 to 20; Sun et al. (2023), equation
    7, for chunks; Peng et al. (2024), section 4.1, for w and u.
    """
    own = ((q if bonus is None else q * bonus[:, None]) * k).sum(dim=-1, keepdim=True)
    if decay is not None:
        i = torch.arange(q.shape[-2] + 1, device=q.device)
        logs = decay.log()[:, None] * i[:, None]  # of the powers: (h, t + 1, k)
        q, k = q * logs[:, :-1].exp(), k * (-logs[:, 1:]).exp()
    scores = (q @ k.transpose(-2, -1)).tril(diagonal=-1)
    out = q @ state + scores @ v + own * v
    state = state + k.transpose(-2, -1) @ v
    return out, state if decay is None else state * logs[:, -1, :, None].exp()


def require_powers(decay: Tensor, t: int) -> None:
    """Refuse a decay that is no share, or whose t-th power leaves too few digits."""
    if not 0 < decay.min() <= decay.max() <= 1:
        raise ValueError(
            "decay must be above 0 and at most 1; "
            f"got {decay.min():.3g} to {decay.max():.3g}"
        )
    if decay.min() ** t < torch.finfo(decay.dtype).tiny ** 0.75:
        raise ValueError(
            f"k / decay^{t} would overflow; got decay={decay.min():.3g}, "
            f"chunk={t}: take a smaller chunk"
        )


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    decay: Tensor | None = None,
    bonus: Tensor | None = None,
    state: Tensor | None = None,
    chunk: int = 64,
) -> tuple[Tensor, Tensor]:
    """Values of earlier positions and one's own, summed with weights q · k: no softmax.

    Shapes and symbols as for chunk_step; state: zeros unless given; chunk: positions at
    once. 1 makes it a recurrence, t one triangle of weights; all give the same, for
    t (chunk + 2 k) m multiplications a head, beside t chunk k for the scores.
    ValueError for a chunk below 1, and as require_powers.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be 1 or more; got chunk={chunk}")
    if decay is not None:
        require_powers(decay, min(chunk, q.shape[-2]))
    if state is None:
        state = q.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1])
    out = []
    for part in zip(*(x.split(chunk, dim=-2) for x in (q, k, v)), strict=True):
        read, state = chunk_step(*part, state, decay, bonus)
        out.append(read)
    return torch.cat(out, dim=-2), state


class StateCache:
    """What a layer carries from token to token: tensors that do not grow with the text.

    Stands where chapter 13's KVCache does, also for caches_for and CachedModel. A layer
    finds by name what it left in `kept`, and leaves what is new by carry(t, name=tensor).
    A sum cannot forget one of its terms: rewind stays, or starts anew. TypeError for keys.
    """

    def __init__(self, batch: int = 1, n_kv_heads: int = 1, d_head: int = 1, **kind):
        self.length, self.kept = 0, {}

    def positions(self, t: int) -> Tensor:
        return torch.arange(self.length, self.length + t)

    def carry(self, t: int, **tensors: Tensor) -> None:
        self.length += t
        self.kept = tensors

    def update(self, k: Tensor, v: Tensor) -> None:
        raise TypeError("a StateCache holds no keys: softmax attention needs a KVCache")

    def rewind(self, length: int) -> int:
        if length < self.length:
            self.length, self.kept = 0, {}
        return self.length


def carried(
    layer: nn.Module, causal: bool, cache: StateCache | None, others: Mapping
) -> Mapping[str, Tensor]:
    """What a layer kept of earlier tokens; refuses what only attention to pairs can do.

    ValueError for others that are given, such as a mask, and where the layer would have to
    look ahead; TypeError for another cache.
    """
    name = type(layer).__name__
    given = [key for key, x in others.items() if x is not None and x is not False]
    if given:
        raise ValueError(
            f"{name} weighs no pair by itself: give no {', '.join(sorted(given))}, or "
            "take MultiHeadAttention"
        )
    if cache is None:
        if not causal:
            raise ValueError(f"{name} reads from left to right: say causal=True")
        return {}
    if not isinstance(cache, StateCache):
        raise TypeError(f"{name} carries a StateCache; got a {type(cache).__name__}")
    return cache.kept


class LinearAttention(nn.Module):
    """Attention with weights φ(q) · φ(k) in the place of a softmax, from left to right.

    out_i = Σ a_ij v_j / Σ a_ij over j ≤ i, a_ij = w^(i-j) φ(q_i)·φ(k_j), φ: elu_features.
    half_lives: for each head, after how many tokens w has halved a weight; w = 1 unless given.
    Called as MultiHeadAttention with x: (b, t, d)  ->  (b, t, d); cache: a StateCache.
    ValueError, TypeError as carried; positions are not looked at.
    Sources: Katharopoulos et al. (2020), section 3; Sun et al. (2023), for decay by head.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        bias: bool = True,
        half_lives: Sequence[float] | None = None,
        chunk: int = 64,
    ):
        super().__init__()
        self.qkv = HeadProjections(d_model, n_heads, None, bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)
        self.chunk, decay = chunk, None
        if half_lives is not None:
            decay = 0.5 ** (1 / torch.as_tensor(half_lives))
            decay = decay[:, None].expand(n_heads, d_model // n_heads).clone()
        self.register_buffer("decay", decay, persistent=False)

    def forward(
        self, x: Tensor, *, causal=False, positions=None, cache=None, **others
    ) -> Tensor:
        state = carried(self, causal, cache, others).get("sums")
        q, k, v = self.qkv(x)
        options = {"chunk": self.chunk, "state": state}
        if self.decay is not None:  # own weight 1 / w, then 1, w: divided, 1, w, w^2
            options |= {"decay": self.decay, "bonus": 1 / self.decay}
        sums, state = linear_attention(
            elu_features(q), elu_features(k), with_ones(v), **options
        )
        if cache is not None:
            cache.carry(x.shape[1], sums=state)
        return self.out(merge_heads(normalized(sums)))


def shifted(x: Tensor, last: Tensor | None) -> Tensor:
    """Each position's predecessor, the first's being `last` (b, 1, d) or 0: (b, t, d)."""
    last = torch.zeros_like(x[:, :1]) if last is None else last
    return torch.cat([last, x[:, :-1]], dim=1)


class TimeMix(nn.Module):
    """The recurrence of RWKV: sums that forget, each channel of a key at its own rate.

    r, k, v and g are made of a token mixed with the one before it; S as in chunk_step with
    w = exp(-exp(rate)) and u learned; out = W (norm of each head of r S, times silu(g)).
    Called as MultiHeadAttention with x: (b, t, d)  ->  (b, t, d); cache: a StateCache.
    ValueError, TypeError as carried. Source: Peng et al. (2024), section 4.1 ("Eagle").
    """

    def __init__(self, d_model: int, n_heads: int, chunk: int = 32):
        super().__init__()
        mixed = ("receptance", "key", "value", "gate")
        linear = {name: nn.Linear(d_model, d_model, bias=False) for name in mixed}
        shares = {name: nn.Parameter(torch.linspace(0, 1, d_model)) for name in mixed}
        self.linear, self.shares = nn.ModuleDict(linear), nn.ParameterDict(shares)
        self.rate = nn.Parameter(torch.linspace(-6, 0, d_model))
        self.bonus = nn.Parameter(torch.ones(d_model))
        self.norm = nn.GroupNorm(n_heads, d_model)
        self.out = nn.Linear(d_model, d_model, bias=False)
        self.n_heads, self.chunk = n_heads, chunk

    def forward(
        self, x: Tensor, *, causal=False, positions=None, cache=None, **others
    ) -> Tensor:
        kept = carried(self, causal, cache, others)
        before = shifted(x, kept.get("last"))
        r, k, v, gate = (
            linear(torch.lerp(before, x, self.shares[name]))
            for name, linear in self.linear.items()
        )
        w = torch.exp(-self.rate.clamp(max=0.69).exp())  # not below exp(-2)
        decay, bonus = (y.view(self.n_heads, -1) for y in (w, self.bonus))
        heads = (split_heads(y, self.n_heads) for y in (r, k, v))
        options = {"decay": decay, "bonus": bonus, "chunk": self.chunk}
        sums, state = linear_attention(*heads, state=kept.get("sums"), **options)
        if cache is not None:
            cache.carry(x.shape[1], sums=state, last=x[:, -1:])
        mixed = self.norm(merge_heads(sums).flatten(0, 1)).view_as(x)
        return self.out(mixed * F.silu(gate))


class GatedConvolution(nn.Module):
    """Each token sees some before it, always with the same weights for the same lag.

    out = W ((x * V) ⊗ sigmoid(x * G)), the convolutions * reading `width` tokens, each
    `dilation` apart and none after its own, in groups of channels.
    Called as MultiHeadAttention with x: (b, t, d)  ->  (b, t, d); cache: a StateCache.
    ValueError, TypeError as carried. Sources: Dauphin et al. (2017), equation 1; van den
    Oord et al. (2016), section 2.1, for dilation.
    """

    def __init__(self, d_model: int, width: int, groups: int = 1, dilation: int = 1):
        super().__init__()
        options = {"groups": groups, "dilation": dilation, "bias": False}
        self.value = nn.Conv1d(d_model, d_model, width, **options)
        self.gate = nn.Conv1d(d_model, d_model, width, **options)
        self.out = nn.Linear(d_model, d_model, bias=False)
        self.reach = (width - 1) * dilation

    def forward(
        self, x: Tensor, *, causal=False, positions=None, cache=None, **others
    ) -> Tensor:
        past = carried(self, causal, cache, others).get("past")
        if past is None:
            past = x.new_zeros(len(x), self.reach, x.shape[2])
        read = torch.cat([past, x], dim=1)
        if cache is not None:
            cache.carry(x.shape[1], past=read[:, x.shape[1] :])
        read = read.transpose(
            1, 2
        )  # (b, d, reach + t), as PyTorch's convolutions want it
        mixed = self.value(read) * self.gate(read).sigmoid()
        return self.out(mixed.transpose(1, 2))


MIXERS: Mapping[str, Callable[[GPTConfig, int], nn.Module | None]] = {
    "softmax": lambda c, layer: None,  # stays as it is
    "linear": lambda c, layer: LinearAttention(c.d_model, c.n_heads, c.bias),
    "decaying": lambda c, layer: LinearAttention(
        c.d_model,
        c.n_heads,
        c.bias,
        [4.0 ** (i + 1) for i in range(c.n_heads)],
        chunk=32,
    ),
    "time mix": lambda c, layer: TimeMix(c.d_model, c.n_heads),
    "convolution": lambda c, layer: GatedConvolution(
        c.d_model, 6, c.n_heads, dilation=6**layer
    ),
}


def with_mixer(model: GPT, mixer: str, generator: torch.Generator) -> GPT:
    """Put another mixer in the place of each attention; the rest of the model stays.

    mixer: a name in MIXERS; its matrices are drawn as initialize_gpt draws them. The model
    is changed, and returned. ValueError for an unknown name.
    """
    make = choose("mixer", mixer, MIXERS)
    for layer, block in enumerate(model.stack.blocks):
        new = make(model.config, layer)
        if new is None:
            continue
        for name, parameter in new.named_parameters():
            if parameter.ndim >= 2:
                writes = name == "out.weight"
                std = 0.02 / (2 * model.config.n_layers) ** 0.5 if writes else 0.02
                nn.init.normal_(parameter, std=std, generator=generator)
        block.attention.module = new
    return model


def stored_mixer(name: str) -> tuple[GPT, Tokenizer]:
    """A GPT with another mixer that comes with the course, and its tokenizer.

    ValueError as stored_weights.
    """
    tensors, card = stored_weights(name)
    generator = torch.Generator()
    model = with_mixer(GPT(GPTConfig(**card["config"])), card["mixer"], generator)
    model.load_state_dict(tensors)
    return model.eval(), load_tokenizer(WEIGHTS / f"{card['tokenizer']}.tokenizer")


def strided_mask(queries: Tensor, keys: Tensor, stride: int) -> Tensor:
    """Who may see whom: the last `stride` tokens, and every stride-th before them.

    lag = query - key: seen where 0 <= lag < stride, or lag is a multiple of stride.
    queries: (t,), keys: (s,), both positions  ->  (t, s) Boolean, True = may attend.
    ValueError for a stride under 1. Source: Child et al. (2019), section 4.3.

    >>> strided_mask(torch.tensor([6]), torch.arange(8), stride=3).long()
    tensor([[1, 0, 0, 1, 1, 1, 1, 0]])
    """
    if stride < 1:
        raise ValueError(f"stride must be 1 or more; got stride={stride}")
    lag = queries[:, None] - keys
    return (lag >= 0) & ((lag < stride) | (lag % stride == 0))


def random_mask(
    queries: Tensor, keys: Tensor, n: int, generator: torch.Generator
) -> Tensor:
    """Who may see whom: itself, and n keys before it, drawn at random; all, if fewer.

    queries: (t,), keys: (s,), both positions  ->  (t, s) Boolean, True = may attend.
    ValueError for n under 0. Source: Zaheer et al. (2020), section 2.

    >>> mask = random_mask(torch.arange(4), torch.arange(4), 1, torch.Generator())
    >>> mask.sum(dim=1).tolist()
    [1, 2, 2, 2]
    """
    if n < 0:
        raise ValueError(f"n must be 0 or more; got n={n}")
    lag = queries[:, None] - keys
    draws = torch.rand(lag.shape, generator=generator)
    draws = draws.where(lag > 0, 2.0)  # what is not before comes last
    rank = draws.argsort(dim=1).argsort(dim=1)
    return (lag == 0) | (lag > 0) & (rank < n)


def layers_to_reach(mask: Tensor, wanted: Tensor) -> int | None:
    """How many layers of this mask carry something from every wanted key to its query.

    mask, wanted: (t, t) Boolean, True = may attend, True = should arrive. None where no
    number of layers does. A token takes along what it had, as residuals let it.

    >>> band = window_mask(torch.arange(9), torch.arange(9), window=3)
    >>> layers_to_reach(band, causal_mask(9)), layers_to_reach(band, causal_mask(9).T)
    (4, None)
    """
    step = (mask | torch.eye(len(mask), dtype=torch.bool)).float()
    reached, layers = torch.eye(len(mask)), 0
    while (reached.bool() < wanted).any():
        further = (step @ reached).clamp(max=1)
        if torch.equal(further, reached):
            return None
        reached, layers = further, layers + 1
    return layers


def hash_buckets(x: Tensor, n_buckets: int, generator: torch.Generator) -> Tensor:
    """A bucket for each vector, mostly the same for vectors of nearly the same direction.

    argmax of [x R, -x R] with a random R: (k, n_buckets / 2), the nearest of n_buckets
    directions. x: (..., k)  ->  (...) integers. ValueError for an odd n_buckets, or none.
    Sources: Andoni et al. (2015), section 3; Kitaev et al. (2020), section 2.

    >>> x = torch.tensor([[3.0, 1.0], [6.0, 2.0], [-3.0, -1.0]])
    >>> near, same, opposite = hash_buckets(x, 8, torch.Generator().manual_seed(0))
    >>> bool(near == same), abs(int(near - opposite))
    (True, 4)
    """
    if n_buckets < 2 or n_buckets % 2:
        raise ValueError(
            f"n_buckets must be even, from 2 on; got n_buckets={n_buckets}"
        )
    turn = torch.randn(x.shape[-1], n_buckets // 2, generator=generator)
    turned = x @ turn.to(x.device, x.dtype)
    return torch.cat([turned, -turned], dim=-1).argmax(dim=-1)


def hash_mask(
    q: Tensor, k: Tensor, n_buckets: int, rounds: int, generator: torch.Generator
) -> Tensor:
    """Who may see whom: keys before the query, in its bucket, in one round or more.

    And itself. q: (..., t, k), k: (..., t, k)  ->  (..., t, t) Boolean, True = may attend.
    Each round draws buckets anew. ValueError for fewer rounds than one, and as
    hash_buckets. Source: Kitaev et al. (2020), section 2 (with queries that are keys).
    """
    if rounds < 1:
        raise ValueError(f"rounds must be 1 or more; got rounds={rounds}")
    t = q.shape[-2]
    mask = torch.eye(t, dtype=torch.bool, device=q.device)
    for _ in range(rounds):
        of_q, of_k = hash_buckets(torch.stack([q, k]), n_buckets, generator)
        mask = mask | (of_q[..., :, None] == of_k[..., None, :])
    return mask & causal_mask(t, device=q.device)


def span_means(x: Tensor) -> Tensor:
    """Every token, then the mean of every two, of every four, ...: the spans of a tree.

    x: (..., t, k)  ->  (..., t + t // 2 + t // 4 + ... + 1, k). A span that the text does
    not fill is left out.

    >>> span_means(torch.arange(5.0)[:, None])[:, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 0.5, 2.5, 1.5]
    """
    levels = [x]
    while (t := levels[-1].shape[-2]) > 1:
        pairs = levels[-1][..., : t - t % 2, :].unflatten(-2, (-1, 2))
        levels.append(pairs.mean(dim=-2))
    return torch.cat(levels, dim=-2)


def spans_before(end: int, near: int) -> list[tuple[int, int]]:
    """The first `end` tokens cut into spans: near ones fine, far ones coarse.

    From the last token back: at each size 1, 2, 4, ... at least `near` spans, and one more
    where the next size needs it to begin at a border.  ->  [(level, place in the level)],
    at most (near + 1) (1 + log2(end / near)). ValueError for near under 1. Source: Ye et
    al. (2019), section 3.

    >>> spans_before(7, near=1)  # token 6; tokens 4 and 5; tokens 0 to 3
    [(0, 6), (1, 2), (2, 0)]
    """
    if near < 1:
        raise ValueError(f"near must be 1 or more; got near={near}")
    spans, level, taken = [], 0, 0
    while end > 0:
        size = 2**level
        if taken >= near and end % (2 * size) == 0:
            level, taken = level + 1, 0
            continue
        end, taken = end - size, taken + 1
        spans.append((level, end // size))
    return spans


def partition_mask(t: int, near: int) -> Tensor:
    """Which spans each of t tokens attends to, such that it meets each token before it once.

    -> (t, spans) Boolean, True = may attend; the spans in the order of span_means.
    ValueError for near under 1. Source: Ye et al. (2019), section 3.
    """
    starts, size = [0], t
    while size > 1:
        starts, size = [*starts, starts[-1] + size], size // 2
    mask = torch.zeros(t, starts[-1] + 1 if t else 0, dtype=torch.bool)
    for query in range(t):
        for level, place in spans_before(query + 1, near):
            mask[query, starts[level] + place] = True
    return mask


class SparseAttention(nn.Module):
    """Multi-head attention whose heads are mixed in another way than all with all.

    heads: a MultiHeadAttention, whose matrices and rotation stay; mix: q, k, v, all
    (b, h, t, k), to (b, h, t, k), causal. Called with x: (b, t, d)  ->  (b, t, d), in the
    place of heads in a Block. ValueError for what mix cannot know of: a context, mask,
    score_bias, cache, return_weights, or causal=False.
    """

    def __init__(
        self,
        heads: MultiHeadAttention,
        mix: Callable[[Tensor, Tensor, Tensor], Tensor],
    ):
        super().__init__()
        self.heads, self.mix = heads, mix

    def forward(
        self,
        x: Tensor,
        *,
        causal: bool = False,
        positions: Tensor | None = None,
        **options,
    ) -> Tensor:
        given = [n for n, v in options.items() if v is not None and v is not False]
        if given or not causal:
            wrong = f"{', '.join(given)}=" if given else "causal=False"
            raise ValueError(
                f"sparse attention mixes what is before a token, and takes no {wrong}: "
                "use the MultiHeadAttention that it was made from"
            )
        q, k, v = self.heads.qkv(x)
        if self.heads.rotate is not None:
            positions = next_positions(x, None) if positions is None else positions
            q, k = (self.heads.rotate(part, positions) for part in (q, k))
        groups = q.shape[1] // k.shape[1]
        k, v = (part.repeat_interleave(groups, dim=1) for part in (k, v))
        return self.heads.out(merge_heads(self.mix(q, k, v)))


def local_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Causal attention to the last `window` tokens that never makes the other pairs.

    Cut into blocks of `window`: the queries of a block need its keys and those of the
    block before. 2 n window scores, where a mask makes n^2.
    q, k: (b, h, t, k), v: (b, h, t, width of v)  ->  (b, h, t, width of v).
    ValueError for a window under 1, or tensors that differ in b, h or t. Source: Beltagy
    et al. (2020), appendix A (as "chunks").
    """
    if window < 1:
        raise ValueError(f"window must be 1 or more; got window={window}")
    if q.ndim != 4 or not q.shape[:3] == k.shape[:3] == v.shape[:3]:
        shapes = f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
        raise ValueError(f"q, k and v must be (b, h, t, width), alike; got {shapes}")
    b, h, t, _ = q.shape
    window = min(window, max(t, 1))
    blocks = -(-t // window)
    q, k, v = (
        F.pad(x.flatten(0, 1), (0, 0, 0, blocks * window - t)).unflatten(
            1, (blocks, -1)
        )
        for x in (q, k, v)
    )  # (b h, blocks, window, width)
    k, v = (torch.cat([F.pad(x, (0, 0, 0, 0, 1, -1)), x], dim=2) for x in (k, v))
    places = torch.arange(2 * window, device=q.device)
    mask = window_mask(places[window:], places, window).repeat(blocks, 1, 1)
    mask[0, :, :window] = False  # before the first block there is nothing
    mixed = attention(q, k, v, mask=mask[None])
    return mixed.flatten(1, 2)[:, :t].unflatten(0, (b, h))


class SegmentMemory:
    """What is left of one segment of a text when the next is read: its last keys, values.

    The positions of a segment see the last `length` before it, and each other causally.
    No gradient goes back into the memory, so that training on a long text costs one
    segment at a time; positions count on. ValueError for a length under 0, and for keys
    of another batch or shape than those remembered. Source: Dai et al. (2019), section 3.2.
    """

    def __init__(self, length: int):
        if length < 0:
            raise ValueError(f"length must be 0 or more; got length={length}")
        self.length, self.read, self.memory = length, 0, None

    def positions(self, t: int) -> Tensor:
        return torch.arange(self.read, self.read + t)

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        t, kv = k.shape[-2], torch.stack([k, v])
        if self.memory is not None:
            old = self.memory
            if old.shape[:3] != kv.shape[:3] or old.shape[-1] != kv.shape[-1]:
                raise ValueError(
                    f"the memory holds keys like {tuple(old.shape[1:])}; got "
                    f"k {tuple(k.shape)}: give each text a SegmentMemory of its own"
                )
            kv = torch.cat([old, kv], dim=-2)
        self.read += t
        self.memory = self.remember(kv.detach())
        return kv[0], kv[1], causal_mask(t, kv.shape[-2], k.device)

    def remember(self, kv: Tensor) -> Tensor:
        """What is kept of all keys and values (2, b, g, s, k), oldest first."""
        return kv[..., max(0, kv.shape[-2] - self.length) :, :]


class CompressedMemory(SegmentMemory):
    """A memory whose oldest are not forgotten, but averaged, `rate` into one.

    The last `length` stay as they are; what is older is kept as means of `rate`
    neighbours, the last `compressed` of them; what fills no mean yet waits. ValueError
    for a rate under 1, for compressed or length under 0. Source: Rae et al. (2020),
    section 3 (mean pooling; theirs pools states, ours keys and values).
    """

    def __init__(self, length: int, compressed: int, rate: int):
        super().__init__(length)
        if compressed < 0 or rate < 1:
            raise ValueError(
                "compressed must be 0 or more and rate 1 or more; "
                f"got compressed={compressed}, rate={rate}"
            )
        self.compressed, self.rate, self.means = compressed, rate, 0

    def remember(self, kv: Tensor) -> Tensor:
        means, exact = kv.tensor_split([self.means], dim=-2)
        old = max(0, exact.shape[-2] - self.length) // self.rate * self.rate
        squeezed = exact[..., :old, :].unflatten(-2, (-1, self.rate)).mean(dim=-2)
        means = torch.cat([means, squeezed], dim=-2)
        means = means[..., max(0, means.shape[-2] - self.compressed) :, :]
        self.means = means.shape[-2]
        return torch.cat([means, exact[..., old:, :]], dim=-2)
