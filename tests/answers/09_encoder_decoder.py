"""Right and wrong answers to the exercises of chapter 9, and what must be said to them."""

from itertools import pairwise, product

import torch
from torch.nn import functional as F

from tfcourse.checks.proofs import right, wrong
from tfcourse.data.commands import all_triples, split_triples
from tfcourse.encoder_decoder import (
    BEGIN,
    END,
    PAD,
    shift_right,
    smoothed_cross_entropy,
)


@wrong("09-1", says="Which result is nearer to 0?")
def predicts_the_short_one():
    """Thinks that -4 is better than -6, whatever both are divided by."""
    return {"prediction": "the short one with both"}


@wrong("09-1", says="With α = 0 both are divided by 1")
def predicts_the_long_one():
    """Thinks that the penalty helps the long one even where it does nothing."""
    return {"prediction": "the long one with both"}


@wrong("09-1", says="A *penalty* on length would do that")
def predicts_a_penalty():
    """Takes the name for what it does."""
    return {"prediction": "α = 0 the long one, α = 1 the short one"}


def surprise(table, inputs, targets):
    """-log p of each target, (b, t), when the decoder gets the inputs."""
    return -table.log_softmax(-1)[inputs].gather(-1, targets[..., None])[..., 0]


def late(targets, begin=BEGIN):
    """The targets, one step late."""
    return torch.cat([torch.full_like(targets[:, :1], begin), targets[:, :-1]], dim=1)


def loss(inputs, mean):
    """A loss_of that gives the decoder inputs(targets), and takes mean(surprises, targets)."""

    def loss_of(table, targets):
        return mean(surprise(table, inputs(targets), targets), targets)

    return loss_of


def over_real(surprises, targets):
    """The mean over real tokens."""
    return surprises[targets != PAD].mean()


@right("09-2")
def by_the_package():
    """Uses the chapter's own functions."""
    return {
        "loss_of": lambda table, targets: smoothed_cross_entropy(
            table[shift_right(targets)], targets
        )
    }


@right("09-2")
def with_a_mask():
    """Multiplies by a mask, and divides by its sum."""

    def mean(surprises, targets):
        real = (targets > 0).double()
        return (surprises * real).sum() / real.sum()

    return {"loss_of": loss(late, mean)}


@wrong("09-2", says="Both mistakes are still there")
def copies_what_is_broken():
    """Is what was given."""

    def loss_of(table, targets):
        return F.cross_entropy(table[targets].flatten(0, 1), targets.flatten())

    return loss_of


@wrong("09-2", says="shift them to the right")
def does_not_shift():
    """Leaves padding out, and gives the decoder its answers."""
    return {"loss_of": loss(lambda targets: targets, over_real)}


@wrong("09-2", says="Padding still counts")
def counts_padding():
    """Shifts, and takes the mean over all positions."""
    return {"loss_of": loss(late, lambda surprises, targets: surprises.mean())}


@wrong("09-2", says="the sum is divided by all positions")
def divides_by_all():
    """Sets the surprise at padding to zero, and takes the mean."""
    return {
        "loss_of": loss(
            late, lambda surprises, targets: (surprises * (targets > 0)).mean()
        )
    }


@wrong("09-2", says="the sentences' means")
def averages_averages():
    """Takes each sentence's mean, and then the mean of these."""

    def mean(surprises, targets):
        real = targets > 0
        return ((surprises * real).sum(1) / real.sum(1)).mean()

    return {"loss_of": loss(late, mean)}


@wrong("09-2", says="That is the sum")
def sums():
    """Does not divide."""
    return {
        "loss_of": loss(late, lambda surprises, targets: surprises[targets > 0].sum())
    }


@wrong("09-2", says="shift the other way")
def shifts_left():
    """Gives the decoder the token after the one that it should answer."""

    def early(targets):
        return torch.cat([targets[:, 1:], 0 * targets[:, :1]], dim=1)

    return {"loss_of": loss(early, over_real)}


@wrong("09-2", says="END is left out")
def does_not_teach_to_stop():
    """Takes END for padding."""
    return {
        "loss_of": loss(
            late, lambda surprises, targets: surprises[targets > END].mean()
        )
    }


@wrong("09-2", says="Nobody asks for the first word")
def cuts_the_ends():
    """Gives all tokens but the last, and asks for all but the first, as for a text."""

    def loss_of(table, targets):
        given, asked = targets[:, :-1], targets[:, 1:]
        return over_real(surprise(table, given, asked), asked)

    return loss_of


