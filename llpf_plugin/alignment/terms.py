"""An axis as products of labels that stand for themselves: where on it the units of each label are."""

from __future__ import annotations

import torch
from torch import Tensor

from llpf_plugin.alignment.axes import Axis, Labels

Term = tuple[Axis, Tensor]
"""Labels that stand for themselves, and the positions of their units on an axis, of their sizes."""


def terms(labels: Labels, axis: Axis) -> list[Term]:
    """The terms of an axis.

    Where this makes labels the same, ``labels.collapsed`` becomes true, and terms made before are out of date.
    """
    own = labels.resolve(axis)
    return _terms(labels, own, torch.arange(labels.length(own)))


def _terms(labels: Labels, axis: Axis, grid: Tensor) -> list[Term]:
    grid = grid.reshape(labels.sizes(axis))
    for i, label in enumerate(axis):
        if labels.holds_parts(label):
            return _of_parts(labels, axis, i, grid)
        if (slices := labels.slices(label)) is not None:
            present = [abs(other) for other in axis]
            if slices[0] in present:
                return _of_slices(labels, axis, present.index(slices[0]), grid)
            labels.collapse(label)  # what is read without its slices is the same in each
            labels.collapsed = True
            return _terms(labels, labels.resolve(axis), grid)
    return [(axis, grid)]


def _of_parts(labels: Labels, axis: Axis, i: int, grid: Tensor) -> list[Term]:
    """The terms of an axis whose ``i``-th label has parts."""
    result, start = list[Term](), 0
    for part in labels.parts(axis[i]):
        length = labels.length(part)
        result += _terms(labels, (*axis[:i], *part, *axis[i + 1 :]), grid.narrow(i, start, length))
        start += length
    return result


def _of_slices(labels: Labels, axis: Axis, outer: int, grid: Tensor) -> list[Term]:
    """The terms of an axis whose ``outer``-th label is that of slices."""
    result, by = list[Term](), abs(axis[outer])
    for number in range(grid.shape[outer]):
        inside = list[int]()
        for label in (*axis[:outer], *axis[outer + 1 :]):
            slices = labels.slices(label)
            copy = slices[1][number] if slices is not None and slices[0] == by else abs(label)
            inside.append(copy if label > 0 else -copy)
        result += _terms(labels, labels.resolve(tuple(inside)), grid.select(outer, number))
    return result
