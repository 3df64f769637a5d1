"""Read a checkpoint into plain weights, and remember the form in which it came."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from llpf_plugin.checkpoint import safe_load as harmless
from llpf_plugin.checkpoint import state_dict_in as nesting
from llpf_plugin.checkpoint.file_kind import INDEX, Kind, kind, truncated, weight_files, weight_map
from llpf_plugin.checkpoint.names import plain_names
from llpf_plugin.checkpoint.record import Checkpoint, view_key
from llpf_plugin.errors import CheckpointError
from llpf_plugin.geometry.weights import Weights


def read(path: Path | str) -> Checkpoint:
    """Read what ``torch.save`` or safetensors wrote; no code in it is ever executed.

    Args:
        path: a file (its content decides on the format, not its suffix), an index of safetensors shards, or a folder
            with one of them.

    Returns:
        The weights under plain names, in memory of their own: the file may be replaced afterwards.

    Raises:
        CheckpointError: the path leads to no checkpoint, or to one that is damaged or not known to be harmless.
    """
    path = Path(path)
    if path.is_dir():
        path = weight_files(path)
    if path.name.endswith(INDEX) and path.exists():
        return _read_shards(path)
    what = kind(path)
    return _read_safetensors(path) if what == "safetensors" else _read_torch(path, what)


def _read_torch(path: Path, what: Kind) -> Checkpoint:
    """`read` of a file that ``torch.save`` wrote."""
    tree = harmless.load(path, what)
    try:
        keys = nesting.find(tree)
    except nesting.AmbiguousError as error:
        raise CheckpointError(
            f"{path} holds several sets of weights: {error}. Save the state dict that you mean by itself."
        ) from error
    if keys is None:
        raise CheckpointError(f"{path} holds no state dict ({_outline(tree)}): save model.state_dict().")
    state = {name: value for name, value in nesting.at(tree, keys).items() if isinstance(value, Tensor)}
    names = plain_names(state)
    extras, left_out = nesting.strip(tree, keys)
    return Checkpoint(
        path=path,
        format="torch",
        weights=_owned({plain: state[stored] for plain, stored in names.items()}, path),
        names=names,
        nesting=keys,
        extras=extras,
        left_out=tuple(left_out),
    )


def _read_safetensors(path: Path) -> Checkpoint:
    """`read` of a single safetensors file."""
    state, metadata = _load_safetensors(path)
    if not state:
        raise CheckpointError(f"{path} holds no tensors: save the model again.")
    names = plain_names(state)
    weights = _owned({plain: state[stored] for plain, stored in names.items()}, path)
    return Checkpoint(path, "safetensors", _with_ties(weights, names, metadata), names, metadata=metadata)


def _read_shards(index: Path) -> Checkpoint:
    """`read` of an index and the shards that it lists."""
    files = weight_map(index)
    shards = {file: _load_safetensors(index.parent / file) for file in sorted(set(files.values()))}
    for name, file in files.items():
        if name not in shards[file][0]:
            raise CheckpointError(f"{index.parent / file} lacks {name!r}, which {index.name} lists: get both anew.")
    names = plain_names(files)
    weights = _owned({plain: shards[files[stored]][0][stored] for plain, stored in names.items()}, index)
    metadata = {key: value for _, own in shards.values() for key, value in (own or {}).items()} or None
    return Checkpoint(
        path=index,
        format="shards",
        weights=_with_ties(weights, names, metadata),
        names=names,
        metadata=metadata,
        shards={plain: files[stored] for plain, stored in names.items()},
    )


def _load_safetensors(path: Path) -> tuple[Weights, dict[str, str] | None]:
    """The tensors and the metadata of one safetensors file."""
    if kind(path) != "safetensors":
        raise CheckpointError(f"{path} is not in the safetensors format, which its index promises: get it again.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise truncated(path) from error


def _with_ties(weights: Weights, names: Mapping[str, str], metadata: Mapping[str, str] | None) -> Weights:
    """The weights and the tied names that safetensors left out; its metadata maps such a name to the one kept."""
    plain = {stored: name for name, stored in names.items()}
    noted = {left: kept for left, kept in (metadata or {}).items() if kept in plain and left not in plain}
    every = {stored: name for name, stored in plain_names([*plain, *noted]).items()}
    return {**weights, **{every[left]: weights[plain[kept]] for left, kept in noted.items()}}


def _owned(tensors: Mapping[str, Tensor], path: Path) -> Weights:
    """Copies in memory of their own, since the file under a mapped tensor may change; tied tensors stay one."""
    copies: dict[tuple[object, ...], Tensor] = {}
    weights: Weights = {}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise CheckpointError(f"{path}: {name!r} is sparse, quantized or without data: save it as a dense tensor.")
        key = view_key(tensor)
        if key not in copies:
            copies[key] = tensor.detach().clone()
        weights[name] = copies[key]
    return weights


def _outline(tree: Any) -> str:
    """What there is instead of a state dict, in a few words."""
    if isinstance(tree, Mapping):
        return f"it has the keys {', '.join(map(repr, list(tree)[:8]))}" if tree else "it is empty"
    return f"it is a {type(tree).__name__}"
