"""A tick written down as the algorithm reads: what the walk's tick is compared with in time."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from llpf_plugin.geometry import clone
from llpf_plugin.llpf import Walk


class LiteralTick:
    """A tick on state dicts.

    Args:
        walk: placed at its start, between two models.
        step_a: share of the distance left that a tick moves.
    """

    def __init__(self, walk: Walk, step_a: float) -> None:
        self.model, self.step_a = copy.deepcopy(walk.workspace.model), step_a
        self.destination, self.spheres = clone(walk.direction.destination), walk.direction.spheres

    def __call__(self) -> None:
        """Move, project, and, settling left out, project again."""
        self.update(self.move)
        self.update(self.project)
        self.update(self.project)

    def update(self, change: Callable[[str, Tensor], Tensor]) -> None:
        """Change every coordinate of a deep copy of the state dict, and load it."""
        state = copy.deepcopy(self.model.state_dict())
        for name in self.destination:
            state[name] = change(name, state[name])
        self.model.load_state_dict(state)

    def move(self, name: str, p: Tensor) -> Tensor:
        """A share of the way, never past the destination."""
        towards = self.destination[name] - p
        gap = torch.norm(towards).item()
        return p + towards * (min(gap, self.step_a * gap) / gap) if gap > 0 else p

    def project(self, name: str, p: Tensor) -> Tensor:
        """Back to its variance sphere, if it has one."""
        if name not in self.spheres:
            return p
        mean, variance = p.mean(), p.var(correction=0).item()
        return (p - mean) * (self.spheres[name] / variance) ** 0.5 + mean
