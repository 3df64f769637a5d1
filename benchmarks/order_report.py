"""Tables of what `order.py` found out about the layer order of many models."""

from collections.abc import Mapping
from typing import Any

from llpf_plugin.order.render import human


def line(name: str, r: dict[str, Any]) -> str:
    if "error" in r:
        return f"| {name} | failed: {r['error']} | | | | | | | | |"
    phases = "/".join(map(str, r["phases"]))
    placed = f"{r['tensors'] - len(r['unused'])} of {r['tensors']}"
    note = "meta" if r["meta"] else ""
    return (
        f"| {name} | {human(r['parameters'])} | {r['layers']} | {r['regions']} | {phases} | {placed} | {r['tracer']} "
        f"| {r['export']} | {r['torchlens']} | {r['seconds']:.2f} {note} |"
    )


def good(r: dict[str, Any]) -> bool:
    """Whether a model is ordered, with every used parameter placed and verified."""
    return "error" not in r and r["verified"] and r["complete"] and r["restored"] and not r["unused_matter"]


def report(results: dict[str, dict[str, Any]]) -> str:
    titles = "model parameters layers regions layer/block/stage tensors_placed tracer torch.export torchlens seconds"
    header = f"| {titles.replace(' ', ' | ').replace('_', ' ')} |"
    lines = [header, "|---|---|---|---|---|---|---|---|---|---|", *(line(name, r) for name, r in results.items()), ""]
    ordered = {name: r for name, r in results.items() if "error" not in r}
    exported = [r["export"] for r in ordered.values() if not r["export"].startswith("no export")]
    logged = [r["torchlens"] for r in ordered.values() if not r["torchlens"].startswith(("no log", "not installed"))]
    silent = [name for name, r in ordered.items() if not r["complete"] or r["unused_matter"]]
    lines += [
        f"- {sum(map(good, results.values()))} of {len(results)} models ordered, "
        "every used parameter placed and verified.",
        f"- {len(silent)} with silently missing parameters{': ' + ', '.join(silent) if silent else ''}.",
        f"- {sum(text.startswith('agrees') for text in exported)} of {len(exported)} that torch.export accepts: "
        "the order is a topological order of its graph.",
        f"- {sum(text.startswith('agrees') for text in logged)} of {len(logged)} that torchlens logs: likewise, "
        "and what it sees read is placed.",
        f"- {sum(r['restored'] for r in ordered.values())} of {len(ordered)} left bit-identical.",
    ]
    lines += [f"- not ordered: {name}: {r['error']}" for name, r in results.items() if "error" in r]
    lines += [f"- not verified: {name}: {' '.join(r['warnings'])}" for name, r in ordered.items() if not r["verified"]]
    checked = {None: "not checked on meta", False: "filled with NaN: same result", True: "filled with NaN: THEY MATTER"}
    lines += [
        f"- unused in {name}: {', '.join(r['unused'][:4])}{' …' if len(r['unused']) > 4 else ''} "
        f"({len(r['unused'])}; {checked[r['unused_matter']]})"
        for name, r in ordered.items()
        if r["unused"]
    ]
    return "\n".join(lines)


def timing_table(timed: Mapping[str, tuple[float, float]]) -> str:
    """One line a model: seconds of a forward pass and of the layer order."""
    lines = ["| model | eager forward, s | layer order, s | limit: 1.5 × forward + 0.2 s |", "|---|---|---|---|"]
    for name, (forward, order) in timed.items():
        limit = 1.5 * forward + 0.2
        kept = "kept" if order <= limit else "missed"
        lines.append(f"| {name} | {forward:.3f} | {order:.3f} | {limit:.3f}: {kept} |")
    return "\n".join(lines)
