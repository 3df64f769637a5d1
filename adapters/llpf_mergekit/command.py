"""Where ``llpf-mergekit-yaml`` begins; stopped while it is imported, it says so as it does later."""

import sys

try:
    from llpf_mergekit.app import run
except KeyboardInterrupt:
    print("llpf-mergekit-yaml: stopped", file=sys.stderr)
    sys.exit(130)

__all__ = ["run"]
