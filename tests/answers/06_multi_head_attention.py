"""Right and wrong answers to the exercises of chapter 6, and what must be said to them."""

import math

import torch

from tfcourse.checks.multi_head_attention import somebodys_layer
from tfcourse.checks.proofs import right, wrong


@wrong("06-1", says="each half as wide")
def predicts_parameters():
    """Thinks that a head more is a matrix more."""
    return {"prediction": "parameters"}


@wrong("06-1", says="each is half as long")
def predicts_multiply_adds():
    """Counts the dot products, and forgets that they are shorter."""
    return {"prediction": "multiply-adds"}


@wrong("06-1", says="a table (t, s) of its own")
def predicts_nothing():
    """Thinks of parameters and multiply-adds only."""
    return {"prediction": "nothing"}


def run(heads=(), columns=None, squared=False, rows=False, uniform=False, side="out"):
    """How much somebody's layer changes without these heads, in float64, by loops."""
    x, state = somebodys_layer()
    x = x.double()
    w = state["qkv.linear.weight"].double().reshape(3, 6, 4, 24)
    w_out = state["out.weight"].double()

    def output(gone):
        said = []
        for i in range(6):
            q, k, v = (x @ w[part, i].T for part in range(3))
            scores = torch.stack(
                [(q[:, j, None] * k).sum(-1) for j in range(10)], dim=1
            )
            if uniform and i in gone:
                scores = torch.zeros_like(scores)
            part = torch.softmax(scores / 2, dim=-1) @ v
            said.append(part * 0 if i in gone and not uniform else part)
        return torch.cat(said, dim=-1)

    out = output(()) @ w_out.T
    if columns is not None:
        kept = torch.ones(24, dtype=torch.double)
        kept[columns] = 0
        changed = (output(()) * (1 if rows else kept)) @ w_out.T * (kept if rows else 1)
    else:
        changed = output(heads) @ w_out.T
    ratio = ((changed - out).norm() / out.norm()).item()
    return ratio**2 if squared else ratio


def ranked(size):
    return sorted(range(6), key=size, reverse=True)


def measured(ranking=None, together=None):
    ranking = ranking or ranked(lambda i: run([i]))
    together = run(ranking[:2]) if together is None else together
    return {"ranking": ranking, "together": together}


@right("06-2")
def head_by_head():
    """Leaves out what the head says, in float64, and reports tensors."""
    answer = measured()
    return {name: torch.tensor(value) for name, value in answer.items()}


@wrong("06-2", says="the head that matters most comes first")
def ranks_upwards():
    """Sorts the wrong way round."""
    return measured(ranked(lambda i: -run([i])))


@wrong("06-2", says="the order of the sizes of W_O's columns")
def looks_at_the_weights():
    """Looks at the sizes of the weights instead of measuring."""
    w_out = somebodys_layer()[1]["out.weight"]
    return measured(ranked(lambda i: w_out[:, 4 * i : 4 * i + 4].norm().item()))


@wrong("06-2", says="how sharply the heads look")
def looks_at_the_maps():
    """Takes a sharp attention map for importance."""
    x, state = somebodys_layer()
    q, k, _ = (x @ state["qkv.linear.weight"].T).unflatten(-1, (3, 6, 4)).unbind(dim=2)
    weights = (torch.einsum("bthk,bshk->bhts", q, k) / 2).softmax(dim=-1)
    return measured(ranked(lambda i: weights[:, i].max(dim=-1)[0].mean().item()))


@wrong("06-2", says="You take every sixth number")
def strides_over_the_columns():
    """Takes every sixth column of W_O for a head."""
    return measured(ranked(lambda i: run(columns=slice(i, None, 6))))


@wrong("06-2", says="put a head back")
def forgets_to_put_back():
    """Spoils the layer, and goes on with the spoilt one."""
    return measured(ranked(lambda i: run(range(i + 1))))


