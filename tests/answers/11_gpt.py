"""Right and wrong answers to chapter 11's exercises, and what each must be told."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from tfcourse.checks.proofs import right, wrong

# 11-1


@wrong("11-1", says="The weights and their gradients stay in float32")
def all_but_the_averages():
    """Holds weights and gradients for bfloat16."""
    return {"prediction": "12 and 1.5"}


@wrong("11-1", says="Four numbers for each weight, yes")
def all_of_it_in_half():
    """Holds everything for bfloat16."""
    return {"prediction": "8 and 1"}


@wrong("11-1", says="That is the weights alone")
def only_weights():
    """Forgets the gradients and the averages."""
    return {"prediction": "4 and 0.5"}


@wrong("11-1", says="Whole copies divide the *batch*")
def copies_divide():
    """Thinks that whole copies are divided as well."""
    return {"prediction": "2 and 2"}


# 11-2


@right("11-2")
def the_smallest_of_three_lines():
    """Takes the smallest of the line up, the line down, and 1."""

    def plateau(step, steps, warm_up, decay, floor):
        left = steps - 1 - step
        up = (step + 1) / warm_up if warm_up else 1
        down = floor + (1 - floor) * left / decay if decay else 1
        return min(1, up, down)

    return plateau


@right("11-2")
def from_a_list():
    """Writes down all shares and takes one of them."""

    def plateau(step, steps, warm_up, decay, floor):
        up = [(i + 1) / warm_up for i in range(warm_up)]
        down = torch.linspace(1, floor, decay + 1, dtype=torch.float64)[1:].tolist()
        return (up + [1.0] * (steps - warm_up - decay) + down)[step]

    return plateau


def scheduled(rise=1, late=0, end=None, begin=None, line=None):
    """A plateau with one thing changed."""

    def plateau(step, steps, warm_up, decay, floor):
        if step < warm_up:
            return (step + rise) / warm_up
        start = steps - decay if begin is None else begin(warm_up)
        low = floor if end is None else end
        done = (step - start + 1 - late) / max(1, steps - start)
        if done <= 0:
            return 1.0
        return 1 - (1 - low) * done if line is None else line(done, low)

    return {"plateau": plateau}


@wrong("11-2", says="The first step has a rate of 0")
def begins_at_zero():
    """Begins at a rate of 0."""
    return scheduled(rise=0)


@wrong("11-2", says="one step too late")
def a_step_late():
    """Would reach the floor at a step that is none."""
    return scheduled(late=1)


@wrong("11-2", says="That falls to 0")
def to_zero():
    """Forgets the floor."""
    return scheduled(end=0)


@wrong("11-2", says="cut off at the floor")
def cut_off():
    """Goes to 0, and stops at the floor."""
    return scheduled(line=lambda done, low: max(low, 1 - done))


@wrong("11-2", says="along a cosine")
def half_a_cosine():
    """Falls as the chapter's schedule does."""
    return scheduled(
        line=lambda done, low: low + (1 - low) * (1 + math.cos(math.pi * done)) / 2
    )


@wrong("11-2", says="right after the warm-up")
def no_plateau():
    """Falls from the warm-up on."""
    return scheduled(begin=lambda warm_up: warm_up)


@wrong("11-2", says="There is no fall")
def never_falls():
    """Stays at the top."""
    return scheduled(line=lambda done, low: 1.0)


@wrong("11-2", says="may be 0: then nothing rises")
def divides_by_nothing():
    """Divides by a warm-up of 0."""

    def plateau(step, steps, warm_up, decay, floor):
        down = 1 - (1 - floor) * max(0, step - steps + decay + 1) / max(1, decay)
        return min(1, (step + 1) / warm_up, down)

    return plateau


@wrong("11-2", says="Three parts: rising to 1")
def one_step_of_decay_too_many():
    """Begins to fall one step early."""

    def plateau(step, steps, warm_up, decay, floor):
        good = the_smallest_of_three_lines()
        return good(step, steps, warm_up, min(decay + 1, steps - warm_up), floor)

    return plateau


# 11-3


