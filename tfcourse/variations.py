"""Variations: other mixers of tokens, other sequences, and limits (chapter 16)."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tfcourse.block import choose
from tfcourse.bpe import Tokenizer, load_tokenizer
from tfcourse.data.stored import WEIGHTS, stored_weights
from tfcourse.gpt import GPT, GPTConfig
from tfcourse.multi_head_attention import HeadProjections, merge_heads, split_heads


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
        if self.decay is not None:  # each token counts 1 when it reads, the last one w
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
