"""YAML that people write: read with the safe loader, within bounds on size, depth and what aliases stand for.

What YAML itself refuses, what its scalars cannot mean (``!!float abc``, the 99th of a month), and what would take
memory or time without end come out as one kind of error, with the line where it is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llpf_plugin.errors import LLPFError

if TYPE_CHECKING:
    import yaml

LARGEST = 2 << 20
"""Bytes of a file; PyYAML reads some 100 kB a second."""

MOST = 200_000
"""Values of a document, each counted as often as aliases repeat it."""

DIGITS = 300
"""Characters of an integer; with more it is no float, and with thousands Python does not write it out."""

FOREIGN = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)
"""What PyYAML's constructors raise for scalars that cannot be what their tag says, and for lists nested too deep."""


def read_yaml(place: Path, refused: type[LLPFError], called: str = "") -> Any:
    """The document of a file.

    Args:
        place: the file.
        refused: the error that is raised.
        called: how errors call the file [its path].

    Raises:
        LLPFError: of the type ``refused``; the file is missing, no regular file or too large, or see `parse_yaml`.
    """
    called = called or str(place)
    try:
        if place.exists() and not (place.is_file() or place.is_dir()):
            raise refused(f"{called} cannot be read: it is no regular file")
        with place.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise refused(f"{called} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise refused(f"{called} is larger than {LARGEST >> 20} MB: no file of settings is; name another one")
    return parse_yaml(content, refused, called)


def parse_yaml(content: str | bytes, refused: type[LLPFError], called: str) -> Any:
    """The only document of a text; None for an empty one.

    Args:
        content: the text.
        refused: the error that is raised.
        called: how errors call it.

    Raises:
        LLPFError: of the type ``refused``; it is not YAML, a value cannot be what it says, or lists hold themselves or
            stand for more than `MOST` values.
    """
    import yaml

    try:
        loader = yaml.SafeLoader(content)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _check_values(root, refused, called)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except LLPFError:
        raise
    except (yaml.YAMLError, *FOREIGN) as error:
        raise refused(f"{called} is not YAML: {_fault(error)}") from error


def _check_values(root: yaml.Node, refused: type[LLPFError], called: str) -> None:
    """Refuse a document that holds itself, or more or longer values than anybody writes, before they are made."""
    sizes: dict[int, int] = {}
    below = [root]
    while below:
        node = below[-1]
        inner = _inner(node)
        if id(node) not in sizes:
            sizes[id(node)] = 0  # it is being counted
            if node.tag == "tag:yaml.org,2002:int" and len(node.value) > DIGITS:
                raise refused(f"{called} cannot be read: {_line(node)}a number of more than {DIGITS} digits")
            if any(sizes.get(id(one)) == 0 for one in inner):
                raise refused(f"{called} cannot be read: {_line(node)}a value holds itself by an alias; write it out")
            below += [one for one in inner if id(one) not in sizes]
            continue
        below.pop()
        sizes[id(node)] = sizes[id(node)] or 1 + sum(sizes[id(one)] for one in inner)
    if sizes[id(root)] > MOST:
        raise refused(f"{called} cannot be read: by its aliases it stands for more than {MOST:,} values; name fewer")


def _inner(node: yaml.Node) -> list[yaml.Node]:
    """The values of a list or mapping, with its keys."""
    if not isinstance(node.value, list):
        return []
    return [one for entry in node.value for one in (entry if isinstance(entry, tuple) else (entry,))]


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}: " if node.start_mark else ""


def _fault(error: Exception) -> str:
    """What is wrong, and in which line."""
    import yaml

    if isinstance(error, RecursionError):
        return "its lists or mappings are nested too deep"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"[:300]
    if isinstance(error, yaml.YAMLError | ValueError):
        return " ".join(str(error).split())[:300]
    return f"a value is not what its tag says ({type(error).__name__})"
