"""Right and wrong answers to chapter 15's exercises, and what each must be told."""

import math
from functools import cache

import torch
from torch.nn import functional as F

from tfcourse.checks.proofs import right, wrong
from tfcourse.checks.vector_quantization import windows_to_score
from tfcourse.gpt import stored_gpt
from tfcourse.kv_cache import caches_for
from tfcourse.vector_quantization import (
    PolarQuant,
    QuantizedCache,
    TurboQuant,
    angle_codebook,
    angle_density,
    hadamard,
    halfway,
    random_rotation,
)


@wrong("15-1", says="the loud channel changes its sign")
def only_the_offset():
    """Takes a channel that changes its sign for one that has no grid to gain."""
    return {"prediction": "A"}


@wrong("15-1", says="Look at a column of B")
def a_loud_token():
    """Takes whatever is loud for a reason to go down the columns."""
    return {"prediction": "A and B"}


@wrong("15-1", says="it stands in every column")
def always_per_channel():
    """Takes per channel for better in any case."""
    return {"prediction": "all three"}


def coded_tokens(n, recent, block):
    return max(n - recent, 0) // block * block


def token_bits(how, d, scales=32, lengths=16):
    """What a token takes in codes."""
    each = how["bits"] * d + lengths * how.get("lengths", 0)
    each += scales * d / how["group"] if "group" in how else 0
    return each + (scales * d / how["block"] if "block" in how else 0)


def holding(coded=coded_tokens, each=token_bits, late=16, whole=None):
    """A bits_held from parts: tokens in codes, what one takes, what one that waits takes."""

    def bits_held(n, d, keys, values, recent=0):
        total = 0
        for how in (keys, values):
            done = coded(n, recent, how.get("block", 1))
            total += done * each(how, d) + late * d * (n - done)
        return (whole or (lambda bits, n, d: bits / (2 * n * d)))(total, n, d)

    return {"bits_held": bits_held}


@right("15-2")
def block_by_block():
    """Lays the text in blocks, and asks of each whether it is old and full."""

    def side(n, d, how, recent):
        size, bits = how.get("block", 1), 0
        for start in range(0, n, size):
            if start + size <= n - recent:
                bits += size * how["bits"] * d + size * 16 * how.get("lengths", 0)
                grids = size * d // how["group"] if "group" in how else 0
                grids += d if "block" in how else 0
                bits += grids * (16 + 16)
            else:
                bits += 16 * d * len(range(start, min(start + size, n)))
        return bits / (n * d)

    def bits_held(n, d, keys, values, recent=0):
        return (side(n, d, keys, recent) + side(n, d, values, recent)) / 2

    return bits_held


@right("15-2")
def in_shares():
    """Mixes 16 bits and the codec's true bits by the share of tokens in codes."""

    def bits_held(n, d, keys, values, recent=0):
        sides = []
        for how in (keys, values):
            share = coded_tokens(n, recent, how.get("block", 1)) / n
            true_bits = token_bits(how, d) / d
            sides.append(16 + share * (true_bits - 16))
        return torch.tensor(sides, dtype=torch.float64).mean()

    return bits_held


@wrong("15-2", says="The scales are missing")
def codes_alone():
    """Counts the codes, and no grids."""
    return holding(each=lambda how, d: token_bits(how, d, scales=0))


@wrong("15-2", says="its smallest value and its step: 32 bits")
def one_number_a_grid():
    """Counts one number for a grid."""
    return holding(each=lambda how, d: token_bits(how, d, scales=16))


@wrong("15-2", says="Scales are kept in float16")
def scales_in_float32():
    """Counts scales in 32 bits each."""
    return holding(each=lambda how, d: token_bits(how, d, scales=64))


@wrong("15-2", says="The `lengths` are missing")
def no_lengths():
    """Forgets the lengths."""
    return holding(each=lambda how, d: token_bits(how, d, lengths=0))


@wrong("15-2", says="for each *vector*")
def lengths_for_each_number():
    """Adds 16 bits a length to the bits of each number."""
    return holding(each=lambda how, d: token_bits(how, d, lengths=16 * d))


@wrong("15-2", says="A length is kept in float16")
def lengths_in_float32():
    """Counts lengths in 32 bits."""
    return holding(each=lambda how, d: token_bits(how, d, lengths=32))


