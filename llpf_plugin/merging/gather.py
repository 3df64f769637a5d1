"""More than two models are brought into one frame before the pairs of their tree are searched.

Each stays the same function. Since nearest weights need not have the lowest loss, least of all where models saw
different data, ``auto`` looks: the frame is kept where it lowers the loss of the mean of all.
"""

from collections.abc import Sequence

from llpf_plugin.alignment.consensus import align_all, mean
from llpf_plugin.errors import OrderError
from llpf_plugin.evaluation.along_path import LINE_SAMPLE
from llpf_plugin.evaluation.point import train_loss
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.merging.reorder import Align
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Workspace


def gathered(
    models: Sequence[Weights], task: Task, align: Align, compute: Compute, sample: int | None = None
) -> tuple[Sequence[Weights], str]:
    """Models in the first one's frame, if that is kept; and one sentence about it.

    Args:
        models: more than two complete state dicts; not changed.
        task: whose loss is looked at.
        align: ``auto`` or ``always``.
        compute: device and precision.
        sample: training examples to look at.

    Raises:
        MismatchError: a weight is not finite.
        OrderError: the model cannot be traced, and ``always`` was asked for.
    """
    try:
        found = align_all(models, task.to("cpu"))
    except OrderError as error:
        if align == "always":
            raise
        return models, f"models stay in their own frames: no symmetry can be derived: {error}"
    workspace, sample = Workspace(task, compute), min(sample or LINE_SAMPLE, len(task.train))
    before, after = (train_loss(workspace, mean(group), sample) for group in (models, found.weights))
    losses = f"loss of the mean of all {before:.3g}, in one frame {after:.3g}"
    if align != "always" and not after < before:
        return models, f"models stay in their own frames: one frame did not lower the {losses}"
    return found.weights, f"models 2 to {len(models)} were {found.symmetry.done} into the first one's frame: {losses}"
