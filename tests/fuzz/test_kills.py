"""Killed before any of its file operations, or at any moment, a command that is run again comes to the same bits."""

import shutil
from pathlib import Path
from random import Random

import pytest
import torch
from helpers import stopped, tiny
from helpers.run_folders import bits

from fuzz.jobs import Found, Jobs

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
    "going on": ["merge", "a.pt", "b.pt", *BASE, "--max-loss", 0.05, "--budget", 90],
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models")
    for name, weights in zip("abc", [*tiny.pair("mlp"), tiny.trained("mlp", 3)], strict=True):
        torch.save({"state_dict": weights}, place / f"{name}.pt")
    torch.save({"state_dict": tiny.apart("mlp")[1]}, place / "far.pt")
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
        out = self.place / "run"
        shutil.rmtree(out, ignore_errors=True)
        self.begin(out)
        killed = self.go(out, folder=str(out), **how)
        again = self.go(out, again=(out / "run.json").exists() or any(out.glob("*/run.json")))
        if self.command == "align" and killed.code == -9 and "is there already" in again.text:
            again = self.expected  # killed once the file was there
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
@pytest.mark.parametrize("command", ["merge", "tree", "compare", "across", "going on"])
def test_killed_at_random_moments(server: Jobs, models: Path, tmp_path: Path, command: str) -> None:
    one, random = Killed(server, models, tmp_path, command), Random(command)
    moments = [random.uniform(0, one.expected.seconds) for _ in range(25)]
    wrong = [found for moment in moments if (found := one.fault(die_after=moment))]
    assert not wrong, "\n".join(wrong)
