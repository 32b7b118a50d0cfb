"""Vector quantization: keys and values in a few bits, by turning them first (chapter 15)."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tfcourse.kv_cache import require_fit
from tfcourse.quantization import pack, unpack


def require_vectors(x: Tensor, d: int) -> None:
    """ValueError for no vectors, another width than d, or numbers that are not finite."""
    if x.ndim < 1 or x.shape[-1] != d:
        raise ValueError(
            f"vectors must have d={d} coordinates; got shape {tuple(x.shape)}"
        )
    if not x.numel():
        raise ValueError(f"there is nothing to quantize; got shape {tuple(x.shape)}")
    if not x.isfinite().all():
        raise ValueError(f"{(~x.isfinite()).sum()} of the numbers are not finite")


def half(x: Tensor) -> Tensor:
    """The numbers in 16 bits. ValueError where one is too large for float16.

    >>> half(torch.tensor([0.1])).item()
    0.0999755859375
    """
    kept = x.half()
    if kept.isinf().any():
        raise ValueError(
            f"{x.abs().max():.3g} is too large for float16 (65504 at most)"
        )
    return kept


def pack_rows(codes: Tensor, bits: int) -> Tensor:
    """The codes of each row in bytes of their own: (..., n)  ->  (..., bytes), uint8.

    >>> pack_rows(torch.tensor([[1, 2, 3], [0, 1, 0]]), bits=2).tolist()
    [[57], [4]]
    """
    rows = torch.nn.functional.pad(codes, (0, -codes.shape[-1] % 8))  # to whole bytes
    packed = pack(rows, bits).reshape(*codes.shape[:-1], -1)
    return packed[..., : math.ceil(codes.shape[-1] * bits / 8)]


def unpack_rows(packed: Tensor, bits: int, n: int) -> Tensor:
    """The n codes of each row: (..., bytes)  ->  (..., n), uint8."""
    whole = torch.nn.functional.pad(packed, (0, -packed.shape[-1] % bits))
    codes = unpack(whole.flatten(), bits, whole.numel() * 8 // bits)
    return codes.reshape(*packed.shape[:-1], -1)[..., :n]


def to_grid(groups: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes that count steps up from the smallest number of each group.

    (..., size)  ->  codes, the same; low and step, (..., 1) in float16. Low itself is
    kept, so that a group far from 0 needs no code for 0.

    >>> to_grid(torch.tensor([5.0, 5.5, 8.0]), bits=2)[0].tolist()
    [0, 0, 3]
    """
    low = half(groups.amin(dim=-1, keepdim=True))
    step = (groups.amax(dim=-1, keepdim=True) - low) / (2**bits - 1)
    step = half(step.clamp(min=2.0**-24))  # the smallest float16 above 0
    codes = ((groups - low) / step).round().clamp(0, 2**bits - 1)
    return codes.to(torch.uint8), low, step


class Codec(Protocol):
    """What turns vectors into less, and back: codes and scales, by name, one row a block.

    block: how many neighbouring vectors are coded together; true_bits: what is stored for
    each number, scales included, where the codes of a row fill whole bytes.
    """

    block: int
    true_bits: float

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """(..., s, d)  ->  each (..., s / block, its width)."""

    def decode(self, stored: Mapping[str, Tensor]) -> Tensor:
        """Back to (..., s, d)."""


class PerToken:
    """Each vector on grids of its own: one for every `group` neighbouring channels.

    Two float16 for each grid: bits + 32 / group true bits. ValueError for a group that
    does not divide d.
    """

    block = 1

    def __init__(self, d: int, bits: int, group: int | None = None):
        self.d, self.bits, self.group = d, bits, d if group is None else group
        if self.group < 1 or d % self.group:
            raise ValueError(f"group must divide d; got group={group}, d={d}")
        self.true_bits = bits + 32 / self.group

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        require_vectors(x, self.d)
        groups = x.float().unflatten(-1, (-1, self.group))
        codes, low, step = to_grid(groups, self.bits)
        packed = pack_rows(codes.flatten(start_dim=-2), self.bits)
        return {"codes": packed, "low": low[..., 0], "step": step[..., 0]}

    def decode(self, stored: Mapping[str, Tensor]) -> Tensor:
        codes = unpack_rows(stored["codes"], self.bits, self.d)
        groups = (
            codes.unflatten(-1, (-1, self.group)) * stored["step"][..., None].float()
        )
        return (groups + stored["low"][..., None]).flatten(start_dim=-2)


