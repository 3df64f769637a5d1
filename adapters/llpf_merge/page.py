"""The report of a merge that has just ended: the path as the search measured it, nothing measured twice."""

from rich.console import Console

from llpf_plugin import Quality
from llpf_plugin.errors import LLPFError, RunError
from llpf_plugin.report.examine import examine
from llpf_plugin.report.page import write_report
from llpf_plugin.report.stored import open_run
from llpf_plugin.store import RunFolder


def write_page(quality: Quality, run: RunFolder, console: Console) -> None:
    """Write ``report.html`` into the run's folder, or say why there is none; the merge itself has succeeded."""
    try:
        stored = open_run(run.folder)
        page, _ = write_report([examine(stored, quality)], run.folder / "report.html")
    except RunError:
        raise
    except LLPFError as error:
        console.print(f"[yellow]no report: {error}[/]")
    else:
        console.print(f"report: {page}", highlight=False)