@wrong("09-2", says="it should be BEGIN")
def begins_with_padding():
    """Shifts, and puts PAD in the first place."""
    return {"loss_of": loss(lambda targets: late(targets, PAD), over_real)}


@wrong("09-2", says="Give the decoder BEGIN and then the targets")
def begins_with_end():
    """Shifts, and puts END in the first place."""
    return {"loss_of": loss(lambda targets: late(targets, END), over_real)}


def smoothing(
    others=lambda epsilon, n: epsilon / (n - 1),
    kept=lambda epsilon, n: 1 - epsilon,
    of=lambda p, logits: -(p * logits.log_softmax(-1)).sum(-1).mean(),
    rows=range,
):
    """A smoothed whose target, or what is made of it, is something else."""

    def smoothed(logits, targets, epsilon):
        t, n = logits.shape
        p = torch.full((t, n), others(epsilon, n))
        p[rows(t), targets] = kept(epsilon, n)
        return of(p, logits)

    return {"smoothed": smoothed}


@right("09-3")
def by_pytorch_with_more():
    """Lets PyTorch smooth by ε·n/(n - 1)."""

    def smoothed(logits, targets, epsilon):
        n = logits.shape[1]
        amount = epsilon * n / (n - 1)
        return F.cross_entropy(logits, targets, label_smoothing=amount)

    return smoothed


@right("09-3")
def by_the_mean_of_the_others():
    """Adds up the surprises at the right word and at the others."""

    def smoothed(logits, targets, epsilon):
        surprises = -logits.log_softmax(-1)
        right_one = surprises.gather(1, targets[:, None])[:, 0]
        others = (surprises.sum(-1) - right_one) / (logits.shape[1] - 1)
        return ((1 - epsilon) * right_one + epsilon * others).mean()

    return smoothed


@wrong("09-3", says="That is PyTorch's")
def shares_with_all():
    """Uses label_smoothing as it is."""
    return {"smoothed": lambda x, y, e: F.cross_entropy(x, y, label_smoothing=e)}


@wrong("09-3", says="these sum to less than 1")
def loses_a_part():
    """Gives the others ε/n."""
    return smoothing(others=lambda epsilon, n: epsilon / n)


@wrong("09-3", says="n - 2 words")
def leaves_padding_out():
    """Gives the others ε/(n - 2)."""
    return smoothing(others=lambda epsilon, n: epsilon / (n - 2))


@wrong("09-3", says="Each of the others was given all of ε")
def gives_everyone_all():
    """Gives each of the others ε."""
    return smoothing(others=lambda epsilon, n: epsilon)


@wrong("09-3", says="it keeps 1 - ε")
def takes_nothing_away():
    """Leaves the right word its 1."""
    return smoothing(kept=lambda epsilon, n: 1.0)


@wrong("09-3", says="only the others share")
def gives_a_part_back():
    """Adds a part of ε to the right word."""
    return smoothing(kept=lambda epsilon, n: 1 - epsilon + epsilon / (n - 1))


@wrong("09-3", says="writes 1 - ε into *every* row")
def writes_into_every_row():
    """Writes p[:, targets]."""
    return smoothing(rows=lambda t: slice(None))


@wrong("09-3", says="smaller by the entropy")
def takes_the_divergence():
    """Computes the divergence."""

    def of(p, logits):
        return F.kl_div(logits.log_softmax(-1), p, reduction="batchmean")

    return smoothing(of=of)


@wrong("09-3", says="the sum over the tokens")
def does_not_average():
    """Adds up over the tokens."""
    return smoothing(of=lambda p, logits: -(p * logits.log_softmax(-1)).sum())


@wrong("09-3", says="*minus* the logarithm")
def forgets_the_sign():
    """Has the other sign."""
    return smoothing(of=lambda p, logits: (p * logits.log_softmax(-1)).sum(-1).mean())


@wrong("09-3", says="sum over the words, mean over the tokens")
def averages_over_the_words():
    """Takes the mean over words and tokens."""
    return smoothing(of=lambda p, logits: -(p * logits.log_softmax(-1)).mean())


@wrong("09-3", says="Nothing is smoothed")
def does_not_smooth():
    """Is the plain cross-entropy."""
    return {"smoothed": lambda logits, targets, _: F.cross_entropy(logits, targets)}


