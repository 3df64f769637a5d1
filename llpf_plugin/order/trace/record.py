"""Record one real forward pass as a ``torch.fx.Graph``.

The recorder sits at the dispatcher, below every Python construct: whatever the module's code looks like, each tensor
operation passes through it. Data flow is followed by *storage*, so views and in-place writes are right.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
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

from llpf_plugin.order.trace.tensors import attributes, flat, geometry, overlapping, tensors_in, written

Key = StorageWeakRef | int
Geometry = tuple[Any, ...]


@dataclass
class _Cell:
    """What is known of one storage: who wrote it last, and the views taken since."""

    writer: fx.Node | None = None
    number: int = 0  # which of the writer's results it is
    views: dict[Geometry, tuple[fx.Node, int]] = field(default_factory=dict)
    parameters: list[tuple[str, Tensor]] = field(default_factory=list)


class Recorder(TorchDispatchMode):
    """A dispatch mode that runs every operation and writes it down.

    Nodes of the graph:

    - ``placeholder``: a tensor of the example inputs;
    - ``get_attr``: a parameter (``meta["parameter"]`` is its name), a buffer, or a constant (``meta["foreign"]`` unless
      a module has it as an attribute: what another thread computed looks like that);
    - ``call_function``: an ATen operation, views included. An operation with several results is one node.

    ``meta["calls"]`` of an operation holds the module calls around it, outermost first, as ``(name, number)``.
    ``meta["shapes"]`` holds the shapes of a node's results, ``meta["seen"]`` an operation's positional arguments with
    the shapes that it met in place of tensors, ``meta["picked"]`` with the numbers of the results that they are.
    The graph shows how data flows. It is not meant to be run again.

    A tensor on ``meta`` has no value. Where the model asks for one it gets 1, and ``guessed`` says that this happened.

    Args:
        model: whose parameters and buffers are known by name.
        inputs: the tensors of the example inputs.
        before_write: called with each tensor that an operation is about to write to.
    """

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module, inputs: Iterable[Tensor], before_write: Callable[[Tensor], None]) -> None:
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
        for tensor in inputs:
            if self._is_new(tensor):
                node = self.graph.placeholder(f"input_{len(self.graph.nodes)}")
                node.meta["shapes"] = [tuple(tensor.shape)]
                self._cell(tensor).writer = node
        for name, tensor in (*model.named_buffers(), *attributes(model)):
            if self._is_new(tensor):
                self._cell(tensor).writer = self._get_attr(name, tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        node_args = tuple(self._node(value) for value in args)
        node_kwargs = {name: self._node(value) for name, value in kwargs.items()}
        picked = pytree.tree_map_only(Tensor, self._number, args)
        targets = written(func, args, kwargs)
        for tensor in targets:
            self._before_write(tensor)
        if func is torch.ops.higher_order.cond:
            with self:  # the branch that is taken is recorded like any other code
                return args[1 if args[0] else 2](*args[3])
        result = self._run(func, args, kwargs)
        node = self.graph.create_node("call_function", func, node_args, node_kwargs)
        node.meta["calls"] = self._calls
        node.meta["seen"] = pytree.tree_map_only(Tensor, lambda tensor: torch.Size(tensor.shape), args)
        node.meta["picked"] = picked
        node.meta["shapes"] = [tuple(tensor.shape) for tensor in flat(result)]
        for tensor in targets:
            cell = self._cell(tensor)
            cell.writer, cell.number, cell.views = node, 0, {}
        for number, tensor in enumerate(flat(result)):
            self._define(tensor, node, number)
        return result

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The result of an operation; of what has no value, every one is taken as 1."""
        aten = torch.ops.aten
        if func in (aten._local_scalar_dense.default, aten.nonzero.default) and args[0].is_meta:
            self.guessed, tensor = True, args[0]
            if func is aten.nonzero.default:
                return tensor.new_empty((tensor.numel(), tensor.dim()), dtype=torch.int64)
            return torch.ones((), dtype=tensor.dtype).item()
        return func(*args, **kwargs)

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
        """Note that a tensor leaves for numpy or Python."""
        node = self.graph.call_function(function, (self._read(tensor),))
        node.meta.update(calls=self._calls, operation="leave")

    def _cell(self, tensor: Tensor) -> _Cell:
        try:
            key: Key = StorageWeakRef(tensor.untyped_storage())
        except (NotImplementedError, RuntimeError):  # sparse and other tensors without a storage
            key = id(tensor)
            self._kept.append(tensor)
        return self._cells.setdefault(key, _Cell())

    def _is_new(self, tensor: Tensor) -> bool:
        """Whether nothing is known yet of a tensor's storage; a buffer may show a part of a parameter."""
        cell = self._cell(tensor)
        return cell.writer is None and not cell.parameters

    def _define(self, tensor: Tensor, node: fx.Node, number: int) -> None:
        cell = self._cell(tensor)
        if self._is_new(tensor):
            cell.writer, cell.number = node, number
        elif cell.writer is not node:
            cell.views[geometry(tensor)] = node, number

    def _node(self, value: Any) -> Any:
        """Replace the tensors of an argument by nodes; operations take nothing deeper than lists."""
        if isinstance(value, Tensor):
            return self._read(value)
        if isinstance(value, list | tuple):
            return [self._node(item) for item in value]
        return value

    def _read(self, tensor: Tensor) -> Any:
        cell = self._cell(tensor)
        if cell.views and (view := cell.views.get(geometry(tensor))) is not None:
            return view[0]
        if cell.writer is None and cell.parameters:
            tensors = dict(cell.parameters)
            nodes = [self._parameter(name, tensors[name]) for name in overlapping(cell.parameters, tensor)]
            return nodes[0] if len(nodes) == 1 else nodes
        if cell.writer is None:
            cell.writer = self._get_attr(f"_constant_{next(self._constants)}", tensor)
            cell.writer.meta["foreign"] = True
        return cell.writer

    def _number(self, tensor: Tensor) -> int:
        """Which of the results of the node that `_read` gives a tensor is."""
        cell = self._cell(tensor)
        view = cell.views.get(geometry(tensor)) if cell.views else None
        return cell.number if view is None else view[1]

    def _parameter(self, name: str, parameter: Tensor) -> fx.Node:
        if name not in self._sources:
            self._sources[name] = self._get_attr(name, parameter)
            self._sources[name].meta["parameter"] = name
        return self._sources[name]

    def _get_attr(self, target: str, tensor: Tensor) -> fx.Node:
        node = self.graph.create_node("get_attr", target, name=target.replace(".", "_"))
        node.meta["shapes"] = [tuple(tensor.shape)]
        return node


@torch.ops.higher_order.cond.py_impl(Recorder)
def _cond(recorder: Recorder, *args: Any) -> Any:
    """Before 2.7, torch asks for this where a mode meets a condition."""
    return recorder.__torch_dispatch__(torch.ops.higher_order.cond, (), args)


class _Exits(TorchFunctionMode):
    """Watches the ways out of PyTorch that are not operations, and so pass the recorder unseen."""

    names = frozenset({"numpy", "__array__", "tolist"})

    def __init__(self, leave: Callable[[Callable[..., Any], Tensor], None]) -> None:
        super().__init__()
        self._leave = leave

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self.names:
            self._leave(func, args[0])
        return func(*args, **(kwargs or {}))
