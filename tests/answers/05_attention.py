"""Right and wrong answers to the exercises of chapter 5, and what must be said to them."""

import math

import torch

from tfcourse.checks.proofs import right, wrong


@wrong("05-1", says="if c were added to the *queries*")
def predicts_a_pull_to_c():
    """Takes a bias of the keys for one of the queries."""
    return {"prediction": "towards keys like c"}


@wrong("05-1", says="hears differences only")
def predicts_flatter():
    """Thinks that keys that look more alike get more equal weights."""
    return {"prediction": "flatter"}


@wrong("05-1", says="lie further *apart*")
def predicts_sharper():
    """Thinks that longer keys sharpen, as a factor would."""
    return {"prediction": "sharper"}


def attending(root=None, hide=None, weigh=None):
    """Attention with a root, a way to hide and a softmax that may be wrong."""

    def attend(x, context, w_q, w_k, w_v, mask):
        q, k, v = x @ w_q, context @ w_k, context @ w_v
        scores = q @ k.mT / (root(x, q) if root else q.shape[-1] ** 0.5)
        scores = hide(scores, mask) if hide else scores.masked_fill(~mask, -math.inf)
        weights = weigh(scores, mask) if weigh else scores.softmax(dim=-1)
        return weights @ v

    return {"attend": attend}


def multiplied(scores, mask):
    return scores * mask


def over_queries(scores, mask):
    return scores.softmax(dim=1)


def root_of_x(x, q):
    return math.sqrt(x.shape[-1])


def as_it_is(scores, mask):
    return scores


@wrong("05-2", says="0 / 0 is NaN. Hide before the softmax")
def hides_afterwards_and_renormalizes():
    """Sets the hidden weights to 0 and divides by what is left, which may be 0."""

    def weigh(scores, mask):
        weights = scores.softmax(dim=-1) * mask
        return weights / weights.sum(dim=-1, keepdim=True)

    return attending(hide=as_it_is, weigh=weigh)


@right("05-2")
def adds_a_large_negative_number():
    """Adds -1e9 where a place is hidden."""
    return attending(hide=lambda scores, mask: scores + (~mask) * -1e9)


@right("05-2")
def by_pytorchs_own():
    """Calls PyTorch's attention."""

    def attend(x, context, w_q, w_k, w_v, mask):
        return torch.nn.functional.scaled_dot_product_attention(
            x @ w_q, context @ w_k, context @ w_v, attn_mask=mask
        )

    return attend


@wrong("05-2", says="All three are still in it. The weights of each *key*")
def mends_nothing():
    """Hands the broken one in as it is."""
    return attending(root_of_x, multiplied, over_queries)


@wrong("05-2", says="One is mended. The weights of each *key* sum to 1")
def mends_the_root_only():
    """Mends the root; the mask and the axis are still wrong."""
    return attending(hide=multiplied, weigh=over_queries)


@wrong("05-2", says="One is mended. A score that is multiplied by 0")
def mends_the_axis_only():
    """Mends the axis; the root and the mask are still wrong."""
    return attending(root_of_x, multiplied)


@wrong("05-2", says="Two are mended. The weights of each *key* sum to 1")
def leaves_the_axis():
    """Leaves the softmax over the queries."""
    return attending(weigh=over_queries)


@wrong("05-2", says="Two are mended. A score that is multiplied by 0")
def leaves_the_product():
    """Leaves the scores multiplied by the mask."""
    return attending(hide=multiplied)


@wrong(
    "05-2", says="Two are mended. The scores are divided by the root of the width of x"
)
def leaves_the_root():
    """Leaves the root of the width of x."""
    return attending(root=root_of_x)


@wrong("05-2", says="The other way round")
def turns_the_mask():
    """Hides where the mask is True."""
    return attending(hide=lambda scores, mask: scores.masked_fill(mask, -math.inf))


@wrong("05-2", says="no key is hidden at all")
def drops_the_mask():
    """Removes the mask together with the product."""
    return attending(hide=as_it_is)


@wrong("05-2", says="no longer sums to 1")
def hides_after_the_softmax():
    """Multiplies the weights by the mask and leaves it at that."""
    return attending(hide=as_it_is, weigh=lambda s, mask: s.softmax(dim=-1) * mask)


