"""The transformer block: attention and feed-forward, and what lets them stack (chapter 8)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tfcourse.multi_head_attention import Cache, MultiHeadAttention


class LayerNorm(nn.Module):
    """Each vector moved to mean 0 and scaled to variance 1; then a learned gain and shift.

    out = gain (x - mean) / sqrt(variance + eps) + bias, over the last axis; the variance
    is the mean square (divided by d, not by d - 1).
    Called with x: (..., d)  ->  (..., d). Source: Ba, Kiros and Hinton (2016), section 3.
    """

    def __init__(self, d_model: int, eps: float = 1e-5):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.gain.shape, self.gain, self.bias, self.eps)


class RMSNorm(nn.Module):
    """Each vector scaled to a mean square of 1, and a learned gain; nothing is moved.

    out = gain x / sqrt(mean of x^2 + eps), over the last axis.
    Called with x: (..., d)  ->  (..., d). Source: Zhang and Sennrich (2019), section 4.
    """

    def __init__(self, d_model: int, eps: float = 1e-5):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.gain.shape, self.gain, self.eps)


def swiglu(x: Tensor) -> Tensor:
    """One half of x decides how far the other half is let through.

    x: (..., 2 f), gates and then values  ->  (..., f): gate sigmoid(gate) value.
    Source: Shazeer (2020), section 2.

    >>> swiglu(torch.tensor([-20.0, 20.0, 3.0, 3.0])).round(decimals=4)
    tensor([-0., 60.])
    """
    gates, values = x.chunk(2, dim=-1)
    return F.silu(gates) * values


NORMS: Mapping[str, type[nn.Module]] = {"layer": LayerNorm, "rms": RMSNorm}

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),  # the one of GPT-2
    "swiglu": swiglu,
}


def choose(what: str, name: str, choices: Mapping):
    """The choice of this name; ValueError, with the names there are, for any other."""
    if name not in choices:
        raise ValueError(f"{what} must be one of {', '.join(choices)}; got {name!r}")
    return choices[name]


class FeedForward(nn.Module):
    """Two matrices with an activation between them, applied to each position by itself.

    out = activation(x W_1 + b_1) W_2 + b_2, through a width of d_ff, 4 d_model unless
    given; for "swiglu", W_1 makes d_ff gates beside d_ff values.
    Called with x: (..., d)  ->  (..., d). ValueError for an unknown activation.
    Source: Vaswani et al. (2017), section 3.3.
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int | None = None,
        activation: str = "relu",
        bias: bool = True,
    ):
        super().__init__()
        d_ff = 4 * d_model if d_ff is None else d_ff
        self.activation = choose("activation", activation, ACTIVATIONS)
        widened = 2 * d_ff if activation == "swiglu" else d_ff
        self.expand = nn.Linear(d_model, widened, bias=bias)
        self.contract = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(self.activation(self.expand(x)))


class Residual(nn.Module):
    """A module that adds to the stream instead of replacing it.

    pre_norm: x + dropout(module(norm(x))), else norm(x + dropout(module(x))).
    Called with x: (b, t, d), and what else the module takes  ->  (b, t, d).
    Sources: He et al. (2016), section 3.1; Xiong et al. (2020), figure 1.
    """

    def __init__(
        self,
        module: nn.Module,
        norm: nn.Module,
        pre_norm: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.module, self.norm, self.pre_norm = module, norm, pre_norm
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, **options) -> Tensor:
        if self.pre_norm:
            return x + self.dropout(self.module(self.norm(x), **options))
        return self.norm(x + self.dropout(self.module(x, **options)))


class Block(nn.Module):
    """One layer of a transformer: the tokens look at each other, then each thinks alone.

    d_ff and activation: for FeedForward; norm: "layer" or "rms"; pre_norm, dropout: for
    Residual; bias: in all matrices; n_kv_heads and rotate: for MultiHeadAttention.
    Called with x: (b, t, d), and MultiHeadAttention's mask, causal, score_bias, positions
    and cache  ->  (b, t, d). ValueError for heads that do not divide, unknown names.
    Source: Vaswani et al. (2017), figure 1, left; with pre_norm, Xiong et al. (2020).
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_ff: int | None = None,
        *,
        activation: str = "relu",
        norm: str = "layer",
        pre_norm: bool = True,
        dropout: float = 0.0,
        bias: bool = True,
        n_kv_heads: int | None = None,
        rotate: Callable[[Tensor, Tensor], Tensor] | None = None,
    ):
        super().__init__()
        make_norm = choose("norm", norm, NORMS)
        attention = MultiHeadAttention(d_model, n_heads, n_kv_heads, bias, rotate)
        feed_forward = FeedForward(d_model, d_ff, activation, bias)
        self.attention = Residual(attention, make_norm(d_model), pre_norm, dropout)
        self.feed_forward = Residual(
            feed_forward, make_norm(d_model), pre_norm, dropout
        )

    def forward(self, x: Tensor, **options) -> Tensor:
        x = self.attention(x, **options)
        return self.feed_forward(x)


class Stack(nn.Module):
    """Blocks, one on top of the other, and a norm at the end where they are pre-norm.

    blocks: modules of (b, t, d) -> (b, t, d), such as Block; norm: the final one.
    Called with x: (b, t, d), caches: one for each block or none, and what else the blocks
    take  ->  (b, t, d). ValueError for pre-norm blocks without a norm, since their sum
    grows with depth (pass nn.Identity() to leave it out), for too few or many caches.
    """

    def __init__(self, blocks: Iterable[nn.Module], norm: nn.Module | None = None):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        residuals = [m for m in self.blocks.modules() if isinstance(m, Residual)]
        if norm is None and any(residual.pre_norm for residual in residuals):
            raise ValueError("pre-norm blocks need a final norm; got norm=None")
        self.norm = nn.Identity() if norm is None else norm

    def forward(
        self, x: Tensor, *, caches: Sequence[Cache] | None = None, **options
    ) -> Tensor:
        if caches is None:
            caches = [None] * len(self.blocks)
        if len(caches) != len(self.blocks):
            raise ValueError(
                "each block needs a cache of its own; "
                f"got {len(caches)} caches for {len(self.blocks)} blocks"
            )
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, cache=cache, **options)
        return self.norm(x)