class PerChannel:
    """Each channel on grids of its own: one for every `block` neighbouring tokens.

    Two float16 for each grid: bits + 32 / block true bits. ValueError for tokens that are
    not whole blocks. Source: Liu et al. (2024), section 3, for keys.
    """

    def __init__(self, d: int, bits: int, block: int = 32):
        self.d, self.bits, self.block = d, bits, block
        self.true_bits = bits + 32 / block

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        require_vectors(x, self.d)
        if x.ndim < 2 or x.shape[-2] % self.block:
            raise ValueError(
                f"tokens must come in blocks of {self.block}; got shape {tuple(x.shape)}"
            )
        channels = x.float().unflatten(-2, (-1, self.block)).transpose(-1, -2)
        codes, low, step = to_grid(channels, self.bits)  # (..., blocks, d, block)
        packed = pack_rows(codes.flatten(start_dim=-2), self.bits)
        return {"codes": packed, "low": low[..., 0], "step": step[..., 0]}

    def decode(self, stored: Mapping[str, Tensor]) -> Tensor:
        codes = unpack_rows(stored["codes"], self.bits, self.d * self.block)
        channels = codes.unflatten(-1, (self.d, self.block))
        channels = (
            channels * stored["step"][..., None].float() + stored["low"][..., None]
        )
        return channels.transpose(-1, -2).flatten(start_dim=-3, end_dim=-2)


class Rounded:
    """Each number by itself in a narrower kind: float16, bfloat16 or one of 8 bits."""

    block = 1

    def __init__(self, dtype: torch.dtype):
        self.dtype, self.true_bits = dtype, 8 * dtype.itemsize

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        require_vectors(x, x.shape[-1])
        return {"numbers": x.to(self.dtype).view(torch.uint8)}

    def decode(self, stored: Mapping[str, Tensor]) -> Tensor:
        return stored["numbers"].view(self.dtype).float()


def in_codes(read: Tensor, recent: int, block: int) -> Tensor:
    """How many of the first tokens are in codes when so many have been read.

    All but the `recent` last, in whole blocks.

    >>> in_codes(torch.tensor([31, 32, 63, 64]), recent=0, block=32).tolist()
    [0, 32, 32, 64]
    """
    return (read - recent).clamp(min=0) // block * block


def who_sees(start: int, end: int, recent: int, block: int) -> Tensor:
    """Which keys the tokens start to end - 1 see: codes of all, then the late as they came.

    Each sees what it would see if it were the last: tokens in codes as codes, those after
    them as they are. -> (t, in codes at the end + late), True = may attend.

    >>> who_sees(0, 3, recent=0, block=2).long()  # codes of 2 tokens, then 3 that are late
    tensor([[0, 0, 1, 0, 0],
            [1, 1, 0, 0, 0],
            [1, 1, 0, 0, 1]])
    """
    counts = in_codes(torch.tensor([start, end]), recent, block).tolist()
    codes, late = torch.arange(counts[1]), torch.arange(counts[0], end)
    queries = torch.arange(start, end)[:, None]
    border = in_codes(queries + 1, recent, block)
    return torch.cat([codes < border, (late >= border) & (late <= queries)], dim=1)


def make_room(codec: Codec, n: int, like: Tensor) -> dict[str, Tensor]:
    """Empty buffers for what a codec makes of n vectors: like is (b, g, any, d)."""
    b, g, _, d = like.shape
    one = codec.encode(like.new_zeros(b, g, codec.block, d))
    room = n // codec.block
    return {name: x.new_zeros(b, g, room, x.shape[-1]) for name, x in one.items()}


def write_codes(codecs, stored, x: Tensor, start: int) -> None:
    """Encode keys and values x: (2, b, g, t, d), and put them at position start."""
    if not x.shape[-2]:
        return
    new = [codec.encode(part) for codec, part in zip(codecs, x, strict=True)]
    for codec, codes, buffers in zip(codecs, new, stored, strict=True):
        for name, rows in codes.items():
            first = start // codec.block
            buffers[name][..., first : first + rows.shape[-2], :] = rows


