"""``llpf order --unused`` and ``--groups``: which parameters take no part, and which units belong together."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llpf_plugin.alignment import Group, Symmetry


def show_unused(network: Any, example: Any) -> int:
    """Print the parameters that no result depends on; 3 if there are any, as DistributedDataParallel would fail."""
    from llpf_plugin.documents import visible
    from llpf_plugin.order import unused_parameters

    names = unused_parameters(network, example)
    for name in names:
        print(visible(name))
    if not names:
        print("every parameter takes part in what the model returns")
    return 3 if names else 0


def show_groups(network: Any, example: Any, as_json: bool) -> int:
    """Print the groups of units that belong together: what is removed, re-ordered or scaled in one place is in all."""
    from llpf_plugin.alignment import symmetry
    from llpf_plugin.documents import visible

    found = symmetry(network, example)
    print(json.dumps(_document(found), indent=1) if as_json else visible("\n".join(_lines(found))))
    return 0


def _lines(found: "Symmetry") -> Iterator[str]:
    for number, group in enumerate(found.groups, 1):
        blocks = f"{group.blocks} blocks of " if group.blocks > 1 else ""
        yield f"{number}. {blocks}{group.size} units, {group.kind}"
        yield from (f"     {place['tensor']}[{place['axis']}]{_span(place)}" for place in _places(group))
    yield "1 group, confirmed by trying it" if len(found.groups) == 1 else f"{len(found.groups)} groups, each tried"
    yield from (f"! {name} is in none: {why}" for name, why in found.left.items())


def _span(place: dict[str, Any]) -> str:
    """Where on its axis, if it is not all of it in order, and how many positions a unit has."""
    wide = f", {place['positions']} positions each" if place["positions"] > 1 else ""
    return f" from {place['start']}{wide}" if place["start"] or wide else ""


def _places(group: "Group") -> list[dict[str, Any]]:
    return [
        {"tensor": p.tensor, "axis": p.axis, "start": int(p.index.min()), "positions": p.index.shape[2]}
        for p in group.places
    ]  # fmt: skip


def _document(found: "Symmetry") -> dict[str, Any]:
    """All of it as JSON: of each place the positions on its axis, by block, unit, and position of the unit."""
    groups = [
        {
            "kind": group.kind, "blocks": group.blocks, "units": group.size,
            "places": [{"tensor": p.tensor, "axis": p.axis, "index": p.index.tolist()} for p in group.places],
        }
        for group in found.groups
    ]  # fmt: skip
    return {"groups": groups, "rejected": list(found.rejected), "left": dict(found.left)}