@wrong("09-3", says="no logarithms of probabilities yet")
def takes_logits():
    """Takes the logits for log-probabilities."""
    return smoothing(of=lambda p, logits: -(p * logits).sum(-1).mean())


@wrong("09-3", says="where p is 1 - ε for the right one")
def takes_probabilities():
    """Leaves the logarithm out."""
    return smoothing(of=lambda p, logits: -(p * logits.softmax(-1)).sum(-1).mean())


KEPT, HELD = split_triples()
PAIRS = (0, 1), (0, 2), (1, 2)


def counts(many, of, pair):
    """How many of many agree in those places with each triple."""
    seen = [tuple(one[i] for i in pair) for one in many]
    return [seen.count(tuple(one[i] for i in pair)) for one in of]


LEAST = [min(row) for row in zip(*(counts(KEPT, HELD, p) for p in PAIRS), strict=True)]


def counted(many=KEPT, of=HELD, pairs=PAIRS, reduce=None, thin=1, order=1):
    """What a learner measures, with one thing in another way."""
    reduce = reduce or (lambda column: sum(column) / len(column))
    shared = [reduce(counts(many, of, pair)) for pair in pairs][::order]
    return {"shared": shared, "thin": LEAST.count(thin)}


@right("09-4")
def as_a_tensor():
    """Compares all triples at once, as numbers."""
    names = sorted({part for triple in all_triples() for part in triple})
    held, kept = (
        torch.tensor([[names.index(part) for part in triple] for triple in triples])
        for triples in (HELD, KEPT)
    )
    same = held[:, None] == kept
    counts = torch.stack([same[..., list(p)].all(-1).sum(1) for p in PAIRS])
    return {
        "shared": counts.double().mean(dim=1),
        "thin": (counts.amin(0) == 1).sum(),
    }


@wrong("09-4", says="among *all* triples")
def counts_the_held_out_too():
    """Counts among all triples."""
    return counted(many=all_triples())


@wrong("09-4", says="among the held-out triples themselves")
def counts_the_held_out():
    """Counts among the held-out ones."""
    return counted(many=HELD)


@wrong("09-4", says="That is asked of the triples of training")
def asks_of_training():
    """Takes each triple of training."""
    return counted(of=KEPT)


@wrong("09-4", says="a *pair* is two places")
def compares_one_place():
    """Counts the triples with the same action, object, or filter."""
    return counted(pairs=((0,), (1,), (2,)))


@wrong("09-4", says="which is always so")
def asks_whether():
    """Counts whether the pair is known."""
    return counted(reduce=lambda column: sum(n > 0 for n in column) / len(column))


@wrong("09-4", says="These are sums")
def adds_up():
    """Does not divide."""
    return counted(reduce=sum)


@wrong("09-4", says="These are the largest counts")
def takes_the_largest():
    """Takes the largest."""
    return counted(reduce=max)


@wrong("09-4", says="These are the smallest counts")
def takes_the_smallest():
    """Takes the smallest."""
    return counted(reduce=min)


@wrong("09-4", says="In this order")
def turns_the_order():
    """Reports the three from the last to the first."""
    return counted(order=-1)


@wrong("09-4", says="three numbers, one for each kind of pair")
def reports_one_mean():
    """Reports one mean of all."""
    return counted() | {"shared": 4.5}


@wrong("09-4", says="the split made sure of it")
def looks_for_new_pairs():
    """Counts the triples with an unknown pair."""
    return counted(thin=0)


@wrong("09-4", says="That is a share")
def reports_a_share():
    """Divides the number of thin ones."""
    answer = counted()
    return answer | {"thin": answer["thin"] / len(HELD)}


@wrong("09-4", says="count the rest")
def counts_the_others():
    """Counts those whose pairs are all in several triples."""
    answer = counted()
    return answer | {"thin": len(HELD) - answer["thin"]}


@wrong("09-4", says="A held-out triple counts once")
def counts_two():
    """Counts those with a pair in two triples."""
    return counted(thin=2)


@right("09-5")
def by_a_loop():
    """Goes through the allowed tokens in a loop."""

    def lawful(table, allowed, limit):
        written = [BEGIN]
        for _ in range(limit):
            may = [j for j, ok in enumerate(allowed[written[-1]].tolist()) if ok]
            token = max(may, key=lambda j: table[written[-1], j].item())
            if token == END:
                break
            written.append(token)
        return torch.tensor(written[1:])

    return lawful


