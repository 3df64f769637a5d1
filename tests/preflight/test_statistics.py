"""Statistics of two models by hand, and which spheres differ."""

import pytest
import torch
from helpers.findings import of_level

from llpf_plugin.preflight import compare, layer_statistics, off_sphere


def test_statistics_by_hand() -> None:
    a = {"w": torch.tensor([[1.0, -1.0], [1.0, -1.0]]), "bias": torch.ones(3), "n": torch.ones(2, 2).long()}
    b = {"w": torch.tensor([[2.0, -2.0], [-2.0, 2.0]]), "bias": torch.ones(3), "n": torch.ones(2, 2).long()}
    (row,) = layer_statistics(a, b)
    assert (row.name, row.shape) == ("w", (2, 2))
    assert (row.variance_a, row.variance_b, row.ratio) == pytest.approx((1.0, 4.0, 4.0))
    assert row.cosine == 0.0
    assert row.distance == pytest.approx((1 + 1 + 9 + 9) ** 0.5)
    assert off_sphere([row]) == []  # four elements differ that much by chance


@pytest.mark.parametrize(("scale", "differs"), [(1.0, False), (1.13, False), (1.17, True), (0.88, False), (0.85, True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_variance_spheres_differ_beyond_a_ratio(scale: float, differs: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    w = torch.randn(200, 50) + 3
    rows = layer_statistics({"w": w.to(dtype)}, {"w": (w * scale).to(dtype)})
    assert bool(off_sphere(rows)) == differs


def test_constant_and_one_element_tensors_have_no_sphere() -> None:
    a = {"zero": torch.zeros(3, 3), "one": torch.ones(1, 1), "grown": torch.zeros(2, 2)}
    b = {"zero": torch.zeros(3, 3), "one": torch.full((1, 1), 5.0), "grown": torch.eye(2)}
    rows = layer_statistics(a, b)
    assert [row.ratio for row in rows] == [1.0, 1.0, float("inf")]
    assert off_sphere(rows) == []
    assert of_level(compare({**a, "x": torch.ones(3)}, {**b, "x": torch.zeros(3)}), "error") == []
