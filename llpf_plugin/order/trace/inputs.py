"""What a model is called with, as a value: any arguments, and the tensors in them wherever they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """The positional and keyword arguments of one call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, example_inputs: Any) -> Inputs:
        """Read a tuple as positional arguments, a dict as keyword arguments, anything else as the only argument."""
        if isinstance(example_inputs, Inputs):
            return example_inputs
        if isinstance(example_inputs, tuple):
            return cls(example_inputs, {})
        if isinstance(example_inputs, dict):
            return cls((), example_inputs)
        return cls((example_inputs,), {})

    def tensors(self) -> list[Tensor]:
        """All tensors in it."""
        return list(tensors_in((self.args, self.kwargs)))

    def map(self, function: Callable[[Tensor], Tensor]) -> Inputs:
        """The same arguments with each tensor replaced by what ``function`` makes of it."""
        return Inputs(*map_tensors(function, (self.args, dict(self.kwargs))))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    else:
        for child in _children(value):
            yield from tensors_in(child)


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """A copy of nested lists, tuples, mappings and dataclasses, of the same types, with each tensor replaced."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(map_tensors(function, item) for item in value)
    if isinstance(value, MutableMapping):
        found = copy.copy(value)
        for key, item in value.items():
            found[key] = map_tensors(function, item)
        return found
    if is_dataclass(value) and not isinstance(value, type):
        found = copy.copy(value)
        for name in (f.name for f in fields(value) if hasattr(value, f.name)):
            object.__setattr__(found, name, map_tensors(function, getattr(value, name)))
        return found
    return value


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, Mapping):
        yield from value.values()
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (getattr(value, f.name) for f in fields(value) if hasattr(value, f.name))
