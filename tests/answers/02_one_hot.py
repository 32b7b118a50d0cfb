"""Right and wrong answers to the exercises of chapter 2, and what must be said to them."""

from collections import Counter

import torch

from tfcourse.checks.proofs import right, wrong
from tfcourse.one_hot import one_hot


@wrong("02-1", says="if every word occurred once")
def predicts_the_identity():
    """Thinks of a text in which no word repeats."""
    return {"prediction": "identity"}


@wrong("02-1", says="a table of positions by positions")
def predicts_the_other_product():
    """Takes it for the product the other way round."""
    return {"prediction": "same word"}


@wrong("02-1", says="never meet in this product")
def predicts_neighbours():
    """Expects pairs of neighbours."""
    return {"prediction": "neighbours"}


@right("02-2")
def with_a_counter():
    """Uses collections.Counter and dict.fromkeys."""

    def common(tokens, least):
        counts = Counter(tokens)
        return [token for token in dict.fromkeys(tokens) if not counts[token] < least]

    return common


@wrong("02-2", says="exactly so often stays")
def more_than():
    """Keeps what occurs more than `least` times."""

    def common(tokens, least):
        return [token for token, count in Counter(tokens).items() if count > least]

    return common


@wrong("02-2", says="alphabetical order")
def sorts():
    """Sorts the tokens."""

    def common(tokens, least):
        counts = Counter(tokens)
        return sorted(token for token in counts if counts[token] >= least)

    return common


@wrong("02-2", says="the most frequent first")
def by_frequency():
    """Takes Counter.most_common."""

    def common(tokens, least):
        return [token for token, n in Counter(tokens).most_common() if n >= least]

    return common


@wrong("02-2", says="Each token once")
def filters_the_text():
    """Filters the text instead of its vocabulary."""

    def common(tokens, least):
        return [token for token in tokens if tokens.count(token) >= least]

    return common


@wrong("02-2", says="A list of tokens is asked")
def returns_counts():
    """Returns the counts with the tokens."""

    def common(tokens, least):
        return {token: n for token, n in Counter(tokens).items() if n >= least}

    return common


@right("02-3")
def with_bincount():
    """Numbers the pairs and counts the numbers."""

    def pair_counts(ids, n):
        return torch.bincount(ids[:-1] * n + ids[1:], minlength=n * n).view(n, n)

    return pair_counts


@wrong("02-2", says="leave the case as it is")
def ignores_the_case():
    """Takes *The* and *the* for one token."""

    def common(tokens, least):
        small = [token.lower() for token in tokens]
        return [t for t in dict.fromkeys(small) if small.count(t) >= least]

    return common


@wrong("02-2", says="Commas and numbers are tokens too")
def keeps_letters_only():
    """Drops whatever is not made of letters."""

    def common(tokens, least):
        kept = dict.fromkeys(t for t in tokens if t.isalpha())
        return [t for t in kept if tokens.count(t) >= least]

    return common


@wrong("02-3", says="does their dtype hold 2999")
def counts_in_small_numbers():
    """Counts in eight bits, which begin again at 256."""

    def pair_counts(ids, n):
        table = torch.zeros(n, n, dtype=torch.uint8)
        for here, there in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
            table[here, there] += 1
        return table

    return pair_counts


@wrong("02-3", says="Turned round")
def turned_round():
    """Transposes the table."""

    def pair_counts(ids, n):
        x = one_hot(ids, n)
        return x[1:].T @ x[:-1]

    return pair_counts


@wrong("02-3", says="the last word is paired with the first")
def rolls():
    """Shifts with roll, which wraps around."""

    def pair_counts(ids, n):
        return one_hot(ids, n).T @ one_hot(ids.roll(-1), n)

    return pair_counts


@wrong("02-3", says="paired with itself")
def does_not_shift():
    """Forgets to shift."""

    def pair_counts(ids, n):
        x = one_hot(ids, n)
        return x.T @ x

    return pair_counts


@wrong("02-3", says="positions by positions")
def transposes_the_wrong_factor():
    """Multiplies rows by rows instead of columns by columns."""

    def pair_counts(ids, n):
        x = one_hot(ids, n)
        return x[:-1] @ x[1:].T

    return pair_counts


