"""A layer order as text: table, tree, Mermaid, DOT. `picture` draws it; JSON is `LayerOrder.to_json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import networkx as nx

from llpf_plugin.order.phases import phases as cut
from llpf_plugin.order.result import Layer, LayerOrder, Phase

HEADER = ("#", "phase", "layer", "type", "parameters", "parallel", "after")
Level = Literal["phase", "layer"]


def rows(order: LayerOrder, phases: Sequence[Phase]) -> list[tuple[str, ...]]:
    """One row for each layer, with the columns of `HEADER`."""
    number = {layer.name: i for i, layer in enumerate(order.layers, 1)}
    phase = {name: i for i, p in enumerate(phases, 1) for name in p.layers}
    return [
        (
            str(number[layer.name]),
            str(phase.get(layer.name, "")),
            label(layer),
            layer.type,
            human(layer.numel),
            layer.parallel or "",
            ", ".join(str(number[name]) for name in layer.after) if layer.calls else "unused",
        )
        for layer in order.layers
    ]


def table(order: LayerOrder, phases: Sequence[Phase] | None = None) -> str:
    """One line for each layer, one for the whole, then the warnings.

    Args:
        order: the layer order.
        phases: of it, as `phases` cuts them; by default its stages.
    """
    body = rows(order, cut(order) if phases is None else phases)
    widths = [max(len(row[i]) for row in [HEADER, *body]) for i in range(len(HEADER))]
    adjust = [str.rjust if i in (0, 1, 4) else str.ljust for i in range(len(HEADER))]
    lines = ["  ".join(f(c, w) for f, c, w in zip(adjust, row, widths, strict=True)) for row in [HEADER, *body]]
    lines = [line.rstrip() for line in lines]
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join([*lines, "", summary(order), *(f"! {warning}" for warning in order.warnings)])


def summary(order: LayerOrder) -> str:
    """What was ordered, and how it is known, in one line."""
    numel = sum(layer.numel for layer in order.layers)
    known = "verified by a forward pass" if order.verified else "not verified"
    return (
        f"{order.model}: {len(order.layers)} layers, {human(numel)} parameters, {order.tracer}, {known}, "
        f"fingerprint {order.fingerprint}"
    )


def label(layer: Layer) -> str:
    """A layer's name with the norms joined to it and the number of its calls, if more than one."""
    norms = ", ".join(_relative(norm, layer.name) for norm in layer.attached)
    return layer.name + (f" + {norms}" if norms else "") + (f" ×{layer.calls}" if layer.calls > 1 else "")


def _relative(path: str, other: str) -> str:
    """A path without the modules that it shares with another one."""
    parts = path.split(".")
    shared = 0
    for x, y in zip(parts[:-1], other.split("."), strict=False):
        if x != y:
            break
        shared += 1
    return ".".join(parts[shared:])


