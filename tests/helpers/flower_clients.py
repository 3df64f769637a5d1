"""Three clients with a third each of a tiny task, and a model of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from helpers import tiny
from helpers.flower_apps import number
from llpf_plugin import Task, TensorData
from llpf_plugin.evaluation import reestimate, score
from llpf_plugin.geometry import Weights, assign
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace

CLIENTS = 3


def shard(context_or_number: Context | int) -> Task:
    """One client's third of the tiny task."""
    i = context_or_number if isinstance(context_or_number, int) else number(context_or_number)
    task = tiny.mlp()
    data = task.train
    assert isinstance(data, TensorData)
    mine = torch.arange(len(data)) // 6 % CLIENTS == i  # every client has examples of every cluster
    return replace(task, train=TensorData(data.inputs[mine], data.targets[mine]))


@cache
def start(i: int) -> Weights:
    """A client's own trained model, from its own seed."""
    return train(shard(i), 10 + i)


def own(context: Context) -> Weights:
    """The same, as the mod asks for it."""
    return start(number(context))


def accuracy(weights: Mapping[str, Tensor], task: Task | None = None) -> float:
    """On training data, statistics re-estimated."""
    workspace = Workspace(task or tiny.mlp())
    assign(workspace.model, weights)
    reestimate(workspace)
    found = score(workspace, workspace.task.train).accuracy
    assert found is not None
    return found


def client(mods: Sequence[Any] = (), independent: bool = False, steps: int = 10) -> ClientApp:
    """A client as a user writes it, with no line for this package.

    Args:
        mods: of the app.
        independent: send the client's own model, trained already, in the first round.
        steps: of SGD in a round.
    """
    made = ClientApp(mods=list(mods))

    @made.train()
    def _train(message: Message, context: Context) -> Message:
        task, first = shard(context), message.content["config"]["server-round"] == 1
        task.model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        if independent and first:
            task.model.load_state_dict(own(context))
        optimizer = torch.optim.SGD(task.model.parameters(), 0.05)
        for step in range(0 if independent and first else steps):
            loss, _ = task.score(task.train.batch(16, number(context), step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        metrics = MetricRecord({"num-examples": len(task.train)})
        content = RecordDict({"arrays": ArrayRecord(task.model.state_dict()), "metrics": metrics})
        return Message(content, reply_to=message)

    @made.evaluate()
    def _evaluate(message: Message, context: Context) -> Message:
        got = accuracy(message.content["arrays"].to_torch_state_dict(), shard(context))
        return Message(RecordDict({"metrics": MetricRecord({"num-examples": 1, "acc": got})}), reply_to=message)

    return made
