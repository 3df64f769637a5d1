"""The verdict on a path, by hand: every measured point, the paper's three criteria, and the point that is picked."""

import json
import math

import pytest
import torch
from helpers import tiny
from helpers.planes import corner, data, plane, squares, straight, with_answers
from torch import nn

from llpf_plugin import LLPFError, Path, Task, TensorData, measure
from llpf_plugin.geometry.weights import Weights, coordinates, layers_of, select
from llpf_plugin.quality.verdict import check_pick
from llpf_plugin.records import Cost, Knot


def test_metrics_by_hand() -> None:
    quality = measure(corner(), plane(), points=2)
    assert quality.maximum == pytest.approx(9)
    assert quality.mean == pytest.approx((1.125 * 1.5 + 5.625 * 1.5 + 9 * 4) / 7)  # trapezoids by arc length
    assert quality.tolerance == pytest.approx(0)  # the worse end is B with 9
    assert quality.barrier == pytest.approx(9 - 4.5)
    assert quality.path.length_ratio == pytest.approx(7 / 5)


def test_the_maximum_may_lie_between_two_knots() -> None:
    path = straight((2, 0), (-2, 0))
    away = plane(train=data((1, 0, 4)))  # (w₀ − 4)²: 4 at A, 36 at B
    assert measure(path, away, points=4).column("train").tolist() == pytest.approx([4, 9, 16, 25, 36])
    hill = plane(lambda model, batch: 4 - squares(model, batch))  # 0 at both ends, 4 half-way
    assert measure(path, hill, points=1).maximum == pytest.approx(0)
    assert measure(path, hill, points=2).maximum == pytest.approx(4)


def test_not_a_number_counts_as_infinite() -> None:
    quality = measure(corner(), plane(lambda model, batch: squares(model, batch) / 0 * 0), max_loss=99.0, points=1)
    assert quality.maximum == math.inf and quality.criteria[0].holds is False and not quality.connected


def test_arrival_is_judged_at_the_last_settled_knot() -> None:
    far = measure(corner(), plane(), points=1)
    assert far.arrival == {"weight": pytest.approx(4 / 5)}
    assert far.criteria[1].holds is False
    assert "80.000%" in far.criteria[1].sentence and "closing segment is 57.14%" in far.criteria[1].sentence
    for height, holds in ((3.96, True), (3.94, False)):  # 0.04 of 5 is 0.8 %, 0.06 is 1.2 %
        near = corner()
        near.knots = [near.knots[0], {"weight": torch.tensor([[3.0, height]])}, near.knots[2]]
        assert measure(near, plane(), points=1).criteria[1].holds is holds


def test_arrival_is_per_layer() -> None:
    assert layers_of(["conv.weight", "conv.bias", "block.0.bn.weight", "scale"]) == {
        "conv": ["conv.weight", "conv.bias"],
        "block.0.bn": ["block.0.bn.weight"],
        "scale": ["scale"],
    }


@pytest.mark.parametrize(("goal", "holds"), [(9.5, True), (9.0, True), (8.9, False), (None, None)])
def test_the_goal(goal: float | None, holds: bool | None) -> None:
    quality = measure(corner(), plane(), max_loss=goal, points=2)
    assert quality.criteria[0].holds is holds
    assert "at most 9 on the whole path" in quality.criteria[0].sentence


def test_what_was_measured_at_knots_alone_says_no_more() -> None:
    sentence = measure(corner(), plane(), points=1).criteria[0].sentence
    assert "at its knots, with nothing measured between them" in sentence and "whole path" not in sentence


def test_the_goal_that_the_path_was_searched_for_is_the_default() -> None:
    path = corner()
    path.cost = Cost(goal=8.0)
    assert measure(path, plane(), points=1).goal == 8.0
    assert measure(path, plane(), max_loss=10.0, points=1).goal == 10.0


def test_test_loss_at_the_last_settled_knot_against_both_ends() -> None:
    good = measure(corner(), plane(), points=1).criteria[2]
    assert good.holds is True and "test loss is 9 at the last settled knot, 0 at A and 49 at B" in good.sentence
    detour = measure(corner(), plane(test=data((1, -0.75, 0))), points=1).criteria[2]
    assert detour.holds is False  # 9 where both ends have 0


