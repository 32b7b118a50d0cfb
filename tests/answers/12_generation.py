"""Right and wrong answers to chapter 12's exercises, and what each must be told."""

import math
from functools import cache, partial

import torch

from tfcourse.checks.proofs import right, wrong
from tfcourse.data.corpus import load_corpus
from tfcourse.generation import keep_top_p
from tfcourse.gpt import stored_gpt
from tfcourse.markov import entropy


@wrong("12-1", says="which of two is the larger")
def every_order_matters():
    """Holds the order for important with all of them."""
    return {"prediction": "none of them"}


@wrong("12-1", says="A ratio of 0.04 becomes its root")
def ratios_stay():
    """Thinks that a temperature leaves ratios as they are."""
    return {"prediction": "top-k and min-p"}


@wrong("12-1", says="do as few tokens still do")
def no_order_matters():
    """Thinks that what keeps the order keeps all."""
    return {"prediction": "all three"}


def with_noise(score, choose=lambda sums: sums.argmax(dim=-1)):
    """A draw that takes the largest of the scores."""

    def draw(logits, u, temperature):
        return choose(score(logits, u, temperature))

    return {"draw": draw}


def noise(u):
    return -(-u.log()).log()


def mended(logits, u, T):
    return logits + T * noise(u)


@right("12-2")
def by_a_race():
    """Waits -ln u, divided by the probability: who is first wins."""

    def draw(logits, u, temperature):
        if temperature == 0:
            return logits.argmax(dim=-1)
        waits = -u.log() / (logits / temperature).softmax(dim=-1)
        return waits.argmin(dim=-1)

    return draw


@right("12-2")
def by_dividing():
    """Divides the scores alone, with a case of its own for 0; as a list."""

    def draw(logits, u, temperature):
        sums = logits / temperature + noise(u) if temperature else logits
        return sums.argmax(dim=-1).tolist()

    return draw


@wrong("12-2", says="Nothing is mended")
def divides_the_sum():
    """Leaves it as it is."""
    return with_noise(lambda logits, u, T: (logits + noise(u)) / T)


@wrong("12-2", says="That is a temperature of 1/T")
def divides_the_noise():
    """Divides the noise instead of the scores."""
    return with_noise(lambda logits, u, T: logits + noise(u) / T)


@wrong("12-2", says="The noise has the wrong sign")
def takes_the_noise_away():
    """Loses a minus sign."""
    return with_noise(lambda logits, u, T: logits / T + (-u.log()).log())


@wrong("12-2", says="That adds -ln u. One logarithm more")
def one_logarithm():
    """Takes one logarithm."""
    return with_noise(lambda logits, u, T: logits / T - u.log())


@wrong("12-2", says="That adds ln u. Two logarithms")
def one_logarithm_without_minus():
    """Takes one logarithm, without a sign."""
    return with_noise(lambda logits, u, T: logits / T + u.log())


@wrong("12-2", says="not to the probabilities")
def noise_on_probabilities():
    """Takes the softmax first."""
    return with_noise(lambda logits, u, T: (logits / T).softmax(dim=-1) + noise(u))


@wrong("12-2", says="The noise has no say")
def without_noise():
    """Forgets the noise."""
    return with_noise(lambda logits, u, T: logits)


@wrong("12-2", says="The numbers u are added as they are")
def even_noise():
    """Adds the numbers themselves."""
    return with_noise(lambda logits, u, T: logits / T + u)


@wrong("12-2", says="from one number for each row")
def by_stretches():
    """Draws by the sums of the probabilities, with the first number of each row."""

    def draw(logits, u, temperature):
        ends = (logits / temperature).softmax(dim=-1).cumsum(dim=-1)
        return torch.searchsorted(ends, u[:, :1].contiguous(), right=True)[:, 0]

    return draw


@wrong("12-2", says="The winner is sought among the rows")
def over_the_rows():
    """Takes the maximum of each column."""
    return with_noise(mended, choose=lambda sums: sums.argmax(dim=0))


@wrong("12-2", says="One winner for all rows together")
def over_all():
    """Takes the maximum of all."""
    return with_noise(mended, choose=torch.argmax)


@wrong("12-2", says="The same numbers gave another answer")
def draws_by_itself():
    """Draws with numbers of its own."""

    def draw(logits, u, temperature):
        return torch.multinomial((logits / temperature).softmax(dim=-1), 1)[:, 0]

    return draw


