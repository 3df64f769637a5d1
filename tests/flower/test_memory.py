"""Runs that follow runs: checkpoints, resuming, a second start."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from helpers.flower_apps import QUIET, app, echo, fixed, grid, number, record, through, values

from llpf_flower import LLPFStrategy, checkpoint
from llpf_plugin.errors import CheckpointError, MismatchError, RunError


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_resumed_run_counts_on_and_ends_with_the_same_bits(tmp_path: Path, momentum: float) -> None:
    def train(message: Message, context: Context) -> dict[str, Any]:
        now, config = message.content["arrays"]["w"].numpy(), message.content["config"]
        step = np.float32(0.1 * (number(context) + 1) * config["server-round"])  # type: ignore[index]
        arrays = ArrayRecord({"w": Array(now + step * np.array([[1, -2, 3]], np.float32))})
        return {"arrays": arrays, "metrics": MetricRecord({"num-examples": number(context) + 1, "loss": float(step)})}

    start = record(w=[[1.0, 2.0, 4.0]])
    whole = LLPFStrategy(server_momentum=momentum, checkpoint_dir=tmp_path / "whole", checkpoint_every=2)
    wanted = whole.start(grid(app(train), 3), start, num_rounds=4)
    assert sorted(p.name for p in (tmp_path / "whole").iterdir()) == [
        "round-00002.safetensors", "round-00004.safetensors", "rounds.png", "rows.jsonl",
    ]  # fmt: skip
    half = LLPFStrategy(server_momentum=momentum, checkpoint_dir=tmp_path / "half")
    half.start(grid(app(train), 3), start, num_rounds=2)
    again = LLPFStrategy(server_momentum=momentum)
    got = again.start(grid(app(train), 3), again.resume(tmp_path / "half"), num_rounds=2)
    assert values(got.arrays) == values(wanted.arrays)
    assert again.rows == whole.rows and again.state_dict()["round"] == 4
    assert list(got.train_metrics_clientapp) == [3, 4] and list(got.evaluate_metrics_clientapp) == [3, 4]


def test_a_resumed_run_keeps_the_order_of_the_arrays(tmp_path: Path) -> None:
    start = ArrayRecord([np.full((2, 2), float(i), np.float32) for i in range(12)])
    through(start, sphere="none", checkpoint_dir=tmp_path)
    assert list(LLPFStrategy().resume(tmp_path)) == list(start)


def test_the_newest_checkpoint_is_that_of_the_last_run(tmp_path: Path) -> None:
    through(record(w=[[1.0, 2.0]]), 5, checkpoint_dir=tmp_path)
    through(record(w=[[3.0, 4.0]]), 2, checkpoint_dir=tmp_path)
    again = LLPFStrategy()
    assert values(again.resume(tmp_path)) == {"w": [[3.0, 4.0]]} and again.first_round == 2


def test_a_second_start_begins_anew() -> None:
    made = LLPFStrategy(**QUIET, server_momentum=0.5)
    clients = fixed({0: record(w=[[1.0, 3.0]]), 1: record(w=[[2.0, 5.0]])})
    found = [values(made.start(grid(clients, 2), record(w=[[0.0, 1.0]]), 3).arrays) for _ in range(2)]
    assert found[0] == found[1] and [row["round"] for row in made.rows] == [1, 2, 3]


def test_a_state_is_no_window_into_the_strategy() -> None:
    made, _ = through(record(w=[[1.0, 2.0]]))
    state = made.state_dict()
    made.rows.append({"round": 2})
    assert len(state["rows"]) == 1


def test_a_checkpoint_is_written_even_if_the_users_evaluation_fails(tmp_path: Path) -> None:
    def broken(contents: list[RecordDict], weighted_by: str) -> MetricRecord:
        raise RuntimeError("on purpose")

    made = LLPFStrategy(checkpoint_dir=tmp_path, evaluate_metrics_aggr_fn=broken)
    with pytest.raises(RuntimeError, match="on purpose"):
        made.start(grid(app(echo), 2), record(w=[[1.0, 2.0]]), 1)
    assert LLPFStrategy().resume(tmp_path)


def test_a_checkpoint_has_the_servers_own_evaluation(tmp_path: Path) -> None:
    def run(made: LLPFStrategy, start: ArrayRecord, rounds: int) -> LLPFStrategy:
        made.start(grid(app(echo), 2), start, rounds, evaluate_fn=lambda r, _: MetricRecord({"acc": float(r)}))
        return made

    start = record(w=[[1.0, 2.0]])
    whole = run(LLPFStrategy(**QUIET), start, 4)
    run(LLPFStrategy(**QUIET, checkpoint_dir=tmp_path), start, 2)
    again = LLPFStrategy(**QUIET)
    run(again, again.resume(tmp_path), 2)
    assert again.rows == whole.rows


def test_a_run_does_not_continue_with_another_model_than_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    through(record(w=[[1.0, 2.0]], b=[3.0]), checkpoint_dir=tmp_path)
    again = LLPFStrategy(**QUIET)
    again.resume(tmp_path)
    for other, odd in ((record(w=[[1.0, 2.0]]), "b"), (record(w=[[1.0], [2.0]], b=[3.0]), "w")):
        with pytest.raises(MismatchError, match=f"state of another model: {odd} differ"):
            again.start(grid(app(echo), 2), other, 1)
    again.start(grid(app(echo), 2), record(w=[[1.0, 2.0]], b=[3.0]), 1)  # the same numbers are the same model
    assert [row["round"] for row in again.rows] == [1, 2] and "not with its model" not in caplog.text
    again.resume(tmp_path)
    again.start(grid(app(echo), 2), record(w=[[1.0, 2.5]], b=[3.0]), 1)
    assert "not with its model" in caplog.text


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.ones(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(CheckpointError, match="not a checkpoint of a strategy"):
        LLPFStrategy().resume(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        LLPFStrategy().resume(tmp_path / "text.safetensors")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        LLPFStrategy().resume(tmp_path)
    with pytest.raises(MismatchError, match="not the state of a strategy"):
        LLPFStrategy().load_state_dict({"round": 3})
    checkpoint.save(LLPFStrategy().state_dict(), tmp_path / "round-00000.safetensors")
    with pytest.raises(MismatchError, match="holds no model"):
        LLPFStrategy().resume(tmp_path)


def test_what_a_killed_run_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".round-00003.1a2b.partial.safetensors", ".rounds.1a2b.partial.png", ".rows.1a2b.partial.jsonl"):
        (tmp_path / name).write_text("half of it")
    (tmp_path / ".mine.partial").write_text("")
    through(record(w=[[1.0, 2.0]]), checkpoint_dir=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".mine.partial", "round-00001.safetensors", "rounds.png", "rows.jsonl",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    made = LLPFStrategy(checkpoint_dir=tmp_path)
    with pytest.raises(RunError, match=r"checkpoint folder .* cannot be written to"):
        made.start(grid(app(echo), 2), record(w=[[1.0, 2.0]]), 1, evaluate_fn=lambda *_: pytest.fail("too late"))
    assert made.rows == []
