"""Figures of one style: each function draws, checks what it drew, and returns it.

A figure that ends a cell is shown once, as an SVG picture of the same bytes on every
run. Series differ in colour, in dash and in marker, so that no one has to tell
colours apart; what is empty or not finite is refused by name.
"""

import hashlib
import re
from io import StringIO
from itertools import cycle

import matplotlib
import numpy as np
import torch
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib_inline.config import InlineBackend

WIDTH = 7.2  # inches: the text column of the book
HEIGHT = 3.6
# After Okabe and Ito, without the pale ones: each stands out on white, and any two differ
# for every kind of colour vision. With 6 dashes and 7 markers, 30 series differ.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#80246B", "#222222")
DASHES = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (9, 3)))
MARKERS = ("o", "s", "^", "D", "v", "X", "P")
FEW = 24  # a series of at most so many points is marked at each
SEQUENTIAL = "Blues"
DIVERGING = "RdBu_r"
INK = "#222222"

STYLE = {
    "figure.figsize": (WIDTH, HEIGHT),
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.family": "DejaVu Sans",  # comes with Matplotlib
    "font.size": 10,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "svg.fonttype": "path",  # the same letters on every machine
    "svg.hashsalt": "tfcourse",
}


def setup() -> None:
    """Apply the style, and make notebooks show figures as SVG of stable bytes."""
    matplotlib.rcParams.update(STYLE)
    if shell := get_ipython():
        inline = InlineBackend.instance(parent=shell)
        inline.shell = shell
        inline.figure_formats = {"svg"}
        shown = shell.display_formatter.formatters["image/svg+xml"]
        shown.for_type(Figure, svg)


def svg(figure: Figure) -> str:
    """The figure as SVG text that does not depend on the last digits of what is drawn.

    Processors round differently: Matplotlib writes six decimals and hashes all digits
    into the ids, so numbers are rounded to 1/100 point and ids are counted.
    """
    file = StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"scale\([^)]*\)|-?\d+\.\d{3,}", _rounded, file.getvalue())
    ids = dict.fromkeys(re.findall(r'id="([A-Za-z]+[0-9a-f]{10})"', text))
    numbered = {old: f"i{number}" for number, old in enumerate(ids)}
    plain = re.sub(r"[A-Za-z]+[0-9a-f]{10}\b", lambda m: numbered.get(m[0], m[0]), text)
    own = hashlib.sha256(plain.encode()).hexdigest()[:8]  # ids differ between figures
    return re.sub(r'(id="|#)(i\d+)(?=[")])', rf"\g<1>f{own}-\2", plain)


def _rounded(number: re.Match) -> str:
    """A number to two decimals; what scales the letters stays as it is."""
    if number[0].startswith("scale"):
        return number[0]
    return f"{round(float(number[0]), 2) + 0.0:g}"  # -0.0 + 0.0 is 0.0


def lines(
    series: dict,
    *,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    logx: bool = False,
    logy: bool = False,
    levels: dict | None = None,
    styles: dict | None = None,
) -> Figure:
    """Curves: `series` is {label: (x, y)}; `levels` is {label: y} for dotted levels.

    Points are marked where a series has few of them. `styles` is {label: {...}} for
    what Matplotlib's `plot` takes, where the cycle of styles is not what is meant.
    ValueError names a series that is empty, uneven, not finite, or not above 0 on a
    logarithmic axis.

    >>> figure = lines({"loss": ([0, 1], [2.0, 1.5])}, xlabel="step", ylabel="nats")
    >>> figure.axes[0].get_ylabel()
    'nats'
    """
    return panels(
        {title or "": series},
        xlabel=xlabel,
        ylabel=ylabel,
        logx=logx,
        logy=logy,
        levels=levels,
        styles=styles,
    )


