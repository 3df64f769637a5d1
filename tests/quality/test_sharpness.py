import numpy as np
import pytest
import torch
from helpers.planes import data, plane, squares

from llpf_plugin.quality import sharpness
from llpf_plugin.workspace import Workspace


def test_sharpness_of_a_bowl() -> None:
    """Loss w·w at a point of norm 5, moved by a vector of length 5r in direction δ: 25 + 50·r·cos + 25·r²."""
    train = data((1, 0, 0), (0, 1, 0))
    task = plane(lambda model, batch: 2 * squares(model, batch), train=train)
    weights = {"weight": torch.tensor([[3.0, 4.0]])}
    found = sharpness(Workspace(task), weights, radii=(0.0, 0.1, 0.2), directions=4)
    assert found.losses.shape == (3, 4)
    assert found.losses[0] == pytest.approx(25)
    cosines = (found.losses[1] - 25 - 0.25) / 5
    assert (np.abs(cosines) <= 1 + 1e-6).all() and len(set(cosines.round(6))) == 4
    assert found.losses[2] == pytest.approx(25 + 10 * cosines + 1, rel=1e-5)
    assert found.mean == pytest.approx(found.losses.mean(1))
    again = sharpness(Workspace(task), weights, radii=(0.0, 0.1, 0.2), directions=4)
    assert (again.losses == found.losses).all()
