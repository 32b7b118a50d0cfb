"""Right and wrong answers to chapter 13's exercises, and what each must be told."""

from functools import cache
from itertools import product

import torch
from torch.nn import functional as F

from tfcourse.attention import causal_mask
from tfcourse.checks.kv_cache import dated_requests
from tfcourse.checks.proofs import right, wrong
from tfcourse.gpt import stored_gpt
from tfcourse.kv_cache import accept, bytes_per_token, latent_bytes_per_token


@wrong("13-1", says="What a batch shares are the *weights*")
def the_batch_helps():
    """Takes attention for a matrix, which a batch shares."""
    return {"prediction": "16 texts"}


@wrong("13-1", says="the queries of four heads instead of one")
def fewer_heads():
    """Sees that heads share a key, and does not count the tokens of a pass."""
    return {"prediction": "8 heads"}


@wrong("13-1", says="the same operations for half of the bytes")
def smaller_numbers():
    """Sees the bytes only."""
    return {"prediction": "1 byte"}


def counting(numbers, positions=None, texts=lambda lengths: lengths, each=None):
    """A cache_bytes from parts: numbers of a layer, positions of a text, which texts."""
    positions = positions or (lambda layer, n: min(n, layer.get("window", n)))

    def cache_bytes(layers, lengths, n_bytes=2):
        found = [
            numbers(layer) * positions(layer, n)
            for layer in layers
            for n in texts(lengths)
        ]
        return sum(found) * (n_bytes if each is None else each)

    return {"cache_bytes": cache_bytes}


def numbers_of(layer, kv=2, latent=1, turned=1):
    if "d_latent" in layer:
        return latent * layer["d_latent"] + turned * layer["d_rotated"]
    return kv * layer["n_kv_heads"] * layer["d_head"]


def window_of(layer, n):
    return layer.get("window", n)


@right("13-2")
def with_the_packages_formulas():
    """Sums the package's formulas, layer by layer."""

    def cache_bytes(layers, lengths, n_bytes=2):
        total = 0
        for layer in layers:
            if "d_latent" in layer:
                sizes = layer["d_latent"], layer["d_rotated"]
                each = latent_bytes_per_token(1, *sizes, n_bytes)
            else:
                each = bytes_per_token(1, layer["n_kv_heads"], layer["d_head"], n_bytes)
            kept = [
                n if n < layer.get("window", 10**9) else layer["window"]
                for n in lengths
            ]
            total += each * sum(kept)
        return total

    return cache_bytes


@right("13-2")
def token_by_token():
    """Goes through the tokens, and asks of each whether it is still in the window."""

    def cache_bytes(layers, lengths, n_bytes=2):
        total = 0
        for layer, n in product(layers, lengths):
            for position in range(n):
                if "window" not in layer or n - position <= layer["window"]:
                    total += numbers_of(layer) * n_bytes
        return total

    return cache_bytes


@wrong("13-2", says="Keys *and* values are kept")
def keys_alone():
    """Forgets the values."""
    return counting(lambda layer: numbers_of(layer, kv=1))


@wrong("13-2", says="A latent vector serves keys and values both")
def latents_twice():
    """Doubles the latent layers too."""
    return counting(lambda layer: numbers_of(layer, latent=2, turned=2))


@wrong("13-2", says="the rotated key is a key, and is kept once too")
def turned_keys_twice():
    """Keeps the rotated key twice."""
    return counting(lambda layer: numbers_of(layer, turned=2))


@wrong("13-2", says="stands the key that knows the position")
def without_the_turned_key():
    """Forgets the rotated key."""
    return counting(lambda layer: numbers_of(layer, turned=0))


@wrong("13-2", says="never keeps more than `window`")
def without_windows():
    """Takes all layers for whole ones."""
    return counting(numbers_of, lambda layer, n: n)


@wrong("13-2", says="has no more positions than tokens")
def always_the_window():
    """Counts the room of a window, full or not."""
    return counting(numbers_of, window_of)


