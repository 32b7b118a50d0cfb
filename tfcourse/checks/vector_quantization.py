"""What the answers of chapter 15's exercises must do."""

import math
from functools import cache, partial, reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from tfcourse.checks import Mistake, close, describe, differs, exercise
from tfcourse.checks.compare import alike, difference, measured, telling
from tfcourse.data.corpus import load_corpus
from tfcourse.gpt import stored_gpt
from tfcourse.kv_cache import KVCache, caches_for
from tfcourse.vector_quantization import (
    angle_codebook,
    random_rotation,
    sphere_codebook,
)

TABLES = {  # tokens by channels
    "A": [
        [0.3, 7.9, -0.2, 0.4],
        [-0.1, 8.2, 0.3, -0.3],
        [0.2, 8.0, -0.4, 0.1],
        [-0.3, 7.8, 0.1, 0.2],
    ],
    "B": [
        [0.3, -0.2, 0.4, -0.1],
        [-0.2, 0.4, -0.1, 0.3],
        [7.6, -8.1, -7.8, 8.0],
        [0.1, 0.3, -0.3, -0.2],
    ],
    "C": [
        [0.2, -0.3, 0.1, -8.0],
        [-0.4, 0.1, 0.3, 7.7],
        [0.1, 0.4, -0.2, -7.9],
        [0.3, -0.1, 0.2, 8.0],
    ],
}


def three_tables() -> dict[str, Tensor]:
    """The keys of exercise 15-1, tokens by channels."""
    return {name: torch.tensor(rows) for name, rows in TABLES.items()}


def _missed(rows):
    """The squared error of two bits, a grid from smallest to largest for each row."""
    total = 0.0
    for row in rows:
        low, step = min(row), (max(row) - min(row)) / 3
        grid = [low + i * step for i in range(4)]
        total += sum(min((x - value) ** 2 for value in grid) for x in row)
    return total


