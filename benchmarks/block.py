"""Our block against PyTorch's encoder layer, in CPU time (chapter 8).

usage: python -m benchmarks.block [--smoke]      (--smoke: few rounds, stores nothing)

The blocks take turns in one run, on one thread; a figure is the median of the ratios
of their processor times, theirs divided by ours, so above 1 ours is faster.
"""

import sys
from functools import partial

import torch
from torch import nn

from benchmarks.timing import MODES, ROUNDS, SMOKE_ROUNDS, printed, ratio, store
from tfcourse.block import Block
from tools.environment import MEASURING, enter

D_MODEL, N_HEADS, D_FF = 512, 8, 2048  # the paper's
LENGTHS = (128, 512)
TOKENS = 1024  # in every batch: of 8 sequences, of 2
PYTORCH = "nn.TransformerEncoderLayer"


def rows(rounds):
    """One row per placement of the norms, length and mode."""
    torch.manual_seed(0)
    for pre_norm in (True, False):
        ours = Block(D_MODEL, N_HEADS, D_FF, pre_norm=pre_norm)
        theirs = nn.TransformerEncoderLayer(
            D_MODEL, N_HEADS, D_FF, dropout=0.0, batch_first=True, norm_first=pre_norm
        )
        for length in LENGTHS:
            x = torch.randn(TOKENS // length, length, D_MODEL)
            for mode, run in MODES:
                ours.train(mode == "training")
                theirs.train(mode == "training")
                found = ratio(partial(run, theirs, x), partial(run, ours, x), rounds)
                row = {"pre_norm": pre_norm, "length": length, "mode": mode}
                yield row | {"against": PYTORCH, "ratio": found}


def main(arguments):
    enter(MEASURING)
    smoke = "--smoke" in arguments
    found = printed(rows(SMOKE_ROUNDS if smoke else ROUNDS))
    if not smoke:
        settings = {"d_model": D_MODEL, "n_heads": N_HEADS, "d_ff": D_FF}
        store("08_block_speed", "block", settings | {"tokens": TOKENS}, rows=found)


if __name__ == "__main__":
    main(sys.argv[1:])
