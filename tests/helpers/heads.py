"""Classifiers that know some of four classes, and the task that tells all four apart."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import nn

from helpers import tiny
from llpf_plugin import Defaults, Recipe, Task, TensorData
from llpf_plugin.geometry import Weights, clone
from llpf_plugin.training import train

CLASSES = ("red", "green", "blue", "grey")
A, B, C = ("blue", "red"), ("grey", "green"), ("green", "blue", "grey")
"""Labels of networks in the order of their outputs; the first two know no class together."""


def network(outputs: int = len(CLASSES)) -> nn.Module:
    """A small network with BatchNorm on points with eight features."""
    return nn.Sequential(
        nn.Linear(8, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, outputs)
    )


def points(classes: Sequence[str] = CLASSES) -> Task:
    """Points of four classes."""
    drawn = {
        s: TensorData(*tiny.clusters(160, 8, seed, classes=4))
        for seed, s in enumerate(("train", "validation", "test"), 1)
    }
    return Task(
        network(), name="points", defaults=Defaults(32, lr=0.05), recipe=Recipe(epochs=15), build=network,
        classes=classes, **drawn,
    )  # fmt: skip


@cache
def _trained(labels: tuple[str, ...], seed: int) -> Weights:
    task, places = points(), [CLASSES.index(label) for label in labels]

    def own(data: TensorData) -> TensorData:
        rows = torch.isin(data.targets, torch.tensor(places))
        return TensorData(data.inputs[rows], torch.tensor([places.index(t) for t in data.targets[rows].tolist()]))

    parts = {s: own(getattr(task, s)) for s in ("train", "validation", "test")}
    return train(replace(task, model=network(len(labels)), build=lambda: network(len(labels)), **parts), seed)


def classifier(labels: tuple[str, ...], seed: int) -> Weights:
    """A network that was trained on the examples of these classes alone; a fresh copy."""
    return clone(_trained(labels, seed))


def files(folder: Path, *known: tuple[str, ...]) -> list[Path]:
    """The checkpoints of such networks."""
    places = [folder / f"{name}.pt" for name, _ in zip("ab", known, strict=True)]
    for seed, (place, labels) in enumerate(zip(places, known, strict=True), start=1):
        torch.save({"state_dict": classifier(labels, seed), "epoch": 15}, place)
    return places
