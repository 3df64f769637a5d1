"""The page's tables, as rows of numbers and words."""

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from llpf_plugin.quality import DEFINITIONS, GEOMETRY, Metric
from llpf_plugin.records import Outcome
from llpf_plugin.report.format import duration, number, percent, plain
from llpf_plugin.report.measured import Measured

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {"train": "training", "validation": "validation", "test": "test"}


def comparison_table(examined: Sequence[Measured]) -> list[dict[str, Any]]:
    """One row per run, the best path first: those that reach the goal by their cost, then others by their maximum.

    Where one was trained for all the steps that it was given, costs say nothing, and all are ordered by their maximum.
    What does not lead to B comes last.
    """
    costs = ranked_by_steps(examined)

    def rank(one: Measured) -> tuple[bool, bool, float, float]:
        cost = one.steps if costs and one.reached and one.steps is not None else np.inf
        return (one.quality.path.open, not one.reached, cost, one.quality.maximum)

    rows = []
    for place, one in enumerate(sorted(examined, key=rank)):
        best_split = "test" if one.picked.scores.get("test") else "validation"
        rows.append(
            {
                "name": one.run.name, "method": one.run.method, "connected": one.quality.connected,
                "steps": one.steps, "seconds": one.seconds,
                "maximum": one.metrics("train")["dense_maximum"],
                "validation": one.metrics("validation")["dense_maximum"], "ratio": one.metrics("train")["length_ratio"],
                "integral": one.metrics("train")["integral"], "merged": one.picked.scores.get(best_split),
                "merged_split": best_split, "best": place == 0,
            }
        )  # fmt: skip
    return rows


def ranked_by_steps(examined: Sequence[Measured]) -> bool:
    """Whether all runs that reached the goal ended by themselves, so that their steps can be compared."""
    return not any(one.reached and one.quality.path.outcome is Outcome.TRAINED for one in examined)


