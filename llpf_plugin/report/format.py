"""Numbers as people read them."""

from typing import Any

import numpy as np


def number(value: float | None) -> str:
    """Three significant digits, whole numbers in full; nothing for what is not known."""
    if value is None:
        return "not recorded"
    if not np.isfinite(value):
        return "not finite"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.2f} %"


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours."""
    if seconds is None:
        return "time not recorded"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes, as MiB or GiB."""
    return f"{count / 2**20:.3g} MiB" if count < 2**30 else f"{count / 2**30:.3g} GiB"


def plain(value: Any) -> str:
    """A setting's value."""
    return "default" if value is None else number(value) if isinstance(value, float) else str(value)