def panels(
    groups: dict,
    *,
    xlabel: str,
    ylabel: str,
    logx: bool = False,
    logy: bool = False,
    levels: dict | None = None,
    styles: dict | None = None,
) -> Figure:
    """Small multiples: {title: {label: (x, y)}} side by side, on the same axes.

    A label keeps its style in every panel, and the legend names it once. Where all x
    are whole numbers, so are the ticks. ValueError as for `lines`, and for more than 4
    panels, which the width cannot hold.

    >>> curve = {"loss": ([0, 1], [2.0, 1.5])}
    >>> figure = panels({"small": curve, "large": curve}, xlabel="step", ylabel="nats")
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['small', 'large']
    """
    labels = list(dict.fromkeys(label for group in groups.values() for label in group))
    if not labels:
        raise ValueError("a figure needs at least one series; got none")
    if len(groups) > 4:
        raise ValueError(
            f"a figure holds at most 4 panels; got {len(groups)}: draw two figures"
        )
    looks = _looks(labels, styles or {})
    figure = _figure()
    grid = figure.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
    drawn, whole = {}, True
    for axes, (title, group) in zip(grid, groups.items(), strict=True):
        if not group:
            raise ValueError(f"the panel {title!r} is empty")
        for label, (x, y) in group.items():
            x, y = _curve(label, x, y, logx, logy)
            look = dict(looks[label])
            if len(x) > FEW:
                look.pop("marker", None)
            (drawn[label],) = axes.plot(x, y, **look)
            whole = whole and (x == x.round()).all()
        for label, level in (levels or {}).items():
            _level(axes, label, level, logy)
        axes.set(title=title, xlabel=xlabel)
        if logx:
            axes.set_xscale("log")
        if logy:
            axes.set_yscale("log")
    if whole and not logx:  # there is no half a step
        grid[0].xaxis.get_major_locator().set_params(integer=True)
    grid[0].set_ylabel(ylabel)
    _legend(figure, drawn)
    return figure


def bars(
    labels,
    values,
    *,
    ylabel: str,
    xlabel: str = "",
    title: str | None = None,
    fmt: str | None = None,
) -> Figure:
    """One bar per label, from 0; with `fmt` (such as ".2f") its value written on it.

    ValueError where labels and values differ in number, or a value is not finite.

    >>> figure = bars(["a", "b"], [1, 3], ylabel="count")
    >>> [float(bar.get_height()) for bar in figure.axes[0].patches]
    [1.0, 3.0]
    """
    labels = [_visible(label) for label in labels]
    values = _finite(f"bars of {ylabel!r}", values)
    if values.shape != (len(labels),):
        raise ValueError(
            "bars need one value per label; "
            f"got {len(labels)} labels and values of shape {values.shape}"
        )
    figure = _figure()
    axes = figure.subplots()
    drawn = axes.bar(range(len(labels)), values, color=COLOURS[0], width=0.7)
    if fmt is not None:
        axes.bar_label(drawn, [format(v, fmt) for v in values], padding=2)
    tilt = {"rotation": 30, "ha": "right"} if sum(map(len, labels)) > 80 else {}
    axes.set_xticks(range(len(labels)), labels, parse_math=False, **tilt)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.1)
    axes.set(title=title or "", xlabel=xlabel, ylabel=ylabel)
    return figure


def heatmap(
    matrix,
    *,
    row_labels=None,
    column_labels=None,
    xlabel: str = "",
    ylabel: str = "",
    title: str | None = None,
    scale: str = "",
    signed: bool = False,
    numbers: bool = False,
    fmt: str = ".2f",
) -> Figure:
    """A matrix as colours: magnitudes from 0 up, or `signed` values around 0.

    Rows run down and columns across; with `numbers` each cell holds its value, else a
    colour bar, named by `scale`, tells what a colour means. ValueError for a matrix
    that is empty, not finite, or negative where it should be a magnitude.

    >>> figure = heatmap([[1.0, 0.0], [0.5, 0.5]], xlabel="key →", ylabel="query ↓")
    >>> figure.axes[0].images[0].get_clim()
    (0.0, 1.0)
    """
    matrix = _finite("matrix", matrix)
    if matrix.ndim != 2:
        raise ValueError(f"a heatmap needs a matrix; got shape {matrix.shape}")
    if not signed and matrix.min() < 0:
        raise ValueError(
            "a heatmap of magnitudes needs values of at least 0; "
            f"got {matrix.min():.3g}: pass signed=True for signed values"
        )
    rows, columns = matrix.shape
    top = abs(matrix).max() or 1.0
    cell = 72 * min(0.45, (WIDTH - 1.6) / columns, 6.0 / rows)  # in points
    figure = _figure(height=max(1.8, rows * cell / 72 + 1.1))
    axes = figure.subplots()
    image = axes.imshow(
        matrix,
        cmap=DIVERGING if signed else SEQUENTIAL,
        vmin=-top if signed else 0.0,
        vmax=top,
        interpolation="none",
    )
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.xaxis.set(ticks_position="top", label_position="top")
    size = min(10, 0.85 * cell)
    _ticks(axes.xaxis, "column", column_labels, columns, size)
    _ticks(axes.yaxis, "row", row_labels, rows, size)
    axes.set(title=title or "", xlabel=xlabel, ylabel=ylabel)
    if numbers:
        _write_numbers(axes, image, matrix, fmt, cell)
    else:
        figure.colorbar(image, label=scale, shrink=0.9)
    return figure


