"""Changes as functions of numbers: every kind by hand, gradients, rounding."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from llpf_plugin.alignment import Group, Place, Symmetry
from llpf_plugin.alignment.groups import Kind
from llpf_plugin.alignment.learnable import exact, numbers_of, transformed

KINDS: tuple[Kind, ...] = get_args(Kind)
every_kind = pytest.mark.parametrize("kind", KINDS)


def group(kind: Kind, ones: bool = True) -> Group:
    """Two blocks of four units, written by one tensor and read by another, where they are not in order."""
    index = torch.arange(8).reshape(2, 4, 1)
    reader = Place("reader", 1, torch.tensor([[0, 2, 4, 6], [9, 7, 5, 3]]).unsqueeze(-1), dual=True)
    return Group("writer[0]", (Place("writer", 0, index), reader, Place("absent", 0, index)), kind, ones)


def weights(dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    shapes = {"writer": (8, 3), "reader": (5, 10), "other": (2,)}
    return {name: torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype) for name, shape in shapes.items()}


def moved(one: Group, scale: float = 0.7) -> dict[str, Tensor]:
    """Random numbers of a group, in float64."""
    rng = torch.Generator().manual_seed(1)
    start = numbers_of([one])
    return {
        name: (t.detach().double() + scale * torch.randn(t.shape, generator=rng).double()).requires_grad_()
        for name, t in start.items()
    }


@every_kind
def test_at_first_nothing_is_changed(kind: Kind) -> None:
    one, before = group(kind), weights(torch.float32)
    numbers = numbers_of([one])
    assert all(n.requires_grad and n.is_leaf and n.dtype == torch.float32 for n in numbers.values())
    after = transformed(before, [one], numbers)
    assert all(torch.equal(after[k], before[k]) for k in before) and after["other"] is before["other"]


@every_kind
def test_what_is_trained_is_what_is_made_in_the_end(kind: Kind) -> None:
    one, before = group(kind), weights()
    numbers = moved(one)
    soft, hard = transformed(before, [one], numbers), Symmetry((one,)).change(before, exact([one], numbers))
    for name in before:
        assert torch.allclose(soft[name], hard[name], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(hard["writer"], before["writer"])


@every_kind
def test_what_is_contracted_with_its_dual_stays(kind: Kind) -> None:
    one, before = group(kind), weights()
    after = transformed(before, [one], moved(one))
    products = []
    for w in (before, after):
        writer, reader = (place.rows(w[place.tensor]) for place in one.places[:2])
        products.append(writer.mT @ reader)
    assert torch.allclose(*products, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "permutation"])
def test_gradients_are_those_of_finite_differences(kind: Kind) -> None:
    one, before = group(kind), weights()
    numbers = moved(one, 0.3)

    def out(own: Tensor) -> tuple[Tensor, Tensor]:
        after = transformed(before, [one], {one.name: own})
        return after["writer"], after["reader"]

    assert torch.autograd.gradcheck(out, (numbers[one.name],))


def test_scores_are_rounded_to_permutations_and_have_the_gradient_of_soft_ones() -> None:
    one, before = group("permutation"), weights()
    numbers = moved(one, 3.0)
    order = exact([one], numbers)[one.name]
    assert order.dtype == torch.int64 and all(sorted(block.tolist()) == list(range(4)) for block in order)
    assert order.tolist() != [[0, 1, 2, 3]] * 2
    after = transformed(before, [one], numbers)
    assert torch.allclose(after["writer"].sort(0).values.sum(0), before["writer"].sort(0).values.sum(0))
    (gradient,) = torch.autograd.grad(after["writer"].square().sum() + after["writer"][0].sum(), numbers[one.name])
    assert gradient[0].abs().max() > 0


def test_a_step_down_the_gradient_of_the_scores_finds_a_swap() -> None:
    """Two units of the writer were exchanged: scores that descend on the distance put them back."""
    one, target = group("permutation"), weights(torch.float32)
    swapped = Symmetry((one,)).change(target, {one.name: torch.tensor([[1, 0, 2, 3], [0, 1, 2, 3]])})
    numbers = numbers_of([one])
    optimizer = torch.optim.Adam(numbers.values(), 0.1)
    for _ in range(60):
        loss = (transformed(swapped, [one], numbers)["writer"] - target["writer"]).square().sum()
        (numbers[one.name].grad,) = torch.autograd.grad(loss, numbers[one.name])
        optimizer.step()
    assert exact([one], numbers)[one.name].tolist() == [[1, 0, 2, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize("ones", [True, False])
def test_rotations_are_orthogonal_and_leave_the_ones_where_they_have_to(ones: bool) -> None:
    one = group("orthogonal", ones)
    turn = exact([one], moved(one))[one.name]
    assert torch.allclose(turn @ turn.mT, torch.eye(4, dtype=torch.float64).expand(2, 4, 4), atol=1e-12)
    assert torch.allclose(turn.sum(-1), torch.ones(2, 4, dtype=torch.float64), atol=1e-12) is not ones


def test_numbers_that_are_not_finite_change_nothing() -> None:
    one = group("scaling")
    numbers = moved(one)
    numbers[one.name].data[0, 0] = torch.nan
    assert exact([one], numbers) == {}
