"""What the answers of chapter 14's exercises must do."""

import math
from functools import cache, partial
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tfcourse.checks import Mistake, close, describe, differs, exercise
from tfcourse.checks.compare import alike, measured, telling
from tfcourse.data.corpus import load_corpus
from tfcourse.embedding import Embedding
from tfcourse.gpt import stored_gpt

_same = partial(torch.allclose, rtol=1e-4, atol=1e-6)  # alike, of tensors of one shape


def _nearest(x, step, highest):
    """Each number at its nearest whole number of steps."""
    return (x / step).round().clamp(-highest, highest) * step


LOUD, SIZE = (
    7,
    256,
)  # the column that is a hundred times as large, and how many there are


@cache
def _lost():
    """By what shares a scale, the relative error of all columns but the loud one."""
    x = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    x[:, LOUD] *= 100
    others = torch.arange(SIZE) != LOUD
    blocks = {
        "one for all": (SIZE, SIZE),
        "rows": (1, SIZE),
        "groups of 32": (1, 32),
        "columns": (SIZE, 1),
    }
    found = {}
    for name, (height, width) in blocks.items():
        back = torch.empty_like(x)
        for i, j in product(range(0, SIZE, height), range(0, SIZE, width)):
            block = x[i : i + height, j : j + width]
            step = block.abs().max() / 7
            back[i : i + height, j : j + width] = _nearest(block, step, 7)
        error = (back - x)[:, others].norm() / x[:, others].norm()
        found[name] = error.item()
    return found


