"""Sums over ranks: gradients, statistics and losses are those of one process, the same bits on every rank."""

import pytest
import torch
from helpers import rank_work, ranks, tiny


def test_a_gradient_is_the_whole_batchs_and_missing_where_no_rank_has_one() -> None:
    loss, grads = rank_work.gradients()
    for shared, summed in ranks.run(rank_work.gradients):
        assert shared == pytest.approx(loss, rel=1e-6)
        assert summed["none"] is None and grads["none"] is None
        for name in ("small", "large"):
            torch.testing.assert_close(summed[name], grads[name])


@pytest.mark.parametrize(("sample", "batch"), [(None, 17), (70, 8), (20, 20)])
def test_a_point_is_measured_as_by_one_process(sample: int | None, batch: int) -> None:
    row, buffers, losses, passes = rank_work.measured(sample, batch)
    (first, other) = ranks.run(rank_work.measured, sample, batch)
    assert first[0] == other[0] and first[2] == other[2] and tiny.same(first[1], other[1])
    for name in ("train", "validation", "test", "train_accuracy", "validation_accuracy", "test_accuracy"):
        assert first[0][name] == pytest.approx(row[name], rel=1e-5), name
    for name, buffer in buffers.items():
        torch.testing.assert_close(first[1][name], buffer)
    assert first[2] == pytest.approx(losses, rel=1e-5)
    assert first[3] == other[3] == passes
