"""Symmetries of a traced network, and matching one network's neurons with another's."""

from llpf_plugin.alignment.matching import Matching, align, match
from llpf_plugin.alignment.symmetry import Symmetry, symmetry

__all__ = ["Matching", "Symmetry", "align", "match", "symmetry"]
