"""Write weights in the form in which a checkpoint came."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from llpf_plugin.checkpoint import state_dict_in
from llpf_plugin.checkpoint.folders import INDICES, is_card
from llpf_plugin.checkpoint.record import Checkpoint, view_key
from llpf_plugin.errors import CheckpointError, MismatchError
from llpf_plugin.files import atomic_folder, atomic_write
from llpf_plugin.geometry.weights import Weights

_SUFFIXES = {"torch": (".pt", ".pth", ".bin", ".ckpt"), "safetensors": (".safetensors",)}
_KNOWN = {suffix for suffixes in _SUFFIXES.values() for suffix in suffixes}


def write(path: Path | str, weights: Mapping[str, Tensor], like: Checkpoint) -> Path:
    """Write ``weights`` in the format, nesting, names and dtypes of ``like``, whole or not at all.

    Exactly the tensors that ``like`` stored are written, tied ones tied. What was around them stays, except for
    training state: ``like.left_out`` says what.

    Args:
        path: a file, or a folder for shards; a file name without a known suffix gets that of ``like``.
        weights: by plain name; of tied names one is enough.
        like: the checkpoint whose form is taken.

    Returns:
        The file, or the folder of the shards, that was written.

    Raises:
        CheckpointError: the suffix is that of a different format, or a value does not fit the dtype.
        MismatchError: weights are missing, or tied ones differ.
        RunError: the disk is full, or the place cannot be written; what was there is untouched.
    """
    place = target(path, like)
    tensors = _in_form(weights, like)
    if like.format == "shards":
        return _write_shards(place, tensors, like)
    if like.format == "safetensors":
        return atomic_write(place, lambda temporary: save_file(tensors, temporary, metadata=like.metadata))
    tree = state_dict_in.fill(like.extras, like.nesting, tensors)
    return atomic_write(place, lambda temporary: _save_torch(tree, temporary))


def _save_torch(tree: Any, place: Path) -> None:
    # Given an open file, torch lets the system's own error through.
    with place.open("wb") as file:
        torch.save(tree, file)


def _write_shards(folder: Path, tensors: Weights, like: Checkpoint) -> Path:
    """`write` of shards: the same tensors in the same files, and their index."""
    shards: dict[str, Weights] = {}
    named = {stored: like.shards[plain] for plain, stored in like.names.items() if plain in like.shards}
    first = min(like.shards.values())  # for what had no file before
    files = {stored: named.get(stored, like.shards.get(stored, first)) for stored in sorted(tensors)}
    for stored, file in files.items():
        shards.setdefault(file, {})[stored] = tensors[stored]
    index = {"metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())}, "weight_map": files}
    kind = ".bin" if any(file.endswith(".bin") for file in shards) else ".safetensors"
    companions = {file.name: file for file in like.companions}

    def save(temporary: Path) -> None:
        for file, own in shards.items():
            if kind == ".bin":
                _save_torch(own, temporary / file)
            else:
                save_file(own, temporary / file, metadata=like.metadata)
        if like.path.name.endswith(INDICES):
            (temporary / like.path.name).write_text(json.dumps(index, indent=2) + "\n")
        for name, source in companions.items():
            shutil.copyfile(source, temporary / name)

    def replaceable(entry: Path) -> bool:
        copied = entry.name in companions and not entry.samefile(companions[entry.name])
        return copied or is_card(entry) or entry.name.endswith((kind, f"{kind}.index.json"))

    return atomic_folder(folder, save, replaceable)


def target(path: Path | str, like: Checkpoint) -> Path:
    """The file or folder that `write` writes: the suffix of ``like`` is added where there is none.

    Raises:
        CheckpointError: the suffix is that of a different format.
    """
    path = Path(path)
    if like.format == "shards":
        if path.name.endswith(INDICES):
            return path.parent
        if path.suffix in _KNOWN:
            raise CheckpointError(f"{like.path} is of a folder, and so is what is written: {path} must name one")
        return path
    usual = _SUFFIXES[like.format]
    if path.suffix and path.suffix in (*usual, like.path.suffix):
        return path
    suffix = like.path.suffix or usual[0]
    if path.suffix in _KNOWN:
        raise CheckpointError(
            f"{path} has the suffix of a different format than {like.path}, and the result is written like that: "
            f"name it {path.stem}{suffix}"
        )
    return path.with_name(path.name + suffix)


def _in_form(weights: Mapping[str, Tensor], like: Checkpoint) -> Weights:
    """The tensors to be stored, by stored name, in the dtypes of ``like``, each in memory of its own unless tied."""
    if like.stored_form is not None:
        weights = like.stored_form(weights)
    types = like.stored or like.weights
    leader = _leaders(weights, like)
    if missing := [name for name in like.names if leader.get(name, name) not in weights]:
        raise MismatchError(f"the weights to be written lack {', '.join(missing[:10])} ({len(missing)} in all)")
    seen: set[int] = set()
    made: Weights = {}
    for name in like.names:
        lead = leader.get(name, name)
        if lead not in made:
            made[lead] = _compact(_cast(weights[lead], types[name].dtype, name), seen)
    beside = {stored: _compact(tensor, seen) for stored, tensor in like.beside.items()}
    return {**beside, **{stored: made[leader.get(name, name)] for name, stored in like.names.items()}}


def _leaders(weights: Mapping[str, Tensor], like: Checkpoint) -> dict[str, str]:
    """For each tied name, the one of its group whose tensor is written for all."""
    leaders: dict[str, str] = {}
    for group in like.ties:
        present = [name for name in group if name in weights]
        for name in present[1:]:
            one, other = weights[present[0]], weights[name]
            if view_key(one) != view_key(other) and not torch.equal(one, other.to(one)):
                raise MismatchError(
                    f"{present[0]} and {name} are tied in {like.path}, but not in the weights to be written"
                )
        leaders |= dict.fromkeys(group, present[0] if present else group[0])
    return leaders


def _cast(tensor: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """``tensor`` on the CPU in ``dtype``, refused if that makes a finite value infinite."""
    cast = tensor.detach().to("cpu", dtype)
    if cast.dtype != tensor.dtype and cast.is_floating_point():
        overflow = int((tensor.detach().float().isfinite().cpu() & ~cast.float().isfinite()).sum())
        if overflow:
            raise CheckpointError(f"{name}: {overflow} values are too large for {dtype}, the dtype of the source")
    return cast


def _compact(tensor: Tensor, seen: set[int]) -> Tensor:
    """``tensor`` without the rest of the memory that it is a view of, which would be saved with it."""
    tensor = tensor.contiguous()
    storage = tensor.untyped_storage()
    if storage.nbytes() != tensor.nbytes or storage.data_ptr() in seen:
        tensor = tensor.clone()
    seen.add(tensor.untyped_storage().data_ptr())
    return tensor
