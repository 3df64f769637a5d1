"""From settings to walks: phases, steps and settling by hand, with 0.2 of room above the ends."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import tiny
from helpers.problems import GOAL, problem
from torch import Tensor, nn

from llpf_plugin import LLPF, Task
from llpf_plugin.errors import OrderError, ScheduleError
from llpf_plugin.geometry.weights import coordinates
from llpf_plugin.llpf import Backtracking, Scheduled, ToModel, Walk, cut_slices, read_order
from llpf_plugin.llpf.plan import leg_phase, plan, reject_above, settle_rule, slack_of, walk, walk_phases
from llpf_plugin.llpf.repair import Repair
from llpf_plugin.methods import Problem, Stretch
from llpf_plugin.order import layer_order
from llpf_plugin.records import DOWN, JOIN

CONV = [
    {"conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias"},
    {"conv2.weight", "conv2.bias", "bn2.weight", "bn2.bias"},
]
FC = {"fc.weight", "fc.bias"}


def conv() -> Problem:
    return problem(tiny.conv(), *tiny.pair("conv"))


# Settling and steps ---------------------------------------------------------------------------------------------------


def test_settling_ends_halfway_to_the_goal() -> None:
    rule = settle_rule(LLPF(), conv())
    assert rule.threshold == pytest.approx(0.3)
    assert (rule.min_steps, rule.max_steps, rule.lr, rule.momentum) == (2, 60, 0.05, 0.9)
    asked = settle_rule(LLPF(threshold=0.6, min_steps=3, max_steps=7), conv())
    assert (asked.threshold, asked.min_steps, asked.max_steps) == (0.6, 3, 7)


@pytest.mark.parametrize(
    ("method", "threshold", "level"),
    [
        (LLPF(), 0.6, 2.2), (LLPF(repairs=1), 0.6, 2.2), (LLPF(repairs=0), 0.3, 0.8),
        (LLPF(threshold=0.5, reject_above=0.7), 0.5, 0.7),
    ],
)  # fmt: skip
def test_a_walk_whose_path_is_repaired_is_coarse(method: LLPF, threshold: float, level: float) -> None:
    (phase,) = walk_phases(replace(method, phases="all"), conv(), {"all": frozenset(FC)})
    assert isinstance(phase.control, Backtracking)
    assert (phase.settle.threshold, phase.control.reject_above) == (pytest.approx(threshold), pytest.approx(level))


def test_a_move_is_rejected_three_times_as_far_as_the_goal() -> None:
    assert reject_above(LLPF(), GOAL) == pytest.approx(0.8)
    assert reject_above(LLPF(reject_above=1.0), GOAL) == 1.0


def test_a_knot_may_be_dropped_for_a_twentieth_of_the_room() -> None:
    assert slack_of(LLPF(), conv()) == pytest.approx(0.01)
    assert slack_of(LLPF(thin=0.0), conv()) == 0.0


@pytest.mark.parametrize(
    ("share", "control"), [(0.1, (0.1, 0.002, 0.5)), (1.0, (1.0, 0.002, 1.0)), (0.001, (0.001, 0.001, 0.5))]
)
def test_the_first_share_bounds_the_others(share: float, control: tuple[float, ...]) -> None:
    phases = walk_phases(LLPF(phases="all", share=share), conv(), {"all": frozenset(FC)})
    (got,) = [p.control for p in phases]
    assert isinstance(got, Backtracking)
    assert (got.share, got.min_share, got.max_share) == pytest.approx(control)


# Phases ---------------------------------------------------------------------------------------------------------------


def test_slices_follow_the_data_flow() -> None:
    layers = cut_slices(LLPF(phases="layer"), tiny.conv())
    assert list(map(set, layers.values())) == [*CONV, FC]
    assert cut_slices(LLPF(phases="all"), tiny.conv()) == {"all": frozenset(coordinates(tiny.conv().model))}
    assert list(cut_slices(LLPF(phases=2), tiny.conv()).values()) == list(
        cut_slices(LLPF(phases="2"), tiny.conv()).values()
    )


def test_phases_are_cumulative_and_all_layers_come_last() -> None:
    method = LLPF(phases="layer")
    slices = cut_slices(method, tiny.conv())
    phases = walk_phases(method, conv(), slices)
    assert [p.name for p in phases] == list(slices)
    assert [set(p.active) for p in phases] == [CONV[0], CONV[0] | CONV[1], CONV[0] | CONV[1] | FC]
    assert {p.control.gives_way for p in phases} == {0.0}


class Block(nn.Sequential):
    """Two layers."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))


