"""The walk across variance spheres: which legs there are, what the whole path promises, and the commands."""

import json
from pathlib import Path as FilePath
from typing import Any

import pytest
import torch
from helpers import tiny
from llpf_merge.main import app
from llpf_plugin.search.settings import Settings
from typer.testing import CliRunner, Result

from llpf_plugin import LLPFError, Path, find_path, measure
from llpf_plugin.checkpoint import read
from llpf_plugin.errors import InterruptedRun
from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.knots import MemoryKnots
from llpf_plugin.geometry.weights import Weights, coordinates, select
from llpf_plugin.llpf import common_spheres as legs
from llpf_plugin.methods.base import Outcome
from llpf_plugin.search.find import Search
from llpf_plugin.search.progress import Callback, Stretch
from llpf_plugin.workspace import Gradient


def scaled(weights: Weights, **factors: float) -> Weights:
    return {k: t * factors.get(k.partition(".")[0], 1.0) for k, t in weights.items()}


def route(a: Weights, b: Weights, **options: Any) -> legs.Route:
    task = tiny.conv()
    names = list(coordinates(task.model))
    return legs.route(Settings(**options), Gradient(task), select(a, names), select(b, names))


# Which legs there are -------------------------------------------------------------------------------------------------


def test_ends_on_one_sphere_have_one_leg() -> None:
    a, _ = tiny.pair("conv")
    assert route(a, a) == route(a, scaled(a, conv1=1.1)) == legs.Route()
    assert route(a, scaled(a, conv1=3), across="never") == route(a, scaled(a, conv1=3), correct="none") == legs.Route()


def test_always_takes_smaller_differences_seriously_too() -> None:
    a, _ = tiny.pair("conv")
    assert [s.leg for s in route(a, scaled(a, conv1=1.1), across="always").todo] == [legs.UP, legs.JOIN]
    assert route(a, scaled(a, conv1=1.005), across="always") == legs.Route()


@pytest.mark.parametrize(
    ("larger_a", "larger_b", "names", "chain"),
    [
        (2, 1, [legs.DOWN, legs.JOIN], (0, 2, 1)),
        (1, 2, [legs.UP, legs.JOIN], (0, 3, 1)),
        (2, 2, [legs.DOWN, legs.UP, legs.JOIN], (0, 2, 3, 1)),
    ],
)
def test_the_larger_end_of_every_layer_walks_down(
    larger_a: float, larger_b: float, names: list[str], chain: tuple[int, ...]
) -> None:
    a, _ = tiny.pair("conv")
    found = route(scaled(a, conv1=larger_a), scaled(a, fc=larger_b))
    assert [s.leg for s in found.todo] == names and found.chain == chain
    for k, target in found.targets.items():
        assert target == pytest.approx(sphere.variance(a[k]), rel=1e-4)
    assert set(found.proposed) == {"conv1.weight", "conv2.weight"}


@pytest.mark.parametrize(
    ("before", "after", "leg"),
    [
        ("", legs.DOWN, legs.DOWN), (legs.DOWN, legs.DOWN, legs.DOWN), (legs.DOWN, legs.JOIN, legs.JOIN),
        (legs.DOWN, legs.UP, legs.JOIN), (legs.DOWN, "", legs.JOIN), (legs.JOIN, legs.UP, legs.JOIN),
        (legs.JOIN, "", legs.JOIN), (legs.UP, legs.UP, legs.UP), (legs.UP, "", legs.UP), ("", "", ""),
        ("", legs.ORIGIN, legs.ORIGIN),
    ],
)  # fmt: skip
def test_the_leg_of_a_segment(before: str, after: str, leg: str) -> None:
    assert legs.leg_of({"leg": before}, {"leg": after}) == leg


def test_repairs_between_spheres_hold_no_sphere_and_go_down() -> None:
    settings, stretch = legs.repair(Settings(), Stretch(7, 8, 1, legs.UP))
    assert settings.correct == "none" and (stretch.start, stretch.end) == (8, 7)
    assert legs.repair(Settings(), Stretch(7, 8, 1, legs.JOIN)) == (Settings(), Stretch(7, 8, 1, legs.JOIN))


# What the path promises -----------------------------------------------------------------------------------------------


def across(name: str, swapped: bool = False, **options: Any) -> Path:
    ends = tiny.apart(name)
    return find_path(
        *(reversed(ends) if swapped else ends), tiny.TASKS[name](), **{"tolerance": 0.2, "across": "always", **options}
    )


@pytest.mark.parametrize("swapped", [False, True], ids=["larger first", "smaller first"])
@pytest.mark.parametrize("name", tiny.TASKS)
def test_one_path_from_end_to_end(name: str, swapped: bool) -> None:
    a, b = reversed(tiny.apart(name)) if swapped else tiny.apart(name)
    path = across(name, swapped)
    assert path.outcome is Outcome.ARRIVED and path.quality.criteria[0].holds and path.quality.criteria[1].holds
    assert tiny.same(path.at(0), a) and tiny.same(path.at(1), b)
    rows = legs.summary(path, path.quality.rows)
    assert legs.JOIN in (names := [r["leg"] for r in rows]) and (legs.UP if swapped else legs.DOWN) in names
    assert sum(r["length"] for r in rows) == pytest.approx(1) and all(r["outcome"] == "ARRIVED" for r in rows)
    assert sum(r["steps"] for r in rows) == path.cost["gradient_steps"] and path.cost["repairs"] == 0
    assert max(r["maximum"] for r in rows) == pytest.approx(path.quality.maximum)
    again = measure(path, tiny.TASKS[name]())
    assert again.maximum == pytest.approx(path.quality.maximum, rel=1e-5)


