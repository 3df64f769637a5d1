"""Ranks that merge together must be given the same models and settings, and run the same versions."""

import torch

from llpf_plugin.errors import RankError
from llpf_plugin.ranks.group import gathered, together
from llpf_plugin.runs.asked import Asked, differences
from llpf_plugin.version import written_by


def check_asked(asked: Asked) -> None:
    """Refuse ranks that read other models, are asked for something else, or run other versions.

    Raises:
        RankError: says which rank, and what differs.
    """
    if not together():
        return
    everybodys = gathered((asked, f"{written_by()}, torch {torch.__version__}"))
    first, versions = everybodys[0]
    for rank, (own, version) in enumerate(everybodys):
        files = [name for name, one, other in (("A", own.a, first.a), ("B", own.b, first.b)) if one != other]
        if files:
            raise RankError(
                f"rank {rank} reads another {' and '.join(files)} than rank 0: all machines must have the same files"
            )
        if version != versions:
            raise RankError(f"rank {rank} runs {version}, rank 0 {versions}: install the same on all machines")
        if found := differences(first, own):
            raise RankError(
                f"rank {rank} is asked for something else than rank 0: {'; '.join(list(found.values())[:3])}"
            )
