"""Ctrl-C outside of a search, which has a way of its own to stop (`llpf_cli.progress_bar.StopOnCtrlC`)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def noticed() -> Iterator[list[int]]:
    """What Ctrl-C is noted in while the block runs, besides being an exception; a second one ends the process.

    Where something else is done about it, or nothing as in a background job of a script, that stays so.
    """
    pressed: list[int] = []

    def stop(number: int, _: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
