"""A run on disk: its folder, what it holds, and how it is read again."""

from llpf_plugin.runs.alignment import Alignment, computes_the_same
from llpf_plugin.runs.asked import Asked
from llpf_plugin.runs.folder import RunFolder
from llpf_plugin.runs.guard import check_folders, check_links
from llpf_plugin.runs.knots import KnotFolder
from llpf_plugin.runs.lock import held, held_file
from llpf_plugin.runs.read import read_asked, read_path
from llpf_plugin.runs.stored import StoredRun, check_comparable, name_runs, open_run
from llpf_plugin.runs.tree import Join, Node, balanced, open_tree, save_tree
from llpf_plugin.runs.verdict import MergedModel, Verdict, read_verdict, write_verdict

__all__ = [
    "Alignment",
    "Asked",
    "Join",
    "KnotFolder",
    "MergedModel",
    "Node",
    "RunFolder",
    "StoredRun",
    "Verdict",
    "balanced",
    "check_comparable",
    "check_folders",
    "check_links",
    "computes_the_same",
    "held",
    "held_file",
    "name_runs",
    "open_run",
    "open_tree",
    "read_asked",
    "read_path",
    "read_verdict",
    "save_tree",
    "write_verdict",
]
