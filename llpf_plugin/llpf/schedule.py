"""Schedule files: the paper's tables as YAML, a list of phases, each an explicit set of layers and its pace.

A file is a mapping with ``phases`` and, beside it, what holds for all of them::

    batch_size: 256
    correct: all
    settle: {threshold: 0.04, min_steps: 10, max_steps: 200, lr: 0.001, momentum: 0}
    phases:
      - {name: stem, layers: [conv1, bn1], ticks: 5000, step_a: 0.001}
      - {name: everything, layers: all, ticks: 5000, step_a: 0.001}

In place of ``phases``, ``cut`` takes cumulative phases from the model's layer order::

    cut: {phases: block, max_phases: 21, ticks: 400, step_a: 0.001, step_c: 0.002}

``correct`` says which tensors are held on their spheres (``matrices``, ``all`` or ``none``). ``moves: layers`` moves
all tensors of a layer as one vector. Settling ends when the mean of the last ``window`` losses reaches the threshold; a
file that names no window means its least number of steps. What a file states holds; what it does not is the run's.

Layers are patterns on whole components of parameter paths: ``layer1`` is everything below it and never ``layer10``;
``*`` stands for one component. Phases are not cumulative unless their lists are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from llpf_plugin.documents import parse_yaml, quoted, read_yaml
from llpf_plugin.errors import OrderError, ScheduleError
from llpf_plugin.geometry.moves import Moves, StepRule
from llpf_plugin.geometry.sphere import Correct
from llpf_plugin.geometry.weights import coordinates
from llpf_plugin.llpf.schedule_values import RATE, choice, number, only, settle_rule, whole
from llpf_plugin.llpf.settling import SettleRule
from llpf_plugin.llpf.step_control import Scheduled, StepControl
from llpf_plugin.order import cumulative, layer_order, matching, phases
from llpf_plugin.tasks.task import Task

_STEPS = ("step_c", "step_a", "step_f")
_DOCUMENT = ("batch_size", "correct", "moves", "settle", "phases", "cut")


@dataclass(frozen=True)
class Phase:
    """One phase of a walk: which coordinates move, how far a tick goes, and how it settles."""

    name: str
    active: frozenset[str]
    control: StepControl
    settle: SettleRule


@dataclass(frozen=True)
class Schedule:
    """A schedule for one model.

    Attributes:
        phases: in order.
        correct: the tensors that are held on their variance spheres, None where the file does not say.
        stated: of ``batch_size``, ``lr`` and ``momentum``, what the file says for all phases.
    """

    phases: tuple[Phase, ...]
    correct: Correct | None = None
    stated: Mapping[str, float] = field(default_factory=dict)

    @property
    def least(self) -> int:
        """Gradient steps, if every tick settles in its least number of steps."""
        return sum((p.control.ticks or 0) * p.settle.min_steps for p in self.phases)

    @property
    def most(self) -> int:
        """Gradient steps, if every tick settles in its largest number of steps."""
        return sum((p.control.ticks or 0) * p.settle.max_steps for p in self.phases)

    def within(self, ticks: int | None) -> "Schedule":
        """The schedule with no phase of more than so many ticks; None for no limit."""
        if ticks is None:
            return self
        own = [replace(p.control, ticks=min(p.control.ticks or ticks, ticks)) for p in self.phases]
        phases = tuple(replace(p, control=control) for p, control in zip(self.phases, own, strict=True))
        return replace(self, phases=phases)


def shipped() -> list[str]:
    """Names of the schedules that come with the package."""
    folder = resources.files("llpf_plugin.llpf") / "schedules"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def read_schedule(place: str, task: Task, base: SettleRule) -> Schedule:
    """A schedule from its file.

    Args:
        place: path of a YAML file, or the name of a shipped schedule.
        task: whose model the layers are looked up in.
        base: settling where the file says nothing; not its window, which is then the least number of steps.

    Raises:
        ScheduleError: no such file, not the form above, or a pattern that matches no parameter.
    """
    document = _load(place)
    only(document, _DOCUMENT, place)
    names = list(coordinates(task.model))
    settle = settle_rule(document.get("settle"), replace(base, window=None), place)
    moves: Moves = choice(document, "moves", get_args(Moves), place) or "tensors"
    entries = _cut(place, document["cut"], task) if "cut" in document else document.get("phases")
    if not isinstance(entries, list) or not entries:
        raise ScheduleError(f"{place}: it has no list 'phases'")
    phases = tuple(_phase(place, i, entry, settle, names, moves) for i, entry in enumerate(entries))
    return Schedule(phases, choice(document, "correct", get_args(Correct), place), _stated(place, document, settle))


def _stated(place: str, document: dict[str, Any], settle: SettleRule) -> dict[str, float]:
    """What the file says for all phases of batch size, learning rate and momentum."""
    stated = {k: getattr(settle, k) for k in RATE if k in (document.get("settle") or {})}
    if "batch_size" not in document:
        return stated
    return {"batch_size": whole(document["batch_size"], place, "batch_size"), **stated}


def _cut(place: str, entry: Any, task: Task) -> list[dict[str, Any]]:
    """Cumulative phases of the model's Follow-Data-Flow order, as entries of ``phases``."""
    where = f"{place}, cut"
    if not isinstance(entry, dict):
        raise ScheduleError(f"{where}: expected a mapping with 'phases' and 'ticks', got {quoted(entry)}")
    rest = dict(entry)
    mode, most = str(rest.pop("phases", "stage")), rest.pop("max_phases", None)
    most = None if most is None else whole(most, where, "max_phases")
    order = layer_order(task.model, task.example_inputs())
    slices = cumulative(order, phases(order, mode, most))
    return [{"name": name, **rest, "layers": sorted(active)} for name, active in slices.items()]


