"""The plan of a walk towards the origin: where it ends, its phases, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.problems import problem
from torch import nn

from llpf_plugin import LLPF, LLPFError, Task
from llpf_plugin.geometry import Weights, sphere
from llpf_plugin.llpf import Backtracking, Scheduled, Walk
from llpf_plugin.llpf.method import BETWEEN_MODELS, Descent
from llpf_plugin.llpf.origin import phases_of, plan, route, terms
from llpf_plugin.llpf.repair import Repair
from llpf_plugin.methods import Problem, Stretch
from llpf_plugin.records import ORIGIN


def conv() -> Problem:
    a, _ = tiny.pair("conv")
    return problem(tiny.conv(), a, a)


def scaled(weights: Weights, **factors: float) -> Weights:
    return {k: t * factors.get(k.partition(".")[0], 1.0) for k, t in weights.items()}


@pytest.mark.parametrize(("to", "part"), [(None, 0.0), (0.3, 0.3)])
def test_the_spheres_are_a_part_of_those_at_the_start(to: float | None, part: float) -> None:
    bound = conv()
    found = route(Descent(LLPF(), to), bound)
    assert found.chain == (0, 1) and found.stretches == (Stretch(0, 1, ORIGIN, True),)
    assert set(found.targets) == {"conv1.weight", "conv2.weight", "fc.weight"} == {g.matrix for g in found.groups}
    for k, target in found.targets.items():
        assert target == pytest.approx(part * sphere.variance(bound.start[k]))
    assert set(found.free) == ({"conv1.weight", "conv2.weight"} if to else set())  # nothing is scaled to 0 at no cost
    assert route(Descent(LLPF(exact_legs=False), to), bound).free == {}


def test_the_spheres_may_be_those_of_a_model() -> None:
    bound = conv()
    found = route(Descent(LLPF(), scaled(bound.start, fc=0.5)), bound)
    assert found.targets["fc.weight"] == pytest.approx(0.25 * sphere.variance(bound.start["fc.weight"]), rel=1e-5)


def test_only_what_is_scaled_at_no_cost_may_grow() -> None:
    bound = conv()
    assert set(route(Descent(LLPF(), scaled(bound.start, conv1=2.0, fc=0.5)), bound).free) == {
        "conv1.weight",
        "conv2.weight",
    }
    with pytest.raises(
        LLPFError, match=r"layers on smaller variance spheres .*: 1 .*worst: fc\.weight.*gradients explode"
    ):
        route(Descent(LLPF(), scaled(bound.start, conv1=2.0, fc=2.0)), bound)
    with pytest.raises(LLPFError, match=r"layers .*: 2 .*worst: conv1\.weight"):
        route(Descent(LLPF(exact_legs=False), scaled(bound.start, conv1=3.0, fc=2.0)), bound)
    assert route(Descent(LLPF(exact_legs=False), scaled(bound.start, fc=1.005)), bound).free == {}  # within 2 %


@pytest.mark.parametrize("name", BETWEEN_MODELS)
def test_settings_that_would_have_no_effect_are_refused(name: str) -> None:
    other = {"phases": "all", "order": "mine.json", "share": 0.5, "correct": "none", "across": "never"}[name]
    with pytest.raises(LLPFError, match=f"{name} is of walks between two models"):
        Descent(LLPF(**{name: other}))
    assert Descent(LLPF(max_steps=30, threshold=0.1)).llpf.max_steps == 30


def test_a_network_of_scales_alone_cannot_walk() -> None:
    task = Task(nn.Sequential(nn.LayerNorm(6), nn.PReLU(6)), tiny.mlp().train)
    weights = dict(task.model.state_dict())
    with pytest.raises(LLPFError, match="no layer that can walk towards the origin: all its tensors are scales"):
        route(Descent(), problem(task, weights, weights))


def schedule(folder: Path) -> str:
    (folder / "mine.yaml").write_text("phases: [{ticks: 9, step_a: 0.1}, {ticks: 3, step_c: 0.1}]")
    return str(folder / "mine.yaml")


def test_phases_are_one_or_those_of_a_schedule_and_none_is_longer_than_asked(tmp_path: Path) -> None:
    (own,) = phases_of(Descent(LLPF(), ticks=5), conv())
    assert own.name == ORIGIN and isinstance(own.control, Backtracking) and own.control.ticks == 5
    method = LLPF(schedule=schedule(tmp_path))

    def ticks(most: int | None) -> list[int | None]:
        phases = phases_of(Descent(method, ticks=most), conv())
        assert all(isinstance(p.control, Scheduled) for p in phases)
        return [p.control.ticks for p in phases]

    assert ticks(None) == [9, 3] and ticks(5) == [5, 3] and ticks(2) == [2, 2]


def test_the_walk_goes_down_and_what_is_high_is_trained() -> None:
    bound = conv()
    found = plan(Descent(LLPF(repairs=2), 0.5), bound)
    assert found.repairs == 2 and found.slack == pytest.approx(0.01) and found.mend is not None
    down = found.solver(found.stretches[0])
    assert isinstance(down, Walk) and down.keep_below == pytest.approx(0.4)
    assert isinstance(found.mend(Stretch(4, 7, ORIGIN, losses=((0.0, 1.0),)), [bound.start, bound.start]), Repair)


@pytest.mark.parametrize("to", [0.5, None])
def test_binding_leaves_the_model_alone(to: Any) -> None:
    bound = conv()
    before = {k: t.clone() for k, t in bound.workspace.model.state_dict().items()}
    plan(Descent(LLPF(), to), bound)
    assert all(torch.equal(t, before[k]) for k, t in bound.workspace.model.state_dict().items())
    assert bound.workspace.steps == 0


def test_the_terms_of_a_schedule_are_those_of_its_ticks(tmp_path: Path) -> None:
    place = tmp_path / "origin.yaml"
    place.write_text("batch_size: 8\nsettle: {min_steps: 2, max_steps: 9}\nphases: [{ticks: 30, step_a: 0.1}]")
    method, task = LLPF(schedule=str(place)), tiny.mlp()
    whole, short = terms(Descent(method), task), terms(Descent(method, ticks=4), task)
    assert (whole.least, whole.budget, whole.stated) == (60, 270, {"batch_size": 8})
    assert (short.least, short.budget) == (8, 36)


@pytest.mark.parametrize("stated", ["correct: all", "moves: layers"])
def test_a_schedule_between_models_is_refused_towards_the_origin(stated: str, tmp_path: Path) -> None:
    place = tmp_path / "mine.yaml"
    place.write_text(f"{stated}\nphases: [{{ticks: 3, step_a: 0.1}}]")
    with pytest.raises(LLPFError, match=r"the schedule '.*yaml' states correct or moves"):
        terms(Descent(LLPF(schedule=str(place))), tiny.mlp())
