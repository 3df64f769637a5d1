"""The ends of a search: their losses, as the path is judged and as settling sees them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from helpers import tiny
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from llpf_plugin import Task
from llpf_plugin.evaluation import batch_loss, measure_ends, train_loss
from llpf_plugin.geometry.weights import clone, coordinates
from llpf_plugin.workspace import Workspace


@pytest.mark.parametrize("make", [tiny.mlp, tiny.conv])
def test_the_ends_are_measured_on_every_split(make: Callable[[], Task]) -> None:
    task = make()
    a, b = tiny.pair(task.name.partition("/")[2])
    workspace = Workspace(task)
    found = measure_ends(workspace, a, b, sample=40)
    assert (found.A.train, found.B.train) == (train_loss(workspace, a, 40), train_loss(workspace, b, 40))
    assert found.batch == max(batch_loss(workspace, a), batch_loss(workspace, b))
    assert found.A.validation is not None and found.A.test is not None


def test_the_ends_are_also_measured_with_the_statistics_that_they_came_with() -> None:
    (a, b), task = tiny.pair("conv"), tiny.conv()
    b = {**b, "bn1.running_mean": b["bn1.running_mean"] + 1}
    found = measure_ends(Workspace(task), a, b, sample=None)
    right = tiny.conv().model
    right.load_state_dict(b)
    inputs, targets = task.test.inputs, task.test.targets
    assert found.saved["B as saved"].test == pytest.approx(float(cross_entropy(right.eval()(inputs), targets).detach()))
    assert found.saved["B as saved"].test > 1.1 * found.B.test
    assert tiny.same(task.model.state_dict(), a)


def test_without_running_statistics_there_is_nothing_to_compare() -> None:
    assert measure_ends(Workspace(tiny.mlp()), *tiny.pair("mlp"), sample=None).saved == {}


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