@wrong("05-2", says="The root is missing")
def divides_by_the_width():
    """Divides by the width itself."""
    return attending(root=lambda x, q: q.shape[-1])


@wrong("05-2", says="Now nothing is divided")
def drops_the_scale():
    """Removes the scale."""
    return attending(root=lambda x, q: 1)


@wrong("05-2", says="There is NaN")
def multiplies_by_minus_infinity():
    """Multiplies the mask by -∞: 0 times it is NaN."""
    return attending(hide=lambda scores, mask: scores + (~mask) * -math.inf)


def ago(t, s, offset=None):
    """How far each key lies behind each query."""
    offset = s - t if offset is None else offset
    return torch.arange(t)[:, None] + offset - torch.arange(s)


def windowed(is_open, offset=None):
    return {"window_mask": lambda t, s, w: is_open(ago(t, s, offset), w)}


@right("05-3")
def by_distance():
    """Compares the distance with 0 and with the window."""
    return windowed(lambda ago, w: (ago >= 0) & (ago < w))


@right("05-3")
def row_by_row():
    """Opens a slice in each row."""

    def window_mask(t, s, window):
        mask = torch.zeros(t, s, dtype=torch.bool)
        for i in range(t):
            here = s - t + i
            mask[i, max(0, here - window + 1) : here + 1] = True
        return mask

    return window_mask


@wrong("05-3", says="True = may attend.")
def marks_what_is_hidden():
    """Has True where a place is hidden."""
    return windowed(lambda ago, w: (ago < 0) | (ago >= w))


@wrong("05-3", says="The future is open")
def hides_the_far_past_only():
    """Forgets the causal half."""
    return windowed(lambda ago, w: ago < w)


@wrong("05-3", says="a window to both sides")
def takes_both_sides():
    """Takes the absolute distance."""
    return windowed(lambda ago, w: ago.abs() < w)


@wrong("05-3", says="the whole past")
def forgets_the_window():
    """Is causal, without a window."""
    return windowed(lambda ago, w: ago >= 0)


@wrong("05-3", says="One too many")
def counts_only_what_is_before():
    """Takes window positions before itself."""
    return windowed(lambda ago, w: (ago >= 0) & (ago <= w))


@wrong("05-3", says="One too few")
def is_one_short():
    """Ends the window one too early."""
    return windowed(lambda ago, w: (ago >= 0) & (ago < w - 1))


@wrong("05-3", says="The position itself is missing")
def leaves_itself_out():
    """Sees the window before itself, and not itself."""
    return windowed(lambda ago, w: (ago > 0) & (ago <= w))


@wrong("05-3", says="This window looks ahead")
def swaps_queries_and_keys():
    """Has the distance turned round."""
    return windowed(lambda ago, w: (ago <= 0) & (ago > -w))


@wrong("05-3", says="the *last* t of the s positions")
def begins_at_zero():
    """Takes the queries for the first t positions."""
    return windowed(lambda ago, w: (ago >= 0) & (ago < w), offset=0)


@wrong("05-3", says="holds True and False, not numbers")
def returns_numbers():
    """Returns zeros and minus infinities, to be added."""

    def window_mask(t, s, window):
        back = ago(t, s)
        return torch.zeros(t, s).masked_fill((back < 0) | (back >= window), -math.inf)

    return window_mask


def perplexities(scale=False, dim=-1):
    """The weights, for each width, of the queries and keys of exercise 05-4."""
    found = []
    for width in (4, 16, 64, 256):
        seed = torch.Generator().manual_seed(0)
        q, k = torch.randn(2, 50, width, dtype=torch.float64, generator=seed)
        scores = q @ k.T / (math.sqrt(width) if scale else 1)
        found.append(scores.softmax(dim=dim))
    return found


def entropies(weights):
    return torch.special.entr(weights).sum(dim=-1)


def using(number, **how):
    return {"used": [number(weights).item() for weights in perplexities(**how)]}


@right("05-4")
def by_cross_entropy():
    """Takes the entropy from PyTorch's distributions."""

    def count(weights):
        return torch.distributions.Categorical(weights).perplexity().mean()

    return using(count)


