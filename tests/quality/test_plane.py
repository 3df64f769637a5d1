import numpy as np
import pytest
from helpers.planes import corner, plane, straight

from llpf_plugin import measure
from llpf_plugin.quality import loss_plane


def test_the_plane_through_three_points() -> None:
    """The corner (0,0), (3,0), (3,4): along is (0.6, 0.8); the middle, 3.5 along the path, is (3, 0.5)."""
    found = loss_plane(measure(corner(), plane(), points=1), columns=4, rows=5)
    assert found.marks["A"] == (0, 0) and found.marks["B"] == pytest.approx((5, 0))
    assert found.marks["middle"] == pytest.approx((3 * 0.6 + 0.5 * 0.8, 3 * 0.8 - 0.5 * 0.6))
    assert found.knots[1] == pytest.approx([1.8, 2.4]) and found.away == pytest.approx(np.zeros(3), abs=1e-9)
    # On the plane w₀ = 0.6·x + 0.8·y, and the loss is w₀².
    grid_x, grid_y = np.meshgrid(found.x, found.y)
    assert found.loss == pytest.approx((0.6 * grid_x + 0.8 * grid_y) ** 2, rel=1e-5, abs=1e-6)
    assert found.x[0] == pytest.approx(-0.2 * 5) and found.y[-1] == pytest.approx(2.4 + 0.2 * 5)


def test_no_plane_through_a_straight_line() -> None:
    found = loss_plane(measure(straight((0, 0), (1, 1)), plane(), points=1))
    assert "straight line" in found.why and found.loss.size == 0
