"""LLPF as a method: what can be set, with which defaults. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from llpf_plugin.errors import LLPFError
from llpf_plugin.methods.base import Method, setting

if TYPE_CHECKING:
    from llpf_plugin.geometry.sphere import Correct
    from llpf_plugin.geometry.weights import Weights
    from llpf_plugin.order.result import LayerOrder


REPAIRS = 6
"""Rounds of repairs of a walk with adaptive steps at most."""


@dataclass(frozen=True)
class LLPF(Method):
    """Low-loss path finding: walk from A to B layer by layer along the data flow, on the variance spheres.

    With ``schedule`` it is the paper's setting to the letter: the file says what moves, how far, and how it settles,
    which tensors are corrected, and the batch size; nothing is repaired unless ``repairs`` says so. Without, step sizes
    adapt to the loss.
    """

    name: ClassVar[str] = "llpf"
    source: ClassVar[str] = "arXiv 2505.02604 (ICML 2026)"
    binds_with: ClassVar[str] = "llpf_plugin.llpf.plan:plan"
    terms_with: ClassVar[str] = "llpf_plugin.llpf.plan:terms"
    phases: str | int = setting(
        "auto",
        "auto (all at once; where that stalls, the rest is trained as a curve, or walked in at most 8 stages without "
        "repairs, or with an order or levels of your own), all, layer, block, stage, a number, a YAML file",
    )
    order: str | LayerOrder = setting("fdf", "layer order that phases cut: fdf, or a file that llpf order wrote")
    schedule: str | None = setting(None, "a fixed schedule instead of adaptive steps: a shipped name or a YAML file")
    share: float = setting(0.1, "share of the distance in the first move", within="(0, 1]")
    threshold: float | None = setting(
        None,
        "mini-batch loss that ends settling [twice as far as the goal; without repairs, halfway]",
        within="(0, inf)",
    )
    reject_above: float | None = setting(
        None,
        "reject a move whose first mini-batch loss exceeds this [10 times as far as the goal; without repairs, 3]",
        within="(0, inf)",
    )
    min_steps: int = setting(2, "gradient steps of a settling, at least", within="[1, inf)")
    max_steps: int = setting(60, "gradient steps of a settling, at most", within="[1, inf)")
    correct: Correct = setting(
        "matrices", "tensors kept on their variance sphere: matrices, all, none [a schedule may state its own]",
        choices=("matrices", "all", "none"),
    )  # fmt: skip
    across: str = setting(
        "auto", "via shared variance spheres where A and B lie on different ones: auto, never, always",
        choices=("auto", "never", "always"),
    )  # fmt: skip
    angle_conformal: bool = setting(True, "towards the origin, scale each layer's learning rate with its variance")
    exact_legs: bool = setting(True, "scale layers that this costs nothing in one step")
    repairs: int | None = setting(
        None, "rounds of training the stretches above the goal [6; with a schedule, none]", within="[0, inf)"
    )
    thin: float | None = setting(
        None, "loss increase allowed when dropping a knot [5 % of goal minus endpoint loss]", within="[0, inf)"
    )
    keep_knots: int | None = setting(
        None, "knots of a walk at most, each as large as the weights; further ones take the place of others, whatever "
        "that costs [as many as the loss needs]", within="[2, inf)",
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_steps > self.max_steps:
            raise LLPFError(f"llpf: min_steps = {self.min_steps} must not exceed max_steps = {self.max_steps}")

    @property
    def rounds(self) -> int:
        """Rounds of repairs: a schedule is walked as it is, unless they are asked for."""
        return self.repairs if self.repairs is not None else REPAIRS if self.schedule is None else 0

    @property
    def seeks_rate(self) -> bool:
        """Where no schedule says what it is."""
        return self.schedule is None


@dataclass(frozen=True)
class Descent(Method):
    """The walk from A towards the origin, down its variance spheres (Algorithm 2).

    Attributes:
        llpf: the settings.
        to: where it ends: a part of the variance that every layer has at the start; the coordinates of a model whose
            spheres are meant; or None for the origin itself.
        ticks: the walk ends after this many.
    """

    name: ClassVar[str] = "llpf"
    source: ClassVar[str] = LLPF.source
    binds_with: ClassVar[str] = "llpf_plugin.llpf.origin:plan"
    terms_with: ClassVar[str] = "llpf_plugin.llpf.origin:terms"
    llpf: LLPF = LLPF()
    to: float | Weights | None = setting(None, within="[0, 1)")
    ticks: int | None = setting(None, within="[1, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in BETWEEN_MODELS:
            if getattr(self.llpf, name) != getattr(LLPF, name):
                raise LLPFError(f"llpf: {name} is of walks between two models; leave it out towards the origin")

    @property
    def seeks_rate(self) -> bool:
        """No: there is no line between two models to look at, and the layers' rates fall with their variances."""
        return False


BETWEEN_MODELS = ("phases", "order", "share", "correct", "across")
"""Settings that say nothing about a walk towards the origin."""
