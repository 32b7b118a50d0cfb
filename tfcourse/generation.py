"""From scores to text: choosing the next token, again and again (chapter 12)."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tfcourse.bpe import Tokenizer, decode_stream
from tfcourse.gpt import GPT, GPTConfig


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """The k largest scores; the others become -inf. Of equals at the border, all stay.

    logits: (..., n)  ->  (..., n). ValueError for a k that is not a whole number from 1 on.
    Source: Fan, Lewis and Dauphin (2018), section 5.4.

    >>> keep_top_k(torch.tensor([1.0, 3.0, 2.0]), 2)
    tensor([-inf, 3., 2.])
    """
    if k < 1 or k != int(k):
        raise ValueError(
            f"top_k must be a whole number, 1 or more; got {k}: leave it out to keep all"
        )
    smallest = logits.topk(min(int(k), logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < smallest, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The likeliest tokens that together have a probability of p or more, and no others.

    logits: (..., n)  ->  (..., n), -inf outside. The likeliest always stays, and with
    p = 1 all do. ValueError for a p outside (0, 1]. Source: Holtzman et al. (2020), 3.1.

    >>> keep_top_p(torch.tensor([0.5, 0.3, 0.2]).log(), 0.6).exp()
    tensor([0.5000, 0.3000, 0.0000])
    """
    if not 0 < p <= 1:
        raise ValueError(
            f"top_p must be above 0 and at most 1; got {p}: 1 keeps all tokens"
        )
    if p == 1:
        return logits  # a sum of many small numbers may pass 1 before its end
    chances = logits.double().softmax(dim=-1)
    chances, order = chances.sort(dim=-1, descending=True, stable=True)
    before = F.pad(chances.cumsum(dim=-1)[..., :-1], (1, 0))  # of all that are likelier
    out = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(out, -torch.inf)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """The tokens at least p times as likely as the likeliest.

    logits: (..., n)  ->  (..., n), -inf outside. ValueError for a p outside 0 to 1.
    Source: Nguyen et al. (2024), section 3.

    >>> keep_min_p(torch.tensor([0.6, 0.3, 0.1]).log(), 0.4).exp()
    tensor([0.6000, 0.3000, 0.0000])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"min_p must be from 0 to 1; got {p}: 0 keeps all tokens")
    if p == 0:
        return logits
    least = logits.amax(dim=-1, keepdim=True) + math.log(p)
    return logits.masked_fill(logits < least, -torch.inf)


def penalize(
    logits: Tensor,
    ids: Tensor,
    presence: float = 0.0,
    frequency: float = 0.0,
    repetition: float = 1.0,
) -> Tensor:
    """Lower scores for tokens that were there before, the prompt's among them.

    presence is taken away once, frequency as often as the token occurs; repetition divides
    a score above 0 and multiplies one below. logits: (b, n), ids: (b, t)  ->  (b, n).
    ValueError for a repetition not above 0, or what is not finite. Sources: OpenAI's
    interface for the first two; for the third Keskar et al. (2019), section 4.1, who divide
    all scores.
    """
    given = {"presence": presence, "frequency": frequency, "repetition": repetition}
    for name, value in given.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number; got {value}")
    if not repetition > 0:
        raise ValueError(
            f"repetition must be above 0; got {repetition}: 1 changes nothing"
        )
    if (presence, frequency, repetition) == (0, 0, 1):
        return logits
    counts = torch.zeros_like(logits).scatter_add(
        -1, ids, torch.ones_like(ids).to(logits)
    )
    there = counts > 0
    divided = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(there, divided, logits)
    return logits - presence * there.to(logits) - frequency * counts


@dataclass(frozen=True)
class Sampler:
    """How the next token is drawn from the scores. ValueError for what cannot be done.

    In order: penalties, temperature, top_k, top_p, min_p; what is left out changes nothing.
    greedy=True takes the likeliest, after the penalties.

    >>> Sampler(temperature=0.5).probabilities(
    ...     torch.tensor([[1.0, 0.0]]), torch.tensor([[0]])
    ... )
    tensor([[0.8808, 0.1192]])
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    presence: float = 0.0
    frequency: float = 0.0
    repetition: float = 1.0
    greedy: bool = False

    def __post_init__(self):
        if not 0 < self.temperature < math.inf:
            raise ValueError(
                f"temperature must be above 0 and finite; got {self.temperature}: for "
                "the likeliest token, which is the limit at 0, say greedy=True"
            )
        scores, ids = torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long)
        self.kept(self.penalized(scores, ids))  # raises what these do

    def penalized(self, logits: Tensor, ids: Tensor) -> Tensor:
        """The scores after the penalties: (b, n), (b, t) before  ->  (b, n)."""
        return penalize(logits, ids, self.presence, self.frequency, self.repetition)

    def kept(self, logits: Tensor) -> Tensor:
        """The scores at this temperature, with -inf for tokens that are left out."""
        logits = logits / self.temperature
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        return keep_min_p(keep_top_p(logits, self.top_p), self.min_p)

    def probabilities(self, logits: Tensor, ids: Tensor) -> Tensor:
        """The chances of all tokens: (b, n), (b, t) before  ->  (b, n), rows sum to 1."""
        logits = self.penalized(logits, ids)
        if self.greedy:
            best = logits.argmax(dim=-1, keepdim=True)
            return torch.zeros_like(logits).scatter(-1, best, 1.0)
        return self.kept(logits).softmax(dim=-1)


