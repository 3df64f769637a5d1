"""Coarse to fine: what is stated is what measuring every place on all data states, for fewer forward passes."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from llpf_plugin import LoaderData, Task, TensorData
from llpf_plugin.evaluation import survey
from llpf_plugin.evaluation.survey import Along, Effort, Survey, choose_by_validation, places
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.records import Row
from llpf_plugin.workspace import Compute, Workspace

N = 6000


class Point(nn.Module):
    """A model that is a point of the plane, and returns where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.w


def uneven(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Few examples are hard, and each of them elsewhere."""
    centres, weights = batch
    return (weights * (model(centres) - centres).square().sum(-1).sqrt()).mean()


def data(seed: int, n: int = N) -> TensorData:
    rng = torch.Generator().manual_seed(seed)
    weights = torch.randn(n, generator=rng).mul(1.2).exp() / 2
    return TensorData(torch.randn(n, 2, generator=rng), weights)


def workspace(n: int = N) -> Workspace:
    return Workspace(Task(Point(), data(0, n), data(1, 3000), objective=uneven), Compute("cpu"))


def path(seed: int, knots: int = 12) -> list[Weights]:
    steps = torch.randn(knots, 2, generator=torch.Generator().manual_seed(seed)) * 0.8
    return [{"w": w} for w in steps.cumsum(0)]


def surveyed(
    used: Workspace, knots: Sequence[Weights], effort: Effort, goal: float | None = None,
    known: dict[str, Row] | None = None,
) -> list[Row]:  # fmt: skip
    chain = places([0, *range(2, len(knots)), 1], effort.points)
    return Survey(used, Along(knots), {} if known is None else known, effort, goal).run(chain)


def highest(rows: Sequence[Row]) -> float:
    return max(row.train or 0.0 for row in rows)


@pytest.mark.parametrize("seed", range(12))
def test_the_maximum_and_the_verdict_are_those_of_all_data(seed: int) -> None:
    used, knots = workspace(), path(seed)
    exact = surveyed(used, knots, Effort(exact=True))
    passes = used.clock.spent()["other"].forward_passes
    right = highest(exact)
    for goal in (None, 0.97 * right, 0.995 * right, 1.005 * right, 1.03 * right):
        found = surveyed(used, knots, Effort(), goal)
        assert right * (1 - survey.CLOSE) <= highest(found) <= right * (1 + 1e-9)
        assert goal is None or (highest(found) <= goal) == (right <= goal)
    looked = used.clock.spent()["other"].forward_passes - passes
    assert looked / 5 < 0.6 * passes


def test_places_that_were_only_looked_at_say_so_and_are_near() -> None:
    used, knots = workspace(), path(3)
    found, exact = surveyed(used, knots, Effort()), surveyed(used, knots, Effort(exact=True))
    assert {None, survey.LOOK} <= {row.sample for row in found} <= {
        None,
        survey.LOOK,
        survey.GROWTH * survey.LOOK,
    } and {row.sample for row in exact} == {None}
    for row, right in zip(found, exact, strict=True):
        assert row.train == pytest.approx(right.train, rel=0.4) and row.train <= highest(exact)
        assert (row.u, row.segment, row.parts) == (right.u, right.segment, {})
        assert row.sample is not None or row.train == pytest.approx(right.train, rel=1e-9)
        assert row.validation == pytest.approx(right.validation, rel=0.6)


@pytest.mark.parametrize("effort", [Effort(exact=True), Effort(sample=2 * survey.LOOK)])
def test_where_a_look_saves_nothing_every_place_is_measured(effort: Effort) -> None:
    assert all(row.sample is None for row in surveyed(workspace(), path(0), effort))


def test_a_loss_that_is_no_number_is_the_maximum() -> None:
    knots = path(0)
    knots[5] = {"w": torch.tensor([math.nan, 0.0])}
    found = surveyed(workspace(), knots, Effort())
    assert any(row.train is None or not math.isfinite(row.train) for row in found)
    assert sum(row.sample is None for row in found) <= 2  # nothing can be higher


def test_what_is_known_is_not_measured_again() -> None:
    used, knots, known = workspace(), path(1), dict[str, Row]()
    first = surveyed(used, knots, Effort(), known=known)
    before = used.clock.spent()["other"].forward_passes
    assert surveyed(used, knots, Effort(), known=known) == first
    assert used.clock.spent()["other"].forward_passes == before


def test_places_have_every_knot_once_and_names_that_stay() -> None:
    """A repair exchanges knots between others: what lies elsewhere keeps its name."""
    before, after = places([0, 3, 4, 1], 2), places([0, 3, 7, 4, 1], 2)
    assert [p.name for p in before] == ["0", "0-3:1/2", "3", "3-4:1/2", "4", "4-1:1/2", "1"]
    assert {p.name for p in before} - {p.name for p in after} == {"3-4:1/2"}


def test_all_validation_data_decide() -> None:
    used = workspace()
    assert used.task.validation is not None
    rng = torch.Generator().manual_seed(0)
    candidates = [{"w": w} for w in torch.randn(8, 2, generator=rng)]
    centres, weights = data(1, 3000).inputs, data(1, 3000).targets
    losses = [float((weights * (w["w"] - centres).norm(dim=-1)).mean()) for w in candidates]
    assert choose_by_validation(used, candidates) == losses.index(min(losses))


@pytest.mark.parametrize("size", [50, 256, 512])
def test_batches_of_a_loader_are_parts_of_the_sample(size: int) -> None:
    """Also where it holds the whole sample in one batch, so that there is a spread all the same."""
    examples = data(0)
    loader = LoaderData(DataLoader(TensorDataset(examples.inputs, examples.targets), size))
    used = Workspace(Task(Point(), loader, objective=uneven), Compute("cpu"))
    found, exact = surveyed(used, path(4), Effort()), surveyed(used, path(4), Effort(exact=True))
    assert highest(found) >= highest(exact) * (1 - survey.CLOSE) and any(row.sample for row in found)


def test_a_sample_that_cannot_be_taken_apart_has_no_spread_so_all_data_are_asked() -> None:
    """As of graphs: one batch holds the sample, and its tensors have rows of different things."""
    examples = data(0, 2000)
    batch = (examples.inputs, examples.targets, torch.zeros(3))
    used = Workspace(Task(Point(), LoaderData([batch]), objective=lambda m, b: uneven(m, b[:2])), Compute("cpu"))
    assert all(row.sample is None for row in surveyed(used, path(4, 4), Effort()))
