"""Cut a layer order into phases: by layer, by repeated block, by stage, by patterns, or to a number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from llpf_plugin.errors import OrderError
from llpf_plugin.order.blocks import Group, group_by_tree, layers_below, prefixes, shared_modules
from llpf_plugin.order.patterns import REST, select
from llpf_plugin.order.result import LayerOrder, Phase

MODES = ("all", "layer", "block", "stage")


def cut_phases(
    order: LayerOrder, mode: str | Sequence[str | Sequence[str]], max_phases: int | None = None
) -> tuple[Phase, ...]:
    """Cut the order into phases; see `LayerOrder.phases`."""
    if max_phases is not None and max_phases < 1:
        raise OrderError(f"max_phases is {max_phases}; a schedule needs at least one phase.")
    if not isinstance(mode, str):
        groups = _explicit(order, mode)
    elif mode == "all":
        groups = [[layer.name for layer in order.layers]]
    elif mode in MODES:
        groups = group_by_tree(order, mode)
    else:
        raise OrderError(f"Unknown phases {mode!r}. Choose {', '.join(MODES)}, or give patterns for each phase.")
    if max_phases is not None and len(groups) > max_phases:
        groups = _merge_neighbours(groups, max_phases)
    return tuple(Phase(_title(order, group), tuple(group)) for group in groups)


def named_phases(order: LayerOrder, phases: int | str | Sequence[str | Sequence[str]]) -> tuple[Phase, ...]:
    """Phases as people ask for them.

    Args:
        order: the layer order.
        phases: a mode; a number: blocks, merged to at most that many; a YAML file; or lists of patterns.

    Raises:
        OrderError: as `LayerOrder.phases` and `read_phases` do.
    """
    if isinstance(phases, int) or (isinstance(phases, str) and phases.isdigit()):
        return cut_phases(order, "block", int(phases))
    if isinstance(phases, str) and (phases.endswith((".yaml", ".yml")) or Path(phases).is_file()):
        return read_phases(order, phases)
    return cut_phases(order, phases)


def read_phases(order: LayerOrder, path: str | Path) -> tuple[Phase, ...]:
    """Read phases from a YAML file.

    The file holds a list, or a mapping whose `phases` is one; each entry is a list of patterns, or a mapping with
    `layers` and, if wanted, `name`.

    Raises:
        OrderError: The file cannot be read, has another form, or its patterns do not fit the order.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OrderError(f"Cannot read the phase file {path}: {error}") from error
    entries = content.get("phases") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise OrderError(f"{path} holds no list of phases. Write `phases:` and one list of patterns each.")
    names, patterns = [], []
    for i, entry in enumerate(entries, 1):
        layers = entry.get("layers") if isinstance(entry, dict) else entry
        layers = [layers] if isinstance(layers, str) else layers
        if not isinstance(layers, list) or not layers or not all(isinstance(p, str) for p in layers):
            raise OrderError(f"Phase {i} of {path} is no list of patterns (found {entry!r}).")
        patterns.append(layers)
        names.append(entry.get("name") if isinstance(entry, dict) else None)
    phases = cut_phases(order, patterns)
    return tuple(Phase(str(name), p.layers) if name else p for name, p in zip(names, phases, strict=True))


def _explicit(order: LayerOrder, phases: Sequence[str | Sequence[str]]) -> list[Group]:
    """Resolve patterns; every layer must be named by exactly one phase."""
    wanted = [[phase] if isinstance(phase, str) else list(phase) for phase in phases]
    groups = [list(select(order, [p for p in patterns if p != REST])) for patterns in wanted]
    owner: dict[str, int] = {}
    for i, group in enumerate(groups):
        for name in group:
            if name in owner:
                raise OrderError(f"Phases {owner[name] + 1} and {i + 1} both name the layer {name}. Name it once.")
            owner[name] = i
    missing = [layer.name for layer in order.layers if layer.name not in owner]
    takers = [i for i, patterns in enumerate(wanted) if REST in patterns]
    if len(takers) > 1:
        raise OrderError(f"The pattern {REST!r} stands in {len(takers)} phases. It can stand in one.")
    if missing and not takers:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise OrderError(
            f"No phase names {shown} ({len(missing)} of {len(order.layers)} layers). Add the pattern {REST!r}."
        )
    if takers:
        taken = {*groups[takers[0]], *missing}
        groups[takers[0]] = [layer.name for layer in order.layers if layer.name in taken]
    if empty := [i for i, group in enumerate(groups, 1) if not group]:
        raise OrderError(f"Phase {empty[0]} has no layers.")
    return groups


def _merge_neighbours(groups: list[Group], most: int) -> list[Group]:
    """Merge neighbours into `most` phases of even size, cutting rather between modules than inside them.

    Dynamic programming over cut positions; the cost of a phase is the squared relative deviation from the mean number
    of layers, and each cut costs 0.15 per module that it cuts through.
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
