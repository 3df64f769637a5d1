"""Algorithms 1 and 2: the literal version against numbers worked by hand, and the fast one stepped beside it.

Numbers by hand follow the paper's text (section 4, equation 2), not the code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from helpers import tiny, walks
from torch import Tensor, nn

from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.geometry.weights import coordinates
from llpf_plugin.llpf import Phase, Scheduled, Settled, SettleRule, Walk
from llpf_plugin.llpf.reference import LLPF_M2M, LLPF_M2O, Move, Point, Var, VarianceCorrection
from llpf_plugin.methods.base import Outcome
from llpf_plugin.tasks.data import TensorData
from llpf_plugin.tasks.task import Task

STEPS = {"step_c": 0.0, "step_a": 0.0, "step_f": 0.0}


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def exactly(point: Point, **expected: Sequence[float]) -> None:
    for name, values in expected.items():
        assert point[name].tolist() == pytest.approx(values, abs=1e-12), name


# The literal version, by hand -----------------------------------------------------------------------------------------


def test_variance_is_about_the_mean_and_without_bessels_correction() -> None:
    assert float(Var(tensor(1, 3, 5, 7))) == 5.0  # about 4: (9 + 1 + 1 + 9)/4
    assert float(Var(tensor(101, 103, 105, 107))) == 5.0


def test_variance_correction_keeps_the_mean() -> None:
    """From the variance 5 to 20: every element twice as far from the mean, 4."""
    assert VarianceCorrection(tensor(1, 3, 5, 7), torch.tensor(20.0)).tolist() == [-2, 2, 6, 10]
    assert VarianceCorrection(tensor(1, 3, 5, 7), torch.tensor(5.0)).tolist() == [1, 3, 5, 7]


@pytest.mark.parametrize(
    ("steps", "length"),
    [
        ({"step_c": 1.0}, 1.0),  # an absolute length
        ({"step_a": 0.2}, 1.0),  # a share of the distance that is left, 5
        ({"step_f": 0.05}, 0.5),  # a share of the distance when the phase began, 10
        ({"step_c": 1.0, "step_f": 0.05}, 1.5),
        ({"step_c": 1.0, "step_f": 0.05, "step_a": 0.5}, 2.5),  # the longer of the two
        ({"step_c": 9.0}, 5.0),  # never past the destination
        ({"step_a": 3.0}, 5.0),
        ({}, 0.0),
    ],
)
def test_a_move_of_a_tensor_5_away_that_was_10_away(steps: dict[str, float], length: float) -> None:
    moved = Move(tensor(0, 0), tensor(3, 4), torch.tensor(10.0), **{**STEPS, **steps})
    assert moved.tolist() == pytest.approx([0.6 * length, 0.8 * length])


def test_a_move_from_the_destination_itself_stays() -> None:
    assert Move(tensor(3, 4), tensor(3, 4), torch.tensor(1.0), 1.0, 1.0, 1.0).tolist() == [3, 4]


def points(walked: Any) -> list[Point]:
    return list(walked)


def nothing(p: Point, *_: object) -> Point:
    return p


def test_algorithm_1_moves_and_corrects_by_hand() -> None:
    """W = (−1, 1) has the variance 1. The end (9, 3) on that sphere is (7, 5). A quarter of the way is (1, 2), with the
    variance ¼ about 1.5, so (0.5, 2.5). The bias is not corrected.
    """
    start, end = {"W": tensor(-1, 1), "b": tensor(0, 0)}, {"W": tensor(9, 3), "b": tensor(4, 8)}
    (knot,) = points(LLPF_M2M(start, end, [({"W", "b"}, 1, {**STEPS, "step_a": 0.25})], {"W"}, nothing))
    exactly(knot, W=(0.5, 2.5), b=(1, 2))
    exactly(start, W=(-1, 1), b=(0, 0))
    free = points(LLPF_M2M(start, end, [({"W", "b"}, 1, {**STEPS, "step_a": 0.25})], set(), nothing))
    exactly(free[0], W=(1.5, 1.5), b=(1, 2))


def test_algorithm_1_corrects_before_training_and_after() -> None:
    """(−1, 1) moves by a quarter to (1, 2) and is corrected to (0.5, 2.5); training doubles it to (1, 5), of variance 4
    about 3; corrected again it is (2, 4).
    """
    seen = []

    def train(p: Point) -> Point:
        seen.append(p["W"].tolist())
        return {k: 2 * t for k, t in p.items()}

    phases = [({"W"}, 1, {**STEPS, "step_a": 0.25})]
    (knot,) = points(LLPF_M2M({"W": tensor(-1, 1)}, {"W": tensor(9, 3)}, phases, {"W"}, train))
    assert seen == [[0.5, 2.5]]
    exactly(knot, W=(2, 4))


def test_algorithm_1_trains_and_corrects_layers_that_do_not_move() -> None:
    start, end = {"W": tensor(-1, 1), "V": tensor(-1, 1)}, {"W": tensor(1, -1), "V": tensor(5, 7)}
    phases = [({"W"}, 1, STEPS)]
    (knot,) = points(LLPF_M2M(start, end, phases, {"W", "V"}, lambda p: {k: 3 * t + 1 for k, t in p.items()}))
    exactly(knot, W=(0, 2), V=(0, 2))  # (−2, 4), of variance 9 about 1


def test_algorithm_1_phase_by_phase() -> None:
    """step_f is a share of the distance at the phase's beginning: 8, then, half of it gone, 4."""
    start, end = {"a": tensor(0), "b": tensor(0)}, {"a": tensor(8), "b": tensor(100)}
    phases = [({"a"}, 2, {**STEPS, "step_f": 0.25}), ({"a", "b"}, 3, {**STEPS, "step_f": 0.25})]
    walked = [(float(p["a"]), float(p["b"])) for p in LLPF_M2M(start, end, phases, set(), nothing)]
    assert walked == [(2, 0), (4, 0), (5, 25), (6, 50), (7, 75)]


