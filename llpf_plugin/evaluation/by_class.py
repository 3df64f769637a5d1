"""Scores of a model over the examples of some classes each."""

from collections.abc import Mapping, Sequence

import torch

from llpf_plugin.documents import quoted
from llpf_plugin.errors import TaskError
from llpf_plugin.evaluation.answers import Answer, Score, mean
from llpf_plugin.tasks.batches import Data, batch_size, class_targets, divisible, take
from llpf_plugin.workspace import Workspace


@torch.no_grad()
def scores_by_class(workspace: Workspace, data: Data, groups: Mapping[str, Sequence[int]]) -> dict[str, Score | None]:
    """Loss and accuracy of the model as it stands, in eval mode, over the examples of each group of classes.

    Args:
        workspace: whose model.
        data: a split.
        groups: classes by the name of the group; an example may count in several.

    Returns:
        A score for each group, None where the split has no example of it.

    Raises:
        TaskError: a batch is not ``(inputs, integer targets)``.
    """
    workspace.model.eval()
    answers: dict[str, list[Answer]] = {name: [] for name in groups}
    for batch in workspace.examples(data).batches(workspace.eval_batch):
        targets = class_targets(batch)
        if targets is None or not divisible(batch):
            raise TaskError(f"the data of {quoted(workspace.task.name)} are not batches of (inputs, integer targets)")
        for name, classes in groups.items():
            rows = torch.isin(targets, torch.tensor(classes, device=targets.device))
            if rows.any():
                own = take(batch, rows)
                answers[name].append(Answer.of(batch_size(own), *workspace.score(own)))
    return {name: mean(found) if found else None for name, found in answers.items()}
