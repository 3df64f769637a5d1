"""Rules for operations on what stands at the same place of several tensors; see `rules`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llpf_plugin.alignment.axes import Axes, Freedom, Labels


def met(labels: Labels, axes: Sequence[Any], shape: Sequence[int]) -> tuple[Axes, list[int]]:
    """Axes of a pointwise result, what stands at the same place united, and how many of the tensors have each."""
    result: Axes = [() for _ in shape]
    having = [0 for _ in shape]
    for own in (axis for axis in axes if isinstance(axis, list)):
        for i, axis in enumerate(own, start=len(shape) - len(own)):
            if axis and labels.length(axis) == shape[i]:
                result[i] = labels.unite(result[i], axis) if result[i] else axis
                having[i] += 1
    return result, having


def function(
    labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int], free: Freedom = Freedom.PERMUTE
) -> Axes:
    """Any function of what stands at the same place; a homogeneous one leaves more free."""
    return [labels.restrict(axis, free) for axis in met(labels, axes, shape)[0]]


def total(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """A sum or difference: linear along the axes that all terms have."""
    result, having = met(labels, axes[:2], shape)
    terms = [axis for axis in axes[:2] if isinstance(axis, list)]
    constant = len(terms) < 2 and any(isinstance(arg, int | float) and arg != 0 for arg in args[:2])
    for axis, n in zip(result, having, strict=True):
        if constant or n < len(terms):
            labels.restrict(axis, Freedom.PERMUTE)
    return result


def product(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """A product: linear along the axes that one factor has; of x and x, squares; else a diagonal or a gate."""
    if len(args) > 1 and args[0] is args[1]:
        return [labels.square(axis) for axis in axes[0]]
    one, other = (_padded(axis, shape) for axis in axes[:2])
    result: Axes = []
    for x, y, n in zip(one, other, shape, strict=True):
        if not (labels.length(x) == labels.length(y) == n > 1):
            result.append(x if labels.length(x) == n else y)
            continue
        z = labels.diagonal(x, y) if _alone(other) else labels.diagonal(y, x) if _alone(one) else None
        z = labels.gate(x, y) if z is None and len(axes[0]) == len(axes[1] or ()) else z
        result.append(labels.restrict(labels.unite(x, y), Freedom.PERMUTE) if z is None else z)
    return result


def _padded(axes: Axes | None, shape: Sequence[int]) -> Axes:
    """Axes as broadcasting sees them; of a number, none."""
    own = axes or []
    return [*[() for _ in range(len(shape) - len(own))], *own]


def _alone(axes: Axes) -> bool:
    """Whether a tensor is a vector, whatever axes of length 1 it has."""
    return sum(1 for axis in axes if axis) == 1


def quotient(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """A quotient: linear along the axes that the divisor does not have."""
    result, _ = met(labels, axes, shape)
    divisor = met(labels, axes[1:2], shape)[1]
    return [labels.restrict(axis, Freedom.PERMUTE) if n else axis for axis, n in zip(result, divisor, strict=True)]


def power(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Squares are remembered as such; other powers are any function."""
    if len(args) == 1 or args[1] == 2:
        return [labels.square(axis) for axis in axes[0]]
    return function(labels, axes, args, shape)


def same(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """The first argument itself."""
    return list(axes[0])


def relative(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """The first argument, unit by unit, relative to all units of an axis alike, as softmax."""
    return [labels.restrict(axis, Freedom.PERMUTE) for axis in axes[0]]


def copied(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``copy_``: the second argument, where the shapes agree."""
    return met(labels, axes[1:2], shape)[0]


def constant(
    labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int], free: Freedom = Freedom.PERMUTE
) -> Axes:
    """A tensor of one value has no order of its own; zeros may have anything done to them."""
    return [labels.axis(n, free) for n in shape]
