"""One run as a report shows it, in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llpf_plugin.preflight import LayerStatistics
from llpf_plugin.quality import (
    Diversity,
    LayerBarrier,
    LayerTrace,
    LossPlane,
    Metric,
    Picked,
    Quality,
    Sharpness,
)
from llpf_plugin.runs.stored import StoredRun

EXTRAS = ("plane", "saddle", "calibration", "layers", "diversity", "sharpness", "flatness")
"""What costs further evaluations and is measured where it is asked for."""


@dataclass
class Measured:
    """One run, measured.

    Attributes:
        run: the run.
        quality: its path, measured again.
        picked: the merged model's point, measured again.
        line: training losses of the straight line, at evenly spaced points.
        trace: layers along the path, in the order of the data flow.
        tensors: variance, mean and angle of A's and B's tensors.
        notes: what does not fit together, and what could not be had.
        saddle, calibration, layers, diversity, sharpness, flatness, plane: the extras; empty or None where they were
            not asked for.
    """

    run: StoredRun
    quality: Quality
    picked: Picked
    line: Sequence[float]
    trace: LayerTrace
    tensors: Sequence[LayerStatistics]
    notes: list[str]
    saddle: Mapping[str, Metric] = field(default_factory=dict)
    calibration: Mapping[str, Metric] = field(default_factory=dict)
    layers: Sequence[LayerBarrier] = ()
    diversity: Mapping[str, Diversity] = field(default_factory=dict)
    sharpness: Mapping[str, Sharpness] = field(default_factory=dict)
    flatness: Mapping[str, Metric] = field(default_factory=dict)
    plane: LossPlane | None = None

    def metrics(self, split: str) -> dict[str, Metric]:
        """Every metric with one number, saddle and calibrated barrier among them if they were asked for."""
        extras = {"barrier_calibrated": self.calibration, "saddle": self.saddle}
        return {**self.quality.metrics(split), **{k: own[split] for k, own in extras.items() if split in own}}

    @property
    def steps(self) -> float | None:
        """Gradient steps of the search, None where they are not recorded."""
        steps = self.quality.path.cost.gradient_steps
        return None if steps is None else float(steps)

    @property
    def seconds(self) -> float | None:
        """Of the search, likewise."""
        return self.quality.path.cost.seconds

    @property
    def reached(self) -> bool:
        """Whether there was a goal and the path leads to B under it."""
        quality = self.quality
        return not quality.path.open and quality.goal is not None and quality.maximum <= quality.goal
