"""A task of your own: a network, its data and its loss, in one function that ``--task`` names.

    python examples/train_pair.py examples/own_task.py:task -t width=32 -o pair
    llpf merge pair/seed0.pt pair/seed1.pt --task examples/own_task.py:task -t width=32

Here the network regresses a sine wave, so the loss is not cross-entropy, and there is no accuracy.
"""

import torch
from torch import nn

from llpf_plugin import Recipe, Task, TensorData


def squared_error(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """The objective: any function of the model and a batch that returns the mean loss."""
    inputs, targets = batch
    return (model(inputs) - targets).square().mean()


def task(width: int = 32) -> Task:
    """What ``--task examples/own_task.py:task`` calls; ``-t width=64`` reaches it as an argument."""
    x = torch.linspace(-3, 3, 768).unsqueeze(1)[torch.randperm(768, generator=torch.Generator().manual_seed(0))]
    y = torch.sin(2 * x)
    model = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
    splits = [TensorData(x[part], y[part]) for part in (slice(0, 512), slice(512, 640), slice(640, 768))]
    return Task(model, *splits, objective=squared_error, recipe=Recipe(epochs=300, lr=0.05))