@right("05-4")
def in_bits_and_rounded():
    """Takes 2 to the bits, and types the numbers with one decimal."""

    def count(weights):
        bits = -(weights * weights.log2()).sum(dim=1)
        return (2**bits).mean()

    return {"used": tuple(round(n, 1) for n in using(count)["used"])}


@wrong("05-4", says="That is with the scale")
def keeps_the_scale():
    """Leaves the scale in."""
    return using(lambda w: entropies(w).exp().mean(), scale=True)


@wrong("05-4", says="Those are entropies, in nats")
def forgets_the_exponential():
    """Reports entropies."""
    return using(lambda w: entropies(w).mean())


@wrong("05-4", says="Those are entropies, in bits")
def reports_bits():
    """Reports entropies in bits."""
    return using(lambda w: entropies(w).mean() / math.log(2))


@wrong("05-4", says="entropy in bits is undone by 2 ** entropy")
def takes_exp_of_bits():
    """Takes the exponential of bits."""
    return using(lambda w: (entropies(w) / math.log(2)).exp().mean())


@wrong("05-4", says="this entropy is in nats")
def takes_two_to_the_nats():
    """Takes 2 to the power of nats."""
    return using(lambda w: (2 ** entropies(w)).mean())


@wrong("05-4", says="The mean was taken too soon")
def averages_first():
    """Takes the mean of the entropies, and then the exponential."""
    return using(lambda w: entropies(w).mean().exp())


@wrong("05-4", says="1 / Σ w²")
def inverts_the_sum_of_squares():
    """Counts by the inverse sum of squares."""
    return using(lambda w: (1 / (w**2).sum(dim=-1)).mean())


@wrong("05-4", says="the largest weights")
def reports_the_largest_weight():
    """Reports the largest weight."""
    return using(lambda w: w.amax(dim=-1).mean())


@wrong("05-4", says="ran over the queries")
def normalizes_over_queries():
    """Takes the softmax along the wrong axis."""
    return using(lambda w: entropies(w).exp().mean(), dim=0)


@wrong("05-4", says="begin with width 4")
def lists_them_backwards():
    """Begins with the widest."""
    return {"used": using(lambda w: entropies(w).exp().mean())["used"][::-1]}


@wrong("05-4", says="0 · ln 0 should count as 0")
def takes_the_log_of_zero():
    """Rounds weights to float16, and takes the log of those that became 0."""

    def count(weights):
        weights = weights.half().double()
        return (-(weights * weights.log()).sum(dim=-1)).exp().mean()

    return using(count)


@wrong("05-4", says="At width 16 it is more keys than your 4.2")
def guesses_one_of_them():
    """Has one number too small."""
    measured = using(lambda w: entropies(w).exp().mean())["used"]
    return {"used": [measured[0], 4.2, *measured[2:]]}


@wrong("05-4", says="one for each width")
def measures_one_width():
    """Reports the last width only."""
    return {"used": using(lambda w: entropies(w).exp().mean())["used"][-1]}


@right("05-5")
def by_the_jacobian():
    """Builds the Jacobian of each row's softmax."""

    def backward(weights, v, slope):
        at_weights = torch.einsum("btk,bsk->bts", slope, v)
        jacobian = (
            torch.diag_embed(weights) - weights[..., None] * weights[..., None, :]
        )
        at_scores = (jacobian @ at_weights[..., None])[..., 0]
        return [at_scores, torch.einsum("bts,btk->bsk", weights, slope)]

    return backward


@right("05-5")
def by_the_output():
    """Takes the mean from the output: Σ w g is slope · out."""

    def backward(weights, v, slope):
        mean = (slope * (weights @ v)).sum(dim=-1, keepdim=True)
        return weights * (slope @ v.mT - mean), weights.mT @ slope

    return backward


def going_back(through, at_v=None):
    """A way back through the softmax, given the weights w and the slopes g at them."""

    def backward(weights, v, slope):
        values = weights.mT @ slope if at_v is None else at_v(weights, slope)
        return through(weights, slope @ v.mT), values

    return {"backward": backward}


def through_softmax(w, g):
    return w * (g - (w * g).sum(dim=-1, keepdim=True))


