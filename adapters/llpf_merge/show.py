"""Tables on the terminal: what was found before the walk, what it would cost, and what came out."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llpf_plugin import Quality
from llpf_plugin.alignment.matching import Matching
from llpf_plugin.checkpoint import Checkpoint
from llpf_plugin.evaluation.along_path import measure_point
from llpf_plugin.geometry.scale_groups import units
from llpf_plugin.geometry.weights import Weights, coordinates, select
from llpf_plugin.llpf import common_spheres as legs
from llpf_plugin.llpf.plan import read_order
from llpf_plugin.llpf.schedule import read_schedule
from llpf_plugin.llpf.settle import SettleRule
from llpf_plugin.methods.base import Outcome
from llpf_plugin.order import phases as cut_phases
from llpf_plugin.order import render
from llpf_plugin.preflight import Finding, LayerStatistics, layer_statistics, off_sphere
from llpf_plugin.quality import Picked
from llpf_plugin.workspace import Gradient

if TYPE_CHECKING:
    from llpf_merge.job import Request

SPLITS = ("train", "validation", "test")

TIMED = 5
"""Gradient steps that the cost estimate times."""


def preflight(
    console: Console, request: "Request", gradient: Gradient, findings: Sequence[Finding], a: Weights, b: Weights,
    line: Sequence[float],
) -> None:  # fmt: skip
    """What the pair is: findings, spheres, angles, and what averaging would do."""

    def say(text: str) -> None:
        console.print(text, highlight=False)

    moving = list(coordinates(gradient.model))
    rows = layer_statistics(select(a, moving), select(b, moving))
    count = sum(a[k].numel() for k in moving)
    ends = " → ".join(f"[bold]{escape(str(place))}[/]" for place in (request.a, request.b))
    say(f"{ends}: {count:,} parameters, {gradient.task.name} on {gradient.device}")
    for finding in findings:
        if finding.level != "note" or request.dry_run:
            say(f"[yellow]{finding.level}:[/] {escape(str(finding))}")
    if rows:
        cosines, ratios = [r.cosine for r in rows], [r.ratio for r in rows]
        spread = f"variance of B over A {min(ratios):.2f} to {max(ratios):.2f}"
        say(f"{len(rows)} tensors on spheres: cosine {min(cosines):+.3f} to {max(cosines):+.3f}, {spread}")
    apart = [r.name for r in off_sphere(rows)]
    if apart:
        names = ", ".join(apart[:4]) + (" …" if len(apart) > 4 else "")
        say(f"[yellow]{len(apart)} tensors lie on other variance spheres ({names}): {_across(request)}[/]")
    worse, middle = max(line[0], line[-1]), max(line[1:-1])
    say(f"the straight line has training loss {middle:.3g} at its worst, {worse:.3g} at its ends")
    if request.dry_run:
        console.print(_layer_table(rows))
    goal = request.settings.max_loss or worse + (request.settings.tolerance or gradient.task.defaults.tolerance)
    if middle <= goal:
        say("[green]averaging would do: the straight line stays under the goal[/]")


def _across(request: "Request") -> str:
    """What is made of ends on other spheres."""
    if request.settings.across == "never" or request.settings.correct == "none":
        return "the closing segment may be high"
    return "the path goes by common ones, A → A′ → B′ → B"


def descent(console: Console, request: "Request", gradient: Gradient, a: Weights) -> None:
    """What will walk towards the origin."""
    found = units(gradient.model, a)
    names = ", ".join(u.matrix for u in found[:4]) + (" …" if len(found) > 4 else "")
    console.print(
        f"[bold]{escape(str(request.a))}[/] → origin: {len(found)} layers walk ({names}), normalizations stay; "
        f"{gradient.task.name} on {gradient.device}", highlight=False,
    )  # fmt: skip


def _leg_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("leg", box=box.SIMPLE_HEAD)
    for name in ("gradient steps", "knots", "length", "training loss, worst"):
        table.add_column(name, justify="right")
    table.add_column("outcome")
    for r in rows:
        words = Outcome[r["outcome"]].value if "outcome" in r else ""
        steps = str(r.get("steps", ""))
        table.add_row(r["leg"], steps, str(r["knots"]), f"{r['length']:.0%}", f"{r['maximum']:.4f}", words)
    return table


def alignment(console: Console, matching: Matching) -> None:
    """What weight matching came to, and what it left alone."""
    found = matching.symmetry
    before, after = matching.distance
    units = sum(group.size for group in found.groups)
    console.print(
        f"B aligned to A: {units:,} units in {len(found.groups)} groups, distance {before:.4g} → {after:.4g}",
        highlight=False,
    )
    alone = [*found.rejected, *found.left]
    if alone:
        names = ", ".join(alone[:4]) + (f" and {len(alone) - 4} more" if len(alone) > 4 else "")
        console.print(f"left alone: {names}", highlight=False, markup=False)


def _layer_table(rows: Sequence[LayerStatistics]) -> Table:
    table = Table("tensor", box=box.SIMPLE_HEAD)
    for name in ("variance of A", "variance of B", "ratio", "cosine", "distance"):
        table.add_column(name, justify="right")
    for r in rows:
        values = (r.variance_a, r.variance_b, r.ratio, r.cosine, r.distance)
        table.add_row(r.name, *(f"{v:.4g}" for v in values), style=None if r.same_sphere else "yellow")
    return table


def estimate(console: Console, request: "Request", gradient: Gradient) -> None:
    """The layer order, the phases, and what a walk would cost, from a few timed steps."""
    settings = request.settings
    order = read_order(settings.order, gradient.task)
    phases = cut_phases(order, "stage" if settings.phases == "auto" else settings.phases)
    if settings.pace != "adaptive":
        read_schedule(settings.pace, gradient.task, SettleRule(0.0))
    console.print(render.table(order, phases), highlight=False, markup=False)
    step, point = _timings(gradient, request.settings.sample)
    budget = request.settings.budget
    console.print(f"a gradient step takes {_duration(step)}, measuring a point {_duration(point)}", highlight=False)
    for steps, segments in ((100, 15), (2000, 60)):
        cost = steps * step + segments * request.settings.points * point
        console.print(
            f"  a walk of {steps} gradient steps and {segments} segments would take {_duration(cost)}", highlight=False
        )
    console.print(
        f"  the budget of {budget} gradient steps is at most {_duration(budget * step)}, without the measuring",
        highlight=False,
    )


def _timings(gradient: Gradient, sample: int | None) -> tuple[float, float]:
    gradient.backward(gradient.loss())
    began = time.perf_counter()
    for _ in range(TIMED):
        loss = gradient.loss()
        gradient.backward(loss)
        float(loss.detach())
    stepped = time.perf_counter()
    measure_point(gradient, coordinates(gradient.model), sample)
    return (stepped - began) / TIMED, time.perf_counter() - stepped


def closing(
    console: Console, quality: Quality, picked: Picked, line: Sequence[float], merged: Path, picture: Path | None,
    like: Checkpoint,
) -> None:  # fmt: skip
    """The verdict, the scores of ends and merged model, the cost, and where everything lies."""

    def say(text: str) -> None:
        console.print(text, highlight=False)

    path, cost = quality.path, quality.path.cost
    say("\n[bold green]connected[/]" if quality.connected else "\n[bold red]not connected[/]")
    for criterion in quality.criteria:
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]–[/]"}[criterion.holds]
        say(f" {mark} {criterion.name}: {criterion.sentence}")
    if path.outcome is not None:
        say(f"   {path.outcome.value}")
    if walked := legs.summary(path, quality.rows):
        console.print(_leg_table(walked))
    console.print(_score_table(quality, picked, line))
    say(
        f"{cost['gradient_steps']} gradient steps, {_duration(cost['seconds'])}, length ratio {path.length_ratio:.2f}, "
        f"{len(path.knots)} knots stored, {cost['dropped']} dropped as superfluous, {cost['repairs']} repairs"
    )
    if like.left_out:
        say(f"left out of the merged file: {escape(', '.join(like.left_out))}")
    say(f"merged model: [bold]{escape(str(merged))}[/] (t = {picked.t:.3f})")
    if picture is not None:
        say(f"picture: {escape(str(picture))}")


def _score_table(quality: Quality, picked: Picked, line: Sequence[float]) -> Table:
    """Loss and accuracy on each split: of the ends, the merged model, the worst point of the path and of the line."""
    splits = [s for s in SPLITS if quality.ends["A"].get(s) is not None]
    table = Table("loss, accuracy", box=box.SIMPLE_HEAD)
    for split in splits:
        table.add_column(split, justify="right")
    for name in ("A", "B"):
        row = quality.ends[name]
        table.add_row(name, *(_cell(row[s], row[f"{s}_accuracy"]) for s in splits))
    scores = [picked.scores.get(s) for s in splits]
    table.add_row("merged", *(_cell(s.loss, s.accuracy) if s else "–" for s in scores), style="bold")
    table.add_row("path, worst", *(_worst(quality, s) for s in splits))
    if line:
        table.add_row("straight line, worst", _cell(max(line), None))
    return table


def _worst(quality: Quality, split: str) -> str:
    loss, accuracy = quality.column(split), quality.column(f"{split}_accuracy")
    return "" if np.isnan(loss).any() else _cell(loss.max(), None if np.isnan(accuracy).any() else accuracy.min())


def _cell(loss: float, accuracy: float | None) -> str:
    return f"{loss:.4f}" if accuracy is None else f"{loss:.4f} {accuracy:7.2%}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
