from pathlib import Path

import pytest
import torch
from torch import nn

from llpf_plugin import Task, TensorData
from llpf_plugin.errors import ScheduleError
from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.llpf.schedule import Phase, Schedule, read_schedule
from llpf_plugin.llpf.settling import SettleRule
from llpf_plugin.llpf.step_control import Scheduled
from llpf_plugin.tasks.models import LeNet5, SmallResNet

BASE = SettleRule(threshold=0.3, min_steps=2, max_steps=60, lr=0.05, momentum=0.9)


def task(model: nn.Module) -> Task:
    return Task(model, TensorData(torch.zeros(2, 3, 32, 32), torch.zeros(2)))


def whole(folder: Path, text: str, base: SettleRule = BASE) -> Schedule:
    path = folder / "mine.yaml"
    path.write_text(text)
    return read_schedule(str(path), task(SmallResNet(4)), base)


def read(folder: Path, text: str) -> tuple[Phase, ...]:
    return whole(folder, text).phases


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
          - {layers: "*.0.conv1", ticks: 4, step_c: 1, settle: {lr: 0.2, min_steps: 5, window: 4, momentum: 0}}
          - {ticks: 5, step_f: 0.1}
        """,
    )
    assert [p.name for p in phases] == ["stem", "phase 2", "phase 3"]
    assert phases[0].active == {"conv1.weight", "bn1.weight"}
    assert phases[0].control == Scheduled(3, StepRule(0.5, 0.001, 0.25))
    assert phases[0].settle == SettleRule(0.1, 2, 9, None, 0.05, 0.9)
    assert phases[1].active == {f"layer{i}.0.conv1.weight" for i in (1, 2, 3)}
    assert phases[1].settle == SettleRule(0.1, 5, 9, 4, 0.2, 0.0)
    assert phases[2].active == frozenset(dict(SmallResNet(4).named_parameters()))
    assert isinstance(phases[1].settle.min_steps, int)


def test_a_layer_of_a_sequence_is_a_number_to_yaml(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("phases: [{ticks: 1, step_a: 0.1, layers: [0, 2.bias]}]")
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    (phase,) = read_schedule(str(tmp_path / "mine.yaml"), task(model), BASE).phases
    assert phase.active == {"0.weight", "0.bias", "2.bias"}


def test_what_holds_for_all_phases(tmp_path: Path) -> None:
    text = "phases: [{ticks: 3, step_a: 0.1}, {ticks: 4, step_a: 0.1, settle: {min_steps: 5, lr: 0.1}}]"
    plain = whole(tmp_path, text)
    assert (plain.correct, plain.stated) == (None, {})
    assert [p.control.moves for p in plain.phases] == ["tensors"] * 2
    stated = "batch_size: 64\ncorrect: none\nmoves: layers\nsettle: {lr: 0.01, momentum: 0, max_steps: 9}\n"
    said = whole(tmp_path, stated + text)
    assert (said.correct, said.stated) == ("none", {"batch_size": 64, "lr": 0.01, "momentum": 0.0})
    assert [p.control.moves for p in said.phases] == ["layers"] * 2
    assert (said.least, said.most) == (3 * 2 + 4 * 5, 3 * 9 + 4 * 9)


def test_a_schedule_within_so_many_ticks(tmp_path: Path) -> None:
    schedule = whole(tmp_path, "settle: {max_steps: 9}\nphases: [{ticks: 3, step_a: 0.1}, {ticks: 8, step_a: 0.1}]")
    assert schedule.within(None) is schedule
    cut = schedule.within(5)
    assert [p.control.ticks for p in cut.phases] == [3, 5] and (cut.least, cut.most) == (16, 72)


@pytest.mark.parametrize("window", [None, 10])
def test_a_schedule_that_names_no_window_has_its_least_number_of_steps(tmp_path: Path, window: int | None) -> None:
    base = SettleRule(0.3, 12, 60, window)
    own = whole(tmp_path, "settle: {min_steps: 7}\n" + PHASE + "}]", base).phases[0].settle
    assert own.rolling == 7


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
    "a window that never fills": (
        "settle: {min_steps: 4, window: 5}\n" + PHASE + "}]",
        "mine.yaml: window = 5 and min_steps = 4",
    ),
    "a window of all, too long for one": (
        "settle: {min_steps: 5, window: 5}\n" + PHASE + "settle: {min_steps: 4}}]",
        "phase 1: window = 5 and min_steps = 4",
    ),
    "correct a word": ("correct: some\n" + PHASE + "}]", "correct = 'some'; it must be one of matrices, all, none"),
    "correct a list": ("correct: [all]\n" + PHASE + "}]", r"correct = \['all'\]; it must be one of"),
    "moves a word": ("moves: layer\n" + PHASE + "}]", "moves = 'layer'; it must be one of tensors, layers"),
    "no batch": ("batch_size: 0\n" + PHASE + "}]", "batch_size = 0; it must be a whole number of at least 1"),
    "half a batch": ("batch_size: 2.5\n" + PHASE + "}]", "batch_size = 2.5"),
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
