"""Is what a task is made of what it must be? Asked before any work, so that no one finds out in the middle of it."""

import math
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from llpf_plugin.documents import quoted
from llpf_plugin.errors import TaskError
from llpf_plugin.tasks.foreign import explained
from llpf_plugin.tasks.task import Defaults, Task

DATA = ("batch", "batches", "to", "__len__")
"""What data of a split must have (see `llpf_plugin.tasks.Data`)."""


def check_task(task: Task) -> None:
    """Refuse a task whose parts are of the wrong kind.

    Raises:
        TaskError: the model is no module or has parameters without a shape, a split is no `Data`, the objective cannot
            be called, a default makes no sense, or classes have no names of their own.
    """
    name = quoted(task.name)
    _check_model(task.model, name)
    for split in ("train", "validation", "test"):
        data = getattr(task, split)
        if data is not None or split == "train":
            _check_data(data, f"the {split} data of {name}")
    if not callable(task.objective):
        raise TaskError(f"the objective of {name} is {_kind(task.objective)}: give a function of model and batch")
    _check_defaults(task.defaults, name)
    names = list(task.classes)
    if isinstance(task.classes, str) or not all(isinstance(one, str) for one in names) or len({*names}) < len(names):
        raise TaskError(f"the classes of {name} are {quoted(task.classes)}: give a list of different names")


def _check_model(model: Any, name: str) -> None:
    if not isinstance(model, nn.Module):
        raise TaskError(f"the model of {name} is {_kind(model)}: give an instance of torch.nn.Module")
    if odd := [key for key, _ in _named(model) if not _is_text(key)]:
        raise TaskError(f"the model of {name} has a tensor called {quoted(odd[0])}, which no file can hold: rename it")
    if lazy := [key for key, parameter in model.named_parameters() if is_lazy(parameter)]:
        raise TaskError(
            f"the model of {name} has parameters without a shape yet ({', '.join(lazy[:3])}): call it once on a batch, "
            "or give its layers their sizes"
        )
    with explained(f"state_dict() of the model of {name}", TaskError):
        model.state_dict()


def _named(model: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_data(data: Any, what: str) -> None:
    if isinstance(data, type) or any(not hasattr(data, part) for part in DATA):
        raise TaskError(
            f"{what} are {_kind(data)}: give llpf_plugin.LoaderData(loader) for a DataLoader, "
            "llpf_plugin.TensorData(inputs, targets) for tensors, or an object of your own with "
            "batch(), batches(), to() and __len__()"
        )


def _check_defaults(defaults: Defaults, name: str) -> None:
    size = defaults.batch_size
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise TaskError(f"the task {name} has defaults with batch_size = {quoted(size)}: it must be an integer above 0")
    for key, above in (("lr", True), ("momentum", False), ("tolerance", False)):
        value = getattr(defaults, key)
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0 or (above and value == 0):
            wanted = "above 0" if above else "of at least 0"
            raise TaskError(f"the task {name} has defaults with {key} = {quoted(value)}: it must be a number {wanted}")


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
