"""Which model serves a client: its own until the federation's is as good on the client's data.

The server asks for it (`LLPFStrategy` with ``serve_own``), the client decides (`llpf_merge_mod` with ``own``).
"""

from collections.abc import Iterable, Mapping
from logging import WARNING

import torch
from flwr.app import ConfigRecord, Message
from flwr.common.logger import log
from torch import Tensor

from llpf_flower.replies import told
from llpf_plugin.evaluation import score
from llpf_plugin.geometry import assign
from llpf_plugin.tasks import Task
from llpf_plugin.workspace import Compute, Workspace

MODE, AVERAGE = "llpf-mode", "average"
"""In a train config: the client half hands the incoming model on as it is, instead of merging its own into it."""

SERVING, BETTER = "llpf-serving", "better"
"""In an evaluate config: the client evaluates the model that serves it, and says which in the reply's ``served``."""

SAMPLE = 512
"""Examples that both models are judged by, at most."""

FITTED = 2.0
"""The room, in tolerances, on training data: the own model has been fitted to them and looks better than it is.

On digits, where clients begin at 87 % on test images, one tolerance kept them waiting beyond a mean of 94 %, two until
about 93 %, and with three some changed over to a mean that was up to 7 points worse (two seeds, 10 clients).
"""


def training(config: ConfigRecord) -> ConfigRecord:
    """The train config of a server that serves clients their own models; the caller's stays as it is."""
    return ConfigRecord({**config, MODE: AVERAGE})


def evaluating(config: ConfigRecord) -> ConfigRecord:
    """The evaluate config of such a server."""
    return ConfigRecord({**config, SERVING: BETTER})


def note(replies: Iterable[Message]) -> dict[str, int]:
    """For the round's row: how many clients are ``on their own``, served by their own model; empty if none says."""
    answers = [told(m.content) for m in replies if m.has_content()]
    served = [words["served"] for words in answers if "served" in words]
    if answers and not served:
        log(WARNING, "\t> No client says which model serves it: serve_own needs llpf_merge_mod, with own=, on them")
    return {"on their own": served.count("own")} if served else {}


def as_good(
    incoming: Mapping[str, Tensor], own: Mapping[str, Tensor], task: Task, tolerance: float | None = None,
    compute: Compute | None = None,
) -> bool:  # fmt: skip
    """Whether the incoming model is as good as the client's own, on the client's data.

    The losses are those of the models as they would serve: in eval mode, with the buffers that they came with. On
    validation data, where the task has any, the incoming loss must not exceed the own one. On training data, which the
    own model has been fitted to, it may exceed it by `FITTED` tolerances.

    Args:
        incoming: the model that the server sent, a state dict.
        own: the client's model, a state dict.
        task: the client's; its model is the workspace.
        tolerance: loss on training data, None for the task's.
        compute: device and precision.
    """
    workspace = Workspace(task, compute)
    held = workspace.task.validation
    data = workspace.task.train if held is None else held

    def loss(weights: Mapping[str, Tensor]) -> float:
        assign(workspace.model, weights)
        return score(workspace, data, SAMPLE).loss

    room = FITTED * (task.defaults.tolerance if tolerance is None else tolerance) if held is None else 0.0
    with torch.no_grad():
        return loss(incoming) <= loss(own) + room
