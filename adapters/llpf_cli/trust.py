"""What a configuration file names: options are data, but code that is not built in is the user's to name.

A file may come with a folder from elsewhere; what it names would be imported and called.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llpf_plugin.errors import UsageError
from llpf_plugin.methods import BUILT_IN, known


def check_names(file: Path, command: str, entries: Mapping[str, Any]) -> None:
    """Refuse entries that name code which is not built in.

    Args:
        file: that has the entries.
        command: that it is for.
        entries: those that the command line does not say itself; ``models`` among them.

    Raises:
        UsageError: names the first of them, and how to allow it.
    """
    for key, value in entries.items():
        if foreign := [name for name in _names(command, key, value) if _is_foreign(key, name)]:
            said = "" if key == "models" else f"--{key} "
            raise UsageError(
                f"{file} names {foreign[0]}, which is not built in, and using it would run its code: say it on the "
                f"command line ({said}{value if isinstance(value, str) else foreign[0]}), or add --trust"
            )


def _names(command: str, key: str, value: Any) -> list[str]:
    """The names in an entry of what is imported; none in most entries."""
    if key == "models":
        return [str(model) for model in value] if command in ("order", "methods") else []
    if key == "methods":
        return [name.strip() for name in str(value).split(",")]
    return [str(value)] if key in ("task", "method", "inputs") and value is not None else []


def _is_foreign(key: str, name: str) -> bool:
    """Whether a name is that of code: ``module:name``, ``file.py:name``, or the method of another package."""
    return ":" in name or (key in ("method", "methods") and name in known() and name not in BUILT_IN)
