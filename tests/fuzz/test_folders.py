"""Edited run folders: reported or refused in one sentence, resumed or refused, and nothing outside is touched."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers import stopped, tiny
from helpers.run_folders import contents

from fuzz.folders import change
from fuzz.jobs import Jobs

WORDS = ["--points", "1", "--device", "cpu", "--no-report"]
BASES = ("ended", "ended", "stopped", "spent", "aligned", "tree")


@pytest.fixture(scope="module")
def bases(server: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended, one that was stopped, one whose budget ran out, one of an aligned pair, and a tree."""
    place = tmp_path_factory.mktemp("bases")
    for name, weights in zip("abc", [*tiny.pair("mlp"), tiny.trained("mlp", 3)], strict=True):
        torch.save({"state_dict": weights}, place / f"{name}.pt")
    for name in dict.fromkeys(BASES):
        more = {"env": {"STOP_AT": "80"}} if name == "stopped" else {}
        found = server.do(place, *asked(place, name), *["--budget", 4] * (name == "spent"), "-o", place / name, **more)
        assert found.code == {"stopped": 130, "spent": 3}.get(name, 0), found.text
    (place / "outside").mkdir()
    (place / "outside" / "merged.pt").write_text("not the run's")
    return place


def asked(bases: Path, name: str) -> list[object]:
    """The command that made a base."""
    models = [bases / f"{one}.pt" for one in ("abc" if name == "tree" else "ab")]
    goal = ["--max-loss", "0.3"] if name == "tree" else ["--max-loss", "0.05"]
    align = "always" if name == "aligned" else "never"
    return ["merge", *models, "--task", stopped.TASK, *goal, "--align", align, *WORDS]


def faults(server: Jobs, bases: Path, seed: int, folder: Path) -> list[str]:
    """What is wrong with what two commands make of a folder."""
    name = BASES[seed % len(BASES)]
    shutil.copytree(bases / name, folder / name)
    shutil.copytree(bases / "outside", folder / "outside")
    change(seed, folder / name)
    before = contents(folder / "outside")
    budget = ["--budget", 90] if name == "spent" else []
    resume = [*asked(bases, name), *budget, "-o", folder / name, "--resume"]
    look = ["report", folder / name, "--metrics", "none", "--figures", "none", "--task", stopped.TASK]
    told = []
    for line in (resume,) if name in ("stopped", "spent") else (look, resume):
        told += [f"{line[0]}: {fault}" for fault in server.do(folder, *line).faults()]
    if contents(folder / "outside") != before:
        told.append("changed what lies outside")
    return told


@pytest.mark.parametrize("first", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(6, 1000, 6))])
def test_edited_run_folders(server: Jobs, bases: Path, tmp_path: Path, first: int) -> None:
    wrong = {}
    for seed in range(first, first + 6):
        folder = tmp_path / str(seed)
        folder.mkdir()
        if found := faults(server, bases, seed, folder):
            wrong[seed] = found
        shutil.rmtree(folder)
    assert not wrong, "\n".join(f"{seed}: {found}" for seed, found in wrong.items())
