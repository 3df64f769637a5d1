"""Figures of layers: how far each still has to go, when it moves, on which sphere it is, and its own barrier."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llpf_plugin.quality import LayerBarrier, LayerTrace
from llpf_plugin.report.path_figures import ALONG, Band, shade
from llpf_plugin.report.style import BLUE, CARD, INK, MUTED, NAMED, ORANGE, depth_colors, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TALL = 60
"""Layers whose names still fit beside a map."""


def distance_figure(trace: LayerTrace, found: Sequence[Band] = ()) -> "Figure":
    """Relative distance of every layer to its destination along the path."""
    figure = new_figure(CARD)
    axes = figure.subplots()
    axes.set_xlim(-0.01, 1.01)
    shade(axes, found)
    _layer_lines(figure, axes, trace.positions, trace.distance, trace.layers)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("relative distance to the destination")
    return figure


def variance_figure(trace: LayerTrace, found: Sequence[Band] = ()) -> "Figure":
    """Variance of every tensor along the path, over its variance in A: 1 is A's variance sphere."""
    figure = new_figure(CARD)
    axes = figure.subplots()
    axes.set_xlim(-0.01, 1.01)
    shade(axes, found)
    start = np.where(trace.variance[0] > 0, trace.variance[0], np.nan)
    axes.axhline(1, color=MUTED, lw=0.8)
    _layer_lines(figure, axes, trace.positions, trace.variance / start, trace.tensors)
    axes.set_ylabel("variance / variance in A")
    return figure


def moves_figure(trace: LayerTrace, found: Sequence[Band] = ()) -> "Figure":
    """What moved when: rows are layers in the order of the data flow, shades the speed of each along the path."""
    count = len(trace.layers)
    figure = new_figure((CARD[0], min(7.0, 1.3 + 0.19 * min(count, 34))))
    axes = figure.subplots()
    widths = np.diff(trace.positions)
    speed = np.divide(trace.shares, widths[:, None], out=np.zeros_like(trace.shares), where=widths[:, None] > 0)
    top = max(2.0, float(np.quantile(speed[widths > 1e-3], 0.99))) if (widths > 1e-3).any() else 2.0
    edges = np.maximum.accumulate(trace.positions)
    mesh = axes.pcolormesh(edges, np.arange(count + 1), speed.T, cmap="YlGnBu", vmin=0, vmax=top, rasterized=True)
    axes.plot(trace.middles, np.arange(count) + 0.5, "o", color="#101010", ms=2.6)
    for band in found[1:]:
        axes.axvline(band.left, color="#101010", lw=0.7, ls=":")
    axes.invert_yaxis()
    axes.grid(False)
    if count <= TALL:
        size = 7.5 if count <= 34 else 4.5
        axes.set_yticks(np.arange(count) + 0.5, [_short(name) for name in trace.layers], fontsize=size)
        axes.tick_params(axis="y", length=0)
    else:
        axes.set_ylabel("layers, first to last")
    bar = figure.colorbar(mesh, ax=axes, location="bottom", shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("speed (1: the same everywhere); dots: halfway", fontsize=7.5)
    bar.outline.set_visible(False)
    axes.set_xlabel("position t along the path")
    return figure


def barrier_figure(barriers: Sequence[LayerBarrier]) -> "Figure":
    """The barrier of every layer by itself, with the others at A and at B."""
    count = len(barriers)
    figure = new_figure((CARD[0], min(7.0, 1.0 + 0.2 * min(count, 30))))
    axes = figure.subplots()
    places = np.arange(count)
    axes.barh(places - 0.2, [b.at_a for b in barriers], 0.36, color=BLUE, label="the rest at A")
    axes.barh(places + 0.2, [b.at_b for b in barriers], 0.36, color=ORANGE, label="the rest at B")
    axes.set_yticks(places if count <= TALL else [], [_short(b.layer) for b in barriers] if count <= TALL else [])
    axes.tick_params(axis="y", length=0, labelsize=7.5 if count <= 34 else 4.5)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.set_xlabel("barrier of the training loss")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def _layer_lines(figure: "Figure", axes: "Axes", x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> None:
    """One line a column of ``y``, coloured by its place in the order."""
    colors = depth_colors(len(names))
    for i, name in enumerate(names):
        axes.plot(x, y[:, i], color=colors[i], lw=1.2, label=_short(name) if len(names) <= NAMED else None)
    axes.set_xlabel(ALONG if figure.get_figwidth() > 5 else "position t along the path")
    if len(names) <= NAMED:
        axes.legend(fontsize=7, ncols=2, handlelength=1.2)
    elif len(names) > 1:
        _order_bar(figure, axes, colors)


def _order_bar(figure: "Figure", axes: "Axes", colors: Sequence[Any]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap

    bar = figure.colorbar(ScalarMappable(cmap=ListedColormap(list(colors))), ax=axes, aspect=28, pad=0.02)
    bar.set_ticks([0.02, 0.98], labels=["first", "last"], color=INK, rotation=90, va="center", fontsize=7.5)
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)


def _short(name: str) -> str:
    """The last parts of a long name."""
    name = name.removesuffix(".weight")
    return name if len(name) <= 24 else "…" + name[-23:]
