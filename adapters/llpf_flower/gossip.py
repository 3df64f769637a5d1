"""`GossipStrategy`: every client averages with its neighbours in a graph; there is no global model."""

from collections.abc import Iterable, Sequence
from logging import INFO
from typing import Any, Literal

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result

from llpf_flower import history, metrics
from llpf_flower.asked import Asked
from llpf_flower.mean import average
from llpf_flower.members import Members
from llpf_flower.metrics import MetricsFunction
from llpf_flower.replies import Reply, sift, sift_metrics
from llpf_flower.rule import Rule, Sphere
from llpf_flower.topology import Topology, check_name, graph_of, metropolis
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry import Correct


class GossipStrategy(FedAvg):
    """Gossip averaging: every client receives the weighted mean of its own model and its neighbours', on their spheres.

    The server relays: it keeps each client's newest model until that is sent, and no global model. Its result, which
    also a server-side evaluation gets, is the mean of all, which no client is sent.

    Weights are Metropolis', so that the mean of all models stays what it is, but for the spheres. The mean of networks
    that have nothing in common has 1/n of their variance, and learning stalls until it has grown back (arXiv
    2404.04616); here each layer is given the neighbours' variance again. A client that misses a round keeps its model,
    and its neighbours go without it.

    Args:
        topology: a ``networkx.Graph`` whose nodes are 0 … n - 1, with as many clients, or ``ring``, ``star``,
            ``complete`` or ``random-regular:4`` for all that are connected in the first round, at least
            ``min_available_nodes``. Clients take their places by the partition id that they report (the metric
            ``partition-id``, or `llpf_merge_mod`), else by node id.
        fraction_train, fraction_evaluate, min_train_nodes, min_evaluate_nodes, min_available_nodes, weighted_by_key,
            arrayrecord_key, configrecord_key, train_metrics_aggr_fn, evaluate_metrics_aggr_fn: as in FedAvg.
        sphere: which variance a layer of a mean is given: ``clients``, the weighted mean variance of those averaged;
            ``previous``, that of the model that the client was sent; ``none`` is plain gossip averaging.
        correct: which tensors are put on spheres: ``matrices`` (two dimensions and more) or ``all``.
        buffers: ``mean``, or ``keep`` those of the initial model.
        seed: of random graphs.

    Attributes:
        rows: what happened in each round; `table` shows it.

    Raises:
        LLPFError: an option that makes no sense; in the first round, a topology that is not connected, or whose nodes
            are not the clients.
    """

    def __init__(
        self, topology: Topology = "ring", fraction_train: float = 1.0, fraction_evaluate: float = 1.0,
        min_train_nodes: int = 2, min_evaluate_nodes: int = 2, min_available_nodes: int = 2,
        weighted_by_key: str = "num-examples", arrayrecord_key: str = "arrays", configrecord_key: str = "config",
        train_metrics_aggr_fn: MetricsFunction | None = None, evaluate_metrics_aggr_fn: MetricsFunction | None = None,
        *, sphere: Sphere = "clients", correct: Correct = "matrices", buffers: Literal["mean", "keep"] = "mean",
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(
            fraction_train, fraction_evaluate, min_train_nodes, min_evaluate_nodes, min_available_nodes,
            weighted_by_key, arrayrecord_key, configrecord_key,
            train_metrics_aggr_fn, evaluate_metrics_aggr_fn,  # type: ignore[arg-type]
        )  # fmt: skip
        if isinstance(topology, str):
            check_name(topology)
        self.topology, self.rule, self.seed = topology, Rule(sphere, correct, buffers), seed
        self.rows: list[history.Row] = []
        self._members: Members | None = None
        self._initial, self._asked, self._started = ArrayRecord(), Asked(), False

    def summary(self) -> None:
        """Log the settings."""
        log(INFO, "\t├──> %s settings:", type(self).__name__)
        log(INFO, "\t│\t├── Topology: %s", self.topology)
        log(INFO, "\t│\t├── Variance of a mean: %s", self.rule.sphere)
        super().summary()

    def start(self, *arguments: Any, **options: Any) -> Result:
        """Run, as FedAvg does, and end with a table.

        Returns:
            The mean of all clients' models and the metrics by round.

        Raises:
            LLPFError: the topology is not connected, or its nodes are not the clients.
            RunError: no reply of any round counted.
        """
        self.rows, self._members, self._started = [], None, True
        try:
            result = super().start(*arguments, **options)
        finally:
            self._started = False
        if not result.arrays:
            history.check_counted(self.rows)
        for line in self.table().splitlines():
            log(INFO, "\t%s", line)
        return result

    def table(self) -> str:
        """A Markdown table of all rounds."""
        return history.table(self.rows)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As FedAvg, with each client's own model.

        Raises:
            LLPFError: another strategy wraps this one; in the first round, the topology does not fit the clients.
        """
        if not self._started:
            raise LLPFError(
                "another strategy wraps GossipStrategy and would take one client's model for that of all: call "
                "GossipStrategy's own start, or wrap LLPFStrategy"
            )
        usual = self.min_available_nodes
        if self._members is None and not isinstance(self.topology, str):
            self.min_available_nodes = max(usual, len(self.topology))
        try:
            messages = super().configure_train(server_round, arrays, config, grid)
        finally:
            self.min_available_nodes = usual  # from then on nodes may be missing
        if self._members is None:
            nodes = list(grid.get_node_ids())
            self._graph = graph_of(self.topology, len(nodes), self.seed)
            self._members, self._initial = Members(nodes, arrays), arrays
        return self._personal(messages, grid)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As FedAvg, with each client's own model."""
        return self._personal(super().configure_evaluate(server_round, arrays, config, grid), grid)

    def _personal(self, messages: Iterable[Message], grid: Grid) -> list[Message]:
        """The same messages, each with the model of the client that it goes to; nodes without a place get none."""
        assert self._members is not None
        there, found = self._members.at(set(grid.get_node_ids())), list[Message]()
        for message in messages:
            to = message.metadata
            if (member := there.get(to.dst_node_id)) is not None:
                content = RecordDict({**message.content, self.arrayrecord_key: member.model})
                found.append(Message(content, to.dst_node_id, to.message_type))
        self._asked = Asked(found)
        return found

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average each model that counts with those of its neighbours.

        Returns:
            The mean of all clients' models, None if no reply counts, and metrics; ours begin with ``llpf-``.
        """
        assert self._members is not None
        kept, left_out = sift(list(replies), self._initial, self.weighted_by_key, self._asked, whole=True)
        log(INFO, "aggregate_train: %d models count, %d are left out", len(kept), len(left_out))
        row: history.Row = {"round": server_round, "clients": len(kept), "left_out": left_out}
        self.rows.append(row)
        found = MetricRecord()
        if kept:
            self._mix(self._members, kept)
            contents = [r.content for r in kept]
            found.update(metrics.noted(row, contents, self.train_metrics_aggr_fn, self.weighted_by_key) or {})
        mean = average([(member.model, 1.0) for member in self._members.placed()], self._initial, self.rule)
        row.update(mean.noted())
        found.update(metrics.of_round(row))
        return (mean.arrays if kept else None), found

    def _mix(self, members: Members, replies: Sequence[Reply]) -> None:
        """Give each member that answered the mean of the models around it."""
        heard = members.heard({reply.node: _partition(reply) for reply in replies})
        placed = members.placed()  # a partition id that was heard for the first time moves its member
        models = {placed.index(heard[reply.node]): reply.arrays for reply in replies}
        for place, shares in metropolis(self._graph, models).items():
            around = [(models[other], share) for other, share in shares.items()]
            placed[place].model = average(around, placed[place].model, self.rule).arrays

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As FedAvg, over the replies that count."""
        kept = sift_metrics(replies, self.weighted_by_key, self._asked)
        log(INFO, "aggregate_evaluate: %d replies count", len(kept))
        row = self.rows[-1] if self.rows else {}
        return (
            metrics.noted(row, kept, self.evaluate_metrics_aggr_fn, self.weighted_by_key, "client ") if kept else None
        )


def _partition(reply: Reply) -> str:
    """The partition id that a client reports, empty if it reports none."""
    return reply.client or str(reply.metrics.get(history.PARTITION, ""))
