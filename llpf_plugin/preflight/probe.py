"""Looking at a task's model before any work: what it computes on a few examples, after which all is as it was."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from llpf_plugin.documents import quoted
from llpf_plugin.errors import TaskError
from llpf_plugin.evaluation.point import borrowed
from llpf_plugin.order.trace.inputs import Inputs
from llpf_plugin.ranks.group import alone
from llpf_plugin.tasks.batches import Batch
from llpf_plugin.tasks.foreign import each
from llpf_plugin.workspace import Workspace


@contextmanager
def probing(workspace: Workspace) -> Iterator[None]:
    """Weights, buffers, modes and ``requires_grad`` of the model, and the random numbers to come, are put back.

    Every rank looks by itself, whenever it does.
    """
    model = workspace.model
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(p, p.requires_grad) for p in model.parameters()]
    devices = [workspace.device] if workspace.device.type == "cuda" else []
    # Importing the compiler takes two seconds: where nobody did, nothing is compiled.
    eager = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    try:
        with alone(), borrowed(workspace), torch.random.fork_rng(devices), eager:
            yield
    finally:
        model.zero_grad(set_to_none=True)
        for module, training in modes:
            module.training = training
        for p, flag in wanted:
            p.requires_grad_(flag)


def scored(workspace: Workspace, batch: Batch, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Loss and correct answers of the model as it stands, on a copy of a batch, with the random numbers of a seed."""
    torch.manual_seed(seed)
    copy = Inputs((batch,)).map(torch.clone).args[0]
    with workspace.autocast():
        return workspace.task.score(copy)


def first_batch(workspace: Workspace) -> Batch:
    """The first unaugmented training examples, as many as a gradient step takes.

    Raises:
        TaskError: there are none.
    """
    task, size = workspace.task, workspace.batch_size
    for batch in each(f"reading the training data of {quoted(task.name)}", lambda: task.train.batches(size, size)):
        return batch
    raise TaskError("the training data give no batch: they are empty, or can be gone through only once")
