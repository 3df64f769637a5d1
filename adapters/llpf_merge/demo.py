"""``llpf-merge --demo``: two digit networks from two seeds, and the line that connects them."""

from pathlib import Path

import torch
from rich.console import Console

from llpf_merge.job import Request, merge
from llpf_plugin import Compute, Settings, load_task
from llpf_plugin.files import atomic_write
from llpf_plugin.runs.folder import RunFolder
from llpf_plugin.training import train

TASK = "digits/resnet"
GOAL = 0.1
FOLDER = Path("llpf-demo")


def run_demo(console: Console, out: Path | None = None, device: str = "auto", seed: int = 0) -> bool:
    """Train ``a.pt`` and ``b.pt``, print the line that connects them, and run it.

    Args:
        console: where to print.
        out: a new folder for everything (default: ``llpf-demo``, or the next number that is free).
        device: as in `Compute`.
        seed: of the first network; the second takes the next one.

    Returns:
        Whether the two were connected.

    Raises:
        RunError: ``out`` is in use.
    """
    folder = out or _free(FOLDER)
    RunFolder(folder).check_free()
    compute = Compute(device)
    for name, own in (("a.pt", seed), ("b.pt", seed + 1)):
        console.print(f"training {folder / name} on scikit-learn's digits, seed {own}", markup=False)
        state = {"state_dict": train(load_task(TASK), own, compute), "seed": own}
        atomic_write(folder / name, lambda place, state=state: torch.save(state, place))  # type: ignore[misc]
    settings = Settings(max_loss=GOAL)
    request = Request(folder / "a.pt", folder / "b.pt", TASK, {}, folder / "run", settings, compute)
    console.print(f"\n{request.command()}\n", style="bold", markup=False, highlight=False)
    quality = merge(request, console)
    return quality is not None and quality.connected


def _free(folder: Path) -> Path:
    """The folder, or the first of ``folder-2``, ``folder-3``, … that does not exist."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free
