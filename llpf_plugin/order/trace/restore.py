"""Run a module without leaving a trace on it."""

from __future__ import annotations

import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

_CONTAINERS = (dict, OrderedDict, defaultdict, list, set, deque)


class Guard:
    """Keeps a copy of what is about to be written, and puts it back."""

    def __init__(self, protected: list[Tensor]) -> None:
        self._protected = {key for tensor in protected if (key := _key(tensor)) is not None}
        self._copies: dict[StorageWeakRef, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def save(self, tensor: Tensor) -> None:
        """Copy the tensor's storage if it is protected and was not copied before."""
        key = _key(tensor)
        if key is None or key not in self._protected or key in self._copies:
            return
        storage = tensor.untyped_storage()
        if storage.device.type != "meta":
            self._copies[key] = storage, storage.clone()

    def restore(self) -> None:
        """Write every copy back, bit for bit."""
        for storage, saved in self._copies.values():
            storage.copy_(saved)


@contextmanager
def restored(model: nn.Module, inputs: list[Tensor], *, whole: bool = False) -> Iterator[Guard]:
    """Restore parameters, buffers, inputs, attributes, hooks, training flags and random states on leaving.

    Buffers are copied at once. Parameters and inputs are copied when the guard is told that they are about to be
    written, since a large model should not be copied for a write that never comes.

    Args:
        model: the module that may be changed within the context.
        inputs: tensors that the module may write to.
        whole: copy parameters and inputs at once, for runs whose writes nobody watches.
    """
    parameters, buffers = list(model.parameters()), list(model.buffers())
    guard = Guard([*parameters, *buffers, *inputs])
    for tensor in [*buffers, *(parameters if whole else ()), *(inputs if whole else ())]:
        guard.save(tensor)
    attributes = [_Attributes(module) for module in model.modules()]
    values = [(tensor, tensor.detach()) for tensor in [*parameters, *buffers, *inputs]]
    requires_grad = [parameter.requires_grad for parameter in parameters]
    with _random_states([*parameters, *buffers]):
        try:
            yield guard
        finally:
            guard.restore()
            for tensor, value in values:
                if _key(tensor) != _key(value):  # its .data was replaced
                    tensor.data = value
            for saved in attributes:
                saved.restore()
            for parameter, flag in zip(parameters, requires_grad, strict=True):
                if parameter.requires_grad != flag:
                    parameter.requires_grad_(flag)


class _Attributes:
    """A module's attributes, and what the plain containers among them hold (hooks, buffers, caches)."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = module.training
        self._values = dict(vars(module))
        self._contents: dict[str, Any] = {
            name: dict(value) if isinstance(value, dict) else list(value)
            for name, value in self._values.items()
            if type(value) in _CONTAINERS
        }

    def restore(self) -> None:
        attributes = vars(self._module)
        attributes.clear()
        attributes.update(self._values)
        if self._module.training != self._training:  # a scripted module keeps its flag elsewhere
            self._module.training = self._training
        for name, content in self._contents.items():
            container: Any = self._values[name]
            container.clear()
            if isinstance(container, list | deque):
                container.extend(content)
            else:
                container.update(content)


@contextmanager
def _random_states(tensors: list[Tensor]) -> Iterator[None]:
    """Fork the generators of torch (CPU and the devices at hand), of Python and of numpy, and seed the first."""
    kinds: dict[str, set[int]] = {}
    for tensor in tensors:
        if tensor.device.type not in ("cpu", "meta"):
            kinds.setdefault(tensor.device.type, set()).add(tensor.device.index or 0)
    python, numpy = random.getstate(), np.random.get_state()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        if "mps" in kinds:
            del kinds["mps"]  # which has one generator, and no place in fork_rng
            stack.callback(torch.mps.set_rng_state, torch.mps.get_rng_state())
        for kind, indices in kinds.items():
            stack.enter_context(torch.random.fork_rng(devices=sorted(indices), device_type=kind))
        torch.default_generator.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _key(tensor: Tensor) -> StorageWeakRef | None:
    try:
        return StorageWeakRef(tensor.untyped_storage())
    except (NotImplementedError, RuntimeError):
        return None
