"""Carry a number from the cell that computes it into the prose that speaks of it."""

import math
import re

from IPython.display import display

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PREFIX = "application/papermill.record/"  # by which MyST-NB knows what is glued


def glue(name: str, value: float | str, spec: str = "") -> None:
    """Name `format(value, spec)`, so that {glue:text}`name` in the prose shows it.

    `value` is a number, a tensor or array of one element, or a string. The cell itself
    shows nothing of it: print the number too, for a reader in JupyterLab, where
    {glue:text} stands as it is. TypeError for another kind of value, ValueError for a
    number that is not finite, for several elements, for an empty name or text.

    Outside a notebook, what would be displayed is printed:

    >>> glue("loss", 1.5, ".2f")
    {'application/papermill.record/text/plain': "'1.50'"}
    """
    value = plain(value, name)
    if not isinstance(value, int | float | str):
        raise TypeError(
            f"glue takes a number or a string; {name!r} is a {type(value).__name__}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"glue takes finite numbers; {name!r} is {value}")
    text = re.sub(r"(\d)e([+-]\d+)$", _power_of_ten, format(value, spec))
    if not name or not text.strip():
        raise ValueError(f"glue needs a name and a text; got {name!r} and {text!r}")
    display(
        {f"{PREFIX}text/plain": repr(text)},  # unquoted, 1.50 would come back as 1.5
        raw=True,
        metadata={"scrapbook": {"name": name, "mime_prefix": PREFIX}},
    )


def _power_of_ten(found: re.Match) -> str:
    """ "7e-06" as people write it: 7·10⁻⁶."""
    return f"{found[1]}·10{str(int(found[2])).translate(RAISED)}"


def plain(value, name: str):
    """A tensor or array of one element as a Python number; anything else as it is."""
    shape = tuple(getattr(value, "shape", ()))
    if math.prod(shape) != 1:
        raise ValueError(f"{name!r} must be a single number; got shape {shape}")
    return value.item() if hasattr(value, "item") else value
