"""Clients and replies that the tests of the Flower adapter stand on."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from llpf_flower import LLPFStrategy
from llpf_flower.inprocess import InProcessGrid
from llpf_flower.replies import RECORD

Answer = Callable[[Message, Context], dict[str, Any]]


def record(**tensors: Any) -> ArrayRecord:
    """Arrays by name; lists are float32."""
    made = {k: np.asarray(v, np.float32) if isinstance(v, list) else np.asarray(v) for k, v in tensors.items()}
    return ArrayRecord({k: Array(v) for k, v in made.items()})


def values(arrays: ArrayRecord) -> dict[str, Any]:
    """Arrays as nested lists."""
    return {k: a.numpy().tolist() for k, a in arrays.items()}


class Reply(Message):
    """A reply that was never sent anywhere."""

    def __init__(self, content: RecordDict | None, node: int, error: Error | None = None) -> None:
        self.__dict__.update(_content=content, _error=error)
        self.__dict__["_metadata"] = type("Metadata", (), {"src_node_id": node})()


def reply(arrays: ArrayRecord, examples: float = 1, node: int = 1, client: str = "", **metrics: float) -> Message:
    """A good reply, unless its arguments are bad."""
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": examples, **metrics})})
    if client:
        content[RECORD] = ConfigRecord({"client": client})
    return Reply(content, node)


def app(train: Answer, evaluate: Answer | None = None, mods: list[Any] | None = None) -> ClientApp:
    """A ClientApp from functions that return the records of a reply."""
    made = ClientApp(mods=mods)

    @made.train()
    def _train(message: Message, context: Context) -> Message:
        return Message(RecordDict(train(message, context)), reply_to=message)

    @made.evaluate()
    def _evaluate(message: Message, context: Context) -> Message:
        answer = evaluate(message, context) if evaluate else {"metrics": MetricRecord({"num-examples": 1, "x": 1.0})}
        return Message(RecordDict(answer), reply_to=message)

    return made


def number(context: Context) -> int:
    """The client's partition id."""
    return int(context.node_config["partition-id"])


def fixed(models: Mapping[int, ArrayRecord], examples: Mapping[int, float] | None = None) -> ClientApp:
    """Clients that answer with fixed models."""

    def train(message: Message, context: Context) -> dict[str, Any]:
        i = number(context)
        return {"arrays": models[i], "metrics": MetricRecord({"num-examples": (examples or {}).get(i, 1), "loss": i})}

    return app(train)


def grid(client_app: ClientApp, nodes: int, **options: Any) -> InProcessGrid:
    return InProcessGrid(client_app, nodes, **options)


class SuperLinkAnswers(InProcessGrid):
    """A grid on which nodes that fail have died: the SuperLink, node 1, answers for them."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        for message in super().pull_messages(message_ids):
            if message.has_error():
                message.metadata.__dict__["_src_node_id"] = 1
            yield message


def state(arrays: ArrayRecord) -> dict[str, Tensor]:
    return {k: torch.from_numpy(a.numpy()) for k, a in arrays.items()}


QUIET: dict[str, Any] = {"fraction_evaluate": 0.0}
"""Options of a strategy that does not evaluate."""

GOOD = {0: record(w=[[1.0, -1.0]]), 1: record(w=[[3.0, -3.0]])}
START = record(w=[[0.0, 0.0]])


def echo(message: Message, context: Context) -> dict[str, Any]:
    """The records of a client that sends back what it got."""
    return {"arrays": message.content["arrays"], "metrics": MetricRecord({"num-examples": 1})}


def through(arrays: ArrayRecord, rounds: int = 1, **options: Any) -> tuple[LLPFStrategy, dict[str, Any]]:
    """What becomes of a model that two clients send back as they got it."""
    made = LLPFStrategy(**{**QUIET, **options})
    return made, values(made.start(grid(app(echo), 2), arrays, rounds).arrays)


def strategy(**options: Any) -> LLPFStrategy:
    """A plain mean that stands before its first round."""
    made = LLPFStrategy(**{**QUIET, "sphere": "none", **options})
    made.arrays = START
    return made


def aggregate(made: LLPFStrategy, *replies: Message) -> tuple[Any, MetricRecord]:
    """The model, as nested lists, and the metrics of a round with these replies."""
    arrays, metrics = made.aggregate_train(1, replies)
    assert metrics is not None
    return (None if arrays is None else values(arrays)), metrics
