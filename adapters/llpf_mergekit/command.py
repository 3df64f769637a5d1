"""Where ``llpf-mergekit-yaml`` begins: nothing is imported here, so that Ctrl-C is met from the first moment on."""

import sys


def run() -> None:
    """The console script; stopped while it is imported, it says so as it does later."""
    try:
        from llpf_mergekit.app import run as command
    except KeyboardInterrupt:
        print("llpf-mergekit-yaml: stopped", file=sys.stderr)
        sys.exit(130)
    command()
