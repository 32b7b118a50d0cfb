"""tfcourse.fitting: each piece against PyTorch's own or a hand computation."""

import math

import pytest
import torch
from torch import nn

from tests.parity import seeded
from tfcourse.fitting import accuracy, clip_gradients, cross_entropy, fit, initialize


def test_initialize_is_repeatable_and_leaves_gains_alone():
    def model():
        return nn.Sequential(nn.Linear(9, 16), nn.LayerNorm(16), nn.Embedding(5, 4))

    first, second = initialize(model(), seeded(1)), initialize(model(), seeded(1))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert first[0].weight.abs().max() <= 1 / 3 < 1.1 * first[0].weight.abs().max()
    assert not first[0].bias.any()
    assert torch.equal(first[1].weight, torch.ones(16))
    other = initialize(model(), seeded(2))
    assert not torch.equal(first[0].weight, other[0].weight)


def test_cross_entropy_by_hand():
    logits = torch.tensor([[[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    targets = torch.tensor([[0, 2]])
    by_hand = (math.log(1 + math.exp(-1) + math.exp(-2)) + math.log(3)) / 2
    assert cross_entropy(logits, targets).item() == pytest.approx(by_hand, rel=1e-6)
    assert accuracy(logits, targets) == 0.5
    with pytest.raises(ValueError, match=r"logits \(1, 2, 3\), targets \(2, 1\)"):
        cross_entropy(logits, targets.T)


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_equals_pytorch(max_norm):
    def parameters():
        made = [nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(4))]
        for seed, p in enumerate(made):
            p.grad = torch.randn(p.shape, generator=seeded(seed))
        return [*made, nn.Parameter(torch.zeros(1))]  # one that has no gradient

    ours, theirs = parameters(), parameters()
    before = clip_gradients(ours, max_norm)
    expected = nn.utils.clip_grad_norm_(theirs, max_norm)
    assert before == pytest.approx(expected.item(), rel=1e-5)
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    with pytest.raises(ValueError, match="max_norm=0"):
        clip_gradients(ours, 0)


def line(step):
    x = torch.linspace(-1, 1, 8)[:, None]
    return x, 3 * x + 1


def test_fit_learns_a_line_and_lowers_the_loss():
    model = initialize(nn.Linear(1, 1), seeded())
    losses = fit(model, line, nn.functional.mse_loss, 300, lr=0.05)
    assert len(losses) == 300 and losses[-1] < 1e-4 < losses[0]
    assert model.weight.item() == pytest.approx(3, abs=0.02)


def test_fit_schedule_and_optimizer_are_used():
    model = initialize(nn.Linear(1, 1), seeded())
    start = model.weight.item()
    fit(model, line, nn.functional.mse_loss, 5, schedule=lambda step: 0.0)
    assert model.weight.item() == start
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    fit(
        model,
        line,
        nn.functional.mse_loss,
        1,
        optimizer=sgd,
        max_norm=0.25,
        schedule=lambda step: 0.5,
    )
    moved = torch.tensor([model.weight.item() - start, model.bias.item()]).norm()
    assert moved.item() == pytest.approx(0.5 * 0.25, rel=1e-4)


def test_fit_says_where_the_loss_is_lost():
    model = initialize(nn.Linear(1, 1), seeded())

    def broken(outputs, targets):
        return (outputs - targets).sum() / 0

    with pytest.raises(FloatingPointError, match="at step 0: try a smaller"):
        fit(model, line, broken, 3)
