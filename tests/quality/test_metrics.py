"""Every metric of the dense evaluation against a number worked out by hand, and laws that hold for all of them."""

import math

import numpy as np
import pytest
from helpers.planes import corner, plane, squares, straight, with_answers
from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin import measure
from llpf_plugin.quality import DEFINITIONS
from llpf_plugin.quality.metrics import GEOMETRY, LOSSES, error_barrier, highest, loss_metrics


def values(quality: object, split: str = "train") -> dict[str, float | None]:
    return {k: m.value for k, m in quality.metrics(split).items()}  # type: ignore[attr-defined]


def test_losses_along_a_corner() -> None:
    """Training loss w₀²: 0, 2.25, 9, 9, 9 at t = 0, 1.5/7, 3/7, 5/7, 1."""
    found = values(measure(corner(), plane(), points=2))
    assert found["dense_maximum"] == pytest.approx(9)
    assert found["tolerance"] == pytest.approx(0)
    assert found["barrier_midpoint"] == pytest.approx(9 - 4.5)
    assert found["barrier_chord"] == pytest.approx(9 - 9 * 3 / 7)  # highest above the chord at the corner
    assert found["integral"] == pytest.approx((1.125 * 1.5 + 5.625 * 1.5 + 9 * 4) / 7)


def test_the_same_metrics_on_validation_data() -> None:
    """Validation loss (w₀ − 2)²: 4, 0.25, 1, 1, 1."""
    found = values(measure(corner(), plane(), points=2), "validation")
    assert found["dense_maximum"] == pytest.approx(4) and found["tolerance"] == pytest.approx(0)
    assert found["barrier_midpoint"] == pytest.approx(4 - 2.5)
    assert found["barrier_chord"] == pytest.approx(0)
    assert found["integral"] == pytest.approx((2.125 * 1.5 + 0.625 * 1.5 + 4) / 7)


def test_error_barrier() -> None:
    """An answer is right where w₀ ≥ 1.4: errors 0, 1, 1 of three points from 2 to 0 to 0."""
    quality = measure(straight((2, 0), (0, 0), (0, 1)), plane(with_answers), points=1)
    assert quality.metrics()["error_barrier"].value == pytest.approx(1 - 0.5)


def test_geometry_of_a_corner() -> None:
    found = values(measure(corner(), plane(), points=1))
    assert found["length"] == pytest.approx(7) and found["length_ratio"] == pytest.approx(7 / 5)


def test_what_is_undefined_says_why() -> None:
    quality = measure(corner(), plane(validation=None), points=1)
    found = quality.metrics("validation")
    assert found["dense_maximum"].value is None and found["dense_maximum"].why == "the task has no validation data"
    assert found["length"].value == pytest.approx(7)  # geometry needs no data
    assert "no correct answers" in quality.metrics()["error_barrier"].why
    same = measure(straight((1, 0), (2, 0), (1, 0)), plane(), points=1).metrics()["length_ratio"]
    assert same.value is None and "same point" in same.why
    broken = measure(corner(), plane(lambda m, b: squares(m, b) / 0 * 0), points=1).metrics()["dense_maximum"]
    assert broken.value is None and "not finite" in broken.why


def test_every_metric_is_defined_in_words() -> None:
    quality = measure(corner(), plane(), points=1)
    assert {*quality.metrics(), "saddle", "barrier_calibrated"} == set(DEFINITIONS)


losses = st.lists(st.floats(0, 1e3), min_size=2, max_size=12)


def by_name(loss: list[float], accuracy: list[float] | None = None) -> dict[str, float]:
    t = np.linspace(0, 1, len(loss))
    found = loss_metrics(t, np.array(loss), np.array(accuracy or [math.nan] * len(loss)), "")
    return {name: metric.value for name, metric in found.items() if metric.value is not None}


@given(losses)
def test_how_the_metrics_of_the_loss_lie_to_one_another(loss: list[float]) -> None:
    found = by_name(loss)
    slack = 1e-9 * (1 + max(loss))
    assert 0 <= found["tolerance"] <= found["barrier_midpoint"] + slack <= found["dense_maximum"] + 2 * slack
    assert (
        found["barrier_chord"] >= -slack
        and found["barrier_chord"] <= found["barrier_midpoint"] + abs(loss[0] - loss[-1]) / 2 + slack
    )
    assert min(loss) - slack <= found["integral"] <= found["dense_maximum"] + slack


@given(losses, st.floats(0, 1e3))
def test_a_constant_added_to_the_loss_leaves_barriers_as_they_are(loss: list[float], more: float) -> None:
    before, after = by_name(loss), by_name([x + more for x in loss])
    for name in ("tolerance", "barrier_midpoint", "barrier_chord"):
        assert after[name] == pytest.approx(before[name], abs=1e-9 * (1 + more + max(loss)))
    for name in ("dense_maximum", "integral"):
        assert after[name] == pytest.approx(before[name] + more)


@given(losses)
def test_the_way_back_has_the_same_metrics(loss: list[float]) -> None:
    forth, back = by_name(loss), by_name(loss[::-1])
    assert back == {name: pytest.approx(value, abs=1e-9 * (1 + max(loss))) for name, value in forth.items()}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_an_error_barrier_is_a_share(accuracy: list[float]) -> None:
    value = error_barrier(np.array(accuracy), "").value
    assert value is not None and 0 <= value <= 1


def test_not_a_number_is_highest() -> None:
    assert highest(np.array([1.0, math.nan])) == math.inf and highest(np.array([1.0, 2.0])) == 2.0
    assert by_name([1.0, math.nan, 1.0]) == {}


def test_definitions_name_their_source_and_unit() -> None:
    assert {*LOSSES, *GEOMETRY, "error_barrier", "saddle", "barrier_calibrated"} == set(DEFINITIONS)
    assert all(d.source and d.words and d.unit in ("loss", "share", "weights", "ratio") for d in DEFINITIONS.values())
