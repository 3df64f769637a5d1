"""What a user asks of a search, whatever the method. Nothing here imports torch."""

from dataclasses import dataclass

from llpf_plugin.errors import LLPFError
from llpf_plugin.records import Record

MEASURES = ("auto", "exact")


@dataclass(frozen=True)
class SearchOptions(Record):
    """What a user asks of a search; what is None is taken from the task, but for the learning rate.

    Attributes:
        max_loss: the goal: training loss that the path must not exceed.
        tolerance: the goal as a distance above the worse end's training loss, used where ``max_loss`` is None.
        budget: gradient steps, repairs included.
        lr: the learning rate, None to find it.
        momentum: of SGD.
        batch_size: examples of a gradient step.
        points: points evaluated per segment.
        sample: training examples that the path is measured on, None for all.
        measure: ``auto`` looks at every place on a drawn sample and measures on all data those that may hold the
            maximum, ``exact`` all of them.
        seed: for batches, augmentation and dropout.
    """

    max_loss: float | None = None
    tolerance: float | None = None
    budget: int = 20_000
    lr: float | None = None
    momentum: float | None = None
    batch_size: int | None = None
    points: int = 4
    sample: int | None = None
    seed: int = 0
    measure: str = "auto"

    def __post_init__(self) -> None:
        for name in ("max_loss", "tolerance", "budget", "lr", "batch_size", "points", "sample"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise LLPFError(f"{name} = {value}: it must be above 0")
        if self.max_loss is not None and self.tolerance is not None:
            raise LLPFError("max_loss and tolerance are two ways to state the goal: give one")
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise LLPFError(f"momentum = {self.momentum}: it must be at least 0 and below 1")
        if self.measure not in MEASURES:
            raise LLPFError(f"measure = {self.measure!r}: it must be {' or '.join(MEASURES)}")
