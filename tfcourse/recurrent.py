"""Recurrent networks, and how a gradient travels back through them (chapter 1)."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn


def rnn_step(
    x: Tensor,
    h: Tensor,
    w_xh: Tensor,
    w_hh: Tensor,
    bias: Tensor,
    f: Callable[[Tensor], Tensor] = torch.tanh,
) -> Tensor:
    """One step of the recurrence: h_t = f(W_xh x_t + W_hh h_{t-1} + b).

    x: (b, d_in), h: (b, d), w_xh: (d, d_in), w_hh: (d, d), bias: (d,)  ->  (b, d).
    Source: Elman (1990), "Finding structure in time".

    >>> one = torch.ones(1, 1)
    >>> rnn_step(one, one, one, one, torch.zeros(1), f=torch.relu)
    tensor([[2.]])
    """
    return f(x @ w_xh.T + h @ w_hh.T + bias)


def tanh_jacobian(h: Tensor, w_hh: Tensor) -> Tensor:
    """dh_t / dh_{t-1} of a tanh recurrence: diag(1 - h_t^2) W_hh.

    h: (d,), the state *after* the step; w_hh: (d, d)  ->  (d, d).
    """
    return (1 - h**2)[:, None] * w_hh


def products(jacobians: list[Tensor]) -> Iterator[Tensor]:
    """The identity, J_t, J_t J_{t-1}, ... : one matrix for each lag k = 0, 1, ...

    jacobians: J_1, ..., J_t in the order of time, each (d, d). A gradient (a row) at
    step t, times the matrix for lag k, is the gradient at step t - k.
    Source: Pascanu, Mikolov and Bengio (2013), section 2.
    """
    product = torch.eye(len(jacobians[0]), dtype=jacobians[0].dtype)
    yield product
    for jacobian in reversed(jacobians):
        product = product @ jacobian
        yield product


def gradient_by_lag(loss: Tensor, steps: list[Tensor]) -> Tensor:
    """The norm of dL / d step_{t-k}, measured by autograd, for k = 0, 1, ..., t - 1.

    loss: a scalar; steps: t tensors (b, d) that it was computed from, in the order of
    time (states or inputs)  ->  (t,): norms over d, averaged over the batch.
    """
    gradients = torch.autograd.grad(loss, steps, materialize_grads=True)
    return torch.stack([g.norm(dim=-1).mean() for g in reversed(gradients)])


def spectral_radius(w: Tensor) -> float:
    """The largest absolute value among the eigenvalues of w: (d, d).

    >>> spectral_radius(torch.tensor([[0.5, 9.0], [0.0, -0.8]]))
    0.8...
    """
    if w.ndim != 2 or w.shape[0] != w.shape[1]:
        raise ValueError(f"w must be a square matrix; got shape {tuple(w.shape)}")
    return torch.linalg.eigvals(w).abs().max().item()


State = tuple[Tensor, ...]


class RNNCell(nn.Module):
    """The plain recurrent cell: h_t = tanh(W_xh x_t + W_hh h_{t-1} + b).

    x: (b, d_in), state: (h,) with h: (b, d_model)  ->  (h_t,).
    Equal to torch.nn.RNN, whose two biases are here one. Source: Elman (1990).
    """

    n_parts = 1

    def __init__(self, d_in: int, d_model: int):
        super().__init__()
        self.xh = nn.Linear(d_in, d_model)
        self.hh = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x: Tensor, state: State) -> State:
        (h,) = state
        return (rnn_step(x, h, self.xh.weight, self.hh.weight, self.xh.bias),)


class Recurrent(nn.Module):
    """A cell applied from left to right, with the same weights at every step.

    x: (b, t, d_in)  ->  out: (b, t, d_model), every step's h.
    ValueError when x has another number of dimensions or no step.
    """

    def __init__(self, cell: nn.Module):
        super().__init__()
        self.cell = cell

    def states(self, x: Tensor, state: State | None = None) -> list[State]:
        """The state after each step: t tuples of (b, d_model); state: where to start."""
        if x.ndim != 3 or x.shape[1] == 0:
            raise ValueError(f"x must be (b, t, d_in) with t > 0; got {tuple(x.shape)}")
        if state is None:
            zeros = x.new_zeros(x.shape[0], self.cell.hh.in_features)
            state = (zeros,) * self.cell.n_parts
        states = []
        for x_t in x.unbind(dim=1):
            state = self.cell(x_t, state)
            states.append(state)
        return states

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([state[0] for state in self.states(x)], dim=1)


class RecurrentModel(nn.Module):
    """Symbols in, a score for each possible answer out, at every step.

    Each symbol switches on one input of its own (a one-hot vector: chapter 2).
    ids: (b, t) of integers below vocab_size  ->  logits: (b, t, n_out).
    """

    def __init__(
        self, cell: type[nn.Module], vocab_size: int, d_model: int, n_out: int
    ):
        super().__init__()
        self.vocab_size = vocab_size
        self.recurrent = Recurrent(cell(vocab_size, d_model))
        self.readout = nn.Linear(d_model, n_out)

    def forward(self, ids: Tensor) -> Tensor:
        x = nn.functional.one_hot(ids, self.vocab_size).to(self.readout.weight.dtype)
        return self.readout(self.recurrent(x))


class LSTMCell(nn.Module):
    """Long short-term memory: a cell state c that is added to, not multiplied through.

    i, f, o = sigmoid(...), g = tanh(...), each of W_xh x_t + W_hh h_{t-1} + b
    c_t = f * c_{t-1} + i * g;  h_t = o * tanh(c_t)
    x: (b, d_in), state: (h, c), each (b, d_model)  ->  (h_t, c_t).
    Equal to torch.nn.LSTM, whose two biases are here one; same order of gates.
    Source: Hochreiter and Schmidhuber (1997); forget gate: Gers et al. (2000).
    """

    n_parts = 2

    def __init__(self, d_in: int, d_model: int):
        super().__init__()
        self.xh = nn.Linear(d_in, 4 * d_model)
        self.hh = nn.Linear(d_model, 4 * d_model, bias=False)

    def forward(self, x: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = (self.xh(x) + self.hh(h)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class GRUCell(nn.Module):
    """The gated recurrent unit: one gate decides between the old state and a new one.

    r, z = sigmoid(...) of W_xh x_t + W_hh h_{t-1} + b
    n = tanh(W_xn x_t + b_xn + r * (W_hn h_{t-1} + b_hn))
    h_t = (1 - z) * n + z * h_{t-1}
    x: (b, d_in), state: (h,) with h: (b, d_model)  ->  (h_t,).
    Equal to torch.nn.GRU, its order of gates, and its r after the matrix; Cho et al.
    (2014), the source, apply r before it.
    """

    n_parts = 1

    def __init__(self, d_in: int, d_model: int):
        super().__init__()
        self.xh = nn.Linear(d_in, 3 * d_model)
        self.hh = nn.Linear(d_model, 3 * d_model)

    def forward(self, x: Tensor, state: State) -> State:
        (h,) = state
        x_r, x_z, x_n = self.xh(x).chunk(3, dim=-1)
        h_r, h_z, h_n = self.hh(h).chunk(3, dim=-1)
        z = torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
        return ((1 - z) * n + z * h,)
