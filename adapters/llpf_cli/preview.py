"""What the terminal shows before a search: what was found, in which order layers would move, and what it would cost."""

import math
import time
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llpf_cli.results import show_notes
from llpf_plugin.alignment import Matching
from llpf_plugin.evaluation import measure_point
from llpf_plugin.geometry import Weights, coordinates, scale_groups, select
from llpf_plugin.llpf import LLPF, Descent, Phase, cut_order, read_order, schedule_of
from llpf_plugin.merging import Pair, Request, Source, open_pair
from llpf_plugin.methods import Method
from llpf_plugin.order import naming, render
from llpf_plugin.preflight import Finding, LayerStatistics, layer_statistics, look, off_sphere
from llpf_plugin.report import duration, size
from llpf_plugin.search import SearchOptions
from llpf_plugin.tasks import Task
from llpf_plugin.workspace import Compute, Workspace

TIMED = 5
"""Gradient steps that the cost estimate times."""


def preflight(console: Console, pair: Pair, line: Sequence[float], everything: bool = False) -> None:
    """What the pair is: findings, spheres, angles, and what averaging would do.

    Args:
        console: where to print.
        pair: that has been checked.
        line: training losses along the straight line.
        everything: notes and the table of tensors too.
    """

    def say(text: str) -> None:
        console.print(text, highlight=False)

    workspace, search, (a, b) = pair.search.workspace, pair.search, pair.ends
    moving = search.names
    rows = layer_statistics(select(search.start, moving), select(search.end, moving))
    count = sum(p.numel() for p in coordinates(workspace.model).values())
    ends = " → ".join(f"[bold]{escape(end.name)}[/]" for end in (a, b))
    say(f"{ends}: {count:,} parameters, {escape(str(workspace.task.name))} on {workspace.device}")
    for finding in look(a.weights, b.weights, workspace.model, (a.name, b.name)):
        if finding.level != "note" or everything:
            show_finding(console, finding)
    for finding in search.findings:
        show_finding(console, finding)
    if rows:
        cosines, ratios = [r.cosine for r in rows], [r.ratio for r in rows]
        spread = f"variance of B over A {min(ratios):.2f} to {max(ratios):.2f}"
        say(f"{len(rows)} tensors on spheres: cosine {min(cosines):+.3f} to {max(cosines):+.3f}, {spread}")
    apart = [r.name for r in off_sphere(rows)]
    if apart:
        names = escape(", ".join(apart[:4])) + (" …" if len(apart) > 4 else "")
        say(
            f"[yellow]{len(apart)} tensors lie on different variance spheres ({names}){_across(pair.request.method)}[/]"
        )
    worse, middle = max(line[0], line[-1]), max(line[1:-1])
    say(f"the straight line has training loss {middle:.3g} at its worst, {worse:.3g} at its ends")
    if everything:
        console.print(_layer_table(rows))
    options = pair.request.options
    goal = options.max_loss or worse + (options.tolerance or workspace.task.defaults.tolerance)
    if middle <= goal:
        say("[green]averaging would do: the straight line stays under the goal[/]")


def show_finding(console: Console, finding: Finding) -> None:
    """One thing that a check found."""
    console.print(f"[yellow]{finding.level}:[/] {escape(str(finding))}", highlight=False)


def _across(method: Method) -> str:
    """What LLPF makes of ends on different spheres."""
    if not isinstance(method, LLPF):
        return ""
    if method.across == "never" or method.correct == "none":
        return ": the closing segment may be high"
    return ": the path goes via shared ones, A → A′ → B′ → B"


def dry_run(
    console: Console,
    models: Sequence[Source],
    task: Task,
    method: Method,
    *,
    align: Any,
    compute: Compute,
    **search: Any,
) -> None:
    """Check the first pair, show layer order and phases, and estimate what a search would cost."""
    sources = [source.fitted(task.model) for source in models]
    show_notes(console, sources)
    request = Request(task, method, SearchOptions(**search), compute, align=align)
    pair = open_pair("1-2", sources[:2], request)
    alignment(console, pair)
    line = pair.line()
    preflight(console, pair, line, everything=True)
    estimate(console, pair)
    if len(models) > 2:
        console.print(f"this is the first of {len(models) - 1} pairs", highlight=False)


def descent(console: Console, pair: Pair) -> None:
    """What will walk towards the origin."""
    workspace, name = pair.search.workspace, pair.ends[0].name
    found = scale_groups(workspace.model, select(pair.search.start, pair.search.names))
    names = ", ".join(g.matrix for g in found[:4]) + (" …" if len(found) > 4 else "")
    console.print(
        f"[bold]{escape(name)}[/] → origin: {len(found)} layers walk ({escape(names)}), normalizations stay; "
        f"{escape(str(workspace.task.name))} on {workspace.device}", highlight=False,
    )  # fmt: skip
    for finding in pair.search.findings:
        show_finding(console, finding)


