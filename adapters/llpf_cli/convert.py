"""``llpf convert``: a checkpoint in another format, with the same names, dtypes, ties and bits."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from llpf_cli.options import STATES, option
from llpf_plugin.documents import listed
from llpf_plugin.errors import UsageError

if TYPE_CHECKING:
    from llpf_plugin.checkpoint import Checkpoint

NAMES, FORM = Group("Weights", sort_key=1), Group("Output", sort_key=2)
IN = Parameter(name="IN", help="A checkpoint: .pt, .ckpt, .safetensors, or a folder.")
OUT = Parameter(name="OUT", help="A .pt, .pth, .bin, .ckpt or .safetensors file, or a folder (with a / at its end).")
STRIP = option("Take this prefix off all names; tensors without it are left out.", group=NAMES)
SHARD = option("The largest file of a folder: 500MB, 5GB [5GB].", group=FORM)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", re.IGNORECASE)


def convert(
    source: Annotated[str, IN],
    out: Annotated[str, OUT],
    /,
    *,
    state: Annotated[str | None, option(STATES, group=NAMES)] = None,
    strip: Annotated[str | None, STRIP] = None,
    shard_size: Annotated[str, SHARD] = "5GB",
) -> int:
    """Write a checkpoint in another format."""
    size = _bytes(shard_size)
    from llpf_cli.places import check_free
    from llpf_cli.terminal import terminal
    from llpf_plugin.checkpoint import converted, read, without_prefix, write
    from llpf_plugin.runs import held_file

    place = Path(out)
    with held_file(place):
        check_free(place)
        found = read(source, state)
        form = converted(found if strip is None else without_prefix(found, strip), place, is_folder(out), size)
        written = write(place, form.weights, form)
    console = terminal()
    for note in (_said(found, strip), *_left_out(form)):
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    from llpf_cli.results import show_place

    show_place(console, "written", written)
    return 0


def is_folder(out: str) -> bool:
    """Whether a place is to be a folder: one that is there, one with a slash at its end, or one without a suffix."""
    return out.endswith("/") or Path(out).is_dir() or not Path(out).suffix


def _bytes(text: str) -> int:
    """A size such as ``5GB``.

    Raises:
        UsageError: it is none.
    """
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * 1000 ** " KMGT".index(found[2].upper() or " ")) if found else 0
    if size < 1:
        raise UsageError(f"--shard-size {text}: write a size such as 500MB or 5GB")
    return size


def _said(found: "Checkpoint", strip: str | None) -> str:
    """What was read, in one line."""
    kinds: dict[str, int] = {}
    for tensor in found.weights.values():
        kinds[str(tensor.dtype).removeprefix("torch.")] = kinds.get(str(tensor.dtype).removeprefix("torch."), 0) + 1
    ties = f", {len(found.ties)} tied" if found.ties else ""
    return f"{len(found.weights)} tensors ({', '.join(f'{n} {k}' for k, n in kinds.items())}{ties})"


def _left_out(form: "Checkpoint") -> list[str]:
    named = listed(form.left_out, 8, 100)
    return [f"left out, since only weights are converted: {named}"] if form.left_out else []
