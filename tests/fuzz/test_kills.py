"""Killed before any of its file operations, or at any moment, a command that is run again comes to the same bits."""

import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
import torch
from helpers import stopped, tiny
from helpers.checkpoint_samples import sharded
from helpers.run_folders import bits

from fuzz.jobs import Found, Jobs, jobs

BASE = ["--task", stopped.TASK, "--points", 1, "--device", "cpu", "--no-report", "--align", "never"]
COMMANDS: dict[str, list[object]] = {
    "merge": ["merge", "a.pt", "b.pt", *BASE, "--max-loss", 0.05],
    "tree": ["merge", "a.pt", "b.pt", "c.pt", *BASE, "--max-loss", 0.3],
    "compare": ["compare", "a.pt", "b.pt", *BASE, "--max-loss", 0.3, "--methods", "linear,bezier", "--budget", 30],
    "across": ["merge", "a.pt", "far.pt", *BASE, "--max-loss", 0.3, "--budget", 150],
    "curve": ["merge", "a.pt", "b.pt", *BASE, "--method", "sphere-curve", "--budget", 40, "--tolerance", 1],
    "origin": ["origin", "a.pt", *BASE[:-2], "--max-loss", 0.3, "--to", 0.5, "--budget", 60],
    "report": ["merge", "a.pt", "b.pt", *[w for w in BASE if w != "--no-report"], "--max-loss", 0.3],
    "align": ["align", "a.pt", "b.pt", "--model", f"{tiny.__file__}:mlp"],
    "folder": ["merge", "a", "b", *BASE, "--max-loss", 0.3, "--budget", 60],
    "going on": ["merge", "a.pt", "b.pt", *BASE, "--max-loss", 0.05, "--budget", 90],
}  # fmt: skip


REFUSED = r"is being written by|already holds|is there already|holds no run"
"""What the one that comes second is told, whether the first one still runs or has ended."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models")
    for name, weights in zip("abc", [*tiny.pair("mlp"), tiny.trained("mlp", 3)], strict=True):
        torch.save({"state_dict": weights}, place / f"{name}.pt")
    torch.save({"state_dict": tiny.apart("mlp")[1]}, place / "far.pt")
    for name, weights in zip("ab", tiny.pair("mlp"), strict=True):  # what is merged of them is a folder, too
        sharded(place / name, weights)
    return place


class Killed:
    """One command, killed and run again; what it comes to when it is not is known."""

    def __init__(self, server: Jobs, models: Path, place: Path, command: str) -> None:
        self.server, self.models, self.place, self.command = server, models, place, command
        self.whole = place / "whole"
        self.begin(self.whole)
        self.expected = self.go(self.whole, folder=str(self.whole))
        assert self.expected.code in (0, 3), self.expected.text

    def begin(self, out: Path) -> None:
        """What there is before the command."""
        if self.command == "going on":
            words = ["merge", "a.pt", "b.pt", *BASE, "--max-loss", 0.05, "--budget", 4]
            assert self.server.do(self.models, *words, "-o", out).code == 3

    def go(self, out: Path, again: bool = False, **how: object) -> Found:
        again = (again and self.command != "align") or self.command == "going on"
        place = out / "b.pt" if self.command == "align" else out
        return self.server.do(self.models, *COMMANDS[self.command], "-o", place, *(["--resume"] * again), **how)

    def fault(self, **how: object) -> str | None:
        """What is wrong after a kill and another run."""
        out = self.fresh()
        self.go(out, folder=str(out), **how)
        return self.fault_after(out, **how)

    def fault_of_two(self, other: Jobs, moment: float, later: float, first_dies: bool) -> str | None:
        """What is wrong after two processes with one folder, one of them killed, and another run."""
        out, how = self.fresh(), {"moment": moment, "later": later, "first_dies": first_dies}
        beside = Killed.__new__(Killed)
        beside.server, beside.models, beside.command = other, self.models, self.command
        kill, live = {"folder": str(out), "die_after": moment}, {"folder": str(out)}
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(self.go, out, **(kill if first_dies else live))
            time.sleep(later)
            second = beside.go(out, **(live if first_dies else kill))
            first = waiting.result()
        for found in (first, second):
            if found.code != -9 and not (found.code in (0, 3) or re.search(REFUSED, found.text)):
                return f"{how}: exit {found.code}: {found.text[-300:]}"
        if not first_dies and first.code != self.expected.code:
            return f"{how}: the first one was disturbed: exit {first.code}: {first.text[-300:]}"
        return self.fault_after(out, **how)

    def fresh(self) -> Path:
        """The folder as it is before the command."""
        out = self.place / "run"
        shutil.rmtree(out, ignore_errors=True)
        self.begin(out)
        return out

    def fault_after(self, out: Path, **how: object) -> str | None:
        """What is wrong after another run."""
        again = self.go(out, again=(out / "run.json").exists() or any(out.glob("*/run.json")))
        if self.command == "align" and "is there already" in again.text:
            again = self.expected  # the file was there before the kill
        if again.code != self.expected.code or again.faults(codes=(0, 3)):
            return f"{how}: exit {again.code}: {again.text[-300:]}"
        if bits(out) != bits(self.whole):
            return f"{how}: other bits"
        left, usual = ({str(p.relative_to(f)) for p in f.rglob("*")} for f in (out, self.whole))
        return f"{how}: {sorted(left ^ usual)}" if left != usual else None


@pytest.mark.parametrize("command", ["merge", *(pytest.param(c, marks=pytest.mark.slow) for c in COMMANDS)])
def test_killed_before_file_operations(
    server: Jobs, models: Path, tmp_path: Path, command: str, request: pytest.FixtureRequest
) -> None:
    one = Killed(server, models, tmp_path, command)
    count = one.expected.operations
    assert count > 2
    every = request.node.get_closest_marker("slow") is not None
    places = range(1, count + 1) if every else {1, 3, count // 2, count - 1}
    wrong = [found for at in sorted(places) if (found := one.fault(die_at=at))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_random_moments(server: Jobs, models: Path, tmp_path: Path, command: str) -> None:
    one, random = Killed(server, models, tmp_path, command), Random(command)
    moments = [random.uniform(0, one.expected.seconds) for _ in range(15)]
    wrong = [found for moment in moments if (found := one.fault(die_after=moment))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["merge", "tree", "compare", "align", "folder"])
def test_of_two_processes_one_is_killed(server: Jobs, models: Path, tmp_path: Path, command: str) -> None:
    one, random = Killed(server, models, tmp_path, command), Random(command)
    lasts = one.expected.seconds
    with jobs() as other:
        wrong = [
            found
            for i in range(20)
            if (found := one.fault_of_two(other, random.uniform(0, lasts), random.uniform(0, lasts), i % 2 == 0))
        ]
    assert not wrong, "\n".join(wrong)
