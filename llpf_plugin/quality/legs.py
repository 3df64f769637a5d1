"""The legs of a path across variance spheres: what each cost, and how high it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from llpf_plugin.geometry.path import Path
from llpf_plugin.records import Record, Row, leg_of


@dataclass(frozen=True)
class LegSummary(Record):
    """One leg.

    Attributes:
        leg: its name.
        knots: of it, both ends included.
        length: its share of the path's length.
        maximum: the highest training loss measured on it.
        outcome: name of the outcome of its walk, None where it was not recorded.
        steps: gradient steps of its walk, likewise.
    """

    leg: str
    knots: int
    length: float
    maximum: float
    outcome: str | None = None
    steps: int | None = None


def leg_summaries(path: Path, rows: Sequence[Row]) -> list[LegSummary]:
    """One entry per leg, in the order of the path; none for a path of one leg.

    Args:
        path: any path.
        rows: its measured points, as in `Quality.rows`.
    """
    names = [leg_of(p, q) for p, q in zip(path.labels, path.labels[1:], strict=False)]
    lengths = path.segment_lengths
    found = []
    for name in filter(None, dict.fromkeys(names)):
        own = [i for i, n in enumerate(names) if n == name]
        share = float(lengths[own].sum() / max(lengths.sum(), 1e-300))
        maximum = max(row.train for row in rows if names[row.segment] == name and row.train is not None)
        walked = path.cost.legs.get(name)
        known = (walked.outcome, walked.steps) if walked else (None, None)
        found.append(LegSummary(name, len(own) + 1, share, maximum, *known))
    return found
