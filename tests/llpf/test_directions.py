"""Directions: where a walk goes, which spheres hold, and when it has arrived; every law without settling."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llpf_plugin.geometry import moves, sphere
from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.geometry.scale_groups import ScaleGroup
from llpf_plugin.geometry.sphere import ON_SPHERE
from llpf_plugin.geometry.weights import Weights, clone, distance
from llpf_plugin.llpf.directions import Direction, Move, ToModel, ToOrigin
from llpf_plugin.llpf.step_control import Backtracking, Scheduled, StepControl
from llpf_plugin.methods.base import Outcome

SHAPES = {"stem.weight": (4, 3), "stem.bias": (4,), "norm.weight": (4,), "head.weight": (2, 4), "head.bias": (2,)}
EVERYTHING = frozenset(SHAPES)
GROUPS = (ScaleGroup("stem.weight", ("stem.bias",)), ScaleGroup("head.weight", ("head.bias",)))


def drawn(seed: int, scale: float = 1.0) -> Weights:
    rng = torch.Generator().manual_seed(seed)
    return {k: scale * torch.randn(shape, generator=rng, dtype=torch.float64) for k, shape in SHAPES.items()}


def tick(direction: Direction, control: StepControl, share: float, active: frozenset[str] = EVERYTHING) -> Move:
    """Move and project, as a walk does before it settles."""
    if direction.start_gaps.numel() == 0:
        direction.start_gaps = direction.gaps(active)
    move = direction.propose(active, control, share)
    weights, destination = direction.weights, [direction.destination[k] for k in move.names]
    moves.move_([weights[k] for k in move.names], destination, move.fractions)
    sphere.project_([weights[k] for k in direction.spheres], direction.spheres.values())
    return move


def variances(weights: Mapping[str, Tensor]) -> dict[str, float]:
    return {k: sphere.variance(t) for k, t in weights.items() if t.dim() > 1}


seeds = st.integers(0, 2**32)
shares = st.floats(0.01, 1)


# To a model -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correct", ["matrices", "all", "none"])
def test_the_destination_is_the_end_on_the_spheres_of_the_start(correct: sphere.Correct) -> None:
    start, end = drawn(0), drawn(1, 2.0)
    before = clone(end)
    direction = ToModel(start, end, correct)
    held = {k for k, t in start.items() if correct == "all" or (correct == "matrices" and t.dim() > 1)}
    assert set(direction.spheres) == held
    for k, d in direction.destination.items():
        mean = end[k].mean()
        there = mean + (start[k].var(correction=0) / end[k].var(correction=0)).sqrt() * (end[k] - mean)
        torch.testing.assert_close(d, there if k in held else end[k])
        assert direction.spheres.get(k, 0) == (pytest.approx(float(start[k].var(correction=0))) if k in held else 0)
    assert all(torch.equal(t, before[k]) for k, t in end.items())
    assert (direction.exact, direction.rates, direction.lost) == ((), None, Outcome.COLLAPSED)


def test_a_move_to_a_model_by_hand() -> None:
    """The bias is 5 from its end, the matrix (1, −1) lies on its sphere 2·√2 from (−1, 1)."""
    weights = {"w": torch.tensor([[1.0, -1.0]]), "b": torch.tensor([0.0, 0.0])}
    direction = ToModel(weights, {"w": torch.tensor([[-3.0, 3.0]]), "b": torch.tensor([3.0, 4.0])}, "matrices")
    active = frozenset({"w", "b"})
    assert direction.gaps(active).tolist() == pytest.approx([8**0.5, 5.0])
    direction.start_gaps = direction.gaps(active)
    move = direction.propose(active, Scheduled(9, StepRule(step_c=1.0)), 1.0)
    assert list(move.names) == ["w", "b"] and move.fractions.tolist() == pytest.approx([1 / 8**0.5, 1 / 5])
    assert not move.whole and move.gap == move.start_gap == pytest.approx(33**0.5)
    only = direction.propose(frozenset({"b"}), Scheduled(9, StepRule(step_c=9.0)), 1.0)
    assert list(only.names) == ["b"] and only.whole and only.gap == pytest.approx(5.0)


def test_a_layer_that_moves_as_one_vector_by_hand() -> None:
    """Weight and bias are 3 and 4 from their ends: together 5, of which a step of 1 is a fifth in both.

    On their own, the weight would move a third of its way and the bias a quarter.
    """
    weights = {"l.weight": torch.tensor([[0.0, 0.0]]), "l.bias": torch.tensor([0.0]), "m.weight": torch.tensor([[0.0]])}
    end = {"l.weight": torch.tensor([[3.0, 0.0]]), "l.bias": torch.tensor([4.0]), "m.weight": torch.tensor([[8.0]])}
    direction = ToModel(weights, end, "none")
    active = frozenset(weights)
    direction.start_gaps = direction.gaps(active)
    together = direction.propose(active, Scheduled(9, StepRule(step_c=1.0), "layers"), 1.0)
    assert together.fractions.tolist() == pytest.approx([1 / 5, 1 / 5, 1 / 8])
    alone = direction.propose(active, Scheduled(9, StepRule(step_c=1.0)), 1.0)
    assert alone.fractions.tolist() == pytest.approx([1 / 3, 1 / 4, 1 / 8])
    weights["l.weight"].copy_(end["l.weight"])  # of the first distance, 5, a tenth is left to the bias, 4 from its end
    later = direction.propose(active, Scheduled(9, StepRule(step_f=0.1), "layers"), 1.0)
    assert later.fractions.tolist() == pytest.approx([0.5 / 4, 0.5 / 4, 0.8 / 8])


@given(seeds, seeds, st.lists(shares, min_size=1, max_size=6), st.sampled_from(("matrices", "all", "none")))
def test_spheres_are_held_and_no_tick_goes_past_the_destination(
    a: int, b: int, walked: list[float], correct: sphere.Correct
) -> None:
    direction = ToModel(drawn(a), drawn(b), correct)
    held = {k: sphere.variance(direction.weights[k]) for k in direction.spheres}
    for share in walked:
        before = clone(direction.weights)
        move = direction.propose(EVERYTHING, Backtracking(9.0), share)
        assert bool(((move.fractions >= 0) & (move.fractions <= 1)).all())
        tick(direction, Backtracking(9.0), share)
        for k, p in direction.weights.items():
            d, was = direction.destination[k], before[k]
            if k in held:
                assert sphere.variance(p) == pytest.approx(held[k], rel=1e-9)
            else:
                eps = 1e-9 * (was.abs() + d.abs())
                assert bool((torch.minimum(was, d) - eps <= p).all() and (p <= torch.maximum(was, d) + eps).all())
                assert (d - p).norm() <= (d - was).norm() * (1 + 1e-9)


@given(seeds, seeds)
def test_a_share_of_1_is_the_whole_way(a: int, b: int) -> None:
    direction = ToModel(drawn(a), drawn(b), "matrices")
    assert not direction.near() or distance(direction.weights, direction.destination) < 1
    move = tick(direction, Backtracking(9.0), 1.0)
    assert move.whole and direction.near() and direction.moving()
    assert distance(direction.weights, direction.destination) <= 1e-12 * move.start_gap


@given(seeds, seeds)
def test_a_share_of_0_moves_nothing(a: int, b: int) -> None:
    direction = ToModel(drawn(a), drawn(b), "none")
    before = clone(direction.weights)
    move = tick(direction, Backtracking(9.0), 0.0)
    assert move.whole is (a == b)  # where nothing is left to be moved, all of it is
    assert all(torch.equal(p, before[k]) for k, p in direction.weights.items())


def test_near_is_within_a_hundredth_in_every_layer() -> None:
    """Layers, not tensors: a bias far from its end may be small beside its matrix."""
    end = {
        "a.weight": torch.tensor([[3.0, -3.0]]),
        "a.bias": torch.tensor([0.001]),
        "b.weight": torch.tensor([[1.0, -1.0]]),
    }
    weights = {k: t.clone() for k, t in end.items()}
    direction = ToModel(weights, end, "none")
    weights["a.bias"].add_(0.04)  # of √18.000001
    assert direction.near()
    weights["b.weight"].add_(0.011)  # of √2, in both elements
    assert not direction.near()


def test_tensors_of_low_precision_walk_in_the_dtype_of_the_start() -> None:
    start = {k: t.float() for k, t in drawn(0).items()}
    direction = ToModel(start, {k: t.bfloat16() for k, t in drawn(1).items()}, "matrices")
    assert all(d.dtype == torch.float32 for d in direction.destination.values())


# To the origin --------------------------------------------------------------------------------------------------------


def to_origin(seed: int = 0, part: float = 0.0, **options: object) -> ToOrigin:
    weights = drawn(seed)
    targets = {g.matrix: part * sphere.variance(weights[g.matrix]) for g in GROUPS}
    return ToOrigin(weights, GROUPS, targets, **options)  # type: ignore[arg-type]


@given(seeds, st.sampled_from((0.0, 0.1, 0.5)), st.lists(shares, min_size=1, max_size=8))
def test_variances_fall_tick_by_tick_and_never_below_their_spheres(seed: int, part: float, walked: list[float]) -> None:
    direction = to_origin(seed, part)
    norm = direction.weights["norm.weight"].clone()
    seen = [variances(direction.weights)]
    for share in walked:
        if direction.moving():
            tick(direction, Backtracking(9.0), share)
            seen.append(variances(direction.weights))
    for before, after in pairwise(seen):
        for k, target in direction.wanted.items():
            assert after[k] <= before[k] * (1 + 1e-6)
            assert after[k] >= target * (1 - 1e-6)
    assert torch.equal(direction.weights["norm.weight"], norm)


@given(seeds, st.floats(0.05, 0.9))
def test_a_group_that_arrived_is_held_on_its_sphere(seed: int, part: float) -> None:
    direction = to_origin(seed, part)
    move = tick(direction, Backtracking(9.0), 1.0)
    assert set(direction.spheres) == {g.matrix for g in GROUPS} and not move.whole
    for k, target in direction.wanted.items():
        assert sphere.variance(direction.weights[k]) == pytest.approx(target, rel=1e-9)
    assert not direction.moving() and direction.near()
    direction.weights["stem.weight"].mul_(1.5)  # settling moved it
    assert direction.moving() and not direction.near()
    tick(direction, Backtracking(9.0), 1.0)
    assert not direction.moving()


@given(seeds, st.floats(0.05, 0.5))
def test_the_vectors_of_a_group_shrink_with_its_matrix(seed: int, share: float) -> None:
    direction = to_origin(seed)
    before = clone(direction.weights)
    tick(direction, Backtracking(9.0), share)
    for group in GROUPS:
        for name in group.names:
            torch.testing.assert_close(direction.weights[name], before[name] * (1 - share), rtol=1e-6, atol=0)


def test_the_distance_to_the_spheres_by_hand() -> None:
    """(−2, 2) has the variance 4 and the norm √8; to the variance 1 it is half of its way."""
    weights = {"w": torch.tensor([[-2.0, 2.0]]), "v": torch.tensor([[-1.0, 1.0]])}
    groups = (ScaleGroup("w"), ScaleGroup("v"))
    direction = ToOrigin(weights, groups, {"w": 1.0, "v": 1.0})
    direction.start_gaps = direction.gaps(frozenset())
    assert direction.start_gaps.tolist() == pytest.approx([8**0.5 / 2, 0.0])
    move = direction.propose(frozenset({"w", "v"}), Scheduled(9, StepRule(step_c=0.5)), 1.0)
    assert list(move.names) == ["w"] and move.fractions.tolist() == pytest.approx([0.5 / 8**0.5])
    assert list(direction.spheres) == ["v"] and move.gap == pytest.approx(8**0.5 / 2)
    far = direction.propose(frozenset({"w"}), Scheduled(9, StepRule(step_a=0.9)), 1.0)
    assert far.fractions.tolist() == [0.5] and set(direction.spheres) == {"w", "v"}


def test_what_is_not_active_or_rests_does_not_move() -> None:
    direction = to_origin()
    assert list(direction.propose(frozenset({"head.weight"}), Backtracking(9.0), 0.5).names) == [
        "head.weight",
        "head.bias",
    ]
    rest = direction.propose(EVERYTHING, Backtracking(9.0), 0.0)
    assert list(rest.names) == [] and rest.fractions.numel() == 0


def test_angle_conformal_is_the_variance_over_that_at_the_start() -> None:
    """The factor on each layer's learning rate, by its variance after the move; a normalization keeps its own."""
    direction = to_origin()
    tick(direction, Backtracking(9.0), 0.0)  # nothing moves: settling on the spot
    assert direction.rates == pytest.approx([1.0] * 5)
    tick(direction, Backtracking(9.0), 0.5)
    assert direction.rates == pytest.approx([0.25, 0.25, 1.0, 0.25, 0.25])
    direction.weights["stem.weight"].mul_(0.5)  # settling moved it
    tick(direction, Backtracking(9.0), 0.5)
    assert direction.rates == pytest.approx([1 / 64, 1 / 64, 1.0, 1 / 16, 1 / 16])
    plain = to_origin(angle_conformal=False)
    tick(plain, Backtracking(9.0), 0.5)
    assert plain.rates == [1.0] * 5


