"""What the answers of chapter 8's exercises must do."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tfcourse.checks import Mistake, close, describe, differs, exercise


@exercise(
    "08-1",
    title="Two blocks of zeros",
    kind="prediction",
    minutes=5,
    difficulty=1,
    points=2,
    choices=(
        "both x",
        "pre-norm x, post-norm normalized",
        "pre-norm normalized, post-norm x",
        "both zeros",
    ),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    x = draw.normal(2, 5, 8)
    out = {}
    for pre_norm in (True, False):
        layer = nn.TransformerEncoderLayer(
            8, 2, 16, dropout=0.0, batch_first=True, norm_first=pre_norm
        )
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                parameter.fill_(name in ("norm1.weight", "norm2.weight"))
            out[pre_norm] = layer(x)
    assert torch.equal(out[True], x)
    moved = (out[False] - F.layer_norm(x, (8,))).abs().max()
    assert moved < 1e-2 and (out[False] - x).abs().max() > 0.1
    replies = {
        "both x": "What the sub-layers add is zero in both, yes. But where does the norm "
        "of a post-norm block stand: on the branch, or on the stream?",
        "pre-norm normalized, post-norm x": "It is the other way round: write down both "
        "lines, with 0 for what the module gives.",
        "both zeros": "A sub-layer of zeros *adds* zeros. The stream is still there: "
        "that is what a residual connection is for.",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    return (
        "PyTorch's layers agree: with `norm_first=True` x comes back to the last bit, "
        "else each vector with mean 0 and variance 1. Only the pre-norm stream has a "
        "way through that nothing touches."
    )


def _norm(x, gain, bias, eps, flaws=()):
    """Layer normalization in plain operations; flaws: what is wrong, some of FLAWS."""
    centred = x - x.mean(dim=-1, keepdim=True)
    d = x.shape[-1] - ("unbiased" in flaws)
    variance = centred.square().sum(dim=-1, keepdim=True) / d
    if "outside" in flaws:
        return gain * centred / (variance.sqrt() + eps) + bias
    return gain * centred / (variance + eps).sqrt() + bias


FLAWS = {
    "unbiased": "The variance is the mean of the squares, divided by d. `std` and `var` "
    "divide by d - 1 unless told not to.",
    "outside": "eps stands under the root: √(variance + eps), not √variance + eps.",
}


@exercise("08-2", title="Mend the norm", minutes=10, difficulty=2, points=3)
def _(answer, draw):
    b, t, d, eps = 3, 4, 5, 0.3
    x = draw.normal(b, t, d) + draw.normal(b, t, 1)
    gain, bias = draw.uniform(0.5, 2.0, d), draw.normal(d)
    got = answer.layer_norm(x, gain, bias, eps)
    given = {"x": x, "gain": gain, "bias": bias, "eps": eps}
    both = " ".join(FLAWS.values())
    differs(
        got,
        _norm(x, gain, bias, eps, FLAWS),
        says=f"Both mistakes are still there. {both}",
        given=given,
    )
    for flaw, told in FLAWS.items():
        differs(got, _norm(x, gain, bias, eps, [flaw]), says=told, given=given)
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    over = x - x.mean(dim=(0, 1))
    means = over.square().mean(dim=(0, 1))
    mistakes = {
        "The root is missing: divide by √(variance + eps).": gain
        * centred
        / (variance + eps)
        + bias,
        "eps is missing.": _norm(x, gain, bias, 0.0),
        "gain and bias are not used.": _norm(x, 1.0, 0.0, eps),
        "The gain multiplies the bias too: scale first, then add the bias.": gain
        * _norm(x, 1.0, bias, eps),
        "That is RMSNorm: the mean is not subtracted.": gain
        * x
        / (x.square().mean(dim=-1, keepdim=True) + eps).sqrt()
        + bias,
        "The mean of each *number* over all tokens was taken, as batch normalization "
        "does. A layer norm looks at one vector alone: the last axis.": gain
        * over
        / (means + eps).sqrt()
        + bias,
    }
    want = F.layer_norm(x, (d,), gain, bias, eps)
    says = "Mean and variance over the last axis, `keepdim=True`; then gain and bias."
    close(got, want, mistakes=mistakes, says=says, given=given)
    far = x + 1000
    close(
        answer.layer_norm(far, gain, bias, eps),
        F.layer_norm(far, (d,), gain, bias, eps),
        says="The same vectors, moved by 1000, must give the same. Subtract the mean "
        "*before* you square: the difference of two large numbers has lost its digits.",
        given="x as before, plus 1000",
        atol=0.01,
    )
    return "The same as `torch.nn.functional.layer_norm`, far from zero as well."


WIDTH, HEADS, BLOCKS = 32, 4, 12


def somebodys_stack() -> tuple[Tensor, dict[str, Tensor]]:
    """Inputs (4, 10, 32) of length about 1, and a state for a Stack of 12 Block(32, 4, 64), LayerNorm.

    Not trained: the matrices are drawn as PyTorch does it, the biases are zero.
    """
    seed = torch.Generator().manual_seed(8)
    shapes = {
        "attention.module.qkv.linear": (3 * WIDTH, WIDTH),
        "attention.module.out": (WIDTH, WIDTH),
        "feed_forward.module.expand": (2 * WIDTH, WIDTH),
        "feed_forward.module.contract": (WIDTH, 2 * WIDTH),
    }
    state = {}
    for block in range(BLOCKS):
        for name, (rows, columns) in shapes.items():
            drawn = 2 * torch.rand(rows, columns, generator=seed) - 1
            state[f"blocks.{block}.{name}.weight"] = drawn / math.sqrt(columns)
            state[f"blocks.{block}.{name}.bias"] = torch.zeros(rows)
        for part in ("attention", "feed_forward"):
            state[f"blocks.{block}.{part}.norm.gain"] = torch.ones(WIDTH)
            state[f"blocks.{block}.{part}.norm.bias"] = torch.zeros(WIDTH)
    state |= {"norm.gain": torch.ones(WIDTH), "norm.bias": torch.zeros(WIDTH)}
    x = torch.randn(4, 10, WIDTH, generator=seed) / math.sqrt(WIDTH)
    return x, state


def _attends(x, state, n_heads, causal=False, mask=True):
    """What attention says, one head after the other, from the state of a module."""
    q, k, v = F.linear(x, state["qkv.linear.weight"], state["qkv.linear.bias"]).chunk(
        3, dim=-1
    )
    t, said = x.shape[1], []
    hidden = torch.ones(t, t).triu(1).bool() & causal | ~torch.as_tensor(mask)
    for q_i, k_i, v_i in zip(
        *(part.chunk(n_heads, dim=-1) for part in (q, k, v)), strict=True
    ):
        scores = q_i @ k_i.mT / math.sqrt(q_i.shape[-1])
        said.append(scores.masked_fill(hidden, -math.inf).softmax(dim=-1) @ v_i)
    return F.linear(torch.cat(said, dim=-1), state["out.weight"], state["out.bias"])


def _thinks(x, state):
    """What the feed-forward says, from the state of a module with ReLU."""
    wide = F.linear(x, state["expand.weight"], state["expand.bias"]).relu()
    return F.linear(wide, state["contract.weight"], state["contract.bias"])


def _of(state, prefix):
    """The part of a state whose names begin with prefix, without it."""
    return {n.removeprefix(prefix): x for n, x in state.items() if n.startswith(prefix)}


def _normed(x, state, prefix="norm."):
    return F.layer_norm(x, x.shape[-1:], state[f"{prefix}gain"], state[f"{prefix}bias"])


def _block(x, state, n_heads):
    """A pre-norm block from its state."""
    x = x + _attends(
        _normed(x, state, "attention.norm."), _of(state, "attention.module."), n_heads
    )
    return x + _thinks(
        _normed(x, state, "feed_forward.norm."), _of(state, "feed_forward.module.")
    )


@exercise(
    "08-3",
    title="How the stream grows",
    kind="measurement",
    minutes=15,
    difficulty=2,
    points=3,
)
def _(answer, draw):
    norms, shares = answer.value("norms"), answer.value("shares")
    x, state = somebodys_stack()
    streams = [x]
    for i in range(BLOCKS):
        streams.append(_block(streams[-1], _of(state, f"blocks.{i}."), HEADS))
    lengths = [stream.norm(dim=-1) for stream in streams]
    want = torch.stack([length.mean() for length in lengths])
    norms, shares = (_numbers(*pair) for pair in (("norms", norms), ("shares", shares)))
    ended = float(_normed(streams[-1], state).norm(dim=-1).mean())
    if abs(norms[-1] / ended - 1) < 0.01:
        raise Mistake(
            "The last number is that of the final norm, which always gives √d. The "
            "stream is asked as the last block leaves it: go through `stack.blocks`."
        )
    if len(norms) == BLOCKS:
        raise Mistake("There are 13 lengths: the one of `x`, before any block, too.")
    if len(norms) != BLOCKS + 1 or len(shares) != BLOCKS:
        raise Mistake(
            f"`norms` has {BLOCKS + 1} numbers, `shares` one for each of the "
            f"{BLOCKS} blocks.",
            seen=f"You have {len(norms)} and {len(shares)}.",
        )
    apart = [x] + [_block(x, _of(state, f"blocks.{i}."), HEADS) for i in range(BLOCKS)]
    mistakes = {
        "That is the norm of all 40 vectors as one: the length of *each* vector, "
        "`.norm(dim=-1)`, and then the mean.": [s.norm() for s in streams],
        "That is the root of the mean square, shorter by √d: the length of a vector "
        "is the root of the *sum* of its squares.": want / math.sqrt(WIDTH),
        "That is the mean square length: take the root.": want**2,
        "Every block got `x`: give each what the block before it returned.": [
            s.norm(dim=-1).mean() for s in apart
        ],
    }
    for told, wrong in mistakes.items():
        differs(norms, torch.as_tensor(wrong), says=told, rtol=0.01)
    off = (norms / want - 1).abs()  # by dropout 0.02 to 0.1, upwards or downwards
    if off[0] < 0.001 and 0.01 < off.max() < 0.15:
        raise Mistake(
            "Near, and other numbers at each run? Dropout is on: `stack.eval()` before "
            "you measure."
        )
    says = "Feed x to the first block, the result to the second, …; no final norm."
    close(norms, want, says=says, rtol=0.01)
    added = [after - before for before, after in pairwise(streams)]
    mistakes = {
        "That is how much the *length* grows. What is added may stand across the "
        "stream: take the length of the difference.": [
            after / before - 1 for before, after in pairwise(want)
        ],
        "That is what is added, in itself: divide by the length of what was there.": [
            more.norm(dim=-1).mean() for more in added
        ],
        "Divide by the length of the stream that came *in*, before the block.": [
            (more.norm(dim=-1) / after).mean()
            for more, after in zip(added, lengths[1:], strict=True)
        ],
    }
    for told, wrong in mistakes.items():
        differs(shares, torch.stack(wrong), says=told, rtol=0.01)
    known = [
        (more.norm(dim=-1) / before).mean()
        for more, before in zip(added, lengths[:-1], strict=True)
    ]
    says = "‖after - before‖ / ‖before‖ for each vector and block; then the mean."
    close(shares, torch.stack(known), says=says, rtol=0.01)
    return (
        f"The stream grows from {want[0]:.1f} to {want[-1]:.1f}, and what a block adds "
        f"shrinks beside it, from {known[0]:.0%} to {known[-1]:.0%}: in a deep pre-norm "
        "stack that is not trained, the late blocks change little. And the scores need a "
        "final norm, or they would grow with the depth."
    )


def _numbers(name, value):
    """A list, or a tensor, of numbers as a tensor."""
    try:
        return torch.stack([torch.as_tensor(x).double() for x in value]).reshape(-1)
    except (TypeError, ValueError, RuntimeError):
        says = f"`{name}` is a list of numbers."
        raise Mistake(says, seen=f"Got {describe(value)}.") from None


@exercise("08-4", title="Side by side", minutes=15, difficulty=3, points=4)
def _(answer, draw):
    d, h, f, b, t = 12, 3, 20, 2, 5
    module = answer.make("Parallel", d, h, f)
    shapes = {
        "norm.gain": (d,),
        "norm.bias": (d,),
        "attention.qkv.linear.weight": (3 * d, d),
        "attention.qkv.linear.bias": (3 * d,),
        "attention.out.weight": (d, d),
        "attention.out.bias": (d,),
        "feed_forward.expand.weight": (f, d),
        "feed_forward.expand.bias": (f,),
        "feed_forward.contract.weight": (d, f),
        "feed_forward.contract.bias": (d,),
    }
    names = module.state().keys()
    if len({name.rpartition(".")[0] for name in names if name.endswith("gain")}) > 1:
        raise Mistake("One norm serves both: that is half of what this block saves.")
    if names != shapes.keys():
        missing = [name for name in shapes if name not in names]
        more = [name for name in names if name not in shapes]
        raise Mistake(
            "The parts are a `LayerNorm` called `norm`, a `MultiHeadAttention` called "
            "`attention`, a `FeedForward` called `feed_forward`, and nothing else.",
            seen=f"Missing: {', '.join(missing) or 'none'}; too many: "
            f"{', '.join(more) or 'none'}.",
        )
    state = {name: draw.normal(*shape) / 2 for name, shape in shapes.items()}
    module.load(state)
    x = draw.normal(b, t, d)
    got = module(x, causal=True)
    mine, its = _of(state, "attention."), _of(state, "feed_forward.")
    y = _normed(x, state)
    says, thinks = _attends(y, mine, h, causal=True), _thinks(y, its)
    later = _attends(x, mine, h, causal=True)
    given = {"x": x, "causal": True}
    mistakes = {
        "That is the block of the chapter, one after the other, with one norm for both: "
        "here the feed-forward does not wait for what attention says.": (
            x + says + _thinks(_normed(x + says, state), its)
        ),
        "The feed-forward reads what attention says; it should read the same norm as "
        "attention does.": x + says + _thinks(says, its),
        "The feed-forward reads the stream as it is: give it the norm too.": (
            x + says + _thinks(x, its)
        ),
        "Attention reads the stream as it is: give it the norm too.": (
            x + later + thinks
        ),
        "Nothing is normalized.": x + later + _thinks(x, its),
        "The stream is missing: both *add* to x.": says + thinks,
        "The norm of x goes on instead of x: keep the stream as it is.": (
            y + says + thinks
        ),
        "x is in the sum twice.": 2 * x + says + thinks,
        "That is post-norm: the norm is of what goes into the two, not of the sum.": (
            _normed(x + later + _thinks(x, its), state)
        ),
        "The options did not reach attention: pass `**options` on to it.": (
            x + _attends(y, mine, h) + thinks
        ),
    }
    says_so = "x plus attention of the norm of x, plus feed-forward of the norm of x."
    close(got, x + says + thinks, mistakes=mistakes, says=says_so, given=given)
    everywhere = x + _attends(y, mine, h) + thinks
    told = "Nobody asked for `causal=True` this time: pass on what is given, no more."
    mistakes = {told: x + says + thinks}
    given = {"x": x, "options": "none"}
    close(module(x), everywhere, mistakes=mistakes, says=says_so, given=given)
    mask = draw.uniform(0, 1, t, t) < 0.5
    mask |= torch.eye(t, dtype=torch.bool)
    mask[0], mask[-1, 0] = True, False
    want = x + _attends(y, mine, h, mask=mask) + thinks
    told = "`causal` arrived, `mask` did not: pass on *all* options, `**options`."
    given = {"x": x, "mask": mask}
    got = module(x, mask=mask)
    close(got, want, mistakes={told: everywhere}, says=says_so, given=given)
    fewer = 2 * d
    return (
        f"{fewer} parameters fewer than a block with two norms, and two sub-layers that "
        "can be computed at the same time, from the same input."
    )


@exercise("08-5", title="Fold the norm away", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    d, h, f = 12, 3, 20
    shapes = {
        "attention.module.qkv.linear": (3 * d, d),
        "attention.module.out": (d, d),
        "feed_forward.module.expand": (f, d),
        "feed_forward.module.contract": (d, f),
    }
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = draw.normal(*shape) / 3
        state[f"{name}.bias"] = draw.normal(shape[0]) / 3
    parts = {"attention": "qkv.linear", "feed_forward": "expand"}
    for part in parts:
        state[f"{part}.norm.gain"] = draw.uniform(0.3, 3.0, d)
        state[f"{part}.norm.bias"] = draw.normal(d)
    got = answer.folded(state)
    given = f"the state of a Block({d}, {h}, {f}), all of it drawn at random"
    if not isinstance(got, dict) or got.keys() != state.keys():
        says = "A dict with the same names is asked."
        close(got, state, says=says, given=given)
    for name, tensor in state.items():
        if getattr(got[name], "shape", None) != tensor.shape:
            says = f"`{name}` keeps its shape, {tuple(tensor.shape)}."
            close(got[name], tensor, says=says, given=given)
    for part in parts:
        _is_plain(got, state, part, given)
    for part, first in parts.items():
        _is_folded(got, state, part, first, given)
    rest = [n for n in state if n.split(".")[-2] in ("out", "contract")]
    says = "What does not read the norm, `out` and `contract`, stays as it was."
    close(
        {n: got[n] for n in rest}, {n: state[n] for n in rest}, says=says, given=given
    )
    x = draw.normal(2, 5, d)
    says = "The block must do the same as before: compare the two on some x."
    close(_block(x, got, h), _block(x, state, h), says=says, given=given, atol=1e-4)
    (left,) = answer.left("folded", state)
    says = (
        "`state` itself is not what it was: `dict(state)` copies the names, not the "
        "tensors, and `*=` writes into them. Make new tensors, in a new dict."
    )
    close(left, state, says=says, given=given, rtol=0, atol=0)
    return (
        f"The same block with {4 * d} numbers fewer to multiply and add at each token: "
        "once training is over, this arithmetic can be done beforehand."
    )


def _is_plain(got, state, part, given):
    """A Mistake unless a part's norm has gain 1 and shift 0."""
    d = len(state[f"{part}.norm.gain"])
    gain, bias = (got[f"{part}.norm.{name}"] for name in ("gain", "bias"))
    other = "feed_forward" if part == "attention" else "attention"
    if not (gain - state[f"{part}.norm.gain"]).abs().max():
        if (got[f"{other}.norm.gain"] - 1).abs().max() < 1e-6:
            raise Mistake(
                "A block has two norms: fold the other one too.",
                seen=f"`{part}.norm` is as it was.",
                given=given,
            )
        says = "The norms are to be left with gain 1 and shift 0: else they act twice."
        raise Mistake(says, given=given)
    says = f"`{part}.norm.gain` is to be all ones"
    close(gain, torch.ones(d), says=f"{says}, as if never trained.", given=given)
    says = f"`{part}.norm.bias` is to be all zeros"
    close(bias, torch.zeros(d), says=f"{says}: the shift moves to a bias.", given=given)


