"""Names that a file ties and its network does not: they are walked apart, and so they are written."""

from dataclasses import replace

from torch import nn

from llpf_plugin.checkpoint.prefixes import stored_beside
from llpf_plugin.checkpoint.record import Checkpoint
from llpf_plugin.geometry.weights import ties


def untied(found: Checkpoint, model: nn.Module) -> Checkpoint:
    """A checkpoint with tensors of their own for names that the model does not tie; each has its place in the file.

    Args:
        found: under the names of the model.
        model: its network.
    """
    apart = _apart(found, model)
    if not apart:
        return found
    kept = {name: group[0] for group in found.ties for name in group}
    names, shards, metadata = dict(found.names), dict(found.shards), dict(found.metadata or {})
    for name in apart:
        if name not in names:  # safetensors leaves it out, and says so
            there = next(other for other in names if kept.get(other) == kept[name])
            names[name] = stored_beside(names, there, name)
            shards |= {name: shards[there]} if shards else {}
            metadata.pop(names[name], None)
    weights = {**found.weights, **{name: found.weights[name].clone() for name in apart}}
    return replace(found, weights=weights, names=names, shards=shards, metadata=metadata or None)


def _apart(found: Checkpoint, model: nn.Module) -> list[str]:
    """Names of the model that have another one's tensor in the file alone."""
    if not found.ties:
        return []
    first = ties(model)
    own = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return [
        name
        for group in found.ties
        for name in group[1:]
        if {name, group[0]} <= own and first.get(name, name) != first.get(group[0], group[0])
    ]
