"""Matching by sweeps: one group after another gets the change that brings B nearest to A while the others stay.

Git Re-Basin (Ainsworth et al., 2023, algorithm 1) for every kind of group. In the first sweep the groups come in the
order in which they can be known: one is looked at on the tensors whose other axes are fixed or were matched before, so
that matching grows from inputs, outputs and embeddings inwards. Afterwards a group is visited again where a neighbour
has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor

from llpf_plugin.alignment import nearest
from llpf_plugin.alignment.groups import Change, Group, Place, apply
from llpf_plugin.alignment.heads import dependents, head_similarity
from llpf_plugin.alignment.nearest import Products
from llpf_plugin.tasks.data import generator

SWEEPS, ENOUGH, NEAR, GAIN = 100, 1e-3, 0.1, 1e-14
"""The most sweeps; a sweep is the last if it gains no more than this part of what the first one did. Where B comes as
near to A as this part of A's norm, until a sweep gains no more than this part of its square."""
NOTHING = 1e-100
"""What a norm is at least, so that it can be divided by."""
LARGE = 1 << 16
"""Elements from which on products of rows are taken in float32."""


@dataclass
class Sweeps:
    """The state of a matching: B, absorbed, on its way to A.

    Attributes:
        a: A's tensors, absorbed; only those are looked at, so buffers are left out.
        b: B's, absorbed, buffers too; changed.
        groups: what may be done.
        seed: of the order in which groups are visited.
        changes: what was done to B so far, each with the name of its group, one after another.
        count: sweeps so far.
    """

    a: Mapping[str, Tensor]
    b: dict[str, Tensor]
    groups: Sequence[Group]
    seed: int = 0
    changes: list[tuple[str, Change]] = field(default_factory=list)
    count: int = 0

    @property
    def permutations(self) -> dict[str, Tensor]:
        """What became of the groups that only change places, ``[blocks, units]``."""
        only = [group for group in self.groups if group.kind == "permutation"]
        found = {group.name: torch.arange(group.size).repeat(group.blocks, 1) for group in only}
        for name, change in self.changes:
            if name in found:
                found[name] = found[name].gather(1, change)
        return found

    def run(self) -> None:
        """Sweep until nothing is gained that counts."""
        self.within = {group.name: dependents(group, self.groups) for group in self.groups}
        self._sizes = {name: float(t.square().sum(dtype=torch.float64)) for name, t in self.a.items()}
        size, began = sum(self._sizes.values()), self._square(self.a)
        waiting = self._grow()
        now = self._square(self.a)
        first = abs(began - now)
        while waiting and self.count < SWEEPS:
            gained, waiting = self._sweep(waiting)
            now -= gained
            if gained <= (GAIN * size if now <= NEAR**2 * size else max(ENOUGH * first, GAIN * size)):
                break

    def _grow(self) -> set[str]:
        """The first sweep; the names of the groups to be visited in the next one."""
        self.count, known, waiting = 1, set[str](), list(self.groups)
        at = self._groups_at()
        while waiting:
            group = waiting.pop(max(range(len(waiting)), key=lambda i: self._known_part(waiting[i], at, known)))
            inside = [place for place in group.places if self._is_known(place, group, at, known)]
            alone = bool(inside) and group.kind in ("permutation", "scaling", "rotary", "orthogonal")
            self._visit(group, inside if alone else group.places, sure=alone)
            known.add(group.name)
        return {group.name for group in self.groups}

    def _groups_at(self) -> dict[str, set[str]]:
        """The groups that every tensor is in."""
        found: dict[str, set[str]] = {}
        for group in self.groups:
            for name in group.tensors:
                found.setdefault(name, set()).add(group.name)
        return found

    def _is_known(self, place: Place, group: Group, at: Mapping[str, set[str]], known: set[str]) -> bool:
        return place.tensor in self.a and at[place.tensor] - {group.name} <= known

    def _known_part(self, group: Group, at: Mapping[str, set[str]], known: set[str]) -> float:
        """How much of a group's tensors has only known groups besides it, by their squared norms."""
        inside = {place.tensor for place in group.places if self._is_known(place, group, at, known)}
        whole = sum(self._sizes.get(name, 0.0) for name in group.tensors)
        return sum(self._sizes[name] for name in inside) / max(whole, NOTHING)

    def _sweep(self, names: set[str]) -> tuple[float, set[str]]:
        """Visit some groups; what was gained, and the groups that have a changed neighbour."""
        gained, again = 0.0, set[str]()
        order = torch.randperm(len(self.groups), generator=generator("cpu", self.seed, self.count, "matching"))
        at = self._groups_at()
        self.count += 1
        for group in (self.groups[i] for i in order.tolist()):
            if group.name in names | again:
                again.discard(group.name)
                gain = self._visit(group, group.places)
                gained += gain
                if gain > 0:
                    again |= set().union(*(at[name] for name in self._touched(group))) - {group.name}
        return gained, again

    def _touched(self, group: Group) -> list[str]:
        """Tensors of a group and of those that are solved with it."""
        inside = [name for one in self.within[group.name] for name in one.tensors]
        return list(dict.fromkeys([*group.tensors, *inside]))

    def _visit(self, group: Group, places: Sequence[Place], sure: bool = False) -> float:
        """Make the best change to a group if B comes nearer by it; by how much, in squared distance.

        ``sure`` takes it whatever it does to the tensors that it was not found on.
        """
        keeps_lengths = group.kind in ("permutation", "orthogonal") and not self.within[group.name]
        if keeps_lengths and not sure and len({place.tensor for place in places}) == len(places):
            return self._move(group, places)
        names = [name for name in self._touched(group) if name in self.b]
        before = {} if sure else {name: self.b[name] for name in names}
        old = self._square(names)
        changes = self._change(group, places)
        for inner in self.within[group.name]:
            changes += self._change(inner, inner.places)
        gain = old - self._square(names)
        if not sure and not gain > GAIN * max(old, NOTHING):
            self.b.update(before)
            return 0.0
        self.changes += changes
        return gain

    def _move(self, group: Group, places: Sequence[Place]) -> float:
        """`_visit` where lengths stay and every tensor is seen once: the gain is known without making the change."""
        similar = self.similarity(group, places)
        change = nearest.permutation(similar) if group.kind == "permutation" else nearest.rotation(similar, group.ones)
        now = similar.diagonal(dim1=-2, dim2=-1).sum()
        then = (similar.gather(2, change[..., None]) if group.kind == "permutation" else similar * change).sum()
        if not then - now > GAIN * similar.abs().sum():
            return 0.0
        apply(self.b, group, change)
        self.changes.append((group.name, change))
        return 2 * float(then - now)

    def _change(self, group: Group, places: Sequence[Place]) -> list[tuple[str, Change]]:
        """Change B's units of a group so that they come nearest to A's at some places."""
        made = []
        for find in FINDERS[group.kind]:
            change = find(self, group, places)
            apply(self.b, group, change)
            made.append((group.name, change))
        return made

    def _square(self, names: Mapping[str, Tensor] | Sequence[str]) -> float:
        """The squared distance of some tensors."""
        return sum(
            float((self.a[n] - self.b[n].to(self.a[n])).square().sum(dtype=torch.float64)) for n in names if n in self.a
        )

    def rows(self, places: Sequence[Place], dual: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of A and of B at the places that are duals, or are not, one place after another."""
        for place in places:
            if place.tensor in self.a and place.dual == dual:
                dtype = torch.float32 if self.b[place.tensor].numel() > LARGE else torch.float64
                yield place.rows(self.a[place.tensor]).to(dtype), place.rows(self.b[place.tensor]).to(dtype)

    def products(self, places: Sequence[Place], product: Callable[[Tensor, Tensor], Tensor]) -> Products:
        """What the nearest change is found from, by the product of two units' rows that its kind is about."""
        nothing = torch.zeros(*places[0].index.shape[:2], 1, dtype=torch.float64)
        found = [product(nothing, nothing) for _ in range(4)]
        for i, dual in enumerate((False, True)):
            for a, b in self.rows(places, dual):
                found[i] = found[i] + product(a, b).cpu()
                found[2 + i] = found[2 + i] + product(b, b).cpu()
        return Products(*found)

    def similarity(self, group: Group, places: Sequence[Place]) -> Tensor:
        """``Σ A Bᵀ`` over some places, ``[blocks, units, units]``."""
        total = torch.zeros(group.blocks, group.size, group.size, dtype=torch.float64)
        for pair in chain(self.rows(places, False), self.rows(places, True)):
            total += (pair[0] @ pair[1].mT).double().cpu()
        return total


def _order(state: Sweeps, group: Group, places: Sequence[Place]) -> Change:
    inside = state.within[group.name]
    if inside and inside[0].kind == "factors":
        gate = {place.where for place in inside[0].places}
        bound, free = ([place for place in places if (place.where in gate) == within] for within in (False, True))
        return nearest.permutation(state.similarity(group, bound) + state.similarity(group, free).abs())
    if inside:
        return nearest.permutation(torch.stack([head_similarity(state.rows, one) for one in inside]).sum(0)[None])
    return nearest.permutation(state.similarity(group, places))


def _balanced_order(state: Sweeps, group: Group, places: Sequence[Place]) -> Change:
    """Where units are scaled, that of rows as long as their duals': no scaling changes what it is found from."""
    total = torch.zeros(group.blocks, group.size, group.size, dtype=torch.float64)
    (a, own_a), (b, own_b) = _lengths(state, places, 0), _lengths(state, places, 1)
    sided = bool((a > NOTHING).any() and (own_a > NOTHING).any())
    for dual in (False, True):
        fa, fb = ((own / x) if sided else 1 / torch.maximum(x, own).square() for x, own in ((a, own_a), (b, own_b)))
        factors = (fa.unsqueeze(-1) * fb.unsqueeze(-2)).sqrt()
        for x, y in state.rows(places, dual):
            total += (x @ y.mT).double().cpu() * (1 / factors if dual and sided else factors)
    return nearest.permutation(total)


def _factors(state: Sweeps, group: Group, places: Sequence[Place]) -> Change:
    """The nearest ones; where only one side is looked at, those that make it as long as A's."""
    (a, own_a), (b, own_b) = _lengths(state, places, 0), _lengths(state, places, 1)
    if (own_a > NOTHING).any() and (a > NOTHING).any():
        return nearest.scale(state.products(places, nearest.inner))
    return a / b if (a > NOTHING).any() else own_b / own_a


def _lengths(state: Sweeps, places: Sequence[Place], which: int) -> tuple[Tensor, Tensor]:
    """Norms of every unit's rows and of its duals', of A (0) or B (1), ``[blocks, units]``."""
    found = []
    for dual in (False, True):
        squares = [pair[which].double().square().sum(-1).cpu() for pair in state.rows(places, dual)]
        zero = torch.zeros(places[0].index.shape[:2], dtype=torch.float64)
        found.append(sum(squares, zero).sqrt().clamp_min(NOTHING))
    return found[0], found[1]


def _rotation(state: Sweeps, group: Group, places: Sequence[Place]) -> Change:
    return nearest.rotation(state.similarity(group, places), group.ones)


def _mixing(state: Sweeps, group: Group, places: Sequence[Place]) -> Change:
    return nearest.invertible(state.products(places, nearest.outer))


def _numbers(state: Sweeps, group: Group, places: Sequence[Place]) -> Change:
    return nearest.factor(state.products(places, nearest.inner))


def _complex(state: Sweeps, group: Group, places: Sequence[Place]) -> Change:
    return nearest.complex_factor(state.products(places, nearest.complex_inner))


FINDERS = {
    "permutation": (_order,),
    "scaling": (_balanced_order, _factors),
    "factors": (_numbers,),
    "orthogonal": (_rotation,),
    "invertible": (_mixing,),
    "rotary": (_complex,),
}
"""What finds the changes of each kind, one after another."""
