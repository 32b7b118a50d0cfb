"""What the answers of chapter 13's exercises must do."""

import math
from collections import deque
from functools import cache, partial
from itertools import combinations, product

import torch
from torch import Tensor
from torch.nn import functional as F

from tfcourse.checks import Mistake, close, describe, exercise
from tfcourse.checks.compare import difference, fed, measured, telling
from tfcourse.data.corpus import load_corpus
from tfcourse.gpt import stored_gpt

HEADS, BEFORE = 32, 200  # of queries; tokens that stand there


def _intensity(texts=1, n_kv_heads=HEADS, new=1, n_bytes=2):
    """Operations for each byte when attention reads its keys and values, counted."""
    meetings, read = 0, 0
    for _ in range(texts):
        kept = set()
        for head, query in product(range(HEADS), range(BEFORE, BEFORE + new)):
            seen = range(query + 1)
            meetings += len(seen)  # of a query with a key, and then with its value
            group = head * n_kv_heads // HEADS
            kept.update((group, position) for position in seen)
        read += len(kept)  # keys, and as many values
    # a product and a sum for each number of a key, and of a value, whatever their width
    return meetings * (2 + 2) / (read * (1 + 1) * n_bytes)


@exercise(
    "13-1",
    title="More work for each byte",
    kind="prediction",
    minutes=8,
    difficulty=1,
    points=2,
    choices=("16 texts", "8 heads", "5 tokens", "1 byte"),
)
def _(answer, draw):
    chosen = answer.choice("prediction")
    plain = _intensity()
    changes = {
        "16 texts": {"texts": 16},
        "8 heads": {"n_kv_heads": 8},
        "5 tokens": {"new": 5},
        "1 byte": {"n_bytes": 1},
    }
    times = {name: _intensity(**change) / plain for name, change in changes.items()}
    assert max(times, key=times.get) == "5 tokens"
    replies = {
        "16 texts": "Sixteen times the queries; but each text has keys and values of its own, "
        "so sixteen times the bytes come too. What a batch shares are the *weights*, and "
        "there are none in q · k.",
        "8 heads": "It helps: a key that has come from memory meets the queries of four "
        "heads instead of one. How many meet it in each of the other cases?",
        "1 byte": "It helps: the same operations for half of the bytes. Do the others bring "
        "more than twice as many operations for each byte?",
    }
    if chosen in replies:
        raise Mistake(replies[chosen])
    counted = ", ".join(f"{name} {n:.1f} times" for name, n in times.items())
    return (
        f"Counted one by one, after {BEFORE} tokens: {counted}. A key that has come from "
        "memory meets as many queries as there are tokens in the pass, as a weight does. "
        "So it is with a prompt, and with guesses that are checked together."
    )


def _held(layer, length):
    """How many numbers a layer keeps of a text of this length: position by position."""
    if "d_latent" in layer:
        each = layer["d_latent"] + layer["d_rotated"]
    else:
        each = sum(layer["d_head"] for _ in ("key", "value")) * layer["n_kv_heads"]
    kept = deque(maxlen=layer.get("window"))
    for position in range(length):
        kept.append(position)
    return each * len(kept)


def _bytes(layers, lengths, n_bytes, held=_held):
    return n_bytes * sum(held(layer, n) for layer in layers for n in lengths)


def _layers_but(held=_held, **change):
    """_held, with other sizes in each layer that has them."""

    def other(layer, n):
        sizes = {
            name: change[name](size, n) if name in change else size
            for name, size in layer.items()
        }
        return held(sizes, n)

    return other


def _window_of_all(layers, lengths):
    """The window applied to all texts together."""

    def held(layer, n):
        if "window" not in layer:
            return _held(layer, n)
        return _held(layer, sum(lengths)) / len(lengths)

    return held


