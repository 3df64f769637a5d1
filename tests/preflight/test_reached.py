"""Which parameters the data reach: by their gradient, or because the loss changes with them."""

import random
from collections.abc import Callable

import pytest
import torch
from helpers import tiny
from torch import Tensor, nn

from llpf_plugin import LoaderData, Task, TensorData
from llpf_plugin.errors import TaskError
from llpf_plugin.geometry import Weights, clone
from llpf_plugin.preflight import say_unreached, unreached, with_what_belongs
from llpf_plugin.tasks import Data
from llpf_plugin.workspace import Compute, Workspace

X = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Net(nn.Module):
    """One layer that is used, and one that subclasses use, or not."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.other = nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


class ThrownAway(Net):
    def forward(self, x: Tensor) -> Tensor:
        self.other(x)
        return self.used(x)


class NoGradient(Net):
    """A backbone that is only looked through."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.other(x)
        return self.used(x) + hidden


class Compared(Net):
    """A gate: a comparison has no gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) * (self.other(x) > 0)


class InTrainingOnly(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) + (self.other(x) if self.training else 0)


class InEvaluationOnly(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) + (0 if self.training else self.other(x))


class ForOneExample(Net):
    """An expert for the 250th example alone."""

    def forward(self, x: Tensor) -> Tensor:
        own = (x == X[249]).all(1)
        return self.used(x).index_add(0, own.nonzero()[:, 0], self.other(x[own])) if own.any() else self.used(x)


class WhereBIs(Net):
    """Used by the model whose first layer has a bias above 9."""

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) + (self.other(x) if self.used.bias[0] > 9 else 0)


class Unrepeatable(Net):
    """Its loss is another one every time: nothing can be compared."""

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) * random.random()


class Frozen(Net):
    """Used, but not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.other.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) + self.other(x)


class Rows(Net):
    """Of an embedding, the data use two rows."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Embedding(100, 2)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) + self.other((x[:, 0] > 0).long())


def ends(model: nn.Module) -> tuple[Weights, Weights]:
    a, b = ({k: torch.randn_like(t) for k, t in model.state_dict().items()} for _ in range(2))
    if "used.bias" in b:
        a["used.bias"], b["used.bias"] = a["used.bias"].clamp(max=1), torch.full_like(b["used.bias"], 10.0)
    return a, b


def found(model: nn.Module, **splits: Data) -> list[str]:
    torch.manual_seed(0)
    task = Task(model, **{"train": TensorData(X, Y), **splits})
    return unreached(Workspace(task, Compute("cpu"), batch_size=64), *ends(model))


OTHER = ["other.weight", "other.bias"]


@pytest.mark.parametrize("network", [Net, ThrownAway])
def test_what_no_loss_depends_on_is_not_reached(network: Callable[[], nn.Module]) -> None:
    assert found(network()) == OTHER


@pytest.mark.parametrize(
    "network",
    [
        NoGradient, Compared, InTrainingOnly, InEvaluationOnly, ForOneExample, WhereBIs, Unrepeatable, Frozen, Rows,
    ],
)  # fmt: skip
def test_what_any_loss_depends_on_is_reached(network: Callable[[], nn.Module]) -> None:
    assert found(network()) == []


@pytest.mark.parametrize("name", tiny.TASKS)
def test_all_of_an_ordinary_network_is_reached(name: str) -> None:
    assert unreached(Workspace(tiny.TASKS[name](), Compute("cpu")), *tiny.pair(name)) == []


def test_validation_and_test_data_count_as_well() -> None:
    """The 250th example may be in any split."""
    first, rest = TensorData(X[:200], Y[:200]), TensorData(X[200:], Y[200:])
    assert found(ForOneExample(), train=first) == OTHER
    assert found(ForOneExample(), train=first, validation=rest) == []
    assert found(ForOneExample(), train=first, validation=first, test=rest) == []


def test_what_is_the_same_in_both_is_not_looked_at() -> None:
    model = Net()
    a, b = ends(model)
    b["other.bias"] = a["other.bias"].clone()
    task = Task(model, TensorData(X, Y))
    assert unreached(Workspace(task, Compute("cpu")), a, b) == ["other.weight"]


def test_a_loss_without_a_gradient_is_looked_at_all_the_same() -> None:
    def errors(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (model(batch[0]).argmax(1) != batch[1]).float().mean()

    model = Net()
    task = Task(model, TensorData(X, Y), objective=errors)
    assert unreached(Workspace(task, Compute("cpu")), *ends(model)) == OTHER


def test_all_is_left_as_it_was() -> None:
    model = Frozen()
    before, state = clone(model.state_dict()), torch.get_rng_state()
    workspace = Workspace(Task(model, TensorData(X, Y)), Compute("cpu"))
    unreached(workspace, *ends(model))
    torch.set_rng_state(state)
    given = ends(model)
    now = torch.get_rng_state()
    unreached(workspace, *given)
    assert tiny.same(before, model.state_dict()) and torch.equal(now, torch.get_rng_state())
    assert [p.requires_grad for p in model.parameters()] == [True, True, False, False]
    assert all(p.grad is None for p in model.parameters()) and workspace.steps == 0


def test_further_names_and_buffers_belong_to_what_is_not_reached() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "norm": nn.BatchNorm1d(2), "tied": nn.Linear(2, 2)})
    model["tied"].weight = model["a"].weight
    belongs = with_what_belongs(model, ["a.weight", "norm.weight", "norm.bias"])
    assert set(belongs) == {
        "a.weight", "tied.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
        "norm.num_batches_tracked",
    }  # fmt: skip
    assert with_what_belongs(model, ["norm.weight"]) == ("norm.weight",)


def test_layers_are_named() -> None:
    assert say_unreached([]) == []
    (one,) = say_unreached(["head.weight", "head.bias", "scale"])
    assert one.level == "warning" and "stay those of A: head, scale." in str(one)


def test_data_that_give_no_batch_are_refused() -> None:
    model = Net()
    task = Task(model, LoaderData(iter([])))
    with pytest.raises(TaskError, match="give no batch"):
        unreached(Workspace(task, Compute("cpu")), *ends(model))
