"""`find_path`: what a path promises, phases and schedules, and what happens when it cannot be done."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.methods import WALKS
from helpers.searches import COARSE, coarse, found, nan_after, same_path, schedule
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import TensorDataset as Examples

from llpf_plugin import LLPF, LLPFError, LoaderData, Path, Recipe, Task, TensorData, find_path, measure
from llpf_plugin.errors import MismatchError, OrderError
from llpf_plugin.geometry.weights import Weights, clone, coordinates, distance, relative_distance, select
from llpf_plugin.llpf.repair import Repair
from llpf_plugin.methods import Outcome, Terms
from llpf_plugin.methods.rounds import most_steps, round_steps
from llpf_plugin.records import Tick
from llpf_plugin.search import Callback, SearchOptions
from llpf_plugin.search.assemble import PathAssembler
from llpf_plugin.training import train

every_task = pytest.mark.parametrize("name", tiny.TASKS)


@pytest.fixture
def every_knot(monkeypatch: pytest.MonkeyPatch) -> None:
    """No knot is dropped, however many there are."""
    monkeypatch.setattr("llpf_plugin.search.assemble.BLOCK", 10**6)


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
    assert quality.connected and quality.maximum <= path.cost.goal * 1.1
    straight = measure(Path([path.knots[0], path.knots[-1]], a, b), tiny.TASKS[name](), points=9)
    assert straight.maximum > 1.5 * path.cost.goal


@every_task
@pytest.mark.parametrize("method", WALKS.values(), ids=WALKS)
def test_every_kind_of_walk_arrives(name: str, method: LLPF) -> None:
    path = found(name, method, tolerance=0.5)
    assert path.outcome is Outcome.ARRIVED and path.quality.criteria[1].holds and len(path.knots) > 4


@every_task
def test_what_the_search_measured_is_what_is_measured_again(name: str) -> None:
    path = found(name, points=3)
    again = measure(path, tiny.TASKS[name](), points=3)
    assert path.quality.rows == again.rows and path.quality.summary() == again.summary()


def test_the_goal_is_a_tolerance_above_the_worse_end() -> None:
    ends = found("mlp").quality.ends
    worse = max(ends["A"].train, ends["B"].train)
    assert found("mlp", tolerance=0.2).cost.goal == pytest.approx(worse + 0.2)
    assert found("mlp").cost.goal == pytest.approx(worse + tiny.mlp().defaults.tolerance)
    assert found("mlp", max_loss=0.3).cost.goal == 0.3


@every_task
def test_same_seed_same_bits_twice(name: str) -> None:
    assert same_path(coarse(name), coarse(name))


def test_another_seed_is_another_path() -> None:
    assert not same_path(found("mlp", seed=0), found("mlp", seed=1))


@every_task
def test_inputs_are_not_touched(name: str) -> None:
    a, b = tiny.pair(name)
    before = clone(a), clone(b)
    find_path(a, b, tiny.TASKS[name]())
    assert tiny.same(a, before[0]) and tiny.same(b, before[1])


def test_gradient_steps_are_those_of_the_record() -> None:
    path = coarse("conv")
    assert path.cost.gradient_steps == sum(tick.steps for tick in path.record) == path.record[-1].gradient_steps
    assert path.cost.seconds > 0 and path.cost.peak_memory > 2**20


def test_ends_may_be_files(tmp_path: FilePath) -> None:
    for weights, file in zip(tiny.pair("mlp"), ("a.pt", "b.pt"), strict=True):
        torch.save({"state_dict": weights}, tmp_path / file)
    path = find_path(tmp_path / "a.pt", str(tmp_path / "b.pt"), tiny.mlp())
    assert same_path(path, found("mlp"))


def test_ends_in_low_precision_walk_on_float32_masters() -> None:
    a, b = ({k: t.bfloat16() for k, t in w.items()} for w in tiny.pair("mlp"))
    path = find_path(a, b, tiny.mlp())
    assert path.outcome is Outcome.ARRIVED and path.quality.maximum <= path.cost.goal
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
        return replace(tiny.mlp(), model=Tied(), recipe=Recipe(epochs=10), build=Tied)

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


def test_a_data_loader_is_enough(mlp: Task) -> None:
    examples = Examples(mlp.train.inputs, mlp.train.targets)
    shuffled = DataLoader(examples, 32, shuffle=True, generator=torch.Generator().manual_seed(0), drop_last=True)
    task = replace(mlp, train=LoaderData(shuffled, DataLoader(examples, 48)))
    path = find_path(*tiny.pair("mlp"), task)
    assert path.outcome is Outcome.ARRIVED and path.quality.maximum <= path.cost.goal


def test_an_objective_without_answers_is_enough() -> None:
    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    path = found("mlp", task=replace(tiny.mlp(), objective=objective))
    assert path.outcome is Outcome.ARRIVED and path.quality.ends["A"].test_accuracy is None
    assert 0.1 <= path.quality.pick().t <= 0.9


# Phases and schedules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phases", ["layer", "block", "stage", "2", 2])
def test_phases_follow_the_data_flow_and_end_with_all_layers(phases: str | int, every_knot: None) -> None:
    path = found("conv", LLPF(phases=phases, repairs=0), max_loss=0.3)
    walked = list(dict.fromkeys(tick.phase for tick in path.record))
    assert len(walked) >= 2 and path.outcome is Outcome.ARRIVED
    head = [relative_distance(select(k, ["fc.weight"]), path.knots[-1]) for k in path.knots]
    stem = [relative_distance(select(k, ["conv1.weight"]), path.knots[-1]) for k in path.knots]
    first = [tick.phase for tick in path.record if tick.kept].count(walked[0])
    assert stem[first] < 0.2 * stem[0] and head[first] > 0.8 * head[0]


def test_phases_auto_moves_all_at_once_while_that_goes_well() -> None:
    assert {tick.phase for tick in found("conv", LLPF(phases="auto")).record} == {"all"}


def test_without_a_layer_order_all_layers_move_at_once_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise OrderError("a model that cannot be traced")

    monkeypatch.setattr("llpf_plugin.llpf.plan.read_order", fails)
    with pytest.warns(UserWarning, match="moving all layers at once: a model that cannot be traced"):
        path = found("conv", LLPF(repairs=0))
    assert same_path(path, found("conv", LLPF(phases="all", repairs=0)))
    with pytest.raises(OrderError, match="cannot be traced"):
        found("conv", LLPF(phases="stage"))


def test_an_objective_that_never_calls_the_model_itself_is_enough() -> None:
    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        scores = model[2](model[1](model[0](batch[0])))  # type: ignore[index]
        return nn.functional.cross_entropy(scores, batch[1])

    task = replace(tiny.mlp(), objective=objective)
    path = found("mlp", task=task)
    assert path.outcome is Outcome.ARRIVED and path.quality.maximum <= path.cost.goal
    assert found("mlp", LLPF(phases="all", across="always"), task).outcome is Outcome.ARRIVED


def test_unknown_phases_are_refused() -> None:
    with pytest.raises(OrderError, match="floor"):
        found("conv", LLPF(phases="floor"))


def test_a_schedule_file_is_walked_to_the_letter(tmp_path: FilePath) -> None:
    """Nothing is repaired, however high the path is."""
    path = found("mlp", LLPF(schedule=schedule(tmp_path, 10)), max_loss=0.03)
    assert path.quality.maximum > path.cost.goal and path.cost.repairs == 0
    assert path.cost.gradient_steps == 20 and len(path.record) == 10 and len(path.knots) == 13
    there = path.quality.criteria[1].holds
    assert path.outcome is (Outcome.ARRIVED if there else Outcome.SHORT)
    assert tiny.same(path.at(1), tiny.pair("mlp")[1])


def test_a_schedule_says_how_large_a_batch_is_and_which_tensors_are_corrected(tmp_path: FilePath) -> None:
    told: dict[str, object] = {}

    class Ask(Callback):
        def on_tick(self, search: Any, tick: Tick) -> None:
            told["batch"], told["held"] = search.workspace.batch_size, set(search.solver.direction.spheres)

    method = LLPF(schedule=schedule(tmp_path, 4, extra="batch_size: 7\ncorrect: all\n"))
    path = found("mlp", method, callbacks=[Ask()])
    assert told == {"batch": 7, "held": set(tiny.pair("mlp")[0])} and path.cost.gradient_steps == 8


def test_without_a_budget_a_schedule_is_walked_to_its_end_and_repaired(tmp_path: FilePath) -> None:
    task = tiny.mlp()
    place = schedule(tmp_path, 4, steps=3)
    assert LLPF(schedule=place).terms(task).budget == LLPF(schedule=place).terms(task).least == 12
    assert LLPF(schedule=place, repairs=2).terms(task).budget == 12 + most_steps(2)
    assert LLPF().terms(task) == Terms() and SearchOptions().under(Terms()).budget == 20_000
    again = found("mlp", LLPF(schedule=place, repairs=1), max_loss=0.03)
    before = found("mlp", LLPF(schedule=place), max_loss=0.03).quality
    worse = max(before.ends["A"].train, before.ends["B"].train)
    round_one = round_steps((before.maximum - worse) / (0.03 - worse), 0)
    assert again.cost.repairs == 1 and again.cost.gradient_steps == 12 + round_one


def test_a_budget_that_a_schedule_cannot_end_in_is_refused(tmp_path: FilePath) -> None:
    method = LLPF(schedule=schedule(tmp_path, 600))
    with pytest.raises(LLPFError, match=r"budget = 1199: the schedule '.*yaml' takes at least 1,200 gradient steps"):
        found("mlp", method, nan_after(tiny.mlp(), 0), budget=1199)


@pytest.mark.parametrize(("name", "value"), [("batch_size", 8), ("lr", 0.1), ("momentum", 0.9)])
def test_what_a_schedule_states_cannot_be_said_otherwise(name: str, value: float, tmp_path: FilePath) -> None:
    method = LLPF(schedule=schedule(tmp_path, 4, extra="batch_size: 7\n"))
    with pytest.raises(LLPFError, match=rf"{name} = {value}: the schedule '.*yaml' states [\d.]+; leave it out"):
        found("mlp", method, **{name: value})
    stated = {"batch_size": 7, "lr": 0.05, "momentum": 0.0}[name]
    assert found("mlp", method, **{name: stated}).cost.gradient_steps == 8


def test_correcting_other_tensors_than_the_schedule_states_is_refused(tmp_path: FilePath) -> None:
    place = schedule(tmp_path, 4, extra="correct: all\n")
    with pytest.raises(LLPFError, match=r"correct = 'none', but the schedule '.*yaml' states 'all'"):
        found("mlp", LLPF(schedule=place, correct="none"))


# Repairs --------------------------------------------------------------------------------------------------------------


@every_task
def test_stretches_above_the_goal_are_trained(name: str) -> None:
    rough, fine = coarse(name, 0), coarse(name)
    assert rough.quality.maximum > rough.cost.goal and not rough.quality.connected
    assert fine.quality.maximum <= fine.cost.goal and fine.cost.repairs >= 1 and fine.quality.connected
    assert {tick.stretch for tick in fine.record} == set(range(fine.cost.repairs + 1))
    assert fine.record[: len(rough.record)] == rough.record
    assert fine.labels[fine.last_settled].kind == "settled"
    assert tiny.same(fine.knots[fine.last_settled], rough.knots[rough.last_settled])


@every_task
def test_however_often_a_path_is_repaired_its_last_settled_knot_stays(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the segment behind it is the highest."""
    monkeypatch.setattr(PathAssembler, "keep_better", lambda self, rows: True)
    heard: list[list[Any]] = []

    class Hear(Callback):
        def on_tick(self, search: Any, tick: Tick) -> None:
            chain = search.progress.chain
            heard.append([chain[-3:], [search.progress.labels[str(i)].kind for i in chain[-3:]]])

    goal = 1.001 * max(row.train or 0.0 for row in coarse(name, 0).quality.ends.values())
    path = found(name, replace(COARSE, repairs=3), max_loss=goal, lr=tiny.TASKS[name]().defaults.lr, callbacks=[Hear()])
    rounds = [kinds for (chain, kinds), tick in zip(heard, path.record, strict=True) if tick.stretch > 0]
    assert path.cost.repairs >= 2 and rounds and all(k == ["settled", "closing", "end"] for k in rounds)
    assert path.labels[path.last_settled].kind == "settled" and path.quality.criteria[1].holds


