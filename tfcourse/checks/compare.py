"""How a check says what it sees: Mistake, and comparisons that raise one."""

from collections.abc import Callable, Mapping
from itertools import combinations
from types import MappingProxyType

import torch
from torch import Tensor


class Finding(Exception):
    """What ends a check early.

    status: "wrong", "unwritten", "missing" or "error"; says: what to tell the learner;
    seen: the evidence; given: the input that showed it (None: the last call).
    """

    def __init__(self, status: str, says: str, seen: str = "", given: object = None):
        super().__init__(f"{seen} {says}".strip())
        self.status, self.says, self.seen, self.given = status, says, seen, given


class Mistake(Finding):
    """A wrong answer: what is seen and a hint, in a sentence or two."""

    def __init__(self, says: str, *, seen: str = "", given: object = None):
        super().__init__("wrong", says, seen, given)


def close(
    got: object,
    want: object,
    *,
    says: str = "",
    mistakes: Mapping[str, object] = MappingProxyType({}),
    given: object = None,
    rtol: float = 1e-4,
    atol: float = 1e-6,
) -> None:
    """Raise a Mistake unless got equals want within rtol · |want| + atol.

    Compares tensors, numbers, strings, and lists, tuples and dicts of these. Of what is
    not equal, known mistakes come first: by what to say of each, the value that it gives.
    """
    seen = difference(got, want, rtol, atol)
    if not seen:  # even if, for this input, a mistake would give the same
        return
    for told, wrong in mistakes.items():
        differs(got, wrong, says=told, given=given, rtol=rtol, atol=atol)
    raise Mistake(says, seen=seen, given=given)


def differs(
    got: object,
    wrong: object,
    *,
    says: str,
    given: object = None,
    rtol: float = 1e-4,
    atol: float = 1e-6,
) -> None:
    """Raise a Mistake if got is what a known mistake gives."""
    if not difference(got, wrong, rtol, atol):
        raise Mistake(says, given=given)


def measured(
    got: object, want: object, mistakes: Mapping[str, object], *, says: str, rtol: float
) -> None:
    """As close; but what was to be measured is not told, only what was got."""
    if not difference(got, want, rtol, 1e-6):
        return
    for told, wrong in mistakes.items():
        differs(got, wrong, says=told, rtol=rtol)
    raise Mistake(says, seen=f"Got {describe(got)}.")


def difference(got, want, rtol: float, atol: float, place: str = "") -> str:
    """In one sentence, the first place where got is not want; "" where they agree."""
    at = f" at {place}" if place else ""
    if got is None and want is not None:
        return f"Your code returned None{at}: is a `return` missing?"
    if isinstance(want, Tensor) or isinstance(got, Tensor):
        return _tensor_difference(got, want, rtol, atol, place)
    if isinstance(want, dict) and isinstance(got, dict):
        if got.keys() != want.keys():
            return f"Got the keys {_listed(got)}{at}, expected {_listed(want)}."
        pairs = ((got[key], want[key], f"{place}[{key!r}]") for key in want)
        return _first_difference(pairs, rtol, atol)
    if isinstance(want, list | tuple) and isinstance(got, list | tuple):
        if len(got) != len(want):
            return f"Got {_count(got)}{at}, expected {_count(want)}."
        pairs = ((got[i], want[i], f"{place}[{i}]") for i in range(len(want)))
        return _first_difference(pairs, rtol, atol)
    if _is_number(want) and _is_number(got):
        return _tensor_difference(got, want, rtol, atol, place)
    if type(got) is type(want) and got == want:
        return ""
    return f"Got {describe(got)}, expected {describe(want)}{at}."


def alike(a: object, b: object, rtol: float = 1e-4, atol: float = 1e-6) -> bool:
    """Whether `close` would take one for the other."""
    return not difference(a, b, rtol, atol)


def telling(make: Callable, draw, alike: Callable = alike) -> tuple:
    """The first of make(draw) in which no two mistakes, and no right answer, look alike.

    make gives an input, the right answer to it, and a dict of wrong ones by their names.
    """
    while True:
        given, want, told = make(draw)
        if not any(alike(a, b) for a, b in combinations([want, *told.values()], 2)):
            return given, want, told


