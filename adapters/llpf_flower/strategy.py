"""`LLPFStrategy`: FedAvg whose mean lies on the clients' variance spheres."""

from collections.abc import Callable, Iterable, Sequence
from logging import INFO
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result

from llpf_flower import history, metrics, serverside, serving
from llpf_flower.asked import Asked
from llpf_flower.beginning import Beginning, Source
from llpf_flower.first import First
from llpf_flower.mean import average
from llpf_flower.memory import Memory
from llpf_flower.metrics import MetricsFunction
from llpf_flower.momentum import Momentum
from llpf_flower.opening import Opening
from llpf_flower.order import Cut, OrderSource, Phases
from llpf_flower.replies import Reply, sift, sift_metrics
from llpf_flower.rule import Buffers, Rule, Sphere
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry import Correct
from llpf_plugin.tasks import Task
from llpf_plugin.workspace import Compute

FIRST_MODEL = "First model of clients that start apart"
"""What the log calls that setting."""


class LLPFStrategy(Memory, Opening):
    """FedAvg with a mean that keeps the clients' variance, layer by layer.

    The mean of networks that have drifted apart has less variance than any of them. Here each layer of it is projected
    back on its variance sphere. Replies with NaN or infinity, with other names or shapes, without examples, and clients
    that fail or do not answer are left out of the round and named in the log and in `rows`; if none is left, the model
    stays as it is. Clients may send a part of the model: each tensor is the mean of those that send it. Neither the
    order of replies nor the nodes' ids change a bit of the result.

    Args:
        fraction_train, fraction_evaluate, min_train_nodes, min_evaluate_nodes, min_available_nodes, weighted_by_key,
            arrayrecord_key, configrecord_key, train_metrics_aggr_fn, evaluate_metrics_aggr_fn: as in FedAvg.
        sphere: which variance a layer of the mean is given: ``clients``, the clients' weighted mean variance;
            ``previous``, that of the model that was sent; ``none`` is FedAvg's plain mean.
        correct: which tensors are put on spheres: ``matrices`` (two dimensions and more) or ``all``.
        buffers: what becomes of running statistics and counters: ``mean``, ``keep`` the previous model's, or
            ``reestimate`` them on ``task``'s training data.
        server_momentum: the part of the last rounds' steps that is added to a round's, as in FedAvgM, on the spheres;
            0.5 was better than none and than FedAvgM in nearly every setting that we tried. It keeps one more model.
        serve_own: in evaluation, serve each client its own model until the federation's is as good on its held-out
            data. Clients need `llpf_merge_mod` with ``own``; it then does not merge in training.
        first: the model that the first round ends with where the clients' models have nothing in common: ``spheres``,
            their mean; ``aligned`` or ``aligned-spheres``, their mean once their units are matched; ``largest``, the
            model of the client with the most examples; ``initial``, what the run began with; ``fresh``, new initial
            weights. ``auto`` takes the one of the lowest loss on ``task``, else in the clients' evaluation, and a
            fresh one where that knows little; it is ``spheres`` where nobody can be asked, in another strategy, in
            phases, with ``sphere="none"`` and for parts of a model.
        first_by: the metric of the clients' evaluation that is the loss, None for the one whose name says so.
        network: ``(model factory, example inputs)`` to align models by, where there is no ``task``.
        dtype: of the global model's floating-point tensors, e.g. ``float16``; None keeps each as it is.
        layer_order: a layer order, a file of ``llpf order -o``, or ``(model factory, example inputs)``.
        phases: how the layer order is cut (``all``, ``block``, ``stage``, a number, lists of patterns); phase k
            aggregates the layers of slices 1 to k, the others stay as they were.
        rounds_per_phase: rounds after which the next phase begins; the last one lasts to the end.
        task: a small set of the server's own; with it the barrier is measured in every round: the mean's loss above the
            clients' weighted mean loss.
        compute: device and precision of what the server computes on ``task``.
        first_round: rounds that went before, added to every round number; `resume` sets it.
        checkpoint_dir: folder for the state after every ``checkpoint_every`` rounds, the table and the picture.
        checkpoint_every: rounds between two checkpoints.

    Attributes:
        rows: what happened in each round; `table` shows it, `draw` draws it.
        arrays: the newest global model, None before the first round.

    Raises:
        LLPFError: an option that makes no sense.
        OrderError: the layer order cannot be read; if it belongs to another model, `start` says so.
    """

    def __init__(
        self, fraction_train: float = 1.0, fraction_evaluate: float = 1.0, min_train_nodes: int = 2,
        min_evaluate_nodes: int = 2, min_available_nodes: int = 2, weighted_by_key: str = "num-examples",
        arrayrecord_key: str = "arrays", configrecord_key: str = "config",
        train_metrics_aggr_fn: MetricsFunction | None = None, evaluate_metrics_aggr_fn: MetricsFunction | None = None,
        *, sphere: Sphere = "clients", correct: Correct = "matrices", buffers: Buffers = "mean",
        server_momentum: float = 0.0, serve_own: bool = False, first: First = "auto", first_by: str | None = None,
        network: Source | None = None, dtype: str | None = None,
        layer_order: OrderSource | None = None, phases: Cut = "all", rounds_per_phase: int = 5,
        task: Task | None = None, compute: Compute | None = None, first_round: int = 0,
        checkpoint_dir: str | Path | None = None, checkpoint_every: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(
            fraction_train, fraction_evaluate, min_train_nodes, min_evaluate_nodes, min_available_nodes,
            weighted_by_key, arrayrecord_key, configrecord_key,
            train_metrics_aggr_fn, evaluate_metrics_aggr_fn,  # type: ignore[arg-type]
        )  # fmt: skip
        self.remember(first_round, checkpoint_dir, checkpoint_every, Momentum(server_momentum))
        self.rule = Rule(sphere, correct, buffers, dtype)
        if buffers == "reestimate" and task is None:
            raise LLPFError("buffers='reestimate' needs data: give task=, or choose mean or keep")
        self.phases = Phases(layer_order, phases, rounds_per_phase)
        self.prepare_first(Beginning(first, network, task, compute), first_by)
        self.serve_own, self.task, self.compute = serve_own, task, compute
        self._asked, self._begun = Asked(), False

    def summary(self) -> None:
        """Log the settings."""
        log(INFO, "\t├──> %s settings:", type(self).__name__)
        for name, value in self._settings().items():
            log(INFO, "\t│\t├── %s: %s", name, value)
        super().summary()

    def _settings(self) -> dict[str, Any]:
        return {
            "Variance of the mean": self.rule.sphere,
            "Tensors on spheres": self.rule.correct,
            "Buffers": self.rule.buffers,
            "Momentum": self.momentum.beta,
            FIRST_MODEL: self.beginning.first,
            "Clients are served": "their own model until the mean is as good" if self.serve_own else "the mean",
            "Phases": len(self.phases) or "all layers at once",
            "Rounds before this run": self.first_round,
        }

    def start(
        self, grid: Grid, initial_arrays: ArrayRecord, num_rounds: int = 3, timeout: float = 3600,
        train_config: ConfigRecord | None = None, evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:  # fmt: skip
        """Run, as FedAvg does, and end with a table and, given ``checkpoint_dir``, a picture.

        Returns:
            The newest model and the metrics by round; rounds before this run count.

        Raises:
            OrderError: the layer order belongs to another model than ``initial_arrays``.
            MismatchError: the run continues from a state, and ``initial_arrays`` have other names or shapes.
            RunError: ``checkpoint_dir`` cannot be written to, or no reply of any round counted.
        """
        self.begin(initial_arrays)
        self._begun, before = True, len(self.rows)
        evaluate = None if evaluate_fn is None else self.noting(evaluate_fn)
        with self.in_reach(grid, timeout, evaluate_config):
            result = super().start(grid, initial_arrays, num_rounds, timeout, train_config, evaluate_config, evaluate)
        return self.end(result, self.rows[before:])

    def begin(self, arrays: ArrayRecord) -> None:
        """Begin a run, or continue one, after checks."""
        self.phases.fit(arrays)
        super().begin(arrays)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As FedAvg, and remember who was asked; rounds before this run count."""
        if server_round == 1 and not self._begun:
            log(INFO, "Another strategy wraps %s: call its report() for the table of rounds", type(self).__name__)
            self.begin(arrays)
        self._begun, self.arrays = False, arrays
        config = serving.training(config) if self.serve_own else config
        messages = list(super().configure_train(server_round + self.first_round, arrays, config, grid))
        self._asked = Asked(messages)
        return messages

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As FedAvg, and remember who was asked and what is served; rounds before this run count."""
        self.serve(arrays)
        config = serving.evaluating(config) if self.serve_own else config
        messages = list(super().configure_evaluate(server_round + self.first_round, arrays, config, grid))
        self._asked = Asked(messages)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean of the models that count, on its spheres, and the metrics.

        Returns:
            The new model, None if no reply counts, and metrics; ours begin with ``llpf-``.

        Raises:
            LLPFError: `configure_train` was not called before.
        """
        if self.arrays is None:
            raise LLPFError("there is no model to start from: configure_train comes before aggregate_train")
        whole = self.task is not None
        kept, left_out = sift(list(replies), self.reference, self.weighted_by_key, self._asked, whole)
        self._asked = Asked()
        log(INFO, "aggregate_train: %d models count, %d are left out", len(kept), len(left_out))
        row: history.Row = {"round": server_round + self.first_round, "clients": len(kept), "left_out": left_out}
        self.rows.append(row)
        found = MetricRecord()
        if kept:
            reference, self.arrays = self.reference, self.combine(row, kept)
            self.known = {**reference, **self.arrays}
            contents = [r.content for r in kept]
            found.update(metrics.noted(row, contents, self.train_metrics_aggr_fn, self.weighted_by_key) or {})
        found.update(metrics.of_round(row))
        return (self.arrays if kept else None), found

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As FedAvg, over the replies that count, and write the round's checkpoint."""
        replies = list(replies)
        try:
            row = self.row(server_round)
            if self.serve_own:
                row.update(serving.note(replies))
            kept = sift_metrics(replies, self.weighted_by_key, self._asked)
            log(INFO, "aggregate_evaluate: %d replies count", len(kept))
            if not kept:
                return None
            return metrics.noted(row, kept, self.evaluate_metrics_aggr_fn, self.weighted_by_key, "client ")
        finally:
            self.save(server_round)

    def combine(self, row: history.Row, replies: Sequence[Reply]) -> ArrayRecord:
        """The next global model; notes in ``row`` what was seen on the way."""
        active, before, models = None, self.reference, [(r.arrays, r.weight) for r in replies]
        if self.phases:
            row["phase"], active = self.phases.of(row["round"])
        result = average(models, before, self.rule, active)
        arrays = self.momentum.carry(before, result.arrays, result.kept, active)
        row.update(result.noted())
        if not self.phases:
            arrays = self.first_model(row, replies, before, result) or arrays
        if self.task is not None:
            if self.rule.buffers == "reestimate":
                arrays = serverside.reestimated(self.task, arrays, self.compute)
            row["barrier"] = serverside.barrier(self.task, arrays, models, self.compute)
        return arrays
