"""What a strategy remembers of its rounds: rows, table and picture; its state, and how to continue from it."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

from flwr.app import Array, ArrayRecord, MetricRecord
from flwr.common.logger import log
from flwr.serverapp.strategy import Result
from torch import Tensor

from llpf_flower import checkpoint, history
from llpf_flower.arrays import same, shapes, to_arrays, to_weights
from llpf_flower.folders import prepare
from llpf_flower.journal import NAME, Journal
from llpf_flower.momentum import Momentum
from llpf_plugin.documents import quoted
from llpf_plugin.errors import LLPFError, MismatchError

MOST_ROUNDS = 2**31
"""Rounds of a run that Flower can count."""


def _compare(loaded: ArrayRecord, given: ArrayRecord) -> None:
    """Refuse a model that cannot be the one of the state, and warn of one that is not."""
    wanted, found = shapes(loaded), shapes(given)
    if odd := sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k)):
        raise MismatchError(
            f"the run continues from the state of another model: {', '.join(odd[:3])} differ. Start with what resume() "
            "returned, or with a new strategy (first_round= counts on)."
        )
    if not same(loaded, given):
        log(WARNING, "The run continues from a state, but not with its model: start with what resume() returned")


def _check_models(number: int, models: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Refuse a state of an impossible round, or with a velocity of another model."""
    if not 0 <= number < MOST_ROUNDS:
        raise MismatchError(f"this is not the state of a strategy: no run comes to round {quoted(number)}")
    model = {**models.get("unsent", {}), **models.get("arrays", {})}
    for name, step in models.get("velocity", {}).items():
        if name not in model or step.shape != model[name].shape or not step.is_floating_point():
            raise MismatchError(f"the velocity in this state is not that of its model: {quoted(name)} differs")


class Memory:
    """The part of `LLPFStrategy` that outlasts a round.

    Attributes:
        rows: what happened in each round; `table` shows it, `draw` draws it.
        arrays: the newest global model, None before the first round.
        first_round: rounds that went before.
        momentum: of the server.
        known: every tensor that the global model ever had; clients may send a part of them.
        resumed: whether the next run continues from a state.
        checkpoint_dir: folder of the checkpoints.
        checkpoint_every: rounds between two.
    """

    rows: list[history.Row]
    arrays: ArrayRecord | None
    known: dict[str, Array]

    def remember(
        self, first_round: int, checkpoint_dir: str | Path | None, checkpoint_every: int, momentum: Momentum
    ) -> None:
        """Set all of it up; nothing has happened yet.

        Raises:
            LLPFError: fewer than one round between two checkpoints.
        """
        if checkpoint_every < 1:
            raise LLPFError(f"checkpoint_every = {checkpoint_every}: it must be at least 1")
        self.rows, self.arrays, self.known, self.resumed = [], None, {}, False
        self._journal: Journal | None = None
        self.first_round, self.momentum, self.checkpoint_every = first_round, momentum, checkpoint_every
        self.checkpoint_dir = None if checkpoint_dir is None else Path(checkpoint_dir)

    def begin(self, arrays: ArrayRecord) -> None:
        """Begin a new run, which forgets the one before, or continue from the state that was loaded.

        Raises:
            MismatchError: the run is to continue from a state, with a model of other names or shapes.
            RunError: the folder of the checkpoints cannot be made, or not be written to.
        """
        if self.resumed and self.arrays is not None:
            _compare(self.arrays, arrays)
        if self.checkpoint_dir is not None:
            prepare(self.checkpoint_dir, "checkpoint folder", "ro*")  # round-…, rounds, rows
            self._journal = Journal(self.checkpoint_dir / NAME)
        if not self.resumed:
            self.rows, self.momentum.velocity, self.known = [], None, {}
        self.resumed, self.arrays = False, arrays

    @property
    def reference(self) -> ArrayRecord:
        """The newest version of every tensor: the global model, and what no client sent in the rounds before it."""
        return ArrayRecord({**self.known, **(self.arrays or {})})

    def serve(self, arrays: ArrayRecord) -> None:
        """Take what is served for the global model: another strategy that wraps this one may have changed it."""
        if self.arrays is not None and arrays is not self.arrays:
            self.momentum.follow(self.arrays, arrays)
        self.arrays = arrays

    def row(self, server_round: int) -> history.Row:
        """The row of a round; one that nobody keeps if a strategy that wraps this one let nothing be aggregated."""
        last = self.rows[-1] if self.rows else {}
        return last if last.get("round") == server_round + self.first_round else {}

    def save(self, server_round: int) -> None:
        """Write the checkpoint of a round, if it is its turn."""
        number = server_round + self.first_round
        if self.checkpoint_dir is not None and number % self.checkpoint_every == 0:
            place = self.checkpoint_dir / f"round-{number:05d}.safetensors"
            checkpoint.save({**self._state(), "round": number}, place, self._journal)

    def noting(
        self, evaluate: Callable[[int, ArrayRecord], MetricRecord | None]
    ) -> Callable[[int, ArrayRecord], MetricRecord | None]:
        """The user's evaluation, with its numbers noted in the round's row."""

        def noted(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
            metrics = evaluate(server_round + self.first_round, arrays)
            if metrics is not None and self.rows and server_round > 0:
                self.row(server_round).update(history.numbers(metrics, "server "))
                self.save(server_round)
            return metrics

        return noted

    def end(self, result: Result, rows: Sequence[history.Row]) -> Result:
        """Show the run, and count its rounds on from those before it.

        Args:
            result: as Flower numbers it, from 1.
            rows: of this run alone.

        Raises:
            RunError: clients were asked, and no reply of any round counted.
        """
        self.report()
        if not result.arrays:
            history.check_counted(rows)
        if not result.arrays and self.arrays is not None:  # nobody was asked to train
            result.arrays = self.arrays
        for name in ("train_metrics_clientapp", "evaluate_metrics_clientapp", "evaluate_metrics_serverapp"):
            setattr(result, name, {self.first_round + k: metrics for k, metrics in getattr(result, name).items()})
        return result

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
        return {**self._state(), "rows": deepcopy(self.rows)}

    def _state(self) -> dict[str, Any]:
        """The same, with the rows themselves."""
        models = {} if self.arrays is None else {"arrays": to_weights(self.arrays)}
        if unsent := {k: a for k, a in self.known.items() if self.arrays is not None and k not in self.arrays}:
            models["unsent"] = to_weights(ArrayRecord(unsent))
        if self.momentum.velocity is not None:
            models["velocity"] = self.momentum.velocity
        number = self.rows[-1]["round"] if self.rows else self.first_round
        return {"round": number, "rows": self.rows, "models": models}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`: the round offset, the rows and the global model, which `start` is to be given.

        Raises:
            MismatchError: the state is not a strategy's.
        """
        try:
            rows, number, models = history.checked(state["rows"]), int(state["round"]), state["models"]
        except (KeyError, TypeError) as error:
            raise MismatchError(
                f"this is not the state of a strategy: {error!r}; give what state_dict() returned"
            ) from error
        _check_models(number, models)
        self.first_round, self.rows, self.resumed = number, deepcopy(rows), True
        self.arrays = to_arrays(models["arrays"]) if "arrays" in models else None
        self.known = dict(to_arrays({**models.get("arrays", {}), **models.get("unsent", {})}))
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
