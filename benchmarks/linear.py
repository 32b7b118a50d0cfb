"""Linear attention against the fused softmax, by length, in CPU time (chapter 16).

usage: python -m benchmarks.linear [--smoke]      (--smoke: few rounds, stores nothing)

Two layers of one shape: our MultiHeadAttention, which calls PyTorch's fused attention,
and our LinearAttention. They take turns in one run, on one thread; a figure is the
median of the ratios of their processor times, softmax divided by linear, so above 1
linear attention is faster.
"""

import sys
from functools import partial

import torch

from benchmarks.timing import MODES, SMOKE_ROUNDS, printed, ratio, store
from tfcourse.multi_head_attention import MultiHeadAttention
from tfcourse.variations import LinearAttention, StateCache
from tools.environment import MEASURING, enter

D_MODEL, N_HEADS = 256, 4
LENGTHS, SMOKE_LENGTHS = (128, 256, 512, 1024, 2048, 4096), (512, 2048)
ROUNDS = 9


def layers():
    """Softmax and linear, with weights of the same sizes."""
    torch.manual_seed(0)
    return MultiHeadAttention(D_MODEL, N_HEADS), LinearAttention(D_MODEL, N_HEADS)


def rows(lengths, rounds):
    """One row per mode and length."""
    softmax, linear = (partial(layer, causal=True) for layer in layers())
    for mode, run in MODES:
        for t in lengths:
            x = torch.randn(1, t, D_MODEL, generator=torch.Generator().manual_seed(t))
            found = ratio(partial(run, softmax, x), partial(run, linear, x), rounds)
            yield {"mode": mode, "length": t, "ratio": found}


def state_bytes(lengths):
    """What linear attention carries after reading a text, by its length."""
    _, linear = layers()
    held = {}
    for t in lengths:
        cache = StateCache()
        with torch.inference_mode():
            linear(torch.randn(1, t, D_MODEL), cache=cache)
        held[t] = sum(x.nbytes for x in cache.kept.values())
    return held


def main(arguments):
    enter(MEASURING)
    smoke = "--smoke" in arguments
    lengths = SMOKE_LENGTHS if smoke else LENGTHS
    found = printed(rows(lengths, SMOKE_ROUNDS if smoke else ROUNDS))
    more = {"state_bytes": state_bytes(lengths)}
    printed([more])
    if not smoke:
        settings = {"d_model": D_MODEL, "n_heads": N_HEADS, "lengths": LENGTHS}
        store("16_linear_speed", "linear", settings, rows=found, **more)


if __name__ == "__main__":
    main(sys.argv[1:])
