"""Checks of chapter 16: variations and limits."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tfcourse.checks import Mistake, close, describe, exercise
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
        if isinstance(got, list):
            raise Mistake("That is a list: make one tensor of it with `torch.stack`.")
        if isinstance(got, torch.Tensor) and got.shape == want.transpose(0, 1).shape:
            raise Mistake("Pictures come first: `torch.stack(…, dim=1)`.", given=shown)
        close(got, want, mistakes=told, says=says, given=shown)
    got = answer.overlapping_patches(x, size, tuple(x.shape[1:]))
    close(got, _windows(x, size, tuple(x.shape[1:])), says="A stride may be wide, too.")
    x = draw.normal(2, 6, 8)
    got = answer.overlapping_patches(x, (3, 2), (3, 2))
    close(got, _windows(x, (3, 2), (3, 2)), says="With stride = size nothing overlaps.")
    return "The same as by loops, for overlapping patches and for separate ones."


# Linear attention


def _written_and_read(q, k, v, rate, write, late=False):
    """Token by token: write(state, q, k, v, rate) -> the new state; then, or before, read."""
    state, rows = q.new_zeros(q.shape[1], v.shape[1]), []
    for q_i, k_i, v_i, rate_i in zip(q, k, v, rate, strict=True):
        before = state
        state = write(state, q_i, k_i, v_i, rate_i)
        rows.append(q_i @ (before if late else state))
    return torch.stack(rows), state


def _corrected(state, q, k, v, rate):
    return state + rate * torch.outer(k, v - k @ state)


def _delta_case(draw):
    """Queries, keys of length 1, values, rates; what is read; by mistake, what else."""
    t, d, m = draw.integer(5, 8), draw.integer(3, 5), draw.integer(6, 9)
    q, k = draw.normal(t, d), F.normalize(draw.normal(t, d), dim=1)
    given = q, k, draw.normal(t, m), draw.uniform(0.2, 0.9, t)
    want, end = _written_and_read(*given, _corrected)
    misread = {
        "That adds each value to what is there, as plain linear attention does: first take "
        "off what the state already says under this key.": (
            lambda S, q, k, v, r: S + r * torch.outer(k, v)
        ),
        "The rate has no say: of the difference, only the share `rate[i]` is written.": (
            lambda S, q, k, v, r: S + torch.outer(k, v - k @ S)
        ),
        "The rate scales the value alone. It belongs to the whole difference, old value "
        "included.": lambda S, q, k, v, r: S + torch.outer(k, r * v - k @ S),
        "The old value is added, where it should be taken off: v - k S.": (
            lambda S, q, k, v, r: S + r * torch.outer(k, v + k @ S)
        ),
        "The old value is asked for with the query. It stands under the *key*.": (
            lambda S, q, k, v, r: S + r * torch.outer(k, v - q @ S)
        ),
        "The whole state shrinks by the rate: only what stands under this key should.": (
            lambda S, q, k, v, r: (1 - r) * S + r * torch.outer(k, v)
        ),
    }
    told = {
        says: _written_and_read(*given, write)[0] for says, write in misread.items()
    }
    told["Each token reads before it writes: the other way round."] = _written_and_read(
        *given, _corrected, late=True
    )[0]
    told["All queries read the last state. Token i reads what was written up to i."] = (
        q @ end
    )
    return given, want, told


def _a_tensor(got, what):
    """What came back, if it is a tensor; None is told by `close`."""
    if got is not None and not isinstance(got, Tensor):
        raise Mistake(f"{what} is a tensor.", seen=f"Got {describe(got)}.")
    return got


@exercise("16-3", title="Write more carefully", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    says = "For each token: what stands under its key, the difference, the write, the read."
    for _ in range(3):
        given, want, told = telling(_delta_case, draw)
        shown = "q {}, k {}, v {}, rate {}".format(*(tuple(x.shape) for x in given))
        got = _a_tensor(answer.delta_read(*given), "What `delta_read` returns")
        close(got, want, mistakes=told, says=says, given=shown)
    key, values = F.normalize(draw.normal(1, 4), dim=1), draw.normal(2, 3)
    same = key.expand(2, 4)
    got = answer.delta_read(same, same, values, torch.ones(2))
    close(got, values, says="The second value under one key takes the first's place.")
    return (
        "As token by token. With a rate of 1 a state of d × m overwrites: what is written "
        "under a key is what is found there, as long as no other key points that way."
    )


def _shares(log_gates, first=1, last=0):
    """Products of the gates from j + first up to i - last, in float64: (.., t, t), lower."""
    gates, t = log_gates.double().exp(), log_gates.shape[-1]
    out = gates.new_zeros(*gates.shape, t)
    for i in range(t):
        for j in range(i + 1):
            out[..., i, j] = gates[..., j + first : i + 1 - last].prod(dim=-1)
    return out


def _gates_case(draw):
    """Logarithms of gates, (b, h, t); the triangle; by mistake, what else."""
    b, h, t = draw.integer(2, 4), draw.integer(4, 6), draw.integer(6, 9)
    log_gates = -draw.uniform(0.05, 1.5, b, h, t)
    want = _shares(log_gates)
    sums = log_gates.double().cumsum(dim=-1)
    whole = (sums[..., :, None] - sums[..., None, :]).exp()
    i = torch.arange(t)
    lag = (i[:, None] - i).clamp(min=0)
    across = log_gates.double().cumsum(dim=1)
    told = {
        "The gate of token j is in. It acts on what was there *before* j was written: the "
        "product begins at j + 1.": _shares(log_gates, first=0),
        "The gate of token i is missing: before i reads, everything older goes through it.": (
            _shares(log_gates, last=1)
        ),
        "The upper triangle is not zero: j > i is the future.": whole,
        "Rows and columns are exchanged: row i is the token that reads.": want.mT,
        "That is one gate to the power i - j. Each step has a gate of its own: a product, or "
        "a sum of logarithms.": (log_gates.double()[..., :, None] * lag).exp().tril(),
        "Those are the logarithms still: take `exp`.": (
            (sums[..., :, None] - sums[..., None, :]).tril()
        ),
        "The sum runs over the heads: `cumsum(dim=-1)`, along the tokens.": (
            (across[..., :, None] - across[..., None, :]).exp().tril()
        ),
    }
    return log_gates, want, told


@exercise("16-4", title="A gate for each token", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    says = "Row i, column j: the product of the gates of j + 1, …, i; 1 where j = i."
    for _ in range(2):
        given, want, told = telling(_gates_case, draw)
        shown = f"log_gates of shape {tuple(given.shape)}"
        got = _a_tensor(answer.gate_triangle(given), "What `gate_triangle` returns")
        close(
            got,
            want.to(got) if got is not None else want,
            mistakes=told,
            says=says,
            given=shown,
        )
    strong = torch.full((1, 1, 64), -8.0)
    got = _a_tensor(answer.gate_triangle(strong), "What `gate_triangle` returns")
    if got is not None and not got.isfinite().all():
        raise Mistake(
            "With gates of e^-8 and 64 tokens a product of all gates is e^-512, and that is 0 "
            "in float32: 0 / 0 is no number. And `exp` of a pair that looks ahead is infinite: "
            "inf · 0 is none either. Subtract the sums of the logarithms, put -inf where "
            "j > i, and take `exp` last.",
            seen="Got numbers that are not finite.",
        )
    close(got, _shares(strong).to(got), says=says, given="64 gates of e^-8")
    return (
        "Products of gates between any two tokens, from sums of logarithms: finite also "
        "where the gates are all but closed. (To train with it, put -inf where j > i before "
        "`exp`: what `tril` cuts off afterwards has an infinite derivative.)"
    )


RELAY_FLAWS = {  # by name: what to say
    "future": "A relay is seen by tokens that come *before* it: that is the future. A query "
    "sees keys up to its own place.",
    "band": "The own block is the one in which the token stands, from its border on; yours is "
    "a band of the last `block` tokens, whatever the borders.",
    "first": "These are the *first* tokens of each block. What stands there has not seen the "
    "rest of its block, and cannot pass it on: the relays are the last ones.",
    "ahead": "It looks ahead within the own block: there, too, a query sees keys up to its own "
    "place.",
    "others": "A token sees its own block so far, itself included; yours shows it the relays "
    "alone.",
    "one": "Only one relay in each block is seen: there are `relays` of them.",
    "last": "Only the relays of the block before are seen: a token sees those of *all* earlier "
    "blocks, or three blocks take three layers.",
}


def _relays(t, block, relays, flaw=""):
    """Who sees whom, pair by pair: (t, t) Boolean."""
    sees = torch.zeros(t, t, dtype=torch.bool)
    for i in range(t):
        for j in range(t if flaw in ("future", "ahead") else i + 1):
            own = 0 <= i - j < block if flaw == "band" else i // block == j // block
            in_block = j % block
            if flaw == "ahead" and j > i:
                relay = False
            elif flaw == "first":
                relay = in_block < relays
            else:
                relay = in_block >= block - (1 if flaw == "one" else relays)
            near = flaw != "last" or i // block - j // block == 1
            own = own and flaw != "others" and (j <= i or flaw == "ahead")
            sees[i, j] = own or (relay and near)
    return sees


def _relay_case(draw):
    block = draw.integer(3, 7)
    given = draw.integer(3 * block + 1, 6 * block), block, draw.integer(2, block)
    told = {RELAY_FLAWS[flaw]: _relays(*given, flaw) for flaw in RELAY_FLAWS}
    return given, _relays(*given), told


@exercise("16-5", title="A relay in every block", minutes=15, difficulty=2, points=3)
def _(answer, draw):
    says = (
        "Pair by pair: same block and not later, or among the last of an earlier block."
    )
    for _ in range(4):
        given, want, told = telling(_relay_case, draw)
        shown = "t = {}, block = {}, relays = {}".format(*given)
        close(answer.fixed_mask(*given), want, mistakes=told, says=says, given=shown)
    t, block = draw.integer(5, 9), draw.integer(2, 5)
    says = "Where all of a block are relays, everything before is seen."
    want = torch.ones(t, t, dtype=torch.bool).tril()
    close(answer.fixed_mask(t, block, block), want, says=says)
    says = "`relays` is 1 where it is not given."
    close(answer.fixed_mask(3 * block, block), _relays(3 * block, block, 1), says=says)
    says = "A block may be longer than the text: then it is the only one."
    close(answer.fixed_mask(t, 50, 3), want, says=says)
    return (
        "The same as pair by pair. Whatever is said in a block reaches its last token in "
        "one layer, and from there everybody after it in the next."
    )


def _dilated(t, window, dilation):
    """Who sees whom, pair by pair: (t, t) Boolean."""
    sees = torch.zeros(t, t, dtype=torch.bool)
    for i in range(t):
        for step in range(window):
            if i - step * dilation >= 0:
                sees[i, i - step * dilation] = True
    return sees


def _dilated_case(draw):
    window, dilation = draw.integer(3, 5), draw.integer(2, 4)
    t = draw.integer(window * dilation + 3, window * dilation + 9)
    lag = torch.arange(t)[:, None] - torch.arange(t)
    on_grid, past = lag % dilation == 0, lag >= 0
    told = {
        "No end: every `dilation`-th token back to the beginning. A token sees `window` "
        "keys, itself included.": past & on_grid,
        "One key too many: `window` keys, the token itself included, so the last is "
        "`(window - 1) * dilation` back.": past & on_grid & (lag <= window * dilation),
        "The window is counted in tokens; it is counted in keys, `dilation` apart.": past
        & on_grid
        & (lag < window),
        "Every token of the stretch is seen: of the lags only each `dilation`-th one counts.": past
        & (lag <= (window - 1) * dilation),
        "It looks forwards as well: a query sees nothing that comes after it.": on_grid
        & (lag.abs() <= (window - 1) * dilation),
    }
    return (t, window, dilation), _dilated(t, window, dilation), told


def _heard(t, window, dilations):
    """The lags from which something arrives, after these layers, by sets."""
    lags = {0}
    for dilation in dilations:
        lags = {lag + step * dilation for lag in lags for step in range(window)}
    return {lag for lag in lags if lag < t}


def _fewest(t, window):
    layers = 0
    while window**layers < t:
        layers += 1
    return layers


def _whole_numbers(dilations):
    if not isinstance(dilations, list | tuple):
        raise Mistake(f"A list of dilations, one for each layer; got {dilations!r}.")
    for dilation in dilations:
        if isinstance(dilation, bool) or not isinstance(dilation, int) or dilation < 1:
            raise Mistake(f"A dilation is a whole number from 1 on; got {dilation!r}.")
    return list(dilations)


@exercise("16-6", title="Bands with holes", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    says = "The keys at lags 0, dilation, 2 dilation, …, as far as there are tokens."
    for _ in range(3):
        given, want, told = telling(_dilated_case, draw)
        shown = "t = {}, window = {}, dilation = {}".format(*given)
        close(answer.dilated_mask(*given), want, mistakes=told, says=says, given=shown)
    cases = [(1, 3), (2, 2), (64, 2), (65, 2), (81, 3), (82, 3), (100, 5), (1000, 10)]
    cases += [(125, 5), (216, 6), (243, 3)]  # logarithms of these are rounded up
    cases += [(draw.integer(20, 300), draw.integer(2, 7)) for _ in range(4)]
    for t, window in cases:
        found = _whole_numbers(answer.dilations(t, window))
        shown = f"t = {t}, window = {window}: {found}"
        missing = sorted(set(range(t)) - _heard(t, window, found))
        fewest = _fewest(t, window)
        if missing and len(found) < fewest:
            raise Mistake(
                f"Too few layers: a token hears of at most {window}^{len(found)} = "
                f"{window ** len(found)} places after {len(found)}, and there are {t}.",
                given=shown,
            )
        if missing:
            raise Mistake(
                f"There is a hole: nothing arrives from {missing[0]} tokens back. Each "
                "layer must step over exactly what the ones before it have covered.",
                given=shown,
            )
        if len(found) > fewest:
            raise Mistake(
                f"Everything arrives, but the number of layers is {len(found)}; {fewest} "
                "would do. Do you count with whole numbers? "
                "How far does a layer of `window` keys carry what has been gathered?",
                given=shown,
            )
    layers = math.ceil(math.log(4096, 16))
    return (
        "Nothing is missed, and no layer is too many: each multiplies what is covered by "
        f"the window. With 16 keys, {layers} layers reach 4096 tokens."
    )
