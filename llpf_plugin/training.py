"""Training an endpoint: what the demo, the examples and the benchmarks start from."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from llpf_plugin.errors import TaskError
from llpf_plugin.evaluation.point import reestimate
from llpf_plugin.geometry.weights import Weights, clone, state
from llpf_plugin.tasks.recipe import Recipe
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Workspace

__all__ = [
    "initialise",
    "train",
]


def initialise(task: Task, seed: int) -> None:
    """Give the task's model the initial weights that its constructor draws under ``seed``, in place.

    The network is made again, so that bare parameters are drawn too and a constructor's own initialisation stands.

    Raises:
        TaskError: the task cannot make its model again under a seed, or makes a network with other tensors.
    """
    fresh = task.fresh_model(seed)
    try:
        task.model.load_state_dict(fresh.state_dict())
    except RuntimeError as error:
        raise TaskError(f"the task {task.name!r} makes another network than its model: {error}") from error


def train(
    task: Task,
    seed: int,
    compute: Compute | None = None,
    epochs: float | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    constant: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
) -> Weights:
    """Train the task's model from scratch by the task's recipe.

    Args:
        task: what to train; its recipe gives what is not given here.
        seed: of the initial weights and of the batches.
        compute: device and precision.
        epochs: passes over the training data; warm-up and milestones keep their shares of them.
        lr: the peak learning rate.
        weight_decay: on all parameters.
        constant: keep the learning rate at its peak from the first step to the last, as for the paper's sharp modes.
        progress: called with the step, the number of steps and the last loss, every 20 steps.

    Returns:
        The state dict on the CPU, running statistics re-estimated on the training data.

    Raises:
        TaskError: the task cannot make its model again under a seed (see `Task.fresh_model`).
    """
    recipe = task.recipe if epochs is None else task.recipe.over(epochs)
    given: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "schedule": "constant" if constant else None}
    recipe = replace(recipe, **{k: v for k, v in given.items() if v is not None})
    workspace = Workspace(task, compute, seed, recipe.batch_size)
    initialise(workspace.task, seed)
    steps = max(1, int(recipe.epochs * (len(task.train) // min(workspace.batch_size, len(task.train)))))
    optimizer = _optimizer(recipe, workspace.model)
    schedule = _schedule(recipe, optimizer, steps)
    for step in range(steps):
        loss = workspace.loss()
        workspace.backward(loss)
        optimizer.step()
        schedule.step()
        if progress and (step % 20 == 0 or step == steps - 1):
            progress(step + 1, steps, float(loss.detach()))
    reestimate(workspace)
    return clone(state(workspace.model), "cpu")


def _optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)


def _schedule(recipe: Recipe, optimizer: Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    """The learning rate of every one of ``steps`` gradient steps."""
    if recipe.schedule == "one-cycle":
        return lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps)
    if recipe.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, steps, recipe.final_lr)
    if recipe.schedule == "multi-step":
        milestones = [round(steps * milestone / recipe.epochs) for milestone in recipe.milestones]
        return lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
    if recipe.schedule == "warmup-cosine":
        warmup = max(1, round(steps * recipe.warmup / recipe.epochs))
        rise = lr_scheduler.LinearLR(optimizer, recipe.final_lr / recipe.lr, total_iters=warmup)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warmup), recipe.final_lr)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], [warmup])
    return lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
