"""The walk across variance spheres: which legs there are, what may be scaled, and what the whole path promises."""

from dataclasses import replace
from typing import Any

import pytest
from helpers import tiny
from helpers.problems import problem
from torch import nn

from llpf_plugin import LLPF, LLPFError, Path, find_path, measure
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.scale_groups import scale_groups
from llpf_plugin.geometry.weights import Weights, clone, coordinates
from llpf_plugin.llpf.common_spheres import Route, confirmed, proposed, route
from llpf_plugin.methods.base import Outcome, Stretch
from llpf_plugin.quality import leg_summaries
from llpf_plugin.records import DOWN, JOIN, UP
from llpf_plugin.workspace import Workspace


def scaled(weights: Weights, **factors: float) -> Weights:
    return {k: t * factors.get(k.partition(".")[0], 1.0) for k, t in weights.items()}


def routed(a: Weights, b: Weights, **settings: Any) -> Route:
    return route(LLPF(**settings), problem(tiny.conv(), a, b))


# Which legs there are -------------------------------------------------------------------------------------------------


def test_ends_on_one_sphere_have_one_leg() -> None:
    a, _ = tiny.pair("conv")
    assert routed(a, a) == routed(a, scaled(a, conv1=1.1)) == Route()
    for settings in ({"across": "never"}, {"correct": "none"}, {"schedule": "lenet5-mnist"}):
        assert routed(a, scaled(a, conv1=3), **settings) == Route(), settings
    assert Route().stretches == (Stretch(0, 1),) and Route().chain == (0, 1)


def test_always_takes_smaller_differences_seriously_too() -> None:
    a, _ = tiny.pair("conv")
    assert [s.leg for s in routed(a, scaled(a, conv1=1.1), across="always").stretches] == [UP, JOIN]
    assert routed(a, scaled(a, conv1=1.005), across="always") == Route()
    assert len(routed(a, scaled(a, conv1=3), across="always", schedule="lenet5-mnist").stretches) == 2


@pytest.mark.parametrize(
    ("larger_a", "larger_b", "stretches", "chain"),
    [
        (2, 1, [Stretch(0, 2, DOWN, True), Stretch(2, 1, JOIN)], (0, 2, 1)),
        (1, 2, [Stretch(1, 3, UP, True), Stretch(0, 3, JOIN)], (0, 3, 1)),
        (
            2, 2, [Stretch(0, 2, DOWN, True), Stretch(1, 3, UP, True), Stretch(2, 3, JOIN)],
            (0, 2, 3, 1),
        ),
    ],
)  # fmt: skip
def test_the_larger_end_of_every_layer_walks_down(
    larger_a: float, larger_b: float, stretches: list[Stretch], chain: tuple[int, ...]
) -> None:
    a, _ = tiny.pair("conv")
    found = routed(scaled(a, conv1=larger_a), scaled(a, fc=larger_b))
    assert list(found.stretches) == stretches and found.chain == chain
    for k, target in found.targets.items():
        assert target == pytest.approx(sphere.variance(a[k]), rel=1e-4)
    assert set(found.free) == {"conv1.weight", "conv2.weight"}
    assert routed(scaled(a, conv1=larger_a), scaled(a, fc=larger_b), exact_legs=False).free == {}


# What may be scaled at no cost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.2, 5.0])
def test_the_numbers_confirm_what_the_graph_proposes(part: float) -> None:
    task = tiny.conv()
    weights = tiny.pair("conv")[0]
    own = {k: weights[k] for k in coordinates(task.model)}
    found = scale_groups(task.model, own)
    scalable = proposed(task, found)
    assert set(scalable) == {"conv1.weight", "conv2.weight"} and len(found) == 3
    workspace = Workspace(task)
    before = clone(task.model.state_dict())
    targets = {k: part * sphere.variance(own[k]) for k in own}
    assert confirmed(workspace, own, scalable, targets, slack=1e-3) == scalable
    assert tiny.same(clone(task.model.state_dict()), before)


