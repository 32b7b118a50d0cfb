"""Right and wrong answers to the exercises of chapter 1, and what must be said to them."""

import math

import torch

from tfcourse.checks.proofs import right, wrong


@wrong("01-1", says="It would with eigenvalues below 1")
def predicts_decay():
    """Expects the gradient to vanish."""
    return {"prediction": "vanishes"}


@wrong("01-1", says="what the eigenvalues alone would say")
def predicts_from_eigenvalues():
    """Reads the answer off the spectral radius: it stays."""
    return {"prediction": "stays"}


@wrong("01-1", says="exponentially would square the factor")
def predicts_explosion():
    """Expects exponential growth."""
    return {"prediction": "grows exponentially"}


def back(states, w_hh, gradient, previous=1, slopes=True, transposed=False, stop=0):
    total = torch.zeros_like(w_hh)
    for i in range(len(states) - 1, stop, -1):
        a = gradient * (1 - states[i] ** 2) if slopes else gradient
        total += torch.outer(a, states[i - previous])
        gradient = w_hh @ a if transposed else a @ w_hh
    return total


@right("01-2")
def with_einsum():
    """Collects all steps first, then one einsum."""

    def backward_through_time(states, w_hh, gradient):
        rows = []
        for h in reversed(states[1:]):
            rows.insert(0, gradient * (1 - h * h))
            gradient = torch.einsum("i,ij->j", rows[0], w_hh)
        return torch.einsum("ti,tj->ij", torch.stack(rows), states[:-1])

    return backward_through_time


@wrong("01-2", says="the shares add up")
def overwrites_the_total():
    """Overwrites the total instead of adding to it."""

    def backward_through_time(states, w_hh, gradient):
        for i in range(len(states) - 1, 0, -1):
            a = gradient * (1 - states[i] ** 2)
            total = torch.outer(a, states[i - 1])
            gradient = a @ w_hh
        return total

    return backward_through_time


@wrong("01-2", says="wrong side of W_hh")
def carries_by_the_transpose():
    """Carries the gradient back with W_hh on the wrong side."""
    return {"backward_through_time": lambda s, w, g: back(s, w, g, transposed=True)}


@wrong("01-2", says="the state after it")
def takes_the_later_state():
    """Multiplies by the state after the step instead of the one before."""
    return {"backward_through_time": lambda s, w, g: back(s, w, g, previous=0)}


@wrong("01-2", says="slopes of tanh are missing")
def forgets_the_slopes():
    """Leaves out the slope of tanh."""
    return {"backward_through_time": lambda s, w, g: back(s, w, g, slopes=False)}


@wrong("01-2", says="must come down to i = 1")
def stops_one_step_early():
    """Ends the loop one step early."""
    return {"backward_through_time": lambda s, w, g: back(s, w, g, stop=1)}


@wrong("01-2", says="that of the state after the step")
def takes_the_earlier_slope():
    """Takes the slope at the state before the step."""

    def backward_through_time(states, w_hh, gradient):
        total = torch.zeros_like(w_hh)
        for before in reversed(states[:-1]):
            a = gradient * (1 - before**2)
            total += torch.outer(a, before)
            gradient = a @ w_hh
        return total

    return backward_through_time


@wrong("01-2", says="The right numbers, transposed")
def transposes_the_result():
    """Swaps the two arguments of the outer product."""
    return {"backward_through_time": lambda s, w, g: back(s, w, g).T}


def norms(order=2):
    pair = 0.95 * torch.tensor([[1.0, 3.0], [0.0, 1.0]], dtype=torch.float64)
    w = torch.block_diag(pair, pair)
    powers = [torch.linalg.matrix_power(w, k) for k in range(200)]
    return torch.stack([torch.linalg.matrix_norm(p, order) for p in powers])


@right("01-3")
def by_singular_values():
    """Takes the singular values of each power."""
    return {"lag": int((norms()[1:] < 1).nonzero()[0]) + 1}


@right("01-3")
def as_a_tensor():
    """Gives the lag as a tensor."""
    return {"lag": (norms()[1:] < 1).nonzero()[0] + 1}


@wrong("01-3", says="That is another norm")
def takes_another_norm():
    """Takes the default norm of a matrix."""
    return {"lag": int((norms("fro")[1:] < 1).nonzero()[0]) + 1}


@wrong("01-3", says="what the spectral radius says")
def trusts_the_radius():
    """Concludes from a spectral radius below 1 that it vanishes at once."""
    return {"lag": 1}


@wrong("01-3", says="There the gradient is largest")
def reports_the_peak():
    """Reports the lag of the largest gradient."""
    return {"lag": int(norms().argmax())}


@wrong("01-3", says="begins with lag 0")
def counts_from_one():
    """Is off by one: forgets that the first product is that of lag 0."""
    return {"lag": int((norms()[1:] < 1).nonzero()[0])}


@wrong("01-3", says="it was below 1 before")
def waits_too_long():
    """Waits until a millionth is left."""
    return {"lag": 199}


