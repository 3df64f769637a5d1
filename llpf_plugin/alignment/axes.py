"""Labels of axes: which units of a network are the same units seen by several tensors, and what may be done to them.

An axis is a tuple of labels whose sizes multiply to its length, the slowest one first: after flattening, an axis of
512 · 7 · 7 elements is (channel, row, column). A label is one set of units. Labels that meet in an operation become
one; a label that turns out to be a product of others, or several of them one after another, is split.

What is done to the units of a label ``x`` is done inversely to whatever is contracted with them: that is its dual, and
is written ``-x``. Where a label meets its own dual, only what equals its own inverse transpose is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag
from math import prod

Axis = tuple[int, ...]
Axes = list[Axis]
"""The axes of one tensor."""


class Freedom(IntFlag):
    """What may be done to a label's units while the network computes the same."""

    FIXED = 0
    PERMUTE = 1
    SCALE = 2
    """Each by a positive factor."""
    ROTATE = 4
    """By an orthogonal matrix; together with `SCALE`, by any invertible one."""
    ONES = 8
    """Rotations may move the vector of ones."""
    ALL = 15


class Labels:
    """The labels of one graph, with union and splitting."""

    def __init__(self) -> None:
        self._sizes = [0]
        self._freedom = [Freedom.FIXED]
        self._means: dict[int, Axis] = {}  # what a label was united with or split into
        self._parts: dict[int, list[Axis]] = {}  # what stands one after another on it
        self._copies: dict[int, tuple[int, Axis]] = {}  # the label of slices, and what it is in each
        self._family: dict[int, int] = {}  # the label that it was split from at first
        self._reasons: dict[int, str] = {}  # why nothing may be done to it
        self._squares: dict[int, Axis] = {}  # of what it is the squares, until that matters
        self.vectors: set[int] = set()
        """Labels of stored vectors, each of which may become a diagonal."""
        self.diagonals: list[tuple[Axis, Axis, int]] = []
        """Axes of x and y, and the vector γ, for every y = γ · x."""
        self.gates: list[tuple[Axis, Axis, Axis]] = []
        """Axes of x, y and z for every z = x · y of two activations."""
        self.collapsed = False

    def axis(self, length: int, freedom: Freedom = Freedom.ALL) -> Axis:
        """A new axis of one label; an axis of length 1 has none."""
        if length == 1:
            return ()
        self._sizes.append(length)
        self._freedom.append(freedom)
        return (len(self._sizes) - 1,)

    def fixed_axis(self, length: int) -> Axis:
        """A new axis whose units keep their places."""
        return self.axis(length, Freedom.FIXED)

    def resolve(self, axis: Axis) -> Axis:
        """The same axis in labels that are not another's name or product."""
        result = list[int]()
        for label in axis:
            if (squared := self._squares.pop(abs(label), None)) is not None:
                self._means[abs(label)] = self.restrict(squared, Freedom.PERMUTE)
            meaning = self._means.get(abs(label))
            own = (label,) if meaning is None else self.resolve(meaning if label > 0 else dual(meaning))
            result += own
        return tuple(result)

    def length(self, axis: Axis) -> int:
        """The number of elements along an axis."""
        return prod(self.sizes(axis))

    def sizes(self, axis: Axis) -> tuple[int, ...]:
        """The size of each label of an axis."""
        return tuple(self._sizes[abs(label)] for label in axis)

    def freedom(self, label: int) -> Freedom:
        """What may be done to the units of a label that stands for itself."""
        return self._freedom[abs(label)]

    def restrict(self, axis: Axis, freedom: Freedom) -> Axis:
        """Allow no more than ``freedom`` to any label of an axis, which is returned."""
        for label in self.resolve(axis):
            own = abs(label)
            self._freedom[own] &= freedom
            for inside in (*self._parts.get(own, ()), *((copy,) for copy in self._copies.get(own, (0, ()))[1])):
                self.restrict(inside, freedom)
        return axis

    def fix(self, *axes: Axis, why: str = "") -> None:
        """Allow nothing to any label of these axes, and remember why."""
        for axis in axes:
            for label in self.resolve(axis) if why else ():
                self._reasons.setdefault(abs(label), why)
            self.restrict(axis, Freedom.FIXED)

    def reason(self, axis: Axis) -> str:
        """Why nothing may be done to an axis, as far as that is known."""
        own = self.resolve(axis)
        inside = [part for label in own for part in self._parts.get(abs(label), [])]
        found = [self._reasons.get(abs(label), "") for label in own] + [self.reason(part) for part in inside]
        return next((why for why in found if why), "")

    def unite(self, first: Axis, second: Axis) -> Axis:
        """Make two axes of one length the same, splitting labels where they differ; what does not fit is fixed."""
        a, b = self.resolve(first), self.resolve(second)
        done = 0
        while done < min(len(a), len(b)):
            x, y = a[done], b[done]
            if abs(x) == abs(y):
                if x != y:
                    self.restrict((x,), Freedom.ALL & ~Freedom.SCALE)
                done += 1
                continue
            same = self._sizes[abs(x)] == self._sizes[abs(y)]
            if not (self._join(x, y) if same else self._split(x, y)):
                self.fix(a[done:], b[done:], why="its units meet others in another number")
                break
            a, b = self.resolve(a), self.resolve(b)
        return a

    def _join(self, x: int, y: int) -> bool:
        """Make two labels of one size the same; False if what they hold does not fit."""
        if abs(x) in self._copies and abs(y) in self._copies and self._copies[abs(x)][0] != self._copies[abs(y)][0]:
            self.collapse(x)
            self.collapse(y)
            self.unite((x,), (y,))
            return True
        if abs(x) in self._parts and abs(y) in self._parts:
            marks = {*self._marks(x), *self._marks(y)}
            cuts = [self._cut((label,), mark) for label in (x, y) for mark in marks]
            if not all(cuts):
                return False
            for p, q in zip(self.parts(x), self.parts(y), strict=True):
                self.unite(p, q)
        elif abs(x) in self._copies and abs(y) in self._copies:
            for own, other in zip(self._copies[abs(x)][1], self._copies[abs(y)][1], strict=True):
                self.unite((own if x > 0 else -own,), (other if y > 0 else -other,))
        elif abs(y) in self._parts or abs(y) in self._copies:
            if abs(x) in self._parts or abs(x) in self._copies:
                return False
            x, y = y, x
        self.restrict((x,), self._freedom[abs(y)])
        if why := self._reasons.get(abs(y), ""):
            self._reasons.setdefault(abs(x), why)
        self._means[abs(y)] = (x if y > 0 else -x,)
        return True

    def _split(self, x: int, y: int) -> bool:
        """Split the larger one of two labels so that its slow part has the size of the smaller one."""
        large, small = (abs(x), abs(y)) if self._sizes[abs(x)] > self._sizes[abs(y)] else (abs(y), abs(x))
        quotient, rest = divmod(self._sizes[large], self._sizes[small])
        if rest or large in self._parts or large in self._copies:
            return False
        freedom = self._freedom[large]
        self._means[large] = (*self.axis(self._sizes[small], freedom), *self.axis(quotient, freedom))
        self._family.update(dict.fromkeys(self._means[large], self._family.get(large, large)))
        self._reasons.update(dict.fromkeys(self._means[large], self._reasons.get(large, "")))
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
                if self._sizes[abs(waiting[0])] > missing:
                    if not self._split(waiting[0], self.axis(missing)[0]):
                        return None
                    waiting = [*self.resolve((waiting[0],)), *waiting[1:]]
                own.append(waiting.pop(0))
            if self.length(tuple(own)) != length:
                return None
            result.append(tuple(own))
        return result if not waiting else None

    def concatenate(self, parts: Sequence[Axis]) -> Axis:
        """An axis on which several stand one after another."""
        if len(parts) == 1:
            return parts[0]
        whole = self.axis(sum(self.length(part) for part in parts))
        self._parts[whole[0]] = list(parts)
        return whole

    def piece(self, axis: Axis, start: int, stop: int) -> Axis | None:
        """The part of an axis between two positions, None if it cannot be had by itself."""
        if not (self._cut(axis, start) and self._cut(axis, stop)):
            return None
        axis = self.resolve(axis)
        if start == 0 and stop == self.length(axis):
            return axis
        inner, place, taken = self.length(axis[1:]), 0, list[Axis]()
        for part in self.parts(axis[0]):
            if start <= place < stop:
                taken.append(part)
            place += self.length(part) * inner
        return (*self.concatenate(taken), *axis[1:])

    def parts(self, label: int) -> list[Axis]:
        """What stands one after another on a label that has parts, in labels without parts of their own."""
        found = list[Axis]()
        for part in self._parts[abs(label)]:
            own = self.resolve(part)
            found += self.parts(own[0]) if len(own) == 1 and abs(own[0]) in self._parts else [own]
        return found if label > 0 else [dual(part) for part in found]

    def _marks(self, label: int) -> list[int]:
        """Where the parts of a label begin."""
        lengths = [self.length(part) for part in self.parts(label)]
        return [sum(lengths[:i]) for i in range(1, len(lengths))]

    def _cut(self, axis: Axis, at: int) -> bool:
        """See to it that an axis has parts on both sides of a position; False if it cannot be cut there."""
        axis = self.resolve(axis)
        if at in (0, self.length(axis)):
            return True
        own, (at, rest) = abs(axis[0]), divmod(at, self.length(axis[1:]))
        if rest or own in self._copies:
            return False
        if own not in self._parts:
            freedom, size = self._freedom[own], self._sizes[own]
            self._parts[own] = [self.axis(at, freedom), self.axis(size - at, freedom)]
            return True
        for part in self._parts[own]:
            if at < self.length(part):
                return self._cut(part, at)
            at -= self.length(part)
        return True

    def sliced(self, outer: Axis, others: Sequence[Axis], number: int) -> list[Axis]:
        """The other axes of a tensor's ``number``-th slice along ``outer``.

        What was split from the same axis as ``outer``, as queries, keys and values are, is other units in each slice.
        """
        own = self.resolve(outer)
        self.fix(outer, why="each has a role of its own")
        if len(own) != 1 or abs(own[0]) in self._parts:
            return list(others)
        return [tuple(self._copy(label, abs(own[0]), number) for label in self.resolve(axis)) for axis in others]

    def _copy(self, label: int, outer: int, number: int) -> int:
        own = abs(label)
        if own in self._parts or self._family.get(own, own) != self._family.get(outer, 0):
            return label
        if own not in self._copies:
            size, freedom = self._sizes[own], self._freedom[own]
            self._copies[own] = (outer, tuple(self.axis(size, freedom)[0] for _ in range(self._sizes[outer])))
        by, copies = self._copies[own]
        return label if by != outer else copies[number] if label > 0 else -copies[number]

    def collapse(self, label: int) -> None:
        """Make what a label is in each slice the same units after all."""
        own = abs(label)
        _, (first, *rest) = self._copies.pop(own)
        for copy in rest:
            self.unite((first,), (copy,))
        self._means[own] = (first,)

    def square(self, axis: Axis) -> Axis:
        """The axis of squares: summed over it they allow rotations of what was squared, else no more than permuting."""
        result = self.axis(self.length(axis))
        self._squares.update(dict.fromkeys(result, axis))
        return result

    def squared(self, axis: Axis) -> Axis | None:
        """What an axis has the squares of, None if it has no squares."""
        return self._squares.get(axis[0]) if len(axis) == 1 else None

    def diagonal(self, x: Axis, vector: Axis) -> Axis | None:
        """The axis of ``γ · x`` for a stored vector γ, None if x is not one set of units, or γ is used elsewhere."""
        if self.single(x) is None or vector[0] not in self.vectors:
            return None
        self.vectors.discard(vector[0])
        y = self.axis(self.length(x))
        self.diagonals.append((x, y, vector[0]))
        return y

    def gate(self, x: Axis, y: Axis) -> Axis | None:
        """The axis of ``x · y`` for two activations, None if they have the same units or more than one set of them."""
        one, other = self.single(x), self.single(y)
        if one is None or other is None or abs(one) == abs(other) or not (self.freedom(one) and self.freedom(other)):
            return None
        z = self.axis(self.length(x))
        self.gates.append((x, y, z))
        return z

    def single(self, axis: Axis) -> int | None:
        """The label of an axis that has one, without parts and slices; None of any other axis."""
        own = self.resolve(axis)
        whole = len(own) == 1 and abs(own[0]) not in self._parts and abs(own[0]) not in self._copies
        return own[0] if whole else None

    def holds_parts(self, label: int) -> bool:
        """Whether several stand one after another on a label."""
        return abs(label) in self._parts

    def slices(self, label: int) -> tuple[int, Axis] | None:
        """The label of the slices in which a label is other units, and what it is in each; None of any other label."""
        own = abs(label)
        return (abs(self.resolve((self._copies[own][0],))[0]), self._copies[own][1]) if own in self._copies else None


def dual(axis: Axis) -> Axis:
    """What is contracted with an axis."""
    return tuple(-label for label in axis)
