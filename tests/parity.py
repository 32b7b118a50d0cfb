"""What the tests of modules share: seeded numbers, and how ours and theirs are compared."""

import pytest
import torch

from tfcourse.attention import causal_mask


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def filled(module, seed=4):
    """The module in float64, with seeded numbers in all parameters, in each its own."""
    module, generator = module.double(), seeded(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return module


def copy_layer(theirs, linears, residuals):
    """Give PyTorch's layer the weights of ours, by PyTorch's names for our linear parts."""
    state = {
        name + part: getattr(module, part)
        for name, module in linears.items()
        for part in ("weight", "bias")
    }
    for number, residual in enumerate(residuals, start=1):
        state |= {f"norm{number}.weight": residual.norm.gain}
        state |= {f"norm{number}.bias": residual.norm.bias}
    theirs.load_state_dict(state)


def copy_block(ours, theirs):
    """The weights of our block into a torch.nn.TransformerEncoderLayer."""
    attention, feed_forward = ours.attention.module, ours.feed_forward.module
    linears = {
        "self_attn.in_proj_": attention.qkv.linear,
        "self_attn.out_proj.": attention.out,
        "linear1.": feed_forward.expand,
        "linear2.": feed_forward.contract,
    }
    copy_layer(theirs, linears, (ours.attention, ours.feed_forward))


def gradients(out, inputs):
    pull = random(*out.shape, seed=9).to(out.dtype)
    return torch.autograd.grad((out * pull).sum(), inputs, retain_graph=True)


def close(ours, theirs, atol=1e-10):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


def refused(call, says):
    """The call raises a ValueError that says this."""
    with pytest.raises(ValueError) as error:
        call()
    assert says in str(error.value), error.value


class ToyCache:
    """Keeps everything it was given, and says who may see what."""

    def __init__(self):
        self.k = self.v = None

    def positions(self, t):
        start = 0 if self.k is None else self.k.shape[2]
        return torch.arange(start, start + t)

    def update(self, k, v):
        t = k.shape[2]
        if self.k is not None:
            k, v = torch.cat([self.k, k], dim=2), torch.cat([self.v, v], dim=2)
        self.k, self.v = k, v
        return k, v, causal_mask(t, k.shape[2])
