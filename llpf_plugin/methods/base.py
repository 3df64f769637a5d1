"""What a method is: its settings as a value, and how it binds to a task and a goal.

A `Method` is a frozen dataclass; its fields are all that a user can set, with plain types and defaults. `Method.bind`
makes a `Plan` of it for one pair of models: which stretches of the path are to be searched, and the `Solver` of each.
The loop that runs the plan is `llpf_plugin.search`; it knows no method. Nothing here imports torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from llpf_plugin.errors import LLPFError
from llpf_plugin.records import Outcome, Record, Tick

if TYPE_CHECKING:
    from torch import Tensor

    from llpf_plugin.evaluation.goal import Goal
    from llpf_plugin.geometry.weights import Weights
    from llpf_plugin.preflight.checks import Finding
    from llpf_plugin.tasks.task import Task
    from llpf_plugin.workspace import Workspace

BUDGET = 20_000
"""Gradient steps of a search where neither the user nor the method says how many."""


@dataclass(frozen=True)
class Stretch(Record):
    """A piece of the path that is to be searched, from knot to knot.

    One whose end comes before its start on the path is walked backwards, and its knots are reversed.

    Attributes:
        start, end: identifiers of its knots.
        leg: its leg, on a path across variance spheres.
        open: walk towards the origin; the end is the last knot that is reached.
        losses: of a repair, where the path was found to lie above the goal: places, in segments from the start of the
            stretch, with the training loss measured there.
        steps: of a repair: gradient steps.
        lr: of a repair: a factor on the learning rate.
    """

    start: int
    end: int
    leg: str = ""
    open: bool = False
    losses: tuple[tuple[float, float], ...] = ()
    steps: int = 0
    lr: float = 1.0

    @property
    def repairs(self) -> bool:
        """Whether this is a piece of a path that was found and measured before."""
        return bool(self.losses)


@dataclass(frozen=True)
class TrainState:
    """The state of a method that trains: how many gradient steps it has taken."""

    steps: int = 0


@dataclass(frozen=True)
class Step:
    """What one step of a solver did.

    Attributes:
        state: the next state, a frozen dataclass of JSON values.
        knot: whether the model now stands on a new knot of the path.
        tick: for the record, None where nothing was done.
        outcome: how the search of this stretch ended, None while it continues.
    """

    state: Any
    knot: bool = False
    tick: Tick | None = None
    outcome: Outcome | None = None


class Solver(Protocol):
    """Searches one stretch, step by step; it owns the tensors, its state is a small value.

    Attributes:
        closes_with: the kind of the knots of `closing`: ``closing`` where they only follow a walk, ``curve`` where they
            are points of a path that was trained as a whole.
    """

    closes_with: ClassVar[str]

    def init(self, start: Weights, end: Weights) -> Any:
        """Place the model at the start of the stretch; the first state."""

    def step(self, state: Any) -> Step:
        """One step."""

    def knot(self) -> Weights:
        """A copy, on the CPU, of the point that the search stands on."""

    def closing(self) -> list[Weights]:
        """The knots between the last settled one and the end of the stretch; not asked for where that is open."""

    def save(self) -> dict[str, Tensor]:
        """Every tensor that, with the state, lets a resumed search continue bit by bit the same."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """After `init`, go to where `save` was called."""


@runtime_checkable
class MovesEnd(Protocol):
    """What a solver is besides if its path ends at a network that computes what B does, in place of B."""

    def equivalent(self) -> Weights:
        """The complete state dict of that network as the search stands, on the CPU."""


@dataclass(frozen=True)
class Problem:
    """What a method is bound to.

    Attributes:
        workspace: the model, its data, and the counter of gradient steps.
        start, end: coordinates of A and of B.
        goal: the loss to stay under.
        lr: the learning rate: the user's, the one that was found, or the task's.
        momentum: the user's, or the task's.
        spent: gradient steps before the search begins, such as those that found the learning rate.
        rest: what B has beside its coordinates, such as buffers.
    """

    workspace: Workspace
    start: Weights
    end: Weights
    goal: Goal
    lr: float
    momentum: float
    spent: int = 0
    rest: Weights = field(default_factory=dict)

    def steps(self, asked: int | None) -> int:
        """Gradient steps of a method that trains: those that were asked for, or all that are left of the budget."""
        return asked or max(1, (self.workspace.budget or 0) - self.spent)


@dataclass(frozen=True)
class Plan:
    """A method that is bound to a pair.

    Attributes:
        solver: makes the solver of a stretch.
        chain: knots of the path before the first step; A is 0, B is 1, others are reserved.
        stretches: what is searched between them, in this order.
        mend: makes the solver of a repair, from its stretch and the knots there, ends included; None where a path stays
            as it was found.
        repairs: rounds of repair at most.
        slack: loss that dropping a knot may cost.
        most: knots of a stretch that are kept at most, whatever that costs; None for no limit.
    """

    solver: Callable[[Stretch], Solver]
    chain: tuple[int, ...] = (0, 1)
    stretches: tuple[Stretch, ...] = (Stretch(0, 1),)
    mend: Callable[[Stretch, Sequence[Weights]], Solver] | None = None
    repairs: int = 0
    slack: float = 0.0
    most: int | None = None


@dataclass(frozen=True)
class Terms:
    """What a method says about a search by itself, so that a user need not.

    Attributes:
        source: what says it, in words for errors.
        stated: ``batch_size``, ``lr`` and ``momentum``, as far as they are stated; a user may not say otherwise.
        least: gradient steps without which it cannot end.
        budget: gradient steps where the user gives no budget.
    """

    source: str = ""
    stated: Mapping[str, float] = field(default_factory=dict)
    least: int = 1
    budget: int = BUDGET


@dataclass(frozen=True)
class Method:
    """Base class of methods: subclasses are frozen dataclasses whose fields are their settings.

    Attributes:
        name: how the command line and reports call it.
        source: the paper or the place that it comes from.
        binds_with: ``module:function`` of ``(method, problem)``, for methods whose settings are to be listed without
            importing torch; other methods override `bind`.
        terms_with: ``module:function`` of ``(method, task)``, likewise for `terms`.
        finds_with: ``module:function`` of ``(method, workspace)``, likewise for `findings`.
    """

    name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    binds_with: ClassVar[str] = ""
    terms_with: ClassVar[str] = ""
    finds_with: ClassVar[str] = ""

    def bind(self, problem: Problem) -> Plan:
        """What there is to search between A and B, and how; nothing is changed yet.

        Args:
            problem: the pair, its task and its goal.

        Raises:
            LLPFError: a setting makes no sense for this pair.
        """
        if not self.binds_with:
            raise NotImplementedError(f"{type(self).__name__} does not say how it binds to a task and a goal")
        plan: Plan = _named(self.binds_with)(self, problem)
        return plan

    def terms(self, task: Task) -> Terms:
        """What the method says about a search on a task by itself, such as what a schedule's file states.

        Raises:
            LLPFError: a setting makes no sense for this task.
        """
        terms: Terms = _named(self.terms_with)(self, task) if self.terms_with else Terms()
        return terms

    def findings(self, workspace: Workspace) -> Sequence[Finding]:
        """What the method leaves aside in a model, for a user to know before the search; the model is left as it was.

        Args:
            workspace: the model and its data.
        """
        found: Sequence[Finding] = _named(self.finds_with)(self, workspace) if self.finds_with else ()
        return found

    @property
    def seeks_rate(self) -> bool:
        """Whether a search looks for its learning rate where the user gives none."""
        return True

    def settings(self) -> dict[str, Any]:
        """The values of the fields, as JSON values where they are plain."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __post_init__(self) -> None:
        for f in fields(self):
            hint = f.type.__name__ if isinstance(f.type, type) else str(f.type)
            _check(f"{self.name}: {f.name}", getattr(self, f.name), hint, f.metadata)


