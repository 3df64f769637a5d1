"""What a run was asked for, as its folder keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llpf_plugin.documents import quoted
from llpf_plugin.records import Record

FORMAT, VERSION = "llpf-run", 2
"""Of the files of a run's folder; version 1 was written by llpf-plugin 0.1."""

DIGESTS = "digests"
"""In ``run.json``: whether every file of tensors, and the state, has a digest."""

_MOVED = ("max_loss", "tolerance", "budget", "lr", "momentum", "batch_size", "points", "sample", "seed")
"""Settings of version 1 that every method shares."""


@dataclass(frozen=True)
class Asked(Record):
    """All that a run depends on; a resumed run must ask the same.

    Attributes:
        a: fingerprint of model A.
        b: of model B, or ``origin``.
        task: as it was named.
        task_arguments: of its factory.
        method: as it was named.
        method_settings: its settings, defaults included.
        search: the fields of `llpf_plugin.search.options.SearchOptions`.
        align: whether B was brought into A's order first.
        compute: the fields of `llpf_plugin.Compute`.
        to: where a walk to the origin ends.
        ticks: after which it ends.
    """

    a: str
    b: str
    task: str
    task_arguments: Mapping[str, Any] = field(default_factory=dict)
    method: str = "llpf"
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    align: str = "never"
    compute: Mapping[str, Any] = field(default_factory=dict)
    to: str | None = None
    ticks: int | None = None

    @classmethod
    def from_version_1(cls, values: Mapping[str, Any]) -> "Asked":
        """What a run of version 1 was asked for: one bag of settings for all methods."""
        settings = values.get("settings") or {}
        search = {name: settings[name] for name in _MOVED if name in settings}
        rest = {name: value for name, value in settings.items() if name not in (*_MOVED, "method")}
        return cls.from_json(
            {
                **values, "method": settings.get("method", "llpf"), "method_settings": rest, "search": search,
                "align": "always" if values.get("align") else "never",
            }
        )  # fmt: skip


CHANGEABLE = ("search.budget", "search.max_loss", "search.tolerance")
"""What a run may be asked for anew: it goes on with another budget, or towards another goal."""


_COMPLETE = ("method_settings.", "search.", "compute.")
"""Where every setting of a version is kept, defaults included."""


def differences(before: Asked, now: Asked) -> dict[str, str]:
    """What two runs ask differently: by name, both values in a few words.

    A setting that the version of ``before`` did not have, and that is off now, is no difference.
    """
    one, other = (_flat(asked.to_json()) for asked in (before, now))
    new = {name for name in other if name.startswith(_COMPLETE) and name not in one and other[name] in (None, False)}
    differ = [name for name in sorted((one | other).keys() - new) if one.get(name) != other.get(name)]
    return {name: f"{name} was {quoted(one.get(name), 60)}, is {quoted(other.get(name), 60)}" for name in differ}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one; lists as the JSON that they come back from."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{key}": inner for key, inner in _flat(value).items()}
        else:
            flat[name] = list(value) if isinstance(value, tuple) else value
    return flat
