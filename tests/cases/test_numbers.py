"""What is stated is true: of the ends, of a sample, of accuracy, and of data that a model writes into."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from llpf_plugin import LLPFError, LoaderData, Task, TensorData, find_path

X = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))


def squared_error(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


class Scaled(nn.Module):
    """A linear model whose output is brought to the targets' scale by a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.scale


def test_b_is_measured_with_its_own_buffers() -> None:
    w = torch.tensor([[1.0, 0.1, 0.0, 0.0]])
    a = {"linear.weight": w, "linear.bias": torch.zeros(1), "scale": torch.ones(1)}
    b = {"linear.weight": -w / 2, "linear.bias": torch.zeros(1), "scale": -2 * torch.ones(1)}
    task = Task(Scaled(), TensorData(X, X[:, :1]), objective=squared_error)
    quality = find_path(a, b, task, method="linear", tolerance=5.0).quality
    right = float((X @ w.T - X[:, :1]).square().mean())
    assert quality.ends["A"]["train"] == pytest.approx(right)
    assert quality.ends["B"]["train"] == pytest.approx(right)


def test_a_sample_is_as_many_examples_as_it_says() -> None:
    """The loss of an example is 0 or 1: its mean over n examples is a multiple of 1/n, as it is of no other number."""
    targets = torch.zeros(100, 1)
    targets[::3] = 1
    loader = DataLoader(TensorDataset(torch.zeros(100, 4), targets), 64)
    task = Task(nn.Linear(4, 1), LoaderData(loader), objective=squared_error)
    a, b = ({"weight": torch.full((1, 4), v), "bias": torch.zeros(1)} for v in (0.1, -0.1))
    quality = find_path(a, b, task, method="linear", sample=70, tolerance=5.0).quality
    ones = quality.ends["A"]["train"] * (quality.sample or 100)
    assert ones == pytest.approx(round(ones), abs=1e-3)


def fraction_correct(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    logits = model(batch[0])
    return cross_entropy(logits, batch[1]), (logits.argmax(-1) == batch[1]).float().mean()


def test_a_fraction_of_correct_answers_is_understood_or_refused() -> None:
    y = (X[:, 0] > 0).long()
    a, b = ({"weight": torch.tensor([[-v, 0, 0, 0], [v, 0, 0, 0]]), "bias": torch.zeros(2)} for v in (1.0, 2.0))
    try:
        path = find_path(a, b, Task(nn.Linear(4, 2), TensorData(X, y), objective=fraction_correct), method="linear")
    except LLPFError as error:
        assert "correct" in str(error)
    else:
        assert path.quality.ends["A"]["train_accuracy"] == 1


class InPlace(nn.Module):
    """A model that brings its input to [−0.5, 0.5], and writes that where the input was."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        x /= 255
        return self.body(x - 0.5)


def pixels() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(256, 8, generator=rng) * 255
    return x, ((x / 255 - 0.5) @ torch.randn(8, 3, generator=rng)).argmax(1)


def in_place_end(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {name: torch.randn_like(tensor) for name, tensor in InPlace().state_dict().items()}


@pytest.mark.parametrize("what", ["losses", "data"])
def test_a_model_that_writes_into_its_input_changes_nothing(what: str) -> None:
    x, y = pixels()
    a, b, model = in_place_end(0), in_place_end(1), InPlace()
    quality = find_path(a, b, Task(model, TensorData(x, y)), method="linear", tolerance=50.0).quality
    if what == "data":
        assert torch.equal(x, pixels()[0])
        return
    for name, weights in (("A", a), ("B", b)):
        model.load_state_dict(weights)
        assert quality.ends[name]["train"] == pytest.approx(
            float(cross_entropy(model(pixels()[0]), y).detach()), rel=1e-5
        )


class Hinged(nn.Module):
    """A linear model with one more weight, which only examples of the test data look at."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.angle = nn.Linear(4, 1), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def hinged_error(model: Hinged, batch: tuple[Tensor, Tensor]) -> Tensor:
    targets, is_test = batch[1][:, :1], batch[1][:, 1].mean()
    return (model(batch[0]) - targets).square().mean() + is_test * (1 - model.angle.square()).square().squeeze()


@pytest.mark.parametrize("method", ["sphere-curve", "bezier", "autoneb"])
def test_the_test_loss_of_a_curve_is_taken_where_it_ends(method: str) -> None:
    """As of a walk, which arrives at B: both ends are perfect on test data, where the middle is bad."""
    train, test = (TensorData(X, torch.cat([X[:, :1], torch.full((100, 1), float(t))], 1)) for t in (0, 1))
    ends = [
        {"linear.weight": torch.tensor([[1.0, e, 0, 0]]), "linear.bias": torch.zeros(1), "angle": torch.tensor([s])}
        for e, s in ((0.01, 1.0), (-0.01, -1.0))
    ]
    task = Task(Hinged(), train, train, test, objective=hinged_error)
    quality = find_path(*ends, task, method=method, tolerance=0.5, budget=20).quality
    assert quality.ends["A"]["test"] < 0.01 and quality.ends["B"]["test"] < 0.01
    assert all(criterion.holds is not False for criterion in quality.criteria), quality.criteria
