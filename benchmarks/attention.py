"""Our multi-head layer against PyTorch's, in CPU time, and its memory (chapter 6).

usage: python -m benchmarks.attention [--smoke]      (--smoke: few rounds, stores nothing)

The layers take turns in one run, on one thread; a figure is the median of the ratios
of their processor times, theirs divided by ours, so above 1 ours is faster.
"""

import json
import sys
import time
from functools import partial
from statistics import median

import torch
from tfcourse.notebook.measuring import peak_bytes
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from tfcourse.data.stored import RESULTS
from tfcourse.multi_head_attention import MultiHeadAttention
from tools.environment import MEASURING, enter

D_MODEL, N_HEADS, BATCH = 512, 8, 1  # the paper's width and heads
LENGTHS = (128, 512, 2048)
ROUNDS = {128: 101, 512: 41, 2048: 15}
SMOKE_ROUNDS = {128: 21, 512: 9, 2048: 3}


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


def rows(rounds):
    """One row per length, mode and rival."""
    torch.manual_seed(0)
    layer = MultiHeadAttention(D_MODEL, N_HEADS)
    pytorch = nn.MultiheadAttention(D_MODEL, N_HEADS, batch_first=True)

    def theirs(x):
        return pytorch(x, x, x, need_weights=False)[0]

    for length in LENGTHS:
        x = torch.randn(BATCH, length, D_MODEL)
        qkv = torch.randn(3, BATCH, N_HEADS, length, D_MODEL // N_HEADS)
        rivals = {
            "nn.MultiheadAttention": partial(theirs, x),
            "bare scaled_dot_product_attention": partial(
                scaled_dot_product_attention, *qkv
            ),
        }
        for mode, run in (("training", trained), ("inference", inferred)):
            layer.train(run is trained), pytorch.train(run is trained)
            ours = partial(run, layer, x)
            for name, rival in rivals.items():
                other = partial(run, rival.func, *rival.args)
                found = ratio(other, ours, rounds[length])
                row = {"length": length, "mode": mode, "against": name}
                yield row | {"ratio": round(found, 3)}


def memory(length=LENGTHS[-1]):
    """Peak bytes of one call at this length: the fused layer, and one that shows weights."""
    layer = MultiHeadAttention(D_MODEL, N_HEADS).eval()
    x = torch.randn(BATCH, length, D_MODEL)
    with torch.inference_mode():
        fused = peak_bytes(lambda: layer(x))
        explicit = peak_bytes(lambda: layer(x, return_weights=True))
    return {"length": length, "peak_ours": fused, "peak_explicit": explicit}


def main(arguments):
    enter(MEASURING)
    smoke = "--smoke" in arguments
    start, collected = time.process_time(), []
    for row in rows(SMOKE_ROUNDS if smoke else ROUNDS):
        print(json.dumps(row), flush=True)
        collected.append(row)
    peaks = memory()
    print(json.dumps(peaks), flush=True)
    if smoke:
        return
    stored = {
        "command": "python -m benchmarks.attention",
        "settings": {"d_model": D_MODEL, "n_heads": N_HEADS, "batch": BATCH},
        "versions": {"torch": torch.__version__},
        "seconds": round(time.process_time() - start),
        "memory": peaks,
        "rows": collected,
    }
    path = RESULTS / "06_attention_speed.json"
    path.write_text(json.dumps(stored, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
