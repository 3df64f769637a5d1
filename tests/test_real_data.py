"""On MNIST and CIFAR-10 themselves, where ``LLPF_DATA`` names their folder."""

import os
from pathlib import Path

import pytest
import torch
from helpers.commands import merge

from llpf_plugin import Compute, find_path, load_task
from llpf_plugin.evaluation import losses_on_line
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace

real = pytest.mark.skipif("LLPF_DATA" not in os.environ, reason="LLPF_DATA does not name a folder with the data sets")
CPU = Compute("cpu")


@real
def test_two_lenets_on_mnist() -> None:
    task = load_task("mnist/lenet5", {"subset": 1000})
    a, b = (train(task, seed, CPU, epochs=20, lr=0.05) for seed in (0, 1))
    path = find_path(a, b, task, compute=CPU, tolerance=0.1)
    # The third criterion is not asked for: these two lie on slightly other spheres, and B put on A's has a test loss
    # of 0.29 where B itself has 0.25.
    low, arrived, _ = path.quality.criteria
    assert low.holds and arrived.holds, (low.sentence, arrived.sentence)
    assert path.quality.pick("best").scores["test"].accuracy > 0.85


@real
@pytest.mark.slow
def test_two_resnets_on_4000_images_of_cifar10(tmp_path: Path) -> None:
    """The line is far above 2; the path stays under a quarter."""
    task = load_task("cifar10/resnet8", {"subset": 4000})
    ends = [train(task, seed, CPU) for seed in (0, 1)]
    for name, weights in zip("ab", ends, strict=True):
        torch.save({"state_dict": weights}, tmp_path / f"{name}.pt")
    assert max(losses_on_line(Workspace(task, CPU), *ends)) > 2
    result = merge(
        tmp_path / "a.pt", tmp_path / "b.pt", "--task", "cifar10/resnet8", "-t", "subset=4000", "--max-loss", 0.25,
        "-o", tmp_path / "run", "--device", "cpu",
    )  # fmt: skip
    assert result.code == 0, result.text
