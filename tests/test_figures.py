"""Figures: drawn right, the same bytes each time, legible, and never of nothing."""

import math
import re
import subprocess
import sys
from itertools import combinations, pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from tfcourse.notebook import figures
from tfcourse.notebook.figures import (
    COLOURS,
    FEW,
    WIDTH,
    bars,
    boxes,
    heatmap,
    histograms,
    landscapes,
    lines,
    maps,
    matrices,
    number_lines,
    panels,
    patches,
    plane,
    unrolled,
)

NAMES = {"xlabel": "step", "ylabel": "loss (nats)"}
CURVES = {"plain": ([1, 2, 3], [3.0, 2.0, 1.0]), "gated": ([1, 2, 3], [1.0, 1.0, 1.0])}
PRODUCT = {"A": [[1.0, -2.0]], "B": [[3.0], [0.5]]}
MAPS = {"head 0": [[0.2, 0.3, 0.5], [0, 0, 1]], "head 1": [[1, 0, 0], [0, 1, 0]]}
PICTURES = {"red": (np.ones((4, 6, 3)) * (1, 0, 0), [[0.0, 0.04, 0.96], [0, 0, 0]])}
BOWLS = {"bowl": (lambda x, y: x**2 + 9 * y**2, [(1, 1), (0.5, -0.5), (0, 0)])}
EXAMPLES = {
    "lines": lambda: lines(CURVES, **NAMES, logy=True, levels={"chance": 2.0}),
    "panels": lambda: panels({"small": CURVES, "large": CURVES}, **NAMES),
    "bars": lambda: bars(["a", "b"], [1.0, 2.0], ylabel="bits per byte", fmt=".1f"),
    "boxes": lambda: boxes([[("un", "7"), ("$do$", "9")], [("Ġit", "9")]]),
    "heatmap": lambda: heatmap([[0.5, 1.0]], scale="weight"),
    "numbers": lambda: heatmap([[-0.5, 1.0]], signed=True, numbers=True),
    "matrices": lambda: matrices(PRODUCT, signs=["·"], marked={"A": (0, None)}),
    "maps": lambda: maps(MAPS, row_labels="pq", column_labels="abc", scale="weight"),
    "patches": lambda: patches(PICTURES),
    "landscapes": lambda: landscapes(BOWLS, xlabel="x", ylabel="y"),
    "plane": lambda: plane({"noun": [("dog", 1, 2), ("cat", 2, 1)]}, **NAMES),
    "unrolled": lambda: unrolled(["one", "two"]),
    "histograms": lambda: histograms({"4 bits": ([0, 1, 1.5], [0, 1])}, xlabel="x"),
    "number_lines": lambda: number_lines({"trits": [-1, 0, 1]}, xlabel="value"),
}
every_example = pytest.mark.parametrize("name", EXAMPLES)


def svg(figure):
    return figures.svg(figure).encode()


def tick_labels(axis):
    return [tick.get_text() for tick in axis.get_ticklabels()]


# Every figure


@every_example
def test_the_bytes_are_the_same_each_time(name):
    assert svg(EXAMPLES[name]()) == svg(EXAMPLES[name]())


def test_the_bytes_are_the_same_in_another_process():
    program = (
        "import sys; from tfcourse.notebook.figures import lines, svg;"
        "figure = lines({'a': ([1, 2], [1, 2])}, xlabel='x', ylabel='y');"
        "sys.stdout.write(svg(figure))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True
    )
    assert done.stdout == svg(lines({"a": ([1, 2], [1, 2])}, xlabel="x", ylabel="y"))


def test_the_last_digits_of_what_is_drawn_do_not_show():
    def curve(factor):
        values = np.array([1.2345, 55.4321, 800.55]) * factor
        return lines({"a": (values, values)}, xlabel="x", ylabel="y", logy=True)

    assert svg(curve(1 + 3e-7)) == svg(curve(1))
    assert svg(curve(1.1)) != svg(curve(1))


def test_two_figures_share_no_id():
    first, second = (
        svg(lines({"a": ([0, 1], [0, top])}, xlabel="x", ylabel="y"))
        for top in (1.0, 2.0)
    )
    ids = [set(re.findall(rb'id="(f\w+-i\d+)"', text)) for text in (first, second)]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
    for text, own in zip((first, second), ids, strict=True):
        used = set(re.findall(rb'(?:url\(|href=")#(f\w+-i\d+)', text))
        assert used and used <= own


