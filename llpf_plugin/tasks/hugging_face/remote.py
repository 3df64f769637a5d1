"""Code that a folder of transformers brings along (``auto_map``): run where the user trusts it, refused elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from llpf_plugin.errors import TaskError

_TRUSTED: ContextVar[bool] = ContextVar("trusted", default=False)


@contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """Within this context, code that a folder of transformers brings along is imported and run, with your rights.

    Neither a configuration file nor the folder of a run can say so: it is no argument of a task.

    Args:
        trust: whether to do so; False refuses such a folder, as is the default everywhere.
    """
    token = _TRUSTED.set(trust)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def trusted() -> bool:
    """Whether code of a folder may be run."""
    return _TRUSTED.get()


def foreign(what: object) -> TaskError:
    """The error of a folder or a file that wants code of its own to be run."""
    return TaskError(
        f"{what} names code of its own (auto_map), which is not run unless you trust it, since it could do whatever "
        "you could: read it, then add --trust (mergekit: --trust-remote-code; Python: with trusting(): …)"
    )


def own_class(config: Any) -> str | None:
    """The class of transformers, such as ``AutoModelForCausalLM``, that finds the network in a folder's code."""
    wanted = {f".{name}" for name in config.architectures or []}
    known: dict[str, Any] = getattr(config, "auto_map", None) or {}
    models = {kind: str(place) for kind, place in known.items() if kind.startswith("AutoModel")}
    return next((kind for kind, place in models.items() if any(place.endswith(name) for name in wanted)), None)
