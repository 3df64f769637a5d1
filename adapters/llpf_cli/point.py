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
    form = _form(opened, out)
    place = target(out, form)
    with held_file(place):
        check_free(place)
        written = write(place, weights, form)
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


def _form(run: "StoredRun", out: str) -> "Checkpoint":
    """A's form, which the merged model has too; another one if the place has another suffix."""
    from llpf_plugin.checkpoint import converted, plain_form, read

    merged = run.verdict.merged if run.verdict else None
    file = run.folder / merged.file if merged and merged.file else None
    like = plain_form(run.path.start)
    if file is not None and file.exists():
        like = read(file, names=run.path.start)
        if not run.path.knots[0].keys() <= like.weights.keys() and file.is_dir():
            like = read(file, names=_network(file))
    suffixes = {".pt", ".pth", ".bin", ".ckpt", ".safetensors"}
    own = like.path.suffix if like.format != "shards" else ""
    wanted = Path(out).suffix
    same = wanted == own or wanted not in suffixes or {wanted, own} <= suffixes - {".safetensors"}
    if out.endswith("/"):
        same = like.format == "shards"
    return like if same else converted(like, Path(out), is_folder(out))
