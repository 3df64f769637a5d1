"""AutoNEB by hand: tangents, spacing, cycles, and where pivots are inserted."""

import math

import pytest
import torch
from helpers import tiny
from helpers.planes import plane, squares
from helpers.problems import problem

from llpf_plugin import AutoNEB, find_path
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.methods import Outcome
from llpf_plugin.methods.autoneb import CYCLES, Band, missing_pivots, respace, upwind_tangent
from llpf_plugin.workspace import Workspace


def at(*values: float) -> Weights:
    return {"x": torch.tensor(values)}


def weight(first: float, second: float = 0.0) -> Weights:
    return {"weight": torch.tensor([[first, second]])}


def test_tangents_point_to_the_higher_neighbour() -> None:
    chain = [at(0.0, 0.0), at(1.0, 0.0), at(1.0, 1.0)]
    assert upwind_tangent(chain, (0.0, 1.0, 2.0))["x"].tolist() == [0.0, 1.0]
    assert upwind_tangent(chain, (2.0, 1.0, 0.0))["x"].tolist() == [1.0, 0.0]
    mixed = upwind_tangent(chain, (1.0, 0.0, 3.0))["x"]  # a minimum: 3 parts forth, 1 part back
    assert mixed.tolist() == pytest.approx([1 / math.sqrt(10), 3 / math.sqrt(10)])
    level = upwind_tangent(chain, (1.0, 1.0, 1.0))["x"]
    assert level.tolist() == pytest.approx([0.5**0.5, 0.5**0.5])


def test_pivots_are_spaced_evenly_along_the_chain() -> None:
    chain = [at(0.0, 0.0), at(3.0, 0.0), at(3.0, 0.5), at(3.0, 3.0)]
    respace(chain)
    assert [p["x"].tolist() for p in chain] == [[0, 0], [2, 0], [3, 1], [3, 3]]


def test_a_chain_that_stands_still_or_is_no_number_is_left_alone() -> None:
    for value in (1.0, math.nan):
        chain = [at(1.0), at(value), at(1.0)]
        respace(chain)
        assert chain[1]["x"].tolist() == pytest.approx([value], nan_ok=True)


def test_cycles_share_the_steps_as_in_the_paper() -> None:
    band = Band(AutoNEB(), problem(tiny.mlp(), *tiny.pair("mlp")), 16_000)
    assert [band._end(i) for i in range(14)] == [
        1000, 2000, 3000, 4000, 6000, 8000, 9000, 10_000, 11_000, 12_000, 13_000, 14_000, 15_000, 16_000,
    ]  # fmt: skip
    assert [factor for factor, _ in CYCLES] == [1.0] * 6 + [0.1] * 4 + [0.01] * 4


def test_cycles_too_short_for_a_step_are_skipped() -> None:
    path = find_path(*tiny.pair("mlp"), tiny.mlp(), AutoNEB(steps=5), lr=0.1)
    assert path.cost.gradient_steps == 5 and path.outcome is Outcome.TRAINED


def test_pivots_are_inserted_and_learning_rates_fall_cycle_by_cycle() -> None:
    path = find_path(*tiny.pair("mlp"), tiny.mlp(), AutoNEB(steps=200), lr=0.1)
    counts = [tick.pivots or 0 for tick in path.record]
    assert counts[0] == 3 and sorted(counts) == counts and path.cost.gradient_steps == 200
    assert len(path.knots) == counts[-1] + 2
    rates = [tick.lr for tick in path.record]
    assert sorted(rates, reverse=True) == rates
    assert sorted(set(rates)) == pytest.approx([0.2 * f for f in (0.01, 0.1, 1)])


def test_pivots_are_missing_where_the_chain_is_high() -> None:
    """The loss 4 − w₀² from −2 to 2 by 0: 0, 4 and 0 at the pivots, above the chords by 1 in the middles."""
    workspace = Workspace(plane(lambda model, batch: 4 - squares(model, batch)))
    assert missing_pivots(workspace, [weight(-2), weight(0), weight(2)]) == [(1, 0.5), (0, 0.5)]
    assert missing_pivots(workspace, [weight(-2), weight(-2, 1), weight(-2, 2)]) == []  # a level loss


def test_at_most_two_pivots_are_inserted_and_only_above_a_tenth_of_the_range() -> None:
    workspace = Workspace(plane(lambda model, batch: 4 - squares(model, batch)))
    chain = [weight(x) for x in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert missing_pivots(workspace, chain) == []  # ¼ above the chord, of a range of 4
    uneven = [weight(x) for x in (-2.0, 2.0, -2.0, 2.0)]
    found = missing_pivots(workspace, uneven)
    assert len(found) == 2 and all(u == 0.5 for _, u in found)
    hidden = [weight(x) for x in (-2.0, 0.0, 2.0, 0.2)]
    assert [segment for segment, _ in missing_pivots(workspace, hidden)] == [1, 0]  # the third is 0.81 above


def test_the_gradient_along_the_chain_is_taken_out() -> None:
    """The chain runs along w₁; the loss w₀² + 3·w₁ pulls across and along it; only across remains."""
    task = plane(lambda model, batch: squares(model, batch) + 3 * model.weight[0, 1])
    bound = problem(task, weight(1, 0), weight(1, 4))
    band = Band(AutoNEB(weight_decay=0.0), bound, 3)
    band.init(bound.start, bound.end)
    assert [p["weight"].tolist()[0] for p in band.pivots] == [[1, 1], [1, 2], [1, 3]]
    band._sweep(3)
    for pivot in band.pivots:
        assert pivot["weight"].grad is not None
        assert pivot["weight"].grad.tolist()[0] == pytest.approx([2.0, 0.0], abs=1e-5)