@given(seeds, st.sampled_from((0.0, 0.1, 0.5)), st.lists(shares, min_size=1, max_size=8))
def test_angle_conformal_knows_the_variance_of_what_will_settle(seed: int, part: float, walked: list[float]) -> None:
    """Also of a layer that the move brings to its sphere, or that drifted from it and is projected."""
    direction = to_origin(seed, part)
    start = variances(direction.weights)
    for share in walked:
        tick(direction, Backtracking(9.0), share)
        now = {k: v / start[k] for k, v in variances(direction.weights).items()}
        told = dict(zip(direction.weights, direction.rates, strict=True))
        assert {k: told[k] for k in now} == pytest.approx(now, rel=1e-4, abs=1e-9)
        direction.weights["head.weight"].mul_(1.0 + share / 10)


def test_at_the_origin_itself_nothing_arrives() -> None:
    direction = to_origin()
    assert direction.endless and direction.near() and direction.moving()
    assert direction.lost is Outcome.EDGE
    tick(direction, Backtracking(9.0), 0.999)
    assert direction.moving() and direction.spheres == {}


def test_a_group_within_a_hair_of_its_sphere_has_arrived() -> None:
    direction = to_origin(part=1 / (ON_SPHERE * (1 - 1e-9)))
    assert not direction.moving()
    assert to_origin(part=1 / (ON_SPHERE * (1 + 1e-6))).moving()
