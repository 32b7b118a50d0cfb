"""Numbers in few bits: weights, activations and embeddings rounded to a grid (chapter 14)."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tfcourse.block import Residual
from tfcourse.embedding import Embedding
from tfcourse.gpt import GPT

TINY = torch.finfo(torch.float32).tiny  # in place of a scale of 0, of a group of zeros


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
    scale: Tensor | Self
    zero: Tensor | None
    bits: int
    shape: torch.Size
    levels: Tensor | None = None

    @property
    def scales(self) -> Tensor:
        """The scales as numbers, (groups, 1)."""
        return kept_scales(self.scale)

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
    return scale.clamp(min=TINY)


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


def kept_scales(scale: Tensor | Quantized) -> Tensor:
    """The scales as they will be read, float32."""
    return scale.dequantize() if isinstance(scale, Quantized) else scale.float()


def absmax_scale(groups: Tensor, bits: int, clip: float | Tensor = 1.0) -> Tensor:
    """The step at which the largest number gets the highest code: (groups, 1).

    s = clip max|x| / (2^(bits-1) - 1). With clip below 1, what is larger is cut off.
    """
    return clip * groups.abs().amax(dim=1, keepdim=True) / code_range(bits)[1]


def affine_scale(
    groups: Tensor, bits: int, clip: float | Tensor = 1.0
) -> tuple[Tensor, Tensor]:
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
    codes = (groups / scale.clamp(min=TINY)).round_()
    if zero is not None:
        codes += zero.float()
    return codes.clamp_(low, high).to(torch.int8 if zero is None else torch.uint8)


def quantize(
    x: Tensor,
    bits: int,
    *,
    per: str | int = "channel",
    symmetric: bool = True,
    clip: float | Tensor = 1.0,
    keep: Callable[[Tensor], Tensor | Quantized] = keep_half,
) -> Quantized:
    """Each number as a code of so many bits, on a grid that its group shares.

    per: what shares a scale, as for as_groups; symmetric: absmax, else affine, with a
    zero point; clip: how much of the range is kept, one number or one for each group, as
    best_clip finds; keep: how scales are stored. The error is at most half a step where clip is 1. x: (..., d). TypeError and ValueError
    as for code_range, as_groups and keep.

    >>> quantize(torch.tensor([[0.1827, -1.9432], [2.7181, 0.0049]]), 8, per="tensor").codes
    tensor([[  9, -91, 127,   0]], dtype=torch.int8)
    """
    groups = as_groups(x, per)
    if not ((torch.as_tensor(clip) > 0) & (torch.as_tensor(clip) <= 1)).all():
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
    ones = F.pad(ones.flatten(), (0, -ones.numel() % 8))
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
    if 8 % bits == 0:  # no code lies in two bytes: quicker
        return (packed[:, None] >> places[::bits] & 2**bits - 1).flatten()[:n]
    ones = ((packed[:, None] >> places) & 1).flatten()[: n * bits].reshape(n, bits)
    return (ones << places[:bits]).sum(dim=1, dtype=torch.uint8)


class Packed(nn.Module):
    """A Quantized as the bytes that are stored: its buffers are packed, on disk and here.

    Called without anything  ->  the Quantized. Codes below 0 are moved up by 2^(bits-1).
    """

    def __init__(self, q: Quantized):
        super().__init__()
        self.bits, self.shape, self.sizes = q.bits, q.shape, q.codes.shape
        self.lift = 2 ** (q.bits - 1) if q.codes.dtype == torch.int8 else 0
        self.register_buffer("codes", pack(q.codes.short() + self.lift, q.bits))
        zero = None if q.zero is None else pack(q.zero, q.bits)
        self.register_buffer("zero", zero)
        self.register_buffer("levels", q.levels, persistent=False)  # of the format
        if isinstance(q.scale, Quantized):
            self.scale = Packed(q.scale)
        else:
            self.register_buffer("scale", q.scale)

    def forward(self) -> Quantized:
        groups, size = self.sizes
        codes = unpack(self.codes, self.bits, groups * size).reshape(groups, size)
        if self.lift:
            codes = (codes.short() - self.lift).to(torch.int8)
        zero = self.zero
        if zero is not None:
            zero = unpack(zero, self.bits, groups)[:, None]
        scale = self.scale() if isinstance(self.scale, Packed) else self.scale
        return Quantized(codes, scale, zero, self.bits, self.shape, self.levels)


class QuantizedLinear(nn.Module):
    """A linear layer whose matrix is kept in few bits, and made anew for each use.

    Called with x: (..., in)  ->  (..., out): x Wᵀ + bias. Saves memory, and no time.
    """

    def __init__(self, q: Quantized, bias: Tensor | None = None):
        super().__init__()
        self.packed = Packed(q)
        self.register_buffer("bias", bias)

    @property
    def weight(self) -> Tensor:
        return self.packed().dequantize()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class QuantizedEmbedding(nn.Module):
    """An embedding, and the scores by the same matrix, kept in few bits.

    Called with ids: (...)  ->  (..., d); unembed: (..., d)  ->  (..., n).
    """

    def __init__(self, q: Quantized):
        super().__init__()
        self.packed = Packed(q)

    @property
    def weight(self) -> Tensor:
        return self.packed().dequantize()

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight)

    def unembed(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


def replaced(model: GPT, make: Callable[[str, nn.Module], nn.Module | None]) -> GPT:
    """A copy in which each linear layer and the embedding gave way to another module.

    make: (name, module) -> the new one, or None, which leaves it.
    """
    model = deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear | Embedding):
            new = make(name, module)
            if new is not None:
                model.set_submodule(name, new)
    return model


def quantize_model(model: GPT, how: Callable[[str, Tensor], Quantized | None]) -> GPT:
    """A copy of a model with its matrices in few bits; norms stay as they are.

    how: (name, matrix) -> Quantized, such as lambda name, w: quantize(w, 4, per=64), or
    None for a matrix that is to stay. The model is not changed.
    """

    def make(name: str, module: nn.Module) -> nn.Module | None:
        q = how(name, module.weight.detach())
        if q is None:
            return None
        if isinstance(module, Embedding):
            return QuantizedEmbedding(q)
        return QuantizedLinear(q, None if module.bias is None else module.bias.detach())

    return replaced(model, make)


def stored_bytes(model: nn.Module) -> int:
    """Bytes of all that a model has to store: its parameters, codes and scales."""
    return sum(tensor.nbytes for tensor in model.state_dict().values())


CLIPS = tuple(1 - i / 20 for i in range(13))  # 1, 0.95 and so on to 0.4


def best_clip(
    x: Tensor, bits: int, per: str | int, ratios: Sequence[float] = CLIPS, **options
) -> Tensor:
    """For each group the clip that makes its mean square error least: (groups, 1).

    options: what quantize takes besides.
    """
    errors = []
    for ratio in ratios:
        back = quantize(x, bits, per=per, clip=ratio, **options).dequantize()
        errors.append(as_groups(back - x, per).square().sum(dim=1))
    best = torch.stack(errors).argmin(dim=0)
    return torch.tensor(ratios, device=x.device)[best][:, None]


def sign_bits(x: Tensor) -> Tensor:
    """One bit for each number, 1 where it is above 0: (n, d) -> (n, d / 8) bytes.

    ValueError where 8 does not divide d.
    """
    if x.ndim != 2 or x.shape[1] % 8:
        raise ValueError(f"rows must be of 8, 16, ... numbers; got {tuple(x.shape)}")
    return pack(x > 0, 1).reshape(len(x), -1)


ONES = torch.tensor([byte.bit_count() for byte in range(256)], dtype=torch.int16)


def hamming(a: Tensor, b: Tensor) -> Tensor:
    """In how many bits rows of bytes differ: (n, bytes), (m, bytes) -> (n, m)."""
    return ONES.to(a.device)[(a[:, None] ^ b).int()].sum(dim=-1)


def recall(found: Tensor, wanted: Tensor) -> float:
    """How much of what was wanted was found: (n, j), (n, k) -> a share from 0 to 1.

    >>> recall(torch.tensor([[4, 7, 1]]), torch.tensor([[1, 2]]))
    0.5
    """
    return (wanted[:, :, None] == found[:, None]).any(dim=-1).float().mean().item()


def principal_axes(x: Tensor) -> Tensor:
    """The directions in which rows spread, the widest first: (n, d) -> (d, d) columns.

    Source: Pearson (1901); the mean is taken off before.
    """
    return torch.linalg.svd(x - x.mean(dim=0), full_matrices=False).Vh.T


def row_codes(x: Tensor, bits: int = 8) -> tuple[Tensor, Tensor]:
    """Activations as codes, with a step of its own for each row: (m, k), (m, 1).

    What quantize(x, bits) does per channel, in as few operations as there are, since it
    happens at every call.
    """
    highest = code_range(bits)[1]
    scale = x.abs().amax(dim=1, keepdim=True).div_(highest).clamp_(min=TINY)
    return (x / scale).round_().to(torch.int8), scale


def integer_product(a: Tensor, b: Tensor) -> Tensor:
    """Whole numbers multiplied and summed exactly: int8 (m, k), (n, k) -> int32 (m, n).

    A processor with an instruction for bytes (VNNI) uses it. For others floats are faster,
    and as exact: 1024 products of at most 2^14 sum up to at most 2^24, and float32 holds
    each whole number up to there. TypeError for other numbers than int8.
    """
    if not a.dtype == b.dtype == torch.int8:
        raise TypeError(f"both sides must be int8; got {a.dtype} and {b.dtype}")
    if a.device.type == "cpu" and torch.cpu._is_vnni_supported():
        return torch._int_mm(a, b.T)
    parts = zip(a.split(1024, dim=1), b.split(1024, dim=1), strict=True)
    return sum(F.linear(left.float(), right.float()).int() for left, right in parts)


class IntegerLinear(nn.Module):
    """A linear layer that multiplies whole numbers: int8 by int8, summed in int32.

    weight: (out, in), kept per channel in weight_bits; bits: of the activations, which are
    rounded row by row as they come; apart: the numbers of the columns that stay in
    floating point. Called with x: (..., in)  ->  (..., out).
    Source: Dettmers et al. (2022), section 3.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        bits: int = 8,
        weight_bits: int = 8,
        apart: Tensor | None = None,
    ):
        super().__init__()
        code_range(bits)
        self.bits, columns = bits, None
        if apart is not None and len(apart):
            columns, weight = weight[:, apart], weight.index_fill(1, apart, 0.0)
        q = quantize(weight, weight_bits)
        self.register_buffer("codes", q.codes)
        self.register_buffer("scale", q.scales.flatten())
        self.register_buffer("bias", bias)
        self.register_buffer("apart", apart)
        self.register_buffer("columns", columns)

    def forward(self, x: Tensor) -> Tensor:
        rows, extra = x.flatten(0, -2), self.bias
        if self.columns is not None:
            extra = F.linear(rows[:, self.apart], self.columns, self.bias)
            rows = rows.index_fill(1, self.apart, 0.0)
        codes, steps = row_codes(rows, self.bits)
        out = integer_product(codes, self.codes).float().mul_(steps).mul_(self.scale)
        if extra is not None:
            out += extra
        return out.unflatten(0, x.shape[:-1])


