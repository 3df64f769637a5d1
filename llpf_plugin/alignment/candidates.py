"""From labels to groups: each label that something may be done to, with all its places; none of them is verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import torch
from torch import Tensor

from llpf_plugin.alignment.axes import Axes, Axis, Freedom, Labels
from llpf_plugin.alignment.edges import Edges, settle
from llpf_plugin.alignment.groups import Absorption, Group, Kind, Place, Symmetry
from llpf_plugin.alignment.terms import terms

SMALL = 1e-3
"""The smallest element of a scale over its largest, for it to be absorbed."""


@dataclass
class _Seen:
    """One term of a tensor's axis that has a label: its other labels are the context."""

    tensor: str
    axis: int
    labels: Axis
    grid: Tensor
    at: int

    @property
    def dual(self) -> bool:
        return self.labels[self.at] < 0

    def around(self) -> list[int]:
        """The slower labels of the term: what they number may each have units of its own."""
        return [abs(label) for label in self.labels[: self.at]]

    def place(self, blocks: Sequence[int]) -> Place:
        """The units ``[blocks, units, rest]``, a block for each combination of the labels ``blocks``."""
        own = [abs(label) for label in self.labels]
        first = [own.index(label) for label in blocks]
        order = [*first, self.at, *(i for i in range(len(own)) if i not in (*first, self.at))]
        sizes = [self.grid.shape[i] for i in order]
        count = torch.Size(sizes[: len(first)]).numel()
        return Place(self.tensor, self.axis, self.grid.permute(order).reshape(count, sizes[len(first)], -1), self.dual)


@dataclass
class Candidates:
    """The groups of a graph, the freest ones that its labels allow."""

    labels: Labels
    own: Mapping[str, Axes]
    seen: dict[int, list[_Seen]] = field(default_factory=dict)
    edges: Edges = field(default_factory=Edges)

    def groups(self) -> list[Group]:
        """One group for every label that is not fixed, in the order of the tensors; then gates and rotary positions."""
        names = {axes[0][0]: name for name, axes in self.own.items() if len(axes) == 1 and axes[0]}
        self.edges = settle(self.labels, names)
        self._look()
        taken = self.edges.taken()
        free = [label for label in self.seen if label not in taken and self.labels.freedom(label)]
        return [*(self._group(label) for label in free), *self._gates(), *self._rotary()]

    def _look(self) -> None:
        """Where every label is seen."""
        self.labels.collapsed = True
        while self.labels.collapsed:
            self.labels.collapsed, self.seen = False, {}
            for name, axes in self.own.items():
                for i, axis in enumerate(axes):
                    for labels, grid in terms(self.labels, axis):
                        for at, label in enumerate(labels):
                            self.seen.setdefault(abs(label), []).append(_Seen(name, i, labels, grid, at))

    def _group(self, label: int) -> Group:
        seen, dependents = self.seen[label], self.edges.dependents.get(label, [])
        for one in self.edges.gates.get(label, []):
            seen = [*seen, *self.seen.get(one.factor, []), *self.seen.get(one.result, [])]
        blocks = [] if dependents else self._blocks(seen)
        places, absorptions = [each.place(blocks) for each in seen], []
        for other in dependents:
            own = [each.place([]) for each in self.seen.get(other.label, [])]
            places += [replace(place, dual=place.dual != other.opposite) for place in own]
            sides = [[place for place in own if (place.dual != other.dual) == read] for read in (True, False)]
            times, by = sides if other.after else reversed(sides)
            absorptions.append(Absorption(other.gamma, tuple(times), tuple(by)))
        first = next((place for place in places if place.axis == 0), places[0])
        if first.dual:  # which of the two is the dual is a matter of words
            places = [replace(place, dual=not place.dual) for place in places]
        freedom = self.labels.freedom(label)
        name, kind = _name(first, seen), kind_of(freedom, places)
        return Group(name, tuple(places), kind, bool(freedom & Freedom.ONES), tuple(absorptions))

    def _gates(self) -> Iterator[Group]:
        """What the units of gates' linear factors may be multiplied by, where weights write and read them."""
        for gated in (one for group in self.edges.gates.values() for one in group):
            factor, result = (self.seen.get(label, []) for label in (gated.factor, gated.result))
            if factor and result:
                places = [one.place([]) for one in factor]
                places += [replace(p, dual=p.dual != gated.opposite) for p in (one.place([]) for one in result)]
                if places[0].dual:
                    places = [replace(place, dual=not place.dual) for place in places]
                yield Group(_name(places[0], factor) + "·", tuple(places), "factors")

    def _rotary(self) -> Iterator[Group]:
        """Units that positions rotate in pairs, the i-th of one half with the i-th of the other, for every head."""
        pairs: dict[int, list[tuple[Place, _Seen]]] = {}
        for label, seen in self.seen.items():
            for i, one in enumerate(seen[:-1] if not self.labels.freedom(label) else []):
                two, around = seen[i + 1], one.around()
                if around and (two.tensor, two.axis, two.labels) == (one.tensor, one.axis, one.labels):
                    halves = [each.place(around[:1]).index for each in (one, two)]
                    pairs.setdefault(around[0], []).append((Place(one.tensor, one.axis, torch.cat(halves, 1)), one))
        for found in pairs.values():
            first, seen_first = found[0]
            layer = first.tensor.rpartition(".")[0]
            places = tuple(replace(place, dual=place.tensor.rpartition(".")[0] != layer) for place, _ in found)
            yield Group(_name(first, [seen_first]), places, "rotary")

    def _blocks(self, seen: Sequence[_Seen]) -> list[int]:
        """Labels that stand around a label wherever it is seen, as heads do around the width of a head."""
        return [label for label in seen[0].around() if all(label in one.around() for one in seen)]


