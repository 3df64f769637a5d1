"""`GossipStrategy` over an in-process Grid."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from collections.abc import Iterable, Sequence
from typing import Any

import networkx as nx
import numpy as np
from flwr.app import Context, Message, MetricRecord
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping as Fixed
from helpers.flower_apps import START, app, echo, fixed, grid, number, record, values

from llpf_flower import GossipStrategy
from llpf_flower.inprocess import InProcessGrid
from llpf_plugin.errors import LLPFError, RunError

PLAIN: dict[str, Any] = {"sphere": "none"}


class Clients:
    """Clients that begin with models of their own and then send back what they get; what each was given to serve."""

    def __init__(self, models: dict[int, Any], failing: Iterable[tuple[int, int]] = (), told: bool = True) -> None:
        self.models, self.failing, self.told = models, set(failing), told
        self.served: dict[int, list[Any]] = {i: [] for i in models}

    def app(self) -> ClientApp:
        return app(self.train, self.evaluate)

    def train(self, message: Message, context: Context) -> dict[str, Any]:
        i, now = number(context), int(message.content["config"]["server-round"])  # type: ignore[index, arg-type]
        if (i, now) in self.failing:
            raise RuntimeError("on purpose")
        arrays = self.models[i] if now == 1 else message.content["arrays"]
        own = {"partition-id": i} if self.told else {}
        return {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1 + i, **own, "loss": float(i)})}

    def evaluate(self, message: Message, context: Context) -> dict[str, Any]:
        i = number(context)
        self.served[i].append(values(message.content["arrays"])["w"])  # type: ignore[arg-type]
        return {"metrics": MetricRecord({"num-examples": 1, "x": float(i)})}


def numbered(clients: int) -> dict[int, Any]:
    return {i: record(w=[[float(i), -float(i)]]) for i in range(clients)}


def first(served: Sequence[Any]) -> list[float]:
    """The first number of each model that a client was served."""
    return [w[0][0] for w in served]


def test_every_client_is_served_the_mean_of_its_neighbourhood() -> None:
    clients = Clients(numbered(4))
    made = GossipStrategy(nx.path_graph(4), **PLAIN)
    result = made.start(grid(clients.app(), 4), START, 1)
    # Edges weigh 1/3: (2·0 + 1)/3, (0 + 1 + 2)/3, (1 + 2 + 3)/3, (2 + 2·3)/3. Examples do not count.
    assert [first(clients.served[i])[0] for i in range(4)] == pytest.approx([1 / 3, 1, 2, 8 / 3])
    assert values(result.arrays)["w"][0] == pytest.approx([1.5, -1.5])
    assert result.train_metrics_clientapp[1]["loss"] == pytest.approx((1 * 0 + 2 * 1 + 3 * 2 + 4 * 3) / 10)
    assert result.evaluate_metrics_clientapp[1]["x"] == made.rows[0]["client x"] == 1.5
    assert "partition-id" not in made.table()


def test_a_client_trains_what_it_was_served() -> None:
    clients = Clients(numbered(3))
    GossipStrategy("complete", **PLAIN).start(grid(clients.app(), 3), START, 3)
    assert all(first(clients.served[i]) == pytest.approx([1, 1, 1]) for i in range(3))


def test_unrelated_models_are_given_the_variance_of_the_neighbours_back() -> None:
    rng = np.random.default_rng(0)
    for sphere, wanted in (("none", 1 / 8), ("clients", 1.0)):
        clients = Clients({i: record(w=rng.normal(size=(100, 100)).astype(np.float32)) for i in range(8)})
        made = GossipStrategy("complete", sphere=sphere)  # type: ignore[arg-type]
        made.start(grid(clients.app(), 8), record(w=np.zeros((100, 100), np.float32)), 1)
        assert np.var(clients.served[3][0]) == pytest.approx(wanted, rel=0.05)


def test_a_client_that_misses_a_round_keeps_its_model_and_its_neighbours_go_without_it() -> None:
    clients = Clients(numbered(4), failing=[(1, 2)])
    made = GossipStrategy("ring", **PLAIN)
    result = made.start(grid(clients.app(), 4), START, 2)
    before = [first(clients.served[i])[0] for i in range(4)]
    assert before == pytest.approx([4 / 3, 1, 2, 5 / 3])
    # 0 – 3 – 2 is a row in that round: its edges weigh 1/3.
    after = [first(clients.served[i])[1] for i in range(4)]
    assert after == pytest.approx([(2 * 4 / 3 + 5 / 3) / 3, 1, (2 * 2 + 5 / 3) / 3, (4 / 3 + 5 / 3 + 2) / 3])
    assert sum(after) == pytest.approx(sum(before)) and values(result.arrays)["w"][0][0] == pytest.approx(1.5)
    assert list(made.rows[1]["left_out"]) == [1002] and "on purpose" in made.rows[1]["left_out"][1002]


def test_sampled_clients_average_and_the_others_keep_their_models() -> None:
    clients = Clients(numbered(8))
    made = GossipStrategy("complete", fraction_train=0.5, min_available_nodes=8, **PLAIN)
    result = made.start(grid(clients.app(), 8), START, 4)
    assert [row["clients"] for row in made.rows] == [4] * 4
    assert values(result.arrays)["w"][0][0] == pytest.approx(np.mean([clients.served[i][3][0][0] for i in range(8)]))


class Renamed(InProcessGrid):
    """Nodes with ids of their own."""

    def __init__(self, client_app: ClientApp, ids: Sequence[int]) -> None:
        super().__init__(client_app, len(ids))
        contexts, self.contexts = list(self.contexts.values()), {}
        for context, node in zip(contexts, ids, strict=True):
            self.rename(context, node)

    def rename(self, context: Context, node: int) -> None:
        self.contexts.pop(context.node_id, None)
        context.node_id = node
        self.contexts[node] = context


@pytest.mark.parametrize("told", [True, False])
def test_places_go_by_partition_id_or_else_by_node(told: bool) -> None:
    clients = Clients(numbered(4), told=told)
    GossipStrategy(nx.path_graph(4), **PLAIN).start(Renamed(clients.app(), [40, 10, 30, 20]), START, 1)
    order = range(4) if told else [1, 3, 2, 0]
    row = [float(i) for i in order]
    mixed = [(2 * row[0] + row[1]) / 3, sum(row[:3]) / 3, sum(row[1:]) / 3, (row[2] + 2 * row[3]) / 3]
    assert [first(clients.served[i])[0] for i in order] == pytest.approx(mixed)


@pytest.mark.parametrize("restarted", [[1], [1, 3]])
def test_a_node_that_restarts_takes_its_place_again(restarted: list[int]) -> None:
    """Of several it is told by its partition id which place is whose, as soon as it answers."""
    clients = Clients(numbered(4))
    nodes = Renamed(clients.app(), [1, 2, 3, 4])

    def train(message: Message, context: Context) -> dict[str, Any]:
        i, now = number(context), int(message.content["config"]["server-round"])  # type: ignore[index, arg-type]
        metrics = MetricRecord({"num-examples": 1, "partition-id": i})
        return {"arrays": clients.models[i] if now != 2 else message.content["arrays"], "metrics": metrics}

    def evaluate(message: Message, context: Context) -> dict[str, Any]:
        if number(context) == 0 and len(clients.served[0]) == 0:
            old = list(nodes.contexts.values())
            for place, node in zip(restarted, range(90, 80, -1), strict=False):
                nodes.rename(old[place], node)
        return clients.evaluate(message, context)

    nodes.client_app = app(train, evaluate)
    GossipStrategy(nx.path_graph(4), **PLAIN).start(nodes, START, 3)
    assert [first(clients.served[i])[-1] for i in range(4)] == pytest.approx([1 / 3, 1, 2, 8 / 3])


def test_clients_that_report_the_same_partition_id_go_by_their_nodes(caplog: pytest.LogCaptureFixture) -> None:
    clients = Clients(numbered(3))

    def train(message: Message, context: Context) -> dict[str, Any]:
        return {**clients.train(message, context), "metrics": MetricRecord({"num-examples": 1, "partition-id": 7})}

    made = GossipStrategy("complete", **PLAIN)
    made.start(grid(app(train, clients.evaluate), 3), START, 2)
    assert all(first(clients.served[i]) == pytest.approx([1, 1]) for i in range(3))
    assert "Several clients report the partition id 7" in caplog.text


def test_a_node_that_comes_later_has_no_place(caplog: pytest.LogCaptureFixture) -> None:
    clients = Clients(numbered(3))
    nodes = Renamed(clients.app(), [1, 2, 3])
    late = nodes.contexts.pop(3)

    def evaluate(message: Message, context: Context) -> dict[str, Any]:
        nodes.contexts[3] = late
        return clients.evaluate(message, context)

    nodes.client_app = app(clients.train, evaluate)
    made = GossipStrategy("ring", **PLAIN)
    made.start(nodes, START, 3)
    assert [row["clients"] for row in made.rows] == [2, 2, 2] and clients.served[2] == []
    assert caplog.text.count("the topology has no free place for it") == 1


def test_a_node_that_restarts_gets_its_place_when_the_old_one_is_known_to_be_gone() -> None:
    clients = Clients(numbered(3))
    nodes = Renamed(clients.app(), [1, 2, 3])
    old = nodes.contexts[3]
    new = Context(run_id=1, node_id=99, node_config=old.node_config, state=old.state, run_config={})
    connected = [[1, 2, 3], [1, 2, 3, 99], [1, 2, 99]]

    def evaluate(message: Message, context: Context) -> dict[str, Any]:
        now = int(message.content["config"]["server-round"])  # type: ignore[index, arg-type]
        nodes.contexts = {node: {**nodes.contexts, 3: old, 99: new}[node] for node in connected[min(now, 2)]}
        nodes.silent = {3}
        return clients.evaluate(message, context)

    nodes.client_app = app(clients.train, evaluate)
    made = GossipStrategy("ring", **PLAIN)
    made.start(nodes, START, 3)
    assert [row["clients"] for row in made.rows] == [3, 2, 3] and list(made.rows[1]["left_out"]) == [3]


def test_bad_replies_do_not_count_and_none_at_all_is_an_error() -> None:
    models = {0: record(w=[[np.nan, 0.0]]), 1: record(w=[[1.0, -1.0]]), 2: record(w=[[3.0, -3.0]])}
    made = GossipStrategy("ring", **PLAIN)
    made.start(grid(fixed(models), 3), START, 1)
    assert "NaN" in made.rows[0]["left_out"][1001] and made.rows[0]["clients"] == 2
    with pytest.raises(RunError, match="no reply counted in any of 1 rounds"):
        GossipStrategy("ring").start(grid(fixed(dict.fromkeys(range(3), models[0])), 3), START, 1)


def test_a_second_start_begins_anew() -> None:
    made = GossipStrategy("ring", **PLAIN)
    found = [values(made.start(grid(Clients(numbered(n)).app(), n), START, 2).arrays) for n in (3, 5)]
    assert [w["w"][0][0] for w in found] == pytest.approx([1, 2]) and [row["round"] for row in made.rows] == [1, 2]


def test_inside_another_strategy_it_is_refused() -> None:
    with pytest.raises(LLPFError, match="call GossipStrategy's own start"):
        Fixed(GossipStrategy("ring"), 1.0, 1.0, 2).start(grid(app(echo), 2), START, 1)


def test_a_topology_of_other_clients_is_refused_before_any_work() -> None:
    clients = Clients(numbered(4))
    with pytest.raises(LLPFError, match="differ in 3"):
        GossipStrategy(nx.path_graph(3)).start(grid(clients.app(), 4), START, 1)
    with pytest.raises(LLPFError, match="name one of ring"):
        GossipStrategy("rong")
    assert clients.served[0] == []
