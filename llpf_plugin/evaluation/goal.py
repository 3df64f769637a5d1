"""The goal of a search, the losses of the ends that it is measured against, and the problem that a method gets."""

import math
from dataclasses import dataclass

import torch

from llpf_plugin.errors import LLPFError
from llpf_plugin.evaluation.point import borrowed, measure_point
from llpf_plugin.geometry.weights import Weights, assign
from llpf_plugin.records import Record, Row
from llpf_plugin.workspace import Workspace

BATCHES = 4
"""Mini-batches that say what loss settling sees at an end."""


@dataclass(frozen=True)
class Ends(Record):
    """The ends of a search, measured.

    Attributes:
        A, B: losses and accuracies of each.
        batch: the worse one's mean mini-batch loss as settling sees it: train mode, augmented.
    """

    A: Row
    B: Row
    batch: float


@dataclass(frozen=True)
class Goal:
    """The losses that a search is judged by.

    Attributes:
        loss: what the training loss must not exceed on the whole path.
        ends: the worse end's training loss, eval mode.
        batch: the worse end's mean mini-batch loss, train mode.
    """

    loss: float
    ends: float
    batch: float

    @property
    def room(self) -> float:
        """How far the goal lies above the worse end."""
        return self.loss - self.ends


@dataclass(frozen=True)
class Problem:
    """What a method is bound to.

    Attributes:
        workspace: the model, its data, and the counter of gradient steps.
        start, end: coordinates of A and of B.
        goal: the loss to stay under.
        lr: the learning rate: the user's, or the task's.
        momentum: likewise.
    """

    workspace: Workspace
    start: Weights
    end: Weights
    goal: Goal
    lr: float
    momentum: float

    def steps(self, asked: int | None) -> int:
        """Gradient steps of a method that trains: those that were asked for, or the whole budget."""
        return asked or self.workspace.budget or 1


def measure_ends(workspace: Workspace, a: Weights, b: Weights, sample: int | None) -> Ends:
    """Both ends, from their coordinates."""
    rows = [measure_point(workspace, end, sample) for end in (a, b)]
    return Ends(rows[0], rows[1], max(batch_loss(workspace, end) for end in (a, b)))


@torch.no_grad()
def batch_loss(workspace: Workspace, weights: Weights) -> float:
    """The mean mini-batch loss at a point, as settling sees it; forward only, not counted as gradient steps."""
    steps, budget = workspace.steps, workspace.budget
    with borrowed(workspace):
        assign(workspace.model, weights)
        workspace.budget = None
        loss = float(torch.stack([workspace.loss() for _ in range(BATCHES)]).mean())
    workspace.steps, workspace.budget = steps, budget
    return loss


def goal_of(max_loss: float | None, tolerance: float | None, ends: Ends, default: float) -> Goal:
    """The goal that a user's wish comes to.

    Args:
        max_loss: the wish as a training loss.
        tolerance: the wish as a distance above the worse end's training loss, where ``max_loss`` is None.
        ends: the ends, measured.
        default: the tolerance where neither is given.

    Raises:
        LLPFError: the goal does not lie above the training loss of an end.
    """
    losses = {name: row.train if row.train is not None else math.nan for name, row in (("A", ends.A), ("B", ends.B))}
    worse = max(losses, key=lambda name: (math.isnan(losses[name]), losses[name]))
    floor = losses[worse]
    goal = max_loss or floor + (tolerance or default)
    if not goal > floor:
        raise LLPFError(
            f"max_loss = {goal:g} must exceed the training loss of {worse} itself, {floor:.4g}: "
            "raise it, or set a tolerance"
        )
    return Goal(goal, floor, ends.batch)