@wrong("12-2", says="At temperature 0 the likeliest token wins")
def divides_by_zero():
    """Divides by the temperature even if it is 0."""
    return with_noise(lambda logits, u, T: logits / T + noise(u))


@wrong("12-2", says="In each row: the largest of")
def the_second_best():
    """Takes the second largest."""
    return with_noise(mended, choose=lambda sums: sums.topk(2, dim=-1).indices[..., 1])


@wrong("12-2", says="`draw` returns the ids, a tensor")
def in_words():
    """Returns a string."""
    return with_noise(mended, choose=lambda sums: str(sums.argmax(dim=-1).tolist()))


def chances_at(T, logits):
    return (logits.double() / T).softmax(dim=0)


def found_at(stays, low=0.05, high=20.0, rounds=50):
    """The temperature up to which stays(T) is true."""
    for _ in range(rounds):
        middle = (low + high) / 2
        low, high = (middle, high) if stays(middle) else (low, middle)
    return (low + high) / 2


def matching(quantity, rounds=50):
    """A temperature at which quantity(p, logits) is what it is for the shares drawn."""

    def temperature(logits, counts):
        shares = counts.double() / counts.sum()
        logits = logits.double()
        falls = quantity(chances_at(9, logits), logits) < quantity(
            chances_at(0.1, logits), logits
        )

        def stays(T):
            here, there = (
                float(quantity(p, logits)) for p in (chances_at(T, logits), shares)
            )
            return here > there if falls else here < there

        return found_at(stays, rounds=rounds)

    return {"temperature": temperature}


def mean_logit(p, logits):
    return p @ logits


def log_likelihood(T, logits, counts):
    return float((counts * (logits.double() / T).log_softmax(dim=0)).sum())


@right("12-3")
def on_finer_and_finer_grids():
    """Tries many temperatures, and then many around the best."""

    def temperature(logits, counts):
        low, high = 0.05, 20.0
        for _ in range(6):
            some = [low * (high / low) ** (i / 20) for i in range(21)]
            values = [log_likelihood(T, logits, counts) for T in some]
            best = values.index(max(values))
            low, high = some[max(best - 1, 0)], some[min(best + 1, 20)]
        return low

    return temperature


@right("12-3")
def by_newtons_steps():
    """Goes along the slope, in 1/T, divided by the curvature: the variance of the logits."""

    def temperature(logits, counts):
        logits = logits.double()
        drawn, inverse = counts.double() @ logits / counts.sum(), 0.0
        for _ in range(40):
            p = (inverse * logits).softmax(dim=0)
            mean = p @ logits
            step = (drawn - mean) / (p @ (logits - mean) ** 2)
            inverse = inverse + step.clamp(-0.2, 0.2)
        return 1 / inverse

    return temperature


def turned(change, good=on_finer_and_finer_grids):
    """The right temperature, changed."""
    return {"temperature": lambda logits, counts: change(good()(logits, counts))}


@wrong("12-3", says="That is 1/T")
def inverse():
    """Returns the inverse."""
    return turned(lambda T: 1 / T)


@wrong("12-3", says="Two tokens do not know enough")
def from_two_tokens():
    """Takes the two most frequent tokens for probabilities."""

    def temperature(logits, counts):
        i, j = counts.topk(2).indices
        return float((logits[i] - logits[j]) / (counts[i] / counts[j]).log())

    return temperature


@wrong("12-3", says="That fits a line to ln(count)")
def by_least_squares():
    """Fits a line to the logarithms of the counts."""

    def temperature(logits, counts):
        drawn = counts > 0
        x, y = logits[drawn].double(), counts[drawn].double().log()
        x, y = x - x.mean(), y - y.mean()
        return float((x @ x) / (x @ y))

    return temperature


@wrong("12-3", says="Each token was counted once")
def without_the_counts():
    """Takes the mean logit of the tokens that came, each once."""

    def temperature(logits, counts):
        mean = logits[counts > 0].double().mean()
        return found_at(lambda T: chances_at(T, logits) @ logits.double() > mean)

    return temperature


