"""What a user asks of a search, whatever the method. Nothing here imports torch."""

from dataclasses import dataclass, replace

from llpf_plugin.errors import LLPFError
from llpf_plugin.methods.base import Terms
from llpf_plugin.records import Record

MEASURES = ("auto", "exact")


@dataclass(frozen=True)
class SearchOptions(Record):
    """What a user asks of a search; what is None is the method's or the task's, but for the learning rate.

    Attributes:
        max_loss: the goal: training loss that the path must not exceed.
        tolerance: the goal as a distance above the worse end's training loss, used where ``max_loss`` is None.
        budget: gradient steps, repairs included; None for 20,000, or for what a schedule takes.
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
    budget: int | None = None
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

    def under(self, terms: Terms) -> "SearchOptions":
        """The options, with budget and batch size where the method's own terms say what they are.

        Raises:
            LLPFError: the terms state another value, or the budget is too small for them.
        """
        for name, stated in terms.stated.items():
            given = getattr(self, name)
            if given is not None and given != stated:
                raise LLPFError(f"{name} = {given:g}: {terms.source} states {stated:g}; leave it out, or edit a copy")
        if self.budget is not None and self.budget < terms.least:
            told = f"budget = {self.budget}: {terms.source} takes at least {terms.least:,} gradient steps"
            raise LLPFError(f"{told}; give at least that many, or leave the budget out")
        batch_size = int(terms.stated.get("batch_size", 0)) or self.batch_size
        return replace(self, budget=self.budget or terms.budget, batch_size=batch_size)
