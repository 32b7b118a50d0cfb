"""Words as vectors, and matrix products that look things up (chapter 2)."""

import difflib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def require_ids(ids: Tensor, n: int) -> None:
    """Raise unless ids holds integers from 0 to n - 1.

    ids: (...). TypeError when they are not integers, ValueError when one is out of
    range, which names it. Negative ids would index from the end, silently.
    """
    if not isinstance(ids, Tensor):
        raise TypeError(f"ids must be a tensor of integers; got {ids!r}")
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"ids must be integers; got {ids.dtype}")
    outside = ids[(ids < 0) | (ids >= n)]
    if len(outside):
        raise ValueError(f"ids must lie in 0 ... {n - 1}; got {outside[0].item()}")


def one_hot(ids: Tensor, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """One row per id: n numbers, a 1 in the column that the id names, 0 elsewhere.

    out[..., j] = 1 if ids[...] == j else 0
    ids: (...) of integers from 0 to n - 1  ->  (..., n).
    TypeError and ValueError as require_ids. Equal to torch.nn.functional.one_hot,
    whose result has integers.

    >>> one_hot(torch.tensor([2, 0]), 3)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    require_ids(ids, n)
    return (ids[..., None] == torch.arange(n, device=ids.device)).to(dtype)


def outside_error(token: str, tokens: Sequence[str]) -> ValueError:
    """What to raise for a token that is not among these: similar ones, and remedies."""
    near = difflib.get_close_matches(str(token), tokens)
    listed = ", ".join(near or tokens[:3])
    return ValueError(
        f"{token!r} is not among the {len(tokens)} tokens of this vocabulary "
        f"({'similar' if near else 'the first'}: {listed}). Correct it, add it to the "
        "tokens, or name one for all others: Vocabulary(tokens, unknown='<unk>')"
    )


class Vocabulary:
    """A fixed list of tokens and their numbers (ids), in order of first appearance.

    tokens: the words, or a whole text's words: each counts once. specials: tokens that
    no text contains, such as "<start>"; they get the first ids. unknown: the special
    that stands for every token outside (the last special if specials does not name it).
    TypeError for a bare string or a token that is no string, ValueError when empty.

    >>> words = Vocabulary(["find", "my", "files"], unknown="<unk>")
    >>> words.encode(["find", "your", "files"])
    tensor([1, 0, 3])
    >>> words.decode([1, 0, 3])
    ['find', '<unk>', 'files']
    """

    def __init__(
        self,
        tokens: Iterable[str],
        unknown: str | None = None,
        specials: Iterable[str] = (),
    ):
        if isinstance(tokens, str) or isinstance(specials, str):
            raise TypeError("tokens must be a list of strings, such as text.split()")
        named = [*specials, *([] if unknown is None else [unknown])]
        self.tokens: tuple[str, ...] = tuple(dict.fromkeys([*named, *tokens]))
        if not self.tokens:
            raise ValueError("a vocabulary needs at least one token; got none")
        for token in self.tokens:
            if not isinstance(token, str):
                raise TypeError(f"tokens must be strings; got {token!r}")
        self.ids: dict[str, int] = {token: i for i, token in enumerate(self.tokens)}
        self.unknown = unknown

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.ids

    def encode(self, tokens: Iterable[str]) -> Tensor:
        """The ids of t tokens: (t,), int64.

        A token outside gets the id of unknown; without one, ValueError.
        """
        if isinstance(tokens, str):
            raise TypeError(f"tokens must be a list of strings; got {tokens!r}")
        ids = [self._id(token) for token in tokens]
        return torch.tensor(ids, dtype=torch.long)

    def _id(self, token: str) -> int:
        if token in self.ids:
            return self.ids[token]
        if self.unknown is None:
            raise outside_error(token, self.tokens)
        return self.ids[self.unknown]

    def decode(self, ids: Tensor | Sequence[int]) -> list[str]:
        """The tokens of t ids, (t,); the ids as require_ids wants them."""
        ids = torch.as_tensor(ids)
        if ids.ndim != 1:
            raise ValueError(f"ids must be (t,); got shape {tuple(ids.shape)}")
        if len(ids):  # an empty list has become a tensor of floats
            require_ids(ids, len(self))
        return [self.tokens[i] for i in ids.tolist()]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of the angle between two vectors: a . b / (|a| |b|).

    a, b: (..., d), broadcast  ->  (...), from -1 to 1.
    ValueError for a vector of zeros, which has no direction.

    >>> cosine(torch.tensor([3.0, 0.0]), torch.tensor([1.0, 1.0]))
    tensor(0.7071)
    """
    lengths = a.norm(dim=-1) * b.norm(dim=-1)
    if (lengths == 0).any():
        raise ValueError("a vector of zeros has no direction, so no cosine")
    return (a * b).sum(dim=-1) / lengths
