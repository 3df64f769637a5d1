"""Several searches on one pair, side by side: ``--compare`` of methods, ``--ablate`` of what LLPF consists of.

Each search is a run of its own in a folder of its own, so that one that was stopped goes on. Where no budget is given,
every method gets the gradient steps that LLPF took.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from rich import box
from rich.console import Console
from rich.table import Table

from llpf_merge.job import Request, check_free, merge_part
from llpf_merge.page import write_page
from llpf_plugin import Quality
from llpf_plugin.errors import LLPFError, RunError
from llpf_plugin.files import plain, write_json
from llpf_plugin.search.settings import Method, Settings

PARTS = ("order", "variance", "settle")
"""What an ablation can leave out."""

CURVES = ("sphere-curve", "bezier", "autoneb")
"""Methods whose path is worth polishing."""


@dataclass(frozen=True)
class Row:
    """One search, as the table shows it."""

    name: str
    connected: bool
    maximum: float
    mean: float
    length_ratio: float
    steps: int
    seconds: float
    merged: Mapping[str, Any]


@dataclass(frozen=True)
class Variant:
    """One of the searches: its folder's name, its settings, and whether it gets the budget that the first one took."""

    name: str
    settings: Settings
    as_first: bool = False


def compare(request: Request, console: Console) -> bool:
    """Run every method within one budget and show them side by side.

    Returns:
        Whether one of them connected the pair.
    """
    given = replace(request.settings, steps=None, method="llpf")
    variants = [Variant("llpf", given)]
    for method in get_args(Method)[1:]:
        polish = given.polish if method in CURVES else 0
        settings = replace(given, method=method, polish=polish)
        variants.append(Variant(method, settings, as_first=given.budget == Settings().budget))
    return _side_by_side(request, console, variants)


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
    settings = request.settings
    # Where all layers move at once there is no order to leave out.
    ordered = "order" in parts and settings.phases in ("all", "auto")
    base = replace(settings, phases="stage" if ordered else settings.phases)
    without = {
        "order": replace(base, order="reversed"),
        "variance": replace(base, correct="none"),
        "settle": replace(base, settle=False, repairs=0),
    }
    return _side_by_side(
        request, console, [Variant("whole", base), *(Variant(f"without-{part}", without[part]) for part in parts)]
    )


def _side_by_side(request: Request, console: Console, variants: Sequence[Variant]) -> bool:
    if not request.resume:
        check_free(request.out, [variant.name for variant in variants])
    rows: list[Row] = []
    runs: list[tuple[Path, Quality]] = []
    for variant in variants:
        folder, settings = request.out / variant.name, variant.settings
        if variant.as_first:
            settings = replace(settings, budget=max(1, rows[0].steps))
        console.print(f"\n[bold]{variant.name}[/]", highlight=False)
        runs.append((folder, merge_part(request, variant.name, console, settings=settings, brief=bool(rows))))
        rows.append(read_row(variant.name, folder))
    console.print(_table(rows))
    write_json(request.out / "compare.json", plain({"rows": [vars(row) for row in rows]}))
    if request.report:
        write_page(runs, request.out / "report.html", console)
    return any(row.connected for row in rows)


def read_row(name: str, folder: Path) -> Row:
    """What a finished run's files say.

    Raises:
        RunError: a file is missing or was damaged.
    """
    try:
        quality = json.loads((folder / "quality.json").read_text(encoding="utf-8"))
        path = json.loads((folder / "path.json").read_text(encoding="utf-8"))
        numbers = (quality["maximum"], quality["mean"], path["length_ratio"])
        maximum, mean, ratio = (math.inf if n is None else n for n in numbers)  # null is no number
        return Row(
            name, quality["connected"], maximum, mean, ratio,
            path["cost"]["gradient_steps"], path["cost"]["seconds"], quality["merged"]["scores"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder} holds no finished run ({error}): remove it and start again with --resume") from error


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