def matrices(
    named: dict,
    *,
    signs: list[str],
    fmt: str = "g",
    row_labels: dict | None = None,
    column_labels: dict | None = None,
    marked: dict | None = None,
) -> Figure:
    """Small matrices side by side, {name: matrix}, with `signs` such as "=" between.

    Each cell holds its number, each matrix has its shape below it, and one colour means
    one number in all of them. Labels are {name: [...]}; `marked` is {name: (row,
    column)}, None for all, and puts a frame around that part. ValueError for what is
    no matrix, not finite, too wide, or not joined by one sign fewer.

    >>> figure = matrices({"A": [[1.0, 2.0]], "B": [[3.0], [4.0]]}, signs=["times"])
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['(1, 2)', '(2, 1)']
    """
    arrays = {name: _finite(name, matrix) for name, matrix in named.items()}
    for name, array in arrays.items():
        if array.ndim != 2:
            raise ValueError(f"{name} must be a matrix; got shape {array.shape}")
    if len(signs) != len(arrays) - 1:
        raise ValueError(f"{len(arrays)} matrices need a sign between any two: {signs}")
    rows, columns = row_labels or {}, column_labels or {}
    margins = [0.06 + 0.09 * _longest(rows.get(name)) for name in arrays]  # in inches
    across = sum(array.shape[1] for array in arrays.values())
    free = WIDTH - 0.1 - sum(margins) - 0.42 * len(signs)
    cell = min(0.46, free / across)
    if cell < 0.2:
        raise ValueError(f"{across} columns are too many for the width: show fewer")
    longest = max(map(_longest, columns.values()), default=0)
    head = 0.34 + (0.09 * longest if longest > 3 else 0.2 * bool(longest))
    tall = cell * max(map(len, arrays.values()))
    figure = _figure(head + tall + 0.36)
    figure.set_layout_engine("none")  # everything has its place, in inches
    signed = any(array.min() < 0 for array in arrays.values())
    top = max(abs(array).max() for array in arrays.values()) or 1.0
    look = {"cmap": DIVERGING if signed else SEQUENTIAL, "vmax": top}
    look |= {"vmin": -top if signed else 0.0, "aspect": "auto", "interpolation": "none"}
    x, middle = (free - cell * across) / 2, head + tall / 2
    for (name, array), margin, sign in zip(
        arrays.items(), margins, [*signs, ""], strict=True
    ):
        height, width = (cell * count for count in array.shape)
        axes = _inches(figure, x + margin, middle - height / 2, width, height)
        image = axes.imshow(array, **look)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.xaxis.set(ticks_position="top")
        empty = [[""] * count for count in array.shape]
        _ticks(axes.yaxis, "row", rows.get(name, empty[0]), len(array), 9)
        _ticks(axes.xaxis, "column", columns.get(name, empty[1]), array.shape[1], 9)
        axes.set_title(name, loc="center")
        axes.set_xlabel(str(array.shape), size=8.5, color="#555555")
        _write_numbers(axes, image, array, fmt, 72 * cell)
        if name in (marked or {}):
            _mark(axes, *marked[name], array.shape)
        x += margin + width
        if sign:
            place = ((x + 0.21) / WIDTH, 1 - middle / figure.get_figheight())
            figure.text(*place, sign, size=15, weight="bold", ha="center", va="center")
        x += 0.42
    return figure


