"""A GPT: a stack of causal blocks that predicts the next token (chapter 11)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tfcourse.block import ACTIVATIONS, NORMS, Block, Stack, choose
from tfcourse.bpe import Tokenizer, load_tokenizer
from tfcourse.data.stored import WEIGHTS, stored_weights
from tfcourse.embedding import Embedding
from tfcourse.multi_head_attention import Cache, next_positions
from tfcourse.position import LearnedPosition, Rotary

POSITIONS: Mapping[str, str] = {"learned": "a table", "rotary": "turned heads"}

COUNTS = (
    "vocab_size",
    "context_length",
    "d_model",
    "n_heads",
    "n_layers",
    "n_kv_heads",
    "d_ff",
)


def require_count(name: str, value: int) -> None:
    """Raise ValueError, with name and value, unless it is a whole number above 0."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number above 0; got {value!r}")


def require_division(whole: str, a: int, part: str, b: int) -> None:
    """Raise ValueError, with both names and values, unless b divides a."""
    if a % b:
        raise ValueError(
            f"{whole} must be divisible by {part}; got {whole}={a}, {part}={b}"
        )


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT. ValueError, by name, for what cannot be one.

    vocab_size n, context_length, d_model d, n_heads h, n_layers l, n_kv_heads g (h unless
    given), d_ff f (4 d unless given); activation: of FeedForward; norm: "layer" or "rms";
    position: "learned" or "rotary"; base: of Rotary; bias: in all matrices of the blocks;
    tied: the output matrix is the embedding; dropout: a share from 0 to below 1.

    >>> GPTConfig(vocab_size=256, context_length=64, d_model=32, n_heads=4, n_layers=2).d_ff
    128
    """

    vocab_size: int
    context_length: int
    d_model: int
    n_heads: int
    n_layers: int
    n_kv_heads: int | None = None
    d_ff: int | None = None
    activation: str = "gelu_tanh"
    norm: str = "layer"
    position: str = "learned"
    base: float = 10_000.0
    bias: bool = True
    tied: bool = True
    dropout: float = 0.0

    def __post_init__(self):
        if self.n_kv_heads is None:
            object.__setattr__(self, "n_kv_heads", self.n_heads)
        if self.d_ff is None:
            object.__setattr__(self, "d_ff", 4 * self.d_model)
        for name in COUNTS:
            require_count(name, getattr(self, name))
        require_division("d_model", self.d_model, "n_heads", self.n_heads)
        require_division("n_heads", self.n_heads, "n_kv_heads", self.n_kv_heads)
        if self.position == "rotary" and self.d_head % 2:
            raise ValueError(
                "with rotary positions d_head must be even; "
                f"got d_head={self.d_head}, d_model={self.d_model}, n_heads={self.n_heads}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1; got {self.dropout}")
        choose("activation", self.activation, ACTIVATIONS)
        choose("norm", self.norm, NORMS)
        choose("position", self.position, POSITIONS)

    @property
    def d_head(self) -> int:
        """The width of one head, k."""
        return self.d_model // self.n_heads


def make_block(config: GPTConfig) -> Block:
    """One pre-norm block of this shape."""
    return Block(
        config.d_model,
        config.n_heads,
        config.d_ff,
        activation=config.activation,
        norm=config.norm,
        dropout=config.dropout,
        bias=config.bias,
        n_kv_heads=config.n_kv_heads,
        rotate=Rotary(config.base) if config.position == "rotary" else None,
    )


class GPT(nn.Module):
    """Tokens in, and at every position the scores of the next token.

    Called with ids: (b, t)  ->  logits: (b, t, n). positions: (t,) or (b, t), counted from
    0 or on from the caches unless given; mask: (b, t, s), True = may attend; caches: one
    for each block, which say what may be seen, else each token sees those before it.
    ValueError for no token, or more than context_length at once.
    Source: Radford et al. (2018), section 3.1; (2019), section 2.3, for the order of norms.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        n, d = config.vocab_size, config.d_model
        self.embedding = Embedding(n, d)
        learned = config.position == "learned"
        self.position = LearnedPosition(config.context_length, d) if learned else None
        self.dropout = nn.Dropout(config.dropout)
        blocks = [make_block(config) for _ in range(config.n_layers)]
        self.stack = Stack(blocks, NORMS[config.norm](d))
        self.head = None if config.tied else nn.Linear(d, n, bias=False)

    def hidden(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        caches: Sequence[Cache] | None = None,
    ) -> Tensor:
        """What the stack makes of the tokens, before the scores: (b, t) -> (b, t, d)."""
        limit = self.config.context_length
        if ids.ndim != 2 or not 1 <= ids.shape[1] <= limit:
            raise ValueError(
                f"ids must be (b, t) with t from 1 to context_length={limit}; "
                f"got shape {tuple(ids.shape)}"
            )
        x = self.embedding(ids)
        if positions is None:
            positions = next_positions(x, caches[0] if caches else None)
        if self.position is not None:
            x = self.position(x, positions)
        sight = {"mask": mask, "causal": caches is None, "caches": caches}
        return self.stack(self.dropout(x), positions=positions, **sight)

    def scores(self, x: Tensor) -> Tensor:
        """The scores of all n tokens as the next one: (..., d) -> (..., n)."""
        return self.embedding.unembed(x) if self.head is None else self.head(x)

    def forward(self, ids: Tensor, **options) -> Tensor:
        return self.scores(self.hidden(ids, **options))