def test_the_legs_meet_on_the_smaller_spheres_and_stay_there() -> None:
    path = across("mlp")
    begin = next(i for i, label in enumerate(path.labels) if label.get("leg") == legs.JOIN) - 1
    for name in ("0.weight", "2.weight"):
        variances = [sphere.variance(knot[name]) for knot in path.knots]
        assert variances[0] > 1.25 * variances[-1]
        assert variances[begin:] == pytest.approx([variances[-1]] * (len(variances) - begin), rel=1e-3)


@pytest.mark.parametrize("swapped", [False, True], ids=["larger first", "smaller first"])
def test_walkers_from_both_sides_of_the_middle_leg_meet(swapped: bool) -> None:
    path = across("mlp", swapped, sides="both")
    a, b = reversed(tiny.apart("mlp")) if swapped else tiny.apart("mlp")
    assert path.outcome is Outcome.ARRIVED and path.two_sided and path.quality.criteria[1].holds
    assert tiny.same(path.at(0), a) and tiny.same(path.at(1), b)
    # No knot of A's side comes after one of B's.
    sides = [label["side"] for label in path.labels]
    assert sides == sorted(sides)
    assert {label["leg"] for label in path.labels if "leg" in label} >= {legs.JOIN, legs.UP if swapped else legs.DOWN}


class StopAt(Callback):
    """Stops a search after so many ticks."""

    def __init__(self, tick: int) -> None:
        self.left = tick

    def on_tick(self, search: Search, report: Any) -> None:
        self.left -= 1
        search.stop = self.left == 0


def ends(name: str) -> list[Weights]:
    return list(reversed(tiny.apart(name)))


@pytest.mark.parametrize("tick", [1, 2, 4])
def test_a_walk_that_was_stopped_in_any_leg_goes_on_bit_by_bit(tick: int) -> None:
    settings = Settings(tolerance=0.2, across="always")
    whole = find_path(*ends("conv"), tiny.conv(), settings)
    knots = MemoryKnots()
    search = Search(*ends("conv"), tiny.conv(), settings, None, knots, (StopAt(tick),))
    with pytest.raises(InterruptedRun):
        search.run()
    values, tensors = search.snapshot()
    resumed = find_path(
        *ends("conv"), tiny.conv(), settings, knots=knots, resume=(json.loads(json.dumps(values)), tensors)
    )
    assert all(tiny.same(x, y) for x, y in zip(whole.knots, resumed.knots, strict=True))
    assert list(whole.labels) == list(resumed.labels) and whole.quality.rows == resumed.quality.rows


def test_a_budget_that_ends_in_the_first_leg_leaves_a_path_all_the_same() -> None:
    path = across("mlp", budget=2)
    assert path.outcome is Outcome.BUDGET and path.cost["legs"][legs.DOWN]["outcome"] == "BUDGET"
    assert [label["kind"] for label in path.labels][-1] == "end" and not path.quality.connected


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(LLPFError, match="across = 'sometimes': it must be one of auto, never, always"):
        Settings(across="sometimes")  # type: ignore[arg-type]


# The commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: FilePath) -> tuple[FilePath, FilePath]:
    places = (tmp_path / "a.pt", tmp_path / "b.pt")
    for place, weights in zip(places, tiny.apart("conv"), strict=True):
        torch.save({"state_dict": weights}, place)
    return places


def run(*words: object) -> Result:
    task = f"{FilePath(tiny.__file__)}:conv"
    given = [*map(str, words), "--task", task, "--device", "cpu", "--tolerance", "0.2"]
    return CliRunner().invoke(app, given, env={"COLUMNS": "200"})


def test_a_merge_goes_by_common_spheres_by_itself(pair: tuple[FilePath, FilePath], tmp_path: FilePath) -> None:
    result = run(*pair, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "lie on other variance spheres" in result.stdout and "by common ones" in result.stdout
    assert legs.DOWN in result.stdout and legs.JOIN in result.stdout
    verdict = json.loads((tmp_path / "run" / "quality.json").read_text())
    assert [r["leg"] for r in verdict["legs"]] == [legs.DOWN, legs.JOIN]
    labels = json.loads((tmp_path / "run" / "path.json").read_text())["labels"]
    assert {label.get("leg") for label in labels[1:-1]} == {legs.DOWN, legs.JOIN}
    plain = run(*pair, "-o", tmp_path / "plain", "--across", "never")
    assert legs.JOIN not in plain.stdout and "legs" not in json.loads((tmp_path / "plain" / "quality.json").read_text())


def test_a_walk_to_the_origin(pair: tuple[FilePath, FilePath], tmp_path: FilePath) -> None:
    result = run(pair[0], "origin", "--to", "0.5", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "3 layers walk" in result.stdout and "0.5 to 0.5 of the variance" in result.stdout
    a, last = (read(place).weights for place in (pair[0], tmp_path / "run" / "merged.pt"))
    assert sphere.variance(last["fc.weight"]) == pytest.approx(0.5 * sphere.variance(a["fc.weight"]), rel=1e-3)
    assert (tmp_path / "run" / "path.png").is_file()


def test_growing_and_options_out_of_place_are_refused(pair: tuple[FilePath, FilePath], tmp_path: FilePath) -> None:
    grown = run(pair[1], "origin", "--to", pair[0], "-o", tmp_path / "run")
    assert grown.exit_code == 1 and "swap the two ends" in grown.stderr and not (tmp_path / "run").exists()
    assert run(*pair, "--ticks", 3, "-o", tmp_path / "run").exit_code == 2
    assert run(*pair, "--across", "perhaps", "-o", tmp_path / "run").exit_code == 2
