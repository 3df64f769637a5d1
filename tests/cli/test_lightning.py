"""Checkpoints as training frameworks leave them go into the commands, and come out in their own form."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny
from helpers.commands import Result, llpf, method
from helpers.refusals import refused
from torch import Tensor

from llpf_plugin.checkpoint import read

TASK = f"{tiny.__file__}:mlp"


class Loss:
    """A class of the user's, such as hyper-parameters have."""


def lightning(weights: dict[str, Tensor], **more: Any) -> dict[str, Any]:
    """What a LightningModule with ``self.model`` and a weighted loss saves."""
    return {
        "epoch": 4,
        "global_step": 500,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {**{f"model.{k}": t for k, t in weights.items()}, "criterion.weight": torch.ones(3)},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.tensor(0.1)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"width": 16, "loss": Loss()},
        **more,
    }


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    places = [tmp_path / f"{name}.ckpt" for name in "ab"]
    for place, weights in zip(places, tiny.pair("mlp"), strict=True):
        torch.save(lightning(weights), place)
    return places


def merged(*words: object) -> Result:
    result = llpf("merge", *words, "--task", TASK, "--tolerance", 5, "--points", 1, "--no-report", *method("linear"))
    assert result.code == 0, result.text
    return result


def test_lightning_checkpoints_are_merged_and_stay_what_they_are(pair: list[Path], tmp_path: Path) -> None:
    result = merged(*pair, "-o", tmp_path / "run", "--align", "never", "--pick", "mid")
    for place in pair:
        assert f"{place}: the prefix 'model.' of its names is taken off, which is undone on writing" in result.out
    assert (
        "1 of its tensors, which lie outside, are not the model's and stay as they are: criterion.weight" in result.out
    )
    assert "left out of the merged file: " in result.out and "hyper_parameters.loss (of unknown classes" in result.out
    again = torch.load(tmp_path / "run" / "merged.ckpt")
    assert again["hyper_parameters"] == {"width": 16} and again["epoch"] == 4
    a, b = tiny.pair("mlp")
    assert torch.allclose(again["state_dict"]["model.0.weight"], (a["0.weight"] + b["0.weight"]) / 2)
    assert torch.equal(again["state_dict"]["criterion.weight"], torch.ones(3))
    for out in ("x.ckpt", "x.safetensors", "folder/"):
        assert llpf("point", tmp_path / "run", "--at", 0.5, "-o", f"{tmp_path}/{out}").code == 0
        found = read(f"{tmp_path}/{out}", names=a)
        assert torch.allclose(found.weights["0.weight"], again["state_dict"]["model.0.weight"])
        assert torch.equal(found.beside["criterion.weight"], torch.ones(3))


def test_a_tree_of_them_is_merged_too(pair: list[Path], tmp_path: Path) -> None:
    torch.save(lightning(tiny.trained("mlp", 3)), tmp_path / "c.ckpt")
    merged(*pair, tmp_path / "c.ckpt", "-o", tmp_path / "run", "--align", "never", "--pick", "mid")
    a, b, c = (tiny.trained("mlp", seed)["0.weight"] for seed in (1, 2, 3))
    found = torch.load(tmp_path / "run" / "merged.ckpt")["state_dict"]
    assert torch.allclose(found["model.0.weight"], (a + b) / 4 + c / 2, atol=1e-6) and "criterion.weight" in found


def test_a_state_is_chosen_by_name(tmp_path: Path) -> None:
    (a, b), places = tiny.pair("mlp"), [tmp_path / "a.pth", tmp_path / "b.pth"]
    torch.save({"state_dict": b, "state_dict_ema": a}, places[0])
    torch.save({"state_dict": a, "state_dict_ema": b}, places[1])
    result = merged(*places, "-o", tmp_path / "one", "--align", "never", "--pick", 0.25)
    assert f"{places[0]}: the weights are those of 'state_dict'; --state state_dict_ema takes" in result.out
    merged(*places, "--state", "state_dict_ema", "-o", tmp_path / "two", "--align", "never", "--pick", 0.75)
    one, two = (read(tmp_path / run / "merged.pth") for run in ("one", "two"))
    assert one.nesting == ("state_dict",) and two.nesting == ("state_dict_ema",)
    assert torch.allclose(one.weights["0.weight"], two.weights["0.weight"])
    assert "state: state_dict_ema" in (tmp_path / "two" / "config.yaml").read_text()
    words = (*places, "--state", "swa", "--task", TASK, "-o", tmp_path / "o")
    refused(
        llpf("merge", *words), "merge", "holds no weights called 'swa', but: state_dict (4 tensors), state_dict_ema"
    )


def test_align_and_the_mean_without_data_take_prefixes_off_too(pair: list[Path], tmp_path: Path) -> None:
    result = llpf("align", *pair, "--task", TASK, "-o", tmp_path / "aligned")
    assert result.code == 0 and "the prefix 'model.'" in result.out, result.text
    assert "criterion.weight" in torch.load(tmp_path / "aligned.ckpt")["state_dict"]
    result = llpf("merge", *pair, "--model", TASK, *method("linear"), "-o", tmp_path / "mean")
    assert result.code == 0 and "the prefix 'model.'" in result.out, result.text
    result = llpf("origin", pair[0], "--task", TASK, "--to", 0.9, "--budget", 3, "-o", tmp_path / "o", "--no-report")
    assert result.code in (0, 3) and "the prefix 'model.'" in result.out, result.text