def test_algorithm_2_shrinks_without_correction() -> None:
    start = {"W": tensor(-2, 2), "norm": tensor(1, 3)}
    walked = points(LLPF_M2O(start, {"W"}, 2, {**STEPS, "step_a": 0.5}, 0.1, nothing))
    assert [p["W"].tolist() for p in walked] == [[-1, 1], [-0.5, 0.5]]
    assert all(p["norm"].tolist() == [1, 3] for p in walked)


def test_algorithm_2_has_a_learning_rate_for_each_layer() -> None:
    """η = η_base · w/v, w the current variance: the first move takes it from 4 to 1, the next ones to ¼ and 1/16.

    A normalization keeps η_base.
    """
    rates = []

    def train(p: Point, rate: Mapping[str, Tensor]) -> Point:
        rates.append({k: float(r) for k, r in rate.items()})
        return p

    points(LLPF_M2O({"W": tensor(-2, 2), "n": tensor(5)}, {"W"}, 3, {**STEPS, "step_a": 0.5}, 0.1, train))
    assert [r["W"] for r in rates] == pytest.approx([0.1 / 4, 0.1 / 16, 0.1 / 64])
    assert [r["n"] for r in rates] == pytest.approx([0.1] * 3)


def test_algorithm_2_takes_step_f_of_the_first_distance() -> None:
    walked = points(LLPF_M2O({"W": tensor(-3, 4)}, {"W"}, 2, {**STEPS, "step_f": 0.2}, 0.1, nothing))
    assert [float(torch.linalg.norm(p["W"])) for p in walked] == pytest.approx([4, 3])


# The fast version beside it: the same deterministic training ----------------------------------------------------------

EVERYTHING, STEM = None, frozenset({"0.weight", "0.bias"})
STILL = SettleRule(1.0, min_steps=1, max_steps=1, lr=0.05)

