"""The ends of a search: their losses, as the path is judged and as settling sees them."""

from collections.abc import Mapping

import torch

from llpf_plugin.evaluation.goal import Ends
from llpf_plugin.evaluation.point import borrowed, measure_as_it_is, measure_point, norms_with_statistics
from llpf_plugin.geometry.weights import Weights, assign
from llpf_plugin.records import Row
from llpf_plugin.workspace import Workspace

BATCHES = 4
"""Mini-batches that say what loss settling sees at an end."""

SPLITS, SAVED = ("train", "validation", "test"), " as saved"
"""What an end is measured on; and what its name ends with where its running statistics are those that it came with."""


def measure_ends(workspace: Workspace, a: Weights, b: Weights, sample: int | None) -> Ends:
    """Both ends, each with its own buffers; the model is left with A's.

    Args:
        workspace: whose model is used.
        a, b: complete state dicts.
        sample: training examples to measure on, None for all.
    """
    found = measured_ends(workspace, {"A": a, "B": b}, sample)
    batch = max(batch_loss(workspace, end) for end in (a, b))
    assign(workspace.model, a)
    saved = {name: row for name, row in found.items() if name.endswith(SAVED)}
    return Ends(found["A"], found["B"], batch, saved)


def measured_ends(
    workspace: Workspace, ends: Mapping[str, Weights], sample: int | None, as_saved: str = "AB"
) -> dict[str, Row]:
    """Complete models on all splits, by name; once more with the running statistics that they came with.

    Args:
        workspace: whose model is overwritten.
        ends: complete state dicts by name.
        sample: training examples to measure on, None for all.
        as_saved: names of those that came with running statistics.
    """
    found = {name: measure_point(workspace, end, sample, SPLITS) for name, end in ends.items()}
    if norms_with_statistics(workspace.model):
        for name in as_saved:
            assign(workspace.model, ends[name])
            found[name + SAVED] = measure_as_it_is(workspace, sample)
    return found


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
