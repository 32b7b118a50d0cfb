"""Right and wrong answers to chapter 14's exercises, and what each must be told."""

import math
from functools import cache

import torch
from torch.nn import functional as F

from tfcourse.checks.proofs import right, wrong
from tfcourse.checks.quantization import four_windows
from tfcourse.gpt import stored_gpt
from tfcourse.quantization import integer_product


@wrong("14-1", says="sets the step for all others")
def a_single_scale():
    """Takes one scale for as good as many."""
    return {"prediction": "one for all"}


@wrong("14-1", says="helps if some *rows* are loud")
def what_is_usual():
    """Chooses a scale for each row, as is usual."""
    return {"prediction": "rows"}


@wrong("14-1", says="one group in eight holds a loud number")
def the_most_scales():
    """Chooses what has the most scales."""
    return {"prediction": "groups of 32"}


def up(n, size):
    return math.ceil(n / size)


def counting(
    first=lambda rows, columns, size: rows * up(columns, size),
    further=lambda groups, size, rows, columns: up(groups, size),
    none=lambda rows: 1,
    code=lambda bits: bits,
    all_levels=lambda levels: levels,
    at_last=lambda total, n: total / n,
):
    """A true_bits from parts."""

    def true_bits(shape, bits, levels):
        (rows, columns), groups = shape, None
        total = rows * columns * code(bits)
        for size, extra in all_levels(levels):
            if size is None:
                groups = none(rows)
            elif groups is None:
                groups = first(rows, columns, size)
            else:
                groups = further(groups, size, rows, columns)
            total += groups * extra
        return at_last(total, rows * columns)

    return {"true_bits": true_bits}


@right("14-2")
def with_tensors_cut_up():
    """Cuts tensors into groups, and counts them."""

    def true_bits(shape, bits, levels):
        stored = torch.full(shape, float(bits)).sum()
        heads = torch.ones(shape)
        for number, (size, extra) in enumerate(levels):
            if size is None:
                heads = heads.flatten()[:1]
            else:
                heads = heads[:, ::size] if number == 0 else heads.flatten()[::size]
            stored += extra * heads.sum()
        return stored / (shape[0] * shape[1])

    return true_bits


@right("14-2")
def from_parts():
    """Rounds up where it must."""
    return counting()


@wrong("14-2", says="A group lies within a row")
def across_the_rows():
    """Lets groups go on from one row into the next."""
    return counting(first=lambda rows, columns, size: up(rows * columns, size))


@wrong("14-2", says="round the number of groups up")
def shares_of_a_group():
    """Divides, and does not round."""
    return counting(
        first=lambda rows, columns, size: rows * columns / size,
        further=lambda groups, size, rows, columns: groups / size,
    )


@wrong("14-2", says="round up, not down")
def full_groups_only():
    """Counts full groups only."""
    return counting(
        first=lambda rows, columns, size: rows * columns // size,
        further=lambda groups, size, rows, columns: groups // size,
    )


@wrong("14-2", says="counts *groups* of the level before")
def a_scale_for_so_many_weights():
    """Takes the second level's size for a number of weights."""
    return counting(
        further=lambda groups, size, rows, columns: up(rows * columns, size)
    )


