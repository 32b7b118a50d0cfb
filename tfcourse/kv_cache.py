"""KV caching: what was computed once is kept, and read again (chapter 13)."""

from array import array
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import torch
from torch import Tensor

from tfcourse.attention import causal_mask
from tfcourse.generation import Sampler, Step
from tfcourse.gpt import GPT, GPTConfig
from tfcourse.multi_head_attention import parameter_count


def require_answers(model: GPT) -> None:
    """ValueError for a model in training mode."""
    if model.training:
        raise ValueError("dropout would change the answers: call model.eval() first")


def require_fit(buffer: Tensor, k: Tensor, v: Tensor) -> None:
    """Refuse new keys and values that a buffer (b, g, s, k) cannot take, whatever its s.

    ValueError for a shape (a copy would spread one row over all, without a word),
    TypeError for another kind of number (it would be rounded without a word).
    """
    b, g, _, width = buffer.shape
    if not k.shape == v.shape == (b, g, k.shape[-2], width):
        raise ValueError(
            f"the cache holds batch={b}, n_kv_heads={g}, d_head={width}; "
            f"got k {tuple(k.shape)}, v {tuple(v.shape)}"
        )
    if not k.dtype == v.dtype == buffer.dtype:
        raise TypeError(
            f"the cache holds {buffer.dtype}; got k {k.dtype}, v {v.dtype}: make the "
            "cache of the kind of number that the model computes with"
        )


class KVCache:
    """Keys and values of one layer, in buffers made once, with room for capacity positions.

    positions and update are what MultiHeadAttention asks of a cache. The buffers are (b, g,
    capacity, k); the first `length` positions are filled. ValueError for more than fit,
    before anything is written. For inference: gradients are not followed.
    """

    def __init__(self, batch: int, n_kv_heads: int, d_head: int, capacity: int, **kind):
        self.k, self.v = torch.zeros(2, batch, n_kv_heads, capacity, d_head, **kind)
        self.capacity, self.length = capacity, 0

    def positions(self, t: int) -> Tensor:
        return torch.arange(self.length, self.length + t)

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        t, start = k.shape[-2], self.length
        end = start + t
        require_fit(self.k, k, v)
        if end > self.capacity:
            raise ValueError(
                f"the cache is full: capacity={self.capacity} positions, {start} filled, "
                f"{t} more to come"
            )
        self.k[:, :, start:end] = k
        self.v[:, :, start:end] = v
        self.length = end
        mask = None if t == 1 else causal_mask(t, end, k.device)  # one query sees all
        return self.k[:, :, :end], self.v[:, :, :end], mask

    def rewind(self, length: int) -> int:
        """Forget what stands after the first positions; how many are left."""
        self.length = min(length, self.length)
        return self.length


def caches_for(model: GPT, kind: type, batch: int = 1, **sizes) -> list:
    """One cache of this kind for each block of a model, of its shape, numbers and device.

    sizes: what the kind has to know besides, such as capacity= for KVCache.
    """
    c, like = model.config, next(model.parameters())
    shape = batch, c.n_kv_heads, c.d_head
    options = sizes | {"dtype": like.dtype, "device": like.device}
    return [kind(*shape, **options) for _ in range(c.n_layers)]


def shared_start(a: Tensor, b: Tensor) -> int:
    """How many tokens two texts, (b, t) and (b, s), begin with in common, in every row.

    >>> shared_start(torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 4, 3]]))
    2
    """
    if len(a) != len(b):
        return 0
    n = min(a.shape[1], b.shape[1])
    if torch.equal(a[:, :n], b[:, :n]):
        return n  # nearly always: one goes on where the other ended
    same = (a[:, :n] == b[:, :n]).all(dim=0)
    return int(same.long().cumprod(dim=0).sum())


