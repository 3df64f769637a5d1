"""The goal of a search, and the losses of the ends that it is measured against."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from llpf_plugin.errors import LLPFError
from llpf_plugin.records import Record, Row


@dataclass(frozen=True)
class Ends(Record):
    """The ends of a search, measured.

    Attributes:
        A, B: losses and accuracies of each.
        batch: the worse one's mean mini-batch loss as settling sees it: train mode, augmented.
        saved: the same with the running statistics that they came with, by name; empty where there are none.
        middle: the mean mini-batch loss halfway between them on the spheres; None where it was not measured.
    """

    A: Row
    B: Row
    batch: float
    saved: Mapping[str, Row] = field(default_factory=dict)
    middle: float | None = None

    @property
    def rows(self) -> dict[str, Row]:
        """All of them by name."""
        return {"A": self.A, "B": self.B, **self.saved}


@dataclass(frozen=True)
class Goal:
    """The losses that a search is judged by.

    Attributes:
        loss: what the training loss must not exceed on the whole path.
        ends: the worse end's training loss, eval mode.
        batch: the worse end's mean mini-batch loss, train mode.
        middle: that of the point halfway between the ends; None where it was not measured.
    """

    loss: float
    ends: float
    batch: float
    middle: float | None = None

    @property
    def room(self) -> float:
        """How far the goal lies above the worse end."""
        return self.loss - self.ends

    @property
    def barrier(self) -> float:
        """How far the middle of the line lies above the ends for settling; 0 where it was not measured."""
        rise = 0.0 if self.middle is None else self.middle - self.batch
        return max(0.0, rise) if math.isfinite(rise) else 0.0


def goal_of(max_loss: float | None, tolerance: float | None, ends: Ends, default: float) -> Goal:
    """The goal that follows from a user's wish.

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
    return Goal(goal, floor, ends.batch, ends.middle)
