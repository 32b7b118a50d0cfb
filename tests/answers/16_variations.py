"""Answers to the exercises of chapter 16, right and wrong."""

import math

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


@wrong("16-2", says="Pictures come first")
def patches_first():
    """Stacks patches where pictures should be."""

    def overlapping_patches(x, size, stride):
        return sliding()["overlapping_patches"](x, size, stride).transpose(0, 1)

    return overlapping_patches


@wrong("16-2", says="That is a list")
def a_list_of_patches():
    """Does not stack."""

    def overlapping_patches(x, size, stride):
        return list(sliding()["overlapping_patches"](x, size, stride).unbind(1))

    return overlapping_patches


@wrong("16-2", says="stick out of the picture")
def padded():
    """Keeps what does not fit, filled up with zeros."""
    return sliding(pad=True)


# Linear attention


def reader(write, late=False):
    """A delta_read from what one token does to the state."""

    def delta_read(q, k, v, rate):
        state, rows = torch.zeros(k.shape[1], v.shape[1]), []
        for i in range(len(q)):
            before = state
            state = write(state, q[i], k[i], v[i], rate[i])
            rows.append(q[i] @ (before if late else state))
        return torch.stack(rows)

    return {"delta_read": delta_read}


@right("16-3")
def by_a_projection():
    """Takes the key's direction out of the state, by the rate, then adds the value."""

    def delta_read(q, k, v, rate):
        state, out = (
            torch.zeros(k.shape[1], v.shape[1]),
            torch.empty(len(q), v.shape[1]),
        )
        for i in range(len(q)):
            keep = torch.eye(k.shape[1]) - rate[i] * torch.outer(k[i], k[i])
            state = keep @ state + rate[i] * torch.outer(k[i], v[i])
            out[i] = q[i] @ state
        return out

    return delta_read


@right("16-3")
def transposed_state():
    """Keeps the state the other way round, values by keys."""

    def delta_read(q, k, v, rate):
        state, rows = torch.zeros(v.shape[1], k.shape[1]), []
        for q_i, k_i, v_i, r in zip(q, k, v, rate, strict=True):
            state = state + r * torch.outer(v_i - state @ k_i, k_i)
            rows.append(state @ q_i)
        return torch.stack(rows)

    return delta_read


@wrong("16-3", says="as plain linear attention does")
def adds():
    """Adds each value to what is there."""
    return reader(lambda S, q, k, v, r: S + r * torch.outer(k, v))


@wrong("16-3", says="The rate has no say")
def without_rate():
    """Writes the whole difference."""
    return reader(lambda S, q, k, v, r: S + torch.outer(k, v - k @ S))


@wrong("16-3", says="The rate scales the value alone")
def rate_of_the_value():
    """Puts the rate inside, before the value."""
    return reader(lambda S, q, k, v, r: S + torch.outer(k, r * v - k @ S))


@wrong("16-3", says="should be taken off")
def adds_the_old():
    """Loses a minus sign."""
    return reader(lambda S, q, k, v, r: S + r * torch.outer(k, v + k @ S))


@wrong("16-3", says="asked for with the query")
def asks_with_the_query():
    """Looks up the old value with q."""
    return reader(lambda S, q, k, v, r: S + r * torch.outer(k, v - q @ S))


@wrong("16-3", says="The whole state shrinks")
def forgets_everywhere():
    """Takes a running mean of the whole state."""
    return reader(lambda S, q, k, v, r: (1 - r) * S + r * torch.outer(k, v))


@wrong("16-3", says="reads before it writes")
def reads_first():
    """Reads, then writes."""
    return reader(lambda S, q, k, v, r: S + r * torch.outer(k, v - k @ S), late=True)


@wrong("16-3", says="All queries read the last state")
def reads_at_the_end():
    """Writes all, then lets all queries read."""

    def delta_read(q, k, v, rate):
        state = torch.zeros(k.shape[1], v.shape[1])
        for k_i, v_i, r in zip(k, v, rate, strict=True):
            state = state + r * torch.outer(k_i, v_i - k_i @ state)
        return q @ state

    return delta_read


