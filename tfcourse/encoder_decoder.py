"""The encoder–decoder of 2017: read one sentence, write another (chapter 9)."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tfcourse.block import Block, FeedForward, LayerNorm, Residual, Stack
from tfcourse.embedding import Embedding
from tfcourse.multi_head_attention import MultiHeadAttention
from tfcourse.one_hot import Vocabulary
from tfcourse.position import SinusoidalPosition

SPECIALS = ("<pad>", "<begin>", "<end>")  # the first of every vocabulary

PAD = 0

BEGIN = 1

END = 2


def words_of(sentences: Iterable[str]) -> Vocabulary:
    """The words of sentences, in the order of the alphabet, after SPECIALS.

    >>> words_of(["show my files", "count my files"]).tokens[3:]
    ('count', 'files', 'my', 'show')
    """
    found = sorted({word for sentence in sentences for word in sentence.split()})
    return Vocabulary(found, specials=SPECIALS)


def pad(sequences: Sequence[Tensor]) -> Tensor:
    """Sequences of several lengths as one batch, filled up at the end with PAD.

    sequences: b of (t_i,) integers  ->  (b, longest). ValueError for no sequence, or an
    empty one.

    >>> pad([torch.tensor([5, 6, 7]), torch.tensor([8])])
    tensor([[5, 6, 7],
            [8, 0, 0]])
    """
    lengths = [len(ids) for ids in sequences]
    if not lengths or min(lengths) == 0:
        raise ValueError(f"each sequence needs a token or more; got lengths {lengths}")
    return nn.utils.rnn.pad_sequence(list(sequences), True, PAD)


def real(ids: Tensor) -> Tensor:
    """Which positions hold a token: a mask for attention, the same for every query.

    ids: (b, s)  ->  (b, 1, s) Boolean, True = may attend.
    """
    return (ids != PAD)[:, None]


def shift_right(targets: Tensor) -> Tensor:
    """What the decoder is given when it should answer targets: the same, one step late.

    targets: (b, t), each row with END as its last token  ->  (b, t), from BEGIN on.
    ValueError for a row without END: nothing would teach the model to stop.

    >>> shift_right(torch.tensor([[5, 6, 2], [7, 2, 0]]))
    tensor([[1, 5, 6],
            [1, 7, 0]])
    """
    endless = ~(targets == END).any(dim=-1)
    if endless.any():
        row = int(endless.nonzero()[0])
        raise ValueError(f"each target must end with END, id {END}; row {row} has none")
    begin = torch.full_like(targets[:, :1], BEGIN)
    return torch.cat([begin, targets[:, :-1].where(targets[:, :-1] != END, PAD)], dim=1)


def examples(
    pairs: Sequence[tuple[str, str]], source: Vocabulary, target: Vocabulary
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Sentences and their translations as fit wants them: (inputs of the model), targets.

    pairs: b of (sentence, translation); source, target: their words  ->  (source: (b, s),
    decoder inputs: (b, t)), targets: (b, t), each ended by END. ValueError for an empty
    sentence or an unknown word, which it names.
    """
    read = pad([source.encode(sentence.split()) for sentence, _ in pairs])
    targets = pad([target.encode([*text.split(), SPECIALS[END]]) for _, text in pairs])
    return (read, shift_right(targets)), targets


def smoothed_cross_entropy(
    logits: Tensor, targets: Tensor, smoothing: float = 0.0, total: int | None = None
) -> Tensor:
    """The surprise at targets that are made a little unsure, in nats for a real token.

    Each target keeps 1 - smoothing of its probability; the rest is shared by all n words.
    logits: (b, t, n), targets: (b, t), PAD counts for nothing  ->  a scalar: the sum over
    real tokens / total, their number unless given (a part of a batch gives the whole's).
    ValueError for a smoothing outside 0 to 1, or no real token.
    Source: Szegedy et al. (2016), section 7; Vaswani et al. (2017), section 5.4.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be from 0 to below 1; got {smoothing}")
    total = int((targets != PAD).sum()) if total is None else total
    if total < 1:
        raise ValueError("the targets hold nothing but padding")
    surprise = F.cross_entropy(
        logits.flatten(0, 1),
        targets.flatten(),
        ignore_index=PAD,
        label_smoothing=smoothing,
        reduction="sum",
    )
    return surprise / total


def token_accuracy(logits: Tensor, targets: Tensor) -> float:
    """The share of real tokens whose largest logit is the target's; PAD does not count.

    logits: (b, t, n), targets: (b, t)  ->  a number from 0 to 1.
    """
    kept = targets != PAD
    return (logits.argmax(dim=-1) == targets)[kept].double().mean().item()


class DecoderBlock(nn.Module):
    """A block with a second attention, whose keys and values come from the encoder.

    Called with x: (b, t, d), memory: (b, s, d), memory_mask: (b, 1, s) or None, and what
    MultiHeadAttention takes for the first attention  ->  (b, t, d).
    d_ff, pre_norm and dropout: as for Block.
    Source: Vaswani et al. (2017), figure 1, right.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_ff: int | None = None,
        pre_norm: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()

        def residual(module: nn.Module) -> Residual:
            return Residual(module, LayerNorm(d_model), pre_norm, dropout)

        self.attention = residual(MultiHeadAttention(d_model, n_heads))
        self.cross = residual(MultiHeadAttention(d_model, n_heads))
        self.feed_forward = residual(FeedForward(d_model, d_ff))

    def forward(
        self,
        x: Tensor,
        *,
        memory: Tensor,
        memory_mask: Tensor | None = None,
        **options,
    ) -> Tensor:
        x = self.attention(x, **options)
        x = self.cross(x, context=memory, mask=memory_mask)
        return self.feed_forward(x)


