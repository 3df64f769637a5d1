"""The part of `LLPFStrategy` that finds the first model, and asks the clients for that while the run goes on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from logging import WARNING

from flwr.app import ArrayRecord, ConfigRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from llpf_flower.beginning import Beginning
from llpf_flower.first import largest
from llpf_flower.history import Row
from llpf_flower.mean import Average
from llpf_flower.poll import Poll
from llpf_flower.replies import Reply
from llpf_flower.rule import Rule

ALONE = "first='spheres', 'aligned' or 'fresh' sends none"
"""What keeps a client's own model from the others."""


class Opening(FedAvg):
    """A strategy that can evaluate other models than the round's.

    Attributes:
        rows: of the run; `llpf_flower.memory` keeps them.
        rule: how a mean is taken.
        beginning: what the first model is.
    """

    rows: list[Row]
    rule: Rule
    beginning: Beginning

    def prepare_first(self, beginning: Beginning, by: str | None) -> None:
        """Set it up; the clients are not in reach yet.

        Args:
            beginning: what the first model is.
            by: the metric of the clients' evaluation that is the loss.
        """
        self.beginning, self._by = beginning, by
        self._reach: tuple[Grid, float, ConfigRecord] | None = None

    @contextmanager
    def in_reach(self, grid: Grid, timeout: float, config: ConfigRecord | None) -> Iterator[None]:
        """While a run of this strategy's own goes on: in another strategy, what is sent is not ours to choose.

        Args:
            grid: by which clients are asked.
            timeout: seconds that an answer is waited for.
            config: of an evaluation.
        """
        self._reach = grid, timeout, config or ConfigRecord()
        try:
            yield
        finally:
            self._reach = None

    def first_model(self, row: Row, replies: Sequence[Reply], before: ArrayRecord, mean: Average) -> ArrayRecord | None:
        """What the first round ends with, None for the mean, or where a model was trained already.

        Args:
            row: of the round.
            replies: all that count.
            before: the model that the run began with.
            mean: of the replies.
        """
        trained = any(earlier["clients"] for earlier in self.rows[:-1])
        if trained or self._reach is None:
            return None

        def ask(models: Mapping[str, ArrayRecord]) -> Mapping[str, float]:
            poll = self._poll(row["round"], before, largest(replies).node)
            if poll is None:
                return {}
            if "largest" in models:
                log(WARNING, "\t> Clients are to judge first models, one of which is a client's own: %s", ALONE)
            return poll.losses(models)

        return self.beginning.model(row, replies, before, self.rule, mean, ask)

    def _poll(self, number: int, arrays: ArrayRecord, owner: int) -> Poll | None:
        """Who is asked in a round, None if nobody can be.

        Args:
            number: of the round.
            arrays: any model.
            owner: the node whose own model is a candidate, which is fitted to the data that it would be judged by.
        """
        if self._reach is None or self.fraction_evaluate == 0:
            return None
        grid, timeout, config = self._reach
        messages = list(FedAvg.configure_evaluate(self, number, arrays, ConfigRecord({**config}), grid))
        others = [message for message in messages if message.metadata.dst_node_id != owner]
        return Poll(grid, timeout, others or messages, self.arrayrecord_key, self.weighted_by_key, self._by)