def _is_folded(got, state, part, first, given):
    """A Mistake unless a part's first matrix took in gain and shift of its norm."""
    gain, shift = (state[f"{part}.norm.{name}"] for name in ("gain", "bias"))
    name = f"{part}.module.{first}"
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    new, new_bias = got[f"{name}.weight"], got[f"{name}.bias"]
    told = {
        "The gain was lost: it has to be multiplied into the matrix.": weight,
        "Divided by the gain: the matrix must do now what the gain did, which is to "
        "multiply.": weight / gain,
        "The shift has no place in the matrix: it adds the same whatever x is, so it "
        "belongs to the bias.": weight * gain + shift,
    }
    for says, wrong in told.items():
        differs(new, wrong, says=says, given=given)
    # whatever a norm gives sums to 0, so the same number may be added along a row
    loose = new - new.mean(dim=1, keepdim=True)
    want = weight * gain
    want = want - want.mean(dim=1, keepdim=True)
    says = (
        f"`{name}.weight`: number i of the norm is multiplied by gain i, and then meets "
        "column i of the matrix."
    )
    close(loose, want, says=says, given=given, atol=1e-5)
    mistakes = {
        "The shift was lost: it goes through the matrix, and into its bias.": bias,
        "The shift went through the matrix that has the gain in it: the gain scales "
        "what is normalized, not the shift.": bias + (weight * gain) @ shift,
        "The shift was added without going through the matrix.": bias
        + shift.repeat(1 + len(bias) // len(shift))[: len(bias)],
        "The old bias was lost: the new one is added to it.": weight @ shift,
    }
    says = f"`{name}.bias`: the old one, and what the matrix makes of the shift."
    close(
        new_bias,
        bias + weight @ shift,
        mistakes=mistakes,
        says=says,
        given=given,
        atol=1e-5,
    )


@exercise("08-6", title="Whole branches dropped", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    b, t, d = 4000, 2, 3
    x, added = draw.normal(b, t, d), draw.uniform(0.5, 2.0, b, t, d)
    rate = round(draw.uniform(0.2, 0.35), 2)
    calm = answer.add_or_skip(x, added, rate, False)
    given = f"x and added of shape {(b, t, d)}, rate = {rate}, training = False"
    mistakes = {
        "In evaluation nothing is dropped, and nothing scaled: the scale belongs to "
        "training, as in dropout. (The paper does it the other way round.)": x
        + (1 - rate) * added,
        "Without training there is no division either: x + added.": x
        + added / (1 - rate),
        "The stream is missing: it is x + added.": added,
    }
    says = "While not training, the answer is x + added, without any chance in it."
    close(calm, x + added, mistakes=mistakes, says=says, given=given, atol=1e-5)
    given = given.replace("False", "True")
    got = answer.add_or_skip(x, added, rate, True)
    if not isinstance(got, Tensor) or got.shape != x.shape:
        close(got, x, says="Out comes what went in, (b, t, d).", given=given)
    factor = (got - x) / added
    _drops_branches(got, x, factor, rate, given)
    kept = factor[:, 0, 0] > 0.01
    want = x + kept[:, None, None] * added / (1 - rate)
    says = "Each example: x alone, or x + added / (1 - rate)."
    close(got, want, says=says, given=given, atol=1e-4)
    again = answer.add_or_skip(x, added, rate, True)
    differs(
        again,
        got,
        says="The same examples were dropped at the second call: do not fix the seed, "
        "each step of training draws anew.",
        given=given,
    )
    small = x[:50], added[:50]
    says = "With a rate of 0 nothing is ever dropped: x + added."
    close(answer.add_or_skip(*small, 0.0, True), sum(small), says=says, atol=1e-5)
    says = "With a rate of 1 all is dropped, and x comes back: 0 / 0 is not a number."
    close(answer.add_or_skip(*small, 1.0, True), small[0], says=says, atol=1e-5)
    return (
        f"Of {b} examples {int(kept.sum())} kept their branch, {kept.float().mean():.0%}, "
        f"and the mean of what was added is {float((factor).mean()):.2f} times the whole."
    )


def _drops_branches(got, x, factor, rate, given):
    """A Mistake unless whole branches were dropped, and the others scaled."""
    keep = 1 - rate
    zero = factor.abs() < 0.01
    if (got.abs() < 1e-12).float().mean() > 0.05:
        raise Mistake(
            "Where the branch is dropped, x is gone too. The stream always goes on.",
            given=given,
        )
    if (zero != zero[:, :, :1]).any():
        raise Mistake(
            "Single numbers are dropped: that is dropout. Drop a branch as a whole, one "
            "draw for an example.",
            given=given,
        )
    if (zero != zero[:, :1]).any():
        raise Mistake(
            "Each position has a draw of its own. An example's branch goes as a whole: "
            "then it need not be computed.",
            given=given,
        )
    share = 1 - zero[:, 0, 0].float().mean().item()
    if share in (0.0, 1.0):
        value = factor.mean().item()
        if abs(value - keep) < 0.02:
            says = "The branch is scaled, and never dropped."
        elif abs(value - 1) < 0.01:
            says = "Nothing is dropped while training."
        else:
            says = "One draw for the whole batch: each example has one of its own."
        raise Mistake(says, given=given)
    if abs(share - rate) < 0.05:
        says = "`rate` is the share that is dropped, not the share that is kept."
        raise Mistake(says, seen=f"{share:.0%} were kept.", given=given)
    if abs(share - keep) > 0.05:
        says = "The chance to be dropped is `rate`."
        raise Mistake(says, seen=f"{share:.0%} were kept.", given=given)
    kept = factor[~zero].median().item()
    told = {
        1.0: "What is kept is not scaled. Then less is added, on average, than in "
        "evaluation: divide by the share that is kept.",
        keep: "What is kept was multiplied by 1 - rate: divide, so that the mean stays.",
        1 / rate: "Divide by the share that is *kept*, 1 - rate.",
    }
    for value, says in told.items():
        if abs(kept - value) < 0.01:
            raise Mistake(says, given=given)
