"""What trained methods share: the learning rate's fall, ticks within the budget, and the optimizer's tensors."""

import math

import pytest
import torch
from helpers import tiny
from helpers.problems import problem

from llpf_plugin import AutoNEB, Bezier, Finetune, Linear, Method, SphereCurve, find_path
from llpf_plugin.geometry import select
from llpf_plugin.methods import Outcome
from llpf_plugin.methods.finetune import KNOTS, Finetuning
from llpf_plugin.methods.trained import TICK, allowed, cooled, load_optimizer, optimizer_tensors, outcome_of, tick_of
from llpf_plugin.workspace import Workspace


def test_the_learning_rate_is_flat_then_falls_to_a_hundredth() -> None:
    assert [cooled(2.0, x) for x in (0.0, 0.5)] == [2.0, 2.0]
    assert cooled(2.0, 0.7) == pytest.approx(2.0 * (1 - 0.5 * 0.99))
    assert [cooled(2.0, x) for x in (0.9, 1.0)] == pytest.approx([0.02, 0.02])


@pytest.mark.parametrize(
    ("done", "loss", "outcome"),
    [(5, 0.1, None), (10, 0.1, Outcome.TRAINED), (11, 0.1, Outcome.TRAINED), (5, math.nan, Outcome.DIVERGED)],
)
def test_how_training_stands(done: int, loss: float, outcome: Outcome | None) -> None:
    assert outcome_of(done, loss, 10) is outcome
    assert outcome_of(10, math.inf, 10) is Outcome.DIVERGED


def test_a_tick_is_ten_steps_within_what_is_left() -> None:
    workspace = Workspace(tiny.mlp())
    assert [allowed(workspace, left) for left in (100, 10, 3)] == [TICK, 10, 3]
    workspace.budget = 4
    assert [allowed(workspace, left) for left in (100, 3)] == [4, 3]


def test_the_tick_of_some_steps_by_hand() -> None:
    tick = tick_of("bezier", 20, 100, [torch.tensor(x) for x in (4.0, 2.0, 1.5)], 0.1, pivots=7)
    assert (tick.phase, tick.tick, tick.gap, tick.steps) == ("bezier", 20, 77.0, 3)
    assert (tick.first_loss, tick.settled_loss, tick.lr, tick.pivots) == (4.0, 2.5, 0.1, 7)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_an_optimizer_is_loaded_as_it_was_saved(kind: type[torch.optim.Optimizer]) -> None:
    def make() -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
        leaves = [torch.ones(3, requires_grad=True), torch.ones(2, 2, requires_grad=True)]
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return leaves, kind(leaves, lr=0.1, **options)  # type: ignore[call-arg, arg-type]

    def step(leaves: list[torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
        for i, leaf in enumerate(leaves):
            leaf.grad = leaf.detach() * (i + 1)
        optimizer.step()

    first, one = make()
    step(first, one)
    saved = {k: t.clone() for k, t in optimizer_tensors(one).items()}
    assert saved and all(k.startswith("optimizer.") for k in saved)
    second, other = make()
    for mine, theirs in zip(second, first, strict=True):
        mine.data.copy_(theirs.data)
    load_optimizer(other, {**saved, "point.weight": torch.zeros(1)})
    for leaves, optimizer in ((first, one), (second, other)):
        step(leaves, optimizer)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


@pytest.mark.parametrize(("steps", "knots"), [(200, KNOTS), (100, KNOTS), (30, 3), (10, 1)])
def test_finetuning_leaves_ten_knots_or_one_a_tick(steps: int, knots: int) -> None:
    bound = problem(tiny.mlp(), *tiny.pair("mlp"))
    solver = Finetuning(bound, steps)
    state, outcome, found = solver.init(bound.start, bound.end), None, 0
    while outcome is None:
        step = solver.step(state)
        state, outcome, found = step.state, step.outcome, found + step.knot
    assert found == knots and outcome is Outcome.TRAINED and bound.workspace.steps == steps


def test_finetuning_is_no_way_to_b() -> None:
    path = find_path(*tiny.pair("conv"), tiny.conv(), Finetune(steps=40))
    assert path.open and path.quality.criteria[1].holds is None and not path.quality.connected
    assert path.quality.ends["B"].train == find_path(*tiny.pair("conv"), tiny.conv(), Linear()).quality.ends["B"].train
    for which in ("best", "end"):
        tuned = path.quality.pick(which)
        assert tuned.t == 1 and tiny.same(select(tuned.weights, path.knots[-1]), path.knots[-1])
    assert tuned.scores["train"].loss < path.quality.ends["A"].train + 0.01


def test_what_finetuning_did_within_the_budget_is_not_lost() -> None:
    """The budget ends before the tenth of the steps that makes a knot."""
    path = find_path(*tiny.pair("mlp"), tiny.mlp(), Finetune(steps=1000), budget=7)
    assert path.outcome is Outcome.BUDGET and path.length > 0


def test_the_finetuned_model_has_the_buffers_of_a() -> None:
    task, (a, b) = tiny.conv(), tiny.pair("conv")
    path = find_path(a, b, task, Finetune(steps=20))
    assert all(torch.equal(tensor, a[name]) for name, tensor in path.at(1).items() if name not in path.knots[0])


@pytest.mark.parametrize("method", [SphereCurve(steps=120), Bezier(steps=120), AutoNEB(steps=120)])
@pytest.mark.parametrize("name", tiny.TASKS)
def test_trained_paths_are_lower_than_the_line(method: Method, name: str) -> None:
    line, path = (find_path(*tiny.pair(name), tiny.TASKS[name](), m) for m in (Linear(), method))
    assert path.outcome is Outcome.TRAINED and path.cost.gradient_steps == 120 + path.cost.rate.steps
    assert path.quality.maximum < 0.5 * line.quality.maximum
    assert path.quality.criteria[1].holds is None and 1 <= path.length_ratio < 2
    assert line.outcome is Outcome.STRAIGHT and line.cost.gradient_steps == 0 and len(line.knots) == 2


@pytest.mark.parametrize("method", [SphereCurve(), Finetune(), AutoNEB()])
def test_the_budget_is_what_is_trained_by_default(method: Method) -> None:
    path = find_path(*tiny.pair("mlp"), tiny.mlp(), method, budget=30)
    assert path.cost.gradient_steps == 30 and path.outcome is Outcome.TRAINED
