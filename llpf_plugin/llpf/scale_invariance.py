"""Layers that may be scaled for nothing: the graph proposes them, a numerical check decides.

Weights whose sole consumer is a normalization can be scaled without changing what the network computes. The straight
segment from such weights to their scaled ones then has one loss, and a leg between two variance spheres is exact.
"""

from collections.abc import Iterable, Mapping

import torch

from llpf_plugin.errors import OrderError
from llpf_plugin.evaluation.point import borrowed, evaluate
from llpf_plugin.geometry.scale_groups import Unit
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.order import layer_order, scale_free
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Gradient

SAMPLE = 512
"""Training examples that the numerical check looks at."""


def proposed(task: Task, units: Iterable[Unit]) -> dict[str, Unit]:
    """The units that the graph of operations proposes, by their matrix; each with what must be scaled along.

    A bias between the matrix and the normalization is scaled along; where that changes something and scaling the matrix
    alone does not (the direction of a weight-normalised layer), it is left out. A model that cannot be traced has none.
    """
    try:
        graph = layer_order(task.model, task.example_inputs()).graph
    except OrderError:
        return {}
    found: dict[str, Unit] = {}
    for unit in units if graph is not None else ():
        assert graph is not None
        if scale_free(graph, unit.names):
            found[unit.matrix] = unit
        elif scale_free(graph, (unit.matrix,)):
            found[unit.matrix] = Unit(unit.matrix, ())
    return found


def confirmed(
    gradient: Gradient, weights: Weights, units: Mapping[str, Unit], targets: Mapping[str, float], slack: float
) -> dict[str, Unit]:
    """The units for which the scaling changes the training loss by at most ``slack``.

    All are scaled together first; if that changes the loss, one after the other.

    Args:
        gradient: whose model, data and device; the model is left as it was.
        weights: coordinates of the point to be scaled.
        units: as `proposed`.
        targets: the variance that each unit's matrix is to have.
        slack: in units of the loss.
    """
    if not units:
        return {}
    with borrowed(gradient):
        before = _loss(gradient, weights)

        def same(some: Mapping[str, Unit]) -> bool:
            return abs(_loss(gradient, scaled(weights, some, targets)) - before) <= slack

        return dict(units) if same(units) else {k: unit for k, unit in units.items() if same({k: unit})}


@torch.no_grad()
def scaled(weights: Weights, units: Mapping[str, Unit], targets: Mapping[str, float]) -> Weights:
    """A copy with every unit scaled about the origin, so that its matrix has the variance in ``targets``."""
    after = {k: t.clone() for k, t in weights.items()}
    for unit in units.values():
        factor = unit.factor(weights, targets[unit.matrix])
        for name in unit.names:
            after[name].mul_(factor)
    return after


def _loss(gradient: Gradient, weights: Weights) -> float:
    scores, _ = evaluate(gradient, weights, {"train": gradient.task.train}, SAMPLE)
    score = scores["train"]
    assert score is not None
    return score.loss
