"""Figures of what costs further evaluations, and of how the search went."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from llpf_plugin.records import Tick
from llpf_plugin.report import Measured
from llpf_plugin.report.extra_figures import diversity_figure, plane_figure, sharpness_figure, walk_figure
from llpf_plugin.report.style import drawing


@pytest.fixture(autouse=True)
def matplotlib() -> Iterator[None]:
    with drawing():
        yield


def tick(i: int, kept: bool = True, loss: float = 0.1) -> Tick:
    return Tick("all", i, 4.0 - i, 0.2, loss, 3, kept, gradient_steps=3 * (i + 1))


def test_a_walk_is_one_line_of_gaps_and_one_of_losses() -> None:
    figure = walk_figure([tick(i) for i in range(4)])
    assert figure is not None
    above, below = figure.axes
    assert [len(line.get_xdata()) for line in above.lines] == [4] and above.get_legend() is None
    assert list(above.lines[0].get_xdata()) == [3, 6, 9, 12] and list(above.lines[0].get_ydata()) == [4, 3, 2, 1]
    assert list(below.lines[0].get_ydata()) == [0.1] * 4 and below.get_legend() is None


def test_moves_that_were_undone_are_marked() -> None:
    figure = walk_figure([tick(0), tick(1, kept=False), tick(2)])
    assert figure is not None
    crosses = figure.axes[1].lines[1]
    assert list(crosses.get_xdata()) == [6] and figure.axes[1].get_legend() is not None


def test_a_loss_that_is_no_number_is_a_gap() -> None:
    figure = walk_figure([tick(0), tick(1, loss=float("nan")), tick(2, loss=float("inf"))])
    assert figure is not None
    assert np.isfinite(figure.axes[1].lines[0].get_ydata()).tolist() == [True, False, False]


def test_without_a_record_there_is_no_figure() -> None:
    assert walk_figure([]) is None and walk_figure([tick(0)]) is None


def test_the_plane_has_the_path_and_its_three_points(everything: Measured) -> None:
    assert everything.plane is not None
    figure = plane_figure(everything.plane)
    axes = figure.axes[0]
    assert {text.get_text() for text in axes.texts} == {"A", "B", "middle"}
    assert len(axes.lines[0].get_xdata()) == len(everything.quality.path.knots)
    holes = everything.plane.loss.copy()
    holes[0, 0], holes[0, 1] = np.nan, np.inf
    assert plane_figure(replace(everything.plane, loss=holes)).axes


def test_a_sharpness_profile_a_place(everything: Measured) -> None:
    axes = sharpness_figure(everything.sharpness).axes[0]
    assert [line.get_label() for line in axes.lines] == list(everything.sharpness)
    assert all(np.isfinite(line.get_ydata()).all() for line in axes.lines)


def test_diversity_along_the_path(everything: Measured) -> None:
    above, below = diversity_figure(everything.diversity["test"]).axes
    assert [line.get_label() for line in above.lines] == ["with A", "with B"]
    assert above.lines[0].get_ydata()[0] == 0 == above.lines[1].get_ydata()[-1], "an end agrees with itself"
    assert [line.get_label() for line in below.lines] == ["point", "ensemble {A, point}", "ensemble of all"]