@wrong("15-2", says="What waits is kept as well")
def without_what_waits():
    """Leaves the waiting tokens out."""
    return holding(late=0)


@wrong("15-2", says="What waits is kept in float16")
def what_waits_in_float32():
    """Counts what waits in 32 bits."""
    return holding(late=32)


@wrong("15-2", says="You count all tokens as codes")
def all_in_codes():
    """Takes a stated number of bits for all tokens."""
    return holding(lambda n, recent, block: n)


@wrong("15-2", says="The last `recent` tokens wait, too")
def nothing_recent():
    """Ignores `recent`."""
    return holding(lambda n, recent, block: n // block * block)


@wrong("15-2", says="old tokens that fill none wait as well")
def half_blocks():
    """Codes blocks that are not full."""
    return holding(lambda n, recent, block: max(n - recent, 0))


@wrong("15-2", says="round down, not up")
def rounds_up():
    """Rounds the number of blocks up."""
    return holding(lambda n, recent, block: math.ceil((n - recent) / block) * block)


@wrong("15-2", says="First take off the recent tokens")
def blocks_first():
    """Counts full blocks, then takes off the recent tokens."""
    return holding(lambda n, recent, block: n // block * block - recent)


@wrong("15-2", says="waits as a whole")
def below_zero():
    """Does not look whether the text is longer than what is recent."""
    return holding(lambda n, recent, block: (n - recent) // block * block)


@wrong("15-2", says="for blocks of their own")
def waits_for_the_other():
    """Lets values wait for the keys' blocks, as the package's cache does."""

    def bits_held(n, d, keys, values, recent=0):
        block = math.lcm(keys.get("block", 1), values.get("block", 1))
        good = holding(lambda n, recent, own: coded_tokens(n, recent, block))
        return good["bits_held"](n, d, keys, values, recent)

    return bits_held


@wrong("15-2", says="Those are all bits")
def in_all():
    """Adds up."""
    return holding(whole=lambda bits, n, d: bits)


@wrong("15-2", says="the bits of a token")
def for_a_token():
    """Divides by the tokens only."""
    return holding(whole=lambda bits, n, d: bits / n)


@wrong("15-2", says="the mean of both, not the sum")
def sum_of_both():
    """Divides by the numbers of keys."""
    return holding(whole=lambda bits, n, d: bits / (n * d))


@wrong("15-2", says="That is for keys alone")
def only_keys():
    """Forgets the values."""
    good = holding()["bits_held"]
    return {"bits_held": lambda n, d, k, v, recent=0: good(n, d, k, k, recent)}


@wrong("15-2", says="Those are bytes")
def in_bytes():
    """Divides by 8."""
    return holding(whole=lambda bits, n, d: bits / (16 * n * d))


@wrong("15-2", says="a default of the function")
def recent_by_habit():
    """Leaves 32 tokens where nothing is said."""
    good = holding()["bits_held"]
    return {"bits_held": lambda n, d, k, v, recent=32: good(n, d, k, v, recent)}


@wrong("15-2", says="What `bits_held` returns is a number")
def both_sides():
    """Returns one number for keys and one for values."""
    good = holding()["bits_held"]
    return {
        "bits_held": lambda n, d, k, v, recent=0: [
            good(n, d, how, how, recent) for how in (k, v)
        ]
    }


@cache
def loss(key_bits=None, value_bits=None, unbiased=True, recent=0):
    model, ids = stored_gpt("11_code")[0], windows_to_score()
    turn, caches = random_rotation(64, torch.Generator().manual_seed(15)), None
    if key_bits:
        codecs = [TurboQuant(turn, b, unbiased) for b in (key_bits, value_bits)]
        sizes = dict(zip(("keys", "values"), codecs, strict=True)) | {
            "capacity": 256,
            "recent": recent,
        }
        caches = caches_for(model, QuantizedCache, len(ids), **sizes)
    with torch.inference_mode():
        found = model(ids[:, :-1], caches=caches).transpose(1, 2)
    return F.cross_entropy(found, ids[:, 1:]).item()


def rises(of, unbiased=True):
    """of(loss with codes, loss without), for both ways to deal."""
    found = [of(loss(k, v, unbiased), loss()) for k, v in ((4, 2), (2, 4))]
    return dict(zip(("keys_finer", "values_finer"), found, strict=True))


@right("15-3")
def as_a_tensor():
    """Measures with the package's cache, and keeps a tensor of one element."""
    return {k: torch.tensor(x) for k, x in rises(lambda a, b: a - b).items()}


@wrong("15-3", says="the wrong way round")
def changed_places():
    """Takes one for the other."""
    keys, values = rises(lambda a, b: a - b).values()
    return {"keys_finer": values, "values_finer": keys}


@wrong("15-3", says="that is the loss itself")
def the_loss():
    """Forgets to subtract."""
    return rises(lambda a, b: a)


@wrong("15-3", says="so this is above 0")
def below():
    """Subtracts the wrong way round."""
    return rises(lambda a, b: b - a)


@wrong("15-3", says="these codecs are TurboQuant as it is")
def without_the_scale():
    """Leaves `unbiased` at its default."""
    return rises(lambda a, b: a - b, unbiased=False)


@wrong("15-3", says="that is the loss of TurboQuant as it is")
def neither():
    """Leaves out the scale and the difference."""
    return rises(lambda a, b: a, unbiased=False)


@wrong("15-3", says="that is a ratio of losses")
def as_a_ratio():
    """Divides."""
    return rises(lambda a, b: a / b)


@wrong("15-3", says="as a share of the loss")
def as_a_share():
    """Divides the difference by the loss."""
    return rises(lambda a, b: a / b - 1)


@wrong("15-3", says="those are bits; asked are nats")
def in_bits():
    """Divides by ln 2."""
    return rises(lambda a, b: (a - b) / math.log(2))


@wrong("15-3", says="for all tokens together")
def of_all_tokens():
    """Adds up over the tokens."""
    return rises(lambda a, b: (a - b) * 4 * 256)


@wrong("15-3", says="with a `TurboQuant` of `rotation` for each")
def some_are_recent():
    """Leaves the last 32 tokens out of the codes."""
    return {
        "keys_finer": loss(4, 2, recent=32) - loss(),
        "values_finer": loss(2, 4, recent=32) - loss(),
    }


def largest(d):
    return 2 ** (d.bit_length() - 1)


def ends(d, i):
    """What round i mixes."""
    p = largest(d)
    return slice(d - p, d) if i % 2 else slice(0, p)


def backwards(n):
    return reversed(range(n))


def turning(
    where=ends, flip=lambda signs, i: signs[i], after=False, loud=False, order=range
):
    """turn and turn_back from parts: what a round mixes and flips, in which order."""

    def mixed(x, i):
        x, part = x.clone(), where(x.shape[-1], i)
        sums = hadamard(x[..., part])
        x[..., part] = sums * sums.shape[-1] ** 0.5 if loud else sums
        return x

    def turn(x, signs):
        for i in order(len(signs)):
            x = mixed(x, i) * flip(signs, i) if after else mixed(x * flip(signs, i), i)
        return x

    def turn_back(y, signs):
        for i in backwards(len(signs)):
            y = mixed(y, i) * signs[i]
        return y

    return {"turn": turn, "turn_back": turn_back}


GOOD = turning()


@right("15-4")
def in_place_on_a_copy():
    """Works in place, on a copy."""
    return turning()


@right("15-4")
def as_a_matrix():
    """Makes one matrix of all rounds, and transposes it for the way back."""

    def matrix(signs):
        return GOOD["turn"](torch.eye(signs.shape[1]), signs)

    return {
        "turn": lambda x, signs: x @ matrix(signs),
        "turn_back": lambda y, signs: y @ matrix(signs).T,
    }


@wrong("15-4", says="Every round mixes the first coordinates")
def always_the_first():
    """Does not change ends."""
    return turning(lambda d, i: ends(d, 0))


@wrong("15-4", says="The ends are changed")
def begins_at_the_end():
    """Counts rounds from 1."""
    return turning(lambda d, i: ends(d, i + 1))


@wrong("15-4", says="Odd rounds mix what the even ones left out")
def what_is_left():
    """Takes the coordinates from p on for the last p."""

    def rest(d, i):
        p = largest(d)
        return slice(p, d) if i % 2 and p < d else slice(0, p)

    return turning(rest)


def in_blocks(parts):
    """A turn whose rounds mix several parts."""

    def turn(x, signs):
        d, p = x.shape[-1], largest(x.shape[-1])
        for row in signs:
            x = x * row
            for part in parts(d, p):
                x[..., part] = hadamard(x[..., part])
        return x

    return GOOD | {"turn": turn}


@wrong("15-4", says="Each round mixes both ends")
def both_ends():
    """Mixes the first and the last p in every round."""
    return in_blocks(lambda d, p: [slice(0, p), slice(d - p, d)])


@wrong("15-4", says="two separate blocks")
def separate_blocks():
    """Cuts the coordinates into powers of two."""
    return in_blocks(
        lambda d, p: [slice(0, p), slice(p, d)] if p < d else [slice(0, p)]
    )


@wrong("15-4", says="p is too small")
def half_of_p():
    """Takes a power of two too small."""

    def smaller(d, i):
        p = largest(d) // 2
        return slice(d - p, d) if i % 2 else slice(0, p)

    return turning(smaller)


@wrong("15-4", says="The signs come after")
def signs_after():
    """Mixes, then flips."""
    return turning(after=True)


@wrong("15-4", says="The signs are missing")
def without_signs():
    """Forgets the signs."""
    return turning(flip=lambda signs, i: 1.0)


@wrong("15-4", says="you take the first one again")
def the_first_row():
    """Uses row 0 in all rounds."""
    return turning(flip=lambda signs, i: signs[0])


@wrong("15-4", says="also to those that are not mixed")
def flips_what_is_mixed():
    """Flips only where it mixes."""

    def partly(signs, i):
        d = signs.shape[1]
        row = torch.ones(d)
        row[ends(d, i)] = signs[i][ends(d, i)]
        return row

    return turning(flip=partly)


@wrong("15-4", says="The length is lost")
def sums_alone():
    """Writes sums and differences, and does not divide."""
    return turning(loud=True)


@wrong("15-4", says="row 0 of the signs is first")
def the_last_round_first():
    """Goes through the rounds backwards."""
    return turning(order=backwards)


@wrong("15-4", says="That is a single round")
def one_round():
    """Does one round."""
    return GOOD | {"turn": lambda x, signs: GOOD["turn"](x, signs[:1])}


@wrong("15-4", says="In each round: signs, then `hadamard`")
def turned_and_stretched():
    """Doubles the vectors."""
    return GOOD | {"turn": lambda x, signs: 2 * GOOD["turn"](x, signs)}


@wrong("15-4", says="turns once more")
def turns_again():
    """Takes the turn for its own inverse."""
    return GOOD | {"turn_back": GOOD["turn"]}


def undoing(order, place=lambda i, n: i, row=lambda i, n: i, signs_last=True):
    """A turn_back in another order."""

    def turn_back(y, signs):
        n, d = signs.shape
        for i in order(n):
            y = y.clone() if signs_last else y * signs[i]
            part = ends(d, place(i, n))
            y[..., part] = hadamard(y[..., part])
            y = y * signs[row(i, n)] if signs_last else y
        return y

    return GOOD | {"turn_back": turn_back}


@wrong("15-4", says="in the order in which they were done")
def undone_forwards():
    """Undoes round 0 first."""
    return undoing(range)


@wrong("15-4", says="The ends count from the back")
def ends_from_the_back():
    """Numbers the reversed rounds anew, and mixes by that number."""
    return undoing(backwards, place=lambda i, n: n - 1 - i)


@wrong("15-4", says="Within a round, what was done last")
def signs_before_again():
    """Reverses the rounds, and not what is in a round."""
    return undoing(backwards, signs_last=False)


@wrong("15-4", says="with the signs in the wrong one")
def rows_from_the_front():
    """Mixes in the right order, and takes the rows from the front."""
    return undoing(backwards, row=lambda i, n: n - 1 - i)


@wrong("15-4", says="has to give back what was turned")
def half_the_way_back():
    """Gives the mean of what was turned and what it was."""

    def turn_back(y, signs):
        return (y + GOOD["turn_back"](y, signs)) / 2

    return GOOD | {"turn_back": turn_back}


@wrong("15-4", says="changes what it is given")
def writes_into_x():
    """Works in place."""

    def turn(x, signs):
        for i, row in enumerate(signs):
            x *= row
            part = ends(x.shape[-1], i)
            x[..., part] = hadamard(x[..., part])
        return x

    return GOOD | {"turn": turn}


def distances(points, centres):
    return ((points[:, None] - centres) ** 2).sum(dim=-1)


def means(points, centres, nearest, empty=lambda centre, points: centre, of=None):
    of = of or (lambda x: x.mean(dim=0))
    return torch.stack(
        [
            of(points[nearest == i]) if (nearest == i).any() else empty(c, points)
            for i, c in enumerate(centres)
        ]
    )


def mean_error(points, centres, nearest):
    return distances(points, centres).min(dim=1).values.sum() / points.numel()


def stepping(nearest=None, move=means, error=mean_error):
    """A lloyd_step from parts: who goes where, where centres go, what is counted."""
    nearest = nearest or (lambda p, c: distances(p, c).argmin(dim=1))

    def lloyd_step(points, centres):
        found = nearest(points, centres)
        return move(points, centres, found), error(points, centres, found)

    return {"lloyd_step": lloyd_step}


@right("15-5")
def with_sums_and_counts():
    """Adds points up by a matrix of zeros and ones."""

    def lloyd_step(points, centres):
        apart = torch.cdist(points, centres)
        who = F.one_hot(apart.argmin(dim=1), len(centres)).to(points)
        count = who.sum(dim=0)[:, None]
        moved = torch.where(count > 0, who.T @ points / count.clamp(min=1), centres)
        nearest = (who @ centres - points) ** 2
        return moved, nearest.mean().item()

    return lloyd_step


@right("15-5")
def with_the_square_written_out():
    """Compares ‖c‖² - 2 x·c, which has the same smallest one."""
    score = lambda p, c: ((c**2).sum(dim=1) - 2 * p @ c.T).argmin(dim=1)
    return stepping(score)


@wrong("15-5", says="nothing by nothing")
def divides_by_zero():
    """Takes the mean of no points."""
    return stepping(
        move=lambda p, c, near: means(
            p, c, near, lambda c, p: torch.full_like(c, math.nan)
        )
    )


@wrong("15-5", says="A centre that nobody is nearest to became 0")
def goes_to_zero():
    """Divides a sum of nothing by 1."""
    return stepping(
        move=lambda p, c, near: means(p, c, near, lambda c, p: torch.zeros_like(c))
    )


@wrong("15-5", says="A centre that nobody is nearest to is gone")
def drops_it():
    """Returns only the centres that have points."""
    return stepping(
        move=lambda p, c, near: torch.stack(
            [p[near == i].mean(dim=0) for i in near.unique()]
        )
    )


@wrong("15-5", says="went to the middle of all points")
def to_the_middle():
    """Puts a centre without points into the middle."""
    return stepping(
        move=lambda p, c, near: means(p, c, near, lambda c, p: p.mean(dim=0))
    )


@wrong("15-5", says="Nearest by inner product")
def by_inner_product():
    """Takes the largest inner product for the nearest."""
    return stepping(lambda p, c: (p @ c.T).argmax(dim=1))


@wrong("15-5", says="Every coordinate went to a centre of its own")
def number_by_number():
    """Treats each coordinate by itself."""
    good = stepping()["lloyd_step"]

    def lloyd_step(points, centres):
        columns = [
            good(points[:, j : j + 1], centres[:, j : j + 1])[0]
            for j in range(points.shape[1])
        ]
        return torch.cat(columns, dim=1), good(points, centres)[1]

    return lloyd_step


@wrong("15-5", says="Nearest by the sum of sizes")
def by_sizes():
    """Measures distance by the sum of absolute differences."""
    return stepping(lambda p, c: (p[:, None] - c).abs().sum(dim=-1).argmin(dim=1))


@wrong("15-5", says="the centre that is farthest")
def the_farthest():
    """Takes argmax."""
    return stepping(lambda p, c: distances(p, c).argmax(dim=1))


@wrong("15-5", says="The centres have not moved")
def never_moves():
    """Returns the old centres."""
    return stepping(move=lambda p, c, near: c)


@wrong("15-5", says="each centre's nearest point")
def the_nearest_point():
    """Takes argmin along the points."""
    return stepping(move=lambda p, c, near: p[distances(p, c).argmin(dim=0)])


@wrong("15-5", says="Those are medians")
def medians():
    """Takes medians."""
    middle = lambda x: x.median(dim=0).values
    return stepping(move=lambda p, c, near: means(p, c, near, of=middle))


@wrong("15-5", says="Those are the sums of the points")
def sums():
    """Does not divide."""
    total = lambda x: x.sum(dim=0)
    return stepping(move=lambda p, c, near: means(p, c, near, of=total))


@wrong("15-5", says="the mean of the points that are nearer to it")
def half_a_step():
    """Goes half of the way."""
    return stepping(move=lambda p, c, near: (c + means(p, c, near)) / 2)


@wrong("15-5", says="That is the error of a point")
def for_each_point():
    """Takes the mean over points only."""
    return stepping(error=lambda p, c, near: distances(p, c).amin(dim=1).mean())


@wrong("15-5", says="That is the error of all points")
def of_all_points():
    """Adds everything up."""
    return stepping(error=lambda p, c, near: distances(p, c).amin(dim=1).sum())


@wrong("15-5", says="That is the sum over the points")
def sum_over_points():
    """Takes the mean over coordinates only."""
    return stepping(
        error=lambda p, c, near: distances(p, c).amin(dim=1).sum() / p.shape[1]
    )


@wrong("15-5", says="That is the root")
def root():
    """Takes the root of the mean square."""
    return stepping(error=lambda *given: mean_error(*given).sqrt())


@wrong("15-5", says="That is the mean distance")
def mean_distance():
    """Takes the mean of the distances."""
    return stepping(
        error=lambda p, c, near: distances(p, c).amin(dim=1).sqrt().sum() / p.numel()
    )


@wrong("15-5", says="That is the error after the step")
def error_after():
    """Moves first."""
    return stepping(
        error=lambda p, c, near: ((p - means(p, c, near)[near]) ** 2).mean()
    )


@wrong("15-5", says="new centres and new neighbours")
def error_of_the_next():
    """Moves first, and looks for neighbours again."""
    return stepping(error=lambda p, c, near: mean_error(p, means(p, c, near), near))


@wrong("15-5", says="The error: squared, to the nearest")
def error_of_all_pairs():
    """Takes the mean over all pairs of points and centres."""
    return stepping(error=lambda p, c, near: distances(p, c).mean())


@wrong("15-5", says="returns two things")
def centres_alone():
    """Returns the centres only."""
    good = stepping()["lloyd_step"]
    return {"lloyd_step": lambda points, centres: good(points, centres)[0]}


@wrong("15-5", says="changes what it is given")
def moves_the_given_centres():
    """Writes into the centres."""

    def lloyd_step(points, centres):
        nearest = distances(points, centres).argmin(dim=1)
        error = mean_error(points, centres, nearest)
        for i in nearest.unique():
            centres[i] = points[nearest == i].mean(dim=0)
        return centres, error

    return lloyd_step


@cache
def mean_cosine(level, bits, of=torch.cos, flat=False):
    """The mean over a level's angles of a function of how far they are from their value."""
    end = 2 * math.pi if level == 1 else math.pi / 2
    angle = torch.linspace(0, end, 4001, dtype=torch.float64)
    weight = torch.ones_like(angle) if flat else angle_density(angle, level)
    book = angle_codebook(level, bits)
    gap = angle - book[torch.bucketize(angle, halfway(book))]
    return (
        torch.trapezoid(of(gap) * weight, angle) / torch.trapezoid(weight, angle)
    ).item()


def polar(whole, **how):
    """A polar_distortion from what is kept of each level."""
    return {
        "polar_distortion": lambda bits: whole(
            [mean_cosine(i, n, **how) for i, n in enumerate(bits, start=1)]
        )
    }


@right("15-6")
def by_quadrature():
    """Takes the first level from a formula, and the others cell by cell."""

    def factor(level, bits):
        if level == 1:
            half = math.pi / 2**bits
            return math.sin(half) / half
        book, n = angle_codebook(level, bits), 3000
        borders = torch.cat(
            [torch.zeros(1), halfway(book), torch.tensor([math.pi / 2])]
        )
        kept = total = 0.0
        for low, high, value in zip(borders[:-1], borders[1:], book, strict=True):
            angle = low + (high - low) * (torch.arange(n).double() + 0.5) / n
            weight = angle_density(angle, level) * (high - low)
            kept += (weight * (angle - value).cos()).sum()
            total += weight.sum()
        return float(kept / total)

    def polar_distortion(bits):
        kept = math.prod(factor(i, n) for i, n in enumerate(bits, start=1))
        return torch.tensor(2 - 2 * kept)

    return polar_distortion


@right("15-6")
def by_recursion():
    """Adds the squared error of a level to what the halves bring with them."""

    def polar_distortion(bits):
        error = 0.0
        for level, n in enumerate(bits, start=1):
            kept = mean_cosine(level, n)
            error = 2 * (1 - kept) + kept * error
        return error

    return polar_distortion


@wrong("15-6", says="the share of ⟨u, û⟩ that is kept")
def the_inner_product():
    """Returns the inner product."""
    return polar(math.prod)


@wrong("15-6", says="the squared error is twice as much")
def half_of_it():
    """Forgets the 2."""
    return polar(lambda kept: 1 - math.prod(kept))


@wrong("15-6", says="The squared errors of the levels are added up")
def added_up():
    """Adds the errors of the levels."""
    return polar(lambda kept: sum(2 - 2 * k for k in kept))


@wrong("15-6", says="The squared angles are added up")
def small_angles():
    """Takes the angle for the chord."""
    return polar(sum, of=torch.square)


@wrong("15-6", says="*one* angle of each level")
def all_angles():
    """Multiplies for all angles of a level."""
    return polar(
        lambda kept: (
            2
            - 2 * math.prod(k ** (2 ** (len(kept) - i)) for i, k in enumerate(kept, 1))
        )
    )


@wrong("15-6", says="as if each had the whole length to turn")
def all_angles_added():
    """Adds up for all angles of a level."""
    return polar(
        lambda kept: sum(
            (2 - 2 * k) * 2 ** (len(kept) - i) for i, k in enumerate(kept, start=1)
        )
    )


@wrong("15-6", says="the cosine of the mean angle")
def cosine_of_the_mean():
    """Takes the mean before the cosine."""
    return polar(lambda gaps: 2 - 2 * math.prod(map(math.cos, gaps)), of=torch.abs)


@wrong("15-6", says="they crowd around 45°")
def even_angles():
    """Takes all angles for even."""
    return polar(lambda kept: 2 - 2 * math.prod(kept), flat=True)


@wrong("15-6", says="what is *kept* multiplies")
def errors_multiplied():
    """Multiplies the errors."""
    return polar(lambda kept: 2 * math.prod(1 - k for k in kept))


@wrong("15-6", says="is the part of û across u, squared")
def the_sine_squared():
    """Takes the part at right angles for the error."""
    return polar(lambda kept: 1 - math.prod(kept) ** 2)


@wrong("15-6", says="The first level is missing")
def from_the_second():
    """Begins with the second level."""
    return polar(lambda kept: 2 - 2 * math.prod(kept[1:]))


@wrong("15-6", says="The last level is missing")
def without_the_last():
    """Stops before the last level."""
    return polar(lambda kept: 2 - 2 * math.prod(kept[:-1]))


@wrong("15-6", says="That is the mean over the levels")
def mean_of_levels():
    """Takes the mean of the levels."""
    return polar(lambda kept: sum(2 - 2 * k for k in kept) / len(kept))


@wrong("15-6", says="That is the length of the error")
def not_squared():
    """Takes the root."""
    return polar(lambda kept: math.sqrt(2 - 2 * math.prod(kept)))


@wrong("15-6", says="drawn vectors are too few")
def measured_on_vectors():
    """Measures with the package's codec."""

    def polar_distortion(bits):
        gen = torch.Generator().manual_seed(0)
        d = 2 ** len(bits)
        x = torch.randn(3000, d, generator=gen)
        codec = PolarQuant(random_rotation(d, gen), bits)
        error = x - codec.decode(codec.encode(x))
        return ((error**2).sum() / (x**2).sum()).item()

    return polar_distortion


@wrong("15-6", says="2 - 2 times a product")
def squares_of_cosines():
    """Multiplies the squares of the means."""
    return polar(lambda kept: 2 - 2 * math.prod(k**2 for k in kept))
