"""Read a checkpoint into plain weights, and remember the form in which it came."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from llpf_plugin.checkpoint import state_dict_in
from llpf_plugin.checkpoint.file_kind import FREE, INDEX, TIMES, FileKind, file_kind, is_folder, truncated, weight_map
from llpf_plugin.checkpoint.folders import INDICES, check_no_adapter, companions, weight_files
from llpf_plugin.checkpoint.passed_over import PassedOver, unknown_class, without
from llpf_plugin.checkpoint.prefixes import fitted, said
from llpf_plugin.checkpoint.record import Checkpoint, view_key
from llpf_plugin.checkpoint.safe_load import safe_load, whole_model
from llpf_plugin.documents import listed, quoted
from llpf_plugin.errors import CheckpointError
from llpf_plugin.geometry.weights import Weights

_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_PARALLEL = "module."


def read(path: Path | str, state: str | None = None, names: Iterable[str] | None = None) -> Checkpoint:
    """Read what ``torch.save`` or safetensors wrote; no code in it is ever executed.

    Args:
        path: a file (its content decides on the format, not its suffix), an index of safetensors shards, or a folder
            with one of them.
        state: the key of the weights, where a file of ``torch.save`` holds several sets, such as an average of them.
        names: of a state dict: a prefix by which the file's differ is taken off or put on.

    Returns:
        The weights under plain names, in memory of their own: the file may be replaced afterwards.

    Raises:
        CheckpointError: the path leads to no checkpoint, or to one that is damaged or not known to be safe.
    """
    path, folder = Path(path), Path(path)
    if is_folder(path):
        path = weight_files(path)
    found = _read(path, state)
    if is_folder(folder) and (files := companions(folder)):
        found = _of_folder(found, files)
    return found if names is None else fitted(found, names)


def _of_folder(found: Checkpoint, files: tuple[Path, ...]) -> Checkpoint:
    """A checkpoint that is written as a folder, with the files that belong to it."""
    shards = found.shards or dict.fromkeys(found.names, found.path.name)
    plain = found.format == "shards" or not found.nesting
    return replace(found, format="shards", shards=shards, companions=files) if plain else found


def _read(path: Path, state: str | None) -> Checkpoint:
    """`read` of a file, under the names that it has but for those of wrappers."""
    if path.name.endswith(INDICES) and path.is_file():
        found = _read_shards(path)
    else:
        kind = file_kind(path)
        if kind != "safetensors":
            return _read_torch(path, kind, state)
        found = _read_safetensors(path)
    if state is not None:
        raise CheckpointError(f"{path} holds one set of weights without a name: leave out --state {state}")
    return found


def _read_torch(path: Path, kind: FileKind, wanted: str | None) -> Checkpoint:
    """`read` of a file that ``torch.save`` wrote."""
    tree = safe_load(path, kind)
    keys = _keys(path, tree, wanted)
    state = {name: value for name, value in state_dict_in.at(tree, keys).items() if isinstance(value, Tensor)}
    check_no_adapter(path, state)
    names = _plain_names(state)
    notes = (*_which(tree, keys), *said(names))
    _check_size(tree, path)
    extras, left_out = state_dict_in.strip(tree, keys)
    extras, passed_over = without(extras)
    return Checkpoint(
        path=path,
        format="torch",
        weights=_owned({plain: state[stored] for plain, stored in names.items()}, path),
        names=names,
        nesting=keys,
        extras=extras,
        left_out=(*left_out, *passed_over),
        notes=notes,
    )


def _keys(path: Path, tree: Any, wanted: str | None) -> state_dict_in.Keys:
    """The keys that lead to the weights.

    Raises:
        CheckpointError: there are none, or several, or those that are wanted are not there.
    """
    try:
        keys = state_dict_in.find(tree, wanted)
    except state_dict_in.AmbiguousError as error:
        there = "holds several sets of weights" if wanted is None else f"holds no weights called {quoted(wanted)}, but"
        raise CheckpointError(
            f"{path} {there}: {error}; choose one with --state NAME, or save the one that you mean by itself"
        ) from error
    if keys is not None:
        return keys
    place = (name for name, value in tree.items() if isinstance(value, PassedOver)) if isinstance(tree, Mapping) else ()
    at = next(((str(name),) for name in place), ())
    if name := unknown_class(state_dict_in.at(tree, at)):
        raise whole_model(path, name, at)
    raise CheckpointError(f"{path} holds no state dict ({_outline(tree)}): save model.state_dict()")


def _which(tree: Any, keys: state_dict_in.Keys) -> tuple[str, ...]:
    """One line on which weights were taken, where there are others like them."""
    others = [".".join(other) for other in state_dict_in.others(tree, keys)]
    if not others:
        return ()
    named = ", ".join(map(quoted, others))
    return (f"the weights are those of {quoted('.'.join(keys))}; --state {listed(others[:1])} takes {named}",)


def _read_safetensors(path: Path) -> Checkpoint:
    """`read` of a single safetensors file."""
    state, metadata = _load_safetensors(path)
    if not state:
        raise CheckpointError(f"{path} holds no tensors: save the model again")
    check_no_adapter(path, state)
    names = _plain_names(state)
    weights = _owned({plain: state[stored] for plain, stored in names.items()}, path)
    weights = _with_ties(weights, names, metadata)
    return Checkpoint(path, "safetensors", weights, names, metadata=metadata, notes=said(names))


def _read_shards(index: Path) -> Checkpoint:
    """`read` of an index and the shards that it lists."""
    files = weight_map(index)
    load = _load_safetensors if index.name.endswith(INDEX) else _load_bin
    shards = {file: load(index.parent / file) for file in sorted(set(files.values()))}
    for name, file in files.items():
        if name not in shards[file][0]:
            raise CheckpointError(
                f"{index.parent / file} lacks {quoted(name)}, which {index.name} lists: get both again"
            )
    names = _plain_names(files)
    weights = _owned({plain: shards[files[stored]][0][stored] for plain, stored in names.items()}, index)
    metadata = {key: value for _, own in shards.values() for key, value in (own or {}).items()} or None
    return Checkpoint(
        path=index,
        format="shards",
        weights=_with_ties(weights, names, metadata),
        names=names,
        metadata=metadata,
        shards={plain: files[stored] for plain, stored in names.items()},
        notes=said(names),
    )


def _load_bin(path: Path) -> tuple[Weights, None]:
    """The tensors of one shard that ``torch.save`` wrote."""
    found = safe_load(path, file_kind(path))
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds no state dict ({_outline(found)}), which its index promises: get it again")
    _check_size(found, path)
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}, None


def _load_safetensors(path: Path) -> tuple[Weights, dict[str, str] | None]:
    """The tensors and the metadata of one safetensors file."""
    if file_kind(path) != "safetensors":
        raise CheckpointError(f"{path} is not in the safetensors format, which its index promises: get it again")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise truncated(path) from error


def _with_ties(weights: Weights, names: Mapping[str, str], metadata: Mapping[str, str] | None) -> Weights:
    """The weights and the tied names that safetensors left out; its metadata maps such a name to the one kept."""
    plain = {stored: name for name, stored in names.items()}
    noted = {left: kept for left, kept in (metadata or {}).items() if kept in plain and left not in plain}
    every = {stored: name for name, stored in _plain_names([*plain, *noted]).items()}
    return {**weights, **{every[left]: weights[plain[kept]] for left, kept in noted.items()}}


def _owned(tensors: Mapping[str, Tensor], path: Path) -> Weights:
    """Copies in memory of their own, since the file under a mapped tensor may change; tied tensors stay one."""
    copies: dict[tuple[object, ...], Tensor] = {}
    weights: Weights = {}
    for name, tensor in tensors.items():
        if not _is_plain(tensor):
            raise CheckpointError(
                f"{path}: {quoted(name)} is sparse, quantized or without data: save it as a dense tensor"
            )
        key = view_key(tensor)
        if key not in copies:
            copies[key] = tensor.detach().clone()
        weights[name] = copies[key]
    return weights


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_meta or tensor.is_nested)


def _check_size(tree: Any, path: Path) -> None:
    """Refuse tensors that stand for much more than the file holds: one number can be a matrix, without a copy."""
    plain = (t for _, t in state_dict_in.within(tree) if isinstance(t, Tensor) and _is_plain(t))
    needed = sum({view_key(tensor): tensor.numel() * tensor.element_size() for tensor in plain}.values())
    size = path.stat().st_size
    if needed > FREE + TIMES * size:
        raise CheckpointError(
            f"{path} has {size:,} bytes and its tensors stand for {needed:,}: save copies of them (tensor.contiguous())"
        )


def _outline(tree: Any) -> str:
    """What there is instead of a state dict, in a few words."""
    if isinstance(tree, Mapping):
        return f"it has the keys {', '.join(quoted(key, 60) for key in list(tree)[:8])}" if tree else "it is empty"
    return f"it is a {type(tree).__name__}"


def _plain_names(stored: Iterable[str]) -> dict[str, str]:
    """The stored name by plain name, in the same order: without what wrappers put before names.

    The wrappers are DataParallel, DistributedDataParallel, torch.compile, FSDP and activation checkpointing. What the
    last three put in goes wherever it stands, for a submodule can be wrapped too; ``module.`` only at the beginning and
    only if every name begins with it, for it may be the name of a real submodule. In any order and nested. Names that
    would coincide without their prefixes are left alone. Prefixes that only the model tells are taken off by
    `llpf_plugin.preflight.fitted`.
    """
    stored = list(stored)
    plain = [_unwrapped(name) for name in stored]
    while plain and all(name.startswith(_PARALLEL) and name != _PARALLEL for name in plain):
        plain = [name.removeprefix(_PARALLEL) for name in plain]
    if len(set(plain)) < len(plain):
        plain = stored
    return dict(zip(plain, stored, strict=True))


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)
