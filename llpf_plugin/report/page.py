"""The page: one HTML file with its figures inside, which needs no network and no scripts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from llpf_plugin.errors import LLPFError
from llpf_plugin.files import write_text
from llpf_plugin.quality import DEFINITIONS, Metric
from llpf_plugin.quality.metrics import GEOMETRY
from llpf_plugin.report import curves, extra_figures, layer_figures
from llpf_plugin.report.bands import bands
from llpf_plugin.report.examine import EXTRAS, Examined
from llpf_plugin.report.plane_figure import plane_figure
from llpf_plugin.report.style import NARROW, WIDE, drawing, inline, save
from llpf_plugin.report.tree_figure import Join, tree_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tree = tuple[Sequence[str], Sequence[Join]]
"""Names of models, and what came of every pair."""

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Drawn:
    """A figure and what it shows.

    Attributes:
        name: of its file, unique in a report.
        title: above it.
        words: below it.
        figure: itself.
        wide: whether it takes the page's width; then `narrow` is its form for phones.
        narrow: likewise.
    """

    name: str
    title: str
    words: str
    figure: "Figure"
    narrow: "Figure | None" = None

    @property
    def svg(self) -> str:
        """The figure for the page."""
        return inline(self.figure, self.name, f"{self.title}: {self.words}")

    @property
    def narrow_svg(self) -> str:
        """Its form for narrow windows, empty if it has none."""
        if self.narrow is None:
            return ""
        return inline(self.narrow, f"{self.name}-narrow", f"{self.title}: {self.words}")


def write_report(
    examined: Sequence[Examined], page: Path, figures: Path | None = None, formats: Sequence[str] = (),
    tree: Tree | None = None,
) -> tuple[Path, list[Path]]:  # fmt: skip
    """Write the page, and its figures as files.

    Args:
        examined: the measured runs, at least one; all of one task.
        page: the HTML file.
        figures: folder for the figures' files, None for none.
        formats: of ``png``, ``svg``, ``pdf``.
        tree: where the runs are the pairs of one: the models' names, and what came of every pair.

    Returns:
        The page, and the files of the figures.

    Raises:
        LLPFError: matplotlib or jinja2 is not installed.
        RunError: the disk is full, or a file cannot be written.
    """
    template = _template()
    with drawing():
        compared = list(comparison_figures(examined)) if len(examined) > 1 else []
        lead = tree_drawn(*tree) if tree else None
        parts = [
            (one, list(run_figures(one, f"run{i}" if len(examined) > 1 else ""))) for i, one in enumerate(examined, 1)
        ]
        text = template.render(
            title=_title(examined, tree), lead=lead, runs=[_run_context(one, drawn) for one, drawn in parts],
            compared=compared, table=comparison_table(examined) if len(examined) > 1 else None,
            methods=method_table(examined), task=_task(examined[0]), extras=EXTRAS,
            style=resources.files("llpf_plugin.report").joinpath("page.css").read_text(encoding="utf-8"),
        )  # fmt: skip
        files = []
        for drawn in [*([lead] if lead else []), *compared, *(d for _, own in parts for d in own)]:
            files += [save(drawn.figure, figures / f"{drawn.name}.{kind}") for kind in formats if figures is not None]
    return write_text(page, text), files


def _template() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise LLPFError("the page needs jinja2: pip install 'llpf-plugin[report]'") from error
    loader = jinja2.FunctionLoader(
        lambda name: resources.files("llpf_plugin.report").joinpath(name).read_text(encoding="utf-8")
    )
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(number=number, percent=percent, duration=duration)
    return environment.get_template("page.html.j2")


# ---- figures


def run_figures(one: Examined, prefix: str = "") -> Iterator[Drawn]:
    """The figures of one run, in the order of the page.

    Args:
        one: the measured run.
        prefix: of the figures' names, where a report has several runs.
    """

    def drawn(name: str, title: str, words: str, figure: "Figure", narrow: "Figure | None" = None) -> Drawn:
        return Drawn(f"{prefix}-{name}" if prefix else name, title, words, figure, narrow)

    quality, found = one.quality, bands(one.quality.path)
    wide, narrow = (curves.path_figure(quality, size, one.picked.t, one.line) for size in (WIDE, NARROW))
    words = "Phases are shaded in turns; ticks below the loss are knots. The straight line is what averaging would do."
    yield drawn("path", "Loss and accuracy along the path", words, wide, narrow)
    words = "From each knot to the end that the search walked to; the segment from there to B closes the path."
    yield drawn("distance", "Distance of each layer", words, layer_figures.distance_figure(one.trace, found))
    words = "Layers in the order in which data meet them. A dark stretch is where a layer moves most."
    yield drawn("moves", "What moved when", words, layer_figures.moves_figure(one.trace, found))
    if one.trace.tensors:
        words = "Variance of every tensor about its own mean, over that in A: at 1 it lies on A's variance sphere."
        yield drawn("variance", "Variance of each layer", words, layer_figures.variance_figure(one.trace, found))
    if one.plane is not None and np.isfinite(one.plane.loss).any():
        away = f"knots lie up to {one.plane.away.max():.3g} away from it"
        words = f"The path is projected on the plane; {away}. Loss on {one.plane.sample} training examples."
        yield drawn("plane", "The plane through A, B and the middle", words, plane_figure(one.plane))
    walk = extra_figures.walk_figure(quality.path.record)
    if walk is not None:
        words = "Distance of the layers that move, and mean mini-batch loss after settling, tick by tick."
        yield drawn("search", "How the search went", words, walk)
    if one.layers:
        words = "One layer goes straight from A to B, all others stay; measured above the line between the two losses."
        yield drawn("layers", "Layer-wise barriers", words, layer_figures.barrier_figure(one.layers))
    for split, diversity in one.diversity.items():
        if not diversity.why:
            words = f"On {split} data. The ensemble of A and B errs on {diversity.ends_error:.2%}."
            title = f"Diversity and ensembles, {split}"
            yield drawn(f"diversity-{split}", title, words, extra_figures.diversity_figure(diversity))
    if one.sharpness:
        words = "Training loss under random perturbations, mean and range over directions."
        yield drawn("sharpness", "Sharpness profile", words, extra_figures.sharpness_figure(one.sharpness))


def tree_drawn(names: Sequence[str], joins: Sequence[Join]) -> Drawn:
    """The figure of a tree."""
    words = "Models at the foot; above every pair the model that goes on from it. Dotted: an end that was given up."
    wide, narrow = (tree_figure(names, joins, size) for size in (WIDE, NARROW))
    return Drawn("tree", "What was joined with what", words, wide, narrow)


def comparison_figures(examined: Sequence[Examined]) -> Iterator[Drawn]:
    """The figures that show all runs at once."""
    goals = {one.quality.limit for one in examined}
    goal = goals.pop() if len(goals) == 1 else None
    dots = [curves.Dot(o.run.name, o.run.method, _steps(o), o.quality.maximum) for o in examined]
    words = "Lower and further left is better."
    yield Drawn("frontier", "What it cost, and what it reached", words, curves.frontier_figure(dots, goal))
    qualities = {one.run.name: one.quality for one in examined}
    methods = {one.run.name: one.run.method for one in examined}
    words = "Every path by its own arc length."
    yield Drawn("overlay", "Training loss along every path", words, curves.overlay_figure(qualities, methods, goal))


def _steps(one: Examined) -> float | None:
    steps = one.quality.path.cost.get("gradient_steps")
    return float(steps) if isinstance(steps, int | float) else None


# ---- tables


def comparison_table(examined: Sequence[Examined]) -> list[dict[str, Any]]:
    """One row a run, the best path first: those that reach the goal by their cost, then the others by their maximum."""

    def rank(one: Examined) -> tuple[bool, float, float]:
        steps = _steps(one)
        reached = one.quality.limit is not None and one.quality.maximum <= one.quality.limit
        cost = steps if reached and steps is not None else np.inf
        return (not reached, cost, one.quality.maximum)

    rows = []
    for place, one in enumerate(sorted(examined, key=rank)):
        best_split = "test" if one.picked.scores.get("test") else "validation"
        rows.append(
            {
                "name": one.run.name, "method": one.run.method, "connected": one.quality.connected,
                "steps": _steps(one), "seconds": _seconds(one), "maximum": one.metrics("train")["dense_maximum"],
                "validation": one.metrics("validation")["dense_maximum"], "ratio": one.metrics("train")["length_ratio"],
                "integral": one.metrics("train")["integral"], "merged": one.picked.scores.get(best_split),
                "merged_split": best_split, "best": place == 0,
            }
        )  # fmt: skip
    return rows


def method_table(examined: Sequence[Examined]) -> list[dict[str, Any]]:
    """One row a method, where any has several runs: success rate, and median and range over pairs."""
    methods: dict[str, list[Examined]] = {}
    for one in examined:
        methods.setdefault(one.run.method, []).append(one)
    if all(len(own) < 2 for own in methods.values()):
        return []
    rows = []
    for method, own in methods.items():
        steps = [s for o in own if (s := _steps(o)) is not None]
        reached = [o for o in own if o.quality.limit is not None and o.quality.maximum <= o.quality.limit]
        rows.append(
            {
                "method": method, "runs": len(own), "pairs": len({o.run.pair for o in own}), "reached": len(reached),
                "goal": any(o.quality.limit is not None for o in own), "steps": _spread(steps),
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


def _run_context(one: Examined, figures: Sequence[Drawn]) -> dict[str, Any]:
    quality = one.quality
    return {
        "one": one, "run": one.run, "quality": quality, "figures": figures, "verdict": _verdict(one),
        "tiles": _tiles(one), "scores": _score_rows(one), "metrics": _metric_rows(one), "costs": _costs(one),
        "settings": _settings(one), "hidden": [e for e in EXTRAS if not _has(one, e)],
        "middles": dict(zip(one.trace.layers, one.trace.middles, strict=True)),
        "whys": [f"diversity on {s} data: {d.why}" for s, d in one.diversity.items() if d.why]
        + ([f"plane: {one.plane.why}"] if one.plane is not None and one.plane.why else []),
    }  # fmt: skip


def _has(one: Examined, extra: str) -> bool:
    return bool(getattr(one, extra)) if extra != "plane" else one.plane is not None


def _verdict(one: Examined) -> str:
    return "connected" if one.quality.connected else "not connected"


def _tiles(one: Examined) -> list[tuple[str, str, str]]:
    """The numbers that a person looks for first: label, value, and what to see it beside."""
    quality, scores = one.quality, one.picked.scores
    goal = "no goal was set" if quality.limit is None else f"goal {number(quality.limit)}"
    split = next((s for s in ("test", "validation", "train") if scores.get(s)), "train")
    merged = scores.get(split)
    tiles = [
        ("dense maximum", number(quality.maximum), goal),
        ("straight line", number(max(one.line)), "its worst point"),
        ("gradient steps", number(_steps(one)), duration(_seconds(one))),
        ("length ratio", f"{quality.path.length_ratio:.2f}", "1 is the line"),
    ]
    if merged is not None:
        value = number(merged.loss) if merged.accuracy is None else percent(merged.accuracy)
        tiles.append(("merged model", value, f"{SPLIT_NAMES[split]}, t = {one.picked.t:.2f}"))
    return tiles


def _score_rows(one: Examined) -> list[tuple[str, list[tuple[str, str]]]]:
    """Loss and accuracy of the ends, the merged model, and the worst point, by split."""
    quality = one.quality
    rows = []
    for name, key in (("A", "A"), ("B", "B"), ("last settled knot", "last")):
        row = quality.ends[key]
        rows.append((name, [_score(row.get(s), row.get(f"{s}_accuracy"), s) for s in SPLITS]))
    merged = [one.picked.scores.get(s) for s in SPLITS]
    cells = [_score(x.loss if x else None, x.accuracy if x else None, s) for x, s in zip(merged, SPLITS, strict=True)]
    rows.append(("merged model", cells))
    worst = []
    for split in SPLITS:
        if split == "test":
            worst.append(("", "not tested"))
            continue
        loss, accuracy = quality.column(split), quality.column(f"{split}_accuracy")
        known = not np.isnan(loss).all()
        low = None if np.isnan(accuracy).any() else float(accuracy.min())
        worst.append(_score(float(np.nanmax(loss)) if known else None, low, split))
    rows.append(("path, worst of each", worst))
    return rows


def _score(loss: float | None, accuracy: float | None, split: str) -> tuple[str, str]:
    if loss is None:
        return "", f"no {split} data"
    return number(loss), "" if accuracy is None else percent(accuracy)


def _metric_rows(one: Examined) -> list[dict[str, Any]]:
    train, validation = one.metrics("train"), one.metrics("validation")
    asked = Metric(None, "not asked for")
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
    return (f"{metric.value:.3g}°" if unit == "degrees" else number(metric.value)), ""


def _costs(one: Examined) -> list[tuple[str, str]]:
    path = one.quality.path
    cost = path.cost
    kept = sum(1 for r in path.record if r.get("kept"))
    memory = cost.get("peak_memory") or cost.get("memory")
    rows = [
        ("gradient steps", number(_steps(one))),
        ("time of the search", duration(_seconds(one))),
        ("ticks", f"{len(path.record)}, {kept} kept" if path.record and "kept" in path.record[0] else "not recorded"),
        ("knots", f"{len(path.knots)}, {cost.get('dropped', 0)} dropped as superfluous"),
        ("repairs", str(cost.get("repairs", 0))),
        ("peak memory", f"{memory / 2**20:.0f} MiB" if isinstance(memory, int | float) else "not recorded"),
        ("measured points", f"{len(one.quality.rows)}, on {one.quality.sample or 'all'} training examples"),
    ]
    known = {"gradient_steps", "seconds", "dropped", "repairs", "goal", "peak_memory", "memory"}
    return rows + [(k.replace("_", " "), _plain(v)) for k, v in cost.items() if k not in known]


def _settings(one: Examined) -> list[tuple[str, str]]:
    run = one.run
    name, arguments = run.task
    rows = [("method", run.method), ("task", " ".join([name, *(f"{k}={v}" for k, v in arguments.items())]))]
    rows += [
        (k.replace("_", " "), str(run.info[k])) for k in ("a", "b", "command", "torch", "threads") if k in run.info
    ]
    rows += [(k.replace("_", " "), _plain(v)) for k, v in run.settings.items() if k != "method"]
    return rows


def _plain(value: Any) -> str:
    return "by default" if value is None else number(value) if isinstance(value, float) else str(value)


def _seconds(one: Examined) -> float | None:
    seconds = one.quality.path.cost.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def _title(examined: Sequence[Examined], tree: Tree | None) -> str:
    if tree:
        return f"{len(tree[0])} models joined"
    if len(examined) > 1:
        return f"{len(examined)} paths compared"
    info: Mapping[str, Any] = examined[0].run.info
    names = [Path(str(info[k])).name if k in info else k.upper() for k in ("a", "b")]
    return " → ".join(names)


def _task(one: Examined) -> str:
    return " ".join([one.run.task[0], *(f"{k}={v}" for k, v in one.run.task[1].items())])


# ---- words for numbers


def number(value: float | None) -> str:
    """Three significant digits, whole numbers in full; nothing for what is not known."""
    if value is None:
        return "not recorded"
    if not np.isfinite(value):
        return "not finite"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.2f} %"


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours."""
    if seconds is None:
        return "time not recorded"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
