"""Edited run folders: reported or refused in one sentence, resumed or refused, and nothing outside is touched."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers import stopped, tiny
from helpers.run_folders import contents

from fuzz.folders import change
from fuzz.jobs import Jobs

WORDS = ["--align", "never", "--max-loss", "0.05", "--points", "1", "--device", "cpu", "--no-report"]


@pytest.fixture(scope="module")
def bases(server: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended, one that was stopped, and one whose budget ran out."""
    place = tmp_path_factory.mktemp("bases")
    for name, weights in zip("ab", tiny.pair("mlp"), strict=True):
        torch.save({"state_dict": weights}, place / f"{name}.pt")
    words = [place / "a.pt", place / "b.pt", "--task", stopped.TASK, *WORDS]
    assert server.do(place, "merge", *words, "-o", place / "ended").code == 0
    assert server.do(place, "merge", *words, "-o", place / "stopped", env={"STOP_AT": "80"}).code == 130
    assert server.do(place, "merge", *words, "--budget", 4, "-o", place / "spent").code == 3
    (place / "outside").mkdir()
    (place / "outside" / "merged.pt").write_text("not the run's")
    return place


def faults(server: Jobs, bases: Path, seed: int, folder: Path) -> list[str]:
    """What is wrong with what two commands make of a folder."""
    name = ("ended", "ended", "stopped", "spent")[seed % 4]
    shutil.copytree(bases / name, folder / name)
    shutil.copytree(bases / "outside", folder / "outside")
    change(seed, folder / name)
    before = contents(folder / "outside")
    words = [bases / "a.pt", bases / "b.pt", "--task", stopped.TASK, *WORDS]
    budget = ["--budget", 90] if name == "spent" else []
    resume = ["merge", *words, *budget, "-o", folder / name, "--resume"]
    look = ["report", folder / name, "--metrics", "none", "--figures", "none", "--task", stopped.TASK]
    told = []
    for line in (look, resume) if name == "ended" else (resume,):
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
