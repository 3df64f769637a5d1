"""Metrics of a round: what can be averaged over the clients, and what the strategy adds."""

from collections.abc import Callable, Sequence
from logging import WARNING

from flwr.app import MetricRecord, RecordDict
from flwr.common.logger import log

from llpf_flower.history import Row, numbers
from llpf_flower.replies import some_of

MetricsFunction = Callable[[list[RecordDict], str], MetricRecord | None]
"""Aggregates the metrics of a round; where it returns None, the round has only the strategy's own."""


def common_metrics(contents: Sequence[RecordDict]) -> list[RecordDict]:
    """What metrics are averaged over: the replies, their metrics cut to those that all have, of one length.

    Flower ends the run where they differ.

    Args:
        contents: each with one MetricRecord, which keeps its name.
    """
    rows = [next(iter(content.metric_records.items())) for content in contents]
    kinds = [{(key, _length(value)) for key, value in record.items()} for _, record in rows]
    shared = {key for key, _ in set.intersection(*kinds)} if kinds else set()
    if lost := sorted({key for kind in kinds for key, _ in kind} - shared):
        log(WARNING, "\t> Metrics that not all clients sent, or not of one length, are left out: %s", some_of(lost))
    return [
        RecordDict({**content, name: MetricRecord({k: v for k, v in record.items() if k in shared})})
        for content, (name, record) in zip(contents, rows, strict=True)
    ]


def _length(value: object) -> int:
    """Of a list; −1 for a number."""
    return len(value) if isinstance(value, list) else -1


def noted(
    row: Row, contents: Sequence[RecordDict], function: MetricsFunction, weighted_by: str, prefix: str = ""
) -> MetricRecord | None:
    """The clients' metrics aggregated; their numbers are noted in the round's row, with a prefix to their names."""
    found = function(common_metrics(contents), weighted_by)
    if found is not None:
        row.update(numbers(found, prefix))
    return found


def of_round(row: Row) -> MetricRecord:
    """The strategy's own metrics of a round, single numbers all; their names begin with ``llpf-``."""
    metrics = MetricRecord()
    metrics["llpf-clients"] = row["clients"]
    metrics["llpf-left-out"] = len(row["left_out"])
    for name in ("consensus", "variance kept", "barrier"):
        if name in row:
            metrics[f"llpf-{name.replace(' ', '-')}"] = float(row[name])
    if "first" in row:
        metrics[f"llpf-first/{row['first']}"] = 1
        metrics.update({f"llpf-first-loss/{name}": loss for name, loss in row.get("first losses", {}).items()})
    metrics.update({f"llpf-variance/{layer}": kept for layer, kept in row.get("variance", {}).items()})
    return metrics
