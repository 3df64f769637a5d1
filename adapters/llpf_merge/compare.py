"""Several searches on one pair, side by side: ``--compare`` of methods, ``--ablate`` of what LLPF consists of.

Each search is a run of its own in a folder of its own, so that one that was stopped goes on and one that is done stays.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from rich import box
from rich.console import Console
from rich.table import Table

from llpf_merge.job import Request, merge
from llpf_plugin.errors import InterruptedRun, LLPFError, RunError
from llpf_plugin.files import write_json
from llpf_plugin.settings import TRAINED, Method, Settings
from llpf_plugin.store import RunFolder

PARTS = ("order", "variance", "settle")
"""What an ablation can leave out."""

FAST = Settings().budget
"""The budget that means that none was given: then every method gets the gradient steps that LLPF took."""


@dataclass(frozen=True)
class Row:
    """One search, as the table shows it; ``points`` are its measured points."""

    name: str
    connected: bool
    maximum: float
    mean: float
    length_ratio: float
    steps: int
    seconds: float
    merged: Mapping[str, Any]
    points: Sequence[Mapping[str, Any]]


def compare(request: Request, console: Console) -> bool:
    """Run every method within one budget and show them side by side.

    Returns:
        Whether one of them connected the pair.
    """
    return _side_by_side(request, console, _methods(request.settings))


def ablate(request: Request, console: Console, parts: Sequence[str]) -> bool:
    """Run LLPF whole and with one part left out at a time.

    Args:
        request: what was asked.
        console: where to print.
        parts: of `PARTS`. Leaving out ``order`` walks from output to input, ``variance`` leaves the spheres,
            ``settle`` only moves and projects.

    Raises:
        LLPFError: an unknown part, or another method than LLPF.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise LLPFError(f"--ablate {','.join(parts)}: it is a list of {', '.join(PARTS)}, with commas between")
    if request.settings.method != "llpf":
        raise LLPFError("--ablate is about LLPF: leave --method out")
    return _side_by_side(request, console, _ablations(request.settings, parts))


Variants = Iterator[tuple[str, Callable[[int], Settings]]]
"""Names, and the settings of each; they may depend on the gradient steps that the first one took."""


def _methods(settings: Settings) -> Variants:
    given = replace(settings, steps=None, method="llpf")
    yield "llpf", lambda taken: given
    for method in get_args(Method):
        if method != "llpf":
            yield method, lambda taken, method=method: replace(  # type: ignore[misc]
                given, method=method, budget=max(1, taken) if settings.budget == FAST else settings.budget,
                polish=settings.polish if method in TRAINED and method != "finetune" else 0,
            )  # fmt: skip


def _ablations(settings: Settings, parts: Sequence[str]) -> Variants:
    phases = "stage" if "order" in parts and settings.phases == "all" else settings.phases
    base = replace(settings, phases=phases)
    without: dict[str, Settings] = {
        "order": replace(base, order="reversed"),
        "variance": replace(base, correct="none"),
        "settle": replace(base, settle=False, repairs=0),
    }
    yield "whole", lambda taken: base
    for part in parts:
        yield f"without-{part}", lambda taken, part=part: without[part]  # type: ignore[misc]


def _side_by_side(request: Request, console: Console, variants: Variants) -> bool:
    if not request.resume:
        RunFolder(request.out).check_free()
    rows: list[Row] = []
    for name, settings_for in variants:
        settings = settings_for(rows[0].steps if rows else 0)
        folder = request.out / name
        own = replace(request, out=folder, settings=settings, resume=(folder / "run.json").is_file(), brief=bool(rows))
        console.print(f"\n[bold]{name}[/]", highlight=False)
        if not (folder / "quality.json").is_file():
            try:
                merge(own, console)
            except InterruptedRun as stop:
                line = request.command(resume=True)
                raise InterruptedRun(f"stopped in {folder}; everything so far is kept. Go on with:\n  {line}") from stop
        rows.append(read_row(name, folder))
    console.print(_table(rows))
    write_json(request.out / "compare.json", {"rows": [_plain(row) for row in rows]})
    try:
        from llpf_merge.compare_figure import draw_rows

        console.print(f"picture: {draw_rows(rows, request.out / 'compare.png', request.settings)}", highlight=False)
    except ImportError:
        console.print("[yellow]no picture: matplotlib is not installed (pip install 'llpf-plugin\\[report]')[/]")
    return any(row.connected for row in rows)


def read_row(name: str, folder: Path) -> Row:
    """What a finished run's files say.

    Raises:
        RunError: a file is missing or was damaged.
    """
    try:
        quality = json.loads((folder / "quality.json").read_text(encoding="utf-8"))
        path = json.loads((folder / "path.json").read_text(encoding="utf-8"))
        return Row(
            name, quality["connected"], quality["maximum"], quality["mean"], path["length_ratio"],
            path["cost"]["gradient_steps"], path["cost"]["seconds"], quality["merged"]["scores"], quality["points"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder} holds no finished run ({error}): remove it and start again with --resume") from error


def _plain(row: Row) -> dict[str, Any]:
    return {k: v for k, v in vars(row).items() if k != "points"}


def _table(rows: Sequence[Row]) -> Table:
    """One line a search; the lowest maximum is bold."""
    table = Table("", box=box.SIMPLE_HEAD)
    for name in ("verdict", "maximum", "mean", "length ratio", "steps", "seconds", "merged, test"):
        table.add_column(name, justify="right")
    lowest = min(row.maximum for row in rows)
    for row in rows:
        score = row.merged.get("test") or row.merged.get("validation") or {}
        accuracy = score.get("accuracy")
        merged = "–" if not score else f"{score['loss']:.4f}" + ("" if accuracy is None else f" {accuracy:.2%}")
        table.add_row(
            row.name, "[green]connected[/]" if row.connected else "[red]not[/]", f"{row.maximum:.4f}",
            f"{row.mean:.4f}", f"{row.length_ratio:.2f}", str(row.steps), f"{row.seconds:.0f}", merged,
            style="bold" if row.maximum == lowest else None,
        )  # fmt: skip
    return table
