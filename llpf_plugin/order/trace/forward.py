"""Trace a module: real forward passes, checked for coverage, with fallbacks that are named.

1. One pass in evaluation mode under the recorder.
2. Parameters that it did not read: one more pass in training mode with a doubled batch (auxiliary heads).
3. Still some: the autograd graph, which also sees what other threads computed.
4. No inputs: a symbolic trace; where that fails, the order of registration. Both are marked as not verified.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, fx, nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order.layers import Owner
from llpf_plugin.order.trace.backward import backward_graph
from llpf_plugin.order.trace.flow import Flow, flow, merge
from llpf_plugin.order.trace.record import Recorder
from llpf_plugin.order.trace.restore import pristine
from llpf_plugin.order.trace.symbolic import registration_flow, symbolic_flow
from llpf_plugin.order.trace.tensors import tensors_in


@dataclass
class Trace:
    """What the traces of a module gave together."""

    flow: Flow
    graph: fx.Graph | None
    tracer: str
    verified: bool = True
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """The example inputs as the positional and keyword arguments of one call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, example_inputs: Any) -> Call:
        """Read a tuple as positional arguments, a dict as keyword arguments, anything else as the only argument."""
        if hasattr(example_inputs, "args") and hasattr(example_inputs, "kwargs"):
            return cls(example_inputs.args, example_inputs.kwargs)
        if isinstance(example_inputs, tuple):
            return cls(example_inputs, {})
        if isinstance(example_inputs, Mapping):
            return cls((), dict(example_inputs))
        return cls((example_inputs,), {})

    def tensors(self) -> list[Tensor]:
        """List all tensors in it."""
        return [leaf for leaf in pytree.tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Tensor)]

    def map(self, function: Any) -> Call:
        """Apply a function to each tensor."""
        args, kwargs = pytree.tree_map_only(Tensor, function, (self.args, dict(self.kwargs)))
        return Call(args, kwargs)

    def __str__(self) -> str:
        named = {**{str(i): value for i, value in enumerate(self.args)}, **self.kwargs}
        return ", ".join(f"{name}: {_describe(value)}" for name, value in named.items()) or "nothing"


def trace(model: nn.Module, call: Call, layers: Mapping[str, Owner]) -> Trace:
    """Trace a model on example inputs.

    Raises:
        OrderError: The model does not run on these inputs.
    """
    if all(parameter.is_meta for parameter in model.parameters()):
        call = call.map(lambda tensor: tensor.to("meta"))
    recorder, note = _first_pass(model, call)
    found = flow(recorder.graph, layers)
    result = Trace(found, recorder.graph, "dispatch", not recorder.guessed, [note] if note else [])
    if recorder.guessed:
        result.warnings.append("The model asked for values, which tensors on meta do not have; they were taken as 1.")
    if _uncovered(layers, found):
        _training_pass(model, call, layers, result)
    if _uncovered(layers, found):
        _backward_pass(model, call, layers, result)
    return result


def trace_without_inputs(model: nn.Module, layers: Mapping[str, Owner]) -> Trace:
    """Read a model without running it, as far as its code can be followed; nothing of this is verified."""
    try:
        found, graph, opaque = symbolic_flow(model, layers)
    except Exception as error:
        note = f"Without inputs the code could not be followed ({_short(error)}): the order is that of registration."
        return Trace(registration_flow(layers), None, "registration", verified=False, warnings=[note])
    notes = ["Read without inputs, from the code alone: give example inputs to verify the order."]
    if opaque:
        notes.append(f"Inside {', '.join(opaque)} the code could not be followed: order of registration there.")
    return Trace(found, graph, "symbolic", verified=False, warnings=notes)


def _uncovered(layers: Mapping[str, Owner], found: Flow) -> list[str]:
    return [name for layer in layers.values() for name in layer.parameters if name not in found.used]


def _first_pass(model: nn.Module, call: Call) -> tuple[Recorder, str]:
    """Record in evaluation mode; where the model needs gradients or training mode to run, with these."""
    attempts = (
        (False, False, ""),
        (False, True, "The model ran only with gradients enabled."),
        (True, False, "The model ran only in training mode."),
    )
    first_error: Exception | None = None
    for training, gradients, note in attempts:
        try:
            return record(model, call, training=training, gradients=gradients), note
        except Exception as error:
            first_error = first_error or error
    assert first_error is not None
    message = " ".join(str(first_error).split())[:500].rstrip(".")
    raise OrderError(
        f"{type(model).__name__} does not run on the example inputs ({call}): {type(first_error).__name__}: {message}. "
        f"Give inputs that the model accepts: a tensor, a tuple of positional or a dict of keyword arguments."
    ) from first_error


def _training_pass(model: nn.Module, call: Call, layers: Mapping[str, Owner], result: Trace) -> None:
    """Look for the missing layers in training mode, where auxiliary heads run.

    The batch is doubled because a normalization cannot train on one value per channel.
    """
    try:
        extra = flow(record(model, call.map(_double), training=True, gradients=False).graph, layers)
    except Exception as error:
        result.warnings.append(f"A pass in training mode, for what evaluation left out, failed: {_short(error)}.")
        return
    if added := merge(result.flow, extra):
        result.tracer += "+train"
        result.warnings.append(f"Only in training mode: {listed(added)}; placed by a second pass in that mode.")


def _backward_pass(model: nn.Module, call: Call, layers: Mapping[str, Owner], result: Trace) -> None:
    """Look for the missing layers in the autograd graph: the recorder does not see other threads."""
    try:
        with pristine(model, call.tensors(), whole=True), _eager(), torch.enable_grad():
            model.eval()
            for parameter in model.parameters():
                if parameter.is_floating_point() or parameter.is_complex():
                    parameter.requires_grad_(True)
            inputs = call.map(_tracked)
            extra = flow(backward_graph(model, tensors_in(model(*inputs.args, **inputs.kwargs))), layers)
    except Exception as error:
        result.warnings.append(f"A pass with gradients, for what other threads may run, failed: {_short(error)}.")
        return
    if added := merge(result.flow, extra):
        result.tracer += "+autograd"
        result.warnings.append(
            f"Run where the recorder does not see (another thread): {listed(added)}; placed by autograd."
        )


def _tracked(tensor: Tensor) -> Tensor:
    """Copy an input so that autograd follows it; times one, since a leaf must not be written to."""
    return tensor.detach().clone().requires_grad_(True) * 1 if tensor.is_floating_point() else tensor.clone()


def record(model: nn.Module, call: Call, *, training: bool, gradients: bool) -> Recorder:
    """Run the model once under the recorder and leave it as it was."""
    with pristine(model, call.tensors()) as guard, _eager(), torch.set_grad_enabled(gradients):
        model.train()
        model.train(training)  # through training mode first: some models drop tensors cached for evaluation there
        recorder = Recorder(model, (call.args, dict(call.kwargs)), guard.save)
        with recorder.watching():
            recorder.finish(model(*call.args, **call.kwargs))
        return recorder


@contextmanager
def _eager() -> Iterator[None]:
    """Switch off what would hide operations: compiled code and the fused path of attention."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _double(tensor: Tensor) -> Tensor:
    return torch.cat([tensor, tensor]) if tensor.dim() else tensor


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200].rstrip('.')}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Name the first few of a list, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_describe, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_describe(v)}' for k, v in value.items())}}}"
    return repr(value)[:40]
