"""Right and wrong answers to the exercises of chapter 8, and what must be said to them."""

from itertools import cycle, pairwise

import torch
from torch import nn
from torch.nn import functional as F

from tfcourse.block import Block, FeedForward, LayerNorm, Stack
from tfcourse.checks.block import somebodys_stack
from tfcourse.checks.proofs import right, wrong
from tfcourse.multi_head_attention import MultiHeadAttention


@wrong("08-1", says="on the branch, or on the stream?")
def predicts_both_x():
    """Thinks that whatever adds nothing changes nothing."""
    return {"prediction": "both x"}


@wrong("08-1", says="It is the other way round")
def predicts_the_other_way():
    """Takes pre for post."""
    return {"prediction": "pre-norm normalized, post-norm x"}


@wrong("08-1", says="The stream is still there")
def predicts_zeros():
    """Forgets the residual connections."""
    return {"prediction": "both zeros"}


def norm(
    correction=0, place="under", axis=-1, centre=True, root=True, used=(1, 1), far=False
):
    """A layer_norm with one thing, or several, in another way."""

    def layer_norm(x, gain, bias, eps):
        mean = x.mean(dim=axis, keepdim=True)
        if far:
            variance = (x**2).mean(dim=-1, keepdim=True) - mean**2
        elif centre:
            variance = x.var(dim=axis, keepdim=True, correction=correction)
        else:
            mean, variance = 0, (x**2).mean(dim=-1, keepdim=True)
        if place == "under":
            below = variance + eps
            below = below.sqrt() if root else below
        else:
            below = variance.sqrt() + (eps if place == "outside" else 0)
        gain = gain if used[0] else 1
        if used[1] == "scaled":
            return gain * ((x - mean) / below + bias)
        return gain * (x - mean) / below + (bias if used[1] else 0)

    return {"layer_norm": layer_norm}


@right("08-2")
def by_squares_and_rsqrt():
    """Takes the mean of the squares by hand, and PyTorch's reciprocal root."""

    def layer_norm(x, gain, bias, eps):
        centred = x - x.mean(-1, keepdim=True)
        squares = centred.mul(centred).sum(-1, keepdim=True) / x.shape[-1]
        return torch.addcmul(bias, gain, centred * torch.rsqrt(squares + eps))

    return layer_norm


@right("08-2")
def by_pytorch():
    """Lets PyTorch's own function do it."""
    return {"layer_norm": lambda x, g, b, eps: F.layer_norm(x, g.shape, g, b, eps)}


@wrong("08-2", says="Both mistakes are still there")
def copies_the_tutorial():
    """Copies what is broken."""
    return norm(correction=1, place="outside")


@wrong("08-2", says="divide by d - 1 unless told not to")
def mends_eps_only():
    """Divides by d - 1."""
    return norm(correction=1)


@wrong("08-2", says="eps stands under the root")
def mends_the_variance_only():
    """Adds eps to the root."""
    return norm(place="outside")


@wrong("08-2", says="eps is missing")
def forgets_eps():
    """Leaves eps out."""
    return norm(place="none")


@wrong("08-2", says="The root is missing")
def divides_by_the_variance():
    """Divides by the variance."""
    return norm(root=False)


@wrong("08-2", says="gain and bias are not used")
def forgets_what_is_learned():
    """Leaves gain and bias out."""
    return norm(used=(0, 0))


@wrong("08-2", says="The gain multiplies the bias too")
def scales_the_bias():
    """Adds the bias before it scales."""
    return norm(used=(1, "scaled"))


@wrong("08-2", says="That is RMSNorm")
def does_not_centre():
    """Leaves the mean in."""
    return norm(centre=False)


@wrong("08-2", says="as batch normalization does")
def normalizes_each_number():
    """Takes mean and variance of each number over all tokens."""
    return norm(axis=(0, 1))


@wrong("08-2", says="has lost its digits")
def subtracts_large_numbers():
    """Takes the variance to be the mean of squares less the square of the mean."""
    return norm(far=True)


@wrong("08-2", says="Mean and variance over the last axis")
def normalizes_everything():
    """Takes one mean and one variance of the whole tensor."""
    return norm(axis=(0, 1, 2))