def maps(
    named: dict,
    *,
    row_labels: list,
    column_labels: list,
    scale: str,
    xlabel: str = "key →",
    ylabel: str = "query ↓",
) -> Figure:
    """Maps of one shape side by side, {title: matrix}, such as the weights of heads.

    Rows ask and columns are asked, unless the axes are named otherwise; one colour
    means one number in all of them, from 0 up. ValueError for no map or more than 4,
    for a map that is not finite or negative, or whose shape is not that of the labels.

    >>> figure = maps({"head 0": [[0.5]]}, row_labels="a", column_labels="b", scale="")
    >>> figure.axes[0].get_title(loc="left")
    'head 0'
    """
    if not 1 <= len(named) <= 4:
        raise ValueError(f"a figure holds 1 to 4 maps; got {len(named)}")
    arrays = {title: _finite(title, matrix) for title, matrix in named.items()}
    shape = (len(row_labels), len(column_labels))
    for title, array in arrays.items():
        if array.shape != shape or array.min() < 0:
            raise ValueError(
                f"{title!r} must be {shape}, as its labels are, and not negative; "
                f"got {array.shape}, from {array.min():.3g}"
            )
    cell = min(0.4, (WIDTH - 1.3) / (len(arrays) * shape[1]))  # in inches
    size = min(10, 0.85 * 72 * cell)
    figure = _figure(height=shape[0] * cell + 0.09 * _longest(column_labels) + 0.8)
    grid = figure.subplots(1, len(arrays), sharey=True, squeeze=False)[0]
    top = max(array.max() for array in arrays.values()) or 1.0
    for axes, (title, array) in zip(grid, arrays.items(), strict=True):
        image = axes.imshow(array, cmap=SEQUENTIAL, vmin=0.0, vmax=top)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.xaxis.set(ticks_position="top", label_position="top")
        _ticks(axes.xaxis, "column", column_labels, shape[1], size)
        _ticks(axes.yaxis, "row", row_labels, shape[0], size)
        axes.set_title(title, size=10)
        axes.set_xlabel(xlabel, size=8.5)
    grid[0].set_ylabel(ylabel)
    figure.colorbar(image, ax=grid, label=scale, shrink=0.9)
    return figure


def patches(named: dict) -> Figure:
    """Pictures side by side, {title: (picture, weights)}: bright where a query looks.

    picture: (height, width, 3), from 0 to 1; weights: (rows, columns), one for each of
    the equal patches that the picture is cut into. A patch is the darker the less it
    gets of the largest weight, and weights of 0.05 or more are written on it. ValueError
    for no picture or more than 4, or for what is not finite, of these shapes and ranges.

    >>> figure = patches({"all white": ([[[1.0] * 3] * 2], [[0.25, 0.75]])})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.25', '0.75']
    """
    if not 1 <= len(named) <= 4:
        raise ValueError(f"a figure holds 1 to 4 pictures; got {len(named)}")
    figure = _figure(height=WIDTH / len(named) + 0.4)
    grid = figure.subplots(1, len(named), squeeze=False)[0]
    for axes, (title, (picture, weights)) in zip(grid, named.items(), strict=True):
        picture, weights = _finite(title, picture), _finite(title, weights)
        if picture.ndim != 3 or picture.shape[2] != 3 or weights.ndim != 2:
            raise ValueError(
                f"{title!r} must be a picture (height, width, 3) with weights (rows, "
                f"columns); got shapes {picture.shape} and {weights.shape}"
            )
        if picture.min() < 0 or picture.max() > 1 or weights.min() < 0:
            raise ValueError(
                f"{title!r} must lie from 0 to 1, its weights not under 0; got "
                f"{picture.min():.3g} to {picture.max():.3g}, {weights.min():.3g}"
            )
        rows, columns = weights.shape
        axes.imshow(
            picture, extent=(0, columns, rows, 0), aspect="auto", interpolation="none"
        )
        top = weights.max() or 1.0
        for (row, column), weight in np.ndenumerate(weights):
            veil = Rectangle((column, row), 1, 1, facecolor="black")
            veil.set(alpha=0.5 * (1 - weight / top), edgecolor="white", linewidth=0.5)
            axes.add_patch(veil)
            if weight >= 0.05:
                written = axes.text(column + 0.06, row + 0.94, f"{weight:.2f}")
                written.set(color="white", size=11, va="bottom")
                written.set_path_effects([withStroke(linewidth=3, foreground="black")])
        axes.set(title=title, xticks=[], yticks=[])
        axes.set_box_aspect(picture.shape[0] / picture.shape[1])
    return figure


