"""From settings to a finder: phases, pace and settling, with the losses that the ends have taken into account."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from llpf_plugin.errors import OrderError
from llpf_plugin.evaluation.goal import Levels
from llpf_plugin.llpf.low_loss import LowLoss, PhaseRule
from llpf_plugin.llpf.pace import AdaptivePace
from llpf_plugin.llpf.schedule import read_schedule
from llpf_plugin.llpf.settle import SettleRule
from llpf_plugin.order import LayerOrder, layer_order
from llpf_plugin.order import phases as cut_phases
from llpf_plugin.search.settings import Settings
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Gradient

THRESHOLD, BARRIER = 0.5, 3.0
"""Where settling ends and where a move is undone, in units of the room between the ends' loss and the goal."""

YIELD = 0.25
"""With phases ``auto``: the part of the first share at which moving all layers at once gives way to FDF phases."""

Slices = Mapping[str, frozenset[str]]
"""The coordinates of each phase's own slice of the order, by the phase's name, in order."""


def all_at_once(task: Task) -> Slices:
    """The one slice that holds every coordinate."""
    return {"all": frozenset(k for k, p in task.model.named_parameters() if p.is_floating_point())}


def cut_slices(settings: Settings, gradient: Gradient) -> Slices:
    """The phases that the settings ask for, in the order in which data meet the model's layers.

    Raises:
        OrderError: an unknown mode, an order of another model, or patterns that do not match it.
    """
    task, mode = gradient.task, str(settings.phases)
    if mode == "all" or settings.pace != "adaptive" or settings.method != "llpf":
        return all_at_once(task)
    try:
        order = read_order(settings.order, task)
    except OrderError as error:
        if mode != "auto" or settings.order != Settings.order:
            raise
        warnings.warn(f"no layer order, so all layers move at once: {error}", stacklevel=2)
        return all_at_once(task)
    phases = cut_phases(order, "stage" if mode == "auto" else mode)
    moving = all_at_once(task)["all"]
    if settings.order == "reversed":
        phases = phases[::-1]
    return {p.name: frozenset(k for n in p.layers for k in order[n].parameters) & moving for p in phases}


def read_order(which: str, task: Task) -> LayerOrder:
    """The task's layer order: ``fdf``, ``levels``, ``reversed`` (whose phases `cut_slices` turns), or a file's.

    Raises:
        OrderError: the file is of another model, or it is neither.
    """
    if which in ("fdf", "levels", "reversed"):
        kind: Literal["fdf", "levels"] = "levels" if which == "levels" else "fdf"
        return layer_order(task.model, task.example_inputs(), order=kind)
    if not Path(which).is_file():
        raise OrderError(f"order {which!r}: it is fdf, levels, reversed, or a JSON file that llpf-order wrote")
    order = LayerOrder.from_json(Path(which).read_text(encoding="utf-8"))
    stored = {k for layer in order.layers for k in layer.parameters}
    own = {k for k, _ in task.model.named_parameters()}
    if stored != own:
        odd = ", ".join(sorted(stored ^ own)[:5])
        raise OrderError(f"{which} is the order of another model ({order.model}): {odd} is not in both")
    return order


def make_finder(settings: Settings, task: Task, levels: Levels, slices: Slices, strictness: int = 0) -> LowLoss:
    """The walk that the settings ask for.

    Args:
        settings: what the user asked for.
        task: whose defaults fill what was not asked for.
        levels: losses of the ends, and the goal.
        slices: phases of the layer order; more than one are walked cumulatively, with all layers last.
        strictness: 0 for the walk itself; each repair quarters the moves, and halves threshold and barrier.
    """
    rule = settle_rule(settings, task, levels, strictness)
    if settings.pace != "adaptive" and strictness == 0:
        return LowLoss(read_schedule(settings.pace, task, rule), settings.correct)
    two_sided = settings.sides == "both"
    pace = AdaptivePace(barrier_level(settings, levels, strictness), settings.share / 4**strictness)
    pace = replace(pace, least=min(pace.least, pace.share), most=max(pace.share, pace.most / 4**strictness))
    everything = frozenset().union(*slices.values())
    at_once = PhaseRule("all", everything, pace, rule, last=True)
    if len(slices) == 1 or strictness > 0:
        return LowLoss((at_once,), settings.correct, two_sided)
    phases, active = [], frozenset[str]()
    for name, own in slices.items():
        active |= own
        phases.append(PhaseRule(name, active, pace, rule))
    first = (replace(at_once, yields=YIELD * pace.share),) if settings.phases == "auto" else ()
    return LowLoss((*first, *phases), settings.correct, two_sided)


def settle_rule(settings: Settings, task: Task, levels: Levels, strictness: int = 0) -> SettleRule:
    """How settling ends: by default `THRESHOLD` times the room above the ends' mini-batch loss."""
    threshold = settings.threshold or levels.batch + THRESHOLD * levels.room
    threshold = levels.batch + (threshold - levels.batch) / 2**strictness
    lr = task.defaults.lr if settings.lr is None else settings.lr
    momentum = task.defaults.momentum if settings.momentum is None else settings.momentum
    least, most = (settings.min_steps, settings.max_steps) if settings.settle else (0, 0)
    return SettleRule(threshold, least, most, lr=lr, momentum=momentum)


def barrier_level(settings: Settings, levels: Levels, strictness: int = 0) -> float:
    """The mini-batch loss that undoes a move: by default `BARRIER` times the room above the ends'.

    Without settling nothing brings the loss down again, and no move is undone.
    """
    if not settings.settle:
        return math.inf
    barrier = settings.barrier or levels.batch + BARRIER * levels.room
    return levels.batch + (barrier - levels.batch) / 2**strictness