@every_example
def test_the_width_is_the_column_and_the_ground_is_white(name):
    figure = EXAMPLES[name]()
    assert figure.get_figwidth() == WIDTH
    assert to_rgb(figure.get_facecolor()) == (1, 1, 1)
    assert f'width="{72 * WIDTH}pt"'.encode() in svg(figure)


@every_example
def test_pyplot_does_not_know_the_figure(name):
    before = plt.get_fignums()
    EXAMPLES[name]()
    assert plt.get_fignums() == before


@every_example
def test_letters_are_drawn_and_not_left_to_the_fonts_of_the_reader(name):
    assert b"<text" not in svg(EXAMPLES[name]())


# Curves


def test_lines_draws_what_it_was_given():
    figure = lines(CURVES, **NAMES, title="Loss", levels={"chance": 2.5})
    (axes,) = figure.axes
    plain, gated, chance = axes.lines
    assert plain.get_xydata().tolist() == [[1, 3], [2, 2], [3, 1]]
    assert gated.get_ydata().tolist() == [1, 1, 1]
    assert list(chance.get_ydata()) == [2.5, 2.5]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss (nats)")
    assert axes.get_title(loc="left") == "Loss"
    assert [text.get_text() for text in axes.texts] == ["chance"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["plain", "gated"]


@pytest.mark.parametrize(("last", "whole"), [(4, True), (4.5, False)])
def test_ticks_are_whole_numbers_where_all_x_are(last, whole):
    (axes,) = lines({"": ([1, 2, 3, last], [1, 2, 3, 4])}, **NAMES).axes
    ticks = axes.get_xticks()
    assert (ticks == ticks.round()).all() == whole


def test_scales_are_linear_unless_asked_for():
    scales = [
        (figure.axes[0].get_xscale(), figure.axes[0].get_yscale())
        for figure in (lines(CURVES, **NAMES), lines(CURVES, **NAMES, logx=True))
    ]
    assert scales == [("linear", "linear"), ("log", "linear")]
    assert lines(CURVES, **NAMES, logy=True).axes[0].get_yscale() == "log"


def test_tensors_are_drawn_from_any_graph_and_dtype():
    y = torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
    figure = lines({"": (torch.arange(2), y)}, **NAMES)
    assert figure.axes[0].lines[0].get_ydata().tolist() == [1.0, 2.0]
    assert not figure.legends  # a series without a name needs no legend


def test_the_legend_covers_no_data():
    figure = lines(CURVES, **NAMES)
    svg(figure)  # lays the figure out
    (legend,) = figure.legends
    assert not legend.get_window_extent().overlaps(figure.axes[0].get_window_extent())


def test_series_differ_in_colour_and_dash_and_thirty_are_told_apart():
    looks = figures._looks([str(n) for n in range(30)], {})
    for key in ("color", "linestyle", "marker"):
        assert len({str(looks[str(n)][key]) for n in range(5)}) == 5
    assert (
        len({(look["color"], str(look["linestyle"])) for look in looks.values()}) == 30
    )


def test_few_points_are_marked_and_many_are_not():
    for count, marked in ((FEW, True), (FEW + 1, False)):
        figure = lines({"a": (range(count), range(count))}, **NAMES)
        assert (figure.axes[0].lines[0].get_marker() == "o") == marked


def test_styles_have_the_last_word():
    figure = lines(CURVES, **NAMES, styles={"gated": {"color": "red", "linewidth": 1}})
    plain, gated = figure.axes[0].lines
    assert (plain.get_color(), gated.get_color()) == (COLOURS[0], "red")
    assert gated.get_linestyle() == "--"  # what `styles` leaves out stays


def test_panels_share_axes_styles_and_one_legend():
    longer = {"gated": ([1, 9], [5, 6]), "new": ([1, 2], [1, 2])}
    figure = panels({"small": CURVES, "large": longer}, **NAMES)
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    assert left.lines[1].get_color() == right.lines[0].get_color()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["plain", "gated", "new"]
    assert (left.get_ylabel(), right.get_ylabel()) == ("loss (nats)", "")


nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("series", "options", "says"),
    [
        ({}, {}, "at least one series; got none"),
        ({"loss": ([], [])}, {}, "x of 'loss' is empty"),
        ({"loss": ([1, 2], [1, nan])}, {}, "y of 'loss' holds 1 of 2 values"),
        ({"loss": ([1, inf], [1, 2])}, {}, "x of 'loss' holds 1 of 2 values"),
        ({"loss": ([1, 2], [1])}, {}, r"'loss' .*shapes \(2,\) and \(1,\)"),
        ({"loss": ([[1]], [[1]])}, {}, "'loss' .*in one dimension"),
        ({"loss": ([1, 2], [1, 0])}, {"logy": True}, "y of 'loss' must be above 0"),
        ({"loss": ([0, 2], [1, 1])}, {"logx": True}, "x of 'loss' must be above 0"),
        (CURVES, {"levels": {"floor": nan}}, "level 'floor' holds 1 of 1"),
        (CURVES, {"levels": {"floor": 0}, "logy": True}, "level 'floor' must be"),
        (CURVES, {"styles": {"other": {}}}, r"not drawn: \['other'\]"),
    ],
)
def test_lines_refuses_what_cannot_be_drawn_by_name(series, options, says):
    with pytest.raises(ValueError, match=says):
        lines(series, **NAMES, **options)


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ({}, "got none"),
        ({"left": CURVES, "right": {}}, "panel 'right' is empty"),
        ({str(n): CURVES for n in range(5)}, "at most 4 panels; got 5"),
    ],
)
def test_panels_refuses_what_cannot_be_drawn(groups, says):
    with pytest.raises(ValueError, match=says):
        panels(groups, **NAMES)


