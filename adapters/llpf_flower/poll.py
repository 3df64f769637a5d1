"""Clients are asked which of several models has the lowest loss on their data, by evaluations as Flower has them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from logging import WARNING

from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid


@dataclass(frozen=True)
class Poll:
    """Who is asked, and what for.

    Attributes:
        grid: by which clients are asked.
        timeout: seconds that an answer is waited for.
        messages: of an evaluation: they say who is asked.
        arrays_key: where a message has the model.
        weighted_by: the metric that says how many examples a client has.
        by: the metric that is the loss, None for the first one whose name says so.
    """

    grid: Grid
    timeout: float
    messages: Sequence[Message]
    arrays_key: str
    weighted_by: str
    by: str | None = None

    def losses(self, models: Mapping[str, ArrayRecord]) -> dict[str, float]:
        """The mean loss of each model over all clients that answered for every one of them; empty if none did.

        One model is asked for after another; who does not answer, or with no finite loss, is not asked again. A model
        that no client has a finite loss of has an infinite one.
        """
        asked, by = list(self.messages), self.by
        answers: dict[str, dict[int, tuple[float, float]]] = {}
        for name, arrays in models.items():
            metrics = self._ask(asked, arrays)
            by = by or loss_among(metrics.values())
            if by is None:
                log(WARNING, "\t> No client reports a loss, a metric with 'loss' in its name: name one with first_by=")
                return {}
            found = {node: answer for node, own in metrics.items() if (answer := self._read(own, by))}
            if metrics and not found:
                continue
            answers[name] = found
            asked = [message for message in asked if message.metadata.dst_node_id in answers[name]]
        nodes = [message.metadata.dst_node_id for message in asked]
        if not (nodes and answers):
            return {}
        known = {name: _mean([given[node] for node in nodes]) for name, given in answers.items()}
        return {name: known.get(name, math.inf) for name in models}

    def _ask(self, messages: Sequence[Message], arrays: ArrayRecord) -> dict[int, MetricRecord]:
        """The metrics of a model, by node."""
        sent = [
            Message(
                RecordDict({**message.content, self.arrays_key: arrays}), message.metadata.dst_node_id,
                message.metadata.message_type,
            )
            for message in messages
        ]  # fmt: skip
        replies = [r for r in self.grid.send_and_receive(sent, timeout=self.timeout) if r.has_content()]
        found = {reply.metadata.src_node_id: list(reply.content.metric_records.values()) for reply in replies}
        return {node: records[0] for node, records in found.items() if len(records) == 1}

    def _read(self, metrics: MetricRecord, by: str) -> tuple[float, float] | None:
        """A client's loss and its number of examples, None if it does not count."""
        values = [metrics.get(by), metrics.get(self.weighted_by)]
        loss, weight = (float(v) if isinstance(v, int | float) else math.nan for v in values)
        return (loss, weight) if math.isfinite(loss) and math.isfinite(weight) and weight > 0 else None


def loss_among(metrics: Iterable[MetricRecord]) -> str | None:
    """The name of the loss that clients report; one of training is the last choice."""
    names = [found for own in metrics if (found := {name for name in own if "loss" in name.lower()})]
    shared = set.intersection(*names) if names else set()
    return min(shared, key=lambda name: ("train" in name.lower(), name), default=None)


def _mean(answers: Sequence[tuple[float, float]]) -> float:
    """Weighted, whatever the order."""
    return math.fsum(loss * weight for loss, weight in answers) / math.fsum(weight for _, weight in answers)
