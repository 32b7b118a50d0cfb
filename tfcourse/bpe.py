"""Byte pair encoding: text as pieces that were learned from text (chapter 10)."""

import codecs
import json
import os
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from heapq import heapify, heappop, heappush
from itertools import chain, groupby, pairwise
from pathlib import Path

FIRST_NEW = 256  # the number of the first symbol that a merge makes


def count_pairs(symbols: str) -> Counter[str]:
    """How often each pair of neighbours occurs; those that overlap count too.

    symbols: a string, one character a symbol  ->  {two characters: number}.

    >>> count_pairs("aaab")
    Counter({'aa': 2, 'ab': 1})
    """
    return Counter(map("".join, pairwise(symbols)))


def most_frequent(counts: Mapping[str, int]) -> str:
    """The pair with the highest count; among equals, the one with the smaller symbols.

    Symbols compare by their number, left before right: what was there first, wins. So
    decides Hugging Face's library too; others take the pair met first, or the last.
    ValueError where there is no pair.

    >>> most_frequent({"ba": 2, "ab": 2, "aa": 1})
    'ab'
    """
    if not counts:
        raise ValueError("there is no pair to choose from")
    return min(counts, key=lambda pair: (-counts[pair], pair))


def compress(text: str) -> tuple[str, list[str]]:
    """Write a new symbol for the most frequent pair, until no pair occurs twice.

    text: characters below FIRST_NEW  ->  symbols, merges: the pairs that were replaced, in
    order; the one at i is written chr(FIRST_NEW + i) from then on.
    ValueError for a character from FIRST_NEW on, which would be taken for a new symbol.
    Source: Gage (1994).

    >>> compress("abcabc")
    ('āā', ['ab', 'Āc'])
    """
    foreign = next((c for c in text if ord(c) >= FIRST_NEW), None)
    if foreign is not None:
        raise ValueError(
            f"characters must be below number {FIRST_NEW}; got {foreign!r}, number "
            f"{ord(foreign)}: write the text in bytes first, as to_symbols does"
        )
    merges = []
    while counts := count_pairs(text):
        pair = most_frequent(counts)
        if counts[pair] < 2:
            break
        text = text.replace(pair, chr(FIRST_NEW + len(merges)))
        merges.append(pair)
    return text, merges


def expand(symbols: str, merges: Sequence[str]) -> str:
    """The text that was compressed: what was merged last is taken apart first.

    >>> expand("āā", ["ab", "Āc"])
    'abcabc'
    """
    for i, pair in reversed(list(enumerate(merges))):
        symbols = symbols.replace(chr(FIRST_NEW + i), pair)
    return symbols


def learn_merges(words: Mapping[str, int], n_merges: int) -> list[str]:
    """The merges of a list of words, by counting all of them again for each merge.

    words: {symbols of a word: how often it occurs}  ->  at most n_merges pairs, fewer
    where nothing is left to merge. No pair reaches over the border of a word.
    Source: Sennrich, Haddow and Birch (2016), algorithm 1.

    >>> learn_merges({"old_": 3, "older_": 1}, 2)
    ['ld', 'oĀ']
    """
    merges: list[str] = []
    while len(merges) < n_merges:
        counts: Counter[str] = Counter()
        for word, n in words.items():
            for pair in map("".join, pairwise(word)):
                counts[pair] += n
        if not counts:
            break
        pair, new = most_frequent(counts), chr(FIRST_NEW + len(merges))
        words = {word.replace(pair, new): n for word, n in words.items()}
        merges.append(pair)
    return merges


LONG = (
    200  # symbols: from here on, trying every merge is faster than searching the word
)


def apply_merges(word: str, ranks: Mapping[str, int]) -> str:
    """The symbols of a word that is new: the merges it allows, in the order of learning.

    ranks: {pair: its place among the merges}, in that order. A merge only makes pairs that
    were learned later, so the ranks that are used rise, and no merge is met twice.

    >>> apply_merges("bold_", {"ld": 0, "oĀ": 1})
    'bā_'
    """
    if len(word) > LONG:
        for pair, rank in ranks.items():
            word = word.replace(pair, chr(FIRST_NEW + rank))
        return word
    last = len(ranks)
    while len(word) > 1:
        rank, pair = min((ranks.get(a + b, last), a + b) for a, b in pairwise(word))
        if rank == last:
            break
        word = word.replace(pair, chr(FIRST_NEW + rank))
    return word


