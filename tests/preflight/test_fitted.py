"""Checkpoints whose files have other names, ties or tensors than their model, and how they are written again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.checkpoint_samples import sharded
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from torch import nn

from llpf_plugin.checkpoint import read, write
from llpf_plugin.preflight import check_pair, fits, fitted


class Model(nn.Module):
    """Two layers, tied or not, and a head."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        if tied:
            self.b.weight = self.a.weight


def moved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every tensor in another way."""
    return {name: tensor + i for i, (name, tensor) in enumerate(weights.items())}


@pytest.mark.parametrize("form", ["torch", "safetensors", "shards", "with a prefix"])
def test_names_that_only_the_file_ties_are_written_apart(tmp_path: Path, form: str) -> None:
    model = Model(tied=True)
    place = tmp_path / "a.pt"
    if form == "torch":
        torch.save(model.state_dict(), place)
    elif form == "safetensors":
        save_model(model, str(place))
    elif form == "with a prefix":
        torch.save({f"module.{k}": t for k, t in model.state_dict().items()}, place)
    else:
        kept = {k: t for k, t in model.state_dict().items() if k != "b.weight"}
        place = sharded(tmp_path / "a", kept)
        for shard in place.glob("*.safetensors"):
            save_file(load_file(shard), shard, metadata={"format": "pt", "b.weight": "a.weight"})
    found = fitted(read(place), Model())
    assert not found.ties and found.weights.keys() == model.state_dict().keys()
    own = moved(found.weights)
    again = read(write(tmp_path / "m", own, found)).weights
    assert all(torch.equal(again[k], own[k]) for k in own) and again.keys() == own.keys()


def test_names_that_the_model_ties_too_stay_tied(tmp_path: Path) -> None:
    save_model(Model(tied=True), str(tmp_path / "a.safetensors"))
    found = read(tmp_path / "a.safetensors")
    assert fitted(found, Model(tied=True)) is found and found.ties == [("a.weight", "b.weight")]


def test_what_one_file_ties_and_the_other_does_not_is_no_mismatch(tmp_path: Path) -> None:
    torch.save(Model(tied=True).state_dict(), tmp_path / "a.pt")
    torch.save(Model().state_dict(), tmp_path / "b.pt")
    model = Model()
    pair = [fitted(read(tmp_path / f"{name}.pt"), model).weights for name in "ab"]
    check_pair(pair[0], pair[1], model)


def experts(seed: int = 0) -> Any:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("transformers.core_model_loading", reason="this transformers saves what state_dict() has")
    torch.manual_seed(seed)
    config = transformers.MixtralConfig(
        vocab_size=20, hidden_size=16, intermediate_size=8, num_attention_heads=2, num_key_value_heads=1,
        num_hidden_layers=1, num_local_experts=3,
    )  # fmt: skip
    return transformers.MixtralForCausalLM(config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_experts_are_joined_as_the_library_does_and_written_apart(tmp_path: Path, dtype: torch.dtype) -> None:
    model = experts().to(dtype)
    model.save_pretrained(tmp_path / "a")
    found = fitted(read(tmp_path / "a"), experts(1))
    assert found.weights.keys() == model.state_dict().keys()
    assert all(torch.equal(found.weights[k], t) for k, t in model.state_dict().items())
    out = write(tmp_path / "m", {k: 2 * t for k, t in found.weights.items()}, found) / "model.safetensors"
    before, after = load_file(tmp_path / "a" / "model.safetensors"), load_file(out)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[k], 2 * before[k]) and after[k].dtype == before[k].dtype for k in before)
    with safe_open(out, "pt") as file:
        assert json.loads(json.dumps(file.metadata())) == {"format": "pt"}


def test_what_is_missing_is_not_made_up(tmp_path: Path) -> None:
    """The library would draw an expert that is not there."""
    experts().save_pretrained(tmp_path / "a")
    place = tmp_path / "a" / "model.safetensors"
    kept = {k: t for k, t in load_file(place).items() if ".experts.2." not in k}
    save_file(kept, place, metadata={"format": "pt"})
    found = fitted(read(place), experts(1))
    assert found.weights.keys() == kept.keys()


WRAPPED: dict[str, Any] = {
    "DataParallel": lambda model: nn.DataParallel(model).state_dict(),
    "averaged": lambda model: torch.optim.swa_utils.AveragedModel(model).state_dict(),
    "averaged and parallel": lambda model: torch.optim.swa_utils.AveragedModel(nn.DataParallel(model)).state_dict(),
    "FSDP": lambda model: {
        f"_fsdp_wrapped_module.{k.replace('.', '._fsdp_wrapped_module.', 1)}": t for k, t in model.state_dict().items()
    },
    "checkpointed": lambda model: {
        k.replace("a.", "a._checkpoint_wrapped_module."): t for k, t in model.state_dict().items()
    },
    "Lightning": lambda model: {
        **{f"net.{k}": t for k, t in model.state_dict().items()}, "criterion.weight": torch.ones(2),
    },
    "Lightning, compiled": lambda model: {f"model._orig_mod.{k}": t for k, t in model.state_dict().items()},
}  # fmt: skip


@pytest.mark.parametrize("form", ["pt", "safetensors"])
@pytest.mark.parametrize("wrapper", WRAPPED)
def test_prefixes_of_wrappers_are_taken_off_and_put_back(tmp_path: Path, wrapper: str, form: str) -> None:
    model = Model()
    state = WRAPPED[wrapper](model)
    place = tmp_path / f"a.{form}"
    if form == "pt":
        torch.save({"state_dict": state, "pytorch-lightning_version": "2.4.0", "epoch": 3}, place)
    else:
        save_file(state, place)
    found = fitted(read(place), Model())
    assert found.weights.keys() == model.state_dict().keys()
    own = moved(found.weights)
    out = write(tmp_path / "m", own, found)
    again = torch.load(out)["state_dict"] if form == "pt" else load_file(out)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[stored], own[plain]) for plain, stored in found.names.items())
    assert all(torch.equal(again[k], state[k]) for k in found.beside)
    if "averaged" in wrapper:
        inner = nn.DataParallel(Model()) if "parallel" in wrapper else Model()
        torch.optim.swa_utils.AveragedModel(inner).load_state_dict(again)


def test_a_prefix_that_could_be_several_is_left_to_the_user(tmp_path: Path) -> None:
    state = {f"{side}.{k}": t for side in ("student", "teacher") for k, t in Model().state_dict().items()}
    torch.save(state, tmp_path / "a.pt")
    assert fitted(read(tmp_path / "a.pt"), Model()).weights.keys() == state.keys()


def test_a_part_of_another_shape_is_refused_with_the_shapes(tmp_path: Path) -> None:
    state = {f"net.{k}": torch.zeros(3, 3) for k in Model().state_dict()}
    torch.save(state, tmp_path / "a.pt")
    found = fits(fitted(read(tmp_path / "a.pt"), Model()).weights, Model(), "a.pt")
    assert any("differ in shape" in str(one) for one in found if one.level == "error")
