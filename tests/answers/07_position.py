"""Right and wrong answers to the exercises of chapter 7, and what must be said to them."""

import math

import torch

from tfcourse.checks.proofs import right, wrong


@wrong("07-1", says="Why should the output stay?")
def predicts_none():
    """Thinks that only differences of positions ever count."""
    return {"prediction": "none"}


@wrong("07-1", says="PE(p + 5) is PE(p) turned")
def predicts_learned():
    """Takes the sinusoids' dot product for the layer's score."""
    return {"prediction": "learned"}


@wrong("07-1", says="a turn that both have made")
def predicts_all_but_alibi():
    """Thinks that turned queries and keys give other scores."""
    return {"prediction": "all but ALiBi"}


def measured(unfinished=11, longest=None, stuck=256):
    longest = 2 * math.pi * 10_000 ** (62 / 64) if longest is None else longest
    return {"unfinished": unfinished, "longest": longest, "stuck": stuck}


@right("07-2")
def turns_them_step_by_step():
    """Turns each pair position by position, and reports tensors."""
    turned = torch.arange(2048)[:, None] * 10_000.0 ** (-torch.arange(32) / 32)
    unfinished = (turned.amax(dim=0) < 2 * math.pi).sum()
    stuck = next(
        p
        for p in range(1000)
        if float(torch.tensor(p).bfloat16()) == float(torch.tensor(p + 1).bfloat16())
    )
    return measured(unfinished, torch.tensor(47116.9), torch.tensor([stuck]))


@wrong("07-2", says="A turn is 2π radians")
def counts_radians():
    """Takes 1 / ω for the length of a turn."""
    return measured(sum(10_000 ** (i / 32) > 2048 for i in range(32)))


@wrong("07-2", says="That is half a turn")
def counts_half_turns():
    """Takes π for a whole turn."""
    return measured(sum(math.pi * 10_000 ** (i / 32) > 2048 for i in range(32)))


@wrong("07-2", says="Asked is how many do not")
def counts_the_others():
    """Counts the pairs that come round."""
    return measured(21)


@wrong("07-2", says="with i / k the pairs are all too fast")
def forgets_the_two():
    """Leaves the 2 out of the exponent."""
    turns = (2 * math.pi * 10_000 ** (i / 64) for i in range(32))
    return measured(sum(turn > 2048 for turn in turns))


@wrong("07-2", says="you count k of them")
def counts_numbers():
    """Counts the numbers of a head and not its pairs."""
    return measured(22)


@wrong("07-2", says="For each of the 32 pairs")
def guesses_half():
    """Says that half of them are slow."""
    return measured(16)


@wrong("07-2", says="after which it has turned by 1 radian")
def reports_a_radian():
    """Reports 1 / ω of the slowest pair."""
    return measured(longest=10_000 ** (31 / 32))


@wrong("07-2", says="the limit of the formula")
def reports_the_limit():
    """Takes the base itself for the slowest."""
    return measured(longest=20_000 * math.pi)


@wrong("07-2", says="the first pair, the fastest")
def reports_the_fastest():
    """Reports the shortest turn."""
    return measured(longest=2 * math.pi)


@wrong("07-2", says="That is its speed")
def reports_the_speed():
    """Reports radians a position."""
    return measured(longest=10_000 ** (-31 / 32))


@wrong("07-2", says="the slowest pair, i = 31")
def reports_another_pair():
    """Reports the last pair but one."""
    return measured(longest=2 * math.pi * 10_000 ** (60 / 64))


@wrong("07-2", says="the first number that bfloat16 cannot hold")
def reports_the_lost_one():
    """Reports the first position that is lost."""
    return measured(stuck=257)


@wrong("07-2", says="still differs from the next")
def reports_one_before():
    """Is one too low."""
    return measured(stuck=255)


@wrong("07-2", says="That is float16")
def takes_half():
    """Narrows to the other format of 16 bits."""
    return measured(stuck=2048)


@wrong("07-2", says="That is float32")
def takes_single():
    """Does not narrow at all."""
    return measured(stuck=2**24)


@wrong("07-2", says="Try p = 0, 1, 2")
def guesses_a_byte():
    """Guesses from the seven digits behind the point."""
    return measured(stuck=128)


@wrong("07-2", says="`stuck` is one number")
def reports_a_list():
    """Reports all the positions that are stuck."""
    return measured(stuck=[256, 258])


