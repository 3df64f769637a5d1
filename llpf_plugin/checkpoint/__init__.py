"""Checkpoints as they are found: read into plain weights, written back in the form in which they came."""

from llpf_plugin.checkpoint.convert import SHARD, converted, without_prefix
from llpf_plugin.checkpoint.prefixes import fitted
from llpf_plugin.checkpoint.reader import read
from llpf_plugin.checkpoint.record import Checkpoint, fingerprint, plain_form, tied_names
from llpf_plugin.checkpoint.writer import target, write

__all__ = [
    "SHARD",
    "Checkpoint",
    "converted",
    "fingerprint",
    "fitted",
    "plain_form",
    "read",
    "target",
    "tied_names",
    "without_prefix",
    "write",
]