Step = Callable[[Tensor], Tensor]


def next_scores(model: GPT, sliding: bool = False) -> Step:
    """What generate asks of a model: from all tokens so far to the scores of the next.

    ->  a function of (b, t) -> (b, n), both on the CPU. sliding: of a text longer than the
    context, the last context_length tokens are read, and the earlier ones forgotten; else
    such a text is refused with ValueError, as is a model in training mode.
    """
    if model.training:
        raise ValueError("dropout would change the answers: call model.eval() first")
    device, limit = next(model.parameters()).device, model.config.context_length

    def step(ids: Tensor) -> Tensor:
        if ids.shape[1] > limit and not sliding:
            raise ValueError(
                f"the text must fit into context_length={limit} tokens; it has "
                f"{ids.shape[1]}: shorten it, or let next_scores(model, sliding=True) "
                f"read only the last {limit}"
            )
        with torch.inference_mode():
            x = model.hidden(ids[:, -limit:].to(device))
            scores = model.scores(x[:, -1]).float()
        return scores.cpu().clone()  # out here: a tensor that may be changed in place

    return step


def generate(
    step: Step,
    ids: Tensor,
    n_new: int,
    sampler: Sampler,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """New tokens, one for each row at a time, each drawn after all before it.

    step: as next_scores gives it; ids: (b, t), the prompts  ->  n_new times (b,). What was
    drawn is never taken back. ValueError for an empty prompt or n_new below 0, and what
    step refuses.
    """
    if ids.ndim != 2 or 0 in ids.shape:
        raise ValueError(
            "a prompt needs a token or more, ids (b, t); got shape "
            f'{tuple(ids.shape)}: to begin with nothing, begin with a new line, "\\n"'
        )
    if n_new < 0:
        raise ValueError(f"n_new must be 0 or more; got {n_new}")

    def drawn(ids: Tensor) -> Iterator[Tensor]:
        for _ in range(n_new):
            chances = sampler.probabilities(step(ids), ids)
            if sampler.greedy:
                new = chances.argmax(dim=-1, keepdim=True)  # without touching the dice
            else:
                new = torch.multinomial(chances, 1, generator=generator)
            yield new[:, 0]
            ids = torch.cat([ids, new], dim=1)

    return drawn(ids)


def until(texts: Iterable[str], stops: Iterable[str]) -> Iterator[str]:
    """Parts of a text as they come, up to the first of the stop strings, without it.

    First is the one that is complete first. An end that a stop string could begin with is
    held back until that is known. ValueError for an empty stop string.

    >>> list(until(["a = 1", "\\n", "b"], ["\\nb"]))
    ['a = 1']
    """
    stops = [stops] if isinstance(stops, str) else list(stops)
    if "" in stops:
        raise ValueError("a stop string needs a character; got ''")
    begun = {stop[:n] for stop in stops for n in range(1, len(stop))}

    def parts() -> Iterator[str]:
        held = ""
        for text in texts:
            held += text
            at = {stop: held.index(stop) for stop in stops if stop in held}
            if at:
                _, end = min((start + len(stop), start) for stop, start in at.items())
                if end:
                    yield held[:end]
                return
            wait = max((len(b) for b in begun if held.endswith(b)), default=0)
            ready, held = held[: len(held) - wait], held[len(held) - wait :]
            if ready:
                yield ready
        if held:
            yield held

    return parts()


def complete(
    step: Step,
    tokenizer: Tokenizer,
    prompt: str,
    n_new: int,
    sampler: Sampler,
    *,
    stops: Iterable[str] = (),
    stop_ids: Iterable[int] = (),
    generator: torch.Generator | None = None,
) -> Iterator[str]:
    """What a model writes after a prompt, in parts as they come.

    It ends after n_new tokens, before the first of the stop strings, or before a token of
    stop_ids. ValueError for an empty prompt, and what step, generate and until refuse.
    """
    ids = torch.tensor([tokenizer.encode(prompt)], dtype=torch.long)
    drawn = map(int, generate(step, ids, n_new, sampler, generator))
    last = frozenset(stop_ids)
    going_on = takewhile(lambda token: token not in last, drawn)
    return until(decode_stream(tokenizer, going_on), stops)


def log_probability(
    step_all: Callable[[Tensor], Tensor], ids: Tensor, start: int
) -> Tensor:
    """How likely a model finds what stands from start on, given what stands before.

    step_all: a model, (b, t) -> (b, t, n); ids: (b, t), start: from 1 to t  ->  (b,), the
    sum of the log-probabilities, in nats: 0 of nothing. ValueError for another start.
    """
    if not 1 <= start <= ids.shape[1]:
        raise ValueError(
            f"start must be from 1 to {ids.shape[1]}, the length; got {start}: nothing "
            "stands before the first token that could make it likely"
        )
    with torch.inference_mode():
        scores = step_all(ids[:, :-1])[:, start - 1 :].float().log_softmax(dim=-1)
        each = scores.gather(-1, ids[:, start:, None].to(scores.device))
    return each.sum(dim=(1, 2)).cpu().clone()


def numpy_weights(model: GPT) -> tuple[Mapping[str, np.ndarray], GPTConfig]:
    """The weights of a model as NumPy arrays, by name, and its shape: for forward.

    ValueError for a model with other parts than forward has: RMS norms, turned heads,
    SwiGLU, no biases, one matrix for both ends.
    """
    config, needed = model.config, {"norm": "rms", "position": "rotary"}
    needed |= {"activation": "swiglu", "bias": False, "tied": True}
    for name, value in needed.items():
        if getattr(config, name) != value:
            raise ValueError(
                f"forward is written for {name}={value!r}; this model has "
                f"{getattr(config, name)!r}"
            )
    state = model.state_dict()
    return {
        name: tensor.float().cpu().numpy() for name, tensor in state.items()
    }, config


def rms_norm(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Each vector scaled to a mean square of 1, then the gain: (t, d) -> (t, d)."""
    return gain * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Weights that sum to 1 along the last axis; the largest score is taken off first."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def rotate(x: np.ndarray, base: float) -> np.ndarray:
    """Each head's pairs (i, i + k / 2) turned by their position: (h, t, k) -> (h, t, k)."""
    t, k = x.shape[-2:]
    angle = np.arange(t)[:, None] / base ** (np.arange(0, k, 2) / k)
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def attend(
    x: np.ndarray, qkv: np.ndarray, out: np.ndarray, config: GPTConfig
) -> np.ndarray:
    """Causal attention with several heads: (t, d) -> (t, d)."""
    h, g, t = config.n_heads, config.n_kv_heads, len(x)
    heads = (x @ qkv.T).reshape(t, h + 2 * g, -1).swapaxes(0, 1)
    q, k, v = np.split(heads, [h, h + g])
    q, k = rotate(q, config.base), rotate(k, config.base)
    k, v = k.repeat(h // g, axis=0), v.repeat(h // g, axis=0)
    scores = q @ k.swapaxes(1, 2) / np.float32(config.d_head**0.5)  # (h, t, s)
    scores[:, np.triu(np.ones((t, t), dtype=bool), 1)] = -np.inf
    mixed = softmax(scores) @ v
    return mixed.swapaxes(0, 1).reshape(t, -1) @ out.T


def think(x: np.ndarray, expand: np.ndarray, contract: np.ndarray) -> np.ndarray:
    """The feed-forward part with SwiGLU: (t, d) -> (t, d)."""
    gates, values = np.split(x @ expand.T, 2, axis=-1)
    opened = (
        gates * (1 + np.tanh(gates / 2)) / 2
    )  # gate sigmoid(gate), without overflow
    return (opened * values) @ contract.T


IN_A_BLOCK = (
    "attention.norm.gain",
    "attention.module.qkv.linear.weight",
    "attention.module.out.weight",
    "feed_forward.norm.gain",
    "feed_forward.module.expand.weight",
    "feed_forward.module.contract.weight",
)


def forward(
    ids: Sequence[int], weights: Mapping[str, np.ndarray], config: GPTConfig
) -> np.ndarray:
    """The whole of a GPT in NumPy: tokens (t,) in, scores of the next token (t, n) out."""
    x = weights["embedding.weight"][np.asarray(ids)]
    for i in range(config.n_layers):
        norm_1, qkv, out, norm_2, expand, contract = (
            weights[f"stack.blocks.{i}.{name}"] for name in IN_A_BLOCK
        )
        x = x + attend(rms_norm(x, norm_1), qkv, out, config)
        x = x + think(rms_norm(x, norm_2), expand, contract)
    return rms_norm(x, weights["stack.norm.gain"]) @ weights["embedding.weight"].T
