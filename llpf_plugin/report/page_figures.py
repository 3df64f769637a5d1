"""Which figures a page has, with their titles and words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llpf_plugin.report import comparison_figures as several
from llpf_plugin.report import extra_figures, layer_figures
from llpf_plugin.report.measured import Measured
from llpf_plugin.report.path_figures import bands, path_figure
from llpf_plugin.report.style import NARROW, WIDE, inline
from llpf_plugin.runs.tree import Join

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """A figure and what it shows.

    Attributes:
        name: of its file, unique in a report.
        title: above it.
        words: below it.
        figure: itself.
        wide: whether it takes the page's width; then `narrow` is its form for phones.
        narrow: likewise.
    """

    name: str
    title: str
    words: str
    figure: "Figure"
    narrow: "Figure | None" = None

    @property
    def svg(self) -> str:
        """The figure for the page."""
        return inline(self.figure, self.name, f"{self.title}: {self.words}")

    @property
    def narrow_svg(self) -> str:
        """Its form for narrow windows, empty if it has none."""
        if self.narrow is None:
            return ""
        return inline(self.narrow, f"{self.name}-narrow", f"{self.title}: {self.words}")


def run_figures(one: Measured, prefix: str = "") -> Iterator[Drawn]:
    """The figures of one run, in the order of the page.

    Args:
        one: the measured run.
        prefix: of the figures' names, where a report has several runs.
    """

    def drawn(name: str, title: str, words: str, figure: "Figure", narrow: "Figure | None" = None) -> Drawn:
        return Drawn(f"{prefix}-{name}" if prefix else name, title, words, figure, narrow)

    quality, found = one.quality, bands(one.quality.path)
    line = () if quality.path.open else one.line  # which leads elsewhere than such a path
    wide, narrow = (path_figure(quality, size, one.picked.t, line) for size in (WIDE, NARROW))
    words = "Phases are shaded in turns; ticks below the loss are knots."
    words += " The straight line is what averaging would do." if line else " The path does not lead to B."
    yield drawn("path", "Loss and accuracy along the path", words, wide, narrow)
    words = "From each knot to the end that the search walked to"
    words += "." if quality.path.open else "; the segment from there to B closes the path."
    yield drawn("distance", "Distance of each layer", words, layer_figures.distance_figure(one.trace, found))
    words = "Layers in the order in which data meet them. A dark stretch is where a layer moves most."
    yield drawn("moves", "What moved when", words, layer_figures.moves_figure(one.trace, found))
    if one.trace.tensors:
        words = "Variance of every tensor about its own mean, over that in A: at 1 it lies on A's variance sphere."
        yield drawn("variance", "Variance of each layer", words, layer_figures.variance_figure(one.trace, found))
    if one.plane is not None and np.isfinite(one.plane.loss).any():
        away = f"knots lie up to {one.plane.away.max():.3g} away from it"
        words = f"The path is projected on the plane; {away}. Loss on {one.plane.sample} training examples."
        title = f"The plane through A, B and the {'end' if quality.path.open else 'middle'}"
        yield drawn("plane", title, words, extra_figures.plane_figure(one.plane))
    walk = extra_figures.walk_figure(quality.path.record)
    if walk is not None:
        words = "Distance of the layers that move, and mean mini-batch loss after settling, tick by tick."
        yield drawn("search", "How the search went", words, walk)
    if one.layers:
        words = "One layer goes straight from A to B, all others stay; measured above the line between the two losses."
        yield drawn("layers", "Layer-wise barriers", words, layer_figures.barrier_figure(one.layers))
    for split, diversity in one.diversity.items():
        if not diversity.why:
            words = f"On {split} data. The ensemble of A and B errs on {diversity.ends_error:.2%}."
            title = f"Diversity and ensembles, {split}"
            yield drawn(f"diversity-{split}", title, words, extra_figures.diversity_figure(diversity))
    if one.sharpness:
        words = "Training loss under random perturbations, mean and range over directions."
        yield drawn("sharpness", "Sharpness profile", words, extra_figures.sharpness_figure(one.sharpness))


def tree_drawn(names: Sequence[str], joins: Sequence[Join]) -> Drawn:
    """The figure of a tree."""
    words = "Models at the foot; above every pair the model that advances. Dotted: an end that was dropped."
    wide, narrow = (several.tree_figure(names, joins, size) for size in (WIDE, NARROW))
    return Drawn("tree", "What was joined with what", words, wide, narrow)


def comparison_figures(examined: Sequence[Measured]) -> Iterator[Drawn]:
    """The figures that show all runs at once."""
    goals = {one.quality.goal for one in examined}
    goal = goals.pop() if len(goals) == 1 else None
    paths = [one for one in examined if not one.quality.path.open]
    dots = [several.Dot(o.run.name, o.run.method, o.steps, o.quality.maximum) for o in paths]
    words = "Lower and further left is better; without what does not lead to B."
    yield Drawn("frontier", "What it cost, and what it reached", words, several.frontier_figure(dots, goal))
    qualities = {one.run.name: one.quality for one in examined}
    methods = {one.run.name: one.run.method for one in examined}
    words = "Every path by its own arc length."
    yield Drawn("overlay", "Training loss along every path", words, several.overlay_figure(qualities, methods, goal))
