"""Which version of this package runs."""

from importlib import metadata

__all__ = ["written_by"]

DISTRIBUTION = "llpf-plugin"


def written_by() -> str:
    """The distribution and its version, which is unknown where a source tree runs without being installed."""
    try:
        return f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}"
    except metadata.PackageNotFoundError:
        return f"{DISTRIBUTION}, version unknown"
