"""Peak memory."""

import sys

import torch


def peak_memory(device: torch.device) -> int | None:
    """Bytes at most so far: allocated on a CUDA device, else of the whole process; None where no one counts them."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
