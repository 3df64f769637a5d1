"""Where the console scripts begin: little is imported here, so that Ctrl-C is met from the first moment on."""

import signal
import sys
from contextlib import suppress


def run() -> None:
    """``llpf`` and its like; however it is stopped while modules are imported, it says so as it does later."""
    pressed: list[int] = []

    def stop(number: int, _: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends the process, whatever it does
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    try:
        with suppress(ValueError):  # not the main thread, where nobody's Ctrl-C arrives
            signal.signal(signal.SIGINT, stop)
        from llpf_cli.app import run as command

        command()
    except (Exception, KeyboardInterrupt):
        if not pressed:
            raise
        # Imports that it strikes in C raise something else.
        print("llpf: stopped", file=sys.stderr)
        sys.exit(130)
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGINT, before)
