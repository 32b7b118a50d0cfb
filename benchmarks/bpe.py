"""Our byte pair encoding against tokenizers and tiktoken, in CPU time (chapter 10).

usage: python -m benchmarks.bpe [--smoke]      (--smoke: less text, stores nothing)

The libraries take turns in one run; a figure is the median of the ratios of processor
times, summed over threads, theirs divided by ours, so above 1 ours is faster. Every round
begins with a new tokenizer that remembers nothing.
"""

import sys
import time
import tracemalloc
from functools import partial
from statistics import median

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from benchmarks.timing import printed, ratio, store
from tfcourse.bpe import (
    encode_stream,
    to_tiktoken,
    to_tokenizers,
    train_tokenizer,
)
from tfcourse.data.corpus import load_corpus
from tools.environment import MEASURING, enter

FULL = {"bytes": 5_000_000, "vocab_size": 10_000}
SMOKE = {"bytes": 1_000_000, "vocab_size": 2_000}  # as many bytes for each id
ROUNDS, SMOKE_ROUNDS = 7, 5
STREAMED, SMOKE_STREAMED = 10**8, 10**6  # characters
PART = 1 << 16  # characters in each part of the stream


def train_theirs(vocab_size, text):
    theirs = tokenizers.Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator(text.splitlines(keepends=True), trainer)


def train_ours(vocab_size, text):
    train_tokenizer([text], vocab_size)


def encode_anew(tokenizer, text):
    """The ids, by a tokenizer that has not met any word yet."""
    tokenizer.words.clear()
    return tokenizer.encode(text)


def rows(text, tokenizer, rounds):
    """One row per job and library."""
    encode, size = partial(encode_anew, tokenizer), len(tokenizer)
    theirs, openais = to_tokenizers(tokenizer), to_tiktoken(tokenizer)
    for what, against, other, ours in [
        (
            "training",
            "tokenizers",
            partial(train_theirs, size),
            partial(train_ours, size),
        ),
        ("encoding", "tokenizers", theirs.encode, encode),
        ("encoding", "tiktoken", openais.encode_ordinary, encode),
    ]:
        found = ratio(partial(other, text), partial(ours, text), rounds)
        yield {"what": what, "against": against, "ratio": found}


def megabytes_per_second(text, tokenizer, rounds):
    """How much text is encoded in a second of processor time: the median."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        encode_anew(tokenizer, text)
        seconds.append(time.process_time() - start)
    return round(len(text.encode()) / 1e6 / median(seconds), 2)


def stream_peak(text, tokenizer, total):
    """Megabytes that Python holds at most while a text of total characters streams by."""
    parts = (text[at % len(text) :][:PART] for at in range(0, total, PART))
    tokenizer.words.clear()
    tracemalloc.start()
    n_ids = sum(1 for _ in encode_stream(tokenizer, parts))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"ids": n_ids, "peak_mb": round(peak / 1e6, 1)}


def main(arguments):
    enter(MEASURING)
    smoke = "--smoke" in arguments
    settings = SMOKE if smoke else FULL
    rounds = SMOKE_ROUNDS if smoke else ROUNDS
    total = SMOKE_STREAMED if smoke else STREAMED
    text = load_corpus().train[: settings["bytes"]].decode("utf-8", "ignore")
    tokenizer = train_tokenizer([text], settings["vocab_size"])
    found = printed(rows(text, tokenizer, rounds))
    more = {
        "encode_mb_per_s": megabytes_per_second(text, tokenizer, rounds),
        "stream": {"characters": total} | stream_peak(text, tokenizer, total),
    }
    printed([more])
    if not smoke:
        store("10_bpe_speed", "bpe", settings, rows=found, **more)


if __name__ == "__main__":
    main(sys.argv[1:])
