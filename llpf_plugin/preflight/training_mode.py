"""Does a model compute in training mode what it computes in evaluation mode, dropout and normalization aside?

A walk settles on the loss in training mode, and its path is judged by the loss in evaluation mode.
"""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from llpf_plugin.geometry.weights import Weights, assign
from llpf_plugin.preflight.checks import Finding, finding
from llpf_plugin.preflight.probe import first_batch, probing, scored
from llpf_plugin.workspace import Workspace

DRAWS = 8
"""Random numbers that the loss in training mode must not depend on, if it is to be judged."""

GAP, LEAST = 0.01, 1e-4
"""The difference of the two losses that is worth a warning: relative to the larger one, and at least."""


@torch.no_grad()
def training_mode(workspace: Workspace, ends: Mapping[str, Weights]) -> list[Finding]:
    """A warning where the loss of an end in training mode is not that in evaluation mode, on the same examples.

    The examples are one unaugmented batch. Modules that are made to differ, `differs_by_design`, are in evaluation mode
    both times. What is left of a difference may be noise, such as functional dropout: the loss then depends on the
    random numbers, and nothing is said.

    Args:
        workspace: whose model and data; left as it was.
        ends: complete state dicts, by what to call them.
    """
    where = []
    with probing(workspace):
        batch = first_batch(workspace)
        for name, weights in ends.items():
            assign(workspace.model, weights)
            workspace.model.eval()
            judged = float(scored(workspace, batch)[0])
            for module in workspace.model.modules():
                module.training = not differs_by_design(module)
            settled = [float(scored(workspace, batch)[0])]
            if abs(settled[0] - judged) <= max(LEAST, GAP * max(abs(settled[0]), abs(judged))):
                continue
            settled += [float(scored(workspace, batch, seed)[0]) for seed in range(1, DRAWS)]
            if len(set(settled)) == 1:
                where.append(f"{name} has a loss of {settled[0]:.4g} there and {judged:.4g} in evaluation mode")
    return finding(
        "warning", "the model computes something else in training mode, on the same examples", where,
        "Neither dropout nor normalization explains it, and a walk settles on the one while its path is judged by the "
        "other: check what the model and the objective do with `training`.",
    )  # fmt: skip


def differs_by_design(module: nn.Module) -> bool:
    """Whether a module is one of dropout, of stochastic depth, or a normalization, of torch or of another library."""
    if isinstance(module, _DropoutNd | _NormBase):
        return True
    if any("running_" in name for name, _ in module.named_buffers(recurse=False)):
        return True
    name = type(module).__name__.lower()
    return not any(module.children()) and any(word in name for word in ("drop", "norm", "stochastic"))
