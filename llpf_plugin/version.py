"""Which version of this package runs, and which of a toolkit."""

from importlib import metadata

from llpf_plugin.errors import SpecificationError

__all__ = ["check_version", "written_by"]

DISTRIBUTION = "llpf-plugin"


def written_by() -> str:
    """The distribution and its version, which is unknown where a source tree runs without being installed."""
    try:
        return f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}"
    except metadata.PackageNotFoundError:
        return f"{DISTRIBUTION}, version unknown"


def check_version(package: str, wanted: str, extra: str) -> None:
    """Refuse a toolkit that is missing, or whose version is not one that its adapter was written for.

    Args:
        package: the distribution.
        wanted: versions, as ``pyproject.toml`` has them: ``>=0.1.5,<0.2``.
        extra: of this package, that installs it.

    Raises:
        SpecificationError: says what to install.
    """
    install = f"pip install '{DISTRIBUTION}[{extra}]'"
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        raise SpecificationError(f"{package} is not installed: {install}") from None
    from packaging.specifiers import SpecifierSet  # the toolkits need it themselves

    if not SpecifierSet(wanted).contains(found, prereleases=True):
        raise SpecificationError(f"{package} {found} is not one of the versions {wanted} that are supported: {install}")