def human(count: int) -> str:
    """A count with about three digits: 640, 9.4k, 11.2M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


@dataclass
class _Module:
    """A node of the module tree, with the children in the order in which data reaches them."""

    name: str
    type: str
    layer: Layer | None = None
    children: dict[str, _Module] = field(default_factory=dict)

    @property
    def numel(self) -> int:
        own = self.layer.numel if self.layer else 0
        return own + sum(child.numel for child in self.children.values())

    def key(self) -> tuple[object, ...]:
        """What differs between siblings that are shown apart; a layer with a name of its own is never a repetition."""
        own_name = "" if self.children or self.name.isdigit() else self.name
        return own_name, self.structure()

    def structure(self) -> tuple[object, ...]:
        """What is the same in every copy of a repeated block: classes and names, not sizes."""
        joined = label(self.layer).partition(" ")[2] if self.layer else ""
        return self.type, joined, tuple((name, child.structure()) for name, child in self.children.items())


def tree(order: LayerOrder, depth: int | None = None) -> str:
    """The module tree in the order of the data, each run of alike siblings once, with their number.

    Args:
        order: the layer order.
        depth: levels that are shown below the model; all by default.
    """
    root = _Module("", order.model)
    for layer in order.layers:
        node = root
        parts = layer.name.split(".")
        for i, part in enumerate(parts, 1):
            kind = order.modules.get(".".join(parts[:i]), layer.type)
            node = node.children.setdefault(part, _Module(part, kind))
        node.layer = layer
    lines = [(order.model, "", human(root.numel)), *_branches(root, "", depth)]
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    shown = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in lines]
    return "\n".join([*shown, *(f"! {warning}" for warning in order.warnings)])


def _branches(node: _Module, indent: str, depth: int | None) -> Iterator[tuple[str, str, str]]:
    if depth == 0:
        return
    runs = [list(run) for _, run in groupby(node.children.values(), key=_Module.key)]
    for i, run in enumerate(runs):
        last = i == len(runs) - 1
        first = run[0]
        joined = label(first.layer).removeprefix(first.layer.name) if first.layer else ""
        name = first.name if len(run) == 1 else f"{first.name} … {run[-1].name}"
        times = f"{first.type} × {len(run)}" if len(run) > 1 else first.type
        numel = human(sum(module.numel for module in run))
        yield f"{indent}{'└─ ' if last else '├─ '}{name}{joined}", times, numel
        yield from _branches(first, indent + ("   " if last else "│  "), None if depth is None else depth - 1)


def mermaid(order: LayerOrder, phases: Sequence[Phase] | None = None, level: Level = "phase") -> str:
    """A Mermaid flow chart of the phases, or of the layers within their phases; by default of the stages."""
    phases = cut(order) if phases is None else phases
    number = {layer.name: i for i, layer in enumerate(order.layers, 1)}
    lines = ["flowchart TD"]
    for i, phase in enumerate(phases, 1):
        if level == "phase":
            lines.append(f'  P{i}["{i}. {_quoted(phase.name)}<br/>{_size(order, phase)}"]')
            continue
        lines.append(f'  subgraph P{i}["{i}. {_quoted(phase.name)}"]')
        lines += [f'    L{number[name]}["{number[name]}. {_quoted(label(order[name]))}"]' for name in phase.layers]
        lines.append("  end")
    if level == "phase":
        return "\n".join([*lines, *(f"  P{a} --> P{b}" for a, b in phase_edges(order, phases))])
    return "\n".join([*lines, *(f"  L{number[a]} --> L{number[b]}" for a, b in _layer_edges(order))])


def dot(order: LayerOrder, phases: Sequence[Phase] | None = None, level: Level = "phase") -> str:
    """A Graphviz graph of the phases, or of the layers within their phases; by default of the stages."""
    phases = cut(order) if phases is None else phases
    number = {layer.name: i for i, layer in enumerate(order.layers, 1)}
    lines = [f'digraph "{_quoted(order.model)}" {{', '  node [shape=box, fontname="monospace", fontsize=10];']
    for i, phase in enumerate(phases, 1):
        if level == "phase":
            lines.append(f'  p{i} [label="{i}. {_quoted(phase.name)}\\n{_size(order, phase)}"];')
            continue
        lines.append(f'  subgraph cluster_{i} {{ label="{i}. {_quoted(phase.name)}";')
        lines += [
            f'    l{number[name]} [label="{number[name]}. {_quoted(label(order[name]))}"];' for name in phase.layers
        ]
        lines.append("  }")
    if level == "phase":
        lines += [f"  p{a} -> p{b};" for a, b in phase_edges(order, phases)]
    else:
        lines += [f"  l{number[a]} -> l{number[b]};" for a, b in _layer_edges(order)]
    return "\n".join([*lines, "}"])


def phase_edges(order: LayerOrder, phases: Sequence[Phase]) -> list[tuple[int, int]]:
    """The edges between phases, numbered from 1, without those that others imply.

    Phases given by hand may point backwards; only edges to a later phase are shown.
    """
    phase = {name: i for i, p in enumerate(phases, 1) for name in p.layers}
    graph = nx.DiGraph()
    graph.add_nodes_from(range(1, len(phases) + 1))
    pairs = ((phase.get(a, 0), phase.get(b, 0)) for a, b in _layer_edges(order))
    graph.add_edges_from((a, b) for a, b in pairs if 0 < a < b)
    return sorted(nx.transitive_reduction(graph).edges)


def _layer_edges(order: LayerOrder) -> list[tuple[str, str]]:
    return [(before, layer.name) for layer in order.layers for before in layer.after]


def _size(order: LayerOrder, phase: Phase) -> str:
    layers = f"{len(phase.layers)} layer{'s' if len(phase.layers) > 1 else ''}"
    return f"{layers}, {human(sum(order[name].numel for name in phase.layers))}"


def _quoted(text: str) -> str:
    return text.replace('"', "'")
