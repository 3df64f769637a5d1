"""Each rank has a device of its own."""

import os

import torch

from llpf_plugin.errors import RankError
from llpf_plugin.ranks.group import current, together


def check_device(device: torch.device) -> None:
    """Refuse a device that ranks cannot work on, or not each on its own.

    Raises:
        RankError: says which there are.
    """
    if not together() or device.type == "cpu":
        return
    if device.type != "cuda":
        raise RankError(f"several ranks work on cpu or cuda, not on {device.type}: add --device cpu")
    local, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if device.index is not None:
        raise RankError(f"--device {device} is one device, and each of {current().size} ranks needs its own: say cuda")
    if local >= count:
        raise RankError(
            f"rank {current().rank} has no GPU of its own: this machine has {count}; start fewer ranks on it"
        )
