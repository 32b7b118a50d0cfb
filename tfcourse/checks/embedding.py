"""What the answers of chapter 4's exercises must do."""

import torch

from tfcourse.checks import Mistake, close, describe, exercise


@exercise(
    "04-1",
    title="Which rows learn?",
    kind="prediction",
    minutes=5,
    difficulty=1,
    points=2,
    choices=("one", "two", "all"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    table = draw.normal(1000, 4).requires_grad_()
    loss = -(table[3] @ table.T).log_softmax(dim=0)[7]
    (slope,) = torch.autograd.grad(loss, table)
    assert slope.any(dim=1).all()
    replies = {
        "one": "That is so on the way in: one row is read. But the same matrix stands "
        "on the way out.",
        "two": "The row that is read and the row that is wanted, yes; and the others "
        "were candidates too: the softmax divides by the sum over all of them.",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    size = slope.norm(dim=1)
    others = torch.ones(1000, dtype=torch.bool)
    others[[3, 7]] = False
    return (
        f"All of them: the row of *my* by {size[3]:.2g}, that of *files* by "
        f"{size[7]:.2g}, the median of the others by {size[others].median():.1g}."
    )


def _pieces(word, n):
    marked = f"<{word}>"
    cut = [marked[i : i + n] for i in range(len(marked) - n + 1)]
    return cut if len(marked) == n else cut + [marked]


@exercise("04-2", title="Pieces of a word", minutes=10, difficulty=2, points=3)
def _(answer, draw):
    word = draw.choice(["where", "rows", "attention", "vector", "embedding"])
    n = draw.integer(3, 5)
    want = _pieces(word, n)
    bare = [word[i : i + n] for i in range(len(word) - n + 1)]
    mistakes = {
        "The brackets are missing: put < and > around the word before you cut.": bare
        + [word],
        "The pieces lack their brackets; only the whole word has them.": bare
        + [f"<{word}>"],
        "All pieces are there; the whole word, in its brackets, is missing.": want[:-1],
        "The last piece is missing: there are L - n + 1 of them.": want[:-2]
        + want[-1:],
        "The whole word comes last.": want[-1:] + want[:-1],
        "These pieces do not overlap: go on by one letter, not by n.": [
            f"<{word}>"[i : i + n] for i in range(0, len(word) + 2, n)
        ]
        + [f"<{word}>"],
    }
    given = {"word": word, "n": n}
    says = "Cut '<where>' by hand, and compare."
    close(answer.pieces(word, n), want, given=given, mistakes=mistakes, says=says)
    short = answer.pieces("a", n)
    marked, given = "<a>", {"word": "a", "n": n}
    twice = "A word no longer than n in its brackets is its only piece: it stands once."
    close(short, [marked], given=given, says=twice)
    others = {
        "cat": "In its brackets this word is longer than n: it is cut.",
        "banana": "A piece that occurs twice stands there twice.",
        "Rome": "A capital letter stays what it is.",
    }
    for other, told in others.items():
        given = {"word": other, "n": 3}
        close(answer.pieces(other, 3), _pieces(other, 3), given=given, says=told)
    return f"{len(want)} pieces of {word!r}, and a word of one letter is whole."


def _question(draw, nearest):
    """Vectors and a question for which each known mistake has an answer of its own.

    nearest: which word of the question, b or c, is nearest to the sum itself.
    """
    while True:
        vectors = draw.normal(30, 4) * draw.uniform(0.2, 5.0, 30, 1)
        a, b, c = draw.normal(30).argsort()[:3].tolist()
        found = _answers(vectors, a, b, c)
        told = {"b": b, "c": c}[nearest]
        if len(set(found.values())) == len(found) and found["free"] == told:
            return vectors, a, b, c, found


def _answers(vectors, a, b, c):
    unit = torch.nn.functional.normalize(vectors, dim=1)

    def best(rows, query, free=False):
        cosines = rows @ query
        if not free:
            cosines[[a, b, c]] = -torch.inf
        return int(cosines.argmax())

    query = unit[b] - unit[a] + unit[c]
    raw = vectors[b] - vectors[a] + vectors[c]
    return {
        "right": best(unit, query),
        "turned": best(unit, unit[a] - unit[b] + unit[c]),
        "free": best(unit, query, free=True),
        "added": best(unit, unit[a] + unit[b] + unit[c]),
        "kept": best(unit, unit[b] + unit[c]),
        "alone": best(unit, unit[c]),
        "raw": best(unit, raw),
        "dot": best(vectors, raw),
    }


@exercise("04-3", title="The answer to a question", minutes=15, difficulty=2, points=4)
def _(answer, draw):
    for nearest in "bc":
        _ask(answer, nearest, *_question(draw, nearest))
    return "None of the three, at the smallest angle to the sum."


def _ask(answer, nearest, vectors, a, b, c, known):
    got = answer.analogy(vectors, a, b, c)
    if isinstance(got, torch.Tensor) and got.ndim == 0:
        got = got.item()
    if type(got) is not int:
        raise Mistake(f"The id of a word is asked, an `int`; got {describe(got)}.")
    says = {
        "turned": "That is a - b + c: the step goes from a to b, so it is b - a.",
        "free": f"That is {nearest}, a word of the question: none of the three may be "
        "the answer.",
        "added": "All three are added: a has to be subtracted.",
        "kept": "That is b + c: a has to be subtracted.",
        "alone": "Those are the neighbours of c alone: add the step from a to b.",
        "raw": "The sum was made of rows of different lengths: scale them first.",
        "dot": "The rows have different lengths, and the long ones win a dot product: "
        "scale them to length 1.",
    }
    mistakes = {told: known[name] for name, told in says.items()}
    given = {"a": a, "b": b, "c": c, "vectors": vectors}
    hint = "Which row has the largest cosine to v_b - v_a + v_c, the three apart?"
    close(got, known["right"], mistakes=mistakes, given=given, says=hint)


@exercise("04-4", title="Pull and push", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    d, k = 5, 3
    v, rows = draw.normal(d), draw.normal(1 + k, d)
    v_, rows_ = v.clone().requires_grad_(), rows.clone().requires_grad_()
    scores = rows_ @ v_
    sign = torch.tensor([1.0] + [-1.0] * k)
    loss = -torch.nn.functional.logsigmoid(sign * scores).sum()
    want = torch.autograd.grad(loss, (v_, rows_))

    def known(error):
        return error @ rows, torch.outer(error, v)

    p = torch.sigmoid(rows @ v)
    real = torch.eye(1 + k)[0]
    error = p - real
    mistakes = {
        "The real neighbour is treated as noise: its error is sigmoid(s) - 1.": known(
            p
        ),
        "That is the step, against the slope: the signs are all turned.": known(-error),
        "The noise is pulled instead of pushed: its error is +sigmoid(s).": known(
            torch.cat([error[:1], -p[1:]])
        ),
        "The sigmoid is missing: the error is sigmoid(s) - y, not s - y.": known(
            rows @ v - real
        ),
        "For v only the real neighbour counts so far; v stands in every score.": (
            error[0] * rows[0],
            torch.outer(error, v),
        ),
        "Divided by the number of rows: the loss is a sum over them, not a mean.": known(
            error / (1 + k)
        ),
        "The two are in the other order: first the slope of v.": (want[1], want[0]),
    }
    got = answer.slopes(v, rows)
    given = {"v": v, "rows": rows}
    says = "Each slope is an error, sigmoid(s) - y, times a vector: which?"
    close(got, tuple(want), mistakes=mistakes, given=given, says=says)
    return "The same as autograd's."


@exercise(
    "04-5",
    title="A table that does not compress",
    kind="measurement",
    minutes=15,
    difficulty=3,
    points=3,
)
def _(answer, draw):
    d = answer.number("d")
    seed = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 40, dtype=torch.float64, generator=seed)
    u, s, vh = torch.linalg.svd(scores)
    kept = [
        int(((u[:, :r] * s[:r] @ vh[:r]).argmax(dim=1) == scores.argmax(dim=1)).sum())
        for r in range(41)
    ]
    want = kept.index(40)
    if not isinstance(d, int | float) or d not in range(1, 41):
        raise Mistake(f"A whole number from 1 to 40 is asked; got {describe(d)}.")
    d = int(d)
    if d == 40:
        raise Mistake(
            "That is the rank, at which the approximation *is* the table; the largest "
            "scores are at their places before."
        )
    if d == want - 1:
        raise Mistake(
            "Off by one: the first d numbers are `[:d]`; does yours begin at 0?"
        )
    if kept[d] > 20 and d < want:
        raise Mistake(f"Most rows, {kept[d]} of 40, agree at d = {d}; all are asked.")
    if d != want:
        where = "a smaller d does too" if d > want else "go on"
        raise Mistake(f"At d = {d}, {kept[d]} of 40 rows agree: {where}.")
    return (
        f"{want} of 40 numbers per word: a table without structure hardly compresses. "
        "What an embedding saves, it saves because words are alike."
    )


@exercise("04-6", title="Two banks, bluntly", minutes=20, difficulty=4, points=5)
def _(answer, draw):
    b, t, d, window = 2, 7, 3, 2
    x = draw.normal(b, t, d)

    def means(before=window, after=window, itself=True, padded=False):
        out = torch.zeros_like(x)
        for i in range(t):
            near = [
                j
                for j in range(max(0, i - before), min(t, i + after + 1))
                if itself or j != i
            ]
            total = sum(x[:, j] for j in near)
            out[:, i] = total / (before + after + 1 if padded else len(near))
        return out

    want = means()
    mistakes = {
        "At the ends you divide by 2 * window + 1; fewer positions exist there.": means(
            padded=True
        ),
        "Only positions before: the window goes to both sides.": means(after=0),
        "Only positions after: the window goes to both sides.": means(before=0),
        "The position itself is missing from its mean.": means(itself=False),
        "One too few behind: a slice ends before its end, so it is i + window + 1.": (
            means(after=window - 1)
        ),
        "That is the sum; divide by how many there are.": want
        * torch.tensor([3.0, 4, 5, 5, 5, 4, 3])[:, None],
        "That is the mean over the whole sequence at every position.": x.mean(
            dim=1, keepdim=True
        ).expand(b, t, d),
        "The sequences of the batch are mixed: each is a text of its own.": want.mean(
            dim=0, keepdim=True
        ).expand(b, t, d),
    }
    got = answer.window_means(x, window)
    given = {"x": x, "window": window}
    if isinstance(got, torch.Tensor) and got.shape == (t, b, d):
        raise Mistake("The axes are in another order: stack along dim=1.", given=given)
    says = "Work out position 0 and position 3 by hand."
    close(got, want, mistakes=mistakes, given=given, says=says)
    alone = answer.window_means(x, 0)
    given = {"x": x, "window": 0}
    close(alone, x, given=given, says="With a window of 0 each vector stays as it is.")
    bank, river, robber = draw.normal(3, 1, 1, 4)
    both = torch.cat(
        [torch.cat([river, bank], dim=1), torch.cat([robber, bank], dim=1)]
    )
    out = answer.window_means(both, 1)
    apart = (out[0, 1] - out[1, 1]).norm()
    return f"Two equal banks with different company are now {apart:.1f} apart."
