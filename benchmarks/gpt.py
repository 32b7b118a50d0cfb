"""A step of training our GPT against Hugging Face's GPT-2, in CPU time (chapter 11).

usage: python -m benchmarks.gpt [--smoke]      (--smoke: few short rounds, stores nothing)

Both models go through the same train_step: the same windows, loss, clipping and AdamW.
They take turns in one run, on one thread; a figure is the median of the ratios of their
processor times, theirs divided by ours, so above 1 ours is faster.
"""

import sys
from itertools import count

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.timing import SMOKE_ROUNDS, printed, ratio, store
from tfcourse.gpt import GPT, GPTConfig, initialize_gpt
from tfcourse.training import Recipe, make_optimizer, train_step
from tools.environment import MEASURING, enter

VOCAB_SIZE, CONTEXT_LENGTH = 1024, 256
SHAPES = (  # n_layers, n_heads, d_model, and sequences in a batch
    (4, 4, 128, 8),
    (6, 6, 384, 4),
)
SMOKE_BATCH = 2
ROUNDS = 41  # both call the same kernels: a small difference needs many rounds
RIVAL = "transformers.GPT2LMHeadModel"


class Theirs(nn.Module):
    """Hugging Face's model of the same shape, called as ours is: ids in, logits out."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        shape = GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.context_length,
            n_embd=config.d_model,
            n_head=config.n_heads,
            n_layer=config.n_layers,
            activation_function="gelu_pytorch_tanh",  # in one kernel, as ours
            attn_implementation="sdpa",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        self.gpt2 = GPT2LMHeadModel(shape)

    def forward(self, ids):
        return self.gpt2(ids).logits


def stepping(model, ids, batch):
    """A function that trains the model by one step more at each call."""
    recipe = Recipe(steps=10_000, batch=batch, lr=1e-3)
    optimizer, numbers = make_optimizer(model, recipe), count()
    model.train()
    return lambda: train_step(model, ids, recipe, optimizer, next(numbers))


def rows(rounds, smoke=False):
    """One row per shape."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(VOCAB_SIZE, (100_000,), generator=generator)
    torch.manual_seed(0)
    for n_layers, n_heads, d_model, batch in SHAPES:
        batch = SMOKE_BATCH if smoke else batch
        config = GPTConfig(VOCAB_SIZE, CONTEXT_LENGTH, d_model, n_heads, n_layers)
        theirs, ours = Theirs(config), initialize_gpt(GPT(config), generator)
        sizes = {sum(p.numel() for p in m.parameters()) for m in (theirs, ours)}
        assert len(sizes) == 1, f"the models differ in size: {sizes}"
        found = ratio(stepping(theirs, ids, batch), stepping(ours, ids, batch), rounds)
        row = {"n_layers": n_layers, "n_heads": n_heads, "d_model": d_model}
        yield row | {"batch": batch, "against": RIVAL, "ratio": found}


def main(arguments):
    enter(MEASURING)
    smoke = "--smoke" in arguments
    found = printed(rows(SMOKE_ROUNDS if smoke else ROUNDS, smoke))
    if not smoke:
        settings = {"vocab_size": VOCAB_SIZE, "context_length": CONTEXT_LENGTH}
        store("11_gpt_speed", "gpt", settings, rows=found)


if __name__ == "__main__":
    main(sys.argv[1:])
