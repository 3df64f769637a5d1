"""Two ranks walk where one process walks, to rounding."""

from pathlib import Path

import pytest
import torch
from helpers import rank_work, ranks, tiny
from helpers.searches import schedule

from llpf_plugin.geometry.weights import Weights


def farthest(one: list[Weights], other: list[Weights]) -> float:
    """The largest difference of two trails of the same length."""
    pairs = [(p[k], q[k]) for p, q in zip(one, other, strict=True) for k in p]
    return max(float((x - y).abs().max()) for x, y in pairs)


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


@pytest.mark.parametrize("size", [3])
def test_shares_need_not_be_equal(tmp_path: Path, size: int) -> None:
    one = rank_work.trail("mlp", tiny.pair("mlp"), schedule(tmp_path, 40), steps=20)
    three = ranks.run(rank_work.trail, "mlp", tiny.pair("mlp"), schedule(tmp_path, 40), 20, size=size)
    assert farthest(one, three[0]) <= 1e-5
