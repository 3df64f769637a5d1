"""Phases of the layer order, on the server."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")


from pathlib import Path

import torch
from flwr.app import ArrayRecord, MetricRecord
from helpers.flower_apps import GOOD, START, fixed, grid, strategy, through, values
from torch import nn

from llpf_flower import to_arrays
from llpf_plugin.errors import OrderError
from llpf_plugin.order import layer_order


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("place", torch.zeros(3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(ids) + self.place)


def test_phases_know_tied_weights_and_buffers() -> None:
    start = to_arrays(Tied().state_dict())
    ids = torch.zeros(1, 2, dtype=torch.long)
    made, found = through(start, layer_order=(Tied, ids), phases="layer")
    assert made.rows[0]["clients"] == 2 and found == values(start)
    assert all("head.weight" in names and "place" in names for names in made.phases.values())
    with pytest.raises(OrderError, match=r"place is not in both.*model factory"):
        through(start, layer_order=layer_order(Tied(), ids), phases="layer")


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))


def test_phases_are_cumulative_and_take_turns() -> None:
    start = to_arrays({k: torch.zeros_like(v) for k, v in network().state_dict().items()})
    ones = to_arrays({k: torch.ones_like(v) for k, v in network().state_dict().items()})
    made = strategy(layer_order=(network, torch.zeros(1, 2)), phases="layer", rounds_per_phase=2)
    seen: list[bool] = []

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        seen.append(values(arrays)["2.weight"][0][0] == 1.0)
        return MetricRecord({"first": values(arrays)["0.weight"][0][0]})

    made.start(grid(fixed({0: ones, 1: ones}), 2), start, num_rounds=3, evaluate_fn=evaluate)
    assert seen == [False, False, False, True]
    assert [row["phase"] for row in made.rows] == ["0", "0", "2"] and made.rows[0]["server first"] == 1.0


def test_an_order_from_a_file_and_one_of_another_model(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text(layer_order(network(), torch.zeros(1, 2)).to_json())
    made = strategy(layer_order=file, phases="layer")
    made.start(
        grid(fixed({0: to_arrays(network().state_dict())} | {1: GOOD[0]}), 2), to_arrays(network().state_dict()), 1
    )
    with pytest.raises(OrderError, match="of another model than the initial arrays"):
        strategy(layer_order=file).start(grid(fixed(GOOD), 2), START, 1)
    with pytest.raises(OrderError, match="cannot read the layer order"):
        strategy(layer_order=tmp_path / "none.json")
