"""Numbers in few bits: weights, activations and embeddings rounded to a grid (chapter 14)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def code_range(bits: int, symmetric: bool = True) -> tuple[int, int]:
    """The lowest and the highest code of so many bits.

    Symmetric: -(2^(bits-1) - 1) to 2^(bits-1) - 1, as many below 0 as above; else 0 to
    2^bits - 1. ValueError for bits that are not 1 to 8, or 1 for symmetric codes.

    >>> code_range(8), code_range(4), code_range(4, symmetric=False)
    ((-127, 127), (-7, 7), (0, 15))
    """
    least = 2 if symmetric else 1
    if type(bits) is not int or not least <= bits <= 8:
        kind = "symmetric codes" if symmetric else "codes from 0 up"
        raise ValueError(f"bits must be {least} to 8 for {kind}; got bits={bits!r}")
    if symmetric:
        highest = 2 ** (bits - 1) - 1
        return -highest, highest
    return 0, 2**bits - 1


def as_groups(x: Tensor, per: str | int) -> Tensor:
    """The numbers that share a scale, one group a row: (..., d) -> (groups, size).

    per: "tensor", all of them; "channel", each row of the last axis; a number, so many
    neighbours along the last axis. TypeError for integers; ValueError for no number at
    all, one that is not finite, and rows that the number does not divide.
    """
    if not x.is_floating_point():
        raise TypeError(f"floating-point numbers can be quantized; got {x.dtype}")
    if x.numel() == 0 or x.ndim == 0:
        raise ValueError(f"there is nothing to quantize in shape {tuple(x.shape)}")
    bad = x.numel() - int(x.isfinite().sum())
    if bad:
        raise ValueError(
            f"{bad} of {x.numel()} numbers are not finite: has it diverged?"
        )
    sizes = {"tensor": x.numel(), "channel": x.shape[-1]}
    size = sizes.get(per, per)
    if type(size) is not int or size < 1 or (per != "tensor" and x.shape[-1] % size):
        raise ValueError(
            'per must be "tensor", "channel" or a number that divides the last axis; '
            f"got per={per!r} for shape {tuple(x.shape)}"
        )
    return x.float().reshape(-1, size)


@dataclass(frozen=True)
class Quantized:
    """Numbers as codes on grids: x is nearly scale (codes - zero), group by group.

    codes: (groups, size), int8 or uint8; scale: (groups, 1), a tensor, or itself quantized;
    zero: (groups, 1), the code of 0, or None where that is 0; shape: that of x. With
    levels, a code c stands for levels[c] instead: x is nearly scale levels[codes].
    """

    codes: Tensor
    scale: "Tensor | Quantized"
    zero: Tensor | None
    bits: int
    shape: torch.Size
    levels: Tensor | None = None

    @property
    def scales(self) -> Tensor:
        """The scales as numbers, (groups, 1)."""
        if isinstance(self.scale, Quantized):
            return self.scale.dequantize()
        return self.scale.float()

    def dequantize(self) -> Tensor:
        """The numbers that the codes stand for, float32, in the shape of x."""
        if self.levels is not None:
            steps = self.levels[self.codes.int()]
        else:
            steps = self.codes.float()
        if self.zero is not None:
            steps = steps - self.zero.float()
        return (self.scales * steps).reshape(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes to store: codes and zeros packed tightly, and the scales as they are kept."""
        zeros = 0 if self.zero is None else self.zero.numel()
        packed = sum(math.ceil(n * self.bits / 8) for n in (self.codes.numel(), zeros))
        if isinstance(self.scale, Quantized):
            return packed + self.scale.n_bytes
        return packed + self.scale.numel() * self.scale.element_size()

    @property
    def bits_per_weight(self) -> float:
        """All bits that are stored, for each number of x."""
        return 8 * self.n_bytes / self.codes.numel()


def keep_float(scale: Tensor) -> Tensor:
    """Scales as float32; 0, of a group of zeros, becomes the smallest number."""
    return scale.clamp(min=torch.finfo(torch.float32).tiny)


def keep_half(scale: Tensor) -> Tensor:
    """Scales as float16, rounded up, so that the largest of a group still has a code.

    ValueError above 65504, the largest float16: keep=keep_float.
    """
    kept = scale.clamp(min=2.0**-24).half()  # the smallest float16 above 0
    low = kept.float() < scale
    kept = (kept.view(torch.int16) + low).view(torch.float16)  # the next number up
    if kept.isinf().any():
        raise ValueError(
            f"a scale of {scale.max():.3g} is too large for float16: give keep=keep_float"
        )
    return kept


def kept_scales(scale: "Tensor | Quantized") -> Tensor:
    """The scales as they will be read, float32."""
    return scale.dequantize() if isinstance(scale, Quantized) else scale.float()


