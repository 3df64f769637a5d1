"""Between Flower's records and tensors: matched by name, never by position."""

import cmath
import math
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor

from llpf_plugin.errors import MismatchError
from llpf_plugin.geometry import Weights

# What `view` returns is only read; torch would say once that it must not be written to.
warnings.filterwarnings("ignore", message="The given (NumPy array|buffer) is not writable")

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Last part of the names of a normalization's buffers."""


def to_arrays(weights: Mapping[str, Tensor]) -> ArrayRecord:
    """A record of these weights.

    Tensors of dtypes that NumPy does not have (bfloat16, float8), for which ``ArrayRecord(state_dict)`` raises a
    TypeError, travel as float32; ``load_state_dict`` and `llpf_plugin.geometry.assign` cast them back.
    """
    return ArrayRecord({name: to_array(tensor) for name, tensor in weights.items()})


def to_array(tensor: Tensor) -> Array:
    """One tensor as Flower's array."""
    numbers = tensor.detach().cpu()
    foreign = numbers.is_floating_point() and numbers.dtype not in (torch.float16, torch.float32, torch.float64)
    return Array(np.asarray((numbers.float() if foreign else numbers).numpy()))


def to_weights(record: ArrayRecord) -> Weights:
    """The tensors of a record by name: copies, which may be written to."""
    return {name: view(array).clone() for name, array in record.items()}


def view(array: Array) -> Tensor:
    """A tensor that looks into the array's own bytes: nothing is copied, and nothing must be written to it.

    Raises:
        MismatchError: the array holds no numbers, or was not made by NumPy.
    """
    try:
        dtype, count, data = np.dtype(array.dtype), math.prod(array.shape), array.data
        offset = len(data) - count * dtype.itemsize
        if not data.startswith(b"\x93NUMPY") or offset <= 0:
            raise ValueError("its bytes are no NumPy array of its shape")
        if b"'fortran_order': True" in data[:offset]:
            return torch.from_numpy(array.numpy())
        return torch.from_numpy(np.frombuffer(data, dtype, count, offset).reshape(array.shape))
    except (TypeError, ValueError) as error:
        raise MismatchError(f"an array of dtype {array.dtype} cannot be read: {error}") from error


def shapes(record: ArrayRecord) -> dict[str, tuple[int, ...]]:
    """The shape of each array by name."""
    return {name: tuple(array.shape) for name, array in record.items()}


def same(one: ArrayRecord, other: ArrayRecord) -> bool:
    """Whether two records of the same names and shapes hold the same numbers."""
    return all(one[k].data == other[k].data or bool((view(one[k]) == view(other[k])).all()) for k in one)


def is_buffer(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is a buffer, as far as its name and dtype tell: no path moves it."""
    numbers = tensor.is_floating_point() or tensor.is_complex()
    return not numbers or name.rpartition(".")[2] in STATISTICS


def wide(tensor: Tensor) -> torch.dtype:
    """What a mean is taken in: float32 at least; float64 for integers."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return torch.float64
    return torch.promote_types(tensor.dtype, torch.float32)


def finite(tensor: Tensor) -> bool:
    """Whether all numbers are surely finite: their sum tells in one pass, unless it overflows."""
    return not (tensor.is_floating_point() or tensor.is_complex()) or cmath.isfinite(tensor.sum().item())


def sound(tensor: Tensor, reference: Tensor) -> bool:
    """Whether all numbers are finite, or infinite where the reference is (an attention mask's −∞)."""
    if finite(tensor):
        return True
    odd = ~tensor.isfinite()
    return bool((tensor[odd] == reference[odd]).all()) if odd.any() else True
