"""Places and groups by hand: a change goes to each place, and nowhere else."""

import pytest
import torch
from helpers import tiny

from llpf_plugin.alignment import Group, Place, Symmetry
from llpf_plugin.alignment.groups import Absorbed, Absorption, changed

PIXELS = torch.arange(6).reshape(1, 2, 3)
BLOCKS = Place("head", 1, PIXELS)  # two channels of three pixels each, flattened
HEAD = torch.arange(12).view(2, 6)


def units(size: int) -> torch.Tensor:
    return torch.arange(size).reshape(1, size, 1)


def test_a_unit_takes_all_that_belongs_to_it() -> None:
    assert BLOCKS.apply(HEAD, torch.tensor([[1, 0]])).tolist() == [[3, 4, 5, 0, 1, 2], [9, 10, 11, 6, 7, 8]]
    inner = Place("head", 1, PIXELS.permute(0, 2, 1))
    assert inner.apply(HEAD, torch.tensor([[2, 0, 1]]))[0].tolist() == [2, 0, 1, 5, 3, 4]


def test_every_block_has_a_change_of_its_own() -> None:
    inner = Place("head", 1, PIXELS.permute(1, 2, 0))
    assert inner.apply(HEAD, torch.tensor([[0, 1, 2], [2, 1, 0]]))[0].tolist() == [0, 1, 2, 5, 4, 3]


def test_rows_are_units_with_all_that_belongs_to_them() -> None:
    assert BLOCKS.rows(HEAD).tolist() == [[[0, 6, 1, 7, 2, 8], [3, 9, 4, 10, 5, 11]]]


@pytest.mark.parametrize("change", [
    torch.tensor([[2, 0, 3, 1]]), torch.tensor([[0.5, 2.0, 3.0, 1.0]]),
    torch.tensor([[1 + 2j, 0.5 - 1j]], dtype=torch.complex128), torch.randn(1, 4, 4, dtype=torch.float64),
])  # fmt: skip
def test_what_is_contracted_with_its_dual_stays(change: torch.Tensor) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(1, 4, 3, dtype=torch.float64), torch.randn(1, 4, 5, dtype=torch.float64)
    before, after = x.mT @ y, changed(x, change).mT @ changed(y, change, dual=True)
    assert torch.allclose(before, after) and not torch.allclose(x, changed(x, change))


def test_a_group_is_changed_at_all_its_places_and_others_stay() -> None:
    group = Group("conv[0]", (Place("conv", 0, units(2)), BLOCKS, Place("absent", 0, units(2))))
    weights = {"conv": torch.tensor([[1.0], [2.0]]), "head": HEAD, "other": torch.ones(2)}
    moved = Symmetry((group,)).change(weights, {"conv[0]": torch.tensor([[1, 0]])})
    assert moved["conv"].tolist() == [[2.0], [1.0]] and moved["head"][0].tolist() == [3, 4, 5, 0, 1, 2]
    assert moved["other"] is weights["other"] and weights["conv"].tolist() == [[1.0], [2.0]]
    assert Symmetry((group,)).change(weights, {})["conv"] is weights["conv"]


def test_a_scale_is_absorbed_by_what_reads_it_and_another_is_taken_out() -> None:
    scale = Absorption("gamma", (Place("reader", 1, units(2), dual=True),), (Place("beta", 0, units(2)),))
    found = Symmetry((Group("writer[0]", (Place("writer", 0, units(2)),), "orthogonal", absorptions=(scale,)),))
    weights = {
        "gamma": torch.tensor([2.0, 4.0]),
        "reader": torch.tensor([[1.0, 1.0]]),
        "beta": torch.tensor([2.0, 2.0]),
    }
    absorbed = found.absorbed(weights)
    assert absorbed["gamma"].tolist() == [1, 1] and absorbed["reader"].tolist() == [[2, 4]]
    assert absorbed["beta"].tolist() == [1, 0.5] and weights["reader"].tolist() == [[1, 1]]
    made = Absorbed(found, weights, ["gamma", "reader", "beta"])
    assert tiny.same(dict(made), absorbed) and "writer" not in made and len(made) == 3
    other = found.restored(absorbed, {"gamma": torch.tensor([0.5, 1.0])})
    assert other["gamma"].tolist() == [0.5, 1] and other["reader"].tolist() == [[4, 4]]
    assert other["beta"].tolist() == [0.5, 0.5]
