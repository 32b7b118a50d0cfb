"""Right and wrong answers to the exercises of chapter 3, and what must be said to them."""

import itertools
import math

import torch

from tfcourse.checks.proofs import right, wrong
from tfcourse.markov import shares


@wrong("03-1", says="what somebody is about to check")
def predicts_certainty():
    """Expects that three words leave nothing open."""
    return {"prediction": "nothing"}


@wrong("03-1", says="Which doubt would the third word take away?")
def predicts_another_halving():
    """Expects that each word of memory halves what is left."""
    return {"prediction": "half of it"}


@wrong("03-1", says="it is never worse")
def predicts_a_loss():
    """Expects a longer memory to be worse on the text it was counted on."""
    return {"prediction": "more"}


@right("03-2")
def with_a_loop():
    """Subtracts the probabilities one after the other."""

    def draw(p, u):
        for i, share in enumerate(p.tolist()):
            u -= share
            if u < 0:
                return i
        return len(p) - 1

    return draw


@wrong("03-2", says="That is the likeliest outcome")
def takes_the_likeliest():
    """Returns the most probable outcome, whatever u is."""
    return {"draw": lambda p, u: int(p.argmax())}


@wrong("03-2", says="The dice are thrown already")
def throws_its_own_dice():
    """Draws with a generator of its own, and never looks at u."""
    return {"draw": lambda p, u: int(torch.multinomial(p, 1))}


@wrong("03-2", says="compares u with single probabilities")
def compares_with_single_probabilities():
    """Compares u with each probability instead of with their running sum."""

    def draw(p, u):
        return next(i for i, share in enumerate(p.tolist()) if u < share)

    return draw


@wrong("03-2", says="A stretch begins at its first point")
def counts_ends_before_only():
    """Leaves the point at which a stretch begins to the one before."""
    return {"draw": lambda p, u: int((p.cumsum(0) < u).sum())}


@wrong("03-2", says="Off by one")
def is_off_by_one():
    """Counts the ends and adds one."""
    return {"draw": lambda p, u: int((p.cumsum(0) <= u).sum()) + 1}


def row_nats():
    return -sum(p * math.log(p) for p in (0.2, 0.3, 0.5))


@right("03-3")
def divides_by_the_length():
    """Divides the one undecided row by the five words of a command."""
    return {"rate": row_nats() / math.log(2) / 5}


@wrong("03-3", says="so of a whole command")
def forgets_the_length():
    """Reports the bits of a command."""
    return {"rate": row_nats() / math.log(2)}


@wrong("03-3", says="uses them unevenly")
def takes_the_plain_mean():
    """Takes the mean over the seven rows."""
    return {"rate": row_nats() / math.log(2) / 7}


@right("03-3")
def gives_three_digits():
    """Rounds to three digits."""
    return {"rate": 0.297}


@wrong("03-3", says="That is the question game")
def counts_questions():
    """Asks one question half of the time and two otherwise."""
    return {"rate": (0.5 * 1 + 0.5 * 2) / 5}


@wrong("03-3", says="One bit is ln 2 nats")
def reports_nats():
    """Forgets to turn nats into bits."""
    return {"rate": row_nats() / 5}


@right("03-4")
def with_heavier_rivals():
    """Gives each rival enough weight to switch off any number of words."""

    def and_not(n, present, absent):
        weights = [0.0] * n
        for i in present:
            weights[i] = 1.0
        for i in absent:
            weights[i] = -float(len(present))
        return torch.tensor(weights), torch.tensor(1.0 - len(present))

    return and_not


def feature(bias, rival=-1.0, share=False):
    def and_not(n, present, absent):
        weights = torch.zeros(n)
        weights[present] = 1.0 / len(present) if share else 1.0
        weights[absent] = rival
        return weights, float(bias(len(present), len(absent)))

    return {"and_not": and_not}


@wrong("03-4", says="is still on")
def ignores_the_rivals():
    """Gives the absent words no weight."""
    return feature(lambda m, k: 1 - m, rival=0.0)


@wrong("03-4", says="missing: lower the bias")
def keeps_the_bias_of_two():
    """Keeps the bias of a pair, however many words there are."""
    return feature(lambda m, k: min(0, 1 - min(m, 2)))


@wrong("03-4", says="not above 0")
def takes_one_too_many():
    """Takes the number of words itself as the bias."""
    return feature(lambda m, k: -m)


@wrong("03-4", says="look at the bias")
def counts_rivals_into_the_bias():
    """Turns the sign of the bias."""
    return feature(lambda m, k: m)


