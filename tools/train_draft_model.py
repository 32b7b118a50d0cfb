"""Train the small model that guesses for the course's model of code, and store it.

usage: python -m tools.train_draft_model

It reads the text with the tokenizer of the stored code model. Takes some twenty minutes.
"""

import math
import time
from dataclasses import replace

import torch

from tfcourse.bpe import load_tokenizer
from tfcourse.data.corpus import load_corpus
from tfcourse.data.stored import WEIGHTS
from tfcourse.gpt import GPT, initialize_gpt
from tfcourse.training import Recipe, train
from tools.environment import MEASURING, enter
from tools.train_code_model import CONFIG as CODE
from tools.train_code_model import store

NAME, TARGET = "13_draft", "11_code"
SMALL = {"context_length": 128, "d_model": 128, "d_ff": 256, "n_layers": 1}
CONFIG = replace(CODE, **SMALL, n_heads=2, n_kv_heads=2)
RECIPE = Recipe(steps=8000, batch=8, lr=5e-3, warm_up=100, floor=0.05)


def report(progress):
    if progress.step % 500 == 0:
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
    made_with = {"command": "python -m tools.train_draft_model", "cpu_seconds": seconds}
    store(NAME, model, tokenizer, RECIPE, made_with)


if __name__ == "__main__":
    main()