def named_points(groups: dict, *, xlabel: str, ylabel: str) -> Figure:
    """Points with names, {kind: [(x, name, y)]}, on a logarithmic y axis.

    A name that ends in "<" stands left of its point, in ">" right of it.

    >>> figure = named_points({"net": [(2017, "it >", 5)]}, xlabel="year", ylabel="size")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['it']
    """
    figure = _figure(height=5.6)
    axes = figure.subplots()
    drawn = {}
    for (kind, points), marker, colour in zip(
        groups.items(), MARKERS, COLOURS, strict=False
    ):
        x, y = _curve(kind, [p[0] for p in points], [p[2] for p in points], False, True)
        (drawn[kind],) = axes.plot(x, y, marker, color=colour)
        for left, name, height in points:
            right = name.endswith(">")
            axes.annotate(
                name.rstrip(" <>"),
                (left, height),
                xytext=(6 if right else -6, 0),
                textcoords="offset points",
                ha="left" if right else "right",
                va="center",
                size=8.5,
            )
    axes.margins(x=0.14)
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log")
    _legend(figure, drawn)
    return figure


def landscapes(groups: dict, *, xlabel: str, ylabel: str, reach: float = 1.2) -> Figure:
    """Contour maps side by side, {title: (function, path)}, and a path across each.

    `function` takes arrays x and y; `path` is (t, 2), and starts at the square. The
    maps reach from -reach to reach in both directions.

    >>> bowl = (lambda x, y: x**2 + y**2, [(1, 1), (0, 0)])
    >>> figure = landscapes({"bowl": bowl}, xlabel="x", ylabel="y")
    >>> figure.axes[0].get_title(loc="left")
    'bowl'
    """
    if not groups:
        raise ValueError("a figure needs at least one landscape; got none")
    figure = _figure()
    grid = figure.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
    x, y = np.meshgrid(*[np.linspace(-reach, reach, 81)] * 2)
    for axes, (title, (function, path)) in zip(grid, groups.items(), strict=True):
        height = _finite(f"the landscape {title!r}", function(x, y))
        low, high = height.min(), height.max()
        levels = low + (high - low) * np.linspace(0.1, 1, 10) ** 2
        axes.contour(x, y, height, levels, cmap="Blues_r", linewidths=1)
        path = _finite(f"the path in {title!r}", path)
        axes.plot(*path.T, color=COLOURS[1], marker="o", markersize=3, linewidth=1)
        axes.plot(*path[0], "s", color=COLOURS[1])
        axes.set(title=title, xlabel=xlabel, aspect="equal")
        axes.grid(visible=False)
    grid[0].set_ylabel(ylabel)
    return figure


def plane(
    groups: dict,
    *,
    xlabel: str,
    ylabel: str,
    arrows=(),
    equal: bool = False,
) -> Figure:
    """Named points in a plane, {kind: [(name, x, y)]}; a point named "" is a small dot.

    `arrows` are [((x, y), (x, y))], from the first point to the second; `equal` gives
    both axes the same unit, where angles and lengths count. A name that ends in "<"
    stands left of its point. ValueError for a kind without points, or not finite.

    >>> figure = plane({"noun": [("dog", 1, 2)]}, xlabel="x", ylabel="y")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['dog']
    """
    if not groups:
        raise ValueError("a figure needs at least one kind of points; got none")
    figure = _figure(height=4.8 if equal else 4.2)
    axes = figure.subplots()
    drawn = {}
    looks = zip(cycle(MARKERS), cycle(COLOURS), strict=False)
    for (kind, points), (marker, colour) in zip(groups.items(), looks, strict=False):
        x, y = _curve(
            kind, [p[1] for p in points], [p[2] for p in points], False, False
        )
        small = {} if any(p[0] for p in points) else {"markersize": 2, "alpha": 0.5}
        (drawn[kind],) = axes.plot(x, y, marker, color=colour, **small)
        for name, across, up in points:
            left = name.endswith("<")
            axes.annotate(
                name.rstrip(" <"),
                (across, up),
                xytext=(-6 if left else 6, 0),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                size=9,
                parse_math=False,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )
    for start, end in arrows:
        _arrow(axes, _finite("arrow", start), _finite("arrow", end))
    axes.margins(0.12)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if equal:
        axes.set_aspect("equal", adjustable="datalim")
    _legend(figure, drawn)
    return figure


