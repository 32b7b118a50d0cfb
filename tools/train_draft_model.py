"""Train the small model that guesses for the course's model of code, and store it.

usage: python -m tools.train_draft_model

It reads the text with the tokenizer of the stored code model. Takes some two minutes.
"""

import hashlib
import json
import math
import time
from dataclasses import asdict

import torch
from safetensors.torch import save

from tfcourse.bpe import load_tokenizer, save_tokenizer
from tfcourse.data.corpus import load_corpus
from tfcourse.data.stored import WEIGHTS
from tfcourse.gpt import GPT, GPTConfig, initialize_gpt
from tfcourse.training import Recipe, evaluate, train
from tools.environment import MEASURING, enter

NAME, TARGET = "13_draft", "11_code"
CONFIG = GPTConfig(
    vocab_size=2048,
    context_length=128,
    d_model=128,
    n_heads=2,
    n_layers=1,
    d_ff=256,
    activation="swiglu",
    norm="rms",
    position="rotary",
    bias=False,
)
RECIPE = Recipe(steps=800, batch=8, lr=5e-3, warm_up=50, floor=0.05)


def report(progress):
    if progress.step % 100 == 0:
        bits = progress.loss / math.log(2)
        print(f"step {progress.step}: {bits:.3f} bits a token", flush=True)


def main():
    enter(MEASURING)
    start = time.process_time()
    corpus = load_corpus()
    tokenizer = load_tokenizer(WEIGHTS / f"{TARGET}.tokenizer")
    model = initialize_gpt(GPT(CONFIG), torch.Generator().manual_seed(RECIPE.seed))
    ids = torch.tensor(tokenizer.encode(corpus.train))
    train(model, ids, RECIPE, report=report)
    seconds = round(time.process_time() - start)
    tensors = {name: t.bfloat16() for name, t in model.state_dict().items()}
    model.load_state_dict(tensors)  # what is stored is scored
    scored = torch.tensor(tokenizer.encode(corpus.scored))
    bits = evaluate(model, scored) / math.log(2) * (len(scored) - 1)
    content = save(tensors)
    card = {
        "model": "GPT",
        "config": asdict(CONFIG),
        "recipe": asdict(RECIPE),
        "data": {"name": corpus.name, "sha256": corpus.sha256},
        "command": "python -m tools.train_draft_model",
        "cpu_seconds": seconds,
        "bits_per_byte": round(bits / len(corpus.scored), 4),
        "dtype": "bfloat16",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (WEIGHTS / f"{NAME}.safetensors").write_bytes(content)
    save_tokenizer(tokenizer, WEIGHTS / f"{NAME}.tokenizer")
    text = json.dumps(card, indent=1) + "\n"
    (WEIGHTS / f"{NAME}.json").write_text(text, "utf-8")
    print(text, flush=True)


if __name__ == "__main__":
    main()
