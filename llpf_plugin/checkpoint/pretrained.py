"""Files of transformers whose tensors have other names, or other shapes, than those of the network: both ways.

``save_pretrained`` writes the names that a network had when its kind first came out. Where the code was changed since,
they are not those of ``state_dict()``: renamed (ViT), or the experts of a layer one by one (Mixtral) where the network
has them stacked. Transformers knows both ways, and is asked.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from llpf_plugin.checkpoint.record import Checkpoint
from llpf_plugin.geometry.weights import Weights, state, ties

Back = Callable[[Weights], Weights]


def as_in_network(found: Checkpoint, model: nn.Module) -> Checkpoint | None:
    """A checkpoint under the names and shapes of a network of transformers; None if nothing is to be done or known.

    Args:
        found: as it was read.
        model: the network.
    """
    revert = _revert(model)
    own = state(model)
    single = {name: own[name] for name in own if name not in ties(model)}
    if revert is None or all(name in found.weights for name in single):
        return None
    stored = revert(single)
    if not stored.keys() <= set(found.names.values()):
        return None
    places = {tensor.data_ptr(): name for name, tensor in single.items()}
    names = {places.get(tensor.data_ptr(), ""): name for name, tensor in stored.items()}
    same = len(names) == len(single) and all(own[k].shape == stored[s].shape for k, s in names.items() if k)
    note = "its names are those that transformers saves; they become those of the network, which is undone on writing"
    if same and names.keys() == single.keys():
        plain = {s: k for k, s in found.names.items()}
        return replace(
            found, weights={k: found.weights[plain[s]] for k, s in names.items()}, names=names,
            shards={k: found.shards[plain[s]] for k, s in names.items()} if found.shards else {},
            beside={s: found.weights[k] for k, s in found.names.items() if s not in stored}, notes=(*found.notes, note),
        )  # fmt: skip
    return _converted(found, model, revert, note)


def _converted(found: Checkpoint, model: nn.Module, revert: Back, note: str) -> Checkpoint | None:
    """`as_in_network` where tensors are put together from several, which transformers does in a network of its own."""
    kind: Any = type(model)
    original = {stored: found.weights[k] for k, stored in found.names.items()}
    try:
        with _silent():
            loaded, info = kind.from_pretrained(
                None, config=copy.deepcopy(model.config), state_dict=dict(original), dtype="auto",
                output_loading_info=True,
            )  # fmt: skip
    except Exception:  # whatever it refuses is refused with the names that do not fit
        return None
    if any(info.get(key) for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")):
        return None
    weights = {name: tensor.detach() for name, tensor in state(loaded).items()}
    further = ties(loaded)

    def back(changed: Weights) -> Weights:
        tensors = revert({name: tensor for name, tensor in changed.items() if name not in further})
        return {name: tensor.to(original[name].dtype).contiguous() for name, tensor in tensors.items()}

    shards = {stored: found.shards[k] for k, stored in found.names.items()} if found.shards else {}
    names = {name: name for name in weights if name not in further}
    return replace(found, weights=weights, names=names, shards=shards, revert=back, notes=(*found.notes, note))


@contextmanager
def _silent() -> Iterator[None]:
    """Transformers shows no bar and no message for what it loads."""
    logging = sys.modules["transformers"].utils.logging
    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _revert(model: nn.Module) -> Back | None:
    """From the state dict of a network of transformers to what ``save_pretrained`` writes; None of other networks."""
    library = sys.modules.get("transformers")
    if library is None or not isinstance(model, library.PreTrainedModel):
        return None
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # before version 5 both had the same names
        return None
    return lambda weights: dict(revert_weight_conversion(model, dict(weights)))