@wrong("01-3", says="go on.")
def stops_at_the_first_fall():
    """Stops at the first lag whose gradient is smaller than at the lag before."""
    return {"lag": int(norms().argmax()) + 1}


@right("01-4")
def by_singular_vectors():
    """Sets all singular values to 1."""

    def orthogonal(a):
        u, _, vh = torch.linalg.svd(a)
        return u @ vh

    return orthogonal


@wrong("01-4", says="Its spectral radius is 1")
def divides_by_the_radius():
    """Divides by the spectral radius."""

    def orthogonal(a):
        return a / torch.linalg.eigvals(a).abs().max()

    return orthogonal


@wrong("01-4", says="all five should be")
def divides_by_the_norm():
    """Divides by the largest singular value."""

    def orthogonal(a):
        return a / torch.linalg.matrix_norm(a, 2)

    return orthogonal


@wrong("01-4", says="not at right angles")
def normalizes_columns():
    """Gives every column length 1 and stops there."""

    def orthogonal(a):
        return a / a.norm(dim=0)

    return orthogonal


@wrong("01-4", says="that is the R of A = QR")
def returns_r():
    """Returns the other factor of the QR decomposition."""

    def orthogonal(a):
        return torch.linalg.qr(a)[1]

    return orthogonal


@wrong("01-4", says="The same `a` gave two different answers")
def draws_its_own():
    """Draws a random orthogonal matrix of its own."""

    def orthogonal(a):
        return torch.nn.init.orthogonal_(torch.empty_like(a))

    return orthogonal


@wrong("01-4", says="Two different matrices gave the same answer")
def ignores_its_input():
    """Returns one fixed orthogonal matrix."""

    def orthogonal(a):
        return torch.eye(len(a)).flip(0)

    return orthogonal


@right("01-5")
def with_torch():
    """Uses torch.logit."""

    def forget_bias(lag, keep):
        return torch.logit(torch.tensor(keep, dtype=torch.float64) ** (1 / lag))

    return forget_bias


@wrong("01-5", says="over *one* step")
def forgets_the_steps():
    """Keeps the share over one step instead of all."""
    return {"forget_bias": lambda lag, keep: math.log(keep / (1 - keep))}


@wrong("01-5", says="what sigmoid turns into it")
def returns_the_gate():
    """Returns the gate instead of its bias."""
    return {"forget_bias": lambda lag, keep: keep ** (1 / lag)}


@wrong("01-5", says="what undoes a sigmoid")
def takes_a_logarithm():
    """Inverts the sigmoid with a logarithm."""
    return {"forget_bias": lambda lag, keep: math.log(keep) / lag}


@wrong("01-5", says="The sign is turned")
def turns_the_sign():
    """Has gate and one minus gate the wrong way round."""

    def forget_bias(lag, keep):
        gate = keep ** (1 / lag)
        return math.log((1 - gate) / gate)

    return forget_bias


def run(w_hh, xs, readout, cut):
    w = w_hh.clone().requires_grad_()
    h = torch.zeros(len(w))
    for i, x in enumerate(xs):
        if cut(i, len(xs)):
            h = h.detach()
        h = torch.tanh(w @ h + x)
    return torch.autograd.grad(readout @ h, w)[0]


@right("01-6")
def in_two_loops():
    """Runs the first part without gradients."""

    def truncated(w_hh, xs, readout, keep):
        w = w_hh.clone().requires_grad_()
        h = torch.zeros(len(w_hh))
        with torch.no_grad():
            for x in xs[: len(xs) - keep]:
                h = torch.tanh(w @ h + x)
        for x in xs[len(xs) - keep :]:
            h = torch.tanh(w @ h + x)
        (readout @ h).backward()
        return w.grad

    return truncated


@wrong("01-6", says="nothing was cut")
def cuts_nothing():
    """Returns the whole gradient."""
    return {"truncated": lambda w, xs, r, keep: run(w, xs, r, lambda i, t: False)}


@wrong("01-6", says="One step too few")
def cuts_one_late():
    """Cuts one step too late."""
    return {
        "truncated": lambda w, xs, r, keep: run(
            w, xs, r, lambda i, t: i == t - keep + 1
        )
    }


@wrong("01-6", says="One step too many")
def cuts_one_early():
    """Cuts one step too early."""
    return {
        "truncated": lambda w, xs, r, keep: run(
            w, xs, r, lambda i, t: i == t - keep - 1
        )
    }


@wrong("01-6", says="multiplies by the transpose")
def steps_by_the_transpose():
    """Multiplies the state from the wrong side, `h @ w`."""
    return {
        "truncated": lambda w, xs, r, keep: (
            run(w.T, xs, r, lambda i, t: i == t - keep).T
        )
    }


@wrong("01-6", says="you cut more than once")
def cuts_everywhere():
    """Detaches the state at every step."""
    return {"truncated": lambda w, xs, r, keep: run(w, xs, r, lambda i, t: True)}
