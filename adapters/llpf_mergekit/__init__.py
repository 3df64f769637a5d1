"""LLPF for mergekit: the method ``llpf_sphere``, and the command that knows it (extra ``mergekit``).

mergekit is imported when something of it is needed, never before its version is known.
"""

from llpf_plugin.version import check_version

__all__ = ["VERSIONS", "register"]

VERSIONS = ">=0.1.5,<0.2"
"""Of mergekit; its interface for methods changed with 0.1.5."""


def register() -> None:
    """Add ``llpf_sphere`` to mergekit's methods, for ``mergekit.merge_methods.merge_state_dicts`` and its like.

    Raises:
        SpecificationError: mergekit is missing, or of another version.
    """
    check_version("mergekit", VERSIONS, "mergekit")
    from mergekit import merge_methods

    from llpf_mergekit.sphere import llpf_sphere

    if llpf_sphere not in merge_methods.registered_methods():
        merge_methods.register(llpf_sphere)
