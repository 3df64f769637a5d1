"""The client's half as a Flower mod: ``ClientApp(mods=[llpf_merge_mod(task)])`` and nothing else changes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable
from torch import Tensor

from llpf_flower.arrays import sound, to_arrays, to_weights, view
from llpf_flower.chain import holding, innermost
from llpf_flower.local import Merged, Pace, merge_into_local
from llpf_flower.replies import RECORD
from llpf_flower.serving import AVERAGE, BETTER, MODE, SERVING, as_good
from llpf_flower.state import LIMIT, Own, Store, client_id
from llpf_plugin.documents import validated
from llpf_plugin.errors import CheckpointError
from llpf_plugin.geometry import Correct
from llpf_plugin.tasks import Task
from llpf_plugin.workspace import Compute

TaskFactory = Callable[[Context], Task]
"""The client's task from its context; called in every round in which the client merges or chooses."""

OwnFactory = Callable[[Context], Mapping[str, Tensor] | None]
"""The model that a client begins with, or None if it takes the server's."""


@dataclass(frozen=True)
class LLPFMergeMod:
    """What `llpf_merge_mod` returns; its attributes are that function's arguments."""

    task: TaskFactory
    own: OwnFactory | None = None
    share: float = 0.5
    steps: int | None = None
    tolerance: float | None = None
    correct: Correct = "matrices"
    state_dir: str | Path | None = None
    state_limit: int = LIMIT
    seed: int = 0
    compute: Compute | None = None
    arrays_key: str = "arrays"
    config_key: str = "config"

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Handle one message, after the other mods of the app and of the function that is called."""
        kind = message.metadata.message_type.split(".")[0]
        if kind not in ("train", "evaluate"):
            return call_next(message, context)
        return innermost(call_next, self._train if kind == "train" else self._evaluate)(message, context)

    def _train(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Call the train function, with the merged model unless the server wants the incoming one trained."""
        if self.arrays_key not in message.content:
            return call_next(message, context)
        config = message.content.config_records.get(self.config_key, ConfigRecord())
        if config.get(MODE) == AVERAGE:
            return _told(call_next(message, context), context, {"mode": AVERAGE})
        return self._merge(message, context, call_next, config)

    def _evaluate(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Call the evaluate function, with the model that serves this client where the server asks for that."""
        if self.arrays_key not in message.content:
            return call_next(message, context)
        config = message.content.config_records.get(self.config_key, ConfigRecord())
        if config.get(SERVING) != BETTER:
            return _told(call_next(message, context), context, {})
        own = self._better(context, message.content.array_records[self.arrays_key])
        if own is None:
            return _told(call_next(message, context), context, {"served": "mean"})
        with holding(message, self.arrays_key, to_arrays(own.weights)):
            reply = call_next(message, context)
        return _told(reply, context, {"served": "own"})

    def _merge(self, message: Message, context: Context, call_next: ClientAppCallable, config: ConfigRecord) -> Message:
        """Train on the merge of the client's own model with the incoming one, and keep what that returns.

        A reply without a model, or with an unsound one, is not kept.
        """
        arrays, now = message.content.array_records[self.arrays_key], config.get("server-round")
        store = Store(context, self.state_dir, self.state_limit, now if isinstance(now, int) else None)
        own = store.load(arrays) or self._first(context, arrays)
        words: dict[str, Any] = {"mode": "train"}
        if own is not None:
            merged = self._walk(own, arrays, config, context)
            own, words = Own(merged.weights, {"pace": asdict(merged.pace)}), told(merged)
            arrays = to_arrays(own.weights)
        with holding(message, self.arrays_key, arrays):
            reply = call_next(message, context)
        if reply.has_content() and len(reply.content.array_records) == 1:
            trained = next(iter(reply.content.array_records.values()))
            if store.fits(trained) and _sound(trained, arrays):
                store.save(to_weights(trained), {} if own is None else own.notes)
        return _told(reply, context, words)

    def _first(self, context: Context, like: ArrayRecord) -> Own | None:
        """The model that the client begins with, in the order of the incoming one."""
        weights = None if self.own is None else self.own(context)
        if weights is None:
            return None
        return Own({k: weights[k] for k in like} if weights.keys() == like.keys() else dict(weights))

    def _walk(self, own: Own, arrays: ArrayRecord, config: ConfigRecord, context: Context) -> Merged:
        """The merge step, with what the train config says of it."""
        options: dict[str, Any] = {"share": float(config.get("llpf-share", self.share))}  # type: ignore[arg-type]
        if "llpf-active" in config:
            options["active"] = frozenset(map(str, config["llpf-active"]))  # type: ignore[arg-type]
        steps = config.get("llpf-steps", self.steps)
        return merge_into_local(
            own.weights, to_weights(arrays), self.task(context), steps=None if steps is None else int(steps),  # type: ignore[arg-type]
            pace=_pace(own.notes), tolerance=self.tolerance, correct=self.correct,
            seed=self.seed + _seed(context), compute=self.compute, **options,
        )  # fmt: skip

    def _better(self, context: Context, arrays: ArrayRecord) -> Own | None:
        """The client's own model, None once the federation's is as good."""
        own = self._first(context, arrays)
        if own is None or as_good(to_weights(arrays), own.weights, self.task(context), self.tolerance, self.compute):
            return None
        return own


def _pace(notes: Mapping[str, Any]) -> Pace:
    """What the client carries from the round before.

    Raises:
        CheckpointError: its file was edited.
    """
    try:
        return validated(Pace, notes.get("pace", {}))
    except TypeError as error:
        raise CheckpointError(f"the client's own model comes with odd notes ({error}): remove its file") from error


def llpf_merge_mod(
    task_factory: TaskFactory, *, own: OwnFactory | None = None, share: float = 0.5, steps: int | None = None,
    tolerance: float | None = None, correct: Correct = "matrices", state_dir: str | Path | None = None,
    state_limit: int = LIMIT, seed: int = 0, compute: Compute | None = None, arrays_key: str = "arrays",
    config_key: str = "config",
) -> LLPFMergeMod:  # fmt: skip
    """A mod that merges what the server sends into the client's own model, instead of overwriting it.

    In a training round it walks ``share`` of the way from the client's model to the incoming one, hands the result to
    the client's train function, and keeps what that returns. It stands next to that function, after all other mods: a
    privacy mod sees what the server sent and clips the whole step from there. With ``LLPFStrategy(serve_own=True)`` on
    the server it does not merge: the train function gets the federation's model, and the evaluate function the model
    that serves the client, which is its own until the federation's is as good on the client's data.

    Args:
        task_factory: makes the client's `Task` (model, objective, data) from its context.
        own: makes or loads the model that the client begins with, called whenever that is needed. Without it, or where
            it returns None, the client begins with the server's.
        share: the part of the way to walk in a round; the train config's ``llpf-share`` overrides it.
        steps: gradient steps of a round's walk (default: an epoch, at least 20); ``llpf-steps`` overrides it, and
            ``llpf-active`` names the parameters that move.
        tolerance: training loss above that of the client's first model that counts as low.
        correct: which tensors are held on their spheres.
        state_dir: folder of the client's model (default: ``state-dir`` of the node config); it outlasts the run there.
        state_limit: bytes up to which the model is kept in Flower's context where no folder is named.
        seed: for batches and dropout; the client's number is added.
        compute: device and precision.
        arrays_key: name of the incoming ArrayRecord.
        config_key: name of the incoming ConfigRecord.

    Example:
        >>> app = ClientApp(mods=[llpf_merge_mod(lambda context: my_task(context.node_config["partition-id"]))])
    """
    return LLPFMergeMod(
        task_factory, own, share, steps, tolerance, correct, state_dir, state_limit, seed, compute, arrays_key,
        config_key,
    )  # fmt: skip


def told(merged: Merged) -> dict[str, Any]:
    """What the server is told of a merge."""
    return {
        "mode": "merge", "moved": merged.moved, "low": merged.low, "own_loss": merged.own_loss,
        "incoming_loss": merged.incoming_loss, "settled_loss": merged.settled_loss, "ticks": merged.ticks,
    }  # fmt: skip


def _told(reply: Message, context: Context, words: Mapping[str, Any]) -> Message:
    """The reply with the client's id and what there is to tell beside it."""
    if reply.has_content():
        reply.content[RECORD] = ConfigRecord({"client": client_id(context), **words})
    return reply


def _sound(arrays: ArrayRecord, reference: ArrayRecord) -> bool:
    """Whether a model has the reference's names and shapes, and no NaN."""
    same = {k: tuple(a.shape) for k, a in arrays.items()} == {k: tuple(a.shape) for k, a in reference.items()}
    return same and all(sound(view(a), view(reference[k])) for k, a in arrays.items())


def _seed(context: Context) -> int:
    """The client's number, so that no two draw the same batches."""
    number = client_id(context)
    return int(number) % 2**31 if number.isdigit() else sum(map(ord, number))
