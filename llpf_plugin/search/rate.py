"""The learning rate that finds itself: Polyak's quotient at places of the line where the loss is high.

Settling knows the loss that it should come down to, ℓ*, that of mini-batches at the ends. Polyak's step from a point
with loss ℓ and gradient g is then ``(ℓ − ℓ*) / ‖g‖²``. Near ℓ* the quotient says nothing about the sharpest direction,
hence the places that are high.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from llpf_plugin.evaluation.goal import Goal
from llpf_plugin.evaluation.point import borrowed
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.weights import Weights, assign, lerp
from llpf_plugin.records import Outcome, Rate
from llpf_plugin.workspace import Workspace

LEVELS = (4.0, 1.0)
"""How high the places are: above ℓ*, in units of the room between the ends' loss and the goal."""

BATCHES = 8
"""Mini-batches of a level, the look for its place among them."""

WITHIN = 2.0
"""A mini-batch counts for a level if its loss is between the level over this and the level times this."""

FALL, FALLS = 4.0, 3
"""By what a collapse divides the learning rate, and how often."""


def find_rate(workspace: Workspace, a: Weights, b: Weights, goal: Goal) -> Rate:
    """The learning rate for settling: the geometric mean of what the levels say.

    Every mini-batch does two things: it says on which side of the level its place lies (bisection from A's half of the
    line), and if it is about as high as the level it gives a quotient. All of them count as gradient steps. Where the
    line is nowhere high, or the budget too small for a look, the rate is the task's.

    Args:
        workspace: whose model, batches and counter; the model is left as it was.
        a, b: coordinates of the ends.
        goal: the level of the ends, and the room above it.
    """
    before, left = workspace.steps, workspace.remaining
    rates: list[float] = []
    if left is None or left >= 2 * BATCHES * len(LEVELS):
        with borrowed(workspace):
            rates = _rates(workspace, on_spheres(a, b), goal)
    value, source = (_mean(rates), "found") if rates else (workspace.task.defaults.lr, "task")
    return Rate(value, source, workspace.steps - before)


def slower(rate: Rate | None, ended: str | None, workspace: Workspace) -> Rate | None:
    """The rate to search again with, None where the search has not collapsed, or the user or a schedule gave the rate.

    Args:
        rate: that of the search that has ended.
        ended: its outcome's name.
        workspace: whose counter says what was spent, and whether anything is left.
    """
    lost = ended in (Outcome.COLLAPSED.name, Outcome.DIVERGED.name)
    if not lost or rate is None or rate.source == "given" or rate.falls == FALLS or workspace.remaining == 0:
        return None
    return replace(rate, value=rate.value / FALL, steps=workspace.steps, falls=rate.falls + 1)


def _rates(workspace: Workspace, point: Callable[[float], Weights], goal: Goal) -> list[float]:
    """What each level says, if anything; every level's place lies before that of the one above it."""
    seen: list[tuple[float, float]] = []
    rates, high = [], 0.5
    for level in LEVELS:
        low, height = 0.0, level * goal.room
        for _ in range(BATCHES):
            place = (low + high) / 2
            seen.append(_look(workspace, point(place), goal.batch))
            low, high = (low, place) if seen[-1][0] > height else (place, high)
        quotients = [rise / g2 for rise, g2 in seen if height / WITHIN <= rise <= height * WITHIN and g2 > 0]
        rates += [_mean(quotients)] if quotients else []
    return rates


def _look(workspace: Workspace, weights: Weights, floor: float) -> tuple[float, float]:
    """How far a mini-batch's loss lies above the floor, and the squared norm of its gradient."""
    assign(workspace.model, weights)
    loss = workspace.loss()
    workspace.backward(loss)
    gradients = [p.grad for p in workspace.model.parameters() if p.grad is not None]
    return float(loss.detach()) - floor, float(torch.stack([g.double().square().sum() for g in gradients]).sum())


def _mean(values: list[float]) -> float:
    """The geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def on_spheres(a: Weights, b: Weights) -> Callable[[float], Weights]:
    """The straight line, its matrices projected on the variances between the ends'."""
    first, last = (sphere.spheres(w, "matrices") for w in (a, b))

    def point(t: float) -> Weights:
        weights = lerp(a, b, t)
        for k in first.keys() & last.keys():
            weights[k] = sphere.project(weights[k], (1 - t) * first[k] + t * last[k])
        return weights

    return point