class CachedModel:
    """A model that remembers what it has read, and computes only what is new.

    caches: one for each block, as caches_for makes them; chunk: how many tokens go through
    the model at once, context_length unless given. Called with all tokens so far, (b, t),
    it gives the scores of the next, (b, n), as next_scores does: a Step for generate.
    ids need not go on where the last ones ended: what both begin with is kept, the rest
    forgotten. ValueError for a model in training mode, no ids, and what the caches refuse;
    the next call is answered as if the refused one had not been.
    """

    def __init__(self, model: GPT, caches: Sequence, chunk: int | None = None):
        require_answers(model)
        limit = model.config.context_length
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be 1 or more; got {chunk}")
        self.model, self.caches = model, caches
        self.chunk = limit if chunk is None else min(chunk, limit)
        self.device = next(model.parameters()).device
        self.ids = torch.empty(1, 0, dtype=torch.long, device=self.device)

    def __call__(self, ids: Tensor) -> Tensor:
        return self.read(ids)[:, 0]

    def read(self, ids: Tensor, last: int = 1) -> Tensor:
        """The scores after each of the last tokens: (b, t)  ->  (b, last, n)."""
        if ids.ndim != 2 or not 1 <= last <= ids.shape[1]:
            raise ValueError(
                f"ids must be (b, t) with t of last={last} or more, and last 1 or more; "
                f"got shape {tuple(ids.shape)}"
            )
        ids = ids.to(self.device)
        start = min(shared_start(self.ids, ids), ids.shape[1] - last)
        start = min(cache.rewind(start) for cache in self.caches)
        self.ids = ids[:, :start]  # what is true if the model refuses the rest
        parts = ids[:, start:].split(self.chunk, dim=1)
        with torch.inference_mode():
            x = [self.model.hidden(part, caches=self.caches) for part in parts]
            x = x[0] if len(x) == 1 else torch.cat(x, dim=1)
            scores = self.model.scores(x[:, -last:])
        self.ids = ids
        kind = torch.promote_types(scores.dtype, torch.float32)
        return scores.to("cpu", kind, copy=True)  # out here: may be changed in place


def bytes_per_token(
    n_layers: int, n_kv_heads: int, d_head: int, n_bytes: float = 2
) -> float:
    """What the keys and values of one token take, n_bytes a number.

    >>> bytes_per_token(n_layers=32, n_kv_heads=32, d_head=128) // 1024  # Llama 2, 7B
    512
    """
    return 2 * n_layers * n_kv_heads * d_head * n_bytes


def latent_bytes_per_token(
    n_layers: int, d_latent: int, d_rotated: int, n_bytes: float = 2
) -> float:
    """The same where a layer keeps one vector for keys and values of all its heads.

    d_latent: what keys and values are made from; d_rotated: a key beside it, shared by all
    heads, that knows the position. Source: DeepSeek-AI (2024), section 2.1.

    >>> latent_bytes_per_token(n_layers=61, d_latent=512, d_rotated=64)
    70272
    """
    return n_layers * (d_latent + d_rotated) * n_bytes


@dataclass(frozen=True)
class Work:
    """Floating-point operations, and bytes that go between memory and processor."""

    flops: float
    bytes: float

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.flops / self.bytes


@dataclass(frozen=True)
class Machine:
    """What computes: operations a second, bytes of memory a second, bytes of memory."""

    name: str
    flops: float
    bandwidth: float
    memory: float

    @property
    def ridge(self) -> float:
        """Operations for each byte at which both take the same time."""
        return self.flops / self.bandwidth

    def seconds(self, work: Work) -> float:
        """The least time for this work: both at once, the slower of them decides.

        Source: Williams, Waterman and Patterson (2009).
        """
        return max(work.flops / self.flops, work.bytes / self.bandwidth)


CARDS = (  # dense bfloat16, from the makers' data sheets
    Machine("A100 80 GB", 312e12, 2.039e12, 80e9),
    Machine("H100 SXM", 989e12, 3.35e12, 80e9),
    Machine("H200", 989e12, 4.8e12, 141e9),
)


