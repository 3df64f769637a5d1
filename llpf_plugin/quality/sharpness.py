"""The sharpness profile of a mode or a knot: its loss under random perturbations (paper, appendix L)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from llpf_plugin.evaluation.point import train_loss
from llpf_plugin.geometry.weights import Weights, norm
from llpf_plugin.tasks.data import generator
from llpf_plugin.workspace import Workspace

RADII = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
"""Relative sizes of the perturbation."""


@dataclass(frozen=True)
class Sharpness:
    """A sharpness profile.

    Attributes:
        radii: relative sizes ``r`` of the perturbation, ``[radii]``.
        losses: training loss in every direction, ``[radii, directions]``.
    """

    radii: np.ndarray
    losses: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The profile: the mean over directions, ``[radii]``."""
        return self.losses.mean(1)


def sharpness(
    workspace: Workspace,
    weights: Weights,
    radii: Sequence[float] = RADII,
    directions: int = 5,
    seed: int = 0,
    sample: int | None = 1000,
) -> Sharpness:
    """The training loss at ``θ + r·‖θ‖·δ/‖δ‖`` with Gaussian ``δ``, running statistics re-estimated at each point.

    Args:
        workspace: whose model is used as a workspace.
        weights: coordinates ``θ`` of the point.
        radii: relative sizes ``r``.
        directions: random directions, the same for every radius.
        seed: of the directions, so that two points are perturbed alike.
        sample: training examples, None for all.
    """
    scale = norm(weights)
    losses = np.zeros((len(radii), directions))
    for j in range(directions):
        rng = generator("cpu", seed, j, "sharpness")
        drawn = {k: torch.randn(t.shape, generator=rng).to(t) for k, t in weights.items()}
        unit = scale / norm(drawn)
        for i, radius in enumerate(radii):
            point = {k: t + radius * unit * drawn[k] for k, t in weights.items()}
            losses[i, j] = train_loss(workspace, point, sample)
    return Sharpness(np.array(radii, dtype=float), losses)