# Bars


def test_bars_stand_on_zero_with_their_values():
    figure = bars(["tanh", "LSTM"], [0.5, 2.0], ylabel="bits", xlabel="cell", fmt=".1f")
    (axes,) = figure.axes
    assert [(bar.get_y(), bar.get_height()) for bar in axes.patches] == [
        (0, 0.5),
        (0, 2),
    ]
    assert [text.get_text() for text in axes.texts] == ["0.5", "2.0"]
    assert tick_labels(axes.xaxis) == ["tanh", "LSTM"]
    assert axes.get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("labels", "values", "says"),
    [
        ([], [], "bars of 'bits' is empty"),
        (["a"], [nan], "bars of 'bits' holds 1 of 1"),
        (["a"], [1, 2], r"got 1 labels and values of shape \(2,\)"),
    ],
)
def test_bars_refuses_what_cannot_be_drawn(labels, values, says):
    with pytest.raises(ValueError, match=says):
        bars(labels, values, ylabel="bits")


# Matrices


def test_a_heatmap_runs_down_the_rows():
    figure = heatmap(
        torch.tensor([[0.0, 0.25], [0.5, 1.0]]),
        row_labels=["q1", "q2"],
        column_labels=["k1", "k2"],
        xlabel="key →",
        ylabel="query ↓",
        scale="weight",
    )
    axes, bar = figure.axes
    assert axes.images[0].get_array().tolist() == [[0, 0.25], [0.5, 1]]
    assert axes.yaxis_inverted()  # the first row is on top
    assert tick_labels(axes.yaxis) == ["q1", "q2"]
    assert tick_labels(axes.xaxis) == ["k1", "k2"]
    assert bar.get_ylabel() == "weight"


def test_magnitudes_begin_at_zero_and_signed_values_centre_on_it():
    assert heatmap([[0.5, 2.0]]).axes[0].images[0].get_clim() == (0, 2)
    signed = heatmap([[-0.5, 2.0]], signed=True).axes[0].images[0]
    assert signed.get_clim() == (-2, 2)
    assert signed.to_rgba(0.0) == pytest.approx((0.97, 0.97, 0.97, 1), abs=0.01)


def test_a_matrix_of_zeros_can_be_drawn():
    assert svg(heatmap(np.zeros((2, 2))))
    assert svg(heatmap(np.zeros((2, 2)), signed=True))


def test_numbers_stand_in_their_cells_and_can_be_read():
    matrix = np.linspace(0, 1, 30).reshape(5, 6)
    for signed, sign in ((False, 1), (True, -1)):
        figure = heatmap(sign * matrix, signed=signed, numbers=True, fmt=".3f")
        (axes,) = figure.axes  # no colour bar
        assert len(axes.texts) == matrix.size
        for text in axes.texts:
            column, row = text.get_position()
            value = sign * matrix[row, column]
            assert text.get_text() == format(value, ".3f")
            ground = axes.images[0].to_rgba(value)[:3]
            assert contrast(to_rgb(text.get_color()), ground) > 4.4


def test_tokens_are_shown_literally_and_their_spaces_too():
    figure = heatmap([[1.0, 2.0, 3.0]], column_labels=[" the", "$$", "a\tb\n"])
    assert tick_labels(figure.axes[0].xaxis) == ["␣the", "$$", "a⇥b↵"]
    svg(figure)  # "$$" is no formula
    assert figures._visible("  ") == "␣␣"
    assert figures._visible(" two words ") == "␣two words␣"