@right("11-3")
def without_autograd():
    """Writes the gradient down: probabilities less one-hot rows, times the vectors."""

    def one_step(weight, parts, lr):
        gradient, count = torch.zeros_like(weight), 0
        for x, wanted in parts:
            x, wanted = x[wanted >= 0], wanted[wanted >= 0]
            p = (x @ weight.T).softmax(dim=1) - F.one_hot(wanted, len(weight))
            gradient += p.T @ x
            count += len(wanted)
        return weight - lr * gradient / count

    return one_step


@right("11-3")
def with_an_optimizer():
    """Keeps the optimizer, and weighs each part's mean by its tokens."""

    def one_step(weight, parts, lr):
        weight = nn.Parameter(weight.clone())
        optimizer = torch.optim.SGD([weight], lr)
        total = sum((wanted >= 0).sum().item() for _, wanted in parts)
        for x, wanted in parts:
            n = (wanted >= 0).sum().item()
            if n:
                loss = F.cross_entropy(x @ weight.T, wanted, ignore_index=-1)
                (loss * n / total).backward()
        optimizer.step()
        return weight.detach()

    return one_step


def stepping(share, reduction="mean", each=False, forget=False):
    """A one_step in which share(wanted, parts) multiplies the loss of a part."""

    def one_step(weight, parts, lr):
        weight = nn.Parameter(weight.clone())
        optimizer = torch.optim.SGD([weight], lr)
        for x, wanted in parts:
            if each or forget:
                optimizer.zero_grad()
            loss = F.cross_entropy(
                x @ weight.T, wanted, ignore_index=-1, reduction=reduction
            )
            (loss * share(wanted, parts)).backward()
            if each:
                optimizer.step()
        if not each:
            optimizer.step()
        return weight.detach()

    return {"one_step": one_step}


def count(parts, of=lambda wanted: (wanted >= 0).sum().item()):
    return sum(of(wanted) for _, wanted in parts)


@wrong("11-3", says="the later parts see other weights. Add")
def as_it_was():
    """Leaves it as it is."""
    return stepping(lambda wanted, parts: 1, each=True)


@wrong("11-3", says="by its share, but it takes a step after each")
def weighed_steps():
    """Weighs the parts, and still steps after each."""
    share = lambda wanted, parts: 1 / count(parts)
    return stepping(share, reduction="sum", each=True)


@wrong("11-3", says="Only the last part counts")
def forgets_the_others():
    """Steps once, but forgets the gradients before each part."""
    return stepping(lambda wanted, parts: 1, forget=True)


@wrong("11-3", says="Only the last part's share counts")
def forgets_and_weighs():
    """Weighs each part well, and forgets all but the last."""
    share = lambda wanted, parts: 1 / count(parts)
    return stepping(share, reduction="sum", forget=True)


@wrong("11-3", says="The means of the parts are added up")
def adds_means():
    """Adds the means up."""
    return stepping(lambda wanted, parts: 1)


@wrong("11-3", says="the mean of the parts' means")
def mean_of_means():
    """Divides by the number of parts, as for parts of equal size."""
    return stepping(lambda wanted, parts: 1 / len(parts))


@wrong("11-3", says="by its number of rows, but rows")
def weighs_by_rows():
    """Weighs by rows, those without a target too."""
    return stepping(lambda wanted, parts: len(wanted) / count(parts, len))


@wrong("11-3", says="The sum is divided by all rows")
def divides_by_rows():
    """Divides the sum by all rows."""
    return stepping(lambda wanted, parts: 1 / count(parts, len), reduction="sum")


@wrong("11-3", says="That is the gradient of the sum")
def no_division():
    """Forgets to divide."""
    return stepping(lambda wanted, parts: 1, reduction="sum")


@wrong("11-3", says="the mean of nothing is")
def nothing_divided_by_nothing():
    """Weighs each part's mean by its tokens, also where there are none."""

    def one_step(weight, parts, lr):
        new = weight.clone()
        for x, wanted in parts:
            x, wanted = x[wanted >= 0], wanted[wanted >= 0]
            p = (x @ weight.T).softmax(dim=1) - F.one_hot(wanted, len(weight))
            mean = p.T @ x / torch.tensor(len(wanted))
            new -= lr * mean * len(wanted) / count(parts)
        return new

    return one_step


