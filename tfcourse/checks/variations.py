"""What the answers of chapter 16's exercises must do."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tfcourse.checks import Mistake, close, exercise
from tfcourse.checks.compare import telling
from tfcourse.fitting import initialize
from tfcourse.variations import VisionTransformer


def moved_places(model: VisionTransformer, order: Tensor) -> VisionTransformer:
    """A transformer that reads patches x[:, order] as this one reads patches x."""
    places = model.place.table.detach()
    twin = VisionTransformer((8, 8), (2, 2), 10, d_ff=64)
    twin.load_state_dict(model.state_dict() | {"place.table": places[order]})
    return twin


def patches_moved(pictures: Tensor, order: Tensor) -> Tensor:
    """Pictures of 8 by 8, (b, 8, 8), whose 16 patches of 2 by 2 change places."""
    cut = F.unfold(pictures[:, None], 2, stride=2)[:, :, order]
    return F.fold(cut, (8, 8), 2, stride=2)[:, 0]


@exercise(
    "16-1",
    title="Patches change places",
    kind="prediction",
    minutes=8,
    difficulty=2,
    points=2,
    choices=("F", "FT", "FTL", "FTLC"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    order = torch.randperm(16, generator=torch.Generator().manual_seed(16))
    model = VisionTransformer((8, 8), (2, 2), 10, d_ff=64).eval()
    initialize(model, torch.Generator().manual_seed(1))
    x = draw.normal(3, 8, 8)
    with torch.no_grad():
        apart = moved_places(model, order)(patches_moved(x, order)) - model(x)
    assert apart.abs().max() < 1e-4
    replies = {
        "F": "The fully connected network, yes; but not it alone. What tells the plain "
        "transformer where a patch lay? Sixteen rows of a table, and nothing ties the row "
        "of one place to that of its neighbour.",
        "FTL": "One of the transformers is told beforehand which patches are near. The "
        "penalty is fixed by the distance in the picture that it is given; after the "
        "move, what belongs together lies apart and is held back.",
        "FTLC": "A convolution looks through a window of three by three pixels. Inside a "
        "patch nothing has changed, but strokes no longer go on across its border.",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    return (
        "Other weights do exactly the same as before: columns of the first matrix change "
        "places in F, rows of the table of places in T (tried just now, on three "
        "pictures). L's penalties and C's window cannot move."
    )


def _starts(length: int, size: int, step: int) -> list[int]:
    """Where windows begin that lie inside as a whole."""
    return [i for i in range(length) if i % step == 0 and i + size <= length]


def _windows(
    x, size, stride, *, rows=None, columns=None, across_first=True, turned=False
):
    """Patches by loops; rows, columns: where they begin, if not as asked."""
    (height, width), (down, across) = size, stride
    rows = _starts(x.shape[1], height, down) if rows is None else rows
    columns = _starts(x.shape[2], width, across) if columns is None else columns
    padded = F.pad(x, (0, width, 0, height))
    places = [(r, c) for r in rows for c in columns]
    if not across_first:
        places = [(r, c) for c in columns for r in rows]
    cut = [padded[:, r : r + height, c : c + width] for r, c in places]
    return torch.stack([(p.mT if turned else p).flatten(1) for p in cut], dim=1)


def _patches_case(draw):
    """A picture, a size and a stride; its patches; by mistake, other ones."""
    size, stride = (draw.integer(2, 4), draw.integer(3, 5)), (2, draw.choice((1, 3)))
    lengths = [s + 2 * step * 2 + 1 for s, step in zip(size, stride, strict=True)]
    x = draw.normal(draw.integer(2, 4), *lengths)
    given = x, size, stride
    every = [range(0, n, step) for n, step in zip(lengths, stride, strict=True)]
    starts = [_starts(*three) for three in zip(lengths, size, stride, strict=True)]
    told = {
        "The patches lie side by side: `stride` says how far it is from one to the next, "
        "and they may share pixels.": _windows(x, size, size),
        "`stride` is (down, across); you take them the other way round.": _windows(
            x, size, stride[::-1]
        ),
        "The patches come column by column. Reading order is row by row.": _windows(
            *given, across_first=False
        ),
        "The pixels *inside* a patch come column by column; lay each out row by row.": (
            _windows(*given, turned=True)
        ),
        "The last patch of each row, and the last row, are missing: there are "
        "(length - size) // stride + 1 of them, one more than there are steps.": _windows(
            *given, rows=starts[0][:-1], columns=starts[1][:-1]
        ),
        "Some patches stick out of the picture: leave out what does not fit as a "
        "whole.": _windows(*given, rows=every[0], columns=every[1]),
    }
    return given, _windows(*given), told


@exercise("16-2", title="Patches that overlap", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    says = "One row for each patch: its pixels, row by row; patches in reading order."
    for _ in range(3):
        (x, size, stride), want, told = telling(_patches_case, draw)
        got = answer.overlapping_patches(x, size, stride)
        shown = f"x of {tuple(x.shape)}, size = {size}, stride = {stride}"
        close(got, want, mistakes=told, says=says, given=shown)
    got = answer.overlapping_patches(x, size, tuple(x.shape[1:]))
    close(got, _windows(x, size, tuple(x.shape[1:])), says="A stride may be wide, too.")
    x = draw.normal(2, 6, 8)
    got = answer.overlapping_patches(x, (3, 2), (3, 2))
    close(got, _windows(x, (3, 2), (3, 2)), says="With stride = size nothing overlaps.")
    return "The same as by loops, for overlapping patches and for separate ones."
