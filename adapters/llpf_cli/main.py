"""Where the console scripts begin; stopped while the command line is imported, they say so as they do later."""

import sys

try:
    from llpf_cli.app import run
except KeyboardInterrupt:
    print("llpf: stopped", file=sys.stderr)
    sys.exit(130)

__all__ = ["run"]
