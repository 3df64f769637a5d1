"""A checkpoint as its model has it, where that is not how its file has it, to be written as the file has it.

Wrappers put prefixes before names, and have tensors of their own. Names that the file ties and the model does not are
walked apart, and so they are written. Libraries give their models other names, and other tensors, than the files that
they save; transformers (from version 5) joins the experts of a mixture, and what it does when it loads and saves is
done here.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from llpf_plugin.checkpoint import Checkpoint
from llpf_plugin.geometry.weights import Weights, state, ties
from llpf_plugin.preflight.pair import complete


def fitted(found: Checkpoint, model: nn.Module) -> Checkpoint:
    """The checkpoint under the names of a model, as far as these can be known.

    Args:
        found: as it was read.
        model: that it is to be loaded into; not changed.
    """
    return _untied(_converted(_within(found, model), model), model)


def _within(found: Checkpoint, model: nn.Module) -> Checkpoint:
    """Without the prefix of a wrapper that holds the model, where one fits; what else the wrapper has stays beside it.

    `torch.optim.swa_utils.AveragedModel` counts in ``n_averaged``, and a LightningModule has losses and metrics.
    """
    own = state(model)
    if not own or own.keys() == complete(found.weights, own).keys():
        return found
    fits = [prefix for prefix in _prefixes(found.weights, own) if _fits(found.weights, prefix, own)]
    if len(fits) != 1:
        return found
    (prefix,) = fits
    inner = {name.removeprefix(prefix): name for name in found.weights if name.startswith(prefix)}
    beside = {stored: found.weights[name] for name, stored in found.names.items() if not name.startswith(prefix)}
    if found.shards and beside:  # whose place is kept by the model's names
        return found
    names = {plain: found.names[name] for plain, name in inner.items() if name in found.names}
    shards = {plain: found.shards[name] for plain, name in inner.items() if name in found.shards}
    weights = {plain: found.weights[name] for plain, name in inner.items()}
    return replace(found, weights=weights, names=names, shards=shards, beside=beside)


def _prefixes(weights: Weights, own: Weights) -> set[str]:
    """What stands before one of the model's names, ending in a dot."""
    for probe in own:  # a tied name may be missing in the file
        if found := {name.removesuffix(probe) for name in weights if name.endswith(f".{probe}")}:
            return found
    return set()


def _fits(weights: Weights, prefix: str, own: Weights) -> bool:
    """Whether the names with a prefix are the model's, and so are the shapes."""
    inner = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    full = complete(inner, own)
    return full.keys() == own.keys() and all(full[name].shape == tensor.shape for name, tensor in own.items())


def _untied(found: Checkpoint, model: nn.Module) -> Checkpoint:
    """With tensors of their own for names that the model does not tie; each has its place in the file."""
    first = ties(model)
    own = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    apart = [
        name
        for group in found.ties
        for name in group[1:]
        if {name, group[0]} <= own and first.get(name, name) != first.get(group[0], group[0])
    ]
    if not apart:
        return found
    kept = {name: group[0] for group in found.ties for name in group}
    names, shards, metadata = dict(found.names), dict(found.shards), dict(found.metadata or {})
    for name in apart:
        if name not in names:  # safetensors leaves it out, and says so
            there = next(other for other in names if kept.get(other) == kept[name])
            names[name] = names[there].removesuffix(there) + name
            shards |= {name: shards[there]} if shards else {}
            metadata.pop(names[name], None)
    weights = {**found.weights, **{name: found.weights[name].clone() for name in apart}}
    return replace(found, weights=weights, names=names, shards=shards, metadata=metadata or None)


def _converted(found: Checkpoint, model: nn.Module) -> Checkpoint:
    """As transformers loads it, where the model is one of its and the file has other names than that."""
    library = sys.modules.get("transformers")
    if library is None or not isinstance(model, library.PreTrainedModel):
        return found
    own = state(model)
    if own.keys() == complete(found.weights, own).keys():
        return found
    weights = _loaded(found.weights, model)
    if weights is None or own.keys() != weights.keys():
        return found

    def saved(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        from transformers.core_model_loading import revert_weight_conversion

        written: Mapping[str, Tensor] = revert_weight_conversion(model, dict(weights))
        return written

    types = {name: torch.empty(0, dtype=tensor.dtype) for name, tensor in found.weights.items()}
    return replace(found, weights=weights, stored=types, stored_form=saved)


def _loaded(weights: Weights, model: Any) -> Weights | None:
    """The state dict of a model into which transformers has loaded the weights; None if anything was left over."""
    kind, types = type(model), {t.dtype for t in weights.values() if t.is_floating_point()}
    dtype = types.pop() if len(types) == 1 else torch.float32
    try:
        from transformers.core_model_loading import revert_weight_conversion  # noqa: F401 - whether it converts at all

        with _quiet():
            made, told = kind.from_pretrained(
                None, config=model.config, state_dict=dict(weights), output_loading_info=True, dtype=dtype
            )
    except Exception:  # whatever it refuses is refused with the names that do not fit
        return None
    if any(told.get(kind) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")):
        return None
    return {name: tensor.detach() for name, tensor in state(made).items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the messages and the progress bar of transformers."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
