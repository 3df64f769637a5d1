"""A model of a pool that is the network of a task with the weights of a checkpoint."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from llpf_plugin import load_task
from llpf_plugin.merging import Source
from llpf_plugin.preflight import complete, fits, raise_errors


def network(task: str, checkpoint: str, task_arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """The network of a task with the weights of a checkpoint, in evaluation mode.

    Args:
        task: as of `llpf_plugin.load_task`.
        checkpoint: a file, or a folder of shards, in any form that `llpf merge` reads.
        task_arguments: of the task.

    Raises:
        LLPFError: there is no such task, or the checkpoint cannot be read or does not fit the network.
    """
    model = load_task(task, dict(task_arguments or {})).model
    found = Source.of(checkpoint, network=model)
    raise_errors(fits(found.weights, model, found.name))
    model.load_state_dict(complete(found.weights, model.state_dict()))
    return model.eval()
