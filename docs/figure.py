"""The figure of concepts.md, from a finished run: ``python docs/figure.py llpf-demo/run docs/concepts.svg``."""

import sys
from pathlib import Path

import numpy as np

from llpf_plugin import load_task, measure
from llpf_plugin.evaluation import losses_on_line
from llpf_plugin.report.style import BLUE, GREEN, INK, MUTED, ORANGE, drawing, new_figure, plain_log, save
from llpf_plugin.runs import open_run

POINTS = 24
"""Segments of the straight line that is drawn."""


def main(folder: str, place: str) -> None:
    """Draw it."""
    run = open_run(folder)
    quality = measure(run.path, load_task(*run.task))
    path, t, loss = quality.path, quality.column("t"), quality.column("train")
    line = losses_on_line(quality.workspace, path.knots[0], path.knots[-1], POINTS)
    at_knots = np.interp(path.positions, t, loss)
    with drawing():
        figure = new_figure((9.2, 4.2))
        axes = figure.subplots()
        axes.plot(np.linspace(0, 1, len(line)), line, ":", color=MUTED, lw=1.6)
        axes.plot(t, loss, color=BLUE)
        axes.plot(path.positions, at_knots, "o", color=BLUE, ms=4)
        last = path.last_settled
        axes.plot(path.positions[last:], at_knots[last:], "o-", color=ORANGE, ms=5)
        axes.axhline(quality.goal, color=INK, ls=(0, (5, 3)), lw=0.9)
        axes.axvline(run.picked, color=GREEN, lw=1.3)
        plain_log(axes)
        axes.set_ylim(min(loss) / 4, max(line) * 4)
        axes.set_xlim(-0.04, 1.06)
        axes.set_xlabel("position t along the path, by arc length")
        axes.set_ylabel("training loss")
        for words, spot, shift in (
            ("A", (0, loss[0]), (-12, -4)),
            ("B", (1, loss[-1]), (8, -4)),
            ("straight line: what averaging walks on", (0.5, max(line)), (-20, 10)),
            ("goal", (0.93, quality.goal), (0, 4)),
            ("knot, settled after a tick", (path.positions[last // 2], at_knots[last // 2]), (-70, -34)),
            ("last settled knot", (path.positions[last], at_knots[last]), (-110, -30)),
            ("closing segment", ((path.positions[last] + 1) / 2, at_knots[last]), (-40, 60)),
            ("merged model", (run.picked, max(line)), (6, 0)),
        ):
            arrow = {"arrowstyle": "-", "color": MUTED, "lw": 0.7} if len(words) > 12 and "line" not in words else None
            axes.annotate(words, spot, shift, textcoords="offset points", fontsize=9, color=INK, arrowprops=arrow)
        save(figure, Path(place))


if __name__ == "__main__":
    main(*sys.argv[1:])
