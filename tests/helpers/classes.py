"""A task of two classes whose answers can be worked out by hand."""

import torch
from torch import nn

from llpf_plugin import Task, TensorData
from llpf_plugin.geometry import Weights


def classes() -> Task:
    """Two classes, scores (w₀·x₀, w₁·x₁) by weights of one linear layer without bias, cross-entropy."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    y = torch.tensor([0, 1, 0, 1])
    return Task(nn.Linear(2, 2, bias=False), TensorData(x, y), TensorData(x, y), None, name="classes")


def matrix(*rows: tuple[float, float]) -> Weights:
    """Its weight by rows."""
    return {"weight": torch.tensor(rows, dtype=torch.float32)}
