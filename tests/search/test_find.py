"""The loop: walk, measure, repair, measure; budget, thinning, resume, and what happens when it cannot be done."""

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import pytest
import torch
from helpers import tiny
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import TensorDataset as Examples

from llpf_plugin import LLPFError, LoaderData, Path, Settings, Task, TensorData, find_path, measure
from llpf_plugin.errors import InterruptedRun, MismatchError, OrderError
from llpf_plugin.geometry.knots import MemoryKnots
from llpf_plugin.geometry.weights import Weights, clone, coordinates, distance, relative_distance, select
from llpf_plugin.methods.base import Outcome
from llpf_plugin.search.find import Search
from llpf_plugin.search.progress import Callback
from llpf_plugin.training import train

REPAIRS: dict[str, dict[str, Any]] = {
    "mlp": {"max_loss": 0.04, "share": 0.5, "threshold": 0.3, "barrier": 3.0},
    "conv": {"max_loss": 0.005, "share": 0.5, "threshold": 0.3, "barrier": 3.0},
}
"""Settings with which the first walk is too coarse: two rounds of repairs, the second one long enough to be thinned."""

every_task = pytest.mark.parametrize("name", tiny.TASKS)


def found(name: str, task: Task | None = None, **options: Any) -> Path:
    return find_path(*tiny.pair(name), task or tiny.TASKS[name](), **options)


def same_path(one: Path, other: Path) -> bool:
    knots = len(one.knots) == len(other.knots)
    knots = knots and all(tiny.same(x, y) for x, y in zip(one.knots, other.knots, strict=True))
    cost = [{k: v for k, v in p.cost.items() if k not in ("seconds", "peak_memory")} for p in (one, other)]
    told = (one.labels, one.record, one.outcome) == (other.labels, other.record, other.outcome)
    return knots and told and cost[0] == cost[1] and one.quality.rows == other.quality.rows


# What a path promises -------------------------------------------------------------------------------------------------


@every_task
def test_a_path_below_the_goal_from_end_to_end(name: str) -> None:
    a, b = tiny.pair(name)
    path = found(name)
    names = list(coordinates(tiny.TASKS[name]().model))
    assert path.outcome is Outcome.ARRIVED
    assert tiny.same(path.knots[0], select(a, names)) and tiny.same(path.knots[-1], select(b, names))
    assert tiny.same(path.at(0), a) and tiny.same(path.at(1), b)
    quality = measure(path, tiny.TASKS[name](), points=9)  # denser than the search looked
    assert quality.connected and quality.maximum <= path.cost["goal"] * 1.1
    straight = measure(Path([path.knots[0], path.knots[-1]], a, b), tiny.TASKS[name](), points=9)
    assert straight.maximum > 1.5 * path.cost["goal"]


@every_task
def test_what_the_search_measured_is_what_is_measured_again(name: str) -> None:
    path = found(name, points=3)
    again = measure(path, tiny.TASKS[name](), points=3)
    assert path.quality.rows == again.rows and path.quality.summary() == again.summary()


def test_the_goal_is_a_tolerance_above_the_worse_end() -> None:
    ends = found("mlp").quality.ends
    worse = max(ends["A"]["train"], ends["B"]["train"])
    assert found("mlp", tolerance=0.2).cost["goal"] == pytest.approx(worse + 0.2)
    assert found("mlp").cost["goal"] == pytest.approx(worse + tiny.mlp().defaults.tolerance)
    assert found("mlp", max_loss=0.3).cost["goal"] == 0.3


@every_task
def test_same_seed_same_bits_twice(name: str) -> None:
    assert same_path(found(name, **REPAIRS[name]), found(name, **REPAIRS[name]))


def test_another_seed_is_another_path() -> None:
    assert not same_path(found("mlp", seed=0), found("mlp", seed=1))


@every_task
def test_inputs_are_not_touched(name: str) -> None:
    a, b = tiny.pair(name)
    before = clone(a), clone(b)
    find_path(a, b, tiny.TASKS[name]())
    assert tiny.same(a, before[0]) and tiny.same(b, before[1])