@wrong("06-2", says="You knock out rows of W_O")
def knocks_out_rows():
    """Sets four rows of W_O to 0 instead of four columns."""
    at = [slice(4 * i, 4 * i + 4) for i in range(6)]
    return measured(ranked(lambda i: run(columns=at[i], rows=True)))


@wrong("06-2", says="each of them once")
def reports_the_best():
    """Reports the most important head only."""
    return measured([4], 0.1)


@wrong("06-2", says="It is the other way round")
def reports_as_they_come():
    """Leaves the heads in their order."""
    return measured(list(range(6)))


@wrong("06-2", says="do they add up?")
def adds_the_two():
    """Adds the two changes instead of measuring."""
    return measured(together=run([4]) + run([1]))


@wrong("06-2", says="both are asked")
def knocks_out_one():
    """Reports the change without the first head alone."""
    return measured(together=run([4]))


@wrong("06-2", says="That is the square of it")
def squares():
    """Divides sums of squares."""
    return measured(together=run([4, 1], squared=True))


@wrong("06-2", says="such a head still speaks")
def zeroes_the_queries():
    """Sets the heads' queries to 0, so that they look everywhere."""
    return measured(together=run([4, 1], uniform=True))


@wrong("06-2", says="Set what both heads say to 0 in one run")
def reports_percent():
    """Reports per cent."""
    return measured(together=100 * run([4, 1]))


def heads(
    cut="thk", scale="k", mask="keys", merge="thk", soft=None, mix=True, turn=False
):
    """A many_heads with one thing, or several, in another way."""

    def many_heads(x, w_q, w_k, w_v, w_out, n_heads, present):
        (b, t, d), k = x.shape, x.shape[-1] // n_heads
        parts = [x @ (w.T if turn else w) for w in (w_q, w_k, w_v)]
        if cut == "thk":
            parts = [p.reshape(b, t, n_heads, k).transpose(1, 2) for p in parts]
        elif cut == "dealt":
            parts = [p.reshape(b, t, k, n_heads).permute(0, 3, 1, 2) for p in parts]
        else:
            parts = [p.reshape(b, n_heads, t, k) for p in parts]
        q, key, v = parts
        scores = q @ key.mT / {"k": k, "d": d, "none": 1, "h": n_heads}[scale] ** 0.5
        if mask != "none":
            axes = (b, 1, t, 1) if mask == "queries" else (b, 1, 1, t)
            hidden = present if mask == "absent" else ~present
            scores = scores.masked_fill(hidden.reshape(axes), -math.inf)
        weights = scores.softmax(dim=-2 if soft == "queries" else -1)
        if soft != "nan":
            weights = weights.nan_to_num(0)
        out = weights @ v
        out = out.transpose(1, 2) if merge == "thk" else out
        out = out.reshape(b, t, d)
        return out @ w_out if mix is True else out if mix is False else out @ w_out.T

    return {"many_heads": many_heads}


@right("06-3")
def with_einsum():
    """Keeps the heads as an axis, and never turns a tensor."""

    def many_heads(x, w_q, w_k, w_v, w_out, n_heads, present):
        q, k, v = ((x @ w).unflatten(-1, (n_heads, -1)) for w in (w_q, w_k, w_v))
        scores = torch.einsum("bthk,bshk->bhts", q, k) * q.shape[-1] ** -0.5
        low = torch.finfo(scores.dtype).min
        weights = torch.where(present[:, None, None], scores, low).softmax(dim=-1)
        return torch.einsum("bhts,bshk->bthk", weights, v).flatten(2) @ w_out

    return many_heads


@right("06-3")
def with_pytorch():
    """Lets PyTorch's function do it, and leaves zeros at the padding."""

    def many_heads(x, w_q, w_k, w_v, w_out, n_heads, present):
        out, _ = torch.nn.functional.multi_head_attention_forward(
            *[x.transpose(0, 1)] * 3,
            *(x.shape[-1], n_heads),
            *(torch.cat([w_q, w_k, w_v], dim=1).T, None, None, None, False, 0.0),
            *(w_out.T, None),
            key_padding_mask=~present,
        )
        return out.transpose(0, 1) * present[..., None]

    return many_heads


