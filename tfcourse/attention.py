"""Attention: queries meet keys, and take home a mix of values (chapter 5)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def softmax(
    scores: Tensor, mask: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """Shares that sum to one: exp(score / temperature), divided by the sum of its row.

    scores: (..., t, s); mask: Boolean, True = may attend  ->  (..., t, s). A row that
    may attend to nothing gets zeros. Raises ValueError for a temperature not above 0.

    >>> softmax(torch.tensor([2.0, 1.0, 0.0])).round(decimals=3)
    tensor([0.6650, 0.2450, 0.0900])
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0; got {temperature}")
    scores = scores / temperature
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    top = scores.detach().amax(dim=-1, keepdim=True)
    top = top.clamp(min=torch.finfo(scores.dtype).min)  # where all are -inf
    exps = (scores - top).exp()
    total = exps.sum(dim=-1, keepdim=True)  # at least 1, from the top score itself,
    return exps / total.clamp(min=1)  # or 0 where there is none


def causal_mask(
    t: int, s: int | None = None, device: torch.device | None = None
) -> Tensor:
    """Which of s positions each of the last t may attend to: itself and all before.

    -> (t, s) Boolean, True = may attend; s is t unless given. Raises ValueError where
    there are fewer keys than queries.

    >>> causal_mask(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    s = t if s is None else s
    if not 0 <= t <= s:
        raise ValueError(
            f"a causal mask is for the last t of s positions; got t={t}, s={s}"
        )
    return torch.ones(t, s, dtype=torch.bool, device=device).tril(diagonal=s - t)


def padding_mask(lengths: Tensor, s: int) -> Tensor:
    """Which of s positions hold something, where sequence i has lengths[i] of them.

    lengths: (b,) integers  ->  (b, 1, s) Boolean, True = may attend, the same for every
    query. Raises ValueError for a length below 0 or above s.

    >>> padding_mask(torch.tensor([1, 3]), 3)[:, 0]
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    if lengths.numel() and not 0 <= lengths.min() <= lengths.max() <= s:
        raise ValueError(f"lengths must be from 0 to s={s}; got {lengths.tolist()}")
    return torch.arange(s, device=lengths.device) < lengths[:, None, None]


def additive_scores(
    q: Tensor, k: Tensor, w_q: Tensor, w_k: Tensor, w: Tensor
) -> Tensor:
    """Scores from a small network: w · tanh(W_q q_i + W_k k_j).

    q: (..., t, k), k: (..., s, k), w_q and w_k: (d, k), w: (d,)  ->  (..., t, s).
    Source: Bahdanau, Cho and Bengio (2015), section 3.1.
    """
    pairs = (q @ w_q.T)[..., :, None, :] + (k @ w_k.T)[..., None, :, :]  # (.., t, s, d)
    return torch.tanh(pairs) @ w


def scaled_scores(q: Tensor, k: Tensor) -> Tensor:
    """Scores from dot products: q_i · k_j / sqrt(width of q and k).

    q: (..., t, k), k: (..., s, k)  ->  (..., t, s).
    Source: Vaswani et al. (2017), section 3.2.1.

    >>> scaled_scores(torch.ones(1, 4), torch.ones(1, 4))
    tensor([[2.]])
    """
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def check_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
    """Refuse what cannot be attended with: ValueError for shapes, TypeError for masks."""

    def shapes() -> str:
        return f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"

    if not 2 <= q.ndim <= 4 or not q.ndim == k.ndim == v.ndim:
        raise ValueError(
            f"q, k and v must have the same 2, 3 or 4 axes; got {shapes()}"
        )
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"queries and keys must have the same width; got {shapes()}")
    if k.shape[:-1] != v.shape[:-1]:
        raise ValueError(f"each key needs one value; got {shapes()}")
    if k.shape[-2] == 0:
        raise ValueError(
            f"there must be something to attend to; got no keys: {shapes()}"
        )
    shared = q.ndim == 4 and k.shape[1] > 0 and q.shape[1] % k.shape[1] == 0
    if q.shape[:-2] != k.shape[:-2] and not (shared and len(q) == len(k)):
        raise ValueError(
            f"queries and keys must agree in their first axes; got {shapes()}"
        )
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise TypeError(
            f"a mask is Boolean, True = may attend; got {mask.dtype}: numbers to be added "
            "to the scores are a score_bias"
        )
    scores = torch.Size((*q.shape[:-1], k.shape[-2]))
    if mask.ndim > len(scores) or any(
        m not in (1, n) for m, n in zip(mask.shape[::-1], scores[::-1], strict=False)
    ):
        raise ValueError(
            f"mask must fit scores of shape {tuple(scores)}; got {tuple(mask.shape)}"
        )


def four_axes(x: Tensor) -> Tensor:
    """The tensor with axes of size 1 before its last two, until it has four.

    (t, k)  ->  (1, 1, t, k); (b, t, k)  ->  (b, 1, t, k); masks and biases likewise.
    """
    if x.ndim == 4:
        return x  # nearly always; no need to make another view
    return x.reshape(*x.shape[:-2], *(1,) * (4 - x.ndim), *x.shape[-2:])


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    score_bias: Tensor | None = None,
    return_weights: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Scaled dot-product attention: softmax(q kᵀ / sqrt(width) + score_bias) v.

    q: (b, h, t, k), k: (b, h, s, k), v: (b, h, s, width of v)  ->  (b, h, t, width of v),
    and the weights (b, h, t, s) if asked for. Without h, or without b and h, too. k and
    v may have g < h entries in h's place, each serving h / g of q's.
    mask: Boolean, fits (b, h, t, s), True = may attend; causal: queries are the last t
    of s positions and see none after themselves. A query without keys gets zeros.
    Raises ValueError for shapes that do not fit, TypeError for a mask that is not Boolean.
    Source: Vaswani et al. (2017), equation 1.
    """
    check_attention(q, k, v, mask)
    t, s = q.shape[-2], k.shape[-2]
    square = causal and t == s and mask is None and score_bias is None
    if causal and not (square and not return_weights):
        past = causal_mask(t, s, q.device)
        mask = past if mask is None else mask & past
    shape = q.shape[:-1]
    q, k, v = four_axes(q), four_axes(k), four_axes(v)
    mask = None if mask is None else four_axes(mask)
    bias = None if score_bias is None else four_axes(score_bias)
    groups = q.shape[1] // k.shape[1]
    if return_weights:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        scores = scaled_scores(q, k)
        weights = softmax(scores if bias is None else scores + bias, mask)
        return (weights @ v).reshape(*shape, -1), weights.reshape(*shape, s)
    if bias is not None:
        mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=square, enable_gqa=groups > 1
    )
    return out.reshape(*shape, -1)


class AttentionLayer(nn.Module):
    """One attention with the three matrices that make q, k and v: the trainable part.

    Called with x: (b, t, d_model), context: (b, s, d_model), x itself unless given  ->
    (b, t, d_head); mask, causal and return_weights as for `attention`.
    Source: Vaswani et al. (2017), section 3.2.
    """

    def __init__(self, d_model: int, d_head: int | None = None):
        super().__init__()
        d_head = d_model if d_head is None else d_head
        self.q = nn.Linear(d_model, d_head, bias=False)  # what I look for
        self.k = nn.Linear(d_model, d_head, bias=False)  # what I offer
        self.v = nn.Linear(d_model, d_head, bias=False)  # what I hand over

    def forward(
        self,
        x: Tensor,
        *,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        context = x if context is None else context
        q, k, v = self.q(x), self.k(context), self.v(context)
        return attention(
            q, k, v, mask=mask, causal=causal, return_weights=return_weights
        )
