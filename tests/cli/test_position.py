"""A command on a loader that keeps its position, stopped and resumed."""

import json
from pathlib import Path

import pytest
from helpers.commands import merge, process
from helpers.loaders import KINDS, TASK
from helpers.run_folders import bits


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_that_was_stopped_is_resumed_bit_by_bit(kind: str, mlps: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("torchdata" if kind == "torchdata" else "torch", reason=f"{kind} is not installed")
    words = [*mlps[:2], "--task", TASK, "-t", f"kind={kind}", "--max-loss", 0.2, "--device", "cpu", "--no-report"]
    whole = merge(*words, "-o", tmp_path / "whole")
    stopped = process("llpf-merge", *words, "-o", tmp_path / "run", env={"STOP_AT": "35"})
    assert stopped.code == 130 and not stopped.traceback, stopped.text
    saved = json.loads((tmp_path / "run" / "state.json").read_text())["progress"]
    assert saved["steps"] > 0 and saved["loader"] is not None
    again = merge(*words, "-o", tmp_path / "run", "--resume")
    assert again.code == whole.code and "does not repeat its batches" not in again.out, again.text
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")
