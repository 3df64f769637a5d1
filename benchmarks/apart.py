"""Pairs of networks that were trained apart: on random halves of the data, or on disjoint classes."""

from dataclasses import replace
from pathlib import Path

import torch
from merges import Case
from shared import trained
from torch import Tensor

from llpf_plugin import Compute, Task, TensorData

SPLITS = ("halves", "classes")


def parts(targets: Tensor, split: str, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of A's and of B's examples: random ``halves``, or those of each half of the ``classes``, drawn too."""
    rng = torch.Generator().manual_seed(seed)
    if split == "halves":
        order = torch.randperm(len(targets), generator=rng)
        return order[: len(order) // 2], order[len(order) // 2 :]
    classes = torch.randperm(int(targets.max()) + 1, generator=rng)
    of_a = torch.isin(targets, classes[: len(classes) // 2])
    return of_a.nonzero().flatten(), (~of_a).nonzero().flatten()


def only(data: TensorData, index: Tensor) -> TensorData:
    """Some of the examples."""
    return TensorData(data.inputs[index], data.targets[index], data.augment)


def make_case(
    task: Task, split: str, pair: int, cache: Path, steps: int, sample: int | None, low: float,
    joint: int | None, compute: Compute,
) -> Case:  # fmt: skip
    """Pair number ``pair``, its networks trained from the seeds ``2·pair`` and ``2·pair + 1``.

    Args:
        task: whose training data are split.
        split: one of `SPLITS`.
        pair: also the seed of the split, and of the joint data.
        cache: folder of the trained networks.
        steps: gradient steps on the joint data.
        sample: joint examples that the points of a path are measured on, None for all.
        low: mini-batch loss that counts as low.
        joint: joint examples, drawn from all training data; None for all of them.
        compute: device and precision.
    """
    data = task.train
    assert isinstance(data, TensorData)
    a_own, b_own = (only(data, index) for index in parts(data.targets, split, pair))
    stem = f"apart_{task.name.replace('/', '_')}_{split}_{pair}"
    a, b = (
        trained(replace(task, train=own), cache / f"{stem}{end}.pt", 2 * pair + i, compute)
        for i, (end, own) in enumerate((("a", a_own), ("b", b_own)))
    )
    if joint:
        shuffled = torch.randperm(len(data), generator=torch.Generator().manual_seed(pair))
        task = replace(task, train=only(data, shuffled[:joint]))
    return Case(replace(task, test=None), a, b, (a_own, b_own), data, steps, 2 * pair, sample, low, compute=compute)
