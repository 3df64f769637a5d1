"""A configuration that describes more than its weights can be is refused before it takes memory or time."""

import json
import time
from pathlib import Path

import pytest
from helpers import hugging_face as hf
from helpers.commands import llpf
from helpers.refusals import refused

pytest.importorskip("transformers", reason="transformers is not installed")


def changed(place: Path, kind: str, **sizes: object) -> Path:
    file = hf.folder(place, kind, 0) / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **sizes}))
    return place


@pytest.mark.parametrize(
    ("kind", "sizes", "what"),
    [
        ("gpt2", {"n_layer": 10**9}, "tensors or more"),
        ("llama", {"vocab_size": 10**9}, "16,000,000,000 numbers or more"),
        ("vit", {"image_size": 10**6}, "numbers or more"),
    ],
)
def test_it_is_refused_at_once(tmp_path: Path, kind: str, sizes: dict[str, object], what: str) -> None:
    place = changed(tmp_path / "a", kind, **sizes)
    began = time.process_time()
    refused(llpf("order", f"hf:{place}"), "order", what, "config.json")
    assert time.process_time() - began < 10


def test_a_configuration_without_weights_describes_what_it_likes(tmp_path: Path) -> None:
    place = changed(tmp_path / "a", "llama", vocab_size=10**8)
    (place / "model.safetensors").unlink()
    for name in ("training_args.bin", "adapter_model.safetensors"):  # beside weights that lie elsewhere
        (place / name).write_bytes(b"1234")
    result = llpf("order", f"hf:{place}")
    assert result.code == 0 and "1.6G" in result.out, result.text


def test_nor_does_it_describe_layers_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llpf_plugin.tasks.hugging_face.described.TENSORS", 500)
    place = changed(tmp_path / "a", "llama", num_hidden_layers=10**6)
    (place / "model.safetensors").unlink()
    refused(llpf("order", f"hf:{place}"), "order", "501 tensors or more, which is more than any")
