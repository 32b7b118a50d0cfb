"""Fitting a model to examples: the training loop that every chapter uses (chapter 1)."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> float:
    """Shorten the gradients, taken as one long vector, to max_norm where it is longer.

    g <- g * min(1, max_norm / |g|), in place; the direction stays.
    Returns the norm before. Source: Pascanu, Mikolov and Bengio (2013), algorithm 1.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive; got max_norm={max_norm}")
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(g.double().square().sum().item() for g in gradients))
    if norm > max_norm:
        for gradient in gradients:
            gradient.mul_(max_norm / norm)
    return norm


def initialize(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """Fill the weights of a model from a seeded generator, in place; return the model.

    Matrices and larger: uniform in +-1 / sqrt(inputs of one unit), PyTorch's own rule
    for nn.Linear. Biases: zero. Other vectors (gains) stay as they are.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                bound = parameter[0].numel() ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()
    return model


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean surprise, in nats, at the right answers: -log softmax(logits)[target].

    logits: (..., n), targets: (...) of integers below n  ->  a scalar.

    >>> cross_entropy(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long)).exp()
    tensor(4.)
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            "logits must be (..., n) with targets (...); "
            f"got logits {tuple(logits.shape)}, targets {tuple(targets.shape)}"
        )
    return nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten())


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """The share of positions whose largest logit is the target's.

    logits: (..., n), targets: (...)  ->  a number from 0 to 1.
    """
    return (logits.argmax(dim=-1) == targets).double().mean().item()


def fit(
    model: nn.Module,
    batch: Callable[[int], tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    *,
    lr: float = 1e-3,
    optimizer: torch.optim.Optimizer | None = None,
    schedule: Callable[[int], float] | None = None,
    max_norm: float | None = 1.0,
) -> list[float]:
    """Train the model in place: guess, measure, differentiate, step. Returns the losses.

    batch: step number -> (inputs, targets); loss: (outputs, targets) -> scalar.
    optimizer: Adam (Kingma and Ba 2015), fused, at rate lr unless given; schedule: step ->
    factor on its learning rate; max_norm: for clip_gradients, None to leave it out.
    FloatingPointError, with the step, when the loss is no longer a finite number.
    """
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    rates = [group["lr"] for group in optimizer.param_groups]
    losses = []
    model.train()
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (schedule(step) if schedule else 1.0)
        inputs, targets = batch(step)
        value = loss(model(inputs), targets)
        losses.append(value.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(
                f"the loss is {losses[-1]} at step {step}: try a smaller learning rate "
                f"(now {rates}) or a smaller max_norm (now {max_norm})"
            )
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        if max_norm is not None:
            clip_gradients(model.parameters(), max_norm)
        optimizer.step()
    return losses
