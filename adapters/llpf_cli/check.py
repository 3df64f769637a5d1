"""``llpf check``: two checkpoints, looked at without a task and without data."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from llpf_cli.inputs import INPUTS, SPECIFICATIONS, InputOptions, network_of
from llpf_cli.options import STATES, MeasureOptions, TaskOptions, option
from llpf_plugin.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from llpf_plugin.merging import Source
    from llpf_plugin.preflight import Compared, PairCheck
    from llpf_plugin.tasks import Task

SHOWN = Group("Output", sort_key=2)
MODELS = Parameter(name="A B", help="Checkpoints: .pt, .ckpt, .safetensors, or folders.")
MODEL = option(f"The network, for --align: {SPECIFICATIONS}.", group=INPUTS)
ALIGN = option("Align B to A, and say how near that brings them (takes longer).", group=SHOWN, negative="")
AS_JSON = option("Print all of it as JSON.", "--json", group=SHOWN, negative="")
STEP, POINT = "gradient step", "measured point"
LINES = 24
"""Tensors that the table shows at most, the largest ones."""


def check(
    *models: Annotated[str, MODELS],
    model: Annotated[str | None, MODEL] = None,
    task: Annotated[TaskOptions, Parameter(name="*", group=INPUTS)] = TaskOptions(),
    inputs: InputOptions = InputOptions(),
    state: Annotated[str | None, option(STATES, group=INPUTS)] = None,
    align: Annotated[bool, ALIGN] = False,
    as_json: Annotated[bool, AS_JSON] = False,
) -> int:
    """Look at two checkpoints before any merge: do they fit, how are they related, and what would merge them?

    With a task, what a walk would cost.
    """
    if len(models) != 2:
        raise UsageError("two checkpoints are needed: llpf check A B")
    named = model is not None or task.task is not None
    if align and not named:
        raise UsageError("--align needs the network: give --model or --task")
    from llpf_cli.terminal import terminal
    from llpf_plugin.merging import Source
    from llpf_plugin.preflight import check as look

    own = task.load(models[0]) if task.task and not (model or inputs.given) else None
    network: Any = None
    example: Any = None
    if own is not None:
        network, example = own.model, own.example_inputs()
    elif named:
        network, example = network_of(task, model, inputs, models[0])
    began = time.monotonic()
    a, b = (Source.of(name, state=state) for name in models)
    if network is not None:
        a, b = a.fitted(network), b.fitted(network)
    else:
        b = b.fitted(a.weights)
    found = look(a.weights, b.weights, _short(models), network, (Path(models[0]), Path(models[1])))
    times = {"check": time.monotonic() - began}
    if align and not found.errors and found.kinship is not None:
        began = time.monotonic()
        found = replace(found, aligned=_aligned(a, b, network, example))
        times["align"] = time.monotonic() - began
    if own is not None and not found.errors:
        times |= _timed(own)
    if as_json:
        print(json.dumps(_document([a, b], found, times), indent=2, ensure_ascii=False))
    else:
        _show(terminal(), [a, b], found, times)
    return 3 if found.advice == "none" else 0


def _short(models: Sequence[str]) -> tuple[str, str]:
    """The shortest names that tell two paths apart."""
    from llpf_plugin.runs import name_runs

    if Path(models[0]).resolve() == Path(models[1]).resolve():
        return "A", "B"
    a, b = name_runs([Path(name) for name in models])
    return a, b


def _aligned(a: "Source", b: "Source", network: Any, example: Any) -> float:
    """The likeness of A and of B in A's order."""
    from llpf_plugin.alignment import symmetry
    from llpf_plugin.geometry import coordinates
    from llpf_plugin.merging import align_to
    from llpf_plugin.preflight import compared, complete, likeness

    own = network.state_dict()
    start = complete(a.weights, own)
    moved = align_to(a, b, network, example, symmetry(network, example)).matching.weights
    return likeness(compared(start, moved, list(coordinates(network))))


