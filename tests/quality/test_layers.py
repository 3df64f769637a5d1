"""What each layer does along a path, by hand."""

import math

import pytest
import torch

from llpf_plugin import Path
from llpf_plugin.geometry.weights import Weights, layers_of
from llpf_plugin.quality import trace_layers
from llpf_plugin.records import Knot


def point(u: float, v: float) -> Weights:
    return {"u.weight": torch.tensor([[float(u)]]), "v.weight": torch.tensor([[float(v)]])}


def test_layers_along_a_path() -> None:
    """u goes first, then v; the destination (the last knot) is (1, 2)."""
    knots = [point(0, 0), point(1, 0), point(1, 2)]
    found = trace_layers(Path(knots, knots[0], knots[-1], [Knot(k) for k in ("start", "settled", "end")]), {
        "v": ["v.weight"], "u": ["u.weight"],
    })  # fmt: skip
    assert found.layers == ("v", "u")
    assert found.distance.tolist() == [[1, 1], [1, 0], [0, 0]]
    assert found.moved.tolist() == [[0, 1], [2, 0]] and found.shares.tolist() == [[0, 1], [1, 0]]
    assert found.positions == pytest.approx([0, 1 / 3, 1])
    assert found.middles == pytest.approx([2 / 3, 1 / 6])


def test_variance_and_mean_along_a_path() -> None:
    knots = [
        {"w": torch.tensor([[1.0, 3.0]]), "b": torch.tensor([1.0])},
        {"w": torch.tensor([[0.0, 4.0]]), "b": torch.tensor([1.0])},
    ]
    found = trace_layers(Path(knots, knots[0], knots[-1]), {"all": ["w", "b"]})
    assert found.tensors == ("w",) and found.variance.tolist() == [[1], [4]] and found.mean.tolist() == [[2], [2]]


def test_a_layer_that_never_moves_has_no_middle() -> None:
    found = trace_layers(
        Path([point(0, 1), point(1, 1)], point(0, 1), point(1, 1)), layers_of(["u.weight", "v.weight"])
    )
    assert found.middles[0] == pytest.approx(0.5) and math.isnan(found.middles[1]) and found.shares[0, 1] == 0
