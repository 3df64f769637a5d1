"""Momentum of the server: numbers worked by hand."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, MetricRecord
from helpers.flower_apps import QUIET, aggregate, fixed, grid, record, reply, strategy
from torch import nn

from llpf_flower import LLPFStrategy, to_arrays
from llpf_plugin.errors import LLPFError
from llpf_plugin.order import layer_order


def steps_of(*means: float, **options: Any) -> list[list[float]]:
    """The models that rounds end with whose clients come back with these numbers, and their negatives."""
    made, found = strategy(**options), []
    for mean in means:
        arrays, _ = aggregate(made, reply(record(w=[[mean, -mean]]), 1, 1))
        found.append(arrays["w"][0])
    return found


def test_momentum_worked_by_hand() -> None:
    # The first step is not carried on. Then v = 1, 0.5 + 2.5 = 3, 1.5 + 0, on models that go 1 → 2 → 5 → 6.5.
    found = steps_of(1.0, 2.0, 4.5, 5.0, server_momentum=0.5, sphere="none")
    np.testing.assert_allclose(found, [[1, -1], [2, -2], [5, -5], [6.5, -6.5]])


def test_momentum_stays_on_the_spheres_and_leaves_buffers_alone() -> None:
    made = strategy(server_momentum=0.5, sphere="clients")
    made.arrays = record(w=[[0.0, 0.0]], running_mean=[0.0])
    ends = [[1.0, -1.0], [2.0, 1.0], [3.0, -5.0]]
    for mean in ends:
        found, _ = aggregate(made, reply(record(w=[mean], running_mean=mean[:1]), 1, 1))
    # Third: (2, 1) + 0.5·(1, 2) + (1, −6) = (3.5, −4), its deviation 3.75 brought to the mean's, which is 4.
    np.testing.assert_allclose(found["w"], [[3.75, -4.25]], rtol=1e-6)
    assert found["running_mean"] == [3.0]


def test_no_momentum_is_the_mean_bit_by_bit() -> None:
    assert steps_of(0.1, 0.7, 0.3) == steps_of(0.1, 0.7, 0.3, server_momentum=0.0)
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(LLPFError, match="server_momentum"):
            LLPFStrategy(server_momentum=wrong)


def test_momentum_carries_no_layers_first_step_on() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    start = to_arrays({k: torch.zeros_like(t) for k, t in net.state_dict().items()})
    ones = to_arrays({k: torch.ones_like(t) for k, t in net.state_dict().items()})
    order: dict[str, Any] = {"layer_order": layer_order(net, torch.zeros(1, 1)), "phases": "layer"}
    made = LLPFStrategy(**QUIET, **order, server_momentum=0.5, sphere="none", rounds_per_phase=2)
    found = []

    def note(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        found.append([a.numpy().item() for a in arrays.values()])
        return MetricRecord({"x": 0})

    made.start(grid(fixed({0: ones, 1: ones}), 2), start, 5, evaluate_fn=note)
    assert found[1:] == [[1, 0], [1, 0], [1, 1], [1, 1], [1, 1]]
