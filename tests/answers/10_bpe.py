"""Right and wrong answers to chapter 10's exercises, and what each must be told."""

import random
import re
from collections import Counter
from functools import cache
from itertools import groupby, pairwise, product

import torch

from tfcourse.bpe import FIRST_NEW, count_pairs, train_tokenizer
from tfcourse.checks.proofs import right, wrong
from tfcourse.data.corpus import load_corpus


@wrong("10-1", says="do `ab` and `bc` still occur twice")
def both_are_short():
    """Holds the tie for harmless, and works out the first program."""
    return {"prediction": "4 and 4"}


@wrong("10-1", says="the wrong way round")
def turned_round():
    """Takes one rule for the other."""
    return {"prediction": "6 and 4"}


@wrong("10-1", says="a pair that holds Z")
def one_merge_each():
    """Stops after one merge."""
    return {"prediction": "6 and 6"}


def counted(count, n=lambda n: n):
    """A count_apart that adds up what count(word) gives."""

    def count_apart(words):
        total = Counter()
        for word, times in words.items():
            for pair, found in count(word).items():
                total[pair] += n(times) * found
        return total

    return count_apart


def pairs_of(word):
    return list(map("".join, pairwise(word)))


def counted_apart(word):
    return {pair: word.count(pair) for pair in pairs_of(word)}


@right("10-2")
def by_runs():
    """Counts runs: n equal symbols make n // 2 pairs, each border one more."""

    def count(word):
        runs = [(symbol, len(list(run))) for symbol, run in groupby(word)]
        found = Counter(a[0] + b[0] for a, b in pairwise(runs))
        for symbol, n in runs:
            found[2 * symbol] += n // 2
        return found

    return {"count_apart": counted(count)}


@right("10-2")
def by_replacing():
    """Counts by how much shorter the word becomes, for all pairs of all symbols."""

    def count_apart(words):
        symbols = sorted(set("".join(words)))
        every = ["".join(pair) for pair in product(symbols, repeat=2)]
        saved = lambda word, pair: len(word) - len(word.replace(pair, "_"))
        return {
            pair: sum(n * saved(word, pair) for word, n in words.items())
            for pair in every
        }

    return count_apart


@wrong("10-2", says="every pair of neighbours")
def with_overlaps():
    """Takes the package's count."""
    return {"count_apart": counted(count_pairs)}


@wrong("10-2", says="every second place only")
def every_second_place():
    """Cuts the word into twos."""
    return {"count_apart": counted(lambda word: Counter(pairs_of(word)[::2]))}


@wrong("10-2", says="the next pair is passed over")
def jumps_after_doubles():
    """Jumps over both symbols of a doubled pair, for all other pairs too."""

    def count(word):
        found, at = Counter(), 0
        while at + 1 < len(word):
            found[word[at : at + 2]] += 1
            at += 2 if word[at] == word[at + 1] else 1
        return found

    return {"count_apart": counted(count)}


@wrong("10-2", says="Of a run of the same symbol only the first")
def unless_like_the_last():
    """Leaves out a pair that equals the one before it."""
    return {
        "count_apart": counted(
            lambda word: Counter(p for p, _ in groupby(pairs_of(word)))
        )
    }


@wrong("10-2", says="Each word was counted once")
def without_the_numbers():
    """Forgets how often a word occurs."""
    return {"count_apart": counted(counted_apart, n=lambda n: 1)}


@wrong("10-2", says="in how many words a pair stands")
def once_a_word():
    """Counts a pair once in a word."""
    return {"count_apart": counted(lambda word: Counter(set(pairs_of(word))))}


@wrong("10-2", says="reaches from one word into the next")
def joins_the_words():
    """Makes one text of the words."""

    def count_apart(words):
        return counted_apart("".join(word * n for word, n in words.items()))

    return count_apart


@wrong("10-2", says="a pair as a string of two")
def pairs_as_tuples():
    """Gives the pairs as tuples."""

    def count_apart(words):
        found = counted(counted_apart)(words)
        return {tuple(pair): n for pair, n in found.items()}

    return count_apart


@wrong("10-2", says="has no pair")
def words_without_pairs():
    """Counts a single symbol as well."""
    return {"count_apart": counted(lambda w: counted_apart(w) or {w: 1})}


@wrong("10-2", says="no symbol twice in the same pair")
def from_the_right():
    """Counts one pair too many."""
    return {"count_apart": counted(lambda w: {p: w.count(p) + 1 for p in pairs_of(w)})}


