"""The tables of the paper's appendices A to C, by hand."""

import math

import pytest
import torch

from llpf_plugin.preflight import layer_statistics


def test_tables_of_the_appendices() -> None:
    """Variance (A), mean (B) and cosine (C) of (1, 3) against (−1, 5)."""
    (row,) = layer_statistics({"w": torch.tensor([[1.0, 3.0]])}, {"w": torch.tensor([[-1.0, 5.0]])})
    assert (row.variance_a, row.variance_b, row.mean_a, row.mean_b) == pytest.approx((1, 9, 2, 2))
    assert row.cosine == pytest.approx(14 / math.sqrt(10 * 26)) and row.distance == pytest.approx(math.sqrt(8))
    assert row.off_centre == pytest.approx(2) and row.ratio == pytest.approx(9)
