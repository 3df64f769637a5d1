"""Softmax temperatures: laws of the best one, and the barrier that is left with it."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers.classes import classes, matrix
from helpers.planes import corner, plane
from hypothesis import given, settings
from hypothesis import strategies as st

from llpf_plugin import Path, TensorData, measure
from llpf_plugin.quality import calibrate, calibrated_barrier, calibrated_losses
from llpf_plugin.quality.calibration import HIGHEST, LOWEST
from llpf_plugin.workspace import Workspace


def drawn(seed: int, n: int = 400, k: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and targets that are drawn from their softmax."""
    rng = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(n, k, generator=rng, dtype=torch.float64)
    return scores, torch.multinomial(scores.softmax(1), 1, generator=rng).squeeze(1)


@given(seed=st.integers(0, 1000), scale=st.floats(0.05, 20))
@settings(max_examples=30, deadline=None)
def test_the_temperature_of_scaled_scores_is_scaled_and_their_loss_is_the_same(seed: int, scale: float) -> None:
    scores, targets = drawn(seed)
    plain, scaled = calibrate(scores, targets), calibrate(scale * scores, targets)
    assert scaled.temperature == pytest.approx(scale * plain.temperature, rel=1e-4)
    assert scaled.loss == pytest.approx(plain.loss, abs=1e-8)
    assert plain.temperature == pytest.approx(1, rel=0.4)  # the targets are drawn from these scores


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_no_other_temperature_is_better(seed: int, scale: float) -> None:
    scores, targets = drawn(seed, n=50)
    found = calibrate(scale * scores, targets)
    assert found.loss <= found.plain == pytest.approx(float(F.cross_entropy(scale * scores, targets)))
    for factor in (0.5, 0.99, 1.01, 2):
        other = F.cross_entropy(scale * scores / (factor * found.temperature), targets)
        assert found.loss <= float(other) + 1e-9


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_log_probabilities_are_as_good_as_logits(seed: int) -> None:
    scores, targets = drawn(seed, n=60)
    one, other = calibrate(scores, targets), calibrate(scores.log_softmax(1), targets)
    assert (one.loss, one.temperature) == pytest.approx((other.loss, other.temperature), rel=1e-4)


def test_where_all_answers_are_right_the_temperature_is_the_lowest_and_where_scores_mislead_the_highest() -> None:
    scores, targets = torch.eye(3), torch.arange(3)
    assert calibrate(scores, targets).temperature == LOWEST and calibrate(scores, targets).loss < 1e-9
    assert calibrate(-scores, targets).temperature == HIGHEST
    assert calibrate(-scores, targets).loss == pytest.approx(math.log(3), abs=0.01)


def test_scores_that_are_not_finite_have_no_temperature() -> None:
    found = calibrate(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))
    assert math.isnan(found.loss) and math.isnan(found.temperature) and math.isnan(found.plain)


def noisy() -> TensorData:
    """Inputs of `matrix` models whose larger coordinate names the class, but for every fifth."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=rng)
    y = x.argmax(1)
    return TensorData(x, torch.where(torch.arange(200) % 5 == 0, 1 - y, y))


def test_a_line_of_the_same_answers_at_other_temperatures_has_no_barrier() -> None:
    """From 2·I to I/5: every point has the order of the scores, so that only their scale makes the loss rise."""
    task = replace(classes(), train=noisy(), validation=None)
    a, b = matrix((2, 0), (0, 2)), matrix((0.2, 0), (0, 0.2))
    quality = measure(Path([a, b], a, b), task, points=4)
    losses = calibrated_losses(quality.workspace, [a, b], task.train)
    assert losses[0].loss == pytest.approx(losses[1].loss, abs=1e-8)  # the same answers, at another temperature
    assert losses[0].temperature == pytest.approx(10 * losses[1].temperature, rel=1e-4)
    assert quality.barrier > 0.02
    assert calibrated_barrier(quality)["train"].value == pytest.approx(0, abs=1e-8)


def test_a_barrier_of_wrong_answers_is_left() -> None:
    """From 3·I to the same with its rows exchanged: the middle knows nothing, and no temperature helps it or B."""
    task = replace(classes(), train=noisy())
    a, b = matrix((3, 0), (0, 3)), matrix((0, 3), (3, 0))
    quality = measure(Path([a, b], a, b), task, points=2)
    found = calibrated_barrier(quality)["train"].value
    own = calibrated_losses(Workspace(task), [a, matrix((1.5, 1.5), (1.5, 1.5)), b], task.train)
    assert [one.loss for one in own[1:]] == pytest.approx([math.log(2)] * 2, abs=2e-3)
    assert found == pytest.approx(math.log(2) - (own[0].loss + math.log(2)) / 2, abs=2e-3)


def test_what_has_no_classes_says_why() -> None:
    found = calibrated_barrier(measure(corner(), plane(validation=None), points=1))
    assert (
        "integer class targets" in found["train"].why and found["validation"].why == "the task has no validation data"
    )
