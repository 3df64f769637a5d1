"""Clients as deployments have them: under local differential privacy, and restarted within a run."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import LocalDpMod
from helpers.flower_apps import grid
from helpers.flower_clients import CLIENTS, client, own, shard, start

from llpf_flower import LLPFStrategy, llpf_merge_mod, to_arrays, to_weights
from llpf_flower.inprocess import InProcessGrid

CLIP = 0.5


class Spy(LLPFStrategy):
    """Notes how far each model that arrives lies from the one that was sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.steps: list[float] = []

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        replies = list(replies)
        assert self.arrays is not None
        sent = to_weights(self.arrays)
        for reply in replies:
            got = to_weights(reply.content["arrays"])
            self.steps.append(float(torch.stack([(got[k] - sent[k]).square().sum() for k in sent]).sum().sqrt()))
        return super().aggregate_train(server_round, replies)


def private(mod: Any) -> ClientApp:
    """Clients whose train function is under local differential privacy: clipped to `CLIP`, and here without noise."""
    made = ClientApp(mods=[mod])

    @made.train(mods=[LocalDpMod(CLIP, sensitivity=0.0, epsilon=1.0, delta=1e-5)])
    def _train(message: Message, context: Context) -> Message:
        arrays = {k: t + 1 for k, t in to_weights(message.content["arrays"]).items()}
        content = {"arrays": to_arrays(arrays), "metrics": MetricRecord({"num-examples": 1})}
        return Message(RecordDict(content), reply_to=message)

    return made


@pytest.mark.parametrize("serve_own", [True, False], ids=["served their own", "merging"])
def test_no_model_leaves_a_client_unclipped(serve_own: bool) -> None:
    made = Spy(serve_own=serve_own, fraction_evaluate=0.0)
    nodes = grid(private(llpf_merge_mod(shard, own=own, steps=20)), CLIENTS)
    made.start(nodes, to_arrays({k: torch.zeros_like(t) for k, t in start(0).items()}), 3)
    assert len(made.steps) == 3 * CLIENTS and max(made.steps) <= CLIP * 1.001


def restarted(nodes: InProcessGrid, node: int, as_node: int) -> None:
    """The node comes back with another id, as without node authentication; only what is on its disk is left."""
    context = nodes.contexts.pop(node)
    context.node_id, context.state = as_node, RecordDict()
    nodes.contexts[as_node] = context


@pytest.mark.parametrize("serve_own", [True, False], ids=["served their own", "merging"])
def test_a_node_that_restarts_within_a_run_goes_on(serve_own: bool, tmp_path: Path) -> None:
    made = LLPFStrategy(serve_own=serve_own)
    nodes = grid(client([llpf_merge_mod(shard, own=own, steps=20, state_dir=tmp_path)]), CLIENTS)
    made.start(nodes, to_arrays(start(0)), 2)
    restarted(nodes, 1001, 777)
    arrays: ArrayRecord | None = made.arrays
    assert arrays is not None
    made.load_state_dict(made.state_dict())  # the next start belongs to the same run
    made.start(nodes, arrays, 2)
    assert [row["clients"] for row in made.rows] == [CLIENTS] * 4