@wrong("13-2", says="the *shorter* is what is kept")
def the_longer():
    """Takes the larger of the two."""
    return counting(numbers_of, lambda layer, n: max(n, window_of(layer, n)))


@wrong("13-2", says="Each text has a window of its own")
def one_window_for_all():
    """Adds the texts up first."""
    return counting(numbers_of, texts=lambda lengths: [sum(lengths)])


@wrong("13-2", says="not one fewer")
def window_without_itself():
    """Keeps window - 1 positions."""
    return counting(numbers_of, lambda layer, n: min(n, layer.get("window", n + 1) - 1))


@wrong("13-2", says="fills up all to the longest")
def filled_up_to_the_longest():
    """Takes the longest text for all."""
    return counting(numbers_of, texts=lambda n: [max(n, default=0)] * len(n))


@wrong("13-2", says="That is one text only")
def the_first_text():
    """Takes the first text."""
    return counting(numbers_of, texts=lambda lengths: lengths[:1])


@wrong("13-2", says="Those are numbers: times n_bytes")
def numbers_only():
    """Counts numbers."""
    return counting(numbers_of, each=1)


@wrong("13-2", says="it is 2 only if nobody says otherwise")
def always_two_bytes():
    """Does not use n_bytes."""
    return counting(numbers_of, each=2)


@wrong("13-2", says="a default of the function")
def another_default():
    """Takes float32 where nothing is said."""
    good = counting(numbers_of)["cache_bytes"]
    return {
        "cache_bytes": lambda layers, lengths, n_bytes=4: good(layers, lengths, n_bytes)
    }


@wrong("13-2", says="need not be whole")
def whole_bytes():
    """Rounds the bytes of a number."""
    good = counting(numbers_of)["cache_bytes"]
    return {"cache_bytes": lambda layers, lengths, n=2: good(layers, lengths, int(n))}


@wrong("13-2", says="The first layer was taken for all")
def like_the_first_layer():
    """Multiplies the first layer by their number."""
    good = counting(numbers_of)["cache_bytes"]
    return {
        "cache_bytes": lambda layers, lengths, n=2: good(
            layers[:1] * len(layers), lengths, n
        )
    }


@wrong("13-2", says="Layer by layer, text by text")
def a_key_too_many():
    """Counts a head too many."""
    return counting(lambda layer: numbers_of(layer) + 1)


@cache
def encoded():
    tokenizer = stored_gpt("11_code")[1]
    return [[tokenizer.encode(text) for text in texts] for texts in dated_requests()]


def computed(texts, size=16, adopts=True, whole=True):
    """Tokens to be computed, found by a set of all beginnings that were read."""
    known, total = set(), 0
    for ids in texts:
        found = 0
        while adopts and found + size < len(ids) + (not whole):
            if tuple(ids[: found + size]) not in known:
                break
            found += size
        total += len(ids) - found
        known |= {tuple(ids[:end]) for end in range(size, len(ids) + 1, size)}
    return total


def measuring(number):
    return dict(zip(("date_first", "date_last"), map(number, encoded()), strict=True))


@right("13-3")
def with_a_set_of_beginnings():
    """Counts by hand, without a pool."""
    return measuring(computed)


@wrong("13-3", says="nothing was shared")
def without_adopting():
    """Reads every text whole."""
    return measuring(lambda texts: computed(texts, adopts=False))


@wrong("13-3", says="so many tokens were found in the cache")
def what_was_found():
    """Adds up what was adopted."""
    return measuring(lambda texts: sum(map(len, texts)) - computed(texts))


@wrong("13-3", says="finds full blocks only")
def to_the_token():
    """Counts as if any beginning were shared, to the token."""
    return measuring(lambda texts: computed(texts, size=1))


@wrong("13-3", says="the first request alone")
def a_single_request():
    """Measures one request."""
    return measuring(lambda texts: computed(texts[:1]))


@wrong("13-3", says="that is the share")
def as_a_share():
    """Divides by all tokens."""
    return measuring(lambda texts: computed(texts) / sum(map(len, texts)))