def measured(
    length=lambda x: x.norm(dim=-1).mean(),
    share=lambda more, before, after: (more / before).mean(),
    dropout=False,
    chain=True,
    last=False,
    skip=0,
    grown=False,
):
    """What a learner measures on somebody's stack, with one thing in another way."""
    x, state = somebodys_stack()
    stack = Stack([Block(32, 4, 64, dropout=0.1) for _ in range(12)], LayerNorm(32))
    stack.load_state_dict(state)
    stack.train(dropout)
    streams = [x]
    with torch.no_grad():
        for block in stack.blocks:
            streams.append(block(streams[-1] if chain else x))
        pairs = list(pairwise(streams))
        shares = [
            share(*(s.norm(dim=-1) for s in (after - before, before, after)))
            for before, after in pairs
        ]
        if last:
            streams[-1] = stack.norm(streams[-1])
        norms = [length(stream) for stream in streams]
    if grown:
        shares = [b / a - 1 for a, b in pairwise(norms)]
    norms, shares = ([float(n) for n in numbers] for numbers in (norms, shares))
    return {"norms": norms[skip:], "shares": shares}


@right("08-3")
def with_pytorchs_layers():
    """Loads PyTorch's own layers with the state, in float64, and reports tensors."""
    x, state = somebodys_stack()
    streams = [x.double()]
    names = {
        "self_attn.in_proj_": "attention.module.qkv.linear.",
        "self_attn.out_proj.": "attention.module.out.",
        "linear1.": "feed_forward.module.expand.",
        "linear2.": "feed_forward.module.contract.",
    }
    for i in range(12):
        layer = nn.TransformerEncoderLayer(
            *(32, 4, 64, 0.0), batch_first=True, norm_first=True
        )
        mine = {
            theirs + kind: state[f"blocks.{i}.{ours}{kind}"]
            for theirs, ours in names.items()
            for kind in ("weight", "bias")
        }
        layer.load_state_dict(layer.state_dict() | mine)
        with torch.no_grad():
            streams.append(layer.double()(streams[-1]))
    every = torch.stack(streams)
    lengths, added = every.norm(dim=-1), every.diff(dim=0).norm(dim=-1)
    shares = (added / lengths[:-1]).mean(dim=(1, 2))
    return {"norms": lengths.mean(dim=(1, 2)), "shares": shares}


@wrong("08-3", says="That is the norm of all 40 vectors as one")
def takes_one_norm():
    """Takes the norm of the whole tensor."""
    return measured(length=lambda x: x.norm())


@wrong("08-3", says="the root of the mean square, shorter by √d")
def takes_the_mean_square():
    """Takes the root of the mean square."""
    return measured(length=lambda x: x.square().mean(dim=-1).sqrt().mean())


@wrong("08-3", says="take the root")
def forgets_the_root():
    """Squares the mean length."""
    return measured(length=lambda x: x.norm(dim=-1).mean() ** 2)


@wrong("08-3", says="give each what the block before it returned")
def starts_anew():
    """Feeds x to every block."""
    return measured(chain=False)


# with 2 and 5 the last vectors come out shorter than without dropout, else longer
LUCK = cycle((1, 2, 5, 6))


@wrong("08-3", says="Dropout is on")
def forgets_eval():
    """Leaves the stack in training mode."""
    torch.manual_seed(next(LUCK))
    return measured(dropout=True)


@wrong("08-3", says="that of the final norm")
def ends_with_the_norm():
    """Measures behind the final norm."""
    return measured(last=True)


@wrong("08-3", says="the one of `x`, before any block, too")
def leaves_x_out():
    """Begins after the first block."""
    return measured(skip=1)


@wrong("08-3", says="one for each of the 12 blocks")
def reports_the_ends():
    """Reports the first and the last only."""
    answer = measured()
    return {name: [values[0], values[-1]] for name, values in answer.items()}


@wrong("08-3", says="is a list of numbers")
def reports_one_number():
    """Reports how much it grows in all."""
    return measured() | {"norms": 3.0}


@wrong("08-3", says="how much the *length* grows")
def subtracts_lengths():
    """Takes the growth of the length for the length of what is added."""
    return measured(grown=True)