@wrong("11-3", says="The given weights have changed")
def in_place():
    """Works on the given weights."""

    def one_step(weight, parts, lr):
        weight -= weight - without_autograd()(weight, parts, lr)
        return weight.clone()

    return one_step


@wrong("11-3", says="One step, by the gradient of the mean")
def uphill():
    """Goes up instead of down."""

    def one_step(weight, parts, lr):
        return without_autograd()(weight, parts, -lr)

    return one_step


# 11-4


def looking(keys, over=None):
    """A looks_after that asks for keys(ids, i, earlier places)."""

    def looks_after(weights, ids):
        ids, sums = ids.tolist(), []
        for i in range(len(ids)):
            earlier = [j for j in range(i) if ids[j] == ids[i]]
            if earlier:
                sums.append(sum(weights[:, i, k] for k in keys(ids, i, earlier)))
        total = sum(sums)
        return total / (len(sums) if over is None else over(ids))

    return {"looks_after": looks_after}


@right("11-4")
def with_loops():
    """Loops over positions."""
    return looking(lambda ids, i, earlier: [j + 1 for j in earlier])


@right("11-4")
def as_a_list():
    """Compares every key's predecessor, and returns a list of numbers."""

    def looks_after(weights, ids):
        n = len(ids)
        matches = torch.zeros(n, n, dtype=torch.bool)
        matches[:, 1:] = ids[:, None] == ids[None, :-1]
        matches = matches.tril()
        again = [i for i in range(n) if ids[i] in ids[:i]]
        return [(w * matches)[again].sum(dim=1).mean().item() for w in weights]

    return looks_after


@wrong("11-4", says="the weight on the token itself")
def the_same_token():
    """Looks at the earlier occurrence itself."""
    return looking(lambda ids, i, earlier: earlier)


@wrong("11-4", says="the token *before* an earlier occurrence")
def the_one_before():
    """Looks to the wrong side."""
    return looking(lambda ids, i, earlier: [j - 1 for j in earlier if j])


@wrong("11-4", says="two places after")
def two_after():
    """Looks one place too far."""
    return looking(lambda ids, i, earlier: [j + 2 for j in earlier if j + 2 < len(ids)])


@wrong("11-4", says="Positions whose token is new are counted too")
def over_all_positions():
    """Takes the mean over all positions."""
    return looking(lambda ids, i, earlier: [j + 1 for j in earlier], over=len)


@wrong("11-4", says="Divided by the number of earlier occurrences")
def over_all_pairs():
    """Takes the mean over pairs."""
    pairs = lambda ids: sum(ids[:i].count(ids[i]) for i in range(len(ids)))
    return looking(lambda ids, i, earlier: [j + 1 for j in earlier], over=pairs)


@wrong("11-4", says="Only the latest occurrence counts")
def the_latest():
    """Takes only the last time."""
    return looking(lambda ids, i, earlier: [earlier[-1] + 1])


@wrong("11-4", says="Only the first occurrence counts")
def the_first():
    """Takes only the first time."""
    return looking(lambda ids, i, earlier: [earlier[0] + 1])


@wrong("11-4", says="Queries and keys are exchanged")
def exchanged():
    """Exchanges queries and keys."""

    def looks_after(weights, ids):
        return with_loops()["looks_after"](weights.transpose(1, 2), ids)

    return looks_after


@wrong("11-4", says="rolled round")
def rolled():
    """Rolls the table, and the last column comes first."""

    def looks_after(weights, ids):
        same = ids[:, None] == ids
        again = same.tril(-1).any(dim=1)
        after = same.roll(1, dims=1).tril()
        return (weights * after).sum(dim=2)[:, again].mean(dim=1)

    return looks_after


@wrong("11-4", says="One number for each head")
def for_each_position():
    """Returns a number for each position too."""

    def looks_after(weights, ids):
        same = (ids[:, None] == ids).tril(-1).roll(1, dims=1)
        return (weights * same).sum(dim=2)

    return looks_after


@wrong("11-4", says="Compare with a loop over all positions")
def the_largest():
    """Takes the largest of the weights instead of their sum."""

    def looks_after(weights, ids):
        earlier = (ids[:, None] == ids).tril(-1)
        after = torch.zeros_like(earlier)
        after[:, 1:] = earlier[:, :-1]
        return (weights * after).amax(dim=2)[:, earlier.any(dim=1)].mean(dim=1)

    return looks_after


