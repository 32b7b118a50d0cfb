"""Training a GPT: batches, optimizer, precision, memory, devices, resuming (chapter 11)."""

import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from tfcourse.gpt import GPT, GPTConfig, require_count, require_division


@dataclass(frozen=True)
class Recipe:
    """How a GPT is trained. ValueError, by name, for what cannot be done.

    steps; batch: sequences a step, cut into micro_batches; lr: at its highest, after
    warm_up steps, then falling along a cosine to floor * lr; weight_decay; betas: of AdamW;
    max_norm: of the gradients; bfloat16: whether matrices are multiplied in it; seed.
    """

    steps: int
    batch: int
    lr: float
    micro_batches: int = 1
    warm_up: int = 100
    floor: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    max_norm: float = 1.0
    bfloat16: bool = False
    seed: int = 0

    def __post_init__(self):
        for name in ("steps", "batch", "micro_batches"):
            require_count(name, getattr(self, name))
        require_division("batch", self.batch, "micro_batches", self.micro_batches)
        for name in ("lr", "max_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0; got {getattr(self, name)}")
        if not 0 <= self.warm_up or not 0 <= self.floor <= 1:
            raise ValueError(
                "warm_up must be 0 or more and floor from 0 to 1; "
                f"got warm_up={self.warm_up}, floor={self.floor}"
            )


def warmup_cosine(step: int, recipe: Recipe) -> float:
    """The share of lr at a step: rising evenly in warm_up steps, then half a cosine down.

    Source: Loshchilov and Hutter (2017), equation 5, with the warm-up of Goyal et al.
    (2017), section 2.2.

    >>> recipe = Recipe(steps=11, batch=1, lr=1.0, warm_up=1, floor=0.5)
    >>> [round(warmup_cosine(step, recipe), 3) for step in (0, 1, 6, 11)]
    [1.0, 1.0, 0.75, 0.5]
    """
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    done = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.floor + (1 - recipe.floor) * (1 + math.cos(math.pi * done)) / 2


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW in two groups: matrices shrink a little each step, biases and gains do not.

    Source: Loshchilov and Hutter (2019), algorithm 2.
    """
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=True)


def windows(ids: Tensor, batch: int, t: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pieces of a text from random places, and the same pieces one token later.

    ids: (all,), on the CPU  ->  inputs and targets, both (batch, t). The same seed draws
    the same. ValueError for a text of t tokens or fewer.
    """
    if len(ids) <= t:
        raise ValueError(f"a window of {t} tokens and one more: got {len(ids)} tokens")
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(ids) - t, (batch, 1), generator=generator)
    cut = ids[starts + torch.arange(t + 1)]
    return cut[:, :-1], cut[:, 1:]


def precision(device: torch.device, bfloat16: bool):
    """A context in which matrices are multiplied in bfloat16, if that is asked for.

    Weights, norms, softmax and the loss stay in float32: sums of many small numbers need
    the digits. Source: Kalamkar et al. (2019).
    """
    return torch.autocast(device.type, torch.bfloat16) if bfloat16 else nullcontext()


def add_gradients(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    micro_batches: int,
    bfloat16: bool,
) -> float:
    """Add to the gradients those of the mean loss over a batch, part by part.

    inputs, targets: (b, t)  ->  the loss, in nats a token. Each part's mean is weighed by
    its share of the tokens, so that the sum is the gradient of the whole batch.
    """
    total = 0.0
    parts = zip(inputs.chunk(micro_batches), targets.chunk(micro_batches), strict=True)
    for part, wanted in parts:
        with precision(part.device, bfloat16):
            logits = model(part)
        if bfloat16:
            logits = logits.float()
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        loss = loss * (wanted.numel() / targets.numel())
        loss.backward()
        total += loss.item()
    return total


def recompute_activations(model: GPT) -> GPT:
    """Keep only what enters each block, and compute the rest again on the way back.

    The gradients are the same. Of all activations in the blocks, one block's are in memory
    at a time; time rises by about a third. Source: Chen et al. (2016), section 3.
    """
    for block in model.stack.blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return model


def flops_per_token(config: GPTConfig) -> int:
    """Floating-point operations to train on one token: forward once, backward twice that.

    6 for each weight of a matrix, and 12 l d t for scores and mixes, with all t positions
    counted, masked or not. Source: Chowdhery et al. (2022), appendix B.
    """
    c = config
    attention = c.d_model * (2 * c.d_model + 2 * c.n_kv_heads * c.d_head)
    wide = 3 if c.activation == "swiglu" else 2
    block = attention + wide * c.d_model * c.d_ff
    weights = c.n_layers * block + c.vocab_size * c.d_model
    return 6 * weights + 12 * c.n_layers * c.d_model * c.context_length


