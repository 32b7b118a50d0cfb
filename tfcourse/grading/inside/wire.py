"""The pipe between grader and worker: JSON and the bytes of tensors, never pickle.

A message is two lengths, a JSON text and the bytes of all its tensors. Only what a
check may ask for crosses: None, bool, numbers, strings, tensors, and lists, tuples and
dicts of these. The grader reads what hostile code may have written: everything is
checked, and every wait has an end.
"""

import json
import math
import os
import select
import struct
import time
from itertools import pairwise

import torch
from torch import Tensor

LONGEST_TEXT = 4 << 20  # bytes of JSON
MOST_BYTES = 64 << 20  # of tensors, in one message
DEEPEST = 24
HEAD = struct.Struct(">II")
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
        *(torch.bool, torch.complex64, torch.complex128),
    )
}


class Patience:
    """Seconds left to wait; a machine that sleeps meanwhile is charged for one look."""

    LOOK = 0.5

    def __init__(self, seconds: float):
        self.left = seconds

    def spent_on(self, poll) -> bool:
        """One look of at most LOOK seconds: whether something was ready."""
        start = time.monotonic()
        look = min(self.LOOK, max(self.left, 0))
        ready = poll.poll(math.ceil(look * 1000))
        self.left -= min(time.monotonic() - start, 2 * self.LOOK)
        return bool(ready)


class WireError(Exception):
    """What came over the pipe is not a message."""


def pack(value: object) -> bytes:
    """A message; TypeError for what may not cross."""
    blobs: list[bytes] = []
    tree = _encode(value, blobs, 0)
    text = json.dumps({"value": tree, "sizes": [len(b) for b in blobs]}).encode()
    size = sum(map(len, blobs))
    if len(text) > LONGEST_TEXT or size > MOST_BYTES:
        raise TypeError(
            f"this is too large to hand over: {len(text)} characters (at most "
            f"{LONGEST_TEXT}) and {size} bytes of tensors (at most {MOST_BYTES})"
        )
    return HEAD.pack(len(text), size) + text + b"".join(blobs)


def _encode(value: object, blobs: list[bytes], depth: int) -> object:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return float(value) if isinstance(value, float) else int(value)
    if depth > DEEPEST:
        raise TypeError(f"lists within lists, more than {DEEPEST} deep")
    if isinstance(value, Tensor):
        return _encode_tensor(value, blobs)
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(v, blobs, depth + 1) for v in value]}
    if isinstance(value, dict):
        pairs = [(k, v) for k, v in value.items()]
        return {"dict": [[_encode(x, blobs, depth + 1) for x in p] for p in pairs]}
    raise TypeError(f"a {type(value).__name__} may not cross")


def _encode_tensor(value: Tensor, blobs: list[bytes]) -> dict:
    name = str(value.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise TypeError(f"a tensor of {name} may not cross")
    flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    blobs.append(flat.view(torch.uint8).numpy().tobytes() if len(flat) else b"")
    return {"tensor": len(blobs) - 1, "dtype": name, "shape": list(value.shape)}


def unpack(text: bytes, body: bytes) -> object:
    """The value of a message; WireError for anything else."""
    try:
        message = json.loads(text)
        sizes = message["sizes"]
        if any(type(n) is not int or n < 0 for n in sizes) or sum(sizes) != len(body):
            raise WireError("the sizes of its tensors do not add up")
        ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
        return _decode(message["value"], [body[a:b] for a, b in pairwise(ends)], 0)
    except WireError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever hostile bytes bring about
        raise WireError(f"not a message ({type(error).__name__})") from None


def _decode(tree: object, blobs: list[bytes], depth: int) -> object:
    if tree is None or type(tree) in (bool, int, float, str):
        return tree
    if type(tree) is not dict or depth > DEEPEST:
        raise WireError("neither a value nor a container of values")
    if "tensor" in tree:
        return _decode_tensor(tree, blobs)
    ((kind, held),) = tree.items()
    if kind == "dict":
        return {
            _decode(k, blobs, depth + 1): _decode(v, blobs, depth + 1) for k, v in held
        }
    values = [_decode(v, blobs, depth + 1) for v in held]
    return {"list": list, "tuple": tuple}[kind](values)


def _decode_tensor(tree: dict, blobs: list[bytes]) -> Tensor:
    dtype, shape, body = DTYPES[tree["dtype"]], tree["shape"], blobs[tree["tensor"]]
    if len(shape) > 64 or any(type(n) is not int or n < 0 for n in shape):
        raise WireError("a shape that no tensor has")
    if math.prod(shape) * dtype.itemsize != len(body) or max(shape, default=0) > 2**40:
        raise WireError("a tensor whose bytes are not what its shape says")
    if not body:
        return torch.empty(shape, dtype=dtype)
    if dtype == torch.bool:  # any byte but 0 and 1 would be no bool
        return torch.frombuffer(bytearray(body), dtype=torch.uint8).ne(0).reshape(shape)
    return torch.frombuffer(bytearray(body), dtype=dtype).reshape(shape)


def send(fd: int, message: bytes, patience: Patience | None = None) -> None:
    """Write a message whole; TimeoutError where patience ends first."""
    left = memoryview(message)
    while left:
        _wait(fd, True, patience)
        try:
            left = left[os.write(fd, left[:65536]) :]
        except BlockingIOError:
            pass


def receive(fd: int, patience: Patience | None = None) -> object:
    """The value of the next message; EOFError where the other side has ended."""
    length, size = HEAD.unpack(_read(fd, HEAD.size, patience))
    if length > LONGEST_TEXT or size > MOST_BYTES:
        raise WireError("a message that is too large")
    return unpack(_read(fd, length, patience), _read(fd, size, patience))


def _read(fd: int, count: int, patience: Patience | None) -> bytes:
    got = bytearray()
    while len(got) < count:
        _wait(fd, False, patience)
        part = os.read(fd, min(1 << 20, count - len(got)))
        if not part:
            raise EOFError("the other side has ended")
        got += part
    return bytes(got)


def _wait(fd: int, to_write: bool, patience: Patience | None) -> None:
    """Until the pipe is ready; poll, as select knows no descriptor above 1023."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT if to_write else select.POLLIN)
    if patience is None:
        poll.poll()
    while patience is not None and not patience.spent_on(poll):
        if patience.left <= 0:
            raise TimeoutError("nothing came in time")
