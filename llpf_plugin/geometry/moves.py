"""Moves: one straight step of some tensors towards a destination, never past it (paper, Algorithm 1, line 5).

`StepRule` is the paper's per-tensor step; other step controls move the same way.
Moves write in place and read nothing back from the device; differences are taken one tensor at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from llpf_plugin.geometry.placement import local, totals

Moves = Literal["tensors", "layers"]
"""What moves as one vector, by one distance and one step length: every tensor, or all tensors of a layer."""


@dataclass(frozen=True)
class StepRule:
    """The length of a move, ``min(gap, max(step_c + step_f·gap₀, step_a·gap))``, per tensor.

    Attributes:
        step_c: an absolute length.
        step_a: a share of the distance that is left.
        step_f: a share of ``gap₀``, the distance when the phase began.
    """

    step_c: float = 0.0
    step_a: float = 0.0
    step_f: float = 0.0

    def fractions(self, gaps: Tensor, start_gaps: Tensor) -> Tensor:
        """The share of each gap that is walked, in [0, 1]; 1-d tensors in and out."""
        lengths = torch.maximum(self.step_c + self.step_f * start_gaps, self.step_a * gaps)
        return torch.where(gaps > 0, lengths / gaps, 1.0).clamp(0, 1)


@torch.no_grad()
def gaps(tensors: Sequence[Tensor], destination: Sequence[Tensor]) -> Tensor:
    """The distances ``‖d − p‖₂``, one per tensor, as a 1-d float32 (or wider) tensor on the device."""
    if not tensors:
        return torch.zeros(0)
    # Sums are pairwise; over millions of elements ``vector_norm`` in float32 loses three digits on a CPU.
    pairs = [(local(p), local(d)) for p, d in zip(tensors, destination, strict=True)]
    grouped = all(p.is_cuda and p.dtype == torch.float32 for p, _ in pairs)
    return totals(_grouped_squares(pairs) if grouped else _squares(pairs), tensors).sqrt()


def _squares(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.stack([(d - p).to(_wide(p)).square_().sum() for p, d in pairs])


def _grouped_squares(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Likewise, by a few kernels for all pairs: on a GPU it is their number that takes time."""
    ps, ds = zip(*pairs, strict=True)
    return torch.stack(torch._foreach_norm(torch._foreach_sub(ds, ps))).square()


def joint(gaps: Tensor, groups: Sequence[str]) -> Tensor:
    """The distance of each tensor's group, whose tensors count as one vector, 1-d as ``gaps``.

    Args:
        gaps: distances, one per tensor, 1-d.
        groups: the name of each tensor's group.
    """
    number = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    if len(number) == len(groups):
        return gaps
    index = torch.tensor([number[name] for name in groups], device=gaps.device)
    return gaps.new_zeros(len(number)).index_add_(0, index, gaps.square()).sqrt()[index]


@torch.no_grad()
def move_(tensors: Sequence[Tensor], destination: Sequence[Tensor], fractions: Tensor) -> None:
    """``p ← p + fraction·(d − p)`` in place, each tensor by its own fraction in [0, 1]; exact at 0 and 1."""
    for p, d, fraction in zip(tensors, destination, fractions.unbind(), strict=True):
        local(p).lerp_(local(d), fraction.to(p.dtype))


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
