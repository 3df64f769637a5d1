"""Where results go: nothing is overwritten."""

import os
from pathlib import Path

from llpf_plugin.errors import RunError


def check_free(place: Path) -> None:
    """Refuse a place where something lies already, but for an empty folder.

    Raises:
        RunError: it does.
    """
    from llpf_plugin.files import is_empty

    if os.path.lexists(place) and not is_empty(place):
        raise RunError(f"{place} is there already, and nothing is overwritten: name another place")
