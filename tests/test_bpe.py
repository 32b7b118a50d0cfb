"""tfcourse.bpe against brute force, Hugging Face's tokenizers and tiktoken."""

import json
import pickle
import re
import time
import tracemalloc
import unicodedata
from collections import Counter
from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as TheirTokenizer
from tokenizers import models, pre_tokenizers, trainers

from tests.parity import refused
from tfcourse import bpe
from tfcourse.bpe import (
    FIRST_NEW,
    GPT2,
    GPT4,
    Tokenizer,
    apply_merges,
    character_class,
    compress,
    count_pairs,
    count_words,
    decode_stream,
    encode_stream,
    expand,
    explicit,
    learn_merges,
    load_published,
    load_tokenizer,
    most_frequent,
    readable,
    safe_cut,
    save_tokenizer,
    split_text,
    to_bytes,
    to_symbols,
    to_tiktoken,
    to_tokenizers,
    train_merges,
    train_tokenizer,
)
from tfcourse.data.corpus import load_corpus

SPECIALS = ("<|end|>", "<|pad|>")
PATTERNS = (GPT2, GPT4)

# What breaks tokenizers: emoji with joiners, combining marks, control bytes, wide runs
PARTS = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "👩‍👩‍👧‍👦",
            "🏳️‍🌈",
            "e\u0301\u0323",
            "\u200d",
            "\x00\x1c\x1f\x7f",
            "\u0085\u2028",
        ]
    ),
    st.sampled_from(
        ["²½Ⅷ٣", "'re'RE'ſ", "\r\n\n \n", "ﷺ", "日本語", "한국어", "\ufffd", "_x__"]
    ),
    st.builds(lambda c, n: c * n, st.characters(codec="utf-8"), st.integers(1, 400)),
)
TEXTS = st.lists(PARTS, max_size=6).map("".join)


@cache
def corpus():
    return load_corpus().train.decode()


@cache
def trained(pattern=GPT2, vocab_size=2048):
    return train_tokenizer([corpus()[:1_000_000]], vocab_size, pattern, SPECIALS)


# One text


def test_the_steps_of_the_text_book_example():
    symbols, merges = compress("aaabdaaabac")
    z, y, x = map(chr, range(FIRST_NEW, FIRST_NEW + 3))
    assert (symbols, merges) == (f"{x}d{x}ac", ["aa", "ab", z + y])
    assert expand(symbols, merges) == "aaabdaaabac"


def test_overlapping_pairs_count_twice_and_merge_once():
    assert count_pairs("aaa") == {"aa": 2}
    assert compress("aaa")[0] == "Āa"
    assert count_pairs("aaabdaaabac")["aa"] == 4 and "aaabdaaabac".count("aa") == 2


def test_a_tie_goes_to_the_smaller_symbols():
    counts = {chr(FIRST_NEW) + "a": 2, "ab": 2, "aa": 1}
    assert most_frequent(counts) == "ab"
    assert most_frequent(dict(reversed(counts.items()))) == "ab"


def test_an_early_version_refuses_what_it_would_confuse():
    refused(lambda: compress("naïve Łódź"), "got 'Ł', number 321")
    refused(lambda: most_frequent({}), "no pair")


@given(st.text("abc", max_size=60))
def test_compressing_loses_nothing_and_ends(text):
    symbols, merges = compress(text)
    assert expand(symbols, merges) == text
    assert max(count_pairs(symbols).values(), default=0) < 2


# Words


def test_no_merge_crosses_the_border_of_a_word():
    assert learn_merges({"ab": 5, "ba": 5}, 3) == ["ab", "ba"]


def test_a_merge_does_not_cross_the_border_of_a_symbol():
    """The trap: on symbols with spaces between, "x a" would be found in "xx a"."""
    ranks = {"xa": 0}
    assert apply_merges("xxa", ranks) == "x" + chr(FIRST_NEW)
    merged = {"ab": 0, "cd": 1, "bc": 2}  # "bc" stands in "abcd", across two symbols
    assert apply_merges("abcd", merged) == chr(FIRST_NEW) + chr(FIRST_NEW + 1)