def absmax_scale(groups: Tensor, bits: int, clip: float = 1.0) -> Tensor:
    """The step at which the largest number gets the highest code: (groups, 1).

    s = clip max|x| / (2^(bits-1) - 1). With clip below 1, what is larger is cut off.
    """
    return clip * groups.abs().amax(dim=1, keepdim=True) / code_range(bits)[1]


def affine_scale(groups: Tensor, bits: int, clip: float = 1.0) -> tuple[Tensor, Tensor]:
    """The step from the smallest to the largest number, and where the smallest lies.

    s = (hi - lo) / (2^bits - 1), with lo at most 0 and hi at least 0, so that 0 has a
    code: else [5, 6] would have a zero point that no code can hold. Both (groups, 1).
    """
    low = clip * groups.amin(dim=1, keepdim=True).clamp(max=0)
    high = clip * groups.amax(dim=1, keepdim=True).clamp(min=0)
    return (high - low) / code_range(bits, symmetric=False)[1], low


def to_codes(groups: Tensor, scale: Tensor, zero: Tensor | None, bits: int) -> Tensor:
    """The nearest code of each number: clip(round(x / s) + z). Ties go to the even one."""
    low, high = code_range(bits, symmetric=zero is None)
    codes = (groups / scale).round_()
    if zero is not None:
        codes += zero.float()
    return codes.clamp_(low, high).to(torch.int8 if zero is None else torch.uint8)


def quantize(
    x: Tensor,
    bits: int,
    *,
    per: str | int = "channel",
    symmetric: bool = True,
    clip: float = 1.0,
    keep: Callable[[Tensor], "Tensor | Quantized"] = keep_half,
) -> Quantized:
    """Each number as a code of so many bits, on a grid that its group shares.

    per: what shares a scale, as for as_groups; symmetric: absmax, else affine, with a
    zero point; clip: how much of the range is kept; keep: how scales are stored. The
    error is at most half a step where clip is 1. x: (..., d). TypeError and ValueError
    as for code_range, as_groups and keep.

    >>> quantize(torch.tensor([[0.1827, -1.9432], [2.7181, 0.0049]]), 8, per="tensor").codes
    tensor([[  9, -91, 127,   0]], dtype=torch.int8)
    """
    groups = as_groups(x, per)
    if not 0 < clip <= 1:
        raise ValueError(f"clip must be above 0 and at most 1; got clip={clip}")
    if symmetric:
        scale, zero = keep(absmax_scale(groups, bits, clip)), None
    else:
        step, low = affine_scale(groups, bits, clip)
        scale = keep(step)
        highest = code_range(bits, symmetric=False)[1]
        zero = (-low / kept_scales(scale)).round().clamp(0, highest).to(torch.uint8)
    codes = to_codes(groups, kept_scales(scale), zero, bits)
    return Quantized(codes, scale, zero, bits, x.shape)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes from 0 to 2^bits - 1 side by side in bytes, the lowest bit first: uint8.

    codes: any shape -> (ceil(bits number / 8),). Zeros fill the last byte. ValueError
    for bits that are not 1 to 8, and a code that does not fit.

    >>> pack(torch.tensor([1, 2, 3, 0]), bits=2)  # 1 + 4 * 2 + 16 * 3
    tensor([57], dtype=torch.uint8)
    """
    high = code_range(bits, symmetric=False)[1]
    codes = codes.flatten()
    if len(codes) and not 0 <= codes.min() <= codes.max() <= high:
        raise ValueError(
            f"codes of {bits} bits are 0 to {high}; got {codes.min()} to {codes.max()}"
        )
    places = torch.arange(8, dtype=torch.uint8, device=codes.device)
    ones = (codes.to(torch.uint8)[:, None] >> places[:bits]) & 1
    ones = torch.nn.functional.pad(ones.flatten(), (0, -ones.numel() % 8))
    return (ones.reshape(-1, 8) << places).sum(dim=1, dtype=torch.uint8)


def unpack(packed: Tensor, bits: int, n: int) -> Tensor:
    """The first n codes of so many bits in packed bytes: uint8, (n,).

    ValueError for bits that are not 1 to 8, and where there are fewer than n codes.

    >>> unpack(torch.tensor([57], dtype=torch.uint8), bits=2, n=4)
    tensor([1, 2, 3, 0], dtype=torch.uint8)
    """
    code_range(bits, symmetric=False)
    if n * bits > 8 * len(packed):
        raise ValueError(f"{len(packed)} bytes hold less than {n} codes of {bits} bits")
    places = torch.arange(8, dtype=torch.uint8, device=packed.device)
    ones = ((packed[:, None] >> places) & 1).flatten()[: n * bits].reshape(n, bits)
    return (ones << places[:bits]).sum(dim=1, dtype=torch.uint8)
