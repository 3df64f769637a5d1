"""A trained on for the same budget: what one does instead of merging."""

import torch

from llpf_plugin.geometry.weights import Weights, assign
from llpf_plugin.methods.base import Plan, Problem, Step, Stretch, TrainState
from llpf_plugin.methods.baselines import Finetune
from llpf_plugin.methods.trained import OnModel, allowed, cooled, outcome_of, tick_of
from llpf_plugin.records import Outcome

KNOTS, FINETUNED = 10, 2
"""Knots that training leaves behind, and the identifier of the last one, the finetuned model."""


def plan(method: Finetune, problem: Problem) -> Plan:
    """One open stretch, all of it training: the path ends at the finetuned model, not at B."""
    steps = problem.steps(method.steps)
    return Plan(lambda stretch: Finetuning(problem, steps), (0, FINETUNED), (Stretch(0, FINETUNED, open=True),))


class Finetuning(OnModel):
    """SGD with Nesterov momentum on the model itself, its learning rate cooled as `cooled` says.

    Args:
        problem: whose model is trained, at its learning rate.
        steps: gradient steps.
    """

    def __init__(self, problem: Problem, steps: int) -> None:
        self.workspace, self.lr, self.momentum = problem.workspace, problem.lr, problem.momentum
        self.steps = steps

    def init(self, start: Weights, end: Weights) -> TrainState:
        """Place the model at the start."""
        assign(self.workspace.model, start)
        parameters = self.workspace.model.parameters()
        self.optimizer = torch.optim.SGD(parameters, self.lr, self.momentum, nesterov=self.momentum > 0)
        return TrainState()

    def step(self, state: TrainState) -> Step:
        """Some gradient steps; a knot after every tenth of them all, and where the budget ends."""
        losses = []
        for i in range(allowed(self.workspace, self.steps - state.steps)):
            self.optimizer.param_groups[0]["lr"] = cooled(self.lr, (state.steps + i) / self.steps)
            loss = self.workspace.loss()
            losses.append(loss.detach())
            self.workspace.backward(loss)
            self.optimizer.step()
        done = state.steps + len(losses)
        tick = tick_of("finetune", state.steps, self.steps, losses, cooled(self.lr, state.steps / self.steps))
        passed = done * KNOTS // self.steps > state.steps * KNOTS // self.steps or self.workspace.remaining == 0
        outcome = outcome_of(done, tick.settled_loss, self.steps)
        return Step(TrainState(done), passed and outcome is not Outcome.DIVERGED, tick, outcome)

    def closing(self) -> list[Weights]:
        """Nothing: where training came to is the end."""
        return []
