"""What the answers of chapter 1's exercises must do."""

import math
from itertools import combinations

import torch

from tfcourse.checks import Mistake, close, describe, exercise
from tfcourse.checks.compare import telling


@exercise(
    "01-1",
    title="A matrix whose eigenvalues are all 1",
    kind="prediction",
    minutes=5,
    difficulty=1,
    points=2,
    choices=("vanishes", "stays", "grows like k", "grows exponentially"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    w = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    norms = [
        torch.linalg.matrix_norm(torch.linalg.matrix_power(w, k), 2)
        for k in (1, 50, 100)
    ]
    assert 1.9 < norms[2] / norms[1] < 2.1  # twice the lag, twice the gradient
    replies = {
        "vanishes": "It would with eigenvalues below 1. Multiply the matrix by itself "
        "by hand: does any entry get smaller?",
        "stays": "That is what the eigenvalues alone would say. Now write out W·W and "
        "W·W·W, and look at the upper right corner.",
        "grows exponentially": "It grows, yes; but exponentially would square the factor from "
        "lag 50 to lag 100. Write out W·W and W·W·W.",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    told = ", ".join(f"{norm:.1f}" for norm in norms)
    return f"At lags 1, 50 and 100 the largest factor is {told}."


def _run(w_hh, xs, readout, start, last=None):
    """The states (t + 1, d), and dL/dW_hh of readout · h_t by autograd, through the
    last uses of W_hh only."""
    uses = [w_hh.clone().requires_grad_() for _ in xs]
    states = [start]
    for w, x in zip(uses, xs, strict=True):
        states.append(torch.tanh(w @ states[-1] + x))
    by_step = torch.autograd.grad(readout @ states[-1], uses)
    kept = by_step[-last:] if last else by_step
    return torch.stack(states).detach(), torch.stack(kept).sum(0)


def _way_back(draw):
    """States with their matrix and readout, the gradient, and what mistakes give."""
    d, t = 3, 5
    w_hh, xs, readout = draw.normal(d, d), draw.normal(t, d), draw.normal(d)
    states, want = _run(w_hh, xs, readout, draw.normal(d).tanh())

    def known(
        side=lambda a: a @ w_hh,
        slope=lambda i: 1 - states[i] ** 2,
        before=1,
        share=False,
        stop=0,
    ):
        """The same loop with one thing wrong."""
        gradient, total = readout, torch.zeros(d, d)
        for i in range(t, stop, -1):
            a = gradient * slope(i)
            step = torch.outer(a, states[i - before])
            total = step if share else total + step
            gradient = side(a)
        return total

    mistakes = {
        "That is the share of one step alone; the shares add up, `total +=`.": known(
            share=True
        ),
        "The gradient meets the wrong side of W_hh: as a row, it is `a @ w_hh`.": known(
            side=lambda a: w_hh @ a
        ),
        "Step i multiplies W_hh by the state before it; you took the state after it.": (
            known(before=0)
        ),
        "The slopes of tanh are missing: a step back passes through 1 - h_i².": known(
            slope=lambda i: torch.ones(d)
        ),
        "The slope of step i is 1 - h_i², that of the state after the step.": known(
            slope=lambda i: 1 - states[i - 1] ** 2
        ),
        "One step is missing: the loop must come down to i = 1.": known(stop=1),
        "The right numbers, transposed: entry (i, j) is the weight to i from j.": want.T,
    }
    return (states, w_hh, readout), want, mistakes


@exercise("01-2", title="Mend the way back", minutes=15, difficulty=3, points=4)
def _(answer, draw):
    # with a large matrix tanh saturates, and a mistake may make no difference
    (states, w_hh, readout), want, mistakes = telling(_way_back, draw)
    got = answer.backward_through_time(states, w_hh, readout)
    given = {"w_hh": w_hh, "gradient": readout, "states": states}
    says = "Compare your loop with the formula by hand, for t = 1 and then for t = 2."
    close(got, want, says=says, given=given, mistakes=mistakes)
    return "The same as autograd's."


@exercise(
    "01-3",
    title="When does it start to vanish?",
    kind="measurement",
    minutes=10,
    difficulty=2,
    points=3,
)
def _(answer, draw):
    lag = answer.number("lag")
    if not isinstance(lag, int | float) or lag not in range(1, 200):
        raise Mistake("A whole number from 1 to 199 is asked.")
    lag = int(lag)
    pair = 0.95 * torch.tensor([[1.0, 3.0], [0.0, 1.0]], dtype=torch.float64)
    w = torch.block_diag(pair, pair)
    powers = [torch.linalg.matrix_power(w, k) for k in range(200)]
    sizes = torch.stack([torch.linalg.matrix_norm(p, 2) for p in powers])
    want = int((sizes[1:] < 1).nonzero()[0]) + 1
    lengths = torch.stack([p.norm() for p in powers])
    if lag == 1:
        raise Mistake(
            "That is what the spectral radius says, 0.95 < 1. Measure the norms of the "
            f"powers themselves: the first is {sizes[1]:.2f}."
        )
    if lag == sizes.argmax():
        raise Mistake("There the gradient is largest: go on until it is below 1.")
    if lag == want - 1:
        raise Mistake("Off by one: `products` begins with lag 0. Which lag is yours?")
    if lag == int((lengths[1:] < 1).nonzero()[0]) + 1:
        raise Mistake(
            "That is another norm, the root of the sum of all squares. The largest "
            "singular value is `torch.linalg.matrix_norm(m, ord=2)`."
        )
    if lag != want:
        where = "go on" if sizes[lag] >= 1 else "it was below 1 before"
        raise Mistake(f"At lag {lag} the largest factor is {sizes[lag]:.3f}: {where}.")
    return f"From a largest factor of {sizes.max():.1f} down to {sizes[want]:.3f}."


@exercise("01-4", title="A matrix that only turns", minutes=15, difficulty=2, points=4)
def _(answer, draw):
    a, *others = (draw.normal(5, 5) for _ in range(4))
    q = answer.orthogonal(a)
    if not isinstance(q, torch.Tensor) or q.shape != a.shape:
        raise Mistake(
            f"A tensor like `a`, (5, 5), should come back; got {describe(q)}."
        )
    radius, largest = (
        torch.linalg.eigvals(q).abs().max(),
        torch.linalg.matrix_norm(q, 2),
    )
    even = torch.allclose(q.norm(dim=0), torch.ones(5), atol=1e-4)
    if not even and torch.equal(q, q.triu()):
        raise Mistake("All zeros below the diagonal: that is the R of A = QR.")
    if not even and abs(radius - 1) < 1e-4:
        raise Mistake(
            "Its spectral radius is 1, but it stretches some vectors and shrinks "
            "others: that is not yet a matrix that only turns."
        )
    if not even and abs(largest - 1) < 1e-4:
        raise Mistake("Its largest singular value is 1; all five should be.")
    says = "QᵀQ should be the identity."
    if even:
        says = "The columns have length 1, but they are not at right angles."
    close(q.T @ q, torch.eye(5), atol=1e-4, says=says, given={"a": a})
    if not torch.allclose(q, answer.orthogonal(a), atol=1e-4):
        raise Mistake("The same `a` gave two different answers: start from `a`.")
    answers = [q, *(answer.orthogonal(other) for other in others)]
    if any(torch.allclose(x, y, atol=1e-4) for x, y in combinations(answers, 2)):
        raise Mistake("Two different matrices gave the same answer: start from `a`.")
    return "QᵀQ is the identity: all singular values are 1."


@exercise(
    "01-5", title="How open must the gate be?", minutes=10, difficulty=3, points=3
)
def _(answer, draw):
    lag, keep = draw.integer(5, 40), round(draw.uniform(0.3, 0.9), 2)
    gate = keep ** (1 / lag)

    def logit(share):
        return math.log(share / (1 - share))

    mistakes = {
        "That keeps the share over *one* step: f is applied `lag` times.": logit(keep),
        "That is the gate; the bias is what sigmoid turns into it.": gate,
        "A log undoes an exp; what undoes a sigmoid is log(f / (1 - f)).": math.log(
            gate
        ),
        "The sign is turned: a gate near 1 needs a large positive bias.": -logit(gate),
    }
    bias = answer.forget_bias(lag, keep)
    given = {"lag": lag, "keep": keep}
    says = "Which gate f has f multiplied by itself `lag` times equal to `keep`?"
    close(bias, logit(gate), says=says, given=given, mistakes=mistakes)
    return f"To keep {keep:.0%} over {lag} steps, the bias is {logit(gate):.2f}."


@exercise("01-6", title="Cut the way back short", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    d, t, keep = 3, 7, 3
    w_hh, xs, readout = draw.normal(d, d), draw.normal(t, d), draw.normal(d)
    start = torch.zeros(d)
    known = {k: _run(w_hh, xs, readout, start, k)[1] for k in range(1, t + 1)}
    turned = _run(w_hh.T, xs, readout, start, keep)[1].T
    mistakes = {
        "That is the whole gradient: nothing was cut.": known[t],
        "One step too few: count W_hh in each of the last `keep` steps.": known[
            keep - 1
        ],
        "One step too many: cut before the last `keep` steps begin.": known[keep + 1],
        "Only the last step counts: you cut more than once.": known[1],
        "Your network multiplies by the transpose: the step is `w @ h`.": turned,
    }
    given = {"w_hh": w_hh, "readout": readout, "keep": keep, "xs": xs}
    got = answer.truncated(w_hh, xs, readout, keep)
    says = "Run all steps forward, and call `detach()` on the state once, on the way."
    close(got, known[keep], says=says, given=given, mistakes=mistakes)
    whole = answer.truncated(w_hh, xs, readout, t)
    says = "With `keep` as long as the sequence nothing should be cut."
    close(whole, known[t], says=says, given={**given, "keep": t})
    return "Only the last steps are heard; the states are those of the whole sequence."
