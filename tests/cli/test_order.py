"""``llpf order``: what it prints, what it writes, and one message for each bad input."""

import json
from pathlib import Path

import networkx as nx
import pytest
import torch
from helpers import tiny
from helpers.commands import merge, order
from helpers.refusals import ERROR, USAGE, refused

from llpf_cli.models import parse_inputs
from llpf_plugin.alignment import symmetry
from llpf_plugin.order import LayerOrder

MODELS = """
import torch
from torch import nn

from llpf_plugin import Task, TensorData

ready = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))

def model(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.Linear(width, 2))

def pair():
    return model(), torch.zeros(1, 3)

def task(width=4, bias=True):
    network = nn.Sequential(nn.Linear(3, width, bias=bias), nn.ReLU(), nn.Linear(width, 2))
    return Task(network, TensorData(torch.zeros(8, 3), torch.zeros(8, dtype=torch.long)))

def inputs():
    return {"input": torch.zeros(1, 3)}

def broken():
    raise KeyError("oops")

def lazy():
    return nn.LazyLinear(3), torch.zeros(1, 3)

class Lazy(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.spare = nn.Linear(2, 2)

def spare():
    return Lazy(), torch.zeros(1, 3)

def empty():
    return nn.ReLU(), torch.zeros(1, 3)

number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "some_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(*words: object) -> str:
    """What the command prints, once it has succeeded."""
    result = order(*words)
    assert result.code == 0 and result.err == "", result.text
    return result.out


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
def test_models_and_inputs_are_found(arguments: tuple[str, ...]) -> None:
    text = printed(*arguments)
    assert "Sequential: 2 layers" in text
    assert ("not verified" in text) == ("--no-inputs" in arguments)
    assert ("50 parameters" in text) == ("width=8" in arguments)


def test_a_module_is_taken_as_it_is() -> None:
    assert "0 + 1" in printed("some_models.py:ready", "-i", "1x3", "-f", "tree")


def test_torchvision_by_name() -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    text = printed("torchvision:resnet18", "-f", "mermaid")
    assert [line for line in text.splitlines() if "[" in line] == [
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


def test_timm_by_name() -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    assert "Block × 12" in printed("timm:vit_tiny_patch16_224", "-f", "tree")


def test_hugging_face_from_a_configuration(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16)
    config.architectures = ["BertForSequenceClassification"]
    config.save_pretrained(folder / "tiny")
    text = printed("hf:tiny", "-f", "tree")
    assert text.startswith("BertForSequenceClassification") and "BertLayer × 3" in text


# ---- tasks, and what they can be told


def test_tasks_by_name() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    assert "Linear" in printed("digits/mlp")
    refused(order("digits/mpl"), "order", "digits/mlp")


def parameters(*words: object) -> str:
    return printed(*words).splitlines()[-1].split(", ")[1]


def test_a_task_takes_arguments() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    assert parameters("digits/resnet", "width=2") == parameters("digits/resnet", "-t", "width=2") == "1.4k parameters"
    assert parameters("digits/resnet", "width=true") == parameters("digits/resnet", "width=1") == "399 parameters"


@pytest.mark.parametrize("how", [["width=6", "bias=false"], ["-t", "width=6", "-t", "bias=false"]])
def test_one_grammar_for_what_a_task_can_be_told(how: list[str]) -> None:
    """As positions, and with ``-t`` as in the other commands."""
    assert parameters("some_models.py:task", *how) == f"{3 * 6 + 6 * 2 + 2} parameters"


@pytest.mark.parametrize(
    ("word", "code", "message"),
    [
        ("width", USAGE, "'width' is not of the form key=value"),
        ("heigth=3", ERROR, "takes no argument 'heigth'"),
        ("width=wide", ERROR, "TypeError"),
    ],
)
def test_what_it_cannot_be_told_is_refused_as_by_merge(word: str, code: int, message: str, asked: list[object]) -> None:
    refused(order("some_models.py:task", word), "order", message, code=code)
    refused(order("some_models.py:task", "-t", word), "order", message, code=code)
    asked[asked.index("--task") + 1] = "some_models.py:task"
    refused(merge(*asked, "-t", word, "-o", "run"), "merge", message, code=code)


# ---- files


def test_every_kind_of_file_is_written_and_json_read_again(folder: Path) -> None:
    kinds = ("json", "svg", "mmd", "dot", "txt")
    outputs = [argument for kind in kinds for argument in ("-o", f"order.{kind}")]
    text = printed("some_models.py:pair", *outputs)
    assert text.splitlines() == [f"written: order.{kind}" for kind in kinds]
    assert all((folder / f"order.{kind}").stat().st_size for kind in kinds)
    again = LayerOrder.from_json((folder / "order.json").read_text())
    assert again.fingerprint in printed("order.json")


def test_what_is_printed_is_what_is_written(folder: Path) -> None:
    for kind, name in (("table", "txt"), ("mermaid", "mmd"), ("dot", "dot"), ("json", "json")):
        printed("some_models.py:pair", "-o", f"order.{name}")
        assert printed("some_models.py:pair", "-f", kind) == (folder / f"order.{name}").read_text()


def test_phases_by_number_and_by_file(folder: Path) -> None:
    (folder / "phases.yaml").write_text("- ['1']\n- rest\n")
    assert "1. 0 … 1<br/>2 layers" in printed("some_models.py:pair", "--phases", "1", "-f", "mermaid")
    assert 'P1["1. 1<br/>' in printed("some_models.py:pair", "--phases", "phases.yaml", "-f", "mermaid")


def test_an_order_can_be_given_to_merge(folder: Path, asked: list[object]) -> None:
    printed(f"{tiny.__file__}:mlp", "-o", "order.json")
    assert merge(*asked, "-m", "order=order.json", "-o", "run").code == 0
    printed("some_models.py:pair", "-o", "other.json")
    refused(merge(*asked, "-m", "order=other.json", "-o", "again"), "merge", "the layer order is of another model")
    assert not Path("again").exists()


# ---- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("resnet18", "'resnet18' does not name a model"),
        ("nowhere.py:model", "the file 'nowhere.py' does not exist"),
        ("nowhere_at_all:model", "importing 'nowhere_at_all' failed"),
        ("some_models.py:modle", "has no 'modle': did you mean model"),
        ("some_models.py:broken", "'some_models.py:broken' failed: KeyError: 'oops' ("),
        ("some_models.py:broken", "some_models.py, line 23)"),
        ("some_models.py:number", "gave a int; it must return a torch.nn.Module"),
        ("some_models.py:lazy", "LazyLinear has lazy parameters"),
        ("some_models.py:empty", "ReLU has no parameters"),
        ("some_models.py:model", "no inputs are known for some_models.py:model: give --input"),
        ("some_models.py:model -i 1x4", "does not run on the example inputs (0: float32[1, 4]): RuntimeError"),
        ("some_models.py:pair --phases stages", "unknown phases 'stages'"),
        ("some_models.py:pair --phases 0", "at least one"),
        ("some_models.py:pair --phases nowhere.yaml", "the phase file nowhere.yaml cannot be read"),
        ("some_models.json", "some_models.json cannot be read"),
        ("torchvision:resnet81", "torchvision has no model 'resnet81': did you mean resnet18"),
        ("hf:nothing", "no configuration of transformers named 'nothing'"),
        ("timm:nothing", "timm has no model 'nothing'"),
    ],
)
def test_bad_input_is_one_message_and_an_exit_code(folder: Path, arguments: str, message: str) -> None:
    before = set(folder.rglob("*.*"))
    result = order(*arguments.split())
    if "pip install" in result.err:
        pytest.skip(result.err)
    refused(result, "order", message)
    assert not result.out
    assert {path for path in folder.rglob("*.*") if "__pycache__" not in path.parts} <= before


@pytest.mark.parametrize("wrong", ["{}", "[1]", "no json", '{"format": "llpf-order", "version": 1}'])
def test_a_file_that_is_no_order_is_refused(folder: Path, wrong: str) -> None:
    (folder / "order.json").write_text(wrong)
    refused(order("order.json"), "order", "not a layer order")


def test_the_default_dtype_of_inputs_holds_for_all_without_one() -> None:
    first, second = parse_inputs(["2x3", "1x4:bool"], "bfloat16")
    assert (first.dtype, second.dtype, tuple(second.shape)) == (torch.bfloat16, torch.bool, (1, 4))


def test_unused_parameters_are_named_and_the_exit_code_says_so() -> None:
    result = order("some_models.py:spare", "--unused")
    assert (result.code, result.out) == (3, "spare.weight\nspare.bias\n")
    assert printed("some_models.py:pair", "--unused") == "every parameter takes part in what the model returns\n"


def test_units_that_belong_together_are_listed() -> None:
    text = printed("some_models.py:task", "--groups")
    assert text.splitlines() == [
        "1. 4 units, scaling", "     0.weight[0]", "     0.bias[0]", "     2.weight[1]",
        "1 group, confirmed by trying it", "! 2.weight is in none: the network's outputs",
    ]  # fmt: skip
    [group] = json.loads(printed("some_models.py:task", "--groups", "-f", "json"))["groups"]
    assert (group["kind"], group["blocks"], group["units"]) == ("scaling", 1, 4)
    assert group["places"][2] == {"tensor": "2.weight", "axis": 1, "index": [[[0], [1], [2], [3]]]}


@pytest.mark.parametrize("more", [("--no-inputs",), ("-o", "x.json"), ("--groups",)])
def test_unused_goes_with_nothing_else(more: tuple[str, ...]) -> None:
    refused(order("some_models.py:pair", "--unused", *more), "order", "--unused runs the model", code=USAGE)


def test_graphml_is_a_file_and_a_format(folder: Path) -> None:
    printed("some_models.py:pair", "-o", "x.graphml")
    assert nx.read_graphml(folder / "x.graphml").nodes["0"]["type"] == "Linear"
    assert nx.parse_graphml(printed("some_models.py:pair", "-f", "graphml")).number_of_edges() == 1


def test_models_of_transformers_return_no_cache_and_read_different_tokens() -> None:
    from llpf_cli.models import load_model

    small = {"n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 40}
    model, inputs = load_model("hf:gpt2", small)
    assert model(**inputs).past_key_values is None
    assert len(set(inputs["input_ids"].flatten().tolist())) > 4
    assert any(group.kind == "invertible" for group in symmetry(model, inputs).groups)
