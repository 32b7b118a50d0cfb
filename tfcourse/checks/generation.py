"""What the answers of chapter 12's exercises must do."""

import math
import re
from functools import cache, partial
from itertools import combinations, pairwise, product

import torch
from torch import Tensor

from tfcourse.checks import Draw, Mistake, close, describe, differs, exercise
from tfcourse.checks.compare import alike, difference, measured, telling
from tfcourse.data.corpus import load_corpus
from tfcourse.gpt import stored_gpt


def _kept(chances, rule):
    """The tokens that a filter keeps, of {token: probability}: as a set."""
    largest = max(chances.values())
    ordered = sorted(chances, key=chances.get, reverse=True)
    before = {
        token: sum(chances[o] for o in ordered[:i]) for i, token in enumerate(ordered)
    }
    return {
        "top-k": set(ordered[:3]),
        "top-p": {token for token in chances if before[token] < 0.8},
        "min-p": {token for token in chances if chances[token] >= 0.1 * largest},
    }[rule]


@exercise(
    "12-1",
    title="Which comes first?",
    kind="prediction",
    minutes=8,
    difficulty=1,
    points=2,
    choices=("none of them", "top-k", "top-k and min-p", "all three"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    cold, warm = ([s / T for s in (3.0, 2.0, 1.0, -0.3, -1.0)] for T in (1.0, 2.0))
    chances = [
        {i: math.exp(s) / sum(map(math.exp, scores)) for i, s in enumerate(scores)}
        for scores in (cold, warm)
    ]
    same = [
        r
        for r in ("top-k", "top-p", "min-p")
        if _kept(chances[0], r) == _kept(chances[1], r)
    ]
    assert same == ["top-k"]
    replies = {
        "none of them": "All scores are divided by the same number above 0. Can that change "
        "which of two is the larger, and so which k are the largest?",
        "top-k and min-p": "min-p asks for the ratio of a probability to the largest one. A "
        "ratio of 0.04 becomes its root, 0.2, at a temperature of 2: with min-p = 0.1 the "
        "token is out before, and in after.",
        "all three": "top-p adds up probabilities until there are enough. A temperature "
        "above 1 makes the largest ones smaller: do as few tokens still do?",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    return (
        "Dividing keeps the order of the scores, and top-k asks for nothing else. The other "
        "two ask for probabilities, and a temperature changes those: above 1, more tokens "
        "stay if it comes first. Programs differ in this order, so the same settings can "
        "mean two things."
    )


def _perturbed(logits, u, T):
    return logits / T - (-u.log()).log()


def _drawing_case(draw, T):
    """Logits and numbers u, of which no row is nearly a tie; by mistake, who wins."""
    logits, u = (
        2 * draw.normal(600, 5),
        draw.uniform(0, 1, 600, 5).clamp(1e-6, 1 - 1e-6),
    )
    logits[::4, 2] = -math.inf  # a token that was cut off
    best, second = _perturbed(logits, u, T).topk(2, dim=-1).values.unbind(dim=-1)
    clear = best - second > 1e-3
    logits, u = logits[clear], u[clear]
    noise, p = -(-u.log()).log(), (logits / T).softmax(dim=-1)
    scores = logits / T + noise
    told = {
        "Nothing is mended: to divide the *sum* by T moves no row's maximum. Only one of the "
        "two may be scaled.": logits + noise,
        "That is a temperature of 1/T: scores are *divided* by T, or the noise multiplied.": (
            logits * T + noise
        ),
        "The noise has the wrong sign: it is -ln(-ln u), so that large values of u help.": (
            logits / T - noise
        ),
        "That adds -ln u. One logarithm more: -ln(-ln u).": logits / T - u.log(),
        "That adds ln u. Two logarithms, two minus signs: -ln(-ln u).": (
            logits / T + u.log()
        ),
        "The noise goes to the scores, not to the probabilities: no softmax is needed.": (
            p + noise
        ),
        "The noise has no say: that is the likeliest token each time.": logits,
        "The numbers u are added as they are: -ln(-ln u).": logits / T + u,
    }
    told = {says: wrong.argmax(dim=-1) for says, wrong in told.items()}
    ends = p.cumsum(dim=-1)
    told |= {
        "A right way to draw, but from one number for each row, as in exercise 03-2. Here "
        "each token has a number of its own.": (
            (ends <= u[:, :1]).sum(dim=-1).clamp(max=4)
        ),
        "The winner is sought among the rows, for each token: `argmax(dim=-1)`.": (
            scores.argmax(dim=0)
        ),
        "One winner for all rows together: `argmax(dim=-1)` gives one for each.": (
            scores.argmax()
        ),
    }
    return (logits, u, T), scores.argmax(dim=-1), told


def _at_once(answer, logits, u, T):
    got = answer.draw(logits, u, T)
    if not isinstance(got, Tensor | int | list):
        if got is None:
            close(got, 0)
        raise Mistake(
            "`draw` returns the ids, a tensor (b,).", seen=f"Got {describe(got)}."
        )
    return torch.as_tensor(got)


@exercise("12-2", title="Mend the noise", minutes=12, difficulty=2, points=3)
def _(answer, draw):
    says = "In each row: the largest of logits / T - ln(-ln u)."
    for T in (draw.uniform(0.4, 0.6), draw.uniform(1.8, 2.5)):
        given, want, told = telling(partial(_drawing_case, T=T), draw)
        got = _at_once(answer, *given)
        if difference(_at_once(answer, *given), got, 0, 0):
            raise Mistake(
                "The same numbers gave another answer: all chance has to come from `u`."
            )
        close(got, want, mistakes=told, says=says)
    logits, u, _ = given
    close(
        _at_once(answer, logits, u, 0.0),
        logits.argmax(dim=-1),
        says="At temperature 0 the likeliest token wins, and nothing may be divided by 0. "
        "T · (logits / T + noise) has its maximum at the same place: what is it, without "
        "the brackets?",
    )
    return (
        "Neither a softmax nor a sum was needed. As logits + T · noise the rule has no "
        "singular case: at T = 0 the noise is gone, and that is greedy decoding. The k "
        "largest of the same sums are k *different* tokens, drawn one after the other."
    )


COLDEST, HOTTEST = 0.05, 20.0  # where a temperature is looked for


def _where(rises):
    """The temperature up to which rises(T) is true, by halving."""
    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(math.exp(middle)) else (low, middle)
    return math.exp(low)


def _likeliest(logits, counts):
    """The best of many temperatures; then the best of as many around it; and again."""
    low, high = COLDEST, HOTTEST
    for _ in range(4):
        some = torch.logspace(math.log10(low), math.log10(high), 200).double()
        tables = (logits / some[:, None]).log_softmax(dim=-1)
        best = int((tables * counts).sum(dim=-1).argmax())
        low, high = some[max(best - 1, 0)].item(), some[min(best + 1, 199)].item()
    return some[best].item()


def _drawn_case(draw, T):
    """Logits, and how often each token was drawn; by mistake, the temperature."""
    n, times = 30, 300
    logits = 2 * draw.normal(n, dtype=torch.double)
    chances = lambda T: (logits / T).softmax(dim=0)
    places = torch.searchsorted(
        chances(T).cumsum(dim=0), draw.uniform(0, 1, times).double()
    )
    counts = places.clamp(max=n - 1).bincount(minlength=n)
    want, shares, seen = _likeliest(logits, counts), counts / times, counts > 0
    i, j = counts.topk(2).indices
    line = logits[seen] - logits[seen].mean()
    slope = (line @ counts[seen].double().log()) / (line @ line)
    gap = (counts[i] / counts[j]).log()
    told = {
        "That is 1/T: the logits are divided by the temperature.": 1 / want,
        "Two tokens do not know enough: how often they came depends on chance. Let all "
        "tokens that were drawn have their say.": float((logits[i] - logits[j]) / gap),
        "That fits a line to ln(count) and leaves out what was never drawn: but that an "
        "unlikely token did not come is evidence too.": float(1 / slope),
        "Each token was counted once, however often it was drawn: weight by the counts.": (
            _where(lambda T: chances(T) @ logits > logits[seen].mean())
        ),
        "There the likeliest token has the share that it was drawn with. That uses one "
        "count, and forgets the others.": _where(
            lambda T: chances(T).max() > shares[logits.argmax()]
        ),
        "There the entropy is that of the shares. It comes near, but rare tokens that did "
        "not happen to come make shares look colder than they are.": _where(
            lambda T: _nats(chances(T)) < _nats(shares)
        ),
        "That is the coldest end of the range: no mean logit of the model is as large as "
        "the *sum* over the draws. Divide by their number.": COLDEST,
        "That is the hottest end of the range: was the wrong half kept each time? A mean "
        "logit that is too small asks for a colder one.": HOTTEST,
        "The temperature 1 is that of the logits as they are.": 1.0,
    }
    return (logits.float(), counts), want, told


def _nats(p):
    return -torch.special.xlogy(p, p).sum()


def _number_from(found, name):
    found = found.item() if isinstance(found, Tensor) and found.numel() == 1 else found
    if found is None:
        close(found, 1.0)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Mistake(f"`{name}` returns a number.", seen=f"Got {describe(found)}.")
    return found


@exercise("12-3", title="The temperature of a text", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    says = "Of all temperatures, the one with the largest Σ counts · ln p."
    for T in (draw.uniform(0.4, 0.6), draw.uniform(1.6, 2.4), draw.uniform(0.7, 1.3)):
        case = partial(_drawn_case, T=T)
        given, want, told = telling(case, draw, partial(alike, rtol=0.01, atol=0))
        got = _number_from(answer.temperature(*given), "temperature")
        if not difference(got, want, 1e-3, 0):
            continue
        for hint, wrong in told.items():
            differs(got, wrong, says=hint, rtol=1e-3)
        if not difference(got, want, 0.05, 0):
            raise Mistake(
                "Near, but to one part in a thousand: between two temperatures that you "
                "tried there are others. Halve the range once more, and again.",
                seen=f"Got {describe(got)}.",
            )
        close(got, want, says=says, rtol=1e-3)
    return (
        "No probability was shown, and still the temperature is known, to a few per cent "
        "after 300 draws. The condition that decides it is that the mean logit of what was "
        "drawn is the one that the model expects."
    )


PARTS, TOKENS, PROMISED = 8, 128, 0.9


@cache
def _held_out():
    """Windows of held-out text, and the chances of each next token, in float64."""
    model, tokenizer = stored_gpt("11_code")
    text = load_corpus().held_out
    gap = len(text) // PARTS
    parts = [text[i * gap :][:4000] for i in range(PARTS)]
    ids = torch.tensor([tokenizer.encode(part)[: TOKENS + 1] for part in parts])
    with torch.no_grad():
        return ids, model(ids[:, :-1]).double().softmax(dim=-1)


def _nuclei(p, promised, dropping=False):
    """Which tokens are in the nucleus: those before which less than promised is gone."""
    ordered, order = p.sort(dim=-1, descending=True, stable=True)
    so_far = ordered.cumsum(dim=-1)
    counted = so_far if dropping else so_far - ordered
    inside = counted <= promised if dropping else counted < promised
    return torch.zeros_like(inside).scatter(-1, order, inside)


def _share_inside(kept, ids):
    return float(kept.gather(-1, ids[..., None]).double().mean())


@cache
def _promise():
    """inside and mass, with the known mistakes of each."""
    ids, p = _held_out()
    here, after = ids[:, :-1], ids[:, 1:]
    kept, strict = _nuclei(p, PROMISED), _nuclei(p, PROMISED, dropping=True)
    flat = _nuclei(p.softmax(dim=-1), PROMISED)
    inside, mass = _share_inside(kept, after), float((p * kept).sum(dim=-1).mean())
    told_inside = {
        "That asks for the token that is already there: position i predicts token i + 1, "
        "`ids[:, 1:]`.": _share_inside(kept, here),
        "The token with which the sum reaches 0.9 is in the nucleus too: `keep_top_p` "
        "keeps it.": _share_inside(strict, after),
        "`keep_top_p` takes scores: given probabilities, it makes probabilities of them "
        "once more, and these are almost equal.": _share_inside(flat, after),
        "That is how often the likeliest token is the true one: the nucleus may hold more.": (
            float((p.argmax(dim=-1) == after).double().mean())
        ),
        "That is the share outside: one minus it.": 1 - inside,
        "That is how many are inside: as a share of all tokens.": (
            inside * after.numel()
        ),
    }
    told_mass = {
        "0.9 is what was asked for. The token with which the sum gets there brings more.": (
            PROMISED
        ),
        "That leaves out the token with which the sum reaches 0.9.": float(
            (p * strict).sum(dim=-1).mean()
        ),
        "That is the probability after cutting, when what is left has been made to sum to "
        "1: take the probabilities from before.": 1.0,
        "That is the share of the vocabulary that is kept: add up their probabilities.": (
            float(kept.double().mean())
        ),
        "That is how many tokens a nucleus holds: add up their probabilities.": float(
            kept.double().sum(dim=-1).mean()
        ),
        "That is the sum over all positions: divide by their number.": mass
        * after.numel(),
        "That is the mean over the kept *tokens*: add up within a position, and take the "
        "mean over the positions.": float(p[kept].mean()),
        "That is the probability of the true token: those of all kept tokens are to be "
        "added up.": float(p.gather(-1, after[..., None]).mean()),
        "That is the share outside the nuclei: one minus it.": 1 - mass,
    }
    return inside, told_inside, mass, told_mass


@exercise(
    "12-4",
    title="Does the nucleus keep its promise?",
    kind="measurement",
    minutes=15,
    difficulty=3,
    points=4,
)
def _(answer, draw):
    inside, mass = answer.number("inside"), answer.number("mass")
    right, told, held, told_mass = _promise()
    says = (
        "`keep_top_p(logits, 0.9)`: at which share of the positions is ids[:, 1:] kept?"
    )
    if difference(inside, right, 1e-3, 0):
        measured(inside, right, told, says=says, rtol=1e-3)
    says = "At each position, the probabilities of the kept tokens added up; then the mean."
    if difference(mass, held, 2e-4, 0):
        measured(mass, held, told_mass, says=says, rtol=2e-4)
    return (
        f"The nuclei hold {held:.1%} of the probability, as the model sees it, and "
        f"{right:.1%} of what was really written. Where two such numbers agree, "
        "probabilities can be taken at their word."
    )


TYPICAL = (8, 12)  # rows, tokens


def _typical_row(row, p, entropy=None, key=None, dropping=False):
    """The tokens that stay, one row of logits: by sorting in plain Python."""
    largest = max(row)
    total = math.log(sum(math.exp(s - largest) for s in row)) + largest
    surprise = [total - s for s in row]
    chances = [math.exp(-s) for s in surprise]
    if entropy is None:
        terms = zip(chances, surprise, strict=True)
        entropy = sum(c * s for c, s in terms if c > 0)
    distance = [(key or abs)(s - entropy) for s in surprise]
    stay, so_far = [], 0.0
    for i in sorted(range(len(row)), key=distance.__getitem__):
        if so_far >= p or (dropping and so_far + chances[i] > p):
            break
        stay.append(i)
        so_far += chances[i]
    return stay, chances, distance, entropy


def _cut(logits, rows):
    """The logits, -inf where a row's list does not name the token."""
    kept = torch.full_like(logits, -math.inf)
    for i, row in enumerate(rows):
        kept[i, row] = logits[i, row]
    return kept


def _clear(row, p):
    """Neither two distances nor a sum and p are so near that rounding could decide."""
    _, chances, distance, _ = _typical_row(row, p)
    order = sorted(d for d in distance if d < math.inf)
    sums = torch.tensor(
        [chances[i] for i in sorted(range(len(row)), key=distance.__getitem__)]
    )
    near = (sums.cumsum(dim=0) - p).abs().min() < 1e-3
    return not near and all(b - a > 1e-3 for a, b in pairwise(order))


def _typical_case(draw, cut=False):
    """Logits, in three rows of which the likeliest does not stay; by mistake, what does."""
    n_rows, n = TYPICAL
    p = draw.uniform(0.3, 0.7)
    rows = []
    while len(rows) < n_rows:
        row = draw.uniform(0.8, 2.5) * draw.normal(n) + draw.normal()
        if cut:
            row[draw.uniform(0, 1, n).argsort()[:3]] = -math.inf
        stays = int(row.argmax()) in _typical_row(row.tolist(), p)[0]
        if _clear(row.tolist(), p) and not (stays and len(rows) < 3):
            rows.append(row)
    logits = torch.stack(rows)
    plain = [_typical_row(row.tolist(), p) for row in rows]
    want = _cut(logits, [stay for stay, *_ in plain])
    if cut:
        return (logits, p), want, {}

    def every(entropies=(None,) * n_rows, **how):
        pairs = zip(rows, entropies, strict=True)
        return _cut(
            logits, [_typical_row(r.tolist(), p, e, **how)[0] for r, e in pairs]
        )

    entropies = [entropy for *_, entropy in plain]
    means = [float(-row.log_softmax(dim=0).mean()) for row in rows]
    orders = [sorted(range(n), key=distance.__getitem__) for _, _, distance, _ in plain]
    sizes = [len(stay) for stay, *_ in plain]
    told = {
        "That keeps the likeliest tokens, as `keep_top_p` does. The distance from the "
        "entropy has no sign: a token may also be *too* likely.": every(
            key=lambda d: d
        ),
        "That begins with the tokens farthest from the entropy: the nearest come first.": (
            every(key=lambda d: -abs(d))
        ),
        "The token with which the sum reaches p stays too: together p *or more*.": every(
            dropping=True
        ),
        "The entropy is in bits and the surprise in nats: the same logarithm for both.": (
            every([entropy / math.log(2) for entropy in entropies])
        ),
        "The entropy is the mean of the surprises *weighted by the probabilities*: unlikely "
        "tokens count for little.": every(means),
        "All rows were given the same entropy: each has its own, `sum(dim=-1, "
        "keepdim=True)`.": every([sum(entropies) / n_rows] * n_rows),
        "The mask is still in the order of sorting: `scatter` brings it back to the "
        "tokens.": _cut(logits, [list(range(size)) for size in sizes]),
        "The mask went the wrong way: a place in the sorted row was taken for a token. It "
        "is `scatter` that brings it back, not `gather`.": _cut(
            logits,
            [
                [token for token, i in enumerate(order) if i < size]
                for order, size in zip(orders, sizes, strict=True)
            ],
        ),
        "The right tokens, but their probabilities: return the scores, unchanged, and -inf "
        "for the others.": torch.where(
            want > -math.inf, logits.softmax(dim=-1), -math.inf
        ),
        "The right tokens, but the others are 0, which is a score like any other: "
        "-inf.": torch.where(want > -math.inf, logits, 0.0),
    }
    return (logits, p), want, told


@exercise("12-5", title="Neither dull nor strange", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    says = "The nearest to the entropy first, until they have p or more together."
    (logits, p), want, told = telling(_typical_case, draw)
    best = want.gather(-1, logits.argmax(dim=-1, keepdim=True))
    got = answer.keep_typical(logits, p)
    close(got, want, mistakes=told, says=says)
    left, _ = answer.left("keep_typical", logits, p)
    close(left, logits, says="Your function has changed its input: make a new tensor.")
    (cut, p), stay, _ = _typical_case(draw, cut=True)
    close(
        answer.keep_typical(cut, p),
        stay,
        says="Scores of -inf, as other filters leave them: their probability is 0 and "
        "their surprise infinite, and 0 · ∞ is NaN. Such a token adds nothing to the "
        "entropy.",
    )
    return (
        f"In {int((best == -math.inf).sum())} of {len(want)} rows the likeliest token was "
        "left out. Greedy decoding and top-p never do that: to them, likely is good."
    )


def _spellings(pieces, left):
    """All tokens' texts, one to left of them in a row: (first token, text)."""
    for length in range(1, left + 1):
        for tokens in product(range(len(pieces)), repeat=length):
            yield tokens[0], "".join(pieces[i] for i in tokens)


def _may_come(pieces, texts, ids, left):
    """True for each token with which some spelling of a text goes on: all are tried."""
    written = "".join(pieces[i] for i in ids)
    firsts = {i for i, more in _spellings(pieces, left) if written + more in texts}
    return [i in firsts for i in range(len(pieces))]


def _rests(pieces, texts, ids):
    written = "".join(pieces[i] for i in ids)
    return [text[len(written) :] for text in texts if text.startswith(written)]


def _begins(pieces, texts, ids, left):
    """The mistake of not looking ahead."""
    rests = _rests(pieces, texts, ids)
    return [any(rest.startswith(p) for rest in rests) for p in pieces]


def _spelled(pieces, texts, ids, left):
    """The mistake of looking ahead without counting."""
    spelling = re.compile(f"(?:{'|'.join(pieces)})*")
    rests = _rests(pieces, texts, ids)
    return [
        any(r.startswith(p) and spelling.fullmatch(r[len(p) :]) for r in rests)
        for p in pieces
    ]


def _greedily(pieces, texts, ids, left):
    """The mistake of spelling the rest by its longest pieces."""

    def needs(rest):
        fits = [p for p in pieces if rest.startswith(p)]
        if rest and not fits:
            return math.inf
        return 1 + needs(rest[len(max(fits, key=len)) :]) if rest else 0

    rests = _rests(pieces, texts, ids)
    return [
        any(r.startswith(p) and needs(r[len(p) :]) < left for r in rests)
        for p in pieces
    ]


def _exactly(pieces, texts, ids, left):
    """The mistake of using up all that is left."""
    written = "".join(pieces[i] for i in ids)
    firsts = {
        tokens[0]
        for tokens in product(range(len(pieces)), repeat=left)
        if left and written + "".join(pieces[i] for i in tokens) in texts
    }
    return [i in firsts for i in range(len(pieces))]


def _overshooting(pieces, texts, ids, left):
    """The mistake of letting the last piece reach past the end of a text."""
    written = "".join(pieces[i] for i in ids)
    firsts = {
        i
        for i, more in _spellings(pieces, left)
        if any((written + more).startswith(t) and len(written) < len(t) for t in texts)
    }
    return [i in firsts for i in range(len(pieces))]


def _anybodys(pieces, texts, ids, left):
    """The mistake of not asking which text has been begun."""
    at = len("".join(pieces[i] for i in ids))
    return _may_come(pieces, [text[at:] for text in texts], [], left)


LONGEST, PIECES = 4, 7
TOLD = {
    "It does not look ahead: after this token the text cannot be finished, with these "
    "pieces or with as many tokens as are left. What is drawn is never taken back.": _begins,
    "It sees whether the rest can be spelled at all, and not with how many tokens: this "
    "one and the rest are `left` at most.": _spelled,
    "One too many: the token itself is one of the `left`.": (
        lambda pieces, texts, ids, left: _may_come(pieces, texts, ids, left + 1)
    ),
    "One too few: a text may be finished with the last token that is left.": (
        lambda pieces, texts, ids, left: _may_come(pieces, texts, ids, left - 1)
    ),
    "All that is left need not be used: at *most* `left` tokens.": _exactly,
    "The rest is spelled by its longest pieces from the left. Another spelling may need "
    "fewer, or be the only one: exercise 10-6.": _greedily,
    "The text has to end where a piece ends: nothing may stand after it.": _overshooting,
    "What has been written counts: only a text that begins with it can be finished.": (
        _anybodys
    ),
    "That is for the beginning of a text: `ids` have been written before.": (
        lambda pieces, texts, ids, left: _may_come(pieces, texts, [], left)
    ),
    "Only the first of the texts is looked at.": (
        lambda pieces, texts, ids, left: _may_come(pieces, texts[:1], ids, left)
    ),
    "Only the last of the texts is looked at.": (
        lambda pieces, texts, ids, left: _may_come(pieces, texts[-1:], ids, left)
    ),
}


def _some_pieces(draw):
    """So many pieces of one to three letters; a letter may be no piece by itself."""
    pieces = []
    while len(pieces) < PIECES:
        piece = "".join(draw.choice("abc") for _ in range(draw.choice((1, 1, 2, 2, 3))))
        pieces += [piece] * (piece not in pieces)
    return pieces


def _one_choice(draw):
    """Pieces, two texts that can be spelled, what has been written, tokens left."""
    pieces = _some_pieces(draw)
    texts = ["", ""]
    while texts[0] == texts[1]:
        tokens = [
            [draw.integer(0, PIECES) for _ in range(draw.integer(2, 5))] for _ in "12"
        ]
        texts = ["".join(pieces[i] for i in some) for some in tokens]
    ids = tokens[0][: draw.integer(0, 3)]
    return pieces, texts, ids, draw.integer(1, LONGEST)


@cache
def _choices(seed):
    """Cases that tell all mistakes apart, and a few at the edges; what is right."""
    draw = Draw(seed)
    given = []
    for mistake in TOLD.values():  # for each, cases in which it shows
        shown = 0
        while shown < 2:
            case = _one_choice(draw)
            right = _may_come(*case)
            if any(right) and mistake(*case) != right:
                given.append(case)
                shown += 1
    pieces, texts, ids, _ = given[0]
    whole = [pieces[0]], [pieces[0], pieces[0] + pieces[1]]
    given += [
        (pieces, texts, ids, 0),
        (pieces, whole[0], [0], 3),
        (pieces, whole[1], [0], 3),
    ]
    want = [_may_come(*case) for case in given]
    told = {says: [wrong(*case) for case in given] for says, wrong in TOLD.items()}
    assert all(a != b for a, b in combinations([want, *told.values()], 2))
    return given, want, told


def _as_mask(found, n):
    """True or False for each piece, from a list or a tensor."""
    if isinstance(found, Tensor):
        found = found.tolist()
    if found is None:
        close(found, [True])
    fits = isinstance(found, list | tuple) and len(found) == n
    if not fits or not all(one in (True, False) for one in found):
        says = "`allowed` returns True or False for each piece, in their order."
        raise Mistake(says, seen=f"Got {describe(found)}.")
    return [bool(one) for one in found]


@exercise(
    "12-6",
    title="Never start what you cannot finish",
    minutes=35,
    difficulty=5,
    points=6,
)
def _(answer, draw):
    given, want, told = _choices(draw.integer(0, 10**6))
    got = [_as_mask(answer.allowed(*case), PIECES) for case in given]
    for case, mine, right in zip(given, got, want, strict=True):
        if mine != right:
            about = f"allowed({', '.join(map(repr, case))})"
            says = (
                "A token may come if it, and at most left - 1 more, finish a text that "
                "begins with what has been written."
            )
            for hint, wrong in told.items():
                differs(got, wrong, says=hint, given=about)
            seen = f"Got {mine}, expected {right}."
            raise Mistake(says, seen=seen, given=about)
    return (
        f"In {len(given)} cases, against all that up to {LONGEST} tokens can spell. What "
        "is drawn from such a mask is always finished, and always one of the texts."
    )
