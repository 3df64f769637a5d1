"""The page: one HTML file with its figures inside, which needs no network and no scripts."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from llpf_plugin.errors import LLPFError
from llpf_plugin.files import write_text
from llpf_plugin.quality import beside_ends
from llpf_plugin.report import tables
from llpf_plugin.report.format import duration, number, percent
from llpf_plugin.report.measured import EXTRAS, Measured
from llpf_plugin.report.page_figures import Drawn, comparison_figures, run_figures, tree_drawn
from llpf_plugin.report.style import drawing, save
from llpf_plugin.runs.tree import Join

Tree = tuple[Sequence[str], Sequence[Join]]
"""Names of models, and the outcome of every pair."""


def write_report(
    examined: Sequence[Measured], page: Path, figures: Path | None = None, formats: Sequence[str] = (),
    tree: Tree | None = None,
) -> tuple[Path, list[Path]]:  # fmt: skip
    """Write the page, and its figures as files.

    Args:
        examined: the measured runs, at least one; all of one task.
        page: the HTML file.
        figures: folder for the figures' files, None for none.
        formats: of ``png``, ``svg``, ``pdf``.
        tree: where the runs are the pairs of one: the models' names, and the outcome of every pair.

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
            compared=compared, table=tables.comparison_table(examined) if len(examined) > 1 else None,
            by_steps=tables.ranked_by_steps(examined), methods=tables.method_table(examined),
            task=_task(examined[0]), extras=EXTRAS,
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


def _run_context(one: Measured, figures: Sequence[Drawn]) -> dict[str, Any]:
    quality = one.quality
    return {
        "one": one, "run": one.run, "quality": quality, "figures": figures, "verdict": _verdict(one),
        "beside": beside_ends(quality, one.picked), "alignment": one.run.alignment,
        "tiles": tables.tiles(one), "scores": tables.score_rows(one), "metrics": tables.metric_rows(one),
        "costs": tables.costs(one),
        "settings": tables.settings(one), "hidden": [e for e in EXTRAS if not _has(one, e)],
        "middles": dict(zip(one.trace.layers, one.trace.middles, strict=True)),
        "whys": [f"diversity on {s} data: {d.why}" for s, d in one.diversity.items() if d.why]
        + ([f"plane: {one.plane.why}"] if one.plane is not None and one.plane.why else []),
    }  # fmt: skip


def _has(one: Measured, extra: str) -> bool:
    return bool(getattr(one, extra)) if extra != "plane" else one.plane is not None


def _verdict(one: Measured) -> str:
    return "connected" if one.quality.connected else "not connected"


def _title(examined: Sequence[Measured], tree: Tree | None) -> str:
    if tree:
        return f"{len(tree[0])} models joined"
    if len(examined) > 1:
        return f"{len(examined)} paths compared"
    info: Mapping[str, Any] = examined[0].run.info
    names = [Path(str(info[k])).name if k in info else k.upper() for k in ("a", "b")]
    return " → ".join(names)


def _task(one: Measured) -> str:
    return " ".join([one.run.task[0], *(f"{k}={v}" for k, v in one.run.task[1].items())])
