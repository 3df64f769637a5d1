"""How long rounds of repair are."""

import math

from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin.methods.rounds import FIRST, HIGHEST, most_steps, round_steps

heights = st.floats(min_value=0) | st.just(math.nan)


@given(height=heights)
def test_a_first_round_is_between_eight_and_eighty_steps(height: float) -> None:
    assert FIRST <= round_steps(height, 0) <= FIRST * math.sqrt(HIGHEST)


@given(height=heights, last=st.integers(1, 10_000))
def test_a_further_round_is_longer_than_the_one_before_and_at_most_four_times(height: float, last: int) -> None:
    steps = round_steps(height, last)
    assert last < steps <= 4 * last


@given(low=st.floats(0, 1e3), more=st.floats(0, 1e3), last=st.integers(0, 1000))
def test_the_higher_the_path_the_longer_the_round(low: float, more: float, last: int) -> None:
    assert round_steps(low, last) <= round_steps(low + more, last)


@given(found=st.lists(heights, min_size=1, max_size=5))
def test_no_rounds_take_more_than_what_a_schedule_reserves_for_them(found: list[float]) -> None:
    total = last = 0
    for height in found:
        last = round_steps(height, last)
        total += last
    assert total <= most_steps(len(found))
