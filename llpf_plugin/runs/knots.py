"""The knots of a run, one file each, read when they are asked for."""

from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import save_file

from llpf_plugin.files import atomic_write
from llpf_plugin.geometry.weights import Weights
from llpf_plugin.runs.read import read_tensors


class KnotFolder:
    """Knots as one safetensors file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._discarded: list[int] = []

    def put(self, knot: int, weights: Weights) -> None:
        """Write a knot."""
        tensors = {k: t.detach().cpu().contiguous() for k, t in weights.items()}
        atomic_write(self._file(knot), lambda place: save_file(tensors, place))

    def get(self, knot: int) -> Weights:
        """Read a knot."""
        return read_tensors(self._file(knot))

    def discard(self, knots: Iterable[int]) -> None:
        """Note that knots may go once no saved state names them."""
        self._discarded.extend(knots)

    def sweep(self) -> None:
        """Remove what was discarded."""
        for knot in self._discarded:
            self._file(knot).unlink(missing_ok=True)
        self._discarded.clear()

    def _file(self, knot: int) -> Path:
        return self.folder / f"{knot:06d}.safetensors"
