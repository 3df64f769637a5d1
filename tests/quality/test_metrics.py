"""Every metric against a number worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_quality import corner, data, plane, squares, with_answers
from torch import Tensor, nn

from llpf_plugin import Path, Task, TensorData, measure
from llpf_plugin.geometry.weights import Weights, layers_of
from llpf_plugin.preflight import layer_statistics
from llpf_plugin.quality import (
    DEFINITIONS,
    diversity,
    layer_barriers,
    loss_plane,
    relative_flatness,
    saddle,
    sharpness,
    trace_layers,
)
from llpf_plugin.quality.metrics import turning_angle
from llpf_plugin.workspace import Workspace


def straight(*points: tuple[float, float]) -> Path:
    knots = [{"weight": torch.tensor([w], dtype=torch.float32)} for w in points]
    return Path(knots, knots[0], knots[-1])


def values(quality: object, split: str = "train") -> dict[str, float | None]:
    return {k: m.value for k, m in quality.metrics(split).items()}  # type: ignore[attr-defined]


# ---- from the dense evaluation


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
    assert found["turning_angle"] == pytest.approx(90) and found["largest_step"] == pytest.approx(4)


def test_turning_angles_add_up_and_pass_over_knots_that_stand_still() -> None:
    square = straight((0, 0), (1, 0), (1, 0), (1, 1), (0, 1))
    assert values(measure(square, plane(), points=1))["turning_angle"] == pytest.approx(180)
    assert values(measure(straight((0, 0), (1, 0), (3, 0)), plane(), points=1))["turning_angle"] == 0


@given(st.floats(1e-7, 3.1))
def test_small_angles_are_exact(angle: float) -> None:
    knots = [{"w": torch.tensor(w, dtype=torch.float64)} for w in ((0.0, 0.0), (1.0, 0.0))]
    knots.append({"w": torch.tensor([1 + math.cos(angle), math.sin(angle)], dtype=torch.float64)})
    path = Path(knots, knots[0], knots[-1])
    assert turning_angle(path) == pytest.approx(math.degrees(angle), rel=1e-6)


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
    assert {*quality.metrics(), "saddle"} == set(DEFINITIONS)


# ---- asked for


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


class TwoLayers(nn.Module):
    """``x ↦ v·u·x``."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 1] → [n, 1]``."""
        return self.v(self.u(x))


def point(u: float, v: float) -> Weights:
    return {"u.weight": torch.tensor([[float(u)]]), "v.weight": torch.tensor([[float(v)]])}


def test_layer_barriers() -> None:
    """Loss (uv − 1)². A = (1, 1), B = (−1, −1), both 0. u alone at A: (u − 1)², 4 where it is B's; v likewise."""
    train = TensorData(torch.ones(1, 1), torch.ones(1))
    task = Task(TwoLayers(), train, objective=lambda m, b: (m(b[0])[:, 0] - b[1]).square().mean())
    a, b = point(1, 1), point(-1, -1)
    found = layer_barriers(Workspace(task), a, b, layers_of(list(a)), points=4)
    assert [x.layer for x in found] == ["u", "v"]
    assert [(x.at_a, x.at_b) for x in found] == [pytest.approx((4, 4))] * 2
    b = point(3, 1)  # loss 4; u from 1 to 3 at A is the whole way: (u − 1)² under the chord 4t
    found = layer_barriers(Workspace(task), a, b, layers_of(list(a)), points=4)
    assert found[0].at_a == pytest.approx(0)
    assert found[1].at_b == pytest.approx(4)  # v stands still, at B: 4 − 4t, highest at t = 0


def classes() -> Task:
    """Two classes, scores (w₀·x₀, w₁·x₁) by weights of one linear layer without bias, cross-entropy."""
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    y = torch.tensor([0, 1, 0, 1])
    return Task(nn.Linear(2, 2, bias=False), TensorData(x, y), TensorData(x, y), None, name="classes")


def matrix(*rows: tuple[float, float]) -> Weights:
    return {"weight": torch.tensor(rows, dtype=torch.float32)}


