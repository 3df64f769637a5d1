"""What a configuration file names: options are data, but code that is not built in is the user's to name.

A file may come with a folder from elsewhere; what it names would be imported and called.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llpf_plugin.errors import UsageError
from llpf_plugin.methods import BUILT_IN as METHODS
from llpf_plugin.methods import known as known_methods
from llpf_plugin.tasks import BUILT_IN as TASKS
from llpf_plugin.tasks import known as known_tasks


def check_names(file: Path, command: str, entries: Mapping[str, Any]) -> None:
    """Refuse entries that name code which is not built in.

    Args:
        file: that has the entries.
        command: that it is for.
        entries: those that the command line does not say itself; ``models`` among them.

    Raises:
        UsageError: names them, and how to allow them.
    """
    named = {key: _names(command, key, value) for key, value in entries.items()}
    foreign = {key: names for key, names in named.items() if any(_is_foreign(key, name) for name in names)}
    if foreign:
        names = ", ".join(name for key, listed in foreign.items() for name in listed if _is_foreign(key, name))
        said = [word for key, listed in foreign.items() for word in (f"--{key}", ",".join(listed))]
        raise UsageError(
            f"{file} names {names}: not built in, so that it would run code of others. Say it on the command line too "
            f"({shlex.join(word for word in said if word != '--models')}), or add --trust"
        )


def _names(command: str, key: str, value: Any) -> list[str]:
    """The names in an entry of what is imported; none in most entries."""
    if key == "models":
        return [str(model) for model in value] if command in ("order", "methods") else []
    if key == "methods":
        return [name.strip() for name in str(value).split(",")]
    return [str(value)] if key in ("task", "model", "method", "inputs") and value is not None else []


def _is_foreign(key: str, name: str) -> bool:
    """Whether a name is that of code: ``module:name``, ``file.py:name``, a method or a task of another package."""
    ours, known = (METHODS, known_methods) if key in ("method", "methods") else (TASKS, known_tasks)
    return ":" in name or (name not in ours and name in known())
