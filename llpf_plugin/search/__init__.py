"""`find_path`: the only loop, with its progress, the assembly of knots into a path, and the walk to the origin."""

from llpf_plugin.search.find import Search, find_path
from llpf_plugin.search.options import SearchOptions
from llpf_plugin.search.origin import descend, origin_search, walk_to_origin
from llpf_plugin.search.progress import Callback, Progress, Searching

__all__ = [
    "Callback",
    "Progress",
    "Search",
    "SearchOptions",
    "Searching",
    "descend",
    "find_path",
    "origin_search",
    "walk_to_origin",
]
