"""Right and wrong answers to chapter 16's exercises, and what each must be told."""

import torch

from tfcourse.checks.proofs import right, wrong

# Linear attention


def reader(write, late=False):
    """A delta_read from what one token does to the state."""

    def delta_read(q, k, v, rate):
        state, rows = torch.zeros(k.shape[1], v.shape[1]), []
        for i in range(len(q)):
            before = state
            state = write(state, q[i], k[i], v[i], rate[i])
            rows.append(q[i] @ (before if late else state))
        return torch.stack(rows)

    return {"delta_read": delta_read}


@right("16-3")
def by_a_projection():
    """Takes the key's direction out of the state, by the rate, then adds the value."""

    def delta_read(q, k, v, rate):
        state, out = (
            torch.zeros(k.shape[1], v.shape[1]),
            torch.empty(len(q), v.shape[1]),
        )
        for i in range(len(q)):
            keep = torch.eye(k.shape[1]) - rate[i] * torch.outer(k[i], k[i])
            state = keep @ state + rate[i] * torch.outer(k[i], v[i])
            out[i] = q[i] @ state
        return out

    return delta_read


@right("16-3")
def transposed_state():
    """Keeps the state the other way round, values by keys."""

    def delta_read(q, k, v, rate):
        state, rows = torch.zeros(v.shape[1], k.shape[1]), []
        for q_i, k_i, v_i, r in zip(q, k, v, rate, strict=True):
            state = state + r * torch.outer(v_i - state @ k_i, k_i)
            rows.append(state @ q_i)
        return torch.stack(rows)

    return delta_read


@wrong("16-3", says="as plain linear attention does")
def adds():
    """Adds each value to what is there."""
    return reader(lambda S, q, k, v, r: S + r * torch.outer(k, v))


@wrong("16-3", says="The rate has no say")
def without_rate():
    """Writes the whole difference."""
    return reader(lambda S, q, k, v, r: S + torch.outer(k, v - k @ S))


@wrong("16-3", says="The rate scales the value alone")
def rate_of_the_value():
    """Puts the rate inside, before the value."""
    return reader(lambda S, q, k, v, r: S + torch.outer(k, r * v - k @ S))


@wrong("16-3", says="should be taken off")
def adds_the_old():
    """Loses a minus sign."""
    return reader(lambda S, q, k, v, r: S + r * torch.outer(k, v + k @ S))


@wrong("16-3", says="asked for with the query")
def asks_with_the_query():
    """Looks up the old value with q."""
    return reader(lambda S, q, k, v, r: S + r * torch.outer(k, v - q @ S))


@wrong("16-3", says="The whole state shrinks")
def forgets_everywhere():
    """Takes a running mean of the whole state."""
    return reader(lambda S, q, k, v, r: (1 - r) * S + r * torch.outer(k, v))


@wrong("16-3", says="reads before it writes")
def reads_first():
    """Reads, then writes."""
    return reader(lambda S, q, k, v, r: S + r * torch.outer(k, v - k @ S), late=True)


@wrong("16-3", says="All queries read the last state")
def reads_at_the_end():
    """Writes all, then lets all queries read."""

    def delta_read(q, k, v, rate):
        state = torch.zeros(k.shape[1], v.shape[1])
        for k_i, v_i, r in zip(k, v, rate, strict=True):
            state = state + r * torch.outer(k_i, v_i - k_i @ state)
        return q @ state

    return delta_read


def summed(log_gates, dim=-1):
    """The sums of logarithms, of rows less those of columns."""
    sums = log_gates.cumsum(dim=dim)
    return sums[..., :, None] - sums[..., None, :]


def past(t):
    """Where j is at most i."""
    return torch.ones(t, t, dtype=torch.bool).tril()


@right("16-4")
def row_by_row():
    """Multiplies the row before by the gate, and puts a 1 at its end."""

    def gate_triangle(log_gates):
        t, row = log_gates.shape[-1], torch.zeros_like(log_gates)
        rows = []
        for i in range(t):
            row = row * log_gates[..., i, None].exp()
            row[..., i] = 1
            rows.append(row)
        return torch.stack(rows, dim=-2)

    return gate_triangle


@right("16-4")
def masked_after():
    """Takes exp of all differences, and then the lower triangle."""
    return {"gate_triangle": lambda log_gates: summed(log_gates).exp().tril()}


@wrong("16-4", says="0 / 0 is no number")
def divides_products():
    """Divides products of gates by one another."""

    def gate_triangle(log_gates):
        products = log_gates.exp().cumprod(dim=-1)
        return (products[..., :, None] / products[..., None, :]).tril()

    return gate_triangle


@wrong("16-4", says="the product begins at j + 1")
def gate_of_the_writer():
    """Lets a token's own gate act on what it writes."""

    def gate_triangle(log_gates):
        shares = (summed(log_gates) + log_gates[..., None, :]).exp()
        return shares.masked_fill(~past(log_gates.shape[-1]), 0)

    return gate_triangle


@wrong("16-4", says="The gate of token i is missing")
def gate_of_the_reader():
    """Leaves out the last gate; a token's own share stays 1."""

    def gate_triangle(log_gates):
        shares = (summed(log_gates) - log_gates[..., :, None]).exp().tril(diagonal=-1)
        return shares + torch.eye(log_gates.shape[-1])

    return gate_triangle


@wrong("16-4", says="The upper triangle is not zero")
def sees_ahead():
    """Forgets the triangle."""
    return {"gate_triangle": lambda log_gates: summed(log_gates).exp()}


@wrong("16-4", says="Rows and columns are exchanged")
def exchanged():
    """Takes columns for the readers."""
    return {"gate_triangle": lambda log_gates: summed(log_gates).exp().tril().mT}


@wrong("16-4", says="one gate to the power i - j")
def one_gate():
    """Uses the reader's gate for all steps between."""

    def gate_triangle(log_gates):
        i = torch.arange(log_gates.shape[-1])
        lag = (i[:, None] - i).clamp(min=0)
        return (log_gates[..., :, None] * lag).exp().tril()

    return gate_triangle


@wrong("16-4", says="the logarithms still")
def without_exp():
    """Stops at the logarithms."""
    return {"gate_triangle": lambda log_gates: summed(log_gates).tril()}


@wrong("16-4", says="The sum runs over the heads")
def along_the_heads():
    """Sums along the wrong axis."""
    return {"gate_triangle": lambda log_gates: summed(log_gates, 1).exp().tril()}
