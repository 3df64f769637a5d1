"""Record one real forward pass as a `torch.fx.Graph`.

The recorder sits at the dispatcher, below every Python construct: whatever the module's code looks like, each tensor
operation passes through it. Data flow is followed by *storage*, so views and in-place writes are right.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, fx, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Key = StorageWeakRef | int
Geometry = tuple[Any, ...]


@dataclass
class _Cell:
    """What is known of one storage: who wrote it last, and the views taken since."""

    writer: fx.Node | None = None
    views: dict[Geometry, fx.Node] = field(default_factory=dict)
    parameters: list[tuple[str, Tensor]] = field(default_factory=list)


class Recorder(TorchDispatchMode):
    """A dispatch mode that runs every operation and writes it down.

    Nodes of the graph:

    - `placeholder`: a tensor of the example inputs;
    - `get_attr`: a parameter (`meta["parameter"]` is its name), a buffer, or a constant (`meta["foreign"]` if it is no
      attribute of a module: what another thread computed looks like that);
    - `call_function`: an ATen operation, views included. An operation with several results is one node.

    `meta["calls"]` of an operation holds the module calls around it, outermost first, as `(name, number)`.
    The graph shows how data flows. It is not meant to be run again.

    A tensor on `meta` has no value. Where the model asks for one it gets 1, and `guessed` says that this happened.

    Args:
        model: The module whose parameters and buffers are known by name.
        inputs: The example inputs, any nesting of tensors.
        before_write: Called with each tensor that an operation is about to write to.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module, inputs: Any, before_write: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.guessed = False
        self._before_write = before_write
        self._cells: dict[Key, _Cell] = {}
        self._sources: dict[str, fx.Node] = {}
        self._kept: list[Tensor] = []  # tensors without a storage are known by id, which must not be reused
        self._constants = count()
        self._calls: tuple[tuple[str, int], ...] = ()
        self._names = {id(module): name for name, module in model.named_modules()}
        for name, parameter in model.named_parameters():
            self._cell(parameter).parameters.append((name, parameter))
        for name, buffer in model.named_buffers():
            self._sources[name] = self._cell(buffer).writer = self._get_attr(name)
        for name, tensor in _attributes(model):
            if (cell := self._cell(tensor)).writer is None and not cell.parameters:
                cell.writer = self._get_attr(name)
        for tensor in pytree.tree_leaves(inputs):
            if isinstance(tensor, Tensor):
                cell = self._cell(tensor)
                cell.writer = cell.writer or self.graph.placeholder(f"input_{len(self.graph.nodes)}")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        node_args = tuple(self._node(value) for value in args)
        node_kwargs = {name: self._node(value) for name, value in kwargs.items()}
        written = _written(func, args, kwargs)
        for tensor in written:
            self._before_write(tensor)
        if func is torch.ops.higher_order.cond:
            with self:  # the branch that is taken is recorded like any other code
                return args[1 if args[0] else 2](*args[3])
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            self.guessed, result = True, torch.ones((), dtype=args[0].dtype).item()
        else:
            result = func(*args, **kwargs)
        node = self.graph.create_node("call_function", func, node_args, node_kwargs)
        node.meta["calls"] = self._calls
        for tensor in written:
            cell = self._cell(tensor)
            cell.writer, cell.views = node, {}
        for tensor in _flat(result):
            self._define(tensor, node)
        return result

    def finish(self, result: Any) -> None:
        """Close the graph with the tensors of the model's result, whatever container holds them."""
        self.graph.output(tuple(self._read(tensor) for tensor in tensors_in(result)))

    @contextmanager
    def watching(self) -> Iterator[Recorder]:
        """Record within this context, following the module calls of this thread."""
        thread = threading.get_ident()
        numbers = count()

        def enter(module: nn.Module, args: Any) -> None:
            if threading.get_ident() == thread and id(module) in self._names:
                self._calls = (*self._calls, (self._names[id(module)], next(numbers)))

        def leave(module: nn.Module, args: Any, result: Any) -> None:
            if threading.get_ident() == thread and id(module) in self._names:
                # A module whose error was caught on the way never left: unwind it, too.
                names = [name for name, _ in self._calls]
                self._calls = self._calls[: len(names) - 1 - names[::-1].index(self._names[id(module)])]

        before = nn.modules.module.register_module_forward_pre_hook(enter)
        after = nn.modules.module.register_module_forward_hook(leave)
        try:
            with _Exits(self._leave), self:
                yield self
        finally:
            before.remove()
            after.remove()

    def _leave(self, function: Callable[..., Any], tensor: Tensor) -> None:
        """Note that a tensor leaves for numpy or for Python."""
        node = self.graph.call_function(function, (self._read(tensor),))
        node.meta.update(calls=self._calls, operation="leave")

    def _cell(self, tensor: Tensor) -> _Cell:
        try:
            key: Key = StorageWeakRef(tensor.untyped_storage())
        except (NotImplementedError, RuntimeError):  # sparse and other tensors without a storage
            key = id(tensor)
            self._kept.append(tensor)
        return self._cells.setdefault(key, _Cell())

    def _define(self, tensor: Tensor, node: fx.Node) -> None:
        cell = self._cell(tensor)
        if cell.writer is None and not cell.parameters:
            cell.writer = node
        elif cell.writer is not node:
            cell.views[_geometry(tensor)] = node

    def _node(self, value: Any) -> Any:
        """Replace the tensors of an argument by nodes; operations take nothing deeper than lists."""
        if isinstance(value, Tensor):
            return self._read(value)
        if isinstance(value, list | tuple):
            return [self._node(item) for item in value]
        return value

    def _read(self, tensor: Tensor) -> Any:
        cell = self._cell(tensor)
        if cell.views and (view := cell.views.get(_geometry(tensor))) is not None:
            return view
        if cell.writer is None and cell.parameters:
            nodes = [self._parameter(name) for name in _overlapping(cell.parameters, tensor)]
            return nodes[0] if len(nodes) == 1 else nodes
        if cell.writer is None:
            cell.writer = self._get_attr(f"_constant_{next(self._constants)}")
            cell.writer.meta["foreign"] = True
        return cell.writer

    def _parameter(self, name: str) -> fx.Node:
        if name not in self._sources:
            self._sources[name] = self._get_attr(name)
            self._sources[name].meta["parameter"] = name
        return self._sources[name]

    def _get_attr(self, target: str) -> fx.Node:
        return self.graph.create_node("get_attr", target, name=target.replace(".", "_"))


