"""Name layers by patterns on whole path components."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from llpf_plugin.errors import OrderError
from llpf_plugin.order.result import LayerOrder

REST = "rest"


def select(order: LayerOrder, patterns: Iterable[str]) -> tuple[str, ...]:
    """Find the layers that the patterns name, in order.

    A pattern is a path; it names every layer at or below it. Components match as a whole, with the usual wildcards
    within one: `layer1` names `layer1.0.conv1` but never `layer10`, `layers.*.mlp` the `mlp` of each. A
    normalization joined to a layer names that layer, too.

    Raises:
        OrderError: A pattern that names no layer.
    """
    found: set[str] = set()
    for pattern in patterns:
        matches = {layer.name for layer in order.layers if _names(pattern, (layer.name, *layer.attached))}
        if not matches:
            raise OrderError(f"The pattern {pattern!r} names no layer of {order.model}.{_suggest(order, pattern)}")
        found |= matches
    return tuple(layer.name for layer in order.layers if layer.name in found)


def _names(pattern: str, paths: Iterable[str]) -> bool:
    wanted = pattern.split(".")
    components = [path.split(".") for path in paths]
    return any(len(parts) >= len(wanted) and all(map(fnmatchcase, parts, wanted)) for parts in components)


def _suggest(order: LayerOrder, pattern: str) -> str:
    known: dict[str, None] = {}
    for layer in order.layers:
        parts = layer.name.split(".")
        known.update({".".join(parts[: i + 1]): None for i in range(len(parts))})
    near = difflib.get_close_matches(pattern, list(known), n=4, cutoff=0.5) or list(known)[:4]
    return f" Did you mean {', '.join(near)}?"