def test_phases_auto_merge_the_blocks_of_a_flat_network_to_eight() -> None:
    """MobileNetV2 and EfficientNet are flat; their blocks are 18 to 20 stages."""
    task = replace(tiny.mlp(), model=nn.Sequential(*[Block() for _ in range(18)], nn.Linear(6, 3)))
    stages, merged = (cut_slices(LLPF(phases=phases, repairs=0), task) for phases in ("stage", "auto"))
    assert len(stages) == 19 and len(merged) == 8
    sizes = [len(own) for own in merged.values()]
    assert sum(sizes) == sum(map(len, stages.values())) and max(sizes) <= 2 * min(sizes)
    assert all(any(own <= whole for whole in merged.values()) for own in stages.values())  # none is cut in two
    few = replace(tiny.mlp(), model=nn.Sequential(*[Block() for _ in range(5)]))
    assert cut_slices(LLPF(phases="auto", repairs=0), few) == cut_slices(LLPF(phases="stage"), few)


def test_phases_auto_begin_with_all_layers_at_once_which_give_way() -> None:
    method = LLPF(phases="auto", share=0.1)
    first, *rest = walk_phases(method, conv(), cut_slices(LLPF(phases="layer"), tiny.conv()))
    assert first.name == "all" and first.control.gives_way == pytest.approx(0.025)
    assert len(rest) == 3 and first.active == rest[-1].active and rest[0].control.gives_way == 0.0


def test_phases_auto_are_one_that_may_stall_where_the_rest_is_trained() -> None:
    assert list(cut_slices(LLPF(), tiny.conv())) == ["all"]
    (only,) = walk_phases(LLPF(share=0.2), conv(), cut_slices(LLPF(), tiny.conv()))
    assert only.name == "all" and only.control.gives_way == pytest.approx(0.05)
    (asked,) = walk_phases(LLPF(phases="all"), conv(), cut_slices(LLPF(phases="all"), tiny.conv()))
    assert asked.control.gives_way == 0.0


def test_a_walk_whose_path_is_repaired_is_as_coarse_as_the_barrier_and_no_coarser_than_eight_goals() -> None:
    for middle, factor in ((None, 1.0), (0.2 + 16 * 0.2, 1.0), (0.2 + 48 * 0.2, 3.0), (math.inf, 1.0), (1e9, 8.0)):
        problem = replace(conv(), goal=replace(GOAL, middle=middle))
        (phase,) = walk_phases(LLPF(), problem, cut_slices(LLPF(), tiny.conv()))
        low, high = phase.settle.threshold - GOAL.batch, phase.control.reject_above - GOAL.batch
        assert (low, high) == (pytest.approx(2 * factor * GOAL.room), pytest.approx(10 * factor * GOAL.room))


def test_a_schedule_is_walked_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "mine.yaml"
    place.write_text("phases: [{ticks: 3, step_a: 0.1}]")
    method = LLPF(schedule=str(place), repairs=1)
    slices = cut_slices(method, tiny.conv())
    assert list(slices) == ["all"]
    (walked,) = walk_phases(method, conv(), slices)
    assert isinstance(walked.control, Scheduled)
    assert walked.settle == replace(settle_rule(method, conv()), window=None)