def test_each_round_is_longer_than_the_one_before() -> None:
    path = found("mlp", replace(COARSE, repairs=3), max_loss=0.027, lr=0.1)
    begun = [[t for t in path.record if t.stretch == i and t.tick == 0] for i in range(1, path.cost.repairs + 1)]
    steps = [{int(t.gap) + t.steps for t in own} for own in begun]  # of each stretch of a round alike
    assert len(steps) >= 2 and all(len(own) == 1 for own in steps)
    assert all(2 * min(a) <= min(b) <= 4 * min(a) for a, b in pairwise(steps))


def test_the_rest_of_the_budget_is_the_last_repair() -> None:
    before = coarse("mlp", 0)
    after = coarse("mlp", budget=before.cost.gradient_steps + 3)
    assert after.cost.gradient_steps == before.cost.gradient_steps + 3 and after.cost.repairs == 1
    assert after.quality.maximum <= before.quality.maximum and after.outcome is Outcome.ARRIVED


@every_task
def test_a_repair_that_makes_things_worse_is_undone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = coarse(name, 0)
    monkeypatch.setattr(Repair, "closing", lambda self: [{k: t + 1 for k, t in self.at(0.5).items()}])
    after = coarse(name)
    assert after.cost.repairs == 3 and after.quality.rows == before.quality.rows
    assert all(tiny.same(x, y) for x, y in zip(before.knots, after.knots, strict=True))
    assert before.labels == after.labels and after.outcome is Outcome.ARRIVED