def test_a_curve_is_tested_where_it_ends_as_a_walk_is() -> None:
    """The corner lies at 9 in test loss and B at 49, by whichever method."""
    for kinds, where in (
        (("start", "settled", "end"), "9 at the last settled knot"),
        (("start", "curve", "end"), "49 at the end of the path"),
        (("start", "settled", "settled"), "49 at the end of the path"),
    ):
        assert f"test loss is {where}, 0 at A" in measure(corner(*kinds), plane(), points=1).criteria[2].sentence


def test_the_allowed_test_loss_is_stated() -> None:
    sentence = measure(corner(), plane(), points=1).criteria[2].sentence
    assert "allowed is 53.91, 1.1 × the worse one + 0.01" in sentence  # 49 × 1.1 + 0.01


def test_a_path_that_does_not_lead_to_b() -> None:
    """From A by the corner to a third model; B lies elsewhere."""
    path = corner("start", "settled", "settled")
    path.end = {"weight": torch.tensor([[-1.0, 0.0]])}
    quality = measure(path, plane(), max_loss=10.0, points=2)
    assert not quality.connected and [c.holds for c in quality.criteria] == [True, None, False]
    assert (quality.ends["B"].train, quality.ends["B"].test) == (1, 1) and quality.ends["last"].test == 49
    assert quality.pick("best").t == quality.pick("end").t == 1 and quality.pick("mid").t == 0.5
    assert quality.arrival == {}


@pytest.mark.parametrize(
    ("a", "last", "b", "holds"),
    [
        (1.0, 1.1, 1.0, True),  # a tenth more than the worse end, and a hundredth
        (1.0, 1.12, 0.5, False),
        (0.5, 1.1, 1.0, True),
        (0.0, 0.009, 0.0, True),
        (0.0, 0.011, 0.0, False),
    ],
)
def test_how_much_higher_the_test_loss_may_be(a: float, last: float, b: float, holds: bool) -> None:
    """The test loss is w₀² of a path along the roots of these."""
    path = straight(*((loss**0.5, 0) for loss in (a, last, b)))
    path.labels = [Knot("start"), Knot("settled"), Knot("end")]
    assert measure(path, plane(test=data((1, 0, 0))), points=1).criteria[2].holds is holds


def test_validation_data_stand_in_for_test_data() -> None:
    assert "validation loss is 1 at" in measure(corner(), plane(test=None), points=1).criteria[2].sentence
    nothing = measure(corner(), plane(test=None, validation=None), points=1)
    assert nothing.criteria[2].holds is None
    assert not nothing.connected  # still far from its destination


def test_connected_needs_every_criterion_that_was_measured() -> None:
    path = corner("start", "settled", "end")
    path.knots = [*path.knots[:1], {"weight": torch.tensor([[3.0, 3.99]])}, path.knots[2]]
    assert measure(path, plane(), max_loss=10.0, points=1).connected
    assert measure(path, plane(), points=1).connected
    assert not measure(path, plane(), max_loss=8.0, points=1).connected


def test_pick_by_validation_loss() -> None:
    picked = measure(corner(), plane(), points=2).pick()
    assert picked.t == pytest.approx(1.5 / 7)
    assert picked.weights["weight"].tolist() == [[1.5, 0.0]]
    got = {split: score.loss for split, score in picked.scores.items()}
    assert got == {"train": pytest.approx(2.25), "validation": pytest.approx(0.25), "test": pytest.approx(2.25)}


def test_pick_by_accuracy_before_loss() -> None:
    quality = measure(corner(), plane(with_answers, validation=data((0, 1, 0))), points=2)
    assert quality.column("validation_accuracy").tolist() == [0, 0, 0, 1, 1]
    assert quality.pick().t == pytest.approx(5 / 7)  # the only inner point with a right answer, at a higher loss
    assert "accuracy at least 0.00%" in quality.criteria[0].sentence


def test_pick_on_training_data_where_there_is_no_other() -> None:
    quality = measure(corner(), plane(train=data((1, 0, 3)), validation=None, test=None), points=2)
    picked = quality.pick()
    assert picked.t == pytest.approx(3 / 7) and picked.scores["validation"] is None


def test_pick_never_takes_an_end() -> None:
    path = straight((2, 0), (3, 0))
    assert measure(path, plane(), points=20).pick().t == pytest.approx(0.1)  # A itself would be best
    assert measure(path, plane(), points=1).pick().t == 0.5  # nothing measured in between


