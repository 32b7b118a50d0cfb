"""Interactive figures: each is one class here and one plain ES module beside it.

In JupyterLab anywidget runs the module; in the published page the same text runs
without a kernel (book/_ext/course). Where no script runs, a still picture stands.
"""

import json
import math
import re
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import cache
from inspect import getdoc
from itertools import pairwise
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure

from tfcourse.data.packed import packed
from tfcourse.data.stored import WEIGHTS, stored_weights
from tfcourse.notebook import figures

__all__ = [
    "AttentionPlayground",
    "BitsAndGroups",
    "BlockTraveller",
    "CacheFilling",
    "ClockHands",
    "CodeModel",
    "CommandTranslator",
    "Directions",
    "HeadsSideBySide",
    "LearningRateSchedule",
    "MergeStepper",
    "ModelChoice",
    "NextToken",
    "RotaryScore",
    "RotateAndQuantize",
    "RowLookup",
    "ServingCalculator",
    "SoftLookup",
    "SoftmaxTemperature",
    "SpectralRadius",
    "TransitionTable",
    "VoteStepper",
]

HERE = Path(__file__).parent


def _module(*names: str) -> str:
    """The ES module of one figure: what all or some of them share, then its own text."""
    return "\n".join((HERE / f).read_text("utf-8") for f in ("_common.js", *names))


class InteractiveFigure(anywidget.AnyWidget):
    """A widget that also has a still picture, for paper and where no script runs."""

    _css = (HERE / "widgets.css").read_text("utf-8")

    def still(self) -> Figure:
        """The figure as it is set now, drawn by Matplotlib."""
        raise NotImplementedError

    def heavy(self) -> bytes:
        """What the figure loads only when it is asked to: nothing, in most."""
        return b""

    def svg(self) -> str:
        """The still picture as SVG, the same bytes on every run."""
        return figures.svg(self.still())

    def settings(self) -> dict:
        """The traits that the figure adds to those of every widget."""
        names = set(self.traits(sync=True)) - set(anywidget.AnyWidget.class_traits())
        return {n: getattr(self, n) for n in sorted(names) if not n.startswith("_")}

    def __repr__(self):
        return f"{type(self).__name__}: {getdoc(type(self)).splitlines()[0]}"

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "image/svg+xml": self.svg()}, metadata


class SpectralRadius(InteractiveFigure):
    """How a gradient fades or grows with the lag in a recurrence h ← f(W h).

    W = ρ·[[1, s], [0, 1]] has spectral radius ρ whatever the shear s; `slope` is the
    mean of f′ along the way. Drawn are the exact ‖(f′W)ᵏ‖₂, the eigenvalue's (f′ρ)ᵏ,
    and the bound (f′σ)ᵏ by the largest singular value σ of W.
    """

    _esm = _module("spectral_radius.js")
    rho = traitlets.Float(0.9).tag(sync=True)
    shear = traitlets.Float(1.0).tag(sync=True)
    slope = traitlets.Float(1.0).tag(sync=True)

    def still(self) -> Figure:
        lags = np.arange(61)
        factor = self.slope * self.rho * np.array([[1.0, self.shear], [0.0, 1.0]])
        powers = np.array([np.linalg.matrix_power(factor, lag) for lag in lags])
        return figures.lines(
            {
                "exact: ‖(f′W)ᵏ‖": (lags, np.linalg.norm(powers, 2, axis=(1, 2))),
                "eigenvalue: (f′ρ)ᵏ": (lags, (self.slope * self.rho) ** lags),
                "bound: (f′σ)ᵏ": (lags, np.linalg.norm(factor, 2) ** lags),
            },
            xlabel="lag k, in steps back in time",
            ylabel="largest gradient,\nrelative to its size now",
            logy=True,
        )


class SoftLookup(InteractiveFigure):
    """A dictionary that answers with a mixture of its values.

    `entries` are (key, value, degrees): unit vectors on a circle, and what each hands
    over. The query is one more, at `angle`; weights are softmax(sharpness · q·k).
    """

    _esm = _module("soft_lookup.js")
    entries = traitlets.List(
        [
            ["France", "Paris", 25],
            ["Italy", "Rome", 75],
            ["Japan", "Tokyo", 165],
            ["Egypt", "Cairo", 280],
        ]
    ).tag(sync=True)
    angle = traitlets.Int(40).tag(sync=True)
    sharpness = traitlets.Float(4.0).tag(sync=True)

    def still(self) -> Figure:
        keys, values, degrees = zip(*self.entries, strict=True)
        scores = np.cos(np.radians(self.angle - np.array(degrees)))
        powers = np.exp(self.sharpness * scores)
        return figures.bars(
            [f"{key} → {value}" for key, value in zip(keys, values, strict=True)],
            powers / powers.sum(),
            xlabel="key → the value it hands over",
            ylabel="weight in the answer",
            fmt=".2f",
        )


class RowLookup(InteractiveFigure):
    """A row of weights times a matrix: one-hot it picks a row, else it mixes them.

    `words` name the rows of `matrix`, and `weights` has one number from 0 to 1 for each.
    """

    _esm = _module("row_lookup.js")
    words = traitlets.List(["files", "find", "my"]).tag(sync=True)
    matrix = traitlets.List([[4.0, -1.0, 0.5], [-2.0, 3.0, 1.0], [0.0, 0.5, -3.0]]).tag(
        sync=True
    )
    weights = traitlets.List([0.2, 0.5, 0.3]).tag(sync=True)

    def still(self) -> Figure:
        weights, matrix = np.array([self.weights]), np.array(self.matrix)
        return figures.matrices(
            {"weights": weights, "matrix": matrix, "product": weights @ matrix},
            signs=["·", "="],
            fmt=".1f",
            row_labels={"matrix": self.words},
            column_labels={"weights": self.words},
        )


class TransitionTable(InteractiveFigure):
    """A first-order Markov model to edit, and commands drawn from it.

    `table` holds per cent, a row per word now and a column per word next; a row that
    does not sum to 100 is divided by its sum. A command runs from the first word to the
    last of `words`; `seed` starts the dice.
    """

    _esm = _module("transition_table.js")
    words = traitlets.List(
        ["show", "me", "my", "directories", "files", "photos", "please"]
    ).tag(sync=True)
    table = traitlets.List(
        [
            [0, 100, 0, 0, 0, 0, 0],
            [0, 0, 100, 0, 0, 0, 0],
            [0, 0, 0, 20, 30, 50, 0],
            [0, 0, 0, 0, 0, 0, 100],
            [0, 0, 0, 0, 0, 0, 100],
            [0, 0, 0, 0, 0, 0, 100],
            [100, 0, 0, 0, 0, 0, 0],
        ]
    ).tag(sync=True)
    seed = traitlets.Int(20).tag(sync=True)

    def still(self) -> Figure:
        return figures.heatmap(
            self.table,
            row_labels=self.words,
            column_labels=self.words,
            xlabel="next word",
            ylabel="word now",
            numbers=True,
            fmt="g",
        )


class VoteStepper(InteractiveFigure):
    """Pairs of words (one anywhere before, the last one) vote for the next word.

    `commands` are counted, and one of them, number `chosen`, is read up to `place`
    words. `mask` says, by last word, which earlier words are heard while `masked`.
    """

    _esm = _module("vote_stepper.js")
    commands = traitlets.List(
        [
            "check the program log and find out whether it ran please",
            "check the battery log and find out whether it ran down please",
        ]
    ).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)
    place = traitlets.Int(10).tag(sync=True)
    masked = traitlets.Bool(False).tag(sync=True)
    mask = traitlets.Dict({"ran": ["battery", "program"]}).tag(sync=True)

    def votes(self) -> dict[str, float]:
        """What the pairs say together, by next word."""
        read = self.commands[self.chosen].split()[: self.place]
        last, totals = read[-1], {}
        for word in dict.fromkeys(read[:-1]):
            after = self._after(word, last)
            heard = not self.masked or word in self.mask.get(last, [word])
            for following in after:
                share = heard * after.count(following) / len(after)
                totals.setdefault(following, {})[word] = share
        return {word: sum(shares.values()) for word, shares in totals.items()}

    def _after(self, word: str, last: str) -> list[str]:
        """What followed `last` in the commands where `word` stood before it."""
        found = []
        for words in (command.split() for command in self.commands):
            for t in range(1, len(words) - 1):
                if words[t] == last and word in words[:t]:
                    found.append(words[t + 1])
        return found

    def still(self) -> Figure:
        votes = self.votes()
        return figures.bars(list(votes), list(votes.values()), ylabel="votes", fmt="g")


