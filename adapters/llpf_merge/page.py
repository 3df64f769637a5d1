"""The report of merges that have just ended: paths as the searches measured them, nothing measured twice."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from llpf_plugin import Quality
from llpf_plugin.errors import LLPFError, RunError
from llpf_plugin.report.measure import examine
from llpf_plugin.report.page import write_report
from llpf_plugin.report.tree_figure import Join
from llpf_plugin.runs.read import open_run


def write_page(
    runs: Sequence[tuple[Path, Quality]], page: Path, console: Console, names: Sequence[str] = (),
    joins: Sequence[Join] = (),
) -> None:  # fmt: skip
    """Write the page of some runs' folders, or say why there is none; the merges themselves have succeeded."""
    try:
        examined = [examine(open_run(folder), quality) for folder, quality in runs]
        write_report(examined, page, tree=(names, joins) if joins else None)
    except RunError:
        raise
    except LLPFError as error:
        console.print(f"no report: {error}", style="yellow", markup=False, highlight=False)
    else:
        console.print(f"report: {page}", markup=False, highlight=False)
