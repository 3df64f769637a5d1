"""Symmetries of a traced network, and matching one network's units with another's."""

from llpf_plugin.alignment.candidates import permutations_only
from llpf_plugin.alignment.consensus import Consensus, align_all, match_all
from llpf_plugin.alignment.groups import Group, Place, Symmetry
from llpf_plugin.alignment.matching import Matching, align, align_models, match
from llpf_plugin.alignment.symmetry import symmetry

__all__ = [
    "Consensus", "Group", "Matching", "Place", "Symmetry", "align", "align_all", "align_models", "match", "match_all",
    "permutations_only", "symmetry",
]  # fmt: skip
