"""What a strategy remembers of its rounds: rows, table and picture; its state, and how to continue from it."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, MetricRecord
from flwr.common.logger import log

from llpf_flower import checkpoint, history
from llpf_flower.arrays import to_arrays, to_weights
from llpf_flower.momentum import Momentum
from llpf_plugin.errors import LLPFError, MismatchError


class Memory:
    """The part of `LLPFStrategy` that outlasts a round.

    Attributes:
        rows: what happened in each round; `table` shows it, `draw` draws it.
        arrays: the newest global model, None before the first round.
        first_round: rounds that went before.
        momentum: of the server.
        resumed: whether the next `start` continues from a state.
        checkpoint_dir: folder of the checkpoints.
        checkpoint_every: rounds between two.
    """

    rows: list[history.Row]
    arrays: ArrayRecord | None

    def remember(
        self, first_round: int, checkpoint_dir: str | Path | None, checkpoint_every: int, momentum: Momentum
    ) -> None:
        """Set all of it up; nothing has happened yet.

        Raises:
            LLPFError: fewer than one round between two checkpoints.
        """
        if checkpoint_every < 1:
            raise LLPFError(f"checkpoint_every = {checkpoint_every}: it must be at least 1")
        self.rows, self.arrays, self.resumed = [], None, False
        self.first_round, self.momentum, self.checkpoint_every = first_round, momentum, checkpoint_every
        self.checkpoint_dir = None if checkpoint_dir is None else Path(checkpoint_dir)

    def begin(self, arrays: ArrayRecord) -> None:
        """Begin a new run, which forgets the one before, or continue from the state that was loaded."""
        if not self.resumed:
            self.rows, self.momentum.velocity = [], None
        self.resumed, self.arrays = False, arrays

    def save(self, server_round: int) -> None:
        """Write the checkpoint of a round, if it is its turn."""
        number = server_round + self.first_round
        if self.checkpoint_dir is not None and number % self.checkpoint_every == 0:
            checkpoint.save(self.state_dict(), self.checkpoint_dir / f"round-{number:05d}.safetensors")

    def noting(
        self, evaluate: Callable[[int, ArrayRecord], MetricRecord | None]
    ) -> Callable[[int, ArrayRecord], MetricRecord | None]:
        """The user's evaluation, with its numbers noted in the round's row."""

        def noted(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
            metrics = evaluate(server_round + self.first_round, arrays)
            if metrics is not None and self.rows and server_round > 0:
                self.rows[-1].update(history.numbers(metrics, "server "))
                self.save(server_round)
            return metrics

        return noted

    def table(self) -> str:
        """A Markdown table of all rounds."""
        return history.table(self.rows)

    def draw(self, place: str | Path) -> Path:
        """A picture of all rounds.

        Raises:
            LLPFError: matplotlib is not installed.
        """
        return history.draw(self.rows, place)

    def report(self) -> None:
        """Log the table of all rounds, and draw their picture into the folder of the checkpoints."""
        for line in self.table().splitlines():
            log(INFO, "\t%s", line)
        if self.checkpoint_dir is not None:
            try:
                log(INFO, "\tPicture: %s", self.draw(self.checkpoint_dir / "rounds.png"))
            except LLPFError as error:
                log(WARNING, "\tNo picture: %s", error)

    def state_dict(self) -> dict[str, Any]:
        """All that a later run needs to continue: round, rows, and models (tensors by name, by part)."""
        models = {} if self.arrays is None else {"arrays": to_weights(self.arrays)}
        if self.momentum.velocity is not None:
            models["velocity"] = self.momentum.velocity
        number = self.rows[-1]["round"] if self.rows else self.first_round
        return {"round": number, "rows": deepcopy(self.rows), "models": models}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`: the round offset, the rows and the global model, which `start` is to be given.

        Raises:
            MismatchError: the state is not a strategy's.
        """
        try:
            rows = [{**row, "left_out": {int(k): v for k, v in row["left_out"].items()}} for row in state["rows"]]
            self.first_round, self.rows, self.resumed = int(state["round"]), deepcopy(rows), True
            models = state["models"]
        except (KeyError, TypeError) as error:
            raise MismatchError(
                f"this is not the state of a strategy: {error!r}; give what state_dict() returned"
            ) from error
        self.arrays = to_arrays(models["arrays"]) if "arrays" in models else None
        self.momentum.velocity = models.get("velocity")

    def resume(self, place: str | Path) -> ArrayRecord:
        """Load a checkpoint, or the newest one of a folder, and return the model to give to `start`.

        Raises:
            CheckpointError: there is none, or it cannot be read.
        """
        self.load_state_dict(checkpoint.load(checkpoint.newest(place)))
        if self.arrays is None:
            raise MismatchError(f"{place} was written before the first round and holds no model")
        return self.arrays
