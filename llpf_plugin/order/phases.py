"""Cut a layer order into phases: by layer, by repeated block, by stage, by patterns, or to a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from llpf_plugin.documents import quoted, read_yaml
from llpf_plugin.errors import OrderError
from llpf_plugin.order.blocks import Group, group_by_tree, layers_below, prefixes, shared_modules
from llpf_plugin.order.patterns import REST, select
from llpf_plugin.order.result import LayerOrder, Phase

MODES = ("all", "layer", "block", "stage")
How = int | str | Path | Sequence[str | Sequence[str]]


def phases(order: LayerOrder, how: How = "stage", most: int | None = None) -> tuple[Phase, ...]:
    """Cut an order into phases, which a schedule moves one after another.

    Args:
        order: the layer order.
        how: ``all`` is one phase, ``layer`` one for each layer; ``block`` follows the innermost repeated blocks,
            ``stage`` the outermost; a number (or its text) is blocks, merged to at most that many; the path of a YAML
            file; or a list of patterns (see `select`) for each phase. Patterns must name each layer once; ``rest``
            stands for all that no other phase names. A file holds such a list, alone or as ``phases``; its entries may
            also be mappings with ``layers`` and an optional ``name``.
        most: merge neighbours until there are at most that many.

    Raises:
        OrderError: ``how`` is unknown, the file cannot be read or has another form, or patterns match nothing, a layer
            twice, or not every layer.
    """
    names: Sequence[str | None] = ()
    if (file := _file(how)) is not None:
        names, how = _read(file)
    groups = _groups(order, how)
    if most is not None:
        groups = _at_most(groups, most)
    if len(groups) != len(names):  # none were given, or some phases were merged
        names = [None] * len(groups)
    titles = [name or _title(order, group) for name, group in zip(names, groups, strict=True)]
    if twice := [title for title, n in Counter(titles).items() if n > 1]:
        raise OrderError(f"more than one phase is called {twice[0]!r}; give each its own name")
    return tuple(Phase(title, tuple(group)) for title, group in zip(titles, groups, strict=True))


def cumulative(order: LayerOrder, phases: Iterable[Phase]) -> dict[str, frozenset[str]]:
    """Parameter names by phase: phase k holds those of slices 1 to k.

    Args:
        order: the layer order.
        phases: slices of it, as `phases` cuts them.
    """
    active: frozenset[str] = frozenset()
    result: dict[str, frozenset[str]] = {}
    for phase in phases:
        active |= {name for layer in phase.layers for name in order[layer].parameters}
        result[phase.name] = active
    return result


def _file(how: How) -> Path | None:
    """The file that ``how`` names, if it names one."""
    if isinstance(how, str) and how not in MODES and not how.isdigit():
        return Path(how) if how.endswith((".yaml", ".yml")) or Path(how).is_file() else None
    return how if isinstance(how, Path) else None


def _groups(order: LayerOrder, how: How) -> list[Group]:
    if isinstance(how, int) or (isinstance(how, str) and how.isdigit()):
        return _at_most(group_by_tree(order, "block"), int(how))
    if how == "all":
        return [[layer.name for layer in order.layers]]
    if isinstance(how, str | Path):
        if how not in MODES:
            raise OrderError(
                f"unknown phases {quoted(how)}; choose {', '.join(MODES)}, a number, a YAML file, or patterns"
            )
        return group_by_tree(order, str(how))
    return _explicit(order, how)


def _read(path: Path) -> tuple[list[str | None], list[list[str]]]:
    """Names and patterns of the phases in a YAML file."""
    content = read_yaml(path, OrderError, f"the phase file {path}")
    entries = content.get("phases") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise OrderError(f"{path} does not hold a list of phases; write phases: and a list of patterns for each")
    read = [_entry(entry, f"{path}, phase {i}") for i, entry in enumerate(entries, 1)]
    return [name for name, _ in read], [patterns for _, patterns in read]


def _entry(entry: Any, where: str) -> tuple[str | None, list[str]]:
    """Name and patterns of one phase."""
    name, layers = (entry.get("name"), entry.get("layers")) if isinstance(entry, dict) else (None, entry)
    layers = [layers] if isinstance(layers, str) else layers
    if not isinstance(layers, list) or not layers or not all(isinstance(pattern, str) for pattern in layers):
        raise OrderError(f"{where}: expected a list of patterns, got {quoted(entry)}")
    return str(name) if name else None, layers


def _explicit(order: LayerOrder, how: Sequence[str | Sequence[str]]) -> list[Group]:
    """Resolve patterns; every layer must be named by exactly one phase."""
    wanted = [[patterns] if isinstance(patterns, str) else list(patterns) for patterns in how]
    groups = [list(select(order, [p for p in patterns if p != REST])) for patterns in wanted]
    owner: dict[str, int] = {}
    for i, group in enumerate(groups, 1):
        for name in group:
            if name in owner:
                raise OrderError(f"phases {owner[name]} and {i} both name the layer {name}; name it once")
            owner[name] = i
    left = [layer.name for layer in order.layers if layer.name not in owner]
    takers = [i for i, patterns in enumerate(wanted) if REST in patterns]
    if len(takers) > 1:
        raise OrderError(f"the pattern {REST!r} stands in {len(takers)} phases; it can stand in one")
    if takers:
        taken = {*groups[takers[0]], *left}
        groups[takers[0]] = [layer.name for layer in order.layers if layer.name in taken]
    elif left:
        shown = ", ".join(left[:5]) + (", …" if len(left) > 5 else "")
        raise OrderError(
            f"no phase names {shown} ({len(left)} of {len(order.layers)} layers); add the pattern {REST!r}"
        )
    if empty := [i for i, group in enumerate(groups, 1) if not group]:
        raise OrderError(f"phase {empty[0]} has no layers")
    return groups


def _at_most(groups: list[Group], most: int) -> list[Group]:
    if most < 1:
        raise OrderError(f"{most} phases were asked for; a schedule needs at least one")
    return groups if len(groups) <= most else _merge_neighbours(groups, most)


def _merge_neighbours(groups: list[Group], most: int) -> list[Group]:
    """Merge into ``most`` phases of even size, cutting between modules rather than inside them.

    Dynamic programming over cut positions; the cost of a phase is the squared relative deviation from the mean number
    of layers, and each cut costs 0.15 for every module that it cuts through.
    """
    n = len(groups)
    sums = [0]
    for group in groups:
        sums.append(sums[-1] + len(group))
    mean = sums[-1] / most
    cut = [0.0, *(0.15 * shared_modules(a[-1], b[0]) for a, b in pairwise(groups))]
    best = [0.0] + [float("inf")] * n
    choices: list[list[int]] = []
    for _ in range(most):
        previous, best, choice = best, [float("inf")] * (n + 1), [0] * (n + 1)
        for end in range(1, n + 1):
            for start in range(end):
                cost = previous[start] + ((sums[end] - sums[start] - mean) / mean) ** 2 + cut[start]
                if cost < best[end]:
                    best[end], choice[end] = cost, start
        choices.append(choice)
    bounds = [n]
    for choice in reversed(choices):
        bounds.append(choice[bounds[-1]])
    bounds.reverse()
    return [[name for group in groups[start:end] for name in group] for start, end in pairwise(bounds)]


def _title(order: LayerOrder, group: Group) -> str:
    """Name a phase by the module that holds exactly its layers, else by its first and last layer."""
    if len(group) == 1:
        return group[0]
    below, members = layers_below([layer.name for layer in order.layers]), set(group)
    for path in prefixes(group[0]):
        if set(below[path]) == members:
            return path
    return f"{group[0]} … {group[-1]}"
