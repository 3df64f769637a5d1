"""Show a layer order as text: table, tree, Mermaid, DOT."""

from __future__ import annotations

from collections.abc import Sequence

from llpf_plugin.order.result import Layer, LayerOrder, Phase

HEADER = ("#", "phase", "layer", "type", "parameters", "parallel", "after")


def rows(order: LayerOrder, phases: Sequence[Phase]) -> list[tuple[str, ...]]:
    """Build one row per layer, with the columns of `HEADER`."""
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
    """Show one line per layer, then the warnings."""
    body = rows(order, order.phases() if phases is None else phases)
    widths = [max(len(row[i]) for row in [HEADER, *body]) for i in range(len(HEADER))]
    adjust = [str.rjust if i in (0, 1, 4) else str.ljust for i in range(len(HEADER))]
    lines = ["  ".join(f(c, w) for f, c, w in zip(adjust, row, widths, strict=True)) for row in [HEADER, *body]]
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join([*(line.rstrip() for line in lines), *(f"! {warning}" for warning in order.warnings)])


def label(layer: Layer) -> str:
    """Name a layer with the norms joined to it and the number of its calls, if more than one."""
    joined = f" + {', '.join(_short(layer.name, norm) for norm in layer.attached)}" if layer.attached else ""
    return f"{layer.name}{joined}{f'  ×{layer.calls}' if layer.calls > 1 else ''}"


def _short(layer: str, norm: str) -> str:
    """Cut the path that a norm shares with its layer."""
    parent = layer.rpartition(".")[0]
    return norm.removeprefix(f"{parent}.") if parent else norm


def human(count: int) -> str:
    """Write a count with three digits or so: 640, 9.4k, 11.2M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)