def greedily(choose, limited=True, stop=True, ends=False, begins=False, less=0):
    """A lawful that takes choose(table, allowed, last), with one thing in another way."""

    def lawful(table, allowed, limit):
        written, last = [BEGIN] if begins else [], BEGIN
        for _ in range(limit - less if limited else 1000):
            last = int(choose(table, allowed, last))
            if last == END and stop:
                return written + [END] * ends
            written.append(last)
        return written

    return {"lawful": lawful}


def masked(table, allowed, last):
    """The likeliest that is allowed."""
    return table[last].masked_fill(~allowed[last], -torch.inf).argmax()


@wrong("09-5", says="plain greedy decoding")
def ignores_the_grammar():
    """Takes the likeliest."""
    return greedily(lambda table, allowed, last: table[last].argmax())


@wrong("09-5", says="score became 0")
def fills_with_zero():
    """Puts 0 in a forbidden token's place."""

    def choose(table, allowed, last):
        return table[last].masked_fill(~allowed[last], 0.0).argmax()

    return greedily(choose)


@wrong("09-5", says="the mask is inverted")
def forbids_what_is_allowed():
    """Forgets the ~ of the mask."""
    return greedily(lambda table, allowed, last: masked(table, ~allowed, last))


@wrong("09-5", says="a row for each last token")
def reads_columns():
    """Takes the column of the last token."""
    return greedily(lambda table, allowed, last: masked(table, allowed.T, last))


@wrong("09-5", says="take the likeliest one that is allowed instead")
def gives_up():
    """Ends where the likeliest is forbidden."""

    def choose(table, allowed, last):
        token = table[last].argmax()
        return token if allowed[last, token] else END

    return greedily(choose)


@wrong("09-5", says="struck out at the end")
def strikes_out():
    """Decodes freely, and leaves out the steps that are not allowed."""
    free = greedily(lambda table, allowed, last: table[last].argmax())["lawful"]

    def lawful(table, allowed, limit):
        written = [BEGIN, *free(table, allowed, limit)]
        return [b for a, b in pairwise(written) if allowed[a, b]]

    return lawful


@wrong("09-5", says="at the first step only")
def asks_once():
    """Masks the first step."""

    def choose(table, allowed, last):
        return masked(table, allowed, last) if last == BEGIN else table[last].argmax()

    return greedily(choose)


@wrong("09-5", says="END is in the answer")
def keeps_the_end():
    """Leaves END in."""
    return greedily(masked, ends=True)


@wrong("09-5", says="It goes on after END")
def never_ends():
    """Does not look for END."""
    return greedily(masked, stop=False)


@wrong("09-5", says="BEGIN is in the answer")
def keeps_the_beginning():
    """Leaves BEGIN in."""
    return greedily(masked, begins=True)


@wrong("09-5", says="does not stop at `limit`")
def has_no_limit():
    """Goes on until END."""
    return greedily(masked, limited=False)


@wrong("09-5", says="One token too few")
def counts_begin():
    """Counts BEGIN as one of the tokens."""
    return greedily(masked, less=1)


@wrong("09-5", says="a list of tokens, which are whole numbers")
def returns_a_number():
    """Returns how many there are."""
    lawful = greedily(masked)["lawful"]
    return {"lawful": lambda *given: len(lawful(*given))}


@wrong("09-5", says="the likeliest of the tokens that may follow")
def takes_the_worst():
    """Takes the least likely of what is allowed."""
    return greedily(
        lambda table, allowed, last: masked(-table, allowed, last),
    )


def searched(score, lengths=range, of=lambda sentence: sentence):
    """A likeliest that tries all sentences, by score(table, logits, sentence)."""

    def likeliest(logits, limit):
        table, raw = logits.log_softmax(-1).tolist(), logits.tolist()
        words = range(3, len(table))
        every = [s for m in lengths(limit) for s in product(words, repeat=m)]
        return of(list(max(every, key=lambda s: score(table, raw, s))))

    return {"likeliest": likeliest}


def total(table, raw, sentence):
    """The log-probability of a sentence with its END."""
    return sum(table[a][b] for a, b in pairwise([BEGIN, *sentence, END]))


@right("09-6")
def by_trying_all():
    """Tries every sentence."""
    return searched(total)