def boxes(words: list[list[tuple]], *, title: str = "", marked: list = ()) -> Figure:
    """Words cut into boxes, in rows like a text: [(what is in a box, what is under it)].

    A gap stands between words. Filled are the boxes with a `marked` text under them. Of
    long texts the first rows are drawn, and it is said how many boxes follow. ValueError
    where there is none.

    >>> [text.get_text() for text in boxes([[("un", "7"), ("do", "9")]]).axes[0].texts]
    ['un', '7', 'do', '9']
    """
    if not any(words):
        raise ValueError("there are no boxes to draw")
    size, across, rows = 9, 90, 8  # points; letters in a row; rows
    letter = 0.602 * size / 72  # inches: DejaVu Sans Mono
    placed, x, row = [], 0.0, 0
    for word in words:
        for label, note in word:
            label = _visible(label) if len(label) < across else f"{label[:80]}…"
            width = max(len(label), 0.8 * len(note)) + 0.8
            if x + width > across:
                x, row = 0.0, row + 1
            placed.append((row, x, width, label, note))
            x += width + 0.3
        x += 1.2
    shown = [box for box in placed if box[0] < rows]
    left = len(placed) - len(shown)
    down = shown[-1][0] + 1
    figure = _figure(height=0.5 * down + 0.5)
    figure.set_layout_engine("none")
    axes = _inches(figure, 0.2, 0.35, letter * across, 0.5 * down)
    axes.set(xlim=(0, across), ylim=(down, 0))
    axes.set_title(title + (f" ({left} more are not drawn)" if left else ""))
    axes.set_axis_off()
    look = {"ha": "center", "va": "center", "parse_math": False}
    for row, x, width, label, note in shown:
        box = Rectangle((x, row + 0.05), width, 0.5, edgecolor=COLOURS[0])
        box.set_facecolor("#b9d8ec" if note in marked else "white")
        axes.add_patch(box)
        middle = x + width / 2
        axes.text(middle, row + 0.3, label, family="monospace", size=size, **look)
        axes.text(middle, row + 0.75, note, family="monospace", size=7, **look)
    return figure


def unrolled(words: list[str], weight: str = "$W_{hh}$") -> Figure:
    """A recurrent network with its loop (left), and once per word (right).

    >>> unrolled(["one", "two"]).axes[0].get_title(loc="left")
    'rolled'
    """
    if not words:
        raise ValueError("an unrolled network needs at least one word; got none")
    figure = _figure(height=2.3)
    left, right = figure.subplots(1, 2, width_ratios=[1, len(words)])
    _node(left, 0, "$h$", "$x_t$")
    loop = {"arrowstyle": "-|>", "color": INK, "connectionstyle": "arc3,rad=-1.6"}
    left.annotate("", (0.22, 0.95), (-0.22, 0.95), arrowprops=loop)
    left.text(0, 1.62, weight, ha="center", va="bottom")
    for position, word in enumerate(words):
        _node(right, position, f"$h_{position + 1}$", word)
        _arrow(right, (position - 0.72, 0.7), (position - 0.28, 0.7))
        right.text(position - 0.5, 0.78, weight, ha="center", va="bottom")
    right.text(-0.75, 0.7, "$h_0$", ha="right", va="center")
    for axes, title, span in ((left, "rolled", 1), (right, "unrolled", len(words))):
        axes.set(title=title, xlim=(-1, span - 0.4), ylim=(-0.75, 2.0))
        axes.set_axis_off()
    left.set_xlim(-0.8, 0.8)
    return figure


