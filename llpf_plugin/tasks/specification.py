"""What a user writes for an object or for values: ``module:name``, ``file.py:name``, ``key=value``.

The one loader and the one parser of all commands. Nothing here imports torch, so that ``--help`` stays quick.
"""

import ast
import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from llpf_plugin.errors import SpecificationError
from llpf_plugin.tasks.foreign import explained

_WORDS = {"true": True, "false": False, "none": None}


def find(spec: str, here: bool = True) -> Any:
    """The object that ``module:name`` or ``file.py:name`` names.

    Args:
        spec: the name.
        here: whether modules of the current folder count, as they do where a user names one. What is built in must not
            import a file that happens to lie there.

    Raises:
        SpecificationError: no such file, module or name, or its code raised while it was imported.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise SpecificationError(f"{spec!r} does not name an object: write module:name or file.py:name")
    if place.endswith(".py") and not Path(place).is_file():
        raise SpecificationError(f"the file {place!r} does not exist")
    with explained(f"importing {place!r}"):
        module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place, here)
    if not hasattr(module, name):
        names = [n for n in vars(module) if not n.startswith("_") and callable(vars(module)[n])]
        raise SpecificationError(f"{place!r} has no {name!r}{nearest(name, names)}")
    return getattr(module, name)


def build(spec: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """What a function makes of its arguments; its file's folder, or the current one, can be imported from meanwhile.

    A name without a module is that of something built in, which imports nothing of the user's.

    Raises:
        SpecificationError: it has no such argument, or it raised anything but an `LLPFError`.
    """
    place = spec.rpartition(":")[0]
    _check_arguments(spec, function, arguments)
    folder = Path(place).parent if place.endswith(".py") else Path()
    with explained(f"building {spec!r}"), importable(folder) if place else nullcontext():
        return function(**arguments)


def _check_arguments(spec: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C, and silent about its arguments
        return
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    for name in arguments:
        if name not in known:
            raise SpecificationError(f"{spec!r} takes no argument {name!r}{nearest(name, list(known))}")


def parse_arguments(pairs: Iterable[str]) -> dict[str, Any]:
    """``key=value`` pairs as a mapping: numbers, truth values, lists and quoted text as Python has them, else text.

    Raises:
        SpecificationError: a pair has another form.
    """
    arguments = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise SpecificationError(f"{pair!r} is not of the form key=value")
        arguments[key] = parse_value(text)
    return arguments


def parse_value(text: str) -> Any:
    """The value that a text means: ``true``, ``none``, ``3``, ``1e-3``, ``[1, 2]``, or the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def nearest(name: str, known: Sequence[str], most: int = 12) -> str:
    """The end of a message about an unknown name: the known ones that are nearest to it, or the first ``most``."""
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.5) or sorted(known)[:most]
    return f": did you mean {', '.join(near)}?" if near else ""


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Modules of a folder can be imported, as for a script that lies there."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)


def _import_module(name: str, here: bool) -> Any:
    with importable(Path()) if here else nullcontext():  # console scripts do not look in the current folder
        return importlib.import_module(name)


def _import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"llpf_file_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with importable(path.parent):
        spec.loader.exec_module(module)
    return module