@wrong("13-3", says="that is the mean of a request")
def as_a_mean():
    """Divides by the requests."""
    return measuring(lambda texts: computed(texts) / len(texts))


@wrong("13-3", says="the wrong way round")
def changed_places():
    """Takes one way for the other."""
    first, last = measuring(computed).values()
    return {"date_first": last, "date_last": first}


@wrong("13-3", says="and go on to the next")
def blocks_of_another_size():
    """Makes a pool with blocks of four positions."""
    return measuring(lambda texts: computed(texts, size=4))


def prompt_cache(mask, positions=None, shared=False, joined=2):
    """A PromptCache and its fed: mask from (real, causal); positions from what is known."""
    kept = {}

    class PromptCache:
        def __init__(self, lengths):
            self.lengths = torch.tensor(lengths)[:, None]
            self.kept = kept if shared else {}
            self.pieces = self.written = 0

        def positions(self, t):
            first = self.pieces == 0
            steps = torch.arange(t).expand(len(self.lengths), t)
            if first or positions is None:
                return steps if first else self.lengths + self.written + steps
            return positions(self, steps)

        def update(self, k, v):
            t = k.shape[2]
            if self.kept:
                k = torch.cat([self.kept["k"], k], dim=2)
                v = torch.cat([self.kept["v"], v], dim=2)
            else:
                self.kept["widest"] = t
            self.kept |= {"k": k, "v": v}
            self.widest = self.kept["widest"]
            self.written += t if self.pieces else 0
            self.pieces += 1
            return k, v, mask(self, t, k.shape[2])

    return fed_by(PromptCache)


def fed_by(kind):
    """The answer of this class, with the function by which it is fed."""

    def fed(lengths, pieces):
        cache = kind(lengths)
        return [[cache.positions(k.shape[2]), *cache.update(k, v)] for k, v in pieces]

    return {"PromptCache": kind, "fed": fed}


def real(cache, s):
    columns = torch.arange(s)
    return ((columns < cache.lengths) | (columns >= cache.widest))[:, None, None]


def good_mask(cache, t, s):
    return causal_mask(t, s) & real(cache, s)


def piece_mask(t, s):
    """All of the piece, and all before it."""
    return torch.ones(t, s, dtype=torch.bool)


@right("13-4")
def without_the_padding():
    """Keeps each text by itself, and fills up anew for each piece."""

    class PromptCache:
        def __init__(self, lengths):
            self.lengths, self.rows = lengths, None

        def positions(self, t):
            if self.rows is None:
                return torch.arange(t)
            ends = [row.shape[2] for row in self.rows]
            return torch.tensor([list(range(end, end + t)) for end in ends])

        def update(self, k, v):
            t, new = k.shape[2], torch.stack([k, v], dim=1)  # (b, 2, g, t, k)
            if self.rows is None:
                starts = [0] * len(k)
                self.rows = [new[i, :, :, :n] for i, n in enumerate(self.lengths)]
            else:
                starts = [row.shape[2] for row in self.rows]
                pairs = zip(self.rows, new, strict=True)
                self.rows = [torch.cat(pair, dim=2) for pair in pairs]
            s = max(row.shape[2] for row in self.rows)
            fill = lambda x: F.pad(x, (0, 0, 0, s - x.shape[2]), value=9.0)
            k, v = torch.stack([fill(row) for row in self.rows], dim=1)
            queries = torch.tensor(starts)[:, None] + torch.arange(t)
            return k, v, queries[:, None, :, None] >= torch.arange(s)

    return fed_by(PromptCache)


@right("13-4")
def the_same_for_all_heads():
    """Repeats the mask for each head."""
    return prompt_cache(lambda *given: good_mask(*given).expand(-1, 2, -1, -1))


@wrong("13-4", says="three axes for one of heads")
def without_an_axis_for_heads():
    """Gives the mask as (b, t, s)."""
    return prompt_cache(lambda *given: good_mask(*given)[:, 0])


