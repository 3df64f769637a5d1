"""``llpf compare``: several methods on one pair, each a run in a folder of its own."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any

from llpf_cli.config import command_line, config_text, resumable
from llpf_cli.merge import ALIGN, MODELS, PICK, RUN, Align
from llpf_cli.options import (
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
from llpf_plugin.methods import Method, known, make_method

METHODS = option("Methods to compare, with commas between [all of them].", group=PATH)


def compare(
    *models: Annotated[str, MODELS],
    goal: GoalOptions = GoalOptions(),
    task: TaskOptions = TaskOptions(),
    state: Annotated[str | None, STATE] = None,
    methods: Annotated[str | None, METHODS] = None,
    method: MethodArguments = MethodArguments(),
    align: Annotated[Align, ALIGN] = "auto",
    pick: Annotated[str, PICK] = "best",
    measure: MeasureOptions = MeasureOptions(),
    output: OutputOptions = OutputOptions(),
    compute: ComputeOptions = ComputeOptions(),
) -> int:
    """Run several methods on one pair within one budget, side by side; ``-m`` sets LLPF."""
    if len(models) != 2:
        raise UsageError("a comparison is about two checkpoints: llpf compare A B --task …")
    began = time.monotonic()
    (task_name, task_args), made = task.named(models[0]), _made(methods, method)
    folders = _folders(made)
    from rich.markup import escape

    from llpf_cli import results
    from llpf_cli.terminal import terminal
    from llpf_cli.watch import TerminalWatch, write_page
    from llpf_plugin import merge
    from llpf_plugin.files import plain, write_json
    from llpf_plugin.merging import Source, walks_schedule
    from llpf_plugin.quality import check_pick
    from llpf_plugin.ranks import on_first
    from llpf_plugin.runs import check_folders, held

    out, console, search = folder_of(output.out, RUN), terminal(), search_options(goal, measure)
    with checked():
        check_pick(pick)
    said = config_text(
        "compare", models=models, state=state, task=task, methods=methods, method=method, goal=goal, measure=measure,
        align=None if align == "auto" else align, pick=None if pick == "best" else pick,
        output=replace(output, out=out), compute=compute,
    )  # fmt: skip
    if align == "auto" and any(walks_schedule(one) for one in made.values()):
        align = "never"
        console.print("nothing is aligned, since one of the methods walks a schedule of the paper", highlight=False)
    found, sources = dict[str, Any](), [Source.of(name, state=state) for name in models]
    line: Sequence[float] = ()
    with resumable(out), held(out):
        check_folders(out, list(folders.values()), output.resume)
        for name, one in made.items():
            console.print(f"\n[bold]{escape(name)}[/]", highlight=False)
            if "llpf" in found and goal.budget is None:
                search["budget"] = max(1, found["llpf"].quality.path.cost.gradient_steps)
            watch = TerminalWatch(console, out, said, output.tensorboard, brief=bool(found))
            merged = merge(
                sources, task.load(models[0]), one, pick=pick, align=align, out=out / folders[name],
                resume=output.resume, compute=compute.made(), **search, watch=watch,
                named={"task": task_name, "task_arguments": task_args, "method": name},
                info={"command": command_line()},
            )  # fmt: skip
            found[name], line = merged.pairs[0], line or watch.line
        results.comparison(console, found)
        write_json(out / "compare.json", plain({"rows": [_row(name, one) for name, one in found.items()]}))
        if output.report:
            on_first(write_page, list(found.values()), out / "report.html", console, line=line)
        results.took(console, began)
    return 0 if any(one.quality.connected for one in found.values()) else 3


def _made(names: str | None, llpf: MethodArguments) -> dict[str, Method]:
    """The methods by name; `llpf` is that of the options.

    Raises:
        UsageError: an unknown method, or one that is named twice.
    """
    listed = [name.strip() for name in names.split(",")] if names else list(known())
    if len(set(listed)) < len(listed):
        raise UsageError(f"--methods {names}: name every method once")
    if llpf.method_args and "llpf" not in listed:
        raise UsageError(f"-m sets llpf, which --methods {names} leaves out")
    listed.sort(key=lambda name: name != "llpf")  # it goes first, since the others get the steps that it took
    with checked():
        return {name: llpf.made() if name == "llpf" else make_method(name) for name in listed}


def _folders(names: Iterable[str]) -> dict[str, str]:
    """The folder of every method in that of the comparison: a class by its name, with a number where two share it."""
    folders: dict[str, str] = {}
    for name in names:
        own = name.rpartition(":")[2]
        taken = sum(folder.rpartition("-")[0] == own or folder == own for folder in folders.values())
        folders[name] = f"{own}-{taken + 1}" if taken else own
    return folders


def _row(name: str, one: Any) -> dict[str, Any]:
    """A method's numbers for other programs."""
    quality, cost = one.quality, one.quality.path.cost
    return {
        "name": name, "connected": quality.connected, "maximum": quality.maximum, "mean": quality.mean,
        "length_ratio": quality.path.length_ratio, "steps": cost.gradient_steps, "seconds": cost.seconds,
        "merged": one.picked.scores,
    }  # fmt: skip
