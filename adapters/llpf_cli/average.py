"""``llpf merge`` without a task: the mean of aligned models on the variance spheres, and what nobody could check."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llpf_cli.config import command_line, words_of
from llpf_cli.inputs import InputOptions, network_of
from llpf_cli.options import MethodOptions, TaskOptions, checked
from llpf_plugin.errors import OrderError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from llpf_plugin.merging import Align, Source

UNCHECKED = "not checked, since there are no data: the loss of the merged model, of the ends, and of what lies between"


def average(
    models: Sequence[str], state: str | None, task: TaskOptions, model: str, inputs: InputOptions,
    method: MethodOptions, align: "Align", pick: str, out: Path, needless: Sequence[Any], flags: Mapping[str, bool],
) -> int:  # fmt: skip
    """Write the mean of the models, each aligned to the first, and say what is not known of it.

    Args:
        models: checkpoints, at least two.
        state: which weights of each.
        task: its arguments are the model's; it names none.
        model: names the module.
        inputs: what the module is called with.
        method: ``linear``, or else it is wrong usage.
        align: whether the others are aligned to the first; ``auto`` does so where the model can be traced.
        pick: ``best`` and ``mid`` are the middle; ``end``, or a number, of two models only.
        out: a folder that does not exist, or is empty.
        needless: options that need data.
        flags: more of them, by name.

    Raises:
        UsageError: what was asked for needs data.
        LLPFError: the models do not fit, or the folder is in use.
    """
    shares = _shares(len(models), pick)
    _check_needs_no_data(method, [*(w for o in needless for w in words_of(o)), *(f for f in flags if flags[f])])
    network, example = network_of(task, model, inputs)
    from llpf_cli.results import show_notes
    from llpf_cli.terminal import terminal
    from llpf_plugin.checkpoint import write
    from llpf_plugin.files import plain, write_json
    from llpf_plugin.merging import Source, mean_on_spheres
    from llpf_plugin.runs import RunFolder, held

    with held(out):
        run = RunFolder(out)
        run.check_free()
        run.clear()
        known, notes = _symmetry(network, example, align)
        console, sources = terminal(), [Source.of(name, network=network, state=state) for name in models]
        show_notes(console, sources)
        weights, more = _aligned(console, sources, network, example, known)
        mean, like = mean_on_spheres(weights, shares, network), sources[0].like
        assert like is not None
        place = write(out / "merged", mean, like)
        notes += [*more, UNCHECKED, *_statistics(network)]
        write_json(out / "merged.json", plain({"command": command_line(), "shares": shares, "notes": notes}))
    return _say(console, len(models), notes, place)


def _check_needs_no_data(method: MethodOptions, words: Sequence[str]) -> None:
    """Refuse what means nothing without data."""
    if method.method != "linear":
        raise UsageError(
            f"--method {method.method} needs data: give --task, or --method linear to average without data"
        )
    method.made()
    if words:
        raise UsageError(f"{words[0]} needs data: leave it out, or give --task in place of --model")


def _statistics(network: Any) -> list[str]:
    """What there is to say of running statistics, if there are any."""
    from llpf_plugin.evaluation import statistics_of

    count = len(statistics_of(network)) // 2
    words = "are means as well: llpf rebn estimates them again, before the model is used"
    return [f"the running statistics of {count} normalization{'' if count == 1 else 's'} {words}"] if count else []


def _say(console: "Console", count: int, notes: Sequence[str], place: Path) -> int:
    from rich.markup import escape

    from llpf_cli.results import show_place

    console.print(f"the mean of {count} models, every matrix on the variance sphere between theirs", highlight=False)
    for note in notes:
        console.print(f" [yellow]–[/] {escape(note)}", highlight=False, soft_wrap=True)
    show_place(console, "merged model", place)
    return 0


def _shares(count: int, pick: str) -> list[float]:
    """What each model counts."""
    from llpf_plugin.quality import check_pick

    with checked():
        t = check_pick(pick)
    if count == 2:
        t = t if t is not None else 1.0 if pick == "end" else 0.5
        return [1 - t, t]
    if pick not in ("best", "mid"):
        raise UsageError(f"--pick {pick} is a place between two models, and {count} are named")
    return [1 / count] * count


def _symmetry(network: Any, example: Any, align: "Align") -> tuple[Any, list[str]]:
    """What may be done to units, None if nothing is; and what there is to say of that.

    Raises:
        OrderError: nothing can be derived, and the models were to be aligned whatever comes.
    """
    from llpf_plugin.alignment import symmetry

    try:
        return (None if align == "never" else symmetry(network, example)), []
    except OrderError as error:
        if align == "always":
            raise
        return None, [f"all units stay as they are: no symmetry can be derived: {error}"]


def _aligned(
    console: "Console", sources: "Sequence[Source]", network: Any, example: Any, known: Any
) -> tuple[list[Any], list[str]]:
    """All models, complete, in the order of the first; and what there is to say of that."""
    from llpf_cli.preview import show_matching
    from llpf_plugin.merging import align_to
    from llpf_plugin.preflight import check_beside, check_pair
    from llpf_plugin.runs import computes_the_same

    first, *others = sources
    found, notes = list[Any](), list[str]()
    for other in others:
        check_beside(first.like, other.like, (first.name, other.name))
        start, weights = check_pair(first.weights, other.weights, network, (first.name, other.name))
        found = found or [start]
        if known is not None:
            one = align_to(first, other, network, example, known)
            weights = one.matching.weights
            show_matching(console, one.matching, other.name, first.name)
            notes.append(f"{other.name}'s units were {one.matching.symmetry.done}: {computes_the_same(one.difference)}")
        found.append(weights)
    return found, notes