@wrong("13-4", says="Each goes on from its own length")
def from_the_longest():
    """Counts on from the padded length, for all texts."""
    return prompt_cache(good_mask, lambda c, steps: c.widest + c.written + steps)


@wrong("13-4", says="They begin with 0 again")
def from_zero_again():
    """Begins each piece with position 0."""
    return prompt_cache(good_mask, lambda c, steps: steps)


@wrong("13-4", says="One too few: the last token of a prompt of 5")
def lags_by_one():
    """Gives a new token the position of the last one."""
    return prompt_cache(good_mask, lambda c, steps: c.lengths + c.written + steps - 1)


@wrong("13-4", says="One too many: a prompt of 5")
def leads_by_one():
    """Leaves a position out."""
    return prompt_cache(good_mask, lambda c, steps: c.lengths + c.written + steps + 1)


@wrong("13-4", says="They count pieces, not tokens")
def counts_pieces():
    """Goes on by one for each call."""
    return prompt_cache(good_mask, lambda c, steps: c.lengths + c.pieces - 1 + steps)


@wrong("13-4", says="Each piece begins at the end of the prompt again")
def always_after_the_prompt():
    """Does not count what was written since."""
    return prompt_cache(good_mask, lambda c, steps: c.lengths + steps)


@wrong("13-4", says="gives a tensor (b, t)")
def a_single_number():
    """Gives the position of the first of the piece only."""
    return prompt_cache(good_mask, lambda c, steps: c.lengths[:, 0] + c.written)


@wrong("13-4", says="later pieces of several tokens, are causal")
def sees_the_future():
    """Forbids the padding, and nothing else."""
    return prompt_cache(lambda c, t, s: piece_mask(t, s) & real(c, s))


@wrong("13-4", says="is padding, and it is attended to")
def sees_padding():
    """Makes it causal, and forgets the padding."""
    return prompt_cache(lambda c, t, s: causal_mask(t, s))


@wrong("13-4", says="Everything is attended to")
def without_a_mask():
    """Leaves the mask out."""
    return prompt_cache(lambda c, t, s: None)


@wrong("13-4", says="What is written after the prompts is real, too")
def hides_what_is_written():
    """Takes for real only what stands in the prompts."""
    return prompt_cache(
        lambda c, t, s: causal_mask(t, s) & (torch.arange(s) < c.lengths)[:, None, None]
    )


@wrong("13-4", says="A token sees itself, too")
def not_itself():
    """Lets a token see those before it only."""
    return prompt_cache(lambda c, t, s: causal_mask(t, s).tril(s - t - 1) & real(c, s))


@wrong("13-4", says="a square triangle begins at key 0")
def a_square_triangle():
    """Makes the triangle as is_causal=True does."""
    return prompt_cache(lambda c, t, s: piece_mask(t, s).tril() & real(c, s))


@wrong("13-4", says="the newest are not seen")
def as_if_without_padding():
    """Keeps the padding, and masks as if it were gone."""

    def mask(c, t, s):
        queries = (c.lengths + c.written - t if s > c.widest else 0) + torch.arange(t)
        queries = queries.expand(len(c.lengths), t)
        return queries[:, None, :, None] >= torch.arange(s)

    return prompt_cache(mask)


@wrong("13-4", says="True is what may be attended to")
def turned_round():
    """Takes True for forbidden."""
    return prompt_cache(lambda *given: ~good_mask(*given))


@wrong("13-4", says="The mask is a Boolean tensor")
def a_mask_to_add():
    """Gives a mask of numbers."""
    return prompt_cache(lambda *given: good_mask(*given).float().log())


@wrong("13-4", says="queries and")
def a_mask_of_keys():
    """Gives a mask (b, s): which keys are real."""
    return prompt_cache(lambda c, t, s: real(c, s)[:, 0, 0])


@wrong("13-4", says="write out which places it may see")
def forgets_the_first():
    """Never looks at key 0 after the prompt."""

    def mask(c, t, s):
        seen = good_mask(c, t, s).clone()
        if s > c.widest:
            seen[..., 0] = False
        return seen

    return prompt_cache(mask)


