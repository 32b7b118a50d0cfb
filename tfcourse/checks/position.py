"""What the answers of chapter 7's exercises must do."""

import math
from itertools import product

import torch
from torch import Tensor

from tfcourse.attention import attention
from tfcourse.checks import Mistake, close, describe, differs, exercise
from tfcourse.position import Rotary, alibi, lags, sinusoids


@exercise(
    "07-1",
    title="Five places further on",
    kind="prediction",
    minutes=8,
    difficulty=1,
    points=2,
    choices=("none", "learned", "sinusoidal and learned", "all but ALiBi"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    t, d = 10, 16
    x, (w_q, w_k, w_v) = draw.normal(1, t, d), draw.normal(3, d, d) / 4
    table = draw.normal(32, d)

    def attend(x, rotate=lambda x: x, bias=None):
        q, k = rotate((x @ w_q)[:, None]), rotate((x @ w_k)[:, None])
        return attention(q, k, (x @ w_v)[:, None], score_bias=bias)

    def outputs(places):
        return {
            "sinusoidal": attend(x + sinusoids(places, d)),
            "learned": attend(x + table[places]),
            "rotary": attend(x, lambda part: Rotary()(part, places)),
            "ALiBi": attend(x, bias=alibi(1, t)),
        }

    before, after = outputs(torch.arange(t)), outputs(torch.arange(t) + 5)
    moved = {
        name: float((after[name] - out).norm() / out.norm())
        for name, out in before.items()
    }
    assert [name for name in moved if moved[name] > 1e-4] == ["sinusoidal", "learned"]
    replies = {
        "none": "Take the learned table: a token that found row 0 added to it now finds "
        "row 5. Why should the output stay?",
        "learned": "PE(p + 5) is PE(p) turned, and PE(p) · PE(r) stays, yes. But what is "
        "turned is added to a token that is not, and W_Q, W_K and W_V stand after that.",
        "all but ALiBi": "Rotary turns the query five steps further, and the key too. "
        "What does a dot product see of a turn that both have made?",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    sine, learned = (f"{moved[name]:.0%}" for name in ("sinusoidal", "learned"))
    return (
        f"With random weights and no training, the output moves by {sine} of its size "
        f"with sinusoids and by {learned} with a table; with rotary by rounding errors, "
        "with ALiBi not at all."
    )


@exercise(
    "07-2",
    title="The slow hands",
    kind="measurement",
    minutes=15,
    difficulty=2,
    points=3,
)
def _(answer, draw):
    k, base, context = 64, 10_000.0, 2048
    turns = [2 * math.pi * base ** (2 * i / k) for i in range(k // 2)]
    names = ("unfinished", "longest", "stuck")
    unfinished, longest, stuck = (answer.number(name) for name in names)
    for name, held in zip(names, (unfinished, longest, stuck), strict=True):
        if isinstance(held, bool) or not isinstance(held, int | float):
            raise Mistake(f"`{name}` is one number.", seen=f"Got {describe(held)}.")

    def slow(turns, context=context):
        return sum(steps > context for steps in turns)

    told = {
        "A turn is 2π radians: a pair that turns by ω radians a step is round after "
        "2π / ω steps, not after 1 / ω.": slow(turns, 2 * math.pi * context),
        "That is half a turn. Round is 2π.": slow(turns, 2 * context),
        "Those complete a turn. Asked is how many do not.": k // 2 - slow(turns),
        "Pair i turns by base^(-2i / k): with i / k the pairs are all too fast.": slow(
            2 * math.pi * base ** (i / k) for i in range(k // 2)
        ),
        "There are k / 2 pairs, each with one speed; you count k of them.": 2
        * slow(turns),
    }
    for says, other in told.items():
        differs(unfinished, other, says=says)
    close(
        unfinished,
        slow(turns),
        says="For each of the 32 pairs: how many positions does one turn take? Count "
        f"those that take more than {context}.",
        given=f"k = {k}, base = {base:g}, {context} positions",
    )
    told = {
        "That is 1 / ω, after which it has turned by 1 radian. A turn is 2π.": turns[-1]
        / (2 * math.pi),
        "That is the limit of the formula, 2π base. The last pair is i = k / 2 - 1.": (
            2 * math.pi * base
        ),
        "That is the first pair, the fastest.": turns[0],
        "That is its speed, in radians a position; asked is how many positions a turn "
        "takes.": 2 * math.pi / turns[-1],
    }
    for says, other in told.items():
        differs(longest, other, says=says, rtol=0.002)
    if not abs(longest / turns[-1] - 1) < 0.002:
        says = "`longest`: the positions that the slowest pair, i = 31, needs for 2π."
        raise Mistake(says, seen=f"`longest` is {describe(longest)}.")
    told = {
        "That is the first number that bfloat16 cannot hold. Asked is the one before, "
        "which looks like its successor.": 257,
        "That one still differs from the next. Compare p and p + 1, each made a bfloat16.": 255,
        "That is float16, which has three binary digits more.": 2048,
        "That is float32.": 2**24,
    }
    for says, other in told.items():
        differs(stuck, other, says=says)
    close(
        stuck,
        256,
        says="Try p = 0, 1, 2, …: is `torch.tensor(float(p)).bfloat16()` equal to the "
        "same of p + 1?",
    )
    return (
        f"{slow(turns)} of 32 pairs never come round in {context} positions: at twice "
        "the length they reach angles that training has not shown. And from position 256 "
        "on, a bfloat16 counter does not even count: angles are made in float32."
    )


FLAWS = {  # in the order in which a reader meets them
    "width": "The speeds are those of `h * k` numbers, the width of the model. It is the "
    "numbers of one head that are paired: base^(-2i / k).",
    "narrow": "The positions, or the angles, are narrowed to the numbers of x, and a "
    "bfloat16 cannot tell position 1027 from 1024. Turn narrow ones only once the sine "
    "and cosine are there.",
    "layout": "Two layouts are mixed: numbers i and i + k / 2 are turned together, but by "
    "angles that are the same for 2i and 2i + 1. Both must have the angle of pair i.",
    "sign": "That is no turn, lengths change. (x, y) becomes (x cos - y sin, x sin + y "
    "cos): one of the two sines has a minus.",
}


def _turned(x, positions, base, flaws=(), pairs="half", way=1):
    """Every number by itself, in float64; flaws: what is wrong, some of FLAWS."""
    _, h, t, k = x.shape
    half = k // 2
    width = h * k if "width" in flaws else k
    out = torch.zeros(x.shape, dtype=torch.float64)
    for row, j in product(range(t), range(k)):
        i = j // 2 if ("layout" in flaws) != (pairs == "interleaved") else j % half
        speed, place = torch.tensor(base ** (-2 * i / width)), positions[row]
        if "narrow" in flaws:
            speed, place = speed.to(x.dtype), place.to(x.dtype)
        angle = way * (place * speed).item()
        first = j % 2 == 0 if pairs == "interleaved" else j < half
        step = 1 if pairs == "interleaved" else half
        partner = x[:, :, row, j + step if first else j - step].double()
        sign = -1 if first and "sign" not in flaws else 1
        straight = x[:, :, row, j].double() * math.cos(angle)
        out[:, :, row, j] = straight + sign * partner * math.sin(angle)
    return out


@exercise("07-3", title="Mend the turning", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    b, h, t, k, base = 2, 3, 4, 8, 50.0
    x = draw.uniform(0.5, 1, b, h, t, k) * (2 * draw.integer(0, 2, b, h, t, k) - 1)
    near = torch.arange(t) + draw.integer(1, 20)
    far = 8 * draw.integer(128, 256, t) + 3  # none of which a bfloat16 can hold
    inputs = (x, near), (x.bfloat16(), far)
    got = [answer.rotated(*pair, base) for pair in inputs]
    given = {"x": x, "positions": near, "base": base}
    far_given = {"x": x.bfloat16(), "positions": far, "base": base}
    for one in got:
        if not isinstance(one, Tensor) or one.shape != x.shape:
            says = f"Out comes what went in, {tuple(x.shape)} here."
            close(one, x, says=says, given=given)
    if got[1].dtype != torch.bfloat16:
        raise Mistake(
            "What comes out has the numbers of x: `.to(x.dtype)` at the end.",
            given=far_given,
        )

    def both(*flaws, **change):
        return [_turned(*pair, base, flaws, **change) for pair in inputs]

    every = [
        [name for name, there in zip(FLAWS, row, strict=True) if there]
        for row in product((False, True), repeat=len(FLAWS))
    ]
    for flaws in every[1:]:
        count = f" (Mistakes that are left: {len(flaws)}.)"
        says = FLAWS[flaws[0]] + (count if len(flaws) > 1 else "")
        shown = far_given if flaws == ["narrow"] else given
        differs(got, both(*flaws), says=says, given=shown, atol=0.04)
    mistakes = {
        "That is the interleaved layout: a right one, and not the one that is asked. "
        "Pair i is here the numbers i and i + k / 2.": both(pairs="interleaved"),
        "That turns the other way round, clockwise. Scores would be the same; weights "
        "that were trained with it would fit no other model.": both(way=-1),
        "Nothing is turned.": [x, x.bfloat16()],
        "You turn with base 10 000, whatever `base` is.": [
            _turned(*pair, 10_000.0) for pair in inputs
        ],
        "You count the positions from 0. They are given: a text may go on anywhere.": [
            _turned(part, torch.arange(t), base) for part, _ in inputs
        ],
    }
    for says, wrong in mistakes.items():
        differs(got, wrong, says=says, given=given, atol=0.04)
    says = "Write out k = 4: numbers 0 and 2 turn by p, numbers 1 and 3 by p / √base."
    close(got[0], _turned(x, near, base), says=says, given=given)
    want = _turned(*inputs[1], base)
    close(got[1], want, says=FLAWS["narrow"], given=far_given, atol=0.04)
    return "The same as every number by itself; and far positions keep their angles."


def _counted(present, new, **change):
    """The positions of the last `new` columns, row by row, as a loop counts them."""
    s = present.shape[1]
    rows = []
    for row in present.tolist():
        places, count = [], change.get("start", 0)
        left = row.index(True)
        for column, here in enumerate(row):
            if change.get("again") and column == s - new:
                count = 0
            places.append(column - left if change.get("left") else count)
            count += 1 if change.get("columns") else here
        rows.append(places[s - new :])
    return torch.tensor(rows)


@exercise("07-4", title="Padding on the left", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    s, news = 9, (9, 4, 1)
    present = torch.ones(4, s, dtype=torch.bool)
    present[1, : draw.integer(2, 4)] = False
    present[2, : draw.integer(4, 6)] = False
    present[3, 0] = present[3, 4] = present[3, 5] = False
    got = [answer.places(present, new) for new in news]
    for one, new in zip(got, news, strict=True):
        given = {"present": present, "new": new}
        if not isinstance(one, Tensor) or one.shape != (4, new):
            says = (
                f"A position for each of the last `new` columns: (b, new) = {(4, new)}."
            )
            close(one, _counted(present, new), says=says, given=given)
        if one.is_floating_point() or one.dtype == torch.bool:
            says = "Positions pick rows of a table: whole numbers, `torch.long`."
            raise Mistake(says, seen=f"Got {describe(one)}.", given=given)

    def read(places):
        """What the tokens see; what stands at the padding is never read."""
        return [
            one * present[:, s - new :] for one, new in zip(places, news, strict=True)
        ]

    def other(**change):
        return read([_counted(present, new, **change) for new in news])

    down = present.long().cumsum(dim=0) - 1
    mistakes = {
        "These are the columns: padding is counted as if it were text.": other(
            columns=True
        ),
        "These are columns, and each call begins with 0 again: for one new token that "
        "is always position 0.": other(columns=True, again=True),
        "Each call begins with 0 again. How many tokens stand before the new columns?": (
            other(again=True)
        ),
        "The first token of a text is number 0, not 1.": other(start=1),
        "The padding at the left is taken off. The last row has some in the middle as "
        "well: count the tokens before, not the columns.": other(left=True),
        "You count down the batch; count along the row, the last axis.": read(
            [down[:, s - new :] for new in news]
        ),
    }
    given = f"present = a tensor of shape (4, {s}), new = {', '.join(map(str, news))}"
    says = "A token's position is the number of tokens before it in its row."
    close(read(got), other(), mistakes=mistakes, says=says, given=given)
    for one, new in zip(got, news, strict=True):
        padded = one[~present[:, s - new :]]
        given = {"present": present, "new": new}
        if (padded < 0).any():
            says = "At the padding there is a position below 0, and a table has no row -1: "
            says += "any other will do, `clamp(min=0)`."
            raise Mistake(says, given=given)
        if (padded >= s).any():
            says = f"No row of {s} columns needs position {padded.max()}, which you give to "
            says += "the padding: a table need not have such a row. Take one below."
            raise Mistake(says, given=given)
    return "The same as counting row by row, for a whole text and for its last steps."


def _bucket(lag, n, top, **change):
    """The bucket of one lag. The borders are compared in whole numbers, exactly."""
    half = n // 2
    if lag < 0:
        return _bucket(-lag, n, top, **change) if change.get("both") else 0
    if change.get("linear"):
        return min(lag, n - 1)
    if change.get("logs"):
        return min(n - 1, int(n * math.log(max(lag, 1)) / math.log(top)))
    if lag < half:
        return lag
    if change:
        share = math.log(lag / half) / math.log(top / change.get("by", half))
        place = change.get("first", half) + share * change.get("many", n - half)
        return min(change.get("whole", int)(place), n - 1)
    many = n - half  # bucket half + j begins where (lag / half)^many = (top / half)^j
    reached = [j for j in range(many) if lag**many * half**j >= half**many * top**j]
    return half + reached[-1]


@exercise("07-5", title="Buckets that widen", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    settings = [(8, 32), (12, 100), (16, 96), (32, 128)]
    n, top = draw.choice(settings)
    lag = lags(6, 2 * top)
    got = answer.bucket(lag, n, top)
    given = {"lag": lag, "n_buckets": n, "max_lag": top}

    def every(**change):
        rows = [[_bucket(p, n, top, **change) for p in row] for row in lag.tolist()]
        return torch.tensor(rows)

    if isinstance(got, Tensor) and got.is_floating_point() and got.shape == lag.shape:
        if got.isnan().any() or got.isinf().any():
            says = "A lag of 0 or below has no logarithm: `clamp` first, or choose by "
            says += "`torch.where` from two things that are both finite."
            raise Mistake(says, given=given)
        says = (
            "A bucket picks a column of a table: whole numbers, `.long()` at the end."
        )
        raise Mistake(says, given=given)
    mistakes = {
        "There, each lag has a bucket of its own until they are used up; the second half "
        "of the buckets is to widen.": every(linear=True),
        "All your buckets widen. The first n_buckets / 2 lags, from 0 on, have one each.": (
            every(logs=True)
        ),
        "A bucket begins where its border is reached: round down, not to the nearest.": (
            every(whole=round)
        ),
        "A bucket begins where its border is reached: round down; you round up.": every(
            whole=math.ceil
        ),
        "A key that comes later has a lag below 0, and gets bucket 0; you took the "
        "distance.": every(both=True),
        "The logarithm runs from half to max_lag: divide by log(max_lag / half), not by "
        "log(max_lag).": every(by=1),
        "The wide buckets begin with n_buckets / 2: the numbers below are taken.": every(
            first=0
        ),
        "Half of the buckets are left for the wide ones, and not all n_buckets: yours "
        "are too narrow.": every(many=n),
    }
    if isinstance(got, Tensor) and got.shape == lag.shape:
        if got.min() < 0:
            says = "There is a bucket below 0. Lags below 0 get bucket 0."
            raise Mistake(says, given=given)
        if got.max() == n:
            says = "There is a bucket n_buckets. Counted from 0, the last is n_buckets - 1."
            raise Mistake(says, given=given)
        if got.max() > n:
            says = "Lags from max_lag on share the last bucket, n_buckets - 1: you go on to "
            says += "new ones."
            raise Mistake(says, given=given)
    says = (
        "Print the first lag of each bucket: 0, 1, 2, … and then by a constant factor."
    )
    close(got, every(), mistakes=mistakes, says=says, given=given)
    says = (
        f"Right for {n} buckets up to lag {top}, and not for these: `n_buckets` and "
        "`max_lag` are given."
    )
    row = torch.arange(-2, 256)[None]
    for some, far in settings:
        want = torch.tensor([[_bucket(p, some, far) for p in row[0].tolist()]])
        given = {"lag": row, "n_buckets": some, "max_lag": far}
        if (some, far) != (n, top):
            close(answer.bucket(row, some, far), want, says=says, given=given)
    return (
        f"The same as a loop over the borders. {n} numbers a head serve every lag, where "
        f"one for each lag up to {top} would be {top + 1}."
    )


def _on_grid(x, width, base, **change):
    """Pair by pair: its place, row or column, times its speed."""
    t, k = x.shape[-2:]
    quarter = k // 4
    out = x.double().clone()
    for p, part, i in product(range(t), range(2), range(quarter)):
        row, column = divmod(p, width)
        if change.get("tall"):
            row, column = divmod(p, t // width)
        place = (row, column)[part]
        place = (column, row)[part] if change.get("swapped") else place
        place = row + column if change.get("summed") else place
        place = p if change.get("flat") else place + change.get("start", 0)
        power = 2 * i / (k // 2)
        if change.get("shared"):  # the speeds of all k numbers, dealt out in order
            power = 2 * (i + part * quarter) / k
        if change.get("slow"):
            power = 2 * i / k
        first, step = part * 2 * quarter + i, quarter
        if change.get("interleaved"):
            first, step = part * 2 * quarter + 2 * i, 1
        a, b = x[..., p, first].double(), x[..., p, first + step].double()
        cos, sin = (f(place * base**-power) for f in (math.cos, math.sin))
        out[..., p, first] = a * cos - b * sin
        out[..., p, first + step] = a * sin + b * cos
    return out


@exercise("07-6", title="Rows and columns", minutes=30, difficulty=4, points=5)
def _(answer, draw):
    base = 50.0
    x, width = draw.normal(2, 3, 12, 8), 4
    narrow = draw.uniform(-1, 1, 1, 2, 10, 12).bfloat16()  # another grid, other heads
    inputs = (x, width), (narrow, draw.choice([2, 5]))
    got = [answer.on_grid(*pair, base) for pair in inputs]
    given = {"x": x, "width": width, "base": base}

    def both(base=base, **change):
        return [_on_grid(*pair, base, **change) for pair in inputs]

    def as_text(place):
        return [_turned(x, place(torch.arange(x.shape[2]), w), base) for x, w in inputs]

    mistakes = {
        "That is one row of text: the second axis of the picture is lost.": as_text(
            lambda p, width: p
        ),
        "Both halves turn with the place in the text; one is to turn with the row, one "
        "with the column.": both(flat=True),
        "Rows and columns changed places: the first half turns with the row.": both(
            swapped=True
        ),
        "Every number turned twice, which adds the angles: row + column. Cells on a "
        "diagonal look the same.": as_text(lambda p, width: p // width + p % width),
        "Both halves turn with row + column: cells on a diagonal look the same.": both(
            summed=True
        ),
        "The speeds of all k numbers are dealt out in order: rows get the fast ones, "
        "columns the slow ones. Each half has its own, from 1 down.": both(shared=True),
        "Half of k numbers make k / 4 pairs: their speeds are base^(-2i / (k / 2)).": (
            both(slow=True)
        ),
        "You divide by the number of rows. Cell p is in row p // width.": both(
            tall=True
        ),
        "You count rows and columns from 1. Scores would be the same; count from 0.": (
            both(start=1)
        ),
        "That is the interleaved layout within each half; asked is the other, where pair "
        "i is the numbers i and i + k / 4 of its half.": both(interleaved=True),
        "You turn with base 10 000, whatever `base` is.": both(base=10_000.0),
    }
    for says, wrong in mistakes.items():
        differs(got, wrong, says=says, given=given, atol=0.04)
    says = "Take one cell, row 1, column 2: which numbers of it turn by 1, which by 2?"
    right, narrow_right = both()
    close(got[0], right, says=says, given=given, atol=1e-5)
    says = (
        "Right for a grid 4 wide, of float32. This one has another width, another k, "
        "and numbers that are bfloat16."
    )
    given = {"x": narrow, "width": inputs[1][1], "base": base}
    close(got[1], narrow_right, says=says, given=given, atol=0.04)
    if got[1].dtype != narrow.dtype:
        says = "What comes out has the numbers of x: `.to(x.dtype)` at the end."
        raise Mistake(says, given=given)
    return "The same as pair by pair: scores see how many rows and columns lie between."