def read_codes(codecs, stored, n: int, like: Tensor) -> Tensor:
    """The first n keys and values, decoded: (2, b, g, n, d), of the kind of `like`."""
    if not n:
        return torch.stack([like, like])
    parts = []
    for codec, buffers in zip(codecs, stored, strict=True):
        rows = {name: x[..., : n // codec.block, :] for name, x in buffers.items()}
        parts.append(codec.decode(rows).to(like))
    return torch.stack(parts)


def require_room(start: int, end: int, capacity: int) -> None:
    """ValueError where positions start to end - 1 are more than a cache has room for."""
    if end > capacity:
        raise ValueError(
            f"the cache is full: capacity={capacity} positions, {start} filled, "
            f"{end - start} more to come"
        )


class QuantizedCache:
    """Keys and values of one layer in codes; the last tokens as they are, in float16.

    keys, values: codecs; at least `recent` tokens, and those that fill no block yet, wait
    uncoded. What a token sees does not depend on the parts in which a text is read.
    ValueError for more than capacity, and what a codec refuses, before anything is written.
    Made by caches_for(model, QuantizedCache, capacity=, keys=, values=).
    Source: Liu et al. (2024), section 3.3, for the tokens that wait.
    """

    def __init__(self, b, g, d_head, capacity, keys, values, recent=0, **kind):
        self.like = torch.empty(b, g, 0, d_head, **kind)
        self.codecs, self.recent = (keys, values), recent
        self.block = math.lcm(keys.block, values.block)
        self.stored = [make_room(codec, capacity, self.like) for codec in self.codecs]
        waiting = 2, b, g, recent + self.block - 1, d_head
        self.late = self.like.new_zeros(waiting, dtype=torch.float16)
        self.capacity, self.length = capacity, 0

    @property
    def n_bytes(self) -> int:
        """Bytes that are held: codes and scales of all positions, and those that wait."""
        held = [x for part in self.stored for x in part.values()]
        return sum(x.untyped_storage().nbytes() for x in [*held, self.late])

    def positions(self, t: int) -> Tensor:
        return torch.arange(self.length, self.length + t)

    def in_codes(self, read: int) -> int:
        return int(in_codes(torch.tensor(read), self.recent, self.block))

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        require_fit(self.like, k, v)
        start, end = self.length, self.length + k.shape[-2]
        require_room(start, end, self.capacity)
        before, done = self.in_codes(start), self.in_codes(end)
        new = half(torch.stack([k, v]))
        require_vectors(new, k.shape[-1])
        late = torch.cat([self.late[..., : start - before, :], new], dim=-2)
        ready = late[..., : done - before, :].float()
        write_codes(self.codecs, self.stored, ready, before)
        self.late[..., : end - done, :] = late[..., done - before :, :]
        self.length = end
        codes = read_codes(self.codecs, self.stored, done, self.like)
        mask = who_sees(start, end, self.recent, self.block).to(k.device)
        seen = mask.any(dim=0)
        keys, values = torch.cat([codes, late.to(codes)], dim=-2)[..., seen, :]
        return keys, values, None if len(mask) == 1 else mask[:, seen]

    def rewind(self, length: int) -> int:
        """Forget what stands after the first positions, or more: codes cannot be undone."""
        if length < self.length and self.in_codes(length) < self.in_codes(self.length):
            length = 0 if self.recent else self.in_codes(length)
        self.length = min(length, self.length)
        return self.length


def random_rotation(d: int, generator: torch.Generator) -> Tensor:
    """A rotation of d dimensions, each as likely as any other: (d, d).

    The Q of a matrix of normal numbers, its columns signed so that R has a positive
    diagonal: else Q would lean to where the library's method does. (It may mirror, too.)
    Source: Mezzadri (2007), section 5.
    """
    numbers = torch.randn(d, d, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(numbers)
    return (q * r.diagonal().sign()).float()


def coordinate_density(x: Tensor, d: int) -> Tensor:
    """How densely the coordinates of random unit vectors of d dimensions lie at x.

    f(x) = Γ(d/2) / (√π Γ((d-1)/2)) (1 - x²)^((d-3)/2), for x from -1 to 1. ValueError for
    d under 3. In three dimensions, all values are equally dense (Archimedes):

    >>> coordinate_density(torch.tensor([-0.5, 0.0, 0.9]), d=3)
    tensor([0.5000, 0.5000, 0.5000])
    """
    if d < 3:
        raise ValueError(f"d must be 3 or more; got d={d}")
    log = math.lgamma(d / 2) - math.lgamma((d - 1) / 2) - math.log(math.pi) / 2
    return math.exp(log) * (1 - x**2) ** ((d - 3) / 2)


def cumulated(x: np.ndarray, density: np.ndarray) -> np.ndarray:
    """The area below a curve, from its first point to each one: (p,), (p,)  ->  (p,)."""
    areas = np.diff(x) * (density[1:] + density[:-1]) / 2
    return np.concatenate([[0.0], np.cumsum(areas)])


def lloyd_max(x: Tensor, density: Tensor, n: int, most: int = 3000) -> Tensor:
    """The n values that stand for numbers of this density with the least squared error.

    Two conditions, met in turn until nothing moves: the borders lie halfway between the
    values; each value is the mean of what lies between its borders. x: (p,) ascending,
    density: (p,), at any scale  ->  (n,) ascending, float64. ValueError for n under 1.
    Sources: Max (1960), Lloyd (1982); Panter and Dite (1951) for where it starts.
    """
    if n < 1:
        raise ValueError(f"n must be 1 or more; got n={n}")
    x, density = x.double().numpy(), density.double().numpy()
    share, moment = cumulated(x, density), cumulated(x, density * x)
    start = cumulated(x, np.cbrt(density))
    values = np.interp((np.arange(n) + 0.5) / n * start[-1], start, x)
    for _ in range(most):
        before = values
        borders = np.concatenate([x[:1], (values[1:] + values[:-1]) / 2, x[-1:]])
        shares = np.diff(np.interp(borders, x, share))
        values = np.diff(np.interp(borders, x, moment)) / shares
        if np.abs(values - before).max() < 1e-10 * (x[-1] - x[0]):
            break
    return torch.from_numpy(values)


def halfway(codebook: Tensor) -> Tensor:
    """The borders between the values of a codebook: (n,)  ->  (n - 1,)."""
    return (codebook[1:] + codebook[:-1]) / 2


POINTS = 2**16 + 1  # of a density, where it is integrated


def sphere_grid(d: int) -> tuple[Tensor, Tensor]:
    """Points from -1 to 1 and the density of a coordinate there, both float64."""
    x = -torch.linspace(0, math.pi, POINTS, dtype=torch.float64).cos()
    return x, coordinate_density(x, d)


@lru_cache
def sphere_codebook(d: int, bits: int) -> Tensor:
    """The 2^bits values that stand for a coordinate of a unit vector: ascending, float64.

    ValueError for bits that are not from 1 to 8.

    >>> sphere_codebook(3, 1)  # the middles of two halves
    tensor([-0.5000,  0.5000], dtype=torch.float64)
    """
    if bits not in range(1, 9):
        raise ValueError(f"bits must be from 1 to 8; got bits={bits}")
    return lloyd_max(*sphere_grid(d), 2**bits)


def expected_distortion(d: int, bits: int) -> float:
    """The mean squared error for a random unit vector: d times that of a coordinate.

    >>> round(expected_distortion(3, 1), 4)  # cells of width 1: three times 1/12
    0.25
    """
    x, density = sphere_grid(d)
    codebook = sphere_codebook(d, bits)
    error = (x - codebook[torch.bucketize(x, halfway(codebook))]) ** 2
    return d * torch.trapezoid(error * density, x).item()


class TurboQuant:
    """Turn, then the nearest value of a codebook for each coordinate; the length apart.

    x = ‖x‖ u, codes of R u; back ‖x‖ Rᵀ c: bits + 16 / d true bits. rotation: R, (d, d);
    the codec computes on its device, in its dtype. unbiased: keep ‖x‖ / ⟨R u, c⟩ in place
    of ‖x‖, so that ⟨x, x̂⟩ = ‖x‖² and inner products are right on average.
    Sources: Zandieh et al. (2025), algorithm 1; Vargaftik et al. (2022), for the scale.
    """

    block = 1

    def __init__(self, rotation: Tensor, bits: int, unbiased: bool = False):
        self.rotation, self.bits, self.unbiased = rotation, bits, unbiased
        self.d = len(rotation)
        self.codebook = sphere_codebook(self.d, bits).to(self.rotation)
        self.true_bits = bits + 16 / self.d

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        require_vectors(x, self.d)
        x = x.to(self.rotation)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        turned = x / length.clamp(min=torch.finfo(x.dtype).tiny) @ self.rotation.T
        codes = torch.bucketize(turned, halfway(self.codebook))
        if self.unbiased:
            along = (turned * self.codebook[codes]).sum(dim=-1, keepdim=True)
            length = length / along.clamp(min=1e-6)  # 0 only where x is 0
        packed = pack_rows(codes.to(torch.uint8), self.bits)
        return {"codes": packed, "length": half(length)}

    def decode(self, stored: Mapping[str, Tensor]) -> Tensor:
        codes = unpack_rows(stored["codes"], self.bits, self.d).int()
        return self.codebook[codes] @ self.rotation * stored["length"]


def hadamard(x: Tensor) -> Tensor:
    """Sums and differences of neighbours, of pairs, of fours, ...: (..., d)  ->  (..., d).

    A rotation that takes d log2(d) additions in place of d² products, and is its own
    inverse. ValueError unless d is a power of two.

    >>> hadamard(torch.tensor([1.0, 0, 0, 0])).tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    d = x.shape[-1]
    if d < 1 or d & (d - 1):
        raise ValueError(f"d must be a power of two; got d={d}")
    width = 1
    while width < d:
        a, b = x.unflatten(-1, (-1, 2, width)).unbind(dim=-2)
        x = torch.stack([a + b, a - b], dim=-2).flatten(start_dim=-3)
        width *= 2
    return x / d**0.5


def hadamard_rotation(d: int, rounds: int, generator: torch.Generator) -> Tensor:
    """Random signs, then `hadamard`, so many rounds of it: (d, d).

    Written as a matrix, to stand where any rotation does. ValueError as `hadamard`, and
    for no rounds.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be 1 or more; got rounds={rounds}")
    columns = torch.eye(d, dtype=torch.float64)
    for _ in range(rounds):
        signs = 2 * torch.randint(2, (d,), generator=generator) - 1
        columns = hadamard(columns * signs)
    return columns.T.float()


class QJL:
    """The signs of m random projections, and the length: m / d + 16 / d true bits.

    Back: √(π/2) / m ‖x‖ Sᵀ sign(S x), whose inner product with any vector is right on
    average over S: (m, d), normal numbers. Source: Zandieh et al. (2024), section 3.
    """

    block = 1

    def __init__(self, sketch: Tensor):
        self.sketch, (self.m, self.d) = sketch, sketch.shape
        self.true_bits = (self.m + 16) / self.d

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        require_vectors(x, self.d)
        x = x.to(self.sketch)
        signs = x @ self.sketch.T >= 0
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return {"signs": pack_rows(signs.to(torch.uint8), 1), "length": half(length)}

    def decode(self, stored: Mapping[str, Tensor]) -> Tensor:
        signs = 2 * unpack_rows(stored["signs"], 1, self.m).to(self.sketch) - 1
        scale = math.sqrt(math.pi / 2) / self.m
        return scale * stored["length"] * (signs @ self.sketch)


class TurboQuantProd:
    """TurboQuant with one bit less, and the QJL signs of what it leaves: bits + 32 / d.

    Inner products are right on average. With one bit, it is QJL alone, which keeps one
    length and not two. rotation, sketch: (d, d). Source: Zandieh et al. (2025),
    algorithm 2.
    """

    block = 1

    def __init__(self, rotation: Tensor, sketch: Tensor, bits: int):
        self.coarse = TurboQuant(rotation, bits - 1) if bits > 1 else None
        self.rest = QJL(sketch)
        coarse_bits = self.coarse.true_bits if self.coarse else 0
        self.true_bits = coarse_bits + self.rest.true_bits

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        if self.coarse is None:
            return self.rest.encode(x)
        stored = self.coarse.encode(x)
        rest = self.rest.encode(x - self.coarse.decode(stored))
        return stored | {"signs": rest["signs"], "rest": rest["length"]}

    def decode(self, stored: Mapping[str, Tensor]) -> Tensor:
        if self.coarse is None:
            return self.rest.decode(stored)
        rest = {"signs": stored["signs"], "length": stored["rest"]}
        return self.coarse.decode(stored) + self.rest.decode(rest)


def angle_density(angle: Tensor, level: int) -> Tensor:
    """How densely the angles of a level lie, at any scale; the first is even all around.

    sin(2 angle)^(2^(level-1) - 1), from 0 to π/2, for two lengths of 2^(level-1)
    coordinates each. Source: Han et al. (2025), section 3.
    """
    return torch.sin(2 * angle).clamp(min=0) ** (2 ** (level - 1) - 1)


@lru_cache
def angle_codebook(level: int, bits: int) -> Tensor:
    """The 2^bits angles that stand for those of a level: ascending, float64.

    >>> angle_codebook(1, 2) / torch.pi  # the middles of four quarters
    tensor([0.2500, 0.7500, 1.2500, 1.7500], dtype=torch.float64)
    """
    if level == 1:
        return (torch.arange(2**bits, dtype=torch.float64) + 0.5) * (
            2 * math.pi / 2**bits
        )
    angle = torch.linspace(0, math.pi / 2, POINTS, dtype=torch.float64)
    return lloyd_max(angle, angle_density(angle, level), 2**bits)


def to_angles(x: Tensor, levels: int) -> tuple[list[Tensor], Tensor]:
    """Pairs become an angle and a length, pairs of lengths again, and so on.

    (..., d)  ->  the angles of each level, (..., d/2), (..., d/4), ...; the last lengths.

    >>> angles, length = to_angles(torch.tensor([3.0, 4, 0, 12]), levels=2)
    >>> length.item(), round(angles[1].tan().item(), 3)  # 5 and 12 make 13
    (13.0, 2.4)
    """
    angles = []
    for _ in range(levels):
        a, b = x[..., 0::2], x[..., 1::2]
        angles.append(torch.atan2(b, a) % (2 * math.pi))
        x = torch.hypot(a, b)
    return angles, x


class PolarQuant:
    """Turn, then angles in place of coordinates; one length for 2^levels of them.

    bits: of the angles of each level, the first of whole circles. Its true bits, as
    published: 4/2 + 2/4 + 2/8 + 2/16 + 16/16. ValueError where 2^levels does not divide d.
    Source: Han et al. (2025), section 4.
    """

    block = 1

    def __init__(self, rotation: Tensor, bits: Sequence[int] = (4, 2, 2, 2)):
        self.rotation, self.bits, self.d = rotation, tuple(bits), len(rotation)
        if self.d % 2 ** len(bits):
            raise ValueError(
                f"{len(bits)} levels need d divisible by {2 ** len(bits)}; got d={self.d}"
            )
        books = [angle_codebook(i, n) for i, n in enumerate(bits, start=1)]
        self.codebooks = [book.to(self.rotation) for book in books]
        shares = [n / 2**i for i, n in enumerate(bits, start=1)]
        self.true_bits = sum(shares) + 16 / 2 ** len(bits)

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        require_vectors(x, self.d)
        angles, length = to_angles(
            x.to(self.rotation) @ self.rotation.T, len(self.bits)
        )
        stored = {"length": half(length)}
        levels = zip(angles, self.codebooks, self.bits, strict=True)
        for i, (angle, book, bits) in enumerate(levels, start=1):
            codes = torch.bucketize(angle, halfway(book)).to(torch.uint8)
            stored[f"level {i}"] = pack_rows(codes, bits)
        return stored

    def decode(self, stored: Mapping[str, Tensor]) -> Tensor:
        x = stored["length"].to(self.rotation)
        for i in range(len(self.bits), 0, -1):
            codes = unpack_rows(stored[f"level {i}"], self.bits[i - 1], x.shape[-1])
            angle = self.codebooks[i - 1][codes.int()]
            x = torch.stack([x * angle.cos(), x * angle.sin()], dim=-1).flatten(-2)
        return x @ self.rotation
