"""Our multi-head layer against PyTorch's, in CPU time, and its memory (chapter 6).

usage: python -m benchmarks.attention [--smoke]      (--smoke: few rounds against PyTorch, stores nothing)

The layers take turns in one run, on one thread; a figure is the median of the ratios
of their processor times, theirs divided by ours, so above 1 ours is faster.
"""

import json
import sys
from functools import partial

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.timing import (
    MODES,
    ROUNDS,
    SMOKE_ROUNDS,
    printed,
    ratio,
    store,
    trained,
)
from tfcourse.multi_head_attention import MultiHeadAttention
from tfcourse.notebook.measuring import peak_bytes
from tools.environment import MEASURING, enter

D_MODEL, N_HEADS = 512, 8  # the paper's
LENGTHS = (128, 512, 2048)
TOKENS = 2048  # in every batch: of 16 sequences, of 4, of 1
PYTORCH, BARE = "nn.MultiheadAttention", "bare scaled_dot_product_attention"


def rows(rounds, rivals=(PYTORCH, BARE)):
    """One row per length, mode and rival."""
    torch.manual_seed(0)
    layer = MultiHeadAttention(D_MODEL, N_HEADS)
    pytorch = nn.MultiheadAttention(D_MODEL, N_HEADS, batch_first=True)

    def theirs(x):
        return pytorch(x, x, x, need_weights=False)[0]

    for length in LENGTHS:
        batch = TOKENS // length
        x = torch.randn(batch, length, D_MODEL)
        qkv = torch.randn(3, batch, N_HEADS, length, D_MODEL // N_HEADS)
        calls = {PYTORCH: (theirs, x), BARE: (scaled_dot_product_attention, *qkv)}
        for mode, run in MODES:
            layer.train(run is trained)
            pytorch.train(run is trained)
            for name in rivals:
                found = ratio(
                    partial(run, *calls[name]), partial(run, layer, x), rounds
                )
                row = {"length": length, "mode": mode, "against": name}
                yield row | {"ratio": found}


def memory(length=LENGTHS[-1]):
    """Peak bytes of one call at this length: the fused layer, and one that shows weights."""
    layer = MultiHeadAttention(D_MODEL, N_HEADS).eval()
    x = torch.randn(1, length, D_MODEL)
    with torch.inference_mode():
        fused = peak_bytes(lambda: layer(x))
        explicit = peak_bytes(lambda: layer(x, return_weights=True))
    return {"length": length, "peak_ours": fused, "peak_explicit": explicit}


def main(arguments):
    enter(MEASURING)
    smoke = "--smoke" in arguments
    found = printed(rows(SMOKE_ROUNDS, [PYTORCH]) if smoke else rows(ROUNDS))
    peaks = memory()
    print(json.dumps(peaks), flush=True)
    if not smoke:
        settings = {"d_model": D_MODEL, "n_heads": N_HEADS, "tokens": TOKENS}
        store("06_attention_speed", "attention", settings, memory=peaks, rows=found)


if __name__ == "__main__":
    main(sys.argv[1:])