@wrong("08-3", says="divide by the length of what was there")
def does_not_divide():
    """Reports the length of what is added."""
    return measured(share=lambda more, before, after: more.mean())


@wrong("08-3", says="before the block")
def divides_by_what_comes_out():
    """Divides by the length of what comes out."""
    return measured(share=lambda more, before, after: (more / after).mean())


@wrong("08-3", says="no final norm")
def reports_upside_down():
    """Reports the lengths from the last to the first."""
    answer = measured()
    return answer | {"norms": answer["norms"][::-1]}


@wrong("08-3", says="for each vector and block")
def reports_squares():
    """Divides the squared lengths."""
    return measured(share=lambda more, before, after: (more / before).square().mean())


def parallel(rule):
    """A Parallel whose forward is rule(self, x, options)."""

    class Parallel(nn.Module):
        def __init__(self, d_model, n_heads, d_ff):
            super().__init__()
            self.norm = LayerNorm(d_model)
            self.attention = MultiHeadAttention(d_model, n_heads)
            self.feed_forward = FeedForward(d_model, d_ff)

        def forward(self, x, **options):
            return rule(self, x, options)

    return {"Parallel": Parallel}


@right("08-4")
def one_after_the_other_in_place():
    """Adds to a copy of the stream, the feed-forward first."""

    def rule(self, x, options):
        y, out = self.norm(x), x.clone()
        out += self.feed_forward(y)
        out += self.attention(y, **options)
        return out

    return parallel(rule)


@wrong("08-4", says="does not wait for what attention says")
def runs_one_after_the_other():
    """Is the block of the chapter, with one norm."""

    def rule(self, x, options):
        x = x + self.attention(self.norm(x), **options)
        return x + self.feed_forward(self.norm(x))

    return parallel(rule)


@wrong("08-4", says="it should read the same norm as attention does")
def chains_the_two():
    """Feeds what attention says to the feed-forward."""

    def rule(self, x, options):
        said = self.attention(self.norm(x), **options)
        return x + said + self.feed_forward(said)

    return parallel(rule)


@wrong("08-4", says="The feed-forward reads the stream as it is")
def norms_attention_only():
    """Gives the norm to attention only."""
    return parallel(
        lambda self, x, options: (
            x + self.attention(self.norm(x), **options) + self.feed_forward(x)
        )
    )


@wrong("08-4", says="Attention reads the stream as it is")
def norms_feed_forward_only():
    """Gives the norm to the feed-forward only."""
    return parallel(
        lambda self, x, options: (
            x + self.attention(x, **options) + self.feed_forward(self.norm(x))
        )
    )


@wrong("08-4", says="Nothing is normalized")
def never_norms():
    """Makes a norm, and does not use it."""
    return parallel(
        lambda self, x, options: x + self.attention(x, **options) + self.feed_forward(x)
    )


@wrong("08-4", says="The stream is missing")
def forgets_the_stream():
    """Returns what the two say."""

    def rule(self, x, options):
        y = self.norm(x)
        return self.attention(y, **options) + self.feed_forward(y)

    return parallel(rule)


@wrong("08-4", says="keep the stream as it is")
def overwrites_the_stream():
    """Calls the norm x, and adds to that."""

    def rule(self, x, options):
        x = self.norm(x)
        return x + self.attention(x, **options) + self.feed_forward(x)

    return parallel(rule)


@wrong("08-4", says="x is in the sum twice")
def adds_two_residuals():
    """Adds two residual branches, each with its own x."""

    def rule(self, x, options):
        y = self.norm(x)
        return (x + self.attention(y, **options)) + (x + self.feed_forward(y))

    return parallel(rule)


@wrong("08-4", says="That is post-norm")
def norms_the_sum():
    """Takes the norm of the sum."""
    return parallel(
        lambda self, x, options: self.norm(
            x + self.attention(x, **options) + self.feed_forward(x)
        )
    )


@wrong("08-4", says="The options did not reach attention")
def swallows_the_options():
    """Does not pass the options on."""

    def rule(self, x, options):
        y = self.norm(x)
        return x + self.attention(y) + self.feed_forward(y)

    return parallel(rule)


