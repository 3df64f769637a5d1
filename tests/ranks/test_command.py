"""``llpf merge`` on ranks: the same verdict, one process that writes and speaks, and one sentence where ranks fail."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import commands, felled, rank_work, ranks, tiny

Results = Sequence[commands.Result]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A merge of two models without alignment, over which its line would be as low as its ends."""
    for name, weights in zip("ab", tiny.pair("mlp"), strict=True):
        torch.save(weights, tmp_path / f"{name}.pt")
    asked = ["--max-loss", "0.05", "--align", "never", "--no-report", "-m", "share=0.02", "--lr", "0.05"]
    return ["merge", str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), "-o", str(tmp_path / "run"), *asked]


def two(words: list[str], task: str = felled.TASK, by: str = "", at: int = 0, size: int = 2) -> Results:
    """The command on ranks; the last of them meets something."""
    environment = {"FELL_RANK": str(size - 1), "FELL_AT": str(at), "FELL_BY": by} if by else {}
    return ranks.run(rank_work.command, [*words, "--task", task], environment, size=size, joins=False)


def one(words: list[str], *more: str) -> commands.Result:
    return commands.llpf(*words, "--task", felled.TASK, *more)


def verdict(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "quality.json").read_text())
    return found


def sentences(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_the_verdict_is_that_of_one_process(words: list[str], tmp_path: Path) -> None:
    first, other = two(words)
    assert first.code == other.code == 0, first.err + other.err
    assert "connected" in first.out and (other.out, other.err) == ("", "")
    (tmp_path / "run").rename(tmp_path / "two")
    assert one(words).code == 0
    mine, theirs = verdict(tmp_path / "run"), verdict(tmp_path / "two")
    assert theirs["connected"] and theirs["gradient_steps"] == mine["gradient_steps"]
    maxima = [v["metrics"]["train"]["dense_maximum"]["value"] for v in (mine, theirs)]
    assert maxima[0] == pytest.approx(maxima[1], rel=1e-3)
    files = [{file.name for file in (tmp_path / name).rglob("*")} for name in ("run", "two")]
    assert files[0] == files[1]


def test_a_killed_rank_ends_the_others_and_the_run_goes_on_with_any_number(words: list[str], tmp_path: Path) -> None:
    began = time.monotonic()
    environment = {"FELL_RANK": "1", "FELL_AT": "30", "FELL_BY": "kill"}
    (_, first), died = ranks.outcomes(rank_work.command, [*words, "--task", felled.TASK], environment, joins=False)
    assert died == ("died", None) and time.monotonic() - began < 60
    assert first.code == 1 and not first.traceback
    said = sentences(first.err)
    assert said[0].startswith("llpf merge: rank 1 of 2 (") and "is lost" in said[0] and said[1].endswith("--resume")
    assert len(said) == 2
    assert not (tmp_path / "run" / "path.json").exists() and (tmp_path / "run" / "state.json").exists()
    assert [result.code for result in two([*words, "--resume"], size=3)] == [0, 0, 0]
    assert verdict(tmp_path / "run")["connected"]


@pytest.mark.slow
def test_ctrl_c_on_one_rank_stops_all_of_them_after_the_same_tick(words: list[str], tmp_path: Path) -> None:
    first, other = two(words, by="interrupt", at=30)
    assert (first.code, other.code) == (130, 130), first.text + other.text
    assert "stopped; everything so far is in" in first.err and other.err == ""
    assert one(words, "--resume").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_one_rank_is_said_once(words: list[str], rank: int) -> None:
    environment = {"FELL_RANK": str(rank), "FELL_AT": "30", "FELL_BY": "raise"}
    both = ranks.run(rank_work.command, [*words, "--task", felled.TASK], environment, joins=False)
    assert [result.code for result in both] == [1, 1]
    said = both[rank].err
    assert "MemoryError: no more" in said and not both[rank].traceback and both[1 - rank].err == ""


def test_an_error_of_all_ranks_is_said_once(words: list[str]) -> None:
    words[1] += ".missing"
    first, other = two(words)
    assert (first.code, other.code) == (1, 1)
    assert len(sentences(first.err + other.err)) == 1 and not first.traceback


def test_ranks_that_see_different_files_are_told_so_and_nothing_is_written(words: list[str], tmp_path: Path) -> None:
    torch.save(tiny.pair("mlp")[0], tmp_path / "a0.pt")
    torch.save(tiny.trained("mlp", 3), tmp_path / "a1.pt")
    words[1] = str(tmp_path / "a{rank}.pt")
    first, other = two(words)
    assert (first.code, other.code) == (1, 1)
    assert "rank 1 reads another A than rank 0" in first.err and other.err == ""
    assert len(sentences(first.err)) == 1 and not (tmp_path / "run").exists()


def test_a_batch_that_is_too_small_is_refused_before_anything_is_written(words: list[str], tmp_path: Path) -> None:
    first, other = two([*words, "--batch-size", "1"])
    assert (first.code, other.code) == (1, 1)
    assert "a batch of 1 example cannot be shared by 2 ranks" in first.err and other.err == ""
    assert len(sentences(first.err)) == 1 and not (tmp_path / "run").exists()


def test_a_missing_rank_is_named(words: list[str], tmp_path: Path) -> None:
    asked = ([*words, "--task", felled.TASK], {}, 2.0)
    for missing in (0, 1):
        ((_, result),) = ranks.outcomes(rank_work.command, *asked, joins=False, missing=[missing])
        assert result.code == 1 and len(sentences(result.err)) == 1, result.err
        assert f"rank {missing} of 2 is missing" in result.err or "not all of 2 ranks" in result.err
    assert not (tmp_path / "run").exists()


def test_only_rank_0_says_that_the_goal_was_not_reached(words: list[str]) -> None:
    words[words.index("--max-loss") + 1] = "0.025"
    first, other = two([*words, "--budget", "6"])
    assert (first.code, other.code) == (3, 0) and "not connected" in first.out, first.text
    assert (other.out, other.err) == ("", "")


def test_what_one_process_does_is_refused_to_several(tmp_path: Path) -> None:
    first, other = ranks.run(rank_work.command, ["report", str(tmp_path)], joins=False)
    assert (first.code, other.code) == (2, 2)
    assert "llpf report runs in one process" in first.err and other.err == ""
