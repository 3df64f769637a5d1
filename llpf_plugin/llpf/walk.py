"""The workspace of a walk, and its state: what changes from tick to tick."""

from collections.abc import Set
from dataclasses import dataclass, field

import torch
from torch import Tensor

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.weights import NEAR, Weights, layers_of, relative_distance, select
from llpf_plugin.workspace import Gradient


@dataclass(frozen=True)
class WalkState:
    """Where a walk stands, besides the weights themselves.

    Attributes:
        phase: index of the phase.
        tick: ticks done in it.
        sweep: how often the phases have been gone through from the first to the last.
        side: whose turn it is: 0, the walk from A; 1, the walk from B; always 0 in a one-sided walk.
        gap: the distance of all active tensors together when the phase began.
        share: the pace's present share.
        lr: the pace's present factor on the learning rate.
        stuck: settlings on the spot in a row.
        closest: the least distance reached in this phase.
        stalled: ticks since then.
        outcome: name of the `Outcome`, None while the walk goes on.
    """

    phase: int = 0
    tick: int = 0
    sweep: int = 0
    side: int = 0
    gap: float = 0.0
    share: float = 0.0
    lr: float = 1.0
    stuck: int = 0
    closest: float = 0.0
    stalled: int = 0
    outcome: str | None = None


@dataclass
class Walk:
    """The workspace: the model's tensors in place, and the only copies that a walk keeps.

    Attributes:
        gradient: the counted gradient whose model walks.
        weights: the model's coordinates, in place.
        destination: the leg's end projected on the start's spheres; in a two-sided walk the other walker's place.
        spheres: variance of every tensor that is held on its sphere.
        before: the weights before the last move, to undo it.
        optimizer: settles.
        end: the leg's end itself.
        start_gaps: each active tensor's distance when the phase began.
        side: the walker in the model: 0 set out from the start, 1 from the end.
    """

    gradient: Gradient
    weights: Weights
    destination: Weights
    spheres: dict[str, float]
    before: Weights
    optimizer: torch.optim.SGD
    end: Weights
    start_gaps: Tensor = field(default_factory=lambda: torch.zeros(0))
    side: int = 0

    def active(self, names: Set[str] | None) -> tuple[list[Tensor], list[Tensor]]:
        """The tensors of these names (None: all) and their destinations."""
        own = [k for k in self.weights if names is None or k in names]
        return [self.weights[k] for k in own], [self.destination[k] for k in own]

    def turn(self) -> None:
        """The other walker's turn: its place becomes the model, and this one's its destination."""
        here, there, scratch = (list(w.values()) for w in (self.weights, self.destination, self.before))
        torch._foreach_copy_(scratch, here)
        torch._foreach_copy_(here, there)
        torch._foreach_copy_(there, scratch)
        self.optimizer.state.clear()
        self.side = 1 - self.side

    def near(self) -> bool:
        """Whether the weights lie within `NEAR` of their destination in every layer: the test of arrival."""
        names = layers_of(list(self.weights)).values()
        return all(relative_distance(select(self.weights, own), self.destination) <= NEAR for own in names)

    def project(self) -> None:
        """`VarianceCorrection` of every corrected tensor, active or not, since settling moves them all."""
        sphere.project_([self.weights[k] for k in self.spheres], self.spheres.values())

    def undo(self) -> None:
        """Go back to the weights before the last move, at rest."""
        torch._foreach_copy_(list(self.weights.values()), list(self.before.values()))
        self.optimizer.state.clear()