def test_encoding_goes_by_rank_not_by_the_longest_match():
    ranks = {
        "bc": 0,
        "ab": 1,
        "Āc": 2,
        "ā" + "c": 3,
    }  # āc spells abc, but bc came first
    assert apply_merges("abc", ranks) == "a" + chr(FIRST_NEW)


WORDS = st.dictionaries(st.text("aab_", min_size=1, max_size=9), st.integers(1, 9))


@given(WORDS, st.integers(0, 30))
def test_the_fast_trainer_finds_what_brute_force_finds(words, n_merges):
    assert train_merges(words, n_merges) == learn_merges(words, n_merges)


def test_the_fast_trainer_equals_brute_force_on_real_text():
    words = count_words([corpus()[:80_000]])
    merges = train_merges(words, 1000 - FIRST_NEW)
    assert merges == learn_merges(words, 1000 - FIRST_NEW)
    assert len(merges) == 744


@given(st.text("abcd", max_size=300), st.integers(0, 200))
def test_long_words_are_merged_as_short_ones(word, n_merges):
    ranks = {
        pair: i for i, pair in enumerate(train_merges({word: 1, "abcd": 3}, n_merges))
    }
    by_table = word
    for pair, rank in ranks.items():
        by_table = by_table.replace(pair, chr(FIRST_NEW + rank))
    by_search, last = word, len(ranks)
    while True:
        found = [(ranks.get(p, last), i) for i, p in enumerate(zip_pairs(by_search))]
        rank, at = min(found, default=(last, 0))
        if rank == last:
            break
        by_search = by_search[:at] + chr(FIRST_NEW + rank) + by_search[at + 2 :]
    assert apply_merges(word, ranks) == by_table == by_search


def zip_pairs(word):
    return list(map("".join, pairwise(word)))


# Bytes and patterns


def test_bytes_have_the_numbers_and_faces_of_gpt2():
    assert [ord(s) for s in to_symbols(b"!~ \n\x00")] == [0, 93, 220, 198, 188]
    assert readable(b" \n\x00a\xff") == "ĠĊĀaÿ"
    everything = bytes(range(256))
    assert to_bytes(to_symbols(everything)) == everything
    assert sorted(set(readable(everything))) == sorted(
        pre_tokenizers.ByteLevel.alphabet()
    )


@pytest.mark.parametrize("pattern", PATTERNS, ids=["GPT2", "GPT4"])
@settings(deadline=None)
@given(text=TEXTS)
def test_no_pattern_loses_text(pattern, text):
    assert "".join(split_text(text, pattern)) == text


def test_classes_hold_what_unicode_says():
    letter = re.compile(f"[{character_class('L')}]")
    number = re.compile(f"[{character_class('N')}]")
    for character in "aZéßλЖ漢ñªﬁ𝒳²½Ⅷ٣_-' \n\u0301😀":
        kind = unicodedata.category(character)[0]
        assert bool(letter.match(character)) == (kind == "L"), character
        assert bool(number.match(character)) == (kind == "N"), character


def test_the_short_pattern_is_the_full_one_below_ffff():
    full = re.compile(explicit(GPT2))
    text = corpus()[:200_000] + "日本語 ½ é"
    assert full.findall(text) == split_text(text)
    assert split_text("𝒳𝒴 𝟙𝟚 😀😀") == ["𝒳𝒴", " 𝟙𝟚", " 😀😀"]


def test_patterns_that_cannot_be_used_are_refused():
    refused(lambda: split_text("a b", r"[\p{L}]+"), "leaves out some")
    refused(lambda: split_text("ab", "(a)|b"), "(?:")
    refused(lambda: split_text("ab", "[a"), "is not a pattern")
    refused(lambda: Tokenizer([], "[a"), "is not a pattern")


# The tokenizer against others


