"""What ranks do in tests: functions that a process of its own can import."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import commands, tiny
from llpf_plugin import LLPF, find_path
from llpf_plugin.errors import InterruptedRun
from llpf_plugin.evaluation.point import glance, measure_point
from llpf_plugin.geometry.weights import Weights, clone
from llpf_plugin.ranks import current
from llpf_plugin.records import Row, Tick
from llpf_plugin.search import Callback, Searching
from llpf_plugin.tasks import Task, TensorData
from llpf_plugin.workspace import Workspace


class Trail(Callback):
    """Collects where a walk stands after every tick, until it has taken so many steps or made so many ticks."""

    def __init__(self, steps: int, ticks: int) -> None:
        self.steps, self.ticks, self.weights = steps, ticks, list[Weights]()

    def on_tick(self, search: Searching, tick: Tick) -> None:
        """Copy the weights."""
        self.weights.append(clone(dict(search.workspace.model.named_parameters())))
        search.stop = search.workspace.steps >= self.steps or len(self.weights) == self.ticks


class HalvedConvNet(tiny.ConvNet):
    """In training mode normalizes the two halves of a batch apart, as two ranks do."""

    def forward(self, x: Tensor) -> Tensor:
        """As of `tiny.ConvNet`."""
        parts = x.tensor_split(2) if self.training else [x]
        return torch.cat([super(HalvedConvNet, self).forward(part) for part in parts])


def in_float64(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Mean cross-entropy; the built-in objective rounds scores to float32."""
    return F.cross_entropy(model(batch[0]), batch[1])


def mlp64() -> Task:
    """The tiny MLP and its data in float64."""
    task = tiny.mlp()
    for data in (task.train, task.validation, task.test):
        data.inputs = data.inputs.double()  # type: ignore[union-attr]
    return replace(task, model=task.model.double(), objective=in_float64)


def conv(halved: bool = False) -> Task:
    """The tiny convolutional network, without dropout."""
    task = tiny.conv()
    model = HalvedConvNet() if halved else tiny.ConvNet()
    model.dropout.p = 0.0
    return replace(task, model=model)


TASKS = {"mlp": tiny.mlp, "mlp64": mlp64, "conv": conv, "halved": lambda: conv(True)}


def trail(name: str, ends: Sequence[Weights], schedule: str, steps: int = 10**9, ticks: int = 10**9) -> list[Weights]:
    """Where a walk of a schedule stands after every tick of its first ones."""
    found = Trail(steps, ticks)
    with suppress(InterruptedRun):
        find_path(*ends, TASKS[name](), LLPF(schedule=schedule), max_loss=1.0, callbacks=[found])
    return found.weights


def farthest(one: list[Weights], other: list[Weights]) -> float:
    """The largest difference of two trails of the same length."""
    pairs = [(p[k], q[k]) for p, q in zip(one, other, strict=True) for k in p]
    return max(float((x - y).abs().max()) for x, y in pairs)


def rank() -> tuple[int, int]:
    """Which rank this is, of how many."""
    return current().rank, current().size


class Forked(nn.Module):
    """A layer for small inputs, one for large ones, and one for none."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large, self.none = (nn.Parameter(torch.ones(3)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 3] → [n]``."""
        parts = [x[x[:, 0] < 0] * self.small if bool((x[:, 0] < 0).any()) else None]
        parts += [x[x[:, 0] >= 0] * self.large if bool((x[:, 0] >= 0).any()) else None]
        return torch.cat([part for part in parts if part is not None]).sum(1)


def gradients() -> tuple[float, dict[str, Tensor | None]]:
    """Loss and gradients of a batch whose first four examples take one way and whose last three another."""
    x = torch.arange(21.0).view(7, 3) / 10 + 1
    x[:4] *= -1
    data = TensorData(x, torch.zeros(7))
    data.batch = lambda size, seed, step: (x, torch.zeros(7))  # type: ignore[method-assign]
    task = Task(Forked(), data, objective=lambda model, batch: model(batch[0]).square().mean(), name="forked")
    workspace = Workspace(task, batch_size=7)
    loss = workspace.loss()
    workspace.backward(loss)
    return float(loss.detach()), {k: p.grad for k, p in workspace.model.named_parameters()}


class Normalized(nn.Module):
    """Batch and instance normalization, in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.batch = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.instance = nn.InstanceNorm2d(4, track_running_stats=True)
        self.fc = nn.Linear(4 * 9, 3)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1, 5, 5] → [n, 3]``."""
        return self.fc(self.instance(torch.relu(self.batch(self.conv(x)))).flatten(1))


def measured(sample: int | None, batch: int) -> tuple[Row, dict[str, Tensor], list[float], int]:
    """A point measured, its buffers, the losses of a glance, and the examples that all ranks together sent through."""
    torch.manual_seed(3)
    workspace = Workspace(replace(tiny.conv(), model=Normalized()))
    workspace.__class__ = type("Few", (Workspace,), {"eval_batch": batch})  # so that there are several batches
    weights = clone(dict(workspace.model.named_parameters()))
    row = measure_point(workspace, weights, sample, ("train", "validation", "test"))
    answers = glance(workspace, weights, 60, 13)
    passes = sum(spent.forward_passes for spent in workspace.clock.spent().values())
    return row, clone(dict(workspace.model.named_buffers())), [float(a.loss) for a in answers], passes


def command(words: Sequence[str], environment: Mapping[str, str] | None = None, join: float = 45.0) -> commands.Result:
    """``llpf``, as every rank runs it; ``{rank}`` in its words is the number of the rank."""
    os.environ.update(environment or {})
    with mock.patch("llpf_plugin.ranks.join.JOIN", join):
        return commands.llpf(*(word.replace("{rank}", os.environ["RANK"]) for word in words))