BYTE_ORDER = bytes(
    [*range(33, 127), *range(161, 173), *range(174, 256)]  # those with a face
    + [*range(33), *range(127, 161), 173]  # those without: spaces, controls
)

SYMBOL_OF_BYTE = {byte: chr(symbol) for symbol, byte in enumerate(BYTE_ORDER)}

BYTE_OF_SYMBOL = {symbol: chr(byte) for symbol, byte in enumerate(BYTE_ORDER)}


def to_symbols(data: bytes) -> str:
    """One symbol for each byte, numbered as in GPT-2: '!' is 0, a space is 220.

    >>> [ord(symbol) for symbol in to_symbols(b"a b")]
    [64, 220, 65]
    """
    return data.decode("latin-1").translate(SYMBOL_OF_BYTE)


def to_bytes(symbols: str) -> bytes:
    """The bytes of symbols below FIRST_NEW; the way back from to_symbols."""
    return symbols.translate(BYTE_OF_SYMBOL).encode("latin-1")


FACES = dict(
    zip(BYTE_ORDER, map(chr, [*BYTE_ORDER[:188], *range(256, 324)]), strict=True)
)


def readable(piece: bytes) -> str:
    """A piece as vocabularies print it: a space is Ġ, a new line Ċ.

    Every byte has a face of its own: itself, or, for the 68 that have none, the
    characters from number 256 on. Source: the vocabulary of GPT-2 (Radford et al., 2019).

    >>> readable(" né".encode())
    'ĠnÃ©'
    """
    return "".join(map(FACES.get, piece))


GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|[\s]+(?![^\s])|[\s]+"

GPT4 = (
    r"'(?:[sdmtSDMT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?[\p{L}]+|[\p{N}]{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|[\s]*[\r\n]+|[\s]+(?![^\s])|[\s]+"
)

SPACES = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


@cache
def character_class(kind: str, below: int = sys.maxunicode + 1) -> str:
    """The characters of one kind, as they stand between [ and ] in a pattern.

    kind: "L" for letters, "N" for numbers, as Unicode's general categories begin. Written
    out, they mean the same to every library, whichever version of Unicode it knows; the
    table is that of the running Python, and later ones know more letters.
    """
    inside = groupby(range(below), lambda c: unicodedata.category(chr(c))[0] == kind)
    runs = [list(run) for is_kind, run in inside if is_kind]
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)


@cache
def explicit(pattern: str, below: int = sys.maxunicode + 1) -> str:
    r"""A pattern with \s, \p{L} and \p{N}, which must stand in [ ], written out."""
    kinds = {rf"\p{{{kind}}}": character_class(kind, below) for kind in "LN"}
    for name, members in {r"\s": SPACES, **kinds}.items():
        pattern = pattern.replace(name, members)
    return pattern


@cache
def compiled(pattern: str, below: int) -> re.Pattern[str]:
    """explicit(pattern) made ready; ValueError where it is no pattern, or has groups."""
    try:
        found = re.compile(explicit(pattern, below))
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a pattern: {error}") from error
    if found.groups:
        raise ValueError(f"write (?: for every ( in the pattern; got {pattern!r}")
    return found


def split_text(text: str, pattern: str = GPT2) -> list[str]:
    """Cut a text where no piece may reach across: roughly, into words.

    pattern: GPT2, GPT4 or one's own. ValueError if it leaves some of the text out.
    Source: Radford et al. (2019) for GPT2; GPT4 is close to OpenAI's cl100k_base.

    >>> split_text("It's 12  o'clock.")
    ['It', "'s", ' 12', ' ', ' o', "'", 'clock', '.']
    """
    # `re` tries ranges beyond 0xFFFF one by one: leave them out where none can occur
    rare = re.search("[\U00010000-\U0010ffff]", text)
    words = compiled(pattern, sys.maxunicode + 1 if rare else 0x10000).findall(text)
    if sum(map(len, words)) != len(text):
        raise ValueError(f"the pattern leaves out some of the text: {pattern!r}")
    return words