def their_merges(text, vocab_size):
    """Hugging Face's merges, as pairs of our symbols."""
    theirs = TheirTokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator([text], trainer)
    merges = json.loads(theirs.to_str())["model"]["merges"]
    return bpe.parse_merges(map(" ".join, merges), "theirs")


def test_merges_equal_hugging_faces_on_the_corpus():
    ours = train_merges(count_words([corpus()]), 10_000 - FIRST_NEW)
    assert ours == their_merges(corpus(), 10_000)
    assert len(ours) == 9_744


@settings(max_examples=50, deadline=None)
@given(TEXTS)
@example("aaaa aaaaaaa aaab aabaa baaab")
def test_merges_equal_hugging_faces_on_odd_texts(text):
    words = count_words([text])
    # characters whose kind changed between versions of Unicode are split otherwise there
    assigned = all(unicodedata.category(c) != "Cn" for c in text)
    if words and assigned:
        assert train_merges(words, 60) == their_merges(text, FIRST_NEW + 60)


@pytest.mark.parametrize("pattern", PATTERNS, ids=["GPT2", "GPT4"])
def test_ids_equal_tiktokens_on_the_corpus(pattern):
    ours, theirs = trained(pattern), to_tiktoken(trained(pattern))
    held_out = load_corpus().held_out.decode()
    for text in (held_out, corpus()) if pattern == GPT2 else (held_out,):
        assert ours.encode(text) == theirs.encode(text)


@settings(max_examples=2_500, deadline=None)
@given(st.lists(PARTS, min_size=3, max_size=5))
def test_ids_equal_tiktokens_on_any_string(parts):
    """At least 10,000 strings: 2,500 times three or more, and all of them in one."""
    for text in (*parts, "".join(parts)):
        ids = trained().encode(text, specials="text")
        assert ids == in_tiktoken(GPT2).encode(text, disallowed_special=())
        assert trained().decode(ids) == text


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_ids_equal_those_of_others_with_the_other_pattern(text):
    ids = trained(GPT4).encode(text, specials="text")
    assert ids == in_tiktoken(GPT4).encode(text, disallowed_special=())
    for pattern in PATTERNS:
        ids = trained(pattern).encode(text, specials="allow")
        theirs = in_tokenizers(pattern)
        assert ids == theirs.encode(text).ids
        assert theirs.decode(ids, skip_special_tokens=False) == text


@cache
def in_tiktoken(pattern):
    return to_tiktoken(trained(pattern))


@cache
def in_tokenizers(pattern):
    return to_tokenizers(trained(pattern))


def test_special_tokens_equal_those_of_others():
    text = "one<|end|>two <|pad|><|pad|> three <|end"
    ids = trained().encode(text, specials="allow")
    assert ids.count(trained().specials["<|pad|>"]) == 2
    assert ids == in_tiktoken(GPT2).encode(text, allowed_special="all")
    assert ids == in_tokenizers(GPT2).encode(text).ids


# Any bytes, any cut


@given(st.binary(max_size=300))
def test_any_bytes_come_back(data):
    assert trained().decode_bytes(trained().encode(data, specials="text")) == data


def test_half_a_character_is_shown_as_such_and_kept():
    tokenizer = Tokenizer([])
    ids = tokenizer.encode("é")
    assert tokenizer.decode(ids[:1]) == "\ufffd"
    assert tokenizer.decode_bytes(ids[:1]) == "é".encode()[:1]
    assert tokenizer.decode(torch.tensor(ids)) == "é"


@settings(max_examples=500)
@given(TEXTS, st.sampled_from(PATTERNS), st.data())
def test_a_stream_gives_the_same_ids_however_it_is_cut(text, pattern, data):
    tokenizer = trained(pattern)
    text += "<|end|> 'r e  \n x"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = tokenizer.encode(text, specials="allow")
    assert list(encode_stream(tokenizer, parts, specials="allow")) == whole
    assert (
        list(encode_stream(tokenizer, text, specials="allow")) == whole
    )  # by character
    assert "".join(decode_stream(tokenizer, whole)) == tokenizer.decode(whole)


