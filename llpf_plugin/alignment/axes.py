"""Labels of axes: which units of a network are the same units seen by several tensors.

An axis is a tuple of labels whose sizes multiply to its length, the slowest one first: after flattening, an axis of
512 · 7 · 7 elements is (channel, row, column). A label is one set of units. Labels that meet in an operation become
one; a label that turns out to be a product is split; a label that must not be permuted is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

Axis = tuple[int, ...]
Axes = list[Axis]
"""The axes of one tensor."""


class Labels:
    """The labels of one graph, with union and splitting."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._fixed: list[bool] = []
        self._means: dict[int, Axis] = {}  # what a label was united with or split into

    def axis(self, length: int, fixed: bool = False) -> Axis:
        """A new axis of one label; an axis of length 1 has none."""
        if length == 1:
            return ()
        self._sizes.append(length)
        self._fixed.append(fixed)
        return (len(self._sizes) - 1,)

    def resolve(self, axis: Axis) -> Axis:
        """The same axis in labels that stand for themselves."""
        if not any(label in self._means for label in axis):
            return axis
        return tuple(own for label in axis for own in self.resolve(self._means.get(label, (label,))))

    def length(self, axis: Axis) -> int:
        """The number of elements along an axis."""
        return prod(self._sizes[label] for label in axis)

    def sizes(self, axis: Axis) -> tuple[int, ...]:
        """The size of each label of an axis."""
        return tuple(self._sizes[label] for label in axis)

    def is_fixed(self, label: int) -> bool:
        """Whether the label must not be permuted."""
        return self._fixed[label]

    def fix(self, *axes: Axis) -> None:
        """Forbid permuting any label of these axes."""
        for axis in axes:
            for label in self.resolve(axis):
                self._fixed[label] = True

    def unite(self, first: Axis, second: Axis) -> Axis:
        """Make two axes of one length the same, splitting labels where they differ; what does not divide is fixed."""
        a, b = self.resolve(first), self.resolve(second)
        done = 0
        while done < min(len(a), len(b)):
            x, y = a[done], b[done]
            if x != y and self._sizes[x] == self._sizes[y]:
                self._fixed[x] |= self._fixed[y]
                self._means[y] = (x,)
            elif x != y and not self._split(x, y):
                self.fix(a[done:], b[done:])
                break
            a, b = self.resolve(a), self.resolve(b)
            done += a[done] == b[done]
        return a

    def _split(self, x: int, y: int) -> bool:
        """Split the larger one of two labels so that its slow part has the size of the smaller one."""
        large, small = (x, y) if self._sizes[x] > self._sizes[y] else (y, x)
        quotient, rest = divmod(self._sizes[large], self._sizes[small])
        if rest:
            return False
        fixed = self._fixed[large]
        self._means[large] = (*self.axis(self._sizes[small], fixed), *self.axis(quotient, fixed))
        return True

    def regroup(self, axes: Sequence[Axis], shape: Sequence[int]) -> list[Axis] | None:
        """The axes of a tensor that is viewed in another shape; None if its labels do not divide that way."""
        waiting = [label for axis in axes for label in self.resolve(axis)]
        result = []
        for length in shape:
            own: list[int] = []
            while self.length(tuple(own)) < length:
                missing, rest = divmod(length, self.length(tuple(own)))
                if rest or not waiting:
                    return None
                if self._sizes[waiting[0]] > missing:
                    if not self._split(waiting[0], self.axis(missing)[0]):
                        return None
                    waiting = [*self.resolve((waiting[0],)), *waiting[1:]]
                own.append(waiting.pop(0))
            if self.length(tuple(own)) != length:
                return None
            result.append(tuple(own))
        return result if not waiting else None
