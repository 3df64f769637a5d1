"""What may be written into a folder: nothing that replaces what no run wrote."""

from collections.abc import Sequence
from pathlib import Path

from llpf_plugin.errors import RunError
from llpf_plugin.files import remove_leftovers
from llpf_plugin.ranks.group import is_first
from llpf_plugin.runs.folder import RunFolder

RESULTS = ("merged*", "quality.json", "tree.json", "compare.json", "path.png", "report.html")
"""What is written into a run's folder, or that of several, once they have ended."""


def check_folders(out: Path, names: Sequence[str], resume: bool) -> None:
    """Refuse a folder that is in use, for several runs under these names; clear it of what killed processes left.

    Raises:
        RunError: it holds such runs and ``resume`` was not asked for, another run, or other files.
    """
    if not is_first():  # which checks, and may have begun to write by now
        return
    runs = [RunFolder(out / name) for name in names]
    begun = [run for run in runs if run.exists]
    if begun and not resume:
        raise RunError(f"{out} already holds these runs: add --resume to continue them, or name another with -o")
    if RunFolder(out).exists:
        raise RunError(f"{out} holds a single run, and several are to be written: name another folder with -o")
    if not begun:
        RunFolder(out).check_free()
    for run in runs:
        if not run.exists:
            run.check_free()
    check_unfinished(out, runs)
    remove_leftovers(out)


def check_unfinished(out: Path, runs: Sequence[RunFolder]) -> None:
    """Refuse a folder with results but no run that has ended: something else wrote them, and they would be replaced.

    Raises:
        RunError: names the first of them, or a link (see `check_links`).
    """
    check_links(out)
    if any(run.has_ended for run in runs):
        return
    found = sorted(entry.name for name in RESULTS for entry in out.glob(name))
    if found:
        raise RunError(
            f"{out / found[0]} was not written by a run, for none in {out} has ended: move it elsewhere, or name "
            "another folder with -o"
        )


def check_links(folder: Path) -> None:
    """Refuse a folder with links in it, or in the folders in it: what they lead to would be overwritten.

    Raises:
        RunError: names the first of them.
    """
    for entry in (*sorted(folder.glob("*")), *sorted(folder.glob("*/*"))):
        if entry.is_symlink():
            raise RunError(f"{entry} is a link, and what it leads to would be overwritten: remove it")
