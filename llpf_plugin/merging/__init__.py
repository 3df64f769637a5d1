"""Merging two or more models."""

from llpf_plugin.merging.merge import Merged, Watch, merge
from llpf_plugin.merging.pair import Align, Pair, Request, Source, open_pair

__all__ = ["Align", "Merged", "Pair", "Request", "Source", "Watch", "merge", "open_pair"]
