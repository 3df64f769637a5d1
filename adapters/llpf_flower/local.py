"""The client's half: its own model walks a part of the way towards what came in, on its own data."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from llpf_flower.arrays import sound
from llpf_plugin.errors import LLPFError, MismatchError
from llpf_plugin.evaluation.goal import batch_loss
from llpf_plugin.evaluation.point import Score, evaluate, reestimate
from llpf_plugin.geometry.sphere import Correct, project_, spheres
from llpf_plugin.geometry.weights import NEAR, Weights, assign, clone, coordinates, distance, lerp, select
from llpf_plugin.llpf.low_loss import LowLoss, PhaseRule
from llpf_plugin.llpf.pace import AdaptivePace
from llpf_plugin.llpf.plan import BARRIER, THRESHOLD
from llpf_plugin.llpf.settle import SettleRule
from llpf_plugin.llpf.walk import WalkState
from llpf_plugin.methods.base import Leg
from llpf_plugin.preflight import complete, fits, raise_errors
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Gradient

SAMPLE = 512
"""Training examples that statistics are re-estimated on and that the incoming model is judged by."""

MOST_STEPS = 60
"""Gradient steps of one settling, unless the round has fewer."""


@dataclass(frozen=True)
class Pace:
    """What a client carries from round to round.

    Attributes:
        share: of the way, walked in one tick.
        lr: factor on the learning rate.
        level: mini-batch loss that settling comes back to; None for that of the model as it is now.
        steps: gradient steps so far: they say which mini-batches come next.
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
        low: whether a tick settled down to its threshold; if none did, the model is the client's own, unchanged.
        own_loss: training loss of the model before.
        incoming_loss: that of the incoming model on the client's spheres.
        settled_loss: mini-batch loss of the last tick that stood; NaN if none did.
        ticks: ticks up to the one that the client ends with.
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

    Ticks of Algorithm 1 (move, project, settle, project; arXiv 2505.02604) go from ``own`` to the point that lies
    ``share`` of the way towards ``incoming``, with an adaptive pace. Every tensor keeps the variance that it has in
    ``own``. The client ends with the last tick that settled at a low loss; if none did, it keeps its own model and
    tries smaller ticks next time. To call inside a client's ``train``, or through `llpf_merge_mod` without touching it.

    Args:
        own: the client's model, a state dict.
        incoming: the model that the server sent.
        task: the client's model, objective and data; its model is the workspace.
        share: the part of the way to walk, 1 for all of it.
        steps: gradient steps of this call, None for an epoch, at least 20.
        active: parameters that move, None for all; the others settle only.
        pace: what the last call returned.
        tolerance: loss above ``pace.level`` that is low enough, None for the task's.
        correct: which tensors are held on their spheres.
        seed: of batches and dropout.
        compute: device and precision.

    Raises:
        MismatchError: a model that does not fit the task's, or holds NaN or infinity.
        LLPFError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise LLPFError(f"share = {share}: the part of the way must be above 0 and at most 1")
    start, end = _fitted(own, task), _fitted(incoming, task)
    pace = pace or Pace()
    gradient = Gradient(task, compute, seed)
    gradient.steps = pace.steps
    own_loss, incoming_loss = _losses(gradient, start, end, correct)
    level = batch_loss(gradient, start) if pace.level is None else pace.level
    room = task.defaults.tolerance if tolerance is None else tolerance
    limit = steps or max(20, len(task.train) // gradient.batch_size)
    gradient.budget = pace.steps + limit
    names = list(coordinates(gradient.model))
    begin, target = select(start, names), lerp(select(start, names), select(end, names), share)
    finder = _finder(task, level, room, limit, pace, active, correct)
    went = _walk(finder, Leg(gradient, start, target), pace)
    gradient.budget = None
    weights = clone(start)
    if went.knot is not None:
        assign(gradient.model, went.knot)
        reestimate(gradient, SAMPLE)
        weights = clone(gradient.model.state_dict(), "cpu")
    before, after = (distance(w, select(end, names)) for w in (begin, select(weights, names)))
    kept = went.state.share if went.knot is not None else min(went.state.share, pace.share / 2)
    return Merged(
        weights, Pace(max(kept, finder.phases[0].pace.least), went.state.lr, level, gradient.steps),
        1 - after / before if before > 0 else 0.0, went.knot is not None, own_loss.loss, incoming_loss.loss,
        went.settled_loss, went.ticks,
    )  # fmt: skip


@dataclass
class _Went:
    """How a walk went.

    Attributes:
        state: the last one.
        knot: coordinates after the last tick that settled at a low loss, None if none did.
        ticks: ticks that stood, up to that knot.
        settled_loss: of the last tick that stood.
    """

    state: WalkState
    knot: Weights | None = None
    ticks: int = 0
    settled_loss: float = float("nan")


def _walk(finder: LowLoss, leg: Leg, pace: Pace) -> _Went:
    """Tick until the end of the leg, or of the budget."""
    walk, state = finder.init(leg)
    went, stood = _Went(replace(state, lr=pace.lr)), 0
    while went.state.outcome is None and leg.gradient.remaining:
        step = finder.step(walk, went.state)
        went.state = step.state
        if step.knot:
            stood += 1
            went.settled_loss = step.report["settled_loss"]
        if step.knot and step.report["low"]:
            went.knot, went.ticks = finder.knot(walk), stood
    return went


def _fitted(weights: Mapping[str, Tensor], task: Task) -> Weights:
    """A complete state dict of the task's model, in its dtypes, on the CPU."""
    reference = task.model.state_dict()
    plain = {k: t.detach().cpu().to(reference[k].dtype if k in reference else t.dtype) for k, t in weights.items()}
    raise_errors(fits(plain, task.model, "the model"))
    if bad := [k for k, t in plain.items() if not sound(t, reference[k].cpu())]:
        raise MismatchError(f"the model holds NaN or infinity in {', '.join(bad[:3])}: use an earlier one")
    return complete(plain, reference)


def _losses(gradient: Gradient, own: Weights, incoming: Weights, correct: Correct) -> tuple[Score, Score]:
    """Training losses of both models, the incoming one on the spheres of the client's own."""
    names = list(coordinates(gradient.model))
    held = spheres(select(own, names), correct)
    projected = clone(select(incoming, names))
    project_([projected[k] for k in held], held.values())
    data = {"train": gradient.task.train}
    found = [evaluate(gradient, weights, data, SAMPLE)[0]["train"] for weights in (select(own, names), projected)]
    assert found[0] is not None and found[1] is not None
    return found[0], found[1]


def _finder(
    task: Task, level: float, room: float, limit: int, pace: Pace, active: Collection[str] | None, correct: Correct
) -> LowLoss:
    settle = SettleRule(
        level + THRESHOLD * room, max_steps=min(limit, MOST_STEPS), min_steps=min(2, limit),
        lr=task.defaults.lr, momentum=task.defaults.momentum,
    )  # fmt: skip
    # Where a round ends is no destination, so that the learning rate need not fall on the way there.
    walking = AdaptivePace(level + BARRIER * room, share=pace.share, slow=NEAR)
    return LowLoss((PhaseRule("round", None if active is None else frozenset(active), walking, settle),), correct)
