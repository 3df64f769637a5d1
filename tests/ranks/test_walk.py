"""Ranks compute, measure and walk as one process does, to rounding, and to the same bits each."""

from pathlib import Path

import pytest
import torch
from helpers import rank_work, ranks, tiny
from helpers.rank_work import farthest
from helpers.searches import schedule

from llpf_plugin.geometry.weights import Weights


def trails(name: str, reference: str, place: str, **until: int) -> tuple[list[Weights], list[list[Weights]]]:
    """Of one process, and of two ranks."""
    ends = tiny.pair("conv" if name == "conv" else "mlp")
    if name.endswith("64"):
        ends = tuple({k: t.double() for k, t in end.items()} for end in ends)  # type: ignore[assignment]
    one = rank_work.trail(reference, ends, place, **until)
    return one, ranks.run(rank_work.trail, name, ends, place, *until.values())


def test_without_batchnorm_fifty_steps_are_those_of_one_process(tmp_path: Path) -> None:
    one, two = trails("mlp", "mlp", schedule(tmp_path, 40), steps=50)
    assert len(one) == 25 and farthest(one, two[0]) <= 1e-5
    assert all(tiny.same(p, q) for p, q in zip(*two, strict=True))


def test_in_float64_twenty_ticks_are_those_of_one_process(tmp_path: Path) -> None:
    one, two = trails("mlp64", "mlp64", schedule(tmp_path, 40), steps=10**9, ticks=20)
    assert len(one) == 20 and one[0]["0.weight"].dtype == torch.float64
    assert farthest(one, two[0]) <= 1e-9


def test_with_batchnorm_each_rank_normalizes_its_own_half(tmp_path: Path) -> None:
    one, two = trails("conv", "halved", schedule(tmp_path, 40), steps=50)
    assert len(one) == 25 and farthest(one, two[0]) <= 1e-5
    whole = rank_work.trail("conv", tiny.pair("conv"), schedule(tmp_path, 40), steps=50)
    assert farthest(whole, two[0]) > 1e-3


@pytest.mark.slow
def test_shares_need_not_be_equal(tmp_path: Path) -> None:
    one = rank_work.trail("mlp", tiny.pair("mlp"), schedule(tmp_path, 40), steps=20)
    three = ranks.run(rank_work.trail, "mlp", tiny.pair("mlp"), schedule(tmp_path, 40), 20, size=3)
    assert farthest(one, three[0]) <= 1e-5


def test_a_gradient_is_the_whole_batchs_and_missing_where_no_rank_has_one() -> None:
    loss, grads = rank_work.gradients()
    for shared, summed in ranks.run(rank_work.gradients):
        assert shared == pytest.approx(loss, rel=1e-6)
        assert summed["none"] is None and grads["none"] is None
        for name in ("small", "large"):
            torch.testing.assert_close(summed[name], grads[name])


@pytest.mark.parametrize(("sample", "batch"), [(70, 8), (20, 20)])
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