def matrix_weights(config: GPTConfig) -> int:
    """The weights that a token is multiplied with: all matrices, and the table of scores.

    An embedding that is not tied is looked up, not multiplied: it does not count.
    """
    c = config
    attention = parameter_count(c.d_model, c.n_heads, c.n_kv_heads, bias=False)
    wide = 3 if c.activation == "swiglu" else 2
    block = attention + wide * c.d_model * c.d_ff
    return c.n_layers * block + c.vocab_size * c.d_model


def reading_work(
    config: GPTConfig, new: int, before: int = 0, batch: int = 1, n_bytes: float = 2
) -> Work:
    """The work of one forward pass over new tokens, after others that are in the cache.

    Each token costs 2 operations a weight, and 4 l d for each position it sees. Weights
    are read once for the whole batch, keys and values once for each text: new=1 is a step
    of generation, before=0 a prompt. Activations are taken to stay near the processor.
    """
    c = config
    seen = new * before + new * (new + 1) / 2
    kept = bytes_per_token(c.n_layers, c.n_kv_heads, c.d_head, n_bytes)
    weights = matrix_weights(c)
    return Work(
        flops=batch * (2 * weights * new + 4 * c.n_layers * c.d_model * seen),
        bytes=weights * n_bytes + batch * kept * (before + new),
    )


def window_mask(queries: Tensor, keys: Tensor, window: int, sinks: int = 0) -> Tensor:
    """Who may see whom, by position: the last `window` tokens, itself included.

    And the first `sinks` of the text, always. queries: (t,), keys: (s,), both positions
    ->  (t, s) Boolean, True = may attend.

    >>> window_mask(torch.tensor([4]), torch.arange(6), window=2, sinks=1).long()
    tensor([[1, 0, 0, 1, 1, 0]])
    """
    lag = queries[:, None] - keys
    return (lag >= 0) & ((lag < window) | (keys < sinks))


def window_places(positions: Tensor, window: int, sinks: int) -> tuple[Tensor, Tensor]:
    """Which of new positions will be seen again, and the place in memory of those.

    Position p is kept at p, and once sinks and window are full, where the oldest of the
    window was. positions: (t,)  ->  (t,) Boolean, (how many stay,).

    >>> window_places(torch.tensor([4, 5, 6]), window=2, sinks=1)
    (tensor([False,  True,  True]), tensor([1, 2]))
    """
    stays = (positions < sinks) | (positions > positions[-1] - window)
    kept = positions[stays]
    around = sinks + (kept - sinks) % window
    return stays, torch.where(kept < sinks, kept, around)


class WindowCache:
    """The last `window` positions of one layer, and the first `sinks`: memory that stays.

    Keys know their positions, so the order in which they lie does not matter. ValueError
    for a window under 1 or sinks under 0. Sources: Jiang et al. (2023), section 2, for the
    window that goes around; Xiao et al. (2024), section 3, for the first tokens.
    """

    def __init__(
        self, b: int, g: int, d_head: int, window: int, sinks: int = 0, **kind
    ):
        if window < 1 or sinks < 0:
            raise ValueError(
                "window must be 1 or more and sinks 0 or more; "
                f"got window={window}, sinks={sinks}"
            )
        self.k, self.v = torch.zeros(2, b, g, sinks + window, d_head, **kind)
        self.held = torch.zeros(sinks + window, dtype=torch.long)  # positions, by place
        self.window, self.sinks, self.length = window, sinks, 0

    def positions(self, t: int) -> Tensor:
        return torch.arange(self.length, self.length + t)

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        require_fit(self.k, k, v)
        new, n = self.positions(k.shape[-2]), min(self.length, len(self.held))
        if len(new) > 1:  # the first of the new still see what the last ones replace
            keys = torch.cat([self.k[:, :, :n], k], dim=2)
            values = torch.cat([self.v[:, :, :n], v], dim=2)
            held = torch.cat([self.held[:n], new])
            mask = window_mask(new, held, self.window, self.sinks).to(k.device)
        stays, places = window_places(new, self.window, self.sinks)
        self.held[places] = new[stays]
        stays, places = stays.to(k.device), places.to(k.device)
        self.k[:, :, places], self.v[:, :, places] = k[:, :, stays], v[:, :, stays]
        self.length += len(new)
        if len(new) > 1:
            return keys, values, mask
        n = min(self.length, len(self.held))  # one query sees all that is held
        return self.k[:, :, :n], self.v[:, :, :n], None

    def rewind(self, length: int) -> int:
        """Forget what stands after the first positions; all, if some of those are gone."""
        if length < self.length:
            self.length = length if self.length <= len(self.held) else 0
        return self.length