@wrong("13-4", says="returns three things")
def without_the_mask():
    """Returns keys and values only."""
    good = prompt_cache(good_mask)["fed"]
    return {
        "PromptCache": object,
        "fed": lambda *given: [back[:3] for back in good(*given)],
    }


@right("13-5")
def with_the_ratio():
    """Goes by the ratio, and leaves out tokens that the draft never writes."""

    def one_round(p, q):
        m, n = q.shape
        alpha, rest = [], []
        for i in range(m):
            alpha.append(
                sum(
                    q[i, x] * min(1, p[i, x] / q[i, x]) for x in range(n) if q[i, x] > 0
                )
            )
            more = [max(float(p[i, x] - q[i, x]), 0) for x in range(n)]
            total = sum(more)
            rest.append([x / total for x in more] if total > 1e-9 else p[i].tolist())
        lengths, stood = [], 1.0
        for a in map(float, alpha):
            lengths.append(stood * (1 - a))
            stood *= a
        return [*lengths, stood], rest

    return one_round


@right("13-5")
def by_half_the_difference():
    """Takes 1 minus half the sum of |p - q|."""

    def one_round(p, q):
        gap = p[:-1] - q
        alpha = 1 - gap.abs().sum(dim=-1) / 2
        more = (gap + gap.abs()) / 2
        rest = (more / more.sum(dim=-1, keepdim=True)).nan_to_num(0)
        rest = rest + p[:-1] * (rest.sum(dim=-1, keepdim=True) == 0)
        at_least = torch.cat([alpha.new_ones(1), alpha.cumprod(0), alpha.new_zeros(1)])
        return at_least[:-1] - at_least[1:], rest

    return one_round


def smaller(p, q):
    return torch.minimum(p, q).sum(dim=-1)


def missing(p, q):
    return (p - q).clamp(min=0)


def shares(x):
    return x / x.sum(dim=-1, keepdim=True)


def rounds(alpha=smaller, rest=lambda p, q: shares(missing(p, q)), lengths=None):
    """A one_round: alpha and rest from the rows of p and q that belong together."""

    def one_round(p, q):
        a = alpha(p[:-1], q)
        one = a.new_ones(1)
        if lengths is not None:
            return lengths(a), rest(p[:-1], q)
        stood = torch.cat([one, a.cumprod(0)])
        return stood * torch.cat([1 - a, one]), rest(p[:-1], q)

    return {"one_round": one_round}


def at_least(a):
    return torch.cat([a.new_ones(1), a.cumprod(0)])


@wrong("13-5", says="are the same. A drafted token x may stand")
def the_same_token():
    """Takes the chance that both draw the same."""
    return rounds(lambda p, q: (p * q).sum(dim=-1))


@wrong("13-5", says="The ratio is upside down")
def ratio_upside_down():
    """Accepts with min(1, q / p)."""
    return rounds(lambda p, q: (q * (q / p).clamp(max=1)).sum(dim=-1))


@wrong("13-5", says="weigh each one's chance to stand by q(x)")
def weighed_by_the_target():
    """Weighs by p."""
    return rounds(lambda p, q: (p * (p / q).clamp(max=1)).sum(dim=-1))


@wrong("13-5", says="That weighs all tokens alike")
def the_plain_mean():
    """Takes the mean over all tokens."""
    return rounds(lambda p, q: (p / q).clamp(max=1).mean(dim=-1))


@wrong("13-5", says="counts each difference twice")
def the_whole_difference():
    """Forgets the half."""
    return rounds(lambda p, q: 1 - (p - q).abs().sum(dim=-1))


@wrong("13-5", says="*at least* so many")
def at_least_so_many():
    """Gives the chance of so many and more."""
    return rounds(lengths=at_least)


@wrong("13-5", says="only looked at if all before it stood")
def each_by_itself():
    """Does not ask whether those before stood."""
    return rounds(lengths=lambda a: torch.cat([1 - a, a.prod()[None]]))


