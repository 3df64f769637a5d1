"""What a search's time goes to: seconds and forward passes of walking, of measuring, and of everything else."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from llpf_plugin.records import Spent

__all__ = [
    "Clock",
]

Kind = Literal["walking", "measuring", "other"]


class Clock:
    """Counts what is spent on what; everything is ``other`` until `on` says otherwise.

    Args:
        spent: what earlier sessions spent.
    """

    def __init__(self, spent: Mapping[str, Spent] | None = None) -> None:
        self._spent = {"walking": Spent(), "measuring": Spent(), "other": Spent(), **(spent or {})}
        self._kind, self._since = "other", time.monotonic()

    def passed(self, examples: int) -> None:
        """So many examples went forward through the model."""
        self._add(0.0, examples)

    @contextmanager
    def on(self, kind: Kind) -> Iterator[None]:
        """What happens inside is spent on ``kind``, but for what an inner `on` takes over."""
        before = self._switch(kind)
        try:
            yield
        finally:
            self._switch(before)

    def spent(self) -> dict[str, Spent]:
        """What was spent so far, by kind."""
        self._switch(self._kind)
        return dict(self._spent)

    def _switch(self, kind: str) -> str:
        now, before = time.monotonic(), self._kind
        self._add(now - self._since, 0)
        self._kind, self._since = kind, now
        return before

    def _add(self, seconds: float, passes: int) -> None:
        so_far = self._spent[self._kind]
        self._spent[self._kind] = Spent(so_far.seconds + seconds, so_far.forward_passes + passes)