@exercise(
    "15-1",
    title="Along the rows or down the columns?",
    kind="prediction",
    minutes=8,
    difficulty=1,
    points=2,
    choices=("A", "A and B", "A and C", "all three"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    errors = {
        name: (_missed(rows), _missed(list(zip(*rows, strict=True))))
        for name, rows in TABLES.items()
    }
    better = [name for name, (token, channel) in errors.items() if channel < token]
    assert better == ["A", "C"]
    replies = {
        "A": "There is another. In C the loud channel changes its sign, so its own column "
        "has a wide grid, per channel as well as per token. But what about the other three "
        "columns?",
        "A and B": "Look at a column of B: three small numbers and one that is large. The "
        "grid has to reach that far. And C is not so different from A: whose grid does its "
        "loud channel stretch?",
        "all three": "A and C, yes. In B it is a *token* that is loud, and it stands in "
        "every column: it stretches all four grids, and three quiet tokens are lost. Per "
        "token it has a grid to itself.",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    shown = "; ".join(
        f"{name} {token:.2f} per token, {channel:.2f} per channel"
        for name, (token, channel) in errors.items()
    )
    return (
        f"Squared errors: {shown}. What is loud should share its grid with nothing else: a "
        "loud channel with no other channel, a loud token with no other token. Its sign "
        "does not matter for that."
    )


def _side(n, d, how, recent):
    """The bits of all keys, or of all values: token by token."""
    block, total = how.get("block", 1), 0
    for position in range(n):
        first = position // block * block
        if first + block > n - recent:  # the block has a token that waits
            total += 16 * d
            continue
        total += how["bits"] * d + 16 * how.get("lengths", 0)
        if "group" in how:
            total += 32 * len(range(0, d, how["group"]))
        if "block" in how and position == first:
            total += 32 * d
    return total


def _quickly(n, d, how, recent, *, scales=32, length=16, late=16, coded=None):
    """The same in one line; coded: how many tokens are in codes."""
    block = how.get("block", 1)
    coded = max(n - recent, 0) // block * block if coded is None else coded
    each = how["bits"] * d + length * how.get("lengths", 0)
    each += scales * d / how["group"] if "group" in how else 0
    each += scales * d / block if "block" in how else 0
    return coded * each + late * d * (n - coded)


def _misheld(n, d, keys, values, recent):
    """By mistake, the bits for each number that it gives."""
    both = lambda **flaw: sum(
        _quickly(n, d, how, recent, **flaw) for how in (keys, values)
    )
    by_block = lambda count: sum(
        _quickly(n, d, how, recent, coded=count(how.get("block", 1)))
        for how in (keys, values)
    )
    all_of = math.lcm(*(how.get("block", 1) for how in (keys, values)))
    old = n - recent
    told = {
        "The scales are missing: each grid keeps two numbers in float16.": both(
            scales=0
        ),
        "A grid keeps two numbers, its smallest value and its step: 32 bits.": both(
            scales=16
        ),
        "Scales are kept in float16, 16 bits each.": both(scales=64),
        "The `lengths` are missing: so many float16 for each vector.": both(length=0),
        "`lengths` says how many there are for each *vector* of d numbers; you took them "
        "for each number.": both(length=16 * d),
        "A length is kept in float16: 16 bits.": both(length=32),
        "What waits is kept as well: 16 bits for each of its numbers.": both(late=0),
        "What waits is kept in float16: 16 bits a number.": both(late=32),
        "You count all tokens as codes. The last `recent` tokens wait in float16.": (
            by_block(lambda block: n)
        ),
        "The last `recent` tokens wait, too.": by_block(
            lambda block: n // block * block
        ),
        "Only full blocks can be coded: old tokens that fill none wait as well.": by_block(
            lambda block: old
        ),
        "A block that is not full cannot be coded yet: round down, not up.": by_block(
            lambda block: math.ceil(old / block) * block
        ),
        "First take off the recent tokens, then see how many blocks are full: a block that "
        "reaches into the recent ones has to wait.": by_block(
            lambda block: n // block * block - recent
        ),
        "Keys and values wait for blocks of their own: who has no `block` does not wait "
        "for one.": by_block(lambda block: old // all_of * all_of),
    }
    numbers = 2 * n * d
    told = {says: bits / numbers for says, bits in told.items()}
    right = both() / numbers
    told |= {
        "Those are all bits; asked are the bits for each number.": both(),
        "Those are the bits of a token: divide by its numbers, too.": both() / n,
        "Keys and values are twice as many numbers: the mean of both, not the sum.": (
            2 * right
        ),
        "That is for keys alone: half of the numbers are values.": _quickly(
            n, d, keys, recent
        )
        / (n * d),
        "Those are bytes: times 8.": right / 8,
    }
    return {says: wrong for says, wrong in told.items() if not _near(wrong, right)}


def _near(a, b):
    """As `alike`, for two numbers, and faster."""
    return math.isclose(a, b, rel_tol=1e-6)


def _bits_case(draw, kinds):
    """A length, a width, keys and values of these kinds, tokens left; by mistake, bits."""
    d = 12 * draw.integer(2, 6)
    sides = []
    for kind in kinds:
        bits = draw.integer(2, 5)
        sides.append(
            {
                "group": {"bits": bits, "group": draw.choice((4, 6, 12))},
                "block": {"bits": bits, "block": draw.choice((7, 8, 16))},
                "lengths": {"bits": bits + 0.875, "lengths": draw.integer(2, 4)},
            }[kind]
        )
    recent = draw.integer(11, 30)
    given = (draw.integer(70, 120), d, *sides, recent)
    n, _, keys, values, _ = given
    want = sum(_side(n, d, how, recent) for how in (keys, values)) / (2 * n * d)
    return given, want, _misheld(*given)


def _one_number(got, what):
    got = got.item() if isinstance(got, Tensor) and got.numel() == 1 else got
    if got is not None and (isinstance(got, bool) or not isinstance(got, int | float)):
        raise Mistake(f"{what} is a number.", seen=f"Got {describe(got)}.")
    return got


@exercise("15-2", title="The bits of any cache", minutes=15, difficulty=2, points=3)
def _(answer, draw):
    says = "For keys and for values: how many tokens are in codes, and what each of them takes."
    for kinds in (("block", "lengths"), ("block", "group"), ("lengths", "block")):
        case = partial(_bits_case, kinds=kinds)
        given, want, told = telling(case, draw, _near)
        n, d, keys, values, recent = given
        shown = f"n = {n}, d = {d}, keys = {keys}, values = {values}, recent = {recent}"
        got = _one_number(answer.bits_held(*given), "What `bits_held` returns")
        close(got, want, mistakes=told, says=says, given=shown, rtol=1e-6)
    got = _one_number(
        answer.bits_held(recent - 1, d, keys, values, recent), "bits_held"
    )
    says = "A text that is not longer than `recent` waits as a whole: 16 bits a number."
    close(got, 16.0, says=says)
    got = _one_number(
        answer.bits_held(recent, d, keys, values, recent), "What `bits_held` returns"
    )
    close(got, 16.0, says=says)
    got = _one_number(answer.bits_held(n, d, keys, values), "What `bits_held` returns")
    want = sum(_side(n, d, how, 0) for how in (keys, values)) / (2 * n * d)
    says = "`recent` is 0 where it is not given: a default of the function."
    close(got, want, says=says)
    return (
        "The same as token by token, with grids, blocks, lengths and tokens that wait."
    )


WINDOWS, SPAN = 4, 256


@cache
def windows_to_score() -> Tensor:
    """Windows of code that the stored model has not seen, as ids: (4, 257)."""
    tokenizer = stored_gpt("11_code")[1]
    ids = torch.tensor(tokenizer.encode(load_corpus().scored.decode()))
    return torch.stack([part[: SPAN + 1] for part in ids.chunk(WINDOWS)])


class _Rounding(KVCache):
    """Keeps keys and values after rounding: by distance to each value, and back."""

    def __init__(self, b, g, d, capacity, bits, scaled, recent=0, **kind):
        super().__init__(b, g, d, capacity, **kind)
        self.bits, self.scaled = bits, scaled
        self.rotation = random_rotation(d, torch.Generator().manual_seed(15))

    def update(self, k, v):
        pairs = zip((k, v), self.bits, strict=True)
        return super().update(*(self.rounded(x, bits) for x, bits in pairs))

    def rounded(self, x, bits):
        if bits is None:
            return x
        x = x.half().float()
        length = x.norm(dim=-1, keepdim=True)
        values = sphere_codebook(x.shape[-1], bits).float()
        unit = x @ self.rotation.T / length
        found = values[(unit[..., None] - values).abs().argmin(dim=-1)]
        factor = (found * unit).sum(dim=-1, keepdim=True) if self.scaled else 1.0
        return (length / factor).half().float() * (found @ self.rotation)


@cache
def _loss(bits=None, scaled=True):
    """The mean surprise with keys and values in so many bits each, in nats."""
    model, ids = stored_gpt("11_code")[0], windows_to_score()
    sizes = {"capacity": SPAN, "bits": bits or (None, None), "scaled": scaled}
    with torch.inference_mode():
        caches = caches_for(model, _Rounding, len(ids), **sizes)
        scores = model(ids[:, :-1], caches=caches)
    return F.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten()).item()


@exercise(
    "15-3",
    title="Who gets the bits?",
    kind="measurement",
    minutes=15,
    difficulty=2,
    points=3,
)
def _(answer, draw):
    names = "keys_finer", "values_finer"
    got = [answer.number(name) for name in names]
    bits, plain = ((4, 2), (2, 4)), _loss()
    rises = [_loss(both) - plain for both in bits]
    short = [_loss(both, scaled=False) - plain for both in bits]
    assert 0 < 2 * rises[0] < rises[1]
    if not difference(got, rises[::-1], 0.02, 1e-6):
        raise Mistake(
            "The right numbers, the wrong way round: `keys_finer` has four bits for each "
            "number of a key, and two for each number of a value."
        )
    for name, mine, rise, biased in zip(names, got, rises, short, strict=True):
        losses = {  # which lie near each other
            f"`{name}`: that is the loss itself. Asked is what it *rises* by.": plain
            + rise,
            f"`{name}`: that is the loss of TurboQuant as it is. Asked is the rise, with "
            "EDEN's scale.": plain + biased,
            f"`{name}`: that is a ratio of losses; asked is their difference.": 1
            + rise / plain,
        }
        for hint, wrong in losses.items():
            differs(mine, wrong, says=hint, rtol=1e-3)
        told = {
            f"`{name}`: it rises, so this is above 0: loss with codes minus loss without.": (
                -rise
            ),
            f"`{name}`: these codecs are TurboQuant as it is. Asked is EDEN's scale, "
            "`unbiased=True`.": biased,
            f"`{name}`: that is the rise as a share of the loss; asked are nats.": rise
            / plain,
            f"`{name}`: those are bits; asked are nats.": rise / math.log(2),
            f"`{name}`: that is for all tokens together; asked is the mean of a token.": (
                rise * WINDOWS * SPAN
            ),
        }
        says = (
            f"`{name}`: `loss(keys=..., values=...)` minus `loss()`, with a `TurboQuant` of "
            "`rotation` for each, so many bits and `unbiased=True`."
        )
        measured(mine, rise, told, says=says, rtol=0.02)
    return (
        f"Three bits a number on average, both times: {rises[0]:+.3f} nats with the bits in "
        f"the keys, {rises[1]:+.3f} with the bits in the values. A value that is off by a "
        "little is averaged with others that are off another way. A key that is off goes "
        "through an exponential first, and decides who is averaged at all."
    )


@cache
def _sums_and_differences(p):
    """The Hadamard matrix of p rows, entry by entry: (p, p)."""
    signs = [[(-1) ** (i & j).bit_count() for j in range(p)] for i in range(p)]
    return torch.tensor(signs) / math.sqrt(p)


def _largest(d):
    return max(2**i for i in range(d) if 2**i <= d)


def _ends(d, i):
    """Which coordinates round i mixes: from where, and up to where."""
    p = _largest(d)
    return [(d - p, d) if i % 2 else (0, p)]


def _rounds(signs, mixed=_ends, flip=None, after=False, loud=False):
    """The matrix of each round, (d, d); with a flaw where something else is given."""
    d, found = signs.shape[1], []
    for i, row in enumerate(signs):
        mixing = torch.eye(d)
        for start, end in mixed(d, i):
            block, p = torch.eye(d), end - start
            block[start:end, start:end] = _sums_and_differences(p)
            if loud:
                block[start:end, start:end] *= math.sqrt(p)
            mixing = block @ mixing
        flips = torch.diag(row if flip is None else flip(signs, i))
        found.append(flips @ mixing if after else mixing @ flips)
    return found


def _in_turn(matrices):
    """The product of all, of which the first is applied first."""
    return reduce(lambda done, following: following @ done, matrices)


def _partly(signs, i):
    """The signs of a round where it mixes, and 1 elsewhere."""
    ((start, end),) = _ends(signs.shape[1], i)
    places = torch.arange(signs.shape[1])
    return signs[i].where((places >= start) & (places < end), 1.0)


def _smaller(d, i):
    p = _largest(d) // 2
    return [(d - p, d) if i % 2 else (0, p)]


def _turn_case(draw, d, n, shape):
    """Vectors and signs; what they are turned to; by mistake, what it gives."""
    x, signs = draw.normal(*shape, d), 2.0 * draw.integer(0, 2, n, d) - 1
    p = _largest(d)
    other = lambda **flaw: _rounds(signs, **flaw)
    told = {
        "Every round mixes the first coordinates: the last ones are never met. Odd rounds "
        "take the *last* p.": other(mixed=lambda d, i: [(0, p)]),
        "The ends are changed: round 0 mixes the first p coordinates, round 1 the last p.": (
            other(mixed=lambda d, i: _ends(d, i + 1))
        ),
        "Odd rounds mix what the even ones left out, and so the two parts never meet. They "
        "take the last p coordinates, which overlap with the first.": other(
            mixed=lambda d, i: [(p, d) if i % 2 else (0, p)]
        ),
        "Each round mixes both ends; one end for each round.": other(
            mixed=lambda d, i: [(0, p), (d - p, d)]
        ),
        "Each round mixes two separate blocks, and they never meet.": other(
            mixed=lambda d, i: [(0, p), (p, d)]
        ),
        "p is too small: the largest power of two that is not above d.": other(
            mixed=_smaller
        ),
        "The signs come after the sums and differences; they come before.": other(
            after=True
        ),
        "The signs are missing: without them a turn is the same for everybody.": other(
            flip=lambda signs, i: torch.ones(d)
        ),
        "Every round has its own row of signs; you take the first one again.": other(
            flip=lambda signs, i: signs[0]
        ),
        "The signs go to all d coordinates, also to those that are not mixed.": other(
            flip=_partly
        ),
        "The length is lost: sums and differences of p numbers are divided by √p.": other(
            loud=True
        ),
        "The rounds come in the wrong order: row 0 of the signs is first.": (
            _rounds(signs)[::-1]
        ),
    }
    told = {says: x @ _in_turn(rounds).mT for says, rounds in told.items()}
    want = x @ _in_turn(_rounds(signs)).mT
    halfway = _in_turn(_rounds(signs)[:1])
    told["That is a single round: there is one for each row of `signs`."] = (
        x @ halfway.mT
    )
    if d - p < 2 or n == 1:  # some of them are no mistakes then, and some the same
        told = _unlike(want, told)
    return (x, signs), want, told


def _unlike(want, told):
    """Without what is right, and the first only of those that are the same."""
    kept = {}
    for says, wrong in told.items():
        if not any(alike(wrong, other) for other in [want, *kept.values()]):
            kept[says] = wrong
    return kept


def _back_told(x, y, signs):
    """By mistake, what y is turned back to."""
    rounds = _rounds(signs)
    undone = [matrix.mT for matrix in rounds]
    swapped = [
        m.mT for m in _rounds(signs, mixed=lambda d, i: _ends(d, len(signs) - 1 - i))
    ]
    before = [m.mT for m in _rounds(signs, after=True)]
    told = {
        "`turn_back` turns once more: every round is to be *undone*.": rounds,
        "The rounds are undone in the order in which they were done. What was done last "
        "comes off first.": undone,
        "The ends count from the back: a round is undone where it was done, at the first p "
        "coordinates for even i, though you begin with the last round.": swapped[::-1],
        "Within a round, what was done last comes off first: the sums and differences, then "
        "the signs.": before[::-1],
        "The rounds are undone in the right order, but with the signs in the wrong one.": [
            m.mT
            for m in _rounds(signs, flip=lambda signs, i: signs[len(signs) - 1 - i])
        ][::-1],
    }
    told = {says: y @ _in_turn(matrices).mT for says, matrices in told.items()}
    return {says: wrong for says, wrong in told.items() if not alike(wrong, x, 0, 1e-4)}


@exercise("15-4", title="A turn for 96 channels", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    says = "In each round: signs, then `hadamard` of the first p (even i) or the last p (odd i)."
    cases = ((12, 4, (2, 3)), (8, 2, (4,)), (5, 3, ()))
    for d, n, shape in cases:
        case = partial(_turn_case, d=d, n=n, shape=shape)
        (x, signs), want, told = telling(case, draw)
        shown = f"d = {d}, {n} rounds, x of shape {tuple(x.shape)}"
        got = answer.turn(x, signs)
        close(got, want, mistakes=told, says=says, given=shown, atol=1e-5)
        found = answer.turn_back(want, signs)
        told = _back_told(x, want, signs)
        back_says = "`turn_back` has to give back what was turned."
        close(found, x, mistakes=told, says=back_says, given=shown, atol=1e-4)
    for name in ("turn", "turn_back"):
        if difference(answer.left(name, x, signs), (x, signs), 0, 0):
            raise Mistake(f"`{name}` changes what it is given: make new tensors.")
    return (
        "As the product of all matrices does, and back. A coordinate that is not among the "
        "first p is among the last p, so nobody is left out; the overlap carries what is at "
        "one end to the other."
    )


def _lloyd(points, centres):
    """One step, by loops: the new centres, and the error of the old ones."""
    members, total = [[] for _ in centres], 0.0
    for point in points.tolist():
        apart = [math.dist(point, centre) ** 2 for centre in centres.tolist()]
        nearest = apart.index(min(apart))
        members[nearest].append(point)
        total += apart[nearest]
    moved = [
        [sum(axis) / len(group) for axis in zip(*group, strict=True)] if group else old
        for group, old in zip(members, centres.tolist(), strict=True)
    ]
    return torch.tensor(moved), total / points.numel()


def _moved(points, centres, nearest):
    """The means of those that go to each centre; where nobody goes, the centre."""
    rows = [
        points[nearest == i].mean(dim=0) if (nearest == i).any() else centre
        for i, centre in enumerate(centres)
    ]
    return torch.stack(rows)


def _lloyd_case(draw, n, w):
    """Points and centres, one of them alone; by mistake, centres and errors."""
    alone, nearest = draw.integer(0, n), torch.zeros(0)
    while len(nearest.unique()) != n - 1:  # that one, and no other, has no points
        points, centres = 3 * draw.normal(40, w) + 1, 3 * draw.normal(n, w) + 1
        centres[alone] = 50.0
        gaps = points[:, None] - centres  # (p, n, w)
        apart = (gaps**2).sum(dim=-1)
        nearest = apart.argmin(dim=-1)
    want, error = _lloyd(points, centres)
    zero, nan = want.clone(), want.clone()
    zero[alone], nan[alone] = 0.0, math.nan
    without = torch.cat([want[:alone], want[alone + 1 :]])
    middle = want.clone()
    middle[alone] = points.mean(dim=0)
    one_by_one = torch.stack(
        [
            _moved(points[:, [j]], centres[:, [j]], (gaps[..., j] ** 2).argmin(dim=-1))[
                :, 0
            ]
            for j in range(w)
        ],
        dim=1,
    )
    told = {
        "A centre that nobody is nearest to became NaN: nothing by nothing. It stays where "
        "it was.": nan,
        "A centre that nobody is nearest to became 0. It stays where it was.": zero,
        "A centre that nobody is nearest to is gone. It stays where it was: there are n "
        "again.": without,
        "A centre that nobody is nearest to went to the middle of all points. It stays "
        "where it was.": middle,
        "Nearest by inner product: that prefers centres that are far out. ‖x - c‖² has "
        "‖c‖² in it, too.": _moved(
            points, centres, (points @ centres.T).argmax(dim=-1)
        ),
        "Every coordinate went to a centre of its own: a point goes as a whole, by its "
        "distance in all coordinates.": one_by_one,
        "Nearest by the sum of sizes: the error is a sum of *squares*.": _moved(
            points, centres, gaps.abs().sum(dim=-1).argmin(dim=-1)
        ),
        "Each went to the centre that is farthest.": _moved(
            points, centres, apart.argmax(dim=-1)
        ),
        "The centres have not moved: each goes to the mean of its points.": centres,
        "That is each centre's nearest point; asked is the mean of the points that are "
        "nearest to it.": points[apart.argmin(dim=0)],
        "Those are medians; the mean has the least squared error.": torch.stack(
            [
                points[nearest == i].median(dim=0).values if (nearest == i).any() else c
                for i, c in enumerate(centres)
            ]
        ),
        "Those are the sums of the points; divide by how many they are.": torch.stack(
            [
                points[nearest == i].sum(dim=0) if (nearest == i).any() else c
                for i, c in enumerate(centres)
            ]
        ),
    }
    after = ((points - want[nearest]) ** 2).mean().item()
    again = ((points[:, None] - want) ** 2).sum(dim=-1).amin(dim=-1).mean().item() / w
    errors = {
        "That is the error of a point; divide by its coordinates, too.": error * w,
        "That is the error of all points; asked is the mean.": error * points.numel(),
        "That is the sum over the points: their number is missing.": error
        * len(points),
        "That is the root; asked is the squared error.": math.sqrt(error),
        "That is the mean distance; square before you take the mean.": apart.amin(
            dim=-1
        )
        .sqrt()
        .mean()
        .item()
        / w,
        "That is the error after the step; asked is the one of the centres as they were "
        "given.": after,
        "That is the error with new centres and new neighbours; asked is the one of the "
        "centres as they were given.": again,
    }
    return (points, centres), (want, error), (told, errors)


@exercise("15-5", title="Two at a time", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    for n, w in ((7, 3), (4, 2)):
        points, centres, want, told, errors = _telling_lloyd(draw, n, w)
        shown = f"{len(points)} points of {w} coordinates, {n} centres"
        got = answer.lloyd_step(points, centres)
        if not isinstance(got, list | tuple) or len(got) != 2:
            says = "`lloyd_step` returns two things: the new centres, and the error."
            raise Mistake(says, seen=f"Got {describe(got)}.", given=shown)
        says = (
            "Each centre: the mean of the points that are nearer to it than to others."
        )
        close(got[0], want[0], mistakes=told, says=says, given=shown)
        says = "The centres are right. The error: squared, to the nearest, the mean of all."
        close(
            _one_number(got[1], "The error, which is returned second,"),
            want[1],
            mistakes=errors,
            says=says,
        )
    if difference(answer.left("lloyd_step", points, centres), (points, centres), 0, 0):
        raise Mistake("`lloyd_step` changes what it is given: make a new tensor.")
    return (
        "The same as point by point. Both halves of a step can only lower the error: to "
        "choose the nearest, and to move to the mean. So it falls until nothing moves."
    )


def _telling_lloyd(draw, n, w):
    """A case in which all mistakes can be told apart."""

    def case(draw):
        given, want, (told, errors) = _lloyd_case(draw, n, w)
        named = [*told.items(), *errors.items()]
        return (given, want, told, errors), want[0], dict(named) | {"": want[1]}

    (points, centres), want, told, errors = telling(case, draw)[0]
    return points, centres, want, told, errors


@cache
def _turning(level, bits):
    """Angles of a level, how likely each is, and how far each is from its value."""
    end = 2 * math.pi if level == 1 else math.pi / 2
    n = 40_000
    angle = (torch.arange(n, dtype=torch.float64) + 0.5) / n * end
    weight = torch.ones_like(angle)
    if level > 1:  # two lengths of m coordinates: cos and sin to the power m - 1
        m = 2 ** (level - 1)
        weight = (angle.cos() * angle.sin()) ** (m - 1)
    gaps = (angle[:, None] - angle_codebook(level, bits)).abs().amin(dim=-1)
    return angle, weight / weight.sum(), gaps


def _kept(level, bits, of=torch.cos):
    _, weight, gaps = _turning(level, bits)
    return float((weight * of(gaps)).sum())


def _flat(level, bits):
    """As if the angles were even."""
    return float(_turning(level, bits)[2].cos().mean())


def _polar(bits, of=torch.cos):
    return 2 * (1 - math.prod(_kept(i, n, of) for i, n in enumerate(bits, start=1)))


def _polar_case(draw, levels, least):
    """Bits of the levels; the distortion; by mistake, what it gives."""
    bits = [draw.integer(least, 4) for _ in range(levels)]
    kept = [_kept(i, n) for i, n in enumerate(bits, start=1)]
    squares = [_kept(i, n, torch.square) for i, n in enumerate(bits, start=1)]
    every = math.prod(k ** (2 ** (levels - i)) for i, k in enumerate(kept, start=1))
    weighted = sum(2 * (1 - k) * 2 ** (levels - i) for i, k in enumerate(kept, start=1))
    widths = [_kept(i, n, torch.abs) for i, n in enumerate(bits, start=1)]
    want = _polar(bits)
    told = {
        "That is the share of ⟨u, û⟩ that is kept. The squared error of two vectors of "
        "length 1 is 2 - 2 ⟨u, û⟩.": math.prod(kept),
        "That is 1 - ⟨u, û⟩; the squared error is twice as much.": want / 2,
        "The squared errors of the levels are added up. That is nearly right where they are "
        "small; here the factors are multiplied.": sum(2 * (1 - k) for k in kept),
        "The squared angles are added up. For a small angle 2 - 2 cos is its square, and "
        "these are not small.": sum(squares),
        "That multiplies for every angle of a level. On the way down to a coordinate there "
        "is *one* angle of each level.": 2 * (1 - every),
        "That adds up for every angle of a level, as if each had the whole length to turn.": (
            weighted
        ),
        "That is the cosine of the mean angle; asked is the mean of the cosine.": 2
        * (1 - math.prod(map(math.cos, widths))),
        "The angles of the upper levels are not even: they crowd around 45°. Weigh each by "
        "`angle_density`.": 2
        * (1 - math.prod(_flat(i, n) for i, n in enumerate(bits, start=1))),
        "The errors are multiplied; what is *kept* multiplies.": 2
        * math.prod(1 - k for k in kept),
        "1 - ⟨u, û⟩² is the part of û across u, squared. The error has a part along u, too.": (
            1 - math.prod(kept) ** 2
        ),
        "The first level is missing.": 2 * (1 - math.prod(kept[1:])),
        "The last level is missing.": 2 * (1 - math.prod(kept[:-1])),
        "That is the mean over the levels.": sum(2 * (1 - k) for k in kept) / levels,
        "That is the length of the error; asked is its square.": math.sqrt(want),
    }
    return (bits,), want, told


@exercise("15-6", title="Where the angles' bits go", minutes=30, difficulty=5, points=6)
def _(answer, draw):
    says = (
        "2 - 2 times a product: for each level, the mean of cos(angle - its value), weighed "
        "by the density of the angles."
    )
    for levels, least in ((2, 1), (3, 1), (4, 1), (3, 0)):
        case = partial(_polar_case, levels=levels, least=max(least, 1))
        (bits,), want, told = telling(case, draw, partial(alike, rtol=0.005))
        if least == 0:  # an upper level without bits
            bits, told = [bits[0], 0, bits[2]], {}
            want = _polar(bits)
            says += " Without bits there is one value, in the middle."
        got = _one_number(
            answer.polar_distortion(bits), "What `polar_distortion` returns"
        )
        shown = f"bits = {bits}"
        if not difference(got, want, 1e-3, 0):
            continue
        for hint, wrong in told.items():
            differs(got, wrong, says=hint, given=shown, rtol=1e-3)
        if not difference(got, want, 0.03, 0):
            raise Mistake(
                "Near, but asked is one part in a thousand: drawn vectors are too few. "
                "Integrate, on some thousand angles.",
                seen=f"Got {describe(got)}.",
                given=shown,
            )
        close(got, want, says=says, given=shown, rtol=1e-3)
    close(
        _one_number(answer.polar_distortion([2]), "What `polar_distortion` returns"),
        _polar([2]),
        says="With a single level there is one factor, of angles that are even all around.",
        rtol=1e-3,
    )
    return (
        "As a sum over 40 000 angles of each level. Nobody had to turn, code or measure a "
        "vector for it, so all ways to spend the bits can be tried at once."
    )
