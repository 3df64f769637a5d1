"""Values of a file as the types that a dataclass says, nested ones too; what does not fit is named by its place."""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from llpf_plugin.documents.quoted import quoted, shortened

T = TypeVar("T")


def validated(kind: type[T], values: Any) -> T:
    """An instance of a dataclass; unknown names are left out, and what is missing has its default.

    Args:
        kind: the dataclass, whose annotations say what fits.
        values: a mapping, as JSON has it.

    Raises:
        TypeError: it is no mapping, lacks a name that has no default, or a value does not fit.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"expected a mapping for {kind.__name__}, got {type(values).__name__}")
    from pydantic import ValidationError

    adapter: Any = _adapter(kind)  # type: ignore[arg-type]
    try:
        made: T = adapter.validate_python(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = shortened(".".join(map(str, first["loc"])), 100)
        found = "" if first["type"] == "missing" else f", got {quoted(first['input'], 60)}"
        raise TypeError(f"{kind.__name__}: {place}: {first['msg'].lower()}{found}") from error
    except RecursionError as error:
        raise TypeError(f"{kind.__name__}: nested too deep") from error
    return made


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
