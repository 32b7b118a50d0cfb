"""What the answers of chapter 3's exercises must do."""

import itertools
import math

import torch

from tfcourse.checks import Mistake, close, describe, exercise

BATTERY = ["check", "whether", "the", "battery", "ran", "down", "please"]
PROGRAM = ["check", "whether", "the", "program", "ran", "please"]


def _left(memory):
    """Bits per command that so many words of memory leave, counted with dicts."""
    text = 2 * (4 * BATTERY + 6 * PROGRAM)
    after = {}
    for t in range(64):
        row = after.setdefault(tuple(text[t : t + memory]), [])
        row.append(text[t + memory])
    nats = 0.0
    for row in after.values():
        nats -= sum(math.log(row.count(word) / len(row)) for word in row)
    return nats / math.log(2) / 10


@exercise(
    "03-1",
    title="One word more",
    kind="prediction",
    minutes=5,
    difficulty=1,
    points=2,
    choices=("nothing", "half of it", "the same", "more"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    left = {memory: _left(memory) for memory in (1, 2, 3)}
    assert abs(left[2] - left[3]) < 1e-9 < left[1] - left[2]
    replies = {
        "nothing": "Then the computer would know, at *the*, what somebody is about to "
        "check. Read both commands up to there: in what do they differ?",
        "half of it": "From one word to two a doubt went away, the one at *ran*. "
        "Which doubt would the third word take away?",
        "more": "A longer memory can always ignore what it has more, so on the text "
        "that was counted it is never worse. But is it better?",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    return (
        f"{left[1]:.2f}, {left[2]:.2f} and {left[3]:.2f} bits with one, two and three "
        "words: what somebody wants to check stands nowhere before."
    )


def _stretch(p, u):
    """The outcome into whose stretch u falls, by adding up."""
    ends = list(itertools.accumulate(p.tolist()))
    return next(i for i, end in enumerate(ends) if u < end)


@exercise("03-2", title="Throw the dice yourself", minutes=10, difficulty=2, points=3)
def _(answer, draw):
    p, u = torch.tensor([0.1, 0.2, 0.05, 0.25, 0.4]), 0.22
    mistakes = {
        "That is the likeliest outcome; draw the one into whose stretch u falls.": 4,
        "That compares u with single probabilities; the stretches lie side by side, so "
        "each ends at a *sum*.": 3,
        "Off by one: the stretch before the first end is the one of outcome 0.": 2,
        "That outcome's stretch has already ended at u.": 0,
    }
    if len({str(answer.draw(p, u)) for _ in range(12)}) > 1:
        raise Mistake(
            "The same p and u gave different outcomes. The dice are thrown already: u "
            "is the throw, and it alone decides."
        )
    close(answer.draw(p, u), _stretch(p, u), mistakes=mistakes)
    says = "A stretch begins at its first point, and that point is included."
    close(answer.draw(torch.tensor([0.25, 0.75]), 0.25), 1, says=says)
    says = "An outcome of probability 0 can never be drawn."
    close(answer.draw(torch.tensor([0.0, 1.0]), 0.0), 1, says=says)
    p = draw.uniform(0.5, 1.5, 6)
    p = p / p.sum()
    for _ in range(30):
        u = draw.uniform(0, 0.999)
        if (p.cumsum(dim=0) - u).abs().min() > 1e-4:
            says = "Count the ends that lie at or before u."
            close(answer.draw(p, u), _stretch(p, u), says=says)
    return "Each outcome owns a stretch as long as its probability."


@exercise(
    "03-3",
    title="What a word is worth",
    kind="measurement",
    minutes=10,
    difficulty=2,
    points=3,
)
def _(answer, draw):
    rate = answer.number("rate")
    if type(rate) not in (int, float):
        raise Mistake(f"One number is asked, in bits; got {describe(rate)}.")
    nats = -sum(p * math.log(p) for p in (0.2, 0.3, 0.5))
    row, want = nats / math.log(2), nats / math.log(2) / 5
    mistakes = {
        "That is the surprise of the one undecided row, so of a whole command. Per "
        "word?": row,
        "That is the mean of the seven rows; but a long text uses them unevenly. How "
        "often is it at *my*?": row / 7,
        "That is the question game: 1.5 questions for five words (or 0.297, rounded: "
        "give three digits). The entropy is a little lower, for 0.2 and 0.3 are not "
        "powers of one half.": 1.5 / 5,
        "In nats that is right. One bit is ln 2 nats.": nats / 5,
        "That is the sum of the row's logarithms, not weighted by how often each "
        "outcome comes.": -sum(map(math.log2, (0.2, 0.3, 0.5))) / 5,
    }
    says = "Weigh each row's entropy by how often a long text is at that word."
    close(rate, want, says=says, mistakes=mistakes, rtol=0.004)
    return f"{row:.3f} bits per command, and five words in each: {want:.3f} per word."


@exercise("03-4", title="And not", minutes=15, difficulty=3, points=4)
def _(answer, draw):
    n = 6
    for present, absent in (([1], []), ([0, 3], []), ([2], [4]), ([0, 1, 5], [2, 3])):
        returned = answer.and_not(n, present, absent)
        if not isinstance(returned, list | tuple) or len(returned) != 2:
            raise Mistake("Return two things: the weights, and the bias.")
        weights = torch.as_tensor(returned[0], dtype=torch.float32)
        if weights.shape != (n,):
            raise Mistake(f"The weights should be (6,); got {tuple(weights.shape)}.")
        for bits in itertools.product((0.0, 1.0), repeat=n):
            _judge_feature(bits, weights, float(returned[1]), present, absent)
    return "On when all are there and no rival is, for all 64 inputs."


def _judge_feature(bits, weights, bias, present, absent):
    """A Mistake where the feature is not what it must be for these zeros and ones."""
    got = max(
        0.0, sum(b * w for b, w in zip(bits, weights.tolist(), strict=True)) + bias
    )
    missing = sum(bits[i] == 0 for i in present)
    rivals = sum(bits[i] == 1 for i in absent)
    want = float(not missing and not rivals)
    if abs(got - want) < 1e-4:
        return
    given = {"x": [int(b) for b in bits], "present": present, "absent": absent}
    seen = f"The feature is {got:.4g} where it should be {want:.0f}."
    if want and got == 0:
        says = "All that must be there is there, and the sum is not above 0."
    elif want:
        says = "It is on, but not 1: with m words, which bias leaves just 1?"
    elif rivals:
        says = "A word of `absent` is there, and the feature is still on."
    elif not any(bits):
        says = "Nothing is there at all, and it is on: look at the bias."
    else:
        says = f"{missing:.0f} of the words of `present` are missing: lower the bias."
    raise Mistake(says, seen=seen, given=given)


@exercise("03-5", title="How much to trust a row", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    n = 5
    counts = draw.integer(0, 4, n, n)
    counts[0] = torch.tensor([7, 0, 1, 0, 2])
    counts[2, 1] = 3  # so that no other row is empty
    counts[1, 3] = counts[3, 0] = 2
    counts[4] = 0
    next_words = [sum(counts[i, j].item() for i in range(n)) for j in range(n)]

    def smoothed(weight, base=lambda j: next_words[j] / sum(next_words)):
        """The formula with loops; weight: row -> what stands in place of d."""
        rows = [row.tolist() for row in counts]
        return torch.tensor(
            [
                [
                    (row[j] + weight(row) * base(j)) / (sum(row) + weight(row))
                    for j in range(n)
                ]
                for row in rows
            ]
        )

    def kinds(row):
        return sum(c > 0 for c in row) or 1

    got = answer.witten_bell(counts)
    given = {"counts": counts}
    if isinstance(got, torch.Tensor) and got.shape == (n, n):
        if not got.isfinite().all():
            raise Mistake(
                "A row that was never seen gives 0/0: it should be p_0.", given=given
            )
        if (got[4] == 0).all():
            raise Mistake(
                "A row that was never seen is still all zeros: it should be p_0.",
                given=given,
            )
    before = counts.sum(dim=1).tolist()
    mistakes = {
        "p_0 is the same for all words here; it should be each word's share of all "
        "counts.": smoothed(kinds, lambda j: 1 / n),
        "d is the number of *different* words that followed, not of all.": smoothed(
            lambda row: sum(row) or 1
        ),
        "Every row leans with the weight 1; it should be d of the row.": smoothed(
            lambda row: 1
        ),
        "p_0 counts how often a word came *before*; sum over the rows instead.": (
            smoothed(kinds, lambda j: before[j] / sum(before))
        ),
    }
    says = "Compare with the formula by hand, for the row that was never seen first."
    close(got, smoothed(kinds), says=says, given=given, mistakes=mistakes)
    return "Rows with many kinds of followers lean more on p_0."


@exercise("03-6", title="Multiply the votes", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    n, last = 5, 3
    pairs = draw.uniform(0.1, 1.0, n, n, n)
    pairs[1, last] = torch.tensor([0.0, 2.0, 0.0, 1.0, 1.0])  # a veto on 0 and 2
    pairs /= pairs.sum(dim=-1, keepdim=True)
    pairs[4, last] = 0  # never counted
    seen = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0])

    def product(words):
        values = [math.prod(pairs[w, last, x].item() for w in words) for x in range(n)]
        return torch.tensor(values)

    want = product([0, 1]) / product([0, 1]).sum()
    total = pairs[0, last] + pairs[1, last]
    mistakes = {
        "These are the votes added; multiply them.": total / total.sum(),
        "The product is right, but it does not sum to 1: divide by its sum.": product(
            [0, 1]
        ),
        "All pairs have voted; only those whose earlier word was there are heard.": (
            product([0, 1, 2, 3]) / product([0, 1, 2, 3]).sum()
        ),
    }
    got = answer.multiply(pairs, seen, last)
    given = {"seen": seen, "last": last, "pairs": pairs}
    shaped = isinstance(got, torch.Tensor) and got.shape == (n,)
    if shaped and (got.isnan().any() or (got == 0).all()):
        raise Mistake(
            "Everything was vetoed. A pair that was never counted has a ballot of "
            "zeros, and a word that was not there has none: leave both out.",
            given=given,
        )
    says = "Multiply the ballots pairs[w, last] of the words w that are heard."
    close(got, want, says=says, given=given, mistakes=mistakes)
    seen = torch.tensor(
        [1.0, 1.0, 0.0, 1.0, 0.0]
    )  # the last word was there before, too
    got = answer.multiply(pairs, seen, last)
    given = {"seen": seen, "last": last, "pairs": pairs}
    mistakes = {
        "The last word had occurred before, too, and that pair was left out: it is heard "
        "like all others.": want
    }
    want = product([0, 1, 3]) / product([0, 1, 3]).sum()
    close(got, want, says=says, given=given, mistakes=mistakes)
    return "One veto outweighs all who do not know."
