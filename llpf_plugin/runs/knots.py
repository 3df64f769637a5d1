"""The knots of a run, one file each, read when they are asked for."""

from collections.abc import Collection, Iterable
from pathlib import Path

from llpf_plugin.files import flush
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.ranks.group import is_first, wait_for_all
from llpf_plugin.runs.tensors import read_tensors, write_tensors


class KnotFolder:
    """Knots as one safetensors file each; what is read is checked, unless it lies there as it was written or checked.

    Of several ranks the first writes and removes them, and all read them: the folder is one that all of them see.

    Args:
        folder: theirs.
        strict: a knot without a digest is refused.
    """

    def __init__(self, folder: Path, strict: bool = False) -> None:
        self.folder, self.strict = folder, strict
        self._discarded: list[int] = []
        self._unflushed: set[int] = set()
        self._known: dict[int, tuple[int, ...] | None] = {}

    def put(self, knot: int, weights: Weights) -> None:
        """Write a knot, which is on the disk after the next `flush`."""
        write_tensors(self._file(knot), weights, durable=False)
        wait_for_all()
        self._unflushed.add(knot)
        self._known[knot] = _mark(self._file(knot))

    def get(self, knot: int) -> Weights:
        """Read a knot.

        Raises:
            RunError: it is missing, damaged, or not what was written.
        """
        place = self._file(knot)
        mark = _mark(place)
        weights = read_tensors(place, self.strict, check=mark is None or mark != self._known.get(knot))
        self._known[knot] = mark
        return weights

    def flush(self) -> None:
        """Wait until all knots are on the disk; most are discarded before a state names them, and are not waited for.

        Raises:
            RunError: the disk is full.
        """
        flush(self._file(knot) for knot in sorted(self._unflushed.difference(self._discarded)))
        self._unflushed.clear()

    def discard(self, knots: Iterable[int]) -> None:
        """Note that knots may go once no saved state names them."""
        self._discarded.extend(knots)

    def sweep(self) -> None:
        """Remove what was discarded."""
        for knot in self._discarded if is_first() else ():
            self._file(knot).unlink(missing_ok=True)
        self._discarded.clear()

    def keep_only(self, knots: Collection[int]) -> None:
        """Remove what a killed process wrote or discarded after the last state that it saved."""
        names = {self._file(knot).name for knot in knots}
        for file in self.folder.glob("*.safetensors"):
            if file.name not in names and file.stem.isdecimal():
                file.unlink(missing_ok=True)

    def _file(self, knot: int) -> Path:
        return self.folder / f"{knot:06d}.safetensors"


def _mark(place: Path) -> tuple[int, ...] | None:
    """What changes when a file is written again; None where there is none."""
    try:
        found = place.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
