"""``llpf point``: the model at any place of a path that was found."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from llpf_cli.convert import is_folder
from llpf_cli.options import option
from llpf_cli.places import check_free
from llpf_plugin.errors import UsageError

if TYPE_CHECKING:
    from llpf_plugin.checkpoint import Checkpoint
    from llpf_plugin.geometry import Weights
    from llpf_plugin.runs import StoredRun

PLACE, OUTPUT = Group("Place", sort_key=1), Group("Output", sort_key=2)
RUN = Parameter(name="RUN", help="The folder of a finished run.")
AT = option("t in [0, 1] by length of the path: 0 is A, 1 is B, or the end; mid [needed].", group=PLACE)
OUT = option("Where to write it, in A's format; a known suffix means that one [needed].", "-o", "--out", group=OUTPUT)


def point(
    run: Annotated[Path, RUN],
    /,
    *,
    at: Annotated[str | None, AT] = None,
    out: Annotated[str | None, OUT] = None,
) -> int:
    """Write the model at any place of a path that was found, in A's format."""
    if at is None:
        raise UsageError("--at is needed: a place on the path, 0 for A and 1 for B")
    t = _place(at)
    if out is None:
        raise UsageError("-o is needed: the file or the folder that the model is written to")
    from llpf_cli.results import show_place
    from llpf_cli.terminal import terminal
    from llpf_plugin.checkpoint import target, write
    from llpf_plugin.runs import held_file, open_run

    opened = open_run(run)
    weights = opened.path.at(t)
    form, stored = _form(opened, out, weights)
    place = target(out, form)
    with held_file(place):
        check_free(place)
        written = write(place, stored, form)
    console = terminal()
    for note in opened.notes:
        console.print(note, style="yellow", highlight=False, markup=False, soft_wrap=True)
    show_place(console, f"model at t = {t:g}", written)
    if 0 < t < 1 and any(name.endswith("running_mean") for name in weights):
        task = opened.asked.task
        console.print(
            f"its running statistics are those of A: llpf rebn {written} --task {task} -o OUT estimates them again",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    return 0


def _place(text: str) -> float:
    """A place on the path.

    Raises:
        UsageError: it is none.
    """
    try:
        t = 0.5 if text == "mid" else float(text)
    except ValueError:
        t = -1.0
    if not 0 <= t <= 1:
        raise UsageError(f"--at {text}: it must be a number in [0, 1], or mid")
    return t


def _network(folder: Path) -> Any:
    """The network of a folder of transformers, whose files may have other names than it has.

    Raises:
        LLPFError: it is no such folder.
    """
    from llpf_cli.families import build_hugging_face

    return build_hugging_face(str(folder), {}, "cpu")[0]


def _form(run: "StoredRun", out: str, weights: "Weights") -> "tuple[Checkpoint, Weights]":
    """A's form, which the merged model has too, or that of the place's suffix; and the weights as it has them."""
    from llpf_plugin.checkpoint import converted, plain_form, read
    from llpf_plugin.preflight import fitted

    merged = run.verdict.merged if run.verdict else None
    file = run.folder / merged.file if merged and merged.file else None
    as_read = like = plain_form(run.path.start)
    if file is not None and file.exists():
        as_read = read(file)
        like = read(file, names=run.path.start)
        if not run.path.knots[0].keys() <= like.weights.keys() and file.is_dir():
            like = fitted(as_read, _network(file))
    if _is_form_of(like, out):
        return like, weights
    if like.stored_form is None:
        return converted(like, Path(out), is_folder(out)), weights
    return converted(as_read, Path(out), is_folder(out)), dict(like.stored_form(weights))


def _is_form_of(like: "Checkpoint", out: str) -> bool:
    """Whether a place means the format that a checkpoint has."""
    if out.endswith("/"):
        return like.format == "shards"
    suffixes = {".pt", ".pth", ".bin", ".ckpt", ".safetensors"}
    own, wanted = like.path.suffix if like.format != "shards" else "", Path(out).suffix
    return wanted == own or wanted not in suffixes or {wanted, own} <= suffixes - {".safetensors"}
