"""What the terminal shows after a search: the verdict, the scores, the cost, and where everything lies."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llpf_plugin.checkpoint import Checkpoint
from llpf_plugin.documents import listed
from llpf_plugin.merging import Finished, Source
from llpf_plugin.quality import LegSummary, OriginQuality, Picked, Quality, beside_ends, leg_summaries
from llpf_plugin.report import duration
from llpf_plugin.runs import Alignment, Join

SPLITS = ("train", "validation", "test")


def closing(
    console: Console, quality: Quality, picked: Picked, merged: Path | None, picture: Path | None,
    like: Checkpoint | None, alignment: Alignment | None = None,
) -> None:  # fmt: skip
    """The verdict, what aligning did, the scores of ends and merged model, the cost, and where everything lies."""

    def say(text: str) -> None:
        console.print(text, highlight=False)

    path, cost = quality.path, quality.path.cost
    say("\n[bold green]connected[/]" if quality.connected else "\n[bold red]not connected[/]")
    for criterion in quality.criteria:
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]–[/]"}[criterion.holds]
        say(f" {mark} {criterion.name}: {escape(criterion.sentence)}")
    if path.outcome is not None:
        say(f"   {path.outcome.value}")
    if alignment is not None:
        say(f"   {escape(alignment.sentence)}")
    if len(legs := leg_summaries(path, quality.rows)) > 1:
        console.print(_leg_table(legs))
    console.print(_score_table(quality, picked))
    if beside := beside_ends(quality, picked):
        say(beside)
    repairs = f"{cost.repairs} round{'' if cost.repairs == 1 else 's'} of repair"
    say(
        f"{cost.gradient_steps} gradient steps, {duration(cost.seconds or 0.0)} of search, "
        f"length ratio {path.length_ratio:.2f}, "
        f"{len(path.knots)} knots stored, {cost.dropped} redundant knots removed, {repairs}"
    )
    if cost.rate is not None:
        say(f"learning rate {cost.rate.words}; phases: {escape(', '.join(path.phases))}")
    if quality.measured["sample"] is not None:
        words = "measured on all training data: {on_all_data} of {places} places, the others on {sample} examples"
        say(words.format(**quality.measured))
    if like is not None and like.left_out:
        say(f"left out of the merged file: {escape(listed(like.left_out, 8, 100))}")
    if like is not None and like.beside:
        say(f"kept in the merged file as they are in A's: {escape(listed(like.beside))}")
    show_place(console, "merged model", merged, f" (t = {picked.t:.3f})")
    if picture is not None:
        show_place(console, "picture", picture)


def show_notes(console: Console, sources: Iterable[Source]) -> None:
    """How the weights of checkpoints were found, where there is anything to say of it."""
    for source in sources:
        for note in source.like.notes if source.like else ():
            console.print(escape(f"{source.name}: {note}"), highlight=False, soft_wrap=True)


def show_place(console: Console, what: str, place: Path | None, more: str = "") -> None:
    """Where something lies, in one line however long, so that it can be copied."""
    console.print(f"{what}: [bold]{escape(str(place))}[/]{more}", highlight=False, soft_wrap=True)


def _leg_table(legs: Sequence[LegSummary]) -> Table:
    table = _table("leg", "steps", "knots", "length", "max loss", "outcome")
    for leg in legs:
        steps = "" if leg.steps is None else str(leg.steps)
        outcome = (leg.outcome or "").lower()
        table.add_row(leg.leg, steps, str(leg.knots), f"{leg.length:.0%}", _loss(leg.maximum), outcome)
    return table


def _table(first: str, *others: str) -> Table:
    """A table whose first column is whole and whose other ones are aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _score_table(quality: Quality, picked: Picked) -> Table:
    """Loss and accuracy on each split: of the ends, the merged model, and the worst point of the path."""
    splits = [s for s in SPLITS if quality.ends["A"][s] is not None]
    table = _table("loss, accuracy", *splits)
    named = {"B": "last knot"} if isinstance(quality, OriginQuality) else {}
    for key in ("A", "A as saved", "B", "B as saved"):
        if row := quality.ends.get(key):
            cells = ("–" if row[s] is None else _cell(row[s], row[f"{s}_accuracy"]) for s in splits)
            table.add_row(named.get(key, key), *cells, style="dim" if key.endswith("saved") else None)
    scores = [picked.scores.get(s) for s in splits]
    table.add_row("merged", *(_cell(s.loss, s.accuracy) if s else "–" for s in scores), style="bold")
    table.add_row("path, worst", *(_worst(quality, s) for s in splits))
    return table


def _worst(quality: Quality, split: str) -> str:
    loss, accuracy = quality.worst(split)
    return "" if loss is None else _cell(loss, accuracy)


def _cell(loss: float, accuracy: float | None) -> str:
    return _loss(loss) if accuracy is None else f"{_loss(loss)} {accuracy:7.2%}"


def _loss(loss: float) -> str:
    """Four significant digits, however small."""
    return f"{loss:.4g}"


def took(console: Console, began: float) -> None:
    """The time of a whole run, from `time.monotonic` at its beginning: reading, searching, measuring and drawing."""
    console.print(f"{duration(time.monotonic() - began)} in all", highlight=False)


def tree(console: Console, joins: Sequence[Join], merged: Path | None) -> None:
    """The outcome of every pair of a tree, one line each."""
    table = _table("  models", "max loss", "steps", "search", "A", "B", "merged", "advances")
    for j in joins:
        table.add_row(
            f"{_mark(j.connected)} {escape(j.node.name)}", _loss(j.maximum), str(j.steps), duration(j.seconds),
            j.scores["A"], j.scores["B"], j.scores["merged"], j.goes_on,
        )  # fmt: skip
    console.print(table)
    show_place(console, "merged model", merged)


def comparison(console: Console, rows: Mapping[str, Finished]) -> None:
    """One line a method, with the length of its path over the straight line's; of those to B, the lowest is bold."""
    table = _table("  method", "max loss", "mean loss", "length", "steps", "search", "merged")
    lowest = min((row.quality.maximum for row in rows.values() if not row.quality.path.open), default=None)
    for name, row in rows.items():
        quality, cost, scores = row.quality, row.quality.path.cost, row.picked.scores
        score = scores.get("test") or scores.get("validation")
        table.add_row(
            f"{_mark(quality.connected)} {escape(name)}", _loss(quality.maximum), _loss(quality.mean),
            f"{quality.path.length_ratio:.2f}", str(cost.gradient_steps), duration(cost.seconds or 0.0),
            "–" if score is None else _loss(score.loss) if score.accuracy is None else f"{score.accuracy:.2%}",
            style="bold" if quality.maximum == lowest else None,
        )  # fmt: skip
    console.print(table)


def _mark(connected: bool) -> str:
    return "[green]✓[/]" if connected else "[red]✗[/]"