def _load(place: str) -> dict[str, Any]:
    if Path(place).is_file():
        document = read_yaml(Path(place), ScheduleError)
    elif place in shipped():
        text = (resources.files("llpf_plugin.llpf") / "schedules" / f"{place}.yaml").read_text(encoding="utf-8")
        document = parse_yaml(text, ScheduleError, place)
    else:
        raise ScheduleError(
            f"there is no schedule file {place!r}, and none of that name is shipped: {', '.join(shipped())}"
        )
    if not isinstance(document, dict):
        raise ScheduleError(f"{place}: expected a mapping with 'phases', got {type(document).__name__}")
    return document


def _phase(place: str, index: int, entry: Any, settle: SettleRule, names: list[str], moves: Moves) -> Phase:
    where = f"{place}, phase {index + 1}"
    if not isinstance(entry, dict):
        raise ScheduleError(f"{where}: expected a mapping with 'layers' and 'ticks', got {quoted(entry)}")
    only(entry, ("name", "layers", "ticks", "settle", *_STEPS), where)
    ticks = whole(entry.get("ticks"), where, "ticks")
    rule = StepRule(**{k: number(entry.get(k, 0.0), where, k) for k in _STEPS})
    layers = entry.get("layers", "all")
    if not isinstance(layers, str | list) or not layers:
        raise ScheduleError(f"{where}: layers = {quoted(layers)}; it must be a list of layers, or all")
    active = names if layers == "all" else _matching(layers, names, where)
    name = str(entry.get("name", f"phase {index + 1}"))
    return Phase(
        name, frozenset(active), Scheduled(ticks, rule, moves), settle_rule(entry.get("settle"), settle, where)
    )


def _matching(layers: str | list[Any], names: list[str], where: str) -> tuple[str, ...]:
    """The parameters that patterns name; YAML reads the layer ``0`` of a sequence as a number."""
    try:
        return matching([layers] if isinstance(layers, str) else map(str, layers), names, where)
    except OrderError as error:
        raise ScheduleError(str(error)) from error