def test_a_repair_that_diverges_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = coarse("mlp", 0)
    monkeypatch.setattr("llpf_plugin.methods.curve.cooled", lambda lr, done: 1e30)
    after = coarse("mlp")
    assert after.cost.repairs == 3 and after.labels == before.labels
    assert all(tiny.same(x, y) for x, y in zip(before.knots, after.knots, strict=True))


def test_a_repair_that_comes_no_nearer_is_given_up() -> None:
    path = found("mlp", max_loss=0.04, budget=1500)
    assert path.cost.gradient_steps < 1500


# What cannot be done --------------------------------------------------------------------------------------------------


def test_a_goal_below_the_loss_of_an_end_is_refused() -> None:
    with pytest.raises(LLPFError, match=r"max_loss = 0\.01 must exceed the training loss of [AB] itself, 0\.02"):
        found("mlp", max_loss=0.01)


@pytest.mark.parametrize("budget", [1, 5, 9])
def test_a_budget_that_is_too_small_keeps_what_there_is(budget: int) -> None:
    path = found("conv", budget=budget, max_loss=0.005)
    assert path.outcome is Outcome.BUDGET and path.cost.gradient_steps == budget
    assert tiny.same(path.at(0), tiny.pair("conv")[0]) and tiny.same(path.at(1), tiny.pair("conv")[1])
    assert not path.quality.connected
    assert measure(path, tiny.conv()).maximum == path.quality.maximum


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
    path = found("mlp", LLPF(phases="all", repairs=0), nan_after(tiny.mlp(), 8 + 4 + 7), max_loss=0.04, lr=0.1)
    good = found("mlp", LLPF(repairs=0), max_loss=0.04, lr=0.1)
    assert path.outcome is Outcome.DIVERGED and not path.quality.connected
    settled = [knot for knot, label in zip(path.knots, path.labels, strict=True) if label.kind == "settled"]
    assert len(settled) >= 2
    assert all(tiny.same(x, y) for x, y in zip(settled, good.knots[1:], strict=False))
    assert all(t.isfinite().all() for knot in path.knots for t in knot.values())
    shares = [tick.share for tick in path.record if math.isnan(tick.first_loss)]
    assert len(shares) > 3 and all(x == 2 * y for x, y in pairwise(shares))


