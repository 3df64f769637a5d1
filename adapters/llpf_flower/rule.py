"""How a mean is taken: which tensors are held on which variance spheres, what becomes of buffers, and dtypes."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor

from llpf_flower.arrays import is_buffer, to_array, view
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry import Correct, is_magnitude

Sphere = Literal["clients", "previous", "none"]
"""Which variance the mean is given: the clients' weighted mean variance, that of the model before, or its own."""

Buffers = Literal["mean", "keep", "reestimate"]
"""What becomes of buffers: the weighted mean, the previous model's, or re-estimated on the server's own data."""

DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
"""What floating-point tensors of the global model can be sent as."""


@dataclass(frozen=True)
class Rule:
    """How a mean is taken.

    Attributes:
        sphere: the reference of the variance.
        correct: which tensors are held on their spheres; see `llpf_plugin.geometry.spheres`.
        buffers: what becomes of buffers; re-estimating them is left to the caller, who gets the mean.
        dtype: of floating-point tensors, by torch's name; None for that of the previous model, tensor by tensor.

    Raises:
        LLPFError: a value that is not one of the choices.
    """

    sphere: Sphere = "clients"
    correct: Correct = "matrices"
    buffers: Buffers = "mean"
    dtype: str | None = None

    def __post_init__(self) -> None:
        choices = {"sphere": get_args(Sphere), "correct": get_args(Correct), "buffers": get_args(Buffers)}
        for name, allowed in {**choices, "dtype": (None, *DTYPES)}.items():
            value = getattr(self, name)
            if value not in allowed:
                known = ", ".join(choice for choice in allowed if choice is not None)
                raise LLPFError(f"{name} = {value!r}: it must be one of {known}")

    def holds(self, name: str, tensor: Tensor, names: Container[str]) -> bool:
        """Whether the mean of this tensor, one of ``names``, is put on a sphere."""
        if self.sphere == "none" or self.correct == "none" or is_buffer(name, tensor) or is_magnitude(name, names):
            return False
        return not tensor.is_complex() and tensor.numel() > 1 and (self.correct == "all" or tensor.dim() >= 2)

    def cast(self, tensor: Tensor, name: str, old: Array) -> Array:
        """A tensor in the dtype that is asked for, or that of the model before; what was integer is rounded."""
        before = view(old)
        if not (before.dtype.is_floating_point or before.dtype.is_complex):
            return to_array((tensor.round() if tensor.is_floating_point() else tensor).to(before.dtype))
        asked = None if is_buffer(name, before) or before.dtype.is_complex or self.dtype is None else DTYPES[self.dtype]
        return to_array(tensor.to(asked or before.dtype))

    def conform(self, arrays: Mapping[str, Array], previous: ArrayRecord) -> ArrayRecord:
        """A model that is not a mean, in the order of the one before and the dtypes of `cast`."""
        return ArrayRecord({name: self.cast(view(arrays[name]), name, old) for name, old in previous.items()})
