"""What was said on the command line, as a line to repeat it and as a YAML file that says it again."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from llpf_plugin.errors import InterruptedRun, UsageError

REPEATED = {"task_args": "-t", "method_args": "-m"}
"""Entries that are mappings in the file, and ``key=value`` options on the command line."""


def with_config(tokens: Sequence[str]) -> list[str]:
    """The tokens of a command, with those of the file that ``--config`` names before what is said beside it.

    Raises:
        UsageError: the file cannot be read, or is of another command.
    """
    words, file = list(tokens), None
    for i, word in enumerate(words):
        if word == "--config" or word.startswith("--config="):
            file = word.partition("=")[2] or (words[i + 1] if i + 1 < len(words) else "")
            del words[i : i + (1 if "=" in word else 2)]
            break
    if file is None:
        return words
    document = _read(Path(file))
    command = document.pop("command", words[0] if words else "")
    if words and words[0] != command:
        raise UsageError(f"{file} is the configuration of llpf {command}, not of llpf {words[0]}")
    said = words[1:]
    models = [] if said and not said[0].startswith("-") else [str(model) for model in document.get("models", [])]
    options = [t for key, value in document.items() if key != "models" for t in _tokens(key, value, said)]
    return [command, *models, *options, *said]


def _read(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise UsageError(f"--config {file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"--config {file} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"--config {file}: expected a mapping of options, got {type(document).__name__}")
    return {str(key).replace("-", "_"): value for key, value in document.items()}


def _tokens(key: str, value: Any, said: Sequence[str]) -> list[str]:
    """One entry of the file as words; none where the command line says it itself."""
    if key in REPEATED:
        pairs = value.items() if isinstance(value, Mapping) else (str(pair).split("=", 1) for pair in value)
        return [word for name, inner in pairs for word in (REPEATED[key], f"{name}={inner}")]
    option = "--" + key.replace("_", "-")
    short = {"--task": "--task", "--out": "-o"}.get(option, option)
    if value is None or any(word.partition("=")[0] in (option, short, f"--no-{option[2:]}") for word in said):
        return []
    if isinstance(value, bool):
        return [option] if value else ["--no-report"] if key == "report" else []
    return [option, str(value)]


def config_text(command: str, **parts: Any) -> str:
    """A command's options as YAML; what was left at its default is left out.

    Args:
        command: its name.
        **parts: options by name; dataclasses of options count with each of their fields.
    """
    document: dict[str, Any] = {"command": command}
    for name, value in parts.items():
        document |= _changed(value) if hasattr(value, "__dataclass_fields__") else {name: value}
    return yaml.safe_dump({k: _plain(v) for k, v in document.items() if v not in (None, [], ())}, sort_keys=False)


def _changed(options: Any) -> dict[str, Any]:
    default = type(options)()
    found = {f.name: getattr(options, f.name) for f in fields(options)}
    return {k: v for k, v in found.items() if v != getattr(default, k) and k not in ("resume", "config")}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def command_line(*more: str) -> str:
    """The present command as a line, with further words unless it has them."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return shlex.join([*words, *(word for word in more if word not in words)])


@contextmanager
def resumable(place: Path) -> Iterator[None]:
    """Whatever stops a run says how to continue it."""
    try:
        yield
    except (InterruptedRun, KeyboardInterrupt) as stop:
        line = command_line("--resume")
        raise InterruptedRun(f"stopped; everything so far is in {place}. Continue with:\n  {line}") from stop
