"""The real command under the real ``torchrun``, on one machine and on two that are one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from helpers import felled, ranks, tiny

pytestmark = pytest.mark.slow

SCRIPT = str(Path(felled.__file__).with_name("scripts.py"))
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--redirects", "3", "--log-dir"]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    for name, weights in zip("ab", tiny.pair("mlp"), strict=True):
        torch.save(weights, tmp_path / f"{name}.pt")
    asked = ["--max-loss", "0.05", "--align", "never", "--no-report", "-m", "share=0.005", "--lr", "0.05"]
    models = [str(tmp_path / "a.pt"), str(tmp_path / "b.pt")]
    return ["llpf-merge", *models, "--task", felled.TASK, "-o", str(tmp_path / "run"), *asked]


@pytest.fixture
def agents() -> "Iterator[list[subprocess.Popen[bytes]]]":
    """What was started, and is ended."""
    begun = list["subprocess.Popen[bytes]"]()
    yield begun
    for agent in begun:
        agent.kill()
        agent.wait()


def started(where: Path, options: Sequence[str], words: Sequence[str], **told: str) -> "subprocess.Popen[bytes]":
    """``torchrun``; what its ranks say is in files below ``where``."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300", **told}
    command = [*LAUNCH, str(where), *options, SCRIPT, *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def said(where: Path, rank: int, stream: str = "stderr") -> str:
    """What a rank said, by its number on its machine."""
    return "".join(file.read_text() for file in sorted(where.glob(f"*/attempt_0/{rank}/{stream}.log")))


def until(there: Path, patience: float = 90) -> None:
    """Wait for a file."""
    end = time.monotonic() + patience
    while not there.exists():
        assert time.monotonic() < end, f"{there} does not come"
        time.sleep(0.2)


def connected(folder: Path) -> bool:
    return bool(json.loads((folder / "quality.json").read_text())["connected"])


def test_two_ranks_merge_and_one_speaks(words: list[str], tmp_path: Path, agents: list) -> None:  # type: ignore[type-arg]
    agents.append(started(tmp_path / "log", ["--nproc-per-node", "2"], words))
    assert agents[0].wait(120) == 0, said(tmp_path / "log", 0)
    assert connected(tmp_path / "run") and "connected" in said(tmp_path / "log", 0, "stdout")
    assert said(tmp_path / "log", 1) == said(tmp_path / "log", 1, "stdout") == said(tmp_path / "log", 0) == ""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_all(rank: int, words: list[str], tmp_path: Path, agents: list) -> None:  # type: ignore[type-arg]
    felled_by = {"FELL_RANK": str(rank), "FELL_AT": "40", "FELL_BY": "kill"}
    agents.append(started(tmp_path / "log", ["--nproc-per-node", "2"], words, **felled_by))
    until(tmp_path / "run" / "state.json")
    assert agents[0].wait(60) == 1
    left = said(tmp_path / "log", 1 - rank)
    assert f"llpf merge: rank {rank} of 2" in left and "--resume" in left and len(left.splitlines()) == 2, left
    agents.append(started(tmp_path / "again", ["--nproc-per-node", "1"], [*words, "--resume"]))
    assert agents[1].wait(120) == 0 and connected(tmp_path / "run")


def test_ctrl_c_is_one_sentence_and_the_run_goes_on(words: list[str], tmp_path: Path, agents: list) -> None:  # type: ignore[type-arg]
    words[words.index("share=0.005")] = "share=0.002"
    agents.append(started(tmp_path / "log", ["--nproc-per-node", "2"], words))
    until(tmp_path / "run" / "state.json")
    agents[0].send_signal(signal.SIGINT)
    agents[0].wait(60)
    assert "stopped; everything so far is in" in said(tmp_path / "log", 0) and said(tmp_path / "log", 1) == ""
    assert "Traceback" not in said(tmp_path / "log", 0)


def test_two_machines(words: list[str], tmp_path: Path, agents: list) -> None:  # type: ignore[type-arg]
    """Two agents with a rank each, which meet at a port of this machine; then one of the ranks is killed."""
    for attempt, by in enumerate(({}, {"FELL_RANK": "1", "FELL_AT": "40", "FELL_BY": "kill"})):
        words[words.index("-o") + 1] = str(tmp_path / f"run{attempt}")
        place = f"127.0.0.1:{ranks.free_port()}"
        options = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", place]
        logs = [tmp_path / f"log{attempt}{i}" for i in (0, 1)]
        pair = [started(log, [*options, "--rdzv-id", "walk"], words, **by) for log in logs]
        agents += pair
        codes = [agent.wait(120) for agent in pair]
        spoken = [said(log, 0) for log in logs]
        if not by:
            assert codes == [0, 0] and connected(tmp_path / "run0"), spoken
        else:
            assert codes == [1, 1] and "".join(spoken).count("rank 1 of 2 (") == 1, spoken


def test_a_rank_that_hangs_is_given_up(words: list[str], tmp_path: Path, agents: list) -> None:  # type: ignore[type-arg]
    port, told = ranks.free_port(), {"FELL_RANK": "1", "FELL_AT": "40", "FELL_BY": "hang"}
    for rank in (0, 1):
        environment = {**os.environ, **ranks.environment(rank, 2, port), **told}
        command = [sys.executable, SCRIPT, *words]
        agents.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    until(tmp_path / "run" / "state.json")
    began = time.monotonic()
    _, spoken = agents[0].communicate(timeout=100)
    assert agents[0].returncode == 1 and time.monotonic() - began < 75  # a walk before it hangs, and at most 60 s
    assert b"rank 1 of 2" in spoken and b"is lost" in spoken and b"Traceback" not in spoken
