"""Merging two or more models."""

from llpf_plugin.merging.descent import open_descent
from llpf_plugin.merging.merge import Finished, Merged, Watch, merge
from llpf_plugin.merging.pair import Align, Pair, Request, Source, open_pair

__all__ = ["Align", "Finished", "Merged", "Pair", "Request", "Source", "Watch", "merge", "open_descent", "open_pair"]
