"""Folders that a run is going to write to: refused before any work if that would fail."""

import os
from pathlib import Path

from llpf_plugin.errors import RunError
from llpf_plugin.files import remove_leftovers


def prepare(folder: Path, what: str, *stems: str) -> None:
    """Make a folder, and remove the partial files that a killed process left in it.

    Args:
        folder: the one to make, with those above it.
        what: the folder is called in the error.
        stems: patterns of the names of our own files, without suffix; nobody else may be writing these.

    Raises:
        RunError: the folder cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the {what} {folder} cannot be made: {error.strerror}; name another") from error
    if not os.access(folder, os.W_OK):
        raise RunError(f"the {what} {folder} cannot be written to: name another, or change its rights")
    for stem in stems:
        remove_leftovers(folder, stem)
