"""Train a small GPT as torchrun starts it, and store what it became.

usage: torchrun --nproc-per-node 2 -m tests.train_in_processes HOW PATH  (HOW: whole, parts)
"""

import sys

import torch
import torch.distributed as dist

from tfcourse.gpt import GPT, GPTConfig, initialize_gpt
from tfcourse.training import Recipe, distribute, join_processes, train

CONFIG = GPTConfig(32, 16, 24, 3, 2)
RECIPE = Recipe(steps=6, batch=8, lr=0.01, micro_batches=2, warm_up=2)
IDS = torch.randint(32, (400,), generator=torch.Generator().manual_seed(0))


def new_model():
    return initialize_gpt(GPT(CONFIG), torch.Generator().manual_seed(1)).double()


def main(how, path):
    model = distribute(new_model().to(join_processes()), sharded=how == "parts")
    history = train(model, IDS, RECIPE, path=path, save_every=3)
    if dist.get_rank() == 0:
        torch.save(
            [(step.loss, step.gradient_norm) for step in history], path + ".history"
        )
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
