"""The streams that a command prints to: where their encoding lacks a character, something near it is printed."""

import codecs
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from llpf_plugin.documents import visible

NEAR = str.maketrans(
    {
        "→": "->", "✓": "+", "✗": "x", "–": "-", "—": "-", "−": "-", "…": "...", "≤": "<=", "≥": ">=", "·": "*",
        "×": "x", "′": "'", "σ": "sigma", "█": "#", "━": "-", "─": "-", "│": "|", "├": "|", "└": "`", "•": "*",
    }
)  # fmt: skip
"""What stands for characters of ours; others are written as their number."""

_NAME = "llpf_near"


def fall_back() -> None:
    """Let the standard streams of this process print any text, whatever their encoding is."""
    codecs.register_error(_NAME, _near)
    for stream in (sys.stdout, sys.stderr):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace" if encoding.lower().startswith("utf") else _NAME)


def shorten_ignored() -> None:
    """Let Python say in one line what went wrong in a finalizer, not in twenty: nothing depends on it.

    A dead worker makes PyTorch raise in whatever the process does by then, a finalizer of the loader's too.
    """
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _ignored


def _ignored(what: Any) -> None:
    """One line about an exception that nobody can catch."""
    where = getattr(what.object, "__qualname__", None) or type(what.object).__name__
    said = " ".join(str(what.exc_value).split())
    print(visible(f"llpf: passed over in {where}: {what.exc_type.__name__}: {said}"), file=sys.stderr)


def be_quiet() -> None:
    """Let this process say nothing but errors: another one of those that search together says the rest."""
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    warnings.simplefilter("ignore")


def _near(error: UnicodeError) -> tuple[str, int]:
    """What replaces characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(NEAR)
    return text.encode("ascii", "backslashreplace").decode(), error.end
