"""What the answers of chapter 9's exercises must do."""

import math
from collections import Counter
from functools import cache
from itertools import pairwise, product
from operator import eq

import torch
from torch import Tensor
from torch.nn import functional as F

from tfcourse.checks import Draw, Mistake, close, describe, exercise
from tfcourse.checks.compare import measured, telling
from tfcourse.data.commands import all_triples, split_triples

PAD, BEGIN, END = 0, 1, 2
WORDS = 3  # the first id that is a word


def _penalty(length, alpha):
    return ((5 + length) / 6) ** alpha


@exercise(
    "09-1",
    title="Which way the penalty pushes",
    kind="prediction",
    minutes=5,
    difficulty=1,
    points=2,
    choices=(
        "the short one with both",
        "the long one with both",
        "α = 0 the short one, α = 1 the long one",
        "α = 0 the long one, α = 1 the short one",
    ),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    ends = {"short": (4, -4.0), "long": (9, -6.0)}
    best = [
        max(ends, key=lambda name: ends[name][1] / _penalty(ends[name][0], alpha))
        for alpha in (0.0, 1.0)
    ]
    assert best == ["short", "long"]
    replies = {
        "the short one with both": "With α = 1 both are divided: -4 by 9/6, -6 by 14/6. "
        "Which result is nearer to 0?",
        "the long one with both": "With α = 0 both are divided by 1. Which of -4 and -6 "
        "is the larger?",
        "α = 0 the long one, α = 1 the short one": "A *penalty* on length would do that. "
        "But log-probabilities are negative: to be divided by more brings them nearer "
        "to 0, and that is up.",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    scores = [score / _penalty(length, 1.0) for length, score in ends.values()]
    return (
        f"With α = 1 the scores are {scores[0]:.2f} for the short one and "
        f"{scores[1]:.2f} for the long one. Each token costs probability, so without "
        "any division beam search likes to stop early; the *length penalty* makes up "
        "for that, and favours the longer."
    )


def _sentences(draw, n, lengths):
    """Targets, (b, longest): words, then END, then padding."""
    targets = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in zip(targets, lengths, strict=True):
        row[: length - 1] = draw.integer(WORDS, n, length - 1)
        row[length - 1] = END
    return targets


def _surprises(table, inputs, targets):
    """-log p of each target, (b, t), given the row of its input: one by one."""
    surprises = torch.zeros(targets.shape)
    for i, (row, wanted) in enumerate(zip(inputs, targets, strict=True)):
        for t, (token, goal) in enumerate(zip(row, wanted, strict=True)):
            surprises[i, t] = table[token].logsumexp(dim=-1) - table[token, goal]
    return surprises


@exercise("09-2", title="Mend the training step", minutes=15, difficulty=2, points=3)
def _(answer, draw):
    n, lengths = 9, (6, 3, 2, 4)
    table, targets = 2 * draw.normal(n, n), _sentences(draw, n, lengths)
    got = answer.loss_of(table, targets)
    real = targets != PAD
    begin = torch.full_like(targets[:, :1], BEGIN)
    late = _surprises(table, torch.cat([begin, targets[:, :-1]], dim=1), targets)
    same = _surprises(table, targets, targets)
    ahead = torch.cat([targets[:, 1:], 0 * begin], dim=1)
    early = _surprises(table, ahead, targets)
    padded = _surprises(table, torch.cat([0 * begin, targets[:, :-1]], dim=1), targets)
    want = late[real].sum() / real.sum()
    words = real & (targets != END)
    told = {
        "Both mistakes are still there: the decoder is given what it should answer, and "
        "padding is counted.": same.mean(),
        "The decoder is still given the very tokens that it should answer: shift them "
        "to the right.": same[real].mean(),
        "Padding still counts: its positions ask nothing, so leave them out of the sum "
        "and out of the number.": late.mean(),
        "The padding is out of the sum, but the sum is divided by all positions: divide "
        "by the number of real tokens.": late[real].sum() / targets.numel(),
        "That is the mean of the sentences' means, in which a token of a short sentence "
        "weighs more: one sum over all real tokens, and one division.": torch.stack(
            [row[kept].mean() for row, kept in zip(late, real, strict=True)]
        ).mean(),
        "That is the sum: divide it by the number of real tokens.": late[real].sum(),
        "The decoder is given the token *after* the one that it should answer: shift "
        "the other way.": early[real].mean(),
        "END is left out. It is a real token: it is how the model learns to stop.": (
            late[words].mean()
        ),
        "Nobody asks for the first word: what the decoder is given begins with BEGIN, "
        "and then the first word is the answer.": late[:, 1:][real[:, 1:]].mean(),
        "The first input is PAD: it should be BEGIN, id 1.": padded[real].mean(),
    }
    says = (
        "Give the decoder BEGIN and then the targets, one step late; take the mean of "
        "-log p over the tokens that are no padding."
    )
    given = {"n": n, "lengths with END": list(lengths), "targets": targets}
    close(got, want, mistakes=told, says=says, given=given, atol=1e-5)
    return (
        "The same as adding up the real tokens one by one. A padded batch and the "
        "sentences by themselves now teach the same."
    )


@exercise("09-3", title="Another smoothing", minutes=15, difficulty=3, points=4)
def _(answer, draw):
    t, n, epsilon = 6, 5, round(draw.uniform(0.15, 0.35), 2)
    logits, targets = 2 * draw.normal(t, n), draw.integer(0, n, t)
    targets[1] = (targets[0] + 1) % n  # not all rows have the same right word
    got = answer.smoothed(logits, targets, epsilon)
    log_q, rows = logits.log_softmax(dim=-1), range(t)

    def loss(p):
        return -(p * log_q).sum(dim=-1).mean()

    def shared(others, kept=1 - epsilon, rows=rows):
        p = torch.full((t, n), others)
        p[rows, targets] = kept
        return p

    p = shared(epsilon / (n - 1))

    told = {
        "That is PyTorch's: ε/n for *all* n words, the right one too. Here the others "
        "share all of ε.": F.cross_entropy(logits, targets, label_smoothing=epsilon),
        "The others have ε/n each, and the right one 1 - ε: these sum to less than 1. "
        "There are n - 1 others.": loss(shared(epsilon / n)),
        "ε is shared by n - 2 words, as where the target is never padding; here every "
        "other word gets its part, n - 1 of them.": loss(shared(epsilon / (n - 2))),
        "Each of the others was given all of ε: they share it.": loss(shared(epsilon)),
        "The right word still has 1: it keeps 1 - ε.": loss(
            shared(epsilon / (n - 1), kept=1.0)
        ),
        "The right word got its 1 - ε *and* a part of ε: only the others share.": loss(
            shared(epsilon / (n - 1), kept=1 - epsilon + epsilon / (n - 1))
        ),
        "`p[:, targets]` writes 1 - ε into *every* row, at each of the targets: "
        "`p[range(t), targets]` is one place in a row.": loss(
            shared(epsilon / (n - 1), rows=slice(None))
        ),
        "That is the divergence (KL): it is smaller by the entropy of the smoothed "
        "target. Asked is the cross-entropy.": loss(p)
        + (p * p.log()).sum(dim=-1).mean(),
        "That is the sum over the tokens: take the mean.": t * loss(p),
        "The sign: a surprise is *minus* the logarithm.": -loss(p),
        "That is the mean over all n words too: sum over the words, mean over the "
        "tokens.": loss(p) / n,
        "Nothing is smoothed: that is the plain cross-entropy.": F.cross_entropy(
            logits, targets
        ),
        "The logits are no logarithms of probabilities yet: `log_softmax`.": -(
            p * logits
        )
        .sum(dim=-1)
        .mean(),
    }
    says = (
        "-Σ p · log q over the words, where p is 1 - ε for the right one and ε/(n-1) for "
        "each other; then the mean over the tokens."
    )
    given = {"logits": logits, "targets": targets, "epsilon": epsilon}
    close(got, loss(p), mistakes=told, says=says, given=given, atol=1e-5)
    theirs = F.cross_entropy(
        logits, targets, label_smoothing=epsilon * n / (n - 1)
    )  # what is taken from the right word is then epsilon again
    assert torch.allclose(theirs, loss(p), atol=1e-5)
    return (
        f"PyTorch gives the same number for ε·n/(n-1) = {epsilon * n / (n - 1):.4f} "
        f"instead of {epsilon}: only the name of the amount differs. With thousands of "
        "words nobody could tell; with five one can."
    )


# action and object, action and filter, object and filter
PAIRS = ((0, 1), (0, 2), (1, 2))


@cache
def _shared():
    """For each kind of pair how many share it; by mistake, what it gives; the least."""
    kept, held = split_triples()

    def counts(many, of=held, places=PAIRS):
        rows = []
        for pair in places:
            seen = Counter(tuple(one[i] for i in pair) for one in many)
            rows.append([seen[tuple(one[i] for i in pair)] for one in of])
        return rows

    def means(rows):
        return [sum(row) / len(row) for row in rows]

    known = counts(kept)
    want = means(known)
    singles = counts(kept, places=((0,), (1,), (2,)))
    told = {
        "That counts among *all* triples, the held-out ones too: the model is trained "
        "on the others only.": means(counts(all_triples())),
        "That counts among the held-out triples themselves: count in training.": means(
            counts(held)
        ),
        "That is asked of the triples of training: take each held-out one, and look it "
        "up in training.": means(counts(kept, of=kept)),
        "One place each: a *pair* is two places that agree at once.": means(singles),
        "That is whether a training triple shares the pair, which is always so: count "
        "how many do.": [1.0, 1.0, 1.0],
        "These are sums over all held-out triples: divide by their number.": [
            float(sum(row)) for row in known
        ],
        "These are the largest counts: take the mean.": [float(max(r)) for r in known],
        "These are the smallest counts: take the mean.": [float(min(r)) for r in known],
    }
    return want, told, [min(column) for column in zip(*known, strict=True)]


@exercise(
    "09-4",
    title="How new is a held-out triple?",
    kind="measurement",
    minutes=15,
    difficulty=3,
    points=4,
)
def _(answer, draw):
    shared, thin = answer.value("shared"), answer.number("thin")
    want, told, least = _shared()
    try:
        shared = [float(x) for x in shared]
    except (TypeError, ValueError):
        says = "`shared` is a list of three numbers, one for each kind of pair."
        raise Mistake(says, seen=f"Got {describe(shared)}.") from None
    says = (
        "In this order: action and object, action and filter, object and filter; for "
        "each held-out triple, how many of training share the pair; the mean."
    )
    measured(shared, want, told, says=says, rtol=1e-3)
    ones = sum(n == 1 for n in least)
    told = {
        "That many have *no* pair in training: the split made sure of it. Count those "
        "with a pair that one single training triple shares.": sum(
            n == 0 for n in least
        ),
        "That is a share: how many are they?": ones / len(least),
        "That many have *all* pairs in more than one: count the rest.": len(least)
        - ones,
    }
    says = (
        "A held-out triple counts once, if the smallest of its three numbers is 1: "
        "that pair occurs in one training triple only."
    )
    measured(thin, ones, told, says=says, rtol=0)
    return (
        f"Of {len(least)} held-out triples, {ones} hang on a pair that training shows in "
        "one triple only. Each is new as a whole and known in its parts: that is what "
        "success on them means, no more and no less."
    )


def _walk(choose, limit, stop=None):
    """Tokens from BEGIN on: choose(last) until END, None, or limit tokens."""
    written, last = [], BEGIN
    while len(written) < limit:
        token = choose(last)
        if token is None or token == END:
            return written + ([token] if stop == "kept" and token else [])
        written.append(token)
        last = token
    return written


def _lawful_case(draw, n):
    """A table of log-probabilities, and a grammar; what is lawful comes to an end."""
    logits = 2 * draw.normal(n, n)
    logits[:, :END] -= 30  # hardly anybody writes PAD or BEGIN
    allowed = draw.uniform(0, 1, n, n) < 0.4
    allowed[range(n), draw.integer(WORDS, n, n)] = True
    last, seen = BEGIN, set()
    while last != END:
        seen.add(last)
        token = int(logits[last].masked_fill(~allowed[last], -math.inf).argmax())
        if token in seen:  # it would go round for ever: let it end here
            allowed[last, END], token = True, END
            logits[last, END] = logits[last].max() + 1
        last = token
    return logits.log_softmax(dim=-1), allowed


def _lawful(table, allowed, limit, flaw=""):
    """Greedy under a grammar, one token after the other; flaw: what is wrong in it."""

    def choose(last):
        scores = table[last].tolist()
        row = allowed[:, last] if flaw == "turned" else allowed[last]
        may = [bool(ok) != (flaw == "inverted") for ok in row]
        if flaw == "free":
            may = [True] * len(may)
        if flaw == "zero":
            scores = [s * ok for s, ok in zip(scores, may, strict=True)]
            return max(range(len(scores)), key=scores.__getitem__)
        tokens = [i for i, ok in enumerate(may) if ok]
        return max(tokens, key=scores.__getitem__) if tokens else PAD

    if flaw == "halts":
        free = lambda last: int(table[last].argmax())
        return _walk(
            lambda last: free(last) if allowed[last, free(last)] else None, limit
        )
    if flaw == "drops":
        written = [BEGIN, *_lawful(table, allowed, limit, "free")]
        return [b for a, b in pairwise(written) if allowed[a, b]]
    if flaw == "once":
        first = choose(BEGIN)
        then = lambda last: first if last == BEGIN else int(table[last].argmax())
        return _walk(then, limit)
    if flaw == "endless":
        written = [BEGIN]
        while len(written) <= limit:
            written.append(choose(written[-1]))
        return written[1:]
    return _walk(choose, limit, stop=flaw)


@cache
def _telling(make, seed):
    """Found once for a seed, since the search is long."""
    return telling(make, Draw(seed), eq)


LAWFUL = 14, 4  # tokens of the tables, limit


def _lawful_cases(draw):
    """Tables with grammars, two of them too long for the limit; by mistake, what it gives."""
    (n, limit), given = LAWFUL, []
    while len(given) < 8:
        pair = _lawful_case(draw, n)
        if len(given) >= 2 or len(_lawful(*pair, n)) > limit:
            given.append(pair)

    def every(flaw="", limit=limit):
        return [_lawful(*pair, limit, flaw) for pair in given]

    want = every()
    told = {
        "The grammar has no effect: that is plain greedy decoding.": "free",
        "A forbidden token's score became 0. These are log-probabilities: 0 is the "
        "*best* there is. Put -inf in its place.": "zero",
        "That takes what is *forbidden*: the mask is inverted. `masked_fill` fills where "
        "it is True, so give it `~allowed[last]`.": "inverted",
        "The grammar is read the wrong way round: `allowed[last, next]`, a row for each "
        "last token.": "turned",
        "It stops at the first forbidden token: take the likeliest one that is allowed "
        "instead.": "halts",
        "Forbidden tokens are struck out at the end, when the model has already gone on "
        "from them: choose among what is allowed at each step.": "drops",
        "The grammar is asked at the first step only.": "once",
        "END is in the answer: it closes the sentence, and is no part of it.": "kept",
        "It goes on after END: stop there.": "endless",
    }
    told = {says: every(flaw) for says, flaw in told.items()}
    told |= {
        "BEGIN is in the answer: it opens the sentence, and is no part of it.": [
            [BEGIN, *tokens] for tokens in want
        ],
        "It does not stop at `limit` tokens.": every(limit=n),
        "One token too few where the limit ends the sentence.": every(limit=limit - 1),
    }
    return given, want, told


@exercise(
    "09-5", title="Only what can be a command", minutes=20, difficulty=3, points=4
)
def _(answer, draw):
    n, limit = LAWFUL
    given, want, told = _telling(_lawful_cases, draw.integer(0, 10**6))
    got = [_as_list(answer.lawful(*pair, limit), "lawful") for pair in given]
    says = "From BEGIN on: the likeliest of the tokens that may follow; END ends it."
    about = f"{len(given)} tables and grammars for {n} tokens, limit = {limit}"
    close(got, want, mistakes=told, says=says, given=about)
    return (
        f"No step was against the grammar, in any of {len(given)} cases. It costs a look at "
        "a list; but a grammar makes a sentence well-formed, not right."
    )


def _as_list(found, name):
    """Tokens as a list of whole numbers, from a list or a tensor."""
    if isinstance(found, Tensor):
        found = found.tolist()
    try:
        return [int(token) for token in found]
    except (TypeError, ValueError):
        says = f"`{name}` returns a list of tokens, which are whole numbers."
        raise Mistake(says, seen=f"Got {describe(found)}.") from None


@cache
def _sentences_of(n, length):
    """All sentences of that many words, between BEGIN and END: (count, length + 2)."""
    words = list(product(range(WORDS, n), repeat=length))
    return torch.tensor([[BEGIN, *sentence, END] for sentence in words])


def _best(table, limit, least=0, ended=True, mean=False):
    """The best of all sentences that with END have at most limit tokens."""
    best, found = -math.inf, None
    for length in range(least, limit):
        tokens = _sentences_of(len(table), length)
        steps = table[tokens[:, :-1], tokens[:, 1:]]
        steps = steps if ended else steps[:, :-1]
        scores = steps.mean(dim=1) if mean else steps.sum(dim=1)
        if scores.max() > best:
            best = scores.max().item()
            found = tokens[scores.argmax(), 1:-1].tolist()
    return found


def _kept(table, limit, width, free=False):
    """Beam search; free: what ends takes no place of the `width` that are open."""
    rows, open_, ended = table.tolist(), [(0.0, (BEGIN,))], []
    for _ in range(limit):
        more = [
            (score + rows[ids[-1]][token], (*ids, token))
            for score, ids in open_
            for token in range(END, len(rows))
        ]
        more.sort(reverse=True)
        found = [
            pair for pair in (more if free else more[:width]) if pair[1][-1] == END
        ]
        ended += found
        open_ = [pair for pair in more if pair[1][-1] != END]
        open_ = open_[: width if free else width - len(found)]
    return list(max(ended)[1][1:-1]) if ended else []


SHORT, LONG = (8, 3), (10, 5)  # tokens of a table, limit
WIDE = 16  # a beam that the long tables lead astray


def _short_case(draw, empty):
    """Logits with any best sentence; empty: END is almost the likeliest to begin with."""
    n, _ = SHORT
    logits = 3 * draw.normal(n, n) + 2 * draw.normal(n, 1)
    logits[:, END] -= 2
    if empty:
        logits[BEGIN, END] = logits[BEGIN, WORDS:].max() - 0.5
    return logits


def _long_case(draw):
    """Logits with an unlikely first word, from which the way to END is almost sure."""
    n, limit = LONG
    logits = draw.normal(n, n) / 2
    logits[:, END] -= 4
    first, *others = (
        draw.uniform(0, 1, n - WORDS).argsort()[: limit - 1] + WORDS
    ).tolist()
    logits[:, first] -= 3
    logits[:, others] -= 8
    for last, word in pairwise([first, *others, END]):
        logits[last, word] = 6.0
    return logits


def _likeliest_cases(draw):
    """Tables whose best sentence greedy decoding misses; by mistake, what it gives."""
    given, lengths = [], [4, 4, 2, 2, 2, 1, 1, 1, 0, 0]  # of the best sentences
    while lengths:
        long = lengths[0] == 4
        _, limit = LONG if long else SHORT
        logits = _long_case(draw) if long else _short_case(draw, not lengths[0])
        logits[:, :END] = -math.inf  # nobody writes PAD or BEGIN
        table = logits.log_softmax(dim=-1)
        best = _best(table, limit)
        if len(best) != lengths[0] or best == _kept(table, limit, 1):
            continue
        if long and best in (_kept(table, limit, WIDE, f) for f in (True, False)):
            continue
        if len(best) == 2 and best == _best(table, limit + 1):
            continue  # the limit has to matter
        given.append((logits, limit))
        lengths.pop(0)
    cases = [(logits.log_softmax(dim=-1), limit) for logits, limit in given]
    want = [_best(*case) for case in cases]
    told = {
        "That is greedy decoding. The first token that is best by itself need not begin "
        "the best sentence.": [
            _walk(lambda last, table=table: int(table[last].argmax()), limit)
            for table, limit in cases
        ],
        "That is what a beam of 2 finds: it drops the best beginning now and then. Keep "
        "one for *each* last token.": [_kept(*case, 2) for case in cases],
        f"That is what a beam of {WIDE} finds: it still drops a beginning that is "
        "unlikely at first. Keep one for *each* last token.": [
            _kept(*case, WIDE, free=True) for case in cases
        ],
        "The probability of END is missing: a sentence has to be ended too, and some "
        "words are hard to end after.": [
            _best(*case, least=1, ended=False) for case in cases
        ],
        "The empty sentence is missing: END may come right after BEGIN.": [
            _best(*case, least=1) for case in cases
        ],
        "Logits were added up: they are no log-probabilities before `log_softmax`.": [
            _best(*case) for case in given
        ],
        "END does not fit any more: with it, a sentence has at most `limit` tokens.": [
            _best(table, limit + 1) for table, limit in cases
        ],
        "The limit is not used up: with its END, a sentence may have `limit` tokens.": [
            _best(table, limit - 1) for table, limit in cases
        ],
        "Sentences that end before the limit count as well: compare the best of every "
        "length.": [_best(table, limit, least=limit - 1) for table, limit in cases],
        "That is the best mean of a token, which favours the longer: asked is the "
        "likeliest sentence, the sum.": [_best(*case, mean=True) for case in cases],
        "END is in the answer: it closes the sentence, and is no part of it.": [
            [*best, END] for best in want
        ],
        "BEGIN is in the answer: it opens the sentence, and is no part of it.": [
            [BEGIN, *best] for best in want
        ],
        "The tokens are in the reverse order: the way back has to be turned round.": [
            best[::-1] for best in want
        ],
    }
    return given, want, told


@exercise("09-6", title="The best sentence of all", minutes=35, difficulty=5, points=6)
def _(answer, draw):
    given, want, told = _telling(_likeliest_cases, draw.integer(0, 10**6))
    got = [_as_list(answer.likeliest(*case), "likeliest") for case in given]
    says = (
        "For each last token keep the likeliest way to it; END after each of them gives "
        "a sentence; of all these the likeliest is asked."
    )
    (n, limit), (fewer, less) = LONG, SHORT
    about = (
        f"{len(given)} tables of logits, for {n} tokens with limit = {limit} and for "
        f"{fewer} with {less}"
    )
    close(got, want, mistakes=told, says=says, given=about)
    count = sum(len(_sentences_of(n, length)) for length in range(limit))
    return (
        f"The likeliest of all sentences, up to {count} of them, in each of {len(given)} "
        "tables. It is exact because this model knows the last token only: whatever came before, the rest goes on "
        "alike. A transformer looks at everything, and there two beginnings with the "
        "same last token may not be merged: that is why it has to make do with a beam."
    )
