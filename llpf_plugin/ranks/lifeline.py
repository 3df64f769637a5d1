"""Which ranks are still there: each gives a sign of life every second, by a store that all of them reach.

A lost connection is noticed by whoever waits for it; a machine that is lost, or a rank that hangs, by its silence. So
every rank that is left ends within a minute, whatever it waits for.
"""

import _thread
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from llpf_plugin.errors import RankError

BEAT = 1.0
"""Seconds between two signs of life."""

SILENCE, SUSPECT = 30.0, 4.0
"""Seconds without a sign of life after which a rank counts as lost; and after which it does if a connection broke."""

SAME, GRACE = 3.0, 10.0
"""Seconds for this rank to meet an error that another one has ended with, and then to end by itself."""

DONE = "done"
"""What a rank says that ends when all do."""


class Lifeline(threading.Thread):
    """Gives this rank's signs of life, and listens for those of the others.

    Args:
        store: a connection of its own to the store.
        rank: of this process.
        names: what to call each rank: its host and process.
        host: the store itself, where this process keeps it: it is there as long as this is.

    Attributes:
        gone: why the search cannot go on, once another rank has ended.
        interrupts: whether the main thread is woken up then, by SIGTERM.
    """

    def __init__(self, store: Any, rank: int, names: list[str], host: Any = None) -> None:
        super().__init__(name="llpf-ranks", daemon=True)
        self.store, self.rank, self.names, self.host = store, rank, names, host
        self.gone: RankError | None = None
        self.interrupts, self.ending = False, False
        self._over, self._silence = threading.Event(), SILENCE
        self._heard = [(b"", time.monotonic())] * len(names)

    def run(self) -> None:
        """Until the search is over, or another rank is."""
        beat = 0
        while self.gone is None and not self._over.wait(BEAT):
            beat += 1
            try:
                self.store.set(f"beat/{self.rank}", str(beat))
                self.gone = self._look()
            except RuntimeError:
                self.gone = RankError(f"{self.names[0]} cannot be reached any more, so that this rank has ended")
        if self.gone is not None and not self.ending:
            self._end()

    def _look(self) -> RankError | None:
        """What is to be said of a rank that has ended, or is silent."""
        others = [rank for rank in range(len(self.names)) if rank != self.rank]
        found = self.store.multi_get([f"{kind}/{rank}" for kind in ("end", "beat") for rank in others])
        for rank, end in zip(others, found[: len(others)], strict=True):
            if end.decode() not in ("", DONE):
                return RankError(f"{self.names[rank]} has ended: {end.decode()}", told=True)
        now = time.monotonic()
        for rank, beat in zip(others, found[len(others) :], strict=True):
            before, since = self._heard[rank]
            self._heard[rank] = (before, since) if beat == before else (beat, now)
            if now - self._heard[rank][1] > self._silence:
                return RankError(f"{self.names[rank]} is lost: it was killed, hangs, or cannot be reached")
        return None

    def _end(self) -> None:
        """Wake the main thread up; where it cannot hear, say what there is to say and end the process."""
        if self.gone is not None and self.gone.told and self._over.wait(SAME):
            return
        if self.interrupts:
            _thread.interrupt_main(signal.SIGTERM)
        if not self._over.wait(GRACE):
            if not (self.gone is None or self.gone.told):
                print(self.gone, file=sys.stderr, flush=True)
            os._exit(1)

    def check(self) -> None:
        """Refuse to speak to ranks of which one has ended.

        Raises:
            RankError: says which.
        """
        if self.gone is not None:
            raise self.gone

    def explained(self, error: object) -> RankError:
        """Why ranks could not speak, as soon as it is known which of them has ended.

        Args:
            error: what was noticed, an exception or a sentence.
        """
        self._silence, until = SUSPECT, time.monotonic() + 2 * SUSPECT
        while self.gone is None and time.monotonic() < until:
            time.sleep(BEAT / 10)
        if self.gone is not None:
            return self.gone
        if isinstance(error, str):
            return RankError(error)
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return RankError(f"the ranks cannot speak to each other any more: {first}")

    def tell(self, end: str) -> None:
        """Let the others know how this rank ends; once."""
        if self.ending:
            return
        self.ending = True
        with suppress(RuntimeError):  # whoever keeps the store has ended
            self.store.set(f"end/{self.rank}", end)

    def end_of_first(self, patience: float) -> str:
        """How rank 0 has ended, if it says so in time."""
        return self._read(["end/0"], patience)[0]

    def part(self, patience: float) -> None:
        """Nothing more is to be read; rank 0 stays until no other reads, for the store may be its own."""
        if self.rank > 0:
            with suppress(RuntimeError):
                self.store.set(f"left/{self.rank}", "yes")
        else:
            self._read([f"left/{rank}" for rank in range(1, len(self.names))], patience)
        self._over.set()

    def _read(self, keys: list[str], patience: float) -> list[str]:
        """What stands there as soon as something does; empty text where that is not in time."""
        until, found = time.monotonic() + patience, [""] * len(keys)
        with suppress(RuntimeError):
            while not all(found) and time.monotonic() < until:
                found = [value.decode() for value in self.store.multi_get(keys)]
                time.sleep(BEAT / 20)
        return found
