"""tfcourse.encoder_decoder against PyTorch's transformer, its promises, and bad input."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.parity import close, copy_block, copy_layer, filled, random, refused, seeded
from tfcourse.block import LayerNorm
from tfcourse.encoder_decoder import (
    BEGIN,
    END,
    PAD,
    SPECIALS,
    DecoderBlock,
    EncoderDecoder,
    alignments,
    beam_search,
    greedy,
    length_penalty,
    next_logits,
    pad,
    real,
    shift_right,
    smoothed_cross_entropy,
    token_accuracy,
)
from tfcourse.fitting import fit, initialize

N_SOURCE, N_TARGET, D, H, LAYERS = 13, 11, 12, 3, 2
LENGTHS = [5, 3, 7], [4, 6, 2]  # of sources, of targets with their END


def words(length, n, seed):
    return torch.randint(len(SPECIALS), n, (length,), generator=seeded(seed))


def sentences():
    sources = [words(s, N_SOURCE, i) for i, s in enumerate(LENGTHS[0])]
    targets = [
        torch.cat([words(t - 1, N_TARGET, 9 + i), torch.tensor([END])])
        for i, t in enumerate(LENGTHS[1])
    ]
    return sources, targets


def small(pre_norm=False, dropout=0.0):
    model = EncoderDecoder(
        N_SOURCE, N_TARGET, D, H, LAYERS, pre_norm=pre_norm, dropout=dropout, limit=20
    )
    return filled(model).eval()


# Against PyTorch


def copy_decoder_block(ours, theirs):
    """PyTorch's names for the parts of our decoder block."""
    linears = {
        "self_attn.in_proj_": ours.attention.module.qkv.linear,
        "self_attn.out_proj.": ours.attention.module.out,
        "multihead_attn.in_proj_": ours.cross.module.qkv.linear,
        "multihead_attn.out_proj.": ours.cross.module.out,
        "linear1.": ours.feed_forward.module.expand,
        "linear2.": ours.feed_forward.module.contract,
    }
    copy_layer(theirs, linears, (ours.attention, ours.cross, ours.feed_forward))


def pytorchs(model, pre_norm):
    options = {"dropout": 0.0, "batch_first": True, "norm_first": pre_norm}
    layer = nn.TransformerEncoderLayer(D, H, 4 * D, **options)
    encoder = nn.TransformerEncoder(
        layer, LAYERS, nn.LayerNorm(D), enable_nested_tensor=False
    )
    theirs = nn.Transformer(
        D, H, 0, LAYERS, 4 * D, custom_encoder=encoder, **options
    ).double()
    for ours, its in zip(model.encoder.blocks, theirs.encoder.layers, strict=True):
        copy_block(ours, its)
    for ours, its in zip(model.decoder.blocks, theirs.decoder.layers, strict=True):
        copy_decoder_block(ours, its)
    for ours, its in ((model.encoder, theirs.encoder), (model.decoder, theirs.decoder)):
        if pre_norm:
            its.norm.load_state_dict({"weight": ours.norm.gain, "bias": ours.norm.bias})
        else:
            its.norm = None  # the paper has none here; PyTorch adds one either way
    return theirs.eval()


@pytest.mark.parametrize("pre_norm", [False, True])
def test_it_equals_pytorchs_transformer_on_padded_batches(pre_norm):
    model = small(pre_norm)
    theirs = pytorchs(model, pre_norm)
    sources, targets = map(pad, sentences())
    written = shift_right(targets)
    t = written.shape[1]
    expected = theirs(
        model.source(sources),
        model.target(written),
        tgt_mask=torch.ones(t, t, dtype=torch.bool).triu(1),
        src_key_padding_mask=sources == PAD,
        tgt_key_padding_mask=written == PAD,
        memory_key_padding_mask=sources == PAD,
    )
    logits = expected @ model.target.embedding.weight.T
    kept = written != PAD
    close(model((sources, written))[kept], logits[kept], 1e-9)


def test_every_decoder_layer_looks_at_the_last_encoder_layer():
    block, x = filled(DecoderBlock(D, H)), random(2, 4, D)
    memory = random(2, 5, D, seed=1)
    x1 = block.attention(x, causal=True)
    expected = block.feed_forward(block.cross(x1, context=memory))
    close(block(x, memory=memory, causal=True), expected)


# Masks


@pytest.mark.parametrize("pre_norm", [False, True])
def test_padded_equals_trimmed(pre_norm):
    model = small(pre_norm)
    sources, targets = sentences()
    logits = model((pad(sources), shift_right(pad(targets))))
    for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
        alone = model((source[None], shift_right(target[None])))
        close(logits[i, : len(target)], alone[0])


def test_what_is_written_later_does_not_change_what_was_before():
    model = small()
    source, target = (pad(ids)[:1] for ids in sentences())
    written = shift_right(target)[:, :4]
    before = model((source, written))
    written[0, -1] = 3 + (written[0, -1] - 2) % 8
    after = model((source, written))
    close(after[:, :-1], before[:, :-1])
    assert (after[:, -1] - before[:, -1]).abs().max() > 1e-6


