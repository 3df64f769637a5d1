"""Which replies of a round count, in which order, and why the others do not."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from logging import WARNING
from typing import TypeVar

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log

from llpf_flower.arrays import finite, sound, view
from llpf_flower.asked import Asked
from llpf_plugin.errors import MismatchError

T = TypeVar("T")

RECORD = "llpf"
"""Name of the ConfigRecord in which a client tells what is neither arrays nor metrics."""


def told(content: RecordDict) -> ConfigRecord:
    """What the client half of this package told in a reply, empty from a client without it."""
    return content.config_records.get(RECORD, ConfigRecord())


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


class Unusable(Exception):  # noqa: N818 - a reason, caught in this file
    """Why a reply is left out."""


def sift(
    replies: Sequence[Message], reference: ArrayRecord, weighted_by: str, asked: Asked | None = None,
    whole: bool = False,
) -> tuple[list[Reply], dict[int, str]]:  # fmt: skip
    """The replies that count, in an order that does not depend on when they came, and why the others do not.

    Replies are ordered by what they hold; only between equal ones the id that the client gave itself decides, and then
    that of its node, which is another one in every run.

    Args:
        replies: of one training round.
        reference: the whole model; names and shapes must be its.
        weighted_by: key of the number of examples among the metrics.
        asked: whose replies these are; who does not answer is left out.
        whole: whether a reply must hold all of the model, not only a part.

    Returns:
        Replies, and reasons by node id.
    """
    asked = asked or Asked()
    kept: list[Reply] = []
    left_out: dict[int, str] = {}
    for message in replies:
        try:
            kept.append(_read(message, reference, weighted_by, whole))
        except Unusable as reason:
            left_out[asked.node(message)] = str(reason)
    left_out.update(dict.fromkeys(asked.late(replies), "it did not answer in time"))
    left_out = dict(sorted(left_out.items()))
    for node, why in left_out.items():
        log(WARNING, "\t> Node %d is left out of this round: %s", node, why)
    return sorted(kept, key=lambda r: _rank(r.client, r.node, r.weight, r.metrics, r.arrays)), left_out


def _read(message: Message, reference: ArrayRecord, weighted_by: str, whole: bool) -> Reply:
    if message.has_error():
        raise Unusable(f"it failed: {message.error.reason}")
    content = message.content
    arrays = _one(content.array_records, "ArrayRecord")
    metrics = _one(content.metric_records, "MetricRecord")
    _check_model(arrays, reference, whole)
    weight = _weight(metrics, weighted_by)
    return Reply(message.metadata.src_node_id, _client(content), content, arrays, metrics, weight)


def _client(content: RecordDict) -> str:
    """The id that the client gave itself."""
    return str(told(content).get("client", ""))


def _weight(metrics: MetricRecord, key: str) -> float:
    weight = metrics.get(key)
    if not isinstance(weight, int | float):
        raise Unusable(f"its metrics have no number {key!r}")
    if not (weight > 0 and math.isfinite(weight)):
        raise Unusable(f"it trained on {weight} examples")
    return float(weight)


def _check_model(arrays: ArrayRecord, reference: ArrayRecord, whole: bool) -> None:
    missing = sorted(reference.keys() - arrays.keys())
    if missing and (whole or len(missing) == len(reference)):
        raise Unusable(f"its model lacks {some_of(missing)}")
    if more := sorted(arrays.keys() - reference.keys()):
        raise Unusable(f"its model has {some_of(more)}, which the global model has not")
    for name, got in arrays.items():
        sent = reference[name]
        if tuple(got.shape) != tuple(sent.shape):
            raise Unusable(f"its {name} is {tuple(got.shape)}, the global model's is {tuple(sent.shape)}")
        _check_numbers(name, got, sent)


def _check_numbers(name: str, array: Array, reference: Array) -> None:
    try:
        tensor = view(array)
    except MismatchError as error:
        raise Unusable(f"its {name}: {error}") from error
    if not (finite(tensor) or sound(tensor, view(reference))):
        raise Unusable(f"its {name} holds NaN or infinity")


def some_of(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def sift_metrics(replies: Iterable[Message], weighted_by: str, asked: Asked | None = None) -> list[RecordDict]:
    """The evaluation replies that count, in the order of `sift`; others are logged.

    Args:
        replies: of one evaluation.
        weighted_by: key of the number of examples among the metrics.
        asked: whose replies these are.
    """
    asked = asked or Asked()
    kept: list[tuple[Rank, RecordDict]] = []
    for message in replies:
        node = asked.node(message)
        try:
            if message.has_error():
                raise Unusable(f"it failed: {message.error.reason}")
            metrics = _one(message.content.metric_records, "MetricRecord")
            weight = _weight(metrics, weighted_by)
            kept.append((_rank(_client(message.content), node, weight, metrics), message.content))
        except Unusable as reason:
            log(WARNING, "\t> Node %d is left out of this evaluation: %s", node, reason)
    return [content for _, content in sorted(kept, key=lambda k: k[0])]


Rank = tuple[float, "_Bytes", list[tuple[str, str]], bool, str, int]
"""Where a reply stands in a sum."""


class _Bytes:
    """Models in the order of their bytes, which differ early: later tensors are not read."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bytes) and self._first(other) is None

    def __lt__(self, other: "_Bytes") -> bool:
        return bool(self._first(other))

    def _first(self, other: "_Bytes") -> bool | None:
        """Whether this one comes first, None if they are equal."""
        if self.arrays is other.arrays:
            return None
        names = zip_longest(self.arrays, other.arrays, fillvalue="")
        for one, two in names:
            if one != two:
                return one < two
            if (mine := self.arrays[one].data) != (others := other.arrays[two].data):
                return mine < others
        return None


def _rank(
    client: str, node: int, weight: float, metrics: MetricRecord, arrays: Mapping[str, Array] | None = None
) -> Rank:
    """By what a client sent, then by the id that it gives itself, numbers as numbers."""
    numbers = sorted((name, repr(value)) for name, value in metrics.items())
    return weight, _Bytes(arrays or {}), numbers, client == "", client.zfill(12), node


def _one(records: Mapping[str, T], kind: str) -> T:
    if len(records) != 1:
        raise Unusable(f"a reply holds one {kind}, here are {len(records)}")
    return next(iter(records.values()))
