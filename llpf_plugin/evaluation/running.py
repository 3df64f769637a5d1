"""Running statistics of normalizations: which there are, and estimated again for weights that were averaged."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from llpf_plugin.errors import MismatchError
from llpf_plugin.evaluation.answers import Score
from llpf_plugin.evaluation.point import evaluate, norms_with_statistics, score
from llpf_plugin.geometry.weights import Weights, assign, clone
from llpf_plugin.workspace import Workspace

STATISTICS = ("running_mean", "running_var")

_COUNTER = "num_batches_tracked"
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Reestimated:
    """A model whose running statistics were estimated again.

    Attributes:
        weights: its complete state dict.
        before: scores by split, with the statistics that it had.
        after: likewise, with the new ones.
    """

    weights: Weights
    before: Mapping[str, Score]
    after: Mapping[str, Score]


def statistics_of(model: nn.Module, kinds: tuple[str, ...] = STATISTICS) -> list[str]:
    """The names of the running statistics that normalizations keep."""
    norms = {id(m) for m in norms_with_statistics(model)}
    paths = [f"{path}." if path else "" for path, m in model.named_modules() if id(m) in norms]
    return [f"{path}{name}" for path in paths for name in kinds]


def reestimated(workspace: Workspace, weights: Mapping[str, Tensor], sample: int | None = None) -> Reestimated:
    """Estimate the running statistics of a model again, on the training data of a task.

    After an average of weights they are those of other weights. As in ``torch.optim.swa_utils.update_bn``, each is the
    mean over the batches of one pass in which only the normalizations are in training mode.

    Args:
        workspace: whose model is overwritten, and whose task's data are used.
        weights: a complete state dict; what is no such statistic stays as it is.
        sample: training examples to estimate and to score on, None for all.

    Raises:
        MismatchError: the model keeps no running statistics.
    """
    names = statistics_of(workspace.model, (*STATISTICS, _COUNTER))
    if not names:
        raise MismatchError("the model keeps no running statistics, so that there is nothing to estimate")
    splits = {name: data for name in _SPLITS if (data := getattr(workspace.task, name)) is not None}
    assign(workspace.model, weights)
    before = {name: score(workspace, data, sample if name == "train" else None) for name, data in splits.items()}
    after, buffers = evaluate(workspace, weights, splits, sample)
    new = {name: buffers[name] for name in names if name in buffers}
    scores = {name: found for name, found in after.items() if found is not None}
    return Reestimated({**clone(weights, "cpu"), **clone(new, "cpu")}, before, scores)
