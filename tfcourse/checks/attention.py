"""What the answers of chapter 5's exercises must do."""

import itertools
import math

import torch

from tfcourse.checks import Mistake, close, describe, differs, exercise


@exercise(
    "05-1",
    title="A bias for the keys",
    kind="prediction",
    minutes=5,
    difficulty=1,
    points=2,
    choices=("towards keys like c", "flatter", "sharper", "nothing changes"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    t, s, k = 3, 5, 4
    q, keys, c = draw.normal(t, k), draw.normal(s, k), 2 * draw.normal(k)

    def weights(q, keys):
        return (q @ keys.T / math.sqrt(k)).softmax(dim=-1)

    before = weights(q, keys)
    on_keys = (weights(q, keys + c) - before).abs().max()
    on_queries = (weights(q + c, keys) - before).abs().max()
    assert on_keys < 1e-5 and on_queries > 0.01
    replies = {
        "towards keys like c": "So it would be if c were added to the *queries*: the "
        "score of key j would change by c · k_j. By how much does it change here, and "
        "does that depend on j?",
        "flatter": "The keys look more alike, but a softmax hears differences only: is "
        "(k_i + c) - (k_j + c) any smaller than k_i - k_j?",
        "sharper": "Longer keys can make larger scores; but a softmax gets sharper where "
        "the scores lie further *apart*. Do they?",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    return (
        "Every score of a row moves by the same q · c. Tried with random vectors: no "
        "weight moved by more than a rounding error; with the same c added to the "
        f"queries, one moved by {on_queries:.2f}."
    )


def _attend(
    x, context, w_q, w_k, w_v, mask, *, root=None, hide="put in", axis=2, scale=None
):
    """Attention of x to context; with faults, where the last arguments ask for them."""
    q, k, v = x @ w_q, context @ w_k, context @ w_v
    scale = math.sqrt(root or q.shape[-1]) if scale is None else scale
    scores = torch.einsum("btk,bsk->bts", q, k) / scale
    if hide == "put in":
        scores = torch.where(mask, scores, torch.tensor(-torch.inf))
    elif hide == "multiplied":
        scores = scores * mask
    elif hide == "turned":
        scores = torch.where(mask, torch.tensor(-torch.inf), scores)
    exps = (scores - scores.amax(dim=axis, keepdim=True)).exp()
    weights = exps / exps.sum(dim=axis, keepdim=True)
    if hide == "afterwards":
        weights = weights * mask
    return torch.einsum("bts,bsk->btk", weights, v)


def _mask(draw, b, t, s):
    """Half of the places, at random; something and not all in each row and column."""
    while True:
        mask = draw.uniform(0, 1, b, t, s) < 0.5
        lines = [mask.any(1), mask.any(2), ~mask.all(1), ~mask.all(2)]
        if all(line.all() for line in lines):
            return mask


MENDED = {3: "All three are still in it. ", 2: "One is mended. ", 1: "Two are mended. "}


@exercise("05-2", title="Mend the attention", minutes=15, difficulty=2, points=4)
def _(answer, draw):
    b, t, s, d, k = 2, 3, 5, 7, 4
    x, context, mask = draw.normal(b, t, d), draw.normal(b, s, d), _mask(draw, b, t, s)
    w_q, w_k, w_v = (0.5 * draw.normal(d, k) for _ in range(3))
    inputs = {
        "x": x,
        "context": context,
        "w_q": w_q,
        "w_k": w_k,
        "w_v": w_v,
        "mask": mask,
    }
    planted = {"axis": 1, "hide": "multiplied", "root": d}
    hints = {
        "axis": "The weights of each *key* sum to 1, over the queries. Those of each "
        "query should, over the keys: along which axis are they?",
        "hide": "A score that is multiplied by 0 becomes 0, and exp(0) is 1: a hidden "
        "key still gets weight. Its score must become -∞.",
        "root": "The scores are divided by the root of the width of x. A dot product "
        "adds up over the width of q and k: that one counts.",
    }
    got = answer.attend(*inputs.values())
    for n, told in MENDED.items():
        for left in itertools.combinations(planted, n):
            wrong = _attend(**inputs, **{name: planted[name] for name in left})
            differs(got, wrong, says=told + hints[left[0]], given=inputs)
    new = {
        "The other way round: True means *may* attend, and yours hides those.": _attend(
            **inputs, hide="turned"
        ),
        "Now no key is hidden at all: put the mask back, before the softmax.": _attend(
            **inputs, hide="nothing"
        ),
        "Hidden after the softmax: what is left of a row no longer sums to 1.": _attend(
            **inputs, hide="afterwards"
        ),
        "The root is missing: divide by math.sqrt of the width of q and k.": _attend(
            **inputs, scale=k
        ),
        "Now nothing is divided: large widths would saturate the softmax.": _attend(
            **inputs, scale=1
        ),
    }
    if isinstance(got, torch.Tensor) and got.isnan().any():
        raise Mistake(
            "There is NaN: 0 times infinity, or a softmax over places that are all hidden.",
            given=inputs,
        )
    says = "Three lines were wrong; what else did you change?"
    close(got, _attend(**inputs), mistakes=new, given=inputs, says=says)
    _hidden_and_far_ahead(answer, inputs)
    return (
        "Equal to attention on inputs whose axes all have different sizes, and where a "
        "hidden score is far larger than the others."
    )


def _hidden_and_far_ahead(answer, inputs):
    """The same where each query's hidden key is 1000 ahead of all that it may see."""
    far = {name: x.double() for name, x in inputs.items() if name != "mask"}
    x, context, w_q, w_k, _ = far.values()
    scores = (x @ w_q) @ (context @ w_k).transpose(1, 2) / math.sqrt(w_q.shape[1])
    first, second = scores.topk(2, dim=2).values.split(1, dim=2)
    mask = scores < first  # the best key is hidden, and no other
    far |= {"x": x * 1000 / (first - second), "mask": mask}
    got = answer.attend(*far.values())
    if isinstance(got, torch.Tensor) and not got.isfinite().all():
        raise Mistake(
            "Right where scores are alike; but where a hidden score is 1000 above "
            "the others, exp leaves them a 0 to share, and 0 / 0 is NaN. Hide before the "
            "softmax.",
            given=far,
        )
    says = "Right where scores are alike, but not where a hidden score is 1000 ahead."
    close(got, _attend(**far), given=far, says=says, rtol=0.01, atol=0.01)


def _window(t, s, window, before=None, after=0, shift=None):
    """Position i may see i - before … i + after, written out."""
    before = window - 1 if before is None else before
    shift = s - t if shift is None else shift
    rows = [
        [i + shift - before <= j <= i + shift + after for j in range(s)]
        for i in range(t)
    ]
    return torch.tensor(rows)


@exercise("05-3", title="Only the last few", minutes=10, difficulty=2, points=3)
def _(answer, draw):
    t, window = 5, draw.integer(2, 4)
    for s in (t, t + draw.integer(3, 5)):
        given = {"t": t, "s": s, "window": window}
        want = _window(t, s, window)
        got = answer.window_mask(t, s, window)
        if not isinstance(got, torch.Tensor):
            tip = ": is a `return` missing?" if got is None else "."
            raise Mistake(f"A Boolean tensor is asked; got {describe(got)}{tip}")
        if got.dtype != torch.bool and got.shape == want.shape:
            raise Mistake(
                "A mask holds True and False, not numbers: compare, or call `.bool()`.",
                seen=f"Got values of {str(got.dtype).removeprefix('torch.')}.",
            )
        mistakes = {
            "True and False are the other way round: True = may attend.": ~want,
            "The future is open: each position sees itself and what comes before it.": (
                _window(t, s, window, after=s)
            ),
            "That is a window to both sides; causal means no later position.": _window(
                t, s, window, after=window - 1
            ),
            "That is the whole past: what is further back than the window is hidden.": (
                _window(t, s, window, before=s)
            ),
            "One too many: the position itself counts as one of the window.": _window(
                t, s, window, before=window
            ),
            "One too few: each sees itself and window - 1 before it.": _window(
                t, s, window, before=window - 2
            ),
            "The position itself is missing: it is the last of its own window.": _window(
                t, s, window, before=window, after=-1
            ),
            "This window looks ahead: itself and those after it.": _window(
                t, s, window, before=0, after=window - 1
            ),
        }
        if s > t:
            mistakes[
                "The queries are the *last* t of the s positions, not the first."
            ] = _window(t, s, window, shift=0)
        says = "Write the mask for t = 2, s = 4, window = 2 on paper, and compare."
        close(got, want, mistakes=mistakes, given=given, says=says)
    given = {"t": t, "s": t, "window": 1}
    says = "With a window of 1, each sees itself and nothing else."
    close(answer.window_mask(t, t, 1), _window(t, t, 1), given=given, says=says)
    given = {"t": t, "s": t, "window": 3 * t}
    says = "A window longer than the sequence hides nothing but the future."
    close(answer.window_mask(t, t, 3 * t), _window(t, t, t), given=given, says=says)
    n, many = 1000, 64
    seen = sum(min(i + 1, many) for i in range(n))
    return (
        f"With {n} positions and a window of {many}, {seen / (n * (n + 1) / 2):.0%} of "
        "the causal scores are left."
    )


@exercise(
    "05-4",
    title="How many keys does a query use?",
    kind="measurement",
    minutes=15,
    difficulty=3,
    points=3,
)
def _(answer, draw):
    used = answer.value("used")
    used = used.tolist() if isinstance(used, torch.Tensor) else used
    used = list(used) if isinstance(used, tuple) else used
    widths = [4, 16, 64, 256]
    if not isinstance(used, list) or len(used) != len(widths):
        raise Mistake(
            f"A list of four numbers is asked, one for each width; got {describe(used)}."
        )
    used = [n.item() if isinstance(n, torch.Tensor) else n for n in used]
    if not all(isinstance(n, int | float) for n in used):
        raise Mistake(f"Four numbers are asked; got {describe(used)}.")
    if any(math.isnan(n) for n in used):
        raise Mistake(
            "NaN: 0 · ln 0 should count as 0; `torch.special.entr` knows that."
        )

    def rows(width, scale=1.0, axis=1):
        seed = torch.Generator().manual_seed(0)
        q, k = torch.randn(2, 50, width, dtype=torch.float64, generator=seed)
        return (q @ k.T / scale).log_softmax(dim=axis)

    logs = [rows(width) for width in widths]
    scaled = [rows(width, math.sqrt(width)) for width in widths]
    turned = [rows(width, axis=0) for width in widths]

    def entropies(log):
        return -(log.exp() * log).sum(dim=-1)

    def measured(number, logs=logs):
        return [number(log).item() for log in logs]

    def count(log):
        return entropies(log).exp().mean()

    want = measured(count)
    mistakes = {
        "That is with the scale: divide by nothing this time.": measured(count, scaled),
        "Those are entropies, in nats; take exp of each for a number of keys.": measured(
            lambda log: entropies(log).mean()
        ),
        "Those are entropies, in bits; a number of keys is 2 to that power.": measured(
            lambda log: entropies(log).mean() / math.log(2)
        ),
        "Mixed units: exp undoes nats; entropy in bits is undone by 2 ** entropy.": (
            measured(lambda log: (entropies(log) / math.log(2)).exp().mean())
        ),
        "The other mix: 2 ** undoes bits, and this entropy is in nats.": measured(
            lambda log: (entropies(log) * math.log(2)).exp().mean()
        ),
        "The mean was taken too soon: first exp of each query's entropy, then the mean.": (
            measured(lambda log: entropies(log).mean().exp())
        ),
        "That is 1 / Σ w², another way to count keys; the one asked is exp(entropy).": (
            measured(lambda log: (1 / log.exp().square().sum(dim=-1)).mean())
        ),
        "Those are the largest weights, not numbers of keys.": measured(
            lambda log: log.exp().amax(dim=-1).mean()
        ),
        "The softmax ran over the queries: the weights of a query must sum to 1.": (
            measured(count, turned)
        ),
        "The right numbers from wide to narrow: begin with width 4.": want[::-1],
    }
    near = {"rtol": 0.005, "atol": 0.051}  # one decimal, copied by hand, will do
    for told, wrong in mistakes.items():
        differs(used, wrong, says=told, **near)
    for width, got, right in zip(widths, used, want, strict=True):
        if abs(got - right) > near["atol"] + near["rtol"] * right:
            side = "fewer" if got > right else "more"
            raise Mistake(f"At width {width} it is {side} keys than your {got:.4g}.")
    with_scale = measured(count, scaled)
    return (
        f"From {want[0]:.1f} of 50 keys at width 4 to {want[-1]:.1f} at width 256; with "
        f"the scale it is between {min(with_scale):.1f} and {max(with_scale):.1f}."
    )


@exercise("05-5", title="The way back", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    b, t, s, k = 2, 3, 5, 4
    scores = draw.normal(b, t, s).requires_grad_()
    v = draw.normal(b, s, k).requires_grad_()
    slope = draw.normal(b, t, k)
    w = scores.softmax(dim=-1)
    want = torch.autograd.grad((w @ v * slope).sum(), (scores, v))
    w, v = w.detach(), v.detach()
    d_w = slope @ v.transpose(1, 2)
    d_v = want[1]
    mistakes = {
        "The first is the slope at the *weights*; go on through the softmax.": d_w,
        "A softmax is not its diagonal: w(1 - w) is how a weight answers its own score, "
        "but it answers the scores of all others too.": w * (1 - w) * d_w,
        "The mean is missing: a weight can only grow where others shrink.": w * d_w,
        "You take away the plain mean over the keys; the mean is weighted by w.": w
        * (d_w - d_w.mean(dim=-1, keepdim=True)),
        "The mean runs over the queries; each query has a softmax of its own.": w
        * (d_w - (w * d_w).sum(dim=1, keepdim=True)),
        "The factor w in front is missing.": d_w - (w * d_w).sum(dim=-1, keepdim=True),
        "The sign is turned.": -want[0],
    }
    got = answer.backward(w, v, slope)
    given = {"weights": w, "v": v, "slope": slope}
    if not isinstance(got, list | tuple) or len(got) != 2:
        raise Mistake("Two tensors are asked: the slopes at the scores, and at v.")
    at_scores, at_v = got
    swapped = "The two are in the other order: first the slopes at the scores."
    differs(at_scores, d_v, says=swapped, given=given)
    says = (
        "The slope at the scores: how does L change with one score, all others fixed?"
    )
    close(at_scores, want[0], mistakes=mistakes, given=given, says=says)
    mistakes = {
        "The slopes at v count one query only; v_j goes to every query.": w.transpose(
            1, 2
        )[..., -1:]
        @ slope[:, -1:],
        "At v each query counts alike; it counts by the weight that it gave.": slope.sum(
            dim=1, keepdim=True
        ).expand(b, s, k),
    }
    says = "The slope at v: v_j is in out_i with the factor w_ij, for every i."
    close(at_v, d_v, mistakes=mistakes, given=given, says=says)
    return "The same as autograd's; the slopes of each row of scores sum to 0."


def _rows(q, k, v, mask):
    """Attention, query by query, in float64; zeros where there is no key."""
    out = torch.zeros(*q.shape[:2], v.shape[2], dtype=torch.float64)
    for i, j in itertools.product(range(len(q)), range(q.shape[1])):
        keys, values = k[i, mask[i, j]].double(), v[i, mask[i, j]].double()
        if len(keys):
            scores = keys @ q[i, j].double() / math.sqrt(q.shape[2])
            out[i, j] = scores.softmax(dim=0) @ values
    return out


def _numbers(state):
    """How many numbers a state holds; strings are counted too."""
    if isinstance(state, torch.Tensor):
        return state.numel()
    if isinstance(state, dict):
        return _numbers([*state, *state.values()])
    if isinstance(state, list | tuple):
        return sum(map(_numbers, state))
    return len(state) if isinstance(state, str) else 1


def _stream(answer, q, k, v, mask, sizes):
    """What the answer makes of the keys in blocks, and what its state holds after each."""
    state, held = None, []
    blocks = (x.split(sizes, dim=axis) for x, axis in ((k, 1), (v, 1), (mask, 2)))
    for part in zip(*blocks, strict=True):
        state = answer.absorb(state, q, *part)
        if state is None:
            raise Mistake("`absorb` returned None: is a `return` missing?")
        held.append(_numbers(state))
    return answer.finish(state), held


def _top(scores):
    return scores.amax(dim=2, keepdim=True)


def _inverse(factor):
    return torch.where(factor > 0, 1 / factor, 0.0)


def _blockwise(q, k, v, sizes, rescale):
    """The same loop in float64, with a `rescale` that may be wrong."""
    scores = (q @ k.transpose(1, 2)).double() / math.sqrt(q.shape[2])
    top, total, mix = torch.tensor(-torch.inf), 0, 0
    parts = zip(scores.split(sizes, dim=2), v.double().split(sizes, dim=1), strict=True)
    for part, values in parts:
        new = torch.maximum(top, _top(part))
        for_total, for_mix, less = rescale((top - new).exp(), new, part)
        exps = (part - less).exp()
        total = for_total * total + exps.sum(dim=2, keepdim=True)
        mix = for_mix * mix + exps @ values
        top = new
    return mix / total


NEAR = {"rtol": 1e-3, "atol": 1e-5}


@exercise("05-6", title="A stream of keys", minutes=40, difficulty=5, points=6)
def _(answer, draw):
    b, t, s, k, d = 2, 3, 11, 4, 6
    q, keys, v = draw.normal(b, t, k), draw.normal(b, s, k), draw.normal(b, s, d)
    sizes = [4, 1, 3, 2, 1]
    _in_one_block(answer, q, keys, v)
    held = _in_blocks(answer, q, keys, v, sizes)
    _far_from_zero(answer, q, keys, v, sizes)
    mask = draw.uniform(0, 1, b, t, s) < 0.7
    _masked(answer, q, keys, v, mask, sizes)
    _side_by_side(answer, q, keys, v, sizes)
    return (
        f"{s} keys in blocks of {', '.join(map(str, sizes))}: equal to attention, and "
        f"never more than {held} {'number' if held == 1 else 'numbers'} kept."
    )


def _side_by_side(answer, q, k, v, sizes):
    """Two streams whose blocks arrive in turn: nothing may be kept outside the state."""
    mask = torch.ones(*q.shape[:2], k.shape[1], dtype=torch.bool)
    streams = [(q, k, v, mask), (-q, k.flip(1), v.flip(1), mask)]
    states = [None, None]
    for place in range(len(sizes)):
        for i, (query, *rest) in enumerate(streams):
            axes = zip(rest, (1, 1, 2), strict=True)
            block = [x.split(sizes, dim=axis)[place] for x, axis in axes]
            states[i] = answer.absorb(states[i], query, *block)
    for state, stream in zip(states, streams, strict=True):
        says = (
            "One stream alone was right; two whose blocks arrive in turn disturb each "
            "other. All that is kept must be in the state."
        )
        given = {"q, for two streams": "q and -q", "sizes of the blocks": sizes}
        close(answer.finish(state), _rows(*stream), given=given, says=says, **NEAR)


def _in_one_block(answer, q, k, v):
    mask = torch.ones(*q.shape[:2], k.shape[1], dtype=torch.bool)
    got, _ = _stream(answer, q, k, v, mask, [k.shape[1]])
    given = {"q": q, "k": k, "v": v, "mask": "all True", "blocks": "one"}
    if not isinstance(got, torch.Tensor):
        raise Mistake(f"`finish` should return a tensor; got {describe(got)}.")
    if got.isnan().any() or not got.any():
        raise Mistake(
            "NaN, or nothing but zeros, though all keys may be seen: is the mask the "
            "other way round? True = may attend.",
            given=given,
        )
    scores = (q @ k.transpose(1, 2)).double() / math.sqrt(q.shape[2])
    want = _rows(q, k, v, mask)
    mistakes = {
        "The scores are not divided by the root of the width of q.": _rows(
            q * math.sqrt(q.shape[2]), k, v, mask
        ),
        "The mix is not divided by the sum of exp: that is what `finish` is for.": want
        * (scores - _top(scores)).exp().sum(dim=2, keepdim=True),
    }
    says = "All keys come in one block: this much is plain attention."
    close(got, want, mistakes=mistakes, given=given, says=says, **NEAR)


def _in_blocks(answer, q, k, v, sizes):
    """How many numbers the state holds, where all is right."""
    mask = torch.ones(*q.shape[:2], k.shape[1], dtype=torch.bool)
    got, held = _stream(answer, q, k, v, mask, sizes)
    given = {"q": q, "k": k, "v": v, "mask": "all True", "sizes of the blocks": sizes}
    apart = (
        "Sums that were taken with different maxima are added as they are: multiply "
        "the old ones by exp(old maximum - new maximum) first."
    )
    known = {  # the factors of the old sums, and what the new scores are lessened by
        apart: lambda f, new, part: (1, 1, new),
        "Each block has its own maximum, and the sums are added as they are: bring both "
        "to the larger of the two maxima first.": lambda f, new, part: (
            1,
            1,
            _top(part),
        ),
        "The old sum of exp is brought to the new maximum, the old mix of values is "
        "not.": lambda f, new, part: (f, 1, new),
        "The old mix of values is brought to the new maximum, the old sum of exp is "
        "not.": lambda f, new, part: (1, f, new),
        "The factor is upside down: old sums shrink, by exp(old - new).": lambda f, new, part: (
            _inverse(f),
            _inverse(f),
            new,
        ),
        "The old sums are brought to the new maximum, but the new block is taken with "
        "its own, which may be smaller.": lambda f, new, part: (f, f, _top(part)),
    }
    wrong = {told: _blockwise(q, k, v, sizes, how) for told, how in known.items()}
    parts = zip(k.split(sizes, dim=1), v.split(sizes, dim=1), strict=True)
    outs = [_rows(q, *part, mask[..., : part[0].shape[1]]) for part in parts]
    wrong |= {
        "That is the plain mean of what the blocks give, but they weigh differently.": (
            sum(outs) / len(outs)
        ),
        "That is attention to the last block alone: the state was not used.": outs[-1],
    }
    if isinstance(got, torch.Tensor) and got.isnan().any():
        raise Mistake(
            "NaN, though every key may be seen: infinity times 0, or infinity less "
            "infinity? Look at the factor of the old sums, in the first block too.",
            given=given,
        )
    says = "One block was right, more are not: how do old sums and a new block meet?"
    close(got, _rows(q, k, v, mask), mistakes=wrong, given=given, says=says, **NEAR)
    if held[-1] > held[0]:
        raise Mistake(
            "The result is right, but the state grows: it holds "
            f"{held[0]} numbers after the first block and {held[-1]} after the last. "
            "What is kept must not depend on how many keys there were.",
            given=given,
        )
    return held[0]


def _far_from_zero(answer, q, k, v, sizes):
    mask = torch.ones(*q.shape[:2], k.shape[1], dtype=torch.bool)
    for far, keys, where in (
        (1e4 * q, k, "thousands apart"),
        (0.1 * q - 20, 0.1 * k + 20, "all below -500"),
    ):
        got, _ = _stream(answer, far, keys, v, mask, sizes)
        given = {"q": far, "k": keys, "v": v, "sizes of the blocks": sizes}
        if isinstance(got, torch.Tensor) and not got.isfinite().all():
            raise Mistake(
                f"Not finite, where the scores are {where}: exp needs the scores less "
                "the largest *of that query* so far, which is -∞ before the first block.",
                given=given,
            )
        says = (
            f"Here the scores are {where}: take away the largest *of each query* so far, "
            "and let it be -∞ before the first block."
        )
        want = _rows(far, keys, v, mask)
        close(got, want, given=given, says=says, rtol=0.01, atol=0.01)


def _masked(answer, q, k, v, mask, sizes):
    mask = mask.clone()
    mask[0, 0] = False  # nothing at all
    mask[0, 1, :5] = False  # nothing in the first two blocks
    mask[1, 2, 4:] = False  # nothing after the first
    mask[0, 1, 5] = mask[1, 2, 0] = True
    want = _rows(q, k, v, mask)
    got, _ = _stream(answer, q, k, v, mask, sizes)
    given = {"q": q, "k": k, "v": v, "mask": mask, "sizes of the blocks": sizes}
    if isinstance(got, torch.Tensor) and got.shape == want.shape:
        lost = got.isnan().any(dim=2)
        if lost.sum() > lost[0, 0]:
            raise Mistake(
                "NaN, for a query that may see nothing in one of the blocks: its largest "
                "score so far is -∞ then, and -∞ - (-∞) is NaN.",
                given=given,
            )
        told = "A query that may see nothing at all should get zeros"
        if lost[0, 0]:
            raise Mistake(f"{told}; yours gets 0 / 0, which is NaN.", given=given)
        others = got.double() - want
        others[0, 0] = 0
        if got[0, 0].any() and others.abs().max() < 1e-4:
            raise Mistake(
                f"{told}; yours gets a mix of values: a finite stand-in for -∞, less "
                "itself, is 0, and exp(0) is 1.",
                given=given,
            )
    open_ = torch.ones_like(mask)
    mistakes = {
        "The mask was not used: True = may attend.": _rows(q, k, v, open_),
        "The mask is the other way round: True = may attend.": _rows(q, k, v, ~mask),
    }
    says = (
        "Without a mask it was right: a hidden key adds nothing to either sum. Mind the "
        "query whose first blocks are all hidden: -∞ - (-∞) is NaN."
    )
    close(got, want, mistakes=mistakes, given=given, says=says, **NEAR)
