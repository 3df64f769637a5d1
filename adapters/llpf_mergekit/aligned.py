"""Folders of transformers, their units brought into the order of a base, written as folders again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llpf_plugin.alignment import symmetry
from llpf_plugin.checkpoint import write
from llpf_plugin.errors import CheckpointError, OrderError
from llpf_plugin.merging import Aligned, Source, align_to
from llpf_plugin.runs import computes_the_same
from llpf_plugin.tasks import explained
from llpf_plugin.tasks.hugging_face import build_network, configuration, example_inputs

Named = tuple[str, Path]
"""How a model is called, and the folder that ``save_pretrained`` wrote."""


def write_aligned(base: Named, others: Sequence[Named], into: Path) -> tuple[list[Path], list[str]]:
    """Write models that compute what they did, with units in the order of the base's.

    Args:
        base: the model that sets the order.
        others: those that are aligned to it.
        into: an existing folder.

    Returns:
        The folders of the aligned models, and a sentence on each.

    Raises:
        LLPFError: a folder cannot be read, its network cannot be traced, or a model does not fit the base.
    """
    network, inputs = _network(base)
    known = symmetry(network, inputs)  # before the weights are read, for it takes as much memory as they do
    first = _source(base, network)
    places, told = [], []
    for number, other in enumerate(others, start=1):
        one = align_to(first, _source(other, network), network, inputs, known)
        assert one.source.like is not None
        places.append(write(into / f"{number}-{other[1].name}", one.matching.weights, one.source.like))
        told.append(_said(one, base[0]))
    return places, told


def _source(model: Named, network: Any) -> Source:
    """A model under the name that the user gave it."""
    return replace(Source.of(model[1], network=network), name=model[0])


def _network(base: Named) -> tuple[Any, Any]:
    """The network of a folder in float32, and what it is called with."""
    name, folder = base
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{name} has no config.json, which says what its network is")
    with explained(f"building the network of {name}", CheckpointError):
        config = configuration(str(folder))
        network = build_network(config).float()
    inputs = example_inputs(network, config)
    if inputs is None:
        raise OrderError(f"no inputs are known for a {config.model_type}, so that {name} cannot be aligned to")
    return network, inputs


def _said(one: Aligned, base: str) -> str:
    before, after = one.matching.distance
    groups: Sequence[Any] = one.matching.symmetry.groups
    units = sum(group.size for group in groups)
    return (
        f"{one.source.name} aligned to {base}: {units:,} units in {len(groups)} groups, "
        f"distance {before:.4g} → {after:.4g}; {computes_the_same(one.difference)}"
    )
