"""A configuration can describe a network of any size: what it makes is counted while it is made.

The weights beside a configuration say how large its network can be. Without this, one number in a file of others would
take the reader's memory, or hours.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from llpf_plugin.errors import TaskError

TENSORS = 100_000
"""That a network has at most; the largest mixtures of experts have some 70,000."""

_SPARE = 1 << 26
"""Elements that a network may have beyond its weights: buffers, such as masks and tables of positions."""

_PER_BYTE = 16
"""Elements for each byte of weights: half-byte formats, and a head or a tied tensor that the file does not have."""

_HEADER = 50
"""Bytes at least that a tensor takes in a file, for its name, shape and place."""

_MAKES: frozenset[Callable[..., Any]] = frozenset(
    getattr(torch, name) for name in ("empty", "zeros", "ones", "full", "rand", "randn", "arange", "linspace", "eye")
)
_BESIDE = {"generator", "out", "pin_memory", "device", "requires_grad"}


class Described(TorchFunctionMode):
    """While a network is made, counts what is made, and refuses what cannot be that of the weights.

    Args:
        folder: with the configuration; what lies in it bounds the network.

    Raises:
        TaskError: in the block, before memory is taken for the tensor that is too much.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.elements, self.tensors = folder, 0, 0
        held = sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) if folder.is_dir() else 0
        weights = any(file.suffix in (".safetensors", ".bin") for file in folder.iterdir()) if held else False
        self.most = (_SPARE + _PER_BYTE * held, min(TENSORS, 1000 + held // _HEADER)) if weights else (None, TENSORS)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Count what a function of torch is about to make."""
        kwargs = dict(kwargs or {})
        if func in _MAKES:
            plain = {name: value for name, value in kwargs.items() if name not in _BESIDE}
            self._count(func(*args, **plain, device="meta").numel())
        return func(*args, **kwargs)

    def _count(self, elements: int) -> None:
        self.elements, self.tensors = self.elements + elements, self.tensors + 1
        for number, most, what in zip((self.elements, self.tensors), self.most, ("numbers", "tensors"), strict=True):
            if most is not None and number > most:
                raise TaskError(
                    f"{self.folder / 'config.json'} describes a network of {number:,} {what} or more, which the files "
                    "beside it cannot be the weights of: one of them was changed"
                )
