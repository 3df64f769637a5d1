"""The ends of a search: their losses, as the path is judged and as settling sees them."""

import torch

from llpf_plugin.evaluation.goal import Ends
from llpf_plugin.evaluation.point import borrowed, measure_point
from llpf_plugin.geometry.weights import Weights, assign
from llpf_plugin.workspace import Workspace

BATCHES = 4
"""Mini-batches that say what loss settling sees at an end."""


def measure_ends(workspace: Workspace, a: Weights, b: Weights, sample: int | None) -> Ends:
    """Both ends, from their coordinates."""
    rows = [measure_point(workspace, end, sample) for end in (a, b)]
    return Ends(rows[0], rows[1], max(batch_loss(workspace, end) for end in (a, b)))


@torch.no_grad()
def batch_loss(workspace: Workspace, weights: Weights) -> float:
    """The mean mini-batch loss at a point, as settling sees it; forward only, not counted as gradient steps."""
    steps, budget = workspace.steps, workspace.budget
    with borrowed(workspace):
        assign(workspace.model, weights)
        workspace.budget = None
        loss = float(torch.stack([workspace.loss() for _ in range(BATCHES)]).mean())
    workspace.steps, workspace.budget = steps, budget
    return loss
