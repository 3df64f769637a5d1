"""``llpf report``: measure finished runs again from their files, compare them, and draw the page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from llpf_cli.options import ComputeOptions, TaskOptions, option
from llpf_cli.places import folder_of
from llpf_plugin.errors import RunError, UsageError
from llpf_plugin.tasks.hugging_face import trusting

if TYPE_CHECKING:
    from rich.console import Console

    from llpf_plugin.report import Measured
    from llpf_plugin.runs import StoredRun

MEASURE, OUTPUT = Group("Measuring", sort_key=1), Group("Output", sort_key=3)
RUNS = Parameter(name="RUN …", help="Folders of finished runs of one task; a folder of runs stands for them all.")
EXTRAS = ("plane", "saddle", "calibration", "layers", "diversity", "sharpness", "flatness")
FORMATS = ("png", "svg", "pdf")


def report(
    *runs: Annotated[Path, RUNS],
    metrics: Annotated[str, option(f"Costly ones: {', '.join(EXTRAS)}; all; none [plane].", group=MEASURE)] = "plane",
    points: Annotated[int | None, option("Points evaluated per segment [the runs' own].", group=MEASURE)] = None,
    sample: Annotated[int | None, option("Training examples to measure on [the runs' own].", group=MEASURE)] = None,
    task: TaskOptions = TaskOptions(),
    out: Annotated[
        Path | None, option("Folder to write to [the run's; llpf-report for several].", "-o", "--out", group=OUTPUT)
    ] = None,
    figures: Annotated[
        str, option(f"Formats of figures: {', '.join(FORMATS)}; none [png,svg,pdf].", group=OUTPUT)
    ] = "png,svg,pdf",
    as_json: Annotated[
        bool, option("Print the numbers as JSON; files are written all the same.", "--json", group=OUTPUT, negative="")
    ] = False,
    compute: ComputeOptions = ComputeOptions(),
) -> int:
    """Measure finished runs again from their files alone, compare them, and write one page with all of it."""
    extras, formats = _listed("--metrics", metrics, EXTRAS), _listed("--figures", figures, FORMATS)
    if not runs:
        raise UsageError("name the folder of a run: llpf report run")
    target = folder_of(out, runs[0] if len(runs) == 1 else Path("llpf-report"))
    for name, number in (("--points", points), ("--sample", sample)):
        if number is not None and number < 1:
            raise UsageError(f"{name} {number}: it must be at least 1")
    from llpf_cli.terminal import terminal
    from llpf_plugin.files import remove_leftovers, write_json
    from llpf_plugin.report import check_place, document, write_report
    from llpf_plugin.runs import check_comparable, held, name_runs, open_run, open_tree

    folders = [folder for given in runs for folder in _expand(given)]
    opened = [open_run(f, name) for f, name in zip(folders, name_runs(folders), strict=True)]
    check_comparable(opened)
    check_place(target, [*runs, *folders])
    console = terminal(stderr=as_json)
    with held(target):
        for folder in (target, target / "figures"):
            remove_leftovers(folder)
        measured = _measure(opened, task, extras, points, sample, compute.made(), console)
        numbers = document(measured)
        write_json(target / "report.json", numbers)
        tree = open_tree(runs[0]) if len(runs) == 1 else None
        page, files = write_report(measured, target / "report.html", target / "figures", formats, tree)
    if as_json:
        print(json.dumps(numbers, indent=2, ensure_ascii=False))
    _show(console, measured, page, target / "figures" if files else None)
    return 0 if all(one.quality.connected for one in measured) else 3


def _listed(name: str, text: str, choices: Sequence[str]) -> list[str]:
    """The names in a list with commas, ``all`` or ``none``."""
    if text in ("all", "none"):
        return list(choices) if text == "all" else []
    names = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in names if word not in choices]
    if unknown:
        raise UsageError(f"{name} {', '.join(unknown)}: it is a list of {', '.join(choices)}, or all, or none")
    return names


def _expand(folder: Path) -> list[Path]:
    """The folder, or the runs in it if it is not a run itself."""
    if (folder / "run.json").is_file() or not folder.is_dir():
        return [folder]
    inside = sorted(child.parent for child in folder.glob("*/run.json"))
    if not inside:
        raise RunError(f"{folder} holds no run: name a folder that llpf merge -o wrote")
    return inside


def _measure(
    runs: "Sequence[StoredRun]", task: TaskOptions, extras: Sequence[str], points: int | None,
    sample: int | None, compute: Any, console: "Console",
) -> "list[Measured]":  # fmt: skip
    from rich.progress import Progress

    from llpf_plugin.report import measure_run, measure_stored, same_measurement

    segment_points, examples = same_measurement(runs, points, sample)
    named, arguments = (task.task, task.named()[1] or None) if task.task else (None, None)
    found = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("reading", total=1)

        def tell(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        lines: dict[object, Sequence[float]] = {}
        for run in runs:
            # A fresh task for every run, since its model is a workspace.
            with trusting(task.trust):
                made = run.build_task(named, arguments, task.trust)
            quality = measure_run(run, made, segment_points, examples, compute, tell)
            ends = (*run.pair, run.asked.align, run.settings.get("seed"))
            found.append(measure_stored(run, quality, extras, tell, lines.get(ends, ())))
            lines[ends] = found[-1].line
    return found


def _show(console: "Console", measured: "Sequence[Measured]", page: Path, figures: Path | None) -> None:
    """A table of the runs, best first, what is to be known, and where everything lies."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from llpf_cli.results import show_place
    from llpf_plugin.report import comparison_table, duration, metric_cell, number

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("  run", no_wrap=True)
    for name in ("steps", "search", "dense maximum", "validation", "length ratio"):
        table.add_column(name, justify="right")
    for row in comparison_table(measured):
        cells = (metric_cell(row[key], "loss") for key in ("maximum", "validation", "ratio"))
        mark = "[green]✓[/]" if row["connected"] else "[red]✗[/]"
        numbers = (number(row["steps"]), duration(row["seconds"]), *(value or why for value, why in cells))
        table.add_row(f"{mark} {escape(row['name'])}", *numbers)
    console.print(table)
    for one in measured:
        for note in one.notes:
            console.print(f"{one.run.name}: {note}", style="yellow", markup=False, highlight=False)
    show_place(console, "page", page)
    if figures is not None:
        show_place(console, "figures", figures)
