"""Figures along one path."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from llpf_plugin.errors import LLPFError
from llpf_plugin.quality import Quality
from llpf_plugin.records import Knot
from llpf_plugin.report import draw_path
from llpf_plugin.report.path_figures import Band, bands, path_figure, title
from llpf_plugin.report.style import CARD, WIDE, drawing


@pytest.fixture(autouse=True)
def matplotlib() -> Iterator[None]:
    with drawing():
        yield


class Walked:
    """As much of a path as its bands need: evenly spaced knots with these phases and legs."""

    def __init__(self, *labels: Knot) -> None:
        self.labels, self.knots = labels, labels
        self.positions = np.linspace(0, 1, len(labels))


def knot(phase: str | None, leg: str = "") -> Knot:
    return Knot("settled", phase, leg=leg)


def test_neighbouring_knots_of_one_phase_are_one_band() -> None:
    path = Walked(Knot("start"), knot("stem"), knot("stem"), knot("all"), Knot("end"))
    assert bands(path) == [Band(0.0, 0.5, "stem"), Band(0.5, 1.0, "all")]  # type: ignore[arg-type]


def test_a_leg_is_a_band() -> None:
    path = Walked(Knot("start"), knot("all", "A → A′"), knot("stem", "A′ → B′"), knot("all", "A′ → B′"), Knot("end"))
    assert [band.name for band in bands(path)] == ["A → A′", "A′ → B′"]  # type: ignore[arg-type]


def test_a_path_without_labels_has_none() -> None:
    path = Walked(Knot("start"), Knot("end"))
    path.labels = ()
    assert bands(path) == []  # type: ignore[arg-type]


def test_the_bands_of_a_walk_are_its_phases(quality: Quality) -> None:
    found = bands(quality.path)
    assert found[0].left == 0 and found[-1].right == 1
    assert all(one.right == two.left for one, two in pairwise(found))
    walked = {tick.phase for tick in quality.path.record}
    assert walked <= {band.name for band in found}


def test_what_is_drawn_of_a_path(quality: Quality) -> None:
    figure = path_figure(quality, WIDE, picked=0.5, line=[0.1, 1.0, 0.1])
    above, below = figure.axes
    labels = above.get_legend_handles_labels()[1]
    assert labels == ["straight line", "validation", "training", "goal 0.2", "merged model"]
    training = dict(zip(labels, above.lines, strict=False))["training"]
    assert training.get_ydata() == pytest.approx(quality.column("train"))
    (ticks,) = [line for line in above.lines if line.get_marker() == "|"]
    assert len(ticks.get_xdata()) == len(quality.path.knots)
    assert below.get_ylabel() == "accuracy, %" and max(below.lines[1].get_ydata()) <= 100


def test_a_path_without_accuracy_has_one_panel(quality: Quality) -> None:
    rows = [replace(row, train_accuracy=None, validation_accuracy=None) for row in quality.rows]
    figure = path_figure(replace(quality, rows=rows, goal=None), CARD)
    (axes,) = figure.axes
    assert axes.get_legend_handles_labels()[1] == ["validation", "training"]


def test_the_one_picture_of_a_run(quality: Quality, tmp_path: Path) -> None:
    starts = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    for kind, start in starts.items():
        assert draw_path(quality, tmp_path / f"path.{kind}", 0.5).read_bytes().startswith(start)


def test_the_verdict_in_one_line(quality: Quality) -> None:
    assert title(quality).startswith("connected: training loss at most 0.0") and "gradient steps" in title(quality)
    assert title(replace(quality, goal=1e-9)).startswith("not connected")


def test_without_matplotlib_the_remedy_is_named(
    quality: Quality, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LLPFError, match=r"matplotlib: pip install 'llpf-plugin\[report\]'"):
        draw_path(quality, tmp_path / "path.png")
    assert not list(tmp_path.iterdir())
