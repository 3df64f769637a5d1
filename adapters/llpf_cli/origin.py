"""``llpf origin``: from a checkpoint down its variance spheres."""

import time
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from llpf_cli.config import command_line, config_text, resumable
from llpf_cli.merge import DRY_RUN, RUN
from llpf_cli.options import (
    GOAL,
    PATH,
    STATE,
    ComputeOptions,
    GoalOptions,
    MeasureOptions,
    MethodArguments,
    OutputOptions,
    TaskOptions,
    checked,
    option,
    search_options,
)
from llpf_cli.places import folder_of
from llpf_plugin.errors import UsageError


def origin(
    model: Annotated[str, Parameter(name="A", help="A checkpoint: .pt, .safetensors, or a folder of shards.")],
    /,
    *,
    goal: GoalOptions = GoalOptions(),
    to: Annotated[
        str | None,
        option("Stop at this fraction of A's variance, or at the variances of B.pt [the origin].", group=GOAL),
    ] = None,
    ticks: Annotated[int | None, option("Stop after this many ticks.", group=GOAL)] = None,
    task: TaskOptions = TaskOptions(),
    state: Annotated[str | None, STATE] = None,
    method: MethodArguments = MethodArguments(),
    pick: Annotated[str, option("Written model: end, mid, best, or t [end].", group=PATH)] = "end",
    measure: MeasureOptions = MeasureOptions(),
    output: OutputOptions = OutputOptions(),
    dry_run: Annotated[bool, DRY_RUN] = False,
    compute: ComputeOptions = ComputeOptions(),
) -> int:
    """Walk from a trained network towards the origin along low training loss (paper, Algorithm 2).

    Layers with a variance sphere shrink, normalizations stay, and every layer's learning rate falls with its variance.
    """
    began = time.monotonic()
    (task_name, task_args), walk = task.named(model), method.made()
    from llpf_cli import preview, results
    from llpf_cli.progress_bar import LiveView, StopOnCtrlC
    from llpf_cli.terminal import terminal
    from llpf_cli.watch import KeepConfig, picture_of, write_page
    from llpf_plugin.llpf import LLPF, Descent
    from llpf_plugin.merging import Finished, Source, open_descent
    from llpf_plugin.quality import check_pick
    from llpf_plugin.ranks import is_first, on_first
    from llpf_plugin.report import TensorBoard
    from llpf_plugin.runs import held
    from llpf_plugin.search import SearchOptions, descend

    assert isinstance(walk, LLPF)
    out, console, search = folder_of(output.out, RUN), terminal(), SearchOptions(**search_options(goal, measure))
    with checked():
        check_pick(pick)
        Descent(walk)
    destination = _destination(to)
    if ticks is not None and ticks < 1:
        raise UsageError(f"--ticks {ticks}: it must be at least 1")
    view, stopper = LiveView(console), StopOnCtrlC()
    said = config_text(
        "origin", models=(model,), state=state, task=task, method=method, goal=goal, to=to, ticks=ticks,
        measure=measure, pick=None if pick == "end" else pick, output=replace(output, out=out), compute=compute,
    )  # fmt: skip
    watching = [view, stopper, KeepConfig(out / "config.yaml", said)]
    watching += [TensorBoard(out / "tensorboard")] if output.tensorboard and is_first() else []
    loaded, folder = task.load(model), None if dry_run else out
    source = Source.of(model, network=loaded.model, state=state)
    with resumable(out), held(folder):
        descent = open_descent(
            source, loaded, walk, search, compute.made(), destination, ticks, pick, out=folder, resume=output.resume,
            callbacks=watching, named={"task": task_name, "task_arguments": task_args},
            info={"command": command_line()},
        )  # fmt: skip
        results.show_notes(console, descent.ends)
        on_first(preview.descent, console, descent)
        if dry_run:
            preview.estimate(console, descent)
            return 0
        with descent.running(), stopper, view:
            quality = descend(descent.search)
        picked, merged = descent.close(quality)
        picture = on_first(picture_of, quality, out, picked, console)
        on_first(results.closing, console, quality, picked, merged, picture, descent.ends[0].like)
        if output.report:
            on_first(write_page, [Finished(out, quality, picked)], out / "report.html", console)
        results.took(console, began)
    return 0 if quality.connected else 3


def _destination(to: str | None) -> float | str | None:
    """A part of the variance where it reads as a number, else a checkpoint.

    Raises:
        UsageError: a number that is no part.
    """
    try:
        part = None if to is None else float(to)
    except ValueError:
        return to
    if part is not None and not 0 <= part < 1:
        raise UsageError(f"--to {to}: it must be in [0, 1), or a checkpoint")
    return part
