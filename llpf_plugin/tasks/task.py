"""A task: what a checkpoint alone does not say. Model, objective, and training, validation and test data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llpf_plugin.documents import quoted
from llpf_plugin.errors import OrderError, TaskError
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.tasks.answer import answer_of
from llpf_plugin.tasks.batches import Batch, Data
from llpf_plugin.tasks.foreign import each, explained
from llpf_plugin.tasks.recipe import Recipe

Objective = Callable[[nn.Module, Batch], Tensor | tuple[Tensor, Tensor]]
"""``(model, batch)`` to the mean loss over the batch (0-d), or to that and the number of correct answers (0-d)."""

TRACED = 2
"""Training examples of the batch that tells how the objective calls the model."""


def classification(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and the number of correct answers; ``batch`` is ``(inputs, integer targets)``."""
    inputs, targets = batch
    logits = model(inputs)
    return F.cross_entropy(logits.float(), targets), (logits.argmax(-1) == targets).sum()


@dataclass(frozen=True)
class Defaults:
    """What a task knows about good settings for searches on it; options override them.

    Attributes:
        batch_size: examples of one gradient step.
        lr: the learning rate in federations, of schedules that name none, and where a search finds none by itself.
        momentum: Nesterov momentum while settling; 0 is the paper's plain SGD.
        tolerance: the goal's default: the worse end's training loss plus this.
    """

    batch_size: int = 128
    lr: float = 0.05
    momentum: float = 0.9
    tolerance: float = 0.1


@dataclass(frozen=True)
class Task:
    """A network, its objective and its data.

    Three splits: the path is walked and judged on training data, choices are made on validation data, and what
    is promised is reported on test data. A missing split is reported as missing.

    Attributes:
        model: the network; its weights are a workspace and are overwritten.
        train: data that the walk settles on.
        validation: data that points of the path are chosen by.
        test: data that the chosen point is reported on.
        objective: loss, and correct answers where that means something.
        name: how the task is called in reports.
        defaults: settings that suit it.
        recipe: how `llpf_plugin.training.train` trains an endpoint.
        build: makes the network again, with fresh initial weights: what `llpf_plugin.training.train` starts from.
            `load_task` fills it in by calling the factory again, data and all.
        inputs: makes of a batch what the model is called with, for tracing; None for what the objective calls it with.
        classes: the names of a classifier's classes, in the order of its integer targets; empty where there are none.
    """

    model: nn.Module
    train: Data
    validation: Data | None = None
    test: Data | None = None
    objective: Objective = classification
    name: str = "task"
    defaults: Defaults = field(default_factory=Defaults)
    recipe: Recipe = field(default_factory=Recipe)
    build: Callable[[], nn.Module] | None = None
    inputs: Callable[[Batch], Inputs] | None = None
    classes: Sequence[str] = ()

    def to(self, device: torch.device | str) -> "Task":
        """The same task with model and data on ``device``.

        Raises:
            TaskError: they cannot be there.
        """
        device = torch.device(device)
        with explained(f"moving {quoted(self.name)} to {device}", TaskError):
            splits = {s: d.to(device) for s in ("train", "validation", "test") if (d := getattr(self, s)) is not None}
            return replace(self, model=self.model.to(device), **splits)

    def score(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Loss (0-d) and number of correct answers (or None) of the model on one batch.

        Raises:
            TaskError: the objective raised something, or does not return a mean loss, with or without such a number.
        """
        with explained(f"the objective of {quoted(self.name)}", TaskError):
            result = self.objective(self.model, batch)
        return answer_of(result, self.name)

    def fresh_model(self, seed: int) -> nn.Module:
        """The network made again under a seed: initial weights that have nothing in common with the model's.

        Raises:
            TaskError: the task was given a model and does not know how it is made, or making it sets torch's seed, so
                that all seeds would give the same weights.
        """
        if self.build is None:
            raise TaskError(f"the task {self.name!r} cannot make its model again: give Task(…, build=…)")
        torch.manual_seed(seed)
        model = self.build()
        if torch.initial_seed() != seed:
            raise TaskError(
                f"the task {self.name!r} sets torch's seed to {torch.initial_seed()} while it makes its model, so that "
                "every seed gives the same initial weights: draw its data with a torch.Generator of their own"
            )
        return model

    def example_inputs(self) -> Inputs:
        """What the model is called with on a few training examples, for tracing.

        Raises:
            OrderError: the objective does not call the model itself.
            TaskError: the data give no batch, or they or the objective raise something.
        """
        data = f"the training data of {quoted(self.name)}"
        batch = next(each(f"reading {data}", lambda: self.train.batches(TRACED, TRACED)), None)
        if batch is None:
            raise TaskError(f"{data} give no batch, so that the model cannot be traced")
        return _overheard(self, batch) if self.inputs is None else Inputs.of(self.inputs(batch))


class _Heard(BaseException):
    """Thrown by a model that was called, with what it was called with."""


def _overheard(task: Task, batch: Batch) -> Inputs:
    """The arguments of the objective's first call of the model; the model itself does not run."""

    def listen(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        raise _Heard(args, kwargs)

    own = f"the objective of {quoted(task.name)}"
    handle = task.model.register_forward_pre_hook(listen, with_kwargs=True)
    try:
        with explained(own, TaskError), torch.no_grad(), torch.compiler.set_stance("force_eager"):
            try:
                task.objective(task.model, batch)
            except _Heard as heard:
                return Inputs(*heard.args)
    finally:
        handle.remove()
    raise OrderError(
        f"{own} does not call the model itself, so that it cannot be traced: say what the model is called with, "
        "Task(…, inputs=lambda batch: …)"
    )
