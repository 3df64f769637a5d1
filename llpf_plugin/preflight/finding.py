"""One thing that preflight found, and how several become one error."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from llpf_plugin.errors import MismatchError

Level = Literal["error", "warning", "note"]

_LISTED = 10


@dataclass(frozen=True)
class Finding:
    """One thing that preflight found."""

    level: Level
    what: str
    where: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.where}. {self.remedy}"


def finding(level: Level, what: str, where: Sequence[str], remedy: str) -> list[Finding]:
    """One finding if ``where`` lists anything, with a count if it lists more than `_LISTED` things."""
    if not where:
        return []
    more = f" and {len(where) - _LISTED} more ({len(where)} in all)" if len(where) > _LISTED else ""
    return [Finding(level, what, ", ".join(where[:_LISTED]) + more, remedy)]


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise all findings of level ``error`` as one.

    Raises:
        MismatchError: there is at least one; the message lists them all.
    """
    errors = [found for found in findings if found.level == "error"]
    if len(errors) == 1:
        raise MismatchError(str(errors[0]))
    if errors:
        raise MismatchError(f"{len(errors)} errors:\n" + "\n".join(f"- {error}" for error in errors))
