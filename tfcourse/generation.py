"""From scores to text: choosing the next token, again and again (chapter 12)."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tfcourse.bpe import Tokenizer, decode_stream
from tfcourse.gpt import GPT


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """The k largest scores; the others become -inf. Of equals at the border, all stay.

    logits: (..., n)  ->  (..., n). ValueError for a k under 1. Source: Fan et al. (2018).

    >>> keep_top_k(torch.tensor([1.0, 3.0, 2.0]), 2)
    tensor([-inf, 3., 2.])
    """
    if k < 1:
        raise ValueError(f"top_k must be 1 or more; got {k}")
    smallest = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < smallest, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The likeliest tokens that together have a probability of p or more, and no others.

    logits: (..., n)  ->  (..., n), -inf outside. The likeliest always stays. ValueError
    for a p outside (0, 1]. Source: Holtzman et al. (2020), section 3.1.

    >>> keep_top_p(torch.tensor([0.5, 0.3, 0.2]).log(), 0.6).exp()
    tensor([0.5000, 0.3000, 0.0000])
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1; got {p}")
    ordered, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
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
        raise ValueError(f"min_p must be from 0 to 1; got {p}")
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
    """Lower scores for tokens that were there before.

    presence is taken away once, frequency as often as the token occurs; repetition divides
    a score above 0 and multiplies one below. logits: (b, n), ids: (b, t)  ->  (b, n).
    ValueError for a repetition not above 0. Sources: OpenAI's interface for the first two;
    Keskar et al. (2019), section 4.1, for the third.
    """
    if not repetition > 0:
        raise ValueError(f"repetition must be above 0; got {repetition}")
    counts = torch.zeros_like(logits).scatter_add(
        -1, ids, torch.ones_like(ids).to(logits)
    )
    there = counts > 0
    divided = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(there, divided, logits)
    return logits - presence * there - frequency * counts


@dataclass(frozen=True)
class Sampler:
    """How the next token is drawn from the scores. ValueError for what cannot be done.

    In order: penalties, temperature, top_k, top_p, min_p; what is left out changes nothing.
    greedy=True takes the likeliest, after the penalties.
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
                f"temperature must be above 0; got {self.temperature}: for the likeliest "
                "token, which is the limit at 0, say greedy=True"
            )
        self.probabilities(torch.zeros(1, 1), torch.zeros(1, 0, dtype=torch.long))

    def probabilities(self, logits: Tensor, ids: Tensor) -> Tensor:
        """The chances of all tokens: (b, n), (b, t) before  ->  (b, n), rows sum to 1."""
        logits = penalize(logits, ids, self.presence, self.frequency, self.repetition)
        if self.greedy:
            best = logits.argmax(dim=-1, keepdim=True)
            return torch.zeros_like(logits).scatter(-1, best, 1.0)
        logits = logits / self.temperature
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        return keep_min_p(keep_top_p(logits, self.top_p), self.min_p).softmax(dim=-1)


Step = Callable[[Tensor], Tensor]


def next_scores(model: GPT) -> Step:
    """What generate asks of a model: from all tokens so far to the scores of the next.

    ->  a function of (b, t) -> (b, n), both on the CPU. More tokens than fit lose the
    earliest. ValueError for a model in training mode.
    """
    if model.training:
        raise ValueError("dropout would change the answers: call model.eval() first")
    device, limit = next(model.parameters()).device, model.config.context_length

    @torch.no_grad()
    def step(ids: Tensor) -> Tensor:
        x = model.hidden(ids[:, -limit:].to(device))
        return model.scores(x[:, -1]).float().cpu()

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
    drawn is never taken back. ValueError for an empty prompt or n_new below 0.
    """
    if ids.ndim != 2 or ids.shape[1] == 0:
        raise ValueError(
            f"a prompt needs a token or more, ids (b, t); got shape {tuple(ids.shape)}"
        )
    if n_new < 0:
        raise ValueError(f"n_new must be 0 or more; got {n_new}")
    for _ in range(n_new):
        chances = sampler.probabilities(step(ids), ids)
        drawn = torch.multinomial(chances, 1, generator=generator)
        yield drawn[:, 0]
        ids = torch.cat([ids, drawn], dim=1)


def until(texts: Iterable[str], stops: Iterable[str]) -> Iterator[str]:
    """Parts of a text as they come, up to the first of the stop strings, without it.

    The end of a part that a stop string could begin with is held back until that is known.
    ValueError for an empty stop string.

    >>> "".join(until(["a = 1", "\\n", "b"], ["\\n"]))
    'a = 1'
    """
    stops = list(stops)
    if "" in stops:
        raise ValueError("a stop string needs a character; got ''")
    longest, held = max(map(len, stops), default=0), ""
    for text in texts:
        held += text
        found = [held.index(stop) for stop in stops if stop in held]
        if found:
            yield held[: min(found)]
            return
        ready = max(0, len(held) - longest + 1) if longest else len(held)
        if ready:
            yield held[:ready]
            held = held[ready:]
    yield held


def complete(
    step: Step,
    tokenizer: Tokenizer,
    prompt: str,
    n_new: int,
    sampler: Sampler,
    *,
    stops: Iterable[str] = (),
    generator: torch.Generator | None = None,
) -> Iterator[str]:
    """What a model writes after a prompt, in parts as they come.

    It ends after n_new tokens, or before the first of the stop strings. ValueError for an
    empty prompt, and what the sampler, generate and until refuse.
    """
    ids = torch.tensor([tokenizer.encode(prompt)], dtype=torch.long)
    drawn = generate(step, ids, n_new, sampler, generator)
    return until(decode_stream(tokenizer, (int(token) for token in drawn)), stops)


def log_probability(
    step_all: Callable[[Tensor], Tensor], ids: Tensor, start: int
) -> Tensor:
    """How likely a model finds what stands from start on, given what stands before.

    step_all: a model, (b, t) -> (b, t, n)  ->  (b,), the sum of log-probabilities.
    """
    scores = step_all(ids[:, :-1]).log_softmax(dim=-1)
    each = scores.gather(-1, ids[:, 1:, None])[..., 0]
    return each[:, start - 1 :].sum(dim=-1)