# 11-5

BUDGET = 5.76e23
FITS = {
    "published": (406.4, 410.7, 0.3392, 0.2849),
    "refitted": (482.01, 2085.43, 0.3478, 0.3658),
}


def ratios(change=lambda fit: fit, flops=6, of=lambda size, tokens: tokens / size):
    """Both measurements, by the formula that the derivative gives."""
    found = {}
    for name, fit in FITS.items():
        a, b, alpha, beta = change(fit)
        work = BUDGET / flops
        size = (alpha * a / beta / b) ** (1 / (alpha + beta))
        size *= work ** (beta / (alpha + beta))
        found[name] = of(size, work / size)
    return found


@right("11-5")
def by_the_derivative():
    """Sets the derivative to zero."""
    return ratios()


@wrong("11-5", says="parameters for each token")
def turned_round():
    """Divides the wrong way."""
    return ratios(of=lambda size, tokens: size / tokens)


@wrong("11-5", says="C = 6 N D, not N D")
def one_operation():
    """Counts one operation for each weight and token."""
    return ratios(flops=1)


@wrong("11-5", says="forward only")
def only_forward():
    """Counts the way forward only."""
    return ratios(flops=2)


@wrong("11-5", says="The exponents are exchanged")
def exchanged_exponents():
    """Takes one exponent for the other."""
    return ratios(lambda fit: (fit[0], fit[1], fit[3], fit[2]))


@wrong("11-5", says="That is how many tokens")
def all_tokens():
    """Gives the number of tokens."""
    return ratios(of=lambda size, tokens: tokens)


@wrong("11-5", says="That is the number of parameters")
def all_parameters():
    """Gives the number of parameters."""
    return ratios(of=lambda size, tokens: size)


@wrong("11-5", says="belongs to the other fit")
def the_first_fit_twice():
    """Measures the first fit twice."""
    return {name: ratios()["published"] for name in FITS}


@wrong("11-5", says="With the numbers of `PUBLISHED`")
def the_rule_of_thumb():
    """Gives the rule of thumb."""
    return {"published": 20, "refitted": 20}


# 11-6

ONE, TWO, TINY = 0.9, 0.95, 1e-8


def sharding(
    gather=lambda rows: torch.stack(rows).mean(dim=0),
    clip=lambda g, limit: g * min(1.0, limit / g.norm().item()),
    cut=None,
    piecewise=lambda g, limit: g,
    into=0.0,
    shrink=lambda lr, decay: lr * decay,
    rest=lambda beta, step: 1 - beta**step,
    inside=False,
    keep=False,
):
    """A sharded_step with one thing changed."""

    def sharded_step(weights, gradients, moments, step, lr, decay, max_norm):
        sizes = [len(w) for w in weights]
        pieces = clip(gather(gradients), max_norm).split(sizes)
        if cut is not None:
            pieces = cut(gradients, sizes, max_norm)
        made = []
        for w, g, (m, v) in zip(weights, pieces, moments, strict=True):
            g = piecewise(g, max_norm) + into * decay * w
            m, v = ONE * m + (1 - ONE) * g, TWO * v + (1 - TWO) * g**2
            mean, square = m / rest(ONE, step), v / rest(TWO, step)
            size = (square + TINY).sqrt() if inside else square.sqrt() + TINY
            kept = w * (1 - (0 if into else shrink(lr, decay)))
            made.append((kept - lr * mean / size, (mean, square) if keep else (m, v)))
        return [w for w, _ in made], [pair for _, pair in made]

    return {"sharded_step": sharded_step}


@right("11-6")
def by_torchs_own():
    """Lets PyTorch's AdamW work on each piece, given its averages."""

    def sharded_step(weights, gradients, moments, step, lr, decay, max_norm):
        mean = nn.Parameter(torch.zeros(len(gradients[0]), dtype=weights[0].dtype))
        mean.grad = sum(gradients) / len(gradients)
        nn.utils.clip_grad_norm_([mean], max_norm)
        new, kept, start = [], [], 0
        for w, (m, v) in zip(weights, moments, strict=True):
            piece = nn.Parameter(w.clone())
            piece.grad = mean.grad[start : start + len(w)]
            start += len(w)
            adam = torch.optim.AdamW([piece], lr, (ONE, TWO), TINY, weight_decay=decay)
            adam.state[piece] = {
                "step": torch.tensor(float(step - 1)),
                "exp_avg": m.clone(),
                "exp_avg_sq": v.clone(),
            }
            adam.step()
            new.append(piece.detach())
            kept.append((adam.state[piece]["exp_avg"], adam.state[piece]["exp_avg_sq"]))
        return new, kept

    return sharded_step