def merging(pattern, quoted=True, count=0):
    """A merge by a pattern, in which the pair stands for the word PAIR."""

    def merge(spelled, left, right):
        found = left + " " + right
        found = pattern.replace("PAIR", re.escape(found) if quoted else found)
        return re.sub(found, lambda _: left + right, spelled, count=count)

    return {"merge": merge}


@right("10-3")
def as_the_paper_does():
    """Uses the pattern of the paper's program."""
    return merging(r"(?<!\S)PAIR(?!\S)")


@right("10-3")
def with_doubled_spaces():
    """Gives each border a space of its own, and replaces."""

    def merge(spelled, left, right):
        wide = " " + spelled.replace(" ", "  ") + " "
        joined = wide.replace(f" {left}  {right} ", f" {left}{right} ")
        return joined[1:-1].replace("  ", " ")

    return merge


@right("10-3")
def piece_by_piece():
    """Keeps the pieces so far, and whether the last of them may still be used."""

    def merge(spelled, left, right):
        done, free = [], False
        for piece in spelled.split(" "):
            if free and piece == right and done[-1] == left:
                done[-1], free = left + right, False
            else:
                done.append(piece)
                free = True
        return " ".join(done)

    return merge


@wrong("10-3", says="Nothing is mended")
def replaces_anywhere():
    """Leaves it as it is."""

    def merge(spelled, left, right):
        return spelled.replace(left + " " + right, left + right)

    return merge


@wrong("10-3", says="The left border is kept, the right one is not")
def looks_to_the_left():
    """Looks at the left border only."""
    return merging(r"(?<!\S)PAIR")


@wrong("10-3", says="The right border is kept, the left one is not")
def looks_to_the_right():
    """Looks at the right border only."""
    return merging(r"PAIR(?!\S)")


@wrong("10-3", says="`A` is another piece than `a`")
def takes_capitals_for_small_letters():
    """Does not look at the case of letters."""

    def merge(spelled, left, right):
        found = rf"(?<!\S){re.escape(left)} {re.escape(right)}(?!\S)"
        return re.sub(found, lambda _: left + right, spelled, flags=re.IGNORECASE)

    return merge


@wrong("10-3", says="finds no border beside a full stop")
def borders_of_words():
    """Takes the border of a word for that of a piece."""
    return merging(r"\bPAIR\b")


@wrong("10-3", says="uses each character once")
def with_spaces_around():
    """Replaces the pair with the spaces around it."""

    def merge(spelled, left, right):
        wide = f" {spelled} "
        return wide.replace(f" {left} {right} ", f" {left}{right} ")[1:-1]

    return merge


@wrong("10-3", says="but not in its order")
def until_nothing_changes():
    """Replaces the pair with the spaces around it, again and again."""

    def merge(spelled, left, right):
        wide, old = f" {spelled} ", None
        while wide != old:
            old, wide = wide, wide.replace(f" {left} {right} ", f" {left}{right} ")
        return wide[1:-1]

    return merge


@wrong("10-3", says="do not stand for themselves")
def forgets_to_escape():
    """Takes the pieces for patterns."""
    return merging(r"(?<!\S)PAIR(?!\S)", quoted=False)


@wrong("10-3", says="Only the first of several pairs")
def merges_once():
    """Stops after the first."""
    return merging(r"(?<!\S)PAIR(?!\S)", count=1)


@wrong("10-3", says="A piece was used twice")
def uses_a_piece_twice():
    """Looks at each pair of neighbours by itself."""

    def merge(spelled, left, right):
        pieces, done = spelled.split(" "), []
        for i, piece in enumerate(pieces):
            if pieces[i : i + 2] == [left, right]:
                done.append(left + right)
            elif not (i and pieces[i - 1 : i + 1] == [left, right]):
                done.append(piece)
        return " ".join(done)

    return merge


@wrong("10-3", says="special in the replacement of `re.sub` too")
def writes_a_replacement():
    """Gives `re.sub` the new piece as a text, in which a backslash means something."""

    def merge(spelled, left, right):
        pattern = r"(?<!\S)" + re.escape(left + " " + right) + r"(?!\S)"
        return re.sub(pattern, left + right, spelled)

    return merge


@wrong("10-3", says="as a string, spelled with spaces")
def returns_the_pieces():
    """Returns the list of pieces."""
    good = with_doubled_spaces()
    return {"merge": lambda *one: good(*one).split(" ")}


@wrong("10-3", says="Neighbours that *are* the two pieces")
def any_order():
    """Merges them in the other order too."""

    def merge(spelled, left, right):
        done = []
        for piece in spelled.split(" "):
            if done and {done[-1], piece} == {left, right}:
                done[-1] += piece
            else:
                done.append(piece)
        return " ".join(done)

    return merge


