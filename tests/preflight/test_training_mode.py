"""A model that computes otherwise in training mode is noticed; dropout and normalization, however written, are not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import tiny
from torch import Tensor, nn

from llpf_plugin import Task, TensorData
from llpf_plugin.geometry import Weights, clone
from llpf_plugin.preflight import Finding, training_mode
from llpf_plugin.preflight.training_mode import differs_by_design
from llpf_plugin.workspace import Compute, Workspace

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Net(nn.Module):
    """Two layers, between which subclasses and ``between`` do something."""

    def __init__(self, between: nn.Module | None = None) -> None:
        super().__init__()
        self.a, self.b, self.between = nn.Linear(8, 16), nn.Linear(16, 2), between or nn.Identity()

    def inside(self, hidden: Tensor) -> Tensor:
        return hidden

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.inside(self.between(self.a(x).relu())))


class FunctionalDropout(Net):
    def inside(self, hidden: Tensor) -> Tensor:
        return F.dropout(hidden, 0.5, self.training)


class SkippedLayer(Net):
    """LayerDrop: the whole batch skips the layer, or not."""

    def inside(self, hidden: Tensor) -> Tensor:
        return hidden if self.training and torch.rand(()) < 0.5 else hidden.square()


class Jitter(Net):
    def inside(self, hidden: Tensor) -> Tensor:
        return hidden + torch.randn_like(hidden) if self.training else hidden


class StochasticDepth(nn.Module):
    """As torchvision has it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.bernoulli(torch.full((len(x), 1), 0.5)) * 2 if self.training else x


class OwnBatchStatistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_center", torch.full((16,), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        return x - (x.mean(0) if self.training else self.running_center)


def stale_batch_norm() -> nn.Module:
    norm = nn.BatchNorm1d(16)
    norm.running_mean += 5  # type: ignore[operator]
    return norm


class Halved(Net):
    def inside(self, hidden: Tensor) -> Tensor:
        return hidden / 2 if self.training else hidden


class DropoutNet(Halved):
    """What it does is its own doing, whatever it is called."""


def found(model: nn.Module, **task: Any) -> list[Finding]:
    workspace = Workspace(Task(model, TensorData(X, Y), **task), Compute("cpu"))
    ends: dict[str, Weights] = {}
    for seed, name in enumerate("AB"):
        torch.manual_seed(seed)
        ends[name] = {k: t if "running" in k or not t.is_floating_point() else torch.randn_like(t)
                      for k, t in model.state_dict().items()}  # fmt: skip
    return training_mode(workspace, ends)


QUIET: dict[str, Callable[[], nn.Module]] = {
    "nothing": Net,
    "dropout": lambda: Net(nn.Dropout(0.5)),
    "functional dropout": FunctionalDropout,
    "layers that are skipped": SkippedLayer,
    "noise": Jitter,
    "stochastic depth": lambda: Net(StochasticDepth()),
    "stale statistics": lambda: Net(stale_batch_norm()),
    "statistics of one's own": lambda: Net(OwnBatchStatistics()),
    "layer norm": lambda: Net(nn.LayerNorm(16)),
}


@pytest.mark.parametrize("name", QUIET)
def test_what_training_is_meant_to_do_is_no_finding(name: str) -> None:
    assert found(QUIET[name]()) == []


@pytest.mark.parametrize("model", [Halved(), Halved(nn.Dropout(0.5)), Halved(stale_batch_norm()), DropoutNet()])
def test_anything_else_is_said_of_both_ends_with_their_losses(model: nn.Module) -> None:
    (one,) = found(model)
    assert one.level == "warning" and "training mode" in one.what
    for end in "AB":
        assert f"{end} has a loss of " in one.where


def test_an_objective_that_looks_at_the_mode_is_noticed() -> None:
    def smoothed(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1], label_smoothing=0.3 * model.training)

    assert found(Net(), objective=smoothed)


def test_augmentation_is_not_drawn() -> None:
    data = TensorData(X, Y, augment=lambda x, rng: 0 * x)
    model = Net()
    assert training_mode(Workspace(Task(model, data), Compute("cpu")), {"A": clone(model.state_dict())}) == []


def test_only_one_of_two_ends_may_differ() -> None:
    """A layer of zeros is the same, halved."""
    model = Halved()
    torch.manual_seed(0)
    a, b = ({k: scale * torch.randn_like(t) for k, t in model.state_dict().items()} for scale in (0.0, 1.0))
    (one,) = training_mode(Workspace(Task(model, TensorData(X, Y)), Compute("cpu")), {"A": a, "B": b})
    assert one.where.startswith("B has") and "A has" not in one.where


def test_all_is_left_as_it_was() -> None:
    task, ends = tiny.conv(), dict(zip("AB", tiny.pair("conv"), strict=True))
    workspace = Workspace(task, Compute("cpu"))
    task.model.conv1.eval()
    before, modes = clone(task.model.state_dict()), [m.training for m in task.model.modules()]
    state = torch.get_rng_state()
    training_mode(workspace, ends)
    assert tiny.same(before, task.model.state_dict()) and modes == [m.training for m in task.model.modules()]
    assert torch.equal(state, torch.get_rng_state()) and workspace.steps == 0


def test_containers_are_judged_by_what_they_are_not_by_their_names() -> None:
    class NormBlock(nn.Sequential):
        pass

    assert not differs_by_design(NormBlock(nn.Linear(1, 1))) and differs_by_design(nn.GroupNorm(1, 1))
