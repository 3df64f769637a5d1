"""Stand-ins that read numpy's pickles without numpy's own ``__setstate__``.

That trusts what it is given: a forged state changes numpy's built-in dtypes for the whole process and reads beyond
buffers. The stand-ins take plain values only, check their sizes, and are pickled as what they stand for.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

_PLAIN = re.compile(r"[<>|=]?(\?|[bBhHiIlLqQefdgFDGO]|[biufcSUO]\d+)")


class NotPlainError(ValueError):
    """Structured data, dates and the like, which need numpy's own ``__setstate__``."""


class Dtype:
    """Stands for a ``numpy.dtype`` of numbers, strings or objects; structured ones are refused."""

    def __init__(self, code: str, _align: bool = False, _copy: bool = False) -> None:
        if not _PLAIN.fullmatch(code):
            raise NotPlainError(f"data of the numpy dtype {code!r}")
        self.value = np.dtype(code)

    def __setstate__(self, state: Sequence[Any]) -> None:
        if state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])

    def __reduce__(self) -> Any:
        return self.value.__reduce__()


class Array:
    """Stands for a ``numpy.ndarray``."""

    def __init__(self) -> None:
        self.value = np.empty(0)

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, dtype, by_columns, content = state
        if isinstance(content, list):
            flat = np.empty(len(content), object)
            flat[:] = content
        else:
            flat = _from_bytes(dtype, content)
        self.value = flat.reshape(shape, order="F" if by_columns else "C")

    def __reduce__(self) -> Any:
        return self.value.__reduce__()


def reconstruct(_kind: object, _shape: object, _code: object) -> Array:
    """Stands for ``numpy.core.multiarray._reconstruct``, which makes the array that is filled afterwards."""
    return Array()


def scalar(dtype: Dtype, content: bytes = b"") -> Any:
    """Stands for ``numpy.core.multiarray.scalar``: one number or string, as numpy's own type."""
    (value,) = _from_bytes(dtype, content) if content else [dtype.value.type()]
    return value


def _from_bytes(dtype: Dtype, content: bytes) -> np.ndarray:
    """The numbers or strings in ``content``; numpy checks that their size divides its length, and refuses objects."""
    return np.frombuffer(content, dtype.value).copy()
