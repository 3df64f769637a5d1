"""The verdict on a walk towards the origin, by hand."""

import pytest
import torch
from torch import nn

from llpf_plugin import Path, Task, TensorData, measure
from llpf_plugin.methods import Outcome
from llpf_plugin.quality.origin import OriginQuality


def quality(outcome: Outcome | None, test: bool = True, max_loss: float = 1.0) -> OriginQuality:
    """From (−2, 2), of variance 4, to (−1, 1), of variance 1; the loss is the mean of the outputs squared."""
    knots = [{"weight": torch.tensor([[-w, w]])} for w in (2.0, 1.0)]
    data = TensorData(torch.tensor([[0.1, 0.1], [0.0, 0.2]]), torch.zeros(2))
    task = Task(
        nn.Linear(2, 1, bias=False), data, test=data if test else None,
        objective=lambda model, batch: model(batch[0]).square().mean(),
    )  # fmt: skip
    found = measure(Path(knots, knots[0], knots[1], outcome=outcome), task, max_loss=max_loss, points=1)
    return OriginQuality.of(found)


def test_how_far_it_came() -> None:
    found = quality(Outcome.ARRIVED)
    assert found.variances == {"weight": pytest.approx(0.25)}
    low, descent, tested = found.criteria
    assert low.holds and descent.holds and tested.holds is None and found.connected
    assert "0.25 to 0.25 of the variance that A has" in descent.sentence
    assert tested.sentence == "test loss is 0.02 at the end and 0.08 at A (no goal)"


@pytest.mark.parametrize(("outcome", "holds"), [(Outcome.EDGE, False), (Outcome.BUDGET, False), (None, True)])
def test_a_walk_that_ended_short_of_its_target_has_not_arrived(outcome: Outcome | None, holds: bool) -> None:
    assert quality(outcome).criteria[1].holds is holds and quality(outcome).connected is holds


def test_the_loss_is_judged_and_missing_data_are_said() -> None:
    assert not quality(Outcome.ARRIVED, max_loss=0.05).connected
    assert quality(Outcome.ARRIVED, test=False).criteria[2].sentence == "the task has neither test nor validation data"
