"""A model made small for a page: its matrices in eight bits, all of it in one file."""

import json
from collections.abc import Mapping

import torch
from safetensors.torch import load, save
from torch import Tensor

SCALES = ".scale"  # the end of the name under which the scales of a matrix stand


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Each row of a matrix in whole numbers from -127 to 127, and the size of their unit.

    weight: (m, n)  ->  codes: (m, n), int8, scales: (m,), float32. The unit is the largest
    magnitude of the row / 127, so codes * scales is never further off than half a unit.
    ValueError for what is no matrix, or not finite.

    >>> codes, scales = quantized(torch.tensor([[0.5, -127.0], [0.0, 0.0]]))
    >>> codes.tolist(), scales.tolist()
    ([[0, -127], [0, 0]], [1.0, 0.0])
    """
    if weight.ndim != 2 or not weight.isfinite().all():
        raise ValueError(
            f"weight must be a matrix of finite numbers; got shape {tuple(weight.shape)}"
        )
    scales = weight.float().abs().amax(dim=1) / 127
    units = torch.where(scales > 0, scales, 1.0)
    return (weight.float() / units[:, None]).round().to(torch.int8), scales


def packed(tensors: Mapping[str, Tensor], about: Mapping) -> bytes:
    """A file of safetensors: matrices quantized, all else float32, `about` as JSON.

    The scales of a matrix stand under its name with ".scale" behind it; the same content
    gives the same bytes.
    """
    kept = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            kept[name], kept[name + SCALES] = quantized(tensor)
        else:
            kept[name] = tensor.float()
    return save(kept, {"about": json.dumps(about, separators=(",", ":"))})


def unpacked(content: bytes) -> tuple[dict[str, Tensor], dict]:
    """The tensors as they are computed with, in float32, and what was told `about` them.

    >>> tensors, about = unpacked(packed({"w": torch.eye(2)}, {"width": 2}))
    >>> tensors["w"].tolist(), about
    ([[1.0, 0.0], [0.0, 1.0]], {'width': 2})
    """
    kept = load(content)
    tensors = {
        name: tensor * kept[name + SCALES][:, None] if name + SCALES in kept else tensor
        for name, tensor in kept.items()
        if not name.endswith(SCALES)
    }
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    return tensors, json.loads(header["__metadata__"]["about"])