def test_a_wall_of_nan_is_walked_up_to() -> None:
    path = found("mlp", task=wall(tiny.mlp(), "mlp"), budget=400)
    assert path.outcome in (Outcome.DIVERGED, Outcome.COLLAPSED)
    assert path.quality.maximum == math.inf and not path.quality.connected
    whole = distance(path.knots[0], path.knots[-1])
    came = distance(path.knots[0], path.knots[path.last_settled])
    assert 0.03 * whole < came < 0.15 * whole
    assert any(not tick.kept for tick in path.record)
    assert tiny.same(path.at(1), tiny.pair("mlp")[1])


def test_a_schedule_that_stops_at_a_wall_of_nan_has_not_arrived(tmp_path: FilePath) -> None:
    path = found("mlp", LLPF(schedule=schedule(tmp_path, 20)), wall(tiny.mlp(), "mlp"), budget=400)
    assert path.outcome is Outcome.DIVERGED and not path.quality.connected


def test_a_schedule_that_ends_half_way_has_not_arrived(tmp_path: FilePath) -> None:
    path = found("mlp", LLPF(schedule=schedule(tmp_path, 20, ticks=5)), max_loss=1.0)
    assert not path.quality.criteria[1].holds
    assert path.outcome is not Outcome.ARRIVED