@wrong("02-3", says="how often does it occur")
def marks_pairs():
    """Assigns 1 where it should add."""

    def pair_counts(ids, n):
        out = torch.zeros(n, n)
        out[ids[:-1], ids[1:]] += 1  # reads first, then writes: repeats are lost
        return out

    return pair_counts


@right("02-4")
def by_formula():
    """Counts n·m·k by hand for the four products."""
    left = 200 * 3000 * 50 + 200 * 50 * 400
    right_ = 3000 * 50 * 400 + 200 * 3000 * 400
    return {"ratio": right_ / left}


@wrong("02-4", says="turn it round")
def upside_down():
    """Divides the cheaper by the dearer."""
    return {"ratio": 34 / 300}


@wrong("02-4", says="you counted only the first")
def first_product_only():
    """Compares A B with B C."""
    return {"ratio": 2.0}


@wrong("02-4", says="you counted only the second")
def second_product_only():
    """Compares the products with C and with A alone."""
    return {"ratio": 60.0}


@wrong("02-4", says="sizes of the matrices in between")
def by_size():
    """Compares the sizes of the intermediate results."""
    return {"ratio": 120.0}


@wrong("02-4", says="not the same work")
def thinks_it_is_the_same():
    """Concludes equal cost from equal results."""
    return {"ratio": 1}


@right("02-5")
def with_einsum():
    """Names the axes."""

    def scores(q, k):
        return torch.einsum("btd,bsd->bts", q, k)

    return scores


@right("02-5")
def by_broadcasting():
    """Multiplies everything with everything and sums over d."""

    def scores(q, k):
        return (q[:, :, None] * k[:, None]).sum(dim=-1)

    return scores


@wrong("02-5", says="`reshape` fills the new shape in the old order")
def still_reshapes():
    """Uses view where reshape was."""

    def scores(q, k):
        return q @ k.view(k.shape[0], k.shape[2], k.shape[1])

    return scores


@wrong("02-5", says="queries should run down")
def keys_first():
    """Puts the keys on the left."""

    def scores(q, k):
        return k @ q.mT

    return scores


@wrong("02-5", says="lengths included")
def cosines():
    """Divides by the lengths."""

    def scores(q, k):
        q, k = (x / x.norm(dim=-1, keepdim=True) for x in (q, k))
        return q @ k.mT

    return scores


@wrong("02-5", says="keys of another")
def flips_the_batch():
    """Turns the batch axis too, and back the wrong way."""

    def scores(q, k):
        return q @ k.permute(2, 1, 0).flip(-1).permute(2, 0, 1)

    return scores


@right("02-6")
def with_a_loop():
    """Adds row after row."""

    def lookup_gradient(ids, grad, n):
        out = torch.zeros(n, grad.shape[1])
        for i, row in zip(ids.tolist(), grad, strict=True):
            out[i] += row
        return out

    return lookup_gradient


@right("02-6")
def with_index_put():
    """Uses index_put with accumulate."""

    def lookup_gradient(ids, grad, n):
        out = torch.zeros(n, grad.shape[1])
        return out.index_put((ids,), grad, accumulate=True)

    return lookup_gradient


@wrong("02-6", says="kept one of its gradients only")
def loses_repeats():
    """Adds with an index, which writes repeated rows once."""

    def lookup_gradient(ids, grad, n):
        out = torch.zeros(n, grad.shape[1])
        out[ids] += grad
        return out

    return lookup_gradient


@wrong("02-6", says="the sum is asked")
def takes_the_mean():
    """Averages over a word's places."""

    def lookup_gradient(ids, grad, n):
        x = one_hot(ids, n)
        return x.T @ grad / x.sum(dim=0).clamp(min=1)[:, None]

    return lookup_gradient


@wrong("02-6", says="start from zeros")
def starts_from_the_answer():
    """Adds everything twice."""

    def lookup_gradient(ids, grad, n):
        out = one_hot(ids, n).T @ grad
        return out.index_add(0, ids, grad)

    return lookup_gradient


@wrong("02-6", says="instead of bringing home")
def looks_up_again():
    """Indexes the gradient with the ids."""

    def lookup_gradient(ids, grad, n):
        return grad[ids.clamp(max=len(grad) - 1)]

    return lookup_gradient
