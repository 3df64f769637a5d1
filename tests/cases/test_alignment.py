"""Alignment finds a shuffled copy again, whatever the model does between its layers."""

import pytest
import torch
from torch import Tensor, nn

from llpf_plugin import Task, TensorData, align

Weights = dict[str, Tensor]


def squared_error(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


def regression(model: nn.Module) -> Task:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    return Task(model, TensorData(x, x[:, :1]), objective=squared_error)


def shuffled_pair(model: nn.Module) -> tuple[Weights, Weights]:
    """Random weights, and the same function with the hidden units of ``a`` and ``b`` in another order."""
    torch.manual_seed(0)
    a = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    units = torch.randperm(8)
    b = {**a, "a.weight": a["a.weight"][units], "a.bias": a["a.bias"][units], "b.weight": a["b.weight"][:, units]}
    return a, b


class TwoLayers(nn.Module):
    """Eight hidden units that may change places; subclasses do something to them, or to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 1)

    def between(self, hidden: Tensor) -> Tensor:
        return hidden

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(torch.relu(self.a(x))))


class Casting(TwoLayers):
    """A model that says itself in which type it computes."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


class Gather(TwoLayers):
    """Rows are picked, as the ends of a graph's edges are."""

    def between(self, hidden: Tensor) -> Tensor:
        return hidden[torch.arange(len(hidden), device=hidden.device) // 2]


class IndexAdd(TwoLayers):
    """Rows are added up, as messages to a graph's nodes are."""

    def between(self, hidden: Tensor) -> Tensor:
        rows = torch.arange(len(hidden), device=hidden.device) // 2
        return torch.zeros_like(hidden).index_add(0, rows, hidden)


class ScatterReduce(TwoLayers):
    """`IndexAdd`, written in the other way."""

    def between(self, hidden: Tensor) -> Tensor:
        rows = torch.arange(len(hidden), device=hidden.device) // 2
        rows = rows[:, None].expand(-1, hidden.shape[1])
        return torch.zeros_like(hidden).scatter_reduce(0, rows, hidden, reduce="sum", include_self=False)


def test_a_shuffled_copy_is_brought_back() -> None:
    a, b = shuffled_pair(TwoLayers())
    before, after = align(a, b, regression(TwoLayers())).distance
    assert after < 1e-6 < before


def test_a_model_that_casts_its_input_is_aligned() -> None:
    a, b = shuffled_pair(Casting())
    assert align(a, b, regression(Casting())).distance[1] < 1e-6


@pytest.mark.parametrize("network", [Gather, IndexAdd, ScatterReduce])
def test_units_stay_units_where_rows_are_gathered_or_scattered(network: type[TwoLayers]) -> None:
    a, b = shuffled_pair(network())
    assert align(a, b, regression(network())).distance[1] < 1e-6