@right("11-6")
def piece_by_piece():
    """Averages and measures in pieces: no process ever holds the whole mean."""

    def cut(gradients, sizes, limit):
        columns = zip(*(g.split(sizes) for g in gradients), strict=True)
        pieces = [sum(column) / len(gradients) for column in columns]
        norm = sum((piece**2).sum() for piece in pieces).sqrt()
        return [piece / torch.clamp(norm / limit, min=1) for piece in pieces]

    return sharding(cut=cut)


@wrong("11-6", says="The gradients were added up")
def added_up():
    """Adds the gradients up."""
    return sharding(gather=lambda rows: torch.stack(rows).sum(dim=0))


@wrong("11-6", says="Each process used its own gradient")
def its_own():
    """Never averages."""

    def cut(gradients, sizes, limit):
        clipped = [g * min(1.0, limit / g.norm().item()) for g in gradients]
        return [g.split(sizes)[r] for r, g in enumerate(clipped)]

    return sharding(cut=cut)


@wrong("11-6", says="The gradient was not clipped")
def unclipped():
    """Forgets to clip."""
    return sharding(clip=lambda g, limit: g)


@wrong("11-6", says="Each piece was clipped by its own norm")
def clipped_in_pieces():
    """Clips each piece alone."""
    return sharding(
        clip=lambda g, limit: g,
        piecewise=lambda g, limit: g * min(1.0, limit / g.norm().item()),
    )


@wrong("11-6", says="was clipped before the mean")
def clipped_first():
    """Clips before averaging."""

    def cut(gradients, sizes, limit):
        clipped = [g * min(1.0, limit / g.norm().item()) for g in gradients]
        return torch.stack(clipped).mean(dim=0).split(sizes)

    return sharding(cut=cut)


@wrong("11-6", says="shorter than max_norm stays as it is")
def always_scaled():
    """Makes short gradients longer."""
    return sharding(clip=lambda g, limit: g * limit / g.norm())


@wrong("11-6", says="The decay went into the gradient")
def as_adam_did():
    """Adds the decay to the gradient, as Adam did before AdamW."""
    return sharding(into=1.0)


@wrong("11-6", says="by lr * decay a step")
def decays_too_much():
    """Shrinks without the learning rate."""
    return sharding(shrink=lambda lr, decay: decay)


@wrong("11-6", says="they begin at 0")
def not_divided():
    """Does not divide the averages."""
    return sharding(rest=lambda beta, step: 1.0)


@wrong("11-6", says="Steps are counted from 1 here")
def counted_from_zero():
    """Counts the steps from 0."""
    return sharding(rest=lambda beta, step: 1 - beta ** (step - 1))


@wrong("11-6", says="eps stands outside the root")
def inside_the_root():
    """Puts eps into the root."""
    return sharding(inside=True)


@wrong("11-6", says="return them as they are")
def divided_for_good():
    """Returns the divided averages."""
    return sharding(keep=True)


@wrong("11-6", says="Return two lists")
def only_the_weights():
    """Returns the weights alone."""

    def sharded_step(*given):
        return sharding()["sharded_step"](*given)[0]

    return sharded_step


@wrong("11-6", says="Each process keeps its own piece")
def joined():
    """Returns everything in one piece."""

    def sharded_step(*given):
        weights, moments = sharding()["sharded_step"](*given)
        whole = [torch.cat(pieces) for pieces in zip(*moments, strict=True)]
        return [torch.cat(weights)], [tuple(whole)]

    return sharded_step


@wrong("11-6", says="The mean gradient, clipped as a whole")
def uphill_in_pieces():
    """Goes up."""
    return sharding(gather=lambda rows: -torch.stack(rows).mean(dim=0))
