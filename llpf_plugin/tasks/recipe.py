"""How the endpoints of a task are trained: a value that `llpf_plugin.training.train` follows."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from llpf_plugin.errors import TaskError

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["constant", "one-cycle", "cosine", "multi-step", "warmup-cosine"]


@dataclass(frozen=True)
class Recipe:
    """Optimizer, learning rate and its schedule, which changes the rate after every gradient step.

    Attributes:
        epochs: passes over the training data.
        lr: the learning rate; with a schedule, the highest.
        weight_decay: on all parameters.
        schedule: ``constant``; ``one-cycle`` (Smith and Topin, 2019); ``cosine``, down to ``final_lr``; ``multi-step``,
            a tenth at each of the ``milestones``; ``warmup-cosine``, a linear rise from ``final_lr`` during ``warmup``,
            then ``cosine``.
        optimizer: ``sgd`` or ``adamw``.
        momentum: of SGD. A one-cycle schedule moves it between 0.85 and 0.95, as torch's does.
        batch_size: examples of one gradient step; None for the batch size of the task's defaults.
        final_lr: the rate at the end of a cosine, and at the start of a warm-up.
        warmup: epochs of the linear rise.
        milestones: epochs after which the rate is a tenth of what it was.

    Raises:
        TaskError: a value that no schedule or optimizer understands.
    """

    epochs: float = 30
    lr: float = 0.1
    weight_decay: float = 0.0
    schedule: Schedule = "one-cycle"
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    batch_size: int | None = None
    final_lr: float = 0.0
    warmup: float = 0.0
    milestones: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, choices in (("schedule", get_args(Schedule)), ("optimizer", get_args(Optimizer))):
            if getattr(self, name) not in choices:
                raise TaskError(f"Recipe({name}={getattr(self, name)!r}) is not one of {', '.join(choices)}")
        if not (self.epochs > 0 and self.lr > 0 and 0 <= self.final_lr <= self.lr):
            raise TaskError(
                f"Recipe(epochs={self.epochs}, lr={self.lr}, final_lr={self.final_lr}): epochs and lr must be above 0, "
                "and final_lr between 0 and lr"
            )
        if self.schedule == "warmup-cosine" and not (0 < self.warmup < self.epochs and self.final_lr > 0):
            raise TaskError(
                f"Recipe(schedule='warmup-cosine', warmup={self.warmup}, final_lr={self.final_lr}): a warm-up takes "
                f"more than 0 and less than {self.epochs} epochs, and starts at a final_lr above 0"
            )

    def over(self, epochs: float) -> "Recipe":
        """The same recipe over another number of epochs; warm-up and milestones keep their shares of the whole."""
        share = epochs / self.epochs
        milestones = tuple(share * milestone for milestone in self.milestones)
        return replace(self, epochs=epochs, warmup=share * self.warmup, milestones=milestones)
