import pytest
import torch
from torch import Tensor, nn

from llpf_plugin import Task, TensorData
from llpf_plugin.geometry.weights import Weights, layers_of
from llpf_plugin.quality import layer_barriers
from llpf_plugin.workspace import Workspace


class TwoLayers(nn.Module):
    """``x ↦ v·u·x``."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1] → [n, 1]``."""
        return self.v(self.u(x))


def point(u: float, v: float) -> Weights:
    return {"u.weight": torch.tensor([[float(u)]]), "v.weight": torch.tensor([[float(v)]])}


def test_layer_barriers() -> None:
    """Loss (uv − 1)². A = (1, 1), B = (−1, −1), both 0. u alone at A: (u − 1)², 4 where it is B's; v likewise."""
    train = TensorData(torch.ones(1, 1), torch.ones(1))
    task = Task(TwoLayers(), train, objective=lambda m, b: (m(b[0])[:, 0] - b[1]).square().mean())
    a, b = point(1, 1), point(-1, -1)
    found = layer_barriers(Workspace(task), a, b, layers_of(list(a)), points=4)
    assert [x.layer for x in found] == ["u", "v"]
    assert [(x.at_a, x.at_b) for x in found] == [pytest.approx((4, 4))] * 2
    b = point(3, 1)  # loss 4; u from 1 to 3 at A is the whole way: (u − 1)² under the chord 4t
    found = layer_barriers(Workspace(task), a, b, layers_of(list(a)), points=4)
    assert found[0].at_a == pytest.approx(0)
    assert found[1].at_b == pytest.approx(4)  # v stands still, at B: 4 − 4t, highest at t = 0
