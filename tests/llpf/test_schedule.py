from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from llpf_plugin import Task, TensorData
from llpf_plugin.errors import ScheduleError
from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.llpf.schedule import Phase, read_schedule, shipped
from llpf_plugin.llpf.settling import SettleRule
from llpf_plugin.llpf.step_control import Scheduled
from llpf_plugin.tasks.models import LeNet5, SmallResNet
from llpf_plugin.tasks.networks.cct import CCT
from llpf_plugin.tasks.networks.dla import DLA

BASE = SettleRule(threshold=0.3, min_steps=2, max_steps=60, lr=0.05, momentum=0.9)


def task(model: nn.Module) -> Task:
    return Task(model, TensorData(torch.zeros(2, 3, 32, 32), torch.zeros(2)))


FITTING = {
    "cct7-cifar10": CCT(dim=16),
    "cct7-cifar10-fdf": CCT(dim=16),
    "dla-cifar10": DLA(width=2),
    "dla-cifar10-fdf": DLA(width=2),
    "lenet5-mnist": LeNet5(),
    "resnet18-cifar10": SmallResNet(4, (2, 2, 2, 2)),
    "resnet18-cifar10-fdf": SmallResNet(4, (2, 2, 2, 2)),
}


def read(folder: Path, text: str) -> tuple[Phase, ...]:
    path = folder / "mine.yaml"
    path.write_text(text)
    return read_schedule(str(path), task(SmallResNet(4)), BASE)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_schedule_fits_its_model_and_ends_with_all_layers(name: str) -> None:
    model = FITTING[name if name in FITTING else name.replace("-origin", "")]
    phases = read_schedule(name, task(model), BASE)
    assert phases[-1].active == frozenset(dict(model.named_parameters()))
    assert all(p.active and p.control.ticks > 0 and p.control.rule != StepRule() for p in phases)
    assert all(p.settle.momentum == 0 and p.settle.lr == 0.001 for p in phases)


def heads(phase: Phase) -> set[str]:
    return {name.split(".")[0] for name in phase.active}


def test_table_4_of_the_paper() -> None:
    lenet5 = read_schedule("lenet5-mnist", task(FITTING["lenet5-mnist"]), BASE)
    assert [(p.control.ticks, p.control.rule) for p in lenet5] == [(30_000, StepRule(step_c=0.001))]
    assert (lenet5[0].settle.min_steps, lenet5[0].settle.max_steps) == (5, 5)
    resnet = read_schedule("resnet18-cifar10", task(FITTING["resnet18-cifar10"]), BASE)
    assert [p.control.ticks for p in resnet] == [10_000, 5000, 5000, 5000, 5000, 5000]
    assert [p.control.rule.step_a for p in resnet] == [0.0005] + [0.001] * 5
    assert {(p.settle.threshold, p.settle.max_steps) for p in resnet} == {(0.04, 200)}
    assert heads(resnet[1]) == {"conv1", "bn1", "fc"} and heads(resnet[2]) == {"conv1", "bn1", "fc", "layer1"}


def test_follow_data_flow_is_cumulative() -> None:
    phases = read_schedule("resnet18-cifar10-fdf", task(FITTING["resnet18-cifar10-fdf"]), BASE)
    assert [p.control.ticks for p in phases] == [2000] * 5 + [6000]
    assert all(a.active < b.active for a, b in pairwise(phases))
    assert {(p.settle.threshold, p.settle.min_steps, p.settle.max_steps) for p in phases} == {(0.005, 20, 20_000)}


