import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llpf_plugin import Path
from llpf_plugin.geometry.path import simplify
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.records import Knot


def at(*values: float) -> Weights:
    return {"w": torch.tensor(values)}


def corner() -> Path:
    """3 to the right, then 4 up, then nothing: length 7, ends 5 apart."""
    knots = [at(0.0, 0.0), at(3.0, 0.0), at(3.0, 4.0), at(3.0, 4.0)]
    return Path(knots, knots[0], knots[-1])


def test_lengths_by_hand() -> None:
    path = corner()
    assert path.segment_lengths.tolist() == [3.0, 4.0, 0.0]
    assert path.length == 7.0
    assert path.length_ratio == pytest.approx(7 / 5)
    assert path.positions.tolist() == [0.0, 3 / 7, 1.0, 1.0]


def test_points_by_arc_length() -> None:
    path = corner()
    assert torch.allclose(path.coordinates(1.5 / 7)["w"], torch.tensor([1.5, 0.0]))
    assert torch.allclose(path.coordinates(5 / 7)["w"], torch.tensor([3.0, 2.0]))


@given(st.integers(0, 2**32), st.integers(2, 9), st.sampled_from((torch.float32, torch.float64, torch.bfloat16)))
def test_exact_at_every_knot(seed: int, count: int, dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(seed)
    knots = [{"w": torch.randn(3, generator=rng).to(dtype)} for _ in range(count)]
    path = Path(knots, knots[0], knots[-1])
    for position, knot in zip(path.positions, knots, strict=True):
        assert torch.equal(path.coordinates(float(position))["w"], knot["w"])
        assert torch.equal(path.at(float(position))["w"], knot["w"])


@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_no_two_points_are_further_apart_than_the_way_between_them(seed: int, s: float, t: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    knots = [{"w": torch.randn(3, generator=rng, dtype=torch.float64)} for _ in range(5)]
    path = Path(knots, knots[0], knots[-1])
    gap = float((path.coordinates(s)["w"] - path.coordinates(t)["w"]).norm())
    assert gap <= abs(s - t) * path.length * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("t", [-0.01, 1.01, math.nan])
def test_outside_of_the_path_is_refused(t: float) -> None:
    with pytest.raises(ValueError, match="outside the path"):
        corner().coordinates(t)


def test_a_path_has_two_knots() -> None:
    with pytest.raises(ValueError, match="at least 2 knots, got 1"):
        Path([at(0.0)], at(0.0), at(0.0))


def test_a_path_that_stands_still() -> None:
    path = Path([at(1.0)] * 3, at(1.0), at(1.0))
    assert path.positions.tolist() == [0.0, 0.5, 1.0] and path.length == 0
    assert path.at(0.3)["w"].tolist() == [1.0]


def complete() -> Path:
    """A path of one coordinate under two names, with statistics, a counter and a mask beside it."""

    def state(w: float, mean: float, count: int) -> dict[str, Tensor]:
        weight = torch.tensor([w])
        rest = {"norm.running_mean": torch.tensor([mean]), "norm.num_batches_tracked": torch.tensor(count)}
        return {"embed.weight": weight, **rest, "head.weight": weight, "mask": torch.tensor([0.0, -math.inf])}

    start, end = state(0.0, 10.0, 7), state(8.0, 20.0, 9)
    knots = [{"embed.weight": torch.tensor([w])} for w in (0.0, 4.0, 8.0)]
    return Path(knots, start, end, ties={"head.weight": "embed.weight"})


def test_at_is_the_whole_state_dict_and_exact_at_both_ends() -> None:
    path = complete()
    for t, whole in ((0.0, path.start), (1.0, path.end)):
        got = path.at(t)
        assert set(got) == set(whole)
        assert all(torch.equal(got[k], whole[k]) and got[k].dtype == whole[k].dtype for k in whole)


def test_at_keeps_ties_and_has_as_buffers_up_to_b() -> None:
    point = complete().at(0.25)
    assert point["embed.weight"].tolist() == [2.0]
    assert point["head.weight"] is point["embed.weight"]
    assert point["norm.running_mean"].tolist() == [10.0]
    assert point["norm.num_batches_tracked"].item() == 7 and complete().at(0.75)["norm.num_batches_tracked"].item() == 7
    assert complete().at(1.0)["norm.num_batches_tracked"].item() == 9
    assert point["mask"].tolist() == [0.0, -math.inf]


def test_ties_that_a_file_leaves_out_stay_out() -> None:
    path = complete()
    path.start = {k: t for k, t in path.start.items() if k != "head.weight"}
    assert set(path.at(0.5)) == set(path.start)


def test_the_last_settled_knot_and_where_it_was_to_go() -> None:
    knots = [at(float(i)) for i in range(5)]
    kinds = ["start", "settled", "settled", "closing", "end"]
    path = Path(knots, knots[0], knots[-1], [Knot(k) for k in kinds])
    assert (path.last_settled, path.destination) == (2, 3)
    mended = Path(knots, knots[0], knots[-1], [Knot(k) for k in ("start", "settled", "curve", "closing", "end")])
    assert (mended.last_settled, mended.destination) == (1, 3) and mended.closing_length == 3 * mended.length / 4
    line = Path([knots[0], knots[-1]], knots[0], knots[-1], [Knot("start"), Knot("end")])
    assert (line.last_settled, line.destination) == (1, 1)
    curve = Path(knots, knots[0], knots[-1], [Knot(k) for k in ("start", "curve", "curve", "curve", "end")])
    assert (curve.last_settled, curve.destination) == (4, 4), "it ends at B by construction"
    tuned = Path(knots[:4], knots[0], knots[4], [Knot(k) for k in ("start", "settled", "settled", "settled")])
    assert (tuned.last_settled, tuned.destination, tuned.open, tuned.walked) == (3, 3, True, False)
    assert torch.equal(tuned.at(1)["w"], knots[3]["w"])
    assert Path(knots, knots[0], knots[-1]).last_settled == 3


@pytest.mark.parametrize(
    ("kinds", "walked", "length"),
    [
        (["start", "settled", "settled", "closing", "end"], True, 7.0),  # 3 to the destination, 4 to the end
        (["start", "settled", "closing", "reversed", "end"], True, 5.0),  # up to the leg that was walked from B
        (["start", "settled", "reversed", "reversed", "end"], True, 2.0),
        (["start", "curve", "curve", "curve", "end"], False, 0.0),
        (["start", "settled", "settled", "settled", "end"], True, 4.0),
    ],
)
def test_what_was_not_walked_is_its_closing(kinds: list[str], walked: bool, length: float) -> None:
    """Segments of 1, 2, 3 and 4."""
    knots = [at(x) for x in (0.0, 1.0, 3.0, 6.0, 10.0)]
    path = Path(knots, knots[0], knots[-1], [Knot(kind) for kind in kinds])
    assert path.walked is walked and path.closing_length == length
    assert Path(knots, knots[0], knots[-1]).walked  # without labels nothing else is known


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.floats(0.001, 0.5))
def test_simplify_keeps_both_ends_and_the_bound(heights: list[float], slack: float) -> None:
    """Knots ``(i, height)``: a chord may leave out what it passes within ``slack``."""

    def keeps(i: int, j: int) -> bool:
        chord = np.interp(np.arange(i, j + 1), [i, j], [heights[i], heights[j]])
        return bool(np.abs(chord - heights[i : j + 1]).max() <= slack)

    kept = simplify(range(len(heights)), keeps)
    assert kept[0] == 0 and kept[-1] == len(heights) - 1
    assert kept == sorted(set(kept))
    assert all(j == i + 1 or keeps(i, j) for i, j in pairwise(kept))


def test_simplify_drops_all_or_nothing() -> None:
    assert simplify([3, 5, 7, 11], lambda i, j: True) == [3, 11]
    assert simplify([3, 5, 7, 11], lambda i, j: False) == [3, 5, 7, 11]
    assert simplify([3, 5], lambda i, j: False) == [3, 5]