def test_what_is_not_free_is_found_out_and_does_not_take_the_rest_with_it() -> None:
    task = tiny.conv()
    own = {k: tiny.pair("conv")[0][k] for k in coordinates(task.model)}
    found = {g.matrix: g for g in scale_groups(task.model, own)}
    targets = {k: 0.2 * sphere.variance(own[k]) for k in found}
    assert set(confirmed(Workspace(task), own, found, targets, slack=1e-3)) == {"conv1.weight", "conv2.weight"}


def test_an_epsilon_that_is_large_against_the_variance_is_found_out() -> None:
    task = tiny.conv()
    assert isinstance(task.model.bn1, nn.BatchNorm2d)
    own = {k: tiny.pair("conv")[0][k] for k in coordinates(task.model)}
    scalable = proposed(task, scale_groups(task.model, own))
    task.model.bn1.eps = 0.1
    targets = {k: 0.001 * sphere.variance(own[k]) for k in scalable}
    assert set(confirmed(Workspace(task), own, scalable, targets, slack=5e-4)) == {"conv2.weight"}


def test_a_model_that_cannot_be_traced_has_no_proposal() -> None:
    broken = replace(tiny.mlp(), model=nn.Linear(3, 3))
    assert proposed(broken, scale_groups(broken.model)) == {}
    unheard = replace(tiny.mlp(), objective=lambda model, batch: model[0](batch[0]).sum())
    assert proposed(unheard, scale_groups(unheard.model)) == {}


# What the path promises -----------------------------------------------------------------------------------------------


def across(name: str, swapped: bool = False, **options: Any) -> Path:
    ends = tiny.apart(name)
    return find_path(
        *(reversed(ends) if swapped else ends),
        tiny.TASKS[name](),
        LLPF(across="always"),
        **{"tolerance": 0.2, **options},
    )


@pytest.mark.parametrize("swapped", [False, True], ids=["larger first", "smaller first"])
@pytest.mark.parametrize("name", tiny.TASKS)
def test_one_path_from_end_to_end(name: str, swapped: bool) -> None:
    a, b = reversed(tiny.apart(name)) if swapped else tiny.apart(name)
    path = across(name, swapped)
    assert path.outcome is Outcome.ARRIVED and path.quality.criteria[0].holds and path.quality.criteria[1].holds
    assert tiny.same(path.at(0), a) and tiny.same(path.at(1), b)
    rows = leg_summaries(path, path.quality.rows)
    assert JOIN in (names := [r.leg for r in rows]) and (UP if swapped else DOWN) in names
    assert sum(r.length for r in rows) == pytest.approx(1) and all(r.outcome == "ARRIVED" for r in rows)
    assert path.cost.rate.steps + sum(r.steps for r in rows) == path.cost.gradient_steps and path.cost.repairs == 0
    assert max(r.maximum for r in rows) == pytest.approx(path.quality.maximum)
    again = measure(path, tiny.TASKS[name]())
    assert again.maximum == pytest.approx(path.quality.maximum, rel=1e-5)


def test_the_legs_meet_on_the_smaller_spheres_and_stay_there() -> None:
    path = across("mlp")
    begin = next(i for i, label in enumerate(path.labels) if label.leg == JOIN) - 1
    for name in ("0.weight", "2.weight"):
        variances = [sphere.variance(knot[name]) for knot in path.knots]
        assert variances[0] > 1.25 * variances[-1]
        assert variances[begin:] == pytest.approx([variances[-1]] * (len(variances) - begin), rel=1e-3)


def test_a_budget_that_ends_in_the_first_leg_leaves_a_path_all_the_same() -> None:
    path = across("mlp", budget=2)
    assert path.outcome is Outcome.BUDGET and path.cost.legs[DOWN].outcome == "BUDGET"
    assert path.labels[-1].kind == "end" and not path.quality.connected


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(LLPFError, match="across = 'sometimes': it must be one of auto, never, always"):
        LLPF(across="sometimes")
