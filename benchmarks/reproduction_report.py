"""What `reproduce.py` has measured so far: the paper's table, and its figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from provenance import publish
from reproduction import Line
from shared import table

from llpf_plugin.errors import LLPFError
from llpf_plugin.report.style import SERIES, drawing, new_figure, save

HEAD = (
    "network and data", "way", "pairs", "straight line", "steps", "maximum", "worst", "rolling mean", "length",
    "test loss, end", "test loss, worse of A and B", "between knots", "connected",
)  # fmt: skip

ROWS = {
    "train": "training loss", "distance": "relative distance of every layer to B on A's spheres", "test": "test loss",
}  # fmt: skip
"""What the figure shows, from top to bottom."""


def report(lines: Sequence[Line], place: Path | None, words: Sequence[str] | None) -> None:
    """Print the table of all rows."""
    if not lines:
        raise LLPFError("there is no line yet: name a task to reproduce, such as mnist/lenet5")
    rows = [one_row(own) for own in by_row(lines).values()]
    publish(table(HEAD, rows), place, words, [line.measured for line in lines])


def by_row(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines of each row, in the order in which rows were begun."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(f"{name_of(line)}, {line.way}", []).append(line)
    return found


def name_of(line: Line) -> str:
    """The task with its arguments, and the epochs where they are not the recipe's."""
    epochs = [] if line.epochs is None else [f"{line.epochs:g} epochs"]
    epochs += [] if line.batch_size is None else [f"batches of {line.batch_size}"]
    return ", ".join([line.task, *(f"{k}={v}" for k, v in line.arguments.items()), *epochs])


def one_row(lines: Sequence[Line]) -> tuple[str, ...]:
    """A row of the table: means and standard deviations over the pairs."""
    first = lines[0]
    tested = [line for line in lines if line.ends["A"]["test"] is not None]
    worse = [max(line.ends[end]["test"] for end in "AB") for line in tested]
    between = [max(line.continuity["excess"]) for line in lines if line.continuity]
    return (
        name_of(first), first.way, str(len(lines)), spread([line.line for line in lines]),
        spread([line.steps for line in lines]), spread([line.maximum for line in lines]),
        f"{max(line.maximum for line in lines):.4g}", spread([line.rolling for line in lines]),
        spread([line.length for line in lines]), spread([line.ends["last"]["test"] for line in tested]),
        spread(worse), f"{max(between):+.2g}" if between else "–",
        f"{sum(line.connected for line in lines)} of {len(lines)}",
    )  # fmt: skip


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation; a dash where there is nothing."""
    return "–" if not values else f"{mean(values):.4g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")


def draw(lines: Sequence[Line], task: str | None, place: Path) -> None:
    """The figure of a task: training loss, distance, test loss along the path; mean ± deviation over the pairs."""
    chosen = by_row([line for line in lines if line.task == task])
    if not chosen:
        known = ", ".join(dict.fromkeys(line.task for line in lines)) or "none"
        raise LLPFError(f"there is no line of {task} to draw; there are lines of {known}")
    with drawing():
        figure = new_figure((9.2, 7.6))
        for axes, (what, words) in zip(figure.subplots(len(ROWS), sharex=True), ROWS.items(), strict=True):
            for colour, (name, own) in zip(SERIES, chosen.items(), strict=False):
                band(axes, own, what, colour, name)
            axes.set_title(words)
            if what != "distance":
                axes.set_yscale("log")
        axes.set_xlabel("position t along the path, by arc length")
        figure.axes[0].legend()
        save(figure, place)
    print(f"{place}: {sum(map(len, chosen.values()))} pairs")


def band(axes: Any, lines: Sequence[Line], what: str, colour: str, name: str) -> None:
    """One row's curve in one picture, the pairs' own curves thin beside it."""
    places, count = np.array(lines[0].curve["t"]), f"{len(lines)} pair{'s' * (len(lines) > 1)}"
    for layer, values in curves(lines, what).items():
        middle, around = values.mean(0), values.std(0)
        axes.plot(places, middle, color=colour, lw=0.9 if layer else 1.6, label=f"{name} ({count})")
        axes.fill_between(places, np.maximum(middle - around, values.min(0)), middle + around, color=colour, alpha=0.15)


def curves(lines: Sequence[Line], what: str) -> Mapping[str, np.ndarray]:
    """Values ``[pairs, places]``, by layer where every layer has its own; no place where there are no such data."""
    if what == "distance":
        return {layer: np.array([line.curve[what][layer] for line in lines]) for layer in lines[0].curve[what]}
    return {"": np.array([[np.nan if v is None else v for v in line.curve[what]] for line in lines])}