def _named(place: str) -> Callable[..., Any]:
    """The function that ``module:function`` names."""
    module, _, function = place.partition(":")
    named: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return named


def setting(default: Any, help: str = "", *, within: str = "", choices: Sequence[str] = ()) -> Any:
    """A field of a method.

    Args:
        default: its value.
        help: one line for ``llpf methods NAME``.
        within: the interval that numbers must lie in, such as ``(0, 1]`` or ``[1, inf)``.
        choices: the texts that are allowed.
    """
    return field(default=default, metadata={"help": help, "within": within, "choices": tuple(choices)})


_TYPES = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,), "None": (type(None),)}


def _check(what: str, value: Any, hint: str, rule: Mapping[str, Any]) -> None:
    """Refuse a value of another type than the field's, and one that its rule does not allow.

    Raises:
        LLPFError: names the value and what it must be.
    """
    names = [name.strip() for name in hint.split("|")]
    plain = all(name in _TYPES for name in names)
    known = isinstance(value, tuple(kind for name in names for kind in _TYPES.get(name, ())))
    if plain and (not known or (isinstance(value, bool) and "bool" not in names)):  # to Python, a bool is an int
        raise LLPFError(f"{what} = {value!r}: it must be {' or '.join(names)}")
    if rule.get("choices") and value not in rule["choices"]:
        raise LLPFError(f"{what} = {value!r}: it must be one of {', '.join(rule['choices'])}")
    if rule.get("within") and isinstance(value, int | float) and not _lies(value, rule["within"]):
        raise LLPFError(f"{what} = {value:g}: it must be {in_words(rule['within'])}")


def in_words(interval: str) -> str:
    """An interval as people say it: ``(0, inf)`` is above 0, ``[1, inf)`` at least 1."""
    low, high = interval[1:-1].split(", ")
    if high != "inf":
        return f"in {interval}"
    return f"above {low}" if interval[0] == "(" else f"at least {low}"


def _lies(value: float, interval: str) -> bool:
    """Whether a number lies in an interval such as ``(0, 1]``."""
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    above = value > low if interval[0] == "(" else value >= low
    below = value < high if interval[-1] == ")" else value <= high
    return above and below
