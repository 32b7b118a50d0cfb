"""tfcourse.block against PyTorch and Llama, its invariants, and known mistakes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaMLP

from tests.parity import ToyCache, close, copy_block, filled, gradients, random, refused
from tfcourse.attention import padding_mask
from tfcourse.block import (
    ACTIVATIONS,
    NORMS,
    Block,
    FeedForward,
    LayerNorm,
    Residual,
    RMSNorm,
    Stack,
    swiglu,
)
from tfcourse.multi_head_attention import MultiHeadAttention
from tfcourse.position import Rotary

B, T, H, K = 2, 5, 3, 4
D, F_ = H * K, 20
EPS = 0.3  # large, so that its place shows


# Norms


def formula(x, gain, bias=0.0, eps=EPS, moved=True):
    """The equation of the docstrings, in plain operations."""
    x = x - moved * x.mean(dim=-1, keepdim=True)
    return gain * x / (x.square().mean(dim=-1, keepdim=True) + eps).sqrt() + bias


def unbiased(x, gain, bias=0.0):
    """The mistake: the variance divided by d - 1."""
    centred = x - x.mean(dim=-1, keepdim=True)
    return gain * centred / (x.var(dim=-1, keepdim=True) + EPS).sqrt() + bias


def outside(x, gain, bias=0.0):
    """The mistake: eps added to the root, not under it."""
    centred = x - x.mean(dim=-1, keepdim=True)
    return gain * centred / (x.std(dim=-1, correction=0, keepdim=True) + EPS) + bias


def outside_rms(x, gain):
    """The mistake: eps added to the root, not under it."""
    return gain * x / (x.square().mean(dim=-1, keepdim=True).sqrt() + EPS)


def test_layer_norm_equals_pytorchs_and_the_formula():
    ours, theirs = filled(LayerNorm(D, EPS)), nn.LayerNorm(D, EPS).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.gain)
        theirs.bias.copy_(ours.bias)
    x = random(B, T, D).requires_grad_()
    close(ours(x), theirs(x))
    close(ours(x), formula(x, ours.gain, ours.bias))
    close(gradients(ours(x), x), gradients(theirs(x), x))


def test_rms_norm_equals_pytorchs_and_the_formula():
    ours, theirs = filled(RMSNorm(D, EPS)), nn.RMSNorm(D, EPS).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.gain)
    x = random(B, T, D).requires_grad_()
    close(ours(x), theirs(x))
    close(ours(x), formula(x, ours.gain, moved=False))
    close(gradients(ours(x), x), gradients(theirs(x), x))


@pytest.mark.parametrize("wrong", [unbiased, outside])
def test_a_wrong_layer_norm_is_seen(wrong):
    """A famous tutorial divides by d - 1 and adds eps outside: either would fail here."""
    norm, x = filled(LayerNorm(D, EPS)), random(B, T, D)
    assert (norm(x) - wrong(x, norm.gain, norm.bias)).abs().max() > 1e-3


def test_a_wrong_rms_norm_is_seen():
    norm, x = filled(RMSNorm(D, EPS)), random(B, T, D)
    assert (norm(x) - outside_rms(x, norm.gain)).abs().max() > 1e-3
    assert (norm(x) - formula(x, norm.gain)).abs().max() > 1e-3


# Feed-forward


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_feed_forward_is_two_matrices_with_the_activation_between(activation, bias):
    layer, x = filled(FeedForward(D, F_, activation, bias)), random(B, T, D)
    between = {
        "relu": torch.relu,
        "gelu": lambda z: z * (1 + torch.erf(z / 2**0.5)) / 2,
        "gelu_tanh": lambda z: (
            z * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z**3))) / 2
        ),
        "swiglu": lambda z: z[..., :F_] * torch.sigmoid(z[..., :F_]) * z[..., F_:],
    }
    inside = x @ layer.expand.weight.T + (layer.expand.bias if bias else 0)
    expected = between[activation](inside) @ layer.contract.weight.T
    close(layer(x), expected + (layer.contract.bias if bias else 0))
    assert layer.contract.weight.shape == (D, F_)


def test_the_feed_forward_is_four_times_as_wide_unless_said():
    assert FeedForward(D).contract.in_features == 4 * D


def test_each_position_is_fed_by_itself():
    layer, x = filled(FeedForward(D, F_)), random(B, T, D)
    close(layer(x)[:, 2], layer(x[:, 2]))


def test_swiglu_equals_llamas():
    config = LlamaConfig(hidden_size=D, intermediate_size=F_, num_attention_heads=H)
    theirs = filled(LlamaMLP(config))
    ours = FeedForward(D, F_, "swiglu", bias=False).double()
    copy_llama_mlp(theirs, ours)
    x = random(B, T, D)
    close(ours(x), theirs(x))
    assert (swiglu(x) - F.glu(x.flip(-1))).abs().max() > 1e-3  # a sigmoid is not enough


def copy_llama_mlp(theirs, ours):
    with torch.no_grad():
        rows = [theirs.gate_proj.weight, theirs.up_proj.weight]
        ours.expand.weight.copy_(torch.cat(rows))
        ours.contract.weight.copy_(theirs.down_proj.weight)


# The block


def block_and_pytorchs(pre_norm, activation="relu", dropout=0.0):
    ours = filled(
        Block(D, H, F_, activation=activation, pre_norm=pre_norm, dropout=dropout)
    )
    theirs = nn.TransformerEncoderLayer(
        D,
        H,
        F_,
        dropout=dropout,
        activation=activation,
        batch_first=True,
        norm_first=pre_norm,
    ).double()
    copy_block(ours, theirs)
    return ours, theirs


LENGTHS = torch.tensor([3, T])
OPEN = padding_mask(LENGTHS, T)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("pre_norm", [True, False])
def test_it_equals_pytorchs_layer_and_so_do_the_gradients(
    pre_norm, activation, padded, training
):
    ours, theirs = block_and_pytorchs(pre_norm, activation)
    ours.train(training)
    theirs.train(training)
    x = random(B, T, D).requires_grad_()
    out = ours(x, mask=OPEN if padded else None)
    expected = theirs(x, src_key_padding_mask=~OPEN[:, 0] if padded else None)
    close(out, expected)
    for mine, its in zip(gradients(out, [x]), gradients(expected, [x]), strict=True):
        close(mine, its, 1e-8)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_a_stack_equals_pytorchs(pre_norm):
    pairs = [block_and_pytorchs(pre_norm) for _ in range(3)]
    norm = filled(LayerNorm(D)) if pre_norm else None
    ours = Stack([mine for mine, _ in pairs], norm)
    theirs = nn.TransformerEncoder(
        pairs[0][1],
        3,
        norm=nn.LayerNorm(D).double() if pre_norm else None,
        enable_nested_tensor=False,
    )
    for layer, (_, its) in zip(theirs.layers, pairs, strict=True):
        layer.load_state_dict(its.state_dict())
    if pre_norm:
        theirs.norm.load_state_dict({"weight": norm.gain, "bias": norm.bias})
    x = random(B, T, D)
    close(ours(x), theirs(x))
    if pre_norm:  # the known mistake: the final norm forgotten
        forgotten = Stack([mine for mine, _ in pairs], nn.Identity())
        assert (forgotten(x) - theirs(x)).abs().max() > 1e-3


def test_it_equals_a_layer_of_llama():
    """In float32, since their norm leaves float64; the rest is compared in float64."""
    config = LlamaConfig(
        hidden_size=D,
        intermediate_size=F_,
        num_attention_heads=H,
        num_key_value_heads=1,
        rms_norm_eps=1e-5,
        attn_implementation="sdpa",
    )
    theirs = filled(LlamaDecoderLayer(config, layer_idx=0)).eval()
    ours = Block(
        D,
        H,
        F_,
        activation="swiglu",
        norm="rms",
        bias=False,
        n_kv_heads=1,
        rotate=Rotary(),
    ).double()
    copy_llama_mlp(theirs.mlp, ours.feed_forward.module)
    attention = theirs.self_attn
    parts = [attention.q_proj, attention.k_proj, attention.v_proj]
    with torch.no_grad():
        rows = torch.cat([part.weight for part in parts])
        ours.attention.module.qkv.linear.weight.copy_(rows)
        ours.attention.module.out.weight.copy_(attention.o_proj.weight)
        ours.attention.norm.gain.copy_(theirs.input_layernorm.weight)
        ours.feed_forward.norm.gain.copy_(theirs.post_attention_layernorm.weight)
    ours, theirs, x = ours.float(), theirs.float(), random(B, T, D).float()
    angle = torch.arange(T)[:, None] / 10_000 ** (torch.arange(0, K, 2) / K)
    angle = torch.cat([angle, angle], dim=-1)[None]
    expected = theirs(x, position_embeddings=(angle.cos(), angle.sin()))
    close(ours(x, causal=True), expected, 1e-5)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_what_the_attention_takes_goes_through(pre_norm):
    blocks = [filled(Block(D, H, F_, pre_norm=pre_norm)) for _ in range(2)]
    stack = Stack(blocks, LayerNorm(D).double())
    x, caches = random(B, T, D), [ToyCache() for _ in blocks]
    parts = [stack(part, caches=caches) for part in x.split([2, 1, 2], dim=1)]
    close(torch.cat(parts, dim=1), stack(x, causal=True))
    assert all(cache.k.shape == (B, H, T, K) for cache in caches)
    changed = x.clone()
    changed[:, -1] += 3
    close(stack(changed, causal=True)[:, :-1], stack(x, causal=True)[:, :-1])
    bias = random(1, H, T, T, seed=8)
    shown, _ = blocks[0].attention.module(
        blocks[0].attention.norm(x) if pre_norm else x,
        score_bias=bias,
        return_weights=True,
    )
    x1 = x + shown if pre_norm else blocks[0].attention.norm(x + shown)
    close(blocks[0](x, score_bias=bias), blocks[0].feed_forward(x1))


def test_a_block_of_zeros_lets_the_stream_through_where_it_is_pre_norm():
    """The identity path: with nothing to add, pre-norm passes x on and post-norm cannot."""
    x = random(B, T, D)
    for pre_norm in (True, False):
        block = Block(D, H, F_, pre_norm=pre_norm).double()
        with torch.no_grad():
            for module in (
                block.attention.module.out,
                block.feed_forward.module.contract,
            ):
                module.weight.zero_()
                module.bias.zero_()
        assert torch.equal(block(x), x) is pre_norm


def test_dropout_acts_in_training_only_and_keeps_the_mean():
    torch.manual_seed(0)
    plain = Residual(nn.Identity(), nn.Identity(), dropout=0.25)
    x = torch.ones(100, 10, D)
    added = plain(x) - x
    assert added.unique().numel() == 2  # dropped, or scaled up
    assert (added == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert added.mean().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(plain.eval()(x), 2 * x)


@pytest.mark.parametrize("norm", NORMS)
def test_the_norm_is_the_one_asked_for(norm):
    block = Block(D, H, norm=norm)
    assert type(block.attention.norm) is type(block.feed_forward.norm) is NORMS[norm]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_inputs_stay_as_they_are(activation):
    block, x = filled(Block(D, H, F_, activation=activation)), random(B, T, D)
    before = x.clone()
    with torch.no_grad():
        block.eval()(x)
    assert torch.equal(x, before)


# Bad input


BAD = {
    "activation": (
        lambda: Block(D, H, activation="tanh"),
        "activation must be one of relu, gelu, gelu_tanh, swiglu; got 'tanh'",
    ),
    "norm": (
        lambda: Block(D, H, norm="batch"),
        "norm must be one of layer, rms; got 'batch'",
    ),
    "heads": (lambda: Block(D, 5), "got d_model=12, n_heads=5"),
    "no final norm": (
        lambda: Stack([Block(D, H)]),
        "pre-norm blocks need a final norm; got norm=None",
    ),
    "caches": (
        lambda: Stack([Block(D, H)] * 2, LayerNorm(D))(
            torch.zeros(B, T, D), caches=[ToyCache()]
        ),
        "each block needs a cache of its own; got 1 caches for 2 blocks",
    ),
}


@pytest.mark.parametrize(("call", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, says):
    refused(call, says)


def test_a_post_norm_stack_needs_no_final_norm():
    stack = Stack([Residual(MultiHeadAttention(D, H), LayerNorm(D), pre_norm=False)])
    assert isinstance(stack.norm, nn.Identity)
