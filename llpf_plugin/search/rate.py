"""The learning rate that finds itself: Polyak's quotient at places of the line where the loss is high.

Settling knows the loss that it should come down to, ℓ*, that of mini-batches at the ends. Polyak's step from a point
with loss ℓ and gradient g is then ``(ℓ − ℓ*) / ‖g‖²``. Near ℓ* the quotient says nothing about the sharpest direction,
hence places that are high; and a few steps from there show whether the loss falls.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from llpf_plugin.evaluation.goal import Goal
from llpf_plugin.evaluation.point import borrowed
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.placement import local, totals
from llpf_plugin.geometry.weights import Weights, assign, lerp
from llpf_plugin.records import Outcome, Rate
from llpf_plugin.workspace import Workspace

HEIGHT, LOW, HIGH = 2.0, 0.5, 8.0
"""How high above ℓ* a place is looked for, and between which heights a quotient counts, in units of the room between
the ends' loss and the goal."""

QUOTIENTS, LOOKS = 4, 12
"""Mini-batches that must give a quotient, of so many at most."""

TRIAL, HALVINGS = 8, 6
"""Steps that try a rate, and how often it is halved because they do not lead down."""

FALL, FALLS = 4.0, 3
"""By what a collapse divides the learning rate, and how often."""


def find_rate(workspace: Workspace, a: Weights, b: Weights, goal: Goal, momentum: float) -> Rate:
    """The learning rate for settling: Polyak's quotient, halved until a few steps of SGD lead down.

    Every mini-batch of the look does two things: it says on which side of the height its place lies (bisection of A's
    half of the line), and if it is about as high it gives a quotient; the rate is their geometric mean. All of them
    count as gradient steps. Where the line is nowhere high, or the budget too small for a look, the rate is the task's.

    Args:
        workspace: whose model, batches and counter; the model is left as it was.
        a, b: coordinates of the ends.
        goal: the level of the ends, and the room above it.
        momentum: of the search.
    """
    before, left, point = workspace.steps, workspace.remaining, on_spheres(a, b)
    low, high, looks = 0.0, 0.5, LOOKS if left is None or left >= 2 * (LOOKS + TRIAL) else 0
    found: list[tuple[float, float, float]] = []
    with borrowed(workspace):
        while len(found) < QUOTIENTS and workspace.steps - before < looks:
            place = (low + high) / 2
            assign(workspace.model, point(place))
            rise, square = _gradient(workspace, goal)
            if LOW <= rise <= HIGH and square > 0:
                found.append((abs(math.log(rise / HEIGHT)), place, rise * goal.room / square))
            low, high = (low, place) if not rise <= HEIGHT else (place, high)
        if len(found) < QUOTIENTS:
            return Rate(workspace.task.defaults.lr, "task", workspace.steps - before)
        mean = math.exp(sum(math.log(quotient) for *_, quotient in found) / QUOTIENTS)
        rate = _halved(workspace, point(min(found)[1]), mean, goal, momentum)
    return Rate(rate, "found", workspace.steps - before)


def slower(rate: Rate | None, ended: str | None, workspace: Workspace) -> Rate | None:
    """The rate to search again with, None where the search has not collapsed, or the user or a schedule gave the rate.

    Args:
        rate: that of the search that has ended.
        ended: its outcome's name.
        workspace: whose budget says whether anything is left.
    """
    lost = ended in (Outcome.COLLAPSED.name, Outcome.DIVERGED.name)
    if not lost or rate is None or rate.source == "given" or rate.falls == FALLS or workspace.remaining == 0:
        return None
    return replace(rate, value=rate.value / FALL, falls=rate.falls + 1)


def _halved(workspace: Workspace, start: Weights, rate: float, goal: Goal, momentum: float) -> float:
    """The rate, halved until it leads down from ``start``."""
    for _ in range(HALVINGS):
        if _leads_down(workspace, start, rate, goal, momentum):
            break
        rate /= 2
    return rate


def _gradient(workspace: Workspace, goal: Goal) -> tuple[float, float]:
    """How high a mini-batch's loss lies, in units of the room, and the squared norm of its gradient."""
    loss = workspace.loss()
    workspace.backward(loss)
    grads = [p.grad for p in workspace.model.parameters() if p.grad is not None]
    squares = [local(g).double().square().sum() for g in grads]
    square = float(totals(torch.stack(squares).sum(), grads)) if squares else 0.0
    return (float(loss.detach()) - goal.batch) / goal.room, square


def _leads_down(workspace: Workspace, start: Weights, rate: float, goal: Goal, momentum: float) -> bool:
    """Whether some steps at a rate, from about `HEIGHT`, never lead far up, and end below where they began."""
    assign(workspace.model, start)
    optimizer = torch.optim.SGD(workspace.model.parameters(), rate, momentum, nesterov=momentum > 0)
    rises: list[float] = []
    for _ in range(TRIAL):
        rises.append(_gradient(workspace, goal)[0])
        if len(rises) > 1 and not rises[-1] <= HIGH:
            return False
        optimizer.step()
    later = rises[TRIAL // 2 :]
    return not later or sum(later) / len(later) <= HEIGHT


def on_spheres(a: Weights, b: Weights) -> Callable[[float], Weights]:
    """The straight line, its matrices projected on the variances between the ends'."""
    first, last = (sphere.spheres(w, "matrices") for w in (a, b))

    def point(t: float) -> Weights:
        weights = lerp(a, b, t)
        for k in first.keys() & last.keys():
            weights[k] = sphere.project(weights[k], (1 - t) * first[k] + t * last[k])
        return weights

    return point
