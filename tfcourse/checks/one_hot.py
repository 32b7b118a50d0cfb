"""What the answers of chapter 2's exercises must do."""

import torch

from tfcourse.checks import Mistake, close, describe, exercise


@exercise(
    "02-1",
    title="The product of a stack with itself",
    kind="prediction",
    minutes=5,
    difficulty=1,
    points=2,
    choices=("identity", "same word", "counts", "neighbours"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    ids = torch.tensor([1, 2, 2, 0])
    x = torch.eye(3)[ids]
    assert (x.T @ x).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 2]]
    replies = {
        "identity": "It would be, if every word occurred once. Take a text in which one "
        "word comes twice: what is its column's dot product with itself?",
        "same word": "That is X·Xᵀ, a table of positions by positions. Xᵀ·X has a row "
        "and a column for each *word*.",
        "neighbours": "Rows i and i + 1 never meet in this product: each position is "
        "multiplied with itself only. (Exercise 02-3 makes neighbours meet.)",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    return "For *find my my files* the diagonal, by files, find, my, is 1, 1, 2."


@exercise("02-2", title="Leave the rare words out", minutes=10, difficulty=2, points=3)
def _(answer, draw):
    # first appearance, alphabet and frequency give three different orders
    rare = draw.choice(["find", "show", "open"])
    text = f"{rare} a cat , The dog saw my dog and , the my cat saw my other 2 dog 2"
    tokens = text.split()
    counts = {token: tokens.count(token) for token in tokens}
    want = [token for token in counts if counts[token] >= 2]
    repeated = [token for token in tokens if counts[token] >= 2]
    mistakes = {
        "*At least* `least` times: a token that occurs exactly so often stays.": [
            token for token in counts if counts[token] > 2
        ],
        "The right tokens in alphabetical order: the order of first appearance is "
        "asked.": sorted(want),
        "The right tokens, the most frequent first: the order of first appearance is "
        "asked.": sorted(want, key=lambda token: -counts[token]),
        "*The* and *the* are two tokens: leave the case as it is.": [
            token
            for token in dict.fromkeys(text.lower().split())
            if text.lower().split().count(token) >= 2
        ],
        "Commas and numbers are tokens too.": [t for t in want if t.isalpha()],
        "Each token once, please: yours are still as many as in the text.": repeated,
        "Those are the rare ones: keep the others.": [
            token for token in counts if counts[token] < 2
        ],
    }
    got = answer.common(tokens, 2)
    if isinstance(got, dict):
        raise Mistake(f"A list of tokens is asked; got {describe(got)}.")
    says = "Count every token first, then keep those with a count of `least` or more."
    given = {"tokens": " ".join(tokens), "least": 2}
    close(got, want, says=says, given=given, mistakes=mistakes)
    all_of_them = answer.common(tokens, 1)
    close(all_of_them, list(counts), says="With `least=1` every token stays, once.")
    return f"{len(want)} of {len(counts)} different tokens are left: {', '.join(want)}."


@exercise(
    "02-3", title="Count all pairs with one product", minutes=15, difficulty=3, points=4
)
def _(answer, draw):
    n, t = 4, 12
    ids = draw.integer(0, n - 1, t)  # the last word of the vocabulary never occurs
    ids[:4] = torch.tensor([0, 1, 0, 1])  # a pair that comes twice, and
    ids[-1] = 2  # other ends: so that the table is not its own transpose
    want, after = torch.zeros(n, n), ids.roll(-1)
    for here, there in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
        want[here, there] += 1
    x = torch.eye(n)[ids]
    sums = want.sum(dim=1, keepdim=True)
    mistakes = {
        "Turned round: rows should be the word, columns the word after it.": want.T,
        "One pair too many: the last word is paired with the first (`roll` does "
        "that).": x.T @ torch.eye(n)[after],
        "Each position is paired with itself: shift one of the two by a position.": (
            x.T @ x
        ),
        "Those are shares of each row: counts are asked.": want / sums.clamp(min=1),
        "A 1 for each pair that occurs: how often does it occur?": want.clamp(max=1),
    }
    given = {"ids": ids, "n": n}
    got = answer.pair_counts(ids, n)
    if isinstance(got, torch.Tensor) and got.shape == (t - 1, t - 1):
        raise Mistake(
            "A table of positions by positions: transpose the other factor, so that "
            "the positions meet, and are summed over."
        )
    if isinstance(got, list):
        raise Mistake("Return a tensor of shape (n, n); a list came back.")
    if isinstance(got, torch.Tensor) and not got.is_floating_point():
        got = got.float()
    says = "Count by hand for three words: which pairs are there?"
    close(got, want, says=says, given=given, mistakes=mistakes)
    close(
        answer.pair_counts(torch.zeros(3000, dtype=torch.long), 2),
        torch.tensor([[2999.0, 0.0], [0.0, 0.0]]),
        says="In a long text the counts are wrong: does their dtype hold 2999?",
    )
    return f"{t - 1} pairs, all counted."


@exercise(
    "02-4",
    title="Where to put the brackets",
    kind="measurement",
    minutes=10,
    difficulty=2,
    points=3,
)
def _(answer, draw):
    ratio = answer.number("ratio")
    n, m, k, p = 200, 3000, 50, 400
    left, right = n * m * k + n * k * p, m * k * p + n * m * p
    if isinstance(ratio, bool) or not isinstance(ratio, int | float):
        raise Mistake(f"A number is asked; got {describe(ratio)}.")
    mistakes = {
        "That is the cheaper divided by the dearer: turn it round.": left / right,
        "Each way consists of two products; you counted only the first.": (
            (m * k * p) / (n * m * k)
        ),
        "Each way consists of two products; you counted only the second.": (
            (n * m * p) / (n * k * p)
        ),
        "Those are the sizes of the matrices in between; what is asked is the work "
        "that it takes to make them and to use them.": (m * p) / (n * k),
        "The same matrix, yes, but not the same work: count both ways.": 1.0,
    }
    says = "Count n·m·k for each of the four products, two to a way."
    close(ratio, right / left, says=says, mistakes=mistakes, rtol=0.01)
    return f"{left:,} multiply-adds against {right:,}: the brackets decide."


@exercise("02-5", title="Mend the scores", minutes=10, difficulty=3, points=3)
def _(answer, draw):
    b, t, s, d = 2, 3, 4, 5
    q, k = draw.normal(b, t, d), draw.normal(b, s, d)
    want = torch.zeros(b, t, s)
    for text in range(b):
        for i in range(t):
            for j in range(s):
                want[text, i, j] = (q[text, i] * k[text, j]).sum()
    lengths = q.norm(dim=-1)[:, :, None] * k.norm(dim=-1)[:, None]
    mistakes = {
        "The same numbers as before: `reshape` fills the new shape in the old order "
        "instead of turning it.": q @ k.reshape(b, d, s),
        "The right numbers, turned: queries should run down, keys across.": want.mT,
        "Those are cosines: the dot products are asked, lengths included.": (
            want / lengths
        ),
        "The queries of one text meet the keys of another: leave the batch axis where "
        "it is.": q @ k.flip(0).mT,
    }
    given = {"q": q, "k": k}
    got = answer.scores(q, k)
    says = "Turn the last two axes of the keys, and no others."
    close(got, want, says=says, given=given, mistakes=mistakes)
    return f"{want.numel()} dot products, each equal to a loop's."


@exercise(
    "02-6", title="The way back through a lookup", minutes=20, difficulty=4, points=5
)
def _(answer, draw):
    n, t, d = 5, 6, 3
    ids, grad = draw.integer(0, n - 1, t), draw.normal(t, d)
    ids[0], ids[-1] = 1, 1  # a repeated word; the last row is never looked up
    want, last, first = torch.zeros(n, d), torch.zeros(n, d), torch.zeros(n, d)
    for i, row in zip(ids.tolist(), grad, strict=True):
        want[i] += row
        last[i] = row
    for i, row in zip(ids.tolist()[::-1], grad.flip(0), strict=True):
        first[i] = row
    counts = torch.bincount(ids, minlength=n)[:, None].clamp(min=1)
    twice = (
        "A word that occurs twice kept one of its gradients only: all of them add up."
    )
    mistakes = {
        "That is the mean over a word's places; the sum is asked.": want / counts,
        "The sum is there once more on top: start from zeros.": 2 * want,
        "Those are the rows of `grad` that the ids name: you looked up again, instead "
        "of bringing home.": grad[ids],
    }
    given = {"ids": ids, "grad": grad, "n": n}
    got = answer.lookup_gradient(ids, grad, n)
    for lost in (last, first):
        close_to_lost = isinstance(got, torch.Tensor) and got.shape == lost.shape
        if close_to_lost and torch.allclose(got, lost):
            raise Mistake(twice, given=given)
    says = "Add up by hand what arrives at id 1, which is there twice."
    close(got, want, says=says, given=given, mistakes=mistakes)
    return "All gradients have come home, and add up where they meet."
