"""Walks on the tiny tasks, outside of any search."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from helpers import tiny
from llpf_plugin.geometry.scale_groups import scale_groups
from llpf_plugin.geometry.sphere import Correct
from llpf_plugin.geometry.weights import Weights, coordinates, select
from llpf_plugin.llpf import Phase, SettleRule, ToModel, ToOrigin, Walk, WalkState
from llpf_plugin.llpf.step_control import StepControl
from llpf_plugin.methods.base import Outcome, Step
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Workspace


def phase(
    task: Task, control: StepControl, rule: SettleRule, name: str = "all", active: frozenset[str] | None = None
) -> Phase:
    """A phase of a walk on a task; without ``active``, of all of its coordinates."""
    return Phase(name, frozenset(coordinates(task.model)) if active is None else active, control, rule)


def ends(name: str, task: Task) -> tuple[Weights, Weights]:
    """The coordinates of the two trained networks of a tiny task, in the dtype of the task's model."""
    own = coordinates(task.model)
    a, b = ({k: t.to(own[k].dtype) for k, t in select(w, own).items()} for w in tiny.pair(name))
    return a, b


def to_model(
    name: str, task: Task, phases: Sequence[Phase], correct: Correct = "matrices", seed: int = 3
) -> tuple[Walk, WalkState]:
    """A walk between the two trained networks of a tiny task, before its first tick."""
    walk = Walk(Workspace(task, seed=seed), phases, lambda weights, end: ToModel(weights, end, correct))
    return walk, walk.init(*ends(name, task))


def to_origin(
    start: Weights, task: Task, phases: Sequence[Phase], part: float = 0.0, seed: int = 3, **options: Any
) -> tuple[Walk, WalkState]:
    """A walk from ``start`` to the spheres of a part of its variances, before its first tick."""
    groups = scale_groups(task.model, start)
    targets = {g.matrix: part * float(start[g.matrix].var(correction=0)) for g in groups}
    walk = Walk(Workspace(task, seed=seed), phases, lambda weights, _: ToOrigin(weights, groups, targets, **options))
    return walk, walk.init(start, start)


def run(walk: Walk, state: WalkState, ticks: int = 200) -> tuple[WalkState, Outcome | None, list[Step]]:
    """Tick until the walk ends: the last state, the outcome, and every step."""
    steps: list[Step] = []
    while len(steps) < ticks:
        steps.append(walk.step(state))
        state = steps[-1].state
        if steps[-1].outcome is not None:
            break
    return state, steps[-1].outcome, steps


def failing(task: Task, value: float, after: int = 0) -> Task:
    """The task, its training loss replaced by ``value`` once it was asked for so many times in train mode."""
    calls = 0

    def objective(model: torch.nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        loss, correct = task.objective(model, batch)  # type: ignore[misc]
        calls += model.training
        return (loss * 0 + value if model.training and calls > after else loss), correct

    return replace(task, objective=objective)
