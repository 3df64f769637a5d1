"""The weighted mean of the clients' models, layer by layer on their variance spheres."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor

from llpf_flower.arrays import finite, is_buffer, view, wide
from llpf_flower.rule import Rule
from llpf_plugin.geometry import project_, variance

BLOCK = 1 << 16
"""Numbers that are averaged at a time: few enough to stay in the processor's cache."""

GROUP = 2
"""Models of which one tensor is looked at together; more of them where it is small."""


@dataclass
class Average:
    """A mean and what was seen on the way.

    Attributes:
        arrays: the mean, in the names, order and dtypes of the previous model.
        distance: the clients' root mean square distance to their plain mean, all parameters together.
        norm: the norm of that plain mean.
        kept: by tensor, the plain mean's variance over the clients' mean variance: 1 for equal clients, 1/n for n
            unrelated ones (the vanishing variance of averaged networks, arXiv 2404.04616).
    """

    arrays: ArrayRecord
    distance: float = 0.0
    norm: float = 0.0
    kept: dict[str, float] = field(default_factory=dict)

    @property
    def consensus(self) -> float:
        """The clients' distance to their mean, relative to the mean's norm."""
        return self.distance / self.norm if self.norm > 0 else 0.0

    def noted(self) -> dict[str, Any]:
        """What a round's row says of it: ``consensus``, ``variance`` by layer and, on spheres, ``variance kept``."""
        kept = {"variance kept": sum(self.kept.values()) / len(self.kept)} if self.kept else {}
        return {"consensus": self.consensus, "variance": by_layer(self.kept), **kept}


def average(
    models: Sequence[tuple[ArrayRecord, float]],
    previous: ArrayRecord,
    rule: Rule | None = None,
    active: Collection[str] | None = None,
) -> Average:
    """The weighted mean of models, each held tensor projected on its sphere.

    One tensor of a few models is read at a time, straight from the replies' bytes. The mean is a running one, so that
    the mean of equal models is that model bit by bit, unless it is given another variance than theirs; its bits depend
    on the order of the models and on nothing else.

    Args:
        models: records of one architecture, or of parts of it, with weights above 0, at least one.
        previous: the model before; its order and dtypes are the result's, and its names but for those that no model
            has. Each tensor is the mean of the models that have it.
        rule: how the mean is taken.
        active: parameters that change, None for all; the others stay as they were in ``previous``.
    """
    rule = rule or Rule()
    result = Average(ArrayRecord())
    squares = [0.0, 0.0]
    for name, old in previous.items():
        tensors = ((view(record[name]), weight) for record, weight in models if name in record)
        first = next(tensors, None)
        if first is None:
            continue
        buffer = is_buffer(name, first[0])
        keep = rule.buffers == "keep" if buffer else active is not None and name not in active
        held = not keep and rule.holds(name, first[0], previous)
        running = _Running(*first, held)
        del first
        running.add_all(tensors)
        mean = running.finished()
        if not buffer:
            squares[0] += running.spread / running.total
            squares[1] += float((mean.abs() if mean.is_complex() else mean).square().sum())
        if held:
            _put_on_sphere(mean, name, running, old, rule, result.kept)
        result.arrays[name] = rule.cast(view(old) if keep else mean, name, old)
    result.distance, result.norm = squares[0] ** 0.5, squares[1] ** 0.5
    return result


class _Running:
    """The running weighted mean of one tensor over the models (Welford, 1962).

    Args:
        first: of the tensors.
        weight: its weight.
        held: whether the tensors' variances are needed.

    Attributes:
        mean: of what was added.
        total: the weights' sum.
        spread: the weighted sum of square distances to the mean.
        variance: the weighted mean of the tensors' variances, 0 where it is not needed.
    """

    def __init__(self, first: Tensor, weight: float, held: bool) -> None:
        self.total, self.spread, self.held = weight, 0.0, held
        self.variance = _variance(first) if held else 0.0
        self._odd: Tensor | None = None  # an attention mask's −∞, which all have
        if first.is_floating_point() and not finite(first) and bool((~first.isfinite()).any()):
            self._odd, self._infinite = ~first.isfinite(), first
        self.mean = self._finite(first).to(wide(first), copy=True).contiguous()

    def _finite(self, tensor: Tensor) -> Tensor:
        return tensor if self._odd is None else torch.where(self._odd, 0.0, tensor)

    def add_all(self, tensors: Iterator[tuple[Tensor, float]]) -> None:
        """Add tensors with their weights, a few at a time."""
        size = max(GROUP, BLOCK // max(1, self.mean.numel()))
        while group := list(islice(tensors, size)):
            self._add([(self._finite(tensor).reshape(-1), weight) for tensor, weight in group])
            for tensor, weight in group:
                self.total += weight
                if self.held:
                    self.variance += (_variance(tensor) - self.variance) * (weight / self.total)

    def _add(self, group: Sequence[tuple[Tensor, float]]) -> None:
        flat = self.mean.view(-1)
        for start in range(0, flat.numel(), BLOCK):
            part, total = flat[start : start + BLOCK], self.total
            for tensor, weight in group:
                before, total = total, total + weight
                gap = tensor[start : start + BLOCK].to(part.dtype) - part
                self.spread += weight * before / total * float(torch.vdot(gap, gap).real)
                part.add_(gap, alpha=weight / total)

    def finished(self) -> Tensor:
        """The mean, infinite where all are."""
        return self.mean if self._odd is None else torch.where(self._odd, self._infinite.to(self.mean.dtype), self.mean)


def _put_on_sphere(mean: Tensor, name: str, running: _Running, old: Array, rule: Rule, kept: dict[str, float]) -> None:
    """Project ``mean`` in place, and note how much of its variance the plain mean had lost.

    Equal tensors are on their sphere already, bit by bit; numbers whose squares overflow have none.
    """
    own, clients = variance(mean), running.variance
    if clients > 0:
        kept[name] = own / clients
    equal = running.spread == 0 and rule.sphere == "clients"
    target = clients if rule.sphere == "clients" else variance(view(old))
    if 0 < target < math.inf and own < math.inf and not equal:
        project_([mean], [target])


def _variance(tensor: Tensor) -> float:
    """`llpf_plugin.geometry.variance` in two passes, where the mean is small beside the deviation, as in weights."""
    if tensor.dtype in (torch.float32, torch.float64):
        flat = tensor.reshape(-1)
        square, mean = float(torch.dot(flat, flat)) / flat.numel(), float(flat.mean())
        if mean**2 < 0.1 * square < math.inf:
            return square - mean**2
    return variance(tensor)


def by_layer(values: Mapping[str, float]) -> dict[str, float]:
    """The lowest value of each layer's tensors."""
    layers: dict[str, float] = {}
    for name, value in values.items():
        layer = name.rpartition(".")[0] or name
        layers[layer] = min(value, layers.get(layer, value))
    return layers
