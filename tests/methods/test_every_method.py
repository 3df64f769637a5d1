"""One table of tests that every method enters: what the loop relies on, and what a user gets.

A method enters by being in the registry; nothing here knows any of them, but for the straight line, which trains
nothing, finetuning, whose path does not lead to B, and learned matching, whose path leads to an equivalent of B.
"""

import io
import json
import math
import subprocess
import sys
from dataclasses import MISSING, FrozenInstanceError, asdict, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers import tiny
from helpers.methods import EXAMPLE, METHODS, examples
from helpers.searches import Recorder, nan_after, resuming, same_path
from torch import Tensor, nn

from llpf_plugin import LLPFError, Method, Path, Quality, Task, find_path, measure
from llpf_plugin.errors import InterruptedRun
from llpf_plugin.evaluation import goal_of, measure_ends
from llpf_plugin.geometry import Weights, clone, coordinates, select
from llpf_plugin.methods import MovesEnd, Outcome, Problem, Solver, known, make_method, method_class
from llpf_plugin.records import Tick
from llpf_plugin.search import Callback, Searching
from llpf_plugin.workspace import Workspace

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
every_class = pytest.mark.parametrize("cls", dict.fromkeys(type(m) for m in METHODS.values()), ids=lambda c: c.__name__)
every_task = pytest.mark.parametrize("name", tiny.TASKS)

LINE, REPAIRED, ASTRAY = METHODS["linear"], METHODS["linear, repaired"], METHODS["finetune"]
PLACED = METHODS["learned-matching"]
STRAIGHT = (LINE, PLACED)
UNTRAINED = {LINE: Outcome.STRAIGHT, REPAIRED: Outcome.REPAIRED}
TRAINING = {name: m for name, m in METHODS.items() if m not in UNTRAINED}
every_training_method = pytest.mark.parametrize("method", TRAINING.values(), ids=TRAINING)


def test_the_table_has_every_method_of_the_registry_and_those_of_users() -> None:
    assert set(known()) <= set(METHODS) and "a user's" in METHODS
    if not EXAMPLE.is_file():
        pytest.skip(f"{EXAMPLE.name} is not there, so that no test runs it")
    assert examples() and all(f"the example's {name}" in METHODS for name in examples())


# Settings -------------------------------------------------------------------------------------------------------------


@every_class
def test_a_method_is_a_frozen_dataclass_with_a_name_a_source_and_words_for_every_setting(cls: type[Method]) -> None:
    assert is_dataclass(cls) and cls.name and cls.source and cls.__doc__
    method = cls()
    with pytest.raises(FrozenInstanceError):
        method.name = "other"  # type: ignore[misc]
    for f in fields(cls):
        assert f.default is not MISSING and f.metadata["help"], f.name


@every_method
def test_settings_are_json_and_make_the_same_method_again(method: Method) -> None:
    values = json.loads(json.dumps(method.settings()))
    again = type(method)(**values)
    assert again == method and again.settings() == method.settings() and hash(again) == hash(method)
    assert list(values) == [f.name for f in fields(method)]


@pytest.mark.parametrize("name", known())
def test_the_registrys_name_is_the_methods_own(name: str) -> None:
    assert make_method(name).name == name and method_class(name) is type(make_method(name))
    assert make_method(name) == method_class(name)() and make_method(made := make_method(name)) is made


def wrong(cls: type[Method]) -> list[tuple[str, Any]]:
    """Settings that make no sense, from what the fields themselves say: other types, other words, beyond a bound."""
    found: list[tuple[str, Any]] = []
    for f in fields(cls):
        hints = {part.strip() for part in str(f.type).split("|")}
        if hints <= {"int", "float", "str", "bool", "None"}:
            found.append((f.name, object()))
            found += [(f.name, "3")] if "str" not in hints else []
            found += [(f.name, 2.5)] if hints & {"int", "bool"} and "float" not in hints else []
            found += [(f.name, None)] if "None" not in hints else []
        found += [(f.name, "no such choice")] if f.metadata["choices"] else []
        if f.metadata["within"]:
            low, high = (float(bound) for bound in f.metadata["within"][1:-1].split(","))
            kind = int if "int" in hints else float
            found += [(f.name, kind(low - 1)), (f.name, math.nan)] + (
                [(f.name, kind(high + 1))] if high < math.inf else []
            )
            found += [(f.name, kind(low))] if f.metadata["within"][0] == "(" else []
            found += [(f.name, kind(high))] if f.metadata["within"][-1] == ")" and high < math.inf else []
    return found


