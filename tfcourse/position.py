"""Position: telling attention where each token stands (chapter 7)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


def angles(positions: Tensor, width: int, base: float = 10_000.0) -> Tensor:
    """How far width / 2 hands have turned at each position, in radians.

    Hand i turns by base^(-2i / width) a step: the first by 1, each next one slower.
    positions: (...) numbers  ->  (..., width / 2), float64 where positions are, else
    float32: narrower numbers cannot tell far positions apart. Raises ValueError for an
    odd width or a base not above 1. Source: Vaswani et al. (2017), section 3.5.

    >>> angles(torch.tensor([0, 3]), width=4, base=100.0)
    tensor([[0.0000, 0.0000],
            [3.0000, 0.3000]])
    """
    if width < 2 or width % 2:
        raise ValueError(f"the width must be even: each pair is a hand; got {width}")
    if not base > 1:
        raise ValueError(f"base must be above 1; got base={base}")
    if positions.dtype != torch.float64:
        positions = positions.float()
    pairs = torch.arange(0, width, 2, device=positions.device).to(positions)
    return positions[..., None] / base ** (pairs / width)


def sinusoids(positions: Tensor, d_model: int, base: float = 10_000.0) -> Tensor:
    """The tips of the hands: sine and cosine of each angle, one beside the other.

    PE(p)[2i] = sin(p base^(-2i / d)), PE(p)[2i + 1] = cos(p base^(-2i / d))
    positions: (...)  ->  (..., d). Source: Vaswani et al. (2017), section 3.5.

    >>> sinusoids(torch.tensor([0]), d_model=4)
    tensor([[0., 1., 0., 1.]])
    """
    turned = angles(positions, d_model, base)
    return torch.stack([turned.sin(), turned.cos()], dim=-1).flatten(start_dim=-2)


def positions_of(x: Tensor, positions: Tensor | None) -> Tensor:
    """The positions given, or those of x: (b, t, d) counted from 0: (t,)."""
    return (
        torch.arange(x.shape[-2], device=x.device) if positions is None else positions
    )


class SinusoidalPosition(nn.Module):
    """Adds to each token the sinusoids of its position; learns nothing.

    Called with x: (b, t, d), positions: (t,) or (b, t), counted from 0 unless given  ->
    (b, t, d). ValueError for an odd d.
    """

    def __init__(self, base: float = 10_000.0):
        super().__init__()
        self.base = base

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        positions = positions_of(x, positions)
        if x.dtype == torch.float64:
            positions = positions.double()
        return x + sinusoids(positions, x.shape[-1], self.base).to(x.dtype)


class LearnedPosition(nn.Module):
    """Adds to each token a learned vector of its position: context_length x d_model numbers.

    Called as SinusoidalPosition is. ValueError for a position that has no row.
    """

    def __init__(self, context_length: int, d_model: int):
        super().__init__()
        self.table = nn.Parameter(0.02 * torch.randn(context_length, d_model))

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        positions = positions_of(x, positions)
        n = len(self.table)
        if positions.numel() and not 0 <= positions.min() <= positions.max() < n:
            raise ValueError(
                f"the learned table has positions 0 to {n - 1}; "
                f"got {positions.min()} to {positions.max()}"
            )
        return x + self.table[positions]


def lags(t: int, s: int | None = None, device: torch.device | None = None) -> Tensor:
    """How far before the query each key stands, the queries being the last t of s.

    -> (t, s) of query position - key position: 0 at itself, negative where the key comes
    later; s is t unless given. Raises ValueError for fewer keys than queries.

    >>> lags(2, 3)
    tensor([[ 1,  0, -1],
            [ 2,  1,  0]])
    """
    s = t if s is None else s
    if not 0 <= t <= s:
        raise ValueError(f"lags are for the last t of s positions; got t={t}, s={s}")
    places = torch.arange(s, device=device)
    return places[s - t :, None] - places


class RelativeBias(nn.Module):
    """Learns, for every head, a number to add to the score at each lag.

    Lags beyond max_lag, to either side, share the last one: h (2 max_lag + 1) numbers.
    Called with t and s, as `lags`  ->  (1, h, t, s), a score_bias.
    Source: Raffel et al. (2020), section 2.1, whose lags share buckets that widen.
    """

    def __init__(self, n_heads: int, max_lag: int):
        super().__init__()
        if n_heads < 1 or max_lag < 0:
            raise ValueError(
                "n_heads must be 1 or more and max_lag 0 or more; "
                f"got n_heads={n_heads}, max_lag={max_lag}"
            )
        self.max_lag = max_lag
        self.table = nn.Parameter(torch.zeros(n_heads, 2 * max_lag + 1))

    def forward(self, t: int, s: int | None = None) -> Tensor:
        near = lags(t, s, self.table.device).clamp(-self.max_lag, self.max_lag)
        return self.table[:, near + self.max_lag][None]


def alibi(
    n_heads: int, t: int, s: int | None = None, device: torch.device | None = None
) -> Tensor:
    """A penalty that grows with distance, by a fixed slope for each head: ALiBi.

    score_bias = -m_h |lag|, with m_h = 2^(-8h / n_heads) for heads h = 1, ..., n_heads
    -> (1, h, t, s); nothing is learned. ValueError for no heads, or fewer keys than
    queries. Source: Press, Smith and Lewis (2022), section 3; in their models causal.

    >>> alibi(2, t=1, s=3).tolist()
    [[[[-0.125, -0.0625, -0.0]], [[-0.0078125, -0.00390625, -0.0]]]]
    """
    if n_heads < 1:
        raise ValueError(f"n_heads must be 1 or more; got n_heads={n_heads}")
    heads = torch.arange(1, n_heads + 1, device=device)
    slopes = 2.0 ** (-8 * heads / n_heads)
    return (-slopes[:, None, None] * lags(t, s, device).abs())[None]


def turn(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Points (x, y) turned about the origin, anticlockwise, by angles in radians.

    >>> x, y = turn(torch.tensor(1.0), torch.tensor(0.0), torch.tensor(torch.pi / 2))
    >>> round(x.item(), 6), y.item()
    (-0.0, 1.0)
    """
    cos, sin = angle.cos(), angle.sin()
    return x * cos - y * sin, x * sin + y * cos