def alignment(console: Console, pair: Pair) -> None:
    """What became of aligning B to A."""
    if pair.matching is not None:
        show_matching(console, pair.matching)
    if pair.alignment is not None:
        console.print(pair.alignment.sentence, highlight=False, markup=False)


def show_matching(console: Console, matching: Matching, name: str = "B", to: str = "A") -> None:
    """What weight matching did, and what it left alone, with the reason."""
    found = matching.symmetry
    before, after = matching.distance
    neurons, groups = sum(group.size for group in found.groups), len(found.groups)
    groups_of = f"{groups} group{'' if groups == 1 else 's'}"
    console.print(
        f"{name} aligned to {to}: {neurons:,} neurons in {groups_of}, distance {before:.4g} → {after:.4g}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    alone: dict[str, list[str]] = {}
    for left, why in found.left.items():
        alone.setdefault(why, []).append(left)
    for why, names in alone.items():
        some = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        console.print(f"left alone: {some} ({why})", highlight=False, markup=False)


def _layer_table(rows: Sequence[LayerStatistics]) -> Table:
    table = Table("tensor", box=box.SIMPLE_HEAD)
    for name in ("variance of A", "variance of B", "ratio", "cosine", "distance"):
        table.add_column(name, justify="right")
    for r in rows:
        values = (r.variance_a, r.variance_b, r.ratio, r.cosine, r.distance)
        table.add_row(escape(r.name), *(f"{v:.4g}" for v in values), style=None if r.same_sphere else "yellow")
    return table


def estimate(console: Console, pair: Pair) -> None:
    """The layer order, the phases, and what a search would cost, from a few timed steps."""
    workspace, options, method = pair.search.workspace, pair.request.options, pair.request.method
    llpf = method if isinstance(method, LLPF) else LLPF()
    order = read_order(llpf.order, workspace.task)
    if llpf.schedule is None:
        console.print(render.table(order, cut_order(order, llpf.phases)), highlight=False, markup=False)
    else:
        ticks = pair.search.method.ticks if isinstance(pair.search.method, Descent) else None
        walked = schedule_of(llpf, workspace.task).within(ticks).phases
        console.print(_schedule_table(walked, list(coordinates(workspace.model))))
    step, point = timings(workspace, options.sample)
    if llpf.schedule is None:
        costs = walk_costs(step, point, options.points)
    else:
        least = pair.search.method.terms(workspace.task).least
        costs = [f"  the schedule takes at least {least:,} gradient steps: {_time(least * step)}, plus measuring"]
    most = pair.search.options.budget or 0
    costs.append(f"  the budget of {most:,} gradient steps is at most {_time(most * step)}, plus measuring")
    costs.append(_on_disk(pair.search.names, coordinates(workspace.model), llpf.keep_knots))
    for line in [f"a gradient step takes {_time(step)}, measuring a point {_time(point)}", *costs]:
        console.print(line, highlight=False)


def walk_costs(step: float, point: float, points: int) -> list[str]:
    """What a short and a long walk would take.

    Args:
        step: seconds of a gradient step.
        point: seconds of measuring a point on all data.
        points: that are measured of each segment.
    """
    return [
        f"  a walk of {steps} gradient steps and {segments} segments would take at most "
        + _time(steps * step + segments * points * point)
        for steps, segments in ((100, 15), (2000, 60))
    ]


def _on_disk(names: Sequence[str], weights: Weights, most: int | None) -> str:
    """What the knots of a walk take, of which some wait until redundant ones are dropped."""
    one = sum(weights[name].numel() * weights[name].element_size() for name in names)
    kept = "some 70 at most at once; -m keep_knots=N keeps fewer" if most is None else f"{most} at most"
    return f"  every knot of a walk takes {size(one)} on the disk: {kept}"


def _schedule_table(phases: Sequence[Phase], names: Sequence[str]) -> Table:
    """The phases of a schedule: what moves, for how long, and how it settles; ``names`` are all that could move."""
    table = Table("phase", "layers", box=box.SIMPLE_HEAD)
    for column in ("ticks", "settle until", "steps"):
        table.add_column(column, justify="right")
    for phase in phases:
        rule = phase.settle
        until = "halfway to the goal" if math.isnan(rule.threshold) else f"loss ≤ {rule.threshold:g}"
        steps = f"{rule.min_steps}" if rule.min_steps == rule.max_steps else f"{rule.min_steps} to {rule.max_steps:,}"
        ticks = f"{phase.control.ticks or 0:,}"
        table.add_row(escape(phase.name), escape(", ".join(naming(phase.active, names))), ticks, until, steps)
    return table


def timings(workspace: Workspace, sample: int | None = None) -> tuple[float, float]:
    """Seconds of a gradient step and of measuring a point, on so many examples or on all."""
    workspace.backward(workspace.loss())
    began = time.perf_counter()
    for _ in range(TIMED):
        loss = workspace.loss()
        workspace.backward(loss)
        float(loss.detach())
    stepped = time.perf_counter()
    measure_point(workspace, coordinates(workspace.model), sample)
    return (stepped - began) / TIMED, time.perf_counter() - stepped


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else duration(seconds)
