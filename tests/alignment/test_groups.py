"""Places and groups by hand: a permutation goes to each place, and nowhere else."""

import torch

from llpf_plugin.alignment import Group, Place, Symmetry

BLOCKS = Place("head", 1, (2, 3), 0)  # two channels of three pixels each, flattened
HEAD = torch.arange(12).view(2, 6)


def test_a_factor_of_an_axis_is_permuted_in_blocks() -> None:
    assert BLOCKS.permute(HEAD, torch.tensor([1, 0])).tolist() == [[3, 4, 5, 0, 1, 2], [9, 10, 11, 6, 7, 8]]
    assert Place("head", 1, (2, 3), 1).permute(HEAD, torch.tensor([2, 0, 1]))[0].tolist() == [2, 0, 1, 5, 3, 4]


def test_rows_are_units_with_all_that_belongs_to_them() -> None:
    assert BLOCKS.rows(HEAD).tolist() == [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]


def test_a_group_is_permuted_at_all_its_places_and_others_stay() -> None:
    group = Group("conv[0]", 2, (Place("conv", 0, (2,), 0), BLOCKS, Place("absent", 0, (2,), 0)))
    weights = {"conv": torch.tensor([[1.0], [2.0]]), "head": HEAD, "other": torch.ones(2)}
    moved = Symmetry((group,)).permute(weights, {"conv[0]": torch.tensor([1, 0])})
    assert moved["conv"].tolist() == [[2.0], [1.0]] and moved["head"][0].tolist() == [3, 4, 5, 0, 1, 2]
    assert moved["other"] is weights["other"] and weights["conv"].tolist() == [[1.0], [2.0]]
    assert Symmetry((group,)).permute(weights, {})["conv"] is weights["conv"]