def test_rows_without_labels_are_counted_in_whole_numbers():
    labels = tick_labels(heatmap(np.ones((20, 3))).axes[0].yaxis)
    assert labels and all(label.lstrip("−").isdigit() for label in labels)


@pytest.mark.parametrize(
    ("matrix", "options", "says"),
    [
        (np.ones((0, 3)), {}, "matrix is empty"),
        ([[1, nan]], {}, "matrix holds 1 of 2 values that are not finite"),
        ([1, 2], {}, r"needs a matrix; got shape \(2,\)"),
        ([[1, -2]], {}, "got -2: pass signed=True"),
        ([[1, 2]], {"row_labels": ["a", "b"]}, "one label per row; got 2 for 1"),
        ([[1, 2]], {"column_labels": ["a"]}, "one label per column; got 1 for 2"),
    ],
)
def test_heatmap_refuses_what_cannot_be_drawn(matrix, options, says):
    with pytest.raises(ValueError, match=says):
        heatmap(matrix, **options)


def test_matrices_stand_side_by_side_with_numbers_shapes_and_frames():
    figure = matrices(
        PRODUCT | {"A B": [[2.0]]},
        signs=["·", "="],
        row_labels={"B": ["files", "my"]},
        column_labels={"A": ["files", "my"]},
        marked={"A": (0, None), "B": (None, 0), "A B": (0, 0)},
    )
    left, middle, _ = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["A", "B", "A B"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["(1, 2)", "(2, 1)", "(1, 1)"]
    assert [text.get_text() for text in left.texts] == ["1", "-2"]
    assert [text.get_text() for text in middle.texts] == ["3", "0.5"]
    assert [text.get_text() for text in figure.texts] == ["·", "="]
    assert tick_labels(left.xaxis) == tick_labels(middle.yaxis) == ["files", "my"]
    boxes = [axes.patches[0].get_bbox().bounds for axes in figure.axes]
    assert boxes == [(-0.5, -0.5, 2, 1), (-0.5, -0.5, 1, 2), (-0.5, -0.5, 1, 1)]
    limits = {axes.images[0].get_clim() for axes in figure.axes}
    assert limits == {(-3, 3)}  # one colour means one number
    svg(figure)
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
    assert all(figure.bbox.containsx(x) for box in boxes for x in (box.x0, box.x1))
    assert all(figure.bbox.containsy(y) for box in boxes for y in (box.y0, box.y1))


@pytest.mark.parametrize(
    ("named", "options", "says"),
    [
        ({"A": [1.0]}, {"signs": []}, r"A must be a matrix; got shape \(1,\)"),
        ({"A": [[nan]]}, {"signs": []}, "A holds 1 of 1 values that are not finite"),
        (PRODUCT, {"signs": []}, r"2 matrices need a sign between any two: \[\]"),
        ({"A": np.ones((1, 50))}, {"signs": []}, "50 columns are too many"),
        (
            {"A": [[1.0]]},
            {"signs": [], "row_labels": {"A": ["a", "b"]}},
            "one label per row",
        ),
    ],
)
def test_matrices_refuses_what_cannot_be_drawn(named, options, says):
    with pytest.raises(ValueError, match=says):
        matrices(named, **options)


def test_maps_share_their_labels_and_one_scale():
    figure = maps(MAPS, row_labels="pq", column_labels="abc", scale="weight")
    *grid, bar = figure.axes
    assert [axes.get_title(loc="left") for axes in grid] == [*MAPS]
    for axes, matrix in zip(grid, MAPS.values(), strict=True):
        assert axes.images[0].get_array().tolist() == matrix
        assert axes.images[0].get_clim() == (0, 1)
        assert tick_labels(axes.xaxis) == [*"abc"]
    assert tick_labels(grid[0].yaxis) == [*"pq"]
    assert bar.get_ylabel() == "weight"


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({}, "1 to 4 maps; got 0"),
        (dict.fromkeys("vwxyz", [[1.0, 0, 0]] * 2), "1 to 4 maps; got 5"),
        ({"head": [[1.0, 0, 0]]}, r"'head' must be \(2, 3\).*got \(1, 3\)"),
        ({"head": [[1.0, 0, -1]] * 2}, "not negative; got .* from -1"),
        ({"head": [[1.0, 0, math.nan]] * 2}, "head holds 2 of 6 values"),
    ],
)
def test_maps_refuses_what_cannot_be_drawn(named, says):
    with pytest.raises(ValueError, match=says):
        maps(named, row_labels="pq", column_labels="abc", scale="weight")


