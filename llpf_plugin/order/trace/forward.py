"""Trace a module: real forward passes, checked for coverage, with fallbacks that are named.

1. One pass in evaluation mode under the recorder.
2. If it did not read every parameter: one more in training mode with a doubled batch (auxiliary heads).
3. If some are still left: the autograd graph, which also sees what other threads computed.
4. Without inputs: a symbolic trace; where that fails, the order of registration. Both are marked as not verified.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, fx, nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order.layers import Owner
from llpf_plugin.order.trace.backward import backward_graph
from llpf_plugin.order.trace.flow import Flow, flow, merge
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.order.trace.record import Recorder
from llpf_plugin.order.trace.restore import restored
from llpf_plugin.order.trace.symbolic import registration_flow, symbolic_flow
from llpf_plugin.order.trace.tensors import tensors_in


@dataclass
class Trace:
    """What the traces of a module gave together.

    Attributes:
        flow: between its layers.
        graph: of the first pass; None where nothing could be followed.
        tracer: see `LayerOrder`.
        verified: whether real values went through the module.
        warnings: what did not go as usual, in words.
    """

    flow: Flow
    graph: fx.Graph | None
    tracer: str
    verified: bool = True
    warnings: list[str] = field(default_factory=list)


def trace(model: nn.Module, inputs: Inputs, layers: Mapping[str, Owner]) -> Trace:
    """Trace a model on example inputs.

    Raises:
        OrderError: the model does not run on these inputs.
    """
    if all(parameter.is_meta for parameter in model.parameters()):
        inputs = inputs.map(lambda tensor: tensor.to("meta"))
    recorder, note = _first_pass(model, inputs)
    found = flow(recorder.graph, layers)
    result = Trace(found, recorder.graph, "dispatch", not recorder.guessed, [note] if note else [])
    if recorder.guessed:
        result.warnings.append("the model asked for values, which tensors on meta do not have; they were taken as 1")
    if _uncovered(layers, found):
        _training_pass(model, inputs, layers, result)
    if _uncovered(layers, found):
        _backward_pass(model, inputs, layers, result)
    return result


def trace_without_inputs(model: nn.Module, layers: Mapping[str, Owner]) -> Trace:
    """Read a model without running it, as far as its code can be followed; nothing in the result is verified."""
    try:
        found, graph, opaque = symbolic_flow(model, layers)
    except Exception as error:
        note = f"without inputs the code could not be followed ({_short(error)}): the order is that of registration"
        return Trace(registration_flow(layers), None, "registration", verified=False, warnings=[note])
    notes = ["read without inputs, from the code alone: give example inputs to verify the order"]
    if opaque:
        notes.append(f"inside {', '.join(opaque)} the code could not be followed: order of registration there")
    return Trace(found, graph, "symbolic", verified=False, warnings=notes)


def _uncovered(layers: Mapping[str, Owner], found: Flow) -> list[str]:
    return [name for layer in layers.values() for name in layer.parameters if name not in found.used]


def _first_pass(model: nn.Module, inputs: Inputs) -> tuple[Recorder, str]:
    """Record in evaluation mode, or with gradients or in training mode where the model runs only so."""
    attempts = (
        (False, False, ""),
        (False, True, "the model ran only with gradients enabled"),
        (True, False, "the model ran only in training mode"),
    )
    first_error: Exception | None = None
    for training, gradients, note in attempts:
        try:
            with _autocast_on_meta():
                return record(model, inputs, training=training, gradients=gradients), note
        except Exception as error:
            first_error = first_error or error
    assert first_error is not None
    raise OrderError(
        f"{type(model).__name__} does not run on the example inputs ({inputs}): {_short(first_error, 500)}; give what "
        "it accepts: a tensor, a tuple of positional arguments, a dict of keyword arguments, or Inputs(args, kwargs)"
    ) from first_error


def _training_pass(model: nn.Module, inputs: Inputs, layers: Mapping[str, Owner], result: Trace) -> None:
    """Look for the missing layers in training mode, where auxiliary heads run.

    The batch is doubled because a normalization cannot train on one value per channel.
    """
    try:
        extra = flow(record(model, inputs.map(doubled), training=True, gradients=False).graph, layers)
    except Exception as error:
        result.warnings.append(f"a pass in training mode, for what evaluation left out, failed: {_short(error)}")
        return
    if added := merge(result.flow, extra):
        result.tracer += "+train"
        result.warnings.append(f"only in training mode: {listed(added)}; placed by a second pass in that mode")


def _backward_pass(model: nn.Module, inputs: Inputs, layers: Mapping[str, Owner], result: Trace) -> None:
    """Look for the missing layers in the autograd graph, since the recorder does not see other threads."""
    try:
        extra = flow(autograd(model, inputs, training=False), layers)
    except Exception as error:
        result.warnings.append(f"a pass with gradients, for what other threads may run, failed: {_short(error)}")
        return
    if added := merge(result.flow, extra):
        result.tracer += "+autograd"
        result.warnings.append(
            f"run where the recorder does not see (another thread): {listed(added)}; placed by autograd"
        )


def autograd(model: nn.Module, inputs: Inputs, *, training: bool) -> fx.Graph:
    """Run the model once and read the autograd graph of its results; the model is left as it was."""
    with restored(model, inputs.tensors(), whole=True), _eager(), torch.enable_grad():
        model.train(training)
        for parameter in model.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.requires_grad_(True)
        tracked = inputs.map(_tracked)
        return backward_graph(model, tensors_in(model(*tracked.args, **tracked.kwargs)))


def _tracked(tensor: Tensor) -> Tensor:
    """A copy that autograd follows; times one, since a leaf must not be written to."""
    return tensor.detach().clone().requires_grad_(True) * 1 if tensor.is_floating_point() else tensor.clone()


def record(model: nn.Module, inputs: Inputs, *, training: bool, gradients: bool) -> Recorder:
    """Run the model once under the recorder and leave it as it was."""
    with restored(model, inputs.tensors()) as guard, _eager(), torch.set_grad_enabled(gradients):
        model.train()
        model.train(training)  # through training mode first: some models drop tensors cached for evaluation there
        given = inputs.map(lambda tensor: tensor)  # containers of its own, since a model may change its batch
        recorder = Recorder(model, given.tensors(), guard.save)
        with recorder.watching():
            recorder.finish(model(*given.args, **given.kwargs))
        return recorder


@contextmanager
def _autocast_on_meta() -> Iterator[None]:
    """Let models turn autocast off for the device of their tensors: torch 2.6 knows none for ``meta``."""
    try:
        torch.is_autocast_enabled("meta")
        known = True
    except RuntimeError:
        known = False
    if known:
        yield
        return
    enabled, cast = torch.is_autocast_enabled, torch.autocast

    def is_enabled(device: str | None = None) -> bool:
        return device != "meta" and (enabled() if device is None else enabled(device))

    def autocast(device_type: str, *arguments: Any, **options: Any) -> Any:
        return nullcontext() if device_type == "meta" else cast(device_type, *arguments, **options)

    with patch.multiple(torch, is_autocast_enabled=is_enabled, autocast=autocast):
        yield


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


def doubled(tensor: Tensor) -> Tensor:
    """A batch with itself once more, for a normalization that cannot train on one value per channel."""
    return torch.cat([tensor, tensor]) if tensor.dim() else tensor


def _short(error: Exception, most: int = 200) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:most].rstrip('.')}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first few of a list, and how many more there are, in words."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
