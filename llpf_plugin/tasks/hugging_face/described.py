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

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
"""Files that hold a network's weights; other ``.bin`` files are of its training."""

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
        files = [file for pattern in _WEIGHTS for file in folder.glob(pattern) if not file.name.startswith("adapter")]
        self.held = sum(file.stat().st_size for file in files if file.is_file())
        most = (_SPARE + _PER_BYTE * self.held, min(TENSORS, 1000 + self.held // _HEADER))
        self.most = most if self.held else (None, TENSORS)

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
                why = "which the files beside it cannot be the weights of: one of them was changed"
                raise TaskError(
                    f"{self.folder / 'config.json'} describes a network of {number:,} {what} or more, "
                    + (why if self.held else "which is more than any that we know has: look at its sizes")
                )
