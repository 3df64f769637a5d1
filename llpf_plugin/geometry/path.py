"""A path: an ordered list of knots; between two knots it is the straight segment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from llpf_plugin.documents import html_table
from llpf_plugin.geometry.weights import Weights, distance, lerp, select
from llpf_plugin.records import ORIGIN, Cost, Knot, Outcome, Tick


@dataclass
class Path:
    """A piecewise linear path from model A (t = 0) to model B (t = 1), parametrised by arc length.

    An `open` path ends where its search came to instead, such as at the finetuned model.

    Attributes:
        knots: coordinates of the knots in order, A's first and B's last; may be read lazily from disk.
        start: A's complete state dict, buffers included.
        end: B's complete state dict.
        labels: where each knot comes from.
        ties: further names of a coordinate (tied parameters): name to the coordinate's own.
        equivalent: whether it ends at a network that computes what B does, found by its search: ``end`` is that one.
        unreached: what the data never reach: it is no coordinate, and stays A's on the whole path.
        outcome: how the search ended, an `llpf_plugin.methods.Outcome`.
        record: what the search did, tick by tick.
        cost: gradient steps, seconds, the goal.
        quality: what the search measured of it, an `llpf_plugin.Quality`, if a search made it.
    """

    knots: Sequence[Weights]
    start: Weights
    end: Weights
    labels: Sequence[Knot] = ()
    ties: Mapping[str, str] = field(default_factory=dict)
    outcome: Any = None
    record: Sequence[Tick] = ()
    cost: Cost = field(default_factory=Cost)
    quality: Any = field(default=None, repr=False)
    unreached: Sequence[str] = ()
    equivalent: bool = False

    def __post_init__(self) -> None:
        if len(self.knots) < 2:
            raise ValueError(f"a path needs at least 2 knots, got {len(self.knots)}")
        self._lengths: np.ndarray | None = None

    @property
    def segment_lengths(self) -> np.ndarray:
        """The Euclidean length of every segment, ``[knots − 1]``; each knot is read once."""
        if self._lengths is None:
            previous, lengths = self.knots[0], []
            for i in range(1, len(self.knots)):
                current = self.knots[i]
                lengths.append(distance(previous, current))
                previous = current
            self._lengths = np.array(lengths)
        return self._lengths

    @property
    def length(self) -> float:
        """The length of the path."""
        return float(self.segment_lengths.sum())

    @property
    def length_ratio(self) -> float:
        """The length of the path over the distance between its ends: 1 for the straight line."""
        return self.length / max(distance(self.knots[0], self.knots[-1]), 1e-300)

    @property
    def positions(self) -> np.ndarray:
        """The arc-length position ``t`` of every knot, from 0 to 1."""
        cumulative = np.concatenate([[0.0], np.cumsum(self.segment_lengths)])
        measurable = 0 < cumulative[-1] < np.inf  # a path that diverged is not
        return cumulative / cumulative[-1] if measurable else np.linspace(0, 1, len(cumulative))

    def _repr_html_(self) -> str:
        """What a notebook shows: how the path came about, and what the search measured of it if it did."""
        ended = self.outcome.value if isinstance(self.outcome, Outcome) else ""
        cells = (str(len(self.knots)), f"{self.length_ratio:.3f}", str(self.cost.gradient_steps or ""), ended)
        table = html_table(("knots", "length over distance", "gradient steps", "its search"), [cells], "Path")
        return table + (self.quality._repr_html_() if self.quality is not None else "")

    def coordinates(self, t: float) -> Weights:
        """The parameters at ``t`` in [0, 1]: exactly A's at 0, B's at 1, a knot's at its position."""
        if not 0 <= t <= 1:
            raise ValueError(f"t = {t} lies outside the path: it must be in [0, 1]")
        positions = self.positions
        i = min(int(np.searchsorted(positions, t, side="right")) - 1, len(positions) - 2)
        span = positions[i + 1] - positions[i]
        return lerp(self.knots[i], self.knots[i + 1], float((t - positions[i]) / span) if span > 0 else 0.0)

    def at(self, t: float) -> Weights:
        """The complete state dict at ``t``, in the order of A's; exactly A at 0 and, but for `unreached`, B at 1.

        Buffers are A's up to B: running statistics are stale between the ends. `Quality.pick` re-estimates them.
        """
        coordinates = self.coordinates(t)
        tied = {name: coordinates[own] for name, own in self.ties.items() if own in coordinates}
        return select({**self.rest(t), **coordinates, **tied}, self.start)

    def rest(self, t: float) -> Weights:
        """What the model at ``t`` has beside its coordinates: all of A's up to B, which has its own buffers."""
        if self.open or t != 1:
            return self.start
        return {**self.end, **select(self.start, [name for name in self.unreached if name in self.start])}

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases that were searched, in order, without repairs."""
        return tuple(dict.fromkeys(tick.phase for tick in self.record if tick.stretch == 0))

    @property
    def last_settled(self) -> int:
        """The index of the last knot that the walk settled on; of the end itself where nothing was walked.

        Without labels, that of the knot before the end.
        """
        if not self.walked:
            return len(self.knots) - 1
        settled = [i for i, knot in enumerate(self.labels) if knot.kind in ("start", "settled")]
        return settled[-1] if settled else len(self.knots) - 2

    @property
    def open(self) -> bool:
        """Whether the path ends where its search came to, not at B."""
        return bool(self.labels) and self.labels[-1].kind != "end"

    @property
    def walked(self) -> bool:
        """Whether a walk to B made the path, so that arriving means something.

        A curve ends at B by construction, and so does what follows a walk that stalled.
        """
        if self.open or self.outcome is Outcome.STALLED:
            return False
        return not self.labels or any(knot.kind in ("settled", "closing") for knot in self.labels)

    @property
    def descends(self) -> bool:
        """Whether the path leads from A towards the origin, so that B is no model that anybody trained."""
        return bool(self.labels) and self.labels[-1].leg == ORIGIN

    @property
    def destination(self) -> int:
        """The index of the knot that the walk walked to: the end on A's spheres, or the end itself."""
        last = len(self.knots) - 1
        after = range(min(self.last_settled + 1, last), len(self.labels))  # what lies before it may have been repaired
        return next((i for i in after if self.labels[i].kind != "curve"), min(self.last_settled + 1, last))

    @property
    def closing_length(self) -> float:
        """The length that was not walked: from the last settled knot to the end, or to the leg walked from B."""
        after = range(self.destination, len(self.labels))
        stop = next((i for i in after if self.labels[i].kind == "reversed"), len(self.knots) - 1)
        return float(self.segment_lengths[self.last_settled : stop].sum())


def simplify(knots: Sequence[int], keeps_loss: Callable[[int, int], bool]) -> list[int]:
    """The knots needed to keep a path's loss: Douglas-Peucker with the loss in place of the distance.

    A run of knots is replaced by its chord where that keeps the loss; otherwise the run is halved.

    Args:
        knots: identifiers of consecutive knots, at least two.
        keeps_loss: whether the straight segment between two knots may replace what lies between them.

    Returns:
        The identifiers that stay, both ends included.
    """
    if len(knots) <= 2 or keeps_loss(knots[0], knots[-1]):
        return [knots[0], knots[-1]]
    middle = len(knots) // 2
    return simplify(knots[: middle + 1], keeps_loss)[:-1] + simplify(knots[middle:], keeps_loss)