def word_symbols(word: str) -> str:
    """The bytes of a word as symbols; ValueError for what UTF-8 cannot write."""
    try:
        return to_symbols(word.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{word[error.start]!r} is half of a character, which UTF-8 cannot write; "
            "replace it: text.encode('utf-8', 'replace').decode()"
        ) from error


def as_text(text: str | bytes) -> str:
    """The text itself; bytes that are not UTF-8 are kept as Python's lone surrogates."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "surrogateescape")
    if not isinstance(text, str):
        raise TypeError(f"a text must be a string or bytes; got {type(text).__name__}")
    return text


def split_specials(text: str, specials: Iterable[str]) -> list[str]:
    """A text cut around its special tokens: text, special, text, special, ..., text."""
    longest_first = sorted(specials, key=len, reverse=True)
    if not longest_first:
        return [text]
    return re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)


def count_words(
    texts: Iterable[str | bytes], pattern: str = GPT2, specials: Sequence[str] = ()
) -> Counter[str]:
    """{symbols of a word: how often it occurs} in texts, special tokens left out.

    >>> {ord(word[0]): n for word, n in count_words(["to be", "to do"]).items()}
    {83: 2, 220: 1}
    """
    counts: Counter[str] = Counter()
    for text in texts:
        for part in split_specials(as_text(text), specials)[::2]:
            counts.update(split_text(part, pattern))
    return Counter({word_symbols(word): n for word, n in counts.items()})


def replace_pair(
    pair: str,
    new: str,
    texts: list[str],
    times: Sequence[int],
    counts: dict[str, int],
    where: dict[str, set[int]],
) -> dict[str, set[int]]:
    """Merge one pair in the words that hold it, and keep the books of train_merges.

    new: its symbol. texts, counts and where are changed  ->  {pair with new: its words}.
    """
    made: dict[str, set[int]] = defaultdict(set)
    for i in where.pop(pair):
        word, n = texts[i], times[i]
        at = word.find(pair)
        while at >= 0:
            if at > 0:
                counts[word[at - 1] + pair[0]] -= n
                counts[word[at - 1] + new] += n
                made[word[at - 1] + new].add(i)
            if at + 2 < len(word):
                counts[pair[1] + word[at + 2]] -= n
                counts[new + word[at + 2]] += n
                made[new + word[at + 2]].add(i)
            word = word[:at] + new + word[at + 2 :]
            at = word.find(pair, at + 1)
        texts[i] = word
    where.update(made)
    return made


def train_merges(words: Mapping[str, int], n_merges: int) -> list[str]:
    """What learn_merges finds, without counting anything twice.

    Only the words that hold the merged pair change, and only the counts beside it; the
    most frequent pair is the smallest entry (-count, pair) of a heap. An entry whose count
    has fallen since is put back with the true one when it comes up.

    >>> train_merges({"old_": 3, "older_": 1}, 2)
    ['ld', 'oĀ']
    """
    texts, times = list(words), list(words.values())
    counts: dict[str, int] = defaultdict(int)
    where: dict[str, set[int]] = defaultdict(set)  # {pair: the words that hold it}
    for i, word in enumerate(texts):
        for pair in map("".join, pairwise(word)):
            counts[pair] += times[i]
            where[pair].add(i)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapify(heap)
    merges: list[str] = []
    while heap and len(merges) < n_merges:
        count, pair = heappop(heap)
        if -count != counts[pair]:
            heappush(heap, (-counts[pair], pair))
            continue
        if count == 0:
            break
        new = chr(FIRST_NEW + len(merges))
        merges.append(pair)
        for fresh in replace_pair(pair, new, texts, times, counts, where):
            heappush(heap, (-counts[fresh], fresh))
    return merges


def merged_pieces(merges: Sequence[str]) -> list[bytes]:
    """The bytes of every symbol: of the 256 bytes, then of each merge.

    ValueError for a merge that is no pair, uses a symbol not made before it, or makes a
    piece that is there already; it names the merge.
    """
    pieces = [bytes([byte]) for byte in BYTE_ORDER]
    known = set(pieces)
    for i, pair in enumerate(merges):
        if len(pair) != 2 or max(map(ord, pair)) >= len(pieces):
            raise ValueError(
                f"merge {i} must name two symbols below {len(pieces)}; got "
                f"{list(map(ord, pair))}"
            )
        piece = pieces[ord(pair[0])] + pieces[ord(pair[1])]
        if piece in known:
            raise ValueError(f"merge {i} makes {piece!r}, which is there already")
        pieces.append(piece)
        known.add(piece)
    return pieces


def check_specials(specials: Sequence[str]) -> None:
    """Raise unless these can be special tokens: strings without spaces, each once."""
    if isinstance(specials, str):
        raise TypeError(f"specials must be a list of strings; got {specials!r}")
    for i, token in enumerate(specials):
        if not isinstance(token, str) or not token or re.search(r"\s", token):
            raise ValueError(
                f"a special token must be a string without spaces; got {token!r}"
            )
        if token in specials[:i]:
            raise ValueError(
                f"each special token must be given once; got {token!r} twice"
            )


def honoured(text: str, specials: Iterable[str], policy: str) -> Iterable[str]:
    """The special tokens to be cut out of a text: all, or none.

    policy: "allow" all; "text" none; "refuse" none, and ValueError if the text has one.
    """
    if policy not in ("refuse", "allow", "text"):
        raise ValueError(
            f'specials must be "refuse", "allow" or "text"; got {policy!r}'
        )
    found = next((token for token in specials if token in text), None)
    if policy == "refuse" and found is not None:
        raise ValueError(
            f"the text holds the special token {found!r} at character "
            f'{text.index(found)}: say specials="allow" if it is meant as one, '
            'specials="text" if it is only text'
        )
    return specials if policy == "allow" else ()


CACHED = (
    1 << 14
)  # words whose ids a tokenizer remembers: most of a text, a few megabytes


class WordIds(dict[str, list[int]]):
    """{word: its ids}, each worked out when it is first asked for."""

    def __init__(self, ranks: Mapping[str, int]):
        self.ranks = ranks

    def __missing__(self, word: str) -> list[int]:
        ids = list(map(ord, apply_merges(word_symbols(word), self.ranks)))
        if len(word) <= LONG:
            if len(self) >= CACHED:
                self.clear()
            self[word] = ids
        return ids


class Tokenizer:
    """Text to ids and back, losing nothing: byte-level byte pair encoding.

    merges: pairs of symbols, in the order of learning; ids are bytes (0 to 255, in
    BYTE_ORDER), then merges, then specials. pattern: as split_text takes it. specials:
    tokens that stand for no text, such as "<|end|>"; without spaces, each once.
    ValueError for merges that merged_pieces refuses, or such specials.

    >>> tokenizer = Tokenizer(["ab", "Āc"])
    >>> tokenizer.decode(tokenizer.encode("Any text, any bytes: ☕"))
    'Any text, any bytes: ☕'
    """

    def __init__(
        self, merges: Sequence[str], pattern: str = GPT2, specials: Sequence[str] = ()
    ):
        check_specials(specials)
        split_text("", pattern)  # raises where it is no pattern
        self.merges, self.pattern = tuple(merges), pattern
        self.pieces = merged_pieces(merges)
        self.specials = {
            token: len(self.pieces) + i for i, token in enumerate(specials)
        }
        self.pieces += [token.encode() for token in specials]
        self.words = WordIds({pair: rank for rank, pair in enumerate(merges)})

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str | bytes, specials: str = "refuse") -> list[int]:
        """The ids of a text. specials, for special tokens that stand in the text:
        "refuse" raises ValueError, "allow" gives their ids, "text" reads them as text.
        """
        text = as_text(text)
        ids: list[int] = []
        parts = split_specials(text, honoured(text, self.specials, specials))
        for i, part in enumerate(parts):
            if i % 2:
                ids.append(self.specials[part])
            else:
                words = split_text(part, self.pattern)
                ids.extend(chain.from_iterable(map(self.words.__getitem__, words)))
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of ids, exactly; ValueError for an id outside."""
        ids = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        if ids and not 0 <= min(ids) <= max(ids) < len(self):
            bad = next(i for i in ids if not 0 <= i < len(self))
            raise ValueError(f"ids must lie in 0 ... {len(self) - 1}; got {bad}")
        return b"".join([self.pieces[i] for i in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are no UTF-8, such as half a character, become �."""
        return self.decode_bytes(ids).decode("utf-8", "replace")


def train_tokenizer(
    texts: Iterable[str | bytes],
    vocab_size: int,
    pattern: str = GPT2,
    specials: Sequence[str] = (),
) -> Tokenizer:
    """Learn a tokenizer of at most vocab_size ids: 256 bytes, merges, specials.

    Pieces do not reach from one text into the next, nor over a special token. There are
    fewer ids where the texts allow no more merges. ValueError for a vocabulary too small
    for bytes and specials, or texts without a word; TypeError for a bare string.

    >>> len(train_tokenizer(["a text to learn from, and to learn from again"], 260))
    260
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError("texts must be a list of texts; for a single one, say [text]")
    check_specials(specials)
    n_merges = vocab_size - FIRST_NEW - len(specials)
    if n_merges < 0:
        raise ValueError(
            f"vocab_size must be at least {FIRST_NEW + len(specials)}, 256 bytes and "
            f"{len(specials)} specials; got vocab_size={vocab_size}"
        )
    words = count_words(texts, pattern, specials)
    if not words:
        raise ValueError("the texts are empty: there is nothing to learn from")
    return Tokenizer(train_merges(words, n_merges), pattern, specials)


def safe_cut(text: str, start: int = 0) -> int:
    """The last place, from start on, that no word reaches across; 0 where there is none.

    Neither in GPT2 nor in GPT4 does a word hold a space after anything but space, so a
    text may be cut there.

    >>> safe_cut("two  words"), safe_cut("one word more")
    (3, 8)
    """
    at = text.rfind(" ", start)
    while at > 0 and text[at - 1].isspace():
        at = text.rfind(" ", start, at)
    return max(at, 0)


def as_texts(parts: Iterable[str | bytes]) -> Iterator[str]:
    """Each part as text; a character may begin in one part of bytes and end in the next."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for part in parts:
        yield decoder.decode(part) if isinstance(part, bytes) else as_text(part)
    yield decoder.decode(b"", final=True)


def encode_stream(
    tokenizer: Tokenizer, parts: Iterable[str | bytes], specials: str = "refuse"
) -> Iterator[int]:
    """The ids of a text that comes in parts, the same however it is cut.

    What follows the last safe_cut is held back until more is known, so only the longest
    stretch without a space stays in memory. specials: as for Tokenizer.encode.
    """
    held = ""
    for text in as_texts(parts):
        seen, held = max(len(held) - 1, 0), held + text
        cut = safe_cut(held, seen)
        if cut:
            yield from tokenizer.encode(held[:cut], specials)
            held = held[cut:]
    yield from tokenizer.encode(held, specials)


def decode_stream(tokenizer: Tokenizer, ids: Iterable[int]) -> Iterator[str]:
    """The text of ids as they come: a character is held back until its last byte is there.

    The strings together are what Tokenizer.decode gives.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for i in ids:
        if text := decoder.decode(tokenizer.decode_bytes([i])):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest


def parse_merges(lines: Iterable[str], name: str) -> list[str]:
    """Merges from lines of two readable pieces; ValueError names the first bad line.

    >>> parse_merges(["a b", "ab c"], "an example") == [to_symbols(b"ab"), "Ā" + to_symbols(b"c")]
    True
    """
    known = {readable(bytes([byte])): chr(i) for i, byte in enumerate(BYTE_ORDER)}
    merges = []
    for number, line in enumerate(lines, start=1):
        left, space, right = str(line).partition(" ")
        if not (space and left in known and right in known):
            raise ValueError(
                f"{name}: merge {number} must be two known pieces and a space between "
                f"them; got {line!r}: the file is damaged, or no list of byte-level merges"
            )
        merges.append(known[left] + known[right])
        known[left + right] = chr(FIRST_NEW + len(merges) - 1)
    return merges


def merge_lines(tokenizer: Tokenizer) -> list[str]:
    """The merges as lines of two readable pieces."""
    pieces = list(map(readable, tokenizer.pieces))
    return [f"{pieces[ord(a)]} {pieces[ord(b)]}" for a, b in tokenizer.merges]


FORMAT = "tfcourse byte pair encoding, version 1"


def save_tokenizer(tokenizer: Tokenizer, path: Path | str) -> None:
    """Write a tokenizer as a JSON file to be read by people too, one merge a line.

    The file stands whole or not at all: it is written beside its place, then moved there.
    """
    content = {
        "format": FORMAT,
        "pattern": tokenizer.pattern,
        "specials": list(tokenizer.specials),
        "merges": merge_lines(tokenizer),
    }
    path = Path(path)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(content, ensure_ascii=False, indent=0), "utf-8")
    os.replace(unfinished, path)


def read_json(path: Path | str) -> dict:
    """The object in a JSON file; ValueError where it is cut short, damaged or none."""
    try:
        content = json.loads(Path(path).read_bytes())
    except ValueError as error:  # also what is not UTF-8
        raise ValueError(f"{path} is cut short or damaged: {error}") from error
    if type(content) is not dict:
        raise ValueError(f"{path} must hold a JSON object; got {content!r:.50}")
    return content


def load_tokenizer(path: Path | str) -> Tokenizer:
    """Read what save_tokenizer wrote; ValueError, which names the file, for anything else."""
    content = read_json(path)
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path} must say format {FORMAT!r}; got {content.get('format')!r}"
        )
    missing = {"pattern", "specials", "merges"} - content.keys()
    if missing:
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
    merges = parse_merges(content["merges"], str(path))
    return Tokenizer(merges, content["pattern"], content["specials"])