@dataclass(frozen=True)
class Rotary:
    """Turns queries and keys by their positions, so that scores see only the lag: RoPE.

    q_p . k_r, turned = q . (k turned by the angles of r - p); nothing is learned.
    interleaved: pair i is entries 2i and 2i + 1, else i and i + width / 2; stretch: what
    positions are divided by, to fit a longer text into the trained range (Chen et al. 2023).
    Called with x: (b, h, t, k), positions: (t,) or (b, t)  ->  (b, h, t, k).
    ValueError for an odd k, a base not above 1 or a stretch not above 0.
    Source: Su et al. (2021), section 3.2; they interleave.
    """

    base: float = 10_000.0
    interleaved: bool = False
    stretch: float = 1.0

    def __post_init__(self):
        if not self.stretch > 0:
            raise ValueError(f"stretch must be above 0; got stretch={self.stretch}")

    def __call__(self, x: Tensor, positions: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            positions = positions.double()
        angle = angles(positions / self.stretch, x.shape[-1], self.base)
        if positions.ndim == 2:
            angle = angle[:, None]  # the same in every head
        if self.interleaved:
            pairs = turn(x[..., 0::2], x[..., 1::2], angle)
            return torch.stack(pairs, dim=-1).flatten(start_dim=-2).to(x.dtype)
        return torch.cat(turn(*x.chunk(2, dim=-1), angle), dim=-1).to(x.dtype)


def convert_layout(weight: Tensor, n_heads: int, interleaved: bool) -> Tensor:
    """The rows of W_Q or W_K, or of its bias, put in the order of the other layout.

    weight: (h * k, ...), made for half-split pairs, comes back for interleaved ones where
    interleaved is True, and the other way round where it is False; scores stay the same.
    ValueError where the rows are not n_heads times an even number.

    >>> convert_layout(torch.arange(4), n_heads=1, interleaved=True)
    tensor([0, 2, 1, 3])
    """
    if n_heads < 1 or len(weight) % (2 * n_heads):
        raise ValueError(
            "the rows must be n_heads times an even width; "
            f"got {len(weight)} rows, n_heads={n_heads}"
        )
    pairs = (2, -1) if interleaved else (-1, 2)
    heads = weight.reshape(n_heads, *pairs, *weight.shape[1:])
    return heads.transpose(1, 2).reshape(weight.shape)


def stretched_base(base: float, factor: float, width: int) -> float:
    """The base at which the slowest hand of a longer text turns as far as it did.

    base factor^(width / (width - 2)): the first hand keeps its pace, the last slows by
    the factor. ValueError for a width under 4 or a factor not above 0.
    Source: bloc97 (2023), as told by Peng et al. (2024), section 3.1.
    """
    if width < 4 or not factor > 0:
        raise ValueError(
            "width must be 4 or more and factor above 0; "
            f"got width={width}, factor={factor}"
        )
    return base * factor ** (width / (width - 2))