@wrong("06-3", says="Mistakes that are left: 4")
def copies_it():
    """Copies what is broken, all four mistakes in it."""
    return heads(cut="htk", scale="d", mask="queries", merge="htk")


@wrong("06-3", says="Mistakes that are left: 2")
def mends_the_axes_only():
    """Mends cutting and merging; scale and mask stay."""
    return heads(scale="d", mask="queries")


@wrong("06-3", says="`reshape` or `view` alone cuts across positions")
def cuts_across():
    """Cuts by a reshape alone."""
    return heads(cut="htk")


@wrong("06-3", says="not of d_model")
def scales_by_the_model():
    """Scales by the root of d_model."""
    return heads(scale="d")


@wrong("06-3", says="the keys are the last axis")
def masks_the_queries():
    """Masks the queries instead of the keys."""
    return heads(mask="queries")


@wrong("06-3", says="`present` is not used")
def does_not_mask():
    """Leaves the mask out."""
    return heads(mask="none")


@wrong("06-3", says="before they are laid side by side")
def merges_across():
    """Merges by a reshape alone."""
    return heads(merge="htk")


@wrong("06-3", says="The mask is the wrong way round")
def attends_to_the_padding():
    """Lets nobody attend to what is present."""
    return heads(mask="absent")


@wrong("06-3", says="You divide by the root of n_heads")
def scales_by_the_count():
    """Scales by the root of the number of heads."""
    return heads(scale="h")


@wrong("06-3", says="the columns of a head lie side by side")
def deals_the_columns_out():
    """Deals the columns out in turn, as cards."""
    return heads(cut="dealt")


@wrong("06-3", says="There are NaNs")
def masks_whole_rows():
    """Merges across, and masks whole rows, whose NaNs come along."""
    return heads(mask="queries", soft="nan", merge="htk")


@wrong("06-3", says="The scale is missing")
def does_not_scale():
    """Forgets the scale."""
    return heads(scale="none")


@wrong("06-3", says="W_O is missing")
def does_not_mix():
    """Forgets W_O."""
    return heads(mix=False)


@wrong("06-3", says="W_O is transposed")
def turns_w_out():
    """Multiplies by the transpose of W_O."""
    return heads(mix="turned")


@wrong("06-3", says="q is `x @ w_q`")
def turns_the_matrices():
    """Multiplies by the transposes of W_Q, W_K and W_V."""
    return heads(turn=True)


@wrong("06-3", says="one wide head")
def uses_one_head():
    """Ignores n_heads."""
    many_heads = heads()["many_heads"]
    return {"many_heads": lambda *given: many_heads(*given[:5], 1, given[6])}


@wrong("06-3", says="the softmax goes along the keys")
def normalizes_over_queries():
    """Takes the softmax over the queries."""
    return heads(soft="queries")


@wrong("06-3", says="Out comes what went in")
def does_not_merge():
    """Leaves the heads apart."""

    def many_heads(x, *rest):
        return x.unflatten(-1, (rest[4], -1)).transpose(1, 2)

    return many_heads


def grouping(pool, parts="kv", names=("weight", "bias"), swap=False, also=None):
    """A grouped() that makes of (heads, k, …) the few heads by `pool`(heads, g)."""

    def grouped(state, n_heads, n_kv_heads):
        new = dict(state)
        for name in names:
            if f"qkv.linear.{name}" not in state:
                continue
            q, k, v = state[f"qkv.linear.{name}"].chunk(3)
            k, v = (v, k) if swap else (k, v)
            new[f"qkv.linear.{name}"] = torch.cat(
                [
                    pool(x.unflatten(0, (n_heads, -1)), n_kv_heads).flatten(0, 1)
                    if part in parts
                    else x
                    for part, x in (("q", q), ("k", k), ("v", v))
                ]
            )
        return new | (also(state) if also else {})

    return {"grouped": grouped}


