"""tfcourse.quantization: codes, true bytes, and what is lost, to half a step."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parity import random, refused, seeded
from tfcourse.gpt import GPT, GPTConfig, initialize_gpt
from tfcourse.quantization import (
    E2M1,
    E4M3,
    E5M2,
    IntegerLinear,
    Packed,
    Quantized,
    QuantizedEmbedding,
    QuantizedLinear,
    TernaryLinear,
    awq_scales,
    best_clip,
    calibrate,
    code_range,
    fed_by_norms,
    gptq,
    hamming,
    integer_product,
    keep_byte,
    keep_e4m3,
    keep_float,
    keep_half,
    keep_power,
    make_ternary,
    normal_line,
    output_error,
    pack,
    principal_axes,
    quantize,
    quantize_model,
    quantize_to,
    recall,
    rescaled,
    row_codes,
    sign_bits,
    smooth_scales,
    stored_bytes,
    ternary,
    unpack,
)

PERS = ["tensor", "channel", 8]
EXAMPLE = torch.tensor([[0.1827, -1.9432], [2.7181, 0.0049]])


def drawn(*shape, seed=0):
    return random(*shape, seed=seed, dtype=torch.float32)


# Codes and steps


def test_the_example_by_hand():
    by_hundredths = (EXAMPLE / 0.01).round()
    assert by_hundredths.tolist() == [[18, -194], [272, 0]]
    q = quantize(EXAMPLE, 8, per="tensor")
    assert q.codes.tolist() == [[9, -91, 127, 0]]
    assert q.shape == EXAMPLE.shape == q.dequantize().shape


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 8),
    st.sampled_from(PERS),
    st.booleans(),
    st.sampled_from([keep_half, keep_float]),
    st.floats(-12, 12),
    st.floats(-3, 3),
    st.integers(0, 1000),
)
def test_no_number_is_off_by_more_than_half_a_step(
    bits, per, symmetric, keep, exponent, shift, seed
):
    x = (drawn(5, 24, seed=seed) + shift) * 2**exponent
    q = quantize(x, bits, per=per, symmetric=symmetric, keep=keep)
    steps = q.scales.expand(q.codes.shape).reshape(x.shape)
    assert ((q.dequantize() - x).abs() <= steps * 0.5 * (1 + 1e-4)).all()
    low, high = code_range(bits, symmetric)
    assert low <= q.codes.min() <= q.codes.max() <= high


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per", PERS)
def test_zeros_come_back_as_zeros(per, symmetric):
    x = torch.zeros(3, 16)
    x[0, :8] = drawn(8)
    back = quantize(x, 4, per=per, symmetric=symmetric).dequantize()
    assert torch.equal(back[x == 0], torch.zeros(40))


def test_a_range_without_zero_is_extended_to_it():
    x = torch.tensor([[5.0, 6.0]])
    q = quantize(x, 8, symmetric=False)
    assert q.zero.item() == 0
    assert ((q.dequantize() - x).abs() <= 6 / 255 / 2 + 1e-4).all()
    below = quantize(-x, 8, symmetric=False)
    assert below.zero.item() == 255
    assert ((below.dequantize() + x).abs() <= 6 / 255 / 2 + 1e-4).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_per_channel_equals_fake_quantization_of_pytorch(bits):
    x = drawn(7, 40)
    for symmetric in (True, False):
        q = quantize(x, bits, symmetric=symmetric, keep=keep_float)
        zero = torch.zeros(7) if q.zero is None else q.zero.flatten().float()
        theirs = torch.fake_quantize_per_channel_affine(
            x, q.scales.flatten(), zero, 0, *code_range(bits, symmetric)
        )
        torch.testing.assert_close(q.dequantize(), theirs, rtol=1e-6, atol=0)


def test_a_group_shares_its_scale_with_nobody():
    x = drawn(4, 24)
    changed = x.clone()
    changed[1, 8:16] *= 100
    before, after = (quantize(each, 4, per=8) for each in (x, changed))
    same = torch.arange(12) != 4
    assert torch.equal(before.codes[same], after.codes[same])
    assert torch.equal(before.scale[same], after.scale[same])
    assert before.scale[4] != after.scale[4]


def test_clipping_cuts_the_largest_and_makes_smaller_steps():
    x = drawn(1, 1000)
    whole, cut = quantize(x, 4), quantize(x, 4, clip=0.5)
    torch.testing.assert_close(cut.scales, whole.scales / 2, rtol=2e-3, atol=0)
    top = 0.5 * x.abs().max()
    torch.testing.assert_close(cut.dequantize().max(), top, rtol=2e-3, atol=0)


@settings(deadline=None, max_examples=60)
@given(st.floats(2**-24, 60_000))
def test_scales_are_rounded_up_and_not_far(scale):
    scale = torch.tensor([[scale]])
    kept = keep_half(scale).float()
    assert scale <= kept <= scale * (1 + 2**-10) + 2**-24


# Bytes


def test_the_true_bits_of_a_weight():
    x = drawn(64, 256)
    assert quantize(x, 4, per=32).bits_per_weight == 4.5
    assert quantize(x, 4, per=32, symmetric=False).bits_per_weight == 4.625
    assert quantize(x, 8, per="channel").bits_per_weight == 8 + 16 / 256
    assert quantize(x, 2, per=64, keep=keep_float).bits_per_weight == 2.5


def test_bytes_and_error_on_gaussian_weights():
    x = drawn(512, 512)
    q8, q4 = quantize(x, 8), quantize(x, 4, per=64)
    assert q8.n_bytes <= 0.27 * 4 * x.numel()
    assert q4.n_bytes <= 0.15 * 4 * x.numel()
    largest = x.abs().amax(dim=1, keepdim=True)
    assert ((q8.dequantize() - x).abs() <= 0.005 * largest).all()
    assert 0.005 < (q8.dequantize() - x).norm() / x.norm() < 0.008


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 8), st.integers(1, 70), st.integers(0, 1000))
def test_packing_loses_nothing_and_wastes_nothing(bits, n, seed):
    codes = torch.randint(2**bits, (n,), generator=seeded(seed), dtype=torch.uint8)
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8
    assert len(packed) == math.ceil(n * bits / 8)
    assert torch.equal(unpack(packed, bits, n), codes)


# What cannot be


@pytest.mark.parametrize(
    ("x", "options", "says"),
    [
        (torch.empty(0, 4), {}, "nothing to quantize in shape (0, 4)"),
        (torch.tensor([[1.0, math.nan]]), {}, "1 of 2 numbers are not finite"),
        (torch.tensor([[1.0, math.inf]]), {}, "1 of 2 numbers are not finite"),
        (EXAMPLE, {"per": 3}, "per=3 for shape (2, 2)"),
        (EXAMPLE, {"per": 4}, "per=4 for shape (2, 2)"),
        (EXAMPLE, {"per": "row"}, "per='row'"),
        (EXAMPLE, {"clip": 0}, "clip=0"),
        (EXAMPLE * 1e8, {}, "keep=keep_float"),
    ],
)
def test_what_cannot_be_quantized_is_refused(x, options, says):
    refused(lambda: quantize(x, 8, **options), says)


def test_integers_and_strange_bits_are_refused():
    with pytest.raises(TypeError, match="torch.int64"):
        quantize(torch.arange(4), 8)
    refused(lambda: quantize(EXAMPLE, 9), "bits=9")
    refused(lambda: quantize(EXAMPLE, 1), "bits=1")
    refused(lambda: pack(torch.tensor([4]), 2), "codes of 2 bits are 0 to 3; got 4")
    refused(lambda: pack(torch.tensor([-1]), 2), "got -1")
    refused(lambda: unpack(torch.zeros(1, dtype=torch.uint8), 2, 5), "less than 5")


def test_nothing_changes_its_input():
    x = drawn(4, 16)
    before = x.clone()
    q = quantize(x, 4, per=8, symmetric=False)
    codes = q.codes.clone()
    q.dequantize(), pack(q.codes, 4)
    assert torch.equal(x, before) and torch.equal(q.codes, codes)
    assert isinstance(q, Quantized)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: quantize(x, 4, per=8),
        lambda x: quantize(x, 8, per="channel"),
        lambda x: quantize(x, 3, per=8, symmetric=False),
        lambda x: quantize(x, 2, per="tensor", symmetric=False, keep=keep_float),
        lambda x: quantize(x, 4, per=8, keep=keep_byte),
        lambda x: quantize_to(x, E2M1, per=8, keep=keep_e4m3),
        lambda x: quantize_to(x, E2M1, per=8, keep=keep_power),
        lambda x: quantize_to(x, normal_line(), per=8),
        ternary,
    ],
)
def test_packed_is_as_small_as_counted_and_saved_and_read_again_is_the_same(
    make, tmp_path
):
    q, other = make(drawn(6, 24)), make(drawn(6, 24, seed=1))
    packed, fresh = Packed(q), Packed(other)
    assert sum(t.nbytes for t in packed.state_dict().values()) == q.n_bytes
    torch.save(packed.state_dict(), tmp_path / "q.pt")
    fresh.load_state_dict(torch.load(tmp_path / "q.pt"))
    again = fresh()
    assert torch.equal(again.codes, q.codes) and again.codes.dtype == q.codes.dtype
    assert torch.equal(again.dequantize(), q.dequantize())
    assert again.n_bytes == q.n_bytes


# A model


def little_gpt(**changes):
    shape = {"vocab_size": 40, "context_length": 16, "d_model": 24, "n_heads": 2}
    shape |= {"n_layers": 2, "norm": "rms", "position": "rotary", "bias": False}
    config = GPTConfig(**shape | changes)
    return initialize_gpt(GPT(config), seeded(3)).eval()


IDS = torch.randint(40, (3, 16), generator=seeded(1))


@pytest.mark.parametrize("changes", [{}, {"tied": False, "bias": True}])
def test_a_quantized_model_computes_with_what_its_codes_stand_for(changes):
    model = little_gpt(**changes)
    before = model(IDS)
    small = quantize_model(model, lambda name, w: quantize(w, 4, per=8))
    plain = little_gpt(**changes)
    with torch.no_grad():
        for parameter in plain.parameters():
            if parameter.ndim == 2:
                parameter.copy_(quantize(parameter, 4, per=8).dequantize())
    torch.testing.assert_close(small(IDS), plain(IDS), rtol=0, atol=1e-6)
    assert torch.equal(model(IDS), before)
    matrices = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    vectors = sum(p.numel() for p in model.parameters() if p.ndim == 1)
    assert stored_bytes(small) == matrices * (4 + 16 / 8) / 8 + 4 * vectors


def test_a_matrix_may_stay_and_no_float_of_it_is_left_behind():
    model = little_gpt()
    small = quantize_model(model, lambda n, w: quantize(w, 8) if "out" in n else None)
    kinds = [type(module) for module in small.modules()]
    assert kinds.count(QuantizedLinear) == 2 and QuantizedEmbedding not in kinds
    names = [name for name, _ in small.named_parameters()]
    assert not any("out" in name for name in names)


def test_the_best_clip_is_no_worse_in_any_group():
    x = drawn(6, 48) ** 3
    for symmetric in (True, False):
        options = {"per": 16, "symmetric": symmetric}
        best = best_clip(x, 3, **options)
        assert best.shape == (18, 1)
        errors = [
            (quantize(x, 3, clip=clip, **options).dequantize() - x).square()
            for clip in (best, 1.0)
        ]
        cut, whole = (e.reshape(18, 16).sum(dim=1) for e in errors)
        assert (cut <= whole).all() and (cut < whole).any()


# Integers


@pytest.mark.parametrize("k", [1, 3, 1024, 1025, 5000])
def test_integer_sums_are_exact_at_the_extremes(k):
    codes = torch.tensor([-128, -127, 127], dtype=torch.int8)
    a = codes[:, None].repeat(1, k)
    exact = a.long() @ a.long().T
    found = integer_product(a, a)
    assert found.dtype == torch.int32 and torch.equal(found.long(), exact)
    random_a = torch.randint(-128, 128, (5, k), generator=seeded(), dtype=torch.int8)
    random_b = torch.randint(-128, 128, (7, k), generator=seeded(1), dtype=torch.int8)
    exact = random_a.long() @ random_b.long().T
    assert torch.equal(integer_product(random_a, random_b).long(), exact)
    assert torch.equal(torch._int_mm(random_a, random_b.T).long(), exact)


def test_integer_linear_is_the_product_of_what_the_codes_stand_for():
    x, weight, bias = drawn(2, 5, 32), drawn(7, 32, seed=1), drawn(7, seed=2)
    q = quantize(weight, 8)
    rows = x.flatten(0, 1)
    codes, steps = row_codes(rows)
    kept = quantize(rows, 8, keep=keep_float)
    assert torch.equal(codes, kept.codes) and torch.equal(steps, kept.scales)
    wanted = (kept.dequantize().double() @ q.dequantize().double().T).float() + bias
    out = IntegerLinear(weight, bias)(x)
    torch.testing.assert_close(out.flatten(0, 1), wanted, rtol=1e-5, atol=1e-5)


def test_zeros_and_one_row_pass_through_integers():
    layer = IntegerLinear(drawn(4, 16))
    assert torch.equal(layer(torch.zeros(1, 16)), torch.zeros(1, 4))
    assert layer(drawn(1, 1, 16)).shape == (1, 1, 4)
    refused(lambda: IntegerLinear(drawn(4, 16), bits=1), "bits=1")


def test_columns_set_apart_stay_in_floating_point():
    x, weight, bias = drawn(9, 32), drawn(7, 32, seed=1), drawn(7, seed=2)
    x[:, 5] *= 100
    weight[:, 5] /= 100
    exact, apart = x @ weight.T + bias, torch.tensor([5])
    plain, split = (IntegerLinear(weight, bias, apart=a)(x) for a in (None, apart))
    assert (split - exact).norm() < (plain - exact).norm() / 10
    assert (split - exact).norm() < 0.02 * exact.norm()


# The same function with other numbers


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_rescaling_changes_no_score_but_the_channels(norm):
    model = little_gpt(norm=norm)
    pairs = fed_by_norms(model)
    assert sorted(pairs) == sorted(
        f"stack.blocks.{i}.{part}"
        for i in range(2)
        for part in ("attention.module.qkv.linear", "feed_forward.module.expand")
    )
    before, seen = model(IDS), calibrate(model, IDS)
    scales = {name: torch.full((24,), 2.0) for name in pairs}
    for s in scales.values():
        s[3] = 0.01
    other = rescaled(model, scales)
    torch.testing.assert_close(other(IDS), before, rtol=0, atol=1e-5)
    for name, inputs in calibrate(other, IDS).items():
        factor = 1 / scales[name] if name in scales else torch.ones(1)
        wanted = seen[name].largest * factor
        torch.testing.assert_close(inputs.largest, wanted, rtol=1e-3, atol=1e-5)
    assert torch.equal(model(IDS), before)


def test_smoothing_evens_out_both_sides():
    model = little_gpt()
    name = "stack.blocks.0.feed_forward.module.expand"
    spread = torch.logspace(-2, 2, 24)
    model = rescaled(model, {name: spread})
    inputs = calibrate(model, IDS)[name]
    weight = fed_by_norms(model)[name][1].weight
    s = smooth_scales(inputs, weight.detach())
    smoothed = rescaled(model, {name: s})
    left = calibrate(smoothed, IDS)[name].largest
    right = fed_by_norms(smoothed)[name][1].weight.abs().amax(dim=0)
    torch.testing.assert_close(left, right, rtol=1e-4, atol=0)


def inputs_of(x):
    """What calibrate would say of rows x."""
    model = little_gpt(n_layers=1, d_model=x.shape[1])
    name = "stack.blocks.0.attention.module.qkv.linear"
    layer = model.get_submodule(name)
    model.forward = lambda ids: layer(x)
    return calibrate(model, IDS)[name]


def test_calibration_counts_what_comes_in():
    x = drawn(50, 24)
    inputs = inputs_of(x)
    torch.testing.assert_close(inputs.largest, x.abs().amax(dim=0))
    torch.testing.assert_close(inputs.mean, x.abs().mean(dim=0))
    torch.testing.assert_close(inputs.gram, x.T @ x / 50)
    error = drawn(7, 24, seed=1)
    wanted = (x @ error.T).square().sum(dim=1).mean().item()
    assert output_error(error, inputs.gram) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("group", [None, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gptq_loses_less_of_the_output_and_more_of_the_weights(group, symmetric):
    weight = drawn(16, 24)
    x = drawn(400, 6, seed=1) @ drawn(6, 24, seed=2) + 0.3 * drawn(400, 24, seed=3)
    gram = x.T @ x / len(x)
    plain = quantize(weight, 3, per=group or "channel", symmetric=symmetric)
    better = gptq(
        weight, gram, lambda w: quantize(w, 3, symmetric=symmetric), group=group
    )
    assert better.codes.shape == plain.codes.shape and better.n_bytes == plain.n_bytes
    rounded, fed = (q.dequantize() - weight for q in (plain, better))
    assert output_error(fed, gram) < 0.6 * output_error(rounded, gram)
    assert fed.norm() > rounded.norm()


def test_gptq_is_rounding_where_inputs_have_nothing_to_do_with_each_other():
    weight = drawn(16, 24)
    q = gptq(weight, torch.eye(24), lambda w: quantize(w, 4))
    assert torch.equal(q.codes, quantize(weight, 4).codes)
    assert not torch.equal(weight, q.dequantize())
    with pytest.raises(ValueError, match="per channel|scales of rows"):
        gptq(weight, torch.eye(24), lambda w: quantize(w, 4, per="tensor"))


def test_awq_protects_the_columns_that_matter_and_does_no_harm():
    weight, x = drawn(16, 24), drawn(300, 24, seed=1)
    x[:, :2] *= 30
    inputs = inputs_of(x)
    quantizer = lambda w: quantize(w, 3)
    s = awq_scales(inputs, weight, quantizer)
    plain, scaled = (
        output_error(quantizer(weight * t).dequantize() / t - weight, inputs.gram)
        for t in (torch.ones(24), s)
    )
    assert scaled < 0.5 * plain and s[:2].min() > s[2:].max()


# Formats


def read_as(dtype):
    """What all 256 bytes mean in a format of PyTorch: the finite ones, in order."""
    line = torch.arange(256, dtype=torch.uint8).view(dtype).float()
    return line[line.isfinite()].unique()


def test_the_lines_are_those_of_pytorch_and_of_the_papers():
    assert torch.equal(E4M3, read_as(torch.float8_e4m3fn))
    assert torch.equal(E5M2, read_as(torch.float8_e5m2))
    assert E2M1.tolist() == [-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6]
    published = """-1.0 -0.6961928 -0.52507305 -0.39491749 -0.28444138 -0.18477343
        -0.09105004 0.0 0.0795803 0.1609302 0.2461123 0.33791524 0.44070983 0.562617
        0.72295684 1.0"""
    published = torch.tensor([float(number) for number in published.split()])
    torch.testing.assert_close(normal_line(), published, rtol=0, atol=1e-6)


def test_levels_are_rounded_to_as_pytorch_casts():
    x = 100 * drawn(3, 50)
    scaled = x / x.abs().max() * 448
    ours = quantize_to(scaled, E4M3, per="tensor", keep=keep_float).dequantize()
    assert torch.equal(ours, scaled.to(torch.float8_e4m3fn).float())


def test_scales_of_one_byte():
    scale = torch.tensor([[0.3], [0.5], [3.1], [0.0]])
    assert keep_power(scale).float()[:3].flatten().tolist() == [0.5, 0.5, 4.0]
    for keep in (keep_e4m3, keep_byte):
        q = keep(scale)
        assert q.shape == scale.shape and q.n_bytes <= 4 + 4 + 1
        torch.testing.assert_close(q.dequantize(), scale, rtol=0.06, atol=0.01)
    x = drawn(4, 64)
    assert quantize_to(x, E2M1, per=32, keep=keep_power).bits_per_weight == 4.25
    assert (
        quantize_to(x, E2M1, per=16, keep=keep_e4m3).bits_per_weight == 4.5 + 32 / 256
    )


@pytest.mark.parametrize("keep", [keep_e4m3, keep_byte, keep_power, keep_half])
def test_a_group_of_zeros_beside_large_ones_comes_back_as_zeros(keep):
    x = torch.zeros(2, 16)
    x[0] = 1000 * drawn(16)
    for q in (quantize_to(x, E2M1, per=8, keep=keep), quantize(x, 4, per=8, keep=keep)):
        assert torch.equal(q.dequantize()[1], torch.zeros(16))


# Embeddings


def test_signs_and_distances():
    a, b = drawn(5, 16), drawn(3, 16, seed=1)
    wanted = ((a > 0)[:, None] != (b > 0)[None]).sum(dim=-1)
    assert sign_bits(a).shape == (5, 2)
    assert hamming(sign_bits(a), sign_bits(b)).tolist() == wanted.tolist()
    refused(lambda: sign_bits(drawn(2, 12)), "got (2, 12)")


def test_recall_counts_what_was_wanted():
    found = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert recall(found, torch.tensor([[3, 9], [4, 6]])) == 0.75


def test_principal_axes_are_in_order_and_orthogonal():
    x = drawn(60, 4) * torch.tensor([1.0, 5.0, 0.1, 2.0]) + 3
    axes = principal_axes(x)
    torch.testing.assert_close(axes.T @ axes, torch.eye(4), rtol=0, atol=1e-5)
    assert axes.abs().argmax(dim=0).tolist() == [1, 3, 0, 2]


# Three values


def test_ternary_weights_and_their_true_bits():
    weight = torch.tensor([[0.1, -1.0, 0.6, 0.3]])
    q = ternary(weight)
    torch.testing.assert_close(q.scales.item(), 0.5, rtol=1e-3, atol=0)
    assert q.codes.tolist() == [[0, -1, 1, 1]]
    assert ternary(drawn(64, 64)).bits_per_weight == 2 + 16 / 4096


def test_the_gradient_passes_as_if_nothing_had_been_rounded():
    layer = TernaryLinear(24, 7)
    x, pull = drawn(5, 24), drawn(5, 7, seed=1)
    out = layer(x)
    rounded = ternary(layer.weight.detach()).dequantize()
    torch.testing.assert_close(out, x @ rounded.T + layer.bias)
    (out * pull).sum().backward()
    torch.testing.assert_close(layer.weight.grad, pull.T @ x)


def test_a_ternary_model_keeps_its_weights_and_can_be_trained():
    model = little_gpt()
    made = make_ternary(model)
    assert sum(isinstance(m, TernaryLinear) for m in made.modules()) == 8
    before = made(IDS)
    made(IDS).square().mean().backward()
    with torch.no_grad():
        for (name, p), q in zip(
            model.named_parameters(), made.parameters(), strict=True
        ):
            assert torch.equal(p, q) and q.grad is not None, name
            q -= 10 * q.grad
    assert not torch.equal(made(IDS), before)
    assert made.get_parameter("embedding.weight").requires_grad
