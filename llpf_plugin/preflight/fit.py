"""Do weights fit a model?"""

from collections.abc import Mapping

from torch import Tensor, nn

from llpf_plugin.checkpoint import tied_names
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.preflight.checks import dtypes, names_of_one, shapes, untied
from llpf_plugin.preflight.finding import Finding, finding


def fits(weights: Mapping[str, Tensor], model: nn.Module, name: str) -> list[Finding]:
    """What stands against loading ``weights``, which are called ``name``, into ``model``.

    Names that `complete` can add are a note, not an error.
    """
    own = _tensors(model)
    full = complete(weights, own)
    added = [k for k in full if k not in weights]
    whose = (name, "the model")
    common = [k for k in own if k in weights and own[k].shape == weights[k].shape]
    return [
        *finding("note", f"{name} lacks names that the model ties or counts by itself", added, "They are added."),
        *names_of_one(full, own, whose, "Check the file and the task's arguments."),
        *shapes(weights, own, whose),
        *dtypes({k: weights[k] for k in common}, {k: own[k] for k in common}, whose),
        *untied(weights, tied_names(own), f"The model ties weights that differ in {name}"),
    ]


def complete(weights: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Weights:
    """The weights and what files leave out: tied names, and the batch counters that old BatchNorm did not have.

    Args:
        weights: by plain name.
        reference: has all names, e.g. the state dict of the model; its ties tell which tensor a name stands for.
    """
    full = dict(weights)
    for group in tied_names(reference):
        present = next((k for k in group if k in weights), None)
        if present is not None:
            full |= {k: weights[present] for k in group if k not in weights}
    for mean in [k for k in weights if k.endswith("running_mean")]:
        counter = mean.removesuffix("running_mean") + "num_batches_tracked"
        if counter in reference and counter not in weights:
            full[counter] = reference[counter].clone()
    return full


def _tensors(model: nn.Module) -> Weights:
    """The state dict of ``model`` without extra state that is no tensor."""
    return {k: t for k, t in model.state_dict().items() if isinstance(t, Tensor)}
