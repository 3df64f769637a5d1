"""The picture of several searches on one pair: the loss along each path, and what each one cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from llpf_plugin.files import atomic_write
from llpf_plugin.settings import Settings

if TYPE_CHECKING:
    from llpf_merge.compare import Row

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
"""Okabe and Ito's, which the colour-blind can tell apart."""


def draw_rows(rows: Sequence["Row"], place: Path, settings: Settings) -> Path:
    """Draw and write the picture.

    Args:
        rows: the searches.
        place: a file name; its ending says the format.
        settings: for the goal, where ``max_loss`` states one.
    """
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    along, cost = figure.subplots(1, 2, width_ratios=(2, 1))
    for row, colour in zip(rows, COLOURS * 2, strict=False):
        places = [point["t"] for point in row.points]
        along.plot(places, [point["train"] for point in row.points], color=colour, label=row.name)
        cost.plot(max(row.steps, 1), row.maximum, "o", color=colour)
        cost.annotate(row.name, (max(row.steps, 1), row.maximum), xytext=(5, 4), textcoords="offset points", fontsize=8)
    for axes in (along, cost):
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        if settings.max_loss:
            axes.axhline(settings.max_loss, color="grey", ls="--", lw=1)
    along.set_xlabel("position t along the path (0 is A, 1 is B)")
    along.set_ylabel("training loss")
    along.legend(fontsize=8)
    cost.set_xscale("log")
    cost.margins(x=0.35)
    cost.set_xlabel("gradient steps")
    cost.set_ylabel("maximum training loss on the path")
    atomic_write(place, lambda partial: figure.savefig(partial, format=place.suffix[1:], dpi=150))
    return place