class Directions(InteractiveFigure):
    """Words as points in space, and what becomes of some when directions are added.

    `words` and `directions` are [name, x, y, z]; each of the words in `starts` is moved
    by `first` times the first direction and `second` times the second. The space is
    seen from `turn` degrees round the vertical axis and `tilt` degrees up.
    """

    _esm = _module("directions.js")
    words = traitlets.List(
        [
            ["dog", 1.0, 0.5, 0.4],
            ["beagle", 0.9, 1.5, 0.7],
            ["terrier", 1.2, 0.5, 1.5],
            ["stray", 1.0, 1.6, 1.7],
            ["cat", -1.1, 0.1, 0.3],
            ["alley cat", -1.0, 0.3, 1.5],
        ]
    ).tag(sync=True)
    starts = traitlets.List(["dog", "cat"]).tag(sync=True)
    directions = traitlets.List(
        [["snack-seeking", -0.1, 1.0, 0.2], ["scruffy", 0.1, 0.0, 1.1]]
    ).tag(sync=True)
    first = traitlets.Float(0.9).tag(sync=True)
    second = traitlets.Float(0.5).tag(sync=True)
    turn = traitlets.Int(235).tag(sync=True)
    tilt = traitlets.Int(15).tag(sync=True)

    def seen(self, points) -> np.ndarray:
        """The points (m, 3) as they are seen: (m, 2), across and up."""
        x, y, z = np.asarray(points, dtype=float).T
        turn, tilt = np.radians([self.turn, self.tilt])
        towards = x * np.cos(turn) + y * np.sin(turn)
        across = y * np.cos(turn) - x * np.sin(turn)
        return np.stack([across, z * np.cos(tilt) - towards * np.sin(tilt)], axis=1)

    def journey(self, start: str) -> np.ndarray:
        """The place of a word, after the first direction, and after the second."""
        place = next(place for name, *place in self.words if name == start)
        steps = zip((self.first, self.second), self.directions, strict=False)
        moves = [amount * np.array(d[1:]) for amount, d in steps]
        return np.cumsum([place, *moves], axis=0)

    def still(self) -> Figure:
        names, *places = zip(*self.words, strict=True)
        flat = self.seen(np.stack(places, axis=1))
        paths = [self.seen(self.journey(start)) for start in self.starts]
        return figures.plane(
            {"": [(n, *at) for n, at in zip(names, flat, strict=True)]},
            xlabel=f"across, seen from {self.turn}° round",
            ylabel=f"up, seen from {self.tilt}° above",
            arrows=[pair for path in paths for pair in pairwise(path)],
            equal=True,
        )


