"""Where results go: nothing is overwritten."""

import os
from pathlib import Path

from llpf_plugin.errors import RunError, UsageError

FILES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".npz", ".html", ".json", ".yaml", ".png", ".svg", ".pdf")
"""What a name ends in that is meant for a file."""


def folder_of(out: Path | None, default: Path) -> Path:
    """The folder that is named, or the one that takes its place.

    Raises:
        UsageError: the name is one of a file.
    """
    if out is None:
        return default
    if out.suffix.lower() in FILES and not out.is_dir():
        raise UsageError(f"-o {out}: what is written is a folder with several files: name one, such as {out.stem}")
    return out


def check_free(place: Path) -> None:
    """Refuse a place where something lies already, but for an empty folder.

    Raises:
        RunError: it does.
    """
    from llpf_plugin.files import is_empty

    if os.path.lexists(place) and not is_empty(place):
        raise RunError(f"{place} is there already, and nothing is overwritten: name another place")