def peak_flops(device: torch.device, dtype: torch.dtype, size: int = 1024) -> float:
    """Floating-point operations a second in the best of some large matrix products.

    Not the figure of a data sheet, but what this machine reaches when it does nothing else.
    """
    a = torch.ones(size, size, dtype=dtype, device=device)
    best = math.inf
    for _ in range(8):
        start = time.perf_counter()
        (a @ a).sum().item()  # .item() waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def scored_windows(ids: Tensor, t: int) -> tuple[Tensor, Tensor]:
    """Windows that cover a text, each token but the first to be predicted once.

    ids: (all,)  ->  inputs, targets, both (windows, t). Windows overlap by half; a target
    that the window before has scored is -1, so that at least t / 2 tokens of context
    stand before each that counts, but at the start.

    >>> inputs, targets = scored_windows(torch.arange(7), t=4)
    >>> inputs.tolist(), targets.tolist()
    ([[0, 1, 2, 3], [2, 3, 4, 5]], [[1, 2, 3, 4], [-1, -1, 5, 6]])
    """
    n = len(ids) - 1
    t = min(t, n)
    starts, scored = [0], [0]
    while starts[-1] + t < n:
        scored.append(starts[-1] + t)
        starts.append(min(scored[-1] - t // 2, n - t))
    places = torch.tensor(starts)[:, None] + torch.arange(t)
    is_new = places >= torch.tensor(scored)[:, None]
    return ids[places], ids[places + 1].where(is_new, -1)


@torch.inference_mode()
def evaluate(model: GPT, ids: Tensor, batch: int = 16) -> float:
    """The mean surprise at each token of a text but the first, in nats.

    ids: (all,), read as scored_windows of context_length. ValueError for fewer than two
    tokens.
    """
    if len(ids) < 2:
        raise ValueError(f"two tokens or more can be scored; got {len(ids)}")
    device = next(model.parameters()).device
    was_training, total = model.training, 0.0
    model.eval()
    inputs, targets = scored_windows(ids, model.config.context_length)
    for part, wanted in zip(inputs.split(batch), targets.split(batch), strict=True):
        logits = model(part.to(device)).flatten(0, 1)
        wanted = wanted.to(device).flatten()
        total += F.cross_entropy(
            logits, wanted, ignore_index=-1, reduction="sum"
        ).item()
    model.train(was_training)
    return total / (len(ids) - 1)


def save_checkpoint(path: Path | str, content: dict) -> None:
    """Write what torch.save can, whole or not at all: beside its place, then moved there."""
    path = Path(path)
    unfinished = path.with_name(path.name + ".unfinished")
    torch.save(content, unfinished)
    os.replace(unfinished, path)


def load_checkpoint(path: Path | str, config: GPTConfig, recipe: Recipe) -> dict:
    """Read what save_checkpoint wrote, for the same model and recipe.

    ValueError for a damaged file, or one of another shape or recipe, naming what differs;
    only steps may, so that a run can be made longer.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is cut short or damaged: {error}") from error
    if not {"model", "optimizer", "step", "config", "recipe"} <= content.keys():
        raise ValueError(f"{path} is no checkpoint of a run")
    for name, own in (("config", asdict(config)), ("recipe", asdict(recipe))):
        stored = content[name]
        for key in own.keys() - {"steps"}:
            if stored.get(key) != own[key]:
                raise ValueError(
                    f"{path} is of another {name}: there {key}={stored.get(key)!r}, "
                    f"here {key}={own[key]!r}"
                )
    return content


@dataclass(frozen=True)
class Progress:
    """How training goes, after a step: loss in nats a token, before clipping |g|."""

    step: int
    loss: float
    gradient_norm: float
    lr: float
    tokens_per_second: float


def share_of_rank(x: Tensor) -> Tensor:
    """The rows of a batch that this process works on: all, where it is alone.

    ValueError where the processes cannot share the rows evenly.
    """
    if not dist.is_initialized():
        return x
    n, rank = dist.get_world_size(), dist.get_rank()
    if len(x) % n:
        raise ValueError(f"batch must be divisible by the {n} processes; got {len(x)}")
    return x.chunk(n)[rank]


def join_processes() -> torch.device:
    """Join the processes that torchrun started, if it did; the device of this one.

    torchrun says through the environment how many there are and which one this is. On
    CUDA each takes a card of its own and they speak by NCCL, else by gloo.
    """
    if "WORLD_SIZE" not in os.environ:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        dist.init_process_group("gloo")
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    dist.init_process_group("nccl", device_id=device)
    return device


def config_of(model: nn.Module) -> GPTConfig:
    """The shape of a GPT, also of one that PyTorch has wrapped to distribute it."""
    return getattr(model, "module", model).config


def mean_over_ranks(value: float, device: torch.device) -> float:
    """The mean of a number over all processes; the number, where there is one process."""
    if not dist.is_initialized():
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.item() / dist.get_world_size()


def distribute(model: GPT, sharded: bool) -> nn.Module:
    """The model as one of several processes trains it; every one calls this.

    Each has whole weights and all average their gradients, or, sharded, each keeps a part
    of every weight, gradient and moment, and fetches a block's when it is needed.
    Sources: Li et al. (2020); Zhao et al. (2023). ValueError without a process group.
    """
    if not dist.is_initialized():
        raise ValueError(
            "start with torchrun, and call dist.init_process_group() first"
        )
    if not sharded:
        return DistributedDataParallel(model)
    for block in model.stack.blocks:
        fully_shard(block)
    return fully_shard(model)


WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


def save_run(
    path: Path | str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    step: int,
) -> None:
    """Write all that a run needs to go on after `step` steps; the first process writes."""
    weights, moments = get_state_dict(model, optimizer, options=WHOLE)
    if not dist.is_initialized() or dist.get_rank() == 0:
        content = {"model": weights, "optimizer": moments, "step": step}
        content |= {"config": asdict(config_of(model)), "recipe": asdict(recipe)}
        save_checkpoint(path, content)


def resume_run(
    path: Path | str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
) -> int:
    """Put a run back where save_run left it; return how many steps were done, 0 if none.

    ValueError as load_checkpoint.
    """
    if not Path(path).exists():
        return 0
    content = load_checkpoint(path, config_of(model), recipe)
    optimizer.zero_grad()  # set_state_dict fills an optimizer only where none is left
    set_state_dict(
        model,
        optimizer,
        model_state_dict=content["model"],
        optim_state_dict=content["optimizer"],
        options=WHOLE,
    )
    return content["step"]


SEEDS = 1_000_003  # seeds of steps: runs of fewer steps share none


def train_step(
    model: nn.Module,
    ids: Tensor,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> Progress:
    """One step: a batch that follows from its number, gradients, clipping, AdamW."""
    device, start = next(model.parameters()).device, time.perf_counter()
    seed = recipe.seed * SEEDS + step
    torch.manual_seed(seed)  # for dropout
    drawn = windows(ids, recipe.batch, config_of(model).context_length, seed)
    inputs, targets = (share_of_rank(x).to(device) for x in drawn)
    lr = recipe.lr * warmup_cosine(step, recipe)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    parts, bfloat16 = recipe.micro_batches, recipe.bfloat16
    loss = add_gradients(model, inputs, targets, parts, bfloat16)
    loss = mean_over_ranks(loss, device)
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss} at step {step}: try a smaller lr (now {recipe.lr}), a "
            f"longer warm_up (now {recipe.warm_up}) or a smaller max_norm"
        )
    norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.max_norm)
    optimizer.step()
    norm = getattr(norm, "full_tensor", lambda: norm)().item()
    speed = drawn[0].numel() / (time.perf_counter() - start)
    return Progress(step, loss, norm, lr, speed)


def train(
    model: nn.Module,
    ids: Tensor,
    recipe: Recipe,
    *,
    path: Path | str | None = None,
    save_every: int = 100,
    report: Callable[[Progress], None] | None = None,
) -> list[Progress]:
    """Train a GPT in place on windows of a text; what became of each step.

    ids: (all,), on the CPU; path: of a checkpoint, written each save_every steps and at the
    end; where it exists, the run goes on from it, bit for bit as if it had not stopped:
    all that is random in a step follows from the seed and its number. report: called after
    each step. FloatingPointError, with the step, for a loss that is no finite number.
    """
    optimizer = make_optimizer(model, recipe)
    done = resume_run(path, model, optimizer, recipe) if path else 0
    history = []
    model.train()
    for step in range(done, recipe.steps):
        history.append(train_step(model, ids, recipe, optimizer, step))
        if report:
            report(history[-1])
        if path and ((step + 1) % save_every == 0 or step + 1 == recipe.steps):
            save_run(path, model, optimizer, recipe, step + 1)
    return history