@dataclass(frozen=True)
class Inputs:
    """What came into a linear layer: of each channel the largest and the mean size.

    largest, mean: (d,), of |x|; gram: (d, d), the mean of x xᵀ.
    """

    largest: Tensor
    mean: Tensor
    gram: Tensor


@torch.no_grad()
def calibrate(model: GPT, ids: Tensor) -> dict[str, Inputs]:
    """What comes into each linear layer when the model reads ids, (b, t), by its name."""
    found, hooks = {}, []

    def watch(name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple, out: Tensor) -> None:
            x = inputs[0].flatten(0, -2)
            size = x.abs()
            found[name] = Inputs(size.amax(dim=0), size.mean(dim=0), x.T @ x / len(x))

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            hooks.append(module.register_forward_hook(watch(name)))
    model(ids)
    for hook in hooks:
        hook.remove()
    return found


def output_error(error: Tensor, gram: Tensor) -> float:
    """The mean square of what an error (out, in) in a matrix does to its outputs.

    The mean of |E x|² over the inputs x is the sum of (E gram) E.
    """
    return ((error @ gram) * error).sum().item()


def fed_by_norms(model: GPT) -> dict[str, tuple[nn.Module, nn.Linear]]:
    """The linear layers that a norm hands its output to, by name, and that norm."""
    names = {module: name for name, module in model.named_modules()}
    pairs = {}
    for residual in model.modules():
        if isinstance(residual, Residual):
            layers = (m for m in residual.module.modules() if isinstance(m, nn.Linear))
            first = next(layers)
            pairs[names[first]] = residual.norm, first
    return pairs