@every_class
def test_settings_that_make_no_sense_are_refused_by_name(cls: type[Method]) -> None:
    for name, value in wrong(cls):
        with pytest.raises(LLPFError, match=f"^{cls.name}: {name} = "):
            cls(**{name: value})


@every_class
def test_a_setting_that_there_is_not_is_refused(cls: type[Method]) -> None:
    spec = cls.name if cls.name in known() else f"{cls.__module__}:{cls.__name__}"
    with pytest.raises(LLPFError, match=r"has no setting 'magic'"):
        make_method(spec, {"magic": 1})


def test_settings_and_registry_need_no_torch() -> None:
    code = (
        "import sys; from dataclasses import fields; from llpf_plugin.methods import known, make_method\n"
        "for name in known():\n"
        "    method = make_method(name); method.settings(); fields(method); repr(method)\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules, 'yaml' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"] * 3


# Solvers --------------------------------------------------------------------------------------------------------------


class Run:
    """The first stretch of a method's plan on a tiny task, from its start to its outcome."""

    def __init__(self, method: Method, name: str, seed: int = 0, budget: int | None = None) -> None:
        task = tiny.TASKS[name]()
        self.workspace = Workspace(task, seed=seed)
        names = list(coordinates(task.model))
        self.a, self.b = (select(w, names) for w in tiny.pair(name))
        defaults = task.defaults
        goal = goal_of(None, None, measure_ends(self.workspace, self.a, self.b, None), defaults.tolerance)
        problem = Problem(self.workspace, self.a, self.b, goal, defaults.lr, defaults.momentum)
        self.workspace.budget = 400 if budget is None else budget
        self.plan = method.bind(problem)
        (stretch,) = self.plan.stretches
        self.solver: Solver = self.plan.solver(stretch)
        self.state = self.solver.init(self.a, self.b)
        self.outcome: Outcome | None = None
        self.knots: list[Weights] = []
        self.record: list[Tick] = []

    def tick(self) -> None:
        step = self.solver.step(self.state)
        self.state, self.outcome = step.state, step.outcome
        self.record += [step.tick] if step.tick else []
        self.knots += [self.solver.knot()] if step.knot else []

    def finish(self) -> "Run":
        while self.outcome is None and self.workspace.remaining != 0:
            self.tick()
        return self

    @property
    def path(self) -> list[Weights]:
        end = self.solver.equivalent() if isinstance(self.solver, MovesEnd) else self.b
        return [self.a, *self.knots, *self.solver.closing(), end]


@cache
def whole_run(method: Method, name: str) -> Run:
    """The run that nothing interrupts; not to be changed."""
    return Run(method, name).finish()


def same_run(one: Run, other: Run) -> bool:
    knots = len(one.path) == len(other.path) and all(tiny.same(x, y) for x, y in zip(one.path, other.path, strict=True))
    return knots and one.record == other.record and (one.state, one.outcome) == (other.state, other.outcome)


@every_method
@every_task
def test_binding_takes_no_step_and_what_walks_stands_on_the_start(method: Method, name: str) -> None:
    run = Run(method, name)
    assert run.workspace.steps == 0 and run.plan.chain[0] == 0
    assert (run.plan.chain[-1] == 1) is (method != ASTRAY)
    assert run.solver.closes_with in ("closing", "curve")
    if run.solver.closes_with == "closing" or method.name in known():
        assert tiny.same(run.solver.knot(), run.a)


