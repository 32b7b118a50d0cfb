"""Interactive figures: each is one class here and one plain ES module beside it.

In JupyterLab anywidget runs the module; in the published page the same text runs
without a kernel (book/_ext/course). Where no script runs, a still picture stands.
"""

from inspect import getdoc
from itertools import pairwise
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure

from tfcourse.notebook import figures

__all__ = [
    "Directions",
    "RowLookup",
    "SoftLookup",
    "SpectralRadius",
    "TransitionTable",
    "VoteStepper",
]

HERE = Path(__file__).parent


def _module(name: str) -> str:
    """The ES module of one figure: what all of them share, then its own text."""
    return "\n".join((HERE / f).read_text("utf-8") for f in ("_common.js", name))


class InteractiveFigure(anywidget.AnyWidget):
    """A widget that also has a still picture, for paper and where no script runs."""

    _css = (HERE / "widgets.css").read_text("utf-8")

    def still(self) -> Figure:
        """The figure as it is set now, drawn by Matplotlib."""
        raise NotImplementedError

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
            [f"{key}\n{value}" for key, value in zip(keys, values, strict=True)],
            powers / powers.sum(),
            xlabel="key, and below it the value it hands over",
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