def method_table(examined: Sequence[Measured]) -> list[dict[str, Any]]:
    """One row per method, where any has several runs: success rate, and median and range over pairs."""
    methods: dict[str, list[Measured]] = {}
    for one in examined:
        methods.setdefault(one.run.method, []).append(one)
    if all(len(own) < 2 for own in methods.values()):
        return []
    rows = []
    for method, own in methods.items():
        steps = [o.steps for o in own if o.steps is not None]
        reached = [o for o in own if o.reached]
        rows.append(
            {
                "method": method, "runs": len(own), "pairs": len({o.run.pair for o in own}), "reached": len(reached),
                "goal": any(o.quality.goal is not None for o in own), "steps": _spread(steps),
                "maximum": _spread([o.quality.maximum for o in own]),
                "ratio": _spread([o.quality.path.length_ratio for o in own]),
            }
        )  # fmt: skip
    return rows


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "not recorded"
    middle, low, high = number(median(values)), number(min(values)), number(max(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def tiles(one: Measured) -> list[tuple[str, str, str]]:
    """The numbers that a person looks for first: label, value, and what to see it beside."""
    quality, scores = one.quality, one.picked.scores
    goal = "no goal was set" if quality.goal is None else f"goal {number(quality.goal)}"
    split = next((s for s in ("test", "validation", "train") if scores.get(s)), "train")
    merged = scores.get(split)
    tiles = [
        ("dense maximum", number(quality.maximum), goal),
        ("straight line", number(max(one.line)), "its worst point"),
        ("gradient steps", number(one.steps), f"{duration(one.seconds)} of search"),
        ("length ratio", f"{quality.path.length_ratio:.2f}", "1 is the line"),
    ]
    if merged is not None:
        value = number(merged.loss) if merged.accuracy is None else percent(merged.accuracy)
        tiles.append(("merged model", value, f"{SPLIT_NAMES[split]}, t = {one.picked.t:.2f}"))
    return tiles


def score_rows(one: Measured) -> list[tuple[str, list[tuple[str, str]]]]:
    """Loss and accuracy of the ends, the merged model, and the worst point, by split."""
    quality = one.quality
    rows = []
    settled = [("last settled knot", "last")] if quality.path.walked else []
    saved = [(name, name) for name in ("A as saved", "B as saved") if name in quality.ends]
    for name, key in [("A", "A"), ("B", "B"), *saved, *settled]:
        row = quality.ends[key]
        missing = "not measured" if key in dict(saved) else ""
        rows.append((name, [_score(row[s], row[f"{s}_accuracy"], s, missing) for s in SPLITS]))
    merged = [one.picked.scores.get(s) for s in SPLITS]
    cells = [_score(x.loss if x else None, x.accuracy if x else None, s) for x, s in zip(merged, SPLITS, strict=True)]
    rows.append(("merged model", cells))
    worst = []
    for split in SPLITS:
        if split == "test":
            worst.append(("", "not tested"))
            continue
        worst.append(_score(*quality.worst(split), split))
    rows.append(("path, worst of each", worst))
    return rows


def _measured(one: Measured) -> str:
    """How many places, and on how many examples."""
    found, most = one.quality.measured, one.quality.sample or "all"
    if found["sample"] is None:
        return f"{found['places']}, on {most} training examples"
    return f"{found['places']}, {found['on_all_data']} on {most} training examples, the others on {found['sample']}"


def _score(loss: float | None, accuracy: float | None, split: str, missing: str = "") -> tuple[str, str]:
    if loss is None:
        return "", missing or f"no {split} data"
    return number(loss), "" if accuracy is None else percent(accuracy)


def metric_rows(one: Measured) -> list[dict[str, Any]]:
    """Every metric with its definition, on training and validation data."""
    train, validation = one.metrics("train"), one.metrics("validation")
    asked = Metric(None, "not requested")
    return [
        {
            "definition": definition,
            "train": metric_cell(train.get(name, asked), definition.unit),
            "validation": None if name in GEOMETRY else metric_cell(validation.get(name, asked), definition.unit),
        }
        for name, definition in DEFINITIONS.items()
    ]


def metric_cell(metric: Metric, unit: str) -> tuple[str, str]:
    """The number, or nothing and the reason."""
    if metric.value is None:
        return "", metric.why
    if unit == "share":
        return percent(metric.value), ""
    return number(metric.value), ""


def costs(one: Measured) -> list[tuple[str, str]]:
    """What the search cost."""
    path = one.quality.path
    cost, kept = path.cost, sum(tick.kept for tick in path.record)
    rows = [
        ("gradient steps", number(one.steps)),
        ("learning rate", "not recorded" if cost.rate is None else cost.rate.words),
        ("phases", ", ".join(path.phases) or "not recorded"),
        ("time of the search", duration(one.seconds)),
        ("ticks", f"{len(path.record)}, {kept} kept" if path.record else "not recorded"),
        ("knots", f"{len(path.knots)}, {cost.dropped} redundant ones removed"),
        ("repairs", str(cost.repairs)),
        ("peak memory, all in", "not recorded" if cost.peak_memory is None else f"{cost.peak_memory / 2**20:.0f} MiB"),
        ("measured points", _measured(one)),
        (
            "spent on",
            ", ".join(f"{kind} {duration(own.seconds)}" for kind, own in cost.spent.items()) or "not recorded",
        ),
    ]
    legs = [(f"leg {name}", f"{leg.steps} gradient steps, {leg.outcome.lower()}") for name, leg in cost.legs.items()]
    return rows + legs


def settings(one: Measured) -> list[tuple[str, str]]:
    """The settings of the search, and where it ran."""
    run = one.run
    name, arguments = run.task
    rows = [("method", run.method), ("task", " ".join([name, *(f"{k}={v}" for k, v in arguments.items())]))]
    rows += [
        (k.replace("_", " "), str(run.info[k])) for k in ("a", "b", "command", "torch", "threads") if k in run.info
    ]
    rows += [(k.replace("_", " "), plain(v)) for k, v in run.settings.items()]
    return rows
