"""Figures of what is asked for, and of how the search went."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from llpf_plugin.quality import Diversity, LossPlane, Sharpness
from llpf_plugin.records import Tick
from llpf_plugin.report.path_figures import ALONG, FLOOR
from llpf_plugin.report.style import BLUE, CARD, GREEN, MUTED, ORANGE, PURPLE, SERIES, new_figure, plain_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure


DARK, LIGHT = "#101418", "#fbfbfb"
"""Of what is drawn on the contours, which look the same in every theme."""

FINER = 4
"""Grid points that are interpolated for one that was measured."""


def diversity_figure(found: Diversity) -> "Figure":
    """Disagreement with the ends, and errors of points and of ensembles, along the path."""
    figure = new_figure((CARD[0], 3.9))
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(found.t, 100 * found.disagreement_a, color=BLUE, label="with A")
    above.plot(found.t, 100 * found.disagreement_b, color=ORANGE, label="with B")
    above.set_ylabel("disagreement, %")
    above.legend(ncols=2)
    below.plot(found.t, 100 * found.error, color=PURPLE, label="point")
    below.plot(found.t, 100 * found.pair_error, color=GREEN, label="ensemble {A, point}")
    below.axhline(100 * found.path_error, color=MUTED, lw=1, ls=(0, (5, 3)), label="ensemble of all")
    below.set_ylabel("error, %")
    below.legend(fontsize=7, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), handlelength=1.4)
    below.set_xlabel(ALONG)
    return figure


def sharpness_figure(profiles: Mapping[str, Sharpness]) -> "Figure":
    """Sharpness profiles: mean loss over random directions, with the range of them shaded."""
    figure = new_figure(CARD)
    axes = figure.subplots()
    for (name, profile), color in zip(profiles.items(), SERIES, strict=False):
        losses = np.maximum(profile.losses, FLOOR)
        axes.fill_between(profile.radii, losses.min(1), losses.max(1), color=color, alpha=0.15, lw=0)
        axes.plot(profile.radii, np.maximum(profile.mean, FLOOR), "o-", ms=3, color=color, label=name)
    plain_log(axes)
    axes.set_xlabel("relative size of the perturbation")
    axes.set_ylabel("training loss")
    axes.legend()
    return figure


def walk_figure(record: Sequence[Tick]) -> "Figure | None":
    """How the search went: mini-batch loss and distance to go against gradient steps; None without a record of them."""
    if len(record) < 2:
        return None
    steps = [tick.gradient_steps for tick in record]
    undone = [i for i, tick in enumerate(record) if not tick.kept]
    losses = np.array([tick.settled_loss for tick in record], dtype=float)
    losses = np.where(np.isfinite(losses), np.maximum(losses, FLOOR), np.nan)
    figure = new_figure((CARD[0], 3.6))
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(steps, [tick.gap for tick in record], ".-", color=BLUE, lw=1.3, ms=4)
    below.plot(steps, losses, ".-", color=ORANGE, lw=1.3, ms=4)
    above.set_ylabel("distance to go")
    above.set_ylim(bottom=0)
    below.plot([steps[i] for i in undone], [losses[i] for i in undone], "x", color=MUTED, ms=6, label="move undone")
    plain_log(below)
    below.set_ylabel("mini-batch loss")
    below.set_xlabel("gradient steps")
    if undone:
        below.legend()
    return figure


def plane_figure(plane: LossPlane) -> "Figure":
    """Contours of the training loss (logarithmic), the path projected on the plane, A, B and the middle."""
    from matplotlib.ticker import FuncFormatter
    from scipy.interpolate import RectBivariateSpline

    figure = new_figure((4.2, 3.5))
    axes = figure.subplots()
    finite = np.nan_to_num(plane.loss, nan=np.nanmax(plane.loss[np.isfinite(plane.loss)]), posinf=1e9)
    logs = np.log10(np.maximum(finite, 1e-6))
    x, y = (np.linspace(v[0], v[-1], FINER * len(v)) for v in (plane.x, plane.y))
    smooth = RectBivariateSpline(plane.y, plane.x, logs, kx=min(3, len(plane.y) - 1), ky=min(3, len(plane.x) - 1))(y, x)
    levels = np.linspace(logs.min(), logs.max(), 13)
    filled = axes.contourf(x, y, smooth, levels=levels, cmap="cividis", extend="both")
    axes.contour(x, y, smooth, levels=levels, colors=LIGHT, linewidths=0.4, alpha=0.45)
    axes.plot(*plane.knots.T, "-", color=DARK, lw=3.2, alpha=0.55)
    axes.plot(*plane.knots.T, "o-", color=LIGHT, lw=1.6, ms=2.4)
    for name, (px, py) in plane.marks.items():
        axes.plot(px, py, "o", color=LIGHT, mec=DARK, mew=0.8, ms=6)
        axes.annotate(
            name, (px, py), (0, -15 if name in ("A", "B") else 8), textcoords="offset points", ha="center", fontsize=9,
            color=LIGHT, fontweight="bold",
        )  # fmt: skip
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xlabel("along A → B, Euclidean length in weight space")
    bar = figure.colorbar(
        filled, ax=axes, location="bottom", aspect=34, pad=0.02, format=FuncFormatter(lambda v, _: f"{10**v:.2g}")
    )
    bar.set_label("training loss")
    bar.outline.set_visible(False)
    return figure