def load_published(
    vocab: Path | str, merges: Path | str, pattern: str = GPT2
) -> Tokenizer:
    """A tokenizer from the two files in which GPT-2's and others are published.

    vocab: JSON, {readable piece: id}; merges: text, a line of comment, then one merge a
    line. Ids must be ordered as here: bytes, merges, specials. ValueError names the first
    that is not, or the bad line.
    """
    lines = Path(merges).read_text("utf-8").splitlines()
    if lines and lines[0].startswith("#version"):
        del lines[0]
    learned = Tokenizer(parse_merges(lines, str(merges)), pattern)
    ids = read_json(vocab)
    for i, piece in enumerate(map(readable, learned.pieces)):
        if ids.pop(piece, None) != i:
            raise ValueError(
                f"{vocab} must give {piece!r} the id {i}: bytes first, then the merges "
                f"of {merges} in their order"
            )
    specials = sorted(ids, key=ids.get)
    if [ids[token] for token in specials] != list(
        range(len(learned), len(learned) + len(ids))
    ):
        raise ValueError(
            f"{vocab} must number its specials from {len(learned)} on; got {ids}"
        )
    return Tokenizer(learned.merges, pattern, specials)


def to_tiktoken(tokenizer: Tokenizer):
    """The same tokenizer in OpenAI's library: a tiktoken.Encoding."""
    import tiktoken

    n = FIRST_NEW + len(tokenizer.merges)
    return tiktoken.Encoding(
        "tfcourse",
        pat_str=explicit(tokenizer.pattern),
        mergeable_ranks={piece: i for i, piece in enumerate(tokenizer.pieces[:n])},
        special_tokens=tokenizer.specials,
    )


def to_tokenizers(tokenizer: Tokenizer):
    """The same tokenizer in Hugging Face's library: a tokenizers.Tokenizer."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    n = FIRST_NEW + len(tokenizer.merges)
    vocab = {readable(piece): i for i, piece in enumerate(tokenizer.pieces[:n])}
    merges = [tuple(line.split(" ")) for line in merge_lines(tokenizer)]
    theirs = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                tokenizers.Regex(explicit(tokenizer.pattern)), "isolated"
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens(list(tokenizer.specials))
    return theirs
