"""Our multi-head layer against PyTorch's, in CPU time, and its memory (chapter 6).

usage: python -m benchmarks.attention [--smoke]      (--smoke: few rounds against PyTorch, stores nothing)

The layers take turns in one run, on one thread; a figure is the median of the ratios
of their processor times, theirs divided by ours, so above 1 ours is faster.
"""

import json
import sys
import time
from functools import partial
from statistics import median

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from tfcourse.data.stored import RESULTS
from tfcourse.multi_head_attention import MultiHeadAttention
from tfcourse.notebook.measuring import peak_bytes
from tools.environment import MEASURING, enter

D_MODEL, N_HEADS = 512, 8  # the paper's
LENGTHS = (128, 512, 2048)
TOKENS = 2048  # in every batch: of 16 sequences, of 4, of 1
ROUNDS, SMOKE_ROUNDS = 15, 3
PYTORCH, BARE = "nn.MultiheadAttention", "bare scaled_dot_product_attention"


def trained(forward, *inputs):
    """One step of training without the optimizer: forward and backward."""
    forward(*(x.detach().requires_grad_() for x in inputs)).sum().backward()


def inferred(forward, *inputs):
    with torch.inference_mode():
        forward(*inputs)


def ratio(theirs, ours, rounds):
    """The median over rounds of theirs / ours, each round timing both, in turn first."""
    ratios = []
    for number in range(rounds + 1):  # the first warms up
        seconds = {}
        for call in (theirs, ours) if number % 2 else (ours, theirs):
            start = time.process_time()
            call()
            seconds[call] = time.process_time() - start
        ratios.append(seconds[theirs] / seconds[ours])
    return median(ratios[1:])


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
        for mode, run in (("training", trained), ("inference", inferred)):
            layer.train(run is trained)
            pytorch.train(run is trained)
            for name in rivals:
                found = ratio(
                    partial(run, *calls[name]), partial(run, layer, x), rounds
                )
                row = {"length": length, "mode": mode, "against": name}
                yield row | {"ratio": round(found, 3)}


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
    start, collected = time.process_time(), []
    for row in rows(SMOKE_ROUNDS, [PYTORCH]) if smoke else rows(ROUNDS):
        print(json.dumps(row), flush=True)
        collected.append(row)
    peaks = memory()
    print(json.dumps(peaks), flush=True)
    if smoke:
        return
    stored = {
        "command": "python -m benchmarks.attention",
        "settings": {"d_model": D_MODEL, "n_heads": N_HEADS, "tokens": TOKENS},
        "versions": {"torch": torch.__version__},
        "seconds": round(time.process_time() - start),
        "memory": peaks,
        "rows": collected,
    }
    path = RESULTS / "06_attention_speed.json"
    path.write_text(json.dumps(stored, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