def test_a_picture_is_bright_where_the_weight_is_and_its_rows_run_down():
    picture = np.zeros((4, 6, 3))
    picture[:2, 4:] = (0, 0, 1)  # upper right, where the weight is
    named = {"blue": (picture, torch.tensor([[0.0, 0.04, 0.96], [0, 0, 0]]))}
    (axes,) = patches(named).axes
    np.testing.assert_array_equal(axes.images[0].get_array(), picture)
    assert axes.images[0].get_extent() == [0, 3, 2, 0]
    veils = {veil.get_xy(): veil.get_alpha() for veil in axes.patches}
    assert len(veils) == 6 and veils[2, 0] == 0 and veils[0, 1] == 0.5
    assert veils[1, 0] == pytest.approx(0.5 * (1 - 0.04 / 0.96))
    (written,) = axes.texts  # 0.04 is too little to write
    assert written.get_text() == "0.96"
    assert 2 < written.get_position()[0] < 3 and 0 < written.get_position()[1] < 1
    assert axes.get_title(loc="left") == "blue"
    assert svg(patches({"no weight": (picture, np.zeros((2, 3)))}))


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({}, "1 to 4 pictures; got 0"),
        (dict.fromkeys("vwxyz", PICTURES["red"]), "1 to 4 pictures; got 5"),
        ({"grey": (np.ones((4, 6)), [[1.0]])}, r"'grey' must be .*\(4, 6\)"),
        ({"flat": (np.ones((4, 6, 3)), [1.0])}, r"'flat' must be .*\(1,\)"),
        ({"loud": (np.full((4, 6, 3), 2.0), [[1.0]])}, "'loud' must lie .*got 2 to 2"),
        ({"less": (np.ones((4, 6, 3)), [[-1.0]])}, "weights not under 0; .* -1"),
        ({"gone": (np.ones((4, 6, 3)), [[nan]])}, "gone holds 1 of 1 values"),
    ],
)
def test_patches_refuses_what_cannot_be_drawn(named, says):
    with pytest.raises(ValueError, match=says):
        patches(named)


def test_a_landscape_has_contours_and_a_path():
    both = BOWLS | {"canyon": (lambda x, y: x**2 + 99 * y**2, torch.ones(4, 2))}
    figure = landscapes(both, xlabel="x", ylabel="y", reach=2)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["bowl", "canyon"]
    path, start = figure.axes[0].lines
    np.testing.assert_array_equal(path.get_xydata(), [(1, 1), (0.5, -0.5), (0, 0)])
    np.testing.assert_array_equal(start.get_xydata(), [(1, 1)])
    (contours,) = figure.axes[0].collections
    assert len(contours.levels) == 10 and contours.levels[-1] == 40
    with pytest.raises(ValueError, match="the path in 'bowl' holds 1 of 2 values"):
        landscapes({"bowl": (BOWLS["bowl"][0], [(0, np.nan)])}, xlabel="x", ylabel="y")
    with pytest.raises(ValueError, match="at least one landscape"):
        landscapes({}, xlabel="x", ylabel="y")


def test_boxes_hold_what_is_in_them_literally_and_the_marked_are_filled():
    (axes,) = boxes([[("un", "7"), ("$do$", "9")], [("it", "9")]], marked=["9"]).axes
    said = [text.get_text() for text in axes.texts]
    assert said == ["un", "7", "$do$", "9", "it", "9"]
    assert not any(text.get_parse_math() for text in axes.texts)
    fills = [box.get_facecolor() for box in axes.patches]
    assert fills[0] == (1, 1, 1, 1) and fills[1] == fills[2] != fills[0]
    (left, right, far) = (box.get_bbox() for box in axes.patches)
    assert left.x1 < right.x0 and right.x1 - left.x1 > 0
    assert far.x0 - right.x1 > right.x0 - left.x1  # the gap between words


def test_boxes_go_on_in_the_next_row_and_a_long_text_says_what_is_left_out():
    (axes,) = boxes([[("piece", str(i))] for i in range(200)], title="all").axes
    places = [box.get_bbox() for box in axes.patches]
    assert len({place.y0 for place in places}) == 8
    assert max(place.x1 for place in places) <= axes.get_xlim()[1]
    assert axes.get_title("left") == f"all ({200 - len(places)} more are not drawn)"
    (axes,) = boxes([[("p" * 500, "1")]]).axes
    assert axes.patches[0].get_bbox().x1 <= axes.get_xlim()[1]
    with pytest.raises(ValueError, match="no boxes"):
        boxes([[]])


