"""Rules for products, normalizations, pooling and reductions, which read units together; see `rules`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llpf_plugin.alignment.axes import Axes, Axis, Freedom, Labels, dual
from llpf_plugin.alignment.pointwise_rules import met

POSITIVE = Freedom.PERMUTE | Freedom.SCALE
ORTHOGONAL = Freedom.ALL & ~Freedom.SCALE


def matmul(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``[…, n, k] · […, k, m]``: the two k are the same units."""
    a, b = axes[0], axes[1]
    labels.unite(a[-1], dual(b[-2]))
    return [*(_along(labels, x, y) for x, y in zip(a[:-2], b[:-2], strict=True)), a[-2], b[-1]]


def _along(labels: Labels, *axes: Axis) -> Axis:
    """Axes that a product runs along: pairs of units, which can change places only."""
    first, *rest = axes
    for axis in rest:
        first = labels.unite(first, axis)
    return labels.restrict(first, Freedom.PERMUTE)


def biased_matmul(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``addmm`` and ``baddbmm``: a product and what is added to it."""
    return _biased(labels, matmul(labels, axes[1:3], args, shape), axes[0], shape)


def linear(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``[…, k]`` through a weight ``[m, k]`` and a bias ``[m]``."""
    inputs, weight = axes[0], axes[1]
    labels.unite(inputs[-1], dual(weight[1]))
    return _biased(labels, [*inputs[:-1], weight[0]], axes[2] if len(axes) > 2 else None, shape)


def _biased(labels: Labels, axes: Axes, bias: Axes | None, shape: Sequence[int]) -> Axes:
    """A sum with what has the last axis, or more of them."""
    return met(labels, [axes, bias], shape)[0]


def convolution(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes | None:
    """Channels in and out; of a grouped convolution the groups are units, and the channels within each alike."""
    inputs, weight, bias = axes[:3]
    transposed, groups = args[6], args[8]
    labels.fix(*inputs[2:], *weight[2:], why="places of an image")
    if transposed:
        if groups != 1:
            return None
        labels.unite(inputs[1], dual(weight[0]))
        out = weight[1]
    else:
        group = labels.axis(groups, Freedom.PERMUTE)
        within = labels.axis(labels.length(inputs[1]) // groups)
        labels.unite(inputs[1], (*group, *within))
        labels.unite(weight[1], dual(within))
        out = labels.unite(weight[0], (*group, *labels.axis(labels.length(weight[0]) // groups)))
    if bias is not None:
        labels.unite(out, bias[0])
    return [inputs[0], out, *(labels.fixed_axis(n) for n in shape[2:])]


def batch_norm(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Scale, shift and running statistics go with their channel."""
    for own in axes[1:5]:
        if own is not None:
            labels.unite(axes[0][1], own[0])
    labels.restrict(axes[0][1], Freedom.PERMUTE)
    return list(axes[0])


def layer_norm(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``(x, shape, γ, β)``: what is normalized may be rotated about the vector of ones."""
    return _normalized(labels, axes, args, ORTHOGONAL & ~Freedom.ONES)


def rms_norm(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``(x, shape, γ)``: what is normalized may be rotated."""
    return _normalized(labels, axes, args, ORTHOGONAL)


def _normalized(labels: Labels, axes: Sequence[Any], args: Sequence[Any], free: Freedom) -> Axes:
    x, own, affine = axes[0], len(args[1]), [axis for axis in axes[2:4] if isinstance(axis, list)]
    y = labels.diagonal(x[-1], affine[0][0]) if affine and own == 1 else None
    if y is None:  # over several axes, or γ is no vector of this layer's own
        free = free if own == 1 and not affine else Freedom.PERMUTE
        for axes_of in affine:
            for mine, theirs in zip(reversed(x), reversed(axes_of), strict=False):
                labels.unite(mine, theirs)
        return [*x[:-own], *(labels.restrict(axis, free) for axis in x[-own:])]
    labels.restrict(x[-1], free)
    for shift in affine[1:]:
        labels.unite(y, shift[0])
    return [*x[:-1], y]


def group_norm(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Groups of channels are units, and the channels within each alike."""
    groups = int(args[6])
    free = Freedom.PERMUTE
    channels = (*labels.axis(groups, free), *labels.axis(labels.length(axes[0][1]) // groups, free))
    for own in (axes[0][1:2], axes[1], axes[2]):
        if own:
            labels.unite(own[0], channels)
    return list(axes[0])


def pooled(
    labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int], dims: int, free: Freedom
) -> Axes:
    """Pooling or resizing over the last axes, as many as ``dims``, whose places are fixed."""
    labels.fix(*axes[0][-dims:], why="places of an image")
    kept = [labels.restrict(axis, free) for axis in axes[0][:-dims]]
    return [*kept, *(labels.fixed_axis(n) for n in shape[-dims:])]


def reduced(
    labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int], free: Freedom = Freedom.PERMUTE
) -> Axes:
    """A reduction over some axes that is independent of their order, and leaves the others ``free``."""
    own = axes[0]
    given = args[1] if len(args) > 1 and args[1] is not None else []
    dims = {d % len(own) for d in ([given] if isinstance(given, int) else given)} or set(range(len(own)))
    keep = len(shape) == len(own)
    for i, axis in enumerate(own):
        squared = labels.squared(axis) if i in dims and free == Freedom.ALL else None
        if squared is not None:
            labels.restrict(squared, ORTHOGONAL)
        elif i in dims:
            labels.restrict(axis, Freedom.PERMUTE)
        elif free != Freedom.ALL:
            labels.restrict(axis, free)
    return [() if i in dims else axis for i, axis in enumerate(own) if keep or i not in dims]


def vector_norm(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``linalg_vector_norm(x, order, axes)``: rotations keep that of order 2."""
    order, dims = (args[1] if len(args) > 1 else 2), args[2:3]
    if order != 2:
        return reduced(labels, axes, (args[0], *dims), shape)
    return reduced(labels, [[labels.square(axis) for axis in axes[0]]], (args[0], *dims), shape, Freedom.ALL)


def embedding(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Rows by index: their order is fixed."""
    labels.fix(axes[0][0], why="its rows are picked by index")
    return [*axes[1], axes[0][1]]


def attention(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Scaled dot product of ``[batch, heads, places, width]``: heads are units, and so are the widths.

    Where queries have more heads than keys, those that share a key's stand together.
    """
    q, k, v = axes[:3]
    labels.unite(q[-1], dual(k[-1]))
    labels.fix(q[-2], k[-2], v[-2], why="places of a sequence")
    leading = []
    for mine, own, other in zip(q[:-2], k[:-2], v[:-2], strict=True):
        shared = labels.axis(labels.length(mine) // labels.length(own), Freedom.PERMUTE)
        leading.append(_along(labels, mine, (*_along(labels, own, other), *shared)))
    return [*leading, q[-2], v[-1]]