def kind_of(freedom: Freedom, places: Sequence[Place]) -> Kind:
    """The largest of the groups of changes that a label allows."""
    both = len({place.dual for place in places}) == 2
    if freedom & Freedom.ROTATE:
        whole = freedom & Freedom.SCALE and freedom & Freedom.ONES and both
        return "invertible" if whole else "orthogonal"
    return "scaling" if freedom & Freedom.SCALE and both else "permutation"


def weaker(group: Group) -> Iterator[Group]:
    """A group, and what else it may be where that changes the output: fewer changes, then one for all blocks."""
    yield group
    if group.kind == "rotary":  # which of the places are contracted with the others
        for duals in list(product((False, True), repeat=len(group.places) - 1))[: 1 << 5]:
            places = (group.places[0], *(replace(p, dual=d) for p, d in zip(group.places[1:], duals, strict=True)))
            yield replace(group, places=places)
    if group.kind in ("rotary", "factors"):
        return
    if group.absorptions:
        scales = tuple(Place(one.gamma, 0, torch.arange(group.size).reshape(1, -1, 1)) for one in group.absorptions)
        group = replace(group, absorptions=(), places=group.places + scales)
    if group.kind == "invertible":
        yield replace(group, kind="orthogonal")
        yield replace(group, kind="orthogonal", ones=False)
    if group.kind != "permutation":
        yield replace(group, kind="permutation")
    if group.blocks > 1:
        whole = tuple(
            replace(place, index=place.index.permute(1, 0, 2).reshape(1, group.size, -1)) for place in group.places
        )
        yield replace(group, kind="permutation", places=whole)


def permuting(group: Group) -> Group | None:
    """The group with permutations only, None if its units have one place each."""
    return next((one for one in weaker(group) if one.kind == "permutation"), None)


def absorbable(found: Symmetry, *models: Mapping[str, Tensor]) -> Symmetry:
    """The symmetries of some models: permutations only where a scale has elements too small to be divided by."""

    def fits(group: Group) -> bool:
        gammas = [weights[one.gamma].abs() for one in group.absorptions for weights in models]
        return all(bool(gamma.min() > SMALL * gamma.max()) for gamma in gammas)

    return replace(found, groups=tuple(group if fits(group) else permuting(group) or group for group in found.groups))


def permutations_only(found: Symmetry) -> Symmetry:
    """The symmetries of Git Re-Basin: units change places and nothing else is done to them."""
    return replace(found, groups=tuple(one for group in found.groups if (one := permuting(group)) is not None))


def _name(first: Place, seen: Sequence[_Seen]) -> str:
    """The first tensor whose outputs the units are, the axis, and which factor of it and from where on, if a part."""
    one = next((each for each in seen if (each.tensor, each.axis) == (first.tensor, first.axis)), seen[0])
    inside, begin = f"/{one.at}" if len(one.labels) > 1 else "", int(one.grid.flatten()[0])
    return f"{one.tensor}[{one.axis}{inside}]" + (f"+{begin}" if begin else "")
