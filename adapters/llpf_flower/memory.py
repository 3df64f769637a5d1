"""What a strategy remembers of its rounds: rows, table and picture; its state, and how it goes on from there."""

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
        resumed: whether the next `start` goes on from a state.
        checkpoint_dir: folder of the checkpoints.
        checkpoint_every: rounds between two.
    """

    rows: list[history.Row]
    arrays: ArrayRecord | None
    first_round: int
    momentum: Momentum
    resumed: bool
    checkpoint_dir: Path | None
    checkpoint_every: int

    def reset(self) -> None:
        """Forget the run before: `start` begins a new one, unless it goes on from a state."""
        self.rows, self.momentum.velocity = [], None

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

    def report(self, folder: Path) -> None:
        """Draw the picture of all rounds into a folder, or say why there is none."""
        try:
            log(INFO, "\tPicture: %s", self.draw(folder / "rounds.png"))
        except LLPFError as error:
            log(WARNING, "\tNo picture: %s", error)

    def state_dict(self) -> dict[str, Any]:
        """All that a later run needs to go on: round, rows, and models (tensors by name, by part)."""
        models = {} if self.arrays is None else {"arrays": to_weights(self.arrays)}
        if self.momentum.velocity is not None:
            models["velocity"] = self.momentum.velocity
        number = self.rows[-1]["round"] if self.rows else self.first_round
        return {"round": number, "rows": deepcopy(self.rows), "models": models}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`: the round offset, the rows and the global model, which `start` is to be given.

        Raises:
            MismatchError: the state is no strategy's.
        """
        try:
            rows = [{**row, "left_out": {int(k): v for k, v in row["left_out"].items()}} for row in state["rows"]]
            self.first_round, self.rows, self.resumed = int(state["round"]), deepcopy(rows), True
            models = state["models"]
        except (KeyError, TypeError) as error:
            raise MismatchError(
                f"this is no state of a strategy: {error!r}; give what state_dict() returned"
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
