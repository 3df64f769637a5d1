"""What was said on the command line, as a line to repeat it and as a YAML file that says it again."""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from llpf_cli.parsing import Options
from llpf_cli.trust import check_names
from llpf_plugin.documents import quoted, read_yaml
from llpf_plugin.errors import InterruptedRun, RankError, TaskError, UsageError
from llpf_plugin.tasks import nearest, parse_value

UNWRITTEN = ("--config", "--trust")
"""Options that a file cannot give."""

REPEATED = {"task_args": "-t", "method_args": "-m"}
"""Entries that are mappings in the file, and ``key=value`` options on the command line."""


def with_config(tokens: Sequence[str], options_of: Callable[[str], Options]) -> list[str]:
    """The tokens of a command, with those of the file that ``--config`` names before what is said beside it.

    Beside ``--config``, ``--trust`` lets the file name code that is not built in.

    Args:
        tokens: the command and its words.
        options_of: the options of a command, by its name; none for a command that does not exist.

    Raises:
        UsageError: the file cannot be read, is of another command, says what the command does not know, or names code
            that neither the command line names nor ``--trust`` allows.
    """
    words, file = _without_config(tokens)
    if file is None:
        return words
    document = _read(file)
    called = words.pop(0) if words and not words[0].startswith("-") else None
    command = str(document.pop("command", None) or called or "")
    if not command:
        raise UsageError(f"{file} names no command: add command: merge, or say llpf merge --config {file}")
    if called not in (None, command):
        raise UsageError(f"{file} is the configuration of llpf {command}, not of llpf {called}")
    options, trusted = options_of(command), "--trust" in words
    said = words if "--trust" in options else [word for word in words if word != "--trust"]
    listed = _models(file, document.pop("models", None))
    models = [] if options.positions(said) else listed
    if not trusted:
        check_names(file, command, {"models": models, **_unsaid(document, options, said)})
    own = [word for key, value in document.items() for word in _tokens(file, command, key, value, options, said)]
    return [command, *models, *own, *said]


def _without_config(tokens: Sequence[str]) -> tuple[list[str], Path | None]:
    """The other tokens, and the file that ``--config`` names."""
    words = list(tokens)
    for i, word in enumerate(words):
        if word == "--config" and i + 1 < len(words):
            return words[:i] + words[i + 2 :], Path(words[i + 1])
        if word.startswith("--config="):
            return words[:i] + words[i + 1 :], Path(word.partition("=")[2])
    return words, None


def _read(file: Path) -> dict[str, Any]:
    document = read_yaml(file, UsageError, f"--config {file}")
    if not isinstance(document, dict):
        raise UsageError(f"--config {file}: expected a mapping of options, got {type(document).__name__}")
    return {str(key).replace("-", "_"): value for key, value in document.items()}


def _models(file: Path, named: Any) -> list[str]:
    models = [named] if isinstance(named, str) else named or []
    # What begins with a dash would be read as an option, and an option may name code.
    if isinstance(models, list) and all(isinstance(model, str) and not model.startswith("-") for model in models):
        return models
    raise UsageError(f"{file}: models must be a list of checkpoints, got {quoted(named)}")


def _tokens(file: Path, command: str, key: str, value: Any, options: Options, said: Sequence[str]) -> list[str]:
    """One entry of the file as words; none where the command line says it itself."""
    word = REPEATED.get(key, "--" + key.replace("_", "-"))
    if word not in options or word in UNWRITTEN:
        repeated = {key for key, short in REPEATED.items() if short in options}
        singular = {"config", "trust", *(key.removesuffix("s") for key in REPEATED)}
        known = sorted(repeated | {name[2:].replace("-", "_") for name in options.long} - singular)
        raise UsageError(f"{file}: llpf {command} has no option {quoted(key)}{nearest(key, known)}")
    if key in REPEATED:
        return [w for pair in _pairs(file, key, value) for w in (word, pair)]
    if value is None or _is_said(word, options, said):
        return []
    if options.takes_value(word):
        return [w for one in (value if isinstance(value, list) else [value]) for w in (word, str(one))]
    if not isinstance(value, bool):
        raise UsageError(f"{file}: {key} must be true or false, got {quoted(value)}")
    negative = f"--no-{word[2:]}"
    return [word] if value else [negative] if negative in options else []


def _is_said(word: str, options: Options, said: Sequence[str]) -> bool:
    """Whether the command line has an option, by any of its names."""
    return word in options and any(w.partition("=")[0] in options.names(word) for w in said)


def _unsaid(document: Mapping[str, Any], options: Options, said: Sequence[str]) -> dict[str, Any]:
    """The entries that count, since the command line does not say them itself."""
    return {k: v for k, v in document.items() if not _is_said("--" + k.replace("_", "-"), options, said)}


def _pairs(file: Path, key: str, value: Any) -> list[str]:
    """The entries of a mapping as ``key=value``; text stays text, whatever it reads like on a command line."""
    if isinstance(value, Mapping):
        text = {k: repr(v) if isinstance(v, str) and parse_value(v) != v else str(v) for k, v in value.items()}
        return [f"{k}={v}" for k, v in text.items()]
    if isinstance(value, list) and all(isinstance(pair, str) for pair in value):
        return value
    if value is None:
        return []
    raise UsageError(f"{file}: {key} must be a mapping, or a list of key=value, got {quoted(value)}")


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
    return {k: v for k, v in found.items() if v != getattr(default, k) and k not in ("resume", "config", "trust")}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def words_of(options: Any) -> list[str]:
    """The words that ask for these options, as far as they are not left at their default."""
    words = []
    for name, value in _changed(options).items():
        word = name.replace("_", "-")
        words += [f"--{word}" if value else f"--no-{word}"] if isinstance(value, bool) else [f"--{word}", str(value)]
    return words


def command_line(*more: str) -> str:
    """The present command as a line, with further words unless it has them."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return shlex.join([*words, *(word for word in more if word not in words)])


def _saved(place: Path) -> bool:
    """Whether there is a state to continue from."""
    return place.is_dir() and next(place.rglob("state.json"), None) is not None


@contextmanager
def resumable(place: Path) -> Iterator[None]:
    """Whatever stops a run, the task's own errors included, says how to continue it."""
    try:
        yield
    except TaskError as error:
        saved = _saved(place)
        if not saved and error.__cause__ is None:  # what the task is made of was refused
            raise
        kept = f"Everything before is kept in {place}" if saved else "Nothing was written"
        told = f"{error}\n{kept}. Once the task is mended, continue with:\n  {command_line('--resume')}"
        raise TaskError(told) from error
    except RankError as error:
        more = f". Everything so far is in {place}; continue, with as many ranks as you like, with:\n  "
        more = f"{more}{command_line('--resume')}" if _saved(place) else ""
        raise RankError(f"{error}{more}", error.told) from error
    except (InterruptedRun, KeyboardInterrupt) as stop:
        begun = f"stopped; everything so far is in {place}" if place.exists() else "stopped before anything was written"
        raise InterruptedRun(f"{begun}. Continue with:\n  {command_line('--resume')}") from stop
