"""One of the JSON documents of a run's folder."""

from pathlib import Path
from typing import Any

from llpf_plugin import documents
from llpf_plugin.documents import shortened, visible
from llpf_plugin.errors import RunError


def read_json(place: Path) -> dict[str, Any]:
    """A JSON document of a run.

    Raises:
        RunError: it is missing or damaged.
    """
    if not place.exists():
        raise RunError(f"{place} is missing: {place.parent} is not a run folder, or it is incomplete")
    try:
        document = documents.read_json(place, RunError)
    except RunError as error:
        raise RunError(f"{error}: it was edited or damaged") from error
    if not isinstance(document, dict):
        raise RunError(f"{place} is not a run's file: it was edited or damaged")
    return document


def unreadable(place: Path, error: Exception) -> RunError:
    """The error for a document that does not say what it should."""
    told = shortened(visible(str(error)), 300)
    return RunError(f"{place} cannot be read ({type(error).__name__}: {told}): it was edited or damaged")
