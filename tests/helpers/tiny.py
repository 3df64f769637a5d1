"""Tiny tasks that train in well under a second: what the tests of the walk stand on."""

from functools import cache

import torch
from torch import Tensor, nn

from llpf_plugin.geometry.weights import Weights, clone
from llpf_plugin.tasks.data import TensorData
from llpf_plugin.tasks.recipe import Recipe
from llpf_plugin.tasks.task import Defaults, Task
from llpf_plugin.training import train


def clusters(n: int, features: int, seed: int, classes: int = 3, spread: float = 0.35) -> tuple[Tensor, Tensor]:
    """Inputs ``[n, features]`` around two centres a class, which no linear model separates, and targets ``[n]``."""
    centres = torch.randn(2 * classes, features, generator=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(seed)
    which = torch.arange(n) % len(centres)
    return centres[which] + spread * torch.randn(n, features, generator=rng), which % classes


def splits(shape: tuple[int, ...], n: int = 96) -> dict[str, TensorData]:
    """Three splits of inputs ``[n, *shape]``."""
    features = int(torch.tensor(shape).prod())
    drawn = {s: clusters(n, features, seed) for seed, s in enumerate(("train", "validation", "test"), start=1)}
    return {s: TensorData(x.view(-1, *shape), y) for s, (x, y) in drawn.items()}


def mlp() -> Task:
    """Two linear layers on points with six features."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

    return Task(build(), name="tiny/mlp", defaults=Defaults(32, lr=0.1), build=build, **splits((6,)))


class ConvNet(nn.Module):
    """Two convolutions with BatchNorm, dropout, and a linear head, on ``[n, 1, 5, 5]``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(8 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1, 5, 5] → [n, 3]``."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.fc(self.dropout(x.flatten(1)))


def conv() -> Task:
    """A convolutional network with BatchNorm and dropout on images of 5 × 5 pixels."""
    defaults = Defaults(32, lr=0.05, tolerance=0.1)
    recipe = Recipe(epochs=20)
    return Task(ConvNet(), name="tiny/conv", defaults=defaults, recipe=recipe, build=ConvNet, **splits((1, 5, 5)))


TASKS = {"mlp": mlp, "conv": conv}


@cache
def trained(name: str, seed: int, weight_decay: float = 0.0) -> Weights:
    return train(TASKS[name](), seed, weight_decay=weight_decay)


def pair(name: str) -> tuple[Weights, Weights]:
    """Two state dicts of a tiny task, trained from two seeds; fresh copies."""
    return clone(trained(name, 1)), clone(trained(name, 2))


def apart(name: str) -> tuple[Weights, Weights]:
    """Two state dicts on other variance spheres: the second was trained with a strong weight decay; fresh copies."""
    return clone(trained(name, 1)), clone(trained(name, 2, 0.02))


def same(a: Weights, b: Weights) -> bool:
    """Whether two sets of weights hold the same names and the same bits."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
