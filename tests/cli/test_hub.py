"""Models of the Hub: fetched through huggingface_hub from a server on loopback, and what is said when that fails."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from helpers import hugging_face as hf
from helpers.commands import Result, llpf, process
from helpers.hub import Hub, serving
from helpers.refusals import refused

pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = hf.folder(tmp_path_factory.mktemp("hub") / "a", "gpt2", 0)
    (folder / "modeling_own.py").write_text("raise SystemExit('code was run')\n")
    torch.save({}, folder / "pytorch_model.bin")
    with serving("someone/tiny", folder) as hub:
        yield hub


def asked(hub: Hub, tmp_path: Path, *words: object, env: Mapping[str, str] | None = None) -> Result:
    """A command in a process with a cache of its own, which knows no other Hub."""
    own = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
    return process("llpf", *words, env={**own, "HF_HUB_DISABLE_XET": "1", **(env or {})}, timeout=120)


def test_a_model_of_the_hub_is_a_folder_like_any_other(hub: Hub, tmp_path: Path) -> None:
    other = hf.folder(tmp_path / "b", "gpt2", 1)
    result = asked(hub, tmp_path, "check", "hf://someone/tiny", other)
    assert result.code == 0 and not result.traceback, result.text
    assert "likeness" in result.out
    fetched = set(hub.asked)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= fetched
    assert not [file for file in fetched if file.endswith((".py", ".bin"))], "neither code nor a second kind of weights"
    again = asked(hub, tmp_path, "check", "hf://someone/tiny@main", other)
    assert again.code == 0 and again.out.splitlines()[-1] == result.out.splitlines()[-1]


def test_a_model_that_there_is_not(hub: Hub, tmp_path: Path) -> None:
    result = asked(hub, tmp_path, "check", "hf://someone/other", tmp_path)
    refused(result, "check", "fetching hf://someone/other failed", "RepositoryNotFoundError")


def test_a_hub_that_cannot_be_reached(hub: Hub, tmp_path: Path) -> None:
    result = asked(hub, tmp_path, "check", "hf://someone/tiny", tmp_path, env={"HF_HUB_OFFLINE": "1"})
    refused(result, "check", "fetching hf://someone/tiny failed", "OfflineModeIsEnabled")


@pytest.mark.parametrize("name", ["hf://tiny", "hf://a/b/c", "hf:///x", "hf://"])
def test_a_name_of_another_form(name: str) -> None:
    refused(llpf("check", name, "b"), "check", "write hf://organisation/name", code=2)


def test_the_library_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused(llpf("check", "hf://a/b", "b"), "check", "needs huggingface_hub: pip install 'llpf-plugin[hf]'")
