"""``llpf check``: two checkpoints, without a task, in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.checkpoint_samples import sharded
from helpers.commands import Result, llpf

CONV = f"{tiny.__file__}:conv"


def checked(*words: object, code: int = 0) -> Result:
    result = llpf("check", *words)
    assert result.code == code and result.err == "", result.text
    return result


def test_networks_that_were_trained_apart_are_to_be_aligned_first(convs: list[Path]) -> None:
    out = checked(*convs).out
    lines = out.strip().splitlines()
    assert lines[-2].startswith("align first: they were trained apart (likeness ") and "llpf align" in lines[-1]
    assert "conv2.weight" in out and "8×6×3×3" in out and "B's over A's" in out


@pytest.mark.parametrize("words", [("--task", CONV), ("--model", CONV, "-i", "1x1x5x5")])
def test_align_says_how_far_it_brings_them(convs: list[Path], words: tuple[str, ...]) -> None:
    result = checked(*convs, *words, "--align", "--json")
    found = json.loads(result.out)
    assert found["kinship"] == "trained apart" and found["likeness_aligned"] > found["likeness"]
    assert found["advice"] in ("align", "walk") and {"check", "align"} <= set(found["seconds"])
    assert ("gradient step" in found["seconds"]) == (words[0] == "--task")
    assert f"aligned {found['likeness_aligned']:.2f}" in found["sentence"]


def test_a_task_tells_what_a_walk_would_cost(convs: list[Path]) -> None:
    lines = checked(*convs, "--task", CONV).out.splitlines()
    assert sum("gradient steps and" in line and "would take at most" in line for line in lines) == 2
    assert any(", gradient step " in line and ", measured point " in line for line in lines)


def test_a_model_is_finetuned_from_the_other(convs: list[Path], tmp_path: Path) -> None:
    a = tiny.pair("conv")[0]
    torch.save({k: t + 0.05 * torch.randn_like(t) if t.dim() > 1 else t for k, t in a.items()}, tmp_path / "b.pt")
    assert "averaging will do: they come from one network" in checked(convs[0], tmp_path / "b.pt").out
    assert "averaging will do: they are the same model" in checked(convs[0], convs[0]).out


def test_what_cannot_be_merged_exits_3_with_the_reason(convs: list[Path], mlps: list[Path], tmp_path: Path) -> None:
    out = checked(convs[0], mlps[0], code=3).out
    assert out.strip().splitlines()[-1].startswith("these cannot be merged, because 16 tensors of ")
    b = tiny.pair("mlp")[1]
    torch.save({**b, "2.weight": b["2.weight"][:2], "2.bias": b["2.bias"][:2]}, tmp_path / "b.pt")
    result = checked(mlps[0], tmp_path / "b.pt", "--json", code=3)
    found = json.loads(result.out)
    assert found["advice"] == "none" and "2 tensors differ in shape: 2.weight" in found["sentence"]


def test_a_prefix_in_one_of_them_is_no_difference(mlps: list[Path], tmp_path: Path) -> None:
    torch.save({"state_dict": {f"model.{k}": t for k, t in tiny.pair("mlp")[1].items()}}, tmp_path / "b.ckpt")
    out = checked(mlps[0], tmp_path / "b.ckpt").out
    assert "the prefix 'model.' of its names is taken off" in out and "align first" in out


# ---- folders

CONFIG = {
    "model_type": "bert",
    "num_attention_heads": 2,
    "hidden_dropout_prob": 0.1,
    "id2label": {"0": "no", "1": "yes"},
}


def folder(place: Path, seed: int, config: dict[str, Any] | None = None, vocab: dict[str, int] | None = None) -> Path:
    sharded(place, tiny.trained("mlp", seed))
    (place / "config.json").write_text(json.dumps(config or CONFIG))
    (place / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab or {"a": 0, "b": 1}}}))
    return place


@pytest.mark.parametrize(
    ("config", "vocab", "code", "words"),
    [
        ({}, {}, 0, "align first"),
        (
            {"hidden_dropout_prob": 0.2},
            {},
            0,
            "note: the configurations differ in what weights do not depend on: hidden_d",
        ),
        ({"num_attention_heads": 4}, {}, 3, "because the configurations differ: num_attention_heads (a 2, b 4)"),
        ({"id2label": {"0": "yes", "1": "no"}}, {}, 3, 'because the labels differ: id2label.0 (a "no", b "yes")'),
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, {}, 0, "warning: the labels differ"),
        ({}, {"a": 1, "b": 0}, 3, "because the tokenizers differ: 'a' (0, 1), 'b' (1, 0)"),
        ({}, {"a": 0, "b": 1, "c": 2}, 3, "because the tokenizers differ: 'c' (None, 2)"),
    ],
)
def test_folders_are_compared_as_well(
    tmp_path: Path, config: dict[str, Any], vocab: dict[str, int], code: int, words: str
) -> None:
    a, b = folder(tmp_path / "a", 1), folder(tmp_path / "b", 2, {**CONFIG, **config}, vocab)
    assert words in checked(a, b, code=code).out