def histograms(groups: dict, *, xlabel: str, ylabel: str = "numbers") -> Figure:
    """How often values occur, {title: (values, levels)}, and the levels they may take.

    Levels are thin vertical lines. One column of panels on the same axes, at most 4.
    ValueError for no panel or more, and for what is empty or not finite.

    >>> figure = histograms({"4 bits": ([0.1, 0.3, 0.2], [0.0, 0.5])}, xlabel="weight")
    >>> len(figure.axes[0].collections[0].get_segments())
    2
    """
    if not 1 <= len(groups) <= 4:
        raise ValueError(f"a figure holds 1 to 4 histograms; got {len(groups)}")
    figure = _figure(height=0.6 + 1.5 * len(groups))
    column = figure.subplots(len(groups), 1, sharex=True, sharey=True, squeeze=False)
    for axes, (title, (values, levels)) in zip(
        column[:, 0], groups.items(), strict=True
    ):
        values, levels = _finite(title, values).ravel(), _finite(title, levels).ravel()
        counts, edges = np.histogram(values, bins=120)
        top = counts.max()
        axes.vlines(levels, 0, top, color=COLOURS[1], linewidth=0.9)
        axes.stairs(counts, edges, fill=True, color=COLOURS[0], alpha=0.85)
        axes.grid(visible=False)
        axes.set(title=title, ylabel=ylabel, ylim=(0, 1.04 * top))
    column[-1, 0].set_xlabel(xlabel)
    return figure


def number_lines(named: dict, *, xlabel: str) -> Figure:
    """The numbers that formats can write, {name: values}: a tick for each, line by line.

    ValueError for no line, and for one that is empty or not finite.

    >>> figure = number_lines({"bits": [0, 1], "trits": [-1, 0, 1]}, xlabel="value")
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['bits', 'trits']
    """
    if not named:
        raise ValueError("a figure needs at least one number line; got none")
    figure = _figure(height=0.8 + 0.45 * len(named))
    axes = figure.subplots()
    for row, (name, values) in enumerate(named.items()):
        values = _finite(name, values).ravel()
        axes.axhline(row, color="#cccccc", linewidth=0.8, zorder=1)
        colour = COLOURS[row % len(COLOURS)]
        axes.vlines(values, row - 0.3, row + 0.3, color=colour, linewidth=1.1)
    axes.set_yticks(range(len(named)), named, parse_math=False)
    axes.set(xlabel=xlabel, ylim=(len(named) - 0.5, -0.5))
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _figure(height: float = HEIGHT) -> Figure:
    """An empty figure, which pyplot does not know: so it is shown only when returned."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def _finite(name: str, values) -> np.ndarray:
    """The values as an array of floats, once they are known to be there and finite."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double()
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError(f"{name} is empty: there is nothing to draw")
    wrong = np.count_nonzero(~np.isfinite(values))
    if wrong:
        raise ValueError(
            f"{name} holds {wrong} of {values.size} values that are not finite"
        )
    return values


def _curve(label: str, x, y, logx: bool, logy: bool) -> tuple[np.ndarray, np.ndarray]:
    """The points of one series, checked."""
    x, y = _finite(f"x of {label!r}", x), _finite(f"y of {label!r}", y)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"{label!r} needs as many x as y, in one dimension; "
            f"got shapes {x.shape} and {y.shape}"
        )
    for axis, values, log in (("x", x, logx), ("y", y, logy)):
        if log and values.min() <= 0:
            raise ValueError(
                f"{axis} of {label!r} must be above 0 on a logarithmic axis; "
                f"got {values.min():.3g}"
            )
    return x, y


def _looks(labels: list[str], styles: dict) -> dict[str, dict]:
    """A colour, a dash and a marker for each label, in turn; `styles` has the last word."""
    unknown = set(styles) - set(labels)
    if unknown:
        raise ValueError(f"styles name series that are not drawn: {sorted(unknown)}")
    cycles = zip(cycle(COLOURS), cycle(DASHES), cycle(MARKERS), strict=False)
    return {
        label: {"color": colour, "linestyle": dash, "marker": marker}
        | styles.get(label, {})
        for label, (colour, dash, marker) in zip(labels, cycles, strict=False)
    }


