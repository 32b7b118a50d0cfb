"""tfcourse.data.packed: how far eight bits are off, and what the file holds."""

import pytest
import torch

from tests.parity import refused, seeded
from tfcourse.data.packed import packed, quantized, unpacked


def test_no_weight_is_further_off_than_half_a_unit_of_its_row():
    weight = torch.randn(7, 33, generator=seeded())
    weight *= torch.logspace(-4, 4, 7)[:, None]
    codes, scales = quantized(weight)
    assert (codes.dtype, scales.dtype) == (torch.int8, torch.float32)
    off = (codes * scales[:, None] - weight).abs()
    assert (off <= scales[:, None] * 0.50001).all()
    assert off.max() > 0
    assert codes.abs().amax(dim=1).tolist() == [127] * 7  # every row uses its range
    torch.testing.assert_close(scales * 127, weight.abs().amax(dim=1))


def test_the_largest_of_a_row_keeps_its_sign_and_zeros_stay_zeros():
    codes, scales = quantized(torch.tensor([[-3.0, 1.0], [0.0, 0.0], [2.0, -0.004]]))
    assert codes.tolist() == [[-127, 42], [0, 0], [127, 0]]
    assert scales[1] == 0


@pytest.mark.parametrize(
    "weight", [torch.ones(3), torch.ones(1, 2, 2), torch.tensor([[1.0, torch.nan]])]
)
def test_what_is_no_matrix_of_numbers_is_refused(weight):
    refused(lambda: quantized(weight), "a matrix of finite numbers")


def test_a_file_gives_back_what_was_packed_and_is_the_same_again():
    tensors = {
        "wide": torch.randn(3, 5, generator=seeded()).bfloat16(),
        "gain": torch.randn(5, generator=seeded()),
    }
    about = {"words": ["é", 'a "b"'], "width": 5}
    content = packed(tensors, about)
    assert content == packed(dict(reversed(tensors.items())), about)
    found, told = unpacked(content)
    assert told == about
    assert set(found) == set(tensors)
    torch.testing.assert_close(found["gain"], tensors["gain"], rtol=0, atol=0)
    codes, scales = quantized(tensors["wide"])
    torch.testing.assert_close(found["wide"], codes * scales[:, None], rtol=0, atol=0)
    assert len(content) < 400
