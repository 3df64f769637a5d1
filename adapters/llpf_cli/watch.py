"""What the user sees of a merge: its checks, its progress, its result; and how Ctrl-C stops it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from llpf_cli import preview, results
from llpf_cli.progress_bar import LiveView, StopOnCtrlC
from llpf_plugin.errors import LLPFError, RunError
from llpf_plugin.files import write_text
from llpf_plugin.merging import Finished, Pair, Source, Watch
from llpf_plugin.quality import Picked, Quality
from llpf_plugin.ranks import is_first
from llpf_plugin.report import Measured, TensorBoard, draw_path, measure_stored, write_report
from llpf_plugin.runs import Join, open_run
from llpf_plugin.search import Callback, Searching

NOT_REPEATABLE = (
    "the task's data loader does not repeat its batches: the run continues, but not bit by bit as if it had never "
    "stopped"
)


class KeepConfig(Callback):
    """Writes the options of a run into its folder once it has begun."""

    def __init__(self, place: Path, text: str) -> None:
        self.place, self.text = place, text

    def on_start(self, search: Searching) -> None:
        """Write the file."""
        write_text(self.place, self.text)


class TerminalWatch(Watch):
    """Shows a merge on the terminal.

    Args:
        console: where to print.
        out: the folder of the merge.
        config: its options as YAML, kept in the folder.
        tensorboard: also write a log.
        brief: show progress and verdict only.
    """

    def __init__(self, console: Console, out: Path, config: str = "", tensorboard: bool = False, brief: bool = False):
        self.console, self.out, self.config, self.tensorboard, self.brief = console, out, config, tensorboard, brief
        self.line: Sequence[float] = ()
        self._shown: set[Path] = set()
        self._view: LiveView | None = None
        self._stopper: StopOnCtrlC | None = None

    def on_gather(self, sentence: str) -> None:
        """Say it."""
        self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def on_pair(self, name: str, number: int, total: int, ends: Sequence[Source]) -> None:
        """Name the pair of a tree."""
        if total > 1 or not self.brief:
            results.show_notes(self.console, (end for end in ends if end.like and end.like.path not in self._shown))
            self._shown |= {end.like.path for end in ends if end.like}
        if total > 1:
            self.brief = True
            line = escape(" → ".join(end.name for end in ends))
            self.console.print(f"\n[bold]pair {number} of {total}:[/] {line}", highlight=False)

    def on_open(self, pair: Pair) -> None:
        """Show alignment, spheres, angles, and what averaging would do."""
        preview.alignment(self.console, pair)
        if not self.brief:
            self.line = pair.line()
            preview.preflight(self.console, pair, self.line)
        elif pair.run is None or not pair.run.exists:
            for finding in pair.search.findings:
                preview.show_finding(self.console, finding)
        train = pair.request.task.train
        again = train.repeatable or getattr(train, "position", None) is not None
        if pair.run is not None and pair.run.exists and not again:
            self.console.print(f"[yellow]{NOT_REPEATABLE}[/]")

    def callbacks(self, pair: str) -> Sequence[Callback]:
        """Progress bar, Ctrl-C, log, and the file of options."""
        self._view, self._stopper = LiveView(self.console), StopOnCtrlC()
        found: list[Callback] = [self._view, self._stopper]
        if self.tensorboard and is_first():
            found.append(TensorBoard(self.out / "tensorboard"))
        return [*found, KeepConfig(self.out / "config.yaml", self.config)] if self.config else found

    @contextmanager
    def running(self) -> Iterator[None]:
        """The progress bar is shown, and Ctrl-C stops the search after its tick."""
        assert self._view is not None and self._stopper is not None
        with self._stopper, self._view:
            yield

    def on_close(self, pair: Pair, quality: Quality, picked: Picked, merged: Path | None) -> None:
        """Show the verdict, and draw the picture."""
        assert pair.run is not None and merged is not None
        picture = picture_of(quality, pair.run.folder, picked, self.console)
        if not self.brief:
            results.closing(self.console, quality, picked, merged, picture, pair.ends[0].like, pair.alignment)


def picture_of(quality: Quality, folder: Path, picked: Picked, console: Console) -> Path | None:
    """Draw the path, or say why there is no picture; the merge itself has succeeded."""
    try:
        return draw_path(quality, folder / "path.png", picked.t)
    except RunError:
        raise
    except LLPFError as error:
        console.print(f"no picture: {error}", style="yellow", markup=False, highlight=False)
        return None


def write_page(
    runs: Sequence[Finished], page: Path, console: Console, names: Sequence[str] = (), joins: Sequence[Join] = (),
    line: Sequence[float] = (),
) -> None:  # fmt: skip
    """Write the page of runs that have just ended, as they were measured, or say why there is none.

    Args:
        runs: of one pair, or of a tree.
        page: the file.
        console: where to say it.
        names: the models of a tree.
        joins: the outcome of every pair.
        line: training losses of the straight line of the one pair, where they are known.
    """
    try:
        measured: list[Measured] = [
            measure_stored(open_run(run.folder), run.quality, line=line) for run in runs if run.folder
        ]
        write_report(measured, page, tree=(names, joins) if len(joins) > 1 else None)
    except RunError:
        raise
    except LLPFError as error:
        console.print(f"no report: {error}", style="yellow", markup=False, highlight=False)
    else:
        results.show_place(console, "report", page)
