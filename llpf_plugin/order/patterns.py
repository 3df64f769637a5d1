"""Name layers or parameters by patterns on whole path components; the only pattern language there is.

A pattern is a dotted path and names everything at or below it. Components match as a whole, with the wildcards of
``fnmatch`` inside one: ``layer1`` names ``layer1.0.conv1`` and never ``layer10``, ``layers.*.mlp`` the ``mlp`` of each.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Sequence
from fnmatch import fnmatchcase

from llpf_plugin.errors import OrderError
from llpf_plugin.order.blocks import prefixes
from llpf_plugin.order.result import LayerOrder

REST = "rest"
"""In a list of phases: every layer that no other phase names."""


def matching(patterns: Iterable[str], names: Iterable[str], where: str) -> tuple[str, ...]:
    """The names that patterns match, in the order of ``names``.

    Args:
        patterns: see above; a single one may be given as it is.
        names: dotted paths of layers or of parameters.
        where: what an error message starts with: a model, or a file and a phase.

    Raises:
        OrderError: a pattern that matches nothing; the message suggests the nearest paths.
    """
    paths = {name: name.split(".") for name in names}
    found: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        hits = {name for name, parts in paths.items() if _at_or_below(parts, pattern.split("."))}
        if not hits:
            raise OrderError(f"{where}: the pattern {pattern!r} names nothing{_suggestion(pattern, paths.values())}")
        found |= hits
    return tuple(name for name in paths if name in found)


def naming(some: Container[str], names: Sequence[str]) -> list[str]:
    """The shortest patterns without wildcards that name exactly ``some`` of the names, in their order.

    Args:
        some: what is to be named.
        names: dotted paths of layers or of parameters.

    Returns:
        Paths of modules or of names; ``all`` alone where nothing is left out.
    """
    if all(name in some for name in names):
        return ["all"]
    left_out = {path for name in names if name not in some for path in prefixes(name)}
    return list(dict.fromkeys(next(p for p in prefixes(name) if p not in left_out) for name in names if name in some))


def select(order: LayerOrder, patterns: Iterable[str]) -> tuple[str, ...]:
    """The layers that patterns name, in the order of the layers; a norm joined to a layer names that layer too.

    Raises:
        OrderError: a pattern that names no layer.
    """
    layer_of = {path: layer.name for layer in order.layers for path in (layer.name, *layer.attached)}
    return tuple(dict.fromkeys(layer_of[path] for path in matching(patterns, layer_of, order.model)))


def _at_or_below(path: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(path) >= len(pattern) and all(map(fnmatchcase, path, pattern))


def _suggestion(pattern: str, paths: Iterable[Sequence[str]]) -> str:
    known = list(dict.fromkeys(".".join(path[: i + 1]) for path in paths for i in range(len(path))))
    near = difflib.get_close_matches(pattern, known, n=4, cutoff=0.5) or known[:4]
    return f"; did you mean {', '.join(near)}?" if near else ""
