"""``llpf rebn``: statistics are those of the training data, and all else stays."""

from pathlib import Path

import torch
from helpers import tiny
from helpers.commands import llpf

from llpf_plugin.checkpoint import read
from llpf_plugin.evaluation import reestimate
from llpf_plugin.geometry import assign
from llpf_plugin.workspace import Workspace

CONV = ("--task", f"{tiny.__file__}:conv")


def test_the_statistics_of_an_average_are_estimated_again(tmp_path: Path) -> None:
    a, b = tiny.pair("conv")
    average = {k: (t + b[k]) / 2 if t.is_floating_point() else t for k, t in a.items()}
    torch.save({"state_dict": {f"module.{k}": t for k, t in average.items()}, "epoch": 3}, tmp_path / "x.pt")
    result = llpf("rebn", tmp_path / "x.pt", *CONV, "-o", tmp_path / "y")
    assert result.code == 0 and "train: loss " in result.out and "estimated again" in result.out, result.text
    found = read(tmp_path / "y.pt")
    workspace = Workspace(tiny.conv())
    assign(workspace.model, average)
    reestimate(workspace)
    wanted = workspace.model.state_dict()
    assert all(torch.allclose(found.weights[k].float(), t.float()) for k, t in wanted.items())
    moved = {k for k, t in average.items() if not torch.equal(t, found.weights[k])}
    assert moved and all(".running_" in k or "num_batches" in k for k in moved)
    assert found.nesting == ("state_dict",) and torch.load(tmp_path / "y.pt")["epoch"] == 3


def test_a_sample_is_enough(tmp_path: Path) -> None:
    torch.save(tiny.pair("conv")[0], tmp_path / "x.pt")
    assert llpf("rebn", tmp_path / "x.pt", *CONV, "--sample", 32, "-o", tmp_path / "y.pt").code == 0
