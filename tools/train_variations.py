"""Train one small GPT with each mixer of tokens, and store three of them.

usage: python -m tools.train_variations [MIXER ...]      (default: all)

All read the text with the tokenizer of the stored code model, and see the same windows
in the same order, at two learning rates. A run takes some four minutes. What it found,
also on the way, is a row of 16_mixers.json; at the best rate the weights of those in
STORED are kept besides.
"""

import json
import math
import sys
import time
from dataclasses import asdict
from itertools import product

import torch

from tfcourse.bpe import load_tokenizer
from tfcourse.data.corpus import load_corpus
from tfcourse.data.stored import RESULTS, WEIGHTS
from tfcourse.gpt import GPT, GPTConfig, initialize_gpt
from tfcourse.training import Recipe, train
from tfcourse.variations import MIXERS, with_mixer
from tools.environment import MEASURING, enter
from tools.train_code_model import bits_per_byte, store_weights

COMMAND, TOKENIZER, RESULT = "python -m tools.train_variations", "11_code", "16_mixers"
STORED = {
    "linear": "16_linear",
    "time mix": "16_time_mix",
    "convolution": "16_convolution",
}
FRAME = {
    "vocab_size": 2048,
    "context_length": 256,
    "d_model": 128,
    "n_heads": 4,
    "n_layers": 2,
    "d_ff": 256,
    "activation": "swiglu",
    "norm": "rms",
    "position": "rotary",
    "bias": False,
}
FEED_FORWARD = {"time mix": 213}  # its fifth matrix is paid for here: equal parameters
RATES, BEST = (2e-3, 5e-3), 2e-3  # the weights of the best rate are stored
STEPS, BATCH, EVERY = 2000, 4, 250


def begun(mixer, seed=0):
    """The model before its first step."""
    sizes = FRAME | {"d_ff": FEED_FORWARD.get(mixer, FRAME["d_ff"])}
    generator = torch.Generator().manual_seed(seed)
    model = initialize_gpt(GPT(GPTConfig(**sizes)), generator)
    return with_mixer(model, mixer, generator)


def recipe_of(lr, steps=STEPS, seed=0):
    """The recipe: the same for all mixers."""
    return Recipe(steps=steps, batch=BATCH, lr=lr, warm_up=100, floor=0.05, seed=seed)


def trained(mixer, ids, recipe):
    """The model, and its bits a token over each stretch of steps."""
    model, curve, recent = begun(mixer, recipe.seed), [], []

    def report(progress):
        recent.append(progress.loss)
        if (progress.step + 1) % EVERY == 0:
            curve.append(round(sum(recent) / len(recent) / math.log(2), 4))
            print(f"{mixer}, step {progress.step + 1}: {curve[-1]}", flush=True)
            recent.clear()

    train(model, ids, recipe, report=report)
    return model, curve


def store_row(row):
    """Put a row among the others, in the order of MIXERS and RATES."""
    path = RESULTS / f"{RESULT}.json"
    known = json.loads(path.read_text("utf-8"))["rows"] if path.exists() else []
    rows = {(r["mixer"], r["lr"]): r for r in [*known, row]}
    rows = [rows[key] for key in product(MIXERS, RATES) if key in rows]
    stored = {
        "command": COMMAND,
        "settings": FRAME | {"steps": STEPS, "batch": BATCH, "every": EVERY},
        "versions": {"torch": torch.__version__},
        "seconds": sum(r["cpu_seconds"] for r in rows),
        "rows": rows,
    }
    path.write_text(json.dumps(stored, indent=1) + "\n", "utf-8")


def run(mixer, lr, corpus, ids, scored):
    """Train a mixer, score it as it is stored, write what it found."""
    start, recipe = time.process_time(), recipe_of(lr)
    model, curve = trained(mixer, ids, recipe)
    seconds = round(time.process_time() - start)
    found = {"bits_per_byte": bits_per_byte(model, corpus, scored)}
    if mixer in STORED and lr == BEST:
        card = {"model": "GPT", "mixer": mixer, "config": asdict(model.config)}
        card |= {"recipe": asdict(recipe), "tokenizer": TOKENIZER}
        card |= {"data": {"name": corpus.name, "sha256": corpus.sha256}}
        card |= {"command": COMMAND, "cpu_seconds": seconds, **found}
        store_weights(STORED[mixer], model, card)
    parameters = sum(p.numel() for p in model.parameters())
    row = {"mixer": mixer, "parameters": parameters, "d_ff": model.config.d_ff}
    row |= {"lr": recipe.lr, **found, "curve": curve, "cpu_seconds": seconds}
    print(json.dumps(row), flush=True)
    store_row(row)


def main(arguments):
    enter(MEASURING)
    unknown = set(arguments) - set(MIXERS)
    if unknown:
        sys.exit(f"no such mixer: {', '.join(sorted(unknown))}; known: {[*MIXERS]}")
    corpus = load_corpus()
    tokenizer = load_tokenizer(WEIGHTS / f"{TOKENIZER}.tokenizer")
    ids = torch.tensor(tokenizer.encode(corpus.train))
    scored = torch.tensor(tokenizer.encode(corpus.scored))
    for mixer, lr in product(arguments or MIXERS, RATES):
        run(mixer, lr, corpus, ids, scored)


if __name__ == "__main__":
    main(sys.argv[1:])
