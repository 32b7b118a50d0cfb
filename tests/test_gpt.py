"""tfcourse.gpt against Hugging Face's GPT-2 and Llama, and what it refuses."""

import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.parity import ToyCache, close, filled, random, refused, seeded
from tfcourse.gpt import GPT, GPTConfig, from_gpt2, initialize_gpt, make_block

N, T, D, H, L = 19, 7, 24, 3, 2
SHAPE = {
    "vocab_size": N,
    "context_length": 11,
    "d_model": D,
    "n_heads": H,
    "n_layers": L,
}
ENDS = {"bos_token_id": 0, "eos_token_id": 0}  # theirs lie outside so few tokens
LLAMA = {"norm": "rms", "activation": "swiglu", "position": "rotary", "bias": False}
IDS = torch.randint(N, (3, T), generator=seeded())


def config(**changes):
    return GPTConfig(**SHAPE | changes)


def their_gpt2(tied=True):
    shape = {"vocab_size": N, "n_positions": 11, "n_embd": D, "n_head": H, "n_layer": L}
    asked = {"tie_word_embeddings": tied, "attn_implementation": "sdpa"}
    return filled(GPT2LMHeadModel(GPT2Config(**shape, **asked, **ENDS))).eval()


def their_llama(h, g, tied, base):
    shape = LlamaConfig(
        vocab_size=N,
        hidden_size=D,
        intermediate_size=40,
        num_hidden_layers=L,
        num_attention_heads=h,
        num_key_value_heads=g,
        rms_norm_eps=1e-5,
        tie_word_embeddings=tied,
        attn_implementation="sdpa",
        **ENDS,
    )
    theirs = filled(LlamaForCausalLM(shape)).eval()
    theirs.model.rotary_emb = ExactAngles(D // h, base)
    for parent in (theirs.model, *theirs.model.layers):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, LlamaRMSNorm):  # which computes in float32
                exact = torch.nn.RMSNorm(D, eps=1e-5, dtype=torch.float64)
                exact.weight = norm.weight
                setattr(parent, name, exact)
    return theirs


class ExactAngles(torch.nn.Module):
    """Their cosines and sines in float64; their own module computes them in float32."""

    def __init__(self, d_head, base):
        super().__init__()
        self.powers = base ** (torch.arange(0, d_head, 2).double() / d_head)

    def forward(self, x, position_ids):
        angle = position_ids[..., None] / self.powers
        angle = torch.cat([angle, angle], dim=-1)
        return angle.cos(), angle.sin()


def copy_llama(theirs, ours):
    model = theirs.model
    with torch.no_grad():
        ours.embedding.weight.copy_(model.embed_tokens.weight)
        ours.stack.norm.gain.copy_(model.norm.weight)
        if ours.head is not None:
            ours.head.weight.copy_(theirs.lm_head.weight)
        for layer, block in zip(model.layers, ours.stack.blocks, strict=True):
            attention, feed_forward = block.attention.module, block.feed_forward.module
            asks = layer.self_attn
            rows = [asks.q_proj.weight, asks.k_proj.weight, asks.v_proj.weight]
            attention.qkv.linear.weight.copy_(torch.cat(rows))
            attention.out.weight.copy_(asks.o_proj.weight)
            wide = [layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight]
            feed_forward.expand.weight.copy_(torch.cat(wide))
            feed_forward.contract.weight.copy_(layer.mlp.down_proj.weight)
            block.attention.norm.gain.copy_(layer.input_layernorm.weight)
            block.feed_forward.norm.gain.copy_(layer.post_attention_layernorm.weight)


def assert_all_differ(model):
    """No two parameters hold the same numbers, so that none can stand in for another."""
    firsts = [p.flatten()[0].item() for p in model.parameters()]
    assert len(set(firsts)) == len(firsts)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_and_gradients_equal_hugging_faces_gpt2(tied):
    theirs = their_gpt2(tied)
    assert_all_differ(theirs)
    ours = from_gpt2(theirs.state_dict(), n_heads=H)
    assert ours.config == config(tied=tied)
    close(ours(IDS), theirs(IDS).logits, atol=1e-9)
    pull = random(*IDS.shape, N, seed=9)
    (ours(IDS) * pull).sum().backward()
    (theirs(IDS).logits * pull).sum().backward()
    pulls = {name: p.grad for name, p in theirs.named_parameters()}
    expected = from_gpt2(pulls, n_heads=H).state_dict()
    mine = {name: p.grad for name, p in ours.named_parameters()}
    close(mine, dict(expected), atol=1e-9)


@pytest.mark.parametrize(
    "h, g, tied, base",
    [
        (3, 3, True, 10_000.0),
        (3, 1, False, 10_000.0),
        (4, 2, True, 10_000.0),
        (4, 2, False, 500_000.0),
    ],
)
def test_logits_equal_hugging_faces_llama(h, g, tied, base):
    theirs = their_llama(h, g, tied, base)
    assert_all_differ(theirs)
    own = config(n_heads=h, n_kv_heads=g, d_ff=40, tied=tied, base=base, **LLAMA)
    ours = GPT(own).double()
    copy_llama(theirs, ours)
    assert sum(p.numel() for p in ours.parameters()) == theirs.num_parameters()
    close(ours(IDS), theirs(IDS).logits, atol=1e-9)