class SentenceEmbedding(nn.Module):
    """sqrt(d_model) times the words' vectors, plus the sinusoids of their places; dropout.

    Called with ids: (b, t)  ->  (b, t, d). The scale makes entries of a word about as
    large as those of a place. ValueError for no token, more than limit, or an id outside.
    Source: Vaswani et al. (2017), sections 3.4 and 5.4.
    """

    def __init__(self, vocab_size: int, d_model: int, dropout: float, limit: int):
        super().__init__()
        self.embedding = Embedding(vocab_size, d_model)
        self.position, self.dropout = SinusoidalPosition(), nn.Dropout(dropout)
        self.scale, self.limit = d_model**0.5, limit

    def forward(self, ids: Tensor) -> Tensor:
        if not 1 <= ids.shape[1] <= self.limit:
            raise ValueError(
                f"a sentence must have 1 to limit={self.limit} tokens; got {ids.shape[1]}"
            )
        return self.dropout(self.position(self.embedding(ids) * self.scale))


class EncoderDecoder(nn.Module):
    """The transformer of 2017: a stack that reads, a stack that writes and looks there.

    Called with (source: (b, s), decoder inputs: (b, t)) as one argument  ->  logits
    (b, t, n); the output matrix is the target's embedding. limit: the longest sentence,
    in tokens, either way. ValueError for a source of padding alone, and what
    SentenceEmbedding refuses.
    Source: Vaswani et al. (2017), section 3; with pre_norm, Xiong et al. (2020).
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        d_model: int,
        n_heads: int,
        n_layers: int,
        *,
        d_ff: int | None = None,
        pre_norm: bool = False,
        dropout: float = 0.1,
        limit: int = 128,
    ):
        super().__init__()
        self.source = SentenceEmbedding(source_size, d_model, dropout, limit)
        self.target = SentenceEmbedding(target_size, d_model, dropout, limit)
        options = {"d_ff": d_ff, "pre_norm": pre_norm, "dropout": dropout}

        def stack(block: type[nn.Module]) -> Stack:
            blocks = [block(d_model, n_heads, **options) for _ in range(n_layers)]
            return Stack(blocks, LayerNorm(d_model) if pre_norm else None)

        self.encoder, self.decoder = stack(Block), stack(DecoderBlock)

    def encode(self, source: Tensor) -> Tensor:
        """What the encoder makes of the source: (b, s) -> (b, s, d), its memory."""
        if (source == PAD).all(dim=-1).any():
            raise ValueError("a sentence of the batch is empty: nothing but padding")
        return self.encoder(self.source(source), mask=real(source))

    def decode(self, inputs: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """Logits after each of the inputs: (b, t), (b, s, d), (b, 1, s) -> (b, t, n)."""
        sight = {"causal": True, "mask": real(inputs)}
        sight |= {"memory": memory, "memory_mask": memory_mask}
        return self.target.embedding.unembed(self.decoder(self.target(inputs), **sight))

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        source, written = inputs
        return self.decode(written, self.encode(source), real(source))


Step = Callable[[Tensor], Tensor]


@torch.no_grad()
def next_logits(model: EncoderDecoder, source: Tensor) -> Step:
    """What decoding asks a model: from the tokens so far to the logits of the next.

    source: (b, s)  ->  a function of (b, t) -> (b, n), both on the CPU. The encoder runs
    once; one source serves any number of rows. ValueError for a model in training mode.
    """
    if model.training:
        raise ValueError("dropout would change the answers: call model.eval() first")
    memory, mask = model.encode(source), real(source)

    @torch.no_grad()
    def step(written: Tensor) -> Tensor:
        rows = len(written), -1, -1
        written = written.to(source.device)
        logits = model.decode(written, memory.expand(*rows), mask.expand(*rows))
        return logits[:, -1].cpu()

    return step


def greedy(step: Step, batch: int, limit: int) -> list[Tensor]:
    """Write the likeliest token, again and again, until END or limit tokens.

    step: as next_logits gives it, for batch rows  ->  the tokens of each: (t_i,), without
    BEGIN and END.
    """
    written = torch.full((batch, 1), BEGIN)
    done = torch.zeros(batch, dtype=torch.bool)
    for _ in range(limit):
        token = step(written).argmax(dim=-1).where(~done, PAD)
        written = torch.cat([written, token[:, None]], dim=1)
        done |= token == END
        if done.all():
            break
    return [row[(row != PAD) & (row != END)] for row in written[:, 1:]]


def length_penalty(length: int, alpha: float) -> float:
    """What beam search divides the log-probability of that many tokens by.

    ((5 + length) / 6)^alpha. Log-probabilities are negative: dividing by more brings them
    closer to 0, so alpha above 0 favours the longer. Source: Wu et al. (2016), equation 14.

    >>> length_penalty(1, 0.6), round(-7 / length_penalty(13, 1.0), 2)
    (1.0, -2.33)
    """
    return ((5 + length) / 6) ** alpha


def beam_search(
    step: Step, limit: int, width: int = 4, alpha: float = 0.6
) -> list[tuple[float, Tensor]]:
    """Keep the `width` likeliest beginnings instead of one; the best endings, best first.

    step: for any number of rows of one sentence. One that ends leaves its place empty.
    ->  (log-probability / length_penalty, (t,) without BEGIN and END); where nothing
    ends within limit tokens, what was begun. Width 1 is greedy. ValueError for a width
    or limit under 1. Source: Sutskever et al. (2014), section 3.2; Wu et al. (2016).
    """
    if width < 1 or limit < 1:
        raise ValueError(
            f"width and limit must be 1 or more; got width={width}, limit={limit}"
        )
    written, scores = torch.full((1, 1), BEGIN), torch.zeros(1)
    ended: list[tuple[float, Tensor]] = []
    for length in range(1, limit + 1):
        totals = scores[:, None] + step(written).log_softmax(dim=-1)  # (rows, n)
        places = min(width - len(ended), totals.numel())
        scores, best = totals.flatten().topk(places)
        rows, tokens = best // totals.shape[1], best % totals.shape[1]
        written = torch.cat([written[rows], tokens[:, None]], dim=1)
        open_ = tokens != END
        penalty = length_penalty(length, alpha)
        found = zip(scores[~open_].tolist(), written[~open_, 1:-1], strict=True)
        ended += [(score / penalty, ids) for score, ids in found]
        written, scores = written[open_], scores[open_]
        if not len(written):
            break
    begun = zip((scores / penalty).tolist(), written[:, 1:], strict=True)
    return sorted(ended or begun, key=lambda pair: -pair[0])


def translate(
    model: EncoderDecoder,
    sentences: Sequence[str],
    source: Vocabulary,
    target: Vocabulary,
    width: int = 1,
) -> list[str]:
    """The translation of each sentence: greedy, or by beam search of that width.

    ValueError for an empty sentence or an unknown word, which it names.
    """
    read = [source.encode(sentence.split()) for sentence in sentences]
    limit = model.target.limit - 1
    if width == 1:
        written = greedy(next_logits(model, pad(read)), len(read), limit)
    else:
        steps = [next_logits(model, pad([ids])) for ids in read]
        written = [beam_search(step, limit, width)[0][1] for step in steps]
    return [" ".join(target.decode(ids)) for ids in written]


@torch.no_grad()
def alignments(model: EncoderDecoder, source: Tensor, written: Tensor) -> Tensor:
    """Where each step of writing looks in the source: the cross-attention's weights.

    source: (b, s), written: (b, t), the decoder's inputs  ->  (l, b, h, t, s).
    """
    memory, mask = model.encode(source), real(source)
    x, maps = model.target(written), []
    for block in model.decoder.blocks:
        cross = block.cross
        x = block.attention(x, mask=real(written), causal=True)
        asks = cross.norm(x) if cross.pre_norm else x
        maps.append(
            cross.module(asks, context=memory, mask=mask, return_weights=True)[1]
        )
        x = block.feed_forward(cross(x, context=memory, mask=mask))
    return torch.stack(maps)