def test_two_networks_that_do_not_fit_are_refused_before_any_work() -> None:
    def never(model: nn.Module, batch: Any) -> Tensor:
        raise AssertionError("the model was run")

    a, b = tiny.pair("mlp")
    b["2.weight"] = b["2.weight"][:2]
    with pytest.raises(MismatchError, match=r"2\.weight"):
        find_path(a, b, replace(tiny.mlp(), objective=never))


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
    path = found("mlp", task=only, sample=40)
    looks, measured = sizes[:2], sizes[2:]  # a look at one batch of each end comes first
    assert looks == [32, 32] and set(measured) == {40} and path.quality.sample == 40


def test_weights_of_one_network_are_not_walked() -> None:
    a: Weights = tiny.pair("mlp")[0]
    with pytest.raises(MismatchError):
        find_path(a, clone(a), tiny.mlp())


def test_what_is_left_of_a_walk_that_stalls_is_trained_as_a_curve_to_b(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llpf_plugin.llpf.plan.GIVES_WAY", 9.0)  # the first move that is not the whole way
    stalled, path = (found("conv", max_loss=0.05, lr=0.1, budget=budget) for budget in (2, 2000))
    assert path.outcome is stalled.outcome is Outcome.STALLED and not path.walked
    assert stalled.quality.maximum > 0.05 and not stalled.quality.connected
    assert path.quality.maximum <= 0.05 and path.quality.connected and path.cost.repairs > 0
    assert path.labels[-2].kind == "curve" and {tick.phase for tick in path.record} == {"all", "repair"}
    assert path.quality.criteria[1].holds is None and "stalled" in path.quality.criteria[1].sentence
    assert tiny.same(path.at(1), tiny.pair("conv")[1])


def test_a_walk_with_levels_of_its_own_goes_on_in_stages_where_all_layers_at_once_stall() -> None:
    path = found("conv", LLPF(share=0.4, reject_above=0.002), max_loss=0.5, lr=0.1)
    assert path.outcome is not Outcome.STALLED and len(path.phases) > 1