@wrong("08-4", says="Nobody asked for `causal=True` this time")
def is_always_causal():
    """Writes causal=True into the call."""

    def rule(self, x, options):
        y = self.norm(x)
        return x + self.attention(y, causal=True) + self.feed_forward(y)

    return parallel(rule)


@wrong("08-4", says="`causal` arrived, `mask` did not")
def passes_causal_only():
    """Picks causal from the options, and leaves the others."""

    def rule(self, x, options):
        y, causal = self.norm(x), options.get("causal", False)
        return x + self.attention(y, causal=causal) + self.feed_forward(y)

    return parallel(rule)


@wrong("08-4", says="unexpected keyword argument 'mask'")
def takes_causal_only():
    """Has causal for its only option."""

    class Parallel(parallel(None)["Parallel"]):
        def forward(self, x, causal=False):
            y = self.norm(x)
            return x + self.attention(y, causal=causal) + self.feed_forward(y)

    return Parallel


@wrong("08-4", says="TypeError")
def takes_no_options():
    """Takes x and nothing else."""

    class Parallel(parallel(None)["Parallel"]):
        def forward(self, x):
            y = self.norm(x)
            return x + self.attention(y) + self.feed_forward(y)

    return Parallel


@wrong("08-4", says="One norm serves both")
def makes_two_norms():
    """Makes a norm for each."""

    class Parallel(parallel(None)["Parallel"]):
        def __init__(self, d_model, n_heads, d_ff):
            super().__init__(d_model, n_heads, d_ff)
            self.second_norm = LayerNorm(d_model)

    return Parallel


@wrong("08-4", says="The parts are a `LayerNorm`")
def names_the_parts_otherwise():
    """Calls the feed-forward mlp."""

    class Parallel(nn.Module):
        def __init__(self, d_model, n_heads, d_ff):
            super().__init__()
            self.norm = LayerNorm(d_model)
            self.attention = MultiHeadAttention(d_model, n_heads)
            self.mlp = FeedForward(d_model, d_ff)

    return Parallel


@wrong("08-4", says="x plus attention of the norm of x")
def uses_the_norm_twice():
    """Norms the norm again for the feed-forward, and what it says too."""

    def rule(self, x, options):
        y = self.norm(x)
        return x + self.attention(y, **options) + self.norm(self.feed_forward(y))

    return parallel(rule)


PARTS = {"attention": "qkv.linear", "feed_forward": "expand"}


def folding(
    matrix=lambda w, g, s: w * g,
    bias=lambda b, w, g, s: b + w @ s,
    parts=("attention", "feed_forward"),
    left=(),
    also=None,
):
    """A folded with one step in another way."""

    def folded(state):
        new = dict(state)
        for part in parts:
            norm, linear = f"{part}.norm", f"{part}.module.{PARTS[part]}"
            g, s = state[f"{norm}.gain"], state[f"{norm}.bias"]
            w, b = state[f"{linear}.weight"], state[f"{linear}.bias"]
            new[f"{linear}.weight"] = matrix(w, g, s)
            new[f"{linear}.bias"] = bias(b, w, g, s)
            if "gain" not in left:
                new[f"{norm}.gain"] = torch.ones_like(g)
            if "bias" not in left:
                new[f"{norm}.bias"] = torch.zeros_like(s)
        return also(new) if also else new

    return {"folded": folded}


@right("08-5")
def with_a_diagonal_matrix():
    """Multiplies by a diagonal matrix, and asks the layer what it makes of the shift."""
    return folding(
        lambda w, g, s: w @ torch.diag(g), lambda b, w, g, s: F.linear(s, w, b)
    )


@right("08-5")
def centres_the_rows_too():
    """Takes the mean out of each row: what a norm gives sums to zero, so it is not missed."""

    def matrix(w, g, s):
        return w * g - (w * g).mean(dim=1, keepdim=True)

    return folding(matrix)


@wrong("08-5", says="fold the other one too")
def folds_attention_only():
    """Folds the first norm only."""
    return folding(parts=("attention",))


@wrong("08-5", says="else they act twice")
def leaves_the_norms():
    """Changes the matrices and leaves the norms as they were."""
    return folding(left=("gain", "bias"))


@wrong("08-5", says="the shift moves to a bias")
def leaves_the_shift():
    """Sets the gain to 1 and leaves the shift."""
    return folding(left=("bias",))


