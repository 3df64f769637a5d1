"""A checkpoint in another form: one file of ``torch.save`` or safetensors, or a folder as transformers writes it."""

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save

from llpf_plugin.checkpoint import state_dict_in
from llpf_plugin.checkpoint.file_kind import INDEX
from llpf_plugin.checkpoint.record import Checkpoint
from llpf_plugin.errors import CheckpointError

SHARD = 5_000_000_000
"""Bytes of one file of a folder at most, but for a tensor that is larger: what transformers takes."""

_TORCH = (".pt", ".pth", ".bin", ".ckpt")


def converted(found: Checkpoint, out: Path, folder: bool = False, shard: int = SHARD) -> Checkpoint:
    """The form in which `write` puts the weights of a checkpoint at ``out``: under the names that the file has.

    Args:
        found: as it was read.
        out: a file, whose suffix tells the format, or a folder.
        folder: whether ``out`` is a folder.
        shard: bytes of one file of a folder.

    Returns:
        The form; ``left_out`` says what of the checkpoint has no place in it.

    Raises:
        CheckpointError: the suffix is that of no known format.
    """
    around = _around(found)
    left_out = [words for words in found.left_out if not words.startswith(tuple(f"{key}." for key in around))]
    plain = replace(found, names=_every_name(found), left_out=(*left_out, *around), shards={})
    if folder:
        return _in_folder(_untied(plain), out, shard)
    if out.suffix == ".safetensors":
        return replace(_untied(plain), path=out, format="safetensors", companions=())
    if out.suffix in _TORCH:
        return replace(plain, path=out, format="torch", nesting=(), extras=_shell(found), companions=())
    raise CheckpointError(
        f"{out} has the suffix of no format that is written: name .pt, .safetensors, or a folder (with a / at its end)"
    )


def without_prefix(found: Checkpoint, prefix: str) -> Checkpoint:
    """A checkpoint whose stored names lack a prefix that they had; the tensors that did not have it are left out.

    Raises:
        CheckpointError: no name has it.
    """
    names = {plain: stored.removeprefix(prefix) for plain, stored in found.names.items() if stored.startswith(prefix)}
    if not names:
        first = next(iter(found.names.values()))
        raise CheckpointError(f"{found.path}: no name begins with {prefix!r}; the first one is {first!r}")
    left_out = tuple(stored for plain, stored in found.names.items() if plain not in names)
    return replace(
        found, names=names, weights={plain: found.weights[plain] for plain in names},
        left_out=(*found.left_out, *_around(found), *left_out), nesting=(), extras=OrderedDict(),
    )  # fmt: skip


def _every_name(found: Checkpoint) -> dict[str, str]:
    """The stored name of every weight, of tied ones that safetensors leaves out too: its metadata have them."""
    noted = [name for name, kept in (found.metadata or {}).items() if kept in found.names.values()]
    missing = [name for name in found.weights if name not in found.names]
    more = {name: next((n for n in noted if n == name or n.endswith(f".{name}")), name) for name in missing}
    return {**found.names, **more}


def _untied(form: Checkpoint) -> Checkpoint:
    """The form of safetensors: tied weights once, their other names in the metadata."""
    _check_held(form)
    kept = {
        name: group[0] for group in form.ties for name in group[1:] if name in form.names and group[0] in form.names
    }
    notes = {form.names[name]: form.names[first] for name, first in kept.items()}
    names = {name: stored for name, stored in form.names.items() if name not in kept}
    extra = _other_values(form)
    metadata = {"format": "pt", **(form.metadata or {}), **notes}
    return replace(form, names=names, metadata=metadata, left_out=(*form.left_out, *extra), nesting=(), extras=None)


def _check_held(form: Checkpoint) -> None:
    """Refuse dtypes that safetensors does not have.

    Raises:
        CheckpointError: names a tensor that has one.
    """
    for dtype, name in {form.weights[name].dtype: name for name in form.names}.items():
        try:
            save({"x": torch.empty(0, dtype=dtype)})
        except (KeyError, SafetensorError) as error:
            words = f"{name} is {str(dtype).removeprefix('torch.')}, which safetensors does not hold"
            raise CheckpointError(f"{form.path}: {words}: name a .pt file") from error


def _in_folder(form: Checkpoint, out: Path, shard: int) -> Checkpoint:
    """The form of a folder: one file, or as many as their size asks for, with an index."""
    groups: list[list[str]] = [[]]
    room = shard
    for name in form.names:
        size = form.weights[name].nbytes
        if groups[-1] and size > room:
            groups.append([])
            room = shard
        groups[-1].append(name)
        room -= size
    many, count = len(groups) > 1, len(groups)
    files = [f"model-{i + 1:05d}-of-{count:05d}.safetensors" if many else "model.safetensors" for i in range(count)]
    shards = {name: file for file, group in zip(files, groups, strict=True) for name in group}
    return replace(form, path=out / (f"model{INDEX}" if many else files[0]), format="shards", shards=shards)


def _shell(found: Checkpoint) -> Any:
    """The state dict of ``torch.save`` without its tensors: its type and what a module adds stay."""
    return state_dict_in.at(found.extras, found.nesting) if found.format == "torch" else OrderedDict()


def _around(found: Checkpoint) -> list[str]:
    """What lies around the state dict in a file of ``torch.save``."""
    left_out, tree = [], found.extras
    for key in found.nesting:
        left_out += [str(other) for other in tree if other != key]
        tree = tree[key]
    return left_out


def _other_values(form: Checkpoint) -> list[str]:
    """What a state dict holds beside its tensors, which safetensors cannot."""
    if form.format != "torch":
        return []
    return [f"{name} (not a tensor)" for name, value in _shell(form).items() if value is not None]
