"""The goal of a search, and the losses of the ends that it is measured against."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from helpers import tiny
from torch import Tensor, nn

from llpf_plugin import LLPFError
from llpf_plugin.evaluation import Ends, Goal, batch_loss, goal_of, measure_ends, train_loss
from llpf_plugin.geometry.weights import clone, coordinates, select
from llpf_plugin.methods import Problem
from llpf_plugin.records import Row
from llpf_plugin.workspace import Workspace


def ends(a: float | None, b: float | None, batch: float = 0.5) -> Ends:
    return Ends(Row(train=a), Row(train=b), batch)


def test_the_goal_by_hand() -> None:
    assert goal_of(0.3, None, ends(0.1, 0.2), 9.0) == Goal(loss=0.3, ends=0.2, batch=0.5)
    assert goal_of(None, 0.05, ends(0.1, 0.2), 9.0).loss == pytest.approx(0.25)
    assert goal_of(None, None, ends(0.2, 0.1), 1.0).loss == pytest.approx(1.2)
    assert Goal(loss=0.3, ends=0.2, batch=0.5).room == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("wish", "a", "b", "message"),
    [
        (0.15, 0.1, 0.2, r"max_loss = 0\.15 must exceed the training loss of B itself, 0\.2: raise it"),
        (0.2, 0.2, 0.1, r"of A itself, 0\.2"),
        (0.2, math.inf, 0.1, "of A itself, inf"),
    ],
)
def test_a_goal_that_an_end_does_not_meet_is_refused(wish: float, a: float, b: float, message: str) -> None:
    with pytest.raises(LLPFError, match=message):
        goal_of(wish, None, ends(a, b), 1.0)


@pytest.mark.parametrize(("a", "b"), [(math.nan, 0.1), (0.1, math.nan), (None, 0.1), (0.1, None)])
@pytest.mark.parametrize("wish", [0.5, None])
def test_an_end_without_a_loss_is_refused(a: float | None, b: float | None, wish: float | None) -> None:
    """Whatever the other one's loss is: nothing can be said of a path that begins or ends where there is no loss."""
    with pytest.raises(LLPFError, match=f"the training loss of {'B' if b != b or b is None else 'A'} itself, nan"):
        goal_of(wish, None, ends(a, b), 1.0)


@pytest.mark.parametrize("make", [tiny.mlp, tiny.conv])
def test_the_ends_are_measured_from_their_coordinates(make: Callable[[], tiny.Task]) -> None:
    task = make()
    name = task.name.partition("/")[2]
    a, b = (select(w, coordinates(task.model)) for w in tiny.pair(name))
    workspace = Workspace(task)
    found = measure_ends(workspace, a, b, sample=40)
    assert (found.A.train, found.B.train) == (train_loss(workspace, a, 40), train_loss(workspace, b, 40))
    assert found.batch == max(batch_loss(workspace, a), batch_loss(workspace, b))
    assert found.A.validation is not None and found.A.test is None


def test_the_mini_batch_loss_is_that_of_train_mode_and_counts_no_step() -> None:
    """The mean of four batches: 1, 2, 3, 4 in train mode."""
    seen = []

    def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        seen.append(model.training)
        return model(batch[0]).sum() * 0 + len(seen)

    task = replace(tiny.mlp(), objective=objective)
    workspace = Workspace(task)
    workspace.steps, workspace.budget = 7, 7
    before = clone(task.model.state_dict())
    moved = {k: t + 1 for k, t in coordinates(task.model).items()}
    assert batch_loss(workspace, moved) == 2.5 and seen == [True] * 4
    assert (workspace.steps, workspace.budget) == (7, 7) and tiny.same(task.model.state_dict(), before)
    assert all(p.grad is None for p in task.model.parameters())


def test_the_steps_of_a_method_that_trains_are_those_asked_for_or_the_budget() -> None:
    workspace = Workspace(tiny.mlp())
    problem = Problem(workspace, {}, {}, Goal(1.0, 0.5, 0.5), 0.1, 0.0)
    assert problem.steps(12) == 12 and problem.steps(None) == 1
    workspace.budget = 30
    assert problem.steps(None) == 30 and problem.steps(12) == 12


def test_ends_are_read_like_mappings_and_written_as_json() -> None:
    found = ends(0.1, 0.2)
    assert found["A"]["train"] == 0.1 and found.to_json()["B"]["train"] == 0.2
    assert torch.tensor(found["batch"]) == 0.5
