"""Right and wrong answers to chapter 16's exercises, and what each must be told."""

import torch

from tfcourse.checks.proofs import right, wrong
from tfcourse.kv_cache import window_mask


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