def test_a_leg_moves_a_twentieth_of_what_is_left_and_anneals_nothing() -> None:
    phase = leg_phase(LLPF(share=0.3), conv(), DOWN, ticks=7)
    control = phase.control
    assert isinstance(control, Backtracking)
    assert (phase.name, control.share, control.ticks, control.anneal_below, control.hand_over) == (
        DOWN,
        0.05,
        7,
        0.0,
        0.0,
    )
    assert control.reject_above == pytest.approx(0.8) and phase.active == frozenset(coordinates(tiny.conv().model))


# Orders ---------------------------------------------------------------------------------------------------------------


def test_an_order_may_be_derived_given_or_a_file(tmp_path: Path) -> None:
    task = tiny.conv()
    order = layer_order(task.model, task.example_inputs())
    (tmp_path / "order.json").write_text(order.to_json())
    slices = [cut_slices(LLPF(phases="layer", order=o), task) for o in ("fdf", order, str(tmp_path / "order.json"))]
    assert slices[0] == slices[1] == slices[2]


def test_an_order_of_another_model_or_none_is_refused(tmp_path: Path) -> None:
    task = tiny.mlp()
    order = layer_order(task.model, task.example_inputs())
    with pytest.raises(OrderError, match=r"of another model .*: only one of the two has 0\.bias, 0\.weight, 2\.bias"):
        read_order(order, tiny.conv())
    with pytest.raises(
        OrderError, match=r"order 'nowhere\.json': it must be fdf, or a JSON file that llpf order wrote"
    ):
        read_order("nowhere.json", task)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(OrderError):
        read_order(str(tmp_path / "broken.json"), task)


def calls_parts(model: nn.Module, batch: Any) -> Tensor:
    """An objective that never calls the model itself, so that nothing is known of its inputs."""
    return nn.functional.cross_entropy(model[2](model[1](model[0](batch[0]))), batch[1])  # type: ignore[index]


@pytest.mark.parametrize(
    "task",
    [lambda: replace(tiny.mlp(), model=nn.Linear(3, 3)), lambda: replace(tiny.mlp(), objective=calls_parts)],
    ids=["does not run", "is not called"],
)
def test_a_model_without_an_order_moves_all_layers_at_once_where_none_was_asked_for(task: Callable[[], Task]) -> None:
    with pytest.warns(UserWarning, match="layer order unavailable; moving all layers at once"):
        assert list(cut_slices(LLPF(repairs=0), task())) == ["all"]
    for method in (LLPF(phases="stage"), LLPF(order="nowhere.json")):
        with pytest.raises(OrderError):
            cut_slices(method, task())


# Plans ----------------------------------------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused_before_anything_is_walked(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("phases: []")
    with pytest.raises(ScheduleError):
        plan(LLPF(schedule=str(tmp_path / "mine.yaml")), conv())
    with pytest.raises(OrderError, match="floor"):
        plan(LLPF(phases="floor"), conv())


def test_a_plan_binds_nothing_but_the_problem() -> None:
    bound = conv()
    before = {k: t.clone() for k, t in bound.workspace.model.state_dict().items()}
    found = plan(LLPF(repairs=7), bound)
    assert (found.chain, found.stretches, found.repairs) == ((0, 1), (Stretch(0, 1),), 7)
    assert bound.workspace.steps == 0 and tiny.same(bound.workspace.model.state_dict(), before)
    assert isinstance(found.solver(Stretch(0, 1)), Walk)


def test_what_is_high_is_trained() -> None:
    bound = conv()
    found = plan(LLPF(correct="all"), bound)
    assert found.mend is not None
    mender = found.mend(Stretch(4, 7, JOIN, losses=((0.0, 0.1), (1.0, 0.2)), steps=9), [bound.start, bound.end])
    assert isinstance(mender, Repair) and mender.correct == "all" and mender.stretch.steps == 9


def test_a_walk_is_on_the_spheres_that_were_asked_for() -> None:
    bound = conv()
    for correct, held in (("matrices", 3), ("none", 0)):
        solver = walk(LLPF(correct=correct), bound, {"all": frozenset(bound.start)})  # type: ignore[arg-type]
        solver.init(bound.start, bound.end)
        assert isinstance(solver.direction, ToModel) and len(solver.direction.spheres) == held
