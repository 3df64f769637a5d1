"""The shipped schedules beside tables 4 and 5 of the paper (appendix F), written out here as the tables have them.

What the tables leave to the published code: how M2O settles, that a rolling loss has a window of 10 (the footnote of
ResNet18's row), that every tensor is corrected, and that LeNet5 moves weight and bias of a layer as one vector.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from torch import nn

from llpf_plugin import Task, TensorData
from llpf_plugin.llpf.schedule import read_schedule, shipped
from llpf_plugin.llpf.settling import SettleRule
from llpf_plugin.tasks.models import LeNet5, SmallResNet
from llpf_plugin.tasks.networks.cct import CCT
from llpf_plugin.tasks.networks.dla import DLA

UNPUBLISHED = math.inf
"""The run's own threshold in these tests."""


class Row(NamedTuple):
    """Of a table; ``phases`` as (ticks, step_a, step_c), ``settle`` as (threshold, least steps, most steps, window)."""

    phases: list[tuple[int, float, float]]
    settle: tuple[float, int, int, int]
    batch_size: int
    moves: str = "tensors"


TABLE_4 = {
    "lenet5-mnist": Row([(30_000, 0, 1e-3)], (0.0, 5, 5, 5), 64, "layers"),
    "resnet18-cifar10": Row([(10_000, 5e-4, 0), *[(5000, 1e-3, 0)] * 5], (0.04, 10, 200, 10), 256),
    "cct7-cifar10": Row([(5000, 1e-3, 1e-3)] * 8, (0.05, 10, 10_000, 10), 128),
    "cct7-cifar10-fdf": Row([*[(500, 2e-3, 2e-3)] * 8, (1000, 2e-3, 2e-3)], (0.05, 10, 1000, 10), 128),
    "dla-cifar10-fdf": Row([(400, 1e-3, 2e-3)] * 21, (0.005, 10, 1000, 10), 128),
}
LATER = {
    "resnet18-cifar10-fdf": Row([*[(2000, 1e-3, 0)] * 5, (6000, 1e-3, 0)], (0.005, 20, 20_000, 10), 256),
    "resnet18-cifar100-fdf": Row([*[(2000, 1e-3, 0)] * 5, (6000, 1e-3, 0)], (0.04, 20, 20_000, 10), 256),
}
"""Published with the code after the paper; of the second, only how it settles."""

TABLE_5 = {
    "lenet5-mnist-origin": Row([(1400, 1e-3, 0)], (0.02, 5, 100, 5), 64),
    "resnet18-cifar10-origin": Row([(1400, 1e-3, 0)], (0.02, 5, 5000, 5), 256),
    "resnet18-cifar100-origin": Row([(1400, 1e-3, 0)], (0.01, 5, 5000, 5), 256),
    "cct7-cifar10-origin": Row([(1000, 1e-3, 0)], (0.03, 5, 5000, 5), 128),
    "dla-cifar10-origin": Row([(1000, 5e-4, 1e-3)], (UNPUBLISHED, 5, 5000, 5), 128),
}
TABLES = TABLE_4 | LATER | TABLE_5

NETWORKS = {
    "lenet5": LeNet5(), "resnet18": SmallResNet(4, (2, 2, 2, 2)), "cct7": CCT(dim=16), "dla": DLA(width=2),
}  # fmt: skip

STEM, BLOCKS = {"conv1", "bn1"}, [f"classifier.blocks.{i}" for i in range(7)]
OUTSIDE = {"tokenizer", "classifier.positional_emb", "classifier.attention_pool", "classifier.norm", "classifier.fc"}
STAGES = [{"layer1"}, {"layer1", "layer2"}, {"layer1", "layer2", "layer3"}, {"layer1", "layer2", "layer3", "layer4"}]

LAYERS: dict[str, list[set[str] | str]] = {
    "lenet5-mnist": ["all"],
    "resnet18-cifar10": ["all", STEM | {"fc"}, *[STEM | {"fc"} | own for own in STAGES[:3]], "all"],
    "resnet18-cifar10-fdf": [STEM, *[STEM | own for own in STAGES], "all"],
    "resnet18-cifar100-fdf": [STEM, *[STEM | own for own in STAGES], "all"],
    "cct7-cifar10": [*[OUTSIDE | set(BLOCKS[:i]) for i in range(7)], "all"],
    "cct7-cifar10-fdf": [*[{"tokenizer", "classifier.positional_emb"} | set(BLOCKS[:i]) for i in range(8)], "all"],
    **{name: ["all"] for name in TABLE_5},
}
"""What each phase moves."""


def network(name: str) -> nn.Module:
    return NETWORKS[name.partition("-")[0]]


def task(model: nn.Module) -> Task:
    return Task(model, TensorData(torch.zeros(2, 3, 32, 32), torch.zeros(2)))


def test_every_shipped_schedule_has_its_row() -> None:
    assert shipped() == sorted(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_numbers_are_those_of_the_table(name: str) -> None:
    base = SettleRule(UNPUBLISHED, 2, 60, lr=0.05, momentum=0.9)
    schedule, row = read_schedule(name, task(network(name)), base), TABLES[name]
    controls = [p.control for p in schedule.phases]
    assert [(c.ticks, c.rule.step_a, c.rule.step_c, c.rule.step_f) for c in controls] == [(*p, 0) for p in row.phases]
    rules = {(s.threshold, s.min_steps, s.max_steps, s.rolling) for s in (p.settle for p in schedule.phases)}
    assert rules == {row.settle}
    assert schedule.stated == {"batch_size": row.batch_size, "lr": 1e-3, "momentum": 0.0}
    assert {(p.settle.lr, p.settle.momentum) for p in schedule.phases} == {(1e-3, 0.0)}
    assert {c.moves for c in controls} == {row.moves}
    assert schedule.correct == (None if name in TABLE_5 else "all")  # M2O has no VarianceCorrection


@pytest.mark.parametrize("name", LAYERS)
def test_phases_move_the_layers_of_the_table(name: str) -> None:
    everything = set(dict(network(name).named_parameters()))
    for phase, layers in zip(
        read_schedule(name, task(network(name)), SettleRule(0.1)).phases, LAYERS[name], strict=True
    ):
        parts = set() if layers == "all" else set(layers)
        named = {k for k in everything if layers == "all" or any(k == p or k.startswith(f"{p}.") for p in parts)}
        assert phase.active == named


def test_dla_is_cut_from_its_own_order_and_ends_with_all_layers() -> None:
    phases = read_schedule("dla-cifar10-fdf", task(network("dla")), SettleRule(0.1)).phases
    assert all(a.active < b.active for a, b in pairwise(phases))
    assert phases[-1].active == frozenset(dict(network("dla").named_parameters()))


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("lenet5-mnist", 150_000, 150_000),
        ("resnet18-cifar10", 350_000, 7_000_000),
        ("resnet18-cifar10-fdf", 320_000, 320_000_000),
        ("cct7-cifar10", 400_000, 400_000_000),
        ("cct7-cifar10-fdf", 50_000, 5_000_000),
        ("dla-cifar10-fdf", 84_000, 8_400_000),
        ("lenet5-mnist-origin", 7000, 140_000),
    ],
)
def test_what_a_schedule_costs(name: str, least: int, most: int) -> None:
    schedule = read_schedule(name, task(network(name)), SettleRule(0.1))
    assert (schedule.least, schedule.most) == (least, most)