@torch.no_grad()
def rescaled(model: GPT, scales: Mapping[str, Tensor]) -> GPT:
    """The same function with other numbers: channels divided by s, columns times s.

    scales: {name of a linear layer after a norm: s, (d,)}. The norm's gain (and bias) is
    divided by s, the matrix's columns are multiplied by it. A copy. KeyError for another
    name.
    """
    model = deepcopy(model)
    pairs = fed_by_norms(model)
    for name, s in scales.items():
        norm, linear = pairs[name]
        norm.gain /= s
        if getattr(norm, "bias", None) is not None:
            norm.bias /= s
        linear.weight *= s
    return model


def smooth_scales(inputs: Inputs, weight: Tensor, alpha: float = 0.5) -> Tensor:
    """What to divide the channels by so that both sides have about equal ranges: (d,).

    s = max|x|^alpha / max|w|^(1 - alpha). Source: Xiao et al. (2023), equation 4.
    """
    columns = weight.abs().amax(dim=0).clamp(min=1e-5)
    return (inputs.largest.clamp(min=1e-5) ** alpha) / columns ** (1 - alpha)


ALPHAS = tuple(i / 10 for i in range(10))


def awq_scales(
    inputs: Inputs,
    weight: Tensor,
    quantizer: Callable[[Tensor], Quantized],
    alphas: Sequence[float] = ALPHAS,
) -> Tensor:
    """What to multiply the columns by, so that those that matter are rounded finer: (d,).

    s = mean|x|^alpha, with the alpha of least output_error, 0 among them. Source: Lin et
    al. (2024), section 3.2.
    """
    best, least = torch.ones_like(inputs.mean), math.inf
    for alpha in alphas:
        s = inputs.mean.clamp(min=1e-5) ** alpha
        s = s / (s.max() * s.min()).sqrt()
        error = quantizer(weight * s).dequantize() / s - weight
        loss = output_error(error, inputs.gram)
        if loss < least:
            best, least = s, loss
    return best


