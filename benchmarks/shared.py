"""What the benchmarks share: tables in Markdown, trained networks kept in a folder, images to measure speed on."""

import math
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from scipy.stats import t as student

from llpf_plugin import Compute, Defaults, Recipe, Task, TensorData, crop_and_flip
from llpf_plugin.geometry import Weights
from llpf_plugin.runs import held_file
from llpf_plugin.tasks.models import SmallResNet
from llpf_plugin.training import train

SCHEDULES = Path(__file__).parent / "schedules"
"""Fixed schedules written for the benchmarks."""


def add_cache(parser: ArgumentParser) -> None:
    """The option that says where trained networks are kept."""
    place = Path.home() / ".cache" / "llpf-bench"
    parser.add_argument("--cache", type=Path, default=place, help="folder of the trained networks")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns padded; the first column is words, the others are numbers."""
    lines = [list(head), *map(list, rows)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(head))]
    marks = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    padded = [
        [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))]
        for line in [lines[0], marks, *lines[1:]]
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def confidence(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of at least two values between the ends of its 95 % interval (Student's t): low, mean, high."""
    middle = mean(values)
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return middle - half, middle, middle + half


def trained(task: Task, place: Path, seed: int, compute: Compute, **recipe: Any) -> Weights:
    """A network trained on the task's training data, from its file if it is there.

    Args:
        task: what is trained.
        place: the file, written once the training is over.
        seed: of the initial weights and the batches.
        compute: device and precision.
        **recipe: of `llpf_plugin.training.train`, where it is not the task's own.

    Raises:
        InUseError: another process is training it.
    """
    if not place.is_file():
        with held_file(place):
            print(f"training {place.name}", flush=True)
            partial = place.with_suffix(".partial")
            torch.save(train(task, seed, compute, **recipe), partial)
            partial.replace(place)
    return torch.load(place, weights_only=True)


def random_images(n: int, seed: int, size: int = 32, channels: int = 3, classes: int = 10) -> TensorData:
    """Noise around one blurred image a class: learnt in a few epochs, and as costly as photographs of the same size."""
    blurred = torch.randn(classes, channels, 2, 2, generator=torch.Generator().manual_seed(0))
    centres = torch.nn.functional.interpolate(blurred, size=(size, size), mode="bilinear")
    rng = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, classes, (n,), generator=rng)
    noise = 0.3 * torch.randn(n, channels, size, size, generator=rng)
    return TensorData(centres[targets] + noise, targets, crop_and_flip(flip=False))


def random_resnet18(width: int = 64, n: int = 1024, batch_size: int = 256) -> Task:
    """The network of ``cifar10/resnet18`` on random images, where CIFAR-10 itself is not at hand."""
    train, validation, test = (random_images(n, seed) for seed in (1, 2, 3))
    build, recipe = partial(SmallResNet, width, (2, 2, 2, 2)), Recipe(weight_decay=5e-4)
    task = Task(build(), train, validation, test, name="random/resnet18", build=build, recipe=recipe)
    return replace(task, defaults=Defaults(batch_size))
