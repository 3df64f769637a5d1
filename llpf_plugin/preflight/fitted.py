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
from llpf_plugin.checkpoint import fitted as without_prefix
from llpf_plugin.checkpoint.prefixes import stored_beside
from llpf_plugin.geometry.weights import Weights, state, ties
from llpf_plugin.preflight.pair import complete


def fitted(found: Checkpoint, model: nn.Module) -> Checkpoint:
    """The checkpoint under the names of a model, as far as these can be known.

    Args:
        found: as it was read.
        model: that it is to be loaded into; not changed.
    """
    converted = _converted(found, model)
    if converted is found:
        converted = without_prefix(found, state(model))
    return _untied(converted, model)


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
            names[name] = stored_beside(names, there, name)
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
    note = "its names are those that transformers saves; they become those of the network, which is undone on writing"
    return replace(found, weights=weights, stored=types, stored_form=saved, notes=(*found.notes, note))


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
