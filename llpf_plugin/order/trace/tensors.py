"""What the recorder asks about tensors: which view of a storage, which parameter, what is written, what is inside."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def attributes(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The tensors that modules hold as plain attributes, alone or in a container, each with its path."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            values = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            )
            if not name.startswith("_"):
                yield from ((f"{path}.{name}".lstrip("."), item) for item in values if isinstance(item, Tensor))


def geometry(tensor: Tensor) -> tuple[Any, ...]:
    """What tells the views of one storage apart."""
    if tensor.layout != torch.strided:
        return ()
    return tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _span(tensor: Tensor) -> tuple[int, int]:
    """The first byte and the byte after the last one that a strided tensor covers in its storage."""
    start, extent = int(tensor.storage_offset()), 0
    if tensor.numel():
        extent = 1 + sum((int(n) - 1) * int(step) for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return start * tensor.element_size(), (start + extent) * tensor.element_size()


def overlapping(parameters: list[tuple[str, Tensor]], tensor: Tensor) -> list[str]:
    """Names of the parameters that ``tensor`` shows; flattened recurrent and sharded weights share one storage."""
    if len(parameters) > 1:
        if exact := [name for name, parameter in parameters if parameter is tensor]:
            return exact
        start, stop = _span(tensor)
        spans = [(name, *_span(parameter)) for name, parameter in parameters]
        if overlapping := [name for name, first, last in spans if first < stop and start < last]:
            return overlapping
    return [name for name, _ in parameters]


@functools.cache
def _written_arguments(func: Any) -> tuple[tuple[int, str], ...]:
    """Position and name of the arguments that an operation writes to, by its schema."""
    schema = getattr(func, "_schema", None)
    arguments = schema.arguments if schema is not None else ()
    return tuple((i, a.name) for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write)


def written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that a call of an operation writes to."""
    values = [args[i] if i < len(args) else kwargs.get(name) for i, name in _written_arguments(func)]
    return flat(values)


def flat(value: Any) -> list[Tensor]:
    """The tensors of an argument or result of an operation."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for item in value for tensor in flat(item)] if isinstance(value, list | tuple) else []


def inside(value: Any) -> dict[Any, Any] | None:
    """What a container holds, by key, position or name of a field; None for anything else.

    Containers are mappings, lists, tuples and instances of dataclasses, with all that they carry as attributes.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, Tensor | nn.Module | type):
        names = dict.fromkeys([*(field.name for field in dataclasses.fields(value)), *getattr(value, "__dict__", ())])
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    return None


def tensors_in(result: Any) -> Iterator[Tensor]:
    """Walk through containers and plain objects to the tensors of a model's result."""
    seen: set[int] = set()
    stack = [result]
    while stack:
        value = stack.pop()
        if isinstance(value, Tensor):
            yield value
            continue
        if id(value) in seen or isinstance(value, nn.Module | type):
            continue
        seen.add(id(value))
        if (parts := inside(value)) is not None:
            stack.extend(reversed(list(parts.values())))
        elif isinstance(value, set):
            stack.extend(reversed(list(value)))
        elif hasattr(value, "__dict__"):
            stack.extend(reversed(list(vars(value).values())))
