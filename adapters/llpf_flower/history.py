"""What happened in each round: a table for the eye, a picture, JSON for everything else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llpf_plugin.documents import validated, visible
from llpf_plugin.errors import LLPFError, RunError
from llpf_plugin.files import atomic_write

Row = dict[str, Any]
"""One round: ``round``, ``clients``, ``left_out`` (reasons by node), ``consensus``, … and metrics by name."""

PARTITION = "partition-id"
"""A metric by which a client says which one it is; its mean means nothing."""

OURS = (
    "round", "clients", "left_out", "consensus", "variance", "variance kept", "barrier", "phase", "on their own",
    "steps", "joined", "maximum", "first", "first losses",
)  # fmt: skip
"""Entries of a row that are not the clients' metrics."""

MODELS = ("consensus", "variance kept", "barrier")
"""Entries of a row that compare the clients' models; the picture has them below."""

HIDDEN = ("left_out", "variance", "clients", "first losses")
"""Entries of a row that the table does not show as they are."""


@dataclass(frozen=True)
class _Row:
    """What a row that was read must have, and what its entries may be."""

    round: int
    left_out: dict[int, str]
    clients: int
    entries: dict[str, bool | int | float | str | dict[str, float | str | None] | None]


def checked(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Copies of rows as they were read from a file, with the numbers of nodes as numbers again.

    Raises:
        TypeError: they are no rows.
    """
    found = []
    for row in rows:
        entries = {name: value for name, value in row.items() if name != "left_out"}
        known = validated(_Row, {"clients": 0, **row, "entries": entries})
        found.append({**row, "round": known.round, "left_out": known.left_out})
    return found


def numbers(metrics: Mapping[str, Any], prefix: str = "") -> Row:
    """The single numbers among metrics; ours, which the row has under other names, and clients' ids are left out.

    Metrics of clients that have the name of an entry of ours are called ``train …``.
    """
    counted = {k: v for k, v in metrics.items() if isinstance(v, int | float) and k != PARTITION}
    found = {k: v for k, v in counted.items() if not k.startswith("llpf-")}
    return {f"train {k}" if prefix + k in OURS else prefix + k: v for k, v in found.items()}


def check_counted(rows: Sequence[Row]) -> None:
    """Refuse the end of a run that trained nothing.

    Args:
        rows: of a run without a new model.

    Raises:
        RunError: clients were asked, so that their replies did not count.
    """
    if left_out := [item for row in rows for item in row["left_out"].items()]:
        node, why = left_out[-1]
        raise RunError(
            f"no reply counted in any of {len(rows)} rounds: the model is still the one that the run began with. "
            f"The last one was left out for this reason: {why} (node {node}); the log names all."
        )


def table(rows: Sequence[Row]) -> str:
    """A Markdown table, one line a round; columns that no round has are left out."""
    names = list(dict.fromkeys(k for row in rows for k in row if k not in HIDDEN))
    head = ["clients", *names]
    lines = [[visible(name) for name in head], ["---:"] * len(head)]
    for row in rows:
        out = len(row.get("left_out", {}))
        clients = f"{row.get('clients', 0)}" + (f" (−{out})" if out else "")
        lines.append([clients, *(_show(row.get(name)) for name in names)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _show(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else visible(str(value))


def draw(rows: Sequence[Row], place: str | Path) -> Path:
    """Write `picture` to a file.

    Args:
        rows: of all rounds.
        place: file to write; the suffix says the format (png, svg, pdf).

    Raises:
        LLPFError: matplotlib is not installed.
    """
    figure, suffix = picture(rows), Path(place).suffix.lstrip(".") or "png"
    return atomic_write(place, lambda target: figure.savefig(target, format=suffix, dpi=130))


def picture(rows: Sequence[Row]) -> Any:
    """A figure of matplotlib: metrics by round above; consensus distance, variance kept and barrier below.

    A run of a single round, such as one-shot merging, has bars in place of lines, with the numbers beside them.

    Args:
        rows: of all rounds.

    Raises:
        LLPFError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LLPFError("pictures need matplotlib: pip install 'llpf-plugin[report]'") from error
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1)
    names = dict.fromkeys(k for row in rows for k, v in row.items() if isinstance(v, float))
    fill = _bars if len(rows) == 1 else _lines
    for axes, label, ours in ((above, "metrics", False), (below, "the clients' models", True)):
        axes.set_ylabel(label)
        fill(axes, rows, [name for name in names if (name in MODELS) == ours])
    return figure


def _lines(axes: Any, rows: Sequence[Row], names: Sequence[str]) -> None:
    """A line for each number, by round."""
    for name in names:
        points = [(row["round"], row[name]) for row in rows if isinstance(row.get(name), int | float)]
        axes.plot(*zip(*points, strict=True), label=visible(name), marker=".", lw=1.2)
    axes.set_xlabel("round")
    if names:
        axes.legend(fontsize=7)


def _bars(axes: Any, rows: Sequence[Row], names: Sequence[str]) -> None:
    """A bar for each number of the only round."""
    bars = axes.barh([visible(name) for name in names], [rows[0][name] for name in names])
    axes.bar_label(bars, fmt="%.4g", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
