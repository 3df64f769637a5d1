"""Directions: where a walk goes, which spheres hold on the way, and whether it has arrived.

It knows each coordinate's ``destination``, the variance of every held tensor (``spheres``), the distances at a phase's
start (``start_gaps``), factors on learning rates (``rates``), and the groups that may be scaled at no cost (``exact``).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm

from llpf_plugin.geometry import moves, placement, sphere
from llpf_plugin.geometry.scale_groups import ScaleGroup, variances
from llpf_plugin.geometry.weights import NEAR, Weights, layers_of, relative_distance, select
from llpf_plugin.llpf.step_control import Scheduled, StepControl
from llpf_plugin.records import Outcome


class Move(NamedTuple):
    """What a tick moves: tensors, fractions of their ways, whether these are all; distances before it, and at first."""

    names: Sequence[str]
    fractions: Tensor
    whole: bool
    gap: float
    start_gap: float


class ToModel:
    """Algorithm 1 (M2M): towards ``end``, every corrected tensor on the variance sphere that it has at the start."""

    lost, endless, rates, exact = Outcome.COLLAPSED, False, None, ()

    def __init__(self, weights: Weights, end: Weights, correct: sphere.Correct) -> None:
        self.weights, self.spheres, self.wanted = weights, sphere.spheres(weights, correct), dict[str, float]()
        self.destination = {k: placement.placed(end[k], p) for k, p in weights.items()}
        sphere.project_([self.destination[k] for k in self.spheres], self.spheres.values())
        self.start_gaps = torch.zeros(0)

    def gaps(self, active: frozenset[str]) -> Tensor:
        """The distance of every active tensor, 1-d."""
        return moves.gaps(*([w[k] for k in self.weights if k in active] for w in (self.weights, self.destination)))

    def propose(self, active: frozenset[str], control: StepControl, share: float) -> Move:
        """The next move of the active tensors; a share of 0 moves nothing."""
        gaps, names = self.gaps(active), [k for k in self.weights if k in active]
        groups = names if control.moves == "tensors" else [k.rpartition(".")[0] for k in names]
        fractions = control.fractions(moves.joint(gaps, groups), moves.joint(self.start_gaps, groups), share)
        gap, start, short = torch.stack([*map(vector_norm, (gaps, self.start_gaps)), (fractions < 1).sum()]).tolist()
        return Move(names, fractions, short == 0, gap, start)

    def moving(self) -> bool:
        """Whether anything is left to be moved, in any phase: settling may always have left the destination again."""
        return True

    def near(self) -> bool:
        """Whether every layer lies within `NEAR` of its destination, relative to its norm."""
        layers = layers_of(list(self.weights)).values()
        return all(relative_distance(select(self.weights, own), self.destination) <= NEAR for own in layers)


class ToOrigin:
    """Algorithm 2 (M2O): towards 0, from larger spheres to smaller ones; the reverse explodes.

    ``groups`` move, until each matrix has its target variance (0 for the origin itself) and is held there; the
    ``exact`` ones are scaled in the first step.
    """

    lost = Outcome.EDGE

    def __init__(
        self, weights: Weights, groups: Sequence[ScaleGroup], targets: Mapping[str, float],
        exact: Sequence[ScaleGroup] = (), angle_conformal: bool = True,
    ) -> None:  # fmt: skip
        self.weights, self.groups, self.conformal = weights, groups, angle_conformal
        self.exact, self.wanted, self.endless = exact, targets, not any(targets.values())
        self.destination = {k: torch.zeros((), dtype=p.dtype, device=p.device).expand_as(p) for k, p in weights.items()}
        self.spheres, self.rates, self.start_gaps = dict[str, float](), [1.0] * len(weights), torch.zeros(0)
        self.group_of = {name: i for i, g in enumerate(groups) for name in g.names}
        self.targets = torch.tensor([targets[g.matrix] for g in groups], dtype=torch.float64)
        self.start = variances(weights, groups)

    def _ways(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of every group: variance, distance to 0, the part of that up to its sphere (0 once it is there)."""
        norms = torch.stack([vector_norm(self.weights[g.matrix]) for g in self.groups]).cpu()
        now = variances(self.weights, self.groups)
        return now, norms, (1 - (self.targets / now).sqrt()).where(now > self.targets * sphere.ON_SPHERE, 0.0)

    def gaps(self, active: frozenset[str]) -> Tensor:
        """The distance of every group to its sphere, 1-d, whatever is active."""
        _, norms, parts = self._ways()
        return norms * parts

    def propose(self, active: frozenset[str], control: StepControl, share: float) -> Move:
        """The next move of the active groups that have not arrived, none beyond its sphere; sets spheres and rates."""
        now, norms, parts = self._ways()
        chosen = (parts > 0) & torch.tensor([g.matrix in active and share > 0 for g in self.groups])
        begun = self.start_gaps + norms * (1 - parts) if isinstance(control, Scheduled) else None  # distances to 0
        fractions = torch.minimum(control.fractions(norms, begun, share).double(), parts).where(chosen, 0.0)
        after = now * (1 - fractions) ** 2
        held = (self.targets > 0) & (after <= self.targets * sphere.ON_SPHERE)
        self.spheres = {g.matrix: float(self.targets[i]) for i, g in enumerate(self.groups) if held[i]}
        if self.conformal:  # AngleConformal: η = η_base · w/v, the variance after this move over that at the start
            ratios = (self.targets.where(held, after) / self.start).tolist()
            self.rates = [ratios[self.group_of[k]] if k in self.group_of else 1.0 for k in self.weights]
        names = [k for k in self.weights if k in self.group_of and chosen[self.group_of[k]]]
        own = fractions[[self.group_of[k] for k in names]].float()
        return Move(names, own, False, float(vector_norm(norms * parts)), float(vector_norm(self.start_gaps)))

    def moving(self) -> bool:
        """Whether a group has not arrived."""
        return bool((self._ways()[2] > 0).any())

    def near(self) -> bool:
        """Whether all groups have arrived; at the origin itself none can."""
        return self.endless or not self.moving()


Direction = ToModel | ToOrigin