@pytest.mark.parametrize(("which", "t"), [("mid", 0.5), ("end", 3 / 7), (0.25, 0.25), ("0.75", 0.75), (1, 1.0)])
def test_pick_a_place(which: str | float, t: float) -> None:
    path = corner()
    picked = measure(path, plane(), points=1).pick(which)
    assert picked.t == pytest.approx(t)
    assert torch.equal(picked.weights["weight"], path.at(picked.t)["weight"])


@pytest.mark.parametrize("which", ["middle", 1.5, "-1"])
def test_pick_nowhere(which: str | float) -> None:
    with pytest.raises(LLPFError, match=r"in \[0, 1\]"):
        measure(corner(), plane(), points=1).pick(which)


def test_the_summary_is_json() -> None:
    summary = measure(corner(), plane(), max_loss=10.0, points=2).summary()
    again = json.loads(json.dumps(summary))
    assert (
        again["metrics"]["train"]["dense_maximum"]["value"] == pytest.approx(9)
        and again["goal"] == 10.0
        and again["connected"] is False
    )
    assert [c["name"] for c in again["criteria"]] == ["low loss", "arrival", "test loss"]


def line(name: str) -> tuple[Task, Path, Weights]:
    """The straight line between two trained networks, and the names of a coordinate."""
    task, (a, b) = tiny.TASKS[name](), tiny.pair(name)
    names = list(coordinates(task.model))
    return task, Path([select(a, names), select(b, names)], a, b), a


def test_a_picked_model_keeps_its_promise_in_eval_mode() -> None:
    task, path, a = line("conv")
    picked = measure(path, task, points=4).pick("mid")
    assert list(picked.weights) == list(a)
    fresh = tiny.conv()
    fresh.model.load_state_dict(picked.weights)
    fresh.model.eval()
    with torch.no_grad():
        loss, correct = fresh.score((task.test.inputs, task.test.targets))
    assert float(loss) == pytest.approx(picked.scores["test"].loss, rel=1e-5)
    assert int(correct) / len(task.test) == pytest.approx(picked.scores["test"].accuracy)
    stale = path.at(0.5)["bn2.running_mean"]
    assert not torch.allclose(picked.weights["bn2.running_mean"], stale, rtol=0.05)


def test_what_a_pick_means() -> None:
    assert [check_pick(which) for which in ("best", "end", "mid", 0, "0.25", 1.0)] == [None, None, 0.5, 0.0, 0.25, 1.0]
    with pytest.raises(LLPFError, match=r"pick 'worst': it must be best, mid, end or a number in \[0, 1\]"):
        check_pick("worst")
    with pytest.raises(LLPFError, match=r"pick 2: t lies in \[0, 1\]"):
        check_pick(2)
    with pytest.raises(LLPFError, match="pick nan"):
        check_pick("nan")


def test_where_no_loss_is_a_number_an_end_is_picked() -> None:
    """Between the ends there is none, so A; without any, A as well."""
    hole = measure(
        straight((0, 0), (3, 0)),
        plane(lambda m, b: squares(m, b) if m.weight[0, 0] in (0, 3) else m.weight.sum() * math.nan),
        points=4,
    )
    assert hole.maximum == math.inf and hole.pick().t in (0.0, 1.0)
    nowhere = measure(straight((0, 0), (3, 0)), plane(lambda m, b: squares(m, b) * math.nan), points=4)
    assert nowhere.pick().t == 0.0


class TiedScores(nn.Module):
    """Scores of two classes, by a matrix that has a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.last.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x))


@pytest.mark.parametrize("pick", ["mid", "best"])
def test_a_picked_model_with_tied_weights_is_scored_as_itself(pick: str) -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    task = Task(TiedScores(), TensorData(x, torch.tensor([0, 1])), TensorData(x, torch.tensor([0, 1])))
    a, b = ({"first.weight": scale * torch.eye(2)} for scale in (1.0, 3.0))
    ends = ({**end, "last.weight": end["first.weight"]} for end in (a, b))
    path = Path([a, b], *ends, ties={"last.weight": "first.weight"})
    picked = measure(path, task, points=2).pick(pick)
    assert picked.scores["train"] is not None and picked.t == 0.5
    assert picked.scores["train"].loss == pytest.approx(math.log1p(math.exp(-4)), rel=1e-5)
    assert torch.equal(picked.weights["last.weight"], 2 * torch.eye(2))