@right("09-6")
def from_the_end():
    """Keeps for each token the best way from it to END, as tensors."""

    def likeliest(logits, limit):
        table = logits.log_softmax(-1)
        value, after = table[:, END], []  # with one token left: END
        for _ in range(limit - 1):
            goes_on = table[:, 3:] + value[3:]
            best, word = goes_on.max(dim=1)
            stops = table[:, END] >= best
            after.append(torch.where(stops, END, word + 3))
            value = torch.maximum(best, table[:, END])
        tokens, last = [], BEGIN
        for choice in reversed(after):
            last = int(choice[last])
            if last == END:
                break
            tokens.append(last)
        return tokens

    return likeliest


@wrong("09-6", says="That is greedy decoding")
def is_greedy():
    """Takes the likeliest token each time."""

    def likeliest(logits, limit):
        tokens, last = [], BEGIN
        while len(tokens) < limit:
            last = int(logits[last].argmax())
            if last == END:
                break
            tokens.append(last)
        return tokens

    return likeliest


def beamed(width, counts_ends=True):
    """A likeliest that keeps so many beginnings; what ended is one of them, or not."""

    def likeliest(logits, limit):
        table = logits.log_softmax(-1).tolist()
        beams, ended = [(0.0, [BEGIN])], []
        for _ in range(limit):
            grown = [
                (score + more, [*ids, token])
                for score, ids in beams
                for token, more in enumerate(table[ids[-1]])
            ]
            grown.sort(reverse=True)
            best = grown[:width]
            if not counts_ends:
                best = [pair for pair in grown if pair[1][-1] == END]
                best += [pair for pair in grown if pair[1][-1] != END][:width]
            ended += [pair for pair in best if pair[1][-1] == END]
            beams = [pair for pair in best if pair[1][-1] != END]
        return max(ended)[1][1:-1] if ended else []

    return {"likeliest": likeliest}


@wrong("09-6", says="a beam of 2 finds")
def keeps_two():
    """Keeps the two likeliest beginnings."""
    return beamed(2)


@wrong("09-6", says="a beam of 16 finds")
def keeps_sixteen_open():
    """Keeps the sixteen likeliest beginnings, and all that ended besides."""
    return beamed(16, counts_ends=False)


@wrong("09-6", says="The empty sentence is missing")
def says_something():
    """Tries all sentences of a word or more."""
    return searched(total, lengths=lambda limit: range(1, limit))


@wrong("09-6", says="The probability of END is missing")
def ends_for_nothing():
    """Compares the beginnings, one word or longer, without their END."""

    def score(table, raw, sentence):
        return sum(table[a][b] for a, b in pairwise([BEGIN, *sentence]))

    return searched(score, lengths=lambda limit: range(1, limit))


@wrong("09-6", says="Logits were added up")
def adds_logits():
    """Takes the logits for log-probabilities."""
    return searched(lambda table, raw, sentence: total(raw, raw, sentence))


@wrong("09-6", says="END does not fit any more")
def does_not_count_end():
    """Takes `limit` words, and END."""
    return searched(total, lengths=lambda limit: range(limit + 1))


@wrong("09-6", says="The limit is not used up")
def counts_end_twice():
    """Takes one word too few."""
    return searched(total, lengths=lambda limit: range(limit - 1))


@wrong("09-6", says="compare the best of every length")
def fills_the_limit():
    """Tries the longest sentences only."""
    return searched(total, lengths=lambda limit: [limit - 1])


@wrong("09-6", says="the best mean of a token")
def divides_by_the_length():
    """Divides by the number of tokens."""
    return searched(lambda table, raw, s: total(table, raw, s) / (1 + len(s)))


@wrong("09-6", says="END is in the answer")
def leaves_end_in():
    """Leaves END in."""
    return searched(total, of=lambda sentence: [*sentence, END])


@wrong("09-6", says="BEGIN is in the answer")
def leaves_begin_in():
    """Leaves BEGIN in."""
    return searched(total, of=lambda sentence: [BEGIN, *sentence])


@wrong("09-6", says="in the reverse order")
def reads_backwards():
    """Forgets to turn the way back round."""
    return searched(total, of=lambda sentence: sentence[::-1])


@wrong("09-6", says="a list of tokens, which are whole numbers")
def returns_the_score():
    """Returns the log-probability."""
    return {"likeliest": lambda logits, limit: -3.5}


@wrong("09-6", says="For each last token keep the likeliest way to it")
def takes_the_unlikeliest():
    """Looks for the smallest."""
    return searched(lambda table, raw, s: -total(table, raw, s))
