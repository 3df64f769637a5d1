"""Figures that show several runs at once."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from llpf_plugin.quality import Quality
from llpf_plugin.report.comparison_figures import (
    LABEL,
    Dot,
    frontier_figure,
    method_colors,
    overlay_figure,
    tree_figure,
)
from llpf_plugin.report.style import GREEN, RED, SERIES, drawing
from llpf_plugin.runs import Join, balanced


@pytest.fixture(autouse=True)
def matplotlib() -> Iterator[None]:
    with drawing():
        yield


def dots(figure: object) -> list[object]:
    """The points of a figure, legend entries left out."""
    (axes,) = figure.axes  # type: ignore[attr-defined]
    return [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]


def test_a_colour_a_method() -> None:
    assert method_colors(["a", "b", "a"]) == {"a": SERIES[0], "b": SERIES[1]}
    many = method_colors([str(i) for i in range(len(SERIES) + 1)])
    assert many["0"] == many[str(len(SERIES))]


def test_a_dot_a_run_with_its_name() -> None:
    figure = frontier_figure([Dot("one", "llpf", 10, 0.1), Dot("two", "bezier", 300, 2.0)], 0.2)
    found = dots(figure)
    assert [tuple(dot.get_xydata()[0]) for dot in found] == [(10, 0.1), (300, 2.0)]  # type: ignore[attr-defined]
    assert {text.get_text() for text in figure.axes[0].texts} == {"one", "two", "goal 0.2"}


def test_what_is_not_known_or_not_finite_is_left_out() -> None:
    some = [Dot("a", "llpf", None, 0.1), Dot("b", "llpf", 10, float("inf")), Dot("c", "llpf", 10, 0.0)]
    (dot,) = dots(frontier_figure(some, None))
    assert dot.get_ydata()[0] > 0, "a loss of 0 has a place on a logarithmic axis"  # type: ignore[attr-defined]
    assert dots(frontier_figure([], 0.1)) == []


def test_the_names_of_neighbours_do_not_cover_each_other() -> None:
    figure = frontier_figure([Dot(f"run {i}", "llpf", 100 + i, 0.1 + 1e-4 * i) for i in range(6)], None)
    points = 72 / figure.dpi
    places = [
        points * figure.axes[0].transData.transform(text.xy) + np.array(text.get_position())
        for text in figure.axes[0].texts
    ]
    for i, (x, y) in enumerate(places):
        for u, v in places[:i]:
            assert abs(x - u) >= LABEL[0] or abs(y - v) >= LABEL[1] - 1e-6


def test_many_runs_have_a_legend_of_methods_in_place_of_names() -> None:
    figure = frontier_figure([Dot(f"run {i}", "ab"[i % 2], i, 0.1) for i in range(9)], None)
    legend = figure.axes[0].get_legend()
    assert legend is not None and [t.get_text() for t in legend.get_texts()] == ["a", "b"]
    assert not figure.axes[0].texts


def test_all_paths_by_their_own_arc_length(quality: Quality) -> None:
    worse = replace(quality, rows=[replace(row, train=(row.train or 0) + 1) for row in quality.rows])
    figure = overlay_figure({"one": quality, "two": worse}, {"one": "llpf", "two": "llpf"}, 0.2)
    one, two, goal = figure.axes[0].lines
    assert one.get_ydata() == pytest.approx(quality.column("train")) and min(two.get_ydata()) >= 1
    assert one.get_color() == two.get_color() and one.get_linestyle() != two.get_linestyle()
    assert set(goal.get_ydata()) == {0.2}


# ---- trees


def joined(count: int, advances: str = "merged", connected: bool = True) -> list[Join]:
    scores = {"A": "90 %", "B": "80 %", "merged": "95 %"}
    return [Join(node, connected, 0.1, 5, 1.0, scores, advances) for node in balanced(count).pairs()]


def test_long_names_leave_the_paths_their_room(quality: Quality) -> None:
    names = [f"run-with-quite-a-long-name-for-a-folder-number-{i}" for i in range(4)]
    widths = []
    for some in (names, ["one", "two", "three", "four"]):
        figure = overlay_figure(dict.fromkeys(some, quality), dict.fromkeys(some, "llpf"), 0.2)
        figure.canvas.draw()
        legend, box = figure.axes[0].get_legend().get_window_extent(), figure.bbox
        assert box.x0 <= legend.x0 and legend.x1 <= box.x1
        widths.append(figure.axes[0].get_window_extent().width)
    assert widths[0] > 0.95 * widths[1]


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_every_model_and_every_pair_has_its_place(count: int) -> None:
    names = [f"model {i}" for i in range(count)]
    figure = tree_figure(names, joined(count))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == 2 * count - 1
    assert all(any(text.startswith(name) for text in texts) for name in names)
    assert sum("max 0.1, 5 steps" in text for text in texts) == count - 1


def test_an_end_that_was_dropped_is_dotted_and_a_pair_that_failed_is_red() -> None:
    lines = tree_figure(["a", "b"], joined(2, "A", connected=False)).axes[0].lines
    assert [line.get_linestyle() for line in lines] == ["-", ":"] and {line.get_color() for line in lines} == {RED}
    lines = tree_figure(["a", "b"], joined(2)).axes[0].lines
    assert [line.get_linestyle() for line in lines] == ["-", "-"] and {line.get_color() for line in lines} == {GREEN}
