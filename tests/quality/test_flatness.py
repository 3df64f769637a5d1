import pytest
import torch
from helpers.classes import classes, matrix
from torch import Tensor, nn

from llpf_plugin import Task, TensorData
from llpf_plugin.quality import relative_flatness
from llpf_plugin.workspace import Workspace


def test_relative_flatness_of_least_squares() -> None:
    """Half the squared error summed over outputs: H is the identity in the scores, so κ = ‖W‖² · mean ‖x‖²."""
    x, y = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.zeros(2, 2)

    def half_squares(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return 0.5 * (model(batch[0]) - batch[1]).square().sum(1).mean()

    task = Task(nn.Linear(2, 2, bias=False), TensorData(x, y), objective=half_squares)
    found = relative_flatness(Workspace(task), matrix((1, 2), (0, 3)))
    assert found.value == pytest.approx(14 * (5 + 1) / 2)


def test_relative_flatness_of_cross_entropy_is_the_published_closed_form() -> None:
    """``mean ‖x‖²·(Σ_s G_ss·p_s − pᵀGp)`` with ``G = W·Wᵀ``, and the definition itself by a whole Hessian."""
    task, w = classes(), matrix((1.0, 0.5), (-0.25, 2.0))
    x, y = task.train.inputs.double(), task.train.targets  # type: ignore[attr-defined]
    weight = w["weight"].double()
    p, gram = (x @ weight.T).softmax(1), weight @ weight.T
    closed = (x.square().sum(1) * (p @ gram.diag() - ((p @ gram) * p).sum(1))).mean()
    hessian = torch.func.hessian(lambda v: nn.functional.cross_entropy(x @ v.T, y))(weight)
    blocks = torch.einsum("sjtj->st", hessian)
    found = relative_flatness(Workspace(task), w)
    assert found.value == pytest.approx(float(closed), rel=1e-5)
    assert found.value == pytest.approx(float((gram * blocks).sum()), rel=1e-5)


def test_relative_flatness_needs_a_linear_last_layer() -> None:
    task = Task(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), classes().train)
    weights = {k: t.detach() for k, t in task.model.named_parameters()}
    assert "linear layer" in relative_flatness(Workspace(task), weights).why
