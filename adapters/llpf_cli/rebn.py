"""``llpf rebn``: running statistics of BatchNorm, estimated again on training data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from llpf_cli.options import OUTPUT, PATH, STATE, ComputeOptions, TaskOptions, option
from llpf_cli.places import check_free
from llpf_plugin.documents import listed
from llpf_plugin.errors import UsageError

if TYPE_CHECKING:
    from llpf_plugin.evaluation import Score

MODEL = Parameter(name="X", help="A checkpoint: .pt, .safetensors, or a folder.")
SAMPLE = option("Training examples to estimate on [all].", group=PATH)
OUT = option("Where to write it, in X's format [needed].", "-o", "--out", group=OUTPUT)


def rebn(
    model: Annotated[str, MODEL],
    /,
    *,
    task: TaskOptions = TaskOptions(),
    state: Annotated[str | None, STATE] = None,
    sample: Annotated[int | None, SAMPLE] = None,
    out: Annotated[Path | None, OUT] = None,
    compute: ComputeOptions = ComputeOptions(),
) -> int:
    """Estimate the running statistics of BatchNorm again, on the training data of a task."""
    task.named(model)
    if out is None:
        raise UsageError("-o is needed: the file or the folder that the model is written to")
    if sample is not None and sample < 1:
        raise UsageError(f"--sample {sample}: it must be at least 1")
    from llpf_cli.results import show_notes, show_place
    from llpf_cli.terminal import terminal
    from llpf_plugin.checkpoint import target, write
    from llpf_plugin.evaluation import reestimated
    from llpf_plugin.merging import Source
    from llpf_plugin.preflight import complete, fits, raise_errors
    from llpf_plugin.runs import held_file
    from llpf_plugin.workspace import Workspace

    loaded, console = task.load(model), terminal()
    source = Source.of(model, state=state).fitted(loaded.model)
    assert source.like is not None
    place = target(out, source.like)
    show_notes(console, [source])
    raise_errors(fits(source.weights, loaded.model, source.name))
    workspace = Workspace(loaded, compute.made())
    with held_file(place):
        check_free(place)
        found = reestimated(workspace, complete(source.weights, loaded.model.state_dict()), sample)
        write(place, found.weights, source.like)
    for split, before in found.before.items():
        words = f"{split}: {_words(before)} as saved, {_words(found.after[split])} estimated again"
        console.print(words, highlight=False)
    if source.like.left_out:
        left = listed(source.like.left_out, 8, 100)
        console.print(f"left out of the written file: {left}", highlight=False, markup=False, soft_wrap=True)
    show_place(console, "written", place)
    return 0


def _words(score: "Score") -> str:
    """A loss, with the accuracy where there is one."""
    return f"loss {score.loss:.4g}" + ("" if score.accuracy is None else f" ({score.accuracy:.2%})")
