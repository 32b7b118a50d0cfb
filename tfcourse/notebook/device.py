"""Where tensors live: one place decides, and every chapter asks it."""

import os

import torch


def best_device() -> torch.device:
    """The device to compute on: CUDA, else MPS (Apple), else the CPU.

    The environment variable TFCOURSE_DEVICE, where set, decides instead; the book
    itself is executed with TFCOURSE_DEVICE=cpu. ValueError for a name that PyTorch
    does not know or a device that this machine lacks.

    >>> best_device().type in ("cuda", "mps", "cpu")
    True
    """
    wanted = os.environ.get("TFCOURSE_DEVICE")
    if wanted:
        return _checked(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _checked(wanted: str) -> torch.device:
    """The device of that name, once one number has been stored on it."""
    try:
        device = torch.device(wanted)
        if device.type not in ("cuda", "mps", "cpu"):
            raise RuntimeError("not a kind of device that the course uses")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            "TFCOURSE_DEVICE must name a device that PyTorch can use here, such as "
            f'"cpu", "cuda" or "mps"; got TFCOURSE_DEVICE={wanted!r}'
        ) from error
    return device