@wrong("05-5", says="go on through the softmax")
def stops_at_the_weights():
    """Returns the slope at the weights."""
    return going_back(lambda w, g: g)


@wrong("05-5", says="not its diagonal")
def takes_the_diagonal():
    """Takes w (1 - w), as for a sigmoid."""
    return going_back(lambda w, g: w * (1 - w) * g)


@wrong("05-5", says="The mean is missing")
def forgets_the_mean():
    """Takes the first part only."""
    return going_back(lambda w, g: w * g)


@wrong("05-5", says="the mean is weighted by w")
def takes_the_plain_mean():
    """Takes away the plain mean of the slopes."""
    return going_back(lambda w, g: w * (g - g.mean(dim=-1, keepdim=True)))


@wrong("05-5", says="a softmax of its own")
def sums_over_queries():
    """Takes the mean along the wrong axis."""
    return going_back(lambda w, g: w * (g - (w * g).sum(dim=1, keepdim=True)))


@wrong("05-5", says="The factor w in front is missing")
def forgets_the_factor():
    """Leaves out w in front."""
    return going_back(lambda w, g: g - (w * g).sum(dim=-1, keepdim=True))


@wrong("05-5", says="The sign is turned")
def turns_the_sign():
    """Takes the mean less the slope."""
    return going_back(lambda w, g: -through_softmax(w, g))


@wrong("05-5", says="in the other order")
def swaps_the_two():
    """Returns the slope at v first."""

    def backward(weights, v, slope):
        return weights.mT @ slope, through_softmax(weights, slope @ v.mT)

    return backward


@wrong("05-5", says="count one query only")
def overwrites_the_slopes_of_v():
    """Writes = instead of += in a loop over the queries."""

    def at_v(weights, slope):
        for i in range(slope.shape[1]):
            out = weights[:, i, :, None] * slope[:, i, None, :]
        return out

    return going_back(through_softmax, at_v)


@wrong("05-5", says="by the weight that it gave")
def forgets_the_weights():
    """Adds up the slopes of all queries alike."""

    def at_v(weights, slope):
        return slope.sum(dim=1, keepdim=True).repeat(1, weights.shape[2], 1)

    return going_back(through_softmax, at_v)


@wrong("05-5", says="Two tensors are asked")
def returns_one_of_two():
    """Returns the slope at the scores alone."""
    return {"backward": lambda w, v, slope: through_softmax(w, slope @ v.mT)}


def scores_of(q, k, mask, fill=-math.inf):
    scores = torch.einsum("btk,bsk->bts", q, k) / math.sqrt(q.shape[-1])
    return torch.where(mask, scores, fill)


def streaming(
    factors=lambda fade: (fade, fade),
    own=False,
    fill=-math.inf,
    start=None,
    over=-1,
    scores_of=scores_of,
    least=1.0,
):
    """The running maximum and sums, with one thing or another wrong."""

    def absorb(state, q, k, v, mask):
        scores = scores_of(q, k, mask, fill)
        if state is None:
            lowest = torch.finfo(q.dtype).min if start is None else start
            first = torch.full_like(q[..., :1], lowest)
            state = (
                first,
                torch.zeros_like(first),
                q.new_zeros(*q.shape[:2], v.shape[2]),
            )
        old, total, mix = state
        block = scores.amax(dim=over, keepdim=True).clamp(min=torch.finfo(q.dtype).min)
        top = torch.maximum(old, block)
        for_total, for_mix = factors((old - top).exp())
        exps = (scores - (block if own else top)).exp()
        total = total * for_total + exps.sum(dim=-1, keepdim=True)
        return top, total, mix * for_mix + exps @ v

    def finish(state):
        return state[2] / (state[1].clamp(min=least) if least else state[1])

    return {"absorb": absorb, "finish": finish}


@right("05-6")
def by_logsumexp():
    """Keeps the output so far and its log-sum-exp, in a dict."""

    def absorb(state, q, k, v, mask):
        scores = scores_of(q, k, mask)
        here = torch.logsumexp(scores, dim=-1, keepdim=True)
        new = torch.nan_to_num((scores - here).exp()) @ v
        if state is None:
            return {"out": new, "log_sum": here}
        both = torch.logaddexp(state["log_sum"], here)
        a = torch.nan_to_num((state["log_sum"] - both).exp())
        b = torch.nan_to_num((here - both).exp())
        return {"out": a * state["out"] + b * new, "log_sum": both}

    return {"absorb": absorb, "finish": lambda state: state["out"]}


