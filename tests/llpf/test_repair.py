"""Repairs: what is trained, where, and what stays."""

import math
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.problems import problem
from hypothesis import given, settings
from hypothesis import strategies as st

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.weights import Weights, coordinates, distance, lerp
from llpf_plugin.llpf.repair import PIECES, Repair
from llpf_plugin.methods import Stretch

FLAT = ((0.0, 0.5), (1.0, 0.5), (2.0, 0.5), (3.0, 0.5))


def knots() -> list[Weights]:
    """Four knots of a bent path, whose matrices have other variances at each of them."""
    a, b = ({k: w[k] for k in coordinates(tiny.mlp().model)} for w in tiny.pair("mlp"))
    rng = torch.Generator().manual_seed(0)
    inner = [{k: t + 0.05 * torch.randn(t.shape, generator=rng) for k, t in lerp(a, b, u).items()} for u in (0.2, 0.7)]
    return [a, *inner, b]


def repair(losses: Any = FLAT, steps: int = 64, correct: Any = "matrices") -> Repair:
    chain = knots()
    found = Repair(problem(tiny.mlp(), *tiny.pair("mlp")), correct, Stretch(0, 1, losses=losses, steps=steps), chain)
    found.init(chain[0], chain[-1])
    return found


def still(solver: Repair, t: float) -> Weights:
    with torch.no_grad():
        return solver.at(t)


def shifted(solver: Repair) -> Repair:
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for leaf in solver.shift.values():
            leaf.add_(torch.randn(leaf.shape, generator=rng))
    return solver


def test_at_first_the_stretch_is_the_path() -> None:
    solver, chain = repair(correct="none"), knots()
    for i, t in enumerate(solver.reached):
        assert distance(still(solver, float(t)), chain[i]) < 1e-6
    middle = (solver.reached[1] + solver.reached[2]) / 2
    assert distance(still(solver, float(middle)), lerp(chain[1], chain[2], 0.5)) < 1e-5


@given(t=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_wherever_it_is_moved_to_it_lies_on_the_spheres_of_the_path(t: float) -> None:
    solver, chain = shifted(repair()), knots()
    i = max(j for j in range(3) if solver.reached[j] <= t)
    u = (t - solver.reached[i]) / (solver.reached[i + 1] - solver.reached[i])
    for k, w in still(solver, t).items():
        if w.dim() > 1:
            wanted = (1 - u) * sphere.variance(chain[i][k]) + u * sphere.variance(chain[i + 1][k])
            assert sphere.variance(w) == pytest.approx(float(wanted), rel=1e-4)


def test_the_ends_stay() -> None:
    solver, chain = shifted(repair()), knots()
    assert distance(still(solver, 0.0), chain[0]) < 1e-5 and distance(still(solver, 1.0), chain[-1]) < 1e-5
    assert distance(still(solver, 0.5), still(repair(), 0.5)) > 0.1


def test_the_displacement_counts_whole_in_the_middle_and_half_a_quarter_of_the_way() -> None:
    plain, moved = repair(correct="none"), shifted(repair(correct="none"))
    for t, height in ((0.5, 1.0), (0.25, 0.5), (0.75, 0.5)):
        for k, w in still(moved, t).items():
            assert torch.allclose(w - still(plain, t)[k], height * moved.shift[k], atol=1e-5)


def share(solver: Repair, low: float, high: float) -> float:
    """The probability of a place of the arc length between two knots."""
    places, mass = solver.places, solver.mass
    return float(torch.tensor(mass[(places <= high + 1e-9)].max() - mass[(places <= low + 1e-9)].max()))


def test_gradients_are_taken_where_the_loss_is_high() -> None:
    """By hand: the density is the loss above that of the worse end, 0.1 here, and linear between the places."""
    even = repair()
    t = even.reached
    assert share(even, t[1], t[2]) == pytest.approx(t[2] - t[1])
    high = repair(((0.0, 0.1), (1.0, 0.1), (2.0, 0.6), (3.0, 0.1)))
    assert share(high, t[0], t[1]) < 0.01
    assert share(high, t[1], t[2]) == pytest.approx((t[2] - t[1]) / (t[3] - t[1]), rel=0.02)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_place_without_a_loss_counts_as_the_highest(bad: float) -> None:
    t = repair().reached
    found = repair(((0.0, 0.1), (1.0, 0.1), (2.0, bad), (3.0, 0.6)))
    assert math.isfinite(found.mass[-1]) and share(found, t[2], t[3]) > share(found, t[1], t[2]) > 0.1
    assert math.isfinite(repair(tuple((float(i), bad) for i in range(4))).mass[-1])


def test_what_comes_of_it_are_the_knots_moved_and_more_where_segments_are_long() -> None:
    solver = shifted(repair())
    found = solver.closing()
    assert len(found) >= PIECES - 1 and not any(t.requires_grad for w in found for t in w.values())
    for t in solver.reached[1:-1]:
        assert min(distance(still(solver, float(t)), w) for w in found) < 1e-5


def test_training_lowers_the_loss_and_leaves_the_model_at_the_start() -> None:
    solver = repair(tuple((i / 4, 0.1 + 0.5 * (0 < i < 12)) for i in range(13)), steps=120)
    state, losses = solver.init(knots()[0], knots()[-1]), []
    while True:
        step = solver.step(state)
        state = step.state
        assert step.tick is not None and not step.knot
        losses.append(step.tick.settled_loss)
        if step.outcome is not None:
            break
    assert step.outcome.name == "TRAINED" and state.steps == solver.workspace.steps == 120
    assert losses[-1] < 0.75 * losses[0]
    assert tiny.same(coordinates(solver.workspace.model), knots()[0])