@wrong("13-5", says="nothing has to fall for it")
def the_last_falls():
    """Lets the last one fall, too."""
    return rounds(lengths=lambda a: at_least(a) * torch.cat([1 - a, 1 - a[-1:]]))


@wrong("13-5", says="that takes the first for all")
def like_the_first_place():
    """Takes the chance of the first place for all."""
    return rounds(lambda p, q: smaller(p, q)[:1].expand(len(q)))


@wrong("13-5", says="that takes the mean for all")
def like_the_mean():
    """Takes the mean of the places."""
    return rounds(lambda p, q: smaller(p, q).mean().expand(len(q)))


@wrong("13-5", says="from many tokens to few")
def in_reverse():
    """Begins with all of them."""
    return rounds(
        lengths=lambda a: (at_least(a) * torch.cat([1 - a, a.new_ones(1)])).flip(0)
    )


@wrong("13-5", says="the last for all of them and the target's own token")
def without_the_last():
    """Leaves out the case that all stand."""
    return rounds(lengths=lambda a: at_least(a)[:-1] * (1 - a))


@wrong("13-5", says="That draws again from p")
def from_the_target():
    """Replaces from p."""
    return rounds(rest=lambda p, q: p)


@wrong("13-5", says="divide each row by its sum")
def not_divided():
    """Leaves the differences as they are."""
    return rounds(rest=missing)


@wrong("13-5", says="turn the difference round")
def where_the_draft_has_more():
    """Takes q - p."""
    return rounds(rest=lambda p, q: shares(missing(q, p)))


@wrong("13-5", says="and not |p - q|")
def without_a_sign():
    """Takes the size of the difference."""
    return rounds(rest=lambda p, q: shares((p - q).abs()))


@wrong("13-5", says="A softmax gives a chance to what has 0")
def by_a_softmax():
    """Makes a distribution by a softmax."""
    return rounds(rest=lambda p, q: missing(p, q).softmax(dim=-1))


@wrong("13-5", says="you divide along the places")
def along_the_places():
    """Divides along the wrong axis."""
    return rounds(rest=lambda p, q: missing(p, q) / missing(p, q).sum(dim=0))


@wrong("13-5", says="what it offered was refused")
def from_the_draft():
    """Replaces from q."""
    return rounds(rest=lambda p, q: q)


@wrong("13-5", says="not all alike")
def any_that_has_more():
    """Takes those with more chance, all alike."""
    return rounds(rest=lambda p, q: shares((p > q).double()))


@wrong("13-5", says="The sum of all rows was taken")
def by_the_sum_of_all():
    """Divides by one sum."""
    return rounds(rest=lambda p, q: missing(p, q) / missing(p, q).sum())


@wrong("13-5", says="leave out what is below 0 before you divide")
def keeps_what_is_below_zero():
    """Divides the differences by their sum, which is 0."""
    return rounds(
        rest=lambda p, q: (
            (p - q) / (p - q).sum(dim=-1, keepdim=True).round()
        ).nan_to_num(posinf=torch.nan, neginf=torch.nan)
    )


@wrong("13-5", says="0 / 0 is not a number")
def zero_by_zero():
    """Divides by q, whatever it is."""
    return rounds(lambda p, q: (q * (p / q).clamp(max=1)).sum(dim=-1))


@wrong("13-5", says="Put p itself into that row")
def nothing_is_missing():
    """Divides by a sum that may be 0."""
    return rounds(rest=lambda p, q: shares(missing(p, q)).nan_to_num(0))


@wrong("13-5", says="`rest` has a distribution for each drafted place")
def too_many_rows():
    """Gives a row for the last place as well."""
    return rounds(rest=lambda p, q: torch.cat([p, p[:1]]))


@wrong("13-5", says="returns two things")
def only_the_chances():
    """Returns the chances alone."""
    good = rounds()["one_round"]
    return {"one_round": lambda p, q: good(p, q)[0]}


