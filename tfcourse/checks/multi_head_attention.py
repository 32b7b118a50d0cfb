"""What the answers of chapter 6's exercises must do."""

import math
from itertools import pairwise, product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tfcourse.checks import Mistake, close, describe, differs, exercise
from tfcourse.checks.compare import fed


@exercise(
    "06-1",
    title="Twice as many heads",
    kind="prediction",
    minutes=5,
    difficulty=1,
    points=2,
    choices=("parameters", "multiply-adds", "attention weights", "nothing"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    d_model, t = 64, 10
    x = draw.normal(1, t, d_model)
    layers = [nn.MultiheadAttention(d_model, n, batch_first=True) for n in (8, 16)]
    learned = [sum(p.numel() for p in layer.parameters()) for layer in layers]
    tables = [layer(x, x, x, average_attn_weights=False)[1] for layer in layers]
    held = [table.numel() for table in tables]
    assert learned[0] == learned[1] and held[1] == 2 * held[0]
    replies = {
        "parameters": "Twice the heads, each half as wide: W_Q, W_K and W_V have "
        "d_model rows as before, cut at other places, and W_O does not know of cuts.",
        "multiply-adds": "There are twice as many dot products, and each is half as "
        "long. What is left to count once a dot product is done?",
        "nothing": "The matrices and the multiply-adds stay as they were, yes. But "
        "every head has a table (t, s) of its own: how many numbers are in all tables?",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    return (
        f"For {t} positions, `torch.nn.MultiheadAttention({d_model}, n)` holds "
        f"{held[0]} weights with 8 heads and {held[1]} with 16; {learned[0]} parameters "
        "both times."
    )


def somebodys_layer() -> tuple[Tensor, dict[str, Tensor]]:
    """Inputs (3, 10, 24), and a state for a MultiHeadAttention(24, 6, bias=False).

    Not trained but made, so that a look at the weights misleads.
    """
    seed = torch.Generator().manual_seed(6)
    x = torch.randn(3, 10, 24, generator=seed)
    x[..., 20:] = 0  # four numbers into which nothing was written
    qkv = torch.randn(3, 6, 4, 24, generator=seed) / math.sqrt(24)
    out = torch.randn(24, 6, 4, generator=seed) / math.sqrt(24)
    for head, (look, value, speak) in enumerate(
        [(2, 1, 1), (1, 2, 1.2), (3, 0.2, 2), (4, 1, 2.5), (1, 2, 1.2), (1, 2, 0.7)]
    ):
        qkv[:2, head] *= look
        qkv[2, head] *= value
        out[:, head] *= speak
    qkv[2, 3, :, :20] = 0  # its values are made of those four numbers: it is dead
    qkv[:, 1] = qkv[:, 4]  # these two look at the same and say the opposite
    out[:, 1] = -0.9 * out[:, 4]
    return x, {"qkv.linear.weight": qkv.reshape(72, 24), "out.weight": out.flatten(1)}


def _parts(x, state, uniform=()):
    """What enters W_O, (b, t, 24), head by head; `uniform` heads look everywhere."""
    q, k, v = (x @ state["qkv.linear.weight"].T).split(24, dim=-1)
    heads, tables = [], []
    for head in range(6):
        at = slice(4 * head, 4 * head + 4)
        scores = q[..., at] @ k[..., at].mT / 2
        table = (scores * 0 if head in uniform else scores).softmax(dim=-1)
        heads.append(table @ v[..., at])
        tables.append(table)
    return torch.cat(heads, dim=-1), torch.stack(tables)


@exercise(
    "06-2",
    title="Which head matters?",
    kind="measurement",
    minutes=15,
    difficulty=2,
    points=3,
)
def _(answer, draw):
    ranking, together = answer.value("ranking"), answer.number("together")
    x, state = somebodys_layer()
    mixed, tables = _parts(x, state)
    w_out = state["out.weight"]
    out = mixed @ w_out.T

    def change(*heads, kept=None):
        gone = torch.zeros(24, dtype=torch.bool)
        gone[[4 * head + i for head in heads for i in range(4)]] = True
        kept = ~gone if kept is None else kept
        return float(((mixed * kept) @ w_out.T - out).norm() / out.norm())

    def down(sizes):
        return [
            int(i) for i in torch.as_tensor(sizes).argsort(descending=True, stable=True)
        ]

    places = torch.arange(24)
    alone = [change(head) for head in range(6)]
    want = down(alone)
    if isinstance(ranking, Tensor):
        ranking = ranking.tolist()
    if not isinstance(ranking, list | tuple) or sorted(ranking) != list(range(6)):
        raise Mistake(
            "`ranking` is a list of the six heads, 0 to 5, each of them once; got "
            f"{describe(ranking)}."
        )
    mistakes = {
        "That is from the least to the most: the head that matters most comes first.": (
            want[::-1]
        ),
        "That is the order of the sizes of W_O's columns. What a head says is its "
        "values times those: knock it out, and measure.": down(
            w_out.view(24, 6, 4).pow(2).sum(dim=(0, 2))
        ),
        "That is the order of how sharply the heads look. A head may look sharply, and "
        "bring nothing home.": down(tables.amax(dim=-1).mean(dim=(1, 2))),
        "You take every sixth number for a head; the numbers of a head lie side by "
        "side, head i's from 4 * i on.": down(
            [change(kept=places % 6 != head) for head in range(6)]
        ),
        "The heads before were still missing: put a head back before you take the next "
        "one out.": down([change(*range(head + 1)) for head in range(6)]),
        "You knock out rows of W_O, which are numbers of the output; a head enters "
        "through four of its columns.": down(
            [out[..., 4 * head : 4 * head + 4].norm() for head in range(6)]
        ),
    }
    for told, order in mistakes.items():
        differs(list(ranking), order, says=told)
    for one, other in pairwise(ranking):
        if alone[one] < alone[other]:
            raise Mistake(
                "It is the other way round: knock out each of the two, with the other "
                "five heads as they were.",
                seen=f"You have head {one} before head {other}.",
            )
    first, second = want[:2]
    known = change(first, second)
    flat = _parts(x, state, uniform=(first, second))[0] @ w_out.T
    sides = {
        "That is the sum of the two changes, each alone. Knock both out at once: do "
        "they add up?": alone[first] + alone[second],
        f"That is the change when head {first} alone is missing; both are asked.": alone[
            first
        ],
        "That is the square of it: take the norms, `.norm()`, and divide.": known**2,
        "You took their queries or keys away: such a head still speaks, it looks "
        "everywhere alike. Take away what it says.": float(
            (flat - out).norm() / out.norm()
        ),
    }
    for told, other in sides.items():
        differs(together, other, says=told, rtol=0.01)
    if not isinstance(together, int | float) or not abs(together / known - 1) < 0.01:
        raise Mistake(
            "Set what both heads say to 0 in one run; then ‖changed - out‖ / ‖out‖, a "
            "share and not per cent.",
            seen=f"`together` is {describe(together)}.",
        )
    return (
        f"Alone, heads {first} and {second} change the output by {alone[first]:.0%} and "
        f"{alone[second]:.0%}, together by {known:.0%}: this made-up pair says the same "
        "with opposite signs. One head at a time is not the whole story. Head "
        f"{want[-1]} has the largest columns in W_O, and changes nothing."
    )


FLAWS = {  # in the order in which a reader meets them
    "cut": "`reshape` or `view` alone cuts across positions: make the heads the last but one "
    "axis, (b, t, h, k), and then let them change places with the positions.",
    "scale": "The scores of a head are dot products of k numbers: divide by the root "
    "of k, the width of a head, not of d_model.",
    "mask": "The padding is attended to. `present` speaks of keys, and the keys are the "
    "last axis of the scores: (b, 1, 1, s).",
    "unmasked": "The padding is attended to: `present` is not used.",
    "merge": "The heads have to change places with the positions again before they are "
    "laid side by side.",
}


def _heads(x, w_q, w_k, w_v, w_out, n_heads, present, flaws=()):
    """One head after the other; flaws: what is wrong, some of FLAWS."""
    (b, t, d), k = x.shape, x.shape[-1] // n_heads
    scale = (d if "scale" in flaws else k) ** -0.5
    mask = present[:, :, None] if "mask" in flaws else present[:, None, :]
    mask = torch.ones(b, t, t).bool() if "unmasked" in flaws else mask.expand(b, t, t)
    said = []
    for i in range(n_heads):
        projected = [x @ w for w in (w_q, w_k, w_v)]
        if "cut" in flaws:
            parts = [p.reshape(b, n_heads, t, k)[:, i] for p in projected]
        else:
            parts = [p[..., i * k : (i + 1) * k] for p in projected]
        scores = (parts[0] @ parts[1].mT * scale).masked_fill(~mask, -math.inf)
        weights = scores.softmax(dim=-2 if "softmax" in flaws else -1)
        said.append(weights.nan_to_num() @ parts[2])  # 0 without any key
    if "merge" in flaws:
        return torch.stack(said, dim=1).reshape(b, t, d) @ w_out
    return torch.cat(said, dim=-1) @ w_out


@exercise("06-3", title="Mend the heads", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    b, t, h, k = 2, 5, 3, 4
    d = h * k
    x, (w_q, w_k, w_v, w_out) = draw.normal(b, t, d), draw.normal(4, d, d) / 2
    present = torch.arange(t) < torch.tensor([[t], [t - 2]])
    inputs = x, w_q, w_k, w_v, w_out, h, present
    got = answer.many_heads(*inputs)
    given = {"x": x, "n_heads": h, "present": present}
    if not isinstance(got, Tensor) or got.shape != x.shape:
        says = f"Out comes what went in, {(b, t, d)} here."
        close(got, x, says=says, given=given)
    whole, got, everywhere = got, got[present], present | True
    if got.isnan().any():
        raise Mistake(
            "There are NaNs: a softmax over nothing but -inf. The mask and the softmax "
            "both go along the keys, the last axis, and True is what may be attended "
            "to: so every query finds itself.",
            given=given,
        )
    every = [
        [name for name, there in zip(FLAWS, row, strict=True) if there]
        for row in product((False, True), repeat=len(FLAWS))
        if sum(row[2:4]) < 2  # not both mistakes with the mask
    ]
    for flaws in every[1:]:
        count = f" (Mistakes that are left: {len(flaws)}.)"
        says = FLAWS[flaws[0]] + (count if len(flaws) > 1 else "")
        at = everywhere if "unmasked" in flaws else present
        differs(whole[at], _heads(*inputs, flaws)[at], says=says, given=given)
    scaled = x, w_q * math.sqrt(k), *inputs[2:]
    each = w_q, w_k, w_v
    alike = [w.mT for w in each]
    dealt = [w[:, torch.arange(d).view(k, h).T.flatten()] for w in each]
    by_heads = x, w_q * math.sqrt(k / h), *inputs[2:]
    mistakes = {
        "The mask is the wrong way round: True is what may be attended to.": _heads(
            *inputs[:6], ~present
        ),
        "You divide by the root of n_heads. A head's scores are dot products of k "
        "numbers, k = d / n_heads: divide by the root of k.": _heads(*by_heads),
        "You take every n_heads-th column for a head; the columns of a head lie side "
        "by side.": _heads(x, *dealt, *inputs[4:]),
        "The scale is missing: divide the scores by the root of k.": _heads(*scaled),
        "W_O is missing: the heads lie side by side, and nothing mixes them.": _heads(
            *inputs[:4], torch.eye(d), h, present
        ),
        "W_O is transposed: it is `mixed @ w_out`.": _heads(
            *inputs[:4], w_out.mT, h, present
        ),
        "The matrices are transposed: q is `x @ w_q`.": _heads(
            x, *alike, w_out, h, present
        ),
        "That is one wide head: nothing was cut.": _heads(*inputs[:5], 1, present),
        "The weights of a *query* sum to one: the softmax goes along the keys, the last "
        "axis of the scores.": _heads(*inputs, ["softmax"]),
    }
    mistakes = {told: wrong[present] for told, wrong in mistakes.items()}
    says = "Go through the shapes: (b, t, d), (b, t, h, k), (b, h, t, k), and back."
    close(got, _heads(*inputs)[present], mistakes=mistakes, given=given, says=says)
    return (
        "The same as one head after the other, each with its columns of the matrices."
    )


def _pooled(tensor, h, g, pool=None, members=None):
    """Rows of q, k, v for g key/value heads: of each group the mean, or pool's."""
    pool = pool or (lambda rows: sum(rows) / len(rows))
    members = members or (lambda i: range(i * (h // g), (i + 1) * (h // g)))
    q, *both = tensor.chunk(3)
    parts = [q]
    for part in both:
        heads = part.chunk(h)
        parts += [pool([heads[j] for j in members(i)]) for i in range(g)]
    return torch.cat(parts)


@exercise("06-4", title="From many heads to few", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    h, g, k = 6, 2, 4
    d = h * k
    weight, bias, name = draw.normal(3 * d, d), draw.normal(3 * d), "qkv.linear."
    rest = {"out.weight": draw.normal(d, d), "out.bias": draw.normal(d)}
    state = {name + "weight": weight, name + "bias": bias, **rest}
    got = answer.grouped(state, h, g)
    given = f"a state of MultiHeadAttention({d}, {h}), n_heads = {h}, n_kv_heads = {g}"
    if not isinstance(got, dict) or got.keys() != state.keys():
        says = "A dict with the same four names is asked."
        close(got, state, says=says, given=given)
    rows = [getattr(got[name + n], "shape", (0,))[0] for n in ("weight", "bias")]
    told = {
        3 * d: "There are as many rows as before: n_heads heads of keys and of values. "
        "Return each mean once.",
        d
        // h
        * 3
        * g: "The queries were averaged too: there are n_heads of them, as before.",
        d + 2 * g: "Of each group one row is left: take the mean over its heads, not "
        "over the rows of a head as well.",
        2 * d + g * k: "Only one of the two was averaged; it is both, keys and values.",
    }
    if rows[0] in told and got[name + "weight"].shape[1:] == (d,):
        raise Mistake(told[rows[0]], given=given)
    if rows == [d + 2 * g * k, 3 * d]:
        says = "The rows are averaged, their biases are not: each row has one."
        raise Mistake(says, given=given)
    w_q, w_k, w_v = weight.chunk(3)
    crossed = weight.reshape(3, g, k, h // g, d).mean(dim=3)[1:].reshape(-1, d)
    mistakes = {
        "That is the sum of each group: divide by the number of heads in it.": _pooled(
            weight, h, g, sum
        ),
        "Head i went to group i % n_kv_heads. Neighbours share: with 6 heads and 2 "
        "groups, heads 0, 1 and 2 are a group.": _pooled(
            weight, h, g, members=lambda i: range(i, h, g)
        ),
        "That is the first head of each group; the mean of all of them is asked.": (
            _pooled(weight, h, g, lambda rows: rows[0])
        ),
        "Rows of one head were averaged with each other. A head's k rows lie side by "
        "side: row 0 of a head meets row 0 of the others.": torch.cat([w_q, crossed]),
        "Keys and values changed places: the order is q, k, v.": _pooled(
            torch.cat([w_q, w_v, w_k]), h, g
        ),
    }
    want = {"weight": _pooled(weight, h, g), "bias": _pooled(bias, h, g)}
    says = "Rows of W_K, head by head: 0 to k - 1, k to 2k - 1, … Which go together?"
    close(
        got[name + "weight"], want["weight"], mistakes=mistakes, says=says, given=given
    )
    says = "The weights are right; do the same to `qkv.linear.bias`."
    close(got[name + "bias"], want["bias"], says=says, given=given)
    says = "What follows the heads, `out`, stays: it is the queries that it counts."
    close({n: got[n] for n in rest}, rest, says=says, given=given)
    bare = {name + "weight": weight, "out.weight": rest["out.weight"]}
    says = "This layer was made with bias=False: only the weights are there."
    alone = answer.grouped(bare, h, 1)
    close(
        alone,
        bare | {name + "weight": _pooled(weight, h, 1)},
        says=says,
        given=f"a state without biases, n_heads = {h}, n_kv_heads = 1",
    )
    return (
        f"Of each position {2 * g * k} numbers are left to remember instead of {2 * d}. "
        "What is lost is trained back in: Ainslie et al. spend 5 % of the first training."
    )


def _talk(q, k, v, mix_scores, mix_weights, mask, **change):
    """Talking heads, head by head; `change` puts another step in place of ours."""
    h = q.shape[1]

    def mix(by, tables):
        if by is None:
            return tables
        return [sum(by[i, j] * tables[j] for j in range(h)) for i in range(h)]

    root = change.get("root", math.sqrt(q.shape[-1]))
    scores = [q[:, i] @ k[:, i].mT / root for i in range(h)]
    scores = mix(mix_scores, scores)
    if mask is not None:
        low = -1e9 if change.get("across") else -math.inf  # -inf would make NaNs
        scores = [s.masked_fill(~mask, low) for s in scores]
    weights = [s.softmax(dim=-2 if change.get("across") else -1) for s in scores]
    if "shown" in change:
        weights = [w * change["shown"] for w in weights]
    if change.get("late"):
        return torch.stack(
            mix(mix_weights, [weights[i] @ v[:, i] for i in range(h)]), 1
        )
    weights = mix(mix_weights, weights)
    if change.get("shares"):
        weights = [w / w.sum(dim=-1, keepdim=True) for w in weights]
    return torch.stack([weights[i] @ v[:, i] for i in range(h)], dim=1)


@exercise("06-5", title="Talking heads", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    b, h, t, s, k = 2, 3, 4, 5, 6
    q, keys, v = (
        draw.normal(b, h, t, k),
        draw.normal(b, h, s, k),
        draw.normal(b, h, s, k),
    )
    before, after = draw.normal(h, h), draw.normal(h, h)
    before[0] = -before[0].abs()  # a sum below 0: turns "very low" into "very high"
    mask = torch.ones(t, s, dtype=torch.bool).tril(1)
    mask[:, 0] = draw.integer(0, 2, t).bool()
    mask[:, -1] = False
    inputs = q, keys, v, before, after, mask
    got = answer.talking_heads(*inputs)
    given = {"q": q, "k": keys, "v": v, "mask": mask, "and the mixtures": (h, h)}
    if isinstance(got, Tensor) and got.isnan().any():
        raise Mistake(
            "There are NaNs. Either what was masked got mixed, and -inf - -inf is not a "
            "number: mask what the softmax gets, after the mixing. Or the softmax went "
            "along the queries, and met a key that is forbidden to all.",
            given=given,
        )

    def other(before=before, after=after, mask=mask, **change):
        return _talk(q, keys, v, before, after, mask, **change)

    mistakes = {
        "That is plain attention: no head has talked yet.": other(None, None),
        "The scores are not mixed, only the weights.": other(before=None),
        "The weights are not mixed, only the scores.": other(after=None),
        "The mask is not used.": other(mask=None),
        "Both mixtures are transposed: row i says what head i takes from the others.": (
            other(before.mT, after.mT)
        ),
        "mix_scores is transposed: its row i makes head i's scores.": other(before.mT),
        "mix_weights is transposed: its row i makes head i's weights.": other(
            after=after.mT
        ),
        "The two mixtures changed places: mix_scores comes before the softmax.": other(
            after, before
        ),
        "The mixed weights were divided by their sum. In talking heads they stay as "
        "they are mixed; they need not sum to one.": other(shares=True),
        "What the heads said was mixed, which W_O could do as well: mix the weights, "
        "and let each head use its mixture on its own values.": other(late=True),
        "The scale is missing: divide the scores by the root of k.": other(root=1.0),
        "The weights were masked, after the softmax: what is forbidden got 0, but it "
        "had taken its share of the sum. Mask the scores, before the softmax.": other(
            mask=None, shown=mask
        ),
        "The weights of a *query* sum to one: the softmax goes along the keys, the last "
        "axis of the scores.": other(across=True),
    }
    for told, wrong in mistakes.items():
        differs(got, wrong, says=told, given=given)
    moved = [x + 0 for x in (keys, v)]
    for x in moved:
        x[:, :, -1] += 1  # a key that no query may look at
    again = answer.talking_heads(q, *moved, *inputs[3:])
    says = "A key that the mask forbids to all reached the output. Was the mask put on "
    says += "before the mixing? There, a negative factor makes a very low score high."
    close(again, got, says=says, given=given)
    says = "Scores, scale, mix, mask, softmax, mix, values: which step is another?"
    close(got, _talk(*inputs), says=says, given=given)
    extra = 2 * h * h
    return f"The same as head by head; the talking cost {extra} parameters in all."


def _fed(answer, window, pieces):
    def feed():
        answer.make("WindowCache", window)
        return answer.fed(window, pieces)

    return fed(feed, "WindowCache", len(pieces), f"window = {window}")


def _counted(positions, seen, t, window, given):
    """A Mistake unless these are the positions of t tokens after `seen` others."""
    told = "These count on from what is kept; positions count all that ever came."
    for held in {min(seen, window), min(seen, window - 1)} - {0, seen}:
        differs(positions, torch.arange(held, held + t), says=told, given=given)
    if seen:
        told = "These begin with 0 again: count on from the last piece."
        differs(positions, torch.arange(t), says=told, given=given)
    says = "`positions(t)`: those of the t tokens that come next."
    want = torch.arange(seen, seen + t)
    close(positions, want, says=says, given=given)


def _kept(back, pieces, window):
    """A Mistake unless what comes back is as much, and as new, as it must be."""
    seen = 0
    for number, (four, new) in enumerate(zip(back, pieces, strict=True)):
        t = new[0].shape[2]
        given = f"window = {window}, piece {number}: {t} positions after {seen} others"
        positions, *both, mask = four
        _counted(positions, seen, t, window, given)
        for name, all_of in zip(("keys", "values"), both, strict=True):
            if not isinstance(all_of, Tensor) or all_of.ndim != 4:
                says = (
                    f"`update` returns keys, values and a mask; its {name} are to be "
                )
                says += "a tensor (b, g, s, k)."
                raise Mistake(says, seen=f"Got {describe(all_of)}.", given=given)
        seen += t
        s, need = both[0].shape[2], min(seen, window - 1 + t)
        back_came = f"{s} keys came back for a piece of {t}; {need} are needed."
        if both[1].shape[2] != s:
            says = f"{s} keys, and {both[1].shape[2]} values: each key has one."
            raise Mistake(says, given=given)
        if s < need:
            raise Mistake(
                "The first query of a piece looks back as far as the last. Shorten what "
                "is kept for the next call, and not what this one returns.",
                seen=back_came,
                given=given,
            )
        if s > min(seen, window + t):
            says = "Keep the last `window` positions from call to call, and no more."
            if window == 1:
                says = (
                    "With a window of 1 nothing older is needed; `x[-0:]` is all of x."
                )
            raise Mistake(says, seen=back_came, given=given)
        for name, all_of, added in zip(("keys", "values"), both, new, strict=True):
            says = f"The new {name} come last among the {name} that `update` returns."
            close(all_of[:, :, -t:], added, says=says, given=given)
        _fits(mask, (*both[0].shape[:2], t, s), given)


def _fits(mask, scores, given):
    """A Mistake for a mask that is no mask for scores of this shape, (b, h, t, s)."""
    if mask is None:
        return
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        says = "A mask is a Boolean tensor, True = may attend."
        raise Mistake(says, seen=f"The mask is {describe(mask)}.", given=given)
    pairs = zip(mask.shape[::-1], scores[::-1], strict=False)
    if mask.ndim > 4 or any(m not in (1, n) for m, n in pairs):
        raise Mistake(
            "It says for each of the t new queries which of the s returned keys it "
            f"may look at: (t, s) = {scores[2:]}.",
            seen=f"The mask has shape {tuple(mask.shape)}.",
            given=given,
        )
    if not mask.any(dim=-1).all():
        says = "A query may look at nothing: True is what it may, and itself it may."
        raise Mistake(says, given=given)


def _between(back, low, high):
    """The same keys and values under other masks: low <= distance back <= high."""
    for positions, k, v, _ in back:
        t, s = len(positions), k.shape[2]
        apart = torch.arange(s - t, s)[:, None] - torch.arange(s)
        yield k, v, (low <= apart) & (apart <= high)


@exercise("06-6", title="A cache with a window", minutes=40, difficulty=5, points=6)
def _(answer, draw):
    b, g, k, window, sizes = 2, 3, 5, 4, [2, 1, 7, 1, 3, 1]
    n = sum(sizes)
    q, keys, values = (draw.normal(b, g, n, k) for _ in range(3))
    pieces = list(
        zip(keys.split(sizes, dim=2), values.split(sizes, dim=2), strict=True)
    )
    back = _fed(answer, window, pieces)
    given = f"window = {window}, pieces of {sizes} positions, twice"
    says = "A new cache must begin empty; yours remembers what another one was fed."
    close(_fed(answer, window, pieces), back, says=says, given=given)
    _kept(back, pieces, window)

    def attended(parts):
        with_queries = zip(q.split(sizes, dim=2), parts, strict=True)
        return torch.cat(
            [F.scaled_dot_product_attention(p, *rest) for p, rest in with_queries],
            dim=2,
        )

    def whole(window):
        """Every query by itself, with the keys of its own window."""
        ends = [(i, slice(max(0, i - window + 1), i + 1)) for i in range(n)]
        return torch.cat(
            [
                F.scaled_dot_product_attention(
                    q[:, :, [i]], keys[:, :, a], values[:, :, a]
                )
                for i, a in ends
            ],
            dim=2,
        )

    got = attended([rest for _, *rest in back])
    given = f"window = {window}, pieces of {sizes} positions"
    mistakes = {
        "There is no mask: within a piece, queries see what comes after them, and too "
        "far back.": attended(_between(back, -n, n)),
        "Queries see what comes after them in their piece: the mask must be causal "
        "too.": attended(_between(back, -n, window - 1)),
        "The first queries of a piece are right; the others look too far back. The "
        "window moves on with the query.": attended(_between(back, 0, n)),
        "One position too many: the query's own is one of the window.": whole(
            window + 1
        ),
        "One position too few: itself, and the window - 1 before it.": whole(
            window - 1
        ),
    }
    says = "Write out, for one piece, the positions of its queries and of the keys."
    close(got, whole(window), mistakes=mistakes, says=says, given=given)
    _kept(_fed(answer, 1, pieces), pieces, 1)
    size = 2 * b * g * k
    return (
        f"The same as every query with its own window. However long the text, "
        f"{window * size} numbers are kept at most, where all {n} positions take {n * size}."
    )
