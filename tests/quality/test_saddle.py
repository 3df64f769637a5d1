import pytest
from helpers.planes import corner, plane, squares, straight
from torch import Tensor, nn

from llpf_plugin import measure
from llpf_plugin.quality import saddle


def test_saddle_looks_at_nine_places_a_segment() -> None:
    """4 − w₀² from −1 to 1.5 along w₀: its top, 4, is at 0.4 of the segment."""
    hill = plane(lambda model, batch: 4 - squares(model, batch))
    path = straight((-1, 0), (1.5, 0))
    rough = measure(path, hill, points=1)
    assert rough.maximum == pytest.approx(3)
    assert saddle(rough)["train"].value == pytest.approx(4)
    fine = measure(path, hill, points=10)
    assert saddle(fine)["train"].value == pytest.approx(4)


def test_saddle_measures_nothing_again() -> None:
    calls = []

    def counted(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        calls.append(1)
        return squares(model, batch)

    quality = measure(corner(), plane(counted, validation=None), points=10)
    before = len(calls)
    assert saddle(quality)["validation"].value is None
    assert len(calls) == before
    rough = measure(corner(), plane(counted, validation=None), points=2)
    before = len(calls)
    saddle(rough)
    assert len(calls) == before + 2 * 9
