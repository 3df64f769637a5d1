"""Which layers run, in which order, and whose units can be corrected by their own weight and bias."""

from collections.abc import Container, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from llpf_plugin.evaluation.point import norms_with_statistics
from llpf_plugin.geometry.weights import layers_of, ties
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.workspace import Workspace

OUTPUT = "gives the output"
NORMALIZED = "is followed by a normalization whose statistics are re-estimated"
"""Why a layer is left alone on purpose."""

TRACED = 2
"""Training examples that show the order; more than one, for models that squeeze their batch."""

_AXES: Mapping[Any, tuple[int, int]] = {
    nn.Linear.forward: (0, -1),
    nn.Conv1d.forward: (0, -2),
    nn.Conv2d.forward: (0, -3),
    nn.Conv3d.forward: (0, -4),
}
"""By what computes a layer, since a subclass may compute something else, such as a standardized convolution."""


def axes_of(module: nn.Module) -> tuple[int, int] | None:
    """The axis of a layer's units in its weight, and in what it returns; None if it is not linear or a convolution."""
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # the linear layer of GPT-2, its weight transposed
        return 1, -1
    return _AXES.get(type(module).forward)


def correctable(workspace: Workspace, weights: Container[str]) -> tuple[list[str], dict[str, str]]:
    """Layers whose units can be corrected, in the order in which they run; and those left alone, with the reason.

    Args:
        workspace: whose model runs on a few training examples, as it stands.
        weights: names of what may be changed.
    """
    run, model = _run(workspace), workspace.model
    matrices = [name for name, p in model.named_parameters() if p.dim() > 1]
    owners = [layer.partition(".parametrizations")[0] for layer in layers_of(matrices)]
    layers = dict.fromkeys([*run.calls, *owners])
    reasons = {layer: _reason(model, layer, run, weights) for layer in layers}
    return [k for k, why in reasons.items() if not why], {k: why for k, why in reasons.items() if why}


@dataclass
class _Run:
    """One call of the model.

    Attributes:
        calls: linear and convolution layers as they ran; one that ran twice is there twice.
        outputs: what each returned last, and its version: a tensor that was written into since is something else.
        normalized: those whose output a normalization with running statistics takes.
        returned: what the model returned.
    """

    calls: list[str] = field(default_factory=list)
    outputs: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    normalized: set[str] = field(default_factory=set)
    returned: Sequence[Tensor] = ()

    @property
    def last(self) -> set[str]:
        """The layers that give the output: the last one, and those whose memory the model returns."""
        places = {tensor.untyped_storage().data_ptr() for tensor in self.returned}
        own = {k for k, (tensor, _) in self.outputs.items() if tensor.untyped_storage().data_ptr() in places}
        return own | set(self.calls[-1:])


@torch.no_grad()
def _run(workspace: Workspace) -> _Run:
    """The last call of the model that the objective makes on a few training examples, in eval mode."""
    model, run = workspace.model, _Run()

    def begin(module: nn.Module, inputs: Any) -> None:
        run.calls, run.outputs, run.normalized = [], {}, set()

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        run.returned = Inputs((output,)).tensors()

    def normalize(module: nn.Module, inputs: Any) -> None:
        run.normalized |= {k for k, (t, version) in run.outputs.items() if t is inputs[0] and t._version == version}

    def called(layer: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            run.calls.append(layer)
            run.outputs[layer] = output, output._version

        return hook

    model.eval()
    with ExitStack() as stack:
        hooks = [model.register_forward_pre_hook(begin)]
        hooks += [m.register_forward_hook(called(k)) for k, m in model.named_modules() if axes_of(m)]
        hooks += [m.register_forward_pre_hook(normalize) for m in norms_with_statistics(model)]
        hooks += [model.register_forward_hook(end)]
        for hook in hooks:
            stack.callback(hook.remove)
        workspace.score(next(iter(workspace.examples(workspace.task.train, TRACED).batches(TRACED))))
    return run


def _reason(model: nn.Module, layer: str, run: _Run, weights: Container[str]) -> str:
    """Why a layer is left alone; nothing where it is not."""
    own, tied = {f"{layer}.weight", f"{layer}.bias"}, ties(model)
    modules = dict(model.named_modules())
    if layer not in modules or axes_of(modules[layer]) is None:
        return "is neither a linear layer nor a convolution"
    if "weight" not in modules[layer]._parameters or f"{layer}.weight" not in weights:
        return "has a weight that is computed, or that the path does not move"
    if layer not in run.calls:
        return "is not called as a module"
    if own & {*tied, *tied.values()}:
        return "shares its weight"
    if run.calls.count(layer) > 1:
        return "runs more than once"
    return OUTPUT if layer in run.last else NORMALIZED if layer in run.normalized else ""