class OutOfBlocks(MemoryError):
    """A pool has fewer free blocks than are asked for; nothing was taken."""


class BlockPool:
    """Memory for keys and values of all layers, in blocks that texts take and give back.

    k and v: (l, n_blocks, block_size, g, k). A block may have several users. One without
    users is free, and still holds what it held until it is taken: the one first that has
    been free longest. known: {name of a block's tokens and all before them: the block}.
    """

    def __init__(self, model: GPT, n_blocks: int, block_size: int = 16):
        if n_blocks < 1 or block_size < 1:
            raise ValueError(
                "n_blocks and block_size must be 1 or more; "
                f"got n_blocks={n_blocks}, block_size={block_size}"
            )
        c, like = model.config, next(model.parameters()).detach()
        shape = c.n_layers, n_blocks, block_size, c.n_kv_heads, c.d_head
        self.k, self.v = like.new_zeros(2, *shape)
        self.block_size, self.users = block_size, [0] * n_blocks
        self.free = OrderedDict.fromkeys(range(n_blocks))
        self.known: dict[bytes, int] = {}
        self.name_of: dict[int, bytes] = {}

    def take(self, n: int) -> list[int]:
        """n free blocks, whose old content is forgotten; OutOfBlocks if there are fewer."""
        if n > len(self.free):
            raise OutOfBlocks(
                f"{n} blocks of {self.block_size} positions are needed, "
                f"{len(self.free)} of {len(self.users)} are free"
            )
        taken = [self.free.popitem(last=False)[0] for _ in range(n)]
        for block in taken:
            self.known.pop(self.name_of.pop(block, b""), None)
            self.users[block] = 1
        return taken

    def share(self, block: int) -> None:
        """One more user."""
        self.free.pop(block, None)
        self.users[block] += 1

    def release(self, block: int) -> None:
        """One user less."""
        self.users[block] -= 1
        if self.users[block] == 0:
            self.free[block] = None

    def remember(self, block: int, name: bytes) -> None:
        """The block is full, and others may share it."""
        if name not in self.known:
            self.known[name], self.name_of[block] = block, name


def block_name(before: bytes, tokens: Sequence[int]) -> bytes:
    """A name for a block's tokens after all before them: a hash, with the last name in it."""
    return sha256(before + array("q", tokens).tobytes()).digest()


