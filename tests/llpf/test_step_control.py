"""Step control: the share of the way that a tick moves and the factor on the learning rate, by hand and as laws."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.llpf.settling import Settled
from llpf_plugin.llpf.step_control import Backtracking, Scheduled, StepControl

LEAST, MOST = 2, 20
"""Steps of a settling."""


def settled(steps: int, mean: float, *, low: bool = False, rejected: bool = False, runaway: bool = False) -> Settled:
    return Settled(steps, mean, mean, rejected, low, runaway, steps / MOST, low and steps <= LEAST)


# By hand --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "gaps", "expected"),
    [
        (0.1, [6.0, 8.0], 0.2),  # 10 of 20 are left: a tenth of the whole is a fifth of what is left
        (0.1, [0.6, 0.8], 1.0),  # never past the destination
        (0.1, [12.0, 16.0], 0.1),
        (0.1, [0.0, 0.0], 1.0),
        (0.0, [6.0, 8.0], 0.0),
    ],
)
def test_backtracking_takes_one_fraction_for_all_gaps_together(
    share: float, gaps: list[float], expected: float
) -> None:
    got = Backtracking(1.0).fractions(torch.tensor(gaps), torch.tensor([12.0, 16.0]), share)
    assert got.tolist() == [pytest.approx(expected)] * 2


def test_without_a_first_distance_it_is_the_share_of_what_is_left() -> None:
    assert Backtracking(1.0).fractions(torch.tensor([6.0, 1.0]), None, 0.25).tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (settled(1, 9.0, rejected=True), 0.1),
        (settled(5, math.nan), 0.1),
        (settled(5, 9.0, runaway=True), 0.1),
        (settled(2, 0.05, low=True), 0.3),
        (settled(3, 0.05, low=True), 0.2),
        (settled(10, 0.05, low=True), 0.2),
        (settled(11, 0.05, low=True), 0.2 / 1.5),
        (settled(20, 0.2), 0.2 / 1.5),
        (settled(2, 0.2), 0.2),  # the budget cut it short
    ],
)
def test_how_settling_changes_the_share(how: Settled, expected: float) -> None:
    control = Backtracking(1.0, max_share=0.5, increase=1.5, long=0.5)
    assert control.after(0.2, 1.0, how, False, False)[0] == pytest.approx(expected)


def test_the_share_has_limits() -> None:
    control = Backtracking(1.0, min_share=0.01, max_share=0.25, increase=1.5, long=0.5)

    def after(share: float, how: Settled) -> float:
        return control.after(share, 1.0, how, False, False)[0]

    assert after(0.2, settled(2, 0.05, low=True)) == 0.25
    assert after(0.012, settled(20, 0.2)) == 0.01
    assert (
        after(0.012, settled(1, 9.0, rejected=True)) == 0.006
    )  # below the smallest: the walk settles on the spot first


@pytest.mark.parametrize(
    ("how", "strayed", "gained", "expected"),
    [
        (settled(3, 0.05, low=True), True, True, 0.25),  # straying counts more than gaining
        (settled(3, 9.0, runaway=True), False, True, 0.25),
        (settled(3, 0.05, low=True), False, True, 0.525),
        (settled(3, 0.05, low=True), False, False, 0.5),
        (settled(1, 9.0, rejected=True), False, False, 0.5),
    ],
)
def test_how_a_tick_changes_the_learning_rate(how: Settled, strayed: bool, gained: bool, expected: float) -> None:
    control = Backtracking(1.0, lr_decay=0.5, lr_increase=1.05)
    assert control.after(0.2, 0.5, how, strayed, gained)[1] == pytest.approx(expected)


@pytest.mark.parametrize(("gap", "expected"), [(40.0, 1.0), (30.0, 1.0), (15.0, 0.5), (3.0, 0.1), (0.0, 1 / 64)])
def test_the_learning_rate_falls_on_the_last_part_of_the_way(gap: float, expected: float) -> None:
    assert Backtracking(1.0, anneal_below=0.3).anneal(gap, 100.0) == pytest.approx(expected)
    assert Backtracking(1.0, anneal_below=0.0).anneal(gap, 100.0) == 1.0
    assert Backtracking(1.0).anneal(gap, 0.0) == 1.0


def test_when_a_phase_with_backtracking_ends() -> None:
    assert Backtracking(1.0).ends(0, True) and not Backtracking(1.0).ends(10**6, False)
    assert Backtracking(1.0, ticks=3).ends(3, False) and not Backtracking(1.0, ticks=3).ends(2, False)


def test_scheduled_is_its_rule() -> None:
    control = Scheduled(7, StepRule(step_c=1.0))
    gaps = torch.tensor([4.0, 0.5])
    assert control.fractions(gaps, gaps, 1.0).tolist() == [0.25, 1.0]
    assert control.fractions(gaps, gaps, 0.0).tolist() == [0.0, 0.0]
    assert control.after(1.0, 0.5, settled(20, 9.0), True, False) == (1.0, 0.5)
    assert control.after(1.0, 0.5, settled(2, math.nan), False, False)[0] < control.min_share
    assert control.anneal(0.001, 100.0) == 1.0 and control.reject_above == math.inf
    assert not control.ends(6, True) and control.ends(7, False)


def test_scheduled_uses_the_first_distance_where_there_is_one() -> None:
    control, gaps = Scheduled(1, StepRule(step_f=0.5)), torch.tensor([4.0])
    assert control.fractions(gaps, torch.tensor([6.0]), 1.0).tolist() == [0.75]
    assert control.fractions(gaps, None, 1.0).tolist() == [0.5]


# Laws -----------------------------------------------------------------------------------------------------------------

lengths = st.lists(st.floats(0, 1e6), min_size=1, max_size=5)
shares = st.floats(0, 1)
steps = st.floats(0, 10)


@st.composite
def settlings(draw: st.DrawFn) -> Settled:
    """Settlings as `settle` has them: one that was rejected took a step, and one that ran away is not low."""
    kind = draw(st.sampled_from(("kept", "rejected", "runaway", "not a number")))
    if kind == "rejected":
        return settled(1, 9.0, rejected=True)
    if kind == "not a number":
        return settled(draw(st.integers(1, MOST)), math.nan, runaway=True)
    low = kind == "kept" and draw(st.booleans())
    return settled(draw(st.integers(1, MOST)), draw(st.floats(0, 9)), low=low, runaway=kind == "runaway")


@st.composite
def backtrackings(draw: st.DrawFn) -> Backtracking:
    least = draw(st.floats(1e-4, 0.5))
    return Backtracking(
        1.0, min_share=least, max_share=draw(st.floats(least, 1)), increase=draw(st.floats(1, 4)),
        long=draw(st.floats(0, 1)), lr_decay=draw(st.floats(0.1, 1)), lr_increase=draw(st.floats(1, 2)),
        min_lr=draw(st.floats(1e-3, 1)), anneal_below=draw(st.floats(0, 1)),
    )  # fmt: skip


def controls() -> st.SearchStrategy[StepControl]:
    return st.one_of(
        backtrackings(), st.builds(Scheduled, st.integers(1, 99), st.builds(StepRule, steps, steps, steps))
    )


@given(controls(), lengths, st.data(), shares)
def test_fractions_are_in_0_to_1_and_grow_with_the_share(
    control: StepControl, gaps: list[float], data: st.DataObject, share: float
) -> None:
    start = data.draw(st.none() | st.lists(st.floats(0, 1e6), min_size=len(gaps), max_size=len(gaps)))
    now, first = torch.tensor(gaps), None if start is None else torch.tensor(start)
    got = control.fractions(now, first, share)
    assert got.shape == now.shape and bool(((got >= 0) & (got <= 1)).all())
    more = control.fractions(now, first, data.draw(st.floats(share, 1)))
    assert bool((more >= got).all())


@given(st.sampled_from((0.02, 0.05, 0.1, 0.25, 0.5)), st.lists(st.floats(0.1, 100), min_size=1, max_size=4))
def test_a_constant_share_arrives_in_1_over_share_ticks(share: float, start: list[float]) -> None:
    first = torch.tensor(start, dtype=torch.float64)
    gaps, ticks = first.clone(), 0
    while float(gaps.norm()) > 1e-9 * float(first.norm()):
        gaps = gaps * (1 - Backtracking(1.0).fractions(gaps, first, share))
        ticks += 1
        assert ticks <= 1 / share + 1
    assert ticks in (round(1 / share), round(1 / share) + 1)  # one more where rounding leaves a trace


@given(backtrackings(), st.floats(1e-6, 1), st.floats(0, 1), settlings(), st.booleans(), st.booleans())
def test_the_share_is_halved_or_stays_between_its_limits(
    control: Backtracking, share: float, lr: float, how: Settled, strayed: bool, gained: bool
) -> None:
    after, _ = control.after(share, lr, how, strayed, gained)
    if not how.accepted:
        assert after == share / 2
    elif how.easy:
        assert min(share, control.max_share) <= after <= control.max_share
    else:
        assert min(share, control.min_share) <= after <= max(share, control.min_share)


@given(backtrackings(), st.lists(st.tuples(settlings(), st.booleans(), st.booleans()), max_size=40))
def test_the_factor_on_the_learning_rate_stays_in_its_limits(
    control: Backtracking, ticks: list[tuple[Settled, bool, bool]]
) -> None:
    share, lr = control.share, 1.0
    for how, strayed, gained in ticks:
        before = lr
        share, lr = control.after(share, lr, how, strayed, gained)
        assert control.min_lr <= lr <= 1
        assert lr <= before if strayed or how.runaway else lr >= before
        assert 0 < share <= max(control.share, control.max_share)


@given(backtrackings(), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_annealing_is_a_factor_that_falls_with_the_distance(
    control: Backtracking, near: float, far: float, start: float
) -> None:
    near, far = sorted((near, far))
    assert min(control.min_lr, 1) <= control.anneal(near, start) <= control.anneal(far, start) <= 1


@given(st.integers(1, 99), shares, st.floats(0, 1), settlings(), st.booleans(), st.booleans())
def test_a_schedule_changes_nothing_unless_the_loss_is_no_number(
    ticks: int, share: float, lr: float, how: Settled, strayed: bool, gained: bool
) -> None:
    got = Scheduled(ticks, StepRule(step_a=0.1)).after(share, lr, how, strayed, gained)
    assert got == ((share if how.accepted else share / 2), lr)