def test_shift_right_starts_with_begin_and_never_feeds_the_end():
    targets = pad(sentences()[1])
    written = shift_right(targets)
    for row, length in zip(written, LENGTHS[1], strict=True):
        assert row[0] == BEGIN
        assert (row[1:length] >= len(SPECIALS)).all()
        assert (row[length:] == PAD).all()
    assert torch.equal(real(targets)[:, 0].sum(dim=1), torch.tensor(LENGTHS[1]))


# The loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_the_loss_is_the_surprise_at_smoothed_targets_of_real_tokens(smoothing):
    """Trap 13: all n words share the smoothing, and padding has no part in it."""
    targets = pad(sentences()[1])
    logits = random(*targets.shape, N_TARGET)
    total = 0.0
    for row, wanted in zip(logits, targets, strict=True):
        for scores, target in zip(row.log_softmax(-1), wanted, strict=True):
            if target != PAD:
                goal = torch.full_like(scores, smoothing / N_TARGET)
                goal[target] += 1 - smoothing
                total -= (goal * scores).sum()
    ours = smoothed_cross_entropy(logits, targets, smoothing)
    close(ours, total / sum(LENGTHS[1]))
    theirs = F.cross_entropy(
        logits.transpose(1, 2), targets, ignore_index=PAD, label_smoothing=smoothing
    )
    close(ours, theirs)
    assert (smoothed_cross_entropy(logits, targets, 0.1) - total).abs() > 1e-3


def test_micro_batches_with_the_whole_count_give_the_gradient_of_the_large_batch():
    """Trap 15: the mean of the parts' means would weight a short sentence like a long one."""
    sources, targets = map(pad, sentences())
    written, total = shift_right(targets), int((targets != PAD).sum())

    def gradient(rows, total):
        model = small()
        for part in rows:
            loss = smoothed_cross_entropy(
                model((sources[part], written[part])), targets[part], 0.1, total
            )
            (loss if total else loss / len(rows)).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    large = gradient([slice(0, 3)], total)
    close(large, gradient([slice(0, 3)], None))
    parts = [slice(0, 1), slice(1, 3)]
    close(gradient(parts, total), large)
    assert (gradient(parts, None) - large).abs().max() > 1e-3  # the mistake


def test_accuracy_counts_real_tokens_only():
    targets = torch.tensor([[4, 5, END], [6, END, PAD]])
    logits = F.one_hot(targets, N_TARGET).double()
    logits[0, 0] = 0
    logits[0, 0, 7] = 1
    logits[1, 2, 3] = 9
    assert token_accuracy(logits, targets) == pytest.approx(4 / 5)


# Decoding


def table_step(table):
    """A model that knows only the last token: row = logits of the next."""
    return lambda written: table[written[:, -1]]


def chain():
    """BEGIN -> 3 (0.6) or 4 (0.4); 3 -> END or 5, 0.5 each; 4 -> END (0.9) or 5; 5 -> END."""
    table = torch.full((6, 6), -1e4)  # as good as never
    for row, shares in {
        BEGIN: {3: 0.6, 4: 0.4},
        3: {END: 0.5, 5: 0.5},
        4: {END: 0.9, 5: 0.1},
        5: {END: 1.0},
        END: {END: 1.0},
    }.items():
        for token, share in shares.items():
            table[row, token] = math.log(share)
    return table_step(table)


def test_greedy_takes_the_likeliest_token_and_beam_search_the_likeliest_sentence():
    assert [ids.tolist() for ids in greedy(chain(), 2, 9)] == [[3], [3]]
    best = beam_search(chain(), 9, width=3, alpha=0.0)
    assert best[0][1].tolist() == [4]
    assert best[0][0] == pytest.approx(math.log(0.36))


def test_beam_search_finds_the_best_of_all_sentences():
    """Against trying every sentence, with a beam wide enough to keep them all."""
    n, limit = 6, 3
    table = random(n, n, seed=3).float()
    step, scored = table_step(table), {}

    def grow(ids, score):
        for token, more in enumerate(table[ids[-1]].log_softmax(-1).tolist()):
            if token == END:
                scored[tuple(ids[1:])] = score + more
            elif len(ids) < limit:
                grow([*ids, token], score + more)

    grow([BEGIN], 0.0)
    for alpha in (0.0, 1.0, 3.0):
        best = max(scored, key=lambda s: scored[s] / length_penalty(len(s) + 1, alpha))
        found = beam_search(step, limit, width=n**limit, alpha=alpha)
        assert tuple(found[0][1].tolist()) == best
        assert len(found) == len(scored)


def test_a_greater_penalty_favours_longer_sentences():
    """Trap 18."""
    lengths = [
        len(beam_search(chain(), 9, width=4, alpha=alpha)[0][1])
        for alpha in (-2.0, 0.0, 8.0)
    ]
    assert lengths == [1, 1, 2]
    assert length_penalty(1, 0.7) == 1 < length_penalty(2, 0.7)


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_is_greedy(seed):
    model = filled(EncoderDecoder(N_SOURCE, N_TARGET, D, H, LAYERS), seed).eval()
    for source in sentences()[0]:
        step = next_logits(model, source[None])
        (written,) = greedy(step, 1, 8)
        assert torch.equal(beam_search(step, 8, width=1)[0][1], written)