def test_labels_tell_how_each_knot_came() -> None:
    path = found("conv")
    kinds = [label["kind"] for label in path.labels]
    assert kinds == ["start", *["settled"] * (len(kinds) - 3), "closing", "end"]
    assert len(kinds) == len(path.knots) and path.last_settled == len(kinds) - 3
    assert all(label["phase"] == "all" for label in path.labels[1:-2])


def test_gradient_steps_are_those_of_the_record() -> None:
    path = found("conv", **REPAIRS["conv"])
    assert path.cost["gradient_steps"] == sum(r["steps"] for r in path.record) == path.record[-1]["gradient_steps"]
    assert path.cost["seconds"] > 0 and path.cost["peak_memory"] > 2**20


def test_ends_may_be_files(tmp_path: FilePath) -> None:
    for weights, file in zip(tiny.pair("mlp"), ("a.pt", "b.pt"), strict=True):
        torch.save({"state_dict": weights}, tmp_path / file)
    path = find_path(tmp_path / "a.pt", str(tmp_path / "b.pt"), tiny.mlp())
    assert same_path(path, found("mlp"))


def test_ends_in_low_precision_walk_on_float32_masters() -> None:
    a, b = ({k: t.bfloat16() for k, t in w.items()} for w in tiny.pair("mlp"))
    path = find_path(a, b, tiny.mlp())
    assert path.outcome is Outcome.ARRIVED and path.quality.maximum <= path.cost["goal"]
    assert tiny.same(path.at(0), a) or all(torch.equal(path.at(0)[k].bfloat16(), a[k]) for k in a)
    assert all(t.dtype == torch.float32 for knot in path.knots[1:-1] for t in knot.values())
    moved = [distance(p, q) for p, q in pairwise(path.knots)]
    assert all(step > 0 for step in moved[:-2])


