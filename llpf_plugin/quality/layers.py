"""What each layer does along a path: how far it still has to go, when it moves, and on which variance sphere it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.weights import distance, relative_distance, select


@dataclass(frozen=True)
class LayerTrace:
    """Layers along a path.

    Attributes:
        layers: names of the layers.
        positions: arc-length position of every knot, ``[knots]``.
        distance: relative distance to the destination, ``[knots, layers]``.
        moved: Euclidean length that a layer moves on a segment, ``[knots − 1, layers]``.
        tensors: names of the tensors of ≥ 2 dimensions, which have spheres.
        variance: their variance about their own mean, ``[knots, tensors]``.
        mean: their mean, ``[knots, tensors]``.
    """

    layers: tuple[str, ...]
    positions: np.ndarray
    distance: np.ndarray
    moved: np.ndarray
    tensors: tuple[str, ...]
    variance: np.ndarray
    mean: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The share of a layer's whole way that lies on a segment, ``[knots − 1, layers]``; 0 if it never moves."""
        whole = self.moved.sum(0, keepdims=True)
        return np.divide(self.moved, whole, out=np.zeros_like(self.moved), where=whole > 0)

    @property
    def middles(self) -> np.ndarray:
        """The position at which a layer has gone half of its way, ``[layers]``; NaN if it never moves."""
        done = np.concatenate([np.zeros((1, len(self.layers))), np.cumsum(self.shares, 0)])
        moving = done[-1] > 0.5
        halves = [np.interp(0.5, done[:, i], self.positions) if moving[i] else np.nan for i in range(len(self.layers))]
        return np.array(halves)


def trace_layers(path: Path, layers: Mapping[str, Sequence[str]]) -> LayerTrace:
    """Follow the layers along the path; every knot is read once.

    Args:
        path: any path.
        layers: names of the coordinates of each layer, in the order in which they are to be shown.
    """
    destination = path.knots[path.destination]
    tensors = [k for own in layers.values() for k in own if destination[k].dim() >= 2 and destination[k].numel()]
    distances, moved, variance, mean = [], [], [], []
    before = None
    for knot in path.knots:
        distances.append([relative_distance(select(knot, own), destination) for own in layers.values()])
        moments = [sphere.moments(knot[k]) for k in tensors]
        mean.append([float(m) for m, _ in moments])
        variance.append([float(s) ** 2 for _, s in moments])
        if before is not None:
            moved.append([distance(select(knot, own), before) for own in layers.values()])
        before = knot
    return LayerTrace(
        tuple(layers), path.positions, np.array(distances), np.array(moved), tuple(tensors),
        np.array(variance), np.array(mean),
    )  # fmt: skip
