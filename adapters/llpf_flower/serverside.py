"""What the server computes on a small set of its own."""

import math
from collections.abc import Mapping, Sequence

from flwr.app import ArrayRecord

from llpf_flower.arrays import to_arrays, to_weights
from llpf_plugin.evaluation import reestimate, score, train_loss
from llpf_plugin.geometry import assign, buffers
from llpf_plugin.tasks import Task
from llpf_plugin.workspace import Compute, Workspace


def reestimated(task: Task, arrays: ArrayRecord, compute: Compute | None = None) -> ArrayRecord:
    """The model with its running statistics replaced by those of the task's training data."""
    workspace = Workspace(task, compute)
    assign(workspace.model, to_weights(arrays))
    reestimate(workspace)
    return ArrayRecord({**arrays, **to_arrays(buffers(workspace.model))})


def barrier(
    task: Task, arrays: ArrayRecord, models: Sequence[tuple[ArrayRecord, float]], compute: Compute | None = None
) -> float:
    """The model's loss above the weighted mean of the clients' own, every model with statistics re-estimated."""
    workspace = Workspace(task, compute)
    total = sum(weight for _, weight in models)
    loss = train_loss(workspace, to_weights(arrays))
    return loss - sum(train_loss(workspace, to_weights(record)) * weight for record, weight in models) / total


def losses(
    task: Task, models: Mapping[str, ArrayRecord], compute: Compute | None = None, again: bool = False
) -> dict[str, float]:
    """The loss of each model as it would serve, on validation data, or on training data if there are none.

    Args:
        task: the server's.
        models: by name.
        compute: device and precision.
        again: whether running statistics are re-estimated first.
    """
    workspace, found = Workspace(task, compute), {}
    for name, arrays in models.items():
        assign(workspace.model, to_weights(arrays))
        if again:
            reestimate(workspace)
        loss = score(workspace, task.validation or task.train).loss
        found[name] = loss if math.isfinite(loss) else math.inf
    return found
