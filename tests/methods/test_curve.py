"""The methods beside LLPF: their formulas by hand, and what `find_path` makes of them."""

import json
import math
from typing import Any

import pytest
import torch
from helpers import tiny

from llpf_plugin import LLPFError, Path, Settings, Task, find_path
from llpf_plugin.errors import InterruptedRun
from llpf_plugin.geometry.knots import MemoryKnots
from llpf_plugin.geometry.sphere import project, variance
from llpf_plugin.geometry.weights import Weights, clone, coordinates, lerp, select
from llpf_plugin.methods import autoneb
from llpf_plugin.methods.base import Leg, Outcome
from llpf_plugin.methods.curve import Bent, Curve, projected
from llpf_plugin.methods.trained import cooled
from llpf_plugin.search.find import Search
from llpf_plugin.search.progress import Callback
from llpf_plugin.workspace import Workspace


def found(name: str = "conv", **options: Any) -> Path:
    return find_path(*tiny.pair(name), tiny.TASKS[name](), **options)


def bent(curve: Curve, name: str = "mlp") -> tuple[Bent, Weights, Weights]:
    task = tiny.TASKS[name]()
    a, b = (select(w, list(coordinates(task.model))) for w in tiny.pair(name))
    return curve.init(Leg(Workspace(task), a, b))[0], a, b


# Formulas -------------------------------------------------------------------------------------------------------------


def test_a_bezier_point_and_its_gradient_by_hand() -> None:
    work, a, b = bent(Curve("bezier", 1))
    point = Curve("bezier", 1).at(work, 0.25)
    theta = work.points[0]
    for k, w in point.items():
        assert torch.allclose(w, 0.5625 * a[k] + 0.375 * theta[k] + 0.0625 * b[k], atol=1e-6)
    sum(w.sum() for w in point.values()).backward()
    assert all(torch.allclose(t.grad, torch.full_like(t, 0.375)) for t in theta.values())  # type: ignore[arg-type]


def test_a_chain_is_linear_between_its_knots() -> None:
    curve = Curve("chain", 1, "chain", 3)
    work, a, _ = bent(curve)
    with torch.no_grad():
        work.points[0]["0.bias"].add_(1.0)
    point = curve.at(work, 0.125)  # half-way from A to the first knot
    expected = lerp(a, {k: t.detach() for k, t in work.points[0].items()}, 0.5)
    assert all(torch.allclose(point[k], expected[k], atol=1e-6) for k in a)


@pytest.mark.parametrize("control", [1, 3])
def test_every_place_of_a_sphere_curve_is_on_the_sphere_between_the_ends(control: int) -> None:
    curve = Curve("sphere-curve", 1, control=control, correct="matrices")
    work, a, b = bent(curve, "conv")
    for t in (0.0, 0.3, 0.5, 1.0):
        point = clone(curve.at(work, t))
        for k in ("conv1.weight", "fc.weight"):
            assert variance(point[k]) == pytest.approx((1 - t) * variance(a[k]) + t * variance(b[k]), rel=1e-4)
        assert torch.allclose(point["fc.bias"], (1 - t) * a["fc.bias"] + t * b["fc.bias"], atol=1e-6)


def test_the_projection_with_a_graph_is_the_projection() -> None:
    tensor = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(projected(tensor, 0.3), project(tensor, 0.3))
    assert torch.autograd.gradcheck(lambda t: projected(t, 0.3), (tensor.requires_grad_(),))


def test_the_learning_rate_is_flat_then_falls_to_a_hundredth() -> None:
    assert [cooled(2.0, x) for x in (0.0, 0.5)] == [2.0, 2.0]
    assert cooled(2.0, 0.7) == pytest.approx(2.0 * (1 - 0.5 * 0.99))
    assert [cooled(2.0, x) for x in (0.9, 1.0)] == pytest.approx([0.02, 0.02])


def test_tangents_point_to_the_higher_neighbour() -> None:
    chain = [{"x": torch.tensor(p)} for p in ([0.0, 0.0], [1.0, 0.0], [1.0, 1.0])]
    tangent = autoneb.AutoNEB._tangent
    assert tangent(chain, (0.0, 1.0, 2.0))["x"].tolist() == [0.0, 1.0]
    assert tangent(chain, (2.0, 1.0, 0.0))["x"].tolist() == [1.0, 0.0]
    mixed = tangent(chain, (1.0, 0.0, 3.0))["x"]  # a minimum: 3 parts forth, 1 part back
    assert mixed.tolist() == pytest.approx([1 / math.sqrt(10), 3 / math.sqrt(10)])


def test_pivots_are_spaced_evenly_along_the_chain() -> None:
    chain = [{"x": torch.tensor(p)} for p in ([0.0, 0.0], [3.0, 0.0], [3.0, 0.5], [3.0, 3.0])]
    autoneb.respace(chain)
    assert [p["x"].tolist() for p in chain] == [[0, 0], [2, 0], [3, 1], [3, 3]]


def test_cycles_share_the_steps_as_in_the_paper() -> None:
    neb = autoneb.AutoNEB(16_000)
    assert [neb._end(i) for i in range(14)] == [
        1000, 2000, 3000, 4000, 6000, 8000, 9000, 10_000, 11_000, 12_000, 13_000, 14_000, 15_000, 16_000,
    ]  # fmt: skip


def test_cycles_too_short_for_a_step_are_skipped() -> None:
    path = found("mlp", method="autoneb", steps=5)
    assert path.cost["gradient_steps"] == 5 and path.outcome is Outcome.TRAINED