@every_method
@every_task
def test_a_solver_ends_by_itself_or_with_the_budget(method: Method, name: str) -> None:
    run = whole_run(method, name)
    assert run.outcome in (Outcome.ARRIVED, Outcome.SHORT, Outcome.TRAINED, *UNTRAINED.values())
    assert run.workspace.steps < 400
    if "steps" in method.settings():
        assert run.outcome is Outcome.TRAINED and run.workspace.steps == method.settings()["steps"]


@every_method
def test_a_point_has_all_coordinates_and_is_a_copy_on_the_cpu(method: Method) -> None:
    run = Run(method, "mlp")
    ends = clone(run.a), clone(run.b)
    run.tick()
    taken = [run.solver.knot(), *run.solver.closing()]
    copies = [clone(knot) for knot in taken]
    run.finish()
    for knot, before in zip(taken, copies, strict=True):
        assert tiny.same(knot, before) and list(knot) == list(run.a)
        assert all(t.device.type == "cpu" and t.dtype == torch.float32 and not t.requires_grad for t in knot.values())
    assert tiny.same(run.a, ends[0]) and tiny.same(run.b, ends[1])


@every_method
@every_task
def test_what_is_trained_as_a_whole_has_its_points_in_its_closing(method: Method, name: str) -> None:
    run = whole_run(method, name)
    if run.solver.closes_with == "curve":
        assert run.knots == [] and (method in STRAIGHT or len(run.path) > 2)
        if method.name in known():  # no single point is the one that the search stands on
            assert tiny.same(run.solver.knot(), run.a) and (method in STRAIGHT or len(run.path) >= 5)
    else:
        assert len(run.knots) > 2


@every_method
@every_task
@pytest.mark.parametrize("stop", [0, 3])
def test_loaded_mid_way_a_solver_ends_with_the_same_bits(method: Method, name: str, stop: int) -> None:
    whole = whole_run(method, name)
    first = Run(method, name)
    while len(first.record) < stop and first.outcome is None:
        first.tick()
    values, disk = json.dumps(asdict(first.state)), io.BytesIO()
    torch.save(first.solver.save(), disk)
    disk.seek(0)

    second = Run(method, name)
    second.tick()  # the workspace need not be fresh
    second.workspace.steps, second.knots, second.record = first.workspace.steps, first.knots, first.record
    second.outcome = first.outcome
    second.solver.load(torch.load(disk, weights_only=True))
    second.state = replace(first.state, **json.loads(values))
    assert second.state == first.state
    assert same_run(second.finish(), whole)
    assert second.workspace.steps == whole.workspace.steps


@every_method
@every_task
def test_every_gradient_step_is_in_the_record(method: Method, name: str) -> None:
    run = whole_run(method, name)
    assert sum(tick.steps for tick in run.record) == run.workspace.steps
    assert (run.workspace.steps > 0) is (method not in UNTRAINED)


@every_method
@pytest.mark.parametrize("budget", [1, 7])
def test_a_solver_keeps_the_budget(method: Method, budget: int) -> None:
    run = Run(method, "conv", budget=budget).finish()
    assert run.workspace.steps == min(budget, whole_run(method, "conv").workspace.steps)
    assert all(p.isfinite().all() for knot in run.path for p in knot.values())


# Searches -------------------------------------------------------------------------------------------------------------


def found(method: Method, name: str = "mlp", task: Task | None = None, **options: Any) -> Path:
    return find_path(*tiny.pair(name), task or tiny.TASKS[name](), method, **{"budget": 300, "points": 2, **options})


@cache
def whole_path(method: Method, name: str = "mlp") -> Path:
    """The search that nothing interrupts; not to be changed."""
    return found(method, name)


def same_answers(one: Weights, other: Weights) -> bool:
    """Whether two models answer the same in eval mode, to rounding, their own running statistics included."""
    (task,) = (
        task for task in (make() for make in tiny.TASKS.values()) if task.model.state_dict().keys() == one.keys()
    )
    batch, answers = task.train.batch(32, 0, 0), []
    for weights in (one, other):
        task.model.load_state_dict(weights)
        answers.append(task.model.eval()(batch[0]))
    return torch.allclose(*answers, rtol=1e-4, atol=1e-5)