@wrong("12-3", says="the share that it was drawn with")
def by_the_likeliest():
    """Looks for the temperature that explains the share of the likeliest token."""
    return matching(lambda p, logits: p[logits.argmax()])


@wrong("12-3", says="There the entropy is that of the shares")
def by_the_entropy():
    """Looks for the temperature with the entropy of the shares."""
    return matching(lambda p, logits: entropy(p))


@wrong("12-3", says="That is the hottest end")
def the_wrong_way():
    """Takes the wrong half each time."""

    def temperature(logits, counts):
        mean = counts.double() @ logits.double() / counts.sum()
        return found_at(lambda T: chances_at(T, logits) @ logits.double() < mean)

    return temperature


@wrong("12-3", says="That is the coldest end")
def sums_instead_of_means():
    """Forgets to divide the sum of the logits by the number of draws."""

    def temperature(logits, counts):
        total = float(counts.double() @ logits.double())
        return found_at(lambda T: chances_at(T, logits) @ logits.double() > total)

    return temperature


@wrong("12-3", says="The temperature 1 is that of the logits")
def as_they_are():
    """Always returns 1."""
    return {"temperature": lambda logits, counts: 1.0}


@wrong("12-3", says="Near, but to one part in a thousand")
def on_a_grid():
    """Tries one temperature in steps of four per cent."""
    return turned(lambda T: math.exp(round(math.log(T) / 0.04 + 0.4) * 0.04 - 0.003))


@wrong("12-3", says="`temperature` returns a number")
def a_curve():
    """Returns the likelihoods."""
    return {
        "temperature": lambda logits, counts: [
            log_likelihood(T, logits, counts) for T in (0.5, 1.0, 2.0)
        ]
    }


@wrong("12-3", says="the one with the largest")
def of_the_spread():
    """Takes the spread of the logits for the temperature."""
    return {"temperature": lambda logits, counts: float(logits.var())}


