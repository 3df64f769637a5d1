"""``llpf merge``: two checkpoints or more, along low-loss paths."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from llpf_cli.config import command_line, config_text, resumable
from llpf_cli.inputs import SPECIFICATIONS, InputOptions
from llpf_cli.options import (
    OUTPUT,
    PATH,
    RUN,
    STATE,
    ComputeOptions,
    GoalOptions,
    MeasureOptions,
    MethodOptions,
    OutputOptions,
    TaskOptions,
    checked,
    option,
    search_options,
)
from llpf_cli.places import folder_of
from llpf_cli.union import HeadOptions, union
from llpf_plugin.errors import UsageError

MODELS = Parameter(name="A B …", help="Checkpoints: .pt, .safetensors, or folders of shards.")
ALIGN = option("Permute B's neurons to match A's: auto (if that lowers the line), never, always [auto].", group=PATH)
PICK = option("Merged model: best (validation, t in [0.1, 0.9]), mid, end, or t [best].", group=PATH)
MODEL = option(f"In place of a task, with --method linear: {SPECIFICATIONS}.", group=PATH)
DRY_RUN = option("Only check, show layer order and phases, and estimate the cost.", group=OUTPUT, negative="")
Align = Literal["auto", "never", "always"]


def merge(
    *models: Annotated[str, MODELS],
    goal: GoalOptions = GoalOptions(),
    task: TaskOptions = TaskOptions(),
    model: Annotated[str | None, MODEL] = None,
    state: Annotated[str | None, STATE] = None,
    inputs: Annotated[InputOptions, Parameter(name="*", group=PATH)] = InputOptions(),
    method: MethodOptions = MethodOptions(),
    align: Annotated[Align, ALIGN] = "auto",
    pick: Annotated[str, PICK] = "best",
    heads: HeadOptions = HeadOptions(),
    measure: MeasureOptions = MeasureOptions(),
    output: OutputOptions = OutputOptions(),
    dry_run: Annotated[bool, DRY_RUN] = False,
    compute: ComputeOptions = ComputeOptions(),
) -> int:
    """Connect independently trained networks by paths of low training loss, and merge them along these paths.

    A checkpoint contains neither the architecture nor the data; you supply both as a *task*. The result is the merged
    model in the format of A, the path, one picture, and a verdict by the paper's three criteria. More than two models
    are merged pair by pair.
    """
    if len(models) < 2:
        raise UsageError("two checkpoints or more are needed: llpf merge A B --task …")
    if model is None and inputs.given:
        raise UsageError("--input and --inputs go with --model; a task has inputs of its own")
    flags = {"--dry-run": dry_run, "--resume": output.resume}
    if heads.joined(model):
        more = {**flags, "--tensorboard": output.tensorboard, "--shard": compute.shard}
        return union(models, state, task, heads, method, align, pick, goal, measure, output, compute, more)
    if model is not None:
        from llpf_cli.average import average

        needless = [goal, measure, compute, replace(output, out=None, report=True)]
        return average(
            models, state, task, model, inputs, method, align, pick, folder_of(output.out, RUN), needless, flags
        )
    began = time.monotonic()
    (task_name, task_args), made = task.named(models[0]), method.made()
    from llpf_cli import preview, results
    from llpf_cli.terminal import terminal
    from llpf_cli.watch import TerminalWatch, write_page
    from llpf_plugin import merge as merge_models
    from llpf_plugin.merging import Source
    from llpf_plugin.quality import check_pick
    from llpf_plugin.ranks import on_first

    out, console = folder_of(output.out, RUN), terminal()
    options = {"align": align, "compute": compute.made(), **search_options(goal, measure)}
    with checked():
        check_pick(pick)
    loaded = task.load(models[0])
    sources = [Source.of(name, state=state) for name in models]
    if dry_run:
        preview.dry_run(console, sources, loaded, made, **options)
        return 0
    said = config_text(
        "merge", models=models, state=state, task=task, method=method, goal=goal,
        align=None if align == "auto" else align, pick=None if pick == "best" else pick, measure=measure,
        output=replace(output, out=out), compute=compute,
    )  # fmt: skip
    with resumable(out):
        watch = TerminalWatch(console, out, said, output.tensorboard)
        merged = merge_models(
            sources, loaded, made, pick=pick, out=out, resume=output.resume, **options, watch=watch,
            named={"task": task_name, "task_arguments": task_args, "method": method.method},
            info={"command": command_line()},
        )  # fmt: skip
        if len(models) > 2:
            results.tree(console, merged.joins, merged.file)
        if output.report:
            names = [Path(m).stem for m in models]
            on_first(write_page, merged.pairs, out / "report.html", console, names, merged.joins, watch.line)
        results.took(console, began)
    return 0 if merged.connected else 3