def joined(parts: Sequence[Quantized], shape: torch.Size) -> Quantized:
    """Column groups of one matrix, in order, as one Quantized."""
    zeros = [q.zero for q in parts if q.zero is not None]
    codes, scale, zero = (
        torch.stack(each, dim=1).flatten(0, 1) if each else None
        for each in ([q.codes for q in parts], [q.scale for q in parts], zeros)
    )
    return Quantized(codes, scale, zero, parts[0].bits, shape)


def gptq(
    weight: Tensor,
    gram: Tensor,
    quantizer: Callable[[Tensor], Quantized],
    *,
    group: int | None = None,
    damping: float = 0.01,
) -> Quantized:
    """Columns rounded one after the other; what one loses, the later ones make up for.

    weight: (out, in); gram: (in, in), of its inputs; quantizer: finds the scales, per
    channel, of each group of columns when its turn comes, of all at once unless group is
    given; damping: a share of the mean of the diagonal, added to it. Source: Frantar et
    al. (2023), section 4. ValueError where the scales are not per channel.
    """
    left, (n_out, n_in) = weight.clone(), weight.shape
    size = n_in if group is None else group
    gram = gram + damping * gram.diagonal().mean() * torch.eye(n_in, device=gram.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    upper = torch.linalg.cholesky(inverse, upper=True)
    parts = []
    for start in range(0, n_in, size):
        q = quantizer(left[:, start : start + size])  # for its scales
        if len(q.codes) != n_out:
            raise ValueError('gptq needs the scales of rows: per="channel"')
        codes = q.codes.clone()
        for j in range(start, start + codes.shape[1]):
            column = left[:, j : j + 1].clone()
            rounded = to_codes(column, q.scales, q.zero, q.bits)
            codes[:, j - start : j - start + 1] = rounded
            lost = column - replace(q, codes=rounded, shape=column.shape).dequantize()
            left[:, j:] -= lost / upper[j, j] * upper[j, j:]
        parts.append(replace(q, codes=codes))
    return joined(parts, weight.shape)


def float_line(exponent_bits: int, mantissa_bits: int, largest: float) -> Tensor:
    """All numbers of a small floating-point format up to the largest, in order.

    +-2^(e - bias) (1 + m / 2^mantissa_bits), and below the smallest exponent evenly to 0;
    bias = 2^(exponent_bits - 1) - 1. -0 and 0 are one number.

    >>> float_line(2, 1, largest=6.0)[7:].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    """
    steps, bias = 2**mantissa_bits, 2 ** (exponent_bits - 1) - 1
    m = torch.arange(steps) / steps
    least = 2.0 ** (1 - bias)
    normal = [2.0 ** (e - bias) * (1 + m) for e in range(1, 2**exponent_bits)]
    line = torch.cat([least * m, *normal])
    line = line[line <= largest]
    return torch.cat([-line[1:].flip(0), line])


E4M3 = float_line(4, 3, largest=448.0)
E5M2 = float_line(5, 2, largest=57_344.0)
E2M1 = float_line(2, 1, largest=6.0)


def normal_line(bits: int = 4) -> Tensor:
    """2^bits numbers from -1 to 1, as dense as a normal distribution; 0 is one of them.

    Quantiles at even distances, one more above 0 than below. Source: Dettmers et al.
    (2023), section 3.
    """
    half = 2 ** (bits - 1)
    outer = 1 - (1 / (4 * half) + 1 / (4 * half - 2)) / 2
    below, above = (
        torch.special.ndtri(torch.linspace(outer, 0.5, n + 1, dtype=torch.float64)[:-1])
        for n in (half - 1, half)
    )
    line = torch.cat([-below, torch.zeros(1), above.flip(0)])
    return (line / line.max()).float()


def quantize_to(
    x: Tensor,
    levels: Tensor,
    *,
    per: str | int = "channel",
    keep: Callable[[Tensor], Tensor | Quantized] = keep_half,
) -> Quantized:
    """Each number as the nearest of some levels, which need not be evenly spaced.

    levels: in order; the largest of a group gets the last. bits: as many as number all
    levels. x: (..., d), per and keep: as for quantize.
    """
    groups = as_groups(x, per)
    levels = levels.to(x.device)
    scale = keep(groups.abs().amax(dim=1, keepdim=True) / levels[-1])
    middles = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(groups / kept_scales(scale).clamp(min=TINY), middles)
    bits = (len(levels) - 1).bit_length()
    return Quantized(codes.to(torch.uint8), scale, None, bits, x.shape, levels)


def keep_power(scale: Tensor) -> Tensor:
    """Scales as powers of two, rounded up: one byte, which holds the exponent (E8M0)."""
    return torch.exp2(scale.clamp(min=2.0**-126).log2().ceil()).to(torch.float8_e8m0fnu)


def keep_e4m3(scale: Tensor) -> Quantized:
    """Scales in the eight bits of E4M3, with one float32 scale for all of them."""
    return quantize_to(scale, E4M3, per="tensor", keep=keep_float)


def keep_byte(scale: Tensor) -> Quantized:
    """Scales that are themselves quantized to a byte, with one float32 scale for all."""
    return quantize(scale, 8, per="tensor", symmetric=False, keep=keep_float)


def ternary(weight: Tensor) -> Quantized:
    """Each weight as -1, 0 or 1, times the mean size of all: two bits as stored here.

    Source: Ma et al. (2024), section 2.
    """
    groups = as_groups(weight, "tensor")
    scale = keep_half(groups.abs().mean(dim=1, keepdim=True))
    codes = to_codes(groups, scale.float(), None, bits=2)
    return Quantized(codes, scale, None, 2, weight.shape)


def straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """The rounded numbers, with the gradient of those that were not rounded.

    Source: Bengio, Léonard and Courville (2013).
    """
    return x + (rounded - x).detach()


class TernaryLinear(nn.Linear):
    """A linear layer that is trained while it computes with -1, 0 and 1.

    Called with x: (..., in)  ->  (..., out). The weight stays a float, and learns.
    """

    def forward(self, x: Tensor) -> Tensor:
        rounded = ternary(self.weight.detach()).dequantize()
        return F.linear(x, straight_through(self.weight, rounded), self.bias)


def make_ternary(model: GPT) -> GPT:
    """A copy whose linear layers compute with -1, 0 and 1; the embedding stays."""

    def make(name: str, module: nn.Module) -> nn.Module | None:
        if isinstance(module, Embedding):
            return None
        n_out, n_in = module.weight.shape
        new = TernaryLinear(n_in, n_out, bias=module.bias is not None)
        new.load_state_dict(module.state_dict())
        return new

    return replaced(model, make)