@right("05-6")
def key_by_key():
    """Goes through queries and keys one by one, in Python."""

    def one(state, query, k, v, mask):
        top, total, *mix = state
        for key, value, may in zip(k, v, mask, strict=True):
            if may:
                score = float(query @ key) / math.sqrt(len(query))
                new = max(top, score)
                fade, share = math.exp(top - new), math.exp(score - new)
                total = total * fade + share
                mix = [
                    m * fade + share * x
                    for m, x in zip(mix, value.tolist(), strict=True)
                ]
                top = new
        return [top, total, *mix]

    def absorb(state, q, k, v, mask):
        fresh = [-math.inf, 0.0] + [0.0] * v.shape[2]
        state = state or [[fresh for _ in rows] for rows in q]
        return [
            [
                one(state[i][j], q[i, j], k[i], v[i], mask[i, j])
                for j in range(q.shape[1])
            ]
            for i in range(len(q))
        ]

    def finish(state):
        return torch.tensor(
            [
                [[m / (total or 1) for m in mix] for _, total, *mix in rows]
                for rows in state
            ]
        )

    return {"absorb": absorb, "finish": finish}


@wrong("05-6", says="not divided by the root")
def forgets_the_scale():
    """Forgets to scale the scores."""
    unscaled = lambda q, k, mask, fill: (
        scores_of(q, k, mask, fill) * math.sqrt(q.shape[2])
    )
    return streaming(scores_of=unscaled)


@wrong("05-6", says="that is what `finish` is for")
def forgets_to_divide():
    """Returns the mix as it is."""
    return streaming() | {"finish": lambda state: state[2]}


@wrong("05-6", says="is the mask the other way round?")
def hides_what_is_open():
    """Takes True for hidden."""
    turned = lambda q, k, mask, fill: scores_of(q, k, ~mask, fill)
    return streaming(scores_of=turned)


@wrong("05-6", says="exp(old maximum - new maximum)")
def adds_what_does_not_fit():
    """Never brings the old sums to the new maximum."""
    return streaming(factors=lambda fade: (1, 1))


@wrong("05-6", says="Each block has its own maximum")
def adds_blocks_of_their_own():
    """Takes each block with its own maximum, and adds the sums."""
    return streaming(factors=lambda fade: (1, 1), own=True)


@wrong("05-6", says="the old mix of values is not")
def rescales_the_sum_only():
    """Brings only the sum of exp to the new maximum."""
    return streaming(factors=lambda fade: (fade, 1))


@wrong("05-6", says="the old sum of exp is not")
def rescales_the_mix_only():
    """Brings only the mix of values to the new maximum."""
    return streaming(factors=lambda fade: (1, fade))


@wrong("05-6", says="The factor is upside down")
def divides_by_the_factor():
    """Divides the old sums by the factor."""

    def upside_down(fade):
        factor = torch.where(fade > 0, 1 / fade, 0)
        return factor, factor

    return streaming(factors=upside_down)


@wrong("05-6", says="Look at the factor of the old sums")
def multiplies_infinity_by_zero():
    """Takes exp(new - old), which is infinite in the first of several blocks."""

    def upside_down(fade):
        return 1 / fade, 1 / fade

    steps = streaming(factors=upside_down)

    def absorb(state, q, k, v, mask):
        if state is None:
            return streaming()["absorb"](None, q, k, v, mask)
        return steps["absorb"]((state[0] - 1000, *state[1:]), q, k, v, mask)

    return {"absorb": absorb, "finish": lambda state: state[2] / state[1]}


@wrong("05-6", says="which may be smaller")
def takes_the_blocks_own_maximum():
    """Lessens new scores by the block's own maximum."""
    return streaming(own=True)


@wrong("05-6", says="plain mean of what the blocks give")
def averages_the_blocks():
    """Takes the mean of the outputs of all blocks."""

    def absorb(state, q, k, v, mask):
        total, count = state or (0, 0)
        weights = torch.nan_to_num(scores_of(q, k, mask).softmax(dim=-1))
        return total + weights @ v, count + 1

    return {"absorb": absorb, "finish": lambda state: state[0] / state[1]}


