"""M2O by itself: what a walk towards the origin promises; `llpf/test_reference.py` steps it beside Algorithm 2."""

import math
from pathlib import Path as FilePath

import pytest
import torch
from helpers import tiny

from llpf_plugin import LLPF, LLPFError, Task, walk_to_origin
from llpf_plugin.errors import MismatchError
from llpf_plugin.geometry import Weights, sphere
from llpf_plugin.methods import Outcome
from llpf_plugin.records import ORIGIN


def start(name: str) -> tuple[Task, Weights]:
    return tiny.TASKS[name](), tiny.pair(name)[0]


def test_a_normalization_and_its_statistics_do_not_walk() -> None:
    task, a = start("conv")
    path = walk_to_origin(a, task, LLPF(exact_legs=False), to=0.5, tolerance=0.3)
    assert path.outcome is Outcome.ARRIVED
    moved = {k: float((t - a[k]).norm() / a[k].norm()) for k, t in path.knots[-1].items() if k.endswith("weight")}
    assert max(moved["bn1.weight"], moved["bn2.weight"]) < 0.1 < min(moved["conv1.weight"], moved["conv2.weight"])


@pytest.mark.parametrize("exact", [True, False])
def test_every_layer_stops_on_its_sphere_and_is_held_there(exact: bool) -> None:
    task, a = start("conv")
    path = walk_to_origin(a, task, LLPF(exact_legs=exact), to=0.3, tolerance=0.3)
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
    assert first.steps == 0 and set(first.scaled) == {"conv1.weight", "conv2.weight"}
    assert path.quality.variances["conv1.weight"] == pytest.approx(9, rel=1e-3)
    rows = [row.train for row in path.quality.rows if row.segment == 0]
    assert max(rows) - min(rows) < 1e-2


def test_growing_is_refused_with_the_reason_and_the_remedy() -> None:
    task, a = start("mlp")
    with pytest.raises(LLPFError, match=r"0\.weight.*gradients explode.*swap the two models"):
        walk_to_origin(a, task, to={k: 2 * t for k, t in a.items()})


@pytest.mark.parametrize(
    ("options", "words"), [({"to": 1.5}, "to = 1.5"), ({"to": -1.0}, "to = -1"), ({"ticks": 0}, "ticks = 0")]
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
    ends = [walk_to_origin(a, task, LLPF(angle_conformal=on), to=0.3, tolerance=0.3).knots[-1] for on in (True, False)]
    assert not tiny.same(*ends)
    spheres = [{k: sphere.variance(t) for k, t in end.items() if t.dim() == 2} for end in ends]
    assert spheres[0] == pytest.approx(spheres[1], rel=1e-3)


def test_the_path_is_one_leg_that_ends_where_the_walk_ended() -> None:
    task, a = start("conv")
    path = walk_to_origin(a, task, to=0.5, tolerance=0.3)
    assert [label.kind for label in path.labels] == ["start", *["settled"] * (len(path.knots) - 2), "end"]
    assert {label.leg for label in path.labels[1:]} == {ORIGIN} and list(path.cost.legs) == [ORIGIN]
    end = path.at(1)
    assert list(end) == list(a) and all(torch.equal(end[k], t) for k, t in path.knots[-1].items())
    assert path.quality.connected and "0.5 to 0.5 of the variance" in path.quality.criteria[1].sentence


def test_a_model_may_be_a_file_and_so_may_the_spheres(tmp_path: FilePath) -> None:
    task, a = start("conv")
    smaller = {k: t * 0.8 if k.endswith("weight") and t.dim() > 1 else t for k, t in a.items()}
    torch.save({"state_dict": a}, tmp_path / "a.pt")
    torch.save({"state_dict": smaller}, tmp_path / "b.pt")
    path = walk_to_origin(tmp_path / "a.pt", task, to=str(tmp_path / "b.pt"), tolerance=0.3)
    assert path.outcome is Outcome.ARRIVED
    assert list(path.quality.variances.values()) == pytest.approx([0.64] * 3, rel=1e-3)


def test_a_model_that_does_not_fit_is_refused() -> None:
    task, a = start("mlp")
    with pytest.raises(MismatchError, match=r"missing in A: 2\.weight"):
        walk_to_origin({k: t for k, t in a.items() if k != "2.weight"}, task)
    other = {**a, "2.weight": a["2.weight"][:2]}
    with pytest.raises(MismatchError, match="the network that 'to' names"):
        walk_to_origin(a, task, to=other)


def test_the_papers_schedule_is_walked_towards_the_origin(tmp_path: FilePath) -> None:
    (tmp_path / "origin.yaml").write_text(
        "settle: {threshold: 0.0, min_steps: 2, max_steps: 2, momentum: 0}\nphases: [{ticks: 9, step_a: 0.1}]"
    )
    task, a = start("mlp")
    method = LLPF(schedule=str(tmp_path / "origin.yaml"))
    path = walk_to_origin(a, task, method, ticks=4, tolerance=0.5)
    assert path.outcome is Outcome.ARRIVED and len(path.record) == 4 and path.cost.gradient_steps == 8
    assert max(path.quality.variances.values()) < 0.6