def turning(
    wide="k", narrow=False, table="cat", other="cat", minus=True, way=1, to=True
):
    """A `rotated` with one thing, or several, in another way."""

    def rotated(x, positions, base=10_000.0):
        _, h, _, k = x.shape
        speeds = base ** (-torch.arange(0, k, 2) / {"k": k, "d": h * k}[wide])
        positions = way * positions
        if narrow:
            positions, speeds = positions.to(x.dtype), speeds.to(x.dtype)
        angle = positions[:, None] * speeds
        if table == "cat":
            angle = torch.cat([angle, angle], dim=-1)
        else:
            angle = angle.repeat_interleave(2, dim=-1)
        sign = -1 if minus else 1
        if other == "cat":
            turned = torch.cat([sign * x[..., k // 2 :], x[..., : k // 2]], dim=-1)
        else:
            turned = torch.stack([sign * x[..., 1::2], x[..., 0::2]], dim=-1).flatten(
                -2
            )
        out = x * angle.cos() + turned * angle.sin()
        return out.to(x.dtype) if to else out.float()

    return {"rotated": rotated}


@right("07-3")
def as_complex_numbers():
    """Multiplies complex numbers, which turns them."""

    def rotated(x, positions, base=10_000.0):
        k = x.shape[-1]
        real, imaginary = x.double().chunk(2, dim=-1)
        speeds = base ** (-torch.arange(k // 2).double() * 2 / k)
        angle = positions.double()[:, None] * speeds
        turned = torch.complex(real, imaginary) * torch.polar(
            torch.ones_like(angle), angle
        )
        return torch.cat([turned.real, turned.imag], dim=-1).to(x.dtype)

    return rotated


@right("07-3")
def narrows_the_sines():
    """Makes the angles in float32, and cosine and sine in the numbers of x."""

    def rotated(x, positions, base=10_000.0):
        k = x.shape[-1]
        angle = positions.float()[:, None] / base ** (torch.arange(0, k, 2) / k)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    return rotated


@wrong("07-3", says="Mistakes that are left: 4")
def copies_it():
    """Copies what is broken, all four mistakes in it."""
    return turning("d", True, "repeat", minus=False)


@wrong("07-3", says="Mistakes that are left: 2")
def mends_two():
    """Mends sign and layout; the width and the narrow angles stay."""
    return turning("d", True)


@wrong("07-3", says="the numbers of one head that are paired")
def takes_the_models_width():
    """Takes the speeds of d_model numbers."""
    return turning("d")


@wrong("07-3", says="cannot tell position 1027 from 1024")
def narrows_the_positions():
    """Makes positions and speeds the numbers of x."""
    return turning(narrow=True)


@wrong("07-3", says="Two layouts are mixed")
def mixes_the_layouts():
    """Pairs halves, and gives neighbours the same angle."""
    return turning(table="repeat")


@wrong("07-3", says="That is no turn, lengths change")
def leaves_the_minus_out():
    """Adds both sines."""
    return turning(minus=False)


@wrong("07-3", says="That is the interleaved layout")
def interleaves():
    """Pairs neighbours all the way."""
    return turning(table="repeat", other="stack")


@wrong("07-3", says="the other way round, clockwise")
def turns_clockwise():
    """Has the minus at the other sine."""
    return turning(way=-1)


@wrong("07-3", says="Nothing is turned")
def returns_x():
    """Returns what came."""
    return {"rotated": lambda x, positions, base: x}


@wrong("07-3", says="has the numbers of x")
def returns_float32():
    """Widens what was narrow."""
    return turning(to=False)


@wrong("07-3", says="whatever `base` is")
def turns_with_its_own_base():
    """Turns with base 10 000, and does not read the one that is given."""
    whole = turning()["rotated"]
    return {"rotated": lambda x, positions, base: whole(x, positions)}


@wrong("07-3", says="You count the positions from 0")
def numbers_the_places():
    """Numbers the places of x, and does not read the positions."""
    whole = turning()["rotated"]
    return {"rotated": lambda x, _, base: whole(x, torch.arange(x.shape[2]), base)}


@wrong("07-3", says="Write out k = 4")
def mixes_the_other_way():
    """Pairs neighbours, and gives halves the same angle."""
    return turning(other="stack")


@wrong("07-3", says="Out comes what went in")
def returns_one_half():
    """Forgets to put the halves together."""
    return {"rotated": lambda x, positions, base: x[..., : x.shape[-1] // 2]}


def counting(count):
    """A `places` that cuts the last columns off what `count` makes of the whole row."""
    return {"places": lambda present, new: count(present)[:, -new:]}


@right("07-4")
def compares_pairs():
    """Counts for each column the tokens in the columns before."""

    def places(present, new):
        s = present.shape[1]
        before = torch.ones(s, s, dtype=torch.long).triu(diagonal=1)
        return (present.long() @ before)[:, s - new :]

    return places


@right("07-4")
def in_a_loop():
    """Counts row by row, and says 0 at the padding."""

    def places(present, new):
        rows = []
        for row in present:
            tokens = row.nonzero().flatten().tolist()
            number = {column: i for i, column in enumerate(tokens)}
            rows.append([number.get(i, 0) for i in range(len(row))][len(row) - new :])
        return torch.tensor(rows)

    return places


@wrong("07-4", says="These are the columns")
def numbers_the_columns():
    """Numbers the columns, whatever they hold."""
    return counting(lambda p: torch.arange(p.shape[1]).expand(p.shape))


@wrong("07-4", says="for one new token that is always position 0")
def numbers_the_new_columns():
    """Numbers the new columns from 0."""
    return {"places": lambda p, new: torch.arange(new).expand(len(p), new)}


@wrong("07-4", says="Each call begins with 0 again. How many")
def counts_the_new_only():
    """Cuts first, and counts then."""

    def places(present, new):
        return (present[:, -new:].long().cumsum(dim=-1) - 1).clamp(min=0)

    return places


@wrong("07-4", says="number 0, not 1")
def counts_from_one():
    """Counts each token itself too."""
    return counting(lambda p: p.long().cumsum(dim=-1))


@wrong("07-4", says="a table has no row -1")
def goes_below_zero():
    """Leaves -1 at the padding."""
    return counting(lambda p: p.long().cumsum(dim=-1) - 1)


@right("07-4")
def says_the_last_column():
    """Says at all padding the highest position that a full row would have."""

    def count(present):
        tokens = present.long().cumsum(dim=-1) - 1
        return tokens.masked_fill(~present, present.shape[1] - 1)

    return counting(count)


@wrong("07-4", says="a table need not have such a row")
def marks_the_padding():
    """Marks the padding by a position that no table has."""

    def count(present):
        return (present.long().cumsum(dim=-1) - 1).masked_fill(~present, 1_000_000)

    return counting(count)


@wrong("07-4", says="count the tokens before, not the columns")
def takes_off_the_left():
    """Takes the padding at the left off, and none in the middle."""

    def count(present):
        columns = torch.arange(present.shape[1])
        first = present.long().argmax(dim=-1, keepdim=True)
        return (columns - first).clamp(min=0)

    return counting(count)


@wrong("07-4", says="You count down the batch")
def counts_down():
    """Sums over the wrong axis."""
    return counting(lambda p: (p.long().cumsum(dim=0) - 1).clamp(min=0))


@wrong("07-4", says="Positions pick rows of a table")
def returns_floats():
    """Counts in floating point."""
    return counting(lambda p: (p.float().cumsum(dim=-1) - 1).clamp(min=0))


@wrong("07-4", says="A position for each of the last `new` columns")
def returns_all_columns():
    """Returns the positions of the whole row."""
    return {"places": lambda p, new: (p.long().cumsum(dim=-1) - 1).clamp(min=0)}


@wrong("07-4", says="is the number of tokens before it in its row")
def takes_off_all_padding():
    """Takes all the padding of a row off every position."""

    def count(present):
        columns = torch.arange(present.shape[1])
        return columns - (~present).sum(dim=-1, keepdim=True)

    return counting(count)


def buckets(scale=None, floor=torch.floor, first=1, many=False, top=0, later="zero"):
    """A `bucket` with one thing in another way."""

    def bucket(lag, n_buckets, max_lag):
        half = n_buckets // 2
        lag = lag.abs() if later == "abs" else lag
        ratio = scale(half, max_lag) if scale else max_lag / half
        share = (lag.clamp(min=half) / half).log() / math.log(ratio)
        rest = n_buckets if many else n_buckets - half
        wide = floor(first * half + share * rest).long()
        wide = wide if top is None else wide.clamp(max=n_buckets - 1 + top)
        near = lag if later == "leave" else lag.clamp(min=0)
        return torch.where(lag < half, near, wide)

    return {"bucket": bucket}


@right("07-5")
def counts_the_borders():
    """Makes the border of each bucket, and counts how many are reached."""

    def bucket(lag, n_buckets, max_lag):
        half = n_buckets // 2
        wide = n_buckets - half
        powers = torch.arange(wide, dtype=torch.double) / wide
        borders = half * (max_lag / half) ** powers
        near = torch.arange(1, half).double()
        return torch.bucketize(lag.double(), torch.cat([near, borders]), right=True)

    return bucket


@right("07-5")
def one_by_one():
    """Takes each lag by itself, with logarithms of base 2."""

    def one(lag, n, top):
        if lag < n // 2:
            return max(lag, 0)
        share = math.log2(2 * lag / n) / math.log2(2 * top / n)
        return min(n - 1, math.floor(n // 2 + share * (n - n // 2)))

    def bucket(lag, n_buckets, max_lag):
        rows = [[one(p, n_buckets, max_lag) for p in row] for row in lag.tolist()]
        return torch.tensor(rows, dtype=torch.int32)

    return bucket


@wrong("07-5", says="you go on to new ones")
def has_no_last_bucket():
    """Leaves the last bucket open, and goes on."""
    return buckets(top=None)


@wrong("07-5", says="There is a bucket n_buckets")
def ends_one_too_late():
    """Lets the last bucket be number n_buckets."""
    return buckets(top=1)


@wrong("07-5", says="you round up")
def rounds_up():
    """Takes the next whole number."""
    return buckets(floor=torch.ceil)


@wrong("07-5", says="and not for these")
def serves_one_setting():
    """Is made for the number of buckets and the largest lag that it meets first."""
    whole, kept = buckets()["bucket"], []

    def bucket(lag, n_buckets, max_lag):
        kept.append((n_buckets, max_lag))
        return whole(lag, *kept[0])

    return bucket


@wrong("07-5", says="until they are used up")
def gives_each_its_own():
    """Cuts lags off, as `RelativeBias` does."""
    return {"bucket": lambda lag, n, top: lag.clamp(0, n - 1)}


@wrong("07-5", says="All your buckets widen")
def widens_all():
    """Takes the logarithm of every lag."""

    def bucket(lag, n_buckets, max_lag):
        share = lag.clamp(min=1).log() / math.log(max_lag)
        return (n_buckets * share).long().clamp(max=n_buckets - 1)

    return bucket


@wrong("07-5", says="round down, not to the nearest")
def rounds():
    """Rounds to the nearest bucket."""
    return buckets(floor=torch.round)


@wrong("07-5", says="you took the distance")
def takes_the_distance():
    """Takes the absolute value of a lag."""
    return buckets(later="abs")


@wrong("07-5", says="There is a bucket below 0")
def leaves_them_below_zero():
    """Leaves lags below 0 as they are."""
    return buckets(later="leave")


@wrong("07-5", says="divide by log(max_lag / half)")
def divides_by_another_logarithm():
    """Divides by the logarithm of max_lag itself."""
    return buckets(scale=lambda half, top: top)


@wrong("07-5", says="the numbers below are taken")
def begins_again():
    """Forgets to add the first half to the wide buckets."""
    return buckets(first=0)


@wrong("07-5", says="yours are too narrow")
def deals_out_too_many():
    """Divides the far lags over n_buckets buckets."""
    return buckets(many=True)


@wrong("07-5", says="A bucket picks a column of a table")
def returns_numbers_with_a_point():
    """Returns floating point numbers."""
    whole = buckets()["bucket"]
    return {"bucket": lambda *given: whole(*given).float()}


@wrong("07-5", says="has no logarithm")
def takes_the_logarithm_of_zero():
    """Takes the logarithm of everything, and does not round."""

    def bucket(lag, n_buckets, max_lag):
        half = n_buckets // 2
        share = (lag / half).log() / math.log(max_lag / half)
        return half + share * (n_buckets - half)

    return bucket


@wrong("07-5", says="by a constant factor")
def widens_by_squares():
    """Lets the far buckets widen with the root of the lag."""

    def bucket(lag, n_buckets, max_lag):
        half = n_buckets // 2
        share = ((lag - half).clamp(min=0) / (max_lag - half)) ** 0.5
        wide = (half + share * half).long().clamp(max=n_buckets - 1)
        return torch.where(lag < half, lag.clamp(min=0), wide)

    return bucket


def turn(x, places, base, speeds=None, interleaved=False):
    """x turned by its places, in float64; speeds unless they are those of its width."""
    k = x.shape[-1]
    speeds = base ** (-torch.arange(0, k, 2).double() / k) if speeds is None else speeds
    angle = places.double()[:, None] * speeds
    cos, sin = angle.cos(), angle.sin()
    x = x.double()
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else x.chunk(2, dim=-1)
    both = a * cos - b * sin, a * sin + b * cos
    if interleaved:
        return torch.stack(both, dim=-1).flatten(start_dim=-2)
    return torch.cat(both, dim=-1)


def gridded(rows=None, columns=None, start=0, speeds=None, interleaved=False, to=True):
    """An `on_grid` with one thing in another way."""

    def on_grid(x, width, base=10_000.0):
        (t, k), p = x.shape[-2:], torch.arange(x.shape[-2])
        place = {"row": p // width, "column": p % width, "place": p}
        place |= {"sum": p // width + p % width, "tall": p // (t // width)}
        place |= {"rest": p % (t // width)}
        chosen = place[rows or "row"] + start, place[columns or "column"] + start
        own = speeds(base, k) if speeds else (None, None)
        parts = [
            turn(part, where, base, speed, interleaved)
            for part, where, speed in zip(x.chunk(2, dim=-1), chosen, own, strict=True)
        ]
        out = torch.cat(parts, dim=-1)
        return out.to(x.dtype) if to else out

    return {"on_grid": on_grid}


@right("07-6")
def with_one_table_of_angles():
    """Lays the angles of row and column side by side, and turns all pairs at once."""

    def on_grid(x, width, base=10_000.0):
        t, k = x.shape[-2:]
        speeds = base ** (-torch.arange(0, k // 2, 2) / (k // 2))
        rows = torch.arange(t).div(width, rounding_mode="floor")[:, None] * speeds
        columns = torch.arange(t).remainder(width)[:, None] * speeds
        cos, sin = (
            torch.cat([f(rows), f(columns)], dim=-1) for f in (torch.cos, torch.sin)
        )
        a, b, c, d = x.float().chunk(4, dim=-1)
        left, right = torch.cat([a, c], dim=-1), torch.cat([b, d], dim=-1)
        one, other = left * cos - right * sin, left * sin + right * cos
        (a, c), (b, d) = one.chunk(2, dim=-1), other.chunk(2, dim=-1)
        return torch.cat([a, b, c, d], dim=-1).to(x.dtype)

    return on_grid


@wrong("07-6", says="the second axis of the picture is lost")
def reads_it_as_text():
    """Turns all numbers by the place in the text."""
    plain = {"on_grid": lambda x, width, base: turn(x, torch.arange(x.shape[-2]), base)}
    return plain


@wrong("07-6", says="Both halves turn with the place in the text")
def turns_both_by_place():
    """Cuts into halves, and turns both by the place."""
    return gridded("place", "place")


@wrong("07-6", says="Rows and columns changed places")
def swaps():
    """Turns the first half with the column."""
    return gridded("column", "row")


@wrong("07-6", says="Every number turned twice")
def turns_twice():
    """Turns everything by the row, and then everything by the column."""

    def on_grid(x, width, base):
        p = torch.arange(x.shape[-2])
        return turn(turn(x, p // width, base), p % width, base)

    return on_grid


@wrong("07-6", says="Both halves turn with row + column")
def adds_row_and_column():
    """Turns both halves by the sum."""
    return gridded("sum", "sum")


@wrong("07-6", says="dealt out in order")
def deals_the_speeds_out():
    """Gives the first half the fast speeds, and the second the slow ones."""

    def speeds(base, k):
        return (base ** (-torch.arange(0, k, 2).double() / k)).chunk(2)

    return gridded(speeds=speeds)


@wrong("07-6", says="their speeds are base^(-2i / (k / 2))")
def takes_the_speeds_of_the_head():
    """Takes for both halves the first speeds of the whole head."""

    def speeds(base, k):
        return [(base ** (-torch.arange(0, k, 2).double() / k))[: k // 4]] * 2

    return gridded(speeds=speeds)


@wrong("07-6", says="You divide by the number of rows")
def divides_by_the_rows():
    """Takes the number of rows for the width."""
    return gridded("tall", "rest")


@wrong("07-6", says="count from 0")
def counts_rows_from_one():
    """Counts rows and columns from 1."""
    return gridded(start=1)


@wrong("07-6", says="the interleaved layout within each half")
def interleaves_the_halves():
    """Pairs neighbours within each half."""
    return gridded(interleaved=True)


@wrong("07-6", says="whatever `base` is")
def grids_with_its_own_base():
    """Turns with base 10 000, and does not read the one that is given."""
    whole = gridded()["on_grid"]
    return {"on_grid": lambda x, width, base: whole(x, width)}


@wrong("07-6", says="This one has another width")
def makes_every_grid_four_wide():
    """Is made for a grid four wide."""
    whole = gridded()["on_grid"]
    return {"on_grid": lambda x, width, base: whole(x, 4, base)}


@wrong("07-6", says="has the numbers of x")
def widens():
    """Returns float64."""
    return gridded(to=False)


@wrong("07-6", says="row 1, column 2")
def turns_only_rows():
    """Turns the first half, and leaves the second."""

    def on_grid(x, width, base):
        first, last = x.chunk(2, dim=-1)
        p = torch.arange(x.shape[-2])
        return torch.cat([turn(first, p // width, base), last.double()], dim=-1)

    return on_grid
