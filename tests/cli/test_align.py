"""``llpf align``: what it writes is B in its own form and in A's order, and one message for each bad input."""

from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, llpf
from helpers.refusals import refused
from safetensors.torch import load_file, save_file

from llpf_plugin import align as align_weights
from llpf_plugin import checkpoint
from llpf_plugin.checkpoint import fingerprint

MODELS = """
import torch
from helpers.tiny import ConvNet
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.hidden, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(torch.relu(self.hidden(self.embedding(x))))

class Broken(ConvNet):
    def forward(self, x):
        raise KeyError("oops")

def conv():
    return ConvNet()

def broken():
    return Broken()

def tied():
    return Tied(), torch.zeros(1, 3, dtype=torch.long)

def image():
    return torch.zeros(2, 1, 5, 5)
"""

CONV = ("--model", "models.py:conv", "--input", "1x1x5x5")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def aligned(*words: object) -> Result:
    """What the command says, once it has succeeded."""
    result = llpf("align", *words)
    assert result.code == 0 and result.err == "", result.text
    return result


def wanted(name: str = "conv") -> dict[str, torch.Tensor]:
    """B in A's order, as the library has it."""
    return align_weights(*tiny.pair(name), tiny.TASKS[name]()).weights


@pytest.mark.parametrize(
    "model", [CONV, ("--model", "models.py:conv", "--inputs", "models.py:image"), ("--task", f"{tiny.__file__}:conv")]
)
def test_b_is_written_in_its_own_form_and_in_the_order_of_a(convs: list[Path], model: tuple[str, ...]) -> None:
    before = [place.read_bytes() for place in convs]
    result = aligned(*convs, *model, "-o", "b-aligned")
    assert tiny.same(checkpoint.read("b-aligned.pt").weights, wanted())
    document = torch.load("b-aligned.pt", weights_only=True)
    assert all(name.startswith("module.") for name in document["state_dict"]) and document["epoch"] == 20
    assert "14 neurons in 2 groups, distance " in result.out and "fc.weight (the network's outputs)" in result.out
    assert "the same function (difference ≤ " in result.out and "aligned model: b-aligned.pt" in result.out
    assert "left out of the written file: optimizer" in result.out
    assert [place.read_bytes() for place in convs] == before


def test_what_is_aligned_computes_the_same(convs: list[Path]) -> None:
    aligned(*convs, *CONV, "-o", "out/b.pt")
    model, x = tiny.ConvNet().eval(), torch.randn(4, 1, 5, 5)
    outputs = []
    for place in (convs[1], "out/b.pt"):
        model.load_state_dict(checkpoint.read(place).weights)
        outputs.append(model(x).detach())
    assert torch.allclose(*outputs, atol=1e-5)


def test_more_models_go_to_a_folder_under_names_that_tell_them_apart(mlps: list[Path]) -> None:
    for name, source in zip(("x", "y"), mlps[1:], strict=True):
        Path(name).mkdir()
        Path(name, "model.pt").write_bytes(source.read_bytes())
    aligned(mlps[0], "x/model.pt", "y/model.pt", "--model", f"{tiny.__file__}:mlp", "-o", "out")
    assert {p.name for p in Path("out").iterdir()} == {"x-model.pt", "y-model.pt"}
    a, *others = (tiny.trained("mlp", seed) for seed in (1, 2, 3))
    for name, b in zip("xy", others, strict=True):
        found = checkpoint.read(f"out/{name}-model.pt").weights
        assert tiny.same(found, align_weights(a, b, tiny.mlp()).weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half(dtype: torch.dtype) -> None:
    for name, weights in zip("ab", tiny.pair("conv"), strict=True):
        save_file({k: t.to(dtype) if t.is_floating_point() else t for k, t in weights.items()}, f"{name}.safetensors")
    aligned("a.safetensors", "b.safetensors", *CONV, "-o", "out.safetensors")
    before, after = load_file("b.safetensors"), load_file("out.safetensors")
    assert {k: t.dtype for k, t in after.items()} == {k: t.dtype for k, t in before.items()}
    assert all(torch.equal(t.sort().values, before[k].flatten().sort().values) for k, t in flat(after).items())


def flat(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: t.flatten() for k, t in weights.items()}


def test_tied_weights_stay_tied(folder: Path) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("tied_models", folder / "models.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        torch.save(module.Tied().state_dict(), f"{name}.pt")
    aligned("a.pt", "b.pt", "--model", "models.py:tied", "-o", "out.pt")
    found = torch.load("out.pt", weights_only=True)
    assert found["head.weight"].data_ptr() == found["embedding.weight"].data_ptr()
    assert fingerprint(found) != fingerprint(torch.load("b.pt", weights_only=True))
    untied = torch.load("b.pt", weights_only=True)
    torch.save({**untied, "head.weight": untied["head.weight"] + 1}, "untied.pt")
    refused(llpf("align", "a.pt", "untied.pt", "--model", "models.py:tied", "-o", "o.pt"), "align", "ties weights")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "models.py:conv"), "no inputs are known for models.py:conv: give --input"),
        (("--model", "models.py:broken", "-i", "1x1x5x5"), "Broken: no trace for its symmetries: KeyError"),
        (("--model", "models.py:conv", "-i", "1x3x5x5"), "ConvNet: no trace for its symmetries"),
        (("--model", "models.py:tied"), "embedding.weight"),
    ],
)
def test_what_does_not_fit_is_one_message(convs: list[Path], words: tuple[str, ...], message: str) -> None:
    refused(llpf("align", *convs, *words, "-o", "o.pt"), "align", message)
    assert not Path("o.pt").exists()


def test_models_that_differ_and_a_file_that_is_missing_are_named(convs: list[Path], mlps: list[Path]) -> None:
    refused(llpf("align", convs[0], mlps[0], *CONV, "-o", "o.pt"), "align", str(mlps[0]))
    refused(llpf("align", convs[0], "none.pt", *CONV, "-o", "o.pt"), "align", "none.pt")


def test_nothing_is_overwritten(convs: list[Path]) -> None:
    Path("o.pt").write_text("mine")
    for out in ("o.pt", "o", convs[1]):
        refused(llpf("align", *convs, *CONV, "-o", out), "align", "is there already, and nothing is overwritten")
    assert Path("o.pt").read_text() == "mine"