def merged(word, i, rank):
    return word[:i] + chr(FIRST_NEW + rank) + word[i + 2 :]


def places(word, ranks):
    return [(ranks[p], i) for i, p in enumerate(pairs_of(word)) if p in ranks]


def dropping(left_out, best=min, steps=None, made=random.Random):
    """A dropped in which left_out(places, p, generator) says what remains."""

    def dropped(word, ranks, p, seed):
        generator, n = made(seed), 0
        while n != steps:
            remain = left_out(places(word, ranks), p, generator)
            if not remain:
                break
            rank, i = best(remain)
            word, n = merged(word, i, rank), n + 1
        return word

    return {"dropped": dropped}


def each_place(found, p, generator):
    return [place for place in found if generator.random() >= p]


@right("10-4")
def with_pythons_generator():
    """Draws with Python's own generator."""
    return dropping(each_place)


@right("10-4")
def in_the_order_of_ranks():
    """Goes through the places in their order, and takes the first that is not left out."""

    def dropped(word, ranks, p, seed):
        generator = torch.Generator().manual_seed(seed)
        kept = lambda: bool(torch.rand((), generator=generator) >= p)
        while place := next((at for at in sorted(places(word, ranks)) if kept()), None):
            word = merged(word, place[1], place[0])
        return word

    return dropped


@wrong("10-4", says="nothing is left out: every merge")
def keeps_with_p():
    """Takes p for the probability to be kept."""
    return dropping(lambda found, p, g: [at for at in found if g.random() < p])


@wrong("10-4", says="The merges went from left to right")
def from_left_to_right():
    """Merges the leftmost place."""
    return dropping(each_place, best=lambda found: min(found, key=lambda at: at[1]))


@wrong("10-4", says="The last in rank was merged first")
def the_last_rank():
    """Takes the largest rank."""
    return dropping(
        each_place, best=lambda found: min(found, key=lambda at: (-at[0], at[1]))
    )


@wrong("10-4", says="It stops after one merge")
def a_single_merge():
    """Merges once."""
    return dropping(each_place, steps=1)


@wrong("10-4", says="With p = 1 every merge is left out")
def keeps_at_least_one():
    """Always merges where it can."""
    return dropping(lambda *given: each_place(*given) or given[0])


@wrong("10-4", says="drawn once for the whole word")
def leaves_out_for_good():
    """Draws once which merges are left out."""

    def dropped(word, ranks, p, seed):
        generator = random.Random(seed)
        left = {pair: r for pair, r in ranks.items() if generator.random() >= p}
        while found := places(word, left):
            word = merged(word, min(found)[1], min(found)[0])
        return word

    return dropped


@wrong("10-4", says="One coin decides")
def one_coin():
    """Goes on, or stops, by one coin."""
    return dropping(lambda found, p, g: found if g.random() >= p else [])


@wrong("10-4", says="the next one is then taken for sure")
def only_the_best():
    """Leaves out the best place, or none."""
    return dropping(
        lambda found, p, g: sorted(found) if g.random() >= p else sorted(found)[1:]
    )


@wrong("10-4", says="at all its places together")
def by_kinds():
    """Draws for each pair, and replaces it everywhere."""

    def dropped(word, ranks, p, seed):
        generator = random.Random(seed)
        while True:
            found = sorted({rank for rank, _ in places(word, ranks)})
            remain = [rank for rank in found if generator.random() >= p]
            if not remain:
                return word
            pair = next(pair for pair, rank in ranks.items() if rank == remain[0])
            word = word.replace(pair, chr(FIRST_NEW + remain[0]))

    return dropped


@wrong("10-4", says="any one was merged")
def any_that_is_left():
    """Takes any place if some are left out."""

    def dropped(word, ranks, p, seed):
        generator = random.Random(seed)
        best = min if p == 0 else generator.choice
        return dropping(each_place, best=best, made=lambda _: generator)["dropped"](
            word, ranks, p, seed
        )

    return dropped


@wrong("10-4", says="were merged together: only one, the leftmost")
def all_of_the_best():
    """Merges the best pair at all its places that are left."""

    def dropped(word, ranks, p, seed):
        generator = random.Random(seed)
        while remain := each_place(places(word, ranks), p, generator):
            rank = min(remain)[0]
            taken, end = [], -1
            for r, i in sorted(remain, key=lambda at: at[1]):
                if r == rank and i > end:
                    taken.append(i)
                    end = i + 1
            for i in reversed(taken):
                word = merged(word, i, rank)
        return word

    return dropped


