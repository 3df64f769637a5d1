"""Whether the units of a pair's second model are re-ordered before its path is searched.

The model stays the same function; only the way to it is another. Since re-ordering by the nearest weights need not
lower the loss between the models, ``auto`` looks: it is kept where it lowers the maximum of the straight line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from llpf_plugin.alignment.matching import Matching, align
from llpf_plugin.checkpoint import fingerprint
from llpf_plugin.errors import MismatchError, OrderError, RunError
from llpf_plugin.evaluation.along_path import LINE_SAMPLE, losses_on_line
from llpf_plugin.evaluation.outputs import difference_of_outputs
from llpf_plugin.geometry.weights import Weights, coordinates, norm, select, state
from llpf_plugin.llpf.method import LLPF
from llpf_plugin.methods.base import Method
from llpf_plugin.runs.alignment import SAME_FUNCTION, Alignment, recorded
from llpf_plugin.runs.folder import RunFolder
from llpf_plugin.runs.read import read_info
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Workspace

Align = Literal["auto", "never", "always"]
"""Whether B's units are first brought into A's order; ``auto`` does so where that lowers the straight line."""

SCHEDULED = "a schedule of the paper is walked between models as they were trained (--align always re-orders them)"
IN_ORDER = "they are in A's order already"
"""Why B stays as it is."""

SAME = 1e-5
"""How near to A, over A's norm, an aligned B is A itself."""

SAME_MODEL = (
    "A and B are the same model, its units in another order or not: there is nothing to connect; name two networks "
    "that were trained independently, or leave B as it is (--align never)"
)

CHANGED = (
    "was begun by a version that re-orders B in another way: llpf report can show it, but to continue, start again in "
    "another folder (-o)"
)


def walks_schedule(method: Method) -> bool:
    """Whether a method walks a schedule of the paper, whose setting has no alignment."""
    return isinstance(method, LLPF) and method.schedule is not None


def resolved(wish: Align, method: Method) -> Align:
    """What was asked for, where ``auto`` is ``never`` if the method walks a schedule."""
    return "never" if wish == "auto" and walks_schedule(method) else wish


@dataclass(frozen=True)
class Proposal:
    """A re-ordering that may be kept.

    Attributes:
        matching: the re-ordered B, None where there is none.
        why: there is none.
        known: what an earlier session of the same run decided.
        forced: whether it is kept in any case.
        difference: of the outputs of B and the re-ordered B, as `difference_of_outputs` has it.
    """

    matching: Matching | None = None
    why: str = ""
    known: Alignment | None = None
    forced: bool = False
    difference: float = 0.0

    def decide(
        self, workspace: Workspace, start: Weights, end: Weights, sample: int | None
    ) -> tuple[Alignment, Sequence[float]]:
        """Whether the re-ordered B is kept, by the straight lines from ``start`` to it and to B as it is, ``end``.

        Returns:
            What was decided, and the training losses of the line that is left, where they were measured.
        """
        if self.known is not None or self.matching is None:
            return self.known or Alignment(why=self.why), ()
        b = self.matching.weights
        lines = [line_between(workspace, start, one, sample) for one in (end, b)]
        line, aligned = (max(math.inf if math.isnan(loss) else loss for loss in losses) for losses in lines)
        if self.forced or (aligned < line and self.difference <= SAME_FUNCTION):
            return Alignment(
                True, line, aligned, self.difference, "", fingerprint(b), self.matching.symmetry.done
            ), lines[1]
        return Alignment(False, line, aligned, self.difference), lines[0]


def propose(
    start: Weights, end: Weights, task: Task, method: Method, wish: Align, begun: RunFolder | None = None
) -> Proposal | None:
    """Match B's units with A's, unless an earlier session of the same run has left them alone.

    Args:
        start: complete state dict of A.
        end: of B.
        task: whose model is traced and run on the CPU, which has float64, and no float32 that is less than that.
        method: by which a path will be searched.
        wish: what was asked for.
        begun: the run's folder, where it is resumed.

    Returns:
        None where B is left alone because that was asked for.

    Raises:
        MismatchError: B is A, its units in another order.
        OrderError: the model cannot be traced, and ``always`` was asked for, or the run was begun with a re-ordered B.
        RunError: the run was begun with another re-ordered B.
    """
    if resolved(wish, method) == "never":
        return Proposal(why=SCHEDULED) if wish == "auto" else None
    known = None
    if begun is not None and begun.exists:  # a run without a record was aligned whatever the line said
        known = recorded(read_info(begun.folder)) or Alignment(kept=True)
    if known is not None and not known.kept:
        return Proposal(known=known)
    task = task.to("cpu")
    start, end = (_computed(weights, task.model) for weights in (start, end))
    try:
        matching = align(start, end, task)
    except OrderError as error:
        if wish == "always" or (known is not None and known.end is not None):
            raise
        return Proposal(why=f"no symmetry can be derived: {error}")
    if known is not None and known.end not in (None, fingerprint(matching.weights)):
        assert begun is not None
        raise RunError(f"{begun.folder} {CHANGED}")
    own = list(coordinates(task.model))
    if known is None and matching.distance[1] <= SAME * norm(select(start, own)):
        raise MismatchError(SAME_MODEL)
    if all(torch.equal(t, end[name]) for name, t in matching.weights.items()):
        return Proposal(why=IN_ORDER)
    gap = difference_of_outputs(task.model, task.example_inputs(), end, matching.weights)
    return Proposal(matching, "", known, wish == "always", gap)


def _computed(weights: Weights, model: nn.Module) -> Weights:
    """Weights in the dtypes in which a model computes: rescaled units of coarser ones are another function."""
    own = state(model)
    return {name: t.to(own[name].dtype) if name in own and t.is_floating_point() else t for name, t in weights.items()}


def line_between(workspace: Workspace, start: Weights, end: Weights, sample: int | None) -> list[float]:
    """`losses_on_line`, spent on measuring, on the sample that was asked for."""
    with workspace.clock.on("measuring"):
        return losses_on_line(workspace, start, end, sample=sample or LINE_SAMPLE)