@wrong("14-2", says="Only the first level stays within a row")
def each_row_for_itself():
    """Rounds up in each row on all levels."""
    return counting(
        further=lambda groups, size, rows, columns: rows * up(groups // rows, size)
    )


@wrong("14-2", says="not one for each row")
def none_is_a_row():
    """Takes None for the length of a row."""
    return counting(none=lambda rows: rows)


@wrong("14-2", says="one for all is stored")
def none_is_nothing():
    """Skips None."""
    return counting(none=lambda rows: 0)


@wrong("14-2", says="Levels after the first were left out")
def scales_alone():
    """Counts the scales, and not their scales."""
    return counting(all_levels=lambda levels: levels[:1])


@wrong("14-2", says="The codes themselves are missing")
def without_the_codes():
    """Counts the overhead alone."""
    return counting(code=lambda bits: 0)


@wrong("14-2", says="a code takes `bits`, not a byte")
def codes_in_bytes():
    """Counts a byte for each code."""
    return counting(code=lambda bits: 8)


@wrong("14-2", says="Those are the bits of the whole matrix")
def all_the_bits():
    """Forgets to divide."""
    return counting(at_last=lambda total, n: total)


@wrong("14-2", says="Those are bytes for each weight")
def in_bytes():
    """Divides by eight."""
    return counting(at_last=lambda total, n: total / n / 8)


@wrong("14-2", says="how many groups are there")
def twice_as_many_groups():
    """Counts twice as many groups in each row."""
    return counting(first=lambda rows, columns, size: 2 * rows * up(columns, size))


@wrong("14-2", says="Without levels nothing but the codes")
def at_least_one_scale():
    """Adds a float16 where no level is given."""
    return counting(all_levels=lambda levels: levels or [(None, 16)])


@wrong("14-2", says="may stand on the first level")
def none_on_later_levels_only():
    """Takes a first level of None for a scale in each row."""
    good = counting()["true_bits"]

    def true_bits(shape, bits, levels):
        if levels and levels[0][0] is None:
            levels = [(shape[1], levels[0][1])]
        return good(shape, bits, levels)

    return true_bits


@wrong("14-2", says="it does not take in the next one")
def larger_than_a_row():
    """Lets a group of more than a row take in several."""
    good = counting()["true_bits"]
    across = counting(first=lambda rows, columns, size: up(rows * columns, size))

    def true_bits(shape, bits, levels):
        larger = levels and levels[0][0] is not None and levels[0][0] > shape[1]
        return (across["true_bits"] if larger else good)(shape, bits, levels)

    return true_bits


def chances(codes, low=0, clip=True):
    """A by_chance from what it does with x, the scale and u."""

    def by_chance(x, scale, u, bits):
        highest, found = 2 ** (bits - 1) - 1, codes(x, scale, u)
        return found.clamp(low - highest, highest) if clip else found

    return {"by_chance": by_chance}


def rest(x, scale):
    return x / scale - (x / scale).floor()


def below(x, scale):
    return (x / scale).floor()


@right("14-3")
def adds_and_rounds_down():
    """Adds u and rounds down, as integers."""

    def by_chance(x, scale, u, bits):
        highest = 2 ** (bits - 1) - 1
        return (x / scale + u).floor().clamp(-highest, highest).to(torch.int8)

    return by_chance


@right("14-3")
def takes_away_and_rounds_up():
    """Takes u away and rounds up."""
    return chances(lambda x, scale, u: (x / scale - u).ceil())


@right("14-3")
def number_by_number():
    """Goes through the numbers."""

    def by_chance(x, scale, u, bits):
        highest, out = 2 ** (bits - 1) - 1, torch.zeros(x.shape, dtype=torch.int64)
        for i, row in enumerate(x / scale):
            for j, steps in enumerate(row.tolist()):
                code = math.floor(steps)
                code += u[i, j].item() < steps - code
                out[i, j] = max(-highest, min(highest, code))
        return out

    return by_chance


@wrong("14-3", says="`u` has no say: 0.3 of a step")
def to_the_nearest():
    """Rounds as ever."""
    return chances(lambda x, scale, u: (x / scale).round())


@wrong("14-3", says="half a step too large on the average")
def nearest_with_noise():
    """Adds u and rounds to the nearest."""
    return chances(lambda x, scale, u: (x / scale + u).round())


@wrong("14-3", says="turning into a whole number cuts towards 0")
def cut_off():
    """Adds u and turns it into an integer."""
    return chances(lambda x, scale, u: (x / scale + u).int())


@wrong("14-3", says="The codes around -1.7 are -2 and -1")
def away_from_zero():
    """Rounds sizes by chance, above 0 and below."""

    def codes(x, scale, u):
        steps = x / scale
        return steps.trunc() + (u < (steps - steps.trunc()).abs())

    return chances(codes)


@wrong("14-3", says="Below it your rest is negative")
def negative_rest():
    """Takes the rest from the code that is nearer to 0."""

    def codes(x, scale, u):
        steps = x / scale
        return steps.trunc() + (u < steps - steps.trunc())

    return chances(codes)


@wrong("14-3", says="The wrong way round")
def turned_round():
    """Goes up where u is larger."""
    return chances(lambda x, s, u: below(x, s) + (u > rest(x, s)))


@wrong("14-3", says="A coin for all")
def a_coin():
    """Tosses a coin."""
    return chances(lambda x, s, u: below(x, s) + (u < 0.5))


@wrong("14-3", says="All went down")
def always_down():
    """Rounds down."""
    return chances(lambda x, s, u: below(x, s))


@wrong("14-3", says="All went up")
def always_up():
    """Rounds up."""
    return chances(lambda x, s, u: (x / s).ceil())


@wrong("14-3", says="divide first")
def u_in_other_units():
    """Adds u before dividing."""
    return chances(lambda x, s, u: ((x + u) / s).floor())


@wrong("14-3", says="as many below 0 as above")
def the_lowest_code():
    """Uses the lowest code of two's complement."""
    return chances(lambda x, s, u: below(x, s) + (u < rest(x, s)), low=-1)


@wrong("14-3", says="clip the codes")
def not_clipped():
    """Does not clip."""
    return chances(lambda x, s, u: below(x, s) + (u < rest(x, s)), clip=False)


@wrong("14-3", says="Those are numbers, not codes")
def numbers_instead_of_codes():
    """Multiplies by the scale at the end."""
    good = chances(lambda x, s, u: below(x, s) + (u < rest(x, s)))["by_chance"]
    return {"by_chance": lambda x, scale, u, bits: scale * good(x, scale, u, bits)}


@wrong("14-3", says="All chance is to come from `u`")
def dice_of_its_own():
    """Draws its own numbers."""
    return chances(
        lambda x, s, u: below(x, s) + (torch.rand_like(x) < rest(x, s)), low=0
    )


@wrong("14-3", says="has no rest, and stays what it is")
def up_where_equal():
    """Goes up where u is not above the rest, both of which may be 0."""
    return chances(lambda x, s, u: below(x, s) + (u <= rest(x, s)))


@wrong("14-3", says="as `u` decides")
def the_same_for_a_row():
    """Takes the first u of each row for the whole row."""
    return chances(lambda x, s, u: below(x, s) + (u[:, :1] < rest(x, s)))


@cache
def measurements(per_row=True):
    """By name, the relative error of a matrix in three bits, and the nats with it."""
    model, _ = stored_gpt("11_code")
    windows, found = four_windows(), {}

    @torch.inference_mode()
    def nats():
        scores = model(windows)[:, :-1].transpose(1, 2)
        return F.cross_entropy(scores, windows[:, 1:]).item()

    base = nats()
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            exact = weight.data
            codes = torch.fake_quantize_per_channel_affine(
                exact, exact.abs().amax(dim=1) / 3, torch.zeros(len(exact)), 0, -3, 3
            )
            weight.data = codes
            error = (codes - exact).norm()
            found[name.removesuffix(".weight")] = (error / exact.norm(), nats())
            weight.data = exact
    return base, found


def measuring(**change):
    """The three answers, with some of them changed."""
    base, found = measurements()
    changed = max(found, key=lambda name: found[name][0])
    costly = max(found, key=lambda name: found[name][1])
    cost = found[costly][1] - base
    good = {"most_changed": changed, "most_costly": costly, "cost": cost}
    return good | {
        name: new(base, found, good) if callable(new) else new
        for name, new in change.items()
    }


@right("14-4")
def by_pytorchs_rounding():
    """Rounds with PyTorch's function, in the model itself."""
    return measuring()


@wrong("14-4", says="the wrong way round: which cost more nats")
def both_exchanged():
    """Exchanges the two names."""
    return measuring(
        most_changed=lambda base, found, good: good["most_costly"],
        most_costly=lambda base, found, good: good["most_changed"],
    )


@wrong("14-4", says="because it has the most numbers")
def the_largest_error():
    """Does not divide by the norm of the matrix."""
    return measuring(most_changed="embedding")


@wrong("14-4", says="Another one is larger")
def another_matrix():
    """Names the second in the row."""
    return measuring(most_changed="stack.blocks.0.feed_forward.module.contract")


@wrong("14-4", says="The embedding is a matrix too")
def linear_layers_only():
    """Leaves the embedding out."""
    return measuring(most_costly="stack.blocks.0.feed_forward.module.contract")


@wrong("14-4", says="That one costs least")
def the_least():
    """Takes the minimum."""
    return measuring(
        most_costly=lambda base, found, good: min(found, key=lambda n: found[n][1])
    )


@wrong("14-4", says="Another one costs more")
def what_changes_most():
    """Takes the matrix that changes most for the one that costs most."""
    return measuring(most_costly=lambda base, found, good: good["most_changed"])


@wrong("14-4", says="The names are those of the list")
def a_number_for_a_name():
    """Gives the place in the list."""
    return measuring(most_costly=0)


@wrong("14-4", says="by how much it is *higher*")
def the_loss_itself():
    """Gives the loss with the matrix rounded."""
    return measuring(cost=lambda base, found, good: base + good["cost"])


@wrong("14-4", says="That is the loss of the model as it is")
def the_loss_before():
    """Gives the loss of the model as it is."""
    return measuring(cost=lambda base, found, good: base)


@wrong("14-4", says="The wrong sign")
def subtracted_the_other_way():
    """Subtracts the wrong way round."""
    return measuring(cost=lambda base, found, good: -good["cost"])


@wrong("14-4", says="what the most changed matrix costs")
def the_cost_of_another():
    """Gives the cost of the most changed matrix."""
    return measuring(
        cost=lambda base, found, good: found[good["most_changed"]][1] - base
    )


@wrong("14-4", says="less the nats of the model as it is")
def twice_as_much():
    """Is off by a factor of two."""
    return measuring(cost=lambda base, found, good: 2 * good["cost"])


def products(combine, move=lambda t: t.int() - 128, codes=lambda t: t.int() - 128):
    """An affine_product from how codes and zeros are moved, and the sums are combined."""

    def affine_product(x_codes, x_scale, x_zero, w_codes, w_scale, w_zero):
        q, p = codes(x_codes), codes(w_codes)
        z, c = move(x_zero).int(), move(w_zero).int().T
        sums = integer_product(q.to(torch.int8), p.to(torch.int8))
        of_q = q.int().sum(dim=1, keepdim=True)
        of_p = p.int().sum(dim=1, keepdim=True).T
        return combine(sums, z, c, of_q, of_p, q.shape[1]) * x_scale * w_scale.T

    return {"affine_product": affine_product}


def four_terms(sums, z, c, of_q, of_p, k):
    return sums - z * of_p - c * of_q + k * z * c


def wrapped(codes):
    return codes.to(torch.int8)


@right("14-5")
def by_numbers_that_are_moved():
    """Moves codes by flipping their highest bit."""

    def affine_product(x_codes, x_scale, x_zero, w_codes, w_scale, w_zero):
        q, z, p, c = (
            (t ^ 128).view(torch.int8) for t in (x_codes, x_zero, w_codes, w_zero)
        )
        z, c = z.long(), c.long()
        sums = integer_product(q, p).long()
        sums -= z * (p.sum(dim=1)[None] - len(q[0]) * c.T)
        sums -= c.T * q.sum(dim=1, keepdim=True)
        return (sums * (x_scale.double() * w_scale.double().T)).float()

    return affine_product


@right("14-5")
def in_64_bits():
    """Multiplies only what differs from the zero, in 64 bits and without any trick."""

    def affine_product(x_codes, x_scale, x_zero, w_codes, w_scale, w_zero):
        x, w = (a.long() - b.long() for a, b in ((x_codes, x_zero), (w_codes, w_zero)))
        return (x @ w.T) * x_scale * w_scale.T

    return affine_product


@wrong("14-5", says="Nothing is mended")
def as_it_was():
    """Leaves it as it is."""
    return products(
        lambda sums, z, c, of_q, of_p, k: sums - z * c, lambda t: t, wrapped
    )


@wrong("14-5", says="A code of 200 became -56")
def cast_to_signed():
    """Casts the codes to int8, and corrects for the zeros as they are."""
    return products(four_terms, lambda t: t, wrapped)


@wrong("14-5", says="Codes and zeros both wrapped around")
def all_cast_to_signed():
    """Casts zeros to int8, too."""
    return products(four_terms, wrapped, wrapped)


@wrong("14-5", says="and their zeros were not: q - z")
def zeros_left():
    """Moves the codes and leaves the zeros."""
    return products(four_terms, lambda t: t)


@wrong("14-5", says="uint8 has no numbers below 0")
def zeros_without_signs():
    """Moves the zeros while they are uint8."""
    return products(four_terms, lambda t: t - 128)


@wrong("14-5", says="What is above 127 was cut off")
def cut_to_seven_bits():
    """Clips the codes to 127."""
    return products(four_terms, lambda t: t, lambda t: t.clamp(max=127))


@wrong("14-5", says="The zeros of the weights were not moved")
def weights_zeros_left():
    """Moves all but the zeros of the weights."""
    return products(lambda sums, z, c, *rest: four_terms(sums, z, c + 128, *rest))


@wrong("14-5", says="A zero was subtracted once")
def zeros_subtracted():
    """Subtracts each zero from the sum."""
    return products(lambda sums, z, c, of_q, of_p, k: sums - z - c)


@wrong("14-5", says="two of them with sums of codes")
def product_of_zeros():
    """Subtracts the product of the zeros."""
    return products(lambda sums, z, c, of_q, of_p, k: sums - z * c)


@wrong("14-5", says="The last of the four terms is missing")
def three_terms():
    """Forgets the last term."""
    return products(lambda sums, z, c, of_q, of_p, k: sums - z * of_p - c * of_q)


@wrong("14-5", says="comes once for each of the k products")
def last_term_once():
    """Adds the product of the zeros once."""
    return products(
        lambda sums, z, c, of_q, of_p, k: sums - z * of_p - c * of_q + z * c
    )


@wrong("14-5", says="was worked out in int8 and did not fit")
def last_term_in_a_byte():
    """Leaves the zeros in int8 when it multiplies them."""

    def affine_product(x_codes, x_scale, x_zero, w_codes, w_scale, w_zero):
        moved = (
            (t.int() - 128).to(torch.int8) for t in (x_codes, x_zero, w_codes, w_zero)
        )
        q, z, p, c = moved
        sums = integer_product(q, p) - z * p.sum(dim=1) - c.T * q.sum(dim=1)[:, None]
        return (sums + q.shape[1] * (z * c.T)) * x_scale * w_scale.T

    return affine_product


@wrong("14-5", says="minus times minus")
def last_term_subtracted():
    """Subtracts the last term."""
    return products(
        lambda sums, z, c, of_q, of_p, k: sums - z * of_p - c * of_q - k * z * c
    )


@wrong("14-5", says="those of the weights are not")
def zeros_of_inputs_alone():
    """Corrects for the inputs only."""
    return products(lambda sums, z, c, of_q, of_p, k: sums - z * of_p)


@wrong("14-5", says="those of the inputs are not")
def zeros_of_weights_alone():
    """Corrects for the weights only."""
    return products(lambda sums, z, c, of_q, of_p, k: sums - c * of_q)


@wrong("14-5", says="No zero is taken off")
def without_zeros():
    """Forgets the zeros."""
    return products(lambda sums, *_: sums)


@wrong("14-5", says="so the two terms in the middle are subtracted")
def all_added():
    """Adds all four terms."""
    return products(
        lambda sums, z, c, of_q, of_p, k: sums + z * of_p + c * of_q + k * z * c
    )


@wrong("14-5", says="times the scales of row and column")
def without_scales():
    """Returns the whole numbers."""
    good = products(four_terms)["affine_product"]

    def affine_product(x_codes, x_scale, x_zero, w_codes, w_scale, w_zero):
        ones = torch.ones_like(x_scale), torch.ones_like(w_scale)
        return good(x_codes, ones[0], x_zero, w_codes, ones[1], w_zero)

    return affine_product


@wrong("14-5", says="went through floats too early")
def dequantizes_first():
    """Turns both back into floats, and multiplies those."""

    def affine_product(x_codes, x_scale, x_zero, w_codes, w_scale, w_zero):
        x = x_scale * (x_codes.float() - x_zero.float())
        return x @ (w_scale * (w_codes.float() - w_zero.float())).T

    return affine_product


@wrong("14-5", says="Σ (q - z) (p - c): one product of codes")
def scales_the_wrong_way():
    """Divides by the scale of the weights."""
    good = products(four_terms)["affine_product"]
    return {
        "affine_product": lambda q, s, z, p, t, c: good(q, s, z, p, 1 / t, c),
    }


@wrong("14-5", says="work on copies")
def in_place():
    """Moves the codes where they are."""
    good = products(four_terms)["affine_product"]

    def affine_product(x_codes, x_scale, x_zero, w_codes, w_scale, w_zero):
        out = good(x_codes, x_scale, x_zero, w_codes, w_scale, w_zero)
        x_codes -= 128
        return out

    return affine_product


@wrong("14-5", says="ValueError")
def refuses():
    """Demands int8 of what it is given."""

    def affine_product(x_codes, *_):
        if x_codes.dtype != torch.int8:
            raise ValueError("codes must be int8")

    return affine_product


def sweeping(
    wanted=lambda weight, error, others, gram, j: weight[:, j] - others / gram[j, j],
    columns=lambda n: range(n),
    update=True,
    low=lambda highest: -highest,
    clip=True,
    step=lambda scale: scale,
    copy=True,
):
    """A sweep from parts."""

    def sweep(codes, weight, scale, gram, bits):
        highest, scale = 2 ** (bits - 1) - 1, step(scale)[:, 0]
        if copy:
            codes = codes.clone()
        error = scale[:, None] * codes - weight
        for j in columns(weight.shape[1]):
            others = error @ gram[:, j] - error[:, j] * gram[j, j]
            new = (wanted(weight, error, others, gram, j) / scale).round()
            codes[:, j] = new.clamp(low(highest), highest) if clip else new
            if update:
                error[:, j] = scale * codes[:, j] - weight[:, j]
        return codes

    return {"sweep": sweep}


@right("14-6")
def tries_all_codes():
    """Tries all codes at each place."""

    def sweep(codes, weight, scale, gram, bits):
        codes, highest = codes.float(), 2 ** (bits - 1) - 1
        for j in range(weight.shape[1]):
            best = torch.full((len(weight),), math.inf)
            chosen = codes[:, j].clone()
            for code in range(-highest, highest + 1):
                codes[:, j] = code
                error = scale * codes - weight
                cost = ((error @ gram) * error).sum(dim=1)
                chosen = torch.where(cost < best, code, chosen)
                best = torch.minimum(cost, best)
            codes[:, j] = chosen
        return codes

    return sweep


@right("14-6")
def row_by_row():
    """Takes the rows one after the other, and moves each code from where it is."""

    def sweep(codes, weight, scale, gram, bits):
        codes, highest = codes.double(), 2 ** (bits - 1) - 1
        for row, w, s in zip(codes, weight.double(), scale[:, 0].tolist(), strict=True):
            for j in range(len(w)):
                slope = (gram.double()[j] @ (s * row - w)) / gram[j, j].item()
                row[j] = (row[j] - slope / s).round().clamp(-highest, highest)
        return codes.to(torch.int8)

    return sweep


@wrong("14-6", says="chosen against those you began with")
def all_at_once():
    """Does not bring the error up to date."""
    return sweeping(update=False)


@wrong("14-6", says="The errors of the columns *after* this one")
def looking_back_only():
    """Makes up for earlier columns only."""

    def wanted(weight, error, others, gram, j):
        return weight[:, j] - error[:, :j] @ gram[:j, j] / gram[j, j]

    return sweeping(wanted)


@wrong("14-6", says="The errors of the columns *before* this one")
def looking_ahead_only():
    """Makes up for later columns only."""

    def wanted(weight, error, others, gram, j):
        return weight[:, j] - error[:, j + 1 :] @ gram[j + 1 :, j] / gram[j, j]

    return sweeping(wanted)


@wrong("14-6", says="the other columns have no say")
def nearest_again():
    """Rounds each weight to the nearest code."""
    return sweeping(lambda weight, error, others, gram, j: weight[:, j])


@wrong("14-6", says="from the last column to the first")
def backwards():
    """Begins with the last column."""
    return sweeping(columns=lambda n: reversed(range(n)))


@wrong("14-6", says="Each row has a scale of its own")
def one_scale():
    """Takes the first scale for all rows."""
    return sweeping(step=lambda scale: scale[:1].expand_as(scale))


@wrong("14-6", says="as many below 0 as above")
def one_code_more():
    """Uses the lowest code of two's complement."""
    return sweeping(low=lambda highest: -highest - 1)


@wrong("14-6", says="Some codes do not fit")
def any_code():
    """Does not clip."""
    return sweeping(clip=False)


@wrong("14-6", says="the *largest* error")
def the_worst_code():
    """Takes the maximum for the minimum."""

    def sweep(codes, weight, scale, gram, bits):
        codes, highest = codes.float(), 2 ** (bits - 1) - 1
        for j in range(weight.shape[1]):
            costs = []
            for code in range(-highest, highest + 1):
                codes[:, j] = code
                error = scale * codes - weight
                costs.append(((error @ gram) * error).sum(dim=1))
            codes[:, j] = torch.stack(costs).argmax(dim=0) - highest
        return codes

    return sweep


@wrong("14-6", says="if the others push the output up")
def the_wrong_sign():
    """Adds what the others push."""
    return sweeping(lambda w, error, others, gram, j: w[:, j] + others / gram[j, j])


@wrong("14-6", says="The column's own error was counted")
def with_its_own_error():
    """Counts the column's own error among the others."""

    def wanted(weight, error, others, gram, j):
        return weight[:, j] - error @ gram[:, j] / gram[j, j]

    return sweeping(wanted)


@wrong("14-6", says="divide by gram[j, j]")
def not_divided():
    """Does not divide by the diagonal."""
    return sweeping(lambda weight, error, others, gram, j: weight[:, j] - others)


@wrong("14-6", says="Those are weights")
def weights_instead_of_codes():
    """Returns the weights that the codes stand for."""
    good = sweeping()["sweep"]
    return {"sweep": lambda c, w, scale, g, bits: scale * good(c, w, scale, g, bits)}


@wrong("14-6", says="Nothing has changed")
def the_old_codes():
    """Works on a copy and returns the old codes."""
    good = sweeping()["sweep"]

    def sweep(codes, weight, scale, gram, bits):
        good(codes, weight, scale, gram, bits)
        return codes

    return sweep


@wrong("14-6", says="begin with `codes.clone()`")
def writes_over_the_codes():
    """Changes the codes that it was given."""
    return sweeping(copy=False)


@wrong("14-6", says="changes the weights that it is given")
def writes_over_the_weights():
    """Changes the weights that it was given."""
    good = sweeping()["sweep"]

    def sweep(codes, weight, scale, gram, bits):
        out = good(codes, weight, scale, gram, bits)
        weight -= scale * out
        return out

    return sweep


@wrong("14-6", says="of all codes that it may have")
def two_sweeps():
    """Sweeps until nothing changes, where one sweep is asked."""
    good = sweeping()["sweep"]

    def sweep(codes, *given):
        for _ in range(20):
            codes = good(codes, *given)
        return codes

    return sweep
