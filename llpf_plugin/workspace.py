"""The workspace: a task's model on its device, with the loss and the gradient of mini-batches, counted.

Here is the only ``backward()`` of this package. Precision, compilation and memory format are options of this file and
of nothing else: a method sees a model with float32 parameters, a loss, and gradients.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from llpf_plugin.clock import Clock
from llpf_plugin.documents import quoted
from llpf_plugin.errors import TaskError
from llpf_plugin.geometry.weights import assign, clone, coordinates, select
from llpf_plugin.ranks.devices import check_device
from llpf_plugin.ranks.gradients import mean_loss, sum_gradients
from llpf_plugin.ranks.group import current
from llpf_plugin.ranks.sharding import sharded, traceable
from llpf_plugin.tasks.batches import Batch, Data, Examples, Explained, batch_size
from llpf_plugin.tasks.foreign import explained
from llpf_plugin.tasks.sampling import EVAL_BATCH, draw, generator
from llpf_plugin.tasks.shares import check_shared, same_batch, share_of
from llpf_plugin.tasks.task import Task

__all__ = [
    "Compute",
    "Workspace",
]

Precision = Literal["float32", "tf32", "bfloat16", "float16"]

CPU_BATCH = 128
"""Examples of one evaluation batch on a CPU (docs/speed.md)."""


@dataclass(frozen=True)
class Compute:
    """Where and how gradients are computed.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto`` (the first accelerator there is).
        precision: the dtype of activations (autocast); parameters stay float32 masters.
        compile: run the model through ``torch.compile``.
        channels_last: lay images and convolutions out channels last; None for whether the device is CUDA.
        shard: spread weights, gradients and what a walk keeps of them over all ranks (FSDP2).
    """

    device: str = "auto"
    precision: Precision = "float32"
    compile: bool = False
    channels_last: bool | None = None
    shard: bool = False

    def asked(self) -> dict[str, Any]:
        """What a run depends on: ranks and shards may be others when it is resumed."""
        return {
            "device": self.device, "precision": self.precision, "compile": self.compile,
            "channels_last": self.lays_out(self._resolved()),
        }  # fmt: skip

    def lays_out(self, device: torch.device) -> bool:
        """Whether images are laid out channels last on a device."""
        return device.type == "cuda" if self.channels_last is None else self.channels_last

    def resolve(self) -> torch.device:
        """The device that ``device`` means on this machine.

        Raises:
            TaskError: the device does not exist here.
            RankError: it cannot be that of one rank of several.
        """
        device = self._resolved()
        check_device(device)
        return device

    def _resolved(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise TaskError(f"the device {self.device!r} cannot be used here: {str(error).splitlines()[0]}") from error
        return device


class _Objective(nn.Module):
    """A task's objective as one module, so that its model can be lent other weights for one call."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model, self.task = task.model, task

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Loss and correct answers of one batch."""
        return self.task.score(batch)


class _Lent:
    """Weights with a graph that a sharded model has in place of its own, which cannot be called with others."""

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        self.model, self.weights = model, weights
        self.own = clone(select(coordinates(model), weights))
        assign(model, weights)

    def give_back(self) -> None:
        """After a backward pass: take the gradients on into the weights' graph, and put the model's own back."""
        parameters = dict(self.model.named_parameters())
        pairs = [(w, g) for k, w in self.weights.items() if (g := parameters[k].grad) is not None and w.requires_grad]
        torch.autograd.backward([w for w, _ in pairs], [g for _, g in pairs])
        self.model.zero_grad(set_to_none=True)
        assign(self.model, self.own)


class Workspace:
    """A task's model on its device, its stream of training batches, and a counter of gradient steps.

    Args:
        task: what is trained; its model's parameters are the weights that methods change in place.
        compute: where and how.
        seed: names the stream of training batches and of dropout masks.
        batch_size: examples of one step (default: the task's).

    Attributes:
        steps: gradient steps so far: mini-batches that went forward, whether or not the step was kept.
        budget: no step is started beyond this many, None for no limit.
        clock: seconds and forward passes so far, by what they were spent on.
        traceable: the task with a model that can be traced: its own, or one on ``meta`` where that is sharded.
    """

    def __init__(
        self, task: Task, compute: Compute | None = None, seed: int = 0, batch_size: int | None = None
    ) -> None:
        self.compute = compute or Compute()
        self.device = self.compute.resolve()
        self.traceable = task
        if self.compute.shard:
            self.traceable = replace(task, model=traceable(task.model))
            task = replace(task, model=sharded(task.model, self.device))
        self.task = task.to(self.device)
        self._lent: _Lent | None = None
        self.seed, self.batch_size = seed, batch_size or task.defaults.batch_size
        self.steps = 0
        self.budget: int | None = None
        self.clock = Clock()
        self._drawn: dict[tuple[int, int | None], tuple[Data, Examples]] = {}
        if self.compute.precision == "tf32":
            torch.set_float32_matmul_precision("high")
        if self.compute.lays_out(self.device):
            self.model.to(memory_format=torch.channels_last)
        self._objective = _Objective(self.task)
        check_shared(self.model, task.name)
        if self.compute.compile:
            self.model.compile()

    @property
    def model(self) -> nn.Module:
        """The model that methods change in place."""
        return self.task.model

    @property
    def eval_batch(self) -> int:
        """Examples of one evaluation batch: few on a CPU, where activations that fit its caches take half the time."""
        return CPU_BATCH if self.device.type == "cpu" else EVAL_BATCH

    @property
    def remaining(self) -> int | None:
        """Steps left in the budget, None without one."""
        return None if self.budget is None else max(0, self.budget - self.steps)

    def loss(self, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """The loss (0-d, with its graph) of the model in train mode on the next batch of the stream.

        Batch and dropout are functions of the seed and the number of steps so far, so that a resumed run repeats them.
        Of several ranks each takes its share of the batch, with a dropout of its own; the loss is the whole batch's.

        Args:
            weights: parameters to take the loss at instead of the model's own, by name; the graph continues into them.
        """
        with explained(f"a training batch of {quoted(self.task.name)}", TaskError):
            batch = same_batch(self.task.train, self.batch_size, self.seed, self.steps, self.device)
        self.clock.passed(batch_size(batch))
        batch, share = share_of(batch)
        # Where CUDA sleeps, torch.manual_seed formats a stack trace for every kind of device, for half a millisecond.
        own = torch.default_generator if self.device.type == "cpu" else torch
        own.manual_seed(generator("cpu", self.seed, self.steps, "dropout", *current().own).initial_seed())
        self.steps += 1
        self.model.train()
        with self.autocast():
            if weights is not None and self.compute.shard:
                self._lent = _Lent(self.model, weights)
            if weights is None or self._lent is not None:
                loss, _ = self.task.score(batch)
            else:
                loss, _ = functional_call(self._objective, {f"model.{k}": w for k, w in weights.items()}, (batch,))
        return mean_loss(loss, share)

    def backward(self, loss: Tensor, leaves: Iterable[Tensor] = ()) -> None:
        """Fresh gradients of ``loss`` in the ``grad`` of the model's parameters, or of the ``leaves`` it came from.

        Of several ranks each computes its part, and all get the sum.

        Raises:
            TaskError: the loss does not depend on them by a graph, or its gradient cannot be taken.
        """
        name, leaves = quoted(self.task.name), list(leaves)
        if not loss.requires_grad:
            raise TaskError(
                f"the loss of {name} has no gradient: return it undetached, from outside of torch.no_grad(), of a "
                "model whose parameters require gradients"
            )
        self.model.zero_grad(set_to_none=True)
        for leaf in leaves:
            leaf.grad = None
        with explained(f"the gradient of the loss of {name}", TaskError):
            loss.backward()
            if self._lent is not None:
                self._lent.give_back()
                self._lent = None
        sum_gradients(leaves or self.model.parameters())

    def examples(self, data: Data, n: int | None = None) -> Examples:
        """``n`` examples of a split (None: all), drawn once, so that every point is measured on the same ones."""
        if (id(data), n) not in self._drawn:
            what = f"reading the data of {quoted(self.task.name)}"
            with explained(what, TaskError):
                drawn = draw(data, n, self.seed)
            self._drawn[id(data), n] = data, Explained(what, drawn)  # with the data, so that no others get their id
        return self._drawn[id(data), n][1]

    def score(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Loss and correct answers (see `Task.score`) of the model as it stands, without gradient bookkeeping."""
        if current().solo:
            self.check_whole("what one rank does by itself", "llpf report does it afterwards")
        self.clock.passed(batch_size(batch))
        with self.autocast():
            return self.task.score(batch)

    def check_whole(self, what: str, remedy: str = "leave one of the two out") -> None:
        """Refuse what a model in shards cannot do.

        Raises:
            TaskError: says so.
        """
        if self.compute.shard:
            raise TaskError(f"{what} needs whole weights, and --shard spreads them over ranks: {remedy}")

    def accompany(self, batch: Batch) -> None:
        """Run the model while others score a batch, for a sharded one runs on all ranks at once."""
        with self.autocast():
            self.task.score(batch)

    def autocast(self) -> torch.autocast:
        """The context that the model runs in."""
        dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.compute.precision)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def peak_memory(self) -> int | None:
        """Bytes at most so far, allocated on a CUDA device or by the whole process; None where they are not counted."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        try:
            import resource
        except ImportError:  # Windows
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