def _first_difference(pairs, rtol: float, atol: float) -> str:
    found = (difference(got, want, rtol, atol, at) for got, want, at in pairs)
    return next(filter(None, found), "")


def _tensor_difference(got, want, rtol: float, atol: float, place: str) -> str:
    at = f" at {place}" if place else ""
    if not (_is_tensor_or_number(got) and _is_tensor_or_number(want)):
        return f"Got {describe(got)}, expected {describe(want)}{at}."
    got, want = _as_tensor(got), _as_tensor(want)
    if got.shape != want.shape:
        return f"Got shape {tuple(got.shape)}, expected {tuple(want.shape)}{at}."
    if (got.dtype == torch.bool) != (want.dtype == torch.bool):
        return f"Got {_dtype(got)} values, expected {_dtype(want)} values{at}."
    if not (want.is_floating_point() or want.is_complex()):
        rtol = 0  # whole numbers are counts and ids: near is not equal
    wide = torch.promote_types(torch.promote_types(got.dtype, want.dtype), torch.double)
    apart = ~torch.isclose(
        got.to(wide), want.to(wide), rtol=rtol, atol=atol, equal_nan=True
    )
    if not apart.any():
        return ""
    first = tuple(apart.nonzero()[0].tolist())
    place += str(list(first)) if first else ""
    at = f" at {place}" if place else ""
    count = f" ({apart.sum()} of {apart.numel()} numbers differ)" if first else ""
    return f"{_two_numbers(got[first].item(), want[first].item())}{at}{count}."


def _two_numbers(got: float, want: float) -> str:
    """With as many digits as it takes to tell one from the other."""
    for digits in (4, 8, 17):
        texts = [
            f"{n:.{digits}g}" if isinstance(n, float) else str(n) for n in (got, want)
        ]
        if texts[0] != texts[1]:
            break
    return f"Got {texts[0]}, expected {texts[1]}"


def describe(value: object) -> str:
    """A value in a few words: small ones whole, large tensors by shape."""
    if isinstance(value, Tensor):
        kind = "" if value.dtype == torch.float32 else f" of {_dtype(value)}"
        if value.numel() > 12:
            return f"a tensor{kind} of shape {tuple(value.shape)}"
        return f"tensor({_numbers(value.tolist())})"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and len(value) > 60:
        return f"{value[:57]!r}…"
    if isinstance(value, dict):
        return "{" + _few([f"{k!r}: {describe(v)}" for k, v in value.items()]) + "}"
    if isinstance(value, list):
        return "[" + _few([describe(v) for v in value]) + "]"
    if isinstance(value, tuple):
        return "(" + _few([describe(v) for v in value]) + ")"
    return repr(value)


def in_one_line(error: BaseException) -> str:
    """The type and the message, in one line that is not too long."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a message that cannot be made is no message
        message = ""
    short = message if len(message) <= 200 else f"{message[:199]}…"
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


def _numbers(value) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_numbers, value)) + "]"
    return describe(value)


def _few(parts: list[str]) -> str:
    return ", ".join(parts[:6] + ["…"] * (len(parts) > 6))


def _listed(keys) -> str:
    return ", ".join(map(repr, keys)) or "(none)"


def _count(items) -> str:
    return "1 item" if len(items) == 1 else f"{len(items)} items"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_tensor(value: Tensor | float) -> Tensor:
    if isinstance(value, float):
        return torch.tensor(value, dtype=torch.double)
    return torch.as_tensor(value)


def _is_tensor_or_number(value: object) -> bool:
    return isinstance(value, Tensor | int | float)


def fed(feed, name, n, given):
    """What came back for n pieces from feed(), which feeds the learner's cache `name`."""
    try:
        back = feed()
    except Finding as found:
        if found.status == "unwritten":
            found.says = (
                f"A method of `{name}` is waiting for your code: replace its line "
                "`raise NotImplementedError`, run the cell, and check again."
            )
        raise
    whole = isinstance(back, list) and len(back) == n
    if not whole or any(not isinstance(b, list) or len(b) != 4 for b in back):
        raise Mistake(
            "`update` returns three things, keys, values and a mask, and `fed`, which "
            "is ours, stays as it was.",
            given=given,
        )
    return back
