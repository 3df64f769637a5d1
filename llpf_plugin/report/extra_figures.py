"""Figures of what is asked for, and of how the search went."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from llpf_plugin.quality import Diversity, Sharpness
from llpf_plugin.records import Tick
from llpf_plugin.report.curves import ALONG, FLOOR
from llpf_plugin.report.style import BLUE, CARD, GREEN, MUTED, ORANGE, PURPLE, SERIES, new_figure, plain_log

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    losses = np.maximum(np.nan_to_num([tick.settled_loss for tick in record], nan=np.inf), FLOOR)
    losses = np.where(np.isfinite(losses), losses, np.nan)
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
