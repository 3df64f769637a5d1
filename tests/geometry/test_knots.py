import pytest
import torch

from llpf_plugin.geometry.knots import Chain, MemoryKnots
from llpf_plugin.geometry.weights import Weights


def at(*values: float) -> Weights:
    return {"w": torch.tensor(values)}


def test_a_chain_reads_knots_when_they_are_asked_for() -> None:
    knots = MemoryKnots()
    for i in range(4):
        knots.put(i, at(float(i)))
    chain = Chain(knots, [0, 2, 3])
    assert len(chain) == 3 and chain[1]["w"].item() == 2.0 and chain[-1]["w"].item() == 3.0
    assert [k["w"].item() for k in chain[1:]] == [2.0, 3.0]


def test_memory_knots_are_copies_and_can_be_forgotten() -> None:
    knots, weights = MemoryKnots(), at(1.0)
    knots.put(5, weights)
    weights["w"].zero_()
    assert knots.get(5)["w"].item() == 1.0
    knots.discard([5])
    with pytest.raises(KeyError):
        knots.get(5)
