"""Words as vectors: counted, looked up, and learned from neighbours (chapter 4)."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tfcourse.one_hot import cosine


def find_words(text: str) -> list[str]:
    """The words and names in a text, in lower case and in order.

    A word is a letter, and what letters, digits and underscores follow; underscores at
    its ends are left out.

    >>> find_words("def __init__(self, x1): # Two limits.")
    ['def', 'init', 'self', 'x1', 'two', 'limits']
    """
    return re.findall(r"[^\W\d_](?:\w*[^\W_])?", text.lower())


def bag_of_words(documents: Sequence[Sequence[int]], vocab_size: int) -> Tensor:
    """How often each word stands in each document: counts[i, j] of word j in document i.

    documents: m lists of ids below vocab_size  ->  (m, n).
    ValueError for an empty corpus, and for a word outside the vocabulary.

    >>> bag_of_words([[0, 2, 2], [1]], vocab_size=3)
    tensor([[1., 0., 2.],
            [0., 1., 0.]])
    """
    if len(documents) == 0:
        raise ValueError("the corpus is empty: give bag_of_words a document or more")
    counts = torch.zeros(len(documents), vocab_size)
    for number, document in enumerate(documents):
        ids = torch.as_tensor(document, dtype=torch.long)
        outside = ids[(ids < 0) | (ids >= vocab_size)]
        if len(outside):
            raise ValueError(
                f"document {number} has a word outside the vocabulary: ids must be "
                f"from 0 to {vocab_size - 1}; got {outside[0]}: enlarge the vocabulary, "
                "or leave the word out"
            )
        counts[number] = torch.bincount(ids, minlength=vocab_size)
    return counts


def tf_idf(counts: Tensor) -> Tensor:
    """Counts weighted by how rare each word is, in rows of length 1.

    counts[i, j] * (1 + ln((1 + m) / (1 + documents with word j))), row by row divided
    by its length. counts: (m, n)  ->  (m, n). ValueError for an empty corpus.
    Source: Spärck Jones (1972), in the smoothed form of scikit-learn.
    """
    if counts.ndim != 2 or len(counts) == 0:
        raise ValueError(
            "counts must be (documents, words) with a document or more; "
            f"got {tuple(counts.shape)}: is the corpus empty?"
        )
    found_in = (counts > 0).to(counts.dtype).sum(dim=0)
    rarity = 1 + torch.log((1 + len(counts)) / (1 + found_in))
    return nn.functional.normalize(counts * rarity, dim=1)


class Embedding(nn.Module):
    """A vector for each word of a vocabulary: the rows of one matrix E, (n, d).

    ids: (b, t), or any shape, of integers below vocab_size  ->  (b, t, d): E[ids].
    unembed gives the scores x Eᵀ. Rows start with a length of about 1, and neither way
    multiplies by sqrt(d_model). Equal to torch.nn.Embedding with the same weight.
    ValueError for an id outside the vocabulary, TypeError for ids that are not integers.
    """

    def __init__(self, vocab_size: int, d_model: int):
        super().__init__()
        if vocab_size < 1 or d_model < 1:
            raise ValueError(
                "an embedding needs a word and a dimension or more; "
                f"got vocab_size={vocab_size}, d_model={d_model}"
            )
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model))
        nn.init.normal_(self.weight, std=d_model**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        if ids.is_floating_point() or ids.dtype == torch.bool:
            raise TypeError(f"ids must be integers; got {ids.dtype}: ids.long()?")
        try:
            return nn.functional.embedding(ids, self.weight)
        except IndexError:
            raise ValueError(
                f"ids must be from 0 to {len(self.weight) - 1}; got {ids.min()} to "
                f"{ids.max()}: is the text encoded with another vocabulary?"
            ) from None

    def unembed(self, x: Tensor) -> Tensor:
        """A score for each word, (..., d) -> (..., n): de-embedding with tied weights."""
        return x @ self.weight.T


def subsample(
    ids: Tensor, counts: Tensor, threshold: float, generator: torch.Generator
) -> Tensor:
    """The text with most of its commonest words left out, at random.

    A word that makes up the share f of the text stays with probability
    sqrt(threshold / f), or 1 where that is more. ids: (t,), counts: (n,)  ->  (t',).
    Source: Mikolov, Sutskever et al. (2013), section 2.3.
    """
    share = counts / counts.sum()
    stays = (threshold / share).sqrt()
    return ids[torch.rand(len(ids), generator=generator) < stays[ids]]


def skip_gram_pairs(
    ids: Tensor, window: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Each word with the words around it: centers and neighbours, both (m,).

    Each position reaches a distance of its own, from 1 to window, drawn at random, so
    that near words count more often. ids: (t,). ValueError for a text too short.
    Source: Mikolov, Chen et al. (2013), section 3.2.
    """
    if len(ids) < 2 or window < 1:
        raise ValueError(
            "pairs need two words or more, and a window of 1 or more; "
            f"got {len(ids)} words, window={window}"
        )
    reach = torch.randint(1, window + 1, ids.shape, generator=generator)
    centers, neighbours = [], []
    for lag in range(1, min(window, len(ids) - 1) + 1):
        forward, back = reach[:-lag] >= lag, reach[lag:] >= lag
        centers += [ids[:-lag][forward], ids[lag:][back]]
        neighbours += [ids[lag:][forward], ids[:-lag][back]]
    return torch.cat(centers), torch.cat(neighbours)


def draw_noise(
    counts: Tensor, shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Words drawn at random, common ones more often: in proportion to count ** 0.75.

    counts: (n,), shape: (b, k)  ->  (b, k) ids.
    Source: Mikolov, Sutskever et al. (2013), section 2.2.
    """
    drawn = torch.multinomial(
        counts**0.75, shape[0] * shape[1], replacement=True, generator=generator
    )
    return drawn.view(shape)


class Word2Vec(nn.Module):
    """Scores for words in a place, from the mean vector of what is seen around it.

    inputs: seen (b, c) and candidates (b, 1 + k), ids  ->  scores (b, 1 + k):
    scores[i, j] = outside[candidates[i, j]] · mean over c of inside[seen[i]]
    With c = 1 this is skip-gram, with more it is CBOW.
    Source: Mikolov, Chen et al. (2013).
    """

    def __init__(self, vocab_size: int, d_model: int):
        super().__init__()
        self.inside = Embedding(vocab_size, d_model)
        self.outside = Embedding(vocab_size, d_model)

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        seen, candidates = inputs
        query = self.inside(seen).mean(dim=1, keepdim=True)  # (b, 1, d)
        return (self.outside(candidates) * query).sum(dim=-1)  # (b, 1 + k)


def negative_sampling_loss(scores: Tensor) -> Tensor:
    """How badly real words, in column 0, are told from noise, in the other columns.

    mean over b of -ln sigmoid(s_0) - sum over j > 0 of ln sigmoid(-s_j), in nats.
    scores: (b, 1 + k)  ->  a scalar.
    Source: Mikolov, Sutskever et al. (2013), equation 4.

    >>> negative_sampling_loss(torch.zeros(2, 1 + 5)) / 6  # ln 2 per guess
    tensor(0.6931)
    """
    log_sigmoid = nn.functional.logsigmoid
    noise = log_sigmoid(-scores[:, 1:]).sum(dim=1)
    return -(log_sigmoid(scores[:, 0]) + noise).mean()


def cbow_windows(ids: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Each word and all those around it: centers (m,) and surroundings (m, 2 * window).

    ids: (t,); words too near to an end have no full window and are left out, so that
    m = t - 2 * window. ValueError where that leaves none.
    Source: Mikolov, Chen et al. (2013), section 3.1.
    """
    if window < 1 or len(ids) <= 2 * window:
        raise ValueError(
            "a window of 1 or more must fit into the text: 2 * window < words; "
            f"got window={window}, {len(ids)} words"
        )
    spans = ids.unfold(0, 2 * window + 1, 1)
    around = torch.cat([spans[:, :window], spans[:, window + 1 :]], dim=1)
    return spans[:, window], around


def nearest(
    query: Tensor, vectors: Tensor, count: int, exclude: Sequence[int] = ()
) -> tuple[list[int], list[float]]:
    """The rows at the smallest angles to a query: their ids and cosines, best first.

    query: (d,), vectors: (n, d); exclude: ids that do not count.
    ValueError where fewer than count rows are left.

    >>> nearest(torch.tensor([1.0, 0.0]), torch.eye(2), 1)
    ([0], [1.0])
    """
    if not 0 < count <= len(vectors) - len(set(exclude)):
        raise ValueError(
            f"count must be from 1 to the {len(vectors) - len(set(exclude))} rows that "
            f"are not excluded; got count={count}"
        )
    cosines = cosine(vectors, query)
    cosines[list(exclude)] = -torch.inf
    best = cosines.topk(count)
    return best.indices.tolist(), best.values.tolist()
