"""What the answers of chapter 16's exercises must do."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tfcourse.checks import Mistake, close, describe, exercise
from tfcourse.checks.compare import telling

# Linear attention


def _written_and_read(q, k, v, rate, write, late=False):
    """Token by token: write(state, q, k, v, rate) -> the new state; then, or before, read."""
    state, rows = q.new_zeros(q.shape[1], v.shape[1]), []
    for q_i, k_i, v_i, rate_i in zip(q, k, v, rate, strict=True):
        before = state
        state = write(state, q_i, k_i, v_i, rate_i)
        rows.append(q_i @ (before if late else state))
    return torch.stack(rows), state


def _corrected(state, q, k, v, rate):
    return state + rate * torch.outer(k, v - k @ state)


def _delta_case(draw):
    """Queries, keys of length 1, values, rates; what is read; by mistake, what else."""
    t, d, m = draw.integer(5, 8), draw.integer(3, 5), draw.integer(6, 9)
    q, k = draw.normal(t, d), F.normalize(draw.normal(t, d), dim=1)
    given = q, k, draw.normal(t, m), draw.uniform(0.2, 0.9, t)
    want, end = _written_and_read(*given, _corrected)
    misread = {
        "That adds each value to what is there, as plain linear attention does: first take "
        "off what the state already says under this key.": (
            lambda S, q, k, v, r: S + r * torch.outer(k, v)
        ),
        "The rate has no say: of the difference, only the share `rate[i]` is written.": (
            lambda S, q, k, v, r: S + torch.outer(k, v - k @ S)
        ),
        "The rate scales the value alone. It belongs to the whole difference, old value "
        "included.": lambda S, q, k, v, r: S + torch.outer(k, r * v - k @ S),
        "The old value is added, where it should be taken off: v - k S.": (
            lambda S, q, k, v, r: S + r * torch.outer(k, v + k @ S)
        ),
        "The old value is asked for with the query. It stands under the *key*.": (
            lambda S, q, k, v, r: S + r * torch.outer(k, v - q @ S)
        ),
        "The whole state shrinks by the rate: only what stands under this key should.": (
            lambda S, q, k, v, r: (1 - r) * S + r * torch.outer(k, v)
        ),
    }
    told = {
        says: _written_and_read(*given, write)[0] for says, write in misread.items()
    }
    told["Each token reads before it writes: the other way round."] = _written_and_read(
        *given, _corrected, late=True
    )[0]
    told["All queries read the last state. Token i reads what was written up to i."] = (
        q @ end
    )
    return given, want, told


def _a_tensor(got, what):
    """What came back, if it is a tensor; None is told by `close`."""
    if got is not None and not isinstance(got, Tensor):
        raise Mistake(f"{what} is a tensor.", seen=f"Got {describe(got)}.")
    return got


@exercise("16-3", title="Write more carefully", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    says = "For each token: what stands under its key, the difference, the write, the read."
    for _ in range(3):
        given, want, told = telling(_delta_case, draw)
        shown = "q {}, k {}, v {}, rate {}".format(*(tuple(x.shape) for x in given))
        got = _a_tensor(answer.delta_read(*given), "What `delta_read` returns")
        close(got, want, mistakes=told, says=says, given=shown)
    key, values = F.normalize(draw.normal(1, 4), dim=1), draw.normal(2, 3)
    same = key.expand(2, 4)
    got = answer.delta_read(same, same, values, torch.ones(2))
    close(got, values, says="The second value under one key takes the first's place.")
    return (
        "As token by token. With a rate of 1 a state of k × k overwrites: what is written "
        "under a key is what is found there, as long as no other key points that way."
    )


def _shares(log_gates, first=1, last=0):
    """Products of the gates from j + first up to i - last, in float64: (.., t, t), lower."""
    gates, t = log_gates.double().exp(), log_gates.shape[-1]
    out = gates.new_zeros(*gates.shape, t)
    for i in range(t):
        for j in range(i + 1):
            out[..., i, j] = gates[..., j + first : i + 1 - last].prod(dim=-1)
    return out


def _gates_case(draw):
    """Logarithms of gates, (b, h, t); the triangle; by mistake, what else."""
    b, h, t = draw.integer(2, 4), draw.integer(4, 6), draw.integer(6, 9)
    log_gates = -draw.uniform(0.05, 1.5, b, h, t)
    want = _shares(log_gates)
    sums = log_gates.double().cumsum(dim=-1)
    whole = (sums[..., :, None] - sums[..., None, :]).exp()
    i = torch.arange(t)
    lag = (i[:, None] - i).clamp(min=0)
    across = log_gates.double().cumsum(dim=1)
    told = {
        "The gate of token j is in. It acts on what was there *before* j was written: the "
        "product begins at j + 1.": _shares(log_gates, first=0),
        "The gate of token i is missing: before i reads, everything older goes through it.": (
            _shares(log_gates, last=1)
        ),
        "The upper triangle is not zero: j > i is the future.": whole,
        "Rows and columns are exchanged: row i is the token that reads.": want.mT,
        "That is one gate to the power i - j. Each step has a gate of its own: a product, or "
        "a sum of logarithms.": (log_gates.double()[..., :, None] * lag).exp().tril(),
        "Those are the logarithms still: take `exp`.": (
            (sums[..., :, None] - sums[..., None, :]).tril()
        ),
        "The sum runs over the heads: `cumsum(dim=-1)`, along the tokens.": (
            (across[..., :, None] - across[..., None, :]).exp().tril()
        ),
    }
    return log_gates, want, told


@exercise("16-4", title="A gate for each token", minutes=20, difficulty=3, points=4)
def _(answer, draw):
    says = "Row i, column j: the product of the gates of j + 1, …, i; 1 where j = i."
    for _ in range(2):
        given, want, told = telling(_gates_case, draw)
        shown = f"log_gates of shape {tuple(given.shape)}"
        got = _a_tensor(answer.gate_triangle(given), "What `gate_triangle` returns")
        close(
            got,
            want.to(got) if got is not None else want,
            mistakes=told,
            says=says,
            given=shown,
        )
    strong = torch.full((1, 1, 64), -8.0)
    got = _a_tensor(answer.gate_triangle(strong), "What `gate_triangle` returns")
    if got is not None and not got.isfinite().all():
        raise Mistake(
            "With gates of e^-8 and 64 tokens a product of all gates is e^-512, and that is 0 "
            "in float32: 0 / 0 is no number. Subtract the sums of the logarithms, for pairs "
            "that look back alone, and take `exp` last.",
            seen="Got numbers that are not finite.",
        )
    close(got, _shares(strong).to(got), says=says, given="64 gates of e^-8")
    return (
        "Products of gates between any two tokens, from sums of logarithms: finite also "
        "where the gates are all but closed."
    )
