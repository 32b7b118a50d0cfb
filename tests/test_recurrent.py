"""tfcourse.recurrent against PyTorch's own layers, finite differences, and bad input."""

import pytest
import torch

from tfcourse.recurrent import (
    GRUCell,
    LSTMCell,
    Recurrent,
    RecurrentModel,
    RNNCell,
    gradient_by_lag,
    products,
    rnn_step,
    spectral_radius,
    tanh_jacobian,
)

B, T, D_IN, D = 2, 7, 3, 5  # all different, so that swapped axes show
PAIRS = [(RNNCell, torch.nn.RNN), (LSTMCell, torch.nn.LSTM), (GRUCell, torch.nn.GRU)]


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def copied(cell_type, torch_type):
    """Our recurrent layer and PyTorch's, in float64, with the same weights."""
    ours = Recurrent(cell_type(D_IN, D)).double()
    theirs = torch_type(D_IN, D, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for seed, parameter in enumerate(theirs.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=seed) / 2)
        ours.cell.xh.weight.copy_(theirs.weight_ih_l0)
        ours.cell.hh.weight.copy_(theirs.weight_hh_l0)
        if ours.cell.hh.bias is None:
            ours.cell.xh.bias.copy_(theirs.bias_ih_l0 + theirs.bias_hh_l0)
        else:
            ours.cell.xh.bias.copy_(theirs.bias_ih_l0)
            ours.cell.hh.bias.copy_(theirs.bias_hh_l0)
    return ours, theirs


@pytest.mark.parametrize("cell_type, torch_type", PAIRS)
def test_equals_pytorch_forward_and_backward(cell_type, torch_type):
    ours, theirs = copied(cell_type, torch_type)
    inputs = [normal(B, T, D_IN, seed=9).requires_grad_() for _ in range(2)]
    out, expected = ours(inputs[0]), theirs(inputs[1])[0]
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    cotangent = normal(B, T, D, seed=10)
    out.backward(cotangent)
    expected.backward(cotangent)
    pairs = [(inputs[0].grad, inputs[1].grad)]
    pairs += [(ours.cell.hh.weight.grad, theirs.weight_hh_l0.grad)]
    pairs += [(ours.cell.xh.weight.grad, theirs.weight_ih_l0.grad)]
    for got, want in pairs:
        torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("cell_type, torch_type", PAIRS)
def test_can_be_continued_from_a_state(cell_type, torch_type):
    ours, _ = copied(cell_type, torch_type)
    x = normal(B, T, D_IN, seed=3)
    first = ours.states(x[:, :4])
    second = ours.states(x[:, 4:], first[-1])
    torch.testing.assert_close(ours(x)[:, -1], second[-1][0], rtol=0, atol=1e-12)


def test_the_future_does_not_change_the_past():
    ours, _ = copied(LSTMCell, torch.nn.LSTM)
    x = normal(B, T, D_IN)
    changed = x.clone()
    changed[:, 4:] += 1
    assert torch.equal(ours(x)[:, :4], ours(changed)[:, :4])
    assert not torch.equal(ours(x)[:, 4:], ours(changed)[:, 4:])


def test_products_of_jacobians_give_the_gradient_of_autograd():
    w_hh, w_xh, bias = normal(D, D) / 2, normal(D, D_IN, seed=1), normal(D, seed=2)
    h = torch.zeros(1, D, dtype=torch.float64, requires_grad=True)
    states = [h]
    for x in normal(T, 1, D_IN, seed=3):
        states.append(rnn_step(x, states[-1], w_xh, w_hh, bias))
    readout = normal(D, seed=4)
    loss = (states[-1] @ readout).sum()
    measured = gradient_by_lag(loss, states)
    jacobians = [tanh_jacobian(s[0].detach(), w_hh) for s in states[1:]]
    predicted = torch.stack([(readout @ m).norm() for m in products(jacobians)])
    torch.testing.assert_close(measured, predicted, rtol=1e-12, atol=0)
    *_, backwards = products(jacobians[::-1])  # the same factors, the other way round
    assert ((readout @ backwards).norm() / measured[-1] - 1).abs() > 0.01


def test_tanh_jacobian_against_finite_differences():
    w_hh, h = normal(D, D), normal(D, seed=1)
    step = lambda h: torch.tanh(w_hh @ h)
    expected = torch.autograd.functional.jacobian(step, h)
    torch.testing.assert_close(tanh_jacobian(step(h), w_hh), expected)


def test_spectral_radius_is_not_a_norm():
    shear = torch.tensor([[0.5, 9.0], [0.0, -0.8]])
    assert spectral_radius(shear) == pytest.approx(0.8)
    turn = torch.tensor([[0.0, -2.0], [2.0, 0.0]])  # complex eigenvalues +-2i
    assert spectral_radius(turn) == pytest.approx(2.0)


@pytest.mark.parametrize("cell", [RNNCell, LSTMCell, GRUCell])
def test_model_shapes_and_one_hot_inputs(cell):
    model = RecurrentModel(cell, vocab_size=6, d_model=D, n_out=4)
    ids = torch.tensor([[0, 5, 2], [1, 1, 3]])
    assert model(ids).shape == (2, 3, 4)
    assert not torch.equal(model(ids)[0, 0], model(ids)[1, 0])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"square matrix; got shape \(2, 3\)"):
        spectral_radius(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"\(b, t, d_in\) with t > 0; got \(4, 3\)"):
        Recurrent(RNNCell(3, 5))(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"got \(2, 0, 3\)"):
        Recurrent(RNNCell(3, 5))(torch.zeros(2, 0, 3))
