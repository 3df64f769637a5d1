"""``llpf-report``: measure finished runs again from their files, compare them, and draw the page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from llpf_merge.exits import CONNECTED, NOT_CONNECTED, exits
from llpf_merge.main import pair
from llpf_plugin import Compute, Task, load_task
from llpf_plugin.errors import RunError, TaskError
from llpf_plugin.files import write_json
from llpf_plugin.report.document import document
from llpf_plugin.report.format import duration, number
from llpf_plugin.report.measure import EXTRAS, Examined, examine, measure_run, same_measurement
from llpf_plugin.report.page import write_report
from llpf_plugin.report.style import FORMATS
from llpf_plugin.report.tables import comparison_table, metric_cell
from llpf_plugin.report.tree_figure import open_tree
from llpf_plugin.runs.read import StoredRun, check_comparable, name_runs, open_run

EXAMPLES = """
**Examples**

- `llpf-report run` measures the path in `run/` again; writes `report.html`, `report.json` and `figures/` there.

- `llpf-report llpf-run bezier-run -o comparison` compares runs of one task. A folder of runs stands for them all.

- `llpf-report run --metrics all` measures everything there is, `--metrics saddle,sharpness` only that.

- `llpf-report run --json | jq '.runs[0].metrics.train'` gives the numbers to another program.

Exit codes: 0 every path is connected, 1 error, 2 wrong usage, 3 a path is not connected.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES, no_args_is_help=True)
@exits("llpf-report")
def command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs, of one task.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write to [the named one; llpf-report for several].")
    ] = None,
    metrics: Annotated[
        str, typer.Option(help=f"What costs further evaluations: {', '.join(EXTRAS)}; all; none.")
    ] = "plane",
    figures: Annotated[
        str, typer.Option(help=f"Formats of the figures' files: {', '.join(FORMATS)}; none.")
    ] = "png,svg,pdf",
    points: Annotated[int | None, typer.Option(help="Measured points a segment [the runs' own].", min=1)] = None,
    sample: Annotated[int | None, typer.Option(help="Training examples to measure on [the runs' own].", min=1)] = None,
    task: Annotated[str | None, typer.Option(help="The task, where its file has moved.")] = None,
    task_argument: Annotated[list[str] | None, typer.Option("--task-arg", "-t", help="key=value for --task.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto.")] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers as JSON; files are written all the same.")
    ] = False,
) -> int:
    """Measure finished runs again from their files alone, compare them, and write one page with all that was found.

    The page needs no network. Undefined metrics say why in their place.
    """
    extras = _listed("--metrics", metrics, EXTRAS)
    formats = _listed("--figures", figures, FORMATS)
    folders = [folder for given in runs for folder in _expand(given)]
    opened = [open_run(f, name) for f, name in zip(folders, name_runs(folders), strict=True)]
    check_comparable(opened)
    target = out or (runs[0] if len(runs) == 1 else Path("llpf-report"))
    console = Console(stderr=as_json)
    given = None if task is None else (task, dict(pair(text) for text in task_argument or []))
    examined = _examine(opened, given, extras, points, sample, device, console)
    numbers = document(examined)
    write_json(target / "report.json", numbers)
    tree = open_tree(runs[0]) if len(runs) == 1 else None
    page, files = write_report(examined, target / "report.html", target / "figures", formats, tree)
    if as_json:
        print(json.dumps(numbers, indent=2, ensure_ascii=False))
    _show(console, examined, page, target / "figures" if files else None)
    return CONNECTED if all(one.quality.connected for one in examined) else NOT_CONNECTED


def _listed(option: str, text: str, choices: Sequence[str]) -> list[str]:
    """The names in a list with commas, ``all`` or ``none``."""
    if text in ("all", "none"):
        return list(choices) if text == "all" else []
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in choices]
    if unknown:
        words = f"{', '.join(unknown)}: it is a list of {', '.join(choices)}, or all, or none"
        raise typer.BadParameter(words, param_hint=option)
    return names


def _expand(folder: Path) -> list[Path]:
    """The folder, or the runs in it if it is no run itself."""
    if (folder / "run.json").is_file() or not folder.is_dir():
        return [folder]
    inside = sorted(child.parent for child in folder.glob("*/run.json"))
    if not inside:
        raise RunError(f"{folder} holds no run: name a folder that llpf-merge -o wrote")
    return inside


def _examine(
    runs: Sequence[StoredRun], given: tuple[str, dict[str, object]] | None, extras: Sequence[str], points: int | None,
    sample: int | None, device: str, console: Console,
) -> list[Examined]:  # fmt: skip
    segment_points, examples = same_measurement(runs, points, sample)
    found = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("reading", total=1)

        def tell(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        for run in runs:
            quality = measure_run(run, _task(run, given), segment_points, examples, Compute(device), tell)
            found.append(examine(run, quality, extras, tell))
    return found


def _task(run: StoredRun, given: tuple[str, dict[str, object]] | None) -> Task:
    """A fresh task for every run, since its model is a workspace."""
    name, arguments = run.task if given is None else given
    try:
        return load_task(name, arguments)
    except TaskError as error:
        if given is not None:
            raise
        raise TaskError(f"{run.folder}: {error}. If the task has moved, name it with --task") from error


def _show(console: Console, examined: Sequence[Examined], page: Path, figures: Path | None) -> None:
    """A table of the runs, best first, what is to be known, and where everything lies."""
    table = Table("run", "verdict", box=box.SIMPLE_HEAD)
    for name in ("gradient steps", "time", "dense maximum", "validation", "length ratio"):
        table.add_column(name, justify="right")
    for row in comparison_table(examined):
        cells = (metric_cell(row[key], "loss") for key in ("maximum", "validation", "ratio"))
        words = "[green]connected[/]" if row["connected"] else "[red]not connected[/]"
        numbers = (number(row["steps"]), duration(row["seconds"]), *(value or why for value, why in cells))
        table.add_row(row["name"], words, *numbers)
    console.print(table)
    for one in examined:
        for note in one.notes:
            console.print(f"{one.run.name}: {note}", style="yellow", markup=False, highlight=False)
    console.print(f"page: {page}", markup=False, highlight=False)
    if figures is not None:
        console.print(f"figures: {figures}", markup=False, highlight=False)


def run() -> None:
    """The console script."""
    app()