def test_cct_and_dla() -> None:
    cct = read_schedule("cct7-cifar10", task(FITTING["cct7-cifar10"]), BASE)
    assert [p.control.ticks for p in cct] == [5000] * 8
    assert {k for k in cct[0].active if ".blocks." in k} == set() and "classifier.fc.weight" in (cct[0].active)
    fdf = read_schedule("cct7-cifar10-fdf", task(FITTING["cct7-cifar10-fdf"]), BASE)
    assert [p.control.ticks for p in fdf] == [500] * 8 + [1000]
    assert all(a.active < b.active for a, b in pairwise(fdf)) and "classifier.fc.weight" not in (fdf[-2].active)
    dla = read_schedule("dla-cifar10-fdf", task(FITTING["dla-cifar10-fdf"]), BASE)
    assert [p.control.ticks for p in dla] == [400] * 21 and all(a.active < b.active for a, b in pairwise(dla))


def test_table_5_of_the_paper() -> None:
    found = {
        name: read_schedule(name, task(FITTING[name.replace("-origin", "")]), BASE)
        for name in shipped()
        if "origin" in name
    }
    assert {name: p[0].control.ticks for name, p in found.items()} == {
        "cct7-cifar10-origin": 1000, "dla-cifar10-origin": 1000, "lenet5-mnist-origin": 1400,
        "resnet18-cifar10-origin": 1400,
    }  # fmt: skip
    assert {p[0].control.rule for n, p in found.items() if "dla" not in n} == {StepRule(step_a=0.001)}
    assert found["dla-cifar10-origin"][0].control.rule == StepRule(step_c=0.001, step_a=0.0005)
    assert found["resnet18-cifar10-origin"][0].settle.threshold == 0.02
    assert found["lenet5-mnist-origin"][0].settle.threshold == BASE.threshold


@pytest.mark.parametrize(
    "cut", ["7", "{phases: block, max_phases: 0, ticks: 4}", "{phases: stage}", "{ticks: 4, x: 1}"]
)
def test_a_cut_that_is_none(tmp_path: Path, cut: str) -> None:
    with pytest.raises(ScheduleError, match=r"mine\.yaml"):
        read(tmp_path, f"cut: {cut}")


def test_a_schedule_for_another_model_is_refused() -> None:
    with pytest.raises(
        ScheduleError, match=r"phase 5: the pattern 'layer4' names nothing; did you mean layer[123], layer"
    ):
        read_schedule("resnet18-cifar10-fdf", task(SmallResNet(4, (1, 1, 1))), BASE)


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    phases = read(
        tmp_path,
        """
        settle: {threshold: 0.1, max_steps: 9}
        phases:
          - {name: stem, layers: [conv1, bn1.weight], ticks: 3, step_a: 1e-3, step_c: 0.5, step_f: 0.25}
          - {layers: "*.0.conv1", ticks: 4, step_c: 1, settle: {lr: 0.2, min_steps: 3, window: 4, momentum: 0}}
          - {ticks: 5, step_f: 0.1}
        """,
    )
    assert [p.name for p in phases] == ["stem", "phase 2", "phase 3"]
    assert phases[0].active == {"conv1.weight", "bn1.weight"}
    assert phases[0].control == Scheduled(3, StepRule(0.5, 0.001, 0.25))
    assert phases[0].settle == SettleRule(0.1, 2, 9, 10, 0.05, 0.9)
    assert phases[1].active == {f"layer{i}.0.conv1.weight" for i in (1, 2, 3)}
    assert phases[1].settle == SettleRule(0.1, 3, 9, 4, 0.2, 0.0)
    assert phases[2].active == frozenset(dict(SmallResNet(4).named_parameters()))
    assert isinstance(phases[1].settle.min_steps, int)


