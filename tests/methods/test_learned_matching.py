"""Learned matching by itself: the line gets lower, its end computes what B does, a run's folder has that end."""

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.problems import problem
from torch import Tensor, nn

from llpf_plugin import Defaults, LLPFError, Recipe, Task, align, find_path
from llpf_plugin.evaluation import losses_on_line
from llpf_plugin.geometry import Weights, clone, coordinates
from llpf_plugin.methods import LearnedMatching
from llpf_plugin.runs import Asked, RunFolder, open_run
from llpf_plugin.tasks.digits import transformer
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace


@cache
def pair() -> tuple[Task, Weights, Weights]:
    """A transformer on digits with one layer of 16, trained from two seeds."""
    task = transformer(width=16, depth=1, heads=2)
    task = replace(task, recipe=replace(task.recipe, epochs=20))
    return task, *(train(task, seed) for seed in (1, 2))


def middle(task: Task, a: Weights, b: Weights) -> float:
    return losses_on_line(Workspace(task), a, b, 2)[1]


def test_the_middle_of_the_line_gets_lower_than_by_matching_weights() -> None:
    task, a, b = pair()
    matched = align(a, b, task).weights
    path = find_path(a, b, task, LearnedMatching(steps=60), points=2)
    plain, by_weights, learned = (middle(task, a, end) for end in (b, matched, path.end))
    assert learned < 0.6 * by_weights < 0.6 * plain and path.cost.gradient_steps == 60
    assert len(path.knots) == 2 and path.equivalent and not path.open


def test_the_end_of_the_path_computes_what_b_does() -> None:
    task, a, b = pair()
    end = find_path(a, b, task, LearnedMatching(steps=30), points=2).end
    assert end.keys() == b.keys() and not tiny.same(end, b)
    inputs, outputs = task.train.batch(64, 0, 0)[0].double(), list[Tensor]()
    for weights in (b, end):
        task.model.load_state_dict(weights)
        outputs.append(task.model.double().eval()(inputs))
        task.model.float()
    assert torch.allclose(*outputs, rtol=1e-3, atol=1e-4)


def test_a_runs_folder_has_the_end_with_its_running_statistics(tmp_path: Path) -> None:
    a, b = tiny.pair("conv")
    b["bn1.running_mean"] += torch.arange(6.0)  # of other orders of units they would be others
    folder = RunFolder(tmp_path)
    names = coordinates(tiny.conv().model)
    rest = [{k: t for k, t in w.items() if k not in names} for w in (a, b)]
    folder.create(Asked("a", "b", "tiny", method="learned-matching"), *rest)
    options = {"knots": folder.knots, "callbacks": [folder]}
    path = find_path(a, b, tiny.conv(), LearnedMatching(steps=5), points=2, **options)  # type: ignore[arg-type]
    again = open_run(tmp_path)
    assert tiny.same(again.path.end, path.end) and again.path.equivalent
    assert all(tiny.same(x, y) for x, y in zip(again.path.knots, path.knots, strict=True))
    assert not torch.equal(path.end["bn1.running_mean"], b["bn1.running_mean"])
    assert torch.equal(path.end["bn1.running_mean"].sort().values, b["bn1.running_mean"].sort().values)
    assert not any("end B" in note for note in again.notes)


def test_the_solver_takes_its_gradients_in_the_middle_and_its_rate_falls() -> None:
    bound = problem(tiny.mlp(), *tiny.pair("mlp"))
    plan = LearnedMatching(steps=20, rate=0.02).bind(bound)
    solver = plan.solver(plan.stretches[0])
    state = solver.init(clone(bound.start), clone(bound.end))
    first = solver.step(state)
    second = solver.step(first.state)
    assert first.tick is not None and second.tick is not None
    assert first.tick.lr == pytest.approx(0.02) and second.tick.lr == pytest.approx(0.01)
    assert first.outcome is None and second.outcome is not None


def test_a_network_without_symmetries_is_refused() -> None:
    build = partial(nn.Linear, 6, 3)
    data = tiny.splits((6,))
    task = Task(build(), name="tiny/linear", defaults=Defaults(32), recipe=Recipe(2), build=build, **data)
    a, b = (train(task, seed) for seed in (1, 2))
    with pytest.raises(LLPFError, match="nothing to learn"):
        find_path(a, b, task, "learned-matching")
