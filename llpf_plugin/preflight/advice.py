"""Two networks looked at without a task: what they are to one another, and what would merge them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from llpf_plugin.geometry.weights import state
from llpf_plugin.preflight.checks import EACH, Finding, of_both
from llpf_plugin.preflight.folders import compare_folders
from llpf_plugin.preflight.kinship import Compared, Kinship, compared, kinship, likeness
from llpf_plugin.preflight.pair import compare, complete, fits

Advice = Literal["average", "align", "walk", "none"]

CLOSE = 0.1
"""Likeness of aligned networks from which aligning is worth while: their average is far better then, if not good."""


@dataclass(frozen=True)
class PairCheck:
    """What two networks are to one another.

    Attributes:
        findings: what differs and what stands in the way.
        rows: every tensor that both have in one shape.
        likeness: the mean cosine of their tensors (see `llpf_plugin.preflight.likeness`); 0 if there are none.
        kinship: in words, None where they have nothing in common.
        aligned: the likeness once B was aligned to A, None where it was not.
    """

    findings: Sequence[Finding]
    rows: Sequence[Compared] = field(repr=False)
    likeness: float
    kinship: Kinship | None
    aligned: float | None = None

    @property
    def errors(self) -> list[Finding]:
        """What keeps them from being merged."""
        return [found for found in self.findings if found.level == "error"]

    @property
    def advice(self) -> Advice:
        """What would merge them: an average, aligning first, a walk, or nothing."""
        if self.errors or self.kinship is None:
            return "none"
        if self.kinship in ("the same", "nearly the same", "of one origin"):
            return "average"
        if self.kinship == "alike in part":
            return "walk"
        return "align" if self.aligned is None or self.aligned >= CLOSE else "walk"

    @property
    def sentence(self) -> str:
        """The advice, with the reason."""
        if self.errors or self.kinship is None:
            reason = f"{self.errors[0].what}: {self.errors[0].where}" if self.errors else "they share no tensor"
            return f"these cannot be merged, because {reason}"
        like = f"likeness {round(self.likeness, 2) + 0.0:.2f}"
        words = {
            "the same": "averaging will do: they are the same model, so that there is nothing to merge",
            "nearly the same": "averaging will do: they are nearly the same model",
            "of one origin": f"averaging will do: they come from one network, or from one initialisation ({like})",
            "alike in part": f"walk: they are alike in part ({like}), and no average of such networks is safe",
        }
        return words.get(self.kinship) or self._apart(like)

    def _apart(self, like: str) -> str:
        """The advice for networks that were trained apart."""
        if self.aligned is None:
            return f"align first: they were trained apart ({like}), so that their units do not correspond"
        moved = f"they were trained apart ({like}, aligned {self.aligned:.2f})"
        if self.aligned >= CLOSE:
            return f"align first: {moved}; only data tell whether their average is good then, or a walk is needed"
        return f"walk: {moved}, and even aligned they have little in common"


def check(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: tuple[str, str] = ("A", "B"),
    model: nn.Module | None = None, folders: tuple[Path, Path] | None = None,
) -> PairCheck:  # fmt: skip
    """Look at two networks without data.

    Args:
        a: weights by plain name.
        b: those of the second one.
        names: what to call the two.
        model: that both should fit, if it is known: it tells parameters from buffers, and what files leave out.
        folders: where they lie, whose configurations and tokenizers are compared.
    """
    each = of_both(fits(a, model, EACH), fits(b, model, EACH), names) if model else []
    if model is not None:
        own = state(model)
        a, b = complete(a, own), complete(b, own)
    beside = compare_folders(*folders, names) if folders else []
    found = [*each, *compare(a, b, names, model, sameness=False), *beside]
    parameters = None if model is None else [name for name, _ in model.named_parameters()]
    rows = compared(a, b, parameters)
    return PairCheck(found, rows, likeness(rows) if rows else 0.0, kinship(rows) if rows else None)