def smooth(counts, p_0=None, d=None):
    n = len(counts)
    rows = counts.double()
    p_0 = rows.sum(dim=0) / rows.sum() if p_0 is None else p_0
    d = (rows > 0).sum(dim=1, keepdim=True).clamp(min=1) if d is None else d
    return ((rows + d * p_0) / (rows.sum(dim=1, keepdim=True) + d)).view(n, n)


@right("03-5")
def row_by_row():
    """Goes row by row, and treats the empty one apart."""

    def witten_bell(counts):
        p_0 = counts.sum(dim=0) / counts.sum()
        rows = []
        for row in counts:
            d = int((row > 0).sum())
            rows.append((row + d * p_0) / (row.sum() + d) if d else p_0)
        return torch.stack(rows)

    return witten_bell


@wrong("03-5", says="gives 0/0")
def divides_zero_by_zero():
    """Forgets the row that was never seen."""
    return {
        "witten_bell": lambda c: smooth(c, d=(c > 0).sum(dim=1, keepdim=True).double())
    }


@wrong("03-5", says="p_0 is the same for all words here")
def leans_on_a_uniform():
    """Leans on equal probabilities."""
    return {"witten_bell": lambda c: smooth(c, p_0=torch.full((len(c),), 1 / len(c)))}


@wrong("03-5", says="number of *different* words")
def counts_all_followers():
    """Takes all followers instead of the different ones."""
    return {
        "witten_bell": lambda c: smooth(c, d=c.sum(dim=1, keepdim=True).clamp(min=1))
    }


@wrong("03-5", says="how often a word came *before*")
def sums_over_columns():
    """Takes the share of each word among those that came before."""
    return {"witten_bell": lambda c: smooth(c, p_0=c.sum(dim=1) / c.sum())}


@wrong("03-5", says="Every row leans with the weight 1")
def leans_with_one():
    """Leans with the same weight everywhere."""
    return {"witten_bell": lambda c: smooth(c, d=1.0)}


@wrong("03-5", says="is still all zeros")
def leaves_the_empty_row():
    """Clamps the denominator and so leaves the empty row at zero."""

    def witten_bell(counts):
        p_0 = counts.sum(dim=0) / counts.sum()
        d = (counts > 0).sum(dim=1, keepdim=True)
        return (counts + d * p_0) / (counts.sum(dim=1, keepdim=True) + d).clamp(min=1)

    return witten_bell


def heard(pairs, seen, last):
    ballots = pairs[:, last]
    return ballots[(seen > 0) & (ballots.sum(dim=1) > 0)]


@right("03-6")
def in_logarithms():
    """Adds logarithms, and lets softmax divide by the sum."""

    def multiply(pairs, seen, last):
        return heard(pairs, seen, last).log().sum(dim=0).softmax(dim=0)

    return multiply


@right("03-6")
def with_shares():
    """Lets shares divide the product by its sum, which is far below 1."""
    return {"multiply": lambda p, s, last: shares(heard(p, s, last).prod(dim=0))}


@wrong("03-6", says="that pair was left out")
def leaves_the_last_word_out():
    """Leaves out the pair whose earlier word is the last word."""

    def multiply(pairs, seen, last):
        seen = seen.clone()
        seen[last] = 0
        return shares(heard(pairs, seen, last).prod(dim=0))

    return multiply


@wrong("03-6", says="These are the votes added")
def adds_the_votes():
    """Adds the ballots."""

    def multiply(pairs, seen, last):
        total = heard(pairs, seen, last).sum(dim=0)
        return total / total.sum()

    return multiply


@wrong("03-6", says="does not sum to 1")
def forgets_to_divide():
    """Returns the bare product."""
    return {"multiply": lambda p, s, last: heard(p, s, last).prod(dim=0)}


@wrong("03-6", says="only those whose earlier word was there")
def lets_everybody_vote():
    """Lets pairs vote whose earlier word was not there."""

    def multiply(pairs, seen, last):
        product = heard(pairs, torch.ones_like(seen), last).prod(dim=0)
        return product / product.sum()

    return multiply


@wrong("03-6", says="Everything was vetoed")
def counts_silence_as_a_veto():
    """Lets a pair that was never counted veto everything."""

    def multiply(pairs, seen, last):
        product = pairs[:, last][seen > 0].prod(dim=0)
        return product / product.sum()

    return multiply


@wrong("03-6", says="Multiply the ballots")
def takes_the_other_axis():
    """Takes the last word for the earlier one."""

    def multiply(pairs, seen, last):
        ballots = pairs[last]
        keep = itertools.compress(ballots, (seen > 0).tolist())
        product = torch.stack(list(keep)).prod(dim=0)
        return product / product.sum()

    return multiply
