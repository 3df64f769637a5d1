"""Who answers: nobody, other node ids in another run, the SuperLink for a node that died."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from helpers.flower_apps import QUIET, START, app, echo, fixed, grid, number, record, values

from llpf_flower import LLPFStrategy
from llpf_flower.inprocess import InProcessGrid
from llpf_plugin import LLPFError


def test_a_run_in_which_nobody_counts_does_not_return_the_initial_model() -> None:
    """FedAvg returns no arrays."""

    def train(message: Message, context: Context) -> dict[str, object]:
        raise RuntimeError("CUDA out of memory")

    with suppress(LLPFError):
        result = LLPFStrategy(**QUIET).start(grid(app(train), 3), START, 3)
        assert len(result.arrays) == 0


class Renamed(InProcessGrid):
    """Nodes with given ids, which are asked, and answer, in the order of these."""

    def __init__(self, client_app: ClientApp, ids: Sequence[int]) -> None:
        super().__init__(client_app, len(ids))
        contexts, self.contexts = list(self.contexts.values()), {}
        for context, node in zip(contexts, ids, strict=True):
            context.node_id = node
            self.contexts[node] = context

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return super().push_messages(sorted(messages, key=lambda m: m.metadata.dst_node_id))


def test_the_same_run_with_other_node_ids_ends_with_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    models = {i: record(w=rng.normal(size=(30, 30)).astype(np.float32)) for i in range(6)}
    found = [
        values(LLPFStrategy(**QUIET).start(Renamed(fixed(models), ids), models[0], 2).arrays)
        for ids in ([11, 12, 13, 14, 15, 16], [16, 14, 12, 11, 13, 15], [93847, 23, 7, 2**40, 5, 6])
    ]
    assert found[0] == found[1] == found[2]


class Answering(InProcessGrid):
    """A grid whose SuperLink, node 1, answers for nodes that have died."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        for message in super().pull_messages(message_ids):
            if message.has_error():
                message.metadata.__dict__["_src_node_id"] = 1
            yield message


def test_a_node_that_died_is_left_out_once() -> None:
    def train(message: Message, context: Context) -> dict[str, object]:
        if number(context) == 2:
            raise RuntimeError("Node Unavailable")
        return echo(message, context)

    made = LLPFStrategy(**QUIET)
    result = made.start(Answering(app(train), 3), START, 1)
    assert made.rows[0]["clients"] == 2 and list(made.rows[0]["left_out"]) == [1003]
    assert result.train_metrics_clientapp[1]["llpf-left-out"] == 1
