"""What is spent on what."""

import time

import pytest

from llpf_plugin.clock import Clock
from llpf_plugin.records import Spent


def test_what_happens_inside_is_spent_on_the_innermost_kind() -> None:
    clock = Clock()
    clock.passed(1)
    with clock.on("walking"):
        clock.passed(10)
        with clock.on("measuring"):
            time.sleep(0.02)
            clock.passed(100)
        clock.passed(20)
    spent = clock.spent()
    assert [spent[kind].forward_passes for kind in ("walking", "measuring", "other")] == [30, 100, 1]
    assert spent["measuring"].seconds >= 0.02 > spent["walking"].seconds


def test_it_goes_on_where_an_earlier_session_stopped() -> None:
    spent = Clock({"walking": Spent(5.0, 7)}).spent()
    assert spent["walking"] == Spent(5.0, 7) and spent["measuring"] == Spent()


def test_an_error_ends_what_it_happened_in() -> None:
    clock = Clock()
    with pytest.raises(ValueError), clock.on("measuring"):
        raise ValueError
    clock.passed(3)
    assert clock.spent()["other"].forward_passes == 3
