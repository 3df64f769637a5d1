"""Everything that a search depends on besides the pair and the task, as one value that a run's folder keeps."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry.sphere import Correct

Across = Literal["auto", "never", "always"]
"""Whether a walk goes by common variance spheres."""

Sides = Literal["one", "both"]
"""Walk from A to B, or from both ends until they meet."""

Method = Literal["llpf", "sphere-curve", "bezier", "autoneb", "linear", "finetune"]
"""How the path is found."""

Optimizer = Literal["sgd", "adam"]
"""What trains a curve."""

TRAINED = ("sphere-curve", "bezier", "autoneb", "finetune")
"""Methods that train for a given number of gradient steps."""


@dataclass(frozen=True)
class Settings:
    """What a user asks of a search; what is None is taken from the task or from its losses.

    Attributes:
        max_loss: the goal: training loss that the dense path must not exceed.
        tolerance: the goal as a distance above the worse end's training loss, used where ``max_loss`` is None.
        budget: gradient steps, repairs included.
        phases: ``all`` moves every layer at once; ``layer``, ``block``, ``stage``, a number, or a YAML file of patterns
            walk in the layer order, cumulatively; ``auto`` moves all at once, and goes over to the stages, shallow to
            deep, once its moves have become small.
        order: ``fdf``, ``levels``, or a file that ``llpf-order -o order.json`` wrote; phases are slices of it.
            ``reversed`` is the FDF order from the output to the input, for ablations.
        pace: ``adaptive``, or the path of a schedule file, or the name of a shipped one.
        lr, momentum, batch_size: of settling.
        threshold: mini-batch loss at which settling ends (default: half as far above the ends' as the goal).
        barrier: mini-batch loss at which a move is undone (default: three times as far above the ends' as the goal).
        share: the first tick's share of the whole distance.
        sides: ``one`` walks from A to B; ``both`` from both ends in turns, until they meet.
        min_steps, max_steps: of one settling.
        correct: which tensors are held on their variance spheres: ``matrices``, ``all`` or ``none``.
        across: whether ends on different variance spheres are first walked down to common ones: ``auto`` where the
            variances of a layer differ by more than a factor of 1.25 and chance (not with a schedule, which is walked
            to the letter), ``never`` or ``always``.
        angle_conformal: scale the learning rate of such a leg with the variance, layer by layer.
        exact_legs: layers that may be scaled for nothing go to their common spheres in one step.
        points: points a segment at which the path is measured.
        sample: training examples that the path is measured on, None for all.
        repairs: rounds of walking stretches above the goal again, with smaller steps.
        thin: loss that leaving out a knot may cost (default: a twentieth of the way from the ends' loss to the goal).
        seed: of batches, augmentation and dropout.
        method: ``llpf``, or another one to compare with; all that is said above of walks is about ``llpf``.
        steps: gradient steps of a method that trains for a given number of them (default: the budget less polishing).
        control: points of a curve that are trained.
        optimizer: of a curve, ``sgd`` or ``adam``.
        polish: gradient steps, after any method, that train random points of the path as a chain with its ends fixed.
        settle: False leaves the settling out of a walk, for ablations.
    """

    max_loss: float | None = None
    tolerance: float | None = None
    budget: int = 20_000
    phases: str = "auto"
    order: str = "fdf"
    pace: str = "adaptive"
    lr: float | None = None
    momentum: float | None = None
    batch_size: int | None = None
    threshold: float | None = None
    barrier: float | None = None
    share: float = 0.1
    sides: Sides = "one"
    min_steps: int = 2
    max_steps: int = 60
    correct: Correct = "matrices"
    across: Across = "auto"
    angle_conformal: bool = True
    exact_legs: bool = True
    points: int = 4
    sample: int | None = None
    repairs: int = 3
    thin: float | None = None
    seed: int = 0
    method: Method = "llpf"
    steps: int | None = None
    control: int = 1
    optimizer: Optimizer = "sgd"
    polish: int = 0
    settle: bool = True

    def __post_init__(self) -> None:
        positive = (
            "max_loss",
            "tolerance",
            "budget",
            "lr",
            "batch_size",
            "threshold",
            "barrier",
            "share",
            "points",
            "sample",
            "steps",
            "control",
        )
        for name in positive:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise LLPFError(f"{name} = {value}: it must be above 0")
        if self.max_loss is not None and self.tolerance is not None:
            raise LLPFError("max_loss and tolerance are two ways to say the goal: give one")
        if not 1 <= self.min_steps <= self.max_steps:
            raise LLPFError(
                f"min_steps = {self.min_steps} and max_steps = {self.max_steps}: it must be 1 ≤ min_steps ≤ max_steps"
            )
        if self.share > 1:
            raise LLPFError(f"share = {self.share}: a move is at most the whole way, 1")
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise LLPFError(f"momentum = {self.momentum}: it must be at least 0 and below 1")
        for name in ("repairs", "thin", "polish"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise LLPFError(f"{name} = {value}: it must not be below 0")
        for name, choices in (
            ("correct", Correct),
            ("across", Across),
            ("method", Method),
            ("optimizer", Optimizer),
        ):
            if getattr(self, name) not in get_args(choices):
                value, known = getattr(self, name), ", ".join(get_args(choices))
                raise LLPFError(f"{name} = {value!r}: it must be one of {known}")
        if self.sides not in get_args(Sides):
            raise LLPFError(f"sides = {self.sides!r}: it must be one or both")
        if self.sides == "both" and self.pace != "adaptive":
            raise LLPFError("sides = 'both': a schedule walks from A to B; only the adaptive pace walks from both ends")
        if self.steps is not None and self.method not in TRAINED:
            raise LLPFError(f"steps = {self.steps}: method {self.method} has no given number of gradient steps")

    def to_dict(self) -> dict[str, Any]:
        """JSON values by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Settings":
        """Inverse of `to_dict`; names of other versions are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in values.items() if k in known})
