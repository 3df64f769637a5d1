"""`walk_to_origin`: M2O by itself (paper, Algorithm 2), from a trained network down its variance spheres."""

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath

from llpf_plugin import checkpoint, preflight
from llpf_plugin.geometry.knots import Knots
from llpf_plugin.geometry.path import Path
from llpf_plugin.geometry.weights import Weights, clone, state
from llpf_plugin.llpf.method import LLPF, Descent
from llpf_plugin.quality.origin import OriginQuality
from llpf_plugin.search.find import Search, Snapshot
from llpf_plugin.search.options import SearchOptions
from llpf_plugin.search.progress import Callback
from llpf_plugin.tasks.load import load_task
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute


def walk_to_origin(
    a: Weights | str | FilePath, task: Task | str, method: LLPF | None = None, *,
    to: float | Weights | str | FilePath | None = None, ticks: int | None = None, max_loss: float | None = None,
    tolerance: float | None = None, budget: int | None = None, lr: float | None = None, momentum: float | None = None,
    batch_size: int | None = None, points: int = 4, sample: int | None = None, seed: int = 0,
    compute: Compute | None = None, knots: Knots | None = None, callbacks: Sequence[Callback] = (),
    resume: Snapshot | None = None,
) -> Path:  # fmt: skip
    """Walk from a trained network towards the origin along low training loss (paper, Algorithm 2).

    Layers with a variance sphere shrink, normalizations stay, and every layer's learning rate falls with its variance.
    The walk ends on the spheres it was told, after ``ticks``, when the budget is spent, or at the last knot whose loss
    could be held under the goal, whichever comes first; the path says which in ``outcome``.

    Args:
        a: model A, a state dict or a checkpoint file.
        task: as in `find_path`.
        method: settings of the walk; ``schedule`` may name one of the paper's table 5.
        to: where it ends: a part of the variance that every layer has at the start, in (0, 1); or a model of the same
            architecture, whose spheres are meant; or None for the origin itself.
        ticks: the walk ends after this many.
        max_loss, tolerance: the loss at which the walk stops.
        budget, lr, momentum, batch_size, points, sample, seed, compute, knots, callbacks, resume: as in `find_path`.

    Returns:
        The path from A down; ``path.quality`` has what the search measured of it.

    Raises:
        LLPFError: a layer lies on a smaller sphere than the one it is to walk to, and scaling it is not free; or ``to``
            or ``ticks`` make no sense. And what `find_path` raises.

    Example:
        >>> path = walk_to_origin("a.pt", "digits/resnet", to="b.pt", max_loss=0.1)
        >>> path.quality.variances
    """
    options = SearchOptions(max_loss, tolerance, budget, lr, momentum, batch_size, points, sample, seed)
    search = origin_search(a, load_task(task), method or LLPF(), options, to, ticks, compute, knots, callbacks, resume)
    search.warn()
    return descend(search).path


def origin_search(
    a: Weights | str | FilePath, task: Task, method: LLPF, options: SearchOptions,
    to: float | Weights | str | FilePath | None = None, ticks: int | None = None, compute: Compute | None = None,
    knots: Knots | None = None, callbacks: Sequence[Callback] = (), resume: Snapshot | None = None,
) -> Search:  # fmt: skip
    """The search of `walk_to_origin`, ready for `descend`."""
    start = _fitted(a, task, "A")
    end = _fitted(to, task, "the network that 'to' names") if isinstance(to, str | FilePath | Mapping) else to
    return Search(start, start, task, Descent(method, end, ticks), options, compute, knots, callbacks, resume)


def descend(search: Search) -> OriginQuality:
    """Run a search towards the origin; the quality of its path."""
    found = OriginQuality.of(search.run())
    found.path.quality = found
    return found


def _fitted(model: Weights | str | FilePath, task: Task, name: str) -> Weights:
    """A complete state dict that fits the task's model."""
    weights = (
        dict(model) if isinstance(model, Mapping) else preflight.fitted(checkpoint.read(model), task.model).weights
    )
    preflight.raise_errors(preflight.fits(weights, task.model, name))
    full = preflight.complete(weights, state(task.model))
    return clone(full) if isinstance(model, Mapping) else full
