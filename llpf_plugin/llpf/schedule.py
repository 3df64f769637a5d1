"""Schedule files: the paper's tables as YAML, a list of phases, each an explicit set of layers and its pace.

A file is a mapping with ``phases`` and, beside it, what holds for all of them::

    settle: {threshold: 0.04, min_steps: 1, max_steps: 200, lr: 0.001}
    phases:
      - {name: stem, layers: [conv1, bn1], ticks: 5000, step_a: 0.001}
      - {name: everything, layers: all, ticks: 5000, step_a: 0.001}

In place of ``phases``, ``cut`` takes cumulative phases from the model's layer order::

    cut: {phases: block, max_phases: 21, ticks: 400, step_a: 0.001, step_c: 0.002}

Layers are patterns on whole components of parameter paths: ``layer1`` is everything below it and never ``layer10``;
``*`` stands for one component. Phases are not cumulative unless their lists are.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from llpf_plugin.errors import OrderError, ScheduleError
from llpf_plugin.geometry.moves import StepRule
from llpf_plugin.geometry.weights import coordinates
from llpf_plugin.llpf.settling import SettleRule
from llpf_plugin.llpf.step_control import Scheduled, StepControl
from llpf_plugin.order import cumulative, layer_order, matching, phases
from llpf_plugin.tasks.task import Task

_STEPS = ("step_c", "step_a", "step_f")
_COUNTS = ("min_steps", "max_steps", "window")
_SETTLE = ("threshold", *_COUNTS, "lr", "momentum")


@dataclass(frozen=True)
class Phase:
    """One phase of a walk: which coordinates move, how far a tick goes, and how it settles."""

    name: str
    active: frozenset[str]
    control: StepControl
    settle: SettleRule


def shipped() -> list[str]:
    """Names of the schedules that come with the package."""
    folder = resources.files("llpf_plugin.llpf") / "schedules"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def read_schedule(place: str, task: Task, base: SettleRule) -> tuple[Phase, ...]:
    """The phases of a schedule file.

    Args:
        place: path of a YAML file, or the name of a shipped schedule.
        task: whose model the layers are looked up in.
        base: settling where the file says nothing.

    Raises:
        ScheduleError: no such file, not the form above, or a pattern that matches no parameter.
    """
    document = _load(place)
    _only(document, ("settle", "phases", "cut"), place)
    names = list(coordinates(task.model))
    settle = _settle(document.get("settle"), base, place)
    entries = _cut(place, document["cut"], task) if "cut" in document else document.get("phases")
    if not isinstance(entries, list) or not entries:
        raise ScheduleError(f"{place}: it has no list 'phases'")
    return tuple(_phase(place, i, entry, settle, names) for i, entry in enumerate(entries))


def _cut(place: str, entry: Any, task: Task) -> list[dict[str, Any]]:
    """Cumulative phases of the model's Follow-Data-Flow order, as entries of ``phases``."""
    where = f"{place}, cut"
    if not isinstance(entry, dict):
        raise ScheduleError(f"{where}: expected a mapping with 'phases' and 'ticks', got {entry!r}")
    rest = dict(entry)
    mode, most = str(rest.pop("phases", "stage")), rest.pop("max_phases", None)
    if most is not None and (not isinstance(most, int) or most < 1):
        raise ScheduleError(f"{where}: max_phases = {most!r}; it must be a number of at least 1")
    order = layer_order(task.model, task.example_inputs())
    slices = cumulative(order, phases(order, mode, most))
    return [{"name": name, **rest, "layers": sorted(active)} for name, active in slices.items()]


def _load(place: str) -> dict[str, Any]:
    path = Path(place)
    if path.is_file():
        text: str | bytes = path.read_bytes()
    elif place in shipped():
        text = (resources.files("llpf_plugin.llpf") / "schedules" / f"{place}.yaml").read_text()
    else:
        raise ScheduleError(
            f"there is no schedule file {place!r}, and none of that name is shipped: {', '.join(shipped())}"
        )
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScheduleError(f"{place} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ScheduleError(f"{place}: expected a mapping with 'phases', got {type(document).__name__}")
    return document


def _phase(place: str, index: int, entry: Any, settle: SettleRule, names: list[str]) -> Phase:
    where = f"{place}, phase {index + 1}"
    if not isinstance(entry, dict):
        raise ScheduleError(f"{where}: expected a mapping with 'layers' and 'ticks', got {entry!r}")
    _only(entry, ("name", "layers", "ticks", "settle", *_STEPS), where)
    ticks = entry.get("ticks")
    if not isinstance(ticks, int) or isinstance(ticks, bool) or ticks < 1:
        raise ScheduleError(f"{where}: ticks = {ticks!r}; it must be a number of ticks of at least 1")
    rule = StepRule(**{k: _number(entry.get(k, 0.0), where, k) for k in _STEPS})
    layers = entry.get("layers", "all")
    if not isinstance(layers, str | list) or not layers:
        raise ScheduleError(f"{where}: layers = {layers!r}; it must be a list of layers, or all")
    active = names if layers == "all" else _matching(layers, names, where)
    name = str(entry.get("name", f"phase {index + 1}"))
    return Phase(name, frozenset(active), Scheduled(ticks, rule), _settle(entry.get("settle"), settle, where))


def _matching(layers: str | list[Any], names: list[str], where: str) -> tuple[str, ...]:
    """The parameters that patterns name; YAML reads the layer ``0`` of a sequence as a number."""
    try:
        return matching([layers] if isinstance(layers, str) else map(str, layers), names, where)
    except OrderError as error:
        raise ScheduleError(str(error)) from error


def _settle(entry: Any, base: SettleRule, where: str) -> SettleRule:
    if entry is None:
        return base
    if not isinstance(entry, dict):
        raise ScheduleError(f"{where}: settle = {entry!r}; it must be a mapping with any of {', '.join(_SETTLE)}")
    _only(entry, _SETTLE, f"{where}, settle")
    values = {k: getattr(base, k) for k in _SETTLE}
    for key, value in entry.items():
        number = _number(value, where, f"settle.{key}")
        if key in _COUNTS and number != int(number):
            raise ScheduleError(f"{where}: settle.{key} = {value!r} is not a whole number")
        values[key] = int(number) if key in _COUNTS else number
    if not 1 <= values["min_steps"] <= values["max_steps"]:
        told = f"min_steps = {values['min_steps']} and max_steps = {values['max_steps']}"
        raise ScheduleError(f"{where}: {told}; it must be 1 ≤ min_steps ≤ max_steps")
    return SettleRule(**values)


def _only(entry: dict[Any, Any], known: Iterable[str], where: str) -> None:
    """Refuse keys that mean nothing here."""
    unknown = [str(key) for key in entry if key not in known]
    if unknown:
        raise ScheduleError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(known)}")


def _number(value: Any, where: str, key: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ScheduleError(f"{where}: {key} = {value!r} is not a number") from error
    if not 0 <= number < math.inf:
        raise ScheduleError(f"{where}: {key} = {value!r} must be finite and not below 0")
    return number
