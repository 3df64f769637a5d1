"""Which version of this package runs."""

from importlib import metadata

NAME = "llpf-plugin"
"""Of the distribution."""


def written_by() -> str:
    """The distribution and its version, which is unknown where a source tree runs without being installed."""
    try:
        return f"{NAME} {metadata.version(NAME)}"
    except metadata.PackageNotFoundError:
        return f"{NAME}, version unknown"
