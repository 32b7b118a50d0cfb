"""Train the course's model of code on the corpus, and store it with its tokenizer.

usage: python -m tools.train_code_model [CHECKPOINT]    (default: work/code_model.pt)

An interrupted run goes on from the checkpoint. Takes about an hour on two cores.
"""

import hashlib
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save
from tqdm import tqdm

from tfcourse.bpe import save_tokenizer, train_tokenizer
from tfcourse.data.corpus import load_corpus
from tfcourse.data.stored import WEIGHTS
from tfcourse.gpt import GPT, GPTConfig, initialize_gpt
from tfcourse.training import Recipe, evaluate, train
from tools.environment import MEASURING, enter

NAME, THREADS = "11_code", 2
CONFIG = GPTConfig(
    vocab_size=2048,
    context_length=512,
    d_model=256,
    n_heads=4,
    n_layers=4,
    d_ff=512,
    activation="swiglu",
    norm="rms",
    position="rotary",
    bias=False,
)
RECIPE = Recipe(steps=3000, batch=8, lr=2e-3, warm_up=100, floor=0.05)


def trained(ids, path):
    """The model after all steps; those of an earlier run are not made again."""
    model = initialize_gpt(GPT(CONFIG), torch.Generator().manual_seed(RECIPE.seed))
    bar = tqdm(total=RECIPE.steps, unit="step", mininterval=10)

    def report(progress):
        bar.update(progress.step + 1 - bar.n)
        bits = progress.loss / math.log(2)
        bar.set_postfix(
            bits=f"{bits:.3f}", tokens_s=f"{progress.tokens_per_second:.0f}"
        )

    train(model, ids, RECIPE, path=path, report=report)
    bar.close()
    return model


def bits_per_byte(model, corpus, scored):
    """What the model is worth as it is stored: its weights are rounded to bfloat16."""
    rounded = {key: t.bfloat16() for key, t in model.state_dict().items()}
    model.load_state_dict(rounded)
    bits = evaluate(model, scored) / math.log(2) * (len(scored) - 1)
    return round(bits / len(corpus.scored), 4)


def store_weights(name, model, card):
    """Write weights (bfloat16) and their card."""
    content = save({key: t.bfloat16() for key, t in model.state_dict().items()})
    card |= {"dtype": "bfloat16", "sha256": hashlib.sha256(content).hexdigest()}
    (WEIGHTS / f"{name}.safetensors").write_bytes(content)
    text = json.dumps(card, indent=1) + "\n"
    (WEIGHTS / f"{name}.json").write_text(text, "utf-8")


def store(name, model, tokenizer, recipe, made_with):
    """Write weights, tokenizer and card, with the loss of what is written."""
    corpus = load_corpus()
    scored = torch.tensor(tokenizer.encode(corpus.scored))
    card = {
        "model": "GPT",
        "config": asdict(model.config),
        "recipe": asdict(recipe),
        "data": {"name": corpus.name, "sha256": corpus.sha256},
        **made_with,
        "bits_per_byte": bits_per_byte(model, corpus, scored),
    }
    save_tokenizer(tokenizer, WEIGHTS / f"{name}.tokenizer")
    store_weights(name, model, card)
    print(json.dumps(card, indent=1), flush=True)


def main(arguments):
    enter(MEASURING)
    torch.set_num_threads(THREADS)
    path = Path(*arguments or ["work/code_model.pt"])
    path.parent.mkdir(exist_ok=True)
    start = time.process_time()
    corpus = load_corpus()
    tokenizer = train_tokenizer([corpus.train], CONFIG.vocab_size)
    model = trained(torch.tensor(tokenizer.encode(corpus.train)), path)
    seconds = round(time.process_time() - start)
    made_with = {"command": "python -m tools.train_code_model", "threads": THREADS}
    store(NAME, model, tokenizer, RECIPE, made_with | {"cpu_seconds": seconds})


if __name__ == "__main__":
    main(sys.argv[1:])
