"""``llpf merge --model … --method linear``: the mean of aligned models without data, and what it says of itself."""

import json
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, merge
from helpers.refusals import refused

from llpf_plugin import align, checkpoint
from llpf_plugin.geometry import variance

CONV = ("--model", f"{tiny.__file__}:conv", "--method", "linear")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def averaged(*words: object) -> Result:
    result = merge(*words)
    assert result.code == 0 and result.err == "", result.text
    return result


def test_the_mean_of_aligned_models_lies_on_the_spheres_between_theirs(convs: list[Path]) -> None:
    result = averaged(*convs, *CONV)
    a, b = tiny.pair("conv")
    b = align(a, b, tiny.conv()).weights
    found = checkpoint.read("run/merged.pt").weights
    for name in ("conv1.weight", "conv2.weight", "fc.weight"):
        assert variance(found[name]) == pytest.approx((variance(a[name]) + variance(b[name])) / 2, rel=1e-5)
        mean = (a[name] + b[name]) / 2
        centred = found[name] - found[name].mean(), mean - mean.mean()
        assert torch.cosine_similarity(*(t.flatten() for t in centred), dim=0) == pytest.approx(1, abs=1e-5)
        assert float(found[name].mean()) == pytest.approx(float(mean.mean()), abs=1e-6)
    for name in ("fc.bias", "bn1.weight", "bn1.running_mean", "bn2.running_var"):
        assert torch.allclose(found[name], (a[name] + b[name]) / 2, atol=1e-6)
    notes = json.loads(Path("run/merged.json").read_text())["notes"]
    assert "units were re-ordered: the same function (difference ≤ " in notes[0]
    assert "not checked, since there are no data" in notes[1]
    assert "running statistics of 2 normalizations are means as well: llpf rebn estimates them" in notes[2]
    assert all(note in result.out for note in notes) and "connected" not in result.out


def test_another_share_another_number_of_models_and_no_alignment(mlps: list[Path]) -> None:
    mlp = ("--model", f"{tiny.__file__}:mlp", "--method", "linear", "--align", "never")
    averaged(*mlps[:2], *mlp, "--pick", 0.25, "-o", "quarter")
    result = averaged(*mlps, *mlp, "-o", "three")
    assert "re-ordered" not in result.out and "normalization" not in result.out
    a, b, c = (tiny.trained("mlp", seed)["0.bias"] for seed in (1, 2, 3))
    assert torch.allclose(checkpoint.read("quarter/merged.pt").weights["0.bias"], 0.75 * a + 0.25 * b, atol=1e-6)
    assert torch.allclose(checkpoint.read("three/merged.pt").weights["0.bias"], (a + b + c) / 3, atol=1e-6)


UNTRACED = """
from helpers.tiny import ConvNet
import torch

class Untraced(ConvNet):
    def forward(self, x):
        raise KeyError("oops")

def model():
    return Untraced(), torch.zeros(1, 1, 5, 5)
"""


def test_what_cannot_be_traced_is_averaged_as_it_is_unless_it_must_be_aligned(convs: list[Path]) -> None:
    Path("untraced.py").write_text(UNTRACED)
    words = (*convs, "--model", "untraced.py:model", "--method", "linear")
    refused(merge(*words, "--align", "always"), "merge", "no trace for its symmetries")
    result = averaged(*words)
    assert "units stay as they are: no symmetry can be derived: Untraced" in result.out
    a, b = tiny.pair("conv")
    assert torch.allclose(checkpoint.read("run/merged.pt").weights["fc.bias"], (a["fc.bias"] + b["fc.bias"]) / 2)


def test_a_folder_in_use_is_left_alone(convs: list[Path]) -> None:
    averaged(*convs, *CONV)
    before = Path("run/merged.pt").read_bytes()
    refused(merge(*convs, *CONV), "merge", "run is not an empty folder")
    assert Path("run/merged.pt").read_bytes() == before
