"""A walk from one model towards the origin, with its run's folder: like a pair, with one end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llpf_plugin.geometry.weights import Weights
from llpf_plugin.llpf.method import LLPF
from llpf_plugin.merging.agreement import check_asked
from llpf_plugin.merging.pair import Pair, Request, Source, knots_of, opened, saving
from llpf_plugin.quality.verdict import check_pick
from llpf_plugin.search.options import SearchOptions
from llpf_plugin.search.origin import origin_search
from llpf_plugin.search.progress import Callback
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute


def open_descent(
    model: Weights | str | Path | Source, task: Task, method: LLPF, options: SearchOptions, compute: Compute,
    to: float | str | None = None, ticks: int | None = None, pick: str | float = "end", *, out: Path | None = None,
    resume: bool = False, callbacks: Sequence[Callback] = (), named: Mapping[str, Any] | None = None,
    info: Mapping[str, Any] | None = None,
) -> Pair:  # fmt: skip
    """Check a model and make its search; run it with `llpf_plugin.search.descend`. Nothing is written yet.

    Args:
        model: a state dict or a checkpoint file.
        task: model and data.
        method: settings of the walk.
        options: what is asked of the search.
        compute: device and precision.
        to: as in `walk_to_origin`.
        ticks: as in `walk_to_origin`.
        pick: the point that is written; ``end`` is where the walk ended.
        out: folder of its run, None to stay in memory.
        resume: continue the run in the folder, if there is one.
        callbacks: of the search.
        named: how the task was named, for the run's folder.
        info: what else is good to know of it.

    Raises:
        LLPFError: the model does not fit, or the folder is in use or holds another run.
    """
    place = 1.0 if pick == "end" else pick
    check_pick(place)
    source = Source.of(model, network=task.model)
    request = Request(task, method, options, compute, place, "never", dict(named or {}), dict(info or {}))
    asked = request.asked(source, None, to=None if to is None else str(to), ticks=ticks)
    check_asked(asked)
    run, saved = opened(out, asked, resume)
    done = run is not None and saved is not None and run.finished and not run.goes_on(asked)
    search = origin_search(
        dict(source.weights), task, method, options, to, ticks, compute, knots_of(run, out),
        (*callbacks, *saving(run, done)), saved,
    )  # fmt: skip
    return Pair("origin", [source], request, search, asked, run, done=done)