@wrong("13-5", says="for each place; then the first that falls")
def by_dice():
    """Counts draws of the package, a hundred of them."""

    def one_round(p, q):
        dice, counts = torch.Generator().manual_seed(0), torch.zeros(len(p))
        for _ in range(100):
            drafted = torch.multinomial(q, 1, generator=dice)[:, 0].tolist()
            counts[len(accept(drafted, p, q, dice)) - 1] += 1
        return counts / 100, shares(missing(p[:-1], q))

    return one_round


def head_by_head(query, after):
    """An absorb that lays side by side what query and after make for each head."""

    def absorb(w_q, w_k, w_v, w_out, n_heads):
        k, r = len(w_q) // n_heads, w_k.shape[1]
        heads = [slice(i * k, (i + 1) * k) for i in range(n_heads)]
        asked = [query(w_q[at], w_k[at], w_v[at], r / k) for at in heads]
        says = [after(w_out[:, at], w_k[at], w_v[at], r / k) for at in heads]
        return torch.cat(asked), torch.cat(says, dim=1)

    return {"absorb": absorb}


def good_query(w_q, w_k, w_v, ratio):
    return w_k.T @ w_q * ratio**0.5


def good_after(w_out, w_k, w_v, ratio):
    return w_out @ w_v


def scaled(power):
    return head_by_head(
        lambda w_q, w_k, w_v, ratio: w_k.T @ w_q * ratio**power, good_after
    )


@right("13-6")
def one_head_after_the_other():
    """Lays the heads side by side."""
    return head_by_head(good_query, good_after)


@right("13-6")
def as_einsums():
    """Says it in two sums."""

    def absorb(w_q, w_k, w_v, w_out, n_heads):
        r, d = w_k.shape[1], w_q.shape[1]
        w_q, w_k, w_v = (w.reshape(n_heads, -1, w.shape[1]) for w in (w_q, w_k, w_v))
        w_out = w_out.reshape(d, n_heads, -1)
        query = torch.einsum("hkr,hkd->hrd", w_k, w_q) * (r / w_q.shape[1]) ** 0.5
        after = torch.einsum("dhk,hkr->dhr", w_out, w_v)
        return query.reshape(-1, d), after.reshape(d, -1)

    return absorb


@wrong("13-6", says="The scale is not right yet")
def without_the_scale():
    """Forgets that attention divides by another root."""
    return scaled(0)


@wrong("13-6", says="The scale is upside down")
def scale_upside_down():
    """Multiplies by the root of k / r."""
    return scaled(-0.5)


@wrong("13-6", says="The scale is a root")
def without_the_root():
    """Multiplies by r / k."""
    return scaled(1)


@wrong("13-6", says="but the layer divides by √r besides")
def divided_twice():
    """Divides by the root of k as well."""
    return head_by_head(
        lambda w_q, w_k, w_v, ratio: w_k.T @ w_q / len(w_q) ** 0.5, good_after
    )


@wrong("13-6", says="W_V is in `w_query`")
def values_in_the_query():
    """Takes W_V for W_K."""
    return head_by_head(
        lambda w_q, w_k, w_v, ratio: w_v.T @ w_q * ratio**0.5, good_after
    )


@wrong("13-6", says="Every h-th row was taken for a head")
def heads_dealt_out():
    """Cuts the heads as if their rows alternated."""

    def absorb(w_q, w_k, w_v, w_out, n_heads):
        deal = lambda w: w.unflatten(0, (-1, n_heads)).transpose(0, 1).flatten(0, 1)
        good = head_by_head(good_query, good_after)["absorb"]
        return good(deal(w_q), deal(w_k), deal(w_v), deal(w_out.T).T, n_heads)

    return absorb


