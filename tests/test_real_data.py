"""On MNIST and CIFAR-10 themselves, where ``LLPF_DATA`` names their folder."""

import os
from pathlib import Path

import pytest
import torch
from llpf_merge.main import app
from typer.testing import CliRunner

from llpf_plugin import Compute, find_path, load_task
from llpf_plugin.errors import TaskError
from llpf_plugin.evaluation.along_path import linear_losses
from llpf_plugin.training import train
from llpf_plugin.workspace import Gradient

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
def test_the_splits_do_not_overlap_and_are_standardised() -> None:
    task = load_task("cifar10/resnet8", {"subset": 4000})
    assert [len(s) for s in (task.train, task.validation, task.test)] == [4000, 1000, 10_000]  # type: ignore[arg-type]
    images = [next(iter(s.batches(500)))[0].flatten(1) for s in (task.train, task.validation)]  # type: ignore[union-attr]
    assert float(torch.cdist(*images).min()) > 0
    assert abs(float(images[0].mean())) < 0.1 and 0.9 < float(images[0].std()) < 1.1


def test_missing_data_say_where_to_put_them(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    with pytest.raises(TaskError, match="LLPF_DATA"):
        load_task("mnist/lenet5", {"data": str(tmp_path / "nothing")})


@real
@pytest.mark.slow
def test_two_resnets_on_4000_images_of_cifar10(tmp_path: Path) -> None:
    """The line is far above 2; the path stays under a quarter."""
    arguments = {"subset": 4000}
    task = load_task("cifar10/resnet8", arguments)
    ends = [train(task, seed, CPU) for seed in (0, 1)]
    for name, weights in zip("ab", ends, strict=True):
        torch.save({"state_dict": weights}, tmp_path / f"{name}.pt")
    assert max(linear_losses(Gradient(task, CPU), *ends)) > 2
    words = [tmp_path / "a.pt", tmp_path / "b.pt", "--task", "cifar10/resnet8", "-t", "subset=4000", "--max-loss", 0.25]
    result = CliRunner().invoke(app, [*map(str, words), "-o", str(tmp_path / "run"), "--device", "cpu"])
    assert result.exit_code == 0, result.output
