"""Group layers by the repeated blocks of the module tree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from llpf_plugin.order.fdf import Closure
from llpf_plugin.order.result import Layer, LayerOrder

Group = list[str]


def group_by_tree(order: LayerOrder, mode: str) -> list[Group]:
    """Group the layers in use by the module tree; unused ones end the last group.

    Args:
        order: the layer order.
        mode: ``layer``, ``block`` or ``stage``, as in `phases`.
    """
    used = [layer.name for layer in order.layers if layer.calls]
    unused = [layer.name for layer in order.layers if not layer.calls]
    groups = [[name] for name in used]
    if mode != "layer" and (blocks := _blocks(order, used, outermost=mode == "stage")):
        groups = _fold(order, _group(used, blocks), blocks)
    if not groups:
        return [unused]
    groups[-1].extend(unused)
    return groups


def prefixes(name: str) -> list[str]:
    """The paths from the outermost module down to ``name`` itself."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def layers_below(names: Sequence[str]) -> dict[str, list[str]]:
    """The layers at and below each path."""
    below: dict[str, list[str]] = {}
    for name in names:
        for path in prefixes(name):
            below.setdefault(path, []).append(name)
    return below


def _blocks(order: LayerOrder, names: Sequence[str], *, outermost: bool) -> set[str]:
    """The paths of the repeated blocks.

    A repeated block is one of at least two siblings of one class with at least two layers each, in sequence in the
    layer graph: the heads of an attention stand side by side, so they are not blocks.
    """
    below, closure = layers_below(names), Closure(order.dag.subgraph(names), names)
    families: dict[tuple[str, str], list[str]] = {}
    for path, layers in below.items():
        if len(layers) >= 2 and path in order.modules:
            families.setdefault((path.rpartition(".")[0], order.modules[path]), []).append(path)
    candidates = {
        key: paths
        for key, paths in families.items()
        if len(paths) >= 2 and any(_in_sequence(closure, below[a], below[b]) for a, b in pairwise(paths))
    }
    inner = {path for paths in candidates.values() for path in paths}
    found: set[str] = set()
    for (_, kind), paths in candidates.items():
        # Two plain containers beside each other, features and classifier, repeat nothing unless both do inside.
        nested = all(any(other.startswith(f"{path}.") for other in inner) for path in paths)
        if kind == "Sequential" and len(paths) < 3 and not nested:
            continue
        found.update(paths)
    if outermost:
        return {path for path in found if not any(outer in found for outer in prefixes(path)[:-1])}
    return {path for path in found if not any(other.startswith(f"{path}.") for other in found)}


def _in_sequence(closure: Closure, first: Sequence[str], second: Sequence[str]) -> bool:
    return any(closure.precedes(a, b) for a in first for b in second)


def _group(names: Sequence[str], blocks: set[str]) -> list[Group]:
    """Group runs of layers of one block, or of one module without blocks that is not larger than the largest block."""
    below = layers_below(names)
    largest = max(len(below[block]) for block in blocks)
    above = {path for block in blocks for path in prefixes(block)[:-1]}

    def key(name: str) -> str:
        for path in prefixes(name):
            if path in blocks or (path not in above and len(below[path]) <= largest):
                return path
        return name

    groups: list[Group] = []
    for previous, name in zip([None, *names], names, strict=False):
        if previous is not None and key(previous) == key(name):
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _fold(order: LayerOrder, groups: list[Group], blocks: set[str]) -> list[Group]:
    """Let groups of nothing but norms and bare parameters join a neighbour, preferably one that is not a block."""

    def is_block(group: Group) -> bool:
        return any(path in blocks for path in prefixes(group[0]))

    folded: list[Group] = [list(group) for group in groups]
    i = 0
    while i < len(folded) and len(folded) > 1:
        group = folded[i]
        if not all(_is_glue(order[name]) for name in group):
            i += 1
            continue
        before = folded[i - 1] if i else None
        behind = folded[i + 1] if i + 1 < len(folded) else None
        closer = before and behind and shared_modules(before[-1], group[0]) >= shared_modules(group[-1], behind[0])
        if before is not None and (behind is None or not is_block(before) or (is_block(behind) and closer)):
            before.extend(folded.pop(i))
        elif behind is not None:
            behind[:0] = folded.pop(i)
    return folded


def _is_glue(layer: Layer) -> bool:
    return layer.type == "Parameter" or "norm" in layer.type.lower() or layer.type.startswith("LayerScale")


def shared_modules(a: str, b: str) -> int:
    """The number of modules that contain both layers."""
    shared = 0
    for x, y in zip(a.split(".")[:-1], b.split(".")[:-1], strict=False):
        if x != y:
            break
        shared += 1
    return shared