class _Exits(TorchFunctionMode):
    """Watches the ways out of PyTorch that are no operations, and so pass the recorder unseen."""

    names = frozenset({"numpy", "__array__", "tolist"})

    def __init__(self, leave: Callable[[Callable[..., Any], Tensor], None]) -> None:
        super().__init__()
        self._leave = leave

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self.names:
            self._leave(func, args[0])
        return func(*args, **(kwargs or {}))


def _attributes(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Name the tensors that modules hold as plain attributes, alone or in a container."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            values = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            )
            if not name.startswith("_"):
                yield from ((f"{path}.{name}".lstrip("."), item) for item in values if isinstance(item, Tensor))


def _geometry(tensor: Tensor) -> Geometry:
    """Tell the views of one storage apart."""
    if tensor.layout != torch.strided:
        return ()
    return tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _span(tensor: Tensor) -> tuple[int, int]:
    """Return the first byte and the byte after the last one that a strided tensor covers in its storage."""
    start, extent = int(tensor.storage_offset()), 0
    if tensor.numel():
        extent = 1 + sum((int(n) - 1) * int(step) for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return start * tensor.element_size(), (start + extent) * tensor.element_size()


def _overlapping(parameters: list[tuple[str, Tensor]], tensor: Tensor) -> list[str]:
    """Name the parameters that `tensor` shows; flattened recurrent and sharded weights share one storage."""
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
    """Find position and name of the arguments that an operation writes to, by its schema."""
    schema = getattr(func, "_schema", None)
    arguments = schema.arguments if schema is not None else ()
    return tuple((i, a.name) for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write)


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    values = [args[i] if i < len(args) else kwargs.get(name) for i, name in _written_arguments(func)]
    return _flat(values)


def _flat(value: Any) -> list[Tensor]:
    """List the tensors of an argument or result of an operation."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for item in value for tensor in _flat(item)] if isinstance(value, list | tuple) else []


def tensors_in(result: Any) -> Iterator[Tensor]:
    """Walk through containers, dataclasses and plain objects to the tensors of a model's result."""
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
        if isinstance(value, dict):
            stack.extend(reversed(list(value.values())))
        elif isinstance(value, list | tuple | set):
            stack.extend(reversed(list(value)))
        elif hasattr(value, "__dict__"):
            stack.extend(reversed(list(vars(value).values())))