@wrong("05-6", says="the last block alone")
def forgets_the_state():
    """Starts afresh with each block."""
    absorb = streaming()["absorb"]
    return streaming() | {"absorb": lambda state, *block: absorb(None, *block)}


@wrong("05-6", says="but the state grows")
def keeps_everything():
    """Keeps all keys and values, and attends at the end."""

    def absorb(state, q, k, v, mask):
        past = (q, k[:, :0], v[:, :0], mask[:, :, :0]) if state is None else state
        _, *past = past
        new = zip(past, (k, v, mask), (1, 1, 2), strict=True)
        return q, *(torch.cat([old, part], dim=dim) for old, part, dim in new)

    def finish(state):
        q, k, v, mask = state
        return torch.nan_to_num(scores_of(q, k, mask).softmax(dim=-1)) @ v

    return {"absorb": absorb, "finish": finish}


@wrong("05-6", says="must be in the state")
def keeps_everything_elsewhere():
    """Keeps all blocks in a list of its own, and returns nothing of them as the state."""
    kept = []

    def absorb(state, q, k, v, mask):
        if state is None:
            kept.clear()
        kept.append((q, k, v, mask))
        return 0

    def finish(state):
        q = kept[-1][0]
        k, v = (torch.cat([block[i] for block in kept], dim=1) for i in (1, 2))
        mask = torch.cat([block[3] for block in kept], dim=2)
        return torch.nan_to_num(scores_of(q, k, mask).softmax(dim=-1)) @ v

    return {"absorb": absorb, "finish": finish}


@wrong("05-6", says="Not finite, where the scores are thousands apart")
def takes_away_nothing():
    """Never takes a maximum away, so that exp overflows."""

    def absorb(state, q, k, v, mask):
        total, mix = state or (0, 0)
        exps = scores_of(q, k, mask).exp()
        return total + exps.sum(dim=-1, keepdim=True), mix + exps @ v

    return {"absorb": absorb, "finish": lambda state: state[1] / state[0]}


@wrong("05-6", says="Here the scores are thousands apart")
def shares_one_maximum():
    """Takes one maximum for all queries, and hides the zeros that come of it."""
    return streaming(over=(1, 2), least=1e-30)


@wrong("05-6", says="Not finite, where the scores are all below -500")
def starts_at_zero():
    """Begins with a largest score of 0."""
    return streaming(start=0.0, least=0)


@wrong("05-6", says="-∞ - (-∞) is NaN")
def stumbles_over_a_hidden_block():
    """Takes infinity from infinity where all is hidden so far."""

    def absorb(state, q, k, v, mask):
        scores = scores_of(q, k, mask)
        if state is None:
            state = torch.full_like(q[..., :1], -math.inf), 0, 0
        old, total, mix = state
        top = torch.maximum(old, scores.amax(dim=-1, keepdim=True))
        fade, exps = (old - top).exp(), (scores - top).exp()
        return top, total * fade + exps.sum(-1, keepdim=True), mix * fade + exps @ v

    return {"absorb": absorb, "finish": lambda state: state[2] / state[1]}


@wrong("05-6", says="0 / 0, which is NaN")
def divides_zero_by_zero():
    """Does not think of a query that has seen nothing."""
    return streaming(least=0)


@wrong("05-6", says="exp(0) is 1")
def fills_in_a_finite_number():
    """Hides with -1e9, so that a query that has seen nothing gets a mean."""
    return streaming(fill=-1e9)


@wrong("05-6", says="The mask was not used")
def ignores_the_mask():
    """Ignores the mask."""
    return streaming(
        scores_of=lambda q, k, mask, fill: scores_of(q, k, torch.ones_like(mask), fill)
    )


@wrong("05-6", says="a hidden key adds nothing to either sum")
def multiplies_by_the_mask():
    """Multiplies the scores by the mask."""
    return streaming(
        scores_of=lambda q, k, mask, fill: (
            scores_of(q, k, torch.ones_like(mask), fill) * mask
        )
    )
