"""What the answers of chapter 10's exercises must do."""

import re
import time
from collections import Counter
from functools import cache
from itertools import combinations, pairwise, product
from operator import eq

from tfcourse.bpe import FIRST_NEW, split_text, to_symbols, train_tokenizer
from tfcourse.checks import Finding, Mistake, close, describe, differs, exercise
from tfcourse.checks.compare import measured, telling
from tfcourse.data.corpus import load_corpus

TIED = "abcacabc"


def _compressed(text, choose):
    """The symbols left when the most frequent pair is replaced while one occurs twice."""
    new = FIRST_NEW
    while counts := Counter(map("".join, pairwise(text))):
        most = max(counts.values())
        if most < 2:
            break
        text = text.replace(choose(p for p in counts if counts[p] == most), chr(new))
        new += 1
    return text


@exercise(
    "10-1",
    title="Two rules for a tie",
    kind="prediction",
    minutes=8,
    difficulty=1,
    points=2,
    choices=("4 and 4", "4 and 6", "6 and 4", "6 and 6"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    ends = [len(_compressed(TIED, rule)) for rule in (min, max)]
    assert ends == [4, 6]
    replies = {
        "4 and 4": "Replace `ca` by hand: do `ab` and `bc` still occur twice in what is "
        "left?",
        "6 and 4": "The right numbers, the wrong way round: which rule takes `ab`, and "
        "which `ca`?",
        "6 and 6": "When `ab` has become Z, count again: a pair that holds Z occurs "
        "twice.",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    return (
        "With `ab` first: ZcacZc, then YacY. With `ca` first: abZZbc, where no pair "
        "occurs twice: `ca` has taken a letter from each `abc`. Who chooses the most "
        "frequent pair does not see what the choice destroys; and two programs agree on "
        "their merges only if they break ties alike."
    )


def _apart(word, jump=lambda pair: False):
    """How many of each pair can be replaced, pair by pair from left to right.

    jump: a known mistake, the pairs after which the next symbol is passed over for all.
    """
    counts, free, at = Counter(), Counter(), 0
    while at < len(word) - 1:
        pair = word[at : at + 2]
        if free[pair] <= at:
            counts[pair] += 1
            free[pair] = at + 2
        at += 2 if jump(pair) else 1
    return counts


def _once_in_a_row(word):
    """Counts a pair only where the pair before it is another one."""
    pairs = ["", *map("".join, pairwise(word))]
    return Counter(b for a, b in pairwise(pairs) if a != b)


def _weighed(words, count):
    total = Counter()
    for word, n in words.items():
        for pair, c in count(word).items():
            total[pair] += n * c
    return dict(total)


def _counting_case(draw):
    """Words in which pairs overlap, how often each occurs; by mistake, what it gives."""
    a, b, c = (chr(65 + i) for i in draw.uniform(0, 1, 26).argsort()[:3].tolist())
    c = draw.choice((c, chr(draw.integer(FIRST_NEW, 384))))
    words = {}
    for word in (4 * a, 3 * b, a + a + b, a + b + a + b + a, "", c):
        words[word] = draw.integer(2, 6)
    while len(words) < 10:
        word = "".join(draw.choice((a, a, b, c)) for _ in range(draw.integer(3, 9)))
        words[word] = draw.integer(2, 6)
    seen = {word: 1 for word in words}
    text = "".join(word * n for word, n in words.items())
    told = {
        "That counts every pair of neighbours, as `count_pairs` does: `aa` can be replaced "
        "once in `aaa`, and twice in `aaaa`.": _weighed(
            words, lambda word: Counter(map("".join, pairwise(word)))
        ),
        "That looks at every second place only, and misses the `ab` of `cabc`.": _weighed(
            words, lambda word: _apart(word, jump=lambda pair: True)
        ),
        "After a doubled symbol the next pair is passed over, whichever it is: `aab` has "
        "an `ab` too. Only `aa` itself may not use the second `a` again.": _weighed(
            words, lambda word: _apart(word, jump=lambda pair: pair[0] == pair[1])
        ),
        "Of a run of the same symbol only the first pair was counted: in `aaaa`, `aa` can "
        "be replaced twice.": _weighed(words, _once_in_a_row),
        "Each word was counted once: add its number each time.": _weighed(seen, _apart),
        "That says in how many words a pair stands: it may stand in one twice.": _weighed(
            words, lambda word: Counter(set(map("".join, pairwise(word))))
        ),
        "The words were joined first: a pair reaches from one word into the next.": dict(
            _apart(text)
        ),
    }
    return words, _weighed(words, _apart), told


def _counts_of(got):
    """The answer as {pair: number}, without those that are 0."""
    if not isinstance(got, dict) or not all(isinstance(pair, str) for pair in got):
        says = "`count_apart` returns a dict {pair: number}, a pair as a string of two."
        raise Mistake(says, seen=f"Got {describe(got)}.")
    return {pair: n for pair, n in got.items() if n != 0}


@exercise(
    "10-2", title="Pairs that can be replaced", minutes=12, difficulty=2, points=3
)
def _(answer, draw):
    short = "A word of no symbol, or of one, has no pair."
    close(_counts_of(answer.count_apart({"": 3, "x": 1})), {}, says=short)
    says = (
        "From left to right, no symbol twice in the same pair; times the word's number."
    )
    for _ in range(5):
        words, want, told = telling(_counting_case, draw, eq)
        close(_counts_of(answer.count_apart(words)), want, mistakes=told, says=says)
    return (
        "Each number is what one merge would save. For most pairs it is the number that "
        "`count_pairs` gives; they differ for doubled symbols only, and so for spaces."
    )


LETTERS = ("a", "b", "ab", "ba", "aab", "é", "☕", ".", "...", "?")
ODD = ("(", "\\", "[", "*", "+", "\\d", "$", "a", "b")


def _joined(spelled, left, right):
    """The right merge of a spelled word, piece by piece."""
    pieces, joined, at = spelled.split(" "), [], 0
    while at < len(pieces):
        together = pieces[at : at + 2] == [left, right]
        joined.append(left + right if together else pieces[at])
        at += 2 if together else 1
    return " ".join(joined)


def _by_pattern(before="", after="", quoted=True, count=0):
    """A merge by regular expression."""

    def merge(spelled, left, right):
        found = f"{left} {right}"
        pattern = before + (re.escape(found) if quoted else found) + after
        return re.sub(pattern, lambda _: left + right, spelled, count=count)

    return merge


def _padded(spelled, left, right):
    """Replaces with the spaces around: one that is used cannot be used again."""
    return f" {spelled} ".replace(f" {left} {right} ", f" {left}{right} ")[1:-1]


def _padded_again(spelled, left, right):
    """The same, as often as something changes."""
    while (new := _padded(spelled, left, right)) != spelled:
        spelled = new
    return spelled


def _overlapping(spelled, left, right):
    """Uses a piece twice: the right part of a merge may be the left one of the next."""
    pieces, joined = spelled.split(" "), []
    for i, piece in enumerate(pieces):
        if pieces[i : i + 2] == [left, right]:
            joined.append(left + right)
        elif i == 0 or pieces[i - 1 : i + 1] != [left, right]:
            joined.append(piece)
    return " ".join(joined)


START, END = r"(?<!\S)", r"(?!\S)"


def _by_any_case(spelled, left, right):
    """Takes capitals for small letters."""
    found = START + re.escape(f"{left} {right}") + END
    return re.sub(found, lambda _: left + right, spelled, flags=re.IGNORECASE)


def _spelled_case(draw):
    """Words spelled with spaces, each with a pair; by mistake, what it gives."""
    given = [("a b a b a b", "a", "b"), ("a a a a a", "a", "a"), ("a", "a", "b")]
    given += [("", "b", "a"), ("a b A b a B A b a b", "a", "b")]
    for _ in range(30):
        left, right = draw.choice(LETTERS), draw.choice(LETTERS)
        near = (left, right, left, right, draw.choice(LETTERS) + left)
        near += (right + draw.choice(LETTERS), draw.choice(LETTERS))
        pieces = [draw.choice(near) for _ in range(draw.integer(2, 9))]
        given.append((" ".join(pieces), left, right))

    def every(merge):
        return [merge(*one) for one in given]

    told = {
        "Nothing is mended: in `th e re`, the `e` and the `r` of a longer piece are no "
        "pair of pieces.": _by_pattern(),
        "The left border is kept, the right one is not: in `th e re`, `r` is only the "
        "beginning of a piece.": _by_pattern(before=START),
        "The right border is kept, the left one is not: in `th e r`, with the pair "
        "`h`, `e`, the `h` is only the end of a piece.": _by_pattern(after=END),
        r"A piece need not be made of letters: `\b` finds no border beside a full stop. "
        "The border of a piece is a space, or an end of the word.": _by_pattern(
            r"\b", r"\b"
        ),
        "Of `a b a b` only the first pair was merged: the space after it belongs to the "
        "second one as well, and `replace` uses each character once.": _padded,
        "To repeat the replacing finds what was missed, but not in its order: in "
        "`a a a a a` the pairs are the first two and the next two, and the last is left "
        "over.": _padded_again,
        "In a pattern, `.` and `?` do not stand for themselves: `re.escape`.": (
            _by_pattern(START, END, quoted=False)
        ),
        "Only the first of several pairs was merged: all of them, from left to right.": (
            _by_pattern(START, END, count=1)
        ),
        "`A` is another piece than `a`: capitals do not merge with a pair of small "
        "letters.": _by_any_case,
        "A piece was used twice: `a a a` becomes `aa a`, and the last `a` is left "
        "over.": _overlapping,
    }
    return given, every(_joined), {says: every(merge) for says, merge in told.items()}


def _as_template(spelled, left, right):
    """The merge by a replacement in which a backslash is special; None where it fails."""
    found = re.escape(f"{left} {right}")
    try:
        return re.sub(START + found + END, left + right, spelled)
    except re.error:
        return None


SPECIAL = (
    "Pieces may hold what is special in a pattern, and a backslash is special in the "
    "replacement of `re.sub` too: `re.escape` for the one, a function such as "
    "`lambda found: left + right` for the other."
)


@exercise("10-3", title="Mend the merge", minutes=15, difficulty=3, points=3)
def _(answer, draw):
    given, want, told = telling(_spelled_case, draw, eq)
    says = "Neighbours that *are* the two pieces, from left to right; nothing else changes."
    got = [answer.merge(*one) for one in given]
    for one, mine, right in zip(given, got, want, strict=True):
        if not isinstance(mine, str):
            says = "`merge` returns the word as a string, spelled with spaces."
            raise Mistake(says, seen=f"Got {describe(mine)}.", given=_asked(one))
        if mine != right:
            close(got, want, mistakes=told, says=says, given=_asked(one))
    for _ in range(20):
        left, right = draw.choice(ODD), draw.choice(ODD)
        pieces = [draw.choice((left, right, *ODD)) for _ in range(6)] + [left, right]
        one = " ".join(pieces), left, right
        try:
            mine = answer.merge(*one)
        except Finding as found:
            if found.status != "error":
                raise
            raise Mistake(SPECIAL, seen=f"{found.seen} {found.says}.") from None
        if mine != _joined(*one) and mine == _as_template(*one):
            raise Mistake(SPECIAL, seen=f"Got {mine!r}.", given=_asked(one))
        close(mine, _joined(*one), says=says, given=_asked(one))
    return (
        "In words with full stops, backslashes and borders of every kind. In the "
        "chapter, a piece is one character of a string, and has no inside that "
        "`str.replace` could find."
    )


def _asked(one):
    return f"merge({', '.join(map(repr, one))})"


def _places(word, ranks):
    """The places where a merge is possible, the first in rank first."""
    pairs = enumerate(map("".join, pairwise(word)))
    return sorted((ranks[pair], i) for i, pair in pairs if pair in ranks)


def _merged(word, i, rank):
    return word[:i] + chr(FIRST_NEW + rank) + word[i + 2 :]


def _by_rank(word, ranks, key=None, steps=None, skip=0):
    """All merges that are possible, one place at a time; skip: so many before each."""
    while (places := _places(word, ranks)[skip:]) and steps != 0:
        rank, i = min(places, key=key)
        word, steps = _merged(word, i, rank), steps and steps - 1
    return word


def _spread(word, choose):
    """{word at the end: probability}; choose gives each next word its chance, None ends."""
    ends, todo = Counter(), [(1.0, word)]
    while todo:
        chance, word = todo.pop()
        for part, new in choose(word):
            if new is None:
                ends[word] += chance * part
            else:
                todo.append((chance * part, new))
    return ends


def _spreads(word, ranks, p):
    """What leaving out by chance gives, and by mistake, what that gives."""
    pairs = list(ranks)

    def right(word):
        places = _places(word, ranks)
        for n, (rank, i) in enumerate(places):
            yield p**n * (1 - p), _merged(word, i, rank)
        yield p ** len(places), None

    def coin(word):
        places = _places(word, ranks)
        if places:
            rank, i = places[0]
            yield 1 - p, _merged(word, i, rank)
        yield p if places else 1.0, None

    def kinds(word):
        found = sorted({rank for rank, _ in _places(word, ranks)})
        for n, rank in enumerate(found):
            new = word.replace(pairs[rank], chr(FIRST_NEW + rank))
            yield p**n * (1 - p), new
        yield p ** len(found), None

    def any_left(word):
        places = _places(word, ranks)
        none = p ** len(places)
        for rank, i in places:
            yield (1 - none) / len(places), _merged(word, i, rank)
        yield none, None

    def all_left(word):
        places = _places(word, ranks)
        for kept in product((True, False), repeat=len(places)):
            part = (1 - p) ** sum(kept) * p ** (len(kept) - sum(kept))
            left = [place for place, keep in zip(places, kept, strict=True) if keep]
            new = word
            for rank, i in reversed(left):
                new = _merged(new, i, rank) if rank == left[0][0] else new
            yield part, new if left else None

    once = Counter()
    for kept in product((True, False), repeat=len(pairs)):
        part = (1 - p) ** sum(kept) * p ** (len(kept) - sum(kept))
        left = {pair: n for n, pair in enumerate(pairs) if kept[n]}
        once[_by_rank(word, left)] += part
    told = {
        "Which merges are left out was drawn once for the whole word: draw anew after "
        "each merge, for each place.": once,
        "One coin decides whether there is a merge at all: each *place* has its own, and "
        "the best of those that are left is merged.": _spread(word, coin),
        "A pair was left out at all its places together, or merged at all of them: each "
        "place has its own coin.": _spread(word, kinds),
        "Of the places that are left any one was merged: take the first in rank.": _spread(
            word, any_left
        ),
        "All places of the best pair that were left were merged together: only one, the "
        "leftmost; then draw anew.": _spread(word, all_left),
    }
    return _spread(word, right), told


DRAWN = 1000  # words, to see how often each comes out
FAR = 45.0  # chi-square of 8 outcomes: by chance above it once in some million tries


def _off(counts, spread):
    """Chi-square: how far the counts are from what the chances let expect."""
    if any(word not in spread for word in counts):
        return float("inf")
    n = sum(counts.values())
    expected = {word: n * chance for word, chance in spread.items() if chance > 0}
    return sum((counts[word] - e) ** 2 / e for word, e in expected.items())


def _merging_case(draw):
    """A word and ranks of merges, in which the order and the number of merges matter."""
    a, b, c = (chr(i) for i in draw.uniform(0, 1, 256).argsort()[:3].tolist())
    pairs = [a + b, b + c, c + a, a + a]
    order = draw.uniform(0, 1, 4).argsort().tolist()
    pairs = [pairs[i] for i in order]
    for _ in range(3):
        old = draw.integer(FIRST_NEW, FIRST_NEW + len(pairs))
        new = draw.choice((chr(old) + draw.choice((a, b, c)), a + chr(old)))
        if new not in pairs:
            pairs.append(new)
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    word = "".join(draw.choice((a, b, c)) for _ in range(draw.integer(7, 12)))
    told = {
        "With p = 0 nothing is left out: every merge that the word allows is made.": word,
        "The merges went from left to right: first in *rank*, then the leftmost.": _by_rank(
            word, ranks, key=lambda place: place[::-1]
        ),
        "The last in rank was merged first: the smallest rank is the first.": _by_rank(
            word, ranks, key=lambda place: (-place[0], place[1])
        ),
        "It stops after one merge: go on while any place is left.": _by_rank(
            word, ranks, steps=1
        ),
    }
    return (word, ranks), _by_rank(word, ranks), told


@exercise("10-4", title="Merges left out by chance", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    seeds = lambda n: draw.integer(0, 10**9, n).tolist()
    for _ in range(6):
        (word, ranks), want, told = telling(_merging_case, draw, eq)
        got = answer.dropped(word, ranks, 0.0, *seeds(1))
        if not isinstance(got, str):
            says = "`dropped` returns the symbols of the word as one string."
            raise Mistake(says, seen=f"Got {describe(got)}.")
        says = "With p = 0: the merges in the order of their ranks."
        close(got, want, mistakes=told, says=says)
        says = "With p = 1 every merge is left out: the word stays as it is."
        second = {
            "Only the best place can be left out, and the next one is then taken for "
            "sure: each place has its own coin.": _by_rank(word, ranks, skip=1)
        }
        got = answer.dropped(word, ranks, 1.0, *seeds(1))
        close(got, word, mistakes=second, says=says)
    for short in ("", word[0]):
        says = "A word of no symbol, or of one, has no pair: it stays as it is."
        close(answer.dropped(short, ranks, 0.5, *seeds(1)), short, says=says)

    p = round(draw.uniform(0.4, 0.5), 2)
    a, b, c = (chr(i) for i in draw.uniform(0, 1, 256).argsort()[:3].tolist())
    word = a + b + c + a + b
    ranks = {a + b: 0, b + c: 1, chr(FIRST_NEW) + c: 2}
    drawn = seeds(DRAWN)
    got = [answer.dropped(word, ranks, p, seed) for seed in drawn]
    about = f"dropped({word!r}, {ranks!r}, {p}, seed) with {DRAWN} seeds"
    if got[:40] != [answer.dropped(word, ranks, p, seed) for seed in drawn[:40]]:
        raise Mistake(
            "The same seed gave another word: draw all numbers from a generator that is "
            "made in the function, from the seed.",
            given=about,
        )
    counts, (want, told) = Counter(got), _spreads(word, ranks, p)
    if len(counts) == 1:
        raise Mistake("Whatever the seed, it gives the same word.", given=about)
    strange = next((one for one in got if one not in want), None)
    if strange is not None:
        raise Mistake(
            "That cannot come out, whichever merges are left out.",
            seen=f"Got {strange!r}.",
            given=about,
        )
    if _off(counts, want) > FAR:
        for says, wrong in told.items():
            if _off(counts, wrong) < FAR:
                raise Mistake(says, given=about)
        worst = max(want, key=lambda w: abs(counts[w] / DRAWN - want[w]))
        raise Mistake(
            "Each place is left out with probability p, by itself and anew after each "
            "merge; of those that remain, the first in rank is merged.",
            seen=f"{worst!r} came out {counts[worst]} times of {DRAWN}; "
            f"{DRAWN * want[worst]:.0f} are to be expected.",
            given=about,
        )
    return (
        f"The {len(want)} words that can come out of {len(word)} symbols came as often as "
        "the chances say. A model that is trained so sees the same text in many "
        "spellings, and learns what pieces have in common."
    )


VOCABULARY, LEARNED, FEW = 10_000, 1_000_000, 10


@cache
def _uses():
    """How often each merged piece is used: where it was learned, and held out; all ids."""
    corpus = load_corpus()
    tokenizer = train_tokenizer([corpus.train[:LEARNED]], VOCABULARY)
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges)}

    def used(data):
        counts = Counter()
        text = data.decode("utf-8", "surrogateescape")
        for word, n in Counter(split_text(text, tokenizer.pattern)).items():
            symbols = to_symbols(word.encode("utf-8", "surrogateescape"))
            for symbol in _by_rank(symbols, ranks):
                counts[ord(symbol)] += n
        return [counts[i] for i in range(VOCABULARY)]

    return used(corpus.train[:LEARNED]), used(corpus.held_out)


@exercise(
    "10-5",
    title="Pieces that nobody needs",
    kind="measurement",
    minutes=15,
    difficulty=3,
    points=4,
)
def _(answer, draw):
    unused, rare = answer.number("unused"), answer.number("rare")
    uses, held = _uses()
    merged = uses[FIRST_NEW:]
    n, none = len(merged), merged.count(0)
    told = {
        "Bytes are counted too: pieces that a *merge* has made are asked, the ids from 256 "
        "on.": uses.count(0),
        "That is asked of the held-out text: encode the text that the pieces were learned "
        "from.": held[FIRST_NEW:].count(0),
        "Every piece *stands* in the text, or it would not have been learned. Encode the "
        "text, and count the ids.": 0,
        "So many are used: count the others.": n - none,
        "That is a share: how many are they?": none / n,
    }
    says = "Encode the text, count each id, and see which of 256 … 9999 never came."
    measured(unused, none, told, says=says, rtol=0)
    few = sum(u < FEW for u in merged)
    told = {
        "That is their number: divide by the number of merged pieces.": float(few),
        "Divide by the number of *merged* pieces: the 256 bytes are not among them.": (
            few / len(uses)
        ),
        "Fewer than ten: a piece that is used ten times is none of them.": sum(
            u <= FEW for u in merged
        )
        / n,
        "Bytes are counted too: ids from 256 on.": sum(u < FEW for u in uses)
        / len(uses),
        "Those that are never used are rare as well: fewer than ten, and so also none.": (
            (few - none) / n
        ),
        "That is the share of those used ten times or more: the others are asked.": (
            1 - few / n
        ),
    }
    says = (
        "Of the pieces with an id from 256 on, the share that came fewer than 10 times."
    )
    measured(rare, few / n, told, says=says, rtol=2e-4)
    return (
        f"{none} of {n} merged pieces are only steps on the way to longer ones, and "
        f"{few / n:.0%} come fewer than {FEW} times in {LEARNED / 1e6:.0f} MB. Each has a "
        "row in the table of embeddings, and hardly an example to learn it from: this "
        "text is too small for so many pieces."
    )


def _cuts(word, pieces):
    """The fewest pieces that make up the word: all ways to cut it once, twice, ..."""
    for n in range(len(word)):
        for borders in combinations(range(1, len(word)), n):
            cuts = pairwise((0, *borders, len(word)))
            if all(word[a:b] in pieces for a, b in cuts):
                return n + 1
    return 0


def _longest_first(word, pieces, largest=max):
    """Greedy from the left."""
    parts = []
    while word:
        fits = [piece for piece in pieces if word.startswith(piece)]
        parts.append(largest(fits, key=len))
        word = word[len(parts[-1]) :]
    return parts


def _from_the_right(word, pieces):
    back = _longest_first(word[::-1], [piece[::-1] for piece in pieces])
    return [piece[::-1] for piece in reversed(back)]


def _longest_anywhere(word, pieces):
    """Greedy by length: the longest piece that the word holds, then both sides of it."""
    if not word:
        return []
    longest = max((p for p in pieces if p in word), key=lambda p: (len(p), p))
    left, _, right = word.partition(longest)
    return [
        *_longest_anywhere(left, pieces),
        longest,
        *_longest_anywhere(right, pieces),
    ]


def _cutting_case(draw):
    """Words and pieces with which greedy ways need too many; by mistake, what it gives."""
    given, want = [], []
    letters = ("a", "b", "c", "d", draw.choice("éßñ☕"))
    greedy = (_longest_first, _from_the_right, _longest_anywhere)
    for ways in ([greedy[0]], [greedy[1]], [greedy[2]], greedy, greedy):
        while True:
            word = "".join(draw.choice(letters) for _ in range(draw.integer(7, 11)))
            pieces = set(word)
            for _ in range(10):
                at = draw.integer(0, len(word) - 1)
                pieces.add(word[at : at + draw.integer(2, 5)])
            fewest = _cuts(word, pieces)
            shuffled = sorted(pieces)
            order = draw.uniform(0, 1, len(shuffled)).argsort().tolist()
            shuffled = [shuffled[i] for i in order]
            if all(len(way(word, shuffled)) > fewest for way in ways):
                break
        given.append((word, shuffled))
        want.append(fewest)
    told = {
        "That takes the longest piece from the left, each time: a shorter one may leave a "
        "better rest.": _longest_first,
        "That takes the longest piece from the right, each time: a shorter one may leave "
        "a better rest.": _from_the_right,
        "That takes the longest piece of the word first, and then what is left of it: it "
        "may cut through two others.": _longest_anywhere,
        "That is as many pieces as can be: a smaller number is better.": lambda word, _: (
            list(word)
        ),
    }
    return given, want, {s: [way(*one) for one in given] for s, way in told.items()}


SLOW = 0.1  # seconds, for what takes a thousandth if no way is tried twice


@exercise("10-6", title="As few pieces as can be", minutes=30, difficulty=4, points=5)
def _(answer, draw):
    close(answer.fewest("", ["a"]), [], says="No symbols, no pieces: an empty list.")
    given, want, told = telling(_cutting_case, draw, eq)
    got = []
    for word, pieces in given:
        parts = answer.fewest(word, pieces)
        got.append(_pieces_of(parts, word, pieces))
    for one, parts, least in zip(given, got, want, strict=True):
        if len(parts) > least:
            for says, wrong in told.items():
                differs(got, wrong, says=says, given=_cut(one, parts, least))
            raise Mistake(
                "Work out the best way to write each beginning of the word, the shorter "
                "ones first: the last piece of it may be any that it ends with.",
                given=_cut(one, parts, least),
            )
    _grows(answer, draw)
    return (
        "As few as trying all ways to cut finds, and long words take no longer than they "
        "should. It is the search of Viterbi again, with a price of 1 for each piece; "
        "with the surprise of a piece as its price, it would find the likeliest cut."
    )


def _cut(one, parts, least):
    word, pieces = one
    return f"fewest({word!r}, {pieces!r}): {len(parts)} pieces, {least} are enough"


def _pieces_of(parts, word, pieces):
    """The answer as a list of pieces; a Mistake where it is no way to write the word."""
    if not isinstance(parts, list | tuple) or not all(
        isinstance(part, str) for part in parts
    ):
        raise Mistake("`fewest` returns the list of the pieces, which are strings.")
    parts = list(parts)
    if "".join(reversed(parts)) == word != "".join(parts):
        raise Mistake("The pieces are in the reverse order.")
    if "".join(parts) != word:
        raise Mistake(f"The pieces together must be the word, {word!r}.")
    unknown = [part for part in parts if part not in pieces]
    if unknown:
        raise Mistake(f"{unknown[0]!r} is none of the pieces that may be used.")
    return parts


def _grows(answer, draw):
    """A Mistake where the time doubles with each symbol."""
    letter = chr(draw.integer(97, 123))
    pieces = [n * letter for n in (1, 2, 3, 4)]

    def seconds(length):
        word, start = length * letter, time.perf_counter()
        parts = answer.fewest(word, pieces)
        taken = time.perf_counter() - start
        if len(_pieces_of(parts, word, pieces)) > -(-length // 4):
            raise Mistake("Of a run of one symbol, that is not the fewest.")
        return taken

    for length in range(12, 26):
        taken = seconds(length)
        for _ in range(3):  # again, if the computer had something else to do
            taken = min(taken, seconds(length)) if taken > SLOW else taken
        if taken > SLOW:
            raise Mistake(
                f"{taken:.1f} seconds for {length} symbols: every way to cut was tried, "
                "and each symbol doubles their number. Remember the best way for each "
                "beginning of the word, and use it again."
            )
    for length in (60, 120):
        seconds(length)
