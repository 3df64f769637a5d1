"""What kind of file a path leads to, by its content, since suffixes lie; files that are not checkpoints are named."""

import codecs
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from llpf_plugin.errors import CheckpointError

FileKind = Literal["torch zip", "compressed torch zip", "torch legacy", "safetensors"]
INDEX = ".safetensors.index.json"

_LONGEST_HEADER = 100_000_000  # bytes; the limit that safetensors sets
_COMPRESSED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_TIMES, _FREE = 4, 256 << 20  # weights hardly compress: what unpacks to more than this was made to fill the memory
_REMEDY = "unzip it and zip it without compression (zip -0), or save the model again"
_KNOWN = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`",
    b"GGUF": "a GGUF file: convert it to safetensors",
    b"\x89HDF": "an HDF5 (Keras) file: convert it to a PyTorch state dict",
    b"\x93NUMPY": "a NumPy array: save a PyTorch state dict",
    b"\x1f\x8b": "gzip-compressed: unpack it first",
    b"BZh": "bzip2-compressed: unpack it first",
    b"\xfd7zXZ": "xz-compressed: unpack it first",
}


def file_kind(path: Path) -> FileKind:
    """The kind of the checkpoint file ``path``.

    Raises:
        CheckpointError: it is missing, empty, truncated, or not a checkpoint; the message says what it is.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: check the path")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    if not head:
        raise CheckpointError(f"{path} is empty: the copy or the save was cut off; get it again")
    # First, for the length of a header may look like any other format's mark.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LONGEST_HEADER:
        return "safetensors"
    for magic, what in _KNOWN.items():
        if head.startswith(magic):
            raise CheckpointError(f"{path} is {what}")
    if head.startswith(b"PK"):
        return _zip_kind(path)
    if head.startswith(b"\x80"):
        return "torch legacy"
    raise CheckpointError(f"{path} is {_describe(head)}; a checkpoint is written by torch.save or safetensors")


def truncated(path: Path) -> CheckpointError:
    """The error for a file whose end is missing."""
    return CheckpointError(f"{path} is truncated or damaged: copy or download it again, or save it again")


def weight_map(index: Path) -> dict[str, str]:
    """Shard file by tensor name, from an index.

    Raises:
        CheckpointError: the index is malformed, or leads out of its folder.
    """
    try:
        shards = json.loads(index.read_bytes())["weight_map"]
        names = {str(name): str(file) for name, file in shards.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{index} is not an index of shards (a JSON object with a weight_map): {error}"
        ) from error
    if not names:
        raise CheckpointError(f"{index} lists no tensors: save the model again")
    for file in sorted(set(names.values())):
        if Path(file).name != file:
            raise CheckpointError(f"{index} leads out of its folder, to {file!r}: shards must lie beside their index")
        if not (index.parent / file).exists():
            raise CheckpointError(f"{index.parent / file} does not exist, but {index.name} lists it: get the shard")
    return names


def _zip_kind(path: Path) -> FileKind:
    """`file_kind` of a file that begins like a ZIP archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:  # whatever the directory says
        raise truncated(path) from error
    members = {member.filename.rpartition("/")[2] for member in found}
    if "constants.pkl" in members:
        raise CheckpointError(
            f"{path} is a TorchScript archive, whose code would have to run: save its weights and name these, "
            f"torch.save(torch.jit.load({str(path)!r}, 'cpu').state_dict(), {path.stem + '-weights.pt'!r})"
        )
    if "data.pkl" not in members:
        raise CheckpointError(f"{path} is a ZIP archive that torch.save did not write: name a checkpoint")
    if all(member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1 for member in found):
        return "torch zip"
    _check_compression(path, found)
    return "compressed torch zip"


def _check_compression(path: Path, members: Iterable[zipfile.ZipInfo]) -> None:
    """Refuse members that torch cannot unpack, and those that would fill the memory."""
    members = list(members)
    if any(member.flag_bits & 1 or member.compress_type not in _COMPRESSED for member in members):
        raise CheckpointError(
            f"{path} was zipped again, with a password or a compression that torch does not read: {_REMEDY}"
        )
    size, unpacked = path.stat().st_size, sum(member.file_size for member in members)
    if unpacked > _FREE + _TIMES * size:
        raise CheckpointError(
            f"{path} has {size:,} bytes and would unpack to {unpacked:,}, which weights rarely do: {_REMEDY}"
        )


def _is_text(head: bytes) -> bool:
    """Whether ``head`` is UTF-8, possibly cut in the middle of a character, without control characters."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\t\r\n\f" for char in text)


def _describe(head: bytes) -> str:
    """What content that is not a checkpoint looks like, in words."""
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page (HTML), probably an error page that was saved instead of the download: download it again"
    if _is_text(head):
        return f"a text file (it begins {head[:40]!r})"
    return f"not a known kind of checkpoint (it begins {head[:8].hex(' ')})"
