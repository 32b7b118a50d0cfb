"""tfcourse.vector_quantization: what is published holds, and no error but that of the codes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parity import close, filled, refused, seeded
from tfcourse.attention import causal_mask
from tfcourse.generation import Sampler, generate
from tfcourse.gpt import GPT, GPTConfig
from tfcourse.kv_cache import CachedModel, caches_for
from tfcourse.vector_quantization import (
    QJL,
    PerChannel,
    PerToken,
    PolarQuant,
    QuantizedCache,
    Rounded,
    TurboQuant,
    TurboQuantProd,
    angle_codebook,
    angle_density,
    coordinate_density,
    expected_distortion,
    hadamard,
    hadamard_rotation,
    half,
    halfway,
    lloyd_max,
    pack_rows,
    random_rotation,
    sphere_codebook,
    sphere_grid,
    to_angles,
    unpack_rows,
    who_sees,
)

D = 64


def units(n, d, seed=0):
    x = torch.randn(n, d, generator=seeded(seed))
    return x / x.norm(dim=1, keepdim=True)


def sketch(d, seed=1):
    return torch.randn(d, d, generator=seeded(seed))


def distortion(codec, x):
    """The squared error as a share of what there is, on average."""
    return ((x - codec.decode(codec.encode(x))) ** 2).sum(-1).mean() / (x**2).sum(
        -1
    ).mean()


def codecs(d=D, block=8, dtype=torch.float32):
    """One of each kind, which compute with this kind of number."""
    rotation, signs = random_rotation(d, seeded()).to(dtype), sketch(d).to(dtype)
    return {
        "token": PerToken(d, 2, group=d // 2),
        "channel": PerChannel(d, 3, block),
        "rounded": Rounded(torch.float8_e4m3fn),
        "turbo": TurboQuant(rotation, 3),
        "unbiased": TurboQuant(rotation, 2, unbiased=True),
        "qjl": QJL(torch.cat([signs, sketch(d, 2).to(dtype)])),
        "prod": TurboQuantProd(rotation, signs, 3),
        "prod of one bit": TurboQuantProd(rotation, signs, 1),
        "polar": PolarQuant(rotation, (4, 2, 4)),
    }


KINDS = list(codecs())


# Codes in bytes


@given(st.integers(1, 8), st.integers(1, 40), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_rows_come_back_from_bytes_of_their_own(bits, n, seed):
    codes = torch.randint(2**bits, (2, 3, n), generator=seeded(seed)).to(torch.uint8)
    packed = pack_rows(codes, bits)
    assert packed.dtype == torch.uint8
    assert packed.shape == (2, 3, math.ceil(n * bits / 8))
    assert torch.equal(unpack_rows(packed, bits, n), codes)
    assert torch.equal(
        pack_rows(codes[1, 2], bits), packed[1, 2]
    )  # no row needs another


def test_what_float16_cannot_hold_is_refused():
    assert half(torch.tensor([65504.0])).item() == 65504
    refused(lambda: half(torch.tensor([7e4])), "7e+04 is too large for float16")


# Codecs


@pytest.mark.parametrize("kind", KINDS)
def test_a_codec_keeps_the_shape_and_counts_its_bits(kind):
    codec = codecs()[kind]
    x = torch.randn(2, 3, 24, D, generator=seeded(2))
    stored = codec.encode(x)
    assert all(rows.shape[:3] == (2, 3, 24 // codec.block) for rows in stored.values())
    held = 8 * sum(rows.numel() * rows.element_size() for rows in stored.values())
    assert held / x.numel() == codec.true_bits
    back = codec.decode(stored)
    assert back.shape == x.shape and back.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_vector_is_refused(kind):
    codec = codecs()[kind]
    x = torch.zeros(codec.block, D)
    if kind != "rounded":
        refused(lambda: codec.encode(torch.zeros(codec.block, D + 1)), f"d={D}")
    refused(lambda: codec.encode(torch.zeros(0, D)), "nothing to quantize")
    for bad in (math.nan, math.inf):
        x[0, 3] = bad
        refused(lambda: codec.encode(x), "1 of the numbers are not finite")
    if kind in ("rounded",):
        return
    x[0, 3] = 1e9
    refused(lambda: codec.encode(x), "too large for float16")


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_come_back_as_zeros(kind):
    codec = codecs()[kind]
    x = torch.zeros(2 * codec.block, D)
    close(codec.decode(codec.encode(x)), x, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_input_is_not_changed_and_blocks_do_not_meet(kind):
    codec = codecs()[kind]
    x = torch.randn(4 * codec.block, D, generator=seeded(3))
    kept = x.clone()
    whole = codec.decode(codec.encode(x))
    assert torch.equal(x, kept)
    parts = [codec.decode(codec.encode(part)) for part in x.split(codec.block)]
    close(torch.cat(parts), whole, atol=1e-5)


def test_a_grid_is_at_most_half_a_step_off():
    x = 3 * torch.randn(32, D, generator=seeded(4)) + 5
    for codec, axis in ((PerToken(D, 4), 1), (PerChannel(D, 4), 0)):
        step = (x.amax(axis, keepdim=True) - x.amin(axis, keepdim=True)) / 15
        error = (codec.decode(codec.encode(x)) - x).abs()
        assert (error <= step / 2 * 1.02 + 0.005).all()  # float16 keeps 11 bits
        assert (error.amax(axis) > step.squeeze() / 4).all()


def test_a_group_serves_its_channels_only():
    x = torch.randn(5, D, generator=seeded(5))
    loud = x.clone()
    loud[:, 3] = 100.0
    codec = PerToken(D, 3, group=16)
    before, after = (codec.decode(codec.encode(y)) for y in (x, loud))
    assert torch.equal(before[:, 16:], after[:, 16:])
    assert not torch.equal(before[:, :3], after[:, :3])
    refused(lambda: PerToken(D, 3, group=5), "group must divide d; got group=5")
    refused(lambda: PerChannel(D, 2, 8).encode(x), "blocks of 8; got shape (5, 64)")


# Rotations


@pytest.mark.parametrize("d", [4, 32])
def test_a_rotation_keeps_lengths_and_has_no_favourite(d):
    gen = seeded(6)
    drawn = torch.stack([random_rotation(d, gen) for _ in range(400)])
    close(drawn @ drawn.transpose(1, 2), torch.eye(d).expand_as(drawn), atol=1e-5)
    corner = drawn[:, 0, 0]  # of an unsigned Q, always on one side
    assert corner.mean().abs() < 4 * corner.std() / 400**0.5
    assert ((drawn**2).mean(0) - 1 / d).abs().max() < 0.35 / d


def test_the_fast_transform_is_the_matrix_of_its_definition():
    matrix = torch.ones(1, 1).double()
    for _ in range(4):
        matrix = torch.kron(torch.tensor([[1.0, 1], [1, -1]]).double(), matrix)
    x = torch.randn(3, 16, generator=seeded(7), dtype=torch.float64)
    close(hadamard(x), x @ matrix / 4, atol=1e-12)
    close(hadamard(hadamard(x)), x, atol=1e-12)
    refused(lambda: hadamard(torch.ones(2, 12)), "power of two; got d=12")
    refused(lambda: hadamard_rotation(8, 0, seeded()), "rounds must be 1 or more")
    turned = hadamard_rotation(16, 2, seeded())
    close(turned @ turned.T, torch.eye(16), atol=1e-6)


def test_one_round_breaks_the_bound_where_three_hold_it():
    one_hot, bound = torch.eye(128), math.sqrt(3) * math.pi / 2 / 4**2
    errors = {}
    for rounds in (1, 2, 3):
        codec = TurboQuant(hadamard_rotation(128, rounds, seeded(8)), 2)
        errors[rounds] = distortion(codec, one_hot).item()
    assert errors[1] > 1.4 * bound  # every coordinate is ±1/√d, between two values
    assert errors[3] < 0.75 * bound
    value = sphere_codebook(128, 2)[2:] * 128**0.5
    assert errors[1] == pytest.approx(((1 - value) ** 2).min().item(), 0.01)


# Codebooks

PUBLISHED = {  # times √d, of the positive half: Zandieh et al. (2025), and Max (1960)
    1: [0.798],
    2: [0.453, 1.510],
    3: [0.245, 0.756, 1.344, 2.152],
}


def test_the_density_is_that_of_random_directions():
    for d in (3, 5, 64):
        x, density = sphere_grid(d)
        assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-6)
        assert d * torch.trapezoid(density * x**2, x).item() == pytest.approx(1, 1e-6)
        drawn = units(40_000, d)[:, 0]
        for edge in (-0.2, 0.1, 0.3):
            share = torch.trapezoid(density[x < edge], x[x < edge]).item()
            found = (drawn < edge).float().mean().item()
            assert abs(found - share) < 4 * 0.5 / 200
    refused(lambda: coordinate_density(torch.zeros(1), 2), "d must be 3 or more")


@pytest.mark.parametrize("bits", PUBLISHED)
def test_the_values_are_the_published_ones(bits):
    values = sphere_codebook(4096, bits) * 64
    close(values, -values.flip(0), atol=1e-6)
    close(values[2 ** (bits - 1) :], torch.tensor(PUBLISHED[bits]).double(), 2e-3)


@given(st.integers(1, 7), st.floats(0.3, 4))
@settings(max_examples=15, deadline=None)
def test_no_other_values_near_by_do_better(n, power):
    x = torch.linspace(-1, 2, 3001, dtype=torch.float64)
    density = (x + 1.05) ** power

    def error(values):
        nearest = values[torch.bucketize(x, halfway(values))]
        return torch.trapezoid((x - nearest) ** 2 * density, x)

    values = lloyd_max(x, density, n)
    least = error(values)
    for i in range(n):
        for change in (-0.01, 0.01):
            moved = values.clone()
            moved[i] += change
            assert error(moved) > least


def test_an_even_density_gets_even_values():
    x = torch.linspace(0, 1, 1001)
    close(lloyd_max(x, torch.ones(1001), 4), (torch.arange(4).double() + 0.5) / 4, 1e-6)
    refused(lambda: lloyd_max(x, x, 0), "n must be 1 or more")
    refused(lambda: sphere_codebook(64, 9), "bits must be from 1 to 8; got bits=9")


# TurboQuant


def test_the_error_is_the_expected_one():
    rotation, x = random_rotation(1024, seeded(9)), units(300, 1024)
    for bits in (1, 2, 3, 4):
        expected = expected_distortion(1024, bits)
        found = distortion(TurboQuant(rotation, bits), x).item()
        assert found == pytest.approx(expected, 0.02)
        assert 4**-bits < expected < math.sqrt(3) * math.pi / 2 * 4**-bits


def test_the_expected_error_is_one_minus_the_length_of_the_values():
    for d, bits in ((3, 1), (64, 2), (1024, 4)):
        x, density = sphere_grid(d)
        values = sphere_codebook(d, bits)
        kept = values[torch.bucketize(x, halfway(values))] ** 2
        assert expected_distortion(d, bits) == pytest.approx(
            1 - d * torch.trapezoid(kept * density, x).item(), abs=1e-4
        )


def test_lengths_pass_through():
    codec = TurboQuant(random_rotation(D, seeded()), 3)
    x = torch.randn(10, D, generator=seeded(10))
    once, tenfold = (codec.decode(codec.encode(y)) for y in (x, 16 * x))
    close(tenfold, 16 * once, atol=1e-4)


def slope(make, n=100, d=32, seed=11):
    """The mean of ⟨y, x̂⟩ / ⟨y, x⟩ over codecs and pairs, and its standard error."""
    gen, means = seeded(seed), []
    for _ in range(n):
        codec = make(random_rotation(d, gen), torch.randn(d, d, generator=gen))
        x = torch.randn(32, d, generator=gen)
        y = x + torch.randn(32, d, generator=gen)
        found = (y * codec.decode(codec.encode(x))).sum(-1).sum()
        means.append((found / (y * x).sum()).item())
    means = torch.tensor(means)
    return means.mean().item(), means.std().item() / n**0.5


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_only_what_is_called_unbiased_is(bits):
    for make in (
        lambda r, s: TurboQuantProd(r, s, bits),
        lambda r, s: TurboQuant(r, bits, unbiased=True),
        lambda r, s: QJL(s),
    ):
        mean, error = slope(make)
        assert abs(mean - 1) < 3 * error < 0.03
    mean, error = slope(lambda r, s: TurboQuant(r, bits))
    assert mean == pytest.approx(1 - expected_distortion(32, bits), abs=4 * error)
    assert mean < 1 - 5 * error


def test_the_unbiased_scale_keeps_the_inner_product_with_itself():
    codec = TurboQuant(random_rotation(D, seeded()), 2, unbiased=True)
    x = torch.randn(50, D, generator=seeded(12))
    found = (x * codec.decode(codec.encode(x))).sum(-1) / (x**2).sum(-1)
    close(found, torch.ones(50), atol=1e-3)


def test_the_sketch_keeps_its_bounds():
    d, x = 256, units(400, 256)
    for bits in (1, 2, 3, 4):
        codec = TurboQuantProd(random_rotation(d, seeded()), sketch(d), bits)
        error = x - codec.decode(codec.encode(x))
        y = units(400, d, seed=13)
        found = d * ((error @ y.T) ** 2).mean().item()
        assert 4**-bits < found < math.sqrt(3) * math.pi**2 * 4**-bits
        share = 1.0 if bits == 1 else expected_distortion(d, bits - 1)
        assert found == pytest.approx((math.pi / 2 - 1 / d) * share, rel=0.05)


# PolarQuant


def test_angles_come_back():
    x = torch.randn(20, D, generator=seeded(14))
    angles, length = to_angles(x, 4)
    assert [a.shape[-1] for a in angles] == [32, 16, 8, 4] and length.shape == (20, 4)
    close(length, x.unflatten(-1, (4, 16)).norm(dim=-1), atol=1e-5)
    fine = PolarQuant(torch.eye(D), (8, 8, 8, 8))
    assert distortion(fine, x) < 1e-4
    assert PolarQuant(torch.eye(D)).true_bits == 3.875
    refused(lambda: PolarQuant(torch.eye(24)), "divisible by 16; got d=24")


def test_angles_lie_as_their_density_says():
    x = torch.randn(4000, 16, generator=seeded(15), dtype=torch.float64)
    angles, _ = to_angles(x, 4)
    assert angles[0].min() >= 0 and angles[0].max() < 2 * math.pi
    assert angles[0].mean() == pytest.approx(math.pi, abs=0.04)
    for level in (2, 3, 4):
        grid = torch.linspace(0, math.pi / 2, 2001, dtype=torch.float64)
        density = angle_density(grid, level)
        density /= torch.trapezoid(density, grid)
        variance = torch.trapezoid(density * (grid - math.pi / 4) ** 2, grid)
        assert angles[level - 1].mean() == pytest.approx(math.pi / 4, abs=0.02)
        assert angles[level - 1].std() == pytest.approx(variance.sqrt().item(), 0.03)
        close(angle_codebook(level, 2).mean(), torch.tensor(math.pi / 4).double(), 1e-6)


# Caches

N, T, B, L, BLOCK = 19, 22, 2, 2, 4
MODEL = filled(
    GPT(
        GPTConfig(
            vocab_size=N,
            context_length=40,
            d_model=64,
            n_heads=4,
            n_kv_heads=2,
            n_layers=L,
            position="rotary",
        )
    )
).eval()
IDS = torch.randint(N, (B, T), generator=seeded())
CUTS = {
    "one by one": [1] * T,
    "all at once": [T],
    "a prompt, then two by two": [8] + [2] * 7,
    "odd chunks": [1, 6, 2, 1, 9, 3],
}


def mixed(**changes):
    few = codecs(16, BLOCK, torch.float64)
    kinds = {name: (codec, codec) for name, codec in few.items()}
    kinds["kivi"] = few["channel"], few["token"]
    return {name: {"keys": k, "values": v} | changes for name, (k, v) in kinds.items()}


def forced(sizes, parts, model=MODEL):
    caches = caches_for(model, QuantizedCache, B, capacity=T, **sizes)
    with torch.no_grad():
        return torch.cat(
            [model(part, caches=caches) for part in IDS.split(parts, dim=1)], dim=1
        )


class Reference:
    """Each query, by itself, with what is in codes at its own step: slow, and plain."""

    def __init__(self, keys, values, recent=0):
        self.codecs, self.recent = (keys, values), recent
        self.block = max(keys.block, values.block)

    def positions(self, t):
        return torch.arange(t)

    def update(self, k, v):
        t, all_keys, all_values = k.shape[2], [], []
        for n in range(1, t + 1):
            done = max(n - self.recent, 0) // self.block * self.block
            for codec, x, rows in zip(
                self.codecs, (k, v), (all_keys, all_values), strict=True
            ):
                seen = x[:, :, :n].half().float()
                if done:
                    front = seen[:, :, :done]
                    seen = torch.cat(
                        [codec.decode(codec.encode(front)), seen[:, :, done:]], dim=2
                    )
                rows.append(seen.to(x))
        mask = torch.zeros(t, t * (t + 1) // 2, dtype=torch.bool)
        for n in range(1, t + 1):  # each query has keys of its own
            mask[n - 1, n * (n - 1) // 2 : n * (n + 1) // 2] = True
        return torch.cat(all_keys, dim=2), torch.cat(all_values, dim=2), mask


@pytest.mark.parametrize(
    ("kind", "recent"),
    [*((kind, 0) for kind in [*KINDS, "kivi"]), ("turbo", 3), ("kivi", 3), ("kivi", 6)],
)
def test_the_cache_adds_no_error_whatever_the_parts(kind, recent):
    sizes = mixed(recent=recent)[kind]
    with torch.no_grad():
        expected = MODEL(IDS, caches=[Reference(**sizes) for _ in range(L)])
        plain = MODEL(IDS)
    assert (expected - plain).abs().max() > 1e-3  # there is something to be seen
    for name, parts in CUTS.items():
        assert (forced(sizes, parts) - expected).abs().max() < 1e-9, name


def test_without_tokens_that_wait_the_mask_is_causal():
    assert torch.equal(who_sees(2, 5, 0, 1)[:, :5], causal_mask(3, 5))
    assert not who_sees(2, 5, 0, 1)[:, 5:].any()


@pytest.mark.parametrize("kind", [*KINDS, "kivi"])
def test_a_cache_holds_the_bits_that_it_states(kind):
    sizes = mixed()[kind]
    cache = QuantizedCache(1, 2, 16, 2048, **sizes, dtype=torch.float32)
    tensors = [x for part in cache.stored for x in part.values()] + [cache.late]
    held = 8 * sum(x.untyped_storage().nbytes() for x in tensors)
    stated = (sizes["keys"].true_bits + sizes["values"].true_bits) / 2
    assert held / (2 * 2 * 16 * 2048) == pytest.approx(stated, rel=0.02)
    assert held == 8 * cache.n_bytes


@pytest.mark.parametrize("recent", [0, 3])
@pytest.mark.parametrize("kind", ["turbo", "kivi"])
def test_going_back_is_as_if_one_had_not_gone(kind, recent):
    sizes = mixed(recent=recent)[kind]
    model = CachedModel(
        MODEL, caches_for(MODEL, QuantizedCache, B, capacity=T, **sizes)
    )
    for t in (11, 10, 20, 5, 6, T, 19, 1, T):
        other = IDS[:, :t].clone()
        other[:, -1] = (other[:, -1] + t) % N
        fresh = caches_for(MODEL, QuantizedCache, B, capacity=T, **sizes)
        close(model(other), CachedModel(MODEL, fresh)(other), atol=1e-9)


def test_what_is_kept_when_going_back():
    kivi, turbo = (
        QuantizedCache(B, 2, 16, T, **mixed(recent=r)[kind])
        for kind, r in (("kivi", 0), ("turbo", 3))
    )
    x = torch.randn(B, 2, 11, 16, generator=seeded(16))
    for cache in (kivi, turbo):
        cache.update(x, x)
    assert [kivi.rewind(n) for n in (20, 10, 9, 7)] == [11, 10, 9, 4]
    assert [turbo.rewind(n) for n in (11, 10)] == [11, 0]


def test_it_writes_as_any_cache_does():
    sizes = mixed(recent=3)["kivi"]

    def caches():
        return caches_for(MODEL, QuantizedCache, B, capacity=T, **sizes)

    def step(ids):  # all is read again, at every step
        with torch.no_grad():
            return MODEL(ids, caches=caches())[:, -1]

    written = []
    for model in (step, CachedModel(MODEL, caches())):
        tokens = generate(model, IDS[:, :6], T - 6, Sampler(temperature=2), seeded(3))
        written.append(torch.stack(list(tokens)))
    assert torch.equal(*written)
    assert len(set(written[0].flatten().tolist())) > 4


def test_what_a_cache_refuses_changes_nothing():
    cache = QuantizedCache(B, 2, 16, 10, **mixed()["turbo"])
    x = torch.randn(B, 2, 5, 16, generator=seeded(17))
    before, _, _ = cache.update(x, x)
    bad = x.clone()
    bad[0, 0, 0, 0] = math.nan
    refused(lambda: cache.update(bad, x), "not finite")
    refused(lambda: cache.update(x, bad), "not finite")
    refused(lambda: cache.update(x[:, :, :0], x[:, :, :0]), "nothing to quantize")
    refused(lambda: cache.update(1e6 * x, x), "too large for float16")
    refused(lambda: cache.update(x[:1], x[:1]), "the cache holds batch=2")
    twice = x.repeat(1, 1, 2, 1)
    refused(lambda: cache.update(twice, twice), "capacity=10 positions, 5 filled")
    with pytest.raises(TypeError, match="float32"):
        cache.update(x.double(), x.double())
    assert cache.length == 5
    after, _, mask = cache.update(x[:, :, :1], x[:, :, :1])
    assert mask is None and torch.equal(after[:, :, :5], before)


def test_a_model_of_bfloat16_is_served():
    model = GPT(MODEL.config).bfloat16().eval()
    caches = caches_for(model, QuantizedCache, B, capacity=T, **mixed()["prod"])
    scores = CachedModel(model, caches)(IDS)
    assert scores.isfinite().all()
