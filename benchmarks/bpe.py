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

VOCAB_SIZE = 10_000
ROUNDS = 7
PART = 1 << 16  # characters in each part of the stream


def train_theirs(text):
    theirs = tokenizers.Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator(text.splitlines(keepends=True), trainer)


def train_ours(text):
    train_tokenizer([text], VOCAB_SIZE)


def encode_anew(tokenizer, text):
    """The ids, by a tokenizer that has not met any word yet."""
    tokenizer.words.clear()
    return tokenizer.encode(text)


def rows(text, tokenizer, rounds):
    """One row per job and library."""
    encode = partial(encode_anew, tokenizer)
    theirs, openais = to_tokenizers(tokenizer), to_tiktoken(tokenizer)
    for what, against, other, ours in [
        ("training", "tokenizers", train_theirs, train_ours),
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
    size, total, rounds = (1_000_000, 10**6, 2) if smoke else (5_000_000, 10**8, ROUNDS)
    text = load_corpus().train[:size].decode("utf-8", "ignore")
    tokenizer = train_tokenizer([text], VOCAB_SIZE)
    found = printed(rows(text, tokenizer, rounds))
    more = {
        "encode_mb_per_s": megabytes_per_second(text, tokenizer, rounds),
        "stream": {"characters": total} | stream_peak(text, tokenizer, total),
    }
    printed([more])
    if not smoke:
        settings = {"vocab_size": VOCAB_SIZE, "bytes": size}
        store("10_bpe_speed", "bpe", settings, rows=found, **more)


if __name__ == "__main__":
    main(sys.argv[1:])
