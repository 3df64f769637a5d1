"""What became of aligning B to A, as a run's folder keeps it, in numbers and in one sentence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llpf_plugin.records import Record

SAME_FUNCTION = 1e-3
"""Relative difference of outputs, in float32, above which a re-ordered model does not count as the same."""

KEY = "alignment"
"""In ``info`` of ``run.json``, and in ``quality.json``."""


@dataclass(frozen=True)
class Alignment(Record):
    """Whether B's units were brought into A's order, and what the straight line says to it.

    Attributes:
        kept: whether the path ends at the re-ordered B.
        line: the highest training loss of the straight line to B as it was trained, None where nothing was measured.
        aligned: the same to the re-ordered B.
        difference: the largest absolute difference of the outputs of both, over the largest output.
        why: why B stays as it is, where the line does not say it.
        end: fingerprint of the re-ordered B, where it is kept.
        how: what was done to its units, in words.
    """

    kept: bool = False
    line: float | None = None
    aligned: float | None = None
    difference: float | None = None
    why: str = ""
    end: str | None = None
    how: str = "re-ordered"

    @property
    def sentence(self) -> str:
        """What was done, for the verdict."""
        if self.why:
            return f"B's units stay as they are: {self.why}"
        lines, lower = "", False
        if self.line is not None and self.aligned is not None:
            lines, lower = f"line {self.line:.3g}, aligned {self.aligned:.3g}", self.aligned < self.line
        if not self.kept and lower and self.difference is not None:
            return f"B's units stay as they are: {self.how}, it is {computes_the_same(self.difference)}; {lines}"
        if not self.kept:
            return f"B's units stay as they are: re-ordering them did not lower the straight line ({lines})"
        same = "the same function" if self.difference is None else computes_the_same(self.difference)
        done = f"B's units were {self.how}: {same}"
        return "; ".join([done, *([lines] if lines else []), "the path ends at the aligned B"])

    def to_json(self) -> dict[str, Any]:
        """The record, and its sentence for those who read it elsewhere."""
        return {**super().to_json(), "sentence": self.sentence}


def computes_the_same(difference: float) -> str:
    """Whether a re-ordered model is the same function, from `difference_of_outputs`, with the number."""
    if difference <= SAME_FUNCTION:
        return f"the same function (difference ≤ {at_most(difference)})"
    return f"not quite the same function in this precision (difference ≤ {at_most(difference)})"


def recorded(info: Mapping[str, Any]) -> Alignment | None:
    """What the ``info`` of a run says of it, None where it says nothing that makes sense."""
    try:
        found = Alignment.from_json(info[KEY])
        line, aligned = (_number(value, found.difference is not None) for value in (found.line, found.aligned))
        end = None if found.end is None else str(found.end)
        return Alignment(
            bool(found.kept), line, aligned, _number(found.difference, False), str(found.why), end, str(found.how)
        )
    except (KeyError, TypeError, ValueError):
        return None


def _number(value: Any, measured: bool) -> float | None:
    """A number of a file, where null is infinite if it was measured."""
    return float(value) if value is not None else math.inf if measured else None


def at_most(value: float) -> str:
    """A bound with two digits, rounded upwards."""
    if not 0 < value < math.inf:
        return f"{value:g}"
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / unit * (1 - 1e-12)) * unit:.2g}"
