"""tfcourse.kv_cache: cached equals uncached, whatever the cache, the parts and the company."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parity import close, filled, refused, seeded
from tfcourse.attention import causal_mask
from tfcourse.generation import Sampler, generate, next_scores
from tfcourse.gpt import GPT, GPTConfig
from tfcourse.kv_cache import (
    CARDS,
    BlockPool,
    CachedModel,
    KVCache,
    Machine,
    OutOfBlocks,
    PagedText,
    Server,
    WindowCache,
    Work,
    accept,
    block_name,
    bytes_per_token,
    caches_for,
    latent_bytes_per_token,
    matrix_weights,
    read_texts,
    reading_work,
    shared_start,
    speculate,
    window_mask,
    window_places,
)

N, T, B, L = 19, 23, 3, 2  # tokens, length, batch, blocks: no two alike
SHAPE = {
    "vocab_size": N,
    "context_length": 29,
    "d_model": 24,
    "n_heads": 6,
    "n_layers": L,
}
LLAMA = {"norm": "rms", "activation": "swiglu", "position": "rotary", "bias": False}
KINDS = {
    "learned": {},
    "rotary, grouped": LLAMA | {"n_kv_heads": 3},
    "rotary, one key": LLAMA | {"n_kv_heads": 1, "tied": False},
}
MODELS = {
    name: filled(GPT(GPTConfig(**SHAPE | changes))).eval()
    for name, changes in KINDS.items()
}
IDS = torch.randint(N, (B, T), generator=seeded())
PLACES = torch.arange(T)
WINDOW, SINKS = 5, 2
CACHES = {
    "whole": (KVCache, {"capacity": T}, None),
    "window": (WindowCache, {"window": WINDOW}, window_mask(PLACES, PLACES, WINDOW)),
    "window of one": (WindowCache, {"window": 1}, window_mask(PLACES, PLACES, 1)),
    "window and sinks": (
        WindowCache,
        {"window": WINDOW, "sinks": SINKS},
        window_mask(PLACES, PLACES, WINDOW, SINKS),
    ),
}


def full(model, ids=IDS, mask=None):
    """The scores at all positions, without a cache."""
    with torch.no_grad():
        mask = causal_mask(ids.shape[1]) if mask is None else mask
        return model(ids, mask=mask[: ids.shape[1], : ids.shape[1]])


def forced(model, caches, parts):
    """The scores at all positions, the text given in parts of these lengths."""
    with torch.no_grad():
        return torch.cat(
            [model(part, caches=caches) for part in IDS.split(parts, dim=1)], dim=1
        )


CUTS = {
    "one by one": [1] * T,
    "all at once": [T],
    "a prompt, then one by one": [7] + [1] * (T - 7),
    "in chunks": [4, 4, 4, 4, 4, 3],
    "odd chunks": [1, 6, 2, 1, 9, 4],
}


# Cached equals uncached


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.parametrize("name", MODELS)
def test_the_scores_equal_the_full_pass(name, kind, cut):
    model, (cache, sizes, mask) = MODELS[name], CACHES[kind]
    caches = caches_for(model, cache, B, **sizes)
    close(forced(model, caches, CUTS[cut]), full(model, mask=mask), atol=1e-9)


def test_the_windowed_mask_is_what_its_name_says():
    mask = window_mask(PLACES, PLACES, WINDOW, SINKS)
    for i in range(T):
        for j in range(T):
            near = i - WINDOW < j <= i
            assert mask[i, j] == (near or (j < SINKS and j <= i))
    assert torch.equal(window_mask(PLACES, PLACES, T), causal_mask(T))


@pytest.mark.parametrize("chunk", [None, 1, 4, 100])
@pytest.mark.parametrize("name", MODELS)
def test_a_cached_model_answers_as_next_scores_does(name, chunk):
    model = MODELS[name]
    cached = CachedModel(model, caches_for(model, KVCache, B, capacity=T), chunk)
    expected = full(model)
    for t in (5, 6, 7, 12, T):
        close(cached(IDS[:, :t]), expected[:, t - 1], atol=1e-9)
    close(cached.read(IDS, last=9), expected[:, -9:], atol=1e-9)  # computed again
    other = IDS.clone()
    other[:, 11:] = (other[:, 11:] + 1) % N
    close(cached(other[:, :15]), full(model, other)[:, 14], atol=1e-9)
    assert [cache.length for cache in cached.caches] == [15] * L


def test_what_was_read_before_is_not_computed_again():
    model, read = MODELS["learned"], []
    handle = model.embedding.register_forward_hook(
        lambda module, inputs, out: read.append(inputs[0].shape[1])
    )
    cached = CachedModel(model, caches_for(model, KVCache, B, capacity=T), chunk=4)
    for t in (10, 11, 12, 20, 6, 6):
        cached(IDS[:, :t])
    handle.remove()
    assert read == [4, 4, 2, 1, 1, 4, 4, 1, 1]


@pytest.mark.parametrize("kind", ["whole", "window and sinks"])
@pytest.mark.parametrize("name", MODELS)
def test_the_same_tokens_are_generated(name, kind):
    model, (cache, sizes, mask) = MODELS[name], CACHES[kind]
    for sampler in (Sampler(greedy=True), Sampler(temperature=1.5)):
        uncached = lambda ids: full(model, ids, mask)[:, -1]
        cached = CachedModel(model, caches_for(model, cache, B, **sizes))
        written = [
            torch.stack(list(generate(step, IDS[:, :6], T - 6, sampler, seeded(2))))
            for step in (uncached, cached)
        ]
        assert torch.equal(*written)
        if not sampler.greedy:
            assert len(set(written[0].flatten().tolist())) >= 5
    if kind == "whole":
        step = next_scores(model)
        again = torch.stack(list(generate(step, IDS[:, :6], T - 6, sampler, seeded(2))))
        assert torch.equal(again, written[1])


def test_a_rotary_model_reads_on_past_its_context_in_parts():
    model = MODELS["rotary, grouped"]
    ids = torch.randint(N, (1, 60), generator=seeded(3))
    cached = CachedModel(model, caches_for(model, KVCache, capacity=60))
    mask = causal_mask(60)[-29:]
    with torch.no_grad():
        x, caches = [], caches_for(model, KVCache, capacity=60)
        for one in ids.split(1, dim=1):
            x.append(model(one, caches=caches))
    assert mask.shape == (29, 60)
    close(cached(ids), torch.cat(x, dim=1)[:, -1], atol=1e-9)


def test_a_cache_has_the_models_kind_of_numbers():
    model = GPT(GPTConfig(**SHAPE)).bfloat16().eval()
    cached = CachedModel(model, caches_for(model, KVCache, B, capacity=T))
    assert cached.caches[0].k.dtype == torch.bfloat16
    scores = cached(IDS)
    assert scores.dtype == torch.float32 and scores.isfinite().all()


def test_shared_start_asks_all_rows():
    assert shared_start(IDS, IDS) == T
    assert shared_start(IDS, IDS[:, :4]) == 4
    assert shared_start(IDS[:2], IDS) == 0
    other = IDS.clone()
    other[1, 5] += 1
    other[2, 3] += 1
    assert shared_start(IDS, other) == 3
    assert shared_start(IDS[:, :0], other) == 0


# Known mistakes are seen


class Stuck(KVCache):
    def positions(self, t):
        return torch.arange(t)


class Lagging(KVCache):
    def positions(self, t):
        start = max(0, self.length - 1)
        return torch.arange(start, start + t)


class Headless(KVCache):
    def update(self, k, v):
        k, v, mask = super().update(k, v)
        if k.shape[2] == 1:
            return k, v, mask
        return k[:, :, 1:], v[:, :, 1:], None if mask is None else mask[:, 1:]


class Seeing(KVCache):
    def update(self, k, v):
        return *super().update(k, v)[:2], None


class FirstOnly(KVCache):
    """What is_causal=True makes of one query and a longer cache: it sees key 0."""

    def update(self, k, v):
        k, v, _ = super().update(k, v)
        return k, v, causal_mask(k.shape[2])[-1:] if self.length == 1 else first(k)


def first(k):
    mask = torch.zeros(1, k.shape[2], dtype=torch.bool)
    mask[0, 0] = True
    return mask


@pytest.mark.parametrize(
    "kind, cut",
    [
        (Stuck, "one by one"),
        (Lagging, "a prompt, then one by one"),
        (Headless, "one by one"),
        (Seeing, "in chunks"),
        (FirstOnly, "one by one"),
    ],
)
@pytest.mark.parametrize("name", MODELS)
def test_a_mistaken_cache_is_far_off(name, kind, cut):
    model = MODELS[name]
    wrong = forced(model, caches_for(model, kind, B, capacity=T), CUTS[cut])
    assert (wrong - full(model)).abs().max() > 1e-3


@pytest.mark.parametrize("window, sinks", [(WINDOW - 1, SINKS), (WINDOW + 1, SINKS)])
@pytest.mark.parametrize("cut", CUTS)
def test_a_window_that_is_one_off_is_far_off(cut, window, sinks):
    model = MODELS["learned"]
    caches = caches_for(model, WindowCache, B, window=window, sinks=sinks)
    mask = CACHES["window and sinks"][2]
    wrong = forced(model, caches, CUTS[cut]) - full(model, mask=mask)
    assert wrong.abs().max() > 1e-3
    close(wrong[:, : WINDOW - 1], torch.zeros(B, WINDOW - 1, N).double(), atol=1e-9)


# Memory that stays, and going back


def test_a_window_holds_its_last_positions_and_the_first():
    cache = WindowCache(1, 1, 1, window=3, sinks=2, dtype=torch.float64)
    for part in PLACES.double()[None, None, :, None].split([4, 1, 1, 7, 1, 9], dim=2):
        cache.update(part, -part)
    held = sorted(cache.k[0, 0, :, 0].tolist())
    assert held == sorted(cache.held.tolist()) == [0, 1, T - 3, T - 2, T - 1]
    assert torch.equal(cache.k, -cache.v) and cache.k.shape == (1, 1, 5, 1)


@given(
    st.integers(1, 6),
    st.integers(0, 3),
    st.lists(st.integers(1, 8), min_size=1, max_size=8),
)
@settings(deadline=None, max_examples=60)
def test_places_never_collide_and_none_that_is_needed_is_lost(window, sinks, parts):
    held, start = {}, 0
    for t in parts:
        new = torch.arange(start, start + t)
        stays, places = window_places(new, window, sinks)
        assert len(set(places.tolist())) == len(places) == stays.sum()
        held |= dict(zip(places.tolist(), new[stays].tolist(), strict=True))
        start += t
        needed = {p for p in range(start) if p < sinks or p >= start - window}
        assert set(held.values()) >= needed and max(held) < sinks + window


def test_going_back_and_on_another_way():
    model = MODELS["rotary, grouped"]
    for kind, sizes in ((KVCache, {"capacity": T}), (WindowCache, {"window": T})):
        caches = caches_for(model, kind, B, **sizes)
        forced(model, caches, [T])
        assert [cache.rewind(9) for cache in caches] == [9] * L
        with torch.no_grad():
            rest = model(IDS[:, 9:], caches=caches)
        close(rest, full(model)[:, 9:], atol=1e-9)
        assert caches[0].rewind(T + 5) == T


def test_a_window_that_has_moved_on_starts_again():
    model = MODELS["rotary, grouped"]
    kind, sizes, mask = CACHES["window and sinks"]
    cached = CachedModel(model, caches_for(model, kind, B, **sizes))
    cached(IDS)
    assert cached.caches[0].rewind(T) == T
    close(cached(IDS[:, :12]), full(model, mask=mask)[:, 11], atol=1e-9)
    assert cached.caches[0].rewind(8) == 0


# Texts in blocks


def texts(model, n_blocks=40, block_size=4, ids=IDS):
    pool = BlockPool(model, n_blocks, block_size)
    return pool, [PagedText(pool, row) for row in ids.tolist()]


@pytest.mark.parametrize("block_size", [1, 4, 100])
@pytest.mark.parametrize("name", MODELS)
def test_texts_in_blocks_equal_the_full_pass(name, block_size):
    model, expected = MODELS[name], full(MODELS[name])
    _, (a, b, c) = texts(model, 80, block_size)
    company = [
        ([a], [6]),
        ([b, a], [9, 1]),
        ([c, a, b], [1, 4, 1]),
        ([a, b, c], [1] * 3),
    ]
    company += [([c, b], [11, 2]), ([b, c], [10, 10]), ([a], [11])]
    for who, counts in company:
        scores = read_texts(model, who, counts)
        for text, row in zip(who, scores, strict=True):
            i = [a, b, c].index(text)
            close(row, expected[i, text.length - 1], atol=1e-9)
    assert [text.length for text in (a, b, c)] == [T, T, T]


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_any_company_in_any_parts_changes_nothing(data):
    model, expected = MODELS["rotary, grouped"], full(MODELS["rotary, grouped"])
    pool, all_texts = texts(model, 24, 3)
    for _ in range(12):
        open_texts = [i for i in range(B) if all_texts[i].length < T]
        if not open_texts:
            break
        who = data.draw(st.lists(st.sampled_from(open_texts), min_size=1, unique=True))
        counts = [data.draw(st.integers(1, T - all_texts[i].length)) for i in who]
        scores = read_texts(model, [all_texts[i] for i in who], counts)
        for i, row in zip(who, scores, strict=True):
            close(row, expected[i, all_texts[i].length - 1], atol=1e-9)
    for text in all_texts:
        text.release()
    assert len(pool.free) == 24 and not any(pool.users)


def test_equal_beginnings_share_their_blocks():
    model = MODELS["learned"]
    pool, (a, *_) = texts(model)
    read_texts(model, [a], [T])
    same = PagedText(pool, a.ids)
    same.adopt()
    assert same.blocks == a.blocks[:5] and same.length == 20
    assert [pool.users[block] for block in a.blocks] == [2] * 5 + [1]
    close(read_texts(model, [same], [3])[0], full(model)[0, -1], atol=1e-9)
    assert same.blocks[5] != a.blocks[5]  # what is written is nobody else's
    whole = PagedText(pool, a.ids[:20])
    whole.adopt()
    assert whole.length == 16  # the last token is always computed
    changed = PagedText(pool, [*a.ids[:5], (a.ids[5] + 1) % N, *a.ids[6:]])
    changed.adopt()
    assert (
        changed.blocks == a.blocks[:1]
    )  # its later blocks read alike, but mean others


def test_free_blocks_are_found_again_until_they_are_taken():
    model = MODELS["learned"]
    pool, (a, b, _) = texts(model, n_blocks=8)
    read_texts(model, [a], [T])
    a.release()
    assert len(pool.free) == 8 and len(pool.known) == 5
    a.adopt()
    assert a.length == 20 and len(pool.free) == 3
    a.release()
    read_texts(model, [b], [17])  # 5 of 8: the unused, then the ends of a
    again = PagedText(pool, a.ids)
    again.adopt()
    assert 0 < again.length < 20
    n = len(again.ids) - again.length
    b.release()
    close(read_texts(model, [again], [n])[0], full(model)[0, -1], atol=1e-9)
    assert set(pool.known.values()) == set(pool.name_of)


def test_a_key_depends_on_everything_before():
    assert (
        block_name(b"", [1, 2]) != block_name(b"x", [1, 2]) != block_name(b"x", [2, 1])
    )
    assert block_name(b"", [1, 2]) == block_name(b"", [1, 2])
    assert block_name(b"", [-1]) != block_name(b"", [-2])  # hash() says they are equal


def test_too_few_blocks_are_refused_before_anything_is_taken():
    model = MODELS["learned"]
    pool, (a, b, c) = texts(model, n_blocks=9)
    read_texts(model, [a, b], [8, 12])
    with pytest.raises(OutOfBlocks, match="5 blocks of 4 positions are needed, 4 of 9"):
        read_texts(model, [b, c], [1, 15])
    assert (b.length, len(b.blocks), c.blocks, len(pool.free)) == (12, 3, [], 4)
    scores = read_texts(model, [a, b], [1, 1])
    for i, t in ((0, 8), (1, 12)):
        close(scores[i], full(model)[i, t], atol=1e-9)
    refused(lambda: read_texts(model, [a], [0]), "has 14 tokens to be read; got 0")
    refused(lambda: read_texts(model, [a], [15]), "got 15")
    refused(lambda: BlockPool(model, 0), "n_blocks=0")


# Many at once


def alone(model, ids, n_new, seed, sampler):
    drawn = generate(
        next_scores(model), torch.tensor([ids]), n_new, sampler, seeded(seed)
    )
    return [int(token) for token in drawn]


def served(server, limit=500):
    """Step until nobody is left; the requests in the order in which they were done."""
    done = []
    for _ in range(limit):
        if not server.waiting and not server.running:
            return done
        done += server.step()
    raise AssertionError("the server does not come to an end")


@pytest.mark.parametrize("n_blocks, most, chunk", [(60, 3, 4), (7, 3, 3), (9, 8, 50)])
@pytest.mark.parametrize("name", MODELS)
def test_everyone_gets_what_they_would_get_alone(name, n_blocks, most, chunk):
    model, sampler = MODELS[name], Sampler(temperature=1.3)
    pool = BlockPool(model, n_blocks, 4)
    server, wanted = Server(model, pool, most, chunk), {}
    for i in range(7):
        ids = IDS[i % B, : 4 + 2 * i].tolist()
        request = server.submit(ids, 1 + 3 * (i % 4), sampler, seeded(i))
        wanted[request] = alone(model, ids, 1 + 3 * (i % 4), i, sampler)
        server.step()  # some join when others have begun
    served(server)
    for request, tokens in wanted.items():
        assert request.drawn == tokens and request.error is None
    assert len({token for tokens in wanted.values() for token in tokens}) >= 5
    assert len(pool.free) == n_blocks and not any(pool.users)


def test_a_small_pool_makes_the_youngest_wait():
    model, waits = MODELS["learned"], 0
    server = Server(model, BlockPool(model, 6, 4), most=3, chunk=8)
    first = server.submit(IDS[0, :8].tolist(), 14, Sampler(), seeded(0))
    second = server.submit(IDS[1, :8].tolist(), 8, Sampler(), seeded(1))
    for _ in range(80):
        running = list(server.running)
        server.step()
        waits += second in running and second in server.waiting
        assert first in server.running or first.done or first in server.waiting
    assert waits and first.done and second.done
    assert second.drawn == alone(model, IDS[1, :8].tolist(), 8, 1, Sampler())


class Broken(Sampler):
    def probabilities(self, logits, ids):
        if ids.shape[1] > 9:
            raise ValueError("no such token")
        return super().probabilities(logits, ids)


def test_who_fails_or_leaves_does_not_touch_the_others():
    model = MODELS["rotary, grouped"]
    server = Server(model, BlockPool(model, 40, 4), most=4, chunk=5)
    prompts = [IDS[i, : 6 + i].tolist() for i in range(B)]
    good = [
        server.submit(ids, 9, Sampler(), seeded(i)) for i, ids in enumerate(prompts)
    ]
    bad = server.submit(prompts[0], 9, Broken(), seeded(7))
    left = server.submit(prompts[1], 9, Sampler(), seeded(8))
    for _ in range(4):
        server.step()
    for ids, n_new, says in [
        ([], 3, "a prompt needs a token or more"),
        ([1], 0, "n_new=0"),
        ([1, N], 3, f"below {N}; got {N}"),
        ([1, -1], 3, "got -1"),
        ([1], 160, "room for 160 tokens; got 1 and n_new=160"),
    ]:
        refused(lambda i=ids, n=n_new: server.submit(i, n, Sampler()), says)
    server.cancel(left)
    done = served(server)
    assert bad in done and left not in done and not left.text.blocks
    assert "no such token" in str(bad.error) and len(bad.drawn) < 9
    for i, request in enumerate(good):
        assert request.drawn == alone(model, prompts[i], 9, i, Sampler())
    assert len(server.pool.free) == 40


def test_a_learned_table_ends():
    model = MODELS["learned"]
    server = Server(model, BlockPool(model, 40, 4))
    refused(lambda: server.submit([1] * 20, 10, Sampler()), "has 29 positions; got 20")
    assert served(server) == []


def test_a_second_question_about_a_text_reads_only_the_question():
    model, read = MODELS["learned"], []
    server = Server(model, BlockPool(model, 40, 4), chunk=50)
    handle = model.embedding.register_forward_hook(
        lambda module, inputs, out: read.append(inputs[0].numel())
    )
    document = IDS[0, :17].tolist()
    for question in ([3, 4], [5, 6], [5, 6]):
        server.submit([*document, *question], 1, Sampler(), seeded())
        served(server)
    handle.remove()
    assert read == [19, 3, 3]


# Refusals


def test_what_does_not_fit_is_refused_and_changes_nothing():
    model = MODELS["learned"]
    cached = CachedModel(model, caches_for(model, KVCache, B, capacity=10), chunk=4)
    cached(IDS[:, :8])
    refused(lambda: cached(IDS[:, :11]), "capacity=10 positions, 8 filled, 3 more")
    close(cached(IDS[:, :9]), full(model)[:, 8], atol=1e-9)
    refused(lambda: cached(IDS), "the cache is full")  # after some chunks fitted
    assert cached.caches[0].length <= 10
    close(cached(IDS[:, :10]), full(model)[:, 9], atol=1e-9)
    refused(lambda: cached(IDS[:2, :3]), "batch=3, n_kv_heads=6, d_head=4; got k (2,")
    close(cached(IDS[:, :3]), full(model)[:, 2], atol=1e-9)


def test_bad_arguments_are_refused_by_name():
    model = MODELS["learned"]
    cache = KVCache(1, 2, 4, capacity=5)
    x = torch.zeros(1, 2, 1, 4)
    refused(lambda: cache.update(x, x[..., :3]), "v (1, 2, 1, 3)")
    with pytest.raises(TypeError, match="holds torch.float32; got k torch.float64"):
        cache.update(x.double(), x.double())
    assert cache.length == 0
    refused(lambda: WindowCache(1, 2, 4, window=0), "window=0, sinks=0")
    refused(lambda: WindowCache(1, 2, 4, window=1, sinks=-1), "sinks=-1")
    cached = CachedModel(model, caches_for(model, KVCache, B, capacity=T))
    refused(lambda: cached(IDS[:, :0]), "got shape (3, 0)")
    refused(lambda: cached(IDS[0]), "got shape (23,)")
    refused(lambda: cached.read(IDS, last=0), "last=0")
    refused(lambda: cached.read(IDS, last=T + 1), f"last={T + 1}")
    refused(lambda: CachedModel(model, [], chunk=0), "chunk must be 1 or more; got 0")
    training = GPT(GPTConfig(**SHAPE))
    refused(lambda: CachedModel(training, []), "model.eval()")
    refused(lambda: Server(training, None), "model.eval()")


# Counting


@pytest.mark.parametrize("name", MODELS)
def test_the_formula_gives_the_bytes_that_are_held(name):
    model = MODELS[name]
    c = model.config
    each = bytes_per_token(c.n_layers, c.n_kv_heads, c.d_head, 8)

    def held(things):
        return sum(x.k.untyped_storage().nbytes() for x in things)

    # one storage holds the keys and the values
    assert held(caches_for(model, KVCache, B, capacity=T)) == B * T * each
    windows = caches_for(model, WindowCache, B, window=5, sinks=2)
    assert held(windows) == B * 7 * each
    assert held([BlockPool(model, 10, 4)]) == 40 * each


@pytest.mark.parametrize(
    "shape, kib",
    [
        ((32, 32, 128), 512),
        ((32, 8, 128), 128),
        ((80, 8, 128), 320),
        ((36, 8, 128), 144),
    ],
)
def test_published_shapes(shape, kib):
    assert bytes_per_token(*shape) == kib * 1024


def test_latent_vectors_are_fewer_bytes():
    kept = latent_bytes_per_token(61, 512, 64)
    assert kept == 61 * 576 * 2
    assert bytes_per_token(61, 128, (128 + 64 + 128) / 2) / kept == pytest.approx(
        71.1, 0.01
    )


@pytest.mark.parametrize("name", MODELS)
def test_work_is_what_hooks_count(name):
    model, before, counted = MODELS[name], 9, []

    def count(module, inputs, out):
        counted.append(2 * module.weight.numel() * inputs[0][..., 0].numel())

    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    handles = [module.register_forward_hook(count) for module in linear]
    caches = caches_for(model, KVCache, B, capacity=T)
    with torch.no_grad():
        model(IDS[:, :before], caches=caches)
        counted.clear()
        model(IDS[:, before : before + 1], caches=caches)
    for handle in handles:
        handle.remove()
    if model.config.tied:  # then the scores are no module's
        counted.append(2 * model.embedding.weight.numel() * B)
    pairs = B * 6 * (before + 1)  # a query with each key, in each head of width 4
    attending = L * 2 * (2 * 4 * pairs)  # scores, and the mix of values
    work = reading_work(model.config, 1, before, B, n_bytes=8)
    assert work.flops == sum(counted) + attending
    held = B * (before + 1) * bytes_per_token(L, model.config.n_kv_heads, 4, 8)
    assert work.bytes == 8 * matrix_weights(model.config) + held
    prompt = reading_work(model.config, 5, 3)
    seen = sum(3 + i for i in range(1, 6))
    assert prompt.flops == 2 * matrix_weights(model.config) * 5 + 4 * L * 24 * seen


def test_the_slower_of_the_two_decides():
    machine = Machine("toy", flops=100.0, bandwidth=10.0, memory=1.0)
    assert machine.ridge == 10
    assert machine.seconds(Work(flops=50, bytes=20)) == 2
    assert machine.seconds(Work(flops=500, bytes=20)) == 5
    assert Work(flops=50, bytes=20).intensity == 2.5
    ridges = [round(card.ridge) for card in CARDS]
    assert ridges == [153, 295, 206]


# Speculation


class Table:
    """A target of chances that depend on the last token only: exact, and fast."""

    def __init__(self, n, seed=1):
        self.logits = torch.randn(n, n, generator=seeded(seed)).double()
        self.asked = 0

    def __call__(self, ids):
        return self.logits[ids[:, -1]]

    def read(self, ids, last=1):
        self.asked += 1
        return self.logits[ids[:, -last:]]


class Plain:
    """A sampler that changes nothing, and is quick."""

    def probabilities(self, logits, ids):
        return logits.softmax(dim=-1)


def joined(rounds):
    return [token for new in rounds for token in new]


def off_by(counts, expected):
    """The chi-squared statistic, and what it is in 1 of 10 000 cases of none."""
    total = sum(counts.values())
    chi = sum((counts[i] - total * p) ** 2 / (total * p) for i, p in expected.items())
    free = len(expected) - 1
    return chi, free * (1 - 2 / (9 * free) + 3.72 * math.sqrt(2 / (9 * free))) ** 3


def accept_always(drafted, p, q, generator):
    return [*drafted, int(torch.multinomial(p[-1], 1, generator=generator))]


def accept_and_draw_from_p(drafted, p, q, generator):
    kept = accept(drafted, p, q, generator)
    if len(kept) <= len(drafted):
        last = torch.multinomial(p[len(kept) - 1], 1, generator=generator)
        kept = [*kept[:-1], int(last)]
    return kept


@pytest.mark.parametrize(
    "rule, right",
    [(accept, True), (accept_always, False), (accept_and_draw_from_p, False)],
)
@pytest.mark.parametrize("ahead", [1, 3])
def test_the_distribution_is_the_targets(rule, right, ahead, monkeypatch):
    monkeypatch.setattr("tfcourse.kv_cache.accept", rule)
    target, draft, gen = Table(3), Table(3), seeded(5)
    p = torch.tensor([[0.5, 0.4, 0.1], [0.1, 0.5, 0.4], [0.4, 0.1, 0.5]]).double()
    q = 0.05 + 0.85 * torch.eye(3).double()  # sure of what the target thinks likely
    target.logits, draft.logits = p.log(), q.log()
    expected = {(a, b): float(p[0, a] * p[a, b]) for a in range(3) for b in range(3)}
    start, counts = torch.tensor([[0]]), Counter()
    for _ in range(500):
        rounds = speculate(target, draft, start, 3, ahead, Plain(), gen)
        counts[tuple(joined(rounds)[:2])] += 1
    chi, limit = off_by(counts, expected)
    assert (chi < limit) == right, (chi, limit)


def test_a_perfect_draft_is_never_refused_and_saves_passes():
    target, gen = Table(5, seed=1), seeded()
    rounds = list(
        speculate(target, Table(5, seed=1), IDS[:1] % 5, 20, 3, Sampler(), gen)
    )
    assert [len(new) for new in rounds] == [4] * 5 and target.asked == 5


@pytest.mark.parametrize("sampler", [Sampler(greedy=True), Sampler(top_k=1)])
def test_a_bad_draft_costs_passes_and_no_token(sampler):
    model, small = MODELS["rotary, grouped"], MODELS["rotary, one key"]
    target = CachedModel(model, caches_for(model, KVCache, capacity=T))
    draft = CachedModel(small, caches_for(small, KVCache, capacity=T))
    prompt = IDS[:1, :6]
    wanted = [int(x) for x in generate(next_scores(model), prompt, T - 6, sampler)]
    for ahead in (1, 4):
        rounds = list(speculate(target, draft, prompt, T - 6, ahead, sampler))
        assert joined(rounds) == wanted
    perfect = CachedModel(model, caches_for(model, KVCache, capacity=T))
    rounds = list(speculate(target, perfect, prompt, T - 6, 4, sampler))
    assert joined(rounds) == wanted and len(rounds) == math.ceil((T - 6) / 5)


def test_equal_chances_never_fail_in_the_draw():
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert accept([1], p, p[:1], seeded())[0] == 1
    none = torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # the draft wrote what cannot be
    assert accept([1], none, torch.tensor([[0.0, 1.0]]), seeded()) == [0]


@pytest.mark.parametrize(
    "shape, n_new, ahead",
    [((2, 3), 3, 2), ((1, 0), 3, 2), ((1, 3), 3, 0), ((1, 3), -1, 2)],
)
def test_speculation_goes_on_with_one_text(shape, n_new, ahead):
    ids = torch.zeros(shape, dtype=torch.long)
    table = Table(3, seed=1)
    rounds = speculate(table, table, ids, n_new, ahead, Sampler())
    refused(lambda: list(rounds), f"got shape {shape}, ahead={ahead}, n_new={n_new}")
