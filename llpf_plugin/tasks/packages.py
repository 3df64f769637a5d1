"""What installed packages bring: objects by name, declared as entry points; none is imported before it is asked for."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from llpf_plugin.tasks.foreign import explained


def declared(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name."""
    return {point.name: point for point in entry_points(group=group)}


def load(point: EntryPoint) -> Any:
    """The object that an entry point names.

    Raises:
        SpecificationError: it cannot be imported, or is not there; the package that declares it is named.
    """
    package = point.dist.name if point.dist is not None else "an installed package"
    with explained(f"importing {point.value!r}, which {package} declares as {point.name!r},"):
        return point.load()
