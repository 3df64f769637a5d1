"""What the server computes on a small set of its own."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")


import numpy as np
import torch
from helpers.flower_apps import aggregate, reply, strategy
from torch import nn

from llpf_flower import to_arrays
from llpf_plugin import Task, TensorData


def bn_task() -> Task:
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) * 3 + 1
    return Task(nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2)), TensorData(x, (x[:, 0] > 1).long()))


def test_buffers_are_reestimated_on_the_servers_data_and_the_barrier_measured() -> None:
    task = bn_task()
    arrays = to_arrays(task.model.state_dict())
    made = strategy(task=bn_task(), buffers="reestimate")
    made.arrays = arrays
    found, metrics = aggregate(made, reply(arrays, 1, 1), reply(arrays, 1, 2))
    np.testing.assert_allclose(found["0.running_mean"], task.train.inputs.mean(0), rtol=1e-4)  # type: ignore[attr-defined]
    assert metrics["llpf-barrier"] == pytest.approx(0.0, abs=1e-6)


def test_the_barrier_of_opposite_models_is_the_loss_of_a_coin() -> None:
    # The clients are sure and right, each in its own way; the mean of both knows nothing: ln 2.
    x = torch.tensor([[1.0], [-1.0]] * 8)
    task = Task(
        nn.Sequential(nn.Linear(1, 2, bias=False), nn.Tanh(), nn.Linear(2, 2, bias=False)),
        TensorData(x, (x[:, 0] > 0).long()),
    )
    first = {"0.weight": torch.tensor([[4.0], [0.0]]), "2.weight": torch.tensor([[-9.0, 0.0], [9.0, 0.0]])}
    second = {"0.weight": torch.tensor([[-4.0], [0.0]]), "2.weight": torch.tensor([[9.0, 0.0], [-9.0, 0.0]])}
    made = strategy(task=task)
    made.arrays = to_arrays(first)
    _, metrics = aggregate(made, reply(to_arrays(first), 1, 1), reply(to_arrays(second), 1, 2))
    assert metrics["llpf-barrier"] == pytest.approx(np.log(2), abs=1e-4)
