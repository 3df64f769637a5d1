"""Rules for operations that change only the shape of a tensor, or put several of them together; see `rules`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llpf_plugin.alignment.axes import Axes, Labels


def viewed(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes | None:
    """A different shape of the same elements."""
    return labels.regroup(axes[0], shape)


def permuted(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Axes in a different order."""
    return [axes[0][d] for d in args[1]]


def transposed(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Two axes exchanged."""
    result = list(axes[0])
    if len(result) > 1:
        i, j = args[1:3] if len(args) > 2 else (0, 1)
        result[i], result[j] = result[j], result[i]
    return result


def unsqueezed(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """One more axis, of length 1."""
    result = list(axes[0])
    result.insert(args[1] % len(shape), ())
    return result


def expanded(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Axes of length 1 repeated: what is repeated is one unit many times over, whose order must stay."""
    own = [*[() for _ in range(len(shape) - len(axes[0]))], *axes[0]]
    return [
        axis if labels.length(axis) == n else labels.axis(n, fixed=True) for axis, n in zip(own, shape, strict=True)
    ]


def selected(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """One place of an axis, or all of its places one by one: each has a role of its own."""
    dim = (args[1] if len(args) > 1 else 0) % len(axes[0])
    labels.fix(axes[0][dim])
    return [axis for i, axis in enumerate(axes[0]) if i != dim]


def sliced(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """A part of an axis, or an axis that is padded: its order is fixed, that of the others is not."""
    result = []
    for axis, n in zip(axes[0], shape, strict=True):
        if labels.length(axis) != n:
            labels.fix(axis)
        result.append(axis if labels.length(axis) == n else labels.axis(n, fixed=True))
    return result


def split(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """An axis in parts: equal parts are permuted alike, of unequal ones the order is fixed."""
    dim = (args[2] if len(args) > 2 else 0) % len(axes[0])
    axis, part = axes[0][dim], shape[dim]
    pieces = args[1] if isinstance(args[1], list | tuple) else [args[1]]
    result = list(axes[0])
    if labels.length(axis) % part or len(set(pieces)) > 1:
        labels.fix(axis)
        result[dim] = labels.axis(part, fixed=True)
    else:
        result[dim] = labels.axis(part)
        labels.unite(axis, (*labels.axis(labels.length(axis) // part, fixed=True), *result[dim]))
    return result


def concatenated(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes | None:
    """Several tensors one after the other: the order along that axis is fixed."""
    parts = axes[0]
    dim = (args[1] if len(args) > 1 else 0) % len(shape)
    if not all(isinstance(part, list) and len(part) == len(shape) for part in parts):
        return None
    labels.fix(*(part[dim] for part in parts))
    result = list(parts[0])
    for part in parts[1:]:
        result = [a if i == dim else labels.unite(a, b) for i, (a, b) in enumerate(zip(result, part, strict=True))]
    result[dim] = labels.axis(shape[dim], fixed=True)
    return result