def test_a_layer_of_a_sequence_is_a_number_to_yaml(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("phases: [{ticks: 1, step_a: 0.1, layers: [0, 2.bias]}]")
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    (phase,) = read_schedule(str(tmp_path / "mine.yaml"), task(model), BASE)
    assert phase.active == {"0.weight", "0.bias", "2.bias"}


PHASE = "phases: [{ticks: 1, step_a: 0.1, "
BAD = {
    "not YAML": ("phases: [", "is not YAML"),
    "empty": ("", "expected a mapping"),
    "a list": ("- 1", "expected a mapping with 'phases', got list"),
    "no phases": ("settle: {lr: 1}", "no list 'phases'"),
    "phases empty": ("phases: []", "no list 'phases'"),
    "phases a mapping": ("phases: {ticks: 1}", "no list 'phases'"),
    "unknown at the top": ("setle: {lr: 1}\n" + PHASE + "}]", "unknown setle"),
    "phase a word": ("phases: [all]", "phase 1: expected a mapping"),
    "unknown in a phase": (PHASE + "step_b: 1}]", "phase 1: unknown step_b"),
    "no ticks": ("phases: [{layers: all}]", "phase 1: ticks = None"),
    "ticks a word": ("phases: [{ticks: many}]", "phase 1: ticks = 'many'"),
    "ticks broken": ("phases: [{ticks: 1.5}]", "phase 1: ticks = 1.5"),
    "ticks none": ("phases: [{ticks: 0}]", "phase 1: ticks = 0"),
    "ticks a truth": ("phases: [{ticks: yes}]", "phase 1: ticks = True"),
    "step a word": ("phases: [{ticks: 1, step_a: big}]", "phase 1: step_a = 'big' is not a number"),
    "step a list": ("phases: [{ticks: 1, step_a: [1]}]", "step_a = .* is not a number"),
    "step below 0": ("phases: [{ticks: 1, step_c: -1}]", "step_c = -1"),
    "step not a number": ("phases: [{ticks: 1, step_c: .nan}]", "step_c = nan"),
    "no such layer": (PHASE + "layers: [conv9]}]", "the pattern 'conv9' names nothing; did you mean conv1"),
    "layer by substring": (PHASE + "layers: [layer]}]", "the pattern 'layer' names nothing; did you mean layer"),
    "no layers": (PHASE + "layers: []}]", "phase 1: .*layers"),
    "layers empty": (PHASE + "layers: }]", "phase 1: .*layers"),
    "layers a number": (PHASE + "layers: 3}]", "phase 1: .*layers"),
    "layer a number": (PHASE + "layers: [1]}]", "phase 1: the pattern '1' names nothing"),
    "layer a list": (PHASE + "layers: [[conv1]]}]", "phase 1: the pattern .*conv1.* names nothing"),
    "layers a mapping": (PHASE + "layers: {conv1: 1}}]", "phase 1: .*layers"),
    "settle a list": ("settle: [1]\n" + PHASE + "}]", "settle"),
    "settle of a phase a number": (PHASE + "settle: 3}]", "phase 1: .*settle"),
    "unknown in settle": ("settle: {rate: 1}\n" + PHASE + "}]", "settle: unknown rate"),
    "settle a word": ("settle: {lr: fast}\n" + PHASE + "}]", "settle.lr = 'fast' is not a number"),
    "settle below 0": ("settle: {lr: -0.1}\n" + PHASE + "}]", "settle.lr = -0.1"),
    "no steps": ("settle: {max_steps: 0}\n" + PHASE + "}]", "min_steps = 2.*max_steps = 0"),
    "least above most": ("settle: {min_steps: 9, max_steps: 3}\n" + PHASE + "}]", "min_steps = 9.*max_steps = 3"),
    "half a step": ("settle: {min_steps: 2.5}\n" + PHASE + "}]", "settle.min_steps = 2.5"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_bad_schedule_gives_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScheduleError, match=message) as caught:
        read(tmp_path, text)
    assert "mine.yaml" in str(caught.value)


def test_a_missing_file_lists_what_is_shipped() -> None:
    with pytest.raises(ScheduleError, match=r"no schedule file 'resnet19'.*lenet5-mnist, .*resnet18-cifar10"):
        read_schedule("resnet19", task(LeNet5()), BASE)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ScheduleError, match=r"mine\.yaml"):
        read_schedule(str(path), task(LeNet5()), BASE)