@given(st.binary(max_size=60), st.integers(1, 5))
def test_a_stream_of_bytes_may_be_cut_within_a_character(data, size):
    data += "é ☕ 😀".encode() + data
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    tokenizer = trained()
    assert list(encode_stream(tokenizer, parts, "text")) == tokenizer.encode(
        data, "text"
    )
    ids = tokenizer.encode(data, "text")
    assert "".join(decode_stream(tokenizer, ids)) == tokenizer.decode(ids)


def test_a_cut_is_safe_before_the_first_space_after_a_word():
    assert safe_cut("ab  cd  ") == 6
    assert safe_cut(" ab") == safe_cut("ab") == safe_cut("") == 0
    assert safe_cut("a b c", start=4) == 0


def test_a_stream_holds_little():
    def parts():
        for i in range(0, 1_500_000, 4096):
            yield corpus()[i : i + 4096]

    tokenizer = train_tokenizer([corpus()[:200_000]], 1000)
    tracemalloc.start()
    n = sum(1 for _ in encode_stream(tokenizer, parts()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n > 200_000 and peak < 16e6


def test_a_very_long_word_is_quick():
    word = "".join(
        map(
            chr,
            torch.randint(
                97, 123, (100_000,), generator=torch.Generator().manual_seed(0)
            ),
        )
    )
    tokenizer = trained()
    start = time.process_time()
    ids = tokenizer.encode(word)
    assert time.process_time() - start < 2
    assert tokenizer.decode(ids) == word and len(split_text(word)) == 1


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(bpe, "CACHED", 5)
    tokenizer = Tokenizer([])
    tokenizer.encode(" ".join(map(str, range(99))))
    assert 0 < len(tokenizer.words) <= 5


def test_a_tokenizer_can_be_pickled():
    again = pickle.loads(pickle.dumps(trained()))
    assert again.encode("for x in y") == trained().encode("for x in y")


# Files


@pytest.mark.parametrize("pattern", PATTERNS, ids=["GPT2", "GPT4"])
def test_what_is_saved_comes_back(pattern, tmp_path):
    save_tokenizer(trained(pattern), tmp_path / "bpe.json")
    again = load_tokenizer(tmp_path / "bpe.json")
    for name in ("merges", "pattern", "specials", "pieces"):
        assert getattr(again, name) == getattr(trained(pattern), name)
    assert [file.name for file in tmp_path.iterdir()] == ["bpe.json"]
    lines = (tmp_path / "bpe.json").read_text("utf-8").splitlines()
    assert '"Ġ Ġ",' in lines or '"Ġ t",' in lines


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "bpe.json"
    save_tokenizer(trained(), path)
    before = path.read_bytes()

    def interrupted(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(OSError):
        save_tokenizer(Tokenizer([]), path)
    assert path.read_bytes() == before


def damaged(text, **changes):
    return json.dumps(json.loads(text) | changes)


@pytest.mark.parametrize(
    "damage, says",
    [
        (lambda text: text[:2000], "bpe.json is cut short or damaged"),
        (lambda text: "", "bpe.json is cut short or damaged"),
        (lambda text: "[1, 2]", "must hold a JSON object"),
        (lambda text: "{}", "must say format"),
        (lambda text: damaged(text, format="tiktoken"), "got 'tiktoken'"),
        (lambda text: text.replace('"pattern"', '"p"'), "lacks pattern"),
        (lambda text: damaged(text, merges=["a b", "ab"]), "merge 2 must be two known"),
        (lambda text: damaged(text, merges=["a b", "a bc"]), "got 'a bc'"),
        (lambda text: damaged(text, merges=["a b", 7]), "got 7"),
        (lambda text: damaged(text, merges=["a b", "a b"]), "which is there already"),
        (lambda text: damaged(text, specials=["<a b>"]), "without spaces"),
    ],
)
def test_a_damaged_file_is_refused(damage, says, tmp_path):
    path = tmp_path / "bpe.json"
    save_tokenizer(trained(), path)
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    refused(lambda: load_tokenizer(path), says)


@pytest.fixture
def published(tmp_path):
    """The two files that Hugging Face's library writes, and their tokenizer."""
    theirs = in_tokenizers(GPT2)
    theirs.model.save(str(tmp_path))
    vocab = json.loads((tmp_path / "vocab.json").read_text("utf-8"))
    vocab |= {token: len(vocab) + i for i, token in enumerate(SPECIALS)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), "utf-8")
    return tmp_path / "vocab.json", tmp_path / "merges.txt"


def test_published_files_are_read(published):
    ours = load_published(*published)
    assert ours.merges == trained().merges and ours.specials == trained().specials
    text = "def scale(values, factor):\n    return 'é'"
    assert ours.encode(text) == in_tokenizers(GPT2).encode(text).ids


@pytest.mark.parametrize(
    "damage, says",
    [
        (lambda vocab, merges: (vocab, merges[: len(merges) // 2]), "merges.txt"),
        (lambda vocab, merges: (vocab, merges + "no merge"), "got 'no merge'"),
        (lambda vocab, merges: (vocab[:900], merges), "vocab.json is cut short"),
        (
            lambda vocab, merges: (damaged(vocab, **{"!": 5}), merges),
            "give '!' the id 0",
        ),
        (
            lambda vocab, merges: (damaged(vocab, **{"<|new|>": 9999}), merges),
            "number its specials",
        ),
    ],
)
def test_damaged_published_files_are_refused(damage, says, published):
    texts = damage(*(path.read_text("utf-8") for path in published))
    for path, text in zip(published, texts, strict=True):
        path.write_text(text, "utf-8")
    refused(lambda: load_published(*published), says)


# Bad input


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: train_tokenizer(["text"], 256, specials=["<|a|>"]), "at least 257"),
        (lambda: train_tokenizer(["text"], 255), "got vocab_size=255"),
        (lambda: train_tokenizer([], 300), "the texts are empty"),
        (lambda: train_tokenizer(["", b""], 300), "the texts are empty"),
        (lambda: trained().encode("a<|end|>b"), "'<|end|>' at character 1"),
        (lambda: trained().encode("a", specials="maybe"), "got 'maybe'"),
        (lambda: trained().encode("half \ud83d of it"), "half of a character"),
        (lambda: trained().decode([5, 2048]), "0 ... 2047; got 2048"),
        (lambda: trained().decode([-1]), "got -1"),
        (lambda: Tokenizer(["abc"]), "merge 0 must name two symbols"),
        (lambda: Tokenizer(["aĀ"]), "below 256; got [97, 256]"),
        (lambda: Tokenizer([], specials=["a b"]), "got 'a b'"),
        (lambda: Tokenizer([], specials=[""]), "without spaces; got ''"),
        (lambda: Tokenizer([], specials=["<e>", "<e>"]), "'<e>' twice"),
    ],
)
def test_bad_input_is_named(call, says):
    refused(call, says)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: train_tokenizer("one text", 300), "say [text]"),
        (lambda: train_tokenizer([5], 300), "got int"),
        (lambda: trained().encode(None), "got NoneType"),
        (lambda: Tokenizer([], specials="<e>"), "a list of strings"),
    ],
)
def test_a_wrong_type_is_named(call, says):
    with pytest.raises(TypeError, match=re.escape(says)):
        call()


def test_a_small_text_gives_a_small_vocabulary():
    tokenizer = train_tokenizer(["aaaa"], 500, specials=SPECIALS)
    assert len(tokenizer) == 256 + 2 + 2
    assert tokenizer.encode("aaaa<|pad|>", "allow") == [257, 259]


def test_special_tokens_are_not_learned_from():
    with_them = count_words(["ab<|end|>ab"], specials=SPECIALS)
    assert with_them == Counter({to_symbols(b"ab"): 2})
