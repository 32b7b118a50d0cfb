"""Multi-head attention: several attentions side by side (chapter 6)."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tfcourse.attention import attention, four_axes


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Cut the width into heads, and let each be a batch of its own.

    x: (b, t, h * k)  ->  (b, h, t, k), a view. ValueError where h does not divide the
    width.

    >>> split_heads(torch.arange(4.0).reshape(1, 1, 4), 2)[0, :, 0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    if x.shape[-1] % n_heads:
        raise ValueError(
            f"the width must be divisible by n_heads; got width {x.shape[-1]}, "
            f"n_heads={n_heads}"
        )
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Lay the heads of a position side by side again: the way back of split_heads.

    x: (b, h, t, k)  ->  (b, t, h * k).
    """
    return x.transpose(1, 2).flatten(start_dim=2)


def parameter_count(
    d_model: int, n_heads: int, n_kv_heads: int | None = None, bias: bool = True
) -> int:
    """The numbers that a MultiHeadAttention learns: W_Q, W_K, W_V, W_O, and biases.

    >>> parameter_count(512, 8)  # the paper's: 4 * 512 * 512, and 4 * 512 biases
    1050624
    """
    rows = 2 * d_model + 2 * (n_kv_heads or n_heads) * (d_model // n_heads)
    return rows * d_model + (rows if bias else 0)


def multiply_adds(
    t: int, d_model: int, n_heads: int, n_kv_heads: int | None = None
) -> dict[str, int]:
    """Multiplications (each with an addition) for one sequence of t positions.

    "linear" is for the four matrices; "scores" for q kᵀ and the mix of values, every
    query with every key. Half of a count of floating-point operations.

    >>> multiply_adds(100, 512, 8)
    {'linear': 104857600, 'scores': 10240000}
    """
    matrices = parameter_count(d_model, n_heads, n_kv_heads, bias=False)
    return {"linear": t * matrices, "scores": 2 * t * t * d_model}


class Cache(Protocol):
    """What keeps the keys and values of earlier positions; chapter 13 builds some."""

    def positions(self, t: int) -> Tensor:
        """The positions of the next t tokens, (t,) or (b, t): counted on from the last."""

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Take the new k and v (b, g, t, k); return all, and a mask: (t, s) or (b, 1, t, s)."""


def next_positions(x: Tensor, cache: Cache | None) -> Tensor:
    """The positions of x: (b, t, d), counted from 0, or on from what the cache holds."""
    start = torch.arange if cache is None else cache.positions
    return start(x.shape[1]).to(x.device)


class HeadProjections(nn.Module):
    """W_Q, W_K and W_V of all heads in one matrix; x, context -> q, k, v cut into heads.

    x: (b, t, d), context: (b, s, d) or None for x  ->  (b, h, t, k), (b, g, s, k) twice.
    ValueError where n_heads does not divide d_model, or n_kv_heads n_heads.
    """

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int | None, bias: bool):
        super().__init__()
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(
                "d_model must be divisible by n_heads; "
                f"got d_model={d_model}, n_heads={n_heads}"
            )
        if n_kv_heads < 1 or n_heads % n_kv_heads:
            raise ValueError(
                "n_heads must be divisible by n_kv_heads; "
                f"got n_heads={n_heads}, n_kv_heads={n_kv_heads}"
            )
        self.heads = n_heads, n_kv_heads, n_kv_heads  # of q, of k, of v
        self.widths = [heads * (d_model // n_heads) for heads in self.heads]
        self.linear = nn.Linear(d_model, sum(self.widths), bias=bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> list[Tensor]:
        if context is None:
            parts = self.linear(x).split(self.widths, dim=-1)
        else:
            weights = self.linear.weight.split(self.widths)
            bias = self.linear.bias
            biases = (None,) * 3 if bias is None else bias.split(self.widths)
            inputs = x, context, context
            parts = map(F.linear, inputs, weights, biases)
        return [split_heads(p, n) for p, n in zip(parts, self.heads, strict=True)]


class MultiHeadAttention(nn.Module):
    """h attentions of width d_model / h, side by side, and a matrix that mixes them.

    n_heads: h, of the queries; n_kv_heads: of keys and values, h unless given (1: Shazeer
    2019; between: Ainslie et al. 2023); rotate: (q or k, positions) -> the same, turned.
    Called with x: (b, t, d)  ->  (b, t, d), with return_weights also (b, h, t, s).
    context: (b, s, d), in place of x for keys and values; mask (True = may attend) and
    score_bias: (t, s), (b, t, s) or (b, h, t, s); causal: as for `attention`; positions:
    (t,) or (b, t), for rotate; cache: takes new keys and values, gives all. Source: Vaswani
    et al. (2017), 3.2.2. ValueError for heads that do not divide, rotate with a context.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        bias: bool = True,
        rotate: Callable[[Tensor, Tensor], Tensor] | None = None,
    ):
        super().__init__()
        self.qkv = HeadProjections(d_model, n_heads, n_kv_heads, bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)
        self.rotate = rotate

    def forward(
        self,
        x: Tensor,
        *,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        score_bias: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        q, k, v = self.qkv(x, context)
        if self.rotate is not None:
            if context is not None:
                raise ValueError("rotate= counts the positions of x: give no context=")
            positions = next_positions(x, cache) if positions is None else positions
            q, k = self.rotate(q, positions), self.rotate(k, positions)
        mask = None if mask is None else four_axes(mask)
        if cache is not None:
            k, v, kept = cache.update(k, v)
            mask = kept if mask is None else mask if kept is None else mask & kept
        options = {"mask": mask, "causal": causal, "score_bias": score_bias}
        if not return_weights:
            return self.out(merge_heads(attention(q, k, v, **options)))
        mixed, weights = attention(q, k, v, **options, return_weights=True)
        return self.out(merge_heads(mixed)), weights
