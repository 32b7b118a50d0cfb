"""Right and wrong answers to chapter 16's exercises, and what each must be told."""

import torch
from torch.nn import functional as F

from tfcourse.checks.proofs import right, wrong


@wrong("16-1", says="not it alone")
def places_are_fixed():
    """Takes the table of places for something that knows the picture."""
    return {"prediction": "F"}


@wrong("16-1", says="told beforehand which patches are near")
def any_transformer():
    """Forgets that the penalty is fixed."""
    return {"prediction": "FTL"}


@wrong("16-1", says="no longer go on across its border")
def any_network():
    """Takes the patches for what a convolution looks at."""
    return {"prediction": "FTLC"}


def sliding(
    swap=False, apart=False, across_first=True, turned=False, last=0, pad=False
):
    """An overlapping_patches from parts, by unfold."""

    def overlapping_patches(x, size, stride):
        stride = stride[::-1] if swap else size if apart else stride
        if pad:
            x = F.pad(x, (0, size[1] - 1, 0, size[0] - 1))
        cut = x.unfold(1, size[0], stride[0]).unfold(2, size[1], stride[1])
        cut = cut[:, : cut.shape[1] - last, : cut.shape[2] - last]
        cut = cut.mT if turned else cut
        cut = cut if across_first else cut.transpose(1, 2)
        return cut.flatten(3).flatten(1, 2)

    return {"overlapping_patches": overlapping_patches}


@right("16-2")
def by_unfold_of_tensors():
    """Unfolds one axis after the other."""
    return sliding()


@right("16-2")
def by_unfold_of_images():
    """Uses PyTorch's unfold for images."""

    def overlapping_patches(x, size, stride):
        return F.unfold(x[:, None], size, stride=stride).transpose(1, 2)

    return overlapping_patches


@right("16-2")
def by_numbers():
    """Computes where each pixel lies."""

    def overlapping_patches(x, size, stride):
        starts = [
            torch.arange((n - s) // step + 1) * step
            for n, s, step in zip(x.shape[1:], size, stride, strict=True)
        ]
        rows = starts[0][:, None] + torch.arange(size[0])
        columns = starts[1][:, None] + torch.arange(size[1])
        cut = x[:, rows[:, None, :, None], columns[None, :, None, :]]
        return cut.reshape(len(x), -1, size[0] * size[1])

    return overlapping_patches


@wrong("16-2", says="side by side")
def steps_as_wide_as_patches():
    """Ignores the stride."""
    return sliding(apart=True)


@wrong("16-2", says="the other way round")
def across_before_down():
    """Swaps the strides."""
    return sliding(swap=True)


@wrong("16-2", says="Reading order is row by row")
def down_first():
    """Lists patches column by column."""
    return sliding(across_first=False)


@wrong("16-2", says="*inside* a patch")
def columns_inside():
    """Lays out patches column by column."""
    return sliding(turned=True)


@wrong("16-2", says="one more than there are steps")
def one_too_few():
    """Forgets the + 1."""
    return sliding(last=1)


@wrong("16-2", says="stick out of the picture")
def padded():
    """Keeps what does not fit, filled up with zeros."""
    return sliding(pad=True)