def summed(log_gates, dim=-1):
    """The sums of logarithms, of rows less those of columns."""
    sums = log_gates.cumsum(dim=dim)
    return sums[..., :, None] - sums[..., None, :]


def past(t):
    """Where j is at most i."""
    return torch.ones(t, t, dtype=torch.bool).tril()


@right("16-4")
def row_by_row():
    """Multiplies the row before by the gate, and puts a 1 at its end."""

    def gate_triangle(log_gates):
        t, row = log_gates.shape[-1], torch.zeros_like(log_gates)
        rows = []
        for i in range(t):
            row = row * log_gates[..., i, None].exp()
            row[..., i] = 1
            rows.append(row)
        return torch.stack(rows, dim=-2)

    return gate_triangle


@right("16-4")
def masked_after():
    """Takes exp of all differences, and then the lower triangle."""
    return {"gate_triangle": lambda log_gates: summed(log_gates).exp().tril()}


@wrong("16-4", says="0 / 0 is no number")
def divides_products():
    """Divides products of gates by one another."""

    def gate_triangle(log_gates):
        products = log_gates.exp().cumprod(dim=-1)
        return (products[..., :, None] / products[..., None, :]).tril()

    return gate_triangle


@wrong("16-4", says="the product begins at j + 1")
def gate_of_the_writer():
    """Lets a token's own gate act on what it writes."""

    def gate_triangle(log_gates):
        shares = (summed(log_gates) + log_gates[..., None, :]).exp()
        return shares.masked_fill(~past(log_gates.shape[-1]), 0)

    return gate_triangle


@wrong("16-4", says="The gate of token i is missing")
def gate_of_the_reader():
    """Leaves out the last gate; a token's own share stays 1."""

    def gate_triangle(log_gates):
        shares = (summed(log_gates) - log_gates[..., :, None]).exp().tril(diagonal=-1)
        return shares + torch.eye(log_gates.shape[-1])

    return gate_triangle


@wrong("16-4", says="The upper triangle is not zero")
def sees_ahead():
    """Forgets the triangle."""
    return {"gate_triangle": lambda log_gates: summed(log_gates).exp()}


@wrong("16-4", says="Rows and columns are exchanged")
def exchanged():
    """Takes columns for the readers."""
    return {"gate_triangle": lambda log_gates: summed(log_gates).exp().tril().mT}


@wrong("16-4", says="one gate to the power i - j")
def one_gate():
    """Uses the reader's gate for all steps between."""

    def gate_triangle(log_gates):
        i = torch.arange(log_gates.shape[-1])
        lag = (i[:, None] - i).clamp(min=0)
        return (log_gates[..., :, None] * lag).exp().tril()

    return gate_triangle


@wrong("16-4", says="the logarithms still")
def without_exp():
    """Stops at the logarithms."""
    return {"gate_triangle": lambda log_gates: summed(log_gates).tril()}


@wrong("16-4", says="The sum runs over the heads")
def along_the_heads():
    """Sums along the wrong axis."""
    return {"gate_triangle": lambda log_gates: summed(log_gates, 1).exp().tril()}


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


@wrong("16-5", says="looks ahead within the own block")
def the_whole_block():
    """Sees all of its own block."""

    def fixed_mask(t, block, relays=1):
        i, j = grid(t)
        relay = (j % block >= block - relays) & (j <= i)
        return (i // block == j // block) | relay

    return fixed_mask


@wrong("16-5", says="the relays alone")
def relays_alone():
    """Forgets the own block."""

    def fixed_mask(t, block, relays=1):
        i, j = grid(t)
        return (j % block >= block - relays) & (j <= i)

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


@wrong("16-6", says="count with whole numbers")
def by_logarithm():
    """Asks a logarithm for the number of layers."""

    def schedule(t, window):
        return [window**i for i in range(math.ceil(math.log(t, window)))]

    return answer(schedule=schedule)


@wrong("16-6", says="Everything arrives, but the number")
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