@wrong("08-5", says="as if never trained")
def sets_the_gain_to_zero():
    """Sets the gain to 0 as well."""

    def also(new):
        return {n: x * 0 if n.endswith("norm.gain") else x for n, x in new.items()}

    return folding(also=also)


@wrong("08-5", says="The gain was lost")
def folds_the_shift_only():
    """Folds the shift, and forgets the gain."""
    return folding(matrix=lambda w, g, s: w)


@wrong("08-5", says="Divided by the gain")
def divides_by_the_gain():
    """Divides by the gain."""
    return folding(matrix=lambda w, g, s: w / g)


@wrong("08-5", says="The shift has no place in the matrix")
def shifts_the_matrix():
    """Adds the shift to the matrix."""
    return folding(matrix=lambda w, g, s: w * g + s)


@wrong("08-5", says="The shift was lost")
def folds_the_gain_only():
    """Folds the gain, and forgets the shift."""
    return folding(bias=lambda b, w, g, s: b)


@wrong("08-5", says="the gain scales what is normalized, not the shift")
def sends_the_shift_through_the_new():
    """Sends the shift through the matrix that has the gain in it."""
    return folding(bias=lambda b, w, g, s: b + (w * g) @ s)


@wrong("08-5", says="without going through the matrix")
def adds_the_shift():
    """Adds the shift to the bias as it is."""
    return folding(bias=lambda b, w, g, s: b + s.repeat(4)[: len(b)])


@wrong("08-5", says="The old bias was lost")
def replaces_the_bias():
    """Replaces the bias."""
    return folding(bias=lambda b, w, g, s: w @ s)


@wrong("08-5", says="and then meets column i of the matrix")
def scales_the_rows():
    """Scales rows of the matrix."""
    return folding(matrix=lambda w, g, s: w * g.repeat(4)[: len(w), None])


@wrong("08-5", says="what the matrix makes of the shift")
def subtracts_the_shift():
    """Subtracts the shift."""
    return folding(bias=lambda b, w, g, s: b - w @ s)


@wrong("08-5", says="stays as it was")
def scales_the_outputs():
    """Scales W_O too."""

    def also(new):
        name = "attention.module.out.weight"
        return new | {name: 2 * new[name]}

    return folding(also=also)


@wrong("08-5", says="A dict with the same names")
def leaves_the_norms_out():
    """Leaves the norms out of the dict."""

    def also(new):
        return {n: x for n, x in new.items() if ".norm." not in n}

    return folding(also=also)


@wrong("08-5", says="keeps its shape")
def turns_the_matrix():
    """Returns the matrix as it stands in the formula x W."""
    return folding(matrix=lambda w, g, s: (w * g).T)


@wrong("08-5", says="`state` itself is not what it was")
def multiplies_in_place():
    """Copies the dict, and writes into the tensors that both dicts hold."""

    def folded(state):
        new = dict(state)
        for part, first in PARTS.items():
            gain, shift = new[f"{part}.norm.gain"], new[f"{part}.norm.bias"]
            weight = new[f"{part}.module.{first}.weight"]
            new[f"{part}.module.{first}.bias"] += weight @ shift
            weight *= gain
            gain.fill_(1)
            shift.zero_()
        return new

    return {"folded": folded}


def dropping(
    shape=lambda x: (len(x), 1, 1),
    scale=lambda r: 1 / (1 - r) if r < 1 else 0.0,
    calm=1.0,
    keep=lambda u, r: u >= r,
    stream=True,
    seed=None,
):
    """An add_or_skip with one step in another way."""

    def add_or_skip(x, added, rate, training):
        if not training:
            factor = calm(rate) if callable(calm) else calm
            return x + factor * added if stream else added
        generator = seed and torch.Generator().manual_seed(seed)
        kept = keep(torch.rand(shape(x), generator=generator), rate)
        if stream == "dropped":
            return kept * (x + added * scale(rate))
        return x + kept * added * scale(rate)

    return {"add_or_skip": add_or_skip}


@right("08-6")
def with_dropout_of_ones():
    """Lets PyTorch's dropout make the factors, one for each example."""

    def add_or_skip(x, added, rate, training):
        factors = F.dropout(torch.ones(x.shape[0]), float(rate), training)
        return torch.addcmul(x, added, factors[:, None, None].expand_as(x))

    return add_or_skip


