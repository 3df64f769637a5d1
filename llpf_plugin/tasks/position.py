"""Where a loader that keeps its own position stands, such as torchdata's ``StatefulDataLoader``, as JSON has it."""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from llpf_plugin.errors import RunError, TaskError
from llpf_plugin.tasks.foreign import explained

_WHAT = "the position of the training loader"


class Position:
    """The position of a loader with ``state_dict()`` and ``load_state_dict()``.

    Args:
        loader: whose position it is.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self._first: Any = None

    def begin(self, saved: Any | None) -> None:
        """Go to where a search stopped, or to where the loader began: every search gets the same batches.

        Args:
            saved: of `now`, None for the beginning.

        Raises:
            RunError: what was saved is not a position of this loader.
        """
        if saved is None and self._first is None:
            return
        self.mark()
        try:
            self._go(self._first if saved is None else decoded(saved))
        except Exception as error:
            raise RunError(
                f"{_WHAT} that was saved is not one of this loader ({type(error).__name__}: {error}): the loader has "
                "changed, or the run was edited"
            ) from error

    def mark(self) -> None:
        """Note where the loader begins, before its first batch."""
        if self._first is None:
            self._first = self._now()

    def now(self) -> Any | None:
        """Where the loader stands, None before its first batch."""
        return None if self._first is None else encoded(self._now())

    @contextmanager
    def kept(self) -> Iterator[None]:
        """The loader stands afterwards where it stands now, whatever is read from it."""
        here = self._now()
        try:
            yield
        finally:
            self._go(here)

    def _now(self) -> Any:
        with explained(f"taking {_WHAT}", TaskError):
            state = self.loader.state_dict()  # first, for it may begin an epoch, which draws from the generators
        return state, [generator.get_state() for generator in self._generators()]

    def _go(self, there: Any) -> None:
        state, generators = there
        self.loader.load_state_dict(state)
        self.loader.state_dict()  # torchdata goes there now, and so draws no less and no more from the generators
        for generator, own in zip(self._generators(), generators, strict=True):
            generator.set_state(own)

    def _generators(self) -> list[torch.Generator]:
        """Those that the loader and its samplers draw from: its own state does not tell what the next epoch will be."""
        batches = getattr(self.loader, "batch_sampler", None)
        parts = (self.loader, getattr(self.loader, "sampler", None), batches, getattr(batches, "sampler", None))
        found = (getattr(part, "generator", None) for part in parts)
        return list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())


def position_of(loader: Any) -> Position | None:
    """The position of a loader, None of one that does not keep it."""
    kept = all(callable(getattr(loader, name, None)) for name in ("state_dict", "load_state_dict"))
    return Position(loader) if kept else None


def begin(data: Any, saved: Any | None) -> None:
    """Go to where the training batches of a search stood, if they have a `Position` (see `Position.begin`)."""
    if (position := getattr(data, "position", None)) is not None:
        position.begin(saved)
        data.rewind()


def now(data: Any) -> Any | None:
    """Where the training batches of a search stand, None if that is not known or if none was drawn."""
    position = getattr(data, "position", None)
    return None if position is None else position.now()


def encoded(value: Any) -> Any:
    """Nested values as JSON has them; of what JSON lacks, one mapping with one name that begins with a colon.

    Raises:
        TaskError: a value is neither plain nor a tensor.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list):
        return [encoded(one) for one in value]
    if isinstance(value, Tensor):
        data = value.detach().cpu().contiguous()
        kind, bits = str(data.dtype).removeprefix("torch."), data.flatten().view(torch.uint8).numpy().tobytes()
        return {":tensor": [kind, list(data.shape), base64.b64encode(bits).decode()]}
    if isinstance(value, bytes):
        return {":bytes": base64.b64encode(value).decode()}
    if isinstance(value, tuple):
        return {":tuple": [encoded(one) for one in value]}
    if isinstance(value, Mapping):
        return {":mapping": [[encoded(key), encoded(one)] for key, one in value.items()]}
    raise TaskError(
        f"{_WHAT} holds a {type(value).__name__}: only numbers, text, bytes, tensors, and lists, tuples and mappings "
        "of these can be saved; let the data set's state_dict() give such"
    )


def decoded(value: Any) -> Any:
    """Inverse of `encoded`."""
    if isinstance(value, list):
        return [decoded(one) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    return _KINDS[kind](held)


def _tensor(held: Any) -> Tensor:
    kind, shape, text = held
    dtype = getattr(torch, str(kind))
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=dtype).view(shape)


_KINDS: Mapping[str, Callable[[Any], Any]] = {
    ":tensor": _tensor,
    ":bytes": base64.b64decode,
    ":tuple": lambda held: tuple(decoded(held)),
    ":mapping": lambda held: {decoded(key): decoded(one) for key, one in held},
}
