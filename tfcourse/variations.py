"""Variations: the same blocks, other sequences; fewer pairs; and the limits (chapter 16)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tfcourse.attention import attention, causal_mask
from tfcourse.kv_cache import window_mask
from tfcourse.multi_head_attention import (
    MultiHeadAttention,
    merge_heads,
    next_positions,
)


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