def test_autoneb_inserts_pivots_and_stays_resumable(mlp: Task) -> None:
    path = found("mlp", method="autoneb", steps=200)
    counts = [r["pivots"] for r in path.record]
    assert counts[0] == 3 and sorted(counts) == counts and path.cost["gradient_steps"] == 200
    assert len(path.knots) == counts[-1] + 2


# Through find_path ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sphere-curve", "bezier", "autoneb"])
@pytest.mark.parametrize("name", tiny.TASKS)
def test_trained_paths_are_lower_than_the_line(method: Any, name: str) -> None:
    line = found(name, method="linear")
    path = found(name, method=method, steps=120)
    assert path.outcome is Outcome.TRAINED and path.cost["gradient_steps"] == 120
    assert path.quality.maximum < 0.5 * line.quality.maximum
    assert path.quality.criteria[1].holds is None and 1 <= path.length_ratio < 2
    assert line.outcome is Outcome.STRAIGHT and line.cost["gradient_steps"] == 0 and len(line.knots) == 2


def test_finetuning_is_no_way_to_b() -> None:
    path = found(method="finetune", steps=40)
    assert path.quality.criteria[1].holds is False and not path.quality.connected
    tuned = path.quality.pick("end")
    assert tuned.scores["train"].loss < path.quality.ends["A"]["train"] + 0.01  # type: ignore[union-attr]


def test_the_budget_is_what_curves_take_by_default() -> None:
    path = found(method="sphere-curve", budget=30, polish=10)
    assert path.cost["gradient_steps"] == 30 and sum(r["phase"] == "polish" for r in path.record) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "magic"}, "method = 'magic'"),
        ({"optimizer": "lbfgs"}, "optimizer = 'lbfgs'"),
        ({"method": "llpf", "steps": 10}, "no given number"),
        ({"method": "bezier", "steps": 0}, "steps = 0"),
        ({"control": 0}, "control = 0"),
        ({"polish": -1}, "polish = -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(LLPFError, match=words):
        Settings(**options)


def test_polishing_lowers_a_path_and_keeps_its_ends() -> None:
    a, b = tiny.pair("conv")
    plain = found(max_loss=0.2)
    polished = found(max_loss=0.2, polish=150)
    assert polished.quality.maximum < plain.quality.maximum
    assert polished.outcome in (Outcome.TRAINED, Outcome.LOW)
    assert tiny.same(polished.at(0), a) and tiny.same(polished.at(1), b)
    assert polished.cost["gradient_steps"] <= plain.cost["gradient_steps"] + 150


def test_polishing_that_makes_it_worse_is_taken_back() -> None:
    plain = found("mlp", max_loss=0.2)
    spoiled = found("mlp", max_loss=0.2, polish=1)
    assert spoiled.cost["gradient_steps"] == plain.cost["gradient_steps"] + 1
    assert spoiled.quality.maximum == plain.quality.maximum and spoiled.outcome is plain.outcome
    assert len(spoiled.knots) == len(plain.knots) and spoiled.labels == plain.labels


def test_polishing_stops_once_the_path_is_under_the_goal() -> None:
    path = found("mlp", method="linear", max_loss=0.05, polish=500)
    assert path.outcome is Outcome.LOW and path.quality.maximum <= 0.05 and path.cost["gradient_steps"] < 500


class StopAfter(Callback):
    """Stops after a number of ticks, keeping the snapshot."""

    def __init__(self, ticks: int) -> None:
        self.left, self.search = ticks, None

    def on_tick(self, search: Search, report: Any) -> None:
        self.left -= 1
        search.stop = self.left <= 0


@pytest.mark.parametrize("ticks", [2, 8])
@pytest.mark.parametrize(
    "options", [{"method": "sphere-curve", "steps": 50, "polish": 40}, {"method": "autoneb", "steps": 60}]
)
def test_a_stopped_search_ends_with_the_same_bits(options: dict[str, Any], ticks: int) -> None:
    whole = found(**options)
    (a, b), knots = tiny.pair("conv"), MemoryKnots()
    search = Search(a, b, tiny.conv(), Settings(**options), knots=knots, callbacks=[StopAfter(ticks)])
    with pytest.raises(InterruptedRun):
        search.run()
    values, tensors = search.snapshot()
    disk = json.loads(json.dumps(values)), clone(tensors)
    again = find_path(a, b, tiny.conv(), Settings(**options), knots=knots, resume=disk)
    assert len(again.knots) == len(whole.knots)
    assert all(tiny.same(x, y) for x, y in zip(again.knots, whole.knots, strict=True))
    assert again.record == whole.record and again.quality.rows == whole.quality.rows


# Ablations ------------------------------------------------------------------------------------------------------------


def test_without_settling_a_walk_is_the_projected_line() -> None:
    path = found("mlp", settle=False, correct="none", repairs=0)
    straight = found("mlp", method="linear")
    assert path.length_ratio == pytest.approx(1, abs=1e-3)
    assert path.quality.maximum == pytest.approx(straight.quality.maximum, rel=0.2)
    assert all(r["steps"] == 1 for r in path.record)
    projected_line = found("mlp", settle=False, repairs=0)
    assert projected_line.length_ratio > 1.01


def test_the_reversed_order_walks_from_the_output() -> None:
    reversed_order = found("mlp", phases="layer", order="reversed", max_loss=0.3)
    forward = found("mlp", phases="layer", max_loss=0.3)
    names = [list(dict.fromkeys(r["phase"] for r in p.record)) for p in (forward, reversed_order)]
    assert len(names[0]) == 2 and names[1] == names[0][::-1]
