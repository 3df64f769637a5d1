"""``llpf convert``: the same tensors under the same names, whatever the format, and what is lost is said."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.checkpoint_samples import Tied, network, same, sharded
from helpers.commands import llpf
from helpers.refusals import refused
from safetensors import safe_open
from torch import Tensor

from llpf_plugin.checkpoint import read


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def converted(*words: object) -> str:
    result = llpf("convert", *words)
    assert result.code == 0 and result.err == "", result.text
    return result.out


def mixed() -> dict[str, Tensor]:
    """Every kind of tensor that there is in checkpoints."""
    kinds = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]
    torch.manual_seed(0)
    found = {f"layer.{str(kind)[6:]}": (torch.randn(3, 4) * 3).to(kind) for kind in kinds}
    return {**found, "scalar": torch.tensor(7), "empty": torch.zeros(0, 3), "view": torch.randn(4, 6).t()}


@pytest.mark.parametrize("first", ["b.safetensors", "folder/", "b.ckpt"])
@pytest.mark.parametrize("second", ["c.pt", "again"])
def test_what_goes_there_and_back_is_the_same(first: str, second: str) -> None:
    torch.save({"module." + k: t for k, t in mixed().items()}, "a.pt")
    converted("a.pt", first)
    converted(first, second)
    found = read(second)
    assert set(found.names.values()) == {"module." + k for k in mixed()}
    assert same(dict(sorted(found.weights.items())), dict(sorted(mixed().items())))


def test_tied_weights_stay_tied_in_every_format() -> None:
    torch.save(Tied().state_dict(), "a.pt")
    said = converted("a.pt", "b.safetensors")
    assert "2 tensors (2 float32, 1 tied)" in said
    for source, out in (("b.safetensors", "c.pt"), ("c.pt", "d/"), ("d", "e.safetensors"), ("e.safetensors", "f.pt")):
        converted(source, out)
        assert read(out).ties == [("embed.weight", "head.weight")]
    with safe_open("e.safetensors", "pt") as file:
        assert list(file.keys()) == ["embed.weight"]
    assert list(torch.load("f.pt")) == ["embed.weight", "head.weight"]


def test_a_lightning_checkpoint_becomes_plain_weights() -> None:
    state = {**{f"model.{k}": t for k, t in network().state_dict().items()}, "loss.weight": torch.ones(2)}
    torch.save({"epoch": 3, "state_dict": state, "optimizer_states": [], "hyper_parameters": {"lr": 0.1}}, "a.ckpt")
    said = converted("a.ckpt", "a.pt", "--strip", "model.")
    assert "optimizer_states (optimizer state), epoch, hyper_parameters, loss.weight" in said
    assert same(torch.load("a.pt"), dict(network().state_dict()))
    converted("a.ckpt", "b.pt")
    assert same(torch.load("b.pt"), state)


def test_a_state_dict_keeps_what_its_module_added() -> None:
    state: Any = network().state_dict()
    state["3._extra_state"] = {"scale": 2}
    torch.save({"model": state}, "a.pt")
    converted("a.pt", "b.pt")
    again = torch.load("b.pt")
    assert again["3._extra_state"] == {"scale": 2} and again._metadata == state._metadata
    assert "3._extra_state (not a tensor)" in converted("a.pt", "c.safetensors")


def test_a_folder_has_shards_with_an_index_and_keeps_its_configuration() -> None:
    source = sharded(Path("a"), dict(network().state_dict()))
    (source / "tokenizer.json").write_text("{}")
    (source / "optimizer.pt").write_bytes(b"x")
    converted("a", "b", "--shard-size", "2KB")
    files = {p.name for p in Path("b").iterdir()}
    assert "model-00001-of-00002.safetensors" in files
    assert {"config.json", "tokenizer.json", "model.safetensors.index.json"} <= files and "optimizer.pt" not in files
    converted("b", "c/")
    assert {p.name for p in Path("c").iterdir()} == {"model.safetensors", "config.json", "tokenizer.json"}
    assert same(dict(sorted(read("c").weights.items())), dict(sorted(network().state_dict().items())))


def test_what_a_format_cannot_hold_is_refused() -> None:
    torch.save({"v": torch.ones(2), "w": torch.zeros(2, dtype=torch.complex128)}, "a.pt")
    refused(llpf("convert", "a.pt", "b.safetensors"), "convert", "w is complex128, which safetensors does not hold")
    assert not Path("b.safetensors").exists()
