"""Curves by hand: points, gradients, spheres, where gradients are taken."""

import pytest
import torch
from helpers import tiny
from helpers.problems import problem

from llpf_plugin import Bezier, SphereCurve
from llpf_plugin.geometry.sphere import variance
from llpf_plugin.geometry.weights import Weights, clone
from llpf_plugin.methods import Curve
from llpf_plugin.methods.curve import CurveTraining


def training(curve: Curve, name: str = "mlp", steps: int = 1, seed: int = 0) -> tuple[CurveTraining, Weights, Weights]:
    bound = problem(tiny.TASKS[name](), *tiny.pair(name), seed=seed)
    solver = CurveTraining(curve, bound, steps)
    solver.init(bound.start, bound.end)
    return solver, bound.start, bound.end


def test_a_bezier_point_and_its_gradient_by_hand() -> None:
    solver, a, b = training(Bezier())
    point, theta = solver.at(0.25), solver.point
    for k, w in point.items():
        assert torch.allclose(w, 0.5625 * a[k] + 0.375 * theta[k] + 0.0625 * b[k], atol=1e-6)
    sum(w.sum() for w in point.values()).backward()  # type: ignore[union-attr]
    assert all(torch.allclose(t.grad, torch.full_like(t, 0.375)) for t in theta.values())  # type: ignore[arg-type]


@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_weights_of_a_point_are_a_partition_of_one(t: float) -> None:
    assert sum(Bezier().basis(t)) == pytest.approx(1) and min(Bezier().basis(t)) >= 0
    assert SphereCurve().basis(t) == Bezier().basis(t)


@pytest.mark.parametrize("curve", [Bezier(), SphereCurve()])
def test_a_curve_begins_and_ends_at_its_ends_and_its_point_in_the_middle(curve: Curve) -> None:
    solver, a, b = training(curve)
    for t, end in ((0.0, a), (1.0, b)):
        assert all(torch.allclose(w, end[k], atol=1e-5) for k, w in solver.at(t).items())
    assert all(torch.allclose(t, (a[k] + b[k]) / 2, atol=1e-6) for k, t in solver.point.items())


def test_every_place_of_a_sphere_curve_is_on_the_sphere_between_the_ends() -> None:
    solver, a, b = training(SphereCurve(), "conv")
    for t in (0.0, 0.3, 0.5, 1.0):
        point = clone(solver.at(t))
        for k in ("conv1.weight", "fc.weight"):
            assert variance(point[k]) == pytest.approx((1 - t) * variance(a[k]) + t * variance(b[k]), rel=1e-4)
        middle = (a["fc.bias"] + b["fc.bias"]) / 2
        expected = (1 - t) ** 2 * a["fc.bias"] + 2 * t * (1 - t) * middle + t**2 * b["fc.bias"]
        assert torch.allclose(point["fc.bias"], expected, atol=1e-6)


def test_the_plain_curve_leaves_the_sphere_and_may_be_put_on_it() -> None:
    plain, a, _ = training(Bezier(), "conv")
    assert variance(clone(plain.at(0.5))["fc.weight"]) < 0.8 * variance(a["fc.weight"])
    held, *_ = training(Bezier(on_sphere=True), "conv")
    sphere, *_ = training(SphereCurve(), "conv")
    assert tiny.same(clone(held.at(0.3)), clone(sphere.at(0.3)))


def test_gradients_are_taken_evenly_on_the_sphere_and_independently_off_it() -> None:
    def places(curve: Curve, seed: int = 0) -> list[float]:
        solver, *_ = training(curve, seed=seed)
        found = []
        for step in range(100):
            solver.workspace.steps = step
            found.append(solver._place())
        return found

    even, free = places(SphereCurve()), places(Bezier())
    assert (
        all(0 <= t < 1 for t in (*even, *free)) and places(SphereCurve()) == even and places(SphereCurve(), 1) != even
    )
    gaps = sorted(y - x for x, y in zip(sorted(even), [*sorted(even)[1:], min(even) + 1], strict=True))
    assert gaps[-1] < 0.025  # independent ones leave about ln(100)/100 = 0.05
    assert len(set(free)) == 100 and max(y - x for x, y in zip(sorted(free), sorted(free)[1:], strict=False)) > 0.025


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_a_curve_is_stored_as_evenly_spaced_points(pieces: int) -> None:
    solver, *_ = training(Bezier(pieces=pieces))
    stored = solver.closing()
    assert len(stored) == pieces - 1
    for i, knot in enumerate(stored, start=1):
        assert tiny.same(knot, clone(solver.at(i / pieces)))


def test_a_step_trains_the_point_at_twice_the_tasks_learning_rate_and_leaves_the_ends() -> None:
    solver, a, b = training(Bezier(), steps=1)
    before, ends = clone(solver.point), (clone(a), clone(b))
    step = solver.step(solver.init(a, b))
    assert step.tick is not None and step.tick.lr == 2 * 0.1 and step.tick.steps == 1
    assert not tiny.same(clone(solver.point), before)
    assert tiny.same(a, ends[0]) and tiny.same(b, ends[1])
    assert all(p.grad is None for p in solver.workspace.model.parameters())


def test_a_curve_without_a_basis_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Curve does not say where its points lie"):
        Curve().basis(0.5)
