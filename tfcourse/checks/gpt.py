"""What the answers of chapter 11's exercises must do."""

import math
from functools import cache

import torch
from torch import Tensor, nn

from tfcourse.checks import Finding, Mistake, close, describe, differs, exercise
from tfcourse.checks.compare import alike, measured
from tfcourse.training import Recipe, make_optimizer, precision


def _bytes_per_weight() -> float:
    """What a trained layer holds for each of its weights, after a step in bfloat16."""
    layer, recipe = nn.Linear(64, 64, bias=False), Recipe(steps=1, batch=1, lr=0.1)
    optimizer = make_optimizer(layer, recipe)
    with precision(torch.device("cpu"), bfloat16=True):
        out = layer(torch.ones(1, 64))
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    optimizer.step()
    held = [layer.weight, layer.weight.grad, *optimizer.state[layer.weight].values()]
    return sum(t.nbytes for t in held if t.ndim) / layer.weight.numel()


@exercise(
    "11-1",
    title="Who needs how much memory",
    kind="prediction",
    minutes=6,
    difficulty=1,
    points=2,
    choices=("16 and 2", "12 and 1.5", "8 and 1", "4 and 0.5", "2 and 2"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    assert _bytes_per_weight() == 16
    replies = {
        "12 and 1.5": "The weights and their gradients stay in float32: autocast makes "
        "a bfloat16 copy of a weight for the product, and drops it again.",
        "8 and 1": "Four numbers for each weight, yes. But how many bytes has each? "
        "Which of them does autocast turn into bfloat16 for good?",
        "4 and 0.5": "That is the weights alone. What does AdamW read, and what does it "
        "remember, to change a weight?",
        "2 and 2": "Whole copies divide the *batch* among the cards, and nothing else: "
        "each card holds every weight, gradient and average.",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    return (
        "Weight, gradient and two averages, four bytes each: a small layer that takes a "
        f"step in bfloat16 holds {_bytes_per_weight():.0f} bytes for each weight. What "
        "bfloat16 saves are activations, which are not counted here, and time."
    )


def _shares(steps, warm_up, decay, floor, rise=0, late=0, fall=None, hold=True):
    """The schedule by its three parts; rise, late, fall and hold are known mistakes."""
    if not hold:
        decay = steps - warm_up
    line = fall or (lambda done: 1 - (1 - floor) * done)
    up = [(step + 1 - rise) / warm_up for step in range(warm_up)]
    down = [line((step + 1 - late) / decay) for step in range(decay)]
    return up + [1.0] * (steps - warm_up - decay) + down


def _schedule_mistakes(steps, warm_up, decay, floor):
    """Known mistakes by what to say of them, and what each gives."""
    given = steps, warm_up, decay, floor
    cosine = lambda done: floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
    return {
        "The first step has a rate of 0, and is lost: step 0 has 1/warm_up, and the last "
        "step of the warm-up has 1.": _shares(*given, rise=1),
        "The floor is reached one step too late: `steps` is no step any more, the last "
        "one is `steps - 1`.": _shares(*given, late=1),
        "That falls to 0: the last step has `floor`.": _shares(
            *given, fall=lambda done: 1 - done
        ),
        "That is a line to 0 which is cut off at the floor: the line itself ends there.": (
            _shares(*given, fall=lambda done: max(floor, 1 - done))
        ),
        "That falls along a cosine: here it is a straight line.": _shares(
            *given, fall=cosine
        ),
        "It begins to fall right after the warm-up: only the last `decay` steps "
        "fall.": _shares(*given, hold=False),
        "There is no fall: the last `decay` steps go down to the floor.": _shares(
            *given, fall=lambda done: 1.0
        ),
    }


@exercise("11-2", title="Up, along, down", minutes=12, difficulty=2, points=3)
def _(answer, draw):
    warm_up, decay, hold = (draw.integer(4, 9) for _ in range(3))
    floor = round(draw.uniform(0.1, 0.4), 2)
    cases = [(warm_up + hold + decay, warm_up, decay, floor)]
    cases += [(warm_up + decay, warm_up, decay, 0.0), (hold, 0, 1, floor)]
    cases += [(hold + decay, 0, decay, floor), (warm_up + hold, warm_up, 0, floor)]
    for number, case in enumerate(cases):
        names = dict(zip(("steps", "warm_up", "decay", "floor"), case, strict=True))
        try:
            got = [answer.plateau(step, *case) for step in range(case[0])]
        except Finding as found:
            if found.status != "error" or "ZeroDivision" not in found.says:
                raise
            says = "`warm_up` and `decay` may be 0: then nothing rises, or falls."
            raise Mistake(says, seen=f"{found.seen} {found.says}.") from None
        told = _schedule_mistakes(*case) if number == 0 else {}
        says = (
            "Three parts: rising to 1, then 1, and the last `decay` steps to the floor."
        )
        close(got, _shares(*case), mistakes=told, says=says, given=names)
    return (
        "At every step, and also without warm-up, without decay, and with nothing "
        "between them. A run with this schedule need not know at its start when it ends."
    )


def _token_gradient(weight: Tensor, x: Tensor, wanted: int) -> Tensor:
    """The gradient of one token's surprise: (probabilities - one-hot) times x."""
    p = (weight @ x).softmax(dim=0)
    p[wanted] -= 1
    return p[:, None] * x


def _part_gradient(weight, x, wanted) -> Tensor:
    """The sum over the tokens of a part that count, one by one."""
    rows = zip(x, wanted.tolist(), strict=True)
    return sum(
        (_token_gradient(weight, row, i) for row, i in rows if i >= 0),
        torch.zeros_like(weight),
    )


def _accumulated(weight, parts, lr):
    """The right step; and by what to say of it, the step of each known mistake."""
    sums = [_part_gradient(weight, *part) for part in parts]
    counts = [int((wanted >= 0).sum()) for _, wanted in parts]
    sizes = [len(wanted) for _, wanted in parts]
    means = [s / max(1, n) for s, n in zip(sums, counts, strict=True)]
    weighed = [m * n for m, n in zip(means, sizes, strict=True)]
    by_part, by_sum = weight.clone(), weight.clone()
    for part, n in zip(parts, counts, strict=True):
        by_part = by_part - lr * _part_gradient(by_part, *part) / max(1, n)
        by_sum = by_sum - lr * _part_gradient(by_sum, *part) / sum(counts)
    told = {
        "It takes a step after each part: the later parts see other weights. Add the "
        "gradients up, then take one step.": by_part,
        "Each part counts by its share, but it takes a step after each of them: add the "
        "gradients up, then take one step.": by_sum,
        "Only the last part counts: the gradients of the others are forgotten before "
        "the step.": weight - lr * means[-1],
        "Only the last part's share counts: the gradients of the others are forgotten "
        "before the step.": weight - lr * sums[-1] / sum(counts),
        "The means of the parts are added up: with more parts the step would be longer.": (
            weight - lr * sum(means)
        ),
        "That is the mean of the parts' means: tokens of a short part count more than "
        "those of a long one.": weight - lr * sum(means) / len(means),
        "Each part counts by its number of rows, but rows with a target of -1 are no "
        "tokens that count.": weight - lr * sum(weighed) / sum(sizes),
        "The sum is divided by all rows, those with a target of -1 too.": (
            weight - lr * sum(sums) / sum(sizes)
        ),
        "That is the gradient of the sum: divide by the number of tokens.": (
            weight - lr * sum(sums)
        ),
    }
    return weight - lr * sum(sums) / sum(counts), told


def _parts(draw, sizes, ignored, n=5, d=3):
    """Parts of so many rows, of which so many have the target -1."""
    parts = []
    for size, without in zip(sizes, ignored, strict=True):
        wanted = draw.integer(0, n, size)
        wanted[draw.uniform(0, 1, size).argsort()[:without]] = -1
        parts.append((draw.normal(size, d, dtype=torch.float64), wanted))
    return parts


@exercise("11-3", title="Mend the sum of parts", minutes=15, difficulty=3, points=4)
def _(answer, draw):
    weight = draw.normal(5, 3, dtype=torch.float64)
    lr = round(draw.uniform(0.5, 0.9), 2)
    says = "One step, by the gradient of the mean over all tokens that count."
    for sizes, ignored in (((6, 2, 9), (1, 0, 6)), ((7,), (3,))):
        parts = _parts(draw, sizes, ignored)
        want, told = _accumulated(weight, parts, lr)
        told = told if len(sizes) > 1 else {}
        close(answer.one_step(weight, parts, lr), want, mistakes=told, says=says)
    parts = _parts(draw, (4, 3, 5), (1, 3, 0))
    got = answer.one_step(weight, parts, lr)
    if isinstance(got, Tensor) and got.isnan().any():
        raise Mistake(
            "A part in which no token counts makes the step NaN: the mean of nothing is "
            "0/0, and 0 times NaN is NaN. Sums have no such trouble.",
        )
    close(got, _accumulated(weight, parts, lr)[0], says=says)
    if not torch.equal(answer.left("one_step", weight, parts, lr)[0], weight):
        says = "The given weights have changed: work on a copy, `weight.clone()`."
        raise Mistake(says)
    return (
        "As the sum over all tokens, one by one, gives it; a part without any token "
        "counts nothing. So the gradient does not depend on how a batch is cut."
    )


def _followers(ids, i, off=0):
    """The keys off places after the followers of earlier occurrences of token i."""
    return [j + 1 + off for j in range(i) if ids[j] == ids[i] and j + 1 + off >= 0]


def _looks(weights, ids, keys_of=_followers, over=None) -> Tensor:
    """For each head the mean, over positions that have such keys, of what they get."""
    total, count = torch.zeros(len(weights), dtype=weights.dtype), 0
    for i in range(len(ids)):
        if any(ids[j] == ids[i] for j in range(i)):
            for key in set(keys_of(ids, i)):
                total += weights[:, i, key]
            count += 1
    return total / (over or count)


def _looking_case(draw, h=3, t=14):
    """Causal weights of h heads and ids with repetitions; what it gives, by mistake."""
    pairs = t
    while pairs == t:  # else two mistakes would divide by the same number
        ids = draw.integer(0, 5, t)
        ids[3], ids[4], ids[-1] = ids[2], ids[0], ids[1]  # twice in a row; at the end
        pairs = sum(len(_followers(ids.tolist(), i)) for i in range(t))
    scores = draw.normal(h, t, t, dtype=torch.float64) * 1.5
    causal = torch.ones(t, t, dtype=torch.bool).tril()
    weights = scores.masked_fill(~causal, -math.inf).softmax(dim=-1)
    known = ids.tolist()
    again = lambda ids, i: [j for j in range(i) if ids[j] == ids[i]]
    wrapped = lambda ids, i: _followers(ids, i) + [0] * (ids[-1] == ids[i])
    told = {
        "That is the weight on the token itself, where it stood before: asked is the one "
        "*after* it.": _looks(weights, known, again),
        "That is the weight on the token *before* an earlier occurrence.": _looks(
            weights, known, lambda ids, i: _followers(ids, i, off=-2)
        ),
        "That is two places after an earlier occurrence: one is asked.": _looks(
            weights,
            known,
            lambda ids, i: [key for key in _followers(ids, i, off=1) if key < len(ids)],
        ),
        "Positions whose token is new are counted too: the mean is over those that have "
        "an earlier occurrence.": _looks(weights, known, over=t),
        "Divided by the number of earlier occurrences, not by the number of positions "
        "that have some.": _looks(weights, known, over=pairs),
        "Only the latest occurrence counts there: all earlier ones are asked.": _looks(
            weights, known, lambda ids, i: _followers(ids, i)[-1:]
        ),
        "Only the first occurrence counts there: all earlier ones are asked.": _looks(
            weights, known, lambda ids, i: _followers(ids, i)[:1]
        ),
        "Queries and keys are exchanged: `weights[h, i, k]` is what position i takes from "
        "position k.": _looks(weights.transpose(1, 2), known),
        "The first token has none before it: rolled round, the last one comes to stand "
        "there.": _looks(weights, known, wrapped),
    }
    return weights, ids, _looks(weights, known), told


@exercise(
    "11-4", title="What came after it last time", minutes=20, difficulty=3, points=4
)
def _(answer, draw):
    for _ in range(4):
        weights, ids, want, told = _looking_case(draw)
        got = answer.looks_after(weights, ids)
        if isinstance(got, list | tuple):
            got = torch.tensor(got, dtype=torch.float64)
        if isinstance(got, Tensor) and got.shape != want.shape:
            seen = f"Got shape {tuple(got.shape)}."
            raise Mistake("One number for each head: a tensor (h,).", seen=seen)
        close(got, want, mistakes=told, says="Compare with a loop over all positions.")
    return (
        "The same as a loop over all pairs of positions. A head with a large number here "
        "reads what followed the last time, and so can copy it: an induction head."
    )


COMPUTE = 5.76e23  # operations
PUBLISHED = 406.4, 410.7, 0.3392, 0.2849  # A and B, and their exponents
REFITTED = 482.01, 2085.43, 0.3478, 0.3658


@cache
def _best_ratio(fit: tuple, flops: int = 6) -> float:
    """Tokens for each parameter at the smallest loss, by trying many sizes."""
    a, b, alpha, beta = fit
    sizes = torch.logspace(7, 14, 140_001, dtype=torch.float64)
    tokens = COMPUTE / flops / sizes
    best = (a / sizes**alpha + b / tokens**beta).argmin()
    return (tokens[best] / sizes[best]).item()


def _ratio_mistakes(fit, other):
    """Known mistakes by what to say of them, and what each gives."""
    a, b, alpha, beta = fit
    ratio = _best_ratio(fit)
    return {
        "That is parameters for each token: turn it round.": 1 / ratio,
        "Each token costs 6 operations for each weight: C = 6 N D, not N D.": _best_ratio(
            fit, flops=1
        ),
        "That would be for 2 N D operations, forward only: backward costs twice as much "
        "again.": _best_ratio(fit, flops=2),
        "The exponents are exchanged: α belongs to the parameters N, β to the tokens "
        "D.": _best_ratio((a, b, beta, alpha)),
        "That is how many tokens: divide by the number of parameters.": math.sqrt(
            COMPUTE / 6 * ratio
        ),
        "That is the number of parameters: how many tokens are there for each?": (
            math.sqrt(COMPUTE / 6 / ratio)
        ),
        "That belongs to the other fit: take its own A, B, α and β.": _best_ratio(
            other
        ),
    }


@exercise(
    "11-5",
    title="How many tokens for each parameter?",
    kind="measurement",
    minutes=15,
    difficulty=3,
    points=4,
)
def _(answer, draw):
    for name, fit, other in (
        ("published", PUBLISHED, REFITTED),
        ("refitted", REFITTED, PUBLISHED),
    ):
        says = (
            f"With the numbers of `{name.upper()}`: for each N what the budget leaves is "
            "D = C / (6 N). Try sizes that are close together, and take the D / N of the "
            "smallest loss."
        )
        told = _ratio_mistakes(fit, other)
        measured(answer.number(name), _best_ratio(fit), told, says=says, rtol=0.01)
    ratios = [_best_ratio(fit) for fit in (PUBLISHED, REFITTED)]
    return (
        f"{ratios[0]:.0f} and {ratios[1]:.0f}, from the same runs. The model that its "
        "authors trained had 20: their other two methods had said so. A rule of thumb is "
        "worth what its fit is worth."
    )


BETAS, EPS = (0.9, 0.95), 1e-8


def _cut(vector: Tensor, sizes) -> list[Tensor]:
    return list(vector.split(sizes))


def _by_torch(weights, gradients, sizes, lr, decay, max_norm):
    """The weights and averages after each step of torch.optim.AdamW on the whole."""
    whole = nn.Parameter(torch.cat(weights))
    adam = torch.optim.AdamW([whole], lr, BETAS, EPS, weight_decay=decay)
    for rows in gradients:
        whole.grad = torch.stack(rows).mean(dim=0)
        nn.utils.clip_grad_norm_([whole], max_norm)
        adam.step()
        state = adam.state[whole]
        moments = [state[name].clone() for name in ("exp_avg", "exp_avg_sq")]
        yield tuple(_cut(each, sizes) for each in (whole.detach().clone(), *moments))


def _sharded(weights, gradients, moments, step, lr, decay, max_norm, wrong=""):
    """One step by hand, with one known mistake or none: new weights and moments."""
    p, sizes = len(weights), [len(w) for w in weights]
    clip = lambda g: g * min(1.0, max_norm / g.norm().item())
    rows = list(map(clip, gradients)) if wrong == "clip each" else gradients
    whole = sum(rows) / (1 if wrong == "sum" else p)
    if wrong == "always":
        whole = whole * max_norm / whole.norm()
    elif wrong not in ("no clip", "clip each", "clip shard"):
        whole = clip(whole)
    shards = _cut(whole, sizes)
    if wrong == "own":
        shards = [_cut(clip(g), sizes)[r] for r, g in enumerate(gradients)]
    if wrong == "clip shard":
        shards = list(map(clip, shards))
    done = []
    for w, g, (m, v) in zip(weights, shards, moments, strict=True):
        if wrong == "L2":
            g = g + decay * w
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g * g
        count = step - 1 if wrong == "late" else step
        rest = [1 - beta**count for beta in BETAS]
        if wrong == "bias":
            rest = [1, 1]
        mean, square = m / rest[0], v / rest[1]
        if wrong == "kept":
            m, v = mean, square
        size = (square + EPS).sqrt() if wrong == "eps" else square.sqrt() + EPS
        shrink = decay if wrong == "decay" else lr * decay
        kept = w if wrong == "L2" else (1 - shrink) * w
        done.append((kept - lr * mean / size, (m, v)))
    return [w for w, _ in done], [moments for _, moments in done]


SHARDED = {
    "sum": "The gradients were added up: the processes' *mean* is the gradient of the "
    "batch.",
    "own": "Each process used its own gradient for its piece: first average over all of "
    "them.",
    "no clip": "The gradient was not clipped: its norm was larger than max_norm.",
    "clip shard": "Each piece was clipped by its own norm: one norm belongs to the whole "
    "gradient, from the squares of all pieces.",
    "clip each": "Each process's gradient was clipped before the mean: clip the mean.",
    "always": "A gradient that is shorter than max_norm stays as it is.",
    "L2": "The decay went into the gradient: in AdamW it shrinks the weights beside it.",
    "decay": "The weights shrink by lr * decay a step, not by decay.",
    "bias": "The averages are divided by 1 - beta**step: they begin at 0.",
    "late": "Steps are counted from 1 here: 1 - beta**step.",
    "eps": "eps stands outside the root: sqrt(v) + eps.",
    "kept": "The averages were returned as they are divided: return them as they are.",
}


def _sharding_case(draw, sizes, steps):
    """Weights in pieces, and for each step the gradients of the processes.

    Entries of very different size, so that eps shows; of the steps the first gradient is
    short and the others are long, so that clipping shows.
    """
    n, p = sum(sizes), len(sizes)
    scale = 10 ** draw.uniform(-7, 0, n, dtype=torch.float64)
    gradients = []
    for step in range(steps):
        rows = [draw.normal(n, dtype=torch.float64) * scale for _ in range(p)]
        length = sum(rows).norm() / p / (0.2 if step == 0 else 3 + step)
        gradients.append([row / length for row in rows])
    return _cut(draw.normal(n, dtype=torch.float64), sizes), gradients


def _state_of(got, sizes):
    """The answer as (weights, m, v), lists of pieces; a Mistake for another form."""
    says = "Return two lists: the pieces of the weights, and the pairs (m, v)."
    try:
        weights, moments = got
        m, v = zip(*moments, strict=True)
        found = tuple(list(each) for each in (weights, m, v))
        lengths = [[len(piece) for piece in each] for each in found]
    except (TypeError, ValueError):
        raise Mistake(says, seen=f"Got {describe(got)}.") from None
    if any(each != list(sizes) for each in lengths):
        seen = f"The pieces of your weights have {lengths[0]} numbers."
        raise Mistake(f"Each process keeps its own piece: {list(sizes)}.", seen=seen)
    return found


@exercise("11-6", title="A step in pieces", minutes=30, difficulty=4, points=5)
def _(answer, draw):
    for sizes in ((5, 3, 4), (6,)):
        weights, gradients = _sharding_case(draw, sizes, 4)
        lr, decay, max_norm = 0.05, round(draw.uniform(0.2, 0.5), 2), 1.0
        moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in weights]
        wanted = _by_torch(weights, gradients, sizes, lr, decay, max_norm)
        for step, (rows, want) in enumerate(zip(gradients, wanted, strict=True), 1):
            given = weights, rows, moments, step, lr, decay, max_norm
            got = _state_of(answer.sharded_step(*given), sizes)
            for wrong, says in SHARDED.items() if len(sizes) > 1 else ():
                w, pairs = _sharded(*given, wrong=wrong)
                known = tuple(map(list, (w, *zip(*pairs, strict=True))))
                if _apart(want, known):
                    differs(got, known, says=says, rtol=1e-5, atol=1e-12)
            says = "The mean gradient, clipped as a whole, then AdamW on each piece."
            # PyTorch divides by norm + 1e-6, where the formula has the norm itself
            w, pairs = _sharded(*given)
            exact = tuple(map(list, (w, *zip(*pairs, strict=True))))
            if not alike(got, exact, rtol=1e-5, atol=1e-12):
                close(got, want, says=says, rtol=1e-5, atol=1e-12)
            weights, moments = want[0], list(zip(*want[1:], strict=True))
    return (
        "As `torch.optim.AdamW` on the whole vector, for four steps and three processes, "
        "each with a third of the averages."
    )


def _apart(a, b) -> bool:
    """Whether two states differ by more than the check lets pass."""
    pairs = zip(a, b, strict=True)
    return any(
        not torch.allclose(
            torch.cat(list(x)), torch.cat(list(y)), rtol=1e-4, atol=1e-11
        )
        for x, y in pairs
    )