def _timed(task: "Task") -> dict[str, float]:
    """Seconds of a gradient step, and of measuring a point on all data."""
    from llpf_cli.preview import timings
    from llpf_plugin.workspace import Workspace

    return dict(zip((STEP, POINT), timings(Workspace(task)), strict=True))


def _show(console: "Console", sources: "Sequence[Source]", found: "PairCheck", times: dict[str, float]) -> None:
    from rich.markup import escape

    from llpf_cli.preview import show_finding, walk_costs
    from llpf_cli.results import show_notes

    a, b = sources
    sizes = " and ".join(f"{sum(t.numel() for t in s.weights.values()):,}" for s in sources)
    console.print(f"[bold]{escape(a.name)}[/], [bold]{escape(b.name)}[/]: {sizes} numbers", highlight=False)
    show_notes(console, sources)
    for one in found.findings:
        show_finding(console, one)
    if found.rows:
        console.print(_table(found.rows))
        words = f"{found.kinship}: likeness {found.likeness:.3f} (cosine about the means, all tensors)"
        aligned = "" if found.aligned is None else f", {found.aligned:.3f} once B is aligned"
        console.print(words + aligned, highlight=False)
    console.print(", ".join(f"{what} {seconds:.3g} s" for what, seconds in times.items()), highlight=False)
    if STEP in times:
        for line in walk_costs(times[STEP], times[POINT], MeasureOptions.points):
            console.print(line, highlight=False)
    console.print(found.sentence, style="bold", highlight=False, markup=False, soft_wrap=True)
    if hint := _hint(sources, found):
        console.print(f"  {hint}", highlight=False, markup=False, soft_wrap=True)


def _table(rows: "Sequence[Compared]") -> Any:
    """The largest tensors, in the order of the file: those off their common sphere and those alike stand out."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from llpf_plugin.preflight import apart

    largest = {row.name for row in sorted(rows, key=lambda row: -row.size)[:LINES]}
    table = Table("tensor", box=box.SIMPLE_HEAD)
    for name in ("shape", "variance of A", "B's over A's", "cosine"):
        table.add_column(name, justify="right")
    for row in rows:
        if row.name in largest:
            off = row.variance_a > 0 and apart(row.ratio, row.size)
            cells = (f"{row.variance_a:.4g}", f"{row.ratio:.3f}", f"{row.cosine:+.3f}")
            shape = "×".join(map(str, row.shape)) or "1"
            table.add_row(escape(row.name), shape, *cells, style="yellow" if off else None)
    if len(rows) > LINES:
        table.add_row(f"… and {len(rows) - LINES} smaller ones", "", "", "", "")
    return table


def _hint(sources: "Sequence[Source]", found: "PairCheck") -> str:
    """The command that does what is advised."""
    pair = " ".join(source.name for source in sources)
    return {
        "average": f"llpf merge {pair} --method linear --model MODEL",
        "align": f"llpf align {pair} --model MODEL -o B-ALIGNED, or with data: llpf merge {pair} --task TASK",
        "walk": f"llpf merge {pair} --task TASK",
    }.get(found.advice if found.kinship != "the same" else "", "")


def _document(sources: "Sequence[Source]", found: "PairCheck", times: dict[str, float]) -> Any:
    """All of it, as JSON has it."""
    from llpf_plugin.files import plain

    return plain({
        "models": [{"name": s.name, "notes": list(s.like.notes) if s.like else []} for s in sources],
        "advice": found.advice, "sentence": found.sentence, "kinship": found.kinship, "likeness": found.likeness,
        "likeness_aligned": found.aligned, "findings": list(found.findings), "seconds": times,
        "tensors": [
            {"name": r.name, "shape": list(r.shape), "variance_a": r.variance_a, "variance_b": r.variance_b,
             "cosine": r.cosine, "distance": r.squared_distance**0.5}
            for r in found.rows
        ],
    })  # fmt: skip
