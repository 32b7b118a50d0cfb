"""Answers to the exercises of chapter 16, right and wrong."""

import torch
from torch.nn import functional as F

from tfcourse.checks.proofs import right, wrong
from tfcourse.kv_cache import window_mask


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


def grid(t):
    """Queries down, keys across."""
    return torch.arange(t)[:, None], torch.arange(t)


@right("16-5")
def pair_by_pair():
    """Fills the table in two loops."""

    def fixed_mask(t, block, relays=1):
        sees = torch.zeros(t, t, dtype=torch.bool)
        for i in range(t):
            for j in range(i + 1):
                same = i // block == j // block
                sees[i, j] = same or j % block >= block - relays
        return sees

    return fixed_mask


@right("16-5")
def column_by_column():
    """Goes through the keys: who hears them?"""

    def fixed_mask(t, block, relays=1):
        columns = []
        for j in range(t):
            end = (j // block + 1) * block
            last = t if j >= end - relays else min(end, t)
            hears = torch.zeros(t, dtype=torch.bool)
            hears[j:last] = True
            columns.append(hears)
        return torch.stack(columns, dim=1)

    return fixed_mask


@wrong("16-5", says="that is the future")
def relays_for_everybody():
    """Forgets that relays, too, lie in the past."""

    def fixed_mask(t, block, relays=1):
        i, j = grid(t)
        own = (i // block == j // block) & (j <= i)
        return own | (j % block >= block - relays).expand(t, t)

    return fixed_mask


@wrong("16-5", says="yours is a band")
def a_band_beside_relays():
    """Takes the last tokens for the own block."""

    def fixed_mask(t, block, relays=1):
        i, j = grid(t)
        relay = (j % block >= block - relays) & (j <= i)
        return window_mask(j, j, block) | relay

    return fixed_mask


@wrong("16-5", says="the relays are the last ones")
def the_first_of_each_block():
    """Puts the relays where the first tokens of the chapter stand."""

    def fixed_mask(t, block, relays=1):
        i, j = grid(t)
        return (j <= i) & ((i // block == j // block) | (j % block < relays))

    return fixed_mask


@wrong("16-5", says="Only one relay in each block")
def a_single_relay():
    """Does not look at `relays`."""

    def fixed_mask(t, block, relays=1):
        i, j = grid(t)
        return (j <= i) & ((i // block == j // block) | (j % block == block - 1))

    return fixed_mask


@wrong("16-5", says="those of *all* earlier")
def the_block_before():
    """Hands on from block to block."""

    def fixed_mask(t, block, relays=1):
        i, j = grid(t)
        before = i // block - j // block
        relay = (before == 1) & (j % block >= block - relays)
        return (before == 0) & (j <= i) | relay

    return fixed_mask


def dilated_mask(t, window, dilation):
    i, j = grid(t)
    lag = i - j
    return (lag >= 0) & (lag % dilation == 0) & (lag < window * dilation)


def powers(t, window):
    found = []
    while window ** len(found) < t:
        found.append(window ** len(found))
    return found


def answer(mask=dilated_mask, schedule=powers):
    return {"dilated_mask": mask, "dilations": schedule}


@right("16-6")
def coarse_first():
    """The widest steps in the first layer; the order does not matter."""
    return answer(schedule=lambda t, window: powers(t, window)[::-1])


@right("16-6")
def as_wide_as_needed():
    """From the top: no layer steps further than the text is long."""

    def mask(t, window, dilation):
        sees = torch.zeros(t, t, dtype=torch.bool)
        for step in range(window):
            sees |= torch.eye(t).roll(-step * dilation, 1).tril().bool()
        return sees

    def schedule(t, window):
        found = []
        while t > 1:
            t = -(-t // window)
            found.append(t)
        return tuple(found)

    return answer(mask, schedule)


@wrong("16-6", says="No end: every `dilation`-th token")
def to_the_beginning():
    """A stride in the place of a window."""
    return answer(lambda t, w, d: dilated_mask(t, t, d))


@wrong("16-6", says="One key too many")
def one_too_far():
    """Counts the steps, and not the keys."""
    return answer(lambda t, w, d: dilated_mask(t, w + 1, d))


@wrong("16-6", says="The window is counted in tokens")
def short_window():
    """Leaves the stretch as long as it was, and makes holes in it."""
    return answer(
        lambda t, w, d: dilated_mask(t, w, d) & window_mask(*[torch.arange(t)] * 2, w)
    )


@wrong("16-6", says="Every token of the stretch is seen")
def without_holes():
    """Makes the band longer, without holes."""
    return answer(lambda t, w, d: dilated_mask(t, (w - 1) * d + 1, 1))


@wrong("16-6", says="It looks forwards as well")
def both_ways():
    """Takes the distance, whatever its sign."""
    return answer(lambda t, w, d: dilated_mask(t, w, d) | dilated_mask(t, w, d).T)


@wrong("16-6", says="Everything arrives, but in")
def doubling():
    """Doubles, whatever the window is."""
    return answer(schedule=lambda t, window: powers(t, 2))


@wrong("16-6", says="There is a hole")
def a_step_too_wide():
    """Begins with the window instead of 1."""

    def schedule(t, window):
        return [window * dilation for dilation in powers(t, window)]

    return answer(schedule=schedule)


@wrong("16-6", says="Too few layers")
def rounded_down():
    """Takes the logarithm and cuts it."""
    return answer(schedule=lambda t, window: powers(t, window)[:-1])


@wrong("16-6", says="A dilation is a whole number")
def roots():
    """Takes equal ratios, which are no whole numbers."""

    def schedule(t, window):
        layers = len(powers(t, window))
        return [t ** (i / layers) + 0.5 for i in range(layers)]

    return answer(schedule=schedule)


@wrong("16-6", says="A list of dilations")
def a_number():
    """Says how many layers, and not which."""
    return answer(schedule=lambda t, window: len(powers(t, window)))