class Tied(nn.Module):
    """A head that shares its weight with the first layer, and a norm that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.norm, self.decode = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 6)
        self.norm_again, self.decode.weight = self.norm, self.encode.weight
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.encode(x)))
        return self.head(torch.relu(self.norm_again(self.decode(x))))


def test_tied_parameters_stay_tied() -> None:
    def task() -> Task:
        return replace(tiny.mlp(), model=Tied(), recipe={"epochs": 10})

    a, b = train(task(), 1), train(task(), 2)
    path = find_path(a, b, task())
    assert "decode.weight" not in path.knots[0] and path.outcome is Outcome.ARRIVED
    for t in (0.0, 0.3, 1.0):
        point = path.at(t)
        assert list(point) == list(a)
        assert torch.equal(point["decode.weight"], point["encode.weight"])
        assert torch.equal(point["norm_again.weight"], point["norm.weight"])
    picked = path.quality.pick("mid").weights
    fresh = task()
    fresh.model.load_state_dict(picked)
    assert fresh.model.decode.weight is fresh.model.encode.weight
    assert torch.equal(fresh.model.norm.running_mean, picked["norm_again.running_mean"])


def test_a_data_loader_does(mlp: Task) -> None:
    examples = Examples(mlp.train.inputs, mlp.train.targets)
    shuffled = DataLoader(examples, 32, shuffle=True, generator=torch.Generator().manual_seed(0), drop_last=True)
    task = replace(mlp, train=LoaderData(shuffled, DataLoader(examples, 48)))
    path = find_path(*tiny.pair("mlp"), task)
    assert path.outcome is Outcome.ARRIVED and path.quality.maximum <= path.cost["goal"]


def test_an_objective_without_answers_does() -> None:
    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    path = found("mlp", replace(tiny.mlp(), objective=objective))
    assert path.outcome is Outcome.ARRIVED and path.quality.ends["A"]["test_accuracy"] is None
    assert 0.1 <= path.quality.pick().t <= 0.9


# Phases and schedules -------------------------------------------------------------------------------------------------


@pytest.fixture
def every_knot(monkeypatch: pytest.MonkeyPatch) -> None:
    """No knot is dropped, however many there are."""
    monkeypatch.setattr("llpf_plugin.search.trail.BLOCK", 10**6)


@pytest.mark.parametrize("phases", ["layer", "block", "stage", "2", 2])
def test_phases_follow_the_data_flow_and_end_with_all_layers(phases: str, every_knot: None) -> None:
    path = found("conv", phases=phases, max_loss=0.3)
    walked = list(dict.fromkeys(r["phase"] for r in path.record))
    assert len(walked) >= 2 and path.outcome is Outcome.ARRIVED
    head = [relative_distance(select(k, ["fc.weight"]), path.knots[-1]) for k in path.knots]
    stem = [relative_distance(select(k, ["conv1.weight"]), path.knots[-1]) for k in path.knots]
    first = [r["phase"] for r in path.record if r["kept"]].count(walked[0])
    assert stem[first] < 0.2 * stem[0] and head[first] > 0.8 * head[0]


def test_phases_auto_moves_all_at_once_while_that_goes_well() -> None:
    assert {r["phase"] for r in found("conv", phases="auto").record} == {"all"}


def test_without_a_layer_order_all_layers_move_at_once_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise OrderError("a model that cannot be traced")

    monkeypatch.setattr("llpf_plugin.llpf.plan.read_order", fails)
    with pytest.warns(UserWarning, match="all layers move at once: a model that cannot be traced"):
        path = found("conv")
    assert same_path(path, found("conv", phases="all"))
    with pytest.raises(OrderError, match="cannot be traced"):
        found("conv", phases="stage")


def test_unknown_phases_are_refused() -> None:
    with pytest.raises(OrderError, match="floor"):
        found("conv", phases="floor")


def schedule(folder: FilePath, parts: int, steps: int = 2, extra: str = "", ticks: int | None = None) -> str:
    """A schedule file that goes an even part of the way in every tick, all of it unless ``ticks`` says fewer."""
    place = folder / "schedule.yaml"
    settle = f"{{threshold: 0.0, min_steps: {steps}, max_steps: {steps}, lr: 0.05, momentum: 0}}"
    place.write_text(f"settle: {settle}\nphases:\n  - {{ticks: {ticks or parts}, step_f: {1 / parts}}}\n{extra}")
    return str(place)


def test_a_schedule_file_is_walked_to_the_letter(tmp_path: FilePath) -> None:
    path = found("mlp", pace=schedule(tmp_path, 10), repairs=0)
    assert path.cost["gradient_steps"] == 20 and len(path.record) == 10 and len(path.knots) == 13
    there = path.quality.criteria[1].holds
    assert path.outcome is (Outcome.ARRIVED if there else Outcome.SHORT)
    assert tiny.same(path.at(1), tiny.pair("mlp")[1])


# Repairs and thinning -------------------------------------------------------------------------------------------------


@every_task
def test_stretches_above_the_goal_are_walked_again(name: str) -> None:
    coarse = found(name, repairs=0, **REPAIRS[name])
    fine = found(name, **REPAIRS[name])
    assert coarse.quality.maximum > coarse.cost["goal"] and not coarse.quality.connected
    assert fine.quality.maximum <= fine.cost["goal"] and fine.cost["repairs"] >= 1
    assert {r["stretch"] for r in fine.record} == set(range(fine.cost["repairs"] + 1))
    before = len(coarse.record)
    assert fine.record[:before] == coarse.record


def test_a_repair_that_fails_leaves_the_path_as_it_was() -> None:
    settings = {**REPAIRS["mlp"], "repairs": 0}
    before = found("mlp", **settings)
    after = found("mlp", **{**settings, "repairs": 3, "budget": before.cost["gradient_steps"] + 3})
    assert after.cost["gradient_steps"] == before.cost["gradient_steps"] + 3
    assert after.cost["repairs"] == 1
    assert all(tiny.same(x, y) for x, y in zip(before.knots, after.knots, strict=True))
    assert before.labels == after.labels and after.outcome is Outcome.ARRIVED


@every_task
def test_thinning_keeps_ends_and_the_loss(name: str, tmp_path: FilePath) -> None:
    pace, slack = schedule(tmp_path, 80, steps=1), 0.01
    whole = found(name, pace=pace, repairs=0, thin=0.0)
    thin = found(name, pace=pace, repairs=0, thin=slack)
    assert [r["settled_loss"] for r in whole.record] == [r["settled_loss"] for r in thin.record]
    assert thin.cost["dropped"] > 40 and len(thin.knots) == 80 + 3 - thin.cost["dropped"]
    assert tiny.same(thin.knots[0], whole.knots[0]) and tiny.same(thin.knots[-1], whole.knots[-1])
    assert tiny.same(thin.knots[thin.last_settled], whole.knots[whole.last_settled])
    for i in range(len(thin.knots) - 1):
        losses = [row["train"] for row in thin.quality.rows if row["segment"] == i]
        start = (
            next(row["train"] for row in reversed(thin.quality.rows) if i and row["segment"] == i - 1)
            if i
            else math.nan
        )
        ends = [start, losses[-1]] if i else [losses[0], losses[-1]]
        assert i >= thin.last_settled or max(losses) <= max(ends) + slack


def test_knots_that_are_gone_are_gone_from_the_store() -> None:
    store = MemoryKnots()
    path = found("mlp", knots=store, **REPAIRS["mlp"])
    assert path.cost["dropped"] > 0 and sorted(store._knots) == sorted(path.knots.ids)


# What cannot be done --------------------------------------------------------------------------------------------------


def test_a_goal_below_the_loss_of_an_end_is_refused() -> None:
    with pytest.raises(LLPFError, match=r"max_loss = 0\.01 is not above the training loss of [AB] itself, 0\.02"):
        found("mlp", max_loss=0.01)


@pytest.mark.parametrize("budget", [1, 5, 9])
def test_a_budget_that_is_too_small_keeps_what_there_is(budget: int) -> None:
    path = found("conv", budget=budget, max_loss=0.005)
    assert path.outcome is Outcome.BUDGET and path.cost["gradient_steps"] == budget
    assert tiny.same(path.at(0), tiny.pair("conv")[0]) and tiny.same(path.at(1), tiny.pair("conv")[1])
    assert not path.quality.connected
    assert measure(path, tiny.conv()).maximum == path.quality.maximum


def nan_after(task: Task, calls: int) -> Task:
    """Mini-batch losses are NaN from the ``calls``-th on; evaluation goes on as before."""
    seen = 0

    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal seen
        loss, correct = task.objective(model, batch)
        seen += model.training
        return (loss * math.nan if model.training and seen > calls else loss), correct

    return replace(task, objective=objective)


def wall(task: Task, name: str) -> Task:
    """The loss is NaN, and so are its gradients, further than a tenth of the way from A and from B."""
    names = list(coordinates(task.model))
    a, b = (select(w, names) for w in tiny.pair(name))
    whole = distance(a, b)

    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        here = coordinates(model)
        far = min(distance(here, a), distance(here, b)) > 0.1 * whole
        loss, correct = task.objective(model, batch)
        return (loss * math.nan if far else loss), correct

    return replace(task, objective=objective)


def test_a_loss_that_turns_nan_ends_with_the_path_so_far(every_knot: None) -> None:
    path = found("mlp", nan_after(tiny.mlp(), calls=8 + 7), max_loss=0.04, phases="all")  # 8 calls measure the ends
    good = found("mlp", max_loss=0.04, repairs=0)
    assert path.outcome is Outcome.DIVERGED and not path.quality.connected
    settled = [knot for knot, label in zip(path.knots, path.labels, strict=True) if label["kind"] == "settled"]
    assert len(settled) >= 2
    assert all(tiny.same(x, y) for x, y in zip(settled, good.knots[1:], strict=False))
    assert all(t.isfinite().all() for knot in path.knots for t in knot.values())
    shares = [r["share"] for r in path.record if math.isnan(r["first_loss"])]
    assert len(shares) > 3 and all(x == 2 * y for x, y in pairwise(shares))


def test_a_wall_of_nan_is_walked_up_to() -> None:
    path = found("mlp", wall(tiny.mlp(), "mlp"), budget=400)
    assert path.outcome in (Outcome.DIVERGED, Outcome.COLLAPSED)
    assert path.quality.maximum == math.inf and not path.quality.connected
    whole = distance(path.knots[0], path.knots[-1])
    came = distance(path.knots[0], path.knots[path.last_settled])
    assert 0.03 * whole < came < 0.15 * whole
    assert any(not r["kept"] for r in path.record)
    assert tiny.same(path.at(1), tiny.pair("mlp")[1])


def test_a_schedule_that_stops_at_a_wall_of_nan_has_not_arrived(tmp_path: FilePath) -> None:
    path = found("mlp", wall(tiny.mlp(), "mlp"), pace=schedule(tmp_path, 20), budget=400)
    assert path.outcome is Outcome.DIVERGED and not path.quality.connected


def test_a_schedule_that_ends_half_way_has_not_arrived(tmp_path: FilePath) -> None:
    path = found("mlp", pace=schedule(tmp_path, 20, ticks=5), max_loss=1.0)
    assert not path.quality.criteria[1].holds
    assert path.outcome is not Outcome.ARRIVED


def test_a_repair_that_comes_no_nearer_is_given_up() -> None:
    path = found("mlp", max_loss=0.04, budget=1500)
    assert path.cost["gradient_steps"] < 1500


def test_two_networks_that_do_not_fit_are_refused_before_any_work() -> None:
    def never(model: nn.Module, batch: Any) -> Tensor:
        raise AssertionError("the model was run")

    a, b = tiny.pair("mlp")
    b["2.weight"] = b["2.weight"][:2]
    with pytest.raises(MismatchError, match=r"2\.weight"):
        find_path(a, b, replace(tiny.mlp(), objective=never))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_loss": 0.0}, "max_loss = 0.0: it must be above 0"),
        ({"budget": 0}, "budget = 0"),
        ({"lr": math.nan}, "lr = nan"),
        ({"share": 1.5}, "share = 1.5"),
        ({"max_loss": 1.0, "tolerance": 1.0}, "two ways to say the goal"),
        ({"min_steps": 5, "max_steps": 4}, "min_steps = 5 and max_steps = 4"),
        ({"min_steps": 0}, "min_steps = 0"),
        ({"correct": "matrix"}, "correct = 'matrix'.*matrices, all"),
        ({"repairs": -1}, "repairs = -1"),
        ({"thin": -0.1}, "thin = -0.1"),
        ({"momentum": 1.0}, "momentum = 1.0"),
        ({"momentum": -0.5}, "momentum = -0.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LLPFError, match=message):
        Settings(**options)


def test_settings_survive_json() -> None:
    settings = Settings(max_loss=0.1, phases="stage", seed=3)
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert Settings.from_dict({"seed": 3, "of_another_version": 1}) == Settings(seed=3)


def test_settings_and_options_together_are_refused() -> None:
    with pytest.raises((TypeError, LLPFError), match="seed"):
        found("mlp", settings=Settings(), seed=3)


# Callbacks, stop and resume -------------------------------------------------------------------------------------------


class Recorder(Callback):
    """Writes down what it is told; takes a snapshot of everything at the events asked for, and stops at the last."""

    def __init__(self, *at: int, stop: bool = False) -> None:
        self.at, self.stop = at, stop
        self.events: list[str] = []
        self.taken: dict[int, tuple[str, dict[str, Tensor], MemoryKnots]] = {}

    def _event(self, search: Search, name: str) -> None:
        if len(self.events) in self.at:
            values, tensors = search.snapshot()
            self.taken[len(self.events)] = json.dumps(values), clone(tensors), copy.deepcopy(search.knots)
            search.stop = self.stop
        self.events.append(name)

    def on_start(self, search: Search) -> None:
        self._event(search, "start")

    def on_tick(self, search: Search, report: Mapping[str, Any]) -> None:
        self._event(search, f"tick of stretch {report['stretch']}")

    def on_measure(self, search: Search, done: int, total: int) -> None:
        self._event(search, f"measure in round {search.progress.round}")

    def on_end(self, search: Search) -> None:
        self._event(search, "end")


@cache
def repaired(name: str) -> tuple[Path, list[str]]:
    """The run that nothing interrupts, and what its callback heard."""
    recorder = Recorder()
    return found(name, callbacks=[recorder], **REPAIRS[name]), recorder.events


def resumed(name: str, taken: tuple[str, dict[str, Tensor], MemoryKnots], **options: Any) -> Path:
    values, tensors, knots = taken
    return found(name, knots=knots, resume=(json.loads(values), tensors), **options)


def test_callbacks_hear_of_everything_in_order() -> None:
    path, events = repaired("mlp")
    rounds = [e for i in range(path.cost["repairs"] + 1) for e in (f"tick of stretch {i}", f"measure in round {i}")]
    assert list(dict.fromkeys(events)) == ["start", *rounds, "end"]
    assert sum(e.startswith("tick") for e in events) == len(path.record)


@every_task
def test_resumed_from_any_snapshot_it_ends_with_the_same_bits(name: str) -> None:
    """At the start; in the middle and at the end of the walk, of each repair, and of each measurement."""
    whole, events = repaired(name)
    assert whole.cost["repairs"] >= 1 and whole.cost["dropped"] > 0
    places = {0}
    for event in set(events) - {"start", "end"}:
        of_kind = [i for i, e in enumerate(events) if e == event]
        places |= {of_kind[len(of_kind) // 2], of_kind[-1]}
    recorder = Recorder(*places)
    assert same_path(found(name, callbacks=[recorder], **REPAIRS[name]), whole)  # a snapshot changes nothing
    assert recorder.taken.keys() == places
    for place, taken in recorder.taken.items():
        assert same_path(resumed(name, taken, **REPAIRS[name]), whole), (place, events[place])


def test_a_stop_is_between_ticks_and_resumes() -> None:
    whole, events = repaired("mlp")
    for place in (1, events.index("measure in round 0"), events.index("tick of stretch 1") + 1):
        recorder = Recorder(place, stop=True)
        with pytest.raises(InterruptedRun):
            found("mlp", callbacks=[recorder], **REPAIRS["mlp"])
        assert len(recorder.events) == place + 1
        assert same_path(resumed("mlp", recorder.taken[place], **REPAIRS["mlp"]), whole)


def test_resumed_in_a_later_phase_it_settles_by_that_phases_rule(tmp_path: FilePath) -> None:
    extra = "  - {ticks: 6, step_f: 0.1, settle: {lr: 0.02, momentum: 0.9, min_steps: 3, max_steps: 3}}\n"
    pace = schedule(tmp_path, 4, extra=extra)
    whole = found("mlp", pace=pace)
    recorder = Recorder(4, 5, 8)
    found("mlp", pace=pace, callbacks=[recorder])
    for taken in recorder.taken.values():
        assert same_path(resumed("mlp", taken, pace=pace), whole)


def test_a_snapshot_is_small() -> None:
    recorder = Recorder(3)
    found("conv", callbacks=[recorder], momentum=0.0)
    assert {k.partition(".")[0] for k in recorder.taken[3][1]} == {"weights", "start_gaps"}


def test_the_searchs_seed_covers_dropout_and_not_the_users_generator() -> None:
    torch.manual_seed(1)
    first = found("conv")
    torch.manual_seed(2)
    assert same_path(first, found("conv"))


def test_a_sample_is_measured_everywhere() -> None:
    task = tiny.mlp()
    sizes = []
    inner = task.objective

    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if not model.training:
            sizes.append(len(batch[0]))
        return inner(model, batch)

    only = replace(
        task, objective=objective, validation=None, test=None, train=TensorData(task.train.inputs, task.train.targets)
    )
    path = found("mlp", only, sample=40)
    assert set(sizes) == {40} and path.quality.sample == 40


def test_weights_of_one_network_are_not_walked() -> None:
    a: Weights = tiny.pair("mlp")[0]
    with pytest.raises(MismatchError):
        find_path(a, clone(a), tiny.mlp())
