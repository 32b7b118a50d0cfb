"""Markov models: the next token from a few before it, counted, then learned (chapter 3)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tfcourse.one_hot import one_hot, require_ids


def require_probabilities(p: Tensor) -> None:
    """Raise ValueError unless each row of p, (..., n), is at least 0 and sums to 1."""
    if (p < 0).any():
        raise ValueError(
            f"probabilities must be 0 or more; got {p.min().item():.4g}: "
            "are these logits? softmax makes probabilities of them"
        )
    sums = p.sum(dim=-1)
    wrong = ~((sums - 1).abs() < 1e-4)  # so that NaN is wrong too
    if wrong.any():
        raise ValueError(
            "each row of probabilities must sum to 1; one of these sums to "
            f"{sums[wrong][0].item():.4g}: divide it by its sum, as shares() does "
            "(a sum of 0 is a row that was never counted)"
        )


def sample(
    next_probabilities: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int,
    generator: torch.Generator,
    stop: int | None = None,
) -> Tensor:
    """Draw token after token, each from the probabilities that those before it give.

    next_probabilities: ids (t,) -> (n,); start: (t,)  ->  ids (t + up to steps,).
    Ends early after the token `stop`. ValueError where a row does not sum to 1.

    >>> always_two = lambda ids: torch.tensor([0.0, 0.0, 1.0])
    >>> sample(always_two, torch.tensor([0]), 3, torch.Generator())
    tensor([0, 2, 2, 2])
    """
    ids = start
    for _ in range(steps):
        p = next_probabilities(ids)
        require_probabilities(p)
        drawn = torch.multinomial(p, 1, generator=generator)
        ids = torch.cat([ids, drawn])
        if drawn.item() == stop:
            break
    return ids


def lags_of(order: int) -> tuple[int, ...]:
    """How far back the tokens are that a model of this order looks at.

    ValueError for a negative order.

    >>> lags_of(3), lags_of(0)
    ((3, 2, 1), ())
    """
    if order < 0:
        raise ValueError(
            f"order must be 0 or more; got order={order}: "
            "0 looks at no token before, 1 at the last, 2 at the last two"
        )
    return tuple(range(order, 0, -1))


def pack(ids: Tensor, lags: Sequence[int], vocab_size: int) -> Tensor:
    """Each position's window, the tokens at these lags and its own, as one number.

    window_t = (... (x_{t - lags[0]} n + x_{t - lags[1]}) n + ...) n + x_t
    ids: (t,)  ->  (t - largest lag,): positions with too little past are left out.
    ValueError for ids out of range, or windows beyond 64 bits.

    >>> pack(torch.tensor([1, 2, 3]), lags=[1], vocab_size=10)
    tensor([12, 23])
    """
    require_ids(ids, vocab_size)
    if vocab_size ** (len(lags) + 1) > 2**63:
        raise ValueError(
            f"a window of {len(lags) + 1} tokens, each one of {vocab_size}, does not "
            "fit into 64 bits: take fewer lags or a smaller vocabulary"
        )
    first = max(lags, default=0)
    size = max(0, len(ids) - first)
    windows = torch.zeros(size, dtype=torch.long)
    for lag in (*lags, 0):
        windows = windows * vocab_size + ids[first - lag : first - lag + size]
    return windows


def look_up(keys: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    """The value beside each wanted key, 0 where there is none; keys: (u,), sorted.

    >>> look_up(torch.tensor([2, 5]), torch.tensor([20, 50]), torch.tensor([5, 3]))
    tensor([50,  0])
    """
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, values[place], 0)


@dataclass(frozen=True)
class Counts:
    """Which windows occur, and how often: a table that stores no zeros.

    windows: (u,), packed and sorted, and counts: (u,). The same without each window's
    last token: contexts: (c,), and totals: (c,), how often something followed them.
    """

    lags: tuple[int, ...]
    vocab_size: int
    windows: Tensor
    counts: Tensor
    contexts: Tensor
    totals: Tensor

    def table(self) -> Tensor:
        """All windows, zeros too: (n ** lags, n), a row per context, a column per next."""
        table = torch.zeros(self.vocab_size ** (len(self.lags) + 1), dtype=torch.long)
        table[self.windows] = self.counts
        return table.view(-1, self.vocab_size)


def count(ids: Tensor, lags: Sequence[int], vocab_size: int) -> Counts:
    """Count the windows of a text: the tokens at these lags, and the one they precede.

    ids: (t,); lags_of(k) for order k, (4, 1) for a pair with a gap.
    ValueError for a text with no whole window, and as for pack.

    >>> count(torch.tensor([0, 1, 0, 1, 1]), lags_of(1), vocab_size=2).table()
    tensor([[0, 2],
            [1, 1]])
    """
    windows = pack(ids, lags, vocab_size)
    if len(windows) == 0:
        raise ValueError(
            f"counting with lags {tuple(lags)} needs {max(lags, default=0) + 1} tokens "
            f"or more; got {len(ids)}: is the text empty?"
        )
    windows, counts = torch.unique(windows, return_counts=True)
    contexts, inverse = torch.unique_consecutive(
        windows // vocab_size, return_inverse=True
    )
    totals = torch.zeros_like(contexts).index_add_(0, inverse, counts)
    return Counts(tuple(lags), vocab_size, windows, counts, contexts, totals)


def shares(counts: Tensor) -> Tensor:
    """Each row divided by its sum; a row without counts stays 0: it says nothing.

    counts: (..., n), 0 or more, whole numbers or not  ->  (..., n).

    >>> shares(torch.tensor([[2, 3, 5], [0, 0, 0]]))
    tensor([[0.2000, 0.3000, 0.5000],
            [0.0000, 0.0000, 0.0000]])
    """
    totals = counts.sum(dim=-1, keepdim=True)
    return counts / totals.where(totals > 0, 1)


def entropy(p: Tensor) -> Tensor:
    """The mean surprise of each row at its own draws, in nats: -sum p ln p.

    p: (..., n), rows that sum to 1  ->  (...). Source: Shannon (1948), section 6.

    >>> entropy(torch.tensor([0.5, 0.5])) / torch.tensor(2.0).log()
    tensor(1.)
    """
    require_probabilities(p)
    return torch.special.entr(p).sum(dim=-1)


def conditional_entropy(counts: Tensor) -> Tensor:
    """The mean entropy of the rows, each weighted by how often it occurs, in nats.

    H = sum_c p(c) H(row c); counts: (contexts, n)  ->  a scalar.
    """
    weights = shares(counts.sum(dim=-1).double())
    seen = weights > 0
    return weights[seen] @ entropy(shares(counts[seen].double()))


def bits_per_byte(nats: float | Tensor, n_bytes: int) -> float:
    """A text's surprise, in nats for the whole of it, as bits for each of its bytes.

    nats / ln 2 / n_bytes, whatever tokens the text was cut into. Below 8 something was
    known of it. ValueError for a text of no bytes.

    >>> bits_per_byte(8 * math.log(2), n_bytes=1)
    8.0
    """
    if n_bytes < 1:
        raise ValueError(f"a text has 1 byte or more; got n_bytes={n_bytes}")
    return float(nats) / math.log(2) / n_bytes


def byte_ids(text: bytes) -> Tensor:
    """The bytes of a text as ids from 0 to 255: (t,). ValueError for an empty text.

    >>> byte_ids(b"Hi")
    tensor([ 72, 105])
    """
    if not text:
        raise ValueError("the text is empty: there is nothing to count or to score")
    return torch.frombuffer(bytearray(text), dtype=torch.uint8).long()


class MarkovModel:
    """The next token by counting, each context leaning on the one a token shorter.

    p_k(x | c) = (count(c x) + alpha p_{k-1}(x | c')) / (count(c) + alpha)
    c' is c without its oldest token; the shortest leans on p = 1 / n for all.
    levels: what count() returns for lags[k:], ..., lags[1:], lags, shortest first.
    ValueError when alpha is not above 0. Source: MacKay and Peto (1995).
    """

    def __init__(self, levels: Sequence[Counts], alpha: float):
        if not alpha > 0:
            raise ValueError(
                f"alpha must be above 0; got alpha={alpha}: without it, what was "
                "never counted gets probability 0, and surprises without end"
            )
        self.levels, self.alpha = list(levels), alpha
        self.vocab_size = self.levels[0].vocab_size

    def smoothed(self, level: Counts, windows: Tensor, shorter: Tensor) -> Tensor:
        """The formula, for packed windows: (m,) and p_{k-1} of the same: (m,)."""
        hits = look_up(level.windows, level.counts, windows)
        total = look_up(level.contexts, level.totals, windows // self.vocab_size)
        return (hits + self.alpha * shorter) / (total.double() + self.alpha)

    def probabilities(self, ids: Tensor) -> Tensor:
        """The probability of each token of a text, given those before it: (t,)."""
        p = torch.full((len(ids),), 1 / self.vocab_size, dtype=torch.double)
        for level in self.levels:
            first = max(level.lags, default=0)
            windows = pack(ids, level.lags, self.vocab_size)
            p[first:] = self.smoothed(level, windows, p[first:])
        return p

    def next_probabilities(self, ids: Tensor) -> Tensor:
        """The probabilities of what may follow a text, ids: (t,)  ->  (n,)."""
        p = torch.full((self.vocab_size,), 1 / self.vocab_size, dtype=torch.double)
        for level in self.levels:
            first = max(level.lags, default=0)
            if first > len(ids):
                break
            end = torch.cat([ids[len(ids) - first :], ids.new_zeros(1)])
            window = pack(end, level.lags, self.vocab_size)
            p = self.smoothed(level, window + torch.arange(self.vocab_size), p)
        return p


def earlier(ids: Tensor, vocab_size: int) -> Tensor:
    """Which words occurred before each position, without their order or number.

    ids: (t,)  ->  (t, n): 1 where the word stands anywhere before position t, else 0.

    >>> earlier(torch.tensor([2, 0, 2]), vocab_size=3)
    tensor([[0., 0., 0.],
            [0., 0., 1.],
            [1., 0., 1.]])
    """
    rows = one_hot(ids, vocab_size)
    return ((rows.cumsum(dim=0) - rows) > 0).to(rows.dtype)


def count_pairs(sentences: Sequence[Tensor], vocab_size: int) -> Tensor:
    """How often each word follows each pair (a word anywhere before, the last word).

    sentences: each (t,)  ->  (n, n, n): [earlier word, last word, next word].
    ValueError where there is no sentence.
    """
    if not sentences:
        raise ValueError("count_pairs needs a sentence or more; got none")
    counts = torch.zeros(vocab_size, vocab_size, vocab_size)
    for ids in sentences:
        seen = earlier(ids, vocab_size)
        for t in range(len(ids) - 1):
            counts[:, ids[t], ids[t + 1]] += seen[t]
    return counts


def vote(
    pairs: Tensor, seen: Tensor, last: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Each pair (earlier word, last word) votes for the next word with its shares.

    votes_x = sum_w mask_w seen_w pairs[w, last, x]
    pairs: (n, n, n), seen: (t, n), last: (t,), mask: (t, n) or none  ->  (t, n).
    """
    weights = seen if mask is None else seen * mask
    return torch.einsum("tw,wtx->tx", weights, pairs[:, last])


class FeatureBlock(NamedTuple):
    """Two matrices and a ReLU between them: features in the middle, votes at the end.

    out = relu(x W_1 + b_1) W_2
    x: (..., 2 n), which words are before, then which is the last  ->  (..., n)
    w_1: (2 n, f), b_1: (f,), w_2: (f, n).
    """

    w_1: Tensor
    b_1: Tensor
    w_2: Tensor

    def features(self, x: Tensor) -> Tensor:
        """How strongly each feature is on: (..., 2 n) -> (..., f)."""
        return torch.relu(x @ self.w_1 + self.b_1)

    def __call__(self, x: Tensor) -> Tensor:
        return self.features(x) @ self.w_2


def pair_feature_block(
    features: Sequence[Sequence[int]],
    votes: Tensor,
    vocab_size: int,
    rivals: bool = False,
) -> FeatureBlock:
    """The block, by hand, whose features are on when all of their words are there.

    features: f lists of ids, words before and then the last; votes: (f, n). A feature
    of m words has m weights of 1 and the bias 1 - m, so that it is 1 when all are there
    and 0 when one is missing. rivals: a feature gets -1 from the earlier words of the
    others that share its last word.
    """
    w_1 = torch.zeros(2 * vocab_size, len(features))
    b_1 = torch.tensor([1.0 - len(feature) for feature in features])
    for j, (*words, last) in enumerate(features):
        if rivals:
            others = [w for *ws, end in features if end == last for w in ws]
            w_1[others, j] = -1
        w_1[words, j] = 1
        w_1[vocab_size + last, j] = 1
    return FeatureBlock(w_1, b_1, votes.to(w_1))


class MaskedVotes(nn.Module):
    """A feature block behind a mask that is looked up, and can be learned.

    mask = sigmoid(q K^T), q the one-hot last word; logits = ln block([seen * mask, q])
    x: (..., 2 n), as for FeatureBlock  ->  (..., n), the logarithms of the votes.
    keys: (n, n), row w: for which last words the earlier word w matters.
    """

    def __init__(self, block: FeatureBlock):
        super().__init__()
        for name, tensor in block._asdict().items():
            self.register_buffer(name, tensor)
        n = block.w_2.shape[1]
        self.keys = nn.Parameter(torch.zeros(n, n))

    @property
    def block(self) -> FeatureBlock:
        """What stands behind the mask; fixed here."""
        return FeatureBlock(self.w_1, self.b_1, self.w_2)

    def mask(self, last: Tensor) -> Tensor:
        """How far each earlier word is let through: (..., n) -> (..., n)."""
        return torch.sigmoid(last @ self.keys.T)

    def forward(self, x: Tensor) -> Tensor:
        seen, last = x.chunk(2, dim=-1)
        votes = self.block(torch.cat([seen * self.mask(last), last], dim=-1))
        return votes.clamp(min=1e-9).log()