@wrong("13-6", says="The heads were added up: each has its own W_K")
def one_query_for_all():
    """Multiplies the whole matrices, and repeats."""

    def absorb(w_q, w_k, w_v, w_out, n_heads):
        ratio = w_k.shape[1] / (len(w_k) // n_heads)
        query = (w_k.T @ w_q * ratio**0.5).repeat(n_heads, 1)
        return query, (w_out @ w_v).repeat(1, n_heads)

    return absorb


@wrong("13-6", says="The heads were added up in `w_query`")
def whole_matrices():
    """Multiplies the whole matrices."""
    return {"absorb": lambda w_q, w_k, w_v, w_out, h: (w_k.T @ w_q, w_out @ w_v)}


@wrong("13-6", says="`w_query` is transposed")
def transposed():
    """Returns both matrices transposed."""
    good = head_by_head(good_query, good_after)["absorb"]
    return {"absorb": lambda *given: tuple(w.T for w in good(*given))}


@wrong("13-6", says="the heads side by side.")
def an_axis_for_heads():
    """Leaves an axis for the heads."""

    def absorb(w_q, w_k, w_v, w_out, n_heads):
        query, after = head_by_head(good_query, good_after)["absorb"](
            w_q, w_k, w_v, w_out, n_heads
        )
        return query.unflatten(0, (n_heads, -1)), after

    return absorb


@wrong("13-6", says="`w_after` is a tensor")
def heads_beside_the_width():
    """Joins the heads with d instead of r."""

    def absorb(w_q, w_k, w_v, w_out, n_heads):
        query, after = head_by_head(good_query, good_after)["absorb"](
            w_q, w_k, w_v, w_out, n_heads
        )
        return query, after.unflatten(1, (n_heads, -1)).transpose(0, 1).flatten(0, 1).T

    return absorb


@wrong("13-6", says="W_K is in `w_after`")
def keys_in_the_output():
    """Takes W_K for W_V."""
    return head_by_head(good_query, lambda w_out, w_k, w_v, ratio: w_out @ w_k)


@wrong("13-6", says="`w_after` needs no scale: the weights")
def scale_on_both():
    """Scales the output as well."""
    return head_by_head(
        good_query, lambda w_out, w_k, w_v, ratio: w_out @ w_v * ratio**0.5
    )


@wrong("13-6", says="nor its inverse")
def scale_taken_back():
    """Takes the scale back in the output."""
    return head_by_head(
        good_query, lambda w_out, w_k, w_v, ratio: w_out @ w_v / ratio**0.5
    )


@wrong("13-6", says="head i's begin at i · r")
def columns_that_alternate():
    """Lays the columns of the heads alternately."""

    def absorb(w_q, w_k, w_v, w_out, n_heads):
        query, after = head_by_head(good_query, good_after)["absorb"](
            w_q, w_k, w_v, w_out, n_heads
        )
        return query, after.unflatten(1, (n_heads, -1)).transpose(1, 2).flatten(1)

    return absorb


@wrong("13-6", says="In `w_after` the heads were added up")
def one_output_for_all():
    """Multiplies the whole matrices for the output only."""

    def absorb(w_q, w_k, w_v, w_out, n_heads):
        query, _ = head_by_head(good_query, good_after)["absorb"](
            w_q, w_k, w_v, w_out, n_heads
        )
        return query, (w_out @ w_v).repeat(1, n_heads)

    return absorb


@wrong("13-6", says="For one head: (W_Q x) · (W_K c)")
def negative_scores():
    """Has the sign wrong."""
    return head_by_head(
        lambda w_q, w_k, w_v, ratio: -w_k.T @ w_q * ratio**0.5, good_after
    )


@wrong("13-6", says="W_O (Σ a W_V c)")
def half_of_the_output():
    """Takes the mean of the heads."""

    def absorb(w_q, w_k, w_v, w_out, n_heads):
        query, after = head_by_head(good_query, good_after)["absorb"](
            w_q, w_k, w_v, w_out, n_heads
        )
        return query, after / n_heads

    return absorb


@wrong("13-6", says="returns two matrices")
def only_the_query():
    """Returns one matrix."""
    good = head_by_head(good_query, good_after)["absorb"]
    return {"absorb": lambda *given: good(*given)[0]}
