"""What LLPF is measured beside: the settings of each method, and which file solves it.

Nothing here imports torch, so that the command line can list methods and settings without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llpf_plugin.methods.base import Method, setting


@dataclass(frozen=True)
class Linear(Method):
    """The straight segment from A to B; nothing is trained.

    With ``repair``, the path leads through points of the segment whose activations were corrected (REPAIR); only the
    model between the ends changes, and only where no BatchNorm follows a layer.
    """

    name: ClassVar[str] = "linear"
    source: ClassVar[str] = "Frankle et al., 2020, arXiv 1912.05671; REPAIR: Jordan et al., 2023, arXiv 2211.08403"
    binds_with: ClassVar[str] = "llpf_plugin.methods.segment:plan"
    finds_with: ClassVar[str] = "llpf_plugin.methods.segment:findings"
    repair: bool = setting(False, "correct every unit's mean and deviation between the ends (REPAIR)")

    @property
    def seeks_rate(self) -> bool:
        """No: nothing is trained."""
        return False


@dataclass(frozen=True)
class Finetune(Method):
    """SGD from A for a number of steps, wherever that leads: what one does instead of merging."""

    name: ClassVar[str] = "finetune"
    source: ClassVar[str] = "the baseline of every table"
    binds_with: ClassVar[str] = "llpf_plugin.methods.finetune:plan"
    steps: int | None = setting(None, "gradient steps [the budget]", within="[1, inf)")


@dataclass(frozen=True)
class Curve(Method):
    """A curve from A to B through one trained point, for subclasses that say how: ``basis``.

    Every gradient step draws a place t, takes the gradient of the loss at the curve's point there, and steps on the
    trained point. What is stored is the piecewise linear path through evenly spaced points of the curve.
    """

    binds_with: ClassVar[str] = "llpf_plugin.methods.curve:plan"
    steps: int | None = setting(None, "gradient steps [the budget]", within="[1, inf)")
    on_sphere: bool = setting(False, "project every point on the variance sphere")
    pieces: int = setting(20, "segments of the stored path", within="[1, inf)")

    def basis(self, t: float) -> tuple[float, float, float]:
        """The weights of A, of the trained point and of B in the curve's point at ``t`` in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} does not say where its points lie")


@dataclass(frozen=True)
class Bezier(Curve):
    """A quadratic Bezier curve whose control point is trained (fast geometric ensembling)."""

    name: ClassVar[str] = "bezier"
    source: ClassVar[str] = "Garipov et al., 2018, arXiv 1802.10026"

    def basis(self, t: float) -> tuple[float, float, float]:
        """The Bernstein polynomials of degree 2."""
        return ((1 - t) ** 2, 2 * t * (1 - t), t**2)


@dataclass(frozen=True)
class SphereCurve(Bezier):
    """A Bezier curve whose points are projected on the variance spheres between A's and B's."""

    name: ClassVar[str] = "sphere-curve"
    source: ClassVar[str] = "Garipov et al., 2018, with VarianceCorrection of arXiv 2505.02604"
    on_sphere: bool = setting(True, "project every point on the variance sphere")


@dataclass(frozen=True)
class LearnedMatching(Method):
    """The straight line from A to a network that computes what B does, its units placed where the line is low.

    B's units are matched with A's by their weights first; then gradient steps turn, scale and mix them as the network's
    symmetries allow. The path ends at that equivalent of B.
    """

    name: ClassVar[str] = "learned-matching"
    source: ClassVar[str] = "Theus et al., 2025, arXiv 2506.22712"
    binds_with: ClassVar[str] = "llpf_plugin.methods.learned_matching:plan"
    steps: int | None = setting(None, "gradient steps [500, or the budget if that is less]", within="[1, inf)")
    rate: float = setting(0.03, "of Adam's first steps; it falls as a half cosine", within="(0, inf)")

    usual: ClassVar[int] = 500

    @property
    def seeks_rate(self) -> bool:
        """No: the model's learning rate has no part in it."""
        return False


@dataclass(frozen=True)
class AutoNEB(Method):
    """A chain of pivots that slide downhill across it while they stay evenly spaced along it."""

    name: ClassVar[str] = "autoneb"
    source: ClassVar[str] = "Draxler et al., 2018, arXiv 1803.00885"
    binds_with: ClassVar[str] = "llpf_plugin.methods.autoneb:plan"
    steps: int | None = setting(
        None, "gradient steps, divided among the paper's 14 cycles [the budget]", within="[1, inf)"
    )
    weight_decay: float = setting(1e-4, "added to the pivots' gradients", within="[0, inf)")
