"""The methods by name: ours, and those of installed packages (entry points of the group ``llpf_plugin.methods``).

Names are listed without importing what they name.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from llpf_plugin.errors import LLPFError, SpecificationError
from llpf_plugin.methods.base import Method
from llpf_plugin.tasks.packages import declared, load
from llpf_plugin.tasks.specification import explained, find, nearest

BUILT_IN: dict[str, str] = {
    "llpf": "llpf_plugin.llpf.method:LLPF",
    "sphere-curve": "llpf_plugin.methods.baselines:SphereCurve",
    "bezier": "llpf_plugin.methods.baselines:Bezier",
    "autoneb": "llpf_plugin.methods.baselines:AutoNEB",
    "learned-matching": "llpf_plugin.methods.baselines:LearnedMatching",
    "linear": "llpf_plugin.methods.baselines:Linear",
    "finetune": "llpf_plugin.methods.baselines:Finetune",
}
"""Name to ``module:class``, in the order in which they are listed and compared."""

GROUP = "llpf_plugin.methods"


def known() -> dict[str, str]:
    """Every name with the ``module:class`` that it stands for; ours come first and cannot be replaced."""
    others = {name: point.value for name, point in declared(GROUP).items() if name not in BUILT_IN}
    return {**BUILT_IN, **others}


def method_class(spec: str) -> type[Method]:
    """The class of a method.

    Args:
        spec: a known name; ``module:Class``; or ``file.py:Class``.

    Raises:
        LLPFError: there is no such method, or what is named is not one.
    """
    names = known()
    if spec not in names and ":" not in spec:
        raise LLPFError(
            f"there is no method {spec!r}{nearest(spec, list(names))} Your own: file.py:Class or module:Class"
        )
    if spec in BUILT_IN:
        found = find(names[spec], here=False)
    else:
        found = load(declared(GROUP)[spec]) if spec in names else find(spec)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise SpecificationError(f"{spec!r} is not a method: it must be a subclass of llpf_plugin.methods.Method")
    return found


def make_method(spec: str | Method, arguments: Mapping[str, Any] | None = None) -> Method:
    """A method from its name and its settings.

    Args:
        spec: a `Method`, or as in `method_class`.
        arguments: settings that are not left at their default.

    Raises:
        LLPFError: an unknown method or setting, or a value that the setting does not take.
    """
    if isinstance(spec, Method):
        return spec
    cls = method_class(spec)
    settings, given = {f.name: f for f in fields(cls)}, dict(arguments or {})
    for name, value in given.items():
        if name not in settings:
            raise LLPFError(f"the method {spec!r} has no setting {name!r}{nearest(name, list(settings))}")
        if value is None and "none" in settings[name].metadata.get("choices", ()):
            given[name] = "none"  # one of the choices, which key=value reads as no value
    with explained(f"making the method {spec!r}"):
        return cls(**given)