def _bytes_case(draw):
    """Layers, lengths of texts and bytes a number; by mistake, what it gives."""
    window = draw.integer(20, 40)
    g, k = draw.integer(2, 6), 8 * draw.integer(2, 5)
    whole = {"n_kv_heads": g, "d_head": k}
    layers = [whole | {"window": window}, whole, {"n_kv_heads": 1, "d_head": k + 3}]
    layers += [{"d_latent": 5 * k + 1, "d_rotated": k // 2}]
    layers += [whole | {"window": window + 9} for _ in range(draw.integer(1, 3))]
    lengths = [window - draw.integer(5, 15), window, 3 * window + draw.integer(0, 9)]
    lengths = [lengths[i] for i in draw.uniform(0, 1, 3).argsort().tolist()]
    n_bytes = draw.choice((4, 8))
    given = layers, lengths, n_bytes
    latent = lambda layer: "d_latent" in layer
    told = {
        "Keys *and* values are kept: for each key/value head two vectors of d_head.": (
            _bytes(*given, lambda x, n: _held(x, n) / (1 if latent(x) else 2))
        ),
        "A latent vector serves keys and values both: it is kept once.": _bytes(
            *given, lambda x, n: _held(x, n) * (2 if latent(x) else 1)
        ),
        "Beside the latent vector stands the key that knows the position, of d_rotated "
        "numbers.": _bytes(*given, _layers_but(d_rotated=lambda size, n: 0)),
        "Keys and values of a latent layer share the latent vector only; the rotated key is "
        "a key, and is kept once too.": _bytes(
            *given, _layers_but(d_rotated=lambda size, n: 2 * size)
        ),
        "A layer with a window never keeps more than `window` positions of a text.": _bytes(
            *given, _layers_but(window=lambda size, n: n)
        ),
        "A text that is shorter than the window has no more positions than tokens.": _bytes(
            *given,
            lambda x, n: _held(x, x.get("window", n)),
        ),
        "The other way round: of the window and the text, the *shorter* is what is "
        "kept.": _bytes(
            *given, lambda x, n: _held(x | {"window": None}, max(n, x.get("window", n)))
        ),
        "Each text has a window of its own: take the minimum for each, then the sum.": (
            _bytes(*given, _window_of_all(layers, lengths))
        ),
        "With a window, the token itself is one of them: `window` positions, not one fewer "
        "or more.": _bytes(*given, _layers_but(window=lambda size, n: size - 1)),
        "Each text has its own length; that fills up all to the longest.": _bytes(
            layers, [max(lengths)] * len(lengths), n_bytes
        ),
        "That is one text only: the cache holds all of them.": _bytes(
            layers, lengths[:1], n_bytes
        ),
        "Those are numbers: times n_bytes for each.": _bytes(layers, lengths, 1),
        "A number takes `n_bytes` bytes; it is 2 only if nobody says otherwise.": _bytes(
            layers, lengths, 2
        ),
        "The first layer was taken for all: layers differ.": _bytes(
            layers[:1] * len(layers), lengths, n_bytes
        ),
    }
    return given, _bytes(*given), told


@exercise("13-2", title="Bytes of any cache", minutes=15, difficulty=2, points=3)
def _(answer, draw):
    says = "Layer by layer, text by text: positions kept, numbers for each, bytes for each."
    for _ in range(5):
        given, want, told = telling(_bytes_case, draw)
        layers, lengths, n_bytes = given
        shown = f"layers = {layers}, lengths = {lengths}, n_bytes = {n_bytes}"
        got = answer.cache_bytes(*given)
        close(got, want, mistakes=told, says=says, given=shown)
    got = answer.cache_bytes(layers, lengths)
    says = "`n_bytes` is 2 where it is not given: a default of the function."
    close(got, _bytes(layers, lengths, 2), says=says)
    got = answer.cache_bytes(layers, lengths, 0.5)
    says = "A number may take half a byte (4 bits), so `n_bytes` need not be whole."
    close(got, _bytes(layers, lengths, 0.5), says=says)
    says = "Without any text nothing is kept: 0 bytes."
    close(answer.cache_bytes(layers, [], 2), 0, says=says)
    return "The same as position by position, for whole, sliding and latent layers."


SIZE = 16  # positions of a block
MANUAL = 1100  # characters
QUESTIONS = (
    "does plot take a list?",
    "what is an axis?",
    "how is a figure saved?",
    "does plot take a list of lists?",
    "can two plots share an axis?",
    "how is a figure saved as SVG?",
    "what does a cycler do?",
    "where is the style set?",
    "how is a legend moved?",
    "how is text turned?",
)
MINUTES = (
    "09:00",
    "09:02",
    "09:02",
    "09:07",
    "09:11",
    "09:15",
    "09:15",
    "09:40",
    "10:05",
    "10:31",
)


def dated_requests() -> tuple[list[str], list[str]]:
    """Ten requests about the same manual: with the date at its top, and after it."""
    manual = load_corpus().train[:MANUAL].decode("utf-8", "ignore") + "\n"
    asked = [
        (f"# 2026-03-02 {minute}\n", f"# {question}\n")
        for minute, question in zip(MINUTES, QUESTIONS, strict=True)
    ]
    return (
        [date + manual + question for date, question in asked],
        [manual + date + question for date, question in asked],
    )


def _computed(texts, size=SIZE, own=1):
    """Tokens that are not found in full blocks of the texts before; own: always computed."""
    total, read = 0, []
    for ids in texts:
        found = 0
        for start in range(0, len(ids) - own - size + 1, size):
            end = start + size
            if not any(old[:end] == ids[:end] and len(old) >= end for old in read):
                break
            found = end
        total += len(ids) - found
        read.append(ids)
    return total


@cache
def _encoded():
    tokenizer = stored_gpt("11_code")[1]
    return [[tokenizer.encode(x) for x in texts] for texts in dated_requests()]


@exercise(
    "13-3",
    title="Where to put the date",
    kind="measurement",
    minutes=20,
    difficulty=3,
    points=4,
)
def _(answer, draw):
    got = [answer.number(name) for name in ("date_first", "date_last")]
    texts = _encoded()
    want = [_computed(ids) for ids in texts]
    whole = [sum(map(len, ids)) for ids in texts]
    assert want[1] < want[0] < whole[0]
    exact = [_computed(ids, size=1) for ids in texts]
    alone = [_computed(ids[:1]) for ids in texts]
    if got == want[::-1]:
        raise Mistake(
            "The right numbers, the wrong way round: which requests begin alike?"
        )
    for name, mine, n, every, close_by, one in zip(
        ("date_first", "date_last"), got, want, whole, exact, alone, strict=True
    ):
        told = {
            f"`{name}`: nothing was shared. Each text has to `adopt()` what is there before "
            "it is read, and the one before must have been *read* by then.": every,
            f"`{name}`: so many tokens were found in the cache. Asked are the others, which "
            "go through the model.": every - n,
            f"`{name}`: a cache of blocks finds full blocks only: what stands in the last, "
            "half equal one is computed again.": close_by,
            f"`{name}`: that is the first request alone; all ten are asked.": one,
            f"`{name}`: that is the share; asked is the number of tokens.": n / every,
            f"`{name}`: that is the mean of a request; asked are all ten together.": n
            / len(texts[0]),
        }
        says = (
            f"`{name}`: for each request `adopt()`, then the tokens that are left to read, "
            "`len(text.ids) - text.length`; read them, and go on to the next."
        )
        told = {reply: wrong for reply, wrong in told.items() if wrong != n}
        measured(mine, n, told, says=says, rtol=0)
    return (
        f"Of {whole[0]} tokens {want[0]} are computed with the date at the top (where two "
        "requests came in the same minute as the one before), and "
        f"{want[1]} of {whole[1]} with the date after the manual: a key holds all that "
        "came before its token, so the first token that differs makes everything after it "
        "new. What changes belongs at the end of a prompt."
    )


FLAWS = {  # by name, in the order in which they are looked for: what to say
    "future": "Prompts, and later pieces of several tokens, are causal: no token sees those "
    "that come after it in the same piece.",
    "padding": "What stands behind a short prompt is padding, and it is attended to.",
    "both": "Everything is attended to: the padding behind a short prompt, and the tokens of "
    "a piece that come after the query.",
    "not itself": "A token sees itself, too: its own key is one of those it may look at.",
    "square": "With `t` new tokens after others, a square triangle begins at key 0: a single "
    "query would see the first key alone. The queries are the *last* ones.",
    "overwritten": "The mask counts places without the padding, but the new keys lie after "
    "it: the newest are not seen.",
    "turned": "The mask is the wrong way round: True is what may be attended to.",
    "hidden": "What is written after the prompts is real, too, and your mask hides it as if "
    "it were padding.",
}


def _may_see(length, sizes, flaw=""):
    """Who sees whom in one text, places counted with padding: (T, T) Boolean, by a loop."""
    ends = [sum(sizes[: i + 1]) for i, t in enumerate(sizes) for _ in range(t)]
    starts = [sum(sizes[:i]) for i, t in enumerate(sizes) for _ in range(t)]
    sees = torch.zeros(len(ends), len(ends), dtype=torch.bool)
    for i, j in product(range(len(ends)), repeat=2):
        real, past = j < length or j >= sizes[0], j <= i
        among = j < length + i - sizes[0] + 1 if i >= sizes[0] else real and past
        sees[i, j] = {
            "": real and past,
            "future": real and j < ends[i],
            "padding": past,
            "both": j < ends[i],
            "not itself": real and j < i,
            "square": real and j <= i - starts[i],
            "overwritten": among,
            "turned": not (real and past) and j < ends[i],
            "hidden": j < length and past,
        }[flaw]
    return sees


def _ragged(q, k, v, lengths, sizes, flaw=""):
    """What each query, (b, g, T, k), takes home: every text by itself."""
    out = []
    for b, length in enumerate(lengths):
        sees = _may_see(length, sizes, flaw)
        scores = q[b] @ k[b].mT / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~sees, -math.inf).softmax(dim=-1)
        out.append(weights.nan_to_num() @ v[b])
    return torch.stack(out)


def _fed(answer, lengths, pieces):
    feed = partial(answer.fed, lengths, pieces)
    return fed(feed, "PromptCache", len(pieces), f"lengths = {lengths}")


def _counted(positions, lengths, sizes, number, given):
    """A Mistake unless these are the positions of the piece of this number."""
    b, t, before = len(lengths), sizes[number], sum(sizes[:number])
    steps = torch.arange(t)
    ends = torch.tensor(lengths)[:, None]
    if number == 0:
        real, want, told = steps < ends, steps.expand(b, t), {}
    else:
        real, written = torch.ones(b, t, dtype=torch.bool), before - sizes[0]
        want = ends + written + steps
        told = {
            "All texts go on from the end of the longest prompt: a short one would have a "
            "gap. Each goes on from its own length.": (before + steps).expand(b, t),
            "They begin with 0 again: count on from each text's own length.": (
                steps.expand(b, t)
            ),
            "One too few: the last token of a prompt of 5 has position 4, so the next has "
            "5.": want - 1,
            "One too many: a prompt of 5 has the positions 0 to 4, so the next is 5.": want
            + 1,
            "They count pieces, not tokens: a piece may have several.": (
                ends + number - 1 + steps
            ),
            "Each piece begins at the end of the prompt again: count what has been "
            "written since.": ends + steps,
        }
    shape = getattr(positions, "shape", None)
    if shape == (t,):
        positions = positions.expand(b, t)
    elif shape != (b, t):
        says = f"`positions(t)` gives a tensor (b, t), {(b, t)} here, or (t,)."
        raise Mistake(says, seen=f"Got {describe(positions)}.", given=given)
    found = {says: wrong[real] for says, wrong in told.items()}
    found = {s: w for s, w in found.items() if difference(w, want[real], 0, 0)}
    says = "Each text counts its own tokens from 0; padding counts for nothing."
    close(positions[real], want[real], mistakes=found, says=says, given=given)


def _through(q, back, given):
    """What the queries of each piece take home from what the cache gave: (b, g, T, k)."""
    out = []
    for piece, (_, keys, values, mask) in zip(q, back, strict=True):
        if not all(isinstance(x, Tensor) and x.ndim == 4 for x in (keys, values)):
            says = "`update` returns keys and values as (b, g, s, k), then a mask."
            raise Mistake(says, given=given)
        (b, _, t, _), s = piece.shape, keys.shape[2]
        if mask is not None:
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
                says = "The mask is a Boolean tensor, True where a query may look."
                raise Mistake(says, seen=f"Got {describe(mask)}.", given=given)
            if mask.ndim == 3:
                says = (
                    "`attention` takes a mask of three axes for one of heads, queries and "
                    "keys. Put in an axis of size 1 for the heads: (b, 1, t, s)."
                )
                seen = f"Got a mask of shape {tuple(mask.shape)}."
                raise Mistake(says, seen=seen, given=given)
            shapes = [(b, 1, t, s), (b, piece.shape[1], t, s), (1, 1, t, s), (t, s)]
            if tuple(mask.shape) not in shapes:
                says = f"For {b} texts, {t} queries and {s} keys it is {(b, 1, t, s)}."
                seen = f"Got a mask of shape {tuple(mask.shape)}."
                raise Mistake(says, seen=seen, given=given)
        out.append(F.scaled_dot_product_attention(piece, keys, values, attn_mask=mask))
    return torch.cat(out, dim=2)


@exercise(
    "13-4", title="Prompts of different lengths", minutes=25, difficulty=3, points=4
)
def _(answer, draw):
    g, k = 2, 5
    for lengths, sizes in (([4, 6, 2], [6, 4, 1, 7]), ([1, 5, 3, 2], [5, 2, 1])):
        b, n = len(lengths), sum(sizes)
        q, keys, values = (draw.normal(b, g, n, k) for _ in range(3))
        pieces = [x.split(sizes, dim=2) for x in (keys, values)]
        pieces = [list(piece) for piece in zip(*pieces, strict=True)]
        back = _fed(answer, lengths, pieces)
        given = f"prompts of {lengths} tokens, pieces of {sizes} columns"
        for number, (positions, *_) in enumerate(back):
            which = f"{given}, at piece {number}"
            _counted(positions, lengths, sizes, number, which)
        got = _through(q.split(sizes, dim=2), back, given)
        real = torch.arange(n) < torch.tensor(lengths)[:, None]
        real[:, sizes[0] :] = True

        def seen(flaw=""):
            out = _ragged(q, keys, values, lengths, sizes, flaw)  # noqa: B023
            return out.transpose(1, 2)[real]  # noqa: B023

        got = got.transpose(1, 2)[real].nan_to_num()
        told = {says: seen(flaw) for flaw, says in FLAWS.items()}
        says = "For each query write out which places it may see: real ones, up to its own."
        close(got, seen(), mistakes=told, says=says, given=given)
        says = "A new cache must begin empty; yours remembers what another one was fed."
        again = _through(q.split(sizes, dim=2), _fed(answer, lengths, pieces), given)
        close(again.transpose(1, 2)[real].nan_to_num(), got, says=says, given=given)
    return (
        "Each text gets what it would get alone, whatever the company. A batch of prompts "
        "costs as much as its longest one in every row; blocks do not."
    )


def _one_round(p, q):
    """Chances of 1 to m + 1 tokens, and what a refused one is replaced from: by counting."""
    (m, n), after, drafts = q.shape, p.tolist(), q.tolist()
    lengths = [0.0] * (m + 1)
    for drafted in product(range(n), repeat=m):
        chance = math.prod(drafts[i][x] for i, x in enumerate(drafted))
        for i, x in enumerate(drafted):
            ratio = after[i][x] / drafts[i][x] if drafts[i][x] > 0 else 1.0
            lengths[i] += chance * (1 - min(1.0, ratio))
            chance *= min(1.0, ratio)
        lengths[m] += chance
    rest = []
    for target, draft in zip(after, drafts, strict=False):
        came = [min(a, b) for a, b in zip(target, draft, strict=True)]  # and stood
        refused = 1 - sum(came)
        if refused < 1e-9:
            rest.append(target)
        else:  # what is missing for each to come with its chance, among the refused
            pairs = zip(target, came, strict=True)
            rest.append([(a - b) / refused for a, b in pairs])
    return torch.tensor(lengths).double(), torch.tensor(rest).double()


def _lengths_from(alpha):
    """Chances of 1 to m + 1 tokens, the drafted ones being accepted with these chances."""
    stand = torch.cat([torch.ones(1).double(), alpha.cumprod(dim=0)])
    return stand * torch.cat([1 - alpha, torch.ones(1).double()])


def _round_mistakes(p, q):
    """By what to say: wrong chances of lengths; then wrong distributions."""
    after, m = p[:-1], len(q)
    alpha = torch.minimum(after, q).sum(dim=1)
    one = torch.ones_like(q)
    ratio = torch.minimum(one, after / q)
    mine = _lengths_from(alpha)
    lengths = {
        "That is the chance that two tokens, one drawn from p and one from q, are the same. "
        "A drafted token x may stand without p drawing it: with chance min(1, p(x) / "
        "q(x)).": _lengths_from((after * q).sum(dim=1)),
        "The ratio is upside down: x stands with chance min(1, p(x) / q(x)).": (
            _lengths_from((q * torch.minimum(one, q / after)).sum(dim=1))
        ),
        "The tokens are drafted from q: weigh each one's chance to stand by q(x), not by "
        "p(x).": _lengths_from((after * ratio).sum(dim=1)),
        "That weighs all tokens alike: the draft writes x with chance q(x).": (
            _lengths_from(ratio.mean(dim=1))
        ),
        "1 - Σ |p - q| counts each difference twice, where p is larger and where q is: half "
        "of the sum.": _lengths_from(1 - (after - q).abs().sum(dim=1)),
        "That is the chance of *at least* so many tokens; exactly so many is asked, so that "
        "all of them sum to 1.": mine.flip(0).cumsum(dim=0).flip(0),
        "A token is only looked at if all before it stood: multiply by their chances.": (
            torch.cat([1 - alpha, alpha.prod()[None]])
        ),
        "The last entry is the chance that all stand; nothing has to fall for it.": (
            torch.cat([mine[:-1], mine[-1:] * (1 - alpha[-1])])
        ),
        "Each place has its own chance; that takes the first for all.": _lengths_from(
            alpha[:1].expand(m)
        ),
        "Each place has its own chance; that takes the mean for all.": _lengths_from(
            alpha.mean().expand(m)
        ),
        "That goes from many tokens to few: entry 0 is for one token.": mine.flip(0),
    }
    more = (after - q).clamp(min=0)
    rest = {
        "That draws again from p. What p and q share came through already: only where p has "
        "more than q is something missing.": after,
        "It has to be a distribution: divide each row by its sum.": more,
        "That is where the *draft* has more than the target: turn the difference round.": (
            _shares((q - after).clamp(min=0))
        ),
        "Where p has less than q nothing is missing: 0 there, and not |p - q|.": _shares(
            (after - q).abs()
        ),
        "A softmax gives a chance to what has 0: divide by the sum.": more.softmax(
            dim=1
        ),
        "Each *row* sums to 1: you divide along the places, not along the tokens.": (
            more / more.sum(dim=0)
        ),
        "That is the draft's own distribution: what it offered was refused.": q,
        "What is missing may be any token for which p has more, each by how much more: not "
        "all alike.": _shares((more > 0).double()),
        "The sum of all rows was taken: each row by its own.": more / more.sum(),
    }
    return lengths, rest


def _shares(x):
    return x / x.sum(dim=1, keepdim=True)


def _chances(draw, *shape):
    return (1.3 * draw.normal(*shape, dtype=torch.double)).softmax(dim=-1)


def _round_case(draw, m, n):
    """p and q for which no two mistakes look alike, nor one like the right answer."""
    while True:
        p, q = _chances(draw, m + 1, n), _chances(draw, m, n)
        if (p[:-1] <= q).all(dim=0).any():
            continue
        want, told = _one_round(p, q), _round_mistakes(p, q)
        for right, wrongs in zip(want, told, strict=True):
            answers = [right, *wrongs.values()]
            pairs = combinations(answers, 2)
            apart = not any(
                torch.allclose(*pair, rtol=1e-3, atol=1e-4) for pair in pairs
            )
            if not apart:
                break
        else:
            return p, q, want, told


def _heard(got, m, n, given):
    """The two tensors of an answer."""
    if not isinstance(got, list | tuple) or len(got) != 2:
        says = "`one_round` returns two things: the chances, and the distributions."
        raise Mistake(says, seen=f"Got {describe(got)}.", given=given)
    lengths, rest = (
        x if isinstance(x, Tensor) else torch.tensor(x) if _all_numbers(x) else x
        for x in got
    )
    if getattr(lengths, "shape", None) != (m + 1,):
        says = (
            f"After {m} drafted tokens a round gives 1 to {m + 1}: `lengths` has {m + 1} "
            "chances, the last for all of them and the target's own token."
        )
        raise Mistake(says, seen=f"Got {describe(got[0])}.", given=given)
    if getattr(rest, "shape", None) != (m, n):
        says = f"`rest` has a distribution for each drafted place: {(m, n)}."
        raise Mistake(says, seen=f"Got {describe(got[1])}.", given=given)
    return lengths, rest


def _all_numbers(x):
    if isinstance(x, list | tuple):
        return bool(x) and all(map(_all_numbers, x))
    return isinstance(x, int | float)


@exercise("13-5", title="The chances of a round", minutes=25, difficulty=4, points=5)
def _(answer, draw):
    m, n = 3, 5
    for _ in range(3):
        p, q, want, told = _round_case(draw, m, n)
        given = {"p": p, "q": q}
        lengths, rest = _heard(answer.one_round(p, q), m, n, given)
        says = "α, the chance to stand, for each place; then the first that falls."
        close(lengths, want[0], mistakes=told[0], says=says, given=given)
        if rest.isnan().any():
            says = (
                "There are NaNs in `rest`. A sum of p - q over all tokens is 0: leave out "
                "what is below 0 before you divide."
            )
            raise Mistake(says, given=given)
        says = "`rest`: what p has more than q, each row divided by its sum."
        close(rest, want[1], mistakes=told[1], says=says, given=given)
    p, q = _chances(draw, m + 1, n), _chances(draw, m, n)
    p[0, 1], q[0, 1] = 0, 0
    p[1, 2], q[2, 3] = 0, 0
    p, q = _shares(p), _shares(q)
    given = {"p": p, "q": q, "with": "a token that has no chance in both"}
    lengths, rest = _heard(answer.one_round(p, q), m, n, given)
    if lengths.isnan().any() or rest.isnan().any():
        says = (
            "A token may have no chance in p and in q, and 0 / 0 is not a number. Do without "
            "the ratio: q · min(1, p / q) is min(q, p)."
        )
        raise Mistake(says, given=given)
    want = _one_round(p, q)
    says = "Tokens without a chance are nothing special: min(p, q) is 0 there."
    close(lengths, want[0], says=says, given=given)
    close(rest, want[1], says=says, given=given)
    q[1] = p[1]
    given = {"p": p, "q": q, "where": "q[1] is p[1]"}
    lengths, rest = _heard(answer.one_round(p, q), m, n, given)
    want = _one_round(p, q)
    says = "Where draft and target agree, nothing is refused: α is 1 there."
    close(lengths, want[0], says=says, given=given)
    says = (
        "Where draft and target agree, nothing is refused and nothing is missing, so the sum "
        "is 0. Put p itself into that row, which does no harm."
    )
    close(rest, want[1], says=says, given=given)
    p, q = torch.eye(3).double()[[0, 1]], torch.eye(3).double()[[2]]
    given = {"p": p, "q": q}
    lengths, rest = _heard(answer.one_round(p, q), 1, 3, given)
    says = "The draft is sure of what cannot be: it is refused, and p stands in."
    close([lengths, rest], [torch.tensor([1.0, 0]), p[:1]], says=says, given=given)
    mean = float(want[0] @ torch.arange(1, m + 2).double())
    return (
        "As going through all drafted texts finds. In one of the examples a round gives "
        f"{mean:.2f} tokens on the average, for one pass of the target."
    )


def _by_heads(x, latents, w_q, w_k, w_v, w_out, h):
    """The layer with keys and values made for each head: scores, and what comes out."""
    k = len(w_q) // h
    scores, out = [], 0
    for i in range(h):
        at = slice(i * k, (i + 1) * k)
        keys, values = latents @ w_k[at].T, latents @ w_v[at].T
        score = (x @ w_q[at].T) @ keys.mT / math.sqrt(k)
        scores.append(score)
        out = out + score.softmax(dim=-1) @ values @ w_out[:, at].T
    return torch.stack(scores, dim=1), out


def _from_latents(x, latents, w_query, w_after, h):
    """The same layer as multi-query attention on the latents: scores, and what comes out."""
    q = (x @ w_query.T).unflatten(-1, (h, -1)).transpose(1, 2)  # (b, h, t, r)
    key = latents[:, None]
    out = F.scaled_dot_product_attention(q, key, key)
    out = out.transpose(1, 2).flatten(2) @ w_after.T
    return q @ key.mT / math.sqrt(latents.shape[-1]), out


def _absorbed(w_q, w_k, w_v, w_out, h, dealt=False):
    """Both matrices without any scale, head by head; dealt: every h-th row for a head."""
    k = len(w_q) // h
    places = [
        torch.arange(i, h * k, h) if dealt else torch.arange(i * k, (i + 1) * k)
        for i in range(h)
    ]
    asked = torch.cat([w_k[at].T @ w_q[at] for at in places])
    after = torch.cat([w_out[:, at] @ w_v[at] for at in places], dim=1)
    return asked, after


@exercise(
    "13-6", title="Attention to what is stored", minutes=30, difficulty=5, points=6
)
def _(answer, draw):
    for b, t, s, d, h, k, r in ((2, 3, 7, 10, 3, 4, 6), (1, 2, 5, 8, 2, 5, 3)):
        x, latents = draw.normal(b, t, d), draw.normal(b, s, r)
        w_q, w_k, w_v = (
            draw.normal(h * k, d),
            draw.normal(h * k, r),
            draw.normal(h * k, r),
        )
        w_q, w_k = w_q / math.sqrt(d), w_k / math.sqrt(r)
        w_out = draw.normal(d, h * k)
        inputs = w_q, w_k, w_v, w_out, h
        given = f"d = {d}, h = {h} heads of k = {k}, latents of r = {r}"
        got = answer.absorb(*inputs)
        if not isinstance(got, list | tuple) or len(got) != 2:
            says = "`absorb` returns two matrices, `w_query` and `w_after`."
            raise Mistake(says, seen=f"Got {describe(got)}.", given=given)
        w_query, w_after = got
        _shaped("w_query", w_query, (h * r, d), (r, d), given)
        _shaped("w_after", w_after, (d, h * r), (d, r), given)
        scores, out = _by_heads(x, latents, *inputs)
        asked, after = _absorbed(*inputs)
        scale = math.sqrt(r / k)
        told = {
            "The scale is not right yet. The layer divides by √r, because its heads are r "
            "wide; the scores have to be divided by √k, as before. Make up for it in "
            "`w_query`.": asked,
            "The scale is upside down: the layer divides by √r where √k is wanted, so "
            "`w_query` has to be multiplied by √r / √k.": asked / scale,
            "The scale is a root: √(r / k), not r / k.": asked * scale**2,
            "The scores were divided by √k, but the layer divides by √r besides.": (
                asked / math.sqrt(k)
            ),
            "W_V is in `w_query`: scores come from queries and *keys*.": scale
            * _absorbed(w_q, w_v, w_v, w_out, h)[0],
            "Every h-th row was taken for a head; the rows of a head lie side by side.": (
                scale * _absorbed(*inputs, dealt=True)[0]
            ),
            "The heads were added up: each has its own W_K, and so its own r rows of "
            "`w_query`.": (scale * w_k.T @ w_q).repeat(h, 1),
        }
        probe = lambda w: _from_latents(x, latents, w, after, h)[0]  # noqa: B023
        says = (
            "The scores differ. For one head: (W_Q x) · (W_K c) = (W_Kᵀ W_Q x) · c, divided "
            "by √k."
        )
        wrong = {says: probe(w) for says, w in told.items()}
        close(probe(w_query), scores, mistakes=wrong, says=says, given=given)
        told = {
            "The scores are right. W_K is in `w_after`: what is mixed are *values*.": (
                _absorbed(w_q, w_v, w_k, w_out, h)[1]
            ),
            "The scores are right. `w_after` needs no scale: the weights sum to 1 by "
            "themselves.": after * scale,
            "The scores are right. `w_after` needs no scale, nor its inverse.": after
            / scale,
            "The scores are right. In `w_after`, the r columns of a head lie side by side: "
            "head i's begin at i · r.": after.unflatten(1, (h, r))
            .transpose(1, 2)
            .flatten(1),
            "The scores are right. For `w_after` every h-th column was taken for a head; the "
            "columns of a head lie side by side.": _absorbed(*inputs, dealt=True)[1],
            "The scores are right. In `w_after` the heads were added up: each has its own "
            "W_V, and its own r columns.": (w_out @ w_v).repeat(1, h),
        }
        probe = lambda w: _from_latents(x, latents, scale * asked, w, h)[1]  # noqa: B023
        says = (
            "The scores are right, what comes out is not. For one head: W_O (Σ a W_V c) = "
            "(W_O W_V) (Σ a c)."
        )
        wrong = {says: probe(w) for says, w in told.items()}
        close(probe(w_after), out, mistakes=wrong, says=says, given=given)
    return (
        "Scores and outputs as with keys and values of every head, and nothing but the "
        f"latents was read: with {h} heads of {k}, {r} numbers for each position in place "
        f"of {2 * h * k}."
    )


def _shaped(name, got, shape, summed, given):
    """A Mistake unless it has this shape; summed: the shape of the heads' sum."""
    if isinstance(got, Tensor) and tuple(got.shape) == shape:
        return
    seen = f"`{name}` is {describe(got)}."
    if isinstance(got, Tensor) and tuple(got.shape) == shape[::-1]:
        says = (
            f"`{name}` is transposed: it is {shape}, used as the others are, `x @ w.T`."
        )
    elif isinstance(got, Tensor) and tuple(got.shape) == summed:
        says = (
            f"The heads were added up in `{name}`: each has its own matrix, so there are "
            f"h · r of them side by side, {shape}."
        )
    else:
        says = f"`{name}` is a tensor {shape}, the heads side by side."
    raise Mistake(says, seen=seen, given=given)
