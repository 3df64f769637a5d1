"""``benchmarks/scale.py`` and ``startup.py`` at tiny sizes."""

import pytest


def test_a_linear_cost_has_the_slope_one_whatever_it_costs_to_begin() -> None:
    import scale

    sizes = (10, 100, 1_000, 10_000)
    assert scale.slope(sizes, [5.0 + 0.1 * n for n in sizes]) == pytest.approx(1.0, abs=0.2)
    assert scale.slope(sizes, [float(n**2) for n in sizes]) == pytest.approx(2.0)


def test_every_axis_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    import scale

    monkeypatch.setattr(scale, "AXES", {"layers": (4, 6), "data": (40, 80)})
    assert "| layer order, s" in scale.shown("layers") and "| peak, MiB" in scale.shown("layers")
    assert "| measuring, s" in scale.shown("data")
