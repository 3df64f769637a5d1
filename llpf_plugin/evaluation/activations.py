"""REPAIR: the units of an averaged network get back the spread that averaging takes (Jordan et al., 2023).

The pre-activations of two aligned units are not fully correlated, so that their average varies less than either, and
less from layer to layer ("variance collapse", arXiv 2211.08403). REPAIR gives every unit of the average the mean and
the standard deviation between A's and B's. Where BatchNorm follows, re-estimating its statistics, as every evaluation
here does, is the same thing: such layers are left alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from llpf_plugin.errors import LLPFError
from llpf_plugin.evaluation.correctable import axes_of, correctable
from llpf_plugin.evaluation.point import STATISTICS, reestimate
from llpf_plugin.geometry.weights import Weights, assign, clone
from llpf_plugin.preflight.probe import probing
from llpf_plugin.workspace import Workspace


@dataclass(frozen=True)
class Repaired:
    """A network after REPAIR.

    Attributes:
        weights: the same names as the merged network's, so that the architecture stays what it was.
        corrected: layers whose units were corrected, in the order in which data reach them.
        left: layers that were left alone, with the reason.
    """

    weights: Weights
    corrected: tuple[str, ...]
    left: Mapping[str, str]


@dataclass(frozen=True)
class Spread:
    """What the units of a layer do on a sample: mean and standard deviation of their pre-activations.

    Attributes:
        mean: ``[units]``, float64; a unit of a convolution is a channel, all of its places together.
        std: ``[units]``, float64, of the population.
    """

    mean: Tensor
    std: Tensor

    def towards(self, other: "Spread", t: float) -> "Spread":
        """Means and standard deviations (not variances) interpolated, exact at both ends."""
        return Spread((1 - t) * self.mean + t * other.mean, (1 - t) * self.std + t * other.std)


def repair_activations(
    workspace: Workspace, a: Weights, b: Weights, merged: Weights, t: float, sample: int | None = STATISTICS
) -> Repaired:
    """Correct the units of a merged network, layer by layer in the direction of data flow (arXiv 2211.08403).

    The pre-activations of every unit get the mean ``(1−t)·μ_A + t·μ_B`` and the standard deviation
    ``(1−t)·σ_A + t·σ_B``; those of the merged network are measured again after the layers before were corrected. The
    correction is folded into the layer: ``W ← s·W`` and ``b ← s·(b − μ) + μ_target`` with ``s = σ_target / σ``. A layer
    without bias gets the scale only; a unit that does not vary gets the shift only. The layer that gives the output is
    left alone, as in the authors' code for VGG11 (that for an MLP corrects it as well).

    Costs one pass over the sample for each layer, and one each for A and B.

    Args:
        workspace: whose model and training data; left as it was.
        a: coordinates, or a complete state dict, of A.
        b: of B, its units in A's order.
        merged: of the point ``t`` of the line between them; not changed.
        t: in [0, 1]; at 0 and 1 nothing changes.
        sample: training examples to measure on, None for all.

    Raises:
        LLPFError: ``t`` lies outside of [0, 1].
    """
    if not 0 <= t <= 1:
        raise LLPFError(f"t = {t:g}: it must be in [0, 1]")
    with probing(workspace):  # eagerly: a compiled model may run past hooks
        assign(workspace.model, merged)
        layers, left = correctable(workspace, merged)
        at_a, at_b = (spread_of(workspace, end, layers, sample) for end in (a, b))
        weights = clone(merged)
        for layer in layers:
            found = spread_of(workspace, weights, [layer], sample)[layer]
            weights |= _folded(workspace.model, layer, weights, found, at_a[layer].towards(at_b[layer], t))
    return Repaired(weights, tuple(layers), left)


@torch.no_grad()
def spread_of(
    workspace: Workspace, weights: Weights, layers: Sequence[str], sample: int | None = STATISTICS
) -> dict[str, Spread]:
    """Mean and standard deviation of the pre-activations of every unit of some layers.

    The model runs in eval mode, with re-estimated running statistics.

    Args:
        workspace: whose model is overwritten with ``weights``.
        weights: coordinates (or a whole state dict) of the point.
        layers: names of modules.
        sample: training examples to measure on, None for all.
    """
    if not layers:
        return {}
    assign(workspace.model, weights)
    reestimate(workspace, sample)
    workspace.model.eval()
    with _listening(workspace.model, layers) as heard:
        for batch in workspace.examples(workspace.task.train, sample).batches(workspace.eval_batch):
            workspace.score(batch)
    return {layer: moments.spread() for layer, moments in heard.items()}


class _Moments:
    """Count, mean and sum of squared deviations of units, batch by batch (Chan et al., 1983)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, values: Tensor) -> None:
        """Values of the units ``[units, n]``, float64."""
        count, mean = values.shape[1], values.mean(1)
        gap, total = mean - self.mean.to(mean), self.count + count
        squares = (values - mean[:, None]).square().sum(1) + gap.square() * (self.count * count / total)
        self.mean, self.squares = self.mean.to(mean) + gap * (count / total), self.squares.to(mean) + squares
        self.count = total

    def spread(self) -> Spread:
        """What was added so far."""
        return Spread(self.mean, (self.squares / max(1, self.count)).sqrt())


@contextmanager
def _listening(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, _Moments]]:
    """Moments of what some layers return, whenever the model runs."""
    heard = {layer: _Moments() for layer in layers}

    def hear(layer: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            heard[layer].add(output.double().movedim(_axes(module)[1], 0).flatten(1))

        return hook

    handles = [model.get_submodule(layer).register_forward_hook(hear(layer)) for layer in layers]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _folded(model: nn.Module, layer: str, weights: Weights, found: Spread, target: Spread) -> Weights:
    """A layer's weight and bias with its units moved from one spread to another."""
    axis, varies = _axes(model.get_submodule(layer))[0], found.std > 0
    scale = torch.where(varies, target.std / found.std.where(varies, 1.0), 1.0)
    weight = weights[f"{layer}.weight"]
    shape = [-1 if i == axis else 1 for i in range(weight.dim())]
    folded = {f"{layer}.weight": (weight.double() * scale.to(weight.device).view(shape)).to(weight.dtype)}
    if (bias := weights.get(f"{layer}.bias")) is not None:
        moved = (scale - 1) * (bias.to(scale) - found.mean) + (target.mean - found.mean)  # 0 where nothing is to change
        folded[f"{layer}.bias"] = (bias.to(scale) + moved).to(bias)
    return folded


def _axes(module: nn.Module) -> tuple[int, int]:
    axes = axes_of(module)
    assert axes is not None, f"{type(module).__name__} is not correctable"
    return axes
