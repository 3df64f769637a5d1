"""One walk towards the origin: read, check, walk, judge, write."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from llpf_merge import show
from llpf_merge.job import Request, asked_for, check_pick, finish, info, resumable, walk
from llpf_plugin import load_task, walk_to_origin
from llpf_plugin.checkpoint import read
from llpf_plugin.geometry.weights import clone, coordinates
from llpf_plugin.preflight import complete, fits, raise_errors
from llpf_plugin.runs.folder import RunFolder
from llpf_plugin.workspace import Gradient

ORIGIN = Path("origin")
"""What stands for B on the command line."""


def descend(request: Request, console: Console) -> bool:
    """Walk from A towards the origin; the model that is written is the last one, unless another is picked.

    Returns:
        Whether the walk came to where it was to go, at a low loss; a dry run counts as such.

    Raises:
        LLPFError: of any kind, before anything was overwritten.
    """
    request = replace(request, pick="1" if request.pick in ("best", "end") else request.pick)
    check_pick(request.pick)
    a = read(request.a)
    task = load_task(request.task, request.task_arguments)
    raise_errors(fits(a.weights, task.model, str(request.a)))
    start = complete(a.weights, task.model.state_dict())
    run = RunFolder(request.out)
    asked = asked_for(request, a)
    if request.resume and run.exists:
        run.check_same(asked)
    elif not request.dry_run:
        run.check_free()
    gradient = Gradient(task, request.compute, request.settings.seed, request.settings.batch_size)
    show.descent(console, request, gradient, start)
    if request.dry_run:
        show.estimate(console, request, gradient)
        return True
    if not run.exists:
        buffers = {k: t for k, t in start.items() if k not in set(coordinates(task.model))}
        run.create(asked, buffers, clone(buffers), info(request))
    search = partial(walk_to_origin, to=_destination(request.to), ticks=request.ticks)
    with resumable(request):
        path = walk(request, task, (start,), run, console, search)
        finish(request, path.quality, run, a, (), console)
    return path.quality.connected


def _destination(to: str | None) -> float | str | None:
    """A part of the variance where it reads as a number, else a checkpoint."""
    try:
        return None if to is None else float(to)
    except ValueError:
        return to
