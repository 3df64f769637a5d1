"""Several processes that search together: the ranks that ``torchrun`` started. Without it, all of this does nothing."""

from llpf_plugin.ranks.group import (
    Group,
    alone,
    any_rank,
    current,
    from_first,
    gathered,
    is_first,
    on_first,
    shared,
    together,
    wait_for_all,
)
from llpf_plugin.ranks.join import joined

__all__ = [
    "Group",
    "alone",
    "any_rank",
    "current",
    "from_first",
    "gathered",
    "is_first",
    "joined",
    "on_first",
    "shared",
    "together",
    "wait_for_all",
]
