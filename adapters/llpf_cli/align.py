"""``llpf align``: the units of one or more checkpoints in the order of the first, without data."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from llpf_cli.inputs import INPUTS, SPECIFICATIONS, InputOptions, network_of
from llpf_cli.options import STATES, TaskOptions, option
from llpf_cli.places import check_free
from llpf_plugin.documents import listed
from llpf_plugin.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from llpf_plugin.merging import Aligned, Source

OUTPUT = Group("Output", sort_key=2)
MODELS = Parameter(name="A B …", help="Checkpoints: .pt, .safetensors, or folders of shards.")
OUT = option("Where to write B aligned to A, in B's format; a folder for several.", "-o", "--out", group=OUTPUT)


def align(
    *models: Annotated[str, MODELS],
    model: Annotated[str | None, option(f"{SPECIFICATIONS}.", group=INPUTS)] = None,
    state: Annotated[str | None, option(STATES, group=INPUTS)] = None,
    task: Annotated[TaskOptions, Parameter(name="*", group=INPUTS)] = TaskOptions(),
    inputs: InputOptions = InputOptions(),
    out: Annotated[Path | None, OUT] = None,
) -> int:
    """Bring B's units nearest to A's; what it computes stays the same."""
    if len(models) < 2:
        raise UsageError("two checkpoints or more are needed: llpf align A B --model … -o OUT")
    if len({Path(name).resolve() for name in models}) < len(models):
        raise UsageError("a checkpoint is named twice: name every model once")
    if out is None:
        raise UsageError("-o is needed: the file that B aligned to A is written to, or a folder for several models")
    from llpf_cli.results import show_notes
    from llpf_cli.terminal import terminal
    from llpf_plugin.alignment import symmetry
    from llpf_plugin.checkpoint import write
    from llpf_plugin.merging import Source, align_to
    from llpf_plugin.runs import held, held_file

    network, example = network_of(task, model, inputs, models[0])
    known = symmetry(network, example)  # before the weights are read, for it takes as much memory as they do
    console = terminal()
    first, *others = (Source.of(name, network=network, state=state) for name in models)
    show_notes(console, [first, *others])
    with held(out) if len(others) > 1 else held_file(out):
        places = _places(others, out)
        aligned = [align_to(first, other, network, example, known) for other in others]
        for one, place in zip(aligned, places, strict=True):
            assert one.source.like is not None
            _show(console, one, first.name, write(place, one.matching.weights, one.source.like))
    return 0


def _places(sources: "Sequence[Source]", out: Path) -> list[Path]:
    """Where each aligned model is written: to ``out``, or under its own name in it.

    Raises:
        RunError: something is there already.
        CheckpointError: the suffix is that of a different format.
    """
    from llpf_plugin.checkpoint import target
    from llpf_plugin.files import remove_leftovers
    from llpf_plugin.runs import name_runs

    wanted = [out]
    if len(sources) > 1:
        check_free(out)
        remove_leftovers(out)
        names = name_runs([Path(source.name) for source in sources])
        wanted = [out / name.replace("/", "-") for name in names]
    places = [target(place, s.like) for place, s in zip(wanted, sources, strict=True) if s.like is not None]
    for place in places:
        check_free(place)
    return places


def _show(console: "Console", one: "Aligned", to: str, place: Path) -> None:
    """What was matched, whether the function stayed the same, and where the result lies."""
    from llpf_cli.preview import show_matching
    from llpf_cli.results import show_place
    from llpf_plugin.runs import computes_the_same

    show_matching(console, one.matching, one.source.name, to)
    console.print(computes_the_same(one.difference), highlight=False, markup=False, soft_wrap=True)
    if one.source.like is not None and one.source.like.left_out:
        left = listed(one.source.like.left_out, 8, 100)
        console.print(f"left out of the written file: {left}", highlight=False, markup=False)
    show_place(console, "aligned model", place)
