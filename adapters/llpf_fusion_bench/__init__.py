"""LLPF for fusion_bench: an algorithm that joins the models of a pool along low-loss paths (extra ``fusion-bench``).

fusion_bench is imported when something of it is needed, never before its version is known.
"""

from typing import TYPE_CHECKING, Any

from llpf_plugin.lazy import lazily
from llpf_plugin.version import check_version

if TYPE_CHECKING:
    from llpf_fusion_bench.algorithm import LLPFAlgorithm
    from llpf_fusion_bench.networks import network

__all__ = ["VERSIONS", "LLPFAlgorithm", "network"]

VERSIONS = ">=0.2.33,<0.3"
"""Of fusion_bench."""

_load = lazily(__name__, {"LLPFAlgorithm": "algorithm", "network": "networks"})


def __getattr__(name: str) -> Any:
    if name in __all__:
        check_version("fusion-bench", VERSIONS, "fusion-bench")
    return _load(name)