def initialize_gpt(model: GPT, generator: torch.Generator) -> GPT:
    """Small random matrices, in place: normal, with a standard deviation of 0.02.

    The matrices that write into the stream get 0.02 / sqrt(2 l), so that 2 l of them add up
    to one; biases zero, gains one. Source: Radford et al. (2019), section 2.3.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                writes = name.endswith(("out.weight", "contract.weight"))
                std = 0.02 / (2 * model.config.n_layers) ** 0.5 if writes else 0.02
                parameter.normal_(std=std, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.fill_(1.0)
    return model


def stored_gpt(name: str) -> tuple[GPT, Tokenizer]:
    """A model that comes with the course, ready to be asked, and its tokenizer.

    Its weights are bfloat16 in the file, float32 here. ValueError as stored_weights.
    """
    tensors, card = stored_weights(name)
    model = GPT(GPTConfig(**card["config"]))
    model.load_state_dict(tensors)
    return model.eval(), load_tokenizer(WEIGHTS / f"{name}.tokenizer")


GPT2_NAMES: Mapping[str, str] = {
    "attention.norm.gain": "ln_1.weight",
    "attention.norm.bias": "ln_1.bias",
    "attention.module.qkv.linear.weight": "attn.c_attn.weight",
    "attention.module.qkv.linear.bias": "attn.c_attn.bias",
    "attention.module.out.weight": "attn.c_proj.weight",
    "attention.module.out.bias": "attn.c_proj.bias",
    "feed_forward.norm.gain": "ln_2.weight",
    "feed_forward.norm.bias": "ln_2.bias",
    "feed_forward.module.expand.weight": "mlp.c_fc.weight",
    "feed_forward.module.expand.bias": "mlp.c_fc.bias",
    "feed_forward.module.contract.weight": "mlp.c_proj.weight",
    "feed_forward.module.contract.bias": "mlp.c_proj.bias",
}


def from_gpt2(tensors: Mapping[str, Tensor], n_heads: int | None = None) -> GPT:
    """A GPT with the weights of a published GPT-2, by the names of Hugging Face's files.

    n_heads: as many heads of 64 as fit, unless given: so are all four published sizes.
    Matrices there are (in, out), ours (out, in). An output matrix that is not the
    embedding, as a model may get that was trained on, is kept. ValueError names a tensor
    that lacks.
    """
    tensors = {name.removeprefix("transformer."): t for name, t in tensors.items()}
    missing = {"wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias"} - tensors.keys()
    if missing:
        raise ValueError(f"this is no GPT-2: it lacks {', '.join(sorted(missing))}")
    (n, d), context_length = tensors["wte.weight"].shape, len(tensors["wpe.weight"])
    n_layers = 1 + max(int(k.split(".")[1]) for k in tensors if k.startswith("h."))
    state = {
        "embedding.weight": tensors["wte.weight"],
        "position.table": tensors["wpe.weight"],
        "stack.norm.gain": tensors["ln_f.weight"],
        "stack.norm.bias": tensors["ln_f.bias"],
    }
    for i in range(n_layers):
        for ours, theirs in GPT2_NAMES.items():
            if f"h.{i}.{theirs}" not in tensors:
                raise ValueError(f"this is no whole GPT-2: it lacks h.{i}.{theirs}")
            tensor = tensors[f"h.{i}.{theirs}"]
            state[f"stack.blocks.{i}.{ours}"] = tensor.T if tensor.ndim == 2 else tensor
    head = tensors.get("lm_head.weight", tensors["wte.weight"])
    tied = torch.equal(head, tensors["wte.weight"])
    if not tied:
        state["head.weight"] = head
    shape = n, context_length, d, n_heads or d // 64, n_layers
    model = GPT(GPTConfig(*shape, tied=tied)).to(head.dtype)
    model.load_state_dict(state)
    return model
