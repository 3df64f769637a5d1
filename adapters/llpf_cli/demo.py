"""``llpf demo``: two digit networks from two seeds, and the command that connects them."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from llpf_cli.compare import compare as compare_models
from llpf_cli.config import words_of
from llpf_cli.merge import merge
from llpf_cli.options import GOAL, OUTPUT, PATH, ComputeOptions, GoalOptions, OutputOptions, TaskOptions, option
from llpf_cli.places import folder_of

TASK = "digits/resnet"
GOAL_LOSS = 0.1
EPOCHS = 12
"""Enough for 98 % on test data; the task's own recipe takes twice as long, and half of the demo's time."""

FOLDER = Path("llpf-demo")


def demo(
    *,
    seed: Annotated[int, option("Seed of the first network; the second takes the next one [0].", group=GOAL)] = 0,
    compare: Annotated[bool, option("Compare all methods on the pair.", group=PATH, negative="")] = False,
    out: Annotated[
        Path | None,
        option(
            "A new folder for everything [llpf-demo, or the next number that is free].", "-o", "--out", group=OUTPUT
        ),
    ] = None,
    report: Annotated[bool, option("Write report.html (needs matplotlib) [on].", group=OUTPUT)] = True,
    compute: ComputeOptions = ComputeOptions(),
) -> int:
    """Train two small networks on scikit-learn's digits from two seeds, and connect them."""
    import torch

    from llpf_cli.terminal import terminal
    from llpf_plugin import load_task
    from llpf_plugin.files import atomic_write
    from llpf_plugin.runs import RunFolder, held
    from llpf_plugin.training import train

    console, folder = terminal(), folder_of(out, _free(FOLDER))
    places, made = [folder / "a.pt", folder / "b.pt"], RunFolder(folder)
    with held(folder):
        made.check_free()
        made.clear()
        for place, own in zip(places, (seed, seed + 1), strict=True):
            console.print(f"training {place} on scikit-learn's digits, seed {own}", markup=False, soft_wrap=True)
            state = {"state_dict": train(load_task(TASK), own, compute.made(), EPOCHS), "seed": own}
            atomic_write(place, lambda temporary, state=state: torch.save(state, temporary))  # type: ignore[misc]
    models, run = [str(place) for place in places], folder / ("compared" if compare else "run")
    goal, task, output = GoalOptions(max_loss=GOAL_LOSS), TaskOptions(task=TASK), OutputOptions(out=run, report=report)
    asked = [word for options in (task, goal, output, compute) for word in words_of(options)]
    sys.argv = ["llpf", "compare" if compare else "merge", *models, *asked]  # what the run's folder says it was
    console.print(f"\n{shlex.join(sys.argv)}\n", style="bold", markup=False, highlight=False, soft_wrap=True)
    command = compare_models if compare else merge
    return command(*models, goal=goal, task=task, output=output, compute=compute)


def _free(folder: Path) -> Path:
    """The folder, or the first of ``folder-2``, ``folder-3``, … that does not exist."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free
