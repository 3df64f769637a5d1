"""Folders as transformers and peft write them."""

import json
from pathlib import Path

import pytest
import torch
from helpers.checkpoint_samples import doubled, network, same
from safetensors.torch import save_file

from llpf_plugin.checkpoint import read, write
from llpf_plugin.errors import CheckpointError

STATE = dict(sorted(network().state_dict().items()))


def test_a_folder_with_pytorch_model_bin(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    torch.save({"lr": 0.1}, tmp_path / "training_args.bin")
    found = read(tmp_path)
    assert same(found.weights, STATE)
    assert write(tmp_path / "merged", found.weights, like=found).name == "merged.bin"


def test_a_folder_with_shards_that_torch_wrote(tmp_path: Path) -> None:
    names, place = list(STATE), tmp_path / "a"
    place.mkdir()
    files = {k: f"pytorch_model-0000{1 + (i > 3)}-of-00002.bin" for i, k in enumerate(names)}
    for file in set(files.values()):
        torch.save({k: t for k, t in STATE.items() if files[k] == file}, place / file)
    (place / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    found = read(place)
    assert same(found.weights, STATE)
    out = write(tmp_path / "out", doubled(found.weights), like=found)
    assert {p.name for p in out.iterdir()} == {p.name for p in place.iterdir()}
    assert same(read(out).weights, doubled(STATE))


def test_of_both_kinds_safetensors_are_read(tmp_path: Path) -> None:
    torch.save(doubled(STATE), tmp_path / "pytorch_model.bin")
    save_file(STATE, tmp_path / "model.safetensors")
    assert same(dict(sorted(read(tmp_path).weights.items())), STATE)


def test_beside_a_configuration_the_file_that_transformers_reads_is_read(tmp_path: Path) -> None:
    for name in ("model", "ema", "adapter_model"):
        save_file(STATE if name == "model" else doubled(STATE), tmp_path / f"{name}.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert same(dict(sorted(read(tmp_path).weights.items())), STATE)


ADAPTER = {f"base_model.model.layer.lora_{m}.weight": torch.ones(2, 2) for m in "AB"}


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    save_file(ADAPTER, tmp_path / name) if name.endswith("safetensors") else torch.save(ADAPTER, tmp_path / name)
    (tmp_path / "adapter_config.json").write_text("{}")
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(CheckpointError, match=r"is an adapter .*a path adds nothing; .*merge_and_unload"):
            read(place)
