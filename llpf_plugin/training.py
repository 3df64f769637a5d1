"""Training an endpoint: what the demo, the examples and the benchmarks start from."""

from collections.abc import Callable

import torch
from torch import nn

from llpf_plugin.evaluation.point import reestimate
from llpf_plugin.geometry.weights import Weights, clone
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Workspace

__all__ = [
    "initialise",
    "train",
]


def initialise(model: nn.Module, seed: int) -> None:
    """Fresh initial weights from ``seed``: every module's own ``reset_parameters``, in registration order."""
    torch.manual_seed(seed)
    for module in model.modules():
        # Attention has a private one; what it sets of its children they then set themselves.
        reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if callable(reset):
            reset()


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
    """Train the task's model from scratch: SGD with momentum 0.9 and a one-cycle learning rate, or a constant one.

    Args:
        task: what to train; its recipe gives what is not given here.
        seed: of the initial weights and of the batches.
        compute: device and precision.
        epochs: passes over the training data.
        lr: the peak learning rate.
        weight_decay: on all parameters.
        constant: keep the learning rate at its peak from the first step to the last, as for the paper's sharp modes.
        progress: called with the step, the number of steps and the last loss, every 20 steps.

    Returns:
        The state dict on the CPU, running statistics re-estimated on the training data.
    """
    recipe = {"epochs": 30, "lr": 0.1, "weight_decay": 0.0, **task.recipe}
    given = {"epochs": epochs, "lr": lr, "weight_decay": weight_decay}
    recipe.update({k: v for k, v in given.items() if v is not None})
    workspace = Workspace(task, compute, seed=seed)
    initialise(workspace.model, seed)
    steps = max(1, int(recipe["epochs"] * (len(task.train) // min(workspace.batch_size, len(task.train)))))
    optimizer = torch.optim.SGD(workspace.model.parameters(), recipe["lr"], 0.9, weight_decay=recipe["weight_decay"])
    if not constant:
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe["lr"], total_steps=steps)
    for step in range(steps):
        loss = workspace.loss()
        workspace.backward(loss)
        optimizer.step()
        if not constant:
            schedule.step()
        if progress and (step % 20 == 0 or step == steps - 1):
            progress(step + 1, steps, float(loss.detach()))
    reestimate(workspace)
    return clone(workspace.model.state_dict(), "cpu")