def ends_rightly(path: Path, method: Method, a: Weights, b: Weights) -> bool:
    """Exactly at A and at B, bit by bit; or at A and its last knot, which is not B, or computes what B does."""
    end = {**a, **path.knots[-1]} if method == ASTRAY else path.end if method == PLACED else b
    assert path.equivalent is (method == PLACED) and (method != PLACED or same_answers(path.end, b))
    return path.open is (method == ASTRAY) and tiny.same(path.at(0), a) and tiny.same(path.at(1), end)


@every_method
@every_task
def test_a_path_starts_exactly_at_a_and_ends_exactly_at_b(method: Method, name: str) -> None:
    a, b = tiny.pair(name)
    path = whole_path(method, name)
    assert ends_rightly(path, method, a, b)
    assert tiny.same(path.knots[0], select(a, path.knots[0])) and (method == PLACED or tiny.same(path.end, b))


@every_method
@every_task
def test_the_record_makes_sense(method: Method, name: str) -> None:
    path = whole_path(method, name)
    cost, record = path.cost, path.record
    looked = cost.rate.steps if cost.rate else 0
    assert cost.gradient_steps == looked + sum(tick.steps for tick in record) <= 300
    assert (cost.rate is None) is not method.seeks_rate and (cost.rate is None or cost.rate.value > 0)
    done = [tick.gradient_steps for tick in record]
    assert done == sorted(done) and done[-1:] == ([cost.gradient_steps] if record else [])
    assert cost.seconds is not None and cost.seconds > 0 and cost.goal is not None and cost.repairs >= 0
    kinds = [label.kind for label in path.labels]
    assert len(kinds) == len(path.knots) and kinds[0] == "start"
    assert kinds[-1] == ("settled" if method == ASTRAY else "end")
    assert set(kinds[1:-1]) <= {"settled", "closing", "curve"}
    assert isinstance(path.outcome, Outcome)
    assert all(math.isfinite(tick.settled_loss) and tick.lr >= 0 and tick.phase for tick in record)
    assert all(type(tick).from_json(json.loads(json.dumps(tick.to_json()))).to_json() for tick in record)


@every_method
@every_task
def test_the_quality_makes_sense(method: Method, name: str) -> None:
    path = whole_path(method, name)
    quality: Quality = path.quality
    t = quality.column("t")
    assert (t[0], t[-1]) == (0.0, 1.0) and (np.diff(t) >= 0).all() and len(t) == 2 * (len(path.knots) - 1) + 1
    assert quality.maximum == quality.column("train").max() and quality.goal == path.cost.goal
    ends = [quality.ends["A"].train, quality.ends["last" if method == ASTRAY else "B"].train]
    assert quality.maximum >= max(ends) > 0  # type: ignore[type-var, operator]
    assert ((quality.column("train_accuracy") >= 0) & (quality.column("train_accuracy") <= 1)).all()
    assert all(row.test is None for row in quality.rows) and quality.ends["B"].test is not None
    summary = json.loads(json.dumps(quality.summary()))
    assert summary["connected"] is quality.connected and len(summary["criteria"]) == 3
    assert quality.criteria[0].holds is (quality.maximum <= quality.goal)  # type: ignore[operator]
    assert (quality.pick("best").t == 1) if method == ASTRAY else 0.1 <= quality.pick("best").t <= 0.9
    again = measure(path, tiny.TASKS[name](), points=2)
    assert again.rows == quality.rows and again.summary() == quality.summary()


@every_method
def test_ends_and_method_are_not_touched(method: Method) -> None:
    a, b = tiny.pair("mlp")
    before, words = (clone(a), clone(b)), repr(method)
    find_path(a, b, tiny.mlp(), method, budget=100)
    assert tiny.same(a, before[0]) and tiny.same(b, before[1]) and repr(method) == words


@every_method
@every_task
def test_same_seed_same_bits(method: Method, name: str) -> None:
    torch.manual_seed(hash(method) % 1000)  # the user's generator has no part in it
    assert same_path(found(method, name), whole_path(method, name))