class AttentionPlayground(InteractiveFigure):
    """Attention over a short sentence: scores, weights and the mix of the values.

    `table` holds six numbers a word, its query, key and value; those of other words are
    made from their letters, and mean nothing. The word number `place` asks, with the
    query (`across`, `up`); behind a `causal` mask it does not see the words after it.
    """

    _esm = _module("_drag.js", "attention_playground.js")
    sentence = traitlets.Unicode("the cat sat on the mat because it was tired").tag(
        sync=True
    )
    table = traitlets.Dict(
        {
            "the": [0.9, 0.0, -0.6, -0.8, -1.2, -1.0],
            "cat": [-1.0, 1.2, 1.2, 1.5, 1.5, 0.9],
            "sat": [1.2, 1.0, -1.2, 0.7, 0.2, 1.7],
            "on": [1.4, -1.0, -1.5, -0.9, -0.7, 0.3],
            "mat": [0.3, -0.6, 1.7, -1.2, 1.0, -1.4],
            "because": [-1.0, 0.9, -0.8, -1.6, -1.5, 0.7],
            "it": [2.3, 1.0, 0.5, 0.4, 0.3, 0.0],
            "was": [0.4, 1.8, -1.6, 0.1, -0.5, -0.6],
            "tired": [1.0, 2.0, -0.4, 1.6, -1.1, 1.6],
        }
    ).tag(sync=True)
    axes = traitlets.List(["names a thing", "is alive"]).tag(sync=True)
    across = traitlets.Float(2.3).tag(sync=True)
    up = traitlets.Float(1.0).tag(sync=True)
    place = traitlets.Int(7).tag(sync=True)
    causal = traitlets.Bool(False).tag(sync=True)

    def vectors(self, word: str) -> np.ndarray:
        """Query, key and value of a word: (3, 2)."""
        name = re.sub(r"[\W_]", "", word.lower()) or word
        return np.reshape(self.table.get(name, _hashed(name)), (3, 2))

    def attend(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The scores and the weights of the words, and the mix of their values."""
        words = self.sentence.split()[:12]
        if not words:
            raise ValueError("the sentence has no word: there is nothing to attend to")
        _, keys, values = np.stack([self.vectors(word) for word in words], axis=1)
        scores = keys @ (self.across, self.up) / np.sqrt(2)
        hidden = self.causal & (np.arange(len(words)) > self.place)
        powers = np.where(hidden, 0.0, np.exp(scores - scores[~hidden].max()))
        weights = powers / powers.sum()
        return scores, weights, weights @ values

    def still(self) -> Figure:
        _, weights, _ = self.attend()
        words = self.sentence.split()[: len(weights)]
        asks = words[min(self.place, len(words) - 1)]
        return figures.bars(
            words, weights, ylabel=f"weight, when “{asks}” asks", fmt=".2f"
        )


def _hashed(word: str) -> list[float]:
    """Six numbers from −1.6 to 1.6 for any letters (FNV-1a), as in the browser."""
    numbers = []
    for number in range(6):
        state = 0x811C9DC5
        for sign in f"{number}{word}":
            state = (state ^ ord(sign)) * 0x01000193 % 2**32
        numbers.append((state % 33 - 16) / 10)
    return numbers


class SoftmaxTemperature(InteractiveFigure):
    """The softmax of a few scores at a temperature, beside the scores merely rescaled.

    `scores` are three to five numbers from -3 to 5, `temperature` is from 0.1 to 10.
    Rescaled is score / sum of the scores, where that sum is not 0.
    """

    _esm = _module("_lens.js", "_softmax.js", "softmax_temperature.js")
    scores = traitlets.List([2.0, 1.0, 0.0]).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)

    def softmax(self) -> np.ndarray:
        """The weights, one for each score."""
        scores = np.array(self.scores) / self.temperature
        powers = np.exp(scores - scores.max())
        return powers / powers.sum()

    def still(self) -> Figure:
        bars = {"softmax of": self.softmax()}
        if abs(sum(self.scores)) > 1e-9:
            bars["share of"] = np.array(self.scores) / sum(self.scores)
        return figures.bars(
            [f"{kind} {score:g}" for kind in bars for score in self.scores],
            np.concatenate(list(bars.values())),
            ylabel="weight",
            fmt=".2f",
        )


TOY = ("the", "cat", "sat", "on", "the", "mat", "because", "it", "was", "tired")


def _toy_heads() -> list:
    """Weights of three heads, made by hand: the word before, the noun meant, all alike."""
    n = len(TOY)
    scores = np.zeros((3, n, n))
    scores[0, range(n), [0, *range(n - 1)]] = 4.0
    meant = [1, 1, 1, 5, 5, 5, 9, 1, 7, 1]  # for each word, the one that it belongs to
    scores[1, range(n), meant] = 4.0
    powers = np.exp(scores)
    return np.round(powers / powers.sum(-1, keepdims=True), 3).tolist()


class HeadsSideBySide(InteractiveFigure):
    """Attention maps of several heads side by side, one query lit in all of them.

    `weights` are (heads, queries, keys) over `tokens`, `jobs` says for each head what it
    looks for, and `query` is the number of the token whose row is lit.
    """

    _esm = _module("heads_side_by_side.js")
    tokens = traitlets.List(list(TOY)).tag(sync=True)
    weights = traitlets.List(_toy_heads()).tag(sync=True)
    jobs = traitlets.List(
        ["the word before", "the noun that is meant", "all alike"]
    ).tag(sync=True)
    query = traitlets.Int(7).tag(sync=True)

    def strongest(self) -> list[tuple[int, float]]:
        """For each head the key that the query looks at most, and its weight."""
        rows = self._checked()[:, self.query]
        return [(int(row.argmax()), float(row.max())) for row in rows]

    def _checked(self) -> np.ndarray:
        """The weights as an array, once tokens, weights and jobs fit together."""
        weights, n = np.array(self.weights, dtype=float), len(self.tokens)
        if weights.shape != (len(self.jobs), n, n):
            raise ValueError(
                f"{len(self.jobs)} jobs and {n} tokens need weights of shape "
                f"{(len(self.jobs), n, n)}; got {weights.shape}"
            )
        if not 0 <= self.query < n:
            raise ValueError(f"query must be from 0 to {n - 1}; got {self.query}")
        return weights

    def still(self) -> Figure:
        return figures.heatmap(
            self._checked()[:, self.query],
            row_labels=self.jobs,
            column_labels=self.tokens,
            xlabel=f"key → (the query is “{self.tokens[self.query]}”)",
            ylabel="head",
            numbers=True,
        )


def _speeds(width: int, base: float) -> np.ndarray:
    """How far each pair turns in a step, in radians: base^(-2i / width)."""
    if width < 2 or width % 2:
        raise ValueError(f"the width must be even: each pair turns; got {width}")
    return float(base) ** (-np.arange(0, width, 2) / width)


class ClockHands(InteractiveFigure):
    """Sinusoidal positions as hands of clocks, from fast to slow, for two positions.

    Hand i, of width / 2, turns by base^(-2i / width) radians a step, clockwise; its sine
    and its cosine are two of the width numbers of a position. `position` and `other` go
    from 0 to `last`.
    """

    _esm = _module("clock_hands.js")
    width = traitlets.Int(12).tag(sync=True)
    base = traitlets.Float(1000.0).tag(sync=True)
    last = traitlets.Int(63).tag(sync=True)
    position = traitlets.Int(21).tag(sync=True)
    other = traitlets.Int(18).tag(sync=True)

    def sinusoids(self, position: int) -> np.ndarray:
        """Sine and cosine of each hand, one beside the other: (width,)."""
        turned = position * _speeds(self.width, self.base)
        return np.stack([np.sin(turned), np.cos(turned)], axis=-1).ravel()

    def still(self) -> Figure:
        places = (self.position, self.other)
        return figures.heatmap(
            [self.sinusoids(place) for place in places],
            row_labels=[f"position {place}" for place in places],
            column_labels=[
                f"{wave} {i}" for i in range(self.width // 2) for wave in ("sin", "cos")
            ],
            signed=True,
            numbers=True,
        )


class RotaryScore(InteractiveFigure):
    """The score of a query and a key that are turned by their positions, by the lag.

    Pair i is the numbers 2i and 2i + 1 of the first `width` of `query` and `key`, and
    turns by base^(-2i / width) radians a step. `query_position` and `key_position` go
    from 0 to 63; the part of the score that `pair` adds is shown too, none for -1.
    """

    _esm = _module("_drag.js", "_lens.js", "rotary_score.js")
    query = traitlets.List([1.0, 0.0] * 16).tag(sync=True)
    key = traitlets.List([1.0, 0.0] * 16).tag(sync=True)
    width = traitlets.Int(16).tag(sync=True)
    base = traitlets.Float(10_000.0).tag(sync=True)
    query_position = traitlets.Int(24).tag(sync=True)
    key_position = traitlets.Int(19).tag(sync=True)
    pair = traitlets.Int(1).tag(sync=True)

    def parts(self, lags) -> np.ndarray:
        """What each pair adds to the score at each lag: (lags, pairs)."""
        speeds = _speeds(self.width, self.base)
        if min(len(self.query), len(self.key)) < self.width:
            raise ValueError(
                f"query and key need {self.width} numbers, the width, or more; "
                f"got {len(self.query)} and {len(self.key)}"
            )
        if not -1 <= self.pair < len(speeds):
            raise ValueError(
                f"pair must be from -1 to {len(speeds) - 1}; got {self.pair}"
            )
        q, k = (
            np.array(vector[: self.width], dtype=float).view(complex)
            for vector in (self.query, self.key)
        )
        turned = np.exp(1j * np.asarray(lags)[..., None] * speeds)
        return (q * turned * k.conj()).real

    def still(self) -> Figure:
        lags, lag = np.arange(-63, 64), self.query_position - self.key_position
        parts = self.parts(lags)
        curves = {"score, all pairs": (lags, parts.sum(-1))}
        if self.pair >= 0:
            curves[f"the part of pair {self.pair}"] = (lags, parts[:, self.pair])
        curves[f"lag {lag}"] = ([lag], [self.parts(lag).sum()])
        return figures.lines(
            curves, xlabel="lag p - r, in positions", ylabel="score, not scaled"
        )


STATIONS = {
    "pre-norm": [
        "stream in",
        *("norm", "attention adds", "sum"),
        *("norm", "feed-forward adds", "sum, out"),
    ],
    "post-norm": [
        "stream in",
        *("attention adds", "sum", "norm"),
        *("feed-forward adds", "sum", "norm, out"),
    ],
}


def _toy_travels(words: int = 3) -> dict:
    """Stations of a block without weights: attention looks back at all words alike."""
    turns = np.arange(words)[:, None] + np.arange(6)
    x = np.sin(2.3 * turns) + 0.5 * np.cos(turns**2)
    share = np.tril(np.ones((words, words))) / np.arange(1, words + 1)[:, None]

    def norm(x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)

    travels = {"pre-norm": [x], "post-norm": [x]}
    for adds in (lambda x: share @ x, lambda x: np.maximum(x, 0)):
        pre, post = travels.values()
        added = adds(norm(pre[-1]))
        pre += [norm(pre[-1]), added, pre[-1] + added]
        total = post[-1] + adds(post[-1])
        post += [adds(post[-1]), total, norm(total)]
    return {name: np.round(way, 3).tolist() for name, way in travels.items()}


class BlockTraveller(InteractiveFigure):
    """The vector of one token on its way through a block, station by station.

    `stations` holds, for "pre-norm" and for "post-norm", the vectors at each of the
    stations in `names`, (stations, tokens, d_model); `weights`, what attention takes
    from each token, (tokens, tokens), the mean over the heads. The token number
    `token` travels, and has come to number `station`.
    """

    _esm = _module("block_traveller.js")
    tokens = traitlets.List(["the", "cat", "sat"]).tag(sync=True)
    names = traitlets.Dict(STATIONS).tag(sync=True)
    stations = traitlets.Dict(_toy_travels()).tag(sync=True)
    weights = traitlets.Dict(
        {p: [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.333, 0.333, 0.333]] for p in STATIONS}
    ).tag(sync=True)
    placement = traitlets.Enum(list(STATIONS), "pre-norm").tag(sync=True)
    token = traitlets.Int(2).tag(sync=True)
    station = traitlets.Int(2).tag(sync=True)

    def travel(self) -> np.ndarray:
        """The vectors of the chosen token where the norm stands as chosen: (7, d_model)."""
        n = len(self.tokens)
        for placement, names in self.names.items():
            shape = np.shape(self.stations[placement])
            if len(shape) != 3 or shape[:2] != (len(names), n):
                raise ValueError(
                    f"{len(names)} stations of {n} tokens, {placement}, need vectors "
                    f"of shape {(len(names), n)} and their width; got {shape}"
                )
            shape = np.shape(self.weights[placement])
            if shape != (n, n):
                raise ValueError(
                    f"{n} tokens, {placement}, need weights {(n, n)}; got {shape}"
                )
        for name, stop in (("token", n), ("station", len(names))):
            if not 0 <= getattr(self, name) < stop:
                raise ValueError(
                    f"{name} must be from 0 to {stop - 1}; got {getattr(self, name)}"
                )
        return np.array(self.stations[self.placement], dtype=float)[:, self.token]

    def still(self) -> Figure:
        vectors = self.travel()
        lengths = np.linalg.norm(vectors, axis=1)
        return figures.heatmap(
            vectors,
            row_labels=[
                f"{name}  ({length:.1f})"
                for name, length in zip(
                    self.names[self.placement], lengths, strict=True
                )
            ],
            xlabel=f"number of the vector → (“{self.tokens[self.token]}”, "
            f"{self.placement}; in brackets, its length)",
            scale="value",
            signed=True,
        )


MOST, FOLDERS = 8, 5  # lines, or names of a folder; and folders


def _changed(names: list[str]) -> list[dict]:
    """By folder, how many names there are, and the first of them."""
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, _, last = name.rstrip("/").rpartition("/")
        end = "/" if name.endswith("/") else ""
        folders.setdefault(f"{folder}/", []).append(last + end)
    kept = dict(list(folders.items())[:FOLDERS])
    if left := [name for f in list(folders)[FOLDERS:] for name in folders[f]]:
        kept["in other folders"] = left
    return [
        {"folder": folder, "count": len(found), "names": found[: MOST // 2]}
        for folder, found in kept.items()
    ]


def _case(given: dict) -> dict:
    """A case as the figure keeps it: checked, and no longer than a page can show."""
    words, tokens = given["english"].split(), given["shell"].split()
    weights = np.array(given["weights"], dtype=float)
    shape = len(tokens) + 1, len(words)
    if not words or weights.ndim != 3 or weights.shape[1:] != shape:
        raise ValueError(
            f"{len(tokens)} tokens with their end, and {len(words)} words need weights "
            f"of shape (heads, {shape[0]}, {shape[1]}); got {weights.shape}"
        )
    said = list(given.get("said", ()))
    return {
        "english": " ".join(words),
        "shell": " ".join(tokens),
        "weights": np.round(weights, 2).tolist(),
        "fault": given.get("fault", ""),
        "said": said[:MOST],
        "lines": len(said),
        **{kind: _changed(given.get(kind, ())) for kind in ("added", "taken")},
        "wanted": given.get("wanted", ""),
        "right": given.get("right"),
    }


def _toy_case() -> dict:
    """A command with attention made by hand: a head that looks at words, one at all."""
    words = ["count", "my", "photos"]
    meant = [2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0]  # for each token, its word
    scores = np.zeros((2, len(meant), len(words)))
    scores[0, range(len(meant)), meant] = 3.0
    powers = np.exp(scores)
    return {
        "english": " ".join(words),
        "shell": "find . -type f -name '*.jpg' -print | wc -l",
        "weights": powers / powers.sum(-1, keepdims=True),
        "said": ["48"],
    }


class CommandTranslator(InteractiveFigure):
    """An English command, its translation token by token, and what comes of it.

    Each of `cases` is a dict: "english", "shell", and "weights", the last layer's
    cross-attention (heads, tokens and their end, words); and what the command does:
    "said", the lines, "added" and "taken", names with their folders, or "fault", why it
    is none; "right", whether that was asked for, and "wanted", the reference, if known.
    Shown is number `chosen`, up to `token`, with the weights of `head`, -1 for the mean.
    `translate` makes such a dict of a sentence that is typed, where Python runs; what it
    raises is shown.
    """

    _esm = _module("command_translator.js")
    cases = traitlets.List().tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(-1).tag(sync=True)
    token = traitlets.Int(5).tag(sync=True)
    live = traitlets.Bool(False).tag(sync=True)
    trouble = traitlets.Unicode("").tag(sync=True)
    answered = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        cases: list[dict] | None = None,
        translate: Callable[[str], dict] | None = None,
        **settings,
    ):
        kept = [_case(case) for case in cases or [_toy_case()]]
        super().__init__(cases=kept, live=translate is not None, **settings)
        self._translate, self._recorded = translate, len(kept)
        self.on_msg(lambda _, content, buffers: self.ask(str(content["sentence"])))

    def ask(self, sentence: str) -> None:
        """Translate a sentence and show it, or the trouble that it gives."""
        try:
            if self._translate is None:
                raise ValueError("the figure was made without translate=")
            case = _case(self._translate(sentence))
        except Exception as error:  # noqa: BLE001 - the reader sees it in the figure
            self.trouble = str(error) or type(error).__name__
        else:
            self.trouble = ""
            self.cases = [*self.cases[: self._recorded], case]
            self.token = len(case["shell"].split())
            self.chosen = self._recorded
        self.answered += 1

    def aligned(self) -> np.ndarray:
        """The weights that are shown: (tokens and their end, words)."""
        for name, low, stop in (
            ("chosen", 0, len(self.cases)),
            ("head", -1, len(self.cases[0]["weights"])),
        ):
            if not low <= getattr(self, name) < stop:
                raise ValueError(
                    f"{name} must be from {low} to {stop - 1}; "
                    f"got {getattr(self, name)}"
                )
        weights = np.array(self.cases[self.chosen]["weights"])
        return weights.mean(axis=0) if self.head < 0 else weights[self.head]

    def still(self) -> Figure:
        weights, case = self.aligned(), self.cases[self.chosen]
        return figures.heatmap(
            weights.T,
            row_labels=case["english"].split(),
            column_labels=[*case["shell"].split(), "<end>"],
            xlabel="token that is written →",
            ylabel="word that is read ↓",
            scale="weight",
        )


BYTES = [*range(33, 127), *range(161, 173), *range(174, 256)]  # those with a face
BYTES += [*range(33), *range(127, 161), 173]  # by their ids
FACES = [chr(byte if i < 188 else 68 + i) for i, byte in enumerate(BYTES)]
WORDS = r"'(?:[sdmt]|ll|ve|re)| ?[a-z]+| ?0+| ?['!]+|\s+(?!\S)|\s+"


def _kind(character: str) -> str:
    """What stands for a character where words are cut, by GPT-2's pattern."""
    if character in "'sdmtlver ":
        return character
    if character.isspace() and not "\x1c" <= character <= "\x1f":
        return "\n"
    return {"L": "a", "N": "0"}.get(unicodedata.category(character)[0], "!")


def _cut(text: str) -> list[str]:
    """A text cut into words, as GPT-2's pattern does it."""
    kinds = "".join(map(_kind, text))
    return [text[found.start() : found.end()] for found in re.finditer(WORDS, kinds)]


def _merges(lines: list[str]) -> tuple[list[str], list[str]]:
    """The face of each id, and each merge as two characters, numbered by the ids."""
    ids = {face: i for i, face in enumerate(FACES)}
    merges = []
    for number, line in enumerate(lines, start=1):
        left, _, right = line.partition(" ")
        if left not in ids or right not in ids or left + right in ids:
            raise ValueError(
                f"merge {number} must be two known pieces with a space between them, "
                f"which make a new one; got {line!r}"
            )
        merges.append(chr(ids[left]) + chr(ids[right]))
        ids[left + right] = len(ids)
    return list(ids), merges


class MergeStepper(InteractiveFigure):
    """Byte pair encoding of a text that is typed, merge by merge, forward and back.

    `tokenizer_merges` are lines of two readable pieces, such as "Ġ t", in the order of
    learning; ids are 256 bytes, then merges, as in GPT-2. A step applies the first merge
    that the words of `text` still allow, to all its places; `step` are done.
    ValueError names the first line that is no merge.
    """

    _esm = _module("merge_stepper.js")
    tokenizer_merges = traitlets.List(
        [
            *("e s", "es t", "l o", "lo w", "e w", "n ew", "new est", "d est"),
            *("i dest", "w idest", "e r", "low er"),
        ]
    ).tag(sync=True)
    text = traitlets.Unicode("the lowest of the newer").tag(sync=True)
    step = traitlets.Int(3).tag(sync=True)

    @traitlets.validate("tokenizer_merges")
    def _check_merges(self, proposal) -> list[str]:
        _merges(proposal["value"])
        return proposal["value"]

    def steps(self) -> list[tuple[int, list[str]]]:
        """The merge of each step, and its words in symbols, chr(id); first (-1, bytes)."""
        _, merges = _merges(self.tokenizer_merges)
        ranks = {pair: rank for rank, pair in enumerate(merges)}
        symbols = {byte: chr(i) for i, byte in enumerate(BYTES)}
        words = ["".join(symbols[byte] for byte in w.encode()) for w in _cut(self.text)]
        found = [(-1, words)]
        while True:
            pairs = {a + b for word in words for a, b in pairwise(word)}
            rank = min((ranks[pair] for pair in pairs & ranks.keys()), default=-1)
            if rank < 0:
                return found
            words = [w.replace(merges[rank], chr(len(FACES) + rank)) for w in words]
            found.append((rank, words))

    def pieces(self) -> list[list[int]]:
        """The ids of the pieces of each word after `step` steps."""
        steps = self.steps()
        if not 0 <= self.step < len(steps):
            raise ValueError(
                f"step must be from 0 to {len(steps) - 1}; got {self.step}"
            )
        return [list(map(ord, word)) for word in steps[self.step][1]]

    def still(self) -> Figure:
        faces, _ = _merges(self.tokenizer_merges)
        words, made = self.pieces(), len(FACES) + self.steps()[self.step][0]
        count, size = sum(map(len, words)), len(self.text.encode())
        return figures.boxes(
            [[(faces[i], str(i)) for i in word] for word in words],
            title=f"step {self.step}: {size} bytes in {count} pieces",
            marked=[str(made)] if self.step else [],
        )


def _own_style(name: str) -> str:
    """The style of all figures, and what one adds to it."""
    return InteractiveFigure._css + (HERE / name).read_text("utf-8")


class CacheFilling(InteractiveFigure):
    """A cache of keys and values that fills, step by step, and what it saves.

    The `prompt` first words are read at once, then one a step; `step` are done. Of kind
    "whole" it keeps all of `words`, as "window" the last `window` and the first `sinks`. As
    "blocks" the cache is `n_blocks` of `block_size`, and `others`, one step behind, share
    those that are full where they begin alike. Products are those of a layer of `width`.
    """

    _esm = _module("cache_filling.js")
    _css = _own_style("cache_filling.css")
    kind = traitlets.Enum(["whole", "window", "blocks"], "whole").tag(sync=True)
    words = traitlets.List(
        ["the", "cat", "sat", "on", "the", "mat", "because", "it", "was", "so", "tired"]
    ).tag(sync=True)
    others = traitlets.List(
        ["the", "cat", "sat", "on", "the", "mat", "and", "then", "it", "slept", "well"]
    ).tag(sync=True)
    prompt = traitlets.Int(6, min=1).tag(sync=True)
    window = traitlets.Int(5, min=1).tag(sync=True)
    sinks = traitlets.Int(1, min=0).tag(sync=True)
    block_size = traitlets.Int(4, min=1).tag(sync=True)
    n_blocks = traitlets.Int(6, min=1).tag(sync=True)
    width = traitlets.Int(256).tag(sync=True)
    step = traitlets.Int(4, min=0).tag(sync=True)

    def count(self) -> int:
        """How many steps there are. ValueError for a text that is shorter than its prompt."""
        texts = [self.words, self.others] if self.kind == "blocks" else [self.words]
        if min(map(len, texts)) < self.prompt:
            raise ValueError(
                f"the texts need {self.prompt} words or more, as the prompt"
            )
        return max(len(text) - self.prompt + 1 + i for i, text in enumerate(texts))

    def memory(self) -> list[tuple[int, int] | None]:
        """What is at each place after the steps: (text, position), or None."""
        if not 0 <= self.step <= self.count():
            raise ValueError(f"step must be from 0 to {self.count()}; got {self.step}")
        if self.kind == "blocks":
            return self._blocks()
        n = self.step and self.prompt + self.step - 1
        if self.kind == "whole":
            return [(0, p) if p < n else None for p in range(len(self.words))]
        places = [None] * (self.sinks + self.window)
        for p in range(n):
            late = p - self.sinks
            places[p if late < 0 else self.sinks + late % self.window] = (0, p)
        return places

    def _alike(self, read: int) -> int:
        """How many blocks the second text shares of the first, so far read: full, and alike.

        Never with the last word of its prompt, which is computed for its scores.
        """
        ends = range(self.block_size, min(read, self.prompt - 1) + 1, self.block_size)
        return sum(self.words[:end] == self.others[:end] for end in ends)

    def _blocks(self) -> list[tuple[int, int] | None]:
        size, texts, tables = self.block_size, (self.words, self.others), ([], [])
        places, free = [None] * (self.n_blocks * size), list(range(self.n_blocks))
        lengths = [0, 0]
        for step in range(1, self.step + 1):
            for i, table in enumerate(tables[:step]):  # the second begins a step later
                start, goal = lengths[i], min(self.prompt + step - 1 - i, len(texts[i]))
                if start == goal:  # it is done, and gives back
                    free += [b for b in reversed(table) if b not in tables[1 - i]]
                    table.clear()
                    continue
                if i and not start:
                    table += tables[0][: self._alike(lengths[0])]
                    start = len(table) * size
                missing = -(-goal // size) - len(table)
                if missing > len(free):
                    raise ValueError(f"n_blocks={self.n_blocks} are too few")
                table += [free.pop(0) for _ in range(missing)]
                for p in range(start, goal):
                    places[table[p // size] * size + p % size] = (i, p)
                lengths[i] = goal
        return places

    def still(self) -> Figure:
        memory, texts = self.memory(), (self.words, self.others)
        faces = [
            (texts[held[0]][held[1]] if held else "–", str(place))
            for place, held in enumerate(memory)
        ]
        size = self.block_size if self.kind == "blocks" else len(faces)
        groups = [faces[i : i + size] for i in range(0, len(faces), size)]
        full = sum(held is not None for held in memory)
        title = f"step {self.step}: {full} of {len(memory)} places are filled"
        return figures.boxes(groups, title=title)


def _shape(name: str, context_length: int, *sizes: int, **more) -> dict:
    """A published model, whose feed-forward layers have gates and so three matrices."""
    names = (
        "n_layers",
        "d_model",
        "n_heads",
        "n_kv_heads",
        "d_head",
        "d_ff",
        "vocab_size",
    )
    sizes = dict(zip(names, sizes, strict=True))
    return (
        {"name": name, "context_length": context_length, "tied": False} | sizes | more
    )


NARROW = {  # DeepSeek's: attention through narrow layers, and experts beside one for all
    "d_latent": 512,
    "d_rotated": 64,
    "attention": sum(
        rows * columns
        for rows, columns in (
            (7168, 1536),  # to the queries, and on
            (1536, 128 * (128 + 64)),
            (7168, 512 + 64),  # to what is kept, and on to keys and values
            (512, 128 * (128 + 128)),
            (128 * 128, 7168),  # out
        )
    ),
    "n_dense": 3,
    "n_experts": 256,
    "n_used": 8,
    "n_shared": 1,
    "d_expert": 2048,
}
SHAPES = [
    _shape("Llama 2 7B", 4096, 32, 4096, 32, 32, 128, 11_008, 32_000),
    _shape("Llama 3 8B", 8192, 32, 4096, 32, 8, 128, 14_336, 128_256),
    _shape("Llama 3.1 70B", 131_072, 80, 8192, 64, 8, 128, 28_672, 128_256),
    _shape("Qwen3 8B", 32_768, 36, 4096, 32, 8, 128, 12_288, 151_936),
    _shape(
        *("DeepSeek-V3", 131_072, 61, 7168, 128, 128, 128, 18_432, 129_280), **NARROW
    ),
    _shape(
        *("Gemma 3 27B", 131_072, 62, 5376, 32, 16, 128, 21_504, 262_144),
        tied=True,
        n_local=52,  # of six layers five see a window
        window=1024,
    ),
    _shape("this course's", 512, 4, 256, 4, 4, 64, 512, 2048, tied=True),
]


class ServingCalculator(InteractiveFigure):
    """What a step of generation costs at least: memory, time, and which of both is short.

    `batch` texts of `length` tokens, with the one now written, on `count` cards that share
    the work evenly and talk for nothing. Weights have `weight_bits`, the cache
    `cache_bits`; it is computed in 16. `model` and `card` are places in `models` (shapes)
    and in `cards` (name, operations and bytes a second, bytes of memory).
    """

    _esm = _module("serving_calculator.js")
    _css = _own_style("serving_calculator.css")
    models = traitlets.List(SHAPES).tag(sync=True)
    cards = traitlets.List(
        [
            ["A100 80 GB", 312e12, 2.039e12, 80e9],
            ["H100 SXM", 989e12, 3.35e12, 80e9],
            ["H200", 989e12, 4.8e12, 141e9],
        ]
    ).tag(sync=True)
    model = traitlets.Int(1, min=0).tag(sync=True)
    card = traitlets.Int(1, min=0).tag(sync=True)
    count = traitlets.Int(1, min=1).tag(sync=True)
    length = traitlets.Int(8192, min=1).tag(sync=True)
    batch = traitlets.Int(32, min=1).tag(sync=True)
    weight_bits = traitlets.Int(16).tag(sync=True)
    cache_bits = traitlets.Int(16).tag(sync=True)

    def weights(self) -> tuple[int, float, float]:
        """Of the model: all weights, those of a token, those that a step reads."""
        c = {"n_experts": 0, "n_used": 0, "n_shared": 0, "d_expert": 0}
        c |= self.models[self.model]
        d, dense = c["d_model"], c.get("n_dense", c["n_layers"])
        heads = 2 * (c["n_heads"] + c["n_kv_heads"]) * c["d_head"]
        sparse, table = c["n_layers"] - dense, c["vocab_size"] * d
        expert = 3 * d * c["d_expert"]
        always = c["n_layers"] * c.get("attention", heads * d) + table
        always += dense * 3 * d * c["d_ff"]
        always += sparse * (c["n_experts"] * d + c["n_shared"] * expert)
        routed = sparse * c["n_experts"] * expert
        share = c["n_used"] / max(c["n_experts"], 1)
        total = always + routed + (0 if c["tied"] else table)
        met = 1 - (1 - share) ** self.batch  # experts that some token chose, by chance
        return total, always + routed * share, always + routed * met

    def kept(self) -> tuple[int, int]:
        """Of one text: numbers in the cache, operations of attention in a step."""
        c = self.models[self.model]
        local = c.get("n_local", 0)
        seen = (c["n_layers"] - local) * self.length
        seen += local * min(self.length, c.get("window", 0))
        if "d_latent" in c:
            latent, rotated = c["d_latent"], c["d_rotated"]
            each = latent + rotated, 2 * c["n_heads"] * (2 * latent + rotated)
        else:
            each = 2 * c["n_kv_heads"] * c["d_head"], 4 * c["n_heads"] * c["d_head"]
        return each[0] * seen, each[1] * seen

    def costs(self) -> dict:
        """Bytes of weights, cache and memory; seconds of reading both, of computing."""
        for name, what in (("model", self.models), ("card", self.cards)):
            if getattr(self, name) >= len(what):
                raise ValueError(
                    f"{name} must be from 0 to {len(what) - 1}; got {getattr(self, name)}"
                )
        _, speed, bandwidth, memory = self.cards[self.card]
        (total, used, read), (numbers, products) = self.weights(), self.kept()
        cache = self.batch * numbers * self.cache_bits / 8
        flops = self.batch * (2 * used + products)
        reading = [
            size / (bandwidth * self.count)
            for size in (read * self.weight_bits / 8, cache)
        ]
        computing = flops / (speed * self.count)
        return {
            "weights": total * self.weight_bits / 8,
            "cache": cache,
            "memory": memory * self.count,
            "reading": reading,
            "computing": computing,
            "seconds": max(sum(reading), computing),
        }

    def still(self) -> Figure:
        found, name = self.costs(), self.models[self.model]["name"]
        times = [1000 * t for t in (*found["reading"], found["computing"])]
        labels = ["reading weights", "reading the cache", "arithmetic"]
        card = f"{self.count} × {self.cards[self.card][0]}"
        title = f"{name}, {card}: {self.batch} × {self.length} tokens"
        return figures.bars(labels, times, ylabel="ms a step", title=title, fmt=".3g")


class CodeModel(InteractiveFigure):
    """A language model of code that the browser runs: tokens, what may come, attention.

    It continues `text`, the course's own stored model with its matrices in eight bits,
    loaded when asked for. Drawn is where `head` of `layer` looks, both from 0; at
    `temperature` 0 the likeliest token is written. `likeliest` are the next tokens after
    `text` with their probabilities, which stand there until the model is loaded.
    """

    _esm = _module("_gpt.js", "code_model.js")
    _css = InteractiveFigure._css + (HERE / "code_model.css").read_text("utf-8")
    text = traitlets.Unicode(
        "def scale(values, factor): return [v * factor for v in"
    ).tag(sync=True)
    likeliest = traitlets.List().tag(sync=True)
    layer = traitlets.Int(3).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    temperature = traitlets.Float(0.0).tag(sync=True)

    def __init__(self, **settings):
        super().__init__(**settings)
        self.on_msg(lambda *_: self.send_model())

    @traitlets.validate("likeliest")
    def _check_likeliest(self, proposal) -> list:
        pairs = [[str(token), float(chance)] for token, chance in proposal["value"]]
        if not 0 <= sum(chance for _, chance in pairs) <= 1.0001:
            raise ValueError(f"these are no probabilities of tokens: {pairs}")
        return pairs

    def heavy(self) -> bytes:
        """The model and its tokenizer, as _gpt.js reads them."""
        name = "11_code"
        tensors, card = stored_weights(name)
        learned = json.loads((WEIGHTS / f"{name}.tokenizer").read_text("utf-8"))
        merges = [list(map(ord, pair)) for pair in _merges(learned["merges"])[1]]
        about = {"config": card["config"], "pattern": learned["pattern"]}
        return packed(tensors, about | {"bytes": BYTES, "merges": merges})

    def send_model(self) -> None:
        """Give the browser the model, or tell it why there is none."""
        try:
            self.send({}, buffers=[self.heavy()])
        except Exception as error:  # noqa: BLE001 - the reader sees it in the figure
            self.send({"trouble": str(error) or type(error).__name__})

    def still(self) -> Figure:
        if not self.likeliest:
            words = [[(word, "")] for word in _cut(self.text)]
            return figures.boxes(words, title="a text to be continued")
        tokens, chances = zip(*self.likeliest, strict=True)
        return figures.bars(
            tokens,
            chances,
            xlabel="next token",
            ylabel="probability",
            fmt=".2f",
        )


TILT = 0.8, 0.6  # the valleys lie askew: the cosine and the sine of their angle
CURVATURES = 16.0, 3.0  # across a valley, and along it
DEEP, SHALLOW = np.array([-0.4, -0.25]), np.array([0.4, 0.25])  # where they are lowest
GAP, SOFT = 0.3, 0.02  # how much higher the second is; what rounds the pass
START = np.array([-0.1, 0.35])
NOISES = 100


def _valley(place: np.ndarray, lowest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The height of one valley and its slope: places (..., 2) -> (...), (..., 2).

    Written without a matrix product, whose last digits depend on the processor.
    """
    (cos, sin), (steep, flat) = TILT, CURVATURES
    x, y = np.moveaxis(place - lowest, -1, 0)
    across, along = cos * x - sin * y, sin * x + cos * y
    height = (steep * across * across + flat * along * along) / 2
    pull, drift = steep * across, flat * along
    return height, np.stack([cos * pull + sin * drift, cos * drift - sin * pull], -1)


def _two_valleys(place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lower of two valleys, rounded where they meet; its slope; which of them it is."""
    (deep, pull), (shallow, other) = (_valley(place, at) for at in (DEEP, SHALLOW))
    apart = deep - (shallow + GAP)
    round_ = np.sqrt(apart * apart + SOFT)
    share = ((1 - apart / round_) / 2)[..., None]
    height = (deep + (shallow + GAP) - round_) / 2
    return height, share * pull + (1 - share) * other, apart < 0


def _noises(numbers: np.ndarray, steps: int) -> np.ndarray:
    """Noise of variance 1 for two weights, by the number of the noise: (steps, n, 2).

    Each is the sum of four numbers from 0 to 1, less 2, times the root of 3; they come
    from the generator x <- (1664525 x + 1013904223) mod 2^32 of Numerical Recipes.
    """
    size, a, c = (np.uint64(n) for n in (2**32, 1664525, 1013904223))
    state, drawn = np.asarray(numbers, np.uint64) * np.uint64(2654435761) % size, []
    for _ in range(8 * (steps + 1)):
        state = (a * state + c) % size
        drawn.append(state / 2**32)
    fours = np.reshape(drawn, (steps + 1, 2, 4, -1))[1:]  # the first step warms it up
    total = fours[:, :, 0] + fours[:, :, 1] + fours[:, :, 2] + fours[:, :, 3]
    return ((total - 2) * math.sqrt(3)).swapaxes(1, 2)


class LearningRateSchedule(InteractiveFigure):
    """A learning rate that rises and falls, and Adam's walk with it, on noisy slopes.

    The rate rises to `lr` in `warm_up` of `steps` steps, then falls along half a cosine
    to `floor` times `lr`. Adam (betas 0.9 and 0.95) walks over a toy landscape of two
    weights, with a deep and a shallow valley, and sees each slope with noise; number
    `noise` of 1 to 100 is drawn. Beside it: the same noise at the rate `lr` throughout.
    """

    _esm = _module("_lens.js", "learning_rate_schedule.js")
    steps = traitlets.Int(200).tag(sync=True)
    warm_up = traitlets.Int(30).tag(sync=True)
    floor = traitlets.Float(0.1).tag(sync=True)
    lr = traitlets.Float(0.2).tag(sync=True)
    noise = traitlets.Int(17).tag(sync=True)

    def rates(self) -> list[float]:
        """The learning rate at each step."""
        if self.steps < 1 or self.warm_up < 0:
            raise ValueError(
                "steps must be 1 or more and warm_up 0 or more; "
                f"got steps={self.steps}, warm_up={self.warm_up}"
            )
        rates = []
        for step in range(self.steps):
            done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
            share = self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2
            warm = step >= self.warm_up
            rates.append(self.lr * (share if warm else (step + 1) / self.warm_up))
        return rates

    def walk(self, rates: list[float], noises: list[int]) -> np.ndarray:
        """Where Adam is before the first step and after each: (steps + 1, noises, 2)."""
        if not all(1 <= noise <= NOISES for noise in noises):
            raise ValueError(f"noise must be from 1 to {NOISES}; got {noises}")
        place = np.tile(START, (len(noises), 1))
        mean, square = np.zeros_like(place), np.zeros_like(place)
        places, rest = [place], [1.0, 1.0]
        for rate, noise in zip(rates, _noises(noises, len(rates)), strict=True):
            slope = _two_valleys(place)[1] + noise
            mean = 0.9 * mean + (1 - 0.9) * slope
            square = 0.95 * square + (1 - 0.95) * (slope * slope)
            rest = [rest[0] * 0.9, rest[1] * 0.95]
            size = np.sqrt(square / (1 - rest[1])) + 1e-8
            place = place - rate * (mean / (1 - rest[0])) / size
            places.append(place)
        return np.array(places)

    def ends(self, rates: list[float], noises: list[int]) -> tuple:
        """For each noise, how far above the lowest point it ends; whether in the deep."""
        height, _, deep = _two_valleys(self.walk(rates, noises)[-1])
        return height - _two_valleys(DEEP)[0], deep

    def still(self) -> Figure:
        groups = {}
        for name, rates in {
            "full rate": [self.lr] * self.steps,
            "schedule": self.rates(),
        }.items():
            way = self.walk(rates, [self.noise])[:, 0]
            height = _two_valleys(way[-1])[0] - _two_valleys(DEEP)[0]
            groups[f"{name}: ends at {height:.2f}"] = (
                lambda x, y: _two_valleys(np.stack([x, y], axis=-1))[0],
                way,
            )
        return figures.landscapes(groups, xlabel="first weight", ylabel="second weight")


class NextToken(InteractiveFigure):
    """The distribution of the next token under temperature, top-k and top-p.

    `cases` are {"prompt", "logits"}, one logit for each of `tokens`; shown is number
    `chosen`. `top_k` 0 and `top_p` 1 leave nothing out. ValueError for what does not fit.
    """

    _esm = _module("_lens.js", "_softmax.js", "next_token.js")
    tokens = traitlets.List([" Paris", " London", " city", " banana"]).tag(sync=True)
    cases = traitlets.List(
        [{"prompt": "The capital of France is", "logits": [12.3, 4.8, 3.1, -2.0]}]
    ).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    top_k = traitlets.Int(0).tag(sync=True)
    top_p = traitlets.Float(1.0).tag(sync=True)

    def logits(self) -> np.ndarray:
        """The scores of the chosen case, one for each token."""
        if not 0 <= self.chosen < len(self.cases):
            raise ValueError(
                f"chosen must be from 0 to {len(self.cases) - 1}; got {self.chosen}"
            )
        logits = np.array(self.cases[self.chosen]["logits"])
        if logits.shape != (len(self.tokens),):
            raise ValueError(
                f"{len(self.tokens)} tokens need as many logits; got {logits.shape}"
            )
        return logits

    def chances(self) -> np.ndarray:
        """The probabilities that are left, one for each token."""
        if self.temperature <= 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                "temperature must be above 0, top_k 0 or more, top_p above 0 and at "
                f"most 1; got {self.temperature}, {self.top_k}, {self.top_p}"
            )
        logits = self.logits()
        powers = np.exp((logits - logits.max()) / self.temperature)
        if 0 < self.top_k < len(logits):
            powers[logits < np.sort(logits)[-self.top_k]] = 0
        order = np.argsort(-powers, kind="stable")
        before = np.cumsum(powers[order]) - powers[order]
        if self.top_p < 1:
            powers[order[before >= self.top_p * powers.sum()]] = 0
        return powers / powers.sum()

    def still(self) -> Figure:
        chances = self.chances()
        best = np.argsort(-self.logits(), kind="stable")[:10]
        left = np.count_nonzero(chances)
        return figures.bars(
            [self.tokens[i] for i in best],
            chances[best],
            xlabel=f"the likeliest tokens after “{self.cases[self.chosen]['prompt']}”",
            ylabel="probability",
            title=f"T = {self.temperature:g}: {left} of {len(chances)} tokens are left",
            fmt=".2f",
        )


@cache
def _queries_keys_values() -> str:
    """Every twelfth row of the first layer's queries, keys and values, as is stored."""
    tensors, _ = stored_weights("11_code")
    return _coded(tensors["stack.blocks.0.attention.module.qkv.linear.weight"][::12])


def _coded(matrix: torch.Tensor) -> str:
    """Numbers in bfloat16 as text. ValueError for no matrix of finite numbers."""
    if matrix.ndim != 2 or not matrix.numel() or not matrix.isfinite().all():
        raise ValueError(
            f"a matrix of finite numbers is needed; got shape {tuple(matrix.shape)}"
        )
    halves = matrix.detach().cpu().to(torch.bfloat16).contiguous().view(torch.int16)
    return b64encode(halves.numpy().astype("<i2").tobytes()).decode("ascii")


class BitsAndGroups(InteractiveFigure):
    """A real weight matrix in fewer bits: the steps, the error, and what is truly stored.

    Codes have `bits`, and each `group` of neighbours in a row a float16 scale of its own, or
    all weights one where it is 0. Affine grids also store a zero point; `clip` is the part
    of the range that is kept. `outlier` plants one weight that is far too large.
    """

    _esm = _module("_lens.js", "bits_and_groups.js")
    _css = _own_style("bits_and_groups.css")
    weights = traitlets.Unicode().tag(sync=True)
    columns = traitlets.Int(256, min=1).tag(sync=True)
    bits = traitlets.Int(4, min=1, max=8).tag(sync=True)
    group = traitlets.Int(64, min=0).tag(sync=True)
    symmetric = traitlets.Bool(True).tag(sync=True)
    clip = traitlets.Float(1.0, min=0.01, max=1.0).tag(sync=True)
    row = traitlets.Int(32, min=0).tag(sync=True)
    outlier = traitlets.Bool(False).tag(sync=True)

    def __init__(self, matrix: torch.Tensor | None = None, **settings):
        """`matrix` (rows, columns) is kept in bfloat16; without one, the course's own."""
        if matrix is not None:
            settings |= {"weights": _coded(matrix), "columns": matrix.shape[1]}
        super().__init__(**settings)

    @traitlets.default("weights")
    def _default_weights(self) -> str:
        return _queries_keys_values()

    def matrix(self) -> np.ndarray:
        """The weights, float32, (rows, columns), with the outlier where one is planted."""
        halves = np.frombuffer(b64decode(self.weights), "<u2").astype(np.uint32)
        matrix = (halves << 16).view(np.float32).reshape(-1, self.columns).copy()
        if not 0 <= self.row < len(matrix):
            raise ValueError(f"row must be from 0 to {len(matrix) - 1}; got {self.row}")
        if self.outlier:
            matrix[len(matrix) // 2, 0] = 4 * abs(matrix).max()
        return matrix

    def restored(self, bits: int | None = None, group: int | None = None) -> np.ndarray:
        """The weights that come back from the codes, of as many bits as are set or given."""
        bits = self.bits if bits is None else bits
        group = self.group if group is None else group
        matrix, clip = self.matrix(), np.float32(self.clip)
        if group and self.columns % group:
            raise ValueError(f"group must divide columns; got {group}, {self.columns}")
        if self.symmetric and bits == 1:
            raise ValueError("one bit has no symmetric grid; take symmetric=False")
        groups = matrix.reshape(-1, group or matrix.size)
        low = groups.min(axis=1, keepdims=True).clip(max=0)
        high = groups.max(axis=1, keepdims=True).clip(min=0)
        if self.symmetric:
            last = 2 ** (bits - 1) - 1
            step = _rounded_up(clip * np.maximum(-low, high) / np.float32(last))
            first = -last
        else:
            last = 2**bits - 1
            step = _rounded_up((clip * high - clip * low) / np.float32(last))
            zero = np.round(-clip * low / step).clip(max=last)
            first, last = -zero, last - zero
        return (step * np.round(groups / step).clip(first, last)).reshape(matrix.shape)

    def measure(self, **given) -> tuple[float, int]:
        """The error as a share of the weights (roots of mean squares); bytes to store."""
        bits, group = (
            given.get(name, getattr(self, name)) for name in ("bits", "group")
        )
        matrix = self.matrix().astype(np.float64)
        wrong = matrix - self.restored(bits, group)
        count = matrix.size // group if group else 1
        packed = [-(-n * bits // 8) for n in (matrix.size, count)]
        n_bytes = packed[0] + 2 * count + (0 if self.symmetric else packed[1])
        return math.sqrt((wrong**2).sum() / (matrix**2).sum()), n_bytes

    def curve(self, group: int) -> tuple[list[float], list[float]]:
        """True bits a weight and the error, from the fewest bits to 8."""
        fewest = 2 if self.symmetric else 1
        found = [self.measure(bits=bits, group=group) for bits in range(fewest, 9)]
        errors, sizes = zip(*found, strict=True)
        return [8 * n_bytes / self.matrix().size for n_bytes in sizes], list(errors)

    def still(self) -> Figure:
        kinds = {"one scale for all": 0, "one scale a row": self.columns}
        if self.group not in kinds.values():
            kinds[f"one scale for {self.group} weights"] = self.group
        error, n_bytes = self.measure()
        now = {f"{self.bits} bits": ([8 * n_bytes / self.matrix().size], [error])}
        return figures.lines(
            {name: self.curve(group) for name, group in kinds.items()} | now,
            xlabel="true bits a weight, with scales and zero points",
            ylabel="error, relative to the weights",
            logy=True,
        )


def _rounded_up(scale: np.ndarray) -> np.ndarray:
    """Scales as float16 keeps them, so that the largest of a group still has a code."""
    kept = np.maximum(scale, np.float32(2**-24)).astype(np.float16)
    low = kept.astype(np.float32) < scale
    kept[low] = np.nextafter(kept[low], np.float16(np.inf))
    return kept.astype(np.float32)


DIMENSIONS = (2, 16, 128)  # of the vectors that are turned
TURNS = 1000  # drawn at random


@cache
def _sphere_codebooks() -> list[dict]:
    """For each number of dimensions the values in 1 to 4 bits that err least.

    They stand for a coordinate of a random unit vector (Lloyd and Max). With x = -cos a
    the share of an angle a is as sin(a)^(d-2), and the mean between two has a closed form.
    """
    books = []
    for d in DIMENSIONS:
        angles = np.linspace(0, np.pi, 40_001)
        share = np.sin(angles) ** (d - 2)
        areas = np.concatenate([[0], np.cumsum(share[1:] + share[:-1])])
        areas *= (angles[1] - angles[0]) / 2
        values = []
        for bits in range(1, 5):
            n = 2**bits
            found = -np.cos(
                np.interp((np.arange(n) + 0.5) / n, areas / areas[-1], angles)
            )
            for _ in range(1000):
                middles = np.clip((found[1:] + found[:-1]) / 2, -1, 1)
                ends = np.concatenate([[0], np.arccos(-middles), [np.pi]])
                moments = -(np.sin(ends) ** (d - 1)) / (d - 1)
                found = np.diff(moments) / np.diff(np.interp(ends, angles, areas))
            values.append([round(float(value), 6) for value in found])
        books.append({"d": d, "values": values})
    return books


@cache
def _normals(count: int, seed: int) -> np.ndarray:
    """Numbers of a normal distribution, two from two: Box and Muller (1958).

    From the generator x <- (1664525 x + 1013904223) mod 2^32 of Numerical Recipes.
    """
    state, drawn = seed, []
    for _ in range(count + count % 2):
        state = (1664525 * state + 1013904223) % 2**32
        drawn.append((state + 0.5) / 2**32)
    first, second = np.array(drawn).reshape(-1, 2).T
    radius, angle = np.sqrt(-2 * np.log(first)), 2 * np.pi * second
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()[:count]


class RotateAndQuantize(InteractiveFigure):
    """Turn a vector, take the nearest point of a grid, turn back: the error, and all errors.

    The vector has length 1, at `angle` degrees to the first axis; `turn` rotates it
    in the plane. Each coordinate is kept in `bits`, as a value of `codebooks`. Beside it:
    the squared errors of random rotations in 2, 16 and 128 dimensions, and without one.
    """

    _esm = _module("_drag.js", "rotate_and_quantize.js")
    _css = _own_style("rotate_and_quantize.css")
    codebooks = traitlets.List().tag(sync=True)
    angle = traitlets.Int(30, min=0, max=359).tag(sync=True)
    turn = traitlets.Int(40, min=0, max=359).tag(sync=True)
    bits = traitlets.Int(2, min=1, max=4).tag(sync=True)

    @traitlets.default("codebooks")
    def _default_codebooks(self) -> list:
        return _sphere_codebooks()

    def vector(self, d: int) -> np.ndarray:
        """The vector in d dimensions; all coordinates but the first share the rest: (d,)."""
        others = np.ones(1) if d == 2 else _normals(d, seed=d)[1:]
        others = others / math.sqrt((others**2).sum())
        angle = math.radians(self.angle)
        return np.concatenate([[math.cos(angle)], math.sin(angle) * others])

    def codebook(self, d: int) -> np.ndarray:
        """The values that a coordinate in d dimensions may have."""
        known = {book["d"]: book["values"] for book in self.codebooks}
        if d not in known:
            raise ValueError(f"d must be one of {list(known)}; got {d}")
        return np.array(known[d][self.bits - 1])

    def error(self, y: np.ndarray) -> np.ndarray:
        """The squared error of vectors (..., d) on the grid of their dimension: (...)."""
        codebook = self.codebook(y.shape[-1])
        codes = np.searchsorted((codebook[1:] + codebook[:-1]) / 2, y)
        return ((y - codebook[codes]) ** 2).sum(axis=-1)

    def errors(self, d: int) -> np.ndarray:
        """Those of random rotations of the vector, whatever it is: (1000,), ascending."""
        turned = _normals(TURNS * d, seed=d).reshape(-1, d)
        turned /= np.sqrt((turned**2).sum(axis=1, keepdims=True))
        return np.sort(self.error(turned))

    def own_grid_error(self, d: int) -> float:
        """That of the vector, not turned, on a grid from its least to its greatest.

        Its steps are equal, and 0 is one of its values.
        """
        x, last = self.vector(d), 2**self.bits - 1
        low, high = min(x.min(), 0.0), max(x.max(), 0.0)
        step = (high - low) / last
        zero = np.round(-low / step)
        codes = (np.round(x / step) + zero).clip(0, last)
        return float(((x - step * (codes - zero)) ** 2).sum())

    def still(self) -> Figure:
        some = np.arange(0, TURNS, 20)  # a picture needs no more
        groups = {}
        for d in (book["d"] for book in self.codebooks):
            plain = float(self.error(self.vector(d)))
            groups[f"{d} coordinates"] = {
                "random turns, in order": (some / TURNS, self.errors(d)[some]),
                "not turned": ([0, 1], [plain, plain]),
            }
        return figures.panels(
            groups,
            xlabel="share of the turns",
            ylabel="squared error of\na vector of length 1",
            logy=True,
        )


CHOICE = json.loads((HERE / "model_choice.json").read_text("utf-8"))


class ModelChoice(InteractiveFigure):
    """Questions about a task, and what follows from the answers for the choice of a model.

    `questions` are [name, question, [[answer, how it reads]]], `answers` one for each.
    `rules` are [decision, {question: answer}, advice, reason]; of a decision's rules the
    first one counts whose answers all fit. ValueError for an answer that there is not.
    """

    _esm = _module("model_choice.js")
    _css = _own_style("model_choice.css")
    questions = traitlets.List(CHOICE["questions"]).tag(sync=True)
    answers = traitlets.Dict(CHOICE["answers"]).tag(sync=True)
    rules = traitlets.List(CHOICE["rules"]).tag(sync=True)

    @traitlets.validate("answers")
    def _check_answers(self, proposal) -> dict[str, str]:
        given = proposal["value"]
        for name, _, choices in self.questions:
            answers = [answer for answer, _ in choices]
            if given.get(name) not in answers:
                raise ValueError(
                    f"{name} must be one of {', '.join(answers)}; got {given.get(name)!r}"
                )
        return given

    def advice(self) -> list[tuple[str, str, str]]:
        """(decision, advice, reason), one for each decision."""
        found = {}
        for decision, when, what, why in self.rules:
            fits = all(self.answers[name] == answer for name, answer in when.items())
            if fits and decision not in found:
                found[decision] = decision, what, why
        return list(found.values())

    def still(self) -> Figure:
        return figures.boxes([[(what, name)] for name, what, _ in self.advice()])
