"""One merge: read, check, walk, judge, write."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from llpf_merge import show
from llpf_merge.live import LiveView, StopOnCtrlC
from llpf_merge.page import write_page
from llpf_plugin import Path as LossPath
from llpf_plugin import Quality, find_path, load_task
from llpf_plugin.alignment.matching import align
from llpf_plugin.checkpoint import Checkpoint, fingerprint, read, write
from llpf_plugin.errors import InterruptedRun, LLPFError, RunError
from llpf_plugin.evaluation.along_path import linear_losses
from llpf_plugin.files import plain, write_json
from llpf_plugin.geometry.weights import Weights, coordinates
from llpf_plugin.llpf import common_spheres as legs
from llpf_plugin.preflight import check_pair, look
from llpf_plugin.quality import Picked
from llpf_plugin.report.figure import draw_path
from llpf_plugin.report.tensorboard import TensorBoard
from llpf_plugin.runs.folder import RunFolder
from llpf_plugin.search.settings import Settings
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute, Gradient

NOT_REPEATABLE = (
    "the task's data loader does not repeat its batches: the run goes on, but not bit by bit as if it had never stopped"
)


@dataclass(frozen=True)
class Request:
    """What the user asked for on the command line."""

    a: Path
    b: Path
    task: str
    task_arguments: Mapping[str, Any]
    out: Path
    settings: Settings
    compute: Compute
    pick: str = "best"
    resume: bool = False
    dry_run: bool = False
    report: bool = True
    tensorboard: bool = False
    to: str | None = None
    ticks: int | None = None
    align: bool = False
    compare: bool = False
    ablate: str = ""
    brief: bool = False
    more: tuple[Path, ...] = ()
    part: bool = False

    def command(self, resume: bool = False) -> str:
        """The line that asks for the same again."""
        words = ["llpf-merge", *(str(place) for place in (self.a, self.b, *self.more)), "--task", self.task]
        words += [w for k, v in self.task_arguments.items() for w in ("-t", f"{k}={v}")]
        words += ["-o", str(self.out)]
        given = {**_changed(self.settings, Settings()), **_changed(self.compute, Compute())}
        if self.pick != "best":
            given["pick"] = self.pick
        given |= {k: v for k, v in (("to", self.to), ("ticks", self.ticks)) if v is not None}
        given.update({k: v for k in ("align", "compare", "ablate") if (v := getattr(self, k))})
        words += [f"--no-{name}" for name in ("report",) if not getattr(self, name)]
        words += ["--tensorboard"] if self.tensorboard else []
        for key, value in given.items():
            option = "--" + key.replace("_", "-")
            plain = [option] if value is True else ["--no-" + key] if value is False else None
            words += plain or [option, str(value)]
        return shlex.join(words + (["--resume"] if resume else []))


def merge(request: Request, console: Console) -> Quality | None:
    """Do what was asked.

    Returns:
        The path's quality, None for a dry run.

    Raises:
        LLPFError: of any kind, before anything was overwritten.
    """
    check_pick(request.pick)
    a, b = read(request.a), read(request.b)
    task = load_task(request.task, request.task_arguments)
    names = (str(request.a), str(request.b))
    start, end = check_pair(a.weights, b.weights, task.model, names)
    if request.align:
        matching = align(start, end, task)
        end = matching.weights
        show.alignment(console, matching)
    run = RunFolder(request.out)
    asked = asked_for(request, a, b)
    if request.resume and run.exists:
        run.check_same(asked)
    elif not request.dry_run:
        run.check_free()
    gradient = Gradient(task, request.compute, request.settings.seed, request.settings.batch_size)
    findings = look(a.weights, b.weights, task.model, names)
    line = linear_losses(gradient, start, end)
    if not request.brief:
        show.preflight(console, request, gradient, findings, start, end, line)
    if request.dry_run:
        show.estimate(console, request, gradient)
        return None
    if not run.exists:
        moving = set(coordinates(task.model))
        first, last = ({k: t for k, t in w.items() if k not in moving} for w in (start, end))
        run.create(asked, first, last, info(request))
    with resumable(request):
        path = walk(request, task, (start, end), run, console)
        finish(request, path.quality, run, a, line, console)
    return path.quality


def merge_part(request: Request, name: str, console: Console, **changes: Any) -> Quality:
    """One of several merges that a request consists of, in a folder of its own; one that is done is only judged again.

    Args:
        request: what was asked for as a whole.
        name: of the folder.
        console: where to print.
        **changes: fields of the request that are other ones for this merge.

    Raises:
        InterruptedRun: says how to go on with the whole.
        LLPFError: of any kind; the folder's run was asked for something else, for instance.
    """
    folder = request.out / name
    begun = (folder / "run.json").is_file()
    alone = {"compare": False, "ablate": "", "report": False, "part": True}
    own = replace(request, out=folder, resume=begun, **{**alone, **changes})
    try:
        quality = merge(own, console)
    except InterruptedRun as stop:
        line = request.command(resume=True)
        raise InterruptedRun(f"stopped in {folder}; everything so far is kept. Go on with:\n  {line}") from stop
    assert quality is not None
    return quality


def finish(
    request: Request, quality: Quality, run: RunFolder, a: Checkpoint, line: Sequence[float], console: Console
) -> None:
    """Write the picked model, the verdict and the picture, and show them."""
    picked = quality.pick(request.pick)
    merged = _written(run, picked) if request.part else None
    if merged is None:
        merged = write(request.out / "merged", picked.weights, like=a)
        _write_verdict(run, quality, picked, merged)
    picture = _draw(quality, run, picked, console)
    if not request.brief:
        show.closing(console, quality, picked, line, merged, picture, a)
    if request.report:
        write_page([(run.folder, quality)], run.folder / "report.html", console)


def walk(
    request: Request, task: Task, ends: Sequence[Weights], run: RunFolder, console: Console,
    search: Callable[..., LossPath] = find_path,
) -> LossPath:  # fmt: skip
    """Search with a live view, saving as it goes; Ctrl-C leaves a run to go on with."""
    saved = run.load() if request.resume else None
    if request.resume and not task.train.repeatable:
        console.print(f"[yellow]{NOT_REPEATABLE}[/]")
    done = run.path().cost if saved and run.finished else None
    with StopOnCtrlC() as stopper, LiveView(console, request.settings.budget) as view:
        try:
            watchers = [TensorBoard(request.out / "tensorboard")] if request.tensorboard else []
            path = search(
                *ends, task, request.settings, compute=request.compute, knots=run.knots,
                callbacks=(*([] if done else [run]), view, stopper, *watchers), resume=saved,
            )  # fmt: skip
        except InterruptedRun:
            raise
        except LLPFError:
            run.abandon()
            raise
    path.cost = done or path.cost  # a run that had ended is only judged again
    return path


@contextmanager
def resumable(request: Request) -> Iterator[None]:
    """Whatever stops the run says how to go on with it."""
    try:
        yield
    except (InterruptedRun, KeyboardInterrupt) as stop:
        line = request.command(resume=True)
        raise InterruptedRun(f"stopped; everything so far is in {request.out}. Go on with:\n  {line}") from stop


def _written(run: RunFolder, picked: Picked) -> Path | None:
    """The merged model of a part that was done before, which other parts may have gone on from: it is left as it is.

    Picked again it may have other statistics, where the task's data come in another order every time.
    """
    try:
        before = json.loads((run.folder / "quality.json").read_text(encoding="utf-8"))["merged"]
    except (OSError, ValueError, KeyError):
        return None
    place = run.folder / before["file"]
    return place if before["t"] == picked.t and place.exists() else None


def _write_verdict(run: RunFolder, quality: Quality, picked: Picked, merged: Path) -> None:
    """Write ``quality.json``: the verdict, every measured point, and the scores of the merged model."""
    scores = {split: None if score is None else asdict(score) for split, score in picked.scores.items()}
    document = {
        **quality.summary(),
        **({"legs": found} if (found := legs.summary(quality.path, quality.rows)) else {}),
        "merged": {"file": merged.name, "t": picked.t, "scores": scores},
        "points": quality.rows,
    }
    write_json(run.folder / "quality.json", plain(document))


def _draw(quality: Quality, run: RunFolder, picked: Picked, console: Console) -> Path | None:
    try:
        return draw_path(quality, run.folder / "path.png", picked.t)
    except RunError:
        raise
    except LLPFError as error:
        console.print(f"no picture: {error}", style="yellow", markup=False, highlight=False)
        return None


def asked_for(request: Request, a: Checkpoint, b: Checkpoint | None = None) -> dict[str, Any]:
    """What a run depends on; a resumed one must ask the same."""
    return {
        "a": fingerprint(a.weights),
        "b": fingerprint(b.weights) if b else "origin",
        "task": request.task,
        "task_arguments": dict(request.task_arguments),
        "settings": request.settings.to_dict(),
        "align": request.align,
        "compute": asdict(request.compute),
        **{k: str(v) for k, v in (("to", request.to), ("ticks", request.ticks)) if v is not None},
    }


def info(request: Request) -> dict[str, Any]:
    """What is good to know of a run, without being part of what was asked."""
    return {
        "a": str(request.a), "b": str(request.b), "command": request.command(),
        "torch": torch.__version__, "threads": torch.get_num_threads(),
    }  # fmt: skip


def check_free(out: Path, names: Sequence[str]) -> None:
    """Refuse a folder that is in use, for several runs under these names.

    Raises:
        RunError: it holds such runs, or other files.
    """
    if any((out / name / "run.json").is_file() for name in names):
        raise RunError(f"{out} holds these runs already: add --resume to go on with them, or name another with -o")
    RunFolder(out).check_free()


def check_pick(pick: str) -> None:
    """Refuse what `Quality.pick` does not know, before any work."""
    if pick in ("best", "mid", "end"):
        return
    try:
        t = float(pick)
    except ValueError as error:
        raise LLPFError(f"--pick {pick}: it is best, mid, end, or a number in [0, 1]") from error
    if not 0 <= t <= 1:
        raise LLPFError(f"--pick {pick}: t lies in [0, 1]")


def _changed(value: Any, default: Any) -> dict[str, Any]:
    return {k: v for k, v in asdict(value).items() if v != getattr(default, k)}