@exercise(
    "14-1",
    title="A loud column",
    kind="prediction",
    minutes=8,
    difficulty=1,
    points=2,
    choices=("one for all", "rows", "groups of 32", "columns"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    lost = _lost()
    assert min(lost, key=lost.get) == "columns" and lost["columns"] < 0.2
    replies = {
        "one for all": "The largest number of the whole matrix then sets the step for all "
        "others: a seventh of it is larger than any of them. Which numbers have to share a "
        "scale with a loud one, in each of the four ways?",
        "rows": "A scale for each row helps if some *rows* are loud. A loud column has one "
        "number in every row, and sets the step of each of them.",
        "groups of 32": "Most groups are free of the loud column, and well kept. But one "
        "group in eight holds a loud number, in every row, and its 31 others are lost. Is "
        "there a way in which *none* of the others shares a scale with one?",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    counted = ", ".join(f"{name} {error:.2f}" for name, error in lost.items())
    return (
        f"Tried on random numbers, the relative error of the other columns: {counted}. The "
        "columns need 256 scales, the groups 2048: who shares matters more than how many."
    )


def _counts(shape, levels, flaw=""):
    """How many groups there are on each level: one after the other, counted."""
    rows, columns = shape
    found, before = [], rows * columns
    for number, (size, _) in enumerate(levels):
        first = number == 0
        if size is None:
            n = {"None for a row": rows, "None for nothing": 0}.get(flaw, 1)
        elif flaw in ("shares", "floor"):
            n = before / size if flaw == "shares" else before // size
        elif first and flaw != "across":
            n = sum(len(range(0, columns, size)) for _ in range(rows))
        elif not first and flaw == "of weights":
            n = len(range(0, rows * columns, size))
        elif not first and flaw == "row by row":
            n = rows * len(range(0, math.ceil(before / rows), size))
        else:
            n = len(range(0, before, size))
        found.append(n)
        before = n
    return found


def _true_bits(shape, bits, levels, flaw=""):
    """All bits for each weight."""
    n = math.prod(shape)
    if flaw == "first level":
        levels = levels[:1]
    counts = _counts(shape, levels, flaw)
    extra = sum(count * each for count, (_, each) in zip(counts, levels, strict=True))
    codes = {"no codes": 0, "a byte each": 8}.get(flaw, bits)
    total = n * codes + extra
    return {"in all": total, "bytes": total / n / 8}.get(flaw, total / n)


BITS = {  # by flaw, what to say
    "across": "A group lies within a row: no group goes on from the end of one row into the "
    "next. Count the groups of one row, then times the rows.",
    "shares": "The last group of a row, or of a list, may be smaller. It costs as much as a "
    "full one: round the number of groups up.",
    "floor": "What is left at the end, less than a full group, needs a scale too: round up, "
    "not down.",
    "of weights": "On the second level `size` counts *groups* of the level before, not "
    "weights: with (64, 8) and (256, 32) one of 32 bits is shared by 256 scales.",
    "row by row": "Only the first level stays within a row. The groups of a further level "
    "gather those of the level before over all rows, one list.",
    "None for a row": "`None` means one for the whole matrix, not one for each row.",
    "None for nothing": "`None` does not mean that there is nothing: one for all is stored, "
    "too.",
    "first level": "Levels after the first were left out: scales of scales are stored too.",
    "no codes": "The codes themselves are missing: `bits` for each weight.",
    "a byte each": "Packed tightly a code takes `bits`, not a byte.",
    "in all": "Those are the bits of the whole matrix: divide by the number of weights.",
    "bytes": "Those are bytes for each weight; bits are asked.",
}


def _bits_case(draw):
    size = draw.integer(6, 12)
    shape = draw.integer(3, 7), size * draw.integer(3, 6) + draw.integer(1, size - 1)
    levels = [
        (size, draw.integer(6, 17)),
        (draw.integer(4, 8), draw.integer(9, 24)),
        (None, 32),
    ]
    bits = draw.integer(2, 7)
    given = shape, bits, levels
    told = {says: _true_bits(*given, flaw) for flaw, says in BITS.items()}
    return given, _true_bits(*given), told


@exercise("14-2", title="The bits of any format", minutes=15, difficulty=2, points=3)
def _(answer, draw):
    says = "Level by level: how many groups are there, and what does each of them cost?"
    same = partial(math.isclose, rel_tol=1e-4)
    for _ in range(3):
        given, want, told = telling(_bits_case, draw, same)
        shown = dict(zip(("shape", "bits", "levels"), given, strict=True))
        close(answer.true_bits(*given), want, mistakes=told, says=says, given=shown)
    says = "Without levels nothing but the codes is stored."
    close(answer.true_bits((4, 6), 3, []), 3, says=says)
    given = (4, 6), 3, [(None, 16)]
    says = "`None` may stand on the first level: one scale for the whole matrix."
    close(answer.true_bits(*given), 3 + 16 / 24, says=says)
    given = (4, 6), 3, [(128, 16)]
    says = "A group that is larger than a row is the row: it does not take in the next one."
    close(answer.true_bits(*given), 3 + 4 * 16 / 24, says=says)
    return "The same as counting the groups one by one."


def _by_chance(x, scale, u, bits, flaw=""):
    """Codes of numbers that are rounded by chance; in double, by the definition."""
    steps, u = x.double() / scale.double(), u.double()
    low, highest = steps.floor(), 2 ** (bits - 1) - 1
    rest = steps - low
    codes = {
        "": low + (u < rest),
        "from above": low + (u >= 1 - rest),
        "nearest": steps.round(),
        "half too much": (steps + u).round(),
        "cut": (steps + u).trunc(),
        "cut before": steps.trunc() + (u < steps.frac().abs()),
        "negative rests": steps.trunc() + (u < steps.frac()),
        "turned": low + (u > rest),
        "a coin": low + (u < 0.5),
        "always down": low,
        "always up": steps.ceil(),
        "before the scale": ((x.double() + u) / scale.double()).floor(),
    }
    out = codes.get(flaw, codes[""])
    if flaw == "wide":
        return out.clamp(-highest - 1, highest)
    return out if flaw == "unclipped" else out.clamp(-highest, highest)


CHANCE = {  # by flaw, what to say
    "nearest": "Each went to its nearest code, and `u` has no say: 0.3 of a step has to go "
    "up in three cases of ten.",
    "half too much": "The numbers come out half a step too large on the average: `u` adds "
    "between 0 and 1, and rounding to the nearest adds nothing on the average. What does "
    "rounding *down* do?",
    "cut": "Right above 0. Below it, turning into a whole number cuts towards 0, and that is "
    "up. `floor` goes down everywhere.",
    "cut before": "Right above 0. The codes around -1.7 are -2 and -1; yours are -1 and 0. "
    "`floor` goes down everywhere.",
    "negative rests": "Right above 0. Below it your rest is negative, so nothing ever goes "
    "down: the rest over the code *below* is wanted, x / s - floor(x / s).",
    "turned": "The wrong way round: a number just above a code should nearly always fall "
    "back to it.",
    "a coin": "A coin for all: the chance has to be the rest, so that 0.9 of a step goes up "
    "nine times in ten.",
    "always down": "All went down: `u` has no say.",
    "always up": "All went up: `u` has no say.",
    "before the scale": "`u` was added to x, in units of x. A step is `scale`: divide first.",
    "wide": "The lowest code is -(2^(bits-1) - 1), as many below 0 as above.",
    "unclipped": "A number at the end of the range can go up to a code that does not exist: "
    "clip the codes.",
}


def _chance_case(draw):
    """Numbers in all parts of the range, and beyond; by mistake, what it gives."""
    bits = draw.choice((3, 4))
    highest = 2 ** (bits - 1) - 1
    scale = draw.uniform(0.05, 3.0, 5, 1)
    codes = draw.integer(-highest - 1, highest + 1, 5, 16).float()
    codes += draw.uniform(0.03, 0.97, 5, 16)
    x, u = codes * scale, draw.uniform(0, 0.999, 5, 16)
    rest = codes - codes.floor()
    near = ((u - rest).abs() < 1e-3) | ((u - 1 + rest).abs() < 1e-3)
    u = torch.where(near, u / 2 + 0.01, u)
    given = x, scale, u, bits
    told = {says: _by_chance(*given, flaw) for flaw, says in CHANCE.items()}
    return given, _by_chance(*given), told


@exercise("14-3", title="Rounded by chance", minutes=15, difficulty=2, points=3)
def _(answer, draw):
    for _ in range(3):
        given, want, told = telling(_chance_case, draw, _same)
        x, scale, u, bits = given
        shown = {"x / scale": x / scale, "u": u, "bits": bits}
        got = answer.by_chance(*given)
        if alike(got, _by_chance(*given, "from above")):
            continue
        says = "Those are numbers, not codes: leave them in steps, without the scale."
        differs(got, want * scale, says=says, given=shown)
        if isinstance(got, Tensor) and not alike(got, answer.by_chance(*given)):
            says = (
                "The same numbers and the same `u` gave other codes the second time. All "
                "chance is to come from `u`, so that a run can be repeated."
            )
            raise Mistake(says, given=shown)
        says = (
            "Each number goes to the code below it or the one above it, as `u` decides."
        )
        close(got, want, mistakes=told, says=says, given=shown)
    bits, scale = 4, torch.tensor([[0.25], [2.0]])
    codes = draw.integer(-7, 8, 2, 40).float()
    u = draw.uniform(0, 0.999, 2, 40)
    u[:, :5] = 0
    given = codes * scale, scale, u, bits
    says = (
        "A number that is a code already has no rest, and stays what it is. `u` can be 0, "
        "too, and 0 is not below a rest of 0."
    )
    close(answer.by_chance(*given), codes, says=says)
    n = 20_000
    x = torch.full((1, n), 0.3)
    got = answer.by_chance(x, torch.ones(1, 1), draw.uniform(0, 0.999999, 1, n), bits)
    return (
        f"Each at one of its two codes. Of {n} numbers that are 0.3, {got.double().mean():.1%} "
        "went to 1 and the others to 0: wrong by more than nearest is, and right on the "
        "average."
    )


def four_windows() -> Tensor:
    """Four texts that the model has not seen, from all over the corpus: ids, (4, 96)."""
    text, tokenizer = load_corpus().held_out, stored_gpt("11_code")[1]
    step = len(text) // 4
    parts = [text[i * step :][:1024] for i in range(4)]
    return torch.tensor([tokenizer.encode(part)[:96] for part in parts])


@torch.inference_mode()
def _nats(model, windows):
    scores = model(windows)[:, :-1].flatten(0, 1)
    return F.cross_entropy(scores, windows[:, 1:].flatten()).item()


@torch.no_grad()
def _rounded_alone(model, names, windows, step):
    """Nats of the model while these matrices are rounded to 3 bits; then as it was."""
    matrices = [model.get_submodule(name).weight for name in names]
    kept = [matrix.clone() for matrix in matrices]
    for matrix in matrices:
        matrix.copy_(_nearest(matrix, step(matrix), 3))
    lost = _nats(model, windows)
    for matrix, before in zip(matrices, kept, strict=True):
        matrix.copy_(before)
    return lost


def _row_step(matrix):
    return matrix.abs().amax(dim=1, keepdim=True) / 3


@cache
def _each_alone():
    """By matrix, its relative error and error, and what rounding it alone costs; more."""
    model, windows = stored_gpt("11_code")[0], four_windows()
    base = _nats(model, windows)
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Embedding):
            w = module.weight.detach()
            error = (_nearest(w, _row_step(w), 3) - w).norm()
            lost = _rounded_alone(model, [name], windows, _row_step)
            found[name] = (error / w.norm()).item(), error.item(), lost - base
    costly = max(found, key=lambda name: found[name][2])
    whole = _rounded_alone(model, list(found), windows, _row_step) - base
    one_step = _rounded_alone(model, [costly], windows, lambda w: w.abs().max() / 3)
    return found, base, whole, one_step - base


@exercise(
    "14-4",
    title="Which matrix suffers",
    kind="measurement",
    minutes=20,
    difficulty=3,
    points=4,
)
def _(answer, draw):
    changed, costly = answer.value("most_changed"), answer.value("most_costly")
    cost = answer.number("cost")
    found, base, whole, one_step = _each_alone()
    first = lambda which: max(found, key=lambda name: found[name][which])
    right_changed, right_costly = first(0), first(2)
    assert right_changed != right_costly
    for name, value in (("most_changed", changed), ("most_costly", costly)):
        if value not in found:
            says = "The names are those of the list `names`, such as 'embedding'."
            raise Mistake(says, seen=f"`{name}` is {describe(value)}.")
    if (changed, costly) == (right_costly, right_changed):
        raise Mistake("The right two, the wrong way round: which cost more nats?")
    if changed != right_changed:
        if changed == first(1):
            says = (
                "That matrix has the largest error because it has the most numbers. "
                "*Relative*: its norm over the norm of the matrix itself."
            )
            raise Mistake(says)
        says = (
            "`most_changed`: for each matrix the norm of what `quantize(w, 3)` changes, over "
            "the norm of the matrix. Another one is larger."
        )
        raise Mistake(says, seen=f"{changed} has {found[changed][0]:.3f}.")
    if costly != right_costly:
        linear = {name: row for name, row in found.items() if name != "embedding"}
        if costly == max(linear, key=lambda name: linear[name][2]):
            raise Mistake("Of the linear layers, yes. The embedding is a matrix too.")
        if costly == min(found, key=lambda name: found[name][2]):
            raise Mistake("That one costs least.")
        says = (
            "Round one matrix at a time, with `quantize_model` and None for all others, and "
            "compare the nats with those of the model as it is. Another one costs more."
        )
        raise Mistake(says)
    right = found[right_costly][2]
    says = "That is the loss of the model as it is; asked is by how much it rises."
    differs(cost, base, says=says, rtol=0.01)
    told = {
        "That is the loss of the model with that matrix rounded; asked is by how much it is "
        "*higher* than without.": base + right,
        "That is what all of them together cost: round one alone.": whole,
        "That is the cost with one scale for the whole matrix: `quantize(w, 3)` has one for "
        "each row.": one_step,
        "The wrong sign: the loss rises.": -right,
        "That is what the most changed matrix costs.": found[right_changed][2],
    }
    says = "`cost`: the nats with that matrix rounded, less the nats of the model as it is."
    measured(cost, right, told, says=says, rtol=0.1)
    assert right_costly == min(found, key=lambda name: found[name][0])
    return (
        f"{right_changed} changes most, by {found[right_changed][0]:.2f} of its size, and "
        f"costs {found[right_changed][2]:+.4f} nats. The {right_costly} changes least of "
        f"all, by {found[right_costly][0]:.2f}, and costs {right:+.3f}. How wrong a matrix "
        "is says little about what the model makes of it."
    )


def _affine_sums(x, x_zero, w, w_zero, flaw=""):
    """The exact whole numbers before the scales, (m, n); by flaw, a wrong one."""
    x, x_zero, w, w_zero = (t.long() for t in (x, x_zero, w, w_zero))
    k = x.shape[1]
    as_bytes = lambda t: (t + 128) % 256 - 128  # what a cast to int8 makes of it
    if flaw in ("broken", "wraps"):
        x, w = as_bytes(x), as_bytes(w)
    elif flaw == "wraps all":
        x, x_zero, w, w_zero = (as_bytes(t) for t in (x, x_zero, w, w_zero))
    elif flaw == "codes alone":
        x, w = x - 128, w - 128
    elif flaw == "zeros wrap":
        x, w = x - 128, w - 128
        x_zero, w_zero = (x_zero - 128) % 256, (w_zero - 128) % 256
    elif flaw == "cut":
        x, w = x.clamp(max=127), w.clamp(max=127)
    elif flaw == "weights alone":
        x, x_zero, w = x - 128, x_zero - 128, w - 128
    sums = torch.stack([(row * w).sum(dim=1) for row in x])  # (m, n)
    of_x, of_w = x.sum(dim=1, keepdim=True), w.sum(dim=1)[None]
    zeros = k * x_zero * w_zero.T
    return {
        "once": sums - x_zero - w_zero.T,
        "broken": sums - x_zero * w_zero.T,
        "product once": sums - x_zero * w_zero.T,
        "no last term": sums - x_zero * of_w - w_zero.T * of_x,
        "last term once": sums - x_zero * of_w - w_zero.T * of_x + x_zero * w_zero.T,
        "last term in a byte": sums - x_zero * of_w - w_zero.T * of_x + as_bytes(zeros),
        "last term away": sums - x_zero * of_w - w_zero.T * of_x - zeros,
        "x alone": sums - x_zero * of_w,
        "w alone": sums - w_zero.T * of_x,
        "none": sums,
        "added": sums + x_zero * of_w + w_zero.T * of_x + zeros,
    }.get(flaw, sums - x_zero * of_w - w_zero.T * of_x + zeros)


AFFINE = {  # by flaw, what to say
    "broken": "Nothing is mended: those are the numbers of `broken`.",
    "wraps": "A code of 200 became -56: a cast to int8 wraps around. Move codes *and* their "
    "zeros down by 128 first, which changes no difference q - z.",
    "wraps all": "Codes and zeros both wrapped around in the cast to int8: 200 - 100 is 100, "
    "and -56 - 100 is not. Move them down by 128 instead, before the cast.",
    "codes alone": "The codes were moved by 128 and their zeros were not: q - z must stay "
    "what it is.",
    "zeros wrap": "A zero of 100 less 128 came out as 228: uint8 has no numbers below 0. "
    "`.int()` first.",
    "cut": "What is above 127 was cut off. int8 has as many codes as uint8, only lower ones: "
    "move all of them down.",
    "weights alone": "The zeros of the weights were not moved along with their codes.",
    "once": "A zero was subtracted once from a sum of k products. It stands in each of them: "
    "write out Σ (q - z) p.",
    "product once": "The product of the zeros alone does not correct a sum: write out "
    "Σ (q - z) (p - c). There are four terms, two of them with sums of codes.",
    "no last term": "The last of the four terms is missing: z c, for each of the k "
    "products.",
    "last term once": "The last term, z c, comes once for each of the k products: k "
    "times.",
    "last term in a byte": "The last term, k z c, was worked out in int8 and did not fit: "
    "`.int()` before the zeros are multiplied.",
    "last term away": "The sign of the last term: minus times minus.",
    "x alone": "The zeros of the inputs are taken care of; those of the weights are not.",
    "w alone": "The zeros of the weights are taken care of; those of the inputs are not.",
    "none": "No zero is taken off: the codes are not the numbers.",
    "added": "The signs: it is q - z, so the two terms in the middle are subtracted.",
}


COMBINED = list(AFFINE)[list(AFFINE).index("once") :]  # wrong however codes are moved


def _codes_case(draw, m=3, n=4, k=24):
    shapes = ((m, k), (m, 1), (n, k), (n, 1))
    x, x_zero, w, w_zero = (
        draw.integer(0, 256, *shape).to(torch.uint8) for shape in shapes
    )
    x_scale, w_scale = draw.uniform(0.004, 0.03, m, 1), draw.uniform(0.002, 0.01, n, 1)
    scales = x_scale.double() * w_scale.double().T
    sums = partial(_affine_sums, x, x_zero, w, w_zero)
    told = {(says, ""): sums(flaw) * scales for flaw, says in AFFINE.items()}
    moved = [(t.int() - 128) for t in (x, x_zero, w, w_zero)]
    for flaw in COMBINED:  # the same slips, with codes that were moved before
        told[AFFINE[flaw], "moved"] = _affine_sums(*moved, flaw) * scales
    return (x, x_scale, x_zero, w, w_scale, w_zero), sums() * scales, told


def _cancelling(draw, m=3, n=4, k=2048):
    """Codes whose products nearly cancel, around zeros that are large."""
    half = [draw.integer(-100, 101, rows, k // 2) for rows in (m, n)]
    x, w = torch.cat([half[0], -half[0]], dim=1), torch.cat([half[1]] * 2, dim=1)
    mixed = draw.uniform(0, 1, k).argsort()
    x, w = x[:, mixed], w[:, mixed]
    x[:, 0] += 1
    x_zero, w_zero = torch.full((m, 1), 151), torch.full((n, 1), 154)
    given = [t.to(torch.uint8) for t in (x + x_zero, x_zero, w + w_zero, w_zero)]
    x_scale, w_scale = draw.uniform(0.004, 0.03, m, 1), draw.uniform(0.002, 0.01, n, 1)
    want = torch.stack([(row * w).sum(dim=1) for row in x])
    return (given[0], x_scale, given[1], given[2], w_scale, given[3]), want


@exercise("14-5", title="Whole numbers with a zero", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    for _ in range(2):
        given, want, told = telling(_codes_case, draw, _same)
        got = answer.affine_product(*given)
        x, _, _, w, *_ = given
        shown = f"codes of {tuple(x.shape)} and {tuple(w.shape)}, drawn from 0 to 255"
        if isinstance(got, Tensor) and got.shape == want.shape:
            scales = given[1] * given[4].T
            says = "Those are the whole numbers: times the scales of row and column."
            differs(got, want / scales, says=says, given=shown)
        for (says, _), slip in told.items():
            differs(got, slip, says=says, given=shown)
        says = (
            "Write out Σ (q - z) (p - c): one product of codes, and three more terms."
        )
        close(got, want, says=says, given=shown)
    given, sums = _cancelling(draw)
    scales = given[1].double() * given[4].double().T
    says = (
        "The products nearly cancel here, and whole numbers give the result to the last "
        "digit. Yours went through floats too early: a float32 holds whole numbers up to "
        "2^24 only. Correct the sums while they are whole, and scale at the end."
    )
    shown = "2048 products of codes; shown is the result without its scales"
    got = answer.affine_product(*given)
    if isinstance(got, Tensor) and got.shape == scales.shape:
        got, scales = got / scales, 1
    close(got, sums * scales, says=says, given=shown, atol=0.01)
    left = answer.left("affine_product", *given)
    says = "Your function changes the codes that it is given: work on copies."
    close(left[0], given[0], says=says)
    close(left[3], given[3], says=says)
    return (
        "Exact to the last digit, with signed bytes only. Σ p of the weights can be summed "
        "once and for all, when a model is loaded; Σ q is one sum for each token."
    )


def _swept(codes, weight, scale, gram, bits, flaw=""):
    """Each code, column by column, the best of all codes: found by trying all of them."""
    highest = 2 ** (bits - 1) - 1
    low = -highest - 1 if flaw == "wide" else -highest
    codes, start = codes.clone().double(), codes.clone().double()
    weight, scale, gram = weight.double(), scale.double(), gram.double()
    if flaw == "one scale":
        scale = scale[:1].expand_as(scale)
    columns = range(weight.shape[1])
    tries = torch.arange(low, highest + 1).double()
    if flaw == "unclipped":
        tries = torch.arange(-60, 61).double()
    margin = math.inf
    for j in columns[::-1] if flaw == "backwards" else columns:
        rows = (
            (start if flaw == "at once" else codes).expand(len(tries), -1, -1).clone()
        )
        rows[:, :, j] = tries[:, None]
        error = rows * scale - weight  # (tries, n, k)
        if flaw in ("only before", "only itself"):
            error[:, :, j + 1 :] = 0
        if flaw in ("only after", "only itself"):
            error[:, :, :j] = 0
        costs = ((error @ gram) * error).sum(dim=2)
        if flaw == "worst":
            costs = -costs
        best = costs.sort(dim=0)
        margin = min(margin, (best.values[1] - best.values[0]).min().item())
        codes[:, j] = tries[best.indices[0]]
    return codes, margin


def _by_formula(codes, weight, scale, gram, bits, flaw):
    """The closed formula with a slip in it."""
    highest = 2 ** (bits - 1) - 1
    codes = codes.clone().double()
    weight, scale, gram = weight.double(), scale[:, 0].double(), gram.double()
    for j in range(weight.shape[1]):
        error = codes * scale[:, None] - weight
        push = error @ gram[:, j] - error[:, j] * gram[j, j]
        wanted = {
            "sign": weight[:, j] + push / gram[j, j],
            "own error too": weight[:, j] - error @ gram[:, j] / gram[j, j],
            "not divided": weight[:, j] - push,
        }[flaw]
        codes[:, j] = (wanted / scale).round().clamp(-highest, highest)
    return codes


SWEPT = {  # by flaw, what to say
    "at once": "All codes were chosen against those you began with. Once a code has changed, "
    "the later columns have to know: bring the error up to date after each.",
    "only before": "The errors of the columns *after* this one count, too: they have codes "
    "already, which this one can make up for.",
    "only after": "The errors of the columns *before* this one count, too: those codes have "
    "just been chosen.",
    "only itself": "Each code is the nearest to its own weight: the other columns have no "
    "say. How large is the error of the *output*?",
    "backwards": "That goes from the last column to the first.",
    "one scale": "Each row has a scale of its own; that takes the first one for all.",
    "wide": "The lowest code is -(2^(bits-1) - 1), as many below 0 as above.",
    "unclipped": "Some codes do not fit into so many bits: clip them to the range.",
    "worst": "That takes the code with the *largest* error.",
}
SLIPS = {
    "sign": "The sign: if the others push the output up, this weight has to be lower.",
    "own error too": "The column's own error was counted among those of the others: it goes "
    "away with the new code. Leave it out of what the others push.",
    "not divided": "What the others push is in units of gram: divide by gram[j, j], the size "
    "of this column's own input.",
}


def _sweep_case(draw, n=4, k=7):
    while True:
        bits = draw.choice((3, 4))
        highest = 2 ** (bits - 1) - 1
        inputs = draw.normal(40, 3) @ draw.normal(3, k) + 0.5 * draw.normal(40, k)
        gram = inputs.T @ inputs / 40
        weight = draw.normal(n, k)
        scale = weight.abs().amax(dim=1, keepdim=True) / highest
        scale = scale * draw.uniform(0.55, 0.8, n, 1)  # some weights are cut off
        codes = (weight / scale).round() + draw.integer(-1, 2, n, k)
        given = codes.clamp(-highest, highest).to(torch.int8), weight, scale, gram, bits
        want, margin = _swept(*given)
        if margin > 1e-3:
            break
    told = {says: _swept(*given, flaw)[0] for flaw, says in SWEPT.items()}
    told |= {says: _by_formula(*given, flaw) for flaw, says in SLIPS.items()}
    return given, want, told


@exercise(
    "14-6", title="A second look at each code", minutes=30, difficulty=5, points=6
)
def _(answer, draw):
    says = (
        "For each column in turn: of all codes that it may have, the one for which "
        "e gram eᵀ is least, the other codes of the row being what they are by now."
    )
    for _ in range(2):
        given, want, told = telling(_sweep_case, draw, _same)
        codes, weight, scale, gram, bits = given
        shown = {"codes": codes, "weight": weight, "scale": scale, "bits": bits}
        got = answer.sweep(*given)
        if isinstance(got, Tensor) and got.shape == want.shape:
            hint = "Those are weights: return the codes, without the scale."
            differs(got, want * scale, says=hint, given=shown)
            hint = "Nothing has changed: are the codes that you return those you began with?"
            differs(got, codes, says=hint, given=shown)
        close(got, want, mistakes=told, says=says, given=shown)
    says = (
        "Your function changes the codes that it is given: begin with `codes.clone()`."
    )
    left = answer.left("sweep", *given)
    close(left[0], codes, says=says)
    says = "Your function changes the weights that it is given."
    close(left[1], weight, says=says)
    costs = [
        ((e @ gram.double()) * e).sum().item()
        for e in (c * scale.double() - weight.double() for c in (codes, want))
    ]
    return (
        "The same as trying every code at every place. In one of the examples the error of "
        f"the output fell from {costs[0]:.2f} to {costs[1]:.2f}; it can never rise, since "
        "the old code is one of those that are tried."
    )
