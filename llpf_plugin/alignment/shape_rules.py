"""Rules for operations that change only the shape of a tensor, or put several of them together; see `rules`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llpf_plugin.alignment.axes import Axes, Freedom, Labels


class Several(list[Axes]):
    """The axes of each result of an operation that has more than one."""


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
    """Axes of length 1 repeated: one unit many times over, which may be permuted like what it meets."""
    own = [*[() for _ in range(len(shape) - len(axes[0]))], *axes[0]]
    return [
        axis if labels.length(axis) == n else labels.axis(n, Freedom.PERMUTE)
        for axis, n in zip(own, shape, strict=True)
    ]


def repeated(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Axes several times one after another: the order of a repeated one is fixed unless it is one unit."""
    own = [*[() for _ in range(len(shape) - len(axes[0]))], *axes[0]]
    labels.fix(*(axis for axis, n in zip(own, shape, strict=True) if labels.length(axis) != n))
    return expanded(labels, [own], args, shape)


def moved(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``roll`` and ``flip``: the places of some axes are exchanged, the others stay."""
    dims = args[-1] if isinstance(args[-1], list | tuple) else []
    labels.fix(*(axes[0][d] for d in (dims or range(len(shape)))))
    return list(axes[0])


def strided(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes | None:
    """The same shape with other strides; any other view of the elements is not followed."""
    return list(axes[0]) if [labels.length(axis) for axis in axes[0]] == list(shape) else None


def selected(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """One place of an axis: each has a role of its own."""
    dim = args[1] % len(axes[0])
    own = list(axes[0])
    outer = own.pop(dim)
    return labels.sliced(outer, own, args[2] % max(labels.length(outer), 1))


def unbound(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Several:
    """All places of an axis one by one."""
    dim = (args[1] if len(args) > 1 else 0) % len(axes[0])
    return Several(
        selected(labels, axes, (args[0], dim, number), shape) for number in range(labels.length(axes[0][dim]))
    )


def sliced(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """A part of an axis."""
    given: tuple[Any, ...] = (0, None, None, 1)
    dim, start, stop, step = (*args[1:], *given[len(args) - 1 :])
    result, dim = list(axes[0]), dim % len(axes[0])
    start, _, step = slice(start, stop, step).indices(labels.length(axes[0][dim]))
    piece = labels.piece(axes[0][dim], start, start + shape[dim]) if step == 1 else None
    if piece is None:
        labels.fix(axes[0][dim], why="it is cut across its units")
    result[dim] = labels.fixed_axis(shape[dim]) if piece is None else piece
    return result


def padded(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Axes that become longer or shorter: their order is fixed, that of the others is not."""
    result = []
    for axis, n in zip(axes[0], shape, strict=True):
        if labels.length(axis) != n:
            labels.fix(axis)
        result.append(axis if labels.length(axis) == n else labels.fixed_axis(n))
    return result


def split(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Several:
    """An axis in parts, one after another."""
    dim = (args[2] if len(args) > 2 else 0) % len(axes[0])
    length = labels.length(axes[0][dim])
    sizes = args[1] if isinstance(args[1], list | tuple) else [args[1]] * -(-length // args[1])
    start, result = 0, Several()
    for size in sizes:
        stop = min(start + size, length)
        part = (axes[0], dim, start, stop)
        result.append(sliced(labels, axes, part, [*shape[:dim], stop - start, *shape[dim + 1 :]]))
        start = stop
    return result


def concatenated(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes | None:
    """Several tensors one after the other."""
    parts = [part for part in axes[0] if isinstance(part, list) and len(part) == len(shape)]
    dim = (args[1] if len(args) > 1 else 0) % len(shape)
    if len(parts) != len(axes[0]):
        return None
    result = list(parts[0])
    for part in parts[1:]:
        result = [a if i == dim else labels.unite(a, b) for i, (a, b) in enumerate(zip(result, part, strict=True))]
    result[dim] = labels.concatenate([part[dim] for part in parts])
    return result


def indexed(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes | None:
    """Rows that are picked by one index of any shape (``x[index]``, ``x[:, index]``): the other axes stay."""
    dims = [dim for dim, index in enumerate(args[1]) if index is not None]
    if len(dims) != 1:
        return None
    dim, added = dims[0], len(shape) - len(axes[0]) + 1
    labels.fix(axes[0][dim], why="its rows are picked by index")
    picked = [labels.fixed_axis(n) for n in shape[dim : dim + added]]
    return [*axes[0][:dim], *picked, *axes[0][dim + 1 :]]


def gathered(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``index_select`` and ``gather`` along one axis; an index with axes of its own goes with the others."""
    dim = args[1] % len(axes[0])
    labels.fix(axes[0][dim], why="its rows are picked by index")
    index = axes[2] if len(axes[2]) == len(axes[0]) > 1 else None
    return [
        labels.fixed_axis(shape[dim]) if i == dim else axis if index is None else labels.unite(axis, index[i])
        for i, axis in enumerate(axes[0])
    ]


def scattered(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``index_add`` and ``scatter`` along one axis: what is written has the units of what it is written into."""
    dim, into, source = args[1] % len(axes[0]), axes[0], axes[3]
    index = axes[2] if len(axes[2]) == len(into) > 1 else source
    labels.fix(into[dim], source[dim], index[dim])
    result = [
        a if i == dim else labels.unite(labels.unite(a, b), c)
        for i, (a, b, c) in enumerate(zip(into, source, index, strict=True))
    ]
    return [labels.restrict(axis, Freedom.PERMUTE) for axis in result]