def _level(axes: Axes, label: str, level: float, logy: bool) -> None:
    """A thin dotted level, named at its right end."""
    level = float(_finite(f"level {label!r}", level))
    if logy and level <= 0:
        raise ValueError(
            f"level {label!r} must be above 0 on a logarithmic axis; got {level:.3g}"
        )
    axes.axhline(level, color="#666666", linestyle=(0, (1, 2)), linewidth=1.2, zorder=1)
    axes.annotate(
        label,
        (1, level),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        size=9,
        color="#555555",
    )


def _legend(figure: Figure, drawn: dict) -> None:
    """One legend above the axes, where it hides no data."""
    named = {label: line for label, line in drawn.items() if label}
    if named:
        figure.legend(
            named.values(),
            named.keys(),
            loc="outside upper left",
            ncols=min(len(named), 4),
        )


def _visible(label) -> str:
    """A label as it is, but that spaces at its ends and line breaks can be seen.

    >>> _visible(" the ")
    '␣the␣'
    """
    text = str(label).replace("\n", "↵").replace("\t", "⇥")
    start = len(text) - len(text.lstrip(" "))
    end = len(text) - len(text.rstrip(" ")) if start < len(text) else 0
    return "␣" * start + text.strip(" ") + "␣" * end


def _ticks(axis, kind: str, labels, count: int, size: float) -> None:
    """One tick per label, literally; without labels, Matplotlib's own whole numbers."""
    if labels is None:
        axis.set_major_locator(MaxNLocator(integer=True))
        return
    labels = [_visible(label) for label in labels]
    if len(labels) != count:
        raise ValueError(
            f"the matrix needs one label per {kind}; got {len(labels)} for {count}"
        )
    turned = kind == "column" and max(map(len, labels)) > 3
    axis.set_ticks(
        range(count), labels, rotation=90 if turned else 0, size=size, parse_math=False
    )
    axis.set_tick_params(length=0)


def _write_numbers(axes: Axes, image, matrix: np.ndarray, fmt: str, cell: float):
    """Each value in its cell of `cell` points, dark on light and light on dark."""
    texts = {place: format(value, fmt) for place, value in np.ndenumerate(matrix)}
    size = min(9, 1.5 * cell / max(map(len, texts.values())))
    for (row, column), text in texts.items():
        rgb = np.power(image.to_rgba(matrix[row, column])[:3], 2.2)
        dark = np.dot(rgb, (0.2126, 0.7152, 0.0722)) < 0.18  # relative luminance
        colour = "white" if dark else "black"
        axes.text(column, row, text, ha="center", va="center", size=size, color=colour)


def _longest(labels) -> int:
    """The number of letters in the longest of some labels."""
    return max((len(_visible(label)) for label in labels or ()), default=0)


def _inches(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Axes at a place in inches, counted from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    place = (x / across, 1 - (y + height) / down, width / across, height / down)
    return figure.add_axes(place)


def _mark(axes: Axes, row: int | None, column: int | None, shape: tuple) -> None:
    """A frame around a row, a column, or the one cell where they meet."""
    y, height = (0, shape[0]) if row is None else (row, 1)
    x, width = (0, shape[1]) if column is None else (column, 1)
    box = Rectangle((x - 0.5, y - 0.5), width, height, fill=False, clip_on=False)
    box.set(edgecolor=INK, linewidth=2.2)
    axes.add_patch(box)


def _node(axes: Axes, x: float, state: str, word: str) -> None:
    """A state in its box at x, with the word that enters it from below."""
    box = {
        "boxstyle": "round,pad=0.45",
        "facecolor": "#e8f1f8",
        "edgecolor": COLOURS[0],
    }
    axes.text(x, 0.7, state, ha="center", va="center", bbox=box)
    axes.text(x, -0.6, word, ha="center", va="center", family="monospace")
    _arrow(axes, (x, -0.4), (x, 0.4))


def _arrow(axes: Axes, start: tuple, end: tuple) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK})


setup()
