"""Merging two or more models."""

from llpf_plugin.merging.data_free import Aligned, align_to, mean_on_spheres
from llpf_plugin.merging.descent import open_descent
from llpf_plugin.merging.labels import labels_of, union_of
from llpf_plugin.merging.merge import Finished, Merged, Watch, merge
from llpf_plugin.merging.pair import Pair, Request, Source, open_pair
from llpf_plugin.merging.reorder import Align, walks_schedule
from llpf_plugin.merging.union import Candidate, United, unite

__all__ = [
    "Align",
    "Aligned",
    "Candidate",
    "Finished",
    "Merged",
    "Pair",
    "Request",
    "Source",
    "United",
    "Watch",
    "align_to",
    "labels_of",
    "mean_on_spheres",
    "merge",
    "open_descent",
    "open_pair",
    "union_of",
    "unite",
    "walks_schedule",
]
