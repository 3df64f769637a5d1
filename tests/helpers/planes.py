"""Tasks of two weights, whose losses along a path can be worked out by hand."""

import torch
from torch import Tensor, nn

from llpf_plugin import Path, Task, TensorData
from llpf_plugin.records import Knot


def data(*examples: tuple[float, float, float]) -> TensorData:
    """Examples ``(x₀, x₁, y)``."""
    values = torch.tensor(examples, dtype=torch.float32)
    return TensorData(values[:, :2], values[:, 2])


def squares(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """``(x·w − y)²``, averaged."""
    return (model(batch[0]).squeeze(1) - batch[1]).square().mean()


def with_answers(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The same, and an answer is right where ``x·w ≥ 1.4``."""
    return squares(model, batch), (model(batch[0]).squeeze(1) >= 1.4).sum()


def plane(objective: object = squares, **splits: TensorData | None) -> Task:
    """Two weights; training loss ``w₀²``, validation loss ``(w₀ − 2)²``, test loss ``(w₀ + w₁)²``."""
    given = {"train": data((1, 0, 0)), "validation": data((1, 0, 2)), "test": data((1, 1, 0)), **splits}
    return Task(nn.Linear(2, 1, bias=False), objective=objective, name="plane", **given)  # type: ignore[arg-type]


def straight(*points: tuple[float, float]) -> Path:
    """From point to point, without labels."""
    knots = [{"weight": torch.tensor([w], dtype=torch.float32)} for w in points]
    return Path(knots, knots[0], knots[-1])


def corner(*kinds: str) -> Path:
    """3 along w₀, then 4 along w₁."""
    path = straight((0, 0), (3, 0), (3, 4))
    path.labels = [Knot(kind) for kind in kinds or ("start", "settled", "end")]
    return path