def test_an_unrolled_network_has_a_state_per_word():
    _, right = unrolled(["The", "capital"]).axes
    shown = [text.get_text() for text in right.texts]
    assert {"The", "capital", "$h_0$", "$h_1$", "$h_2$"} <= set(shown)
    assert "$h_3$" not in shown
    with pytest.raises(ValueError, match="at least one word"):
        unrolled([])


# Colours: how people see them (Machado, Oliveira and Fernandes, 2009, at full severity)

VISION = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(rgb):
    rgb = np.asarray(rgb)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """The contrast ratio of WCAG 2."""
    low, high = sorted(
        linear(c) @ [0.2126, 0.7152, 0.0722] + 0.05 for c in (one, other)
    )
    return high / low


def lab(light):
    """CIE L*a*b* of linear RGB."""
    to_xyz = [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
    x, y, z = np.cbrt(to_xyz @ np.clip(light, 0, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def closest(colours, vision):
    seen = [lab(np.array(VISION[vision]) @ linear(to_rgb(c))) for c in colours]
    return min(np.linalg.norm(a - b) for a, b in combinations(seen, 2))


def test_each_colour_stands_out_on_white():
    assert min(contrast(to_rgb(c), (1, 1, 1)) for c in COLOURS) > 3
    assert contrast(to_rgb("#F0E442"), (1, 1, 1)) < 3  # a colour that was left out


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colours_differ_for_every_eye(vision):
    assert closest(COLOURS, vision) > 15


def test_the_test_of_colours_can_fail():
    assert closest((COLOURS[1], "#B07A00"), "no green") < 5


# Points in a plane


def test_a_plane_names_its_points_and_draws_its_arrows():
    kinds = {"noun": [("dog", 1, 2), ("cat <", 3, 4)], "rest": [("", 0, 0)]}
    figure = plane(kinds, **NAMES, arrows=[((1, 2), (3, 4))], equal=True)
    (axes,) = figure.axes
    nouns, rest = axes.lines
    assert nouns.get_xydata().tolist() == [[1, 2], [3, 4]]
    assert rest.get_markersize() < nouns.get_markersize()
    shown = {text.get_text(): text.get_ha() for text in axes.texts if text.get_text()}
    assert shown == {"dog": "left", "cat": "right"}
    assert [text.xy for text in axes.texts if text.arrow_patch] == [(3, 4)]
    assert axes.get_aspect() == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == ["noun", "rest"]


@pytest.mark.parametrize(
    ("kinds", "options", "says"),
    [
        ({}, {}, "at least one kind of points; got none"),
        ({"noun": []}, {}, "x of 'noun' is empty"),
        ({"noun": [("dog", 1, nan)]}, {}, "y of 'noun' holds 1 of 1"),
        (
            {"noun": [("dog", 1, 2)]},
            {"arrows": [((0, 0), (nan, 1))]},
            "arrow holds 1 of 2",
        ),
    ],
)
def test_plane_refuses_what_cannot_be_drawn(kinds, options, says):
    with pytest.raises(ValueError, match=says):
        plane(kinds, **NAMES, **options)


# Number lines and histograms


def test_a_histogram_counts_every_value_and_draws_every_level():
    values = np.linspace(-1, 1, 500)
    figure = histograms({"a": (values, [-1, 0, 1]), "b": (values[:9], [0])}, xlabel="x")
    first, second = figure.axes
    assert sum(first.patches[0].get_data().values) == 500
    assert [len(axes.collections[0].get_segments()) for axes in (first, second)] == [
        3,
        1,
    ]
    with pytest.raises(ValueError, match="1 to 4"):
        histograms({}, xlabel="x")
    with pytest.raises(ValueError, match="not finite"):
        histograms({"a": ([math.nan], [0])}, xlabel="x")


def test_number_lines_have_a_tick_for_each_number_in_the_order_given():
    figure = number_lines({"b": [0, 1, 2], "a": [5]}, xlabel="value")
    axes = figure.axes[0]
    assert tick_labels(axes.yaxis) == ["b", "a"]
    assert [len(c.get_segments()) for c in axes.collections] == [3, 1]
    with pytest.raises(ValueError, match="at least one"):
        number_lines({}, xlabel="value")
    with pytest.raises(ValueError, match="empty"):
        number_lines({"a": []}, xlabel="value")
