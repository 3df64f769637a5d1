"""Repairs: where the curve begins, where its gradients are taken, and what stays."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
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
    """Four knots of a bent path."""
    a, b = ({k: w[k] for k in coordinates(tiny.mlp().model)} for w in tiny.pair("mlp"))
    rng = torch.Generator().manual_seed(0)
    inner = [{k: t + 0.05 * torch.randn(t.shape, generator=rng) for k, t in lerp(a, b, u).items()} for u in (0.2, 0.7)]
    return [a, *inner, b]


def repair(losses: Any = FLAT, steps: int = 64, correct: Any = "matrices", lr: float = 1.0) -> Repair:
    chain, stretch = knots(), Stretch(0, 1, losses=losses, steps=steps, lr=lr)
    found = Repair(problem(tiny.mlp(), *tiny.pair("mlp")), correct, stretch, chain)
    found.init(chain[0], chain[-1])
    return found


def still(solver: Repair, t: float) -> Weights:
    with torch.no_grad():
        return solver.at(t)


def arc() -> np.ndarray:
    """By hand: the part of the arc length at every knot."""
    chain = knots()
    lengths = [distance(p, q) for p, q in pairwise(chain)]
    return np.cumsum([0.0, *lengths]) / sum(lengths)


def test_the_curve_goes_through_the_middle_of_the_path_and_has_its_ends() -> None:
    solver, chain, t = repair(correct="none"), knots(), arc()
    assert t[1] < 0.5 < t[2]
    middle = lerp(chain[1], chain[2], float((0.5 - t[1]) / (t[2] - t[1])))
    assert distance(still(solver, 0.5), middle) < 1e-5
    assert distance(still(solver, 0.0), chain[0]) < 1e-6 and distance(still(solver, 1.0), chain[-1]) < 1e-6


@given(t=st.floats(0, 1), correct=st.sampled_from(["matrices", "all", "none"]))
@settings(max_examples=25, deadline=None)
def test_wherever_it_is_it_lies_on_the_spheres_between_those_of_its_ends(t: float, correct: Any) -> None:
    solver, chain = repair(correct=correct), knots()
    held = sphere.spheres(chain[0], correct)
    for k, w in still(solver, t).items():
        if k in held:
            wanted = (1 - t) * sphere.variance(chain[0][k]) + t * sphere.variance(chain[-1][k])
            assert sphere.variance(w) == pytest.approx(float(wanted), rel=1e-4)


def test_a_step_moves_the_middle_as_far_as_it_would_move_a_model() -> None:
    """A Bezier curve's control point counts half in its middle, twice: in the gradient and in the step."""
    own = repair()
    rate = problem(tiny.mlp(), *tiny.pair("mlp")).lr
    assert own.lr == pytest.approx(4 * rate) and repair(lr=0.25).lr == pytest.approx(rate)


def share(solver: Repair, low: float, high: float) -> float:
    """The probability of a place between two knots, by arc length."""
    return float(np.interp(high, solver.places, solver.mass) - np.interp(low, solver.places, solver.mass))


def test_gradients_are_taken_where_the_loss_is_high() -> None:
    """By hand: the density is the loss above that of the worse end, 0.1 here, and linear between the places."""
    t = arc()
    assert share(repair(), t[1], t[2]) == pytest.approx(t[2] - t[1])
    high = repair(((0.0, 0.1), (1.0, 0.2), (2.0, 9.2), (3.0, 0.1)))
    assert share(high, t[0], t[1]) < 0.05
    assert share(high, t[1], t[2]) == pytest.approx((t[2] - t[1]) / (t[3] - t[1]), rel=0.02)
    drawn = [high._place() for high.workspace.steps in range(200)]
    assert min(drawn) > 0.9 * t[1] and np.mean(np.array(drawn) < t[2]) == pytest.approx(share(high, 0, t[2]), abs=0.02)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_place_without_a_loss_counts_as_the_highest(bad: float) -> None:
    t = arc()
    found = repair(((0.0, 0.1), (1.0, 0.1), (2.0, bad), (3.0, 0.6)))
    assert math.isfinite(found.mass[-1]) and share(found, t[2], t[3]) > share(found, t[1], t[2]) > 0.1
    assert math.isfinite(repair(tuple((float(i), bad) for i in range(4))).mass[-1])


def test_what_comes_of_it_are_evenly_spaced_points_of_the_curve() -> None:
    solver = repair()
    found = solver.closing()
    assert len(found) == PIECES - 1
    assert all(tiny.same(w, still(solver, i / PIECES)) for i, w in enumerate(found, 1))


def test_training_lowers_the_loss_and_leaves_the_model_at_the_start() -> None:
    solver = repair(tuple((i / 4, 0.1 + 0.5 * (0 < i < 12)) for i in range(13)), steps=120)
    state, losses = solver.init(knots()[0], knots()[-1]), []
    while True:
        step = solver.step(state)
        state = step.state
        assert step.tick is not None and step.tick.phase == "repair" and not step.knot
        losses.append(step.tick.settled_loss)
        if step.outcome is not None:
            break
    assert step.outcome.name == "TRAINED" and state.steps == solver.workspace.steps == 120
    assert losses[-1] < 0.75 * losses[0]
    assert tiny.same(coordinates(solver.workspace.model), knots()[0])