def mean(heads, g):
    return torch.stack([part.mean(dim=0) for part in heads.chunk(g)])


@right("06-4")
def by_a_matrix():
    """Multiplies by a matrix that holds which head is in which group."""

    def pool(heads, g):
        h = len(heads)
        belongs = torch.arange(h) * g // h == torch.arange(g)[:, None]
        return torch.einsum("gh,h...->g...", belongs * (g / h), heads)

    return grouping(pool)


@wrong("06-4", says="That is the sum of each group")
def adds_up():
    """Forgets to divide."""
    return grouping(lambda heads, g: mean(heads, g) * (len(heads) // g))


@wrong("06-4", says="Neighbours share")
def deals_the_heads_out():
    """Deals the heads out in turn, as cards."""
    return grouping(lambda x, g: torch.stack([x[i::g].mean(dim=0) for i in range(g)]))


@wrong("06-4", says="the first head of each group")
def takes_the_first():
    """Takes the first head of each group."""
    return grouping(lambda heads, g: heads[:: len(heads) // g])


@wrong("06-4", says="Rows of one head were averaged")
def averages_within_heads():
    """Averages neighbouring rows."""

    def pool(heads, g):
        near = heads.flatten(0, 1).unflatten(0, (g, heads.shape[1], -1))
        return near.mean(dim=2)

    return grouping(pool)


@wrong("06-4", says="Keys and values changed places")
def swaps_keys_and_values():
    """Takes the order to be q, v, k."""
    return grouping(mean, swap=True)


@wrong("06-4", says="The queries were averaged too")
def averages_queries():
    """Averages the queries as well."""
    return grouping(mean, parts="qkv")


@wrong("06-4", says="Only one of the two was averaged")
def averages_keys_only():
    """Averages the keys only."""
    return grouping(mean, parts="k")


@wrong("06-4", says="Return each mean once")
def repeats_the_means():
    """Gives each head of queries a copy of its mean."""
    return grouping(lambda x, g: mean(x, g).repeat_interleave(len(x) // g, dim=0))


@wrong("06-4", says="not over the rows of a head as well")
def averages_rows_too():
    """Leaves one row of each group."""
    return grouping(lambda x, g: x.unflatten(0, (g, -1)).mean(dim=(1, 2))[:, None])


@wrong("06-4", says="their biases are not")
def forgets_the_bias():
    """Averages the weight only."""
    return grouping(mean, names=("weight",))


@wrong("06-4", says="The weights are right; do the same")
def invents_a_bias():
    """Sets the biases of the means to 0."""

    def grouped(state, n_heads, n_kv_heads):
        new = grouping(mean)["grouped"](state, n_heads, n_kv_heads)
        at = len(new["out.weight"])
        if "qkv.linear.bias" in new:
            new["qkv.linear.bias"][at:] = 0
        return new

    return grouped


@wrong("06-4", says="it is the queries that it counts")
def averages_the_output():
    """Changes W_O too."""
    return grouping(mean, also=lambda state: {"out.weight": state["out.weight"] / 3})


@wrong("06-4", says="made with bias=False")
def needs_a_bias():
    """Invents biases where there are none."""

    def grouped(state, n_heads, n_kv_heads):
        bias = torch.zeros(len(state["qkv.linear.weight"]))
        out = {"out.bias": torch.zeros(len(state["out.weight"]))}
        state = {"qkv.linear.bias": bias} | out | state
        return grouping(mean)["grouped"](state, n_heads, n_kv_heads)

    return grouped


@wrong("06-4", says="the same four names")
def returns_the_weight_only():
    """Returns a dict with the new tensors only."""
    grouped = grouping(mean)["grouped"]

    def new(state, *numbers):
        return {k: x for k, x in grouped(state, *numbers).items() if "qkv" in k}

    return {"grouped": new}


@wrong("06-4", says="Which go together?")
def averages_everything():
    """Gives every group the mean of all heads."""
    return grouping(lambda heads, g: heads.mean(dim=0).expand(g, *heads.shape[1:]))


def talking(
    turn=(), first=True, second=True, swap=False, mask="late", late=False, **more
):
    """A talking_heads with one step in another way."""

    def talking_heads(q, k, v, mix_scores, mix_weights, may=None):
        if swap:
            mix_scores, mix_weights = mix_weights, mix_scores
        mix_scores = mix_scores.T if "scores" in turn else mix_scores
        mix_weights = mix_weights.T if "weights" in turn else mix_weights
        scores = q @ k.mT / (more.get("root") or q.shape[-1] ** 0.5)
        if mask in ("early", "low"):
            scores = scores.masked_fill(~may, -math.inf if mask == "early" else -1e9)
        if first:
            scores = torch.tensordot(mix_scores, scores, dims=([1], [1])).transpose(
                0, 1
            )
        if mask == "late":
            scores = scores.masked_fill(~may, more.get("low", -math.inf))
        weights = scores.softmax(dim=more.get("along", -1))
        if mask == "weights":
            weights = weights * may
        if late:
            return torch.einsum("ij,bjtk->bitk", mix_weights, weights @ v)
        if second:
            weights = torch.einsum("ij,bjts->bits", mix_weights, weights)
        if more.get("shares"):
            weights = weights / weights.sum(dim=-1, keepdim=True)
        if more.get("softly"):
            weights = weights.softmax(dim=-1)
        return weights @ v

    return {"talking_heads": talking_heads}


@right("06-5")
def by_a_product_of_matrices():
    """Mixes by a product with the axis of the heads last."""

    def mixed(mixture, x):
        return (x.movedim(1, -1) @ mixture.T).movedim(-1, 1)

    def talking_heads(q, k, v, mix_scores, mix_weights, mask=None):
        scores = mixed(mix_scores, q @ k.mT) / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = scores + torch.where(mask, 0.0, -math.inf)
        return mixed(mix_weights, scores.softmax(dim=-1)) @ v

    return talking_heads


@right("06-5")
def head_after_head():
    """Adds up in loops."""

    def talking_heads(q, k, v, mix_scores, mix_weights, mask=None):
        h, root = q.shape[1], q.shape[-1] ** 0.5
        scores = [q[:, j] @ k[:, j].mT / root for j in range(h)]
        weights = []
        for i in range(h):
            mixed = sum(float(mix_scores[i, j]) * scores[j] for j in range(h))
            weights.append(mixed.masked_fill(~mask, -1e9).softmax(dim=-1))
        out = [
            sum(mix_weights[i, j] * (weights[j] @ v[:, i]) for j in range(h))
            for i in range(h)
        ]
        return torch.stack(out, dim=1)

    return talking_heads


@wrong("06-5", says="no head has talked yet")
def does_not_talk():
    """Is plain attention."""
    return talking(first=False, second=False)


@wrong("06-5", says="The scores are not mixed")
def mixes_weights_only():
    """Mixes the weights only."""
    return talking(first=False)


@wrong("06-5", says="The weights are not mixed")
def mixes_scores_only():
    """Mixes the scores only."""
    return talking(second=False)


@wrong("06-5", says="The mask is not used")
def ignores_the_mask():
    """Does not mask."""
    return talking(mask="none")


@wrong("06-5", says="There are NaNs")
def masks_before_mixing():
    """Masks with -inf before the mixing."""
    return talking(mask="early")


@wrong("06-5", says="a negative factor makes a very low score high")
def masks_low_before_mixing():
    """Masks with a very low number before the mixing."""
    return talking(mask="low")


@wrong("06-5", says="it had taken its share of the sum")
def masks_the_weights():
    """Sets forbidden weights to 0 after the softmax."""
    return talking(mask="weights")


@wrong("06-5", says="the softmax goes along the keys")
def normalizes_talk_over_queries():
    """Takes the softmax over the queries, of very low numbers."""
    return talking(along=-2, low=-1e9)


@wrong("06-5", says="Both mixtures are transposed")
def turns_both():
    """Reads both mixtures by their columns."""
    return talking(turn=("scores", "weights"))


@wrong("06-5", says="mix_scores is transposed")
def turns_the_first():
    """Reads mix_scores by its columns."""
    return talking(turn=("scores",))


@wrong("06-5", says="mix_weights is transposed")
def turns_the_second():
    """Reads mix_weights by its columns."""
    return talking(turn=("weights",))


@wrong("06-5", says="The two mixtures changed places")
def swaps_the_mixtures():
    """Takes one mixture for the other."""
    return talking(swap=True)


@wrong("06-5", says="divided by their sum")
def makes_shares():
    """Makes the mixed weights sum to one."""
    return talking(shares=True)


@wrong("06-5", says="which W_O could do as well")
def mixes_what_was_said():
    """Mixes the outputs of the heads instead of their weights."""
    return talking(late=True)


@wrong("06-5", says="The scale is missing")
def forgets_the_root():
    """Does not scale the scores."""
    return talking(root=1.0)


@wrong("06-5", says="which step is another?")
def scales_by_the_heads():
    """Scales by the root of the number of heads."""
    return talking(root=3**0.5)


def fed_by(kind):
    """The function that the notebook gives."""

    def fed(window, pieces):
        made = kind(window)
        return [[made.positions(k.shape[2]), *made.update(k, v)] for k, v in pieces]

    return fed


def cache(
    keep=lambda w: w,
    returned=None,
    low=0,
    high=lambda w: w - 1,
    positions="seen",
    mask=True,
    shared=False,
):
    """A WindowCache that keeps `keep`(window) positions, with one thing in another way."""

    store = {"n": 0, "k": None, "v": None}

    class WindowCache:
        def __init__(self, window):
            self.window = window
            self.store = store if shared else dict(store)

        def positions(self, t):
            k = self.store["k"]
            kept = 0 if k is None else k.shape[2]
            n = {"seen": self.store["n"], "kept": kept, "zero": 0}[positions]
            return torch.arange(n, n + t)

        def update(self, k, v):
            t, store = k.shape[2], self.store
            if store["k"] is not None:
                k, v = torch.cat([store["k"], k], 2), torch.cat([store["v"], v], 2)
            start = max(0, k.shape[2] - keep(self.window))
            store["k"], store["v"] = k[:, :, start:], v[:, :, start:]
            store["n"] += t
            if returned:
                k, v = (
                    k[:, :, -returned(self.window) :],
                    v[:, :, -returned(self.window) :],
                )
            s = k.shape[2]
            apart = torch.arange(s)[-t:, None] - torch.arange(s)
            may = (apart >= low) & (apart <= high(self.window))
            return k, v, may if mask is True else mask and mask(may)

    return {"WindowCache": WindowCache, "fed": fed_by(WindowCache)}


@right("06-6")
def keeps_the_whole_window():
    """Keeps `window` positions; the mask forbids the oldest."""
    return cache()


@right("06-6")
def keeps_positions_too():
    """Keeps each key's position beside it, and compares positions; a mask of four axes."""

    class WindowCache:
        def __init__(self, window):
            self.window, self.n, self.kept = window, 0, []

        def positions(self, t):
            return torch.tensor([self.n + i for i in range(t)])

        def update(self, k, v):
            new = self.positions(k.shape[2])
            self.n += len(new)
            steps = zip(new.tolist(), k.unbind(dim=2), v.unbind(dim=2), strict=True)
            every = self.kept + list(steps)
            self.kept = [e for e in every if e[0] > self.n - self.window]
            old = torch.tensor([e[0] for e in every])
            may = [(old <= i) & (old > i - self.window) for i in new]
            k, v = (torch.stack([e[i] for e in every], dim=2) for i in (1, 2))
            return [k, v, torch.stack(may)[None, None]]

    return {"WindowCache": WindowCache, "fed": fed_by(WindowCache)}


@wrong("06-6", says="Keep the last `window` positions from call to call")
def keeps_everything():
    """Is right but for the memory: throws nothing away."""
    return cache(keep=lambda w: 10**6)


@wrong("06-6", says="`x[-0:]` is all of x")
def slices_from_minus_zero():
    """Keeps everything where the window is 1."""
    return cache(keep=lambda w: w - 1 or 10**6)


@wrong("06-6", says="Shorten what is kept for the next call")
def shortens_what_it_returns():
    """Returns the last `window` keys, however long the piece."""
    return cache(returned=lambda w: w, mask=None)


@wrong("06-6", says="count on from what is kept")
def counts_what_is_kept():
    """Counts the positions on from the number of kept ones."""
    return cache(positions="kept")


@wrong("06-6", says="These begin with 0 again")
def begins_again():
    """Counts each piece from 0."""
    return cache(positions="zero")


@wrong("06-6", says="There is no mask")
def returns_no_mask():
    """Returns None for the mask, as a full cache may."""
    return cache(mask=None)


@wrong("06-6", says="the mask must be causal too")
def forgets_causality():
    """Masks what is too far back only."""
    return cache(low=-(10**6))


@wrong("06-6", says="The window moves on with the query")
def lets_all_look_back():
    """Masks what comes after only."""
    return cache(high=lambda w: 10**6)


@wrong("06-6", says="One position too many")
def looks_one_too_far():
    """Counts the window without the query's own position."""
    return cache(high=lambda w: w)


@wrong("06-6", says="One position too few")
def looks_one_too_short():
    """Looks at `window` - 1 positions."""
    return cache(high=lambda w: max(0, w - 2))


@wrong("06-6", says="A new cache must begin empty")
def shares_between_caches():
    """Keeps what it holds in the class, so that all caches share it."""
    return cache(shared=True)


@wrong("06-6", says="It says for each of the t new queries")
def turns_the_mask():
    """Returns the mask with keys first."""
    return cache(mask=lambda may: may.T)


@wrong("06-6", says="A mask is a Boolean tensor")
def adds_a_mask():
    """Returns numbers to be added to the scores."""
    return cache(mask=lambda may: torch.where(may, 0.0, -math.inf))


@wrong("06-6", says="A query may look at nothing")
def turns_true_and_false():
    """Takes True for "may not attend"."""
    return cache(mask=lambda may: ~may)


@wrong("06-6", says="`update` returns three things")
def leaves_the_mask_out():
    """Returns keys and values only."""
    answer = cache()

    class WindowCache(answer["WindowCache"]):
        def update(self, k, v):
            return super().update(k, v)[:2]

    return {"WindowCache": WindowCache, "fed": fed_by(WindowCache)}


@wrong("06-6", says="The new keys come last")
def puts_the_new_first():
    """Joins new and old in the wrong order."""

    class WindowCache:
        def __init__(self, window):
            self.window, self.n, self.kept = window, 0, None

        def positions(self, t):
            return torch.arange(self.n, self.n + t)

        def update(self, k, v):
            self.n += k.shape[2]
            if self.kept:
                old_k, old_v = self.kept
                k, v = torch.cat([k, old_k], dim=2), torch.cat([v, old_v], dim=2)
            self.kept = k[:, :, -self.window :], v[:, :, -self.window :]
            return k, v, None

    return {"WindowCache": WindowCache, "fed": fed_by(WindowCache)}
