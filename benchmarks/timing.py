"""How the benchmarks time: in turn, in one run, by the ratio of processor times."""

import json
import time
from statistics import median

import torch

from tfcourse.data.stored import RESULTS

ROUNDS, SMOKE_ROUNDS = 15, 3


def trained(forward, *inputs):
    """One step of training without the optimizer: forward and backward."""
    forward(*(x.detach().requires_grad_() for x in inputs)).sum().backward()


def inferred(forward, *inputs):
    with torch.inference_mode():
        forward(*inputs)


MODES = (("training", trained), ("inference", inferred))


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
    return round(median(ratios[1:]), 3)


def printed(rows):
    """All rows, each printed as it comes."""
    collected = []
    for row in rows:
        print(json.dumps(row), flush=True)
        collected.append(row)
    return collected


def store(name, module, settings, **found):
    """Write a result as the experiments do: what was found, and what made it."""
    stored = {
        "command": f"python -m benchmarks.{module}",
        "settings": settings,
        "versions": {"torch": torch.__version__},
        "seconds": round(time.process_time()),
        **found,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(stored, indent=1) + "\n", "utf-8")