SCHEDULES: dict[str, list[tuple[frozenset[str] | None, int, StepRule]]] = {
    "a constant length": [(EVERYTHING, 6, StepRule(step_c=0.4))],
    "a share of what is left": [(EVERYTHING, 6, StepRule(step_a=0.2))],
    "a share of the first distance": [(EVERYTHING, 4, StepRule(step_f=0.25))],
    "all three": [(EVERYTHING, 8, StepRule(0.1, 0.15, 0.05))],
    "past the end": [(EVERYTHING, 3, StepRule(step_f=0.6))],
    "nothing": [(EVERYTHING, 2, StepRule())],
    "phases": [
        (STEM, 3, StepRule(step_a=0.3)),
        (frozenset({"2.weight"}), 2, StepRule(step_c=0.5, step_f=0.1)),
        (EVERYTHING, 3, StepRule(0.05, 0.2, 0.1)),
    ],
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
dtypes = pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=["f64", "f32"])


def pulled(p: Tensor, rate: Tensor | float = 0.05) -> Tensor:
    """Training that is a function of the weights alone."""
    return p + rate * torch.cos(3 * p)


def typed(name: str, dtype: torch.dtype) -> Task:
    task = tiny.TASKS[name]()
    return replace(task, model=task.model.to(dtype))


def phases_of(task: Task, schedule: Sequence[tuple[frozenset[str] | None, int, StepRule]]) -> tuple[Phase, ...]:
    return tuple(walks.phase(task, Scheduled(n, rule), STILL, str(i), own) for i, (own, n, rule) in enumerate(schedule))


def literally(phases: Sequence[Phase]) -> list[tuple[set[str], int, Mapping[str, float]]]:
    return [(set(p.active), p.control.ticks, asdict(p.control.rule)) for p in phases]  # type: ignore[union-attr, arg-type]


def without_gradient(walk: Walk, train: bool) -> None:
    """Settling as `pulled` has it, each tensor at the learning rate of its parameter group; or none."""

    def settle(*_: object) -> Settled:
        groups = walk.optimizer.param_groups
        rates = [group["lr"] for group in groups for _ in group["params"]]
        for p, rate in zip(walk.weights.values(), rates, strict=True):
            p.copy_(pulled(p, rate) if train else p)
        return Settled(1, 0.0, 0.0, low=True)

    walk.settle = settle  # type: ignore[method-assign]


def close(weights: Mapping[str, Tensor], point: Point, error: float) -> None:
    for k, p in weights.items():
        assert p.dtype == point[k].dtype
        torch.testing.assert_close(p, point[k], rtol=error, atol=error)


@every_schedule
@dtypes
@pytest.mark.parametrize("correct", ["matrices", "all", "none"])
@pytest.mark.parametrize("train", [True, False], ids=["settled", "not settled"])
def test_every_tick_is_that_of_algorithm_1(
    schedule: Any, dtype: torch.dtype, error: float, correct: Any, train: bool
) -> None:
    task = typed("mlp", dtype)
    phases = phases_of(task, schedule)
    a, b = walks.ends("mlp", task)
    corrected = {k for k, t in a.items() if correct == "all" or (correct == "matrices" and t.dim() >= 2)}
    walk, state = walks.to_model("mlp", task, phases, correct)
    without_gradient(walk, train)

    def pull(p: Point) -> Point:
        return {k: pulled(t) for k, t in p.items()} if train else p

    knots = 0
    for point in LLPF_M2M(a, b, literally(phases), corrected, pull):
        step = walk.step(state)
        state, knots = step.state, knots + 1
        assert step.knot
        close(walk.weights, point, error)
    assert knots == sum(ticks for _, ticks, _ in schedule)
    assert step.outcome is (Outcome.ARRIVED if walk.direction.near() else Outcome.SHORT)


@pytest.mark.parametrize("rule", [StepRule(step_c=0.4), StepRule(0.1, 0.15, 0.05)])
def test_a_layer_that_moves_as_one_vector_is_one_tensor_of_algorithm_1(rule: StepRule) -> None:
    """Algorithm 1 over layers as vectors, weight and bias end to end, beside the walk over tensors."""
    task = typed("mlp", torch.float64)
    phases = (walks.phase(task, Scheduled(6, rule, "layers"), STILL),)
    walk, state = walks.to_model("mlp", task, phases, "none")
    without_gradient(walk, True)

    def vectors(weights: Mapping[str, Tensor]) -> Point:
        layers = {k.rpartition(".")[0] for k in weights}
        return {l: torch.cat([weights[f"{l}.{k}"].flatten() for k in ("weight", "bias")]) for l in layers}  # noqa: E741

    a, b = (vectors(w) for w in walks.ends("mlp", task))
    for point in LLPF_M2M(a, b, [(set(a), 6, asdict(rule))], set(), lambda p: {k: pulled(t) for k, t in p.items()}):
        state = walk.step(state).state
        close(vectors(walk.weights), point, 1e-9)