@wrong("10-4", says="The same seed gave another word")
def without_the_seed():
    """Draws from the generator that all share."""
    shared = random.Random(0)
    return dropping(each_place, made=lambda seed: shared)


@wrong("10-4", says="it gives the same word")
def always_the_same():
    """Makes the generator from a number of its own."""
    return dropping(each_place, made=lambda seed: random.Random(0))


@wrong("10-4", says="That cannot come out")
def loses_symbols():
    """Loses the symbol after a merge, if any is left out."""

    def dropped(word, ranks, p, seed):
        good = dropping(each_place)["dropped"](word, ranks, p, seed)
        return good if p in (0, 1) or len(good) < 3 else good[:-1]

    return dropped


@wrong("10-4", says="returns the symbols of the word as one string")
def a_list_of_symbols():
    """Returns a list."""
    good = dropping(each_place)["dropped"]
    return {"dropped": lambda *given: list(good(*given))}


@wrong("10-4", says="by itself and anew after each merge")
def leaves_out_with_p_squared():
    """Asks two coins for each place."""
    return dropping(
        lambda found, p, g: [at for at in found if max(g.random(), g.random()) >= p]
    )


@wrong("10-4", says="of no symbol, or of one")
def ends_a_word():
    """Puts an end where there is none, for a word without pairs."""
    good = dropping(each_place)["dropped"]
    return {"dropped": lambda word, *rest: good(word, *rest) if word[1:] else "_"}


@cache
def learned():
    """The exercise's tokenizer."""
    return train_tokenizer([load_corpus().train[:1_000_000]], 10_000)


@cache
def uses(held_out=False):
    """How often each id occurs, by the package's own encoding."""
    corpus = load_corpus()
    text = corpus.held_out if held_out else corpus.train[:1_000_000]
    counts = Counter(learned().encode(text))
    return [counts[i] for i in range(len(learned()))]


def measured(unused=None, rare=None):
    """Both numbers, right unless given."""
    mine = uses()[256:]
    unused = mine.count(0) if unused is None else unused
    return {
        "unused": unused,
        "rare": sum(n < 10 for n in mine) / len(mine) if rare is None else rare,
    }


@right("10-5")
def as_tensors():
    """Counts with PyTorch."""
    mine = torch.tensor(uses()[256:])
    return measured((mine == 0).sum(), (mine < 10).double().mean())


@wrong("10-5", says="pieces that a *merge* has made are asked, the ids")
def counts_bytes():
    """Counts unused bytes as well."""
    return measured(unused=uses().count(0))


@wrong("10-5", says="encode the text that the pieces were learned from")
def in_held_out_text():
    """Encodes the held-out text."""
    return measured(unused=uses(held_out=True)[256:].count(0))


@wrong("10-5", says="Every piece *stands* in the text")
def searches_the_text():
    """Searches the text for the pieces."""
    return measured(unused=0)


@wrong("10-5", says="So many are used")
def counts_the_keys():
    """Counts those that occur."""
    return measured(unused=sum(n > 0 for n in uses()[256:]))


@wrong("10-5", says="how many are they")
def a_share_of_unused():
    """Gives the share that is unused."""
    return measured(unused=uses()[256:].count(0) / len(uses()[256:]))


@wrong("10-5", says="see which of 256")
def one_too_many():
    """Is off by one."""
    return measured(unused=uses()[256:].count(0) + 1)


@wrong("10-5", says="That is their number")
def number_of_rare():
    """Gives the number of rare pieces."""
    return measured(rare=sum(n < 10 for n in uses()[256:]))


@wrong("10-5", says="the 256 bytes are not among them")
def share_of_all_ids():
    """Divides by the size of the vocabulary."""
    return measured(rare=sum(n < 10 for n in uses()[256:]) / len(uses()))


@wrong("10-5", says="a piece that is used ten times is none")
def ten_or_fewer():
    """Counts those that occur ten times, too."""
    return measured(rare=sum(n <= 10 for n in uses()[256:]) / len(uses()[256:]))


@wrong("10-5", says="Bytes are counted too: ids from 256 on")
def rare_bytes_too():
    """Counts rare bytes as well."""
    return measured(rare=sum(n < 10 for n in uses()) / len(uses()))


@wrong("10-5", says="Those that are never used are rare as well")
def without_the_unused():
    """Goes through the counter, which does not list what does not occur."""
    return measured(rare=sum(0 < n < 10 for n in uses()[256:]) / len(uses()[256:]))