class PagedText:
    """A text whose keys and values lie in blocks of a pool, wherever there was room.

    ids: all its tokens; length: for how many keys and values are there; blocks: the block
    table, in which position p is in block p // block_size; names: of its full blocks.
    """

    def __init__(self, pool: BlockPool, ids: Sequence[int]):
        self.pool, self.ids = pool, list(ids)
        self.blocks: list[int] = []
        self.names: list[bytes] = []
        self.length = 0

    def name(self, number: int) -> bytes:
        """The name of its full block of this number, the ones before being known."""
        size = self.pool.block_size
        before = self.names[-1] if self.names else b""
        return block_name(before, self.ids[number * size : (number + 1) * size])

    def adopt(self) -> None:
        """Share the blocks of other texts that begin as this one does.

        All but the last token at most: its scores are wanted, so it has to be computed.
        """
        for number in range((len(self.ids) - 1) // self.pool.block_size):
            name = self.name(number)
            if name not in self.pool.known:
                break
            self.blocks.append(self.pool.known[name])
            self.pool.share(self.blocks[-1])
            self.names.append(name)
        self.length = len(self.blocks) * self.pool.block_size

    def missing(self, n: int) -> int:
        """How many more blocks n more tokens need."""
        blocks = -(-(self.length + n) // self.pool.block_size)
        return max(0, blocks - len(self.blocks))

    def advance(self, n: int) -> None:
        """n more tokens have their keys and values: blocks that are full become known."""
        self.length += n
        for number in range(len(self.names), self.length // self.pool.block_size):
            self.names.append(self.name(number))
            self.pool.remember(self.blocks[number], self.names[-1])

    def release(self) -> None:
        """Give all blocks back, the last first: a start is worth more than an end."""
        while self.blocks:
            self.pool.release(self.blocks.pop())
        self.names.clear()
        self.length = 0


def filled_up(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of different lengths as one tensor, the short ones going on with their last.

    >>> filled_up([[1, 2, 3], [4]]).tolist()
    [[1, 2, 3], [4, 4, 4]]
    """
    longest = max(map(len, rows))
    return torch.tensor([[*row, *row[-1:] * (longest - len(row))] for row in rows])


class PagedStep:
    """What one forward pass over texts in a pool has to know, found once for all layers.

    counts: how many tokens of each text are new. Rows are filled up to the longest with
    tokens that nobody reads. OutOfBlocks, and nothing taken, where the pool is too small.
    """

    def __init__(self, texts: Sequence[PagedText], counts: Sequence[int]):
        pool, device = texts[0].pool, texts[0].pool.k.device
        missing = [text.missing(n) for text, n in zip(texts, counts, strict=True)]
        taken = iter(pool.take(sum(missing)))
        for text, n in zip(texts, missing, strict=True):
            text.blocks += [next(taken) for _ in range(n)]
        old, new = torch.tensor([[x.length for x in texts], list(counts)])[..., None]
        steps, s = torch.arange(max(counts)), int((old + new).max())
        self.positions = old + torch.minimum(steps, new - 1)  # (b, t)
        rows = [
            x.ids[x.length : x.length + n] for x, n in zip(texts, counts, strict=True)
        ]
        self.ids = filled_up(rows).to(device)
        table = filled_up([text.blocks for text in texts])  # (b, blocks of the longest)
        block = table.gather(1, self.positions // pool.block_size)
        slots = block * pool.block_size + self.positions % pool.block_size
        real = steps < new
        self.write = slots[real].to(device)  # where each new token goes
        self.real = None if real.all() else real.flatten().nonzero()[:, 0].to(device)
        self.s, self.blocks = s, table.flatten().to(device)
        self.mask = None
        if len(steps) > 1 or (old != old[0]).any():  # else everyone sees everything
            self.mask = self.positions[:, None, :, None] >= torch.arange(s)
            self.mask = self.mask.to(device)  # (b, 1, t, s)


class PagedLayer:
    """The cache of one layer during one step: writes into blocks, and gathers from them.

    k and v: (blocks, block_size, g, k), the layer's part of a pool.
    """

    def __init__(self, step: PagedStep, k: Tensor, v: Tensor):
        self.step, self.k, self.v = step, k, v

    def positions(self, t: int) -> Tensor:
        return self.step.positions

    def through(self, pages: Tensor, x: Tensor) -> Tensor:
        """Write the new x (b, g, t, k); read all of the texts, (b, g, s, k)."""
        new = x.transpose(1, 2).flatten(0, 1)  # (b t, g, k)
        new = new if self.step.real is None else new[self.step.real]
        pages.flatten(0, 1).index_copy_(0, self.step.write, new)
        read = pages.index_select(0, self.step.blocks)
        read = read.reshape(len(x), -1, *pages.shape[2:])  # (b, blocks size, g, k)
        return read[:, : self.step.s].transpose(1, 2)

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        return self.through(self.k, k), self.through(self.v, v), self.step.mask


@torch.no_grad()
def read_texts(model: GPT, texts: Sequence[PagedText], counts: Sequence[int]) -> Tensor:
    """Read the next counts[i] tokens of each text; the scores after the last: (b, n).

    All texts are of one pool. OutOfBlocks before anything is done; ValueError for a count
    that a text has not. Source: Kwon et al. (2023), section 4.
    """
    for text, n in zip(texts, counts, strict=True):
        if not 1 <= n <= len(text.ids) - text.length:
            raise ValueError(
                f"a text has {len(text.ids) - text.length} tokens to be read; got {n}"
            )
    step, pool = PagedStep(texts, counts), texts[0].pool
    caches = [PagedLayer(step, k, v) for k, v in zip(pool.k, pool.v, strict=True)]
    x = model.hidden(
        step.ids, positions=step.positions.to(pool.k.device), caches=caches
    )
    for text, n in zip(texts, counts, strict=True):
        text.advance(n)
    scores = model.scores(x[range(len(texts)), [n - 1 for n in counts]])
    return scores.to("cpu", torch.promote_types(scores.dtype, torch.float32))


@dataclass(eq=False)
class Request:
    """A text to be gone on with by n_new tokens, each drawn by its own sampler.

    text: prompt and what was drawn; error: what went wrong with it, if anything did.
    """

    text: PagedText
    prompt: int  # tokens
    n_new: int
    sampler: Sampler
    generator: torch.Generator | None = None
    error: Exception | None = field(default=None, init=False)

    @property
    def drawn(self) -> list[int]:
        return self.text.ids[self.prompt :]

    def draw(self, scores: Tensor) -> None:
        """One more token, from scores (n,); or its own error, and nobody else's."""
        ids = torch.tensor([self.text.ids])
        try:
            chances = self.sampler.probabilities(scores[None], ids)
            token = torch.multinomial(chances, 1, generator=self.generator)
        except (ValueError, RuntimeError) as error:
            self.error = error
        else:
            self.text.ids.append(int(token))

    @property
    def done(self) -> bool:
        return self.error is not None or len(self.drawn) >= self.n_new


def require_possible(
    model: GPT, pool: BlockPool, ids: Sequence[int], n_new: int
) -> None:
    """ValueError for a request that could never be met, even if it were alone."""
    n, config = len(ids), model.config
    if n < 1 or n_new < 1:
        raise ValueError(
            f"a prompt needs a token or more, n_new too; got {n} tokens, n_new={n_new}"
        )
    strange = [token for token in ids if not 0 <= token < config.vocab_size]
    if strange:
        raise ValueError(
            f"tokens must be from 0 to below {config.vocab_size}; got {strange[0]}"
        )
    if config.position == "learned" and n + n_new > config.context_length:
        raise ValueError(
            f"the model has {config.context_length} positions; got {n} tokens and "
            f"n_new={n_new}"
        )
    room = len(pool.users) * pool.block_size
    if n + n_new > room:
        raise ValueError(
            f"the whole pool has room for {room} tokens; got {n} and n_new={n_new}"
        )


def give_way(server: "Server") -> None:
    """Someone gives all blocks back: a half-read prompt, or else the youngest text."""
    if not (server.waiting and server.waiting[0].text.blocks):
        server.waiting.appendleft(server.running.pop())
    server.waiting[0].text.release()


def write_on(server: "Server") -> None:
    """All running texts go on by a token, in one pass."""
    while server.running:
        texts = [request.text for request in server.running]
        try:
            scores = read_texts(server.model, texts, [1] * len(texts))
        except OutOfBlocks:
            give_way(server)
            continue
        for request, row in zip(server.running, scores, strict=True):
            request.draw(row)
        return


def read_on(server: "Server") -> None:
    """A part of the first waiting prompt is read; after the last part it may run."""
    if not server.waiting or len(server.running) >= server.most:
        return
    request, text = server.waiting[0], server.waiting[0].text
    if not text.blocks:
        text.adopt()
    n = min(server.chunk, len(text.ids) - text.length)
    try:
        scores = read_texts(server.model, [text], [n])
    except OutOfBlocks:
        return  # others have them, and will be done
    if text.length == len(text.ids):
        server.running.append(server.waiting.popleft())
        request.draw(scores[0])


class Server:
    """Goes on with many texts at once: they join when there is room, and leave when done.

    A step goes on with all running texts by a token each, and reads a part, of at most
    `chunk` tokens, of the first waiting prompt; at most `most` texts run. When blocks run
    out, the youngest gives its own back and waits; it will be read again. ValueError for a
    model in training mode. Source: Yu et al. (2022), section 3; Kwon et al. (2023), 4.5.
    """

    def __init__(self, model: GPT, pool: BlockPool, most: int = 8, chunk: int = 64):
        require_answers(model)
        self.model, self.pool, self.most = model, pool, most
        self.chunk = min(chunk, model.config.context_length)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []

    def submit(
        self,
        ids: Sequence[int],
        n_new: int,
        sampler: Sampler,
        generator: torch.Generator | None = None,
    ) -> Request:
        """Let a text wait for its turn. ValueError for what could never be done."""
        require_possible(self.model, self.pool, ids, n_new)
        text = PagedText(self.pool, ids)
        request = Request(text, len(text.ids), n_new, sampler, generator)
        self.waiting.append(request)
        return request

    def cancel(self, request: Request) -> None:
        """Take a text out, wherever it stands, and give its blocks back."""
        for queue in (self.waiting, self.running):
            if request in queue:
                queue.remove(request)
        request.text.release()

    def step(self) -> list[Request]:
        """One turn; the requests that are done with it."""
        write_on(self)
        read_on(self)
        done = [request for request in self.running if request.done]
        for request in done:
            self.cancel(request)
        return done


def accept(
    drafted: Sequence[int], p: Tensor, q: Tensor, generator: torch.Generator | None
) -> list[int]:
    """Of the drafted tokens those that stand, and one more: together as if drawn from p.

    Token x stands with probability min(1, p(x) / q(x)); at the first that falls, one is
    drawn from what p has more than q. p: (m + 1, n), the target's chances at m drafted
    places and after; q: (m, n), the draft's. Sources: Leviathan, Kalman and Matias (2023),
    algorithm 1; Chen et al. (2023), algorithm 2.
    """
    for i, token in enumerate(drafted):
        if torch.rand((), generator=generator) * q[i, token] < p[i, token]:
            continue
        more = (p[i] - q[i]).clamp(min=0)
        more = more if more.any() else p[i]  # equal but for rounding
        return [*drafted[:i], int(torch.multinomial(more, 1, generator=generator))]
    return [*drafted, int(torch.multinomial(p[-1], 1, generator=generator))]


def speculate(
    target: CachedModel,
    draft: Step,
    ids: Tensor,
    n_new: int,
    ahead: int,
    sampler: Sampler,
    generator: torch.Generator | None = None,
) -> Iterator[list[int]]:
    """n_new tokens as the target would draw them, in rounds of 1 to ahead + 1.

    In each round the draft writes up to `ahead` tokens, one by one, and the target reads
    them all at once. ids: (1, t), the prompt. ValueError for several texts, ahead under 1.
    """
    if ids.ndim != 2 or len(ids) != 1 or ids.shape[1] == 0 or ahead < 1 or n_new < 0:
        raise ValueError(
            "speculate goes on with one text (1, t), t and ahead 1 or more, n_new 0 or "
            f"more; got shape {tuple(ids.shape)}, ahead={ahead}, n_new={n_new}"
        )
    while n_new > 0:
        text, q, t = ids, [], ids.shape[1]
        for _ in range(min(ahead, n_new - 1)):
            q.append(sampler.probabilities(draft(text), text))
            drawn = torch.multinomial(q[-1], 1, generator=generator)
            text = torch.cat([text, drawn], dim=1)
        scores = target.read(text, last=len(q) + 1)[0]
        p = [
            sampler.probabilities(row[None], text[:, : t + i])
            for i, row in enumerate(scores)
        ]
        new = accept(
            text[0, t:].tolist(), torch.cat(p), torch.cat([*q, p[-1]]), generator
        )
        yield new
        n_new -= len(new)
        ids = torch.cat([ids, torch.tensor([new])], dim=1)
