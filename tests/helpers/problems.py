"""What a method is bound to, without a search around it."""

from typing import Any

from llpf_plugin.evaluation.goal import Goal
from llpf_plugin.geometry.weights import Weights, coordinates, select
from llpf_plugin.methods import Problem
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Workspace

GOAL = Goal(loss=0.3, ends=0.1, batch=0.2)
"""Room 0.2 above the worse end."""


def problem(task: Task, a: Weights, b: Weights, goal: Goal = GOAL, **options: Any) -> Problem:
    """The pair as a problem; ``options`` are those of a workspace."""
    names = list(coordinates(task.model))
    workspace = Workspace(task, **options)
    return Problem(workspace, select(a, names), select(b, names), goal, task.defaults.lr, task.defaults.momentum)
