"""What the server computes on a small set of its own."""

from collections.abc import Sequence

from flwr.app import ArrayRecord

from llpf_flower.arrays import to_arrays, to_weights
from llpf_plugin.evaluation.point import Score, evaluate, reestimate, score
from llpf_plugin.geometry.weights import assign, buffers
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Gradient


def reestimated(task: Task, arrays: ArrayRecord, compute: Compute | None = None) -> ArrayRecord:
    """The model with its running statistics replaced by those of the task's training data."""
    gradient = Gradient(task, compute)
    assign(gradient.model, to_weights(arrays))
    reestimate(gradient)
    return ArrayRecord({**arrays, **to_arrays(buffers(gradient.model))})


def loss(task: Task, arrays: ArrayRecord, compute: Compute | None = None) -> Score:
    """The model's score on the task's training data, with the running statistics that it came with."""
    gradient = Gradient(task, compute)
    assign(gradient.model, to_weights(arrays))
    return score(gradient, gradient.task.train)


def barrier(
    task: Task, arrays: ArrayRecord, models: Sequence[tuple[ArrayRecord, float]], compute: Compute | None = None
) -> float:
    """The model's loss above the weighted mean of the clients' own, every model with statistics re-estimated."""
    gradient = Gradient(task, compute)
    total = sum(weight for _, weight in models)

    def measured(record: ArrayRecord) -> float:
        found = evaluate(gradient, to_weights(record), {"train": gradient.task.train})[0]["train"]
        assert found is not None
        return found.loss

    return measured(arrays) - sum(measured(record) * weight for record, weight in models) / total
