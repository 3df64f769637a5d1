"""Layer-wise barriers: what happens if one layer alone goes straight from A to B (Adilova et al., 2024)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llpf_plugin.evaluation.point import train_loss
from llpf_plugin.geometry.weights import Weights, lerp, select
from llpf_plugin.quality.metrics import highest
from llpf_plugin.workspace import Workspace


@dataclass(frozen=True)
class LayerBarrier:
    """The barrier of one layer.

    Attributes:
        layer: its name.
        at_a: the barrier with all other layers at A.
        at_b: the barrier with all other layers at B.
    """

    layer: str
    at_a: float
    at_b: float


def layer_barriers(
    workspace: Workspace,
    a: Weights,
    b: Weights,
    layers: Mapping[str, Sequence[str]],
    points: int = 5,
    sample: int | None = 1000,
    progress: Callable[[int, int], None] | None = None,
) -> list[LayerBarrier]:
    """``max [L(t) − ((1−t)·L(A) + t·L(B))]`` of the training loss, one layer interpolated at a time.

    L(A) and L(B) are the losses of the two whole models, so that a layer of B that does not fit into A counts as a
    barrier. Costs about ``2 · layers · points`` evaluations; running statistics are re-estimated at each.

    Args:
        workspace: whose model is used as a workspace.
        a: coordinates of A.
        b: coordinates of B.
        layers: names of the coordinates of each layer.
        points: sub-segments of every line.
        sample: training examples, None for all.
        progress: called with the number of layers done and of all.
    """

    def loss(weights: Weights) -> float:
        return train_loss(workspace, weights, sample)

    places = np.linspace(0, 1, points + 1)
    ends = loss(a), loss(b)
    chord = (1 - places) * ends[0] + places * ends[1]
    found = []
    for done, (name, own) in enumerate(layers.items(), start=1):
        here, there = select(a, own), select(b, own)
        moves = [lerp(here, there, t) for t in places]
        # Where the layer is that of the other whole model, its loss is known.
        at_a = [ends[0], *(loss({**a, **move}) for move in moves[1:])]
        at_b = [*(loss({**b, **move}) for move in moves[:-1]), ends[1]]
        found.append(LayerBarrier(name, *(highest(np.array(side) - chord) for side in (at_a, at_b))))
        if progress:
            progress(done, len(layers))
    return found
