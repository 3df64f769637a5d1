"""Example inputs as a value: all that a model is called with, and a way to each tensor in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch.utils._pytree as pytree
from torch import Tensor

from llpf_plugin.order.trace.tensors import inside


@dataclass(frozen=True, eq=False)
class Inputs:
    """The positional and keyword arguments of one call, whatever they are.

    ``Inputs((batch,))`` calls ``model(batch)`` and ``Inputs((waveform, 16_000), {"lengths": n})`` calls
    ``model(waveform, 16_000, lengths=n)``. Arguments may be tensors, constants, tuples, lists, mappings (such as the
    ``BatchEncoding`` of transformers), dataclasses of tensors, all of these inside one another, and anything else,
    whose tensors are then not seen.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments by name.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, example_inputs: Any) -> Inputs:
        """Inputs as they are; a tuple as positional arguments, a mapping as keyword arguments, else one argument."""
        if isinstance(example_inputs, Inputs):
            return example_inputs
        if isinstance(example_inputs, tuple):
            return cls(example_inputs)
        if isinstance(example_inputs, Mapping):
            return cls((), dict(example_inputs))
        return cls((example_inputs,))

    def tensors(self) -> list[Tensor]:
        """Every tensor in the arguments, in order."""
        return [leaf for leaf in _leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Tensor)]

    def map(self, function: Callable[[Tensor], Tensor]) -> Inputs:
        """The same arguments with ``function`` applied to each tensor; containers of tensors are copied, types kept."""
        args, kwargs = _mapped((self.args, dict(self.kwargs)), function)
        return Inputs(args, kwargs)

    def __str__(self) -> str:
        named = {**{str(i): value for i, value in enumerate(self.args)}, **self.kwargs}
        return ", ".join(f"{name}: {_describe(value)}" for name, value in named.items()) or "nothing"


def _leaves(value: Any) -> Iterator[Any]:
    """All that ``pytree`` or `inside` can reach and not open."""
    for leaf in pytree.tree_leaves(value):
        parts = None if isinstance(leaf, Tensor) else inside(leaf)
        if parts is None:
            yield leaf
        else:
            yield from _leaves(list(parts.values()))


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    def leaf(value: Any) -> Any:
        if isinstance(value, Tensor):
            return function(value)
        if not any(isinstance(own, Tensor) for own in _leaves(value)):
            return value
        return _rebuilt(value, {key: _mapped(part, function) for key, part in (inside(value) or {}).items()})

    return pytree.tree_map(leaf, value)


def _rebuilt(container: Any, parts: dict[Any, Any]) -> Any:
    """A copy of a container, of its type and with its attributes, that holds other parts."""
    kind: Any = type(container)
    if isinstance(container, tuple):
        return kind(*parts.values()) if hasattr(container, "_fields") else kind(parts.values())
    if isinstance(container, Mapping) and not isinstance(container, MutableMapping):
        return kind(parts)
    made = copy.copy(container)
    for key, part in parts.items():
        if isinstance(made, list | MutableMapping):
            made[key] = part
        else:
            object.__setattr__(made, key, part)  # the dataclass may be frozen
    return made


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    parts = inside(value)
    if parts is None:
        return repr(value)[:40]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_describe, value))}]"
    name = "" if type(value) is dict else type(value).__name__
    return f"{name}{{{', '.join(f'{k}: {_describe(v)}' for k, v in parts.items())}}}"
