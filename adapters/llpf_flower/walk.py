"""`LLPFWalk`: clients walk together, each on its own low-loss path, and are averaged once they are close."""

import math
from collections.abc import Iterable, Mapping, Sequence
from logging import INFO
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid

from llpf_flower import history
from llpf_flower.arrays import to_arrays, to_weights
from llpf_flower.mean import Rule, average, conform
from llpf_flower.replies import RECORD, Reply
from llpf_flower.strategy import LLPFStrategy
from llpf_plugin.errors import LLPFError

GROW, LEAST = 1.5, 0.05
"""The factor by which the round's share grows and shrinks, and the smallest that is asked for."""

SHRUNK = 0.95
"""The clients stand still if their distance, √(1 − correlation), is above this part of its least so far."""


class LLPFWalk(LLPFStrategy):
    """Federated M2M: clients that begin with models of their own come together, and none is served a useless mean.

    In every round the server sends the clients' mean, the share of the way and the active layers; each client walks its
    own model towards the mean on its own data (`llpf_merge_mod`). The first round, and the first of a client that
    comes later, only asks for its model. The server hands over to averaging, as `LLPFStrategy` does it, once the mean
    is good, once the clients are close, or once they come no closer. Clients that begin with the server's model are
    averaged from the first round on.

    A client goes on being served by the model that it began with until the federation's is as good on its own data: it
    is what it evaluates. While the clients walk, `start` evaluates and returns the model of one of them.

    Args:
        *arguments: as in `LLPFStrategy`, whose rules hold for the averaging.
        share: the part of the way to the mean that clients walk in the first round; it grows while all of
            them come closer at a low loss, and shrinks while fewer than half do.
        most: the largest share.
        steps: gradient steps of a client in a round, None for the client's own choice.
        tolerance: the mean is good if its training loss, as the clients measure it on their data, is on average at most
            this much above that of their own models.
        close: clients are close if their models have at least this much in common: the mean correlation between two of
            them, over the tensors that are held on spheres; with -1 they are averaged from the first round on.
        patience: rounds that bring the clients less than 5 % closer after which they are averaged.
        **options: as in `LLPFStrategy`.

    Attributes:
        averaging: whether the walk is over.
        mean: what walking clients are sent.
    """

    def __init__(
        self, *arguments: Any, share: float = 0.5, most: float = 1.0, steps: int | None = None,
        tolerance: float = 0.1, close: float = 0.5, patience: int = 1, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(*arguments, **options)
        if not 0 < share <= most <= 1:
            raise LLPFError(f"share = {share} and most = {most}: it must be 0 < share ≤ most ≤ 1")
        if not (tolerance > 0 and -1 <= close <= 1 and patience >= 1):
            raise LLPFError("tolerance must be above 0, close a correlation in [-1, 1], and patience at least 1")
        self.most, self.steps = most, steps
        self.tolerance, self.close, self.patience = tolerance, close, patience
        self._first_share = share
        self._forget()

    def _forget(self) -> None:
        """How the walk stands before its first round."""
        self.share, self.averaging = self._first_share, False
        self.mean: ArrayRecord | None = None
        self._known: set[int] = set()
        self._least, self._still = float("inf"), 0

    def reset(self) -> None:
        """As `LLPFStrategy`; the clients walk again."""
        super().reset()
        self._forget()

    def _settings(self) -> dict[str, Any]:
        return {
            **super()._settings(),
            "Walk": f"{self.share:g} of the way in the first round, then up to {self.most:g}",
            "Averages": f"where the mean is within {self.tolerance:g} of the clients' loss, they have "
            f"{self.close:g} in common, or stand still for {self.patience} rounds",
        }

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """While walking: the mean to clients that are known, the serving model to those that join."""
        config = ConfigRecord(dict(config))  # the caller's is not ours
        messages = list(super().configure_train(server_round, arrays, config, grid))
        if self.averaging:
            config["llpf-mode"] = "average"
            return messages
        index = {"round": server_round + self.first_round}
        active = self.active(index)
        ours: dict[str, Any] = {"llpf-mode": "walk", "llpf-share": self.share}
        if active is not None:
            ours["llpf-active"] = sorted(active)
        if self.steps is not None:
            ours["llpf-steps"] = self.steps
        records = {
            True: self._record(self.mean or arrays, config, ours),
            False: self._record(arrays, config, {"llpf-mode": "join"}),
        }
        nodes = [message.metadata.dst_node_id for message in messages]
        return [Message(records[node in self._known], node, MessageType.TRAIN) for node in nodes]

    def _record(self, arrays: ArrayRecord, config: ConfigRecord, ours: Mapping[str, Any]) -> RecordDict:
        return RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: ConfigRecord({**config, **ours})})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """While walking, clients evaluate their own models; afterwards, until the mean is as good on their data."""
        ours = ConfigRecord({**config, "llpf-serving": "better" if self.averaging else "own"})
        return super().configure_evaluate(server_round, arrays, ours, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As `LLPFStrategy`, and note how many clients are still served by their own model."""
        replies = list(replies)
        if self.rows:
            told = [m.content.config_records.get(RECORD, ConfigRecord()) for m in replies if m.has_content()]
            if served := [words["served"] for words in told if "served" in words]:
                self.rows[-1]["on their own"] = served.count("own")
        return super().aggregate_evaluate(server_round, replies)

    def combine(self, row: history.Row, replies: Sequence[Reply]) -> ArrayRecord:
        """The model that serves from now on: a client's while the clients walk, then their mean."""
        if self.averaging:
            row["serving"] = "mean"
            return super().combine(row, replies)
        self._known = {r.node for r in replies} | (self._known - set(row["left_out"]))
        assert self.arrays is not None
        self.active(row)
        models = [(r.arrays, r.weight) for r in replies]
        rule = Rule("clients", self.rule.correct, self._walking_buffers, self.rule.dtype)
        result = average(models, self.arrays, rule)
        self.mean = result.arrays
        row["consensus"], row["share"] = result.consensus, self.share
        row["in common"] = in_common(list(result.kept.values()), [r.weight for r in replies])
        self._look(row, [r for r in replies if r.told.get("mode") == "walk"])
        self._pace([r for r in replies if r.told.get("mode") == "walk"])
        if why := self._why_average(row, replies):
            log(INFO, "The clients are averaged from now on: %s", why)
            self.averaging, self.mean = True, None
            row["serving"] = "mean"
            return super().combine(row, replies)
        serving = max(replies, key=lambda r: r.weight)
        row["serving"] = f"client {serving.client or serving.node}"
        return conform(serving.arrays, self.arrays, self.rule)

    @property
    def _walking_buffers(self) -> Any:
        return "mean" if self.rule.buffers == "reestimate" else self.rule.buffers

    def _look(self, row: history.Row, walked: Sequence[Reply]) -> None:
        """Note the barrier that the clients measured of the mean they were sent, and whether they come closer."""
        gaps = [(r.weight, _number(r, "incoming_loss") - _number(r, "own_loss")) for r in walked]
        if seen := [(weight, gap) for weight, gap in gaps if math.isfinite(gap)]:
            row["barrier"] = sum(weight * gap for weight, gap in seen) / sum(weight for weight, _ in seen)
        # In units of the clients' own deviation, so that it does not depend on how many of them came.
        apart = math.sqrt(max(0.0, 1 - row["in common"]))
        if len(walked) == row["clients"]:
            self._still = 0 if apart < SHRUNK * self._least else self._still + 1
        if row["clients"] > 1:
            self._least = min(self._least, apart)

    def _pace(self, walked: Sequence[Reply]) -> None:
        """Grow the share if all clients ended at a low loss, shrink it if fewer than half did."""
        low = sum(bool(r.told.get("low")) for r in walked)
        if walked and low == len(walked):
            self.share = min(self.most, self.share * GROW)
        elif low < len(walked) / 2:
            self.share = max(min(LEAST, self.share), self.share / GROW)

    def _why_average(self, row: history.Row, replies: Sequence[Reply]) -> str:
        """Why the walk is over, empty if it is not, or if too few have answered to tell."""
        asked = len(replies) + len(row["left_out"])
        if len(replies) < min(2, asked) or 2 * len(replies) <= asked:
            return ""
        if self.close <= -1:
            return "close = -1 asks for it"
        if not any(r.told.get("mode") in ("join", "walk") for r in replies):
            return "all of them began with the server's model"
        if row.get("barrier", float("inf")) <= self.tolerance:
            return f"their mean has a loss of {row['barrier']:+.3g} relative to their own"
        if row["in common"] >= self.close:
            return f"their models have {row['in common']:.2g} in common"
        if self._still >= self.patience:
            return f"they have come no closer for {self._still} rounds"
        return ""

    def state_dict(self) -> dict[str, Any]:
        """As `LLPFStrategy.state_dict`, with the mean and how the walk stands; who is known is asked again."""
        state = super().state_dict()
        if self.mean is not None:
            state["models"]["mean"] = to_weights(self.mean)
        walk = {"averaging": self.averaging, "share": self.share, "least": self._least, "still": self._still}
        return {**state, "walk": walk}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; the clients come back with their own models in the next round."""
        super().load_state_dict(state)
        walk = state.get("walk")
        if walk is None:
            raise LLPFError("this is the state of a strategy that does not walk: load it into LLPFStrategy")
        self.averaging, self.share = walk["averaging"], walk["share"]
        self._least, self._still = walk["least"], walk["still"]
        self.mean = to_arrays(state["models"]["mean"]) if "mean" in state["models"] else None


def in_common(kept: Sequence[float], weights: Sequence[float]) -> float:
    """The mean correlation between two clients' tensors, from the variance that their weighted mean keeps.

    A mean of tensors of one variance keeps ``s + (1 - s)·ρ`` of it, where ``s`` is the sum of the squared weights,
    which add up to 1, and ρ the mean correlation; unrelated tensors keep ``s``, equal ones all.

    Args:
        kept: by tensor, variance of the mean over the clients' mean variance.
        weights: of the clients.
    """
    alone = sum(w**2 for w in weights) / sum(weights) ** 2
    if alone >= 1 or not kept:
        return 1.0
    return (sum(kept) / len(kept) - alone) / (1 - alone)


def _number(reply: Reply, key: str) -> float:
    value = reply.told.get(key)
    return float(value) if isinstance(value, int | float) else float("nan")