@right("08-6")
def example_by_example():
    """Goes through the batch in a loop."""

    def add_or_skip(x, added, rate, training):
        if not training or rate == 0:
            return x + added
        chances = torch.bernoulli(torch.full((len(x),), 1 - float(rate))).tolist()
        rows = [
            x[i] + added[i] / (1 - rate) if kept else x[i]
            for i, kept in enumerate(chances)
        ]
        return torch.stack(rows)

    return add_or_skip


@wrong("08-6", says="The paper does it the other way round")
def scales_in_use():
    """Follows the paper: multiplies in use."""
    return dropping(scale=lambda r: 1.0, calm=lambda r: 1 - r)


@wrong("08-6", says="there is no division either")
def divides_always():
    """Divides in use too."""
    return dropping(calm=lambda r: 1 / (1 - r))


@wrong("08-6", says="it is x + added")
def forgets_the_stream_in_use():
    """Returns what is added, while not training."""
    return dropping(stream=False)


@wrong("08-6", says="without any chance in it")
def drops_always():
    """Drops in use as well."""
    add_or_skip = dropping()["add_or_skip"]
    return {"add_or_skip": lambda x, a, rate, training: add_or_skip(x, a, rate, True)}


@wrong("08-6", says="The stream always goes on")
def drops_the_stream():
    """Drops the stream with the branch."""
    return dropping(stream="dropped")


@wrong("08-6", says="that is dropout")
def drops_numbers():
    """Drops single numbers."""
    return dropping(shape=lambda x: x.shape)


@wrong("08-6", says="Each position has a draw of its own")
def drops_positions():
    """Drops single positions."""
    return dropping(shape=lambda x: (*x.shape[:2], 1))


@wrong("08-6", says="One draw for the whole batch")
def drops_the_batch():
    """Draws once for all examples."""
    return dropping(shape=lambda x: (1, 1, 1))


@wrong("08-6", says="scaled, and never dropped")
def adds_the_mean():
    """Adds what is added on average."""
    return dropping(keep=lambda u, r: True, scale=lambda r: 1 - r)


@wrong("08-6", says="Nothing is dropped while training")
def never_drops():
    """Adds always."""
    return dropping(keep=lambda u, r: True, scale=lambda r: 1.0)


@wrong("08-6", says="not the share that is kept")
def takes_rate_for_keeping():
    """Takes the rate for the chance to be kept."""
    return dropping(keep=lambda u, r: u < r, scale=lambda r: 1 / max(r, 1e-9))


@wrong("08-6", says="The chance to be dropped is `rate`")
def tosses_a_coin():
    """Tosses a coin, whatever the rate."""
    return dropping(keep=lambda u, r: u >= 0.5, scale=lambda r: 2.0)


@wrong("08-6", says="What is kept is not scaled")
def does_not_scale():
    """Does not scale what is kept."""
    return dropping(scale=lambda r: 1.0)


@wrong("08-6", says="divide, so that the mean stays")
def multiplies():
    """Multiplies by the share that is kept."""
    return dropping(scale=lambda r: 1 - r)


@wrong("08-6", says="Divide by the share that is *kept*")
def divides_by_the_rate():
    """Divides by the rate."""
    return dropping(scale=lambda r: 1 / max(r, 1e-9))


@wrong("08-6", says="do not fix the seed")
def fixes_the_seed():
    """Draws the same at each call."""
    return dropping(seed=1)


@wrong("08-6", says="0 / 0 is not a number")
def divides_by_zero():
    """Divides by 0 where the rate is 1."""
    return dropping(scale=lambda r: 1 / torch.tensor(1.0 - r))


@wrong("08-6", says="With a rate of 0 nothing is ever dropped")
def mistakes_the_rate_of_zero():
    """Takes a rate of 0 for "always"."""
    return dropping(keep=lambda u, r: (u >= r) & (r > 0))


@wrong("08-6", says="x alone, or x + added / (1 - rate)")
def scales_twice():
    """Divides twice."""
    return dropping(scale=lambda r: 1 / max(1 - r, 1e-9) ** 2)