def without_biases(dtype: torch.dtype) -> Task:
    """Two matrices and a normalization between them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16, bias=False), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3, bias=False))
    return replace(tiny.mlp(), model=model.to(dtype))


def towards_the_origin(task: Task, rule: StepRule, ticks: int, train: bool, error: float) -> None:
    start = {k: t.clone() for k, t in coordinates(task.model).items()}
    walk, state = walks.to_origin(start, task, (walks.phase(task, Scheduled(ticks, rule), STILL),))
    without_gradient(walk, train)

    def pull(p: Point, rate: Mapping[str, Tensor]) -> Point:
        return {k: pulled(t, rate[k]) for k, t in p.items()} if train else p

    matrices = {"0.weight", "3.weight"}
    for point in LLPF_M2O(start, matrices, ticks, asdict(rule), STILL.lr, pull):
        step = walk.step(state)
        state = step.state
        close(walk.weights, point, error)
    assert state.tick == ticks and step.outcome is Outcome.ARRIVED


@pytest.mark.parametrize("rule", [StepRule(step_a=0.1), StepRule(step_c=0.1), StepRule(step_c=0.15, step_a=0.1)])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-6), (torch.float32, 1e-5)], ids=["f64", "f32"])
@pytest.mark.parametrize("train", [True, False], ids=["settled", "not settled"])
def test_every_tick_is_that_of_algorithm_2(rule: StepRule, dtype: torch.dtype, error: float, train: bool) -> None:
    towards_the_origin(without_biases(dtype), rule, 5, train, error)


def test_every_tick_is_that_of_algorithm_2_with_a_share_of_the_first_distance() -> None:
    towards_the_origin(without_biases(torch.float64), StepRule(step_f=0.1), 5, False, 1e-6)


# The fast version beside it: trained by plain SGD ---------------------------------------------------------------------

PAPER = SettleRule(threshold=0.05, min_steps=2, max_steps=5, lr=0.05)


class PlainSGD:
    """The paper's "train", one new set of tensors after the other: SGD until the rolling loss is low.

    Args:
        task: model and batches.
        rules: of settling, one a tick.
        seed: of the batches.
    """

    def __init__(self, task: Task, rules: Sequence[SettleRule], seed: int = 3) -> None:
        self.task, self.rules, self.seed = task, list(rules), seed
        self.ticks = self.steps = 0

    def __call__(self, p: Point, rate: Mapping[str, Tensor] | None = None) -> Point:
        rule = self.rules[self.ticks]
        losses: list[float] = []
        window = rule.window or rule.min_steps
        while len(losses) < rule.max_steps:
            batch = self.task.train.batch(self.task.defaults.batch_size, self.seed, self.steps)
            held = {k: t.detach().clone().requires_grad_() for k, t in p.items()}
            loss = self._loss(held, batch)
            slopes = torch.autograd.grad(loss, list(held.values()))
            rates = [rule.lr if rate is None else float(rate[k]) for k in held]
            p = {k: t.detach() - r * g for (k, t), r, g in zip(held.items(), rates, slopes, strict=True)}
            losses.append(float(loss.detach()))
            self.steps += 1
            if len(losses) >= rule.min_steps and sum(losses[-window:]) / window <= rule.threshold:
                break
        self.ticks += 1
        return p

    def _loss(self, weights: Point, batch: tuple[Tensor, Tensor]) -> Tensor:
        scores = torch.func.functional_call(self.task.model.train(), weights, (batch[0],))
        return nn.functional.cross_entropy(scores, batch[1])


def cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def doubled(task: Task) -> Task:
    """The task in float64."""
    data = TensorData(task.train.inputs.double(), task.train.targets)  # type: ignore[attr-defined]
    return replace(task, model=task.model.double(), train=data, objective=cross_entropy)


TRAINED: dict[str, Callable[[Task], tuple[Phase, ...]]] = {
    "all at once": lambda task: (walks.phase(task, Scheduled(14, StepRule(step_c=0.05, step_a=0.1)), PAPER),),
    "three rules": lambda task: (walks.phase(task, Scheduled(14, StepRule(0.02, 0.05, 0.03)), PAPER),),
    "to the destination": lambda task: (walks.phase(task, Scheduled(6, StepRule(step_f=0.25)), PAPER),),
    "two phases": lambda task: (
        walks.phase(task, Scheduled(5, StepRule(step_a=0.2)), PAPER, "first", STEM),
        walks.phase(task, Scheduled(5, StepRule(step_f=0.2)), replace(PAPER, lr=0.02, max_steps=3, threshold=0.1)),
    ),
    "a long window": lambda task: (
        walks.phase(task, Scheduled(5, StepRule(step_a=0.2)), replace(PAPER, min_steps=12, max_steps=20)),
    ),
}


def beside(name: str, make: Callable[[], Task], phases: Callable[[Task], tuple[Phase, ...]], error: float) -> None:
    """Step the walk beside algorithm 1, both trained by SGD on the same batches."""
    task, slow = make(), make()
    own = phases(task)
    walk, state = walks.to_model(name, task, own)
    a, b = walks.ends(name, slow)
    train = PlainSGD(slow, [p.settle for p in own for _ in range(p.control.ticks)])  # type: ignore[union-attr, arg-type]
    for point in LLPF_M2M(a, b, literally(own), {k for k, t in a.items() if t.dim() >= 2}, train):
        step = walk.step(state)
        state = step.state
        assert step.knot and walk.workspace.steps == train.steps
        close(walk.weights, point, error)
    assert step.outcome is (Outcome.ARRIVED if walk.direction.near() else Outcome.SHORT)


@pytest.mark.parametrize("phases", TRAINED.values(), ids=TRAINED)
@pytest.mark.parametrize(("make", "error"), [(lambda: doubled(tiny.mlp()), 1e-6), (tiny.mlp, 1e-4)], ids=["f64", "f32"])
def test_trained_by_sgd_every_tick_is_that_of_algorithm_1(phases: Any, make: Any, error: float) -> None:
    beside("mlp", make, phases, error)


@pytest.mark.parametrize(("wide", "error"), [(True, 1e-6), (False, 1e-3)], ids=["f64", "f32"])
def test_convolutions_and_batch_norm_beside_algorithm_1(wide: bool, error: float) -> None:
    def without_dropout() -> Task:
        task = tiny.conv()
        task.model.dropout.p = 0.0  # type: ignore[union-attr, assignment]
        return doubled(task) if wide else task

    def phases(task: Task) -> tuple[Phase, ...]:
        return (walks.phase(task, Scheduled(8, StepRule(step_f=0.125)), replace(PAPER, lr=0.01)),)

    beside("conv", without_dropout, phases, error)


@pytest.mark.parametrize(("make", "error"), [(lambda: doubled(tiny.mlp()), 1e-6), (tiny.mlp, 1e-4)], ids=["f64", "f32"])
def test_trained_by_sgd_every_tick_is_that_of_algorithm_2_and_a_bias_goes_with_its_matrix(
    make: Any, error: float
) -> None:
    task, slow = make(), make()
    a, _ = walks.ends("mlp", task)
    rule = SettleRule(threshold=0.0, min_steps=3, max_steps=3, lr=0.05)
    walk, state = walks.to_origin(a, task, (walks.phase(task, Scheduled(4, StepRule(step_a=0.1)), rule),))
    sgd = PlainSGD(slow, [rule] * 4)

    def train(p: Point, rate: Mapping[str, Tensor]) -> Point:
        return sgd(p, {k: rate[f"{k.rpartition('.')[0]}.weight"] for k in p})

    for point in LLPF_M2O(a, set(a), 4, {**STEPS, "step_a": 0.1}, rule.lr, train):
        state = walk.step(state).state
        assert walk.workspace.steps == sgd.steps
        close(walk.weights, point, error)
    assert state.tick == 4