@cache
def held_out():
    """The exercise's ids and logits."""
    model, tokenizer = stored_gpt("11_code")
    text = load_corpus().held_out
    parts = [text[i * (len(text) // 8) :][:4000] for i in range(8)]
    ids = torch.tensor([tokenizer.encode(part)[:129] for part in parts])
    with torch.no_grad():
        return ids, model(ids[:, :-1])


@cache
def in_the_nucleus(p=0.9):
    return keep_top_p(held_out()[1], p) > -math.inf


@cache
def without_the_last(p=0.9):
    """The nucleus without the token with which the sum reaches p."""
    ordered, order = held_out()[1].softmax(dim=-1).sort(dim=-1, descending=True)
    inside = ordered.cumsum(dim=-1) <= p
    return torch.zeros_like(inside).scatter(-1, order, inside)


def hits(kept, ids=None):
    ids = held_out()[0][:, 1:] if ids is None else ids
    return kept.gather(-1, ids[..., None]).float().mean()


@cache
def chances():
    return held_out()[1].softmax(dim=-1)


def measured(inside=None, mass=None):
    """Both numbers, right unless given."""
    kept = in_the_nucleus()
    held = (chances() * kept).sum(dim=-1).mean()
    return {
        "inside": hits(kept) if inside is None else inside,
        "mass": held if mass is None else mass,
    }


@cache
def one_by_one():
    """Both numbers, from all positions one by one."""
    ids, _ = held_out()
    found, held = 0, 0.0
    rows = chances().flatten(0, 1)
    order = rows.argsort(dim=-1, descending=True)
    for p, likely, after in zip(rows, order, ids[:, 1:].flatten(), strict=True):
        sums = p[likely].double().cumsum(dim=0)
        last = int((sums < 0.9).sum())
        held += float(sums[last])
        found += int(after in likely[: last + 1])
    return found / len(rows), held / len(rows)


@right("12-4")
def position_by_position():
    """Goes through the positions one by one."""
    return measured(*one_by_one())


@wrong("12-4", says="the token that is already there")
def the_same_position():
    """Asks for the token at the position itself."""
    return measured(hits(in_the_nucleus(), held_out()[0][:, :-1]))


@wrong("12-4", says="is in the nucleus too: `keep_top_p`")
def inside_without_the_last():
    """Stops before the sum reaches 0.9."""
    return measured(hits(without_the_last()))


@wrong("12-4", says="given probabilities, it makes probabilities of them once more")
def softmax_twice():
    """Gives keep_top_p the probabilities."""
    return measured(hits(keep_top_p(chances(), 0.9) > -math.inf))


@wrong("12-4", says="how often the likeliest token is the true one")
def accuracy():
    """Asks whether the likeliest came."""
    ids, logits = held_out()
    return measured((logits.argmax(dim=-1) == ids[:, 1:]).float().mean())


@wrong("12-4", says="That is the share outside: one minus it")
def outside():
    """Gives the share outside."""
    return measured(1 - hits(in_the_nucleus()))


@wrong("12-4", says="That is how many are inside")
def how_many_inside():
    """Forgets to divide."""
    return measured(hits(in_the_nucleus()) * 1024)


@wrong("12-4", says="at which share of the positions")
def inside_by_top_k():
    """Uses a nucleus of another size."""
    return measured(hits(in_the_nucleus(0.5)))


@wrong("12-4", says="0.9 is what was asked for")
def as_promised():
    """Gives the promise itself."""
    return measured(mass=0.9)


@wrong("12-4", says="That leaves out the token")
def mass_without_the_last():
    """Adds up what comes before the sum reaches 0.9."""
    return measured(mass=(chances() * without_the_last()).sum(dim=-1).mean())


@wrong("12-4", says="take the probabilities from before")
def after_the_softmax():
    """Adds up the probabilities after cutting."""
    cut = held_out()[1].masked_fill(~in_the_nucleus(), -math.inf).softmax(dim=-1)
    return measured(mass=cut.sum(dim=-1).mean())


@wrong("12-4", says="the share of the vocabulary that is kept")
def share_of_tokens():
    """Takes the mean of the mask."""
    return measured(mass=in_the_nucleus().float().mean())


@wrong("12-4", says="how many tokens a nucleus holds")
def size_of_nuclei():
    """Counts the tokens."""
    return measured(mass=in_the_nucleus().sum(dim=-1).float().mean())


@wrong("12-4", says="That is the sum over all positions")
def mass_of_all():
    """Adds up everything."""
    return measured(mass=(chances() * in_the_nucleus()).sum())


@wrong("12-4", says="the mean over the kept *tokens*")
def mean_of_the_kept():
    """Takes the mean of what is kept."""
    return measured(mass=chances()[in_the_nucleus()].mean())


@wrong("12-4", says="That is the probability of the true token")
def of_the_true_token():
    """Looks at the probability of what came."""
    return measured(mass=chances().gather(-1, held_out()[0][:, 1:, None]).mean())


@wrong("12-4", says="That is the share outside the nuclei")
def mass_outside():
    """Gives the rest."""
    return measured(mass=(chances() * ~in_the_nucleus()).sum(dim=-1).mean())


@wrong("12-4", says="the probabilities of the kept tokens added up; then the mean")
def mass_of_another_nucleus():
    """Uses a smaller nucleus."""
    return measured(mass=(chances() * in_the_nucleus(0.5)).sum(dim=-1).mean())


def surprises(logits):
    return -logits.log_softmax(dim=-1)


def entropy_of(logits):
    """The entropy of each row, (b, 1), also where a token cannot come."""
    return entropy(logits.softmax(dim=-1))[:, None]


def typical(
    distance=lambda s, h: (s - h).abs(),
    mean=entropy_of,
    before=lambda ordered, p: ordered.cumsum(dim=-1) - ordered < p,
    back=lambda stay, order: torch.zeros_like(stay).scatter(-1, order, stay),
    give=lambda logits, stay: logits.masked_fill(~stay, -math.inf),
):
    """A keep_typical made of exchangeable parts."""

    def keep_typical(logits, p):
        far = distance(surprises(logits), mean(logits))
        order = far.argsort(dim=-1, stable=True)
        stay = before(logits.softmax(dim=-1).gather(-1, order), p)
        return give(logits, back(stay, order))

    return {"keep_typical": keep_typical}


@right("12-5")
def with_the_chapters_entropy():
    """Uses the entropy of chapter 3, and sorts as keep_top_p does."""
    return typical()


@right("12-5")
def row_by_row():
    """Takes tokens one by one, row by row, in plain Python."""

    def keep_typical(logits, p):
        kept = torch.full_like(logits, -math.inf)
        for row, new in zip(logits, kept, strict=True):
            q = row.softmax(dim=0).tolist()
            h = -sum(x * math.log(x) for x in q if x)
            some = [i for i, x in enumerate(q) if x]
            total = 0.0
            for i in sorted(some, key=lambda i: abs(math.log(q[i]) + h)):
                if total < p:
                    new[i] = row[i]
                    total += q[i]
        return kept

    return keep_typical


@wrong("12-5", says="a token may also be *too* likely")
def without_abs():
    """Forgets that a distance has no sign."""
    return typical(distance=lambda s, h: s - h)


@wrong("12-5", says="begins with the tokens farthest")
def farthest_first():
    """Sorts the wrong way round."""
    return typical(distance=lambda s, h: -(s - h).abs())


@wrong("12-5", says="The token with which the sum reaches p stays too")
def stops_before():
    """Stops before the sum reaches p."""
    return typical(before=lambda ordered, p: ordered.cumsum(dim=-1) <= p)


@wrong("12-5", says="The entropy is in bits and the surprise in nats")
def entropy_in_bits():
    """Measures the entropy in bits."""
    return typical(mean=lambda logits: entropy_of(logits) / math.log(2))


@wrong("12-5", says="*weighted by the probabilities*")
def plain_mean():
    """Takes the plain mean of the surprises."""
    return typical(mean=lambda logits: surprises(logits).mean(dim=-1, keepdim=True))


@wrong("12-5", says="All rows were given the same entropy")
def one_entropy():
    """Takes the entropy of all rows together."""
    return typical(mean=lambda logits: entropy_of(logits).mean())


@wrong("12-5", says="still in the order of sorting")
def without_scatter():
    """Forgets to bring the mask back."""
    return typical(back=lambda stay, order: stay)


@wrong("12-5", says="The mask went the wrong way")
def gathers_the_mask():
    """Gathers where it should scatter."""
    return typical(back=lambda stay, order: stay.gather(-1, order))


@wrong("12-5", says="The right tokens, but their probabilities")
def gives_probabilities():
    """Returns probabilities."""
    return typical(
        give=lambda logits, stay: logits.softmax(dim=-1).masked_fill(~stay, -math.inf)
    )


@wrong("12-5", says="The right tokens, but the others are 0")
def gives_zeros():
    """Multiplies by the mask."""
    return typical(give=lambda logits, stay: logits.masked_fill(~stay, 0.0))


@wrong("12-5", says="Your function has changed its input")
def in_place():
    """Writes into the scores that it was given."""
    return typical(give=lambda logits, stay: logits.masked_fill_(~stay, -math.inf))


@wrong("12-5", says="0 · ∞ is NaN")
def entropy_that_is_nan():
    """Multiplies 0 by infinity."""
    return typical(
        mean=lambda logits: (logits.softmax(dim=-1) * surprises(logits)).sum(
            dim=-1, keepdim=True
        )
    )


@wrong("12-5", says="The nearest to the entropy first")
def nearest_only():
    """Keeps the nearest token only."""
    return typical(
        before=lambda ordered, p: torch.arange(ordered.shape[-1]).expand_as(ordered) < 1
    )


def spelling(
    rests=lambda texts, written: [
        t[len(written) :] for t in texts if t.startswith(written)
    ],
    fits=lambda rest, piece: rest.startswith(piece),
    enough=lambda needed, left: needed < left,
    needs=None,
):
    """An allowed made of exchangeable parts."""

    def allowed(pieces, texts, ids, left):
        @cache
        def fewest(rest):
            if not rest:
                return 0
            after = [fewest(rest[len(p) :]) for p in pieces if fits(rest, p)]
            return 1 + min(after, default=math.inf)

        count = partial(needs, pieces) if needs else fewest
        open_ = rests(texts, "".join(pieces[i] for i in ids))
        return [
            any(fits(r, p) and enough(count(r[len(p) :]), left) for r in open_ if r)
            for p in pieces
        ]

    return {"allowed": allowed}


@right("12-6")
def by_sets_of_ends():
    """Goes forward with the set of all ends that n tokens can reach; as a tensor."""

    def allowed(pieces, texts, ids, left):
        written = "".join(pieces[i] for i in ids)
        mask = torch.zeros(len(pieces), dtype=torch.bool)
        for i, piece in enumerate(pieces):
            ways = {written + piece} if left > 0 else set()
            for _ in range(left):
                mask[i] |= not ways.isdisjoint(texts)
                longer = {way + p for way in ways for p in pieces}
                ways = {way for way in longer if any(t.startswith(way) for t in texts)}
        return mask

    return allowed


@right("12-6")
def by_calling_itself():
    """Asks itself what could come after each token."""

    def allowed(pieces, texts, ids, left):
        if left < 1:
            return [False] * len(pieces)
        found = []
        for i in range(len(pieces)):
            new = [*ids, i]
            whole = "".join(pieces[j] for j in new)
            begun = any(text.startswith(whole) for text in texts)
            found.append(
                whole in texts or (begun and any(allowed(pieces, texts, new, left - 1)))
            )
        return found

    return allowed


@wrong("12-6", says="It does not look ahead")
def without_looking_ahead():
    """Asks whether a text begins so, and no more."""
    return spelling(enough=lambda needed, left: True)


@wrong("12-6", says="not with how many tokens")
def without_counting():
    """Asks whether the rest can be spelled at all."""
    return spelling(enough=lambda needed, left: needed < math.inf)


@wrong("12-6", says="One too many: the token itself")
def one_too_many():
    """Forgets to count the token itself."""
    return spelling(enough=lambda needed, left: needed <= left)


@wrong("12-6", says="One too few: a text may be finished")
def one_too_few():
    """Counts one too many."""
    return spelling(enough=lambda needed, left: needed < left - 1)


@wrong("12-6", says="All that is left need not be used")
def uses_all_that_is_left():
    """Asks for exactly as many tokens as are left."""

    def allowed(pieces, texts, ids, left):
        @cache
        def lengths(rest):
            """The numbers of pieces that can spell the rest."""
            after = [lengths(rest[len(p) :]) for p in pieces if rest.startswith(p)]
            return {n + 1 for some in after for n in some} if rest else {0}

        written = "".join(pieces[i] for i in ids)
        rests = [t[len(written) :] for t in texts if t.startswith(written)]
        return [
            any(r.startswith(p) and left - 1 in lengths(r[len(p) :]) for r in rests)
            for p in pieces
        ]

    return allowed


def longest_first(pieces, rest):
    """How many pieces it takes if the longest is taken each time."""
    n = 0
    while rest:
        fits = [p for p in pieces if rest.startswith(p)]
        if not fits:
            return math.inf
        rest, n = rest[len(max(fits, key=len)) :], n + 1
    return n


@wrong("12-6", says="The rest is spelled by its longest pieces")
def greedily():
    """Spells the rest by the longest pieces."""
    return spelling(needs=longest_first)


@wrong("12-6", says="The text has to end where a piece ends")
def past_the_end():
    """Lets a piece reach past the end."""
    return spelling(
        fits=lambda rest, piece: rest.startswith(piece) or piece.startswith(rest)
    )


@wrong("12-6", says="only a text that begins with it")
def of_any_text():
    """Takes the rest of each text, whatever it begins with."""
    return spelling(rests=lambda texts, written: [t[len(written) :] for t in texts])


@wrong("12-6", says="`ids` have been written before")
def from_the_beginning():
    """Forgets what has been written."""
    return spelling(rests=lambda texts, written: texts)


@wrong("12-6", says="Only the first of the texts")
def the_first_text():
    """Looks at the first text."""
    good = spelling()["allowed"]
    return {
        "allowed": lambda pieces, texts, ids, left: good(pieces, texts[:1], ids, left)
    }


@wrong("12-6", says="Only the last of the texts")
def the_last_text():
    """Overwrites what it found for the texts before."""

    def allowed(pieces, texts, ids, left):
        for text in texts:
            found = spelling()["allowed"](pieces, [text], ids, left)
        return found

    return allowed


@wrong("12-6", says="returns True or False for each piece")
def a_list_of_tokens():
    """Returns the tokens that are allowed."""
    good = spelling()["allowed"]
    return {"allowed": lambda *case: [i for i, may in enumerate(good(*case)) if may]}


@wrong("12-6", says="A token may come if it, and at most")
def everything():
    """Allows everything."""
    return {"allowed": lambda pieces, *rest: [True] * len(pieces)}