@wrong("10-5", says="those used ten times or more")
def share_of_the_frequent():
    """Gives the share of the others."""
    return measured(rare=sum(n >= 10 for n in uses()[256:]) / len(uses()[256:]))


@wrong("10-5", says="the share that came fewer than 10 times")
def roughly_rare():
    """Rounds the share."""
    return measured(rare=0.7)


def shortest(word, pieces):
    """The shortest lists of pieces for each beginning of the word."""
    best = [[]]
    for end in range(1, len(word) + 1):
        ways = [
            [*best[end - len(piece)], piece]
            for piece in pieces
            if len(piece) <= end and word.startswith(piece, end - len(piece))
        ]
        best.append(min(ways, key=len))
    return best


@right("10-6")
def piece_after_piece():
    """Tries each piece at the end of each beginning."""
    return {"fewest": lambda word, pieces: shortest(word, pieces)[-1]}


@right("10-6")
def from_the_end():
    """Remembers the best way for each rest of the word."""

    def fewest(word, pieces):
        @cache
        def rest(start):
            if start == len(word):
                return ()
            fits = [piece for piece in pieces if word.startswith(piece, start)]
            return min(((p, *rest(start + len(p))) for p in fits), key=len)

        return list(rest(0))

    return fewest


@right("10-6")
def by_rounds():
    """Asks which ends can be reached with one piece, with two, with three ..."""

    def fewest(word, pieces):
        ways, known = [(0, [])], {0}
        for end, parts in ways:
            if end == len(word):
                return parts
            for piece in pieces:
                if word.startswith(piece, end) and end + len(piece) not in known:
                    known.add(end + len(piece))
                    ways.append((end + len(piece), [*parts, piece]))

    return fewest


def longest_first(word, pieces):
    """Greedy from the left."""
    parts = []
    while word:
        parts.append(max(filter(word.startswith, pieces), key=len))
        word = word[len(parts[-1]) :]
    return parts


@wrong("10-6", says="That takes the longest piece from the left")
def greedy_from_the_left():
    """Takes the longest piece each time."""
    return {"fewest": longest_first}


@wrong("10-6", says="That takes the longest piece from the right")
def greedy_from_the_right():
    """Takes the longest piece at the end each time."""

    def fewest(word, pieces):
        back = longest_first(word[::-1], [piece[::-1] for piece in pieces])
        return [piece[::-1] for piece in back[::-1]]

    return fewest


@wrong("10-6", says="it may cut through two others")
def the_longest_anywhere():
    """Takes the longest piece of the word, and then both sides of it."""

    def fewest(word, pieces):
        if not word:
            return []
        piece = max((len(p), p) for p in pieces if p in word)[1]
        left, _, right = word.partition(piece)
        return [*fewest(left, pieces), piece, *fewest(right, pieces)]

    return fewest


@wrong("10-6", says="as many pieces as can be")
def symbol_by_symbol():
    """Takes the symbols."""
    return {"fewest": lambda word, pieces: list(word)}


@wrong("10-6", says="the last piece of it may be any")
def better_of_two():
    """Tries both greedy ways, and takes the better one."""
    right_way = greedy_from_the_right()

    def fewest(word, pieces):
        return min(longest_first(word, pieces), right_way(word, pieces), key=len)

    return fewest


@wrong("10-6", says="in the reverse order")
def reads_backwards():
    """Forgets to turn the way back round."""
    return {"fewest": lambda word, pieces: shortest(word, pieces)[-1][::-1]}


@wrong("10-6", says="The pieces together must be the word")
def loses_the_last():
    """Stops before the end."""
    return {
        "fewest": lambda word, pieces: shortest(word, pieces)[max(len(word) - 1, 0)]
    }


@wrong("10-6", says="is none of the pieces that may be used")
def takes_the_word():
    """Returns the word whole."""
    return {"fewest": lambda word, pieces: [word] if word else []}


@wrong("10-6", says="No symbols, no pieces")
def an_empty_piece():
    """Makes an empty piece of the empty word."""
    return {"fewest": lambda word, pieces: shortest(word, pieces)[-1] or [""]}


@wrong("10-6", says="returns the list of the pieces")
def how_many():
    """Returns their number."""
    return {
        "fewest": lambda word, pieces: len(shortest(word, pieces)[-1]) if word else []
    }


@wrong("10-6", says="every way to cut was tried")
def tries_all():
    """Tries every way, without remembering any."""

    def fewest(word, pieces):
        ways = [
            [piece, *fewest(word[len(piece) :], pieces)]
            for piece in pieces
            if word.startswith(piece)
        ]
        return min(ways, key=len, default=[])

    return fewest
