"""M2O: against a slow and literal version of Algorithm 2, and what a walk towards the origin promises."""

import copy
import math

import pytest
import torch
from helpers import tiny
from llpf_plugin.llpf.low_loss import PhaseRule
from llpf_plugin.llpf.pace import FixedPace
from torch import Tensor

from llpf_plugin import LLPFError, walk_to_origin
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.geometry.scale_groups import units
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.llpf.origin import Origin
from llpf_plugin.llpf.settle import SettleRule
from llpf_plugin.methods.base import Leg, Outcome
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Gradient

PAPER = SettleRule(threshold=0.0, min_steps=3, max_steps=3, lr=0.05)


def start(name: str) -> tuple[Task, Weights]:
    return tiny.TASKS[name](), tiny.pair(name)[0]


def algorithm_2(task: Task, a: Weights, ticks: int, step_a: float, seed: int) -> Weights:
    """The paper's walk towards the origin on a network without normalizations, one copy after the other."""
    gradient = Gradient(task, seed=seed)
    point = copy.deepcopy(a)
    matrix = {k: f"{k.rpartition('.')[0]}.weight" for k in a}
    v = {k: a[k].var(unbiased=False) for k in a}
    for _ in range(ticks):
        w = {k: p.var(unbiased=False) for k, p in point.items()}
        weights = {k: p - step_a * p for k, p in point.items()}
        for _ in range(PAPER.max_steps):
            with torch.no_grad():
                for k, p in gradient.model.named_parameters():
                    p.copy_(weights[k])
            gradient.backward(gradient.loss())
            slopes: dict[str, Tensor] = {k: p.grad for k, p in gradient.model.named_parameters()}  # type: ignore[misc]
            weights = {k: p - PAPER.lr * w[matrix[k]] / v[matrix[k]] * slopes[k] for k, p in weights.items()}
        point = weights
    return point


def test_the_literal_algorithm_2() -> None:
    task, a = start("mlp")
    expected = algorithm_2(tiny.mlp(), a, ticks=4, step_a=0.1, seed=3)
    found = tuple(units(task.model, a))
    phase = PhaseRule("all", None, FixedPace(4, StepRule(step_a=0.1)), PAPER)
    finder = Origin((phase,), units=found, targets={u.matrix: 0.0 for u in found})
    work, state = finder.init(Leg(Gradient(task, seed=3), a, a))
    while state.outcome is None:
        state = finder.step(work, state).state
    assert state.outcome == Outcome.ARRIVED.name and state.tick == 4
    for k, p in finder.knot(work).items():
        torch.testing.assert_close(p, expected[k], rtol=1e-4, atol=1e-6)


def test_a_normalization_and_its_statistics_do_not_walk() -> None:
    task, a = start("conv")
    path = walk_to_origin(a, task, to=0.5, exact_legs=False, tolerance=0.3)
    assert path.outcome is Outcome.ARRIVED
    moved = {k: float((t - a[k]).norm() / a[k].norm()) for k, t in path.knots[-1].items() if k.endswith("weight")}
    assert max(moved["bn1.weight"], moved["bn2.weight"]) < 0.1 < min(moved["conv1.weight"], moved["conv2.weight"])


@pytest.mark.parametrize("exact", [True, False])
def test_every_layer_stops_on_its_sphere_and_is_held_there(exact: bool) -> None:
    task, a = start("conv")
    path = walk_to_origin(a, task, to=0.3, exact_legs=exact, tolerance=0.3)
    assert path.outcome is Outcome.ARRIVED
    assert set(path.quality.variances) == {"conv1.weight", "conv2.weight", "fc.weight"}
    assert list(path.quality.variances.values()) == pytest.approx([0.3] * 3, rel=1e-3)
    assert path.quality.criteria[0].holds and path.quality.criteria[1].holds
    assert tiny.same(path.at(0), a) and set(path.at(1)) == set(a)


def test_layers_that_may_be_scaled_for_nothing_cost_no_step_and_may_grow() -> None:
    task, a = start("conv")
    factor = {"conv1": 3.0, "conv2": 3.0, "fc": 0.9}
    other = {k: t * factor[k.partition(".")[0]] if k.partition(".")[0] in factor else t for k, t in a.items()}
    path = walk_to_origin(a, task, to=other, tolerance=0.3)
    first = path.record[0]
    assert first["steps"] == 0 and set(first["exact"]) == {"conv1.weight", "conv2.weight"}
    assert path.quality.variances["conv1.weight"] == pytest.approx(9, rel=1e-3)
    rows = [r["train"] for r in path.quality.rows if r["segment"] == 0]
    assert max(rows) - min(rows) < 1e-2


def test_growing_is_refused_with_the_reason_and_the_remedy() -> None:
    task, a = start("mlp")
    with pytest.raises(LLPFError, match=r"0\.weight.*gradients explode.*swap the two ends"):
        walk_to_origin(a, task, to={k: 2 * t for k, t in a.items()})


@pytest.mark.parametrize(
    ("options", "words"), [({"to": 1.5}, "below 1"), ({"to": -1.0}, "at least 0"), ({"ticks": 0}, "at least 1")]
)
def test_destinations_that_make_no_sense(options: dict[str, float], words: str) -> None:
    task, a = start("mlp")
    with pytest.raises(LLPFError, match=words):
        walk_to_origin(a, task, **options)  # type: ignore[arg-type]


def test_it_ends_after_so_many_ticks() -> None:
    task, a = start("mlp")
    path = walk_to_origin(a, task, ticks=3, tolerance=0.3)
    assert path.outcome is Outcome.ARRIVED and len(path.record) == 3


def test_without_a_stop_it_ends_at_the_last_good_knot() -> None:
    task, a = start("mlp")
    path = walk_to_origin(a, task, max_loss=0.2, budget=4000)
    assert path.outcome is Outcome.EDGE
    assert path.quality.criteria[0].holds and path.quality.maximum > 0.02
    assert max(path.quality.variances.values()) < 1


def test_a_loss_that_stops_being_a_number_ends_it_at_the_last_good_knot() -> None:
    task, a = start("mlp")
    path = walk_to_origin(a, task, max_loss=0.2, lr=1e6, momentum=0.0, to=0.1)
    assert path.outcome in (Outcome.DIVERGED, Outcome.EDGE)
    assert math.isfinite(path.quality.maximum) and path.quality.maximum <= 0.2


def test_angle_conformal_is_an_option() -> None:
    task, a = start("mlp")
    ends = [walk_to_origin(a, task, to=0.3, tolerance=0.3, angle_conformal=on).knots[-1] for on in (True, False)]
    assert not tiny.same(*ends)
    spheres = [{k: sphere.variance(t) for k, t in end.items() if t.dim() == 2} for end in ends]
    assert spheres[0] == pytest.approx(spheres[1], rel=1e-3)
