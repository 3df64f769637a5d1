"""Figures of layers."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from llpf_plugin.quality import LayerTrace
from llpf_plugin.report import Measured
from llpf_plugin.report.layer_figures import barrier_figure, distance_figure, moves_figure, variance_figure
from llpf_plugin.report.path_figures import bands
from llpf_plugin.report.style import NAMED, drawing


@pytest.fixture(autouse=True)
def matplotlib() -> Iterator[None]:
    with drawing():
        yield


def many(count: int) -> LayerTrace:
    """As many layers, which move one after another."""
    knots, names = count + 1, tuple(f"a.very.long.name.of.some.block.number{i}.weight" for i in range(count))
    moved = np.eye(count)
    distance = 1 - np.concatenate([np.zeros((1, count)), np.cumsum(moved, 0)])
    positions = np.linspace(0, 1, knots)
    return LayerTrace(names, positions, distance, moved, names, np.ones((knots, count)), np.zeros((knots, count)))


def test_every_layer_arrives_where_the_walk_walked_to(measured: Measured) -> None:
    """From there to B the path is closed across the spheres, so the distance grows again."""
    path = measured.quality.path
    axes = distance_figure(measured.trace, bands(path)).axes[0]
    lines = [line for line in axes.lines if line.get_label() in measured.trace.layers]
    assert len(lines) == len(measured.trace.layers)
    for line in lines:
        assert line.get_ydata()[path.last_settled] < 0.05 and line.get_ydata()[path.destination] == 0


def test_variance_is_that_of_a_where_it_is_1(measured: Measured) -> None:
    axes = variance_figure(measured.trace).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == len(measured.trace.positions)]
    assert lines and all(line.get_ydata()[0] == 1 for line in lines)
    still = replace(measured.trace, variance=np.zeros_like(measured.trace.variance))
    assert variance_figure(still).axes, "tensors that are constant in A have no sphere, and no line"


def test_few_layers_have_a_legend_and_many_a_scale() -> None:
    for count in (NAMED, NAMED + 1):
        figure = distance_figure(many(count))
        assert (figure.axes[0].get_legend() is not None) is (count <= NAMED)
        assert len(figure.axes) == (1 if count <= NAMED else 2)


@pytest.mark.parametrize(("count", "named"), [(5, True), (60, True), (61, False)])
def test_rows_are_layers_first_to_last(count: int, named: bool) -> None:
    axes = moves_figure(many(count)).axes[0]
    assert axes.yaxis_inverted()
    names = [label.get_text() for label in axes.get_yticklabels() if label.get_text().startswith("…")]
    assert len(names) == (count if named else 0)
    assert axes.lines[0].get_xdata() == pytest.approx((np.arange(count) + 0.5) / count), "dots: halfway"


def test_barriers_have_both_bars(everything: Measured) -> None:
    axes = barrier_figure(everything.layers).axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [b.at_a for b in everything.layers] + [b.at_b for b in everything.layers]
    assert [label.get_text() for label in axes.get_yticklabels()] == [b.layer for b in everything.layers]
