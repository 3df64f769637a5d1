"""Schedules, phase files, configurations and order files that were changed: done, or refused in one sentence."""

import json
from pathlib import Path

import pytest
import torch
from helpers import tiny

from fuzz.documents import written
from fuzz.jobs import Jobs
from llpf_plugin.order import layer_order


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    places = [tmp_path_factory.mktemp("ends") / f"{name}.pt" for name in "ab"]
    for place, weights in zip(places, tiny.pair("mlp"), strict=True):
        torch.save(weights, place)
    return places


@pytest.mark.parametrize("first", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(10, 400, 10))])
def test_changed_documents(server: Jobs, ends: list[Path], tmp_path: Path, first: int) -> None:
    order = json.loads(layer_order(tiny.mlp().model, (torch.zeros(1, 6),)).to_json())
    base = ["--task", f"{tiny.__file__}:mlp", "--budget", 5, "--points", 1, "--no-report", "--max-loss", 3]
    wrong = {}
    for seed in range(first, first + 10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        place, kind = written(seed, folder, order)
        line: dict[str, list[object]] = {
            "schedule": ["merge", *ends, *base, "-m", f"schedule={place}", "-o", folder / "run"],
            "phases": ["merge", *ends, *base, "-m", f"phases={place}", "-o", folder / "run"],
            "config": ["--config", place],
            "order": ["order", place, "-f", ("table", "tree", "mermaid", "dot", "json")[seed % 5]],
        }
        if found := server.do(folder, *line[kind]).faults():
            wrong[f"{seed} {kind}"] = found
    assert not wrong, "\n".join(f"{seed}: {found}" for seed, found in wrong.items())
