"""The client's merge step: its own model walks part of the way towards the federation's, on its own data."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from llpf_flower.arrays import sound
from llpf_plugin.errors import LLPFError, MismatchError
from llpf_plugin.evaluation import batch_loss, reestimate, train_loss
from llpf_plugin.geometry import (
    NEAR,
    Correct,
    Weights,
    assign,
    clone,
    coordinates,
    distance,
    lerp,
    project_,
    select,
    spheres,
)
from llpf_plugin.llpf import REJECT, THRESHOLD, Backtracking, Phase, SettleRule, ToModel, Walk, WalkState
from llpf_plugin.preflight import complete, fits, raise_errors
from llpf_plugin.tasks import Task
from llpf_plugin.workspace import Compute, Workspace

SAMPLE = 512
"""Training examples that statistics are re-estimated on and that both models are judged by."""

LEAST_STEPS, MOST_STEPS = 20, 60
"""Gradient steps of a call that does not say how many, at least; and of one settling, at most."""


@dataclass(frozen=True)
class Pace:
    """What a client carries from round to round.

    Attributes:
        share: of the way, walked in one tick.
        lr: factor on the learning rate.
        level: mini-batch loss that settling returns to; None for that of the model as it is now.
        steps: gradient steps so far: they determine which mini-batches come next.
    """

    share: float = 0.1
    lr: float = 1.0
    level: float | None = None
    steps: int = 0


@dataclass(frozen=True)
class Merged:
    """What became of a client's model.

    Attributes:
        weights: the complete state dict, on the CPU, running statistics re-estimated.
        pace: for the next round.
        moved: the part of the distance to the incoming model that was covered; negative if it grew.
        low: whether a tick settled at a low loss; if none did, the model is the client's own, unchanged.
        own_loss: training loss of the model before.
        incoming_loss: that of the incoming model on the client's spheres.
        settled_loss: mini-batch loss of the last tick that was accepted; NaN if none was.
        ticks: accepted ticks up to the one that the client ends with.
    """

    weights: Weights
    pace: Pace
    moved: float
    low: bool
    own_loss: float
    incoming_loss: float
    settled_loss: float
    ticks: int


def merge_into_local(
    own: Mapping[str, Tensor], incoming: Mapping[str, Tensor], task: Task, *, share: float = 0.5,
    steps: int | None = None, active: Collection[str] | None = None, pace: Pace | None = None,
    tolerance: float | None = None, correct: Correct = "matrices", seed: int = 0, compute: Compute | None = None,
) -> Merged:  # fmt: skip
    """Walk the client's own model towards an incoming one without leaving low loss on the client's data.

    Ticks of Algorithm 1 (move, project, settle, project; arXiv 2505.02604) lead from ``own`` to the point ``share`` of
    the way towards ``incoming``, with adaptive step sizes. Every tensor keeps the variance that it has in ``own``. The
    client ends with the last tick that settled at a low loss; if none did, it keeps its own model and tries smaller
    ticks next time. Call it inside a client's ``train``, or use `llpf_merge_mod` and leave ``train`` as it is.

    Args:
        own: the client's model, a state dict.
        incoming: the model that the server sent.
        task: the client's model, objective and data; its model is the workspace.
        share: the part of the way to walk, 1 for all of it.
        steps: gradient steps of this call, None for an epoch, at least 20.
        active: parameters that move, None for all; the others settle only.
        pace: what the last call returned.
        tolerance: loss above ``pace.level`` that counts as low, None for the task's.
        correct: which tensors are held on their spheres.
        seed: for batches and dropout.
        compute: device and precision.

    Raises:
        MismatchError: a model that does not fit the task's, or holds NaN or infinity.
        LLPFError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise LLPFError(f"share = {share}: the part of the way must be above 0 and at most 1")
    start, end = _fitted(own, task), _fitted(incoming, task)
    pace, workspace = pace or Pace(), Workspace(task, compute, seed)
    workspace.steps = pace.steps
    here, there = (select(weights, list(coordinates(workspace.model))) for weights in (start, end))
    own_loss = train_loss(workspace, here, SAMPLE)
    incoming_loss = train_loss(workspace, _on_spheres(there, here, correct), SAMPLE)
    level = batch_loss(workspace, start) if pace.level is None else pace.level
    room = task.defaults.tolerance if tolerance is None else tolerance
    limit = steps or max(LEAST_STEPS, len(task.train) // workspace.batch_size)
    workspace.budget = pace.steps + limit
    phase = _phase(task, level, room, limit, pace.share, frozenset(here if active is None else active))
    walk = Walk(workspace, [phase], lambda weights, target: ToModel(weights, target, correct))
    went = _follow(walk, here, lerp(here, there, share), pace.lr)
    workspace.budget = None
    weights = clone(start) if went.knot is None else _with_statistics(workspace, went.knot)
    before, after = (distance(w, there) for w in (here, select(weights, list(here))))
    kept = min(went.state.share, pace.share / 2) if went.knot is None else went.state.share
    return Merged(
        weights, Pace(max(kept, Backtracking.min_share), went.state.lr, level, workspace.steps),
        1 - after / before if before > 0 else 0.0, went.knot is not None, own_loss, incoming_loss,
        went.settled_loss, went.ticks,
    )  # fmt: skip


def _fitted(weights: Mapping[str, Tensor], task: Task) -> Weights:
    """A complete state dict of the task's model, in its dtypes, on the CPU."""
    reference = task.model.state_dict()
    plain = {k: t.detach().cpu().to(reference[k].dtype if k in reference else t.dtype) for k, t in weights.items()}
    raise_errors(fits(plain, task.model, "the model"))
    if bad := [k for k, t in plain.items() if not sound(t, reference[k].cpu())]:
        raise MismatchError(f"the model holds NaN or infinity in {', '.join(bad[:3])}: use an earlier one")
    return complete(plain, reference)


def _on_spheres(weights: Weights, reference: Weights, correct: Correct) -> Weights:
    """A copy of the weights on the variance spheres of the reference."""
    projected, held = clone(weights), spheres(reference, correct)
    project_([projected[k] for k in held], held.values())
    return projected


def _with_statistics(workspace: Workspace, weights: Weights) -> Weights:
    """The complete state dict of a point, on the CPU, its running statistics re-estimated."""
    assign(workspace.model, weights)
    reestimate(workspace, SAMPLE)
    return clone(workspace.model.state_dict(), "cpu")


def _phase(task: Task, level: float, room: float, limit: int, share: float, active: frozenset[str]) -> Phase:
    """The only phase of the walk: the settings of `find_path`, with the client's level and room."""
    rule = SettleRule(
        level + THRESHOLD * room, min(2, limit), min(limit, MOST_STEPS),
        lr=task.defaults.lr, momentum=task.defaults.momentum,
    )  # fmt: skip
    # Where a round ends is not a destination, so the learning rate need not fall on the way there.
    return Phase("round", active, Backtracking(level + REJECT * room, share, anneal_below=NEAR), rule)


@dataclass
class _Went:
    """How a walk went.

    Attributes:
        state: the last one.
        knot: coordinates after the last tick that settled at a low loss, None if none did.
        ticks: accepted ticks up to that knot.
        settled_loss: of the last accepted tick.
    """

    state: WalkState
    knot: Weights | None = None
    ticks: int = 0
    settled_loss: float = float("nan")


def _follow(walk: Walk, start: Weights, end: Weights, lr: float) -> _Went:
    """Tick until the walk ends or the budget is spent."""
    went, accepted, outcome = _Went(replace(walk.init(start, end), lr=lr)), 0, None
    while outcome is None and walk.workspace.remaining:
        step = walk.step(went.state)
        went.state, outcome = step.state, step.outcome
        if step.knot and step.tick is not None:
            accepted, went.settled_loss = accepted + 1, step.tick.settled_loss
            if step.tick.low:
                went.knot, went.ticks = walk.knot(), accepted
    return went
