"""The goal of a search, and the losses of the ends that it is measured against."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from llpf_plugin.errors import LLPFError
from llpf_plugin.evaluation.along_path import measure_point
from llpf_plugin.evaluation.point import borrowed
from llpf_plugin.geometry.weights import Weights, assign
from llpf_plugin.search.settings import Settings
from llpf_plugin.workspace import Gradient

BATCHES = 4
"""Mini-batches that say what loss settling sees at an end."""


@dataclass(frozen=True)
class Levels:
    """The losses that a search is judged by.

    Attributes:
        ends: the worse end's training loss, eval mode.
        batch: the worse end's mean mini-batch loss as settling sees it: train mode, augmented.
        goal: what the dense path must not exceed.
    """

    ends: float
    batch: float
    goal: float

    @property
    def room(self) -> float:
        """How far the goal lies above the worse end."""
        return self.goal - self.ends


def measure_ends(gradient: Gradient, a: Weights, b: Weights, sample: int | None) -> dict[str, Any]:
    """Rows of both ends, ``A`` and ``B``, and under ``batch`` the worse one's mean mini-batch loss."""
    rows: dict[str, Any] = {"A": measure_point(gradient, a, sample), "B": measure_point(gradient, b, sample)}
    return {**rows, "batch": max(batch_loss(gradient, end) for end in (a, b))}


@torch.no_grad()
def batch_loss(gradient: Gradient, weights: Weights) -> float:
    """The mean mini-batch loss at a point, as settling sees it; forward only, not counted as gradient steps."""
    steps, budget = gradient.steps, gradient.budget
    with borrowed(gradient):
        assign(gradient.model, weights)
        gradient.budget = None
        loss = float(torch.stack([gradient.loss() for _ in range(BATCHES)]).mean())
    gradient.steps, gradient.budget = steps, budget
    return loss


def levels(settings: Settings, ends: Mapping[str, Any], tolerance: float) -> Levels:
    """The goal that the settings ask for.

    Args:
        settings: say ``max_loss`` or ``tolerance``, or neither.
        ends: what `measure_ends` found.
        tolerance: the task's own, for settings that say neither.

    Raises:
        LLPFError: the goal does not lie above the training loss of an end.
    """
    worse = max(("A", "B"), key=lambda name: ends[name]["train"])
    floor = ends[worse]["train"]
    goal = settings.max_loss or floor + (settings.tolerance or tolerance)
    if not goal > floor:
        raise LLPFError(
            f"max_loss = {goal:g} is not above the training loss of {worse} itself, {floor:.4g}: "
            "ask for more, or give a tolerance"
        )
    return Levels(floor, ends["batch"], goal)
