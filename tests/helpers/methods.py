"""Every method that there is, with settings that suit the tiny tasks, and one that a user might write."""

import ast
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch

from llpf_plugin import Linear, Method
from llpf_plugin.geometry import Weights, assign, clone, coordinates, lerp
from llpf_plugin.llpf import LLPF
from llpf_plugin.methods import Outcome, Plan, Problem, Step, Stretch, known, make_method, setting
from llpf_plugin.records import Tick
from llpf_plugin.tasks import find

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_method.py"
"""A method as the documentation shows it."""

STEPS = 24
"""Gradient steps of methods that take a given number."""


@dataclass(frozen=True)
class Ladder(Method):
    """A user's method: the rungs of the straight line, each taken one gradient step down."""

    name: ClassVar[str] = "ladder"
    source: ClassVar[str] = "these tests"
    rungs: int = setting(5, "knots between the ends", within="[1, inf)")
    lr: float | None = setting(None, "learning rate [the task's]", within="(0, inf)")

    def bind(self, problem: Problem) -> Plan:
        """One stretch."""
        return Plan(lambda stretch: Climbing(self, problem, stretch))


@dataclass(frozen=True)
class Rung:
    """How many rungs have been climbed."""

    done: int = 0


class Climbing:
    """The solver of `Ladder`: every rung by itself, so that nothing but the rung's number is to be kept."""

    closes_with: ClassVar[str] = "closing"

    def __init__(self, method: Ladder, problem: Problem, stretch: Stretch) -> None:
        self.method, self.workspace, self.lr = method, problem.workspace, method.lr or problem.lr

    def init(self, start: Weights, end: Weights) -> Rung:
        """Stand on the start."""
        assign(self.workspace.model, start)
        self.start, self.end = start, end
        return Rung()

    def step(self, state: Rung) -> Step:
        """One rung, one gradient step."""
        t = (state.done + 1) / (self.method.rungs + 1)
        assign(self.workspace.model, lerp(self.start, self.end, t))
        loss = self.workspace.loss()
        self.workspace.backward(loss)
        value = float(loss.detach())
        with torch.no_grad():
            for p in self.workspace.model.parameters():
                if p.grad is None:  # the data do not reach it
                    continue
                p.sub_(self.lr * p.grad)
        tick = Tick("ladder", state.done, 1 - t, value, value, 1, lr=self.lr)
        if value != value:
            return Step(Rung(state.done + 1), False, tick, Outcome.DIVERGED)
        done = state.done + 1
        return Step(Rung(done), True, tick, Outcome.ARRIVED if done == self.method.rungs else None)

    def knot(self) -> Weights:
        """The rung that it stands on."""
        return clone(coordinates(self.workspace.model), "cpu")

    def closing(self) -> list[Weights]:
        """Nothing between the last rung and the end."""
        return []

    def save(self) -> dict[str, torch.Tensor]:
        """Where it stands."""
        return coordinates(self.workspace.model)

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Inverse of `save`."""
        assign(self.workspace.model, tensors)


def examples() -> dict[str, str]:
    """The methods of `EXAMPLE` by name, as the command line names them; none where there is no such file."""
    if not EXAMPLE.is_file():
        return {}
    classes = [node.name for node in ast.parse(EXAMPLE.read_text()).body if isinstance(node, ast.ClassDef)]
    own = [name for name in classes if issubclass(find(f"{EXAMPLE}:{name}"), Method)]
    return {name: f"{EXAMPLE}:{name}" for name in own}


def small(spec: str, **settings: Any) -> Method:
    """A method by its name; one that takes a number of gradient steps takes `STEPS`."""
    takes = {f.name for f in fields(make_method(spec))}
    return make_method(spec, {**({"steps": STEPS} if "steps" in takes else {}), **settings})


WALKS = {
    "llpf, schedule": LLPF(schedule=str(Path(__file__).with_name("even.yaml"))),
    "llpf, phases": LLPF(phases="layer", share=0.3, correct="all"),
    "llpf, no sphere": LLPF(phases="all", share=0.2, correct="none"),
}
"""Further settings of ours."""

METHODS: dict[str, Method] = {
    **{name: small(name) for name in known()},
    **WALKS,
    "linear, repaired": Linear(repair=True),
    "a user's": Ladder(),
    **{f"the example's {name}": small(spec) for name, spec in examples().items()},
}
"""By the name of its test: all of the registry with their defaults, further settings of ours, and those of users."""
