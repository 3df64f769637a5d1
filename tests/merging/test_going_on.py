"""A run goes on with a larger budget or towards another goal, from where it was; killed meanwhile, it resumes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.run_folders import bits, read

from llpf_plugin import merge
from llpf_plugin.errors import RunError
from llpf_plugin.llpf import LLPF
from llpf_plugin.merging import Merged, open_descent
from llpf_plugin.methods import Bezier
from llpf_plugin.records import Outcome
from llpf_plugin.runs import RunFolder
from llpf_plugin.search import SearchOptions, descend
from llpf_plugin.workspace import Compute

WALK = LLPF(phases="all", share=0.05)


def merged(out: Path, budget: int | None, max_loss: float = 0.05, method: Any = WALK, count: int = 2) -> Merged:
    models = [tiny.trained("mlp", seed) for seed in range(1, 1 + count)]
    again = {"resume": True} if out.exists() else {}
    return merge(
        models, tiny.mlp(), method, max_loss=max_loss, budget=budget, points=1, align="never", out=out, **again
    )


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("budgets", [(8, 2000), (4, 8, 2000)])
def test_a_walk_whose_budget_ran_out_goes_on_with_a_larger_one(tmp_path: Path, budgets: tuple[int, ...]) -> None:
    out, steps = tmp_path / "run", 0
    for budget in budgets[:-1]:
        found = merged(out, budget)
        assert not found.connected and found.gradient_steps == budget
        assert read(out, "path")["outcome"] == "BUDGET"
        record = read(out, "state")["progress"]["record"]
    found = merged(out, budgets[-1])
    assert found.connected and steps < found.gradient_steps < budgets[-1]
    after = read(out, "state")["progress"]
    assert after["record"][: len(record)] == record and after["cut"] is None
    assert read(out, "path")["outcome"] == "ARRIVED" and read(out, "run")["asked"]["search"]["budget"] == budgets[-1]
    merged(tmp_path / "whole", budgets[-1])
    assert names(out) == names(tmp_path / "whole"), "nothing is left of the smaller budget"
    knots = {f"{knot:06d}.safetensors" for knot in [0, 1, *read(out, "path")["knots"]]}
    assert names(out / "knots") == knots
    before = bits(out)
    assert merged(out, budgets[-1]).connected and bits(out) == before


@pytest.mark.filterwarnings("ignore")
def test_a_goal_that_is_raised_or_lowered(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = merged(out, 3000, max_loss=0.3)
    assert first.connected
    lower = merged(out, 3000, max_loss=0.04)
    assert lower.gradient_steps > first.gradient_steps and read(out, "quality")["goal"] == 0.04
    raised = merged(out, 3000, max_loss=0.5)
    assert raised.connected and raised.gradient_steps == lower.gradient_steps


@pytest.mark.filterwarnings("ignore")
def test_a_method_that_trains_for_its_budget_begins_anew(tmp_path: Path) -> None:
    merged(tmp_path / "run", 30, method=Bezier())
    assert merged(tmp_path / "run", 60, method=Bezier()).gradient_steps == 60
    merged(tmp_path / "whole", 60, method=Bezier())
    assert bits(tmp_path / "run") == bits(tmp_path / "whole") and names(tmp_path / "run") == names(tmp_path / "whole")


@pytest.mark.filterwarnings("ignore")
def test_a_budget_that_is_spent_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    merged(tmp_path / "run", 15)
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(RunError, match="has taken 15 gradient steps, and is to go on with a budget of 9: give more"):
        merged(tmp_path / "run", 9)
    assert (tmp_path / "run" / "run.json").read_bytes() == before and (tmp_path / "run" / "path.json").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_tree_goes_on_as_far_as_its_models_are_the_same(tmp_path: Path) -> None:
    out = tmp_path / "tree"
    first = merged(out, 3000, max_loss=0.3, count=3)
    again = merged(out, 4000, max_loss=0.3, count=3)
    assert first.connected and again.connected and again.gradient_steps == first.gradient_steps


def test_a_walk_to_the_origin_goes_on(tmp_path: Path) -> None:
    def walked(budget: int, out: str) -> Any:
        options = SearchOptions(max_loss=0.4, budget=budget, points=1)
        place = tmp_path / out
        descent = open_descent(
            tiny.trained("mlp", 1), tiny.mlp(), LLPF(), options, Compute(), 0.2, out=place, resume=place.exists()
        )
        with descent.running():
            quality = descend(descent.search)
        descent.close(quality)
        return quality.path

    first = walked(8, "run")
    assert first.cost.gradient_steps == 8 and first.outcome is Outcome.BUDGET
    path = walked(400, "run")
    assert 8 < path.cost.gradient_steps <= 400 and path.outcome is not Outcome.BUDGET
    walked(400, "whole")
    assert names(tmp_path / "run") == names(tmp_path / "whole")
    assert len(path.knots) > 2 and torch.isfinite(path.knots[-1]["0.weight"]).all()


def test_a_resumed_run_that_is_killed_before_its_first_step_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state is saved when it starts, before the solver is there."""

    class Killed(BaseException):
        pass

    def killed(self: Any, search: Any, tick: Any) -> None:
        raise Killed

    def stopped(self: Any, search: Any, tick: Any) -> None:
        self.save(search)
        if len(search.progress.record) == 3:
            raise Killed

    out = tmp_path / "run"
    for how in (stopped, killed, killed):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(RunFolder, "on_tick", how)
            merged(out, 500)
    assert merged(out, 500).connected
    merged(tmp_path / "whole", 500)
    assert bits(out) == bits(tmp_path / "whole")