def test_diversity() -> None:
    """A scores by (x₀, x₁), B by −2 times that, so the middle by −½ times that; right answers are 0, 1, 0, 1.

    A answers 0, 1, 0 (a tie), 0; the middle and B 1, 0, 0 (a tie), 1. In an ensemble the larger factor wins:
    the middle's ½ against A's 1, B's 2 against A's 1; over all three, the first input has 0.731 + 0.378 + 0.119 < 1.5.
    """
    a, b = matrix((1, 0), (0, 1)), matrix((-2, 0), (0, -2))
    quality = measure(Path([a, b], a, b), classes(), points=1)
    found = diversity(quality, "validation", points=3)
    assert found.t.tolist() == [0, 0.5, 1]
    assert found.error.tolist() == [0.25, 0.5, 0.5]
    assert found.disagreement_a.tolist() == [0, 0.75, 0.75]
    assert found.disagreement_b.tolist() == [0.75, 0, 0]
    assert found.pair_error.tolist() == [0.25, 0.25, 0.5]
    assert found.ends_error == 0.5 and found.path_error == 0.5


def test_diversity_needs_classes() -> None:
    quality = measure(corner(), plane(), points=1)
    assert "integer class targets" in diversity(quality, "train").why
    assert "no test data" in diversity(measure(corner(), plane(test=None), points=1), "test").why
    scores = Task(nn.Linear(2, 1), classes().train, objective=lambda m, b: m(b[0]).square().mean())
    path = Path([w := {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, w], w, w)
    assert "(4, 1)" in diversity(measure(path, scores, points=1), "train").why


def test_sharpness_of_a_bowl() -> None:
    """Loss w·w at a point of norm 5, moved by a vector of length 5r in direction δ: 25 + 50·r·cos + 25·r²."""
    train = data((1, 0, 0), (0, 1, 0))
    task = plane(lambda model, batch: 2 * squares(model, batch), train=train)
    weights = {"weight": torch.tensor([[3.0, 4.0]])}
    found = sharpness(Workspace(task), weights, radii=(0.0, 0.1, 0.2), directions=4)
    assert found.losses.shape == (3, 4)
    assert found.losses[0] == pytest.approx(25)
    cosines = (found.losses[1] - 25 - 0.25) / 5
    assert (np.abs(cosines) <= 1 + 1e-6).all() and len(set(cosines.round(6))) == 4
    assert found.losses[2] == pytest.approx(25 + 10 * cosines + 1, rel=1e-5)
    assert found.mean == pytest.approx(found.losses.mean(1))
    again = sharpness(Workspace(task), weights, radii=(0.0, 0.1, 0.2), directions=4)
    assert (again.losses == found.losses).all()


def test_relative_flatness_of_least_squares() -> None:
    """Half the squared error summed over outputs: H is the identity in the scores, so κ = ‖W‖² · mean ‖x‖²."""
    x, y = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.zeros(2, 2)

    def half_squares(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return 0.5 * (model(batch[0]) - batch[1]).square().sum(1).mean()

    task = Task(nn.Linear(2, 2, bias=False), TensorData(x, y), objective=half_squares)
    found = relative_flatness(Workspace(task), matrix((1, 2), (0, 3)))
    assert found.value == pytest.approx(14 * (5 + 1) / 2)


def test_relative_flatness_of_cross_entropy_is_the_published_closed_form() -> None:
    """``mean ‖x‖²·(Σ_s G_ss·p_s − pᵀGp)`` with ``G = W·Wᵀ``, and the definition itself by a whole Hessian."""
    task, w = classes(), matrix((1.0, 0.5), (-0.25, 2.0))
    x, y = task.train.inputs.double(), task.train.targets  # type: ignore[attr-defined]
    weight = w["weight"].double()
    p, gram = (x @ weight.T).softmax(1), weight @ weight.T
    closed = (x.square().sum(1) * (p @ gram.diag() - ((p @ gram) * p).sum(1))).mean()
    hessian = torch.func.hessian(lambda v: nn.functional.cross_entropy(x @ v.T, y))(weight)
    blocks = torch.einsum("sjtj->st", hessian)
    found = relative_flatness(Workspace(task), w)
    assert found.value == pytest.approx(float(closed), rel=1e-5)
    assert found.value == pytest.approx(float((gram * blocks).sum()), rel=1e-5)


def test_relative_flatness_needs_a_linear_last_layer() -> None:
    task = Task(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), classes().train)
    weights = {k: t.detach() for k, t in task.model.named_parameters()}
    assert "linear layer" in relative_flatness(Workspace(task), weights).why


def test_the_plane_through_three_points() -> None:
    """The corner (0,0), (3,0), (3,4): along is (0.6, 0.8); the middle, 3.5 along the path, is (3, 0.5)."""
    found = loss_plane(measure(corner(), plane(), points=1), columns=4, rows=5)
    assert found.marks["A"] == (0, 0) and found.marks["B"] == pytest.approx((5, 0))
    assert found.marks["middle"] == pytest.approx((3 * 0.6 + 0.5 * 0.8, 3 * 0.8 - 0.5 * 0.6))
    assert found.knots[1] == pytest.approx([1.8, 2.4]) and found.away == pytest.approx(np.zeros(3), abs=1e-9)
    # On the plane w₀ = 0.6·x + 0.8·y, and the loss is w₀².
    grid_x, grid_y = np.meshgrid(found.x, found.y)
    assert found.loss == pytest.approx((0.6 * grid_x + 0.8 * grid_y) ** 2, rel=1e-5, abs=1e-6)
    assert found.x[0] == pytest.approx(-0.2 * 5) and found.y[-1] == pytest.approx(2.4 + 0.2 * 5)


def test_no_plane_through_a_straight_line() -> None:
    found = loss_plane(measure(straight((0, 0), (1, 1)), plane(), points=1))
    assert "straight line" in found.why and found.loss.size == 0


# ---- layers


def test_layers_along_a_path() -> None:
    """u goes first, then v; the destination (the last knot) is (1, 2)."""
    knots = [point(0, 0), point(1, 0), point(1, 2)]
    found = trace_layers(Path(knots, knots[0], knots[-1], [{"kind": k} for k in ("start", "settled", "end")]), {
        "v": ["v.weight"], "u": ["u.weight"],
    })  # fmt: skip
    assert found.layers == ("v", "u")
    assert found.distance.tolist() == [[1, 1], [1, 0], [0, 0]]
    assert found.moved.tolist() == [[0, 1], [2, 0]] and found.shares.tolist() == [[0, 1], [1, 0]]
    assert found.positions == pytest.approx([0, 1 / 3, 1])
    assert found.middles == pytest.approx([2 / 3, 1 / 6])


def test_variance_and_mean_along_a_path() -> None:
    knots = [
        {"w": torch.tensor([[1.0, 3.0]]), "b": torch.tensor([1.0])},
        {"w": torch.tensor([[0.0, 4.0]]), "b": torch.tensor([1.0])},
    ]
    found = trace_layers(Path(knots, knots[0], knots[-1]), {"all": ["w", "b"]})
    assert found.tensors == ("w",) and found.variance.tolist() == [[1], [4]] and found.mean.tolist() == [[2], [2]]


def test_a_layer_that_never_moves_has_no_middle() -> None:
    found = trace_layers(
        Path([point(0, 1), point(1, 1)], point(0, 1), point(1, 1)), layers_of(["u.weight", "v.weight"])
    )
    assert found.middles[0] == pytest.approx(0.5) and math.isnan(found.middles[1]) and found.shares[0, 1] == 0


def test_tables_of_the_appendices() -> None:
    """Variance (A), mean (B) and cosine (C) of (1, 3) against (−1, 5)."""
    (row,) = layer_statistics({"w": torch.tensor([[1.0, 3.0]])}, {"w": torch.tensor([[-1.0, 5.0]])})
    assert (row.variance_a, row.variance_b, row.mean_a, row.mean_b) == pytest.approx((1, 9, 2, 2))
    assert row.cosine == pytest.approx(14 / math.sqrt(10 * 26)) and row.distance == pytest.approx(math.sqrt(8))
    assert row.off_centre == pytest.approx(2) and row.ratio == pytest.approx(9)