def test_a_published_file_may_name_the_transformer_and_hold_masks():
    state = dict(their_gpt2().transformer.state_dict())
    plain = from_gpt2(state, n_heads=H)
    state["h.0.attn.bias"] = torch.ones(1, 1, 11, 11)
    close(from_gpt2(state, n_heads=H)(IDS), plain(IDS))
    assert from_gpt2(wide_gpt2()).config.n_heads == 2  # heads of 64


def wide_gpt2():
    shape = {
        "vocab_size": N,
        "n_positions": 11,
        "n_embd": 128,
        "n_head": 2,
        "n_layer": 1,
    }
    return GPT2LMHeadModel(GPT2Config(**shape, **ENDS)).state_dict()


@pytest.mark.parametrize("name", ["wpe.weight", "h.1.mlp.c_fc.bias"])
def test_a_checkpoint_that_lacks_something_is_refused(name):
    state = dict(their_gpt2().transformer.state_dict())
    del state[name]
    refused(lambda: from_gpt2(state, n_heads=H), f"lacks {name}")


@pytest.mark.parametrize(
    "changes", [{}, LLAMA, LLAMA | {"n_kv_heads": 1, "tied": False}]
)
def test_the_future_does_not_change_the_past(changes):
    model = filled(GPT(config(**changes)))
    changed = IDS.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % N
    before, after = model(IDS), model(changed)
    close(before[:, :4], after[:, :4])
    assert (before[:, 4] - after[:, 4]).abs().max() > 1e-3


@pytest.mark.parametrize("changes", [{}, LLAMA])
def test_with_caches_a_text_may_come_in_parts(changes):
    model = filled(GPT(config(**changes)))
    caches = [ToyCache() for _ in range(L)]
    parts = [model(part, caches=caches) for part in IDS.split([3, 1, 3], dim=1)]
    close(torch.cat(parts, dim=1), model(IDS))


def test_padding_on_the_left_changes_nothing_with_its_mask_and_positions():
    model = filled(GPT(config()))
    padded = torch.cat([torch.zeros(3, 2, dtype=torch.long), IDS], dim=1)
    mask = (torch.arange(T + 2) >= 2).expand(3, T + 2, T + 2)
    mask = mask | torch.eye(T + 2, dtype=torch.bool)
    positions = (torch.arange(T + 2) - 2).clamp(min=0)
    close(model(padded, mask=mask, positions=positions)[:, 2:], model(IDS))


def test_initial_weights_are_small_and_smaller_where_they_write():
    model = initialize_gpt(GPT(config(d_model=96)), seeded())
    block = model.stack.blocks[0]
    for weight, std in [
        (model.embedding.weight, 0.02),
        (model.position.table, 0.02),
        (block.attention.module.qkv.linear.weight, 0.02),
        (block.attention.module.out.weight, 0.01),
        (block.feed_forward.module.contract.weight, 0.01),
    ]:
        assert weight.std().item() == pytest.approx(std, rel=0.1)
    assert (
        block.attention.norm.gain.eq(1).all() and block.attention.norm.bias.eq(0).all()
    )
    guess = model(IDS[:, :-1]).flatten(0, 1)
    surprise = torch.nn.functional.cross_entropy(guess, IDS[:, 1:].flatten())
    assert surprise.item() == pytest.approx(math.log(N), abs=0.1)


def test_dropout_is_on_in_training_only():
    model = filled(GPT(config(dropout=0.5)))
    assert not torch.equal(model(IDS), model(IDS))
    close(model.eval()(IDS), model(IDS))


def test_what_a_config_leaves_open_is_filled_in():
    assert (config().n_kv_heads, config().d_ff, config().d_head) == (H, 4 * D, 8)
    assert len(make_block(config(d_ff=5)).feed_forward.module.contract.weight[0]) == 5


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"vocab_size": 0}, "vocab_size must be a whole number above 0; got 0"),
        ({"n_layers": 2.0}, "n_layers must be a whole number above 0; got 2.0"),
        ({"context_length": True}, "context_length must be a whole number"),
        ({"n_heads": 5}, "got d_model=24, n_heads=5"),
        ({"n_kv_heads": 2}, "got n_heads=3, n_kv_heads=2"),
        (
            {"n_heads": 8, "position": "rotary"},
            "d_head must be even; got d_head=3, d_model=24",
        ),
        ({"dropout": 1.0}, "got 1.0"),
        ({"activation": "sigmoid"}, "got 'sigmoid'"),
        ({"norm": "batch"}, "got 'batch'"),
        ({"position": "sinusoidal"}, "one of learned, rotary; got 'sinusoidal'"),
    ],
)
def test_nonsense_is_refused_by_name(changes, says):
    refused(lambda: config(**changes), says)


@pytest.mark.parametrize("shape", [(1, 0), (1, 12), (3,)])
def test_too_many_tokens_or_none_are_refused(shape):
    ids = torch.zeros(shape, dtype=torch.long)
    refused(lambda: GPT(config())(ids), f"context_length=11; got shape {shape}")
