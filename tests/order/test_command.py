"""The command `llpf-order`: what it prints, what it writes, and one message for each bad input."""

import sys
from pathlib import Path

import pytest
import torch
from llpf_merge import order as command

from llpf_plugin.order import LayerOrder

MODELS = """
import torch
from torch import nn

ready = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))

def model(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.Linear(width, 2))

def pair():
    return model(), torch.zeros(1, 3)

def inputs():
    return {"input": torch.zeros(1, 3)}

def broken():
    raise KeyError("oops")

def lazy():
    return nn.LazyLinear(3), torch.zeros(1, 3)

def empty():
    return nn.ReLU(), torch.zeros(1, 3)

number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "some_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def llpf_order(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["llpf-order", *arguments])
    with pytest.raises(SystemExit) as exit_:
        command.run()
    return int(exit_.value.code or 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("some_models.py:pair",),
        ("some_models.py:model", "width=8", "--input", "1x3"),
        ("some_models:model", "--inputs", "some_models.py:inputs"),
        ("some_models.py:model", "-i", "input=1x3:float32"),
        ("some_models.py:model", "--device", "meta", "-i", "1x3"),
        ("some_models.py:model", "--no-inputs"),
    ],
)
def test_models_and_inputs_are_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert llpf_order(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    assert "Sequential: 2 layers" in printed
    assert ("not verified" in printed) == ("--no-inputs" in arguments)
    assert ("68 parameters" not in printed) and ("50 parameters" in printed) == ("width=8" in arguments)


def test_a_module_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert llpf_order(monkeypatch, "some_models.py:ready", "-i", "1x3", "-f", "tree") == 0
    assert "0 + 1" in capsys.readouterr().out


def test_torchvision_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    assert llpf_order(monkeypatch, "torchvision:resnet18", "-f", "mermaid") == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "[" in line] == [
        f'  P{i}["{i}. {name}"]'
        for i, name in enumerate(
            [
                "conv1<br/>1 layer, 9.5k",
                "layer1<br/>4 layers, 148.0k",
                "layer2<br/>5 layers, 525.6k",
                "layer3<br/>5 layers, 2.1M",
                "layer4<br/>5 layers, 8.4M",
                "fc<br/>1 layer, 513.0k",
            ],
            1,
        )
    ]


def test_tasks_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    assert llpf_order(monkeypatch, "digits/mlp") == 0
    assert "Linear" in capsys.readouterr().out
    assert llpf_order(monkeypatch, "digits/mpl") == command.FAILED
    assert "digits/mlp" in capsys.readouterr().err


def test_timm_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    assert llpf_order(monkeypatch, "timm:vit_tiny_patch16_224", "-f", "tree") == 0
    assert "Block × 12" in capsys.readouterr().out


def test_hugging_face_from_a_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16)
    config.architectures = ["BertForSequenceClassification"]
    config.save_pretrained(folder / "tiny")
    assert llpf_order(monkeypatch, "hf:tiny", "-f", "tree") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("BertForSequenceClassification") and "BertLayer × 3" in printed


def test_every_kind_of_file_is_written_and_json_read_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    kinds = ("json", "svg", "mmd", "dot", "txt")
    outputs = [argument for kind in kinds for argument in ("-o", f"order.{kind}")]
    assert llpf_order(monkeypatch, "some_models.py:pair", *outputs) == 0
    assert all((folder / f"order.{kind}").stat().st_size for kind in kinds)
    again = LayerOrder.from_json((folder / "order.json").read_text())
    assert llpf_order(monkeypatch, "order.json") == 0
    assert again.fingerprint in capsys.readouterr().out


def test_phases_by_number_and_by_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "phases.yaml").write_text("- ['1']\n- rest\n")
    assert llpf_order(monkeypatch, "some_models.py:pair", "--phases", "1", "-f", "mermaid") == 0
    assert llpf_order(monkeypatch, "some_models.py:pair", "--phases", "phases.yaml", "-f", "mermaid") == 0
    printed = capsys.readouterr().out
    assert "1. 0 … 1<br/>2 layers" in printed and 'P1["1. 1<br/>' in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("resnet18", "'resnet18' names no model"),
        ("nowhere.py:model", "There is no file nowhere.py"),
        ("nowhere_at_all:model", "Importing nowhere_at_all failed"),
        ("some_models.py:modle", "has no 'modle'. The nearest are model"),
        ("some_models.py:broken", "some_models.py:broken failed in some_models.py:17: KeyError: 'oops'"),
        ("some_models.py:number", "gave a int. It must return a torch.nn.Module"),
        ("some_models.py:lazy", "LazyLinear has lazy parameters"),
        ("some_models.py:empty", "ReLU has no parameters"),
        ("some_models.py:model", "No inputs are known for some_models.py:model. Give --input"),
        ("some_models.py:model -i 1x4", "does not run on the example inputs (0: float32[1, 4]): RuntimeError"),
        ("some_models.py:model -i 1x4 --no-inputs", "Give one of --input, --inputs and --no-inputs"),
        ("some_models.py:model -i 1xx3", "'1xx3' is no shape"),
        ("some_models.py:model -i 1x3:floaty", "'floaty' is no dtype"),
        ("some_models.py:model width -i 1x3", "'width' is no argument of the form key=value"),
        ("some_models.py:pair --phases stages", "unknown phases 'stages'"),
        ("some_models.py:pair --phases 0", "at least one"),
        ("some_models.py:pair --phases nowhere.yaml", "cannot read the phase file nowhere.yaml"),
        ("some_models.py:pair -o picture.gif", "picture.gif: unknown kind of file"),
        (
            "some_models.py:pair -o picture.png",
            "picture.png: the picture of an order is an SVG file, so write picture.svg",
        ),
        ("some_models.py:pair -o nowhere/order.svg", "there is no folder nowhere"),
        ("some_models.json", "Cannot read some_models.json"),
        ("torchvision:resnet81", "torchvision has no model 'resnet81'. The nearest are resnet18"),
    ],
)
def test_bad_input_is_one_message_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, arguments: str, message: str
) -> None:
    before = set(folder.rglob("*.*"))
    assert llpf_order(monkeypatch, *arguments.split()) == command.FAILED
    streams = capsys.readouterr()
    assert message in " ".join(streams.err.split()) and "Traceback" not in streams.err and not streams.out
    assert {path for path in folder.rglob("*.*") if "__pycache__" not in path.parts} <= before


@pytest.mark.parametrize("wrong", ["{}", "[1]", "no json", '{"format": "llpf-order", "version": 1}'])
def test_a_file_that_is_no_order_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, wrong: str
) -> None:
    (folder / "order.json").write_text(wrong)
    assert llpf_order(monkeypatch, "order.json") == command.FAILED
    assert "not a layer order" in capsys.readouterr().err


def test_the_default_dtype_of_inputs_holds_for_all_without_one() -> None:
    from llpf_merge.models import parse_inputs

    first, second = parse_inputs(["2x3", "1x4:bool"], "bfloat16")
    assert (first.dtype, second.dtype, tuple(second.shape)) == (torch.bfloat16, torch.bool, (1, 4))
