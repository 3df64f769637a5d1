"""What kind of file a path leads to, by its content, since suffixes lie; files that are not checkpoints are named."""

import codecs
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from llpf_plugin.documents import quoted, read_json, shortened, visible
from llpf_plugin.errors import CheckpointError

FileKind = Literal["torch zip", "compressed torch zip", "torch legacy", "safetensors"]
INDEX = ".safetensors.index.json"

_LONGEST_HEADER = 100_000_000  # bytes; the limit that safetensors sets
_COMPRESSED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
TIMES, FREE = 4, 256 << 20
"""Times the size of a file, and bytes besides, that it may take in memory: what takes more was made to fill it."""

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
    try:
        if not path.exists():
            raise CheckpointError(f"{path} does not exist: check the path")
        if not path.is_file():  # reading from a pipe or a device may never end
            raise CheckpointError(f"{path} is no regular file: copy what it holds into one")
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise _unreadable(path, error) from error
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


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder.

    Raises:
        CheckpointError: it is none that a system takes.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{shortened(str(path), 300)} cannot be read: {error.strerror}; check the path")


def truncated(path: Path) -> CheckpointError:
    """The error for a file whose end is missing."""
    return CheckpointError(f"{path} is truncated or damaged: copy or download it again, or save it again")


def weight_map(index: Path) -> dict[str, str]:
    """Shard file by tensor name, from an index.

    Raises:
        CheckpointError: the index is malformed, or leads out of its folder.
    """
    shards = read_json(index, CheckpointError)
    names = shards.get("weight_map") if isinstance(shards, dict) else None
    if not isinstance(names, dict) or not all(isinstance(file, str) for file in names.values()):
        raise CheckpointError(
            f"{index} is not an index of shards (a JSON object with a weight_map from names to files)"
        )
    if not names:
        raise CheckpointError(f"{index} lists no tensors: save the model again")
    for file in sorted(set(names.values())):
        if Path(file).name != file:
            raise CheckpointError(
                f"{index} leads out of its folder, to {quoted(file)}: shards must lie beside their index"
            )
        if not _exists(index.parent / file):
            place = shortened(visible(str(index.parent / file)), 300)
            raise CheckpointError(f"{place} does not exist, but {index.name} lists it: get the shard")
    return names


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no system takes
        return False


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
    if unpacked > FREE + TIMES * size:
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
