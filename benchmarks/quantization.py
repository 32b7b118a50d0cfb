"""Our layers in eight bits against torchao's and against float32, in CPU time (chapter 14).

usage: python -m benchmarks.quantization [--smoke]      (--smoke: few rounds, stores nothing)

All have the same random weights, per channel and symmetric. They take turns in one run,
on one thread; a figure is the median of the ratios of their processor times, theirs
divided by ours, so above 1 ours is faster. Memory is what a layer's tensors hold.
"""

import logging
import sys
from copy import deepcopy
from functools import partial
from importlib.metadata import version

import torch
from torch import nn

from benchmarks.timing import ROUNDS, SMOKE_ROUNDS, printed, ratio, store
from tfcourse.quantization import IntegerLinear, QuantizedLinear, quantize
from tools.environment import MEASURING, enter

logging.disable(logging.WARNING)  # torchao names the kernels for a GPU that it lacks
from torchao.quantization import (
    Int8DynamicActivationInt8WeightConfig,
    Int8WeightOnlyConfig,
    quantize_,
)
from torchao.quantization.granularity import PerRow

logging.disable(logging.NOTSET)

LAYERS = ((1024, 4096), (4096, 1024))  # from so many numbers to so many
BATCHES = (1, 8)
SMOKE_BATCHES = BATCHES[-1:]
CALLS = 5  # that are timed together
BOTH, WEIGHTS = "weights and activations", "weights"  # what is in eight bits
KINDS = {  # ours and theirs
    BOTH: (
        IntegerLinear,
        Int8DynamicActivationInt8WeightConfig(granularity=PerRow()),
    ),
    WEIGHTS: (
        lambda weight, bias: QuantizedLinear(quantize(weight, 8), bias),
        Int8WeightOnlyConfig(granularity=PerRow()),
    ),
}
FLOAT, TORCHAO = "float32", "torchao"


def layers(kind, n_in, n_out):
    """The same layer three times: ours, theirs and the one that was not quantized."""
    make, config = KINDS[kind]
    torch.manual_seed(0)
    plain = nn.Linear(n_in, n_out)
    theirs = nn.Sequential(deepcopy(plain))
    quantize_(theirs, config)
    ours = make(plain.weight.detach(), plain.bias.detach())
    return {"ours": ours, TORCHAO: theirs, FLOAT: plain}


def off(found, expected):
    """The error as a share of what is expected, by roots of mean squares."""
    return float(f"{((found - expected).norm() / expected.norm()).item():.3g}")


def called(layer, x):
    for _ in range(CALLS):
        layer(x)


def rows(rounds, batches):
    """One row per kind, layer, batch and rival; with the errors of both, and their ratio."""
    for kind in KINDS:
        for n_in, n_out in LAYERS:
            three = layers(kind, n_in, n_out)
            for batch in batches:
                x = torch.randn(batch, n_in)
                expected = three[FLOAT](x)
                error = {
                    f"error_{n}": off(three[n](x), expected) for n in ("ours", TORCHAO)
                }
                for against in (TORCHAO, FLOAT):
                    calls = (partial(called, three[n], x) for n in (against, "ours"))
                    row = {"eight_bits": kind, "n_in": n_in, "n_out": n_out}
                    row |= {"batch": batch, "against": against}
                    yield row | {"ratio": ratio(*calls, rounds)} | error


def held(tensor):
    """Bytes of a tensor, or of those that one of torchao's is made of."""
    inner = getattr(tensor, "tensor_data_names", None)
    if inner is None:
        return tensor.untyped_storage().nbytes()
    parts = [*inner, *getattr(tensor, "optional_tensor_data_names", ())]
    found = (getattr(tensor, name) for name in parts)
    return sum(held(part) for part in found if part is not None)


def memory():
    """Bytes of the first layer, by who keeps it, and how."""
    found = {}
    for kind in KINDS:
        for name, layer in layers(kind, *LAYERS[0]).items():
            tensors = [*layer.parameters(), *layer.buffers()]
            key = name if name == FLOAT else f"{name}: {kind}"
            found[key] = sum(map(held, tensors))
    return found


def main(arguments):
    enter(MEASURING)
    torch.set_grad_enabled(False)
    smoke = "--smoke" in arguments
    how = (SMOKE_ROUNDS, SMOKE_BATCHES) if smoke else (ROUNDS, BATCHES)
    found = printed(rows(*how))
    (sizes,) = printed([memory()])
    if not smoke:
        settings = {"layers": LAYERS, "batches": BATCHES, "calls": CALLS}
        settings |= {"torchao": version("torchao")}
        settings |= {"int8_instruction": torch.cpu._is_vnni_supported()}
        store(
            "14_quantization_speed", "quantization", settings, memory=sizes, rows=found
        )


if __name__ == "__main__":
    main(sys.argv[1:])
