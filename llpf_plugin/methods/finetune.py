"""A trained on for the same budget: what one does instead of merging."""

import torch

from llpf_plugin.geometry.weights import Weights, assign
from llpf_plugin.methods.base import Plan, Problem, Step, TrainState
from llpf_plugin.methods.baselines import Finetune
from llpf_plugin.methods.trained import OnModel, allowed, cooled, outcome_of, tick_of

KNOTS = 10
"""Knots that training leaves behind."""


def plan(method: Finetune, problem: Problem) -> Plan:
    """One stretch, all of it training; the path then jumps to B."""
    return Plan(lambda stretch: Finetuning(problem, problem.steps(method.steps)))


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
        """Some gradient steps; a knot after every tenth of them all."""
        losses = []
        for i in range(allowed(self.workspace, self.steps - state.steps)):
            self.optimizer.param_groups[0]["lr"] = cooled(self.lr, (state.steps + i) / self.steps)
            loss = self.workspace.loss()
            losses.append(loss.detach())
            self.workspace.backward(loss)
            self.optimizer.step()
        done = state.steps + len(losses)
        tick = tick_of("finetune", state.steps, self.steps, losses, cooled(self.lr, state.steps / self.steps))
        passed = done * KNOTS // self.steps > state.steps * KNOTS // self.steps
        return Step(TrainState(done), passed, tick, outcome_of(done, tick.settled_loss, self.steps))

    def closing(self) -> list[Weights]:
        """Nothing: training knows nothing of the end."""
        return []
