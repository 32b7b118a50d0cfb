"""Measuring: medians of processor time, and the highest number of bytes held."""

import os
import time

import pytest
import torch
from torch.nn import functional as F

from tfcourse.notebook import measuring
from tfcourse.notebook.measuring import cpu_seconds, peak_bytes


def test_the_time_is_the_median_after_a_call_to_warm_up(monkeypatch):
    clock, calls = iter([0, 5, 10, 11, 20, 23]), []
    monkeypatch.setattr(measuring, "process_time", lambda: next(clock))
    assert cpu_seconds(lambda: calls.append(1), repeats=3) == 3
    assert len(calls) == 4


def test_sleeping_takes_no_processor_time():
    assert cpu_seconds(lambda: time.sleep(0.05), repeats=1) < 0.04


def test_fewer_repeats_than_one_are_refused():
    with pytest.raises(ValueError, match="at least 1; got repeats=0"):
        cpu_seconds(lambda: None, repeats=0)


def test_what_is_held_at_once_counts_and_what_was_freed_does_not():
    def one_after_another():
        for _ in range(5):
            torch.ones(1000)

    assert peak_bytes(one_after_another) == 4000
    assert peak_bytes(lambda: [torch.ones(1000) for _ in range(5)]) == 20000


def test_what_was_there_before_does_not_count():
    before = torch.ones(100_000)
    assert peak_bytes(lambda: before[:1000].clone()) == 4000
    assert peak_bytes(lambda: None) == 0


def test_memory_inside_an_operation_counts():
    q = torch.ones(1, 1, 256, 16)
    fused = peak_bytes(lambda: F.scaled_dot_product_attention(q, q, q))
    assert fused > q.nbytes  # the result, and the operation's own working space


def test_the_profiler_writes_nothing_and_the_call_may(capfd):
    peak_bytes(lambda: os.write(2, b"from the call"))
    assert capfd.readouterr() == ("", "from the call")


def test_a_call_that_fails_is_told_and_the_next_one_measured():
    with pytest.raises(ZeroDivisionError):
        peak_bytes(lambda: 1 / 0)
    assert peak_bytes(lambda: torch.ones(10)) == 40
