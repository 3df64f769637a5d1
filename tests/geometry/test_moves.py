import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llpf_plugin.geometry import moves
from llpf_plugin.geometry.moves import StepRule, joint

DTYPES = (torch.float64, torch.float32, torch.bfloat16)
fractions = st.one_of(st.floats(0, 1), st.sampled_from((0.0, 1.0, 0.5)))


@st.composite
def legs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """A tensor and its destination, near or far."""
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(((), (1,), (6,), (3, 4))))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    p, d = torch.randn(2, *shape, generator=rng, dtype=torch.float64) * 10 ** draw(st.floats(-6, 3))
    return p.to(dtype), (p + 10 ** draw(st.floats(-6, 1)) * (d - p)).to(dtype)


@given(legs(), fractions)
def test_a_move_never_overshoots(leg: tuple[Tensor, Tensor], fraction: float) -> None:
    p, d = leg
    moved = p.clone()
    moves.move_([moved], [d], torch.tensor([fraction]))
    assert (torch.minimum(p, d) <= moved).all() and (moved <= torch.maximum(p, d)).all()


@given(legs(), fractions)
def test_a_move_never_increases_the_distance(leg: tuple[Tensor, Tensor], fraction: float) -> None:
    p, d = leg
    moved = p.clone()
    moves.move_([moved], [d], torch.tensor([fraction]))
    assert (d.double() - moved.double()).norm() <= (d.double() - p.double()).norm()


@given(legs(), fractions)
def test_a_move_is_the_straight_segment(leg: tuple[Tensor, Tensor], fraction: float) -> None:
    p, d = leg
    moved = p.clone()
    moves.move_([moved], [d], torch.tensor([fraction], dtype=torch.float64))
    exact = p.double() + fraction * (d.double() - p.double())
    eps = torch.finfo(p.dtype).eps
    assert ((moved.double() - exact).abs() <= 2 * eps * (p.double().abs() + d.double().abs())).all()


@given(legs())
def test_a_move_is_exact_at_both_ends(leg: tuple[Tensor, Tensor]) -> None:
    p, d = leg
    still, there = p.clone(), p.clone()
    moves.move_([still, there], [d, d], torch.tensor([0.0, 1.0]))
    assert torch.equal(still, p) and torch.equal(there, d)


def test_each_tensor_moves_by_its_own_fraction_in_place() -> None:
    p, q = torch.zeros(2), torch.zeros(2, 2)
    destination = [torch.tensor([4.0, 8.0]), torch.full((2, 2), 10.0)]
    moves.move_([p, q], destination, torch.tensor([0.25, 0.5]))
    assert p.tolist() == [1.0, 2.0] and q.tolist() == [[5.0, 5.0], [5.0, 5.0]]
    assert destination[0].tolist() == [4.0, 8.0]


def test_gaps_are_euclidean_distances_one_a_tensor() -> None:
    p = [torch.tensor([1.0, 1.0]), torch.zeros(2, 2), torch.tensor(3.0)]
    d = [torch.tensor([4.0, 5.0]), torch.ones(2, 2), torch.tensor(3.0)]
    assert moves.gaps(p, d).tolist() == [5.0, 2.0, 0.0]
    assert moves.gaps([], []).shape == (0,)


@pytest.mark.parametrize(
    ("dtype", "wide"), [(torch.float64, torch.float64), (torch.bfloat16, torch.float32), (torch.float32, torch.float32)]
)
def test_gaps_are_summed_in_a_wide_type(dtype: torch.dtype, wide: torch.dtype) -> None:
    # 4096 squares of 1: a sum in bfloat16 would stop growing at 256.
    gap = moves.gaps([torch.zeros(4096, dtype=dtype)], [torch.ones(4096, dtype=dtype)])
    assert gap.dtype == wide and gap.tolist() == [64.0]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (StepRule(step_c=0.5), 0.5 / 4),
        (StepRule(step_a=0.1), 0.1),
        (StepRule(step_f=0.05), 0.05 * 10 / 4),
        (StepRule(step_c=0.5, step_a=0.1), 0.5 / 4),  # the longer of the two: 0.5 and 0.1·4
        (StepRule(step_c=0.1, step_a=0.1), 0.1),  # 0.1 and 0.4
        (StepRule(step_c=0.1, step_a=0.1, step_f=0.05), 0.6 / 4),  # 0.1 + 0.05·10 and 0.4
        (StepRule(step_c=9.0), 1.0),  # never past the destination
        (StepRule(), 0.0),
    ],
)
def test_step_rule_by_hand(rule: StepRule, expected: float) -> None:
    """A tensor 4 away from its destination that was 10 away when the phase began."""
    assert rule.fractions(torch.tensor([4.0]), torch.tensor([10.0])).tolist() == [pytest.approx(expected)]


def test_step_rule_is_per_tensor_and_stays_at_the_destination() -> None:
    got = StepRule(step_c=1.0, step_a=0.25).fractions(torch.tensor([2.0, 8.0, 0.0]), torch.tensor([8.0, 8.0, 8.0]))
    assert got.tolist() == [0.5, 0.25, 1.0]


@given(st.floats(0, 1e3), st.floats(0, 1e3), st.floats(0, 2), st.floats(0, 2), st.floats(0, 2))
def test_step_rule_is_a_share(gap: float, start: float, c: float, a: float, f: float) -> None:
    got = float(StepRule(c, a, f).fractions(torch.tensor([gap]), torch.tensor([start])))
    assert 0 <= got <= 1


def test_the_distance_of_tensors_that_count_as_one_vector() -> None:
    assert joint(torch.tensor([3.0, 4.0, 7.0]), ["a", "a", "b"]).tolist() == [5, 5, 7]
    assert joint(torch.tensor([3.0, 4.0, 12.0]), ["a", "b", "a"]).tolist() == pytest.approx([153**0.5, 4, 153**0.5])
    assert joint(torch.tensor([3.0, 4.0]), ["a", "b"]).tolist() == [3, 4]
    assert joint(torch.zeros(0), []).tolist() == []


def test_distances_that_a_gpu_takes_in_groups_are_the_same() -> None:
    rng = torch.Generator().manual_seed(0)
    pairs = [tuple(torch.randn(shape, generator=rng) for _ in "pd") for shape in ((3, 4), (7,), (50, 70))]
    torch.testing.assert_close(moves._grouped_squares(pairs), moves._squares(pairs))  # type: ignore[arg-type]
