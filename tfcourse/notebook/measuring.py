"""What a call costs: processor time, and bytes of memory at its highest."""

import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import process_time

from torch.profiler import ProfilerActivity, profile


def cpu_seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Processor seconds of one call: the median of several, after one to warm up.

    Threads add up. ValueError for fewer repeats than one.

    >>> 0 <= cpu_seconds(lambda: sum(range(1000)), repeats=3) < 1
    True
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1; got repeats={repeats}")
    call()
    times = []
    for _ in range(repeats):
        start = process_time()
        call()
        times.append(process_time() - start)
    return statistics.median(times)


def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes of tensors that a call held at once, beside what was there before.

    Every allocation of PyTorch on the CPU counts, also those inside its operations, and
    so does the result. What libraries such as MKL take for themselves is not seen.

    >>> import torch
    >>> peak_bytes(lambda: torch.ones(1000) + torch.ones(1000))  # three at four bytes
    12000
    """
    record = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with _silent():
        record.start()
    try:
        result = call()  # held, so that it is not freed before it is counted
    finally:
        with _silent():
            record.stop()
    del result
    events = record.profiler.kineto_results.events()
    memory = [event for event in events if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(memory, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the profiler, which is not Python, from telling that it starts and stops."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
