"""Plain names: what DataParallel, DistributedDataParallel and torch.compile put before a name is taken off."""

from collections.abc import Iterable

_COMPILED = "_orig_mod."
_PARALLEL = "module."


def plain_names(stored: Iterable[str]) -> dict[str, str]:
    """The stored names under their plain ones, in the same order.

    ``_orig_mod.`` goes wherever it stands, for a submodule can be compiled too; ``module.`` only at the beginning and
    only if every name begins with it, for it may be the name of a real submodule. Both, in any order and nested.
    Names that would coincide without their prefixes are left alone.
    """
    stored = list(stored)
    plain = [_without_compiled(name) for name in stored]
    while plain and all(name.startswith(_PARALLEL) and name != _PARALLEL for name in plain):
        plain = [name.removeprefix(_PARALLEL) for name in plain]
    if len(set(plain)) < len(plain):
        plain = stored
    return dict(zip(plain, stored, strict=True))


def _without_compiled(name: str) -> str:
    """``name`` without the marks of torch.compile."""
    return ".".join(part for part in name.split(".") if part != _COMPILED.rstrip("."))
