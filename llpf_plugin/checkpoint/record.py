"""A checkpoint as a value; which weights of any set are tied, and a hash of their bytes."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

Format = Literal["torch", "safetensors", "shards"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's weights under plain names, and all that is needed to write others in the same form.

    Attributes:
        path: the file that was read; for shards, their index.
        format: how the weights are stored.
        weights: by plain name, on the CPU, in the dtypes of the file; tied tensors are one object under several names.
        names: by plain name, the name in the file; a tied name that safetensors leaves out is missing.
        nesting: the keys that lead to the state dict; empty if the file is one.
        extras: the tree around the weights (epoch, arguments, …) without training state and with ``None`` for each
            tensor; numpy's arrays and dtypes are stand-ins that are pickled as what they stand for.
        left_out: what a written checkpoint does not carry (optimizer state, …), in words.
        metadata: of the header of safetensors; of shards, all of theirs, which each written shard gets.
        shards: the file of each weight in a folder by plain name; ``path`` is their index, or the only file.
        beside: tensors of the file that are none of the model's, by the name in the file; they are written as they are.
        stored: where the model has other tensors than the file, those of the file, by plain name and without elements.
        stored_form: makes those of the file of the model's.
        companions: files of a folder that are written along with its weights, such as ``config.json``.
        notes: what there is to say of how the weights were found, in sentences.
    """

    path: Path
    format: Format
    weights: dict[str, Tensor]
    names: dict[str, str]
    nesting: tuple[str, ...] = ()
    extras: Any = None
    left_out: tuple[str, ...] = ()
    metadata: dict[str, str] | None = None
    shards: dict[str, str] = field(default_factory=dict)
    beside: dict[str, Tensor] = field(default_factory=dict)
    stored: dict[str, Tensor] = field(default_factory=dict)
    stored_form: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
    companions: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ties(self) -> list[tuple[str, ...]]:
        """The groups of names that share one tensor."""
        return tied_names(self.weights)


def plain_form(weights: Mapping[str, Tensor]) -> Checkpoint:
    """The form in which weights that came from no file are written: one safetensors file, tied tensors once."""
    left_out = {name for group in tied_names(weights) for name in group[1:]}
    names = {name: name for name in weights if name not in left_out}
    return Checkpoint(Path("model.safetensors"), "safetensors", dict(weights), names)


def tied_names(weights: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    """Groups of two or more names for the same view of the same memory."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, tensor in weights.items():
        if tensor.numel():
            groups.setdefault(view_key(tensor), []).append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def view_key(tensor: Tensor) -> tuple[object, ...]:
    """Equal for two tensors if and only if they are the same view of the same memory."""
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), str(tensor.device)


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """A hash of names, shapes, dtypes and bytes, 32 hexadecimal digits; the order of the names does not matter."""
    digest = hashlib.blake2b(digest_size=16)
    digest_weights(weights, digest.update)
    return digest.hexdigest()


def digest_weights(weights: Mapping[str, Tensor], update: Callable[[bytes | memoryview], object]) -> None:
    """Give the names, shapes, dtypes and bytes of weights to a hash; the order of the names does not matter."""
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        update(repr((name, tuple(tensor.shape), str(tensor.dtype))).encode())
        update(tensor.reshape(-1).view(torch.uint8).numpy().data)
