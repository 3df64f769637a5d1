"""A checkpoint under the names of a network."""

from collections.abc import Iterable

from torch import nn

from llpf_plugin.checkpoint import prefixes
from llpf_plugin.checkpoint.pretrained import as_in_network
from llpf_plugin.checkpoint.record import Checkpoint
from llpf_plugin.checkpoint.untied import untied
from llpf_plugin.geometry.weights import state


def fitted(found: Checkpoint, wanted: nn.Module | Iterable[str]) -> Checkpoint:
    """A checkpoint under the names that are wanted, which is undone on writing.

    Names that the file ties and a network does not are tensors of their own, and are written as such.

    Args:
        found: the checkpoint, as it was read.
        wanted: a network, or names alone, where only a prefix can be taken off or put on.
    """
    if not isinstance(wanted, nn.Module):
        return prefixes.fitted(found, wanted)
    return untied(as_in_network(found, wanted) or prefixes.fitted(found, state(wanted)), wanted)
