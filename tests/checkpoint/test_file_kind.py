"""What kind of file it is; what is not a checkpoint is named, with the remedy."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.checkpoint_samples import LEGACY, WEIGHTS, ZIP
from helpers.forged import rezipped
from safetensors.torch import save_file

from llpf_plugin.checkpoint import read
from llpf_plugin.errors import CheckpointError


def npz_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weight.npy", b"x")
    return buffer.getvalue()


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "html": (b"<!DOCTYPE html>\n<html><body>404", r"web page \(HTML\).*download it again"),
    "text": ("accuracy 0.93, größer\n".encode()[:20], "is a text file"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer.*git lfs pull"),
    "keras": (b"\x89HDF\r\n\x1a\n\x00\x00", "HDF5"),
    "gguf": (b"GGUF\x03\x00\x00\x00", "GGUF"),
    "npz": (npz_bytes(), "ZIP archive that torch.save did not write"),
    "noise": (bytes(range(200, 256)), "not a known kind of checkpoint"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(tmp_path: Path, name: str) -> None:
    content, message = BAD_FILES[name]
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(tmp_path / "a.pt")
    assert str(tmp_path / "a.pt") in str(caught.value)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99, "one byte less"])
@pytest.mark.parametrize("form", ["torch", "legacy", "safetensors"])
def test_truncated(tmp_path: Path, form: str, share: float | str) -> None:
    path = tmp_path / "a.safetensors"
    save_file(WEIGHTS, path)
    content = {"torch": ZIP, "legacy": LEGACY, "safetensors": path.read_bytes()}[form]
    path.write_bytes(content[: int(len(content) * share) if isinstance(share, float) else -1])
    with pytest.raises(CheckpointError, match=r"a\.safetensors is truncated or damaged: copy or download it again"):
        read(path)


@pytest.mark.parametrize("only", ["", "data.pkl", "data/1"])
def test_a_file_that_was_zipped_again_is_unpacked(tmp_path: Path, only: str) -> None:
    """Mapped, the compressed bytes would be taken for numbers."""
    many = {"w": torch.arange(5000.0).view(50, 100), "b": torch.zeros(7, dtype=torch.int64)}
    torch.save(many, tmp_path / "a.pt")
    again = rezipped(tmp_path / "a.pt", tmp_path / "again.pt", only=only)
    assert again.stat().st_size < (tmp_path / "a.pt").stat().st_size
    assert tiny.same(read(again).weights, many) and tiny.same(read(tmp_path / "a.pt").weights, many)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_torch_does_not_read_is_refused(tmp_path: Path, compression: int) -> None:
    (tmp_path / "a.pt").write_bytes(ZIP)
    again = rezipped(tmp_path / "a.pt", tmp_path / "again.pt", compression)
    with pytest.raises(
        CheckpointError, match=r"again\.pt was zipped again, .* unzip it and zip it without compression"
    ):
        read(again)


def test_what_would_fill_the_memory_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"x")
        with archive.open("a/data/0", "w") as member:
            for _ in range(300):
                member.write(bytes(1 << 20))
    with pytest.raises(CheckpointError, match=r"would unpack to 314,572,801, which weights rarely do"):
        read(tmp_path / "a.pt")


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pt does not exist"):
        read(tmp_path / "nowhere.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt/inside does not exist"):
        (tmp_path / "a.pt").write_bytes(ZIP)
        read(tmp_path / "a.pt" / "inside")
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json does not exist"):
        read(tmp_path / "model.safetensors.index.json")


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder without"):
        read(tmp_path)
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    save_file(WEIGHTS, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"several checkpoints \(a\.safetensors, b\.safetensors\)"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "is not JSON: Expecting"),
        ("[]", "is not an index of shards"),
        ('{"weight_map": {}}', "lists no tensors"),
        ({"w": "gone.safetensors"}, r"gone\.safetensors does not exist"),
        ({"w": "../outside.safetensors"}, "leads out of its folder"),
        ({"w": "a.safetensors", "x": "a.safetensors"}, "a.safetensors lacks 'x'"),
        ({"w": "b.safetensors"}, "b.safetensors is not in the safetensors format"),
        ({"w": "c.safetensors"}, "c.safetensors is truncated"),
    ],
)
def test_bad_shards(tmp_path: Path, index: str | dict[str, str], message: str) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(ZIP)
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-1])
    text = index if isinstance(index, str) else json.dumps({"weight_map": index})
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path)


def test_torchscript(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:  # the members by which torch tells one, too
        archive.writestr("net/data.pkl", b"x")
        archive.writestr("net/constants.pkl", b"x")
    with pytest.raises(CheckpointError, match=r"TorchScript archive.*state_dict"):
        read(tmp_path / "a.pt")
