"""tfcourse.quantization: codes, true bytes, and what is lost, to half a step."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parity import random, refused, seeded
from tfcourse.quantization import (
    Quantized,
    code_range,
    keep_float,
    keep_half,
    pack,
    quantize,
    unpack,
)

PERS = ["tensor", "channel", 8]
EXAMPLE = torch.tensor([[0.1827, -1.9432], [2.7181, 0.0049]])


def drawn(*shape, seed=0):
    return random(*shape, seed=seed, dtype=torch.float32)


# Codes and steps


def test_the_example_by_hand():
    by_hundredths = (EXAMPLE / 0.01).round()
    assert by_hundredths.tolist() == [[18, -194], [272, 0]]
    q = quantize(EXAMPLE, 8, per="tensor")
    assert q.codes.tolist() == [[9, -91, 127, 0]]
    assert q.shape == EXAMPLE.shape == q.dequantize().shape


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 8),
    st.sampled_from(PERS),
    st.booleans(),
    st.sampled_from([keep_half, keep_float]),
    st.floats(-12, 12),
    st.floats(-3, 3),
    st.integers(0, 1000),
)
def test_no_number_is_off_by_more_than_half_a_step(
    bits, per, symmetric, keep, exponent, shift, seed
):
    x = (drawn(5, 24, seed=seed) + shift) * 2**exponent
    q = quantize(x, bits, per=per, symmetric=symmetric, keep=keep)
    steps = q.scales.expand(q.codes.shape).reshape(x.shape)
    assert ((q.dequantize() - x).abs() <= steps * 0.5 * (1 + 1e-4)).all()
    low, high = code_range(bits, symmetric)
    assert low <= q.codes.min() <= q.codes.max() <= high


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per", PERS)
def test_zeros_come_back_as_zeros(per, symmetric):
    x = torch.zeros(3, 16)
    x[0, :8] = drawn(8)
    back = quantize(x, 4, per=per, symmetric=symmetric).dequantize()
    assert torch.equal(back[x == 0], torch.zeros(40))


def test_a_range_without_zero_is_extended_to_it():
    x = torch.tensor([[5.0, 6.0]])
    q = quantize(x, 8, symmetric=False)
    assert q.zero.item() == 0
    assert ((q.dequantize() - x).abs() <= 6 / 255 / 2 + 1e-4).all()
    below = quantize(-x, 8, symmetric=False)
    assert below.zero.item() == 255
    assert ((below.dequantize() + x).abs() <= 6 / 255 / 2 + 1e-4).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_per_channel_equals_fake_quantization_of_pytorch(bits):
    x = drawn(7, 40)
    for symmetric in (True, False):
        q = quantize(x, bits, symmetric=symmetric, keep=keep_float)
        zero = torch.zeros(7) if q.zero is None else q.zero.flatten().float()
        theirs = torch.fake_quantize_per_channel_affine(
            x, q.scales.flatten(), zero, 0, *code_range(bits, symmetric)
        )
        torch.testing.assert_close(q.dequantize(), theirs, rtol=1e-6, atol=0)


def test_a_group_shares_its_scale_with_nobody():
    x = drawn(4, 24)
    changed = x.clone()
    changed[1, 8:16] *= 100
    before, after = (quantize(each, 4, per=8) for each in (x, changed))
    same = torch.arange(12) != 4
    assert torch.equal(before.codes[same], after.codes[same])
    assert torch.equal(before.scale[same], after.scale[same])
    assert before.scale[4] != after.scale[4]


def test_clipping_cuts_the_largest_and_makes_smaller_steps():
    x = drawn(1, 1000)
    whole, cut = quantize(x, 4), quantize(x, 4, clip=0.5)
    torch.testing.assert_close(cut.scales, whole.scales / 2, rtol=2e-3, atol=0)
    top = 0.5 * x.abs().max()
    torch.testing.assert_close(cut.dequantize().max(), top, rtol=2e-3, atol=0)


@settings(deadline=None, max_examples=60)
@given(st.floats(2**-24, 60_000))
def test_scales_are_rounded_up_and_not_far(scale):
    scale = torch.tensor([[scale]])
    kept = keep_half(scale).float()
    assert scale <= kept <= scale * (1 + 2**-10) + 2**-24


# Bytes


def test_the_true_bits_of_a_weight():
    x = drawn(64, 256)
    assert quantize(x, 4, per=32).bits_per_weight == 4.5
    assert quantize(x, 4, per=32, symmetric=False).bits_per_weight == 4.625
    assert quantize(x, 8, per="channel").bits_per_weight == 8 + 16 / 256
    assert quantize(x, 2, per=64, keep=keep_float).bits_per_weight == 2.5


def test_bytes_and_error_on_gaussian_weights():
    x = drawn(512, 512)
    q8, q4 = quantize(x, 8), quantize(x, 4, per=64)
    assert q8.n_bytes <= 0.27 * 4 * x.numel()
    assert q4.n_bytes <= 0.15 * 4 * x.numel()
    largest = x.abs().amax(dim=1, keepdim=True)
    assert ((q8.dequantize() - x).abs() <= 0.005 * largest).all()
    assert 0.005 < (q8.dequantize() - x).norm() / x.norm() < 0.008


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 8), st.integers(1, 70), st.integers(0, 1000))
def test_packing_loses_nothing_and_wastes_nothing(bits, n, seed):
    codes = torch.randint(2**bits, (n,), generator=seeded(seed), dtype=torch.uint8)
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8
    assert len(packed) == math.ceil(n * bits / 8)
    assert torch.equal(unpack(packed, bits, n), codes)


# What cannot be


@pytest.mark.parametrize(
    ("x", "options", "says"),
    [
        (torch.empty(0, 4), {}, "nothing to quantize in shape (0, 4)"),
        (torch.tensor([[1.0, math.nan]]), {}, "1 of 2 numbers are not finite"),
        (torch.tensor([[1.0, math.inf]]), {}, "1 of 2 numbers are not finite"),
        (EXAMPLE, {"per": 3}, "per=3 for shape (2, 2)"),
        (EXAMPLE, {"per": 4}, "per=4 for shape (2, 2)"),
        (EXAMPLE, {"per": "row"}, "per='row'"),
        (EXAMPLE, {"clip": 0}, "clip=0"),
        (EXAMPLE * 1e8, {}, "keep=keep_float"),
    ],
)
def test_what_cannot_be_quantized_is_refused(x, options, says):
    refused(lambda: quantize(x, 8, **options), says)


def test_integers_and_strange_bits_are_refused():
    with pytest.raises(TypeError, match="torch.int64"):
        quantize(torch.arange(4), 8)
    refused(lambda: quantize(EXAMPLE, 9), "bits=9")
    refused(lambda: quantize(EXAMPLE, 1), "bits=1")
    refused(lambda: pack(torch.tensor([4]), 2), "codes of 2 bits are 0 to 3; got 4")
    refused(lambda: pack(torch.tensor([-1]), 2), "got -1")
    refused(lambda: unpack(torch.zeros(1, dtype=torch.uint8), 2, 5), "less than 5")


def test_nothing_changes_its_input():
    x = drawn(4, 16)
    before = x.clone()
    q = quantize(x, 4, per=8, symmetric=False)
    codes = q.codes.clone()
    q.dequantize(), pack(q.codes, 4)
    assert torch.equal(x, before) and torch.equal(q.codes, codes)
    assert isinstance(q, Quantized)
