"""JSON of others: read within bounds on size and depth, and refused in one sentence."""

import json
from pathlib import Path
from typing import Any

from llpf_plugin.documents.quoted import shortened
from llpf_plugin.errors import LLPFError

LARGEST = 256 << 20
"""Bytes of a file."""

MOST = 1 << 20
"""Lists and objects of a document, beside one for every eight bytes: an empty one takes forty times its text."""


def read_json(place: Path, refused: type[LLPFError], called: str = "") -> Any:
    """The document of a file.

    Args:
        place: the file.
        refused: the error that is raised.
        called: how errors call the file [its path].

    Raises:
        LLPFError: of the type ``refused``; the file is missing, no regular file, too large, or not JSON.
    """
    called = called or str(place)
    return parse_json(read_content(place, refused, called), refused, called)


def read_content(place: Path, refused: type[LLPFError], called: str = "") -> bytes:
    """The bytes of a regular file of at most `LARGEST`; arguments and errors as of `read_json`."""
    called = called or str(place)
    try:
        check_regular(place, refused, called)
        if place.stat().st_size > LARGEST:
            raise refused(f"{called} is larger than {LARGEST >> 20} MB: no such file is")
        return place.read_bytes()
    except OSError as error:
        raise refused(f"{called} cannot be read: {error.strerror}") from error


def check_regular(place: Path, refused: type[LLPFError], called: str = "") -> None:
    """Refuse what is there but no regular file: opening a pipe or a device may never end.

    Args:
        place: the file; one that is missing is left to whoever opens it.
        refused: the error that is raised.
        called: how errors call it [its path].

    Raises:
        LLPFError: of the type ``refused``.
    """
    if place.exists() and not place.is_file():
        raise refused(f"{called or place} cannot be read: it is no regular file")


def parse_json(content: bytes, refused: type[LLPFError], called: str) -> Any:
    """The document of a text.

    Args:
        content: the text.
        refused: the error that is raised.
        called: how errors call it.

    Raises:
        LLPFError: of the type ``refused``; it is not JSON, or holds more lists and objects than anybody writes.
    """
    opened = content.count(b"[") + content.count(b"{")
    if opened > MOST + len(content) // 8:
        raise refused(f"{called} holds {opened:,} lists and objects: no such file does")
    try:
        return json.loads(content)
    except RecursionError as error:
        raise refused(f"{called} is not such a file: its lists or objects are nested too deep") from error
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise refused(f"{called} is not JSON: {shortened(' '.join(str(error).split()), 200)}") from error