@every_training_method
def test_another_seed_is_another_path(method: Method) -> None:
    assert not same_path(whole_path(method, "conv"), found(method, "conv", seed=1))


@every_method
@pytest.mark.parametrize("budget", [1, 8])
def test_a_budget_that_is_spent_leaves_a_path_all_the_same(method: Method, budget: int) -> None:
    a, b = tiny.pair("conv")
    budget = max(budget, method.terms(tiny.conv()).least)  # a schedule refuses less than it needs
    path = found(method, "conv", budget=budget)
    whole = sum(tick.steps for tick in whole_path(method, "conv").record)
    assert path.cost.gradient_steps == min(budget, whole)  # too small for a look at the line
    assert path.outcome in (Outcome.BUDGET, Outcome.TRAINED) or path.cost.gradient_steps == whole
    assert ends_rightly(path, method, a, b)
    assert measure(path, tiny.conv(), points=2).maximum == path.quality.maximum < math.inf


@every_training_method
@pytest.mark.parametrize(("name", "stop"), [("mlp", 1), ("mlp", 8), ("conv", 3)])
def test_a_search_that_was_stopped_ends_with_the_same_bits(method: Method, name: str, stop: int) -> None:
    whole = whole_path(method, name)
    recorder = Recorder(min(stop, len(whole.record)), stop=True)  # its first event is the start
    with pytest.raises(InterruptedRun):
        found(method, name, callbacks=[recorder])
    (taken,) = recorder.taken.values()
    assert same_path(found(method, name, **resuming(taken)), whole)


@every_method
@pytest.mark.parametrize("after", [0, 3])
def test_a_loss_that_turns_nan_is_survived(method: Method, after: int) -> None:
    """8 calls measure the ends. A walk keeps what it has; what is trained as a whole is lost, and says so."""
    a, b = tiny.pair("mlp")
    path = found(method, "mlp", nan_after(tiny.mlp(), 8 + after))
    assert path.outcome is UNTRAINED.get(method, Outcome.DIVERGED)
    low = method == PLACED  # B's units stay as they were matched, and that line is low here
    assert ends_rightly(path, method, a, b) and path.quality.connected is low
    sound = [all(t.isfinite().all() for t in knot.values()) for knot in path.knots]
    assert sound[0] and sound[-1] and (all(sound) or path.quality.maximum == math.inf)
    assert all(t.isfinite().all() for t in path.quality.pick("best").weights.values())
    json.dumps(path.quality.summary())


@every_method
def test_a_task_without_validation_test_data_or_answers_is_enough(method: Method) -> None:
    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    bare = replace(tiny.mlp(), validation=None, test=None, objective=objective)
    path = found(method, "mlp", bare)
    assert path.quality.ends["A"].validation is None and path.quality.ends["A"].train_accuracy is None
    assert all(tiny.same(x, y) for x, y in zip(path.knots, whole_path(method).knots, strict=True))


@pytest.mark.parametrize("name", known())
def test_a_search_is_the_same_by_name_and_by_value(name: str) -> None:
    a, b = tiny.pair("mlp")
    path = find_path(a, b, tiny.mlp(), name, budget=24, points=2)
    assert same_path(path, find_path(a, b, tiny.mlp(), make_method(name), budget=24, points=2))


@every_method
def test_callbacks_hear_every_tick_and_see_the_path_as_it_stands(method: Method) -> None:
    lengths: list[int] = []
    ticks: list[Tick] = []

    class Listener(Callback):
        def on_tick(self, search: Searching, tick: Tick) -> None:
            ticks.append(tick)
            lengths.append(len(search.path().knots))

    path = found(method, callbacks=[Listener()])
    assert ticks == list(path.record) and all(n >= 2 for n in lengths)
    looked = path.cost.rate.steps if path.cost.rate else 0
    assert [t.gradient_steps for t in ticks] == list(looked + np.cumsum([t.steps for t in ticks]))
    assert all(before.stretch <= after.stretch for before, after in pairwise(ticks))
