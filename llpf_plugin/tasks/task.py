"""A task: what a checkpoint alone does not say. Model, objective, and training, validation and test data."""

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.data import Batch, Data

_INSTALLED = tuple(sysconfig.get_path(k) for k in ("stdlib", "platstdlib", "purelib", "platlib"))

Objective = Callable[[nn.Module, Batch], Tensor | tuple[Tensor, Tensor]]
"""``(model, batch)`` to the mean loss over the batch (0-d), or to that and the number of correct answers (0-d)."""


def classification(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and the number of correct answers; ``batch`` is ``(inputs, integer targets)``."""
    inputs, targets = batch
    logits = model(inputs)
    return F.cross_entropy(logits.float(), targets), (logits.argmax(-1) == targets).sum()


@dataclass(frozen=True)
class Defaults:
    """What a task knows about good settings for walks on it; options override them.

    Attributes:
        batch_size: examples of one gradient step.
        lr: the learning rate while settling.
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
        recipe: how the demo and the examples train an endpoint (epochs, lr, weight_decay, …).
    """

    model: nn.Module
    train: Data
    validation: Data | None = None
    test: Data | None = None
    objective: Objective = classification
    name: str = "task"
    defaults: Defaults = field(default_factory=Defaults)
    recipe: Mapping[str, float] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> "Task":
        """The same task with model and data on ``device``."""
        device = torch.device(device)
        splits = {s: d.to(device) for s in ("train", "validation", "test") if (d := getattr(self, s)) is not None}
        return replace(self, model=self.model.to(device), **splits)

    def score(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Loss and number of correct answers (or None) of the model on one batch."""
        result = self.objective(self.model, batch)
        return result if isinstance(result, tuple) else (result, None)

    def example_inputs(self) -> Any:
        """Two training examples' inputs, for tracing the layer order."""
        inputs = next(iter(self.train.batches(2, limit=2)))
        inputs = inputs[0] if isinstance(inputs, tuple | list) else inputs
        return inputs[:2] if isinstance(inputs, Tensor) else inputs


def load_task(spec: str | Task, arguments: Mapping[str, Any] | None = None) -> Task:
    """A task from its name or its factory.

    Args:
        spec: a `Task`; a built-in name such as ``digits/resnet``; ``module:function``; or ``file.py:function``.
        arguments: keyword arguments of the factory.

    Raises:
        TaskError: an unknown name, a file or function that is missing, or a factory that fails; the cause is named.
    """
    if isinstance(spec, Task):
        return spec
    factory = _custom(spec) if ":" in spec else _built_in(spec)
    try:
        task = factory(**(arguments or {}))
    except TaskError:
        raise
    except Exception as error:
        raise TaskError(
            f"the task {spec!r} could not be built: {type(error).__name__}: {error}{_where(error)}"
        ) from error
    if not isinstance(task, Task):
        raise TaskError(f"{spec!r} returned {type(task).__name__}; a task factory returns an llpf_plugin.Task")
    return replace(task, name=spec) if task.name == "task" else task


def _built_in(name: str) -> Callable[..., Task]:
    from llpf_plugin.tasks import BUILT_IN

    if name not in BUILT_IN:
        known = ", ".join(sorted(BUILT_IN))
        raise TaskError(
            f"there is no built-in task {name!r}; there are {known}. Your own: file.py:function or module:function"
        )
    module, function = BUILT_IN[name].split(":")
    return getattr(importlib.import_module(module), function)


def _custom(spec: str) -> Callable[..., Task]:
    place, _, function = spec.rpartition(":")
    if place.endswith(".py") and not Path(place).is_file():
        raise TaskError(f"the task file {place!r} does not exist")
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    except Exception as error:
        raise TaskError(f"importing {place!r} failed: {type(error).__name__}: {error}{_where(error)}") from error
    factory = getattr(module, function, None)
    if not callable(factory):
        names = (
            ", ".join(n for n in vars(module) if not n.startswith("_") and callable(vars(module)[n]))
            or "nothing callable"
        )
        raise TaskError(f"{place!r} has no function {function!r}; it has {names}")
    return factory


def _import_module(name: str) -> Any:
    """A module, of the current folder too: console scripts do not look there."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(here)


def _import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"llpf_task_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def _where(error: BaseException) -> str:
    """The last line that an error came through outside of Python's own and installed packages, if there is one."""
    lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [(file, line) for file, line in lines if not file.startswith(("<", __file__, *_INSTALLED))]
    return f" ({own[-1][0]}, line {own[-1][1]})" if own else ""
