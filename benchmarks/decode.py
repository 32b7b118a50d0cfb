"""Our generation with a cache against Hugging Face's, in CPU time (chapter 13).

usage: python -m benchmarks.decode [--smoke]      (--smoke: few rounds, stores nothing)

Both have the same random weights and write the same tokens. They take turns in one run,
on one thread; a figure is the median of the ratios of their processor times, theirs
divided by ours, so above 1 ours is faster.
"""

import sys
from functools import partial

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.timing import ROUNDS, SMOKE_ROUNDS, printed, ratio, store
from tfcourse.generation import Sampler, generate
from tfcourse.gpt import from_gpt2
from tfcourse.kv_cache import CachedModel, KVCache, caches_for
from tools.environment import MEASURING, enter

SIZES = {  # layers, heads, width
    "small": {"n_layer": 4, "n_head": 4, "n_embd": 128},
    "larger": {"n_layer": 6, "n_head": 6, "n_embd": 384},
}
CACHES = {"DynamicCache": "dynamic", "StaticCache": "static"}  # theirs
VOCAB_SIZE, CONTEXT_LENGTH = 2048, 1024
PROMPT, N_NEW, BATCH = 128, 256, 8
SHORT, LONG, STEPS = 64, 512, 301  # tokens in the cache; steps that are timed
GREEDY = Sampler(greedy=True)
NO_END = {"bos_token_id": None, "eos_token_id": None}  # no text ends before its time


def models(size):
    """The same GPT-2 twice, ours and theirs; wide weights, so that the text is lively."""
    torch.manual_seed(0)
    shape = {"vocab_size": VOCAB_SIZE, "n_positions": CONTEXT_LENGTH}
    config = GPT2Config(**shape, **size, initializer_range=0.2, **NO_END)
    theirs = GPT2LMHeadModel(config).eval()
    return from_gpt2(theirs.state_dict(), size["n_head"]).eval(), theirs


def prompts(batch):
    """(batch, PROMPT) random tokens."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(VOCAB_SIZE, (batch, PROMPT), generator=generator)


def write_ours(model, ids):
    """The new tokens, (b, N_NEW): what a user of the package writes."""
    caches = caches_for(model, KVCache, len(ids), capacity=PROMPT + N_NEW)
    new = generate(CachedModel(model, caches), ids, N_NEW, GREEDY)
    return torch.stack(list(new), dim=1)


def write_theirs(model, cache, ids):
    """The same from Hugging Face."""
    options = {"max_new_tokens": N_NEW, "do_sample": False, "pad_token_id": 0}
    options |= {"attention_mask": torch.ones_like(ids), "cache_implementation": cache}
    return model.generate(ids, **options)[:, PROMPT:]


def rows(rounds):
    """One row per size and cache of theirs; the tokens must be the same."""
    ids = prompts(1)
    for name, size in SIZES.items():
        ours, theirs = models(size)
        expected = write_ours(ours, ids)
        for against, cache in CACHES.items():
            found = write_theirs(theirs, cache, ids)
            assert torch.equal(found, expected), f"{name}, {against}: other tokens"
            other = partial(write_theirs, theirs, cache, ids)
            times = ratio(other, partial(write_ours, ours, ids), rounds)
            row = {"size": name, "different_tokens": len(expected.unique())}
            yield row | {"against": against, "ratio": times}


def long_over_short(model, steps):
    """How much longer a step takes after LONG tokens than after SHORT: the median."""

    def step(length):
        ids = torch.randint(VOCAB_SIZE, (1, length + 1))
        caches = caches_for(model, KVCache, capacity=length + 1)
        return partial(CachedModel(model, caches), ids)  # again: the last token anew

    return ratio(step(LONG), step(SHORT), steps)


def batched_over_one(model, rounds):
    """How many times the tokens a second BATCH texts together have, beside one alone."""
    one, eight = (partial(write_ours, model, prompts(b)) for b in (1, BATCH))
    return round(BATCH * ratio(one, eight, rounds), 3)


def main(arguments):
    enter(MEASURING)
    torch.set_grad_enabled(False)
    smoke = "--smoke" in arguments
    rounds = SMOKE_ROUNDS if smoke else ROUNDS
    found = printed(rows(rounds))
    small, _ = models(SIZES["small"])
    more = {
        "long_over_short": long_over_short(small, STEPS),
        "batched_over_one": batched_over_one(small, rounds),
    }
    printed([more])
    if not smoke:
        settings = {"sizes": SIZES, "vocab_size": VOCAB_SIZE, "prompt": PROMPT}
        settings |= {"n_new": N_NEW, "batch": BATCH, "lengths": [SHORT, LONG]}
        store("13_decode_speed", "decode", settings, rows=found, **more)


if __name__ == "__main__":
    main(sys.argv[1:])
