"""The quality of a path towards the origin."""

from dataclasses import dataclass, fields
from functools import cached_property

from llpf_plugin.geometry import sphere
from llpf_plugin.geometry.scale_groups import scale_groups
from llpf_plugin.quality.verdict import Criterion, Quality
from llpf_plugin.records import Outcome


@dataclass
class OriginQuality(Quality):
    """What a path towards the origin is worth: it ends at no trained network, so only its loss is judged."""

    @classmethod
    def of(cls, found: Quality) -> "OriginQuality":
        """The same measurements, judged as those of a path towards the origin."""
        return cls(**{f.name: getattr(found, f.name) for f in fields(found)})

    @cached_property
    def variances(self) -> dict[str, float]:
        """The variance of every scale group's matrix at the end over that at the start."""
        first, last = self.path.knots[0], self.path.knots[-1]
        moved = scale_groups(self.workspace.model, first)
        return {g.matrix: sphere.variance(last[g.matrix]) / sphere.variance(first[g.matrix]) for g in moved}

    def _arrived(self) -> Criterion:
        parts = self.variances.values()
        there = self.path.outcome in (None, Outcome.ARRIVED)
        words = f"at the end the layers have {min(parts):.3g} to {max(parts):.3g} of the variance that A has"
        return Criterion("descent", there, words)

    def _tested(self) -> Criterion:
        split = "test" if self.ends["A"].test is not None else "validation"
        a, end = self.ends["A"][split], self.ends["B"][split]
        if a is None or end is None:
            return Criterion("test loss", None, "the task has neither test nor validation data")
        return Criterion("test loss", None, f"{split} loss is {end:.4g} at the end and {a:.4g} at A (no goal)")
