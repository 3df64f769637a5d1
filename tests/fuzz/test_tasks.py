"""Tasks that go wrong: a merge with each works, or ends in one sentence."""

from pathlib import Path

import pytest
import torch
from torch import nn

from fuzz.jobs import Jobs
from fuzz.tasks import written


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints of the usual network."""
    places = [tmp_path_factory.mktemp("ends") / f"{name}.pt" for name in "ab"]
    for seed, place in enumerate(places):
        torch.manual_seed(seed)
        state = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).state_dict()
        torch.save({f"body.{name}": tensor for name, tensor in state.items()}, place)
    return places


@pytest.mark.parametrize("first", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(5, 300, 5))])
def test_tasks_put_together_at_random(server: Jobs, ends: list[Path], tmp_path: Path, first: int) -> None:
    wrong = {}
    for seed in range(first, first + 5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        place = written(seed, folder)
        words = ["--task", f"{place}:task", "--tolerance", 2, "--budget", 40, "--points", 1, "--no-report"]
        if found := server.do(folder, "merge", *ends, *words, "-o", folder / "run").faults(codes=(0, 1, 3)):
            wrong[seed] = found
    assert not wrong, "\n".join(f"{seed}: {found}" for seed, found in wrong.items())
