"""LLPF for Flower: a server strategy, a federated walk, one-shot merging, and the client half (extra ``flower``)."""

from llpf_flower.arrays import to_arrays, to_weights
from llpf_flower.local import Merged, Pace, merge_into_local
from llpf_flower.mod import llpf_merge_mod
from llpf_flower.oneshot import OneShotLLPF, join_models
from llpf_flower.strategy import LLPFStrategy
from llpf_flower.walk import LLPFWalk

__all__ = [
    "LLPFStrategy",
    "LLPFWalk",
    "Merged",
    "OneShotLLPF",
    "Pace",
    "join_models",
    "llpf_merge_mod",
    "merge_into_local",
    "to_arrays",
    "to_weights",
]
