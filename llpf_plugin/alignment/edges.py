"""Edges between labels: units that are the same ones before and after a product, but not bound to the same change.

A *diagonal* is ``y = γ · x`` with a stored vector γ: absorbed by what reads y, or writes x, it lets both be rotated. A
*gate* is ``z = x · y`` for two activations, of which y is linear, as in SwiGLU: x, y and z change places together, and
each unit of y may be multiplied by any number besides, if what reads z is divided by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llpf_plugin.alignment.axes import Axis, Freedom, Labels


@dataclass(frozen=True)
class Dependent:
    """A label whose units are those of another one, scaled by γ: ``after`` it, or before it.

    ``dual`` is whether it stands for the dual of what the activations are, ``opposite`` whether of what the other does.
    """

    label: int
    gamma: str
    after: bool
    dual: bool
    opposite: bool


@dataclass(frozen=True)
class Gated:
    """Labels of the linear factor of a gate and of the result; ``opposite`` if one stands for the dual of the other."""

    factor: int
    result: int
    opposite: bool


@dataclass
class Edges:
    """The edges that hold, by the label that the others follow."""

    dependents: dict[int, list[Dependent]] = field(default_factory=dict)
    gates: dict[int, list[Gated]] = field(default_factory=dict)

    def taken(self) -> set[int]:
        """Labels that follow another one."""
        found = {one.label for group in self.dependents.values() for one in group}
        return found | {k for group in self.gates.values() for one in group for k in (one.factor, one.result)}


def settle(labels: Labels, names: Mapping[int, str]) -> Edges:
    """Keep the edges that hold; where one does not, the units at its ends change places together and no more.

    Args:
        labels: of a graph; labels are united where an edge does not hold.
        names: of stored vectors, by their label.
    """
    diagonals, gates = list(labels.diagonals), list(labels.gates)
    while True:
        ends = _ends(labels, [*(edge[:2] for edge in diagonals), *gates])
        scaled = [_dependent(labels, x, y, ends, names.get(vector)) for x, y, vector in diagonals]
        gated = [_gated(labels, *gate, ends) for gate in gates]
        for (x, y, vector), held in zip(diagonals, scaled, strict=True):
            if held is None:
                _bind(labels, x, y, (vector,))
        for gate, one in zip(gates, gated, strict=True):
            if one is None:
                _bind(labels, *gate)
        if None not in scaled and None not in gated:
            break
        diagonals = [edge for edge, held in zip(diagonals, scaled, strict=True) if held]
        gates = [gate for gate, one in zip(gates, gated, strict=True) if one]
    labels.fix(*((vector,) for _, _, vector in diagonals))  # absorbed, not moved
    edges = Edges()
    for source, dependent in (held for held in scaled if held):
        edges.dependents.setdefault(source, []).append(dependent)
    for source, found in (one for one in gated if one):
        edges.gates.setdefault(source, []).append(found)
    return edges


def _bind(labels: Labels, first: Axis, *others: Axis) -> None:
    """Let units change places together and do no more."""
    for other in others:
        labels.restrict(labels.unite(first, other), Freedom.PERMUTE)


def _ends(labels: Labels, edges: Sequence[tuple[Axis, ...]]) -> list[int]:
    """The labels at the ends of edges, each as often as it is there."""
    singles = [labels.single(axis) for edge in edges for axis in edge]
    return [abs(label) for label in singles if label is not None]


def _dependent(labels: Labels, x: Axis, y: Axis, ends: list[int], gamma: str | None) -> tuple[int, Dependent] | None:
    """Which side of ``y = γ · x`` follows the other; None if both are bound, or either is not one set of units."""
    before, after = labels.single(x), labels.single(y)
    if before is None or after is None or gamma is None or abs(before) == abs(after):
        return None
    if not all(labels.freedom(label) & Freedom.ROTATE for label in (before, after)):
        return None
    for source, follows in ((before, after), (after, before)):
        if labels.freedom(follows) == Freedom.ALL and ends.count(abs(follows)) == 1:
            opposite = (source < 0) != (follows < 0)
            return abs(source), Dependent(abs(follows), gamma, follows == after, follows < 0, opposite)
    return None


def _gated(labels: Labels, x: Axis, y: Axis, z: Axis, ends: list[int]) -> tuple[int, Gated] | None:
    """Which factor of ``z = x · y`` is linear; None if none is, or it is used otherwise, too."""
    found = [labels.single(axis) for axis in (x, y, z)]
    if None in found or len({abs(label or 0) for label in found}) < 3:
        return None
    one, other, result = (label or 0 for label in found)
    for source, factor in ((one, other), (other, one)):
        free = all(labels.freedom(label) == Freedom.ALL and ends.count(abs(label)) == 1 for label in (factor, result))
        if free and labels.freedom(source):
            labels.restrict((source,), Freedom.PERMUTE)
            return abs(source), Gated(abs(factor), abs(result), (factor < 0) != (result < 0))
    return None
