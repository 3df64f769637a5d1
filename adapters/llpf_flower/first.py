"""The first model of a federation whose clients come with models of their own: the candidates, and which is taken."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from logging import INFO, WARNING
from typing import Any, Literal, TypeAlias, get_args

import torch
from flwr.app import ArrayRecord
from flwr.common.logger import log
from torch import nn

from llpf_flower.arrays import to_array, to_arrays, to_weights, view, wide
from llpf_flower.mean import Average, average
from llpf_flower.replies import Reply
from llpf_flower.rule import Rule
from llpf_plugin.alignment import match_all, symmetry
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry import Weights

First = Literal["auto", "spheres", "aligned", "aligned-spheres", "largest", "initial", "fresh"]
"""The first model: chosen, or the one of that name."""

Network: TypeAlias = "tuple[nn.Module, Any]"
"""A network and what it is called with: what clients' models are aligned by."""

Maker = Callable[[], ArrayRecord]

DEFAULT, FRESH, ZEROS = "spheres", "fresh", "zeros"

APART = 0.5
"""Clients start apart where the correlation between two of them, the mean over tensors, is below this.

On digits (ten clients, IID to Dirichlet 0.1) it was at most 0.04 for models of other seeds, and at least 0.69 after up
to 50 epochs from a common start.
"""

TRUSTED = 0.75
"""The part of a zero network's loss that the best candidate must be below; else a fresh one is better to train.

On digits (seeds 10 to 12) the best candidate had 0.81 to 1.0 of it in four of nine runs, all under skew: three were
worse to go on from than fresh weights, one was level. With up to 0.7, in the other five, all were better.
"""


def check(first: str, network: bool) -> None:
    """Refuse before any work a first model that cannot be made.

    Raises:
        LLPFError: it is none of those that there are, or models cannot be aligned without the network.
    """
    if first not in get_args(First):
        raise LLPFError(f"first = {first!r}: it must be one of {', '.join(get_args(First))}")
    if first.startswith("aligned") and not network:
        raise LLPFError(f"first = {first!r} needs the network: give network=(model factory, example inputs), or task=")


def correlations(kept: Mapping[str, float], weights: Sequence[float]) -> dict[str, float]:
    """By tensor, the mean correlation between two clients' models.

    With shares w that add up to 1 the plain mean keeps Σw² of the variance of unrelated models, and all of that of
    equal ones.

    Args:
        kept: by tensor, the plain mean's variance over the clients' mean variance.
        weights: of the clients.
    """
    alone = sum(w * w for w in weights) / sum(weights) ** 2
    return {name: (value - alone) / (1 - alone) for name, value in kept.items()} if alone < 1 else {}


def apart(kept: Mapping[str, float], weights: Sequence[float]) -> frozenset[str]:
    """The tensors in which clients that start apart have nothing in common; empty where they start together."""
    found = correlations(kept, weights)
    if not found or sum(found.values()) / len(found) >= APART:
        return frozenset()
    return frozenset(name for name, value in found.items() if value < APART)


def makers(
    replies: Sequence[Reply], before: ArrayRecord, rule: Rule, mean: Average, names: Collection[str],
    network: Callable[[], Network] | None,
) -> dict[str, Maker]:  # fmt: skip
    """The candidates by name; each is made when it is called.

    Args:
        replies: of the first round.
        before: the model that the run began with.
        rule: how a mean is taken.
        mean: of the replies, by that rule.
        names: tensors in which the clients have nothing in common.
        network: makes what the models are aligned by; without it there are no aligned means.
    """
    aligned = list[tuple[ArrayRecord, float]]()

    def mean_of_aligned(how: Rule) -> ArrayRecord:
        if not aligned:
            assert network is not None
            aligned.extend(_aligned(replies, *network()))
        return average(aligned, before, how).arrays

    found: dict[str, Maker] = {
        "spheres": lambda: mean.arrays,
        "aligned": lambda: mean_of_aligned(replace(rule, sphere="none")),
        "aligned-spheres": lambda: mean_of_aligned(rule),
        "largest": lambda: rule.conform(largest(replies).arrays, before),
        "initial": lambda: rule.conform(before, before),
        FRESH: lambda: rule.conform(untrained(before, mean, names), before),
    }
    return found if network is not None else {k: make for k, make in found.items() if not k.startswith("aligned")}


def largest(replies: Sequence[Reply]) -> Reply:
    """The one with the most examples."""
    return max(replies, key=lambda reply: reply.weight)


def made(makers: Mapping[str, Maker]) -> dict[str, ArrayRecord]:
    """All candidates; those that cannot be made are logged."""
    found = dict[str, ArrayRecord]()
    for name, make in makers.items():
        try:
            found[name] = make()
        except LLPFError as error:
            log(WARNING, "\t> The first model cannot be %r: %s", name, error)
    return found


def _aligned(replies: Sequence[Reply], model: nn.Module, inputs: Any) -> list[tuple[ArrayRecord, float]]:
    """The clients' models in the frame of the largest one's."""
    models = [_wide(reply.arrays) for reply in replies]
    if odd := sorted(models[0].keys() ^ model.state_dict().keys()):
        raise LLPFError(f"the network to align by has other tensors than the clients' models: {', '.join(odd[:3])}")
    log(INFO, "Aligning the models of %d clients; other first models than 'auto' and 'aligned' need none", len(replies))
    frame = replies.index(largest(replies))
    met = match_all(models, model, symmetry(model, inputs), frame)
    return [(to_arrays(weights), reply.weight) for weights, reply in zip(met.weights, replies, strict=True)]


def _wide(arrays: ArrayRecord) -> Weights:
    """Copies of the tensors, in float32 at least where they are floating point."""
    return {k: t.to(wide(t)) if t.is_floating_point() else t for k, t in to_weights(arrays).items()}


def untrained(before: ArrayRecord, mean: Average, names: Collection[str], zero: bool = False) -> ArrayRecord:
    """New initial weights: He's normal ones (arXiv 1502.01852), or zeros, in ``names``.

    Other matrices, such as those of a frozen part, are the clients' mean; the rest is what the run began with.
    """
    generator, found = torch.Generator().manual_seed(0), ArrayRecord({**before})
    for name in [name for name in before if name in mean.kept]:
        tensor = view(before[name])
        if name not in names:
            found[name] = mean.arrays[name]
        elif tensor.dim() >= 2:
            noise = torch.zeros(tensor.shape, dtype=wide(tensor))
            found[name] = to_array(noise if zero else nn.init.kaiming_normal_(noise, generator=generator))
    return found


def choose(losses: Mapping[str, float], chance: float) -> str:
    """The candidate of the lowest loss, or a fresh one where that knows little.

    Args:
        losses: by candidate.
        chance: the loss of a network of zeros, which answers the same to everything.
    """
    best = min(losses, key=lambda name: losses[name])
    little = 0 < chance < math.inf and not losses[best] < TRUSTED * chance
    return FRESH if little else best
