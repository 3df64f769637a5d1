"""More than two models: ``llpf-merge a.pt b.pt c.pt …`` joins them pairwise as a balanced tree, one run a pair."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llpf_merge.job import Request, check_free, merge, merge_part
from llpf_merge.page import write_page
from llpf_plugin import Quality, load_task
from llpf_plugin.checkpoint import fingerprint, read, write
from llpf_plugin.errors import MismatchError, RunError
from llpf_plugin.merging.tree import Node, balanced, best
from llpf_plugin.preflight import check_pair
from llpf_plugin.report.tree_figure import Join, save_tree


def join(request: Request, console: Console) -> bool:
    """Join all models, pair by pair; a tree that was stopped goes on where it was.

    Where a pair is not connected, the best of its ends and its merged model on validation data goes on.

    Returns:
        Whether every pair is connected.

    Raises:
        LLPFError: of any kind; all models are checked before the first pair is walked.
    """
    models = (request.a, request.b, *request.more)
    check(request, models)
    root = balanced(len(models))
    pairs = list(root.pairs())
    if request.dry_run:
        merge(request, console)
        console.print(f"this is the first of {len(pairs)} pairs", highlight=False)
        return True
    if not request.resume:
        check_free(request.out, [node.name for node in pairs])
    places = {Node(i, i): place for i, place in enumerate(models)}
    joins: list[Join] = []
    runs: list[tuple[Path, Quality]] = []
    for number, node in enumerate(pairs, start=1):
        ends = [places[half] for half in node.halves]
        line = escape(f"{ends[0]} → {ends[1]}")
        console.print(f"\n[bold]pair {number} of {len(pairs)}:[/] {line}", highlight=False)
        quality = merge_part(request, node.name, console, a=ends[0], b=ends[1], more=(), brief=True)
        runs.append((request.out / node.name, quality))
        found, places[node] = outcome(node, request.out / node.name, ends, quality)
        joins.append(found)
    last = read(places[root])
    merged = write(request.out / "merged", last.weights, like=last)
    names = [m.stem for m in models]
    save_tree(request.out, names, joins)
    console.print(_table(joins))
    console.print(f"merged model: [bold]{escape(str(merged))}[/]", highlight=False)
    if request.report:
        write_page(runs, request.out / "report.html", console, names, joins)
    return all(j.connected for j in joins)


def check(request: Request, models: Sequence[Path]) -> None:
    """Refuse models that do not fit the task or one another, and a model that is named twice.

    Raises:
        MismatchError, CheckpointError, TaskError: with the file's name.
    """
    task = load_task(request.task, request.task_arguments)
    first = read(models[0]).weights
    seen = {fingerprint(first): models[0]}
    for place in models[1:]:
        weights = read(place).weights
        check_pair(first, weights, task.model, (str(models[0]), str(place)))
        mark = fingerprint(weights)
        if mark in seen:
            raise MismatchError(f"{seen[mark]} and {place} are the same model: name every model once")
        seen[mark] = place


def outcome(node: Node, folder: Path, ends: Sequence[Path], quality: Quality) -> tuple[Join, Path]:
    """What came of a pair, and the file that goes on from it."""
    merged = _merged(folder)
    scores = merged["scores"]
    places = {"merged": folder / merged["file"], "A": ends[0], "B": ends[1]}
    goes_on = "merged"
    if not quality.connected:
        split = "validation" if scores.get("validation") else "train"
        losses = {"merged": _loss(scores[split]), "A": quality.ends["A"][split], "B": quality.ends["B"][split]}
        goes_on = best(list(losses.items()))
    split = next(s for s in ("test", "validation", "train") if scores.get(s))
    words = {side: _score(quality.ends[side][split], quality.ends[side][f"{split}_accuracy"]) for side in "AB"}
    words["merged"] = _score(_loss(scores[split]), scores[split]["accuracy"])
    cost = quality.path.cost
    found = Join(node, quality.connected, quality.maximum, cost["gradient_steps"], cost["seconds"], words, goes_on)
    return found, places[goes_on]


def _merged(folder: Path) -> dict[str, Any]:
    try:
        merged: dict[str, Any] = json.loads((folder / "quality.json").read_text(encoding="utf-8"))["merged"]
        return merged
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{folder} holds no finished run ({error}): remove it and start again with --resume") from error


def _loss(score: dict[str, Any]) -> float:
    """What a file says; null is no number."""
    return float("nan") if score["loss"] is None else float(score["loss"])


def _score(loss: float, accuracy: float | None) -> str:
    return f"{loss:.4f}" if accuracy is None else f"{accuracy:.2%}"


def _table(joins: Sequence[Join]) -> Table:
    """One line a pair."""
    table = Table("models", box=box.SIMPLE_HEAD)
    for name in ("verdict", "maximum", "steps", "seconds", "A", "B", "merged", "goes on"):
        table.add_column(name, justify="right")
    for j in joins:
        table.add_row(
            j.node.name, "[green]connected[/]" if j.connected else "[red]not[/]", f"{j.maximum:.4f}", str(j.steps),
            f"{j.seconds:.0f}", j.scores["A"], j.scores["B"], j.scores["merged"], j.goes_on,
        )  # fmt: skip
    return table
