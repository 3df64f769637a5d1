"""Which replies of a round count, in which order, and why the others do not."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from logging import WARNING

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from torch import Tensor

from llpf_flower.arrays import view
from llpf_plugin.errors import MismatchError

RECORD = "llpf"
"""Name of the ConfigRecord in which server and client tell each other what is not arrays or metrics."""


@dataclass(frozen=True)
class Reply:
    """A reply that counts.

    Attributes:
        node: the node's id, which is another one in another run.
        client: the id that the client gave itself, empty if it gave none.
        content: the whole reply.
        arrays: its model.
        metrics: its metrics.
        weight: its number of examples, above 0.
    """

    node: int
    client: str
    content: RecordDict
    arrays: ArrayRecord
    metrics: MetricRecord
    weight: float

    @property
    def told(self) -> ConfigRecord:
        """What the client half of this package told, empty from a client without it."""
        return self.content.config_records.get(RECORD, ConfigRecord())


class Unusable(Exception):  # noqa: N818 - a reason, caught in this file
    """Why a reply is left out."""


def sift(replies: Iterable[Message], reference: ArrayRecord, weighted_by: str) -> tuple[list[Reply], dict[int, str]]:
    """The replies that count, in an order that does not depend on when they came, and why the others do not.

    Replies are ordered by the id that the client gave itself, then by node id.

    Args:
        replies: of one training round.
        reference: the model that was sent; names and shapes must be its.
        weighted_by: key of the number of examples among the metrics.

    Returns:
        Replies, and reasons by node id.
    """
    kept: list[Reply] = []
    left_out: dict[int, str] = {}
    for message in replies:
        try:
            kept.append(_read(message, reference, weighted_by))
        except Unusable as reason:
            left_out[message.metadata.src_node_id] = str(reason)
    for node, why in left_out.items():
        log(WARNING, "\t> Node %d is left out of this round: %s", node, why)
    return sorted(kept, key=lambda r: (r.client == "", r.client.zfill(12), r.node)), left_out


def _read(message: Message, reference: ArrayRecord, weighted_by: str) -> Reply:
    if message.has_error():
        raise Unusable(f"it failed: {message.error.reason}")
    content = message.content
    if len(content.array_records) != 1 or len(content.metric_records) != 1:
        found = f"{len(content.array_records)} and {len(content.metric_records)}"
        raise Unusable(f"a reply holds one ArrayRecord and one MetricRecord, here are {found}")
    arrays = next(iter(content.array_records.values()))
    metrics = next(iter(content.metric_records.values()))
    _check_model(arrays, reference)
    told = content.config_records.get(RECORD, ConfigRecord())
    weight = _weight(metrics, weighted_by)
    return Reply(message.metadata.src_node_id, str(told.get("client", "")), content, arrays, metrics, weight)


def _weight(metrics: MetricRecord, key: str) -> float:
    weight = metrics.get(key)
    if not isinstance(weight, int | float):
        raise Unusable(f"its metrics have no number {key!r}")
    if not (weight > 0 and math.isfinite(weight)):
        raise Unusable(f"it trained on {weight} examples")
    return float(weight)


def _check_model(arrays: ArrayRecord, reference: ArrayRecord) -> None:
    if missing := sorted(reference.keys() - arrays.keys()):
        raise Unusable(f"its model lacks {_some(missing)}")
    if more := sorted(arrays.keys() - reference.keys()):
        raise Unusable(f"its model has {_some(more)}, which the global model has not")
    for name, sent in reference.items():
        got = arrays[name]
        if tuple(got.shape) != tuple(sent.shape):
            raise Unusable(f"its {name} is {tuple(got.shape)}, the global model's is {tuple(sent.shape)}")
        _check_numbers(name, got)


def _check_numbers(name: str, array: Array) -> None:
    try:
        tensor = view(array)
    except MismatchError as error:
        raise Unusable(f"its {name}: {error}") from error
    if not _finite(tensor):
        raise Unusable(f"its {name} holds NaN or infinity")


def _finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite; their sum tells in one pass, unless it overflows."""
    if not tensor.is_floating_point() or bool(tensor.sum().isfinite()):
        return True
    return bool(tensor.isfinite().all())


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def common_metrics(replies: Iterable[Reply]) -> list[RecordDict]:
    """What the metrics are averaged over: each reply's, cut to the keys that all have.

    Flower ends the run where the keys differ.
    """
    rows: list[Mapping[str, object]] = [dict(r.metrics) for r in replies]
    shared = set.intersection(*(set(row) for row in rows)) if rows else set()
    if lost := sorted(set().union(*rows) - shared):
        log(WARNING, "\t> Metrics that not all clients sent are left out: %s", _some(lost))
    records = [MetricRecord({k: v for k, v in row.items() if k in shared}) for row in rows]  # type: ignore[misc]
    return [RecordDict({"metrics": record}) for record in records]
