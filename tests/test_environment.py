"""tools/environment.py: the arithmetic of the notebooks is the same on every processor.

The digests were recorded on one maker's processor and came out again on an emulated one
of another. Where one differs, the stored outputs of notebooks will differ as well: a
library has learned of new kernels, and the environment must name the old ones.
"""

import hashlib
import os
import platform

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tools.environment import ENVIRONMENT, MEASURING, inside

RECORDED = {
    "product": "9ab77137872a8003",
    "double product": "3f6a00f39412cd2d",
    "batched product": "9df0e81700feb19d",
    "NumPy's product": "19b4a1c43a414cc9",
    "NumPy's exp and log": "74b503f0956c1d73",
    "exp": "22f57a388809e2a8",
    "log": "bb1c6e1a431c0daf",
    "tanh": "f865c9389b4510fb",
    "gelu": "2b2e4abfc39036e7",
    "sine and cosine": "999e86b34cebe3ee",
    "powers": "4972ec672c7bcc65",
    "sigmoid units": "9dcb8e675a6d22b8",
    "RMS norm": "9c881809d255c741",
    "layer norm": "4b805db9e0f7f19d",
    "softmax": "19604b743ee4c84b",
    "singular values": "5e51380c717f44cf",
    "eigenvalues": "49f762661d299a50",
    "attention": "8781d71f890f4e47",
    "random numbers": "43678415636bbad8",
    "training": "149e1f120a0caf2c",
}


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def trained():
    """The weights of a small network after twenty steps of fused Adam."""
    model = nn.Sequential(
        nn.Linear(16, 32), nn.Tanh(), nn.LayerNorm(32), nn.Linear(32, 5)
    )
    for parameter in model.parameters():
        parameter.data = 0.2 * drawn(*parameter.shape)
    adam = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    inputs, targets = drawn(64, 16), torch.arange(64) % 5
    for _ in range(20):
        adam.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        adam.step()
    return torch.cat([parameter.data.flatten() for parameter in model.parameters()])


COMPUTED = {
    "product": lambda: drawn(33, 300) @ drawn(300, 65),
    "double product": lambda: drawn(33, 300).double() @ drawn(300, 65).double(),
    "batched product": lambda: drawn(4, 30, 16) @ drawn(4, 16, 40),
    "NumPy's product": lambda: torch.from_numpy(
        drawn(33, 300).numpy() @ drawn(300, 65).numpy()
    ),
    "NumPy's exp and log": lambda: torch.from_numpy(
        np.log(1 + np.exp(drawn(1000).numpy()))
    ),
    "exp": lambda: drawn(1000).exp(),
    "log": lambda: drawn(1000).abs().log(),
    "tanh": lambda: drawn(1000).tanh(),
    "gelu": lambda: F.gelu(drawn(1000)),
    "sine and cosine": lambda: drawn(1000).mul(50).sin() + drawn(1000).mul(50).cos(),
    "powers": lambda: 10_000.0 ** drawn(1000),
    "sigmoid units": lambda: F.silu(drawn(1000)),
    "RMS norm": lambda: F.rms_norm(drawn(40, 48), (48,)),
    "layer norm": lambda: F.layer_norm(drawn(40, 48), (48,)),
    "softmax": lambda: drawn(10, 100).softmax(dim=1),
    "singular values": lambda: torch.linalg.svdvals(drawn(6, 6)),
    "eigenvalues": lambda: torch.linalg.eigvals(drawn(6, 6)).abs(),
    "attention": lambda: F.scaled_dot_product_attention(
        *drawn(3, 2, 4, 50, 16), is_causal=True
    ),
    "random numbers": lambda: drawn(1000),
    "training": trained,
}


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="recorded on x86-64"
)
@pytest.mark.parametrize("name", COMPUTED)
def test_the_digits_are_the_recorded_ones(name):
    content = COMPUTED[name]().detach().contiguous().numpy().tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == RECORDED[name]


def test_what_measures_loses_all_that_holds_a_processor_back(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OWN", "kept")
    free = inside(MEASURING)
    assert free["OWN"] == "kept"
    assert {name for name in ENVIRONMENT if name in free} == set(MEASURING)
    assert inside(ENVIRONMENT) == dict(os.environ)