def test_greedy_in_a_padded_batch_is_greedy_one_by_one():
    model = small()
    sources = sentences()[0]
    together = greedy(next_logits(model, pad(sources)), len(sources), 8)
    for source, ids in zip(sources, together, strict=True):
        (alone,) = greedy(next_logits(model, source[None]), 1, 8)
        assert torch.equal(alone, ids)


def test_decoding_stops_at_the_limit():
    table = torch.full((6, 6), -9.0)
    table[:, 4] = 9.0
    assert greedy(table_step(table), 1, 5)[0].tolist() == [4] * 5
    score, ids = beam_search(table_step(table), 5, width=1)[0]
    assert ids.tolist() == [4] * 5
    assert score < 0


# Alignments


@pytest.mark.parametrize("pre_norm", [False, True])
def test_alignments_are_the_weights_that_the_model_uses(pre_norm):
    model = small(pre_norm)
    sources, targets = map(pad, sentences())
    written = shift_right(targets)
    maps = alignments(model, sources, written)
    assert maps.shape == (LAYERS, 3, H, written.shape[1], sources.shape[1])
    close(maps.sum(dim=-1), torch.ones_like(maps[..., 0]))
    closed = (sources == PAD)[None, :, None, None].expand_as(maps)
    assert (maps[closed] == 0).all()
    seen = []
    cross = model.decoder.blocks[1].cross.module
    cross.register_forward_hook(
        lambda module, args, kwargs, out: (
            seen.append(module(*args, **kwargs | {"return_weights": True})[1])
            if not isinstance(out, tuple)
            else None
        ),
        with_kwargs=True,
    )
    model((sources, written))
    close(maps[1], seen[0])


# It learns


def test_it_learns_to_copy_sentences_that_it_never_saw():
    """Vocabulary of 11, two layers: 8 words, in sentences of 4 to 6."""
    model = EncoderDecoder(11, 11, 32, 4, 2, dropout=0.0, pre_norm=True)
    initialize(model, seeded())
    generator = seeded(1)

    def draw(count):
        ids = torch.randint(3, 11, (count, 6), generator=generator)
        lengths = torch.randint(4, 7, (count, 1), generator=generator)
        ids = ids.where(torch.arange(6) < lengths, PAD)
        ended = torch.cat([ids, torch.zeros(count, 1, dtype=torch.long)], dim=1)
        return ids, ended.scatter(1, lengths, END)

    def batch(_):
        source, target = draw(64)
        return (source, shift_right(target)), target

    fit(model, batch, smoothed_cross_entropy, 400, lr=3e-3)
    source, target = draw(50)
    copies = greedy(next_logits(model.eval(), source), 50, 8)
    wanted = [row[(row != PAD) & (row != END)].tolist() for row in target]
    assert [ids.tolist() for ids in copies] == wanted


# Bad input


BAD = {
    "no sentence": (lambda: pad([]), "needs a token or more; got lengths []"),
    "an empty sentence": (
        lambda: pad([torch.tensor([4]), torch.tensor([], dtype=torch.long)]),
        "each sequence needs a token or more; got lengths [1, 0]",
    ),
    "no end": (
        lambda: shift_right(torch.tensor([[4, END], [5, 6]])),
        "each target must end with END, id 2; row 1 has none",
    ),
    "smoothing": (
        lambda: smoothed_cross_entropy(random(1, 1, 4), torch.ones(1, 1).long(), 1.0),
        "smoothing must be from 0 to below 1; got 1.0",
    ),
    "padding alone": (
        lambda: smoothed_cross_entropy(random(1, 2, 4), torch.zeros(1, 2).long()),
        "the targets hold nothing but padding",
    ),
    "an empty source": (
        lambda: small().encode(torch.tensor([[3, 4], [PAD, PAD]])),
        "a sentence of the batch is empty: nothing but padding",
    ),
    "no source": (
        lambda: small().encode(torch.zeros(1, 0, dtype=torch.long)),
        "a sentence of the batch is empty",
    ),
    "too long": (
        lambda: small().encode(torch.full((1, 21), 5)),
        "a sentence must have 1 to limit=20 tokens; got 21",
    ),
    "unknown word": (
        lambda: small().encode(torch.tensor([[3, 99]])),
        "ids must be from 0 to 12; got 3 to 99",
    ),
    "training": (
        lambda: next_logits(small().train(), torch.tensor([[3]])),
        "call model.eval() first",
    ),
    "width": (
        lambda: beam_search(chain(), 5, width=0),
        "width and limit must be 1 or more; got width=0, limit=5",
    ),
}


@pytest.mark.parametrize(("call", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_named(call, says):
    refused(call, says)


def test_post_norm_has_no_norm_at_the_end_and_pre_norm_has():
    assert isinstance(small().encoder.norm, nn.Identity)
    assert isinstance(small(pre_norm=True).decoder.norm, LayerNorm)
