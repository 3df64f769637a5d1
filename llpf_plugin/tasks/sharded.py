"""A task whose model's weights lie in shards over the ranks."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from llpf_plugin.documents import quoted
from llpf_plugin.errors import OrderError, TaskError
from llpf_plugin.order.derive import layer_order
from llpf_plugin.order.phases import phases
from llpf_plugin.ranks.sharding import check_sharding, shard_
from llpf_plugin.tasks.task import Task


def traceable(task: Task) -> Task:
    """The task with a copy of its model on ``meta``, which has layers and shapes, and no values."""
    return replace(task, model=copy.deepcopy(task.model).to("meta"))


def sharded(task: Task, device: torch.device) -> Task:
    """The task with a copy of its model whose weights lie in shards on the ranks' devices.

    The repeated blocks of its layer order are gathered one by one; of a model without such an order, all at once.

    Args:
        task: the same on every rank; its own model is left as it is.
        device: of this rank.

    Raises:
        RankError: there is one rank, or the model cannot be sharded.
        TaskError: the model keeps running statistics, which are not every rank's.
    """
    check_sharding()
    if any(getattr(m, "track_running_stats", False) for m in task.model.modules()):
        raise TaskError(
            f"the model of {quoted(task.name)} keeps running statistics (BatchNorm), with which --shard cannot "
            "measure: leave it out"
        )
    return replace(task, model=shard_(copy.deepcopy(task.model), _blocks(task), device))


def _blocks(task: Task) -> Sequence[str]:
    """The names of the modules that are repeated blocks of the model."""
    model = traceable(task).model
    modules = {name for name, m in model.named_modules() if not isinstance(m, nn.ModuleList)}
    try:
        found = phases(layer_order(model, task.example_inputs()), "block")
    except OrderError:
        return ()
    return [phase.name for phase in found if phase.name in modules]
