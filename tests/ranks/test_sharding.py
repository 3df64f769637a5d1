"""With weights in shards over ranks (``--shard``), all is as with whole ones, to rounding."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import commands, felled, rank_work, ranks, shard_work, tiny
from helpers.rank_work import farthest

from llpf_plugin import Compute, find_path
from llpf_plugin.errors import RankError

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("llpf", {"max_loss": 0.05, "lr": 0.05}),
    ("finetune", {"budget": 20, "lr": 0.05}),
    ("bezier", {"budget": 20, "lr": 0.05}),
    ("sphere-curve", {"budget": 20, "lr": 0.05}),
    ("autoneb", {"budget": 32, "lr": 0.05}),
    ("linear", {}),
]


def test_geometry_sums_over_the_parts_of_all_ranks() -> None:
    whole = shard_work.numbers(False)
    for found in ranks.run(shard_work.numbers, True):
        assert found["moments"][-1, 1] == 0  # of a constant tensor, exactly
        for name in ("moments", "gaps"):
            torch.testing.assert_close(found[name], whole[name], rtol=1e-6, atol=1e-7)
        for name in ("norm", "distance", "cosine"):
            assert found[name] == pytest.approx(whole[name], rel=1e-6), name
        for one, other in zip(found["moved"], whole["moved"], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "tied"])
def test_fifty_steps_are_those_of_whole_weights(name: str, tmp_path: Path) -> None:
    search = {"max_loss": 20.0} if name == "tied" else {"max_loss": 1.0}
    one = shard_work.trail(name, False, 50, **search)
    two = ranks.run(partial(shard_work.trail, **search), name, True, 50)
    assert len(one) >= 3 and farthest(one, two[0]) <= 1e-6
    assert all(tiny.same(p, q) for p, q in zip(*two, strict=True))


def test_each_rank_keeps_its_part_of_weights_and_gradients() -> None:
    every = sum(p.numel() for p in shard_work.Tied().parameters())
    for weights, gradients, apart in ranks.run(shard_work.kept, "tied"):
        assert weights <= 0.6 * every and gradients == weights
        assert apart == 3  # two blocks, and what is tied with the rest


@pytest.mark.slow
def test_every_method_comes_to_the_same(tmp_path: Path) -> None:
    one = shard_work.ended(METHODS, "mlp", False)
    for found in ranks.run(shard_work.ended, METHODS, "mlp", True):
        for (method, _), mine, theirs in zip(METHODS, one, found, strict=True):
            assert theirs[:3] == mine[:3] and theirs[4] == mine[4], method
            assert theirs[3] == pytest.approx(mine[3], rel=1e-3), method


@pytest.mark.parametrize(
    ("name", "method", "settings", "said"),
    [
        ("mlp", "learned-matching", {}, "learned matching needs whole weights"),
        ("mlp", "linear", {"repair": True}, "REPAIR needs whole weights"),
        ("mlp", "llpf", {"across": "always"}, "a path across variance spheres (-m across=never is without) needs"),
        ("conv", "llpf", {}, "keeps running statistics (BatchNorm)"),
    ],
)
@pytest.mark.slow
def test_what_needs_whole_weights_is_refused(name: str, method: str, settings: dict[str, Any], said: str) -> None:
    for sentence in ranks.run(shard_work.refused, name, method, settings):
        assert said in sentence and sentence.count("\n") == 0


def test_one_process_has_nothing_to_shard() -> None:
    with pytest.raises(RankError, match="start it with torchrun"):
        find_path(*tiny.pair("mlp"), tiny.mlp(), compute=Compute("cpu", shard=True))


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A merge of two models whose path takes repairs."""
    for name, weights in zip("ab", tiny.pair("mlp"), strict=True):
        torch.save(weights, tmp_path / f"{name}.pt")
    asked = ["--max-loss", "0.05", "--align", "never", "-m", "share=0.02", "--lr", "0.05", "--task", felled.TASK]
    return ["merge", str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), "-o", str(tmp_path / "run"), *asked]


def test_a_killed_run_goes_on_without_shards(words: list[str], tmp_path: Path) -> None:
    environment = {"FELL_RANK": "1", "FELL_AT": "60", "FELL_BY": "kill"}
    (_, first), died = ranks.outcomes(rank_work.command, [*words, "--shard"], environment, joins=False)
    assert died == ("died", None) and first.code == 1 and not first.traceback
    assert first.err.startswith("llpf merge: rank 1 of 2 (") and "is lost" in first.err, first.err
    assert (tmp_path / "run" / "state.json").exists()
    result = commands.llpf(*words, "--resume", "--no-report")
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "run" / "quality.json").read_text())["connected"]


@pytest.mark.slow
def test_the_command_writes_the_path_and_says_what_writes_the_report(words: list[str], tmp_path: Path) -> None:
    first, other = ranks.run(rank_work.command, [*words, "--shard"], joins=False)
    assert first.code == other.code == 0, first.err
    assert "no report" in first.out and "llpf report does it afterwards" in first.out
    assert (tmp_path / "run" / "merged.pt").exists() and (tmp_path / "run" / "path.png").exists()
    assert commands.llpf("report", str(tmp_path / "run"), "--task", felled.TASK, "--trust").code == 0


@pytest.mark.slow
def test_the_origin_is_refused(words: list[str], tmp_path: Path) -> None:
    origin = ["origin", words[1], "-o", str(tmp_path / "run"), "--task", felled.TASK, "--shard"]
    first, other = ranks.run(rank_work.command, origin, joins=False)
    assert (first.code, other.code) == (1, 1) and "a walk towards the origin needs whole weights" in first.err
    assert not (tmp_path / "run").exists()
