"""LLPF for Flower: server strategies, one-shot merging, and the client half (extra ``flower``)."""

from llpf_flower.arrays import to_arrays, to_weights
from llpf_flower.gossip import GossipStrategy
from llpf_flower.local import Merged, Pace, merge_into_local
from llpf_flower.mod import llpf_merge_mod
from llpf_flower.oneshot import Joined, OneShotLLPF, join_models
from llpf_flower.strategy import LLPFStrategy

__all__ = [
    "GossipStrategy",
    "Joined",
    "LLPFStrategy",
    "Merged",
    "OneShotLLPF",
    "Pace",
    "join_models",
    "llpf_merge_mod",
    "merge_into_local",
    "to_arrays",
    "to_weights",
]
