"""The client's half as a Flower mod: ``ClientApp(mods=[llpf_merge_mod(task)])`` and not a line more."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable
from torch import Tensor

from llpf_flower.arrays import sound, to_arrays, to_weights, view
from llpf_flower.local import Merged, Pace, merge_into_local
from llpf_flower.replies import RECORD
from llpf_flower.serving import as_good
from llpf_flower.state import LIMIT, Own, Store, client_id
from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry.sphere import Correct
from llpf_plugin.tasks.task import Task
from llpf_plugin.workspace import Compute

TaskFactory = Callable[[Context], Task]
"""The client's task from its context; it is called in every round that walks."""

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
    weighted_by: str = "num-examples"

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Handle one message."""
        kind = message.metadata.message_type.split(".")[0]
        if kind not in ("train", "evaluate") or self.arrays_key not in message.content:
            return call_next(message, context)
        config = message.content.config_records.get(self.config_key, ConfigRecord())
        arrays = message.content.array_records[self.arrays_key]
        store = Store(context, self.state_dir, self.state_limit)
        if kind == "evaluate":
            return self._evaluate(message, context, call_next, config, arrays, store)
        mode = str(config.get("llpf-mode", "merge"))
        own = None if mode == "average" else store.load(arrays) or self._first(context, arrays)
        if own is None:
            if mode == "walk":
                raise LLPFError("this client has lost its own model and cannot walk; the server will let it join again")
            if store.fits(arrays):
                store.check(arrays)
            return self._train(message, context, call_next, store, Own({}), {"mode": "train"})
        task = self.task(context)
        if mode == "join":
            return self._answer(message, context, store, own, {"mode": "join"}, len(task.train))
        merged = self._merge(own, arrays, config, context, task)
        own = Own(merged.weights, {"pace": asdict(merged.pace)})
        if mode == "walk":
            return self._answer(message, context, store, own, told(merged), len(task.train))
        message.content[self.arrays_key] = to_arrays(own.weights)
        return self._train(message, context, call_next, store, own, told(merged) | {"mode": "merge"})

    def _first(self, context: Context, like: ArrayRecord) -> Own | None:
        """The model that the client begins with, in the order of the incoming one."""
        weights = None if self.own is None else self.own(context)
        if weights is None:
            return None
        return Own({k: weights[k] for k in like} if weights.keys() == like.keys() else dict(weights))

    def _merge(self, own: Own, arrays: ArrayRecord, config: ConfigRecord, context: Context, task: Task) -> Merged:
        options: dict[str, Any] = {"share": float(config.get("llpf-share", self.share))}  # type: ignore[arg-type]
        if "llpf-active" in config:
            options["active"] = frozenset(map(str, config["llpf-active"]))  # type: ignore[arg-type]
        steps = config.get("llpf-steps", self.steps)
        return merge_into_local(
            own.weights, to_weights(arrays), task, steps=None if steps is None else int(steps),  # type: ignore[arg-type]
            pace=Pace(**own.notes.get("pace", {})), tolerance=self.tolerance, correct=self.correct,
            seed=self.seed + _seed(context), compute=self.compute, **options,
        )  # fmt: skip

    def _answer(
        self, message: Message, context: Context, store: Store, own: Own, words: Mapping[str, Any], examples: int
    ) -> Message:
        """Keep the model and reply with it; the client's own train function is not called."""
        store.save(own.weights, own.notes)
        metrics: dict[str, Any] = {self.weighted_by: examples}
        if "own_loss" in words:
            metrics["train-loss"] = words["own_loss"]
        content = {"arrays": to_arrays(own.weights), "metrics": MetricRecord(metrics), RECORD: _record(context, words)}
        return Message(RecordDict(content), reply_to=message)  # type: ignore[arg-type]

    def _train(
        self, message: Message, context: Context, call_next: ClientAppCallable, store: Store, own: Own,
        words: Mapping[str, Any],
    ) -> Message:  # fmt: skip
        """Let the client's own train function do its work, and keep what it returns, unless that is no model."""
        arrays = message.content.array_records[self.arrays_key]
        reply = call_next(message, context)
        if reply.has_content() and len(reply.content.array_records) == 1:
            trained = next(iter(reply.content.array_records.values()))
            if store.fits(trained) and _sound(trained, arrays):
                store.save(to_weights(trained), own.notes)
            reply.content[RECORD] = _record(context, words)
        return reply

    def _evaluate(
        self, message: Message, context: Context, call_next: ClientAppCallable, config: ConfigRecord,
        arrays: ArrayRecord, store: Store,
    ) -> Message:  # fmt: skip
        """Evaluate the model that serves this client: its own until the federation's is as good on its data."""
        serving = str(config.get("llpf-serving", "mean"))
        own = None if serving == "mean" else self._first(context, arrays)
        if own is None and serving == "own":
            own = store.load(arrays)
        if own is not None and serving == "better":
            found = as_good(to_weights(arrays), own.weights, self.task(context), self.tolerance, self.compute)
            own = None if found else own
        if own is not None:
            message.content[self.arrays_key] = to_arrays(own.weights)
        reply = call_next(message, context)
        if reply.has_content() and serving != "mean":
            reply.content[RECORD] = _record(context, {"served": "mean" if own is None else "own"})
        return reply


def llpf_merge_mod(
    task_factory: TaskFactory, *, own: OwnFactory | None = None, share: float = 0.5, steps: int | None = None,
    tolerance: float | None = None, correct: Correct = "matrices", state_dir: str | Path | None = None,
    state_limit: int = LIMIT, seed: int = 0, compute: Compute | None = None, arrays_key: str = "arrays",
    config_key: str = "config", weighted_by: str = "num-examples",
) -> LLPFMergeMod:  # fmt: skip
    """A mod that merges what the server sends into the client's own model, instead of overwriting it.

    With `LLPFWalk` on the server it is the client half of the federated walk: it walks, and the client's train function
    is called once the federation averages. With any other strategy it walks ``share`` of the way to the incoming
    model, hands the result to the client's train function, and keeps what that returns.

    Args:
        task_factory: makes the client's `Task` (model, objective, data) from its context.
        own: makes the model that the client begins with, for independent starts; it goes on serving the client until
            the federation's is as good on the client's data. Without it, or where it returns None, the client takes
            the server's.
        share: the part of the way to walk in a round, where the server does not say.
        steps: gradient steps of a round's walk, where the server does not say (default: an epoch, at least 20).
        tolerance: training loss above that of the client's first model that counts as low.
        correct: which tensors are held on their spheres.
        state_dir: folder of the client's model (default: ``state-dir`` of the node config); it outlasts the run there.
        state_limit: bytes up to which the model is kept in Flower's context where no folder is named.
        seed: of batches and dropout; the client's number is added.
        compute: device and precision.
        arrays_key: name of the incoming ArrayRecord.
        config_key: name of the incoming ConfigRecord.
        weighted_by: metric that says the number of examples.

    Example:
        >>> app = ClientApp(mods=[llpf_merge_mod(lambda context: my_task(context.node_config["partition-id"]))])
    """
    return LLPFMergeMod(
        task_factory, own, share, steps, tolerance, correct, state_dir, state_limit, seed, compute,
        arrays_key, config_key, weighted_by,
    )  # fmt: skip


def told(merged: Merged) -> dict[str, Any]:
    """What the server is told of a walk."""
    return {
        "mode": "walk", "moved": merged.moved, "low": merged.low, "own_loss": merged.own_loss,
        "incoming_loss": merged.incoming_loss, "settled_loss": merged.settled_loss, "ticks": merged.ticks,
    }  # fmt: skip


def _sound(arrays: ArrayRecord, reference: ArrayRecord) -> bool:
    """Whether a model has the reference's names and shapes, and no NaN."""
    same = {k: tuple(a.shape) for k, a in arrays.items()} == {k: tuple(a.shape) for k, a in reference.items()}
    return same and all(sound(view(a), view(reference[k])) for k, a in arrays.items())


def _record(context: Context, words: Mapping[str, Any]) -> ConfigRecord:
    return ConfigRecord({"client": client_id(context), **words})


def _seed(context: Context) -> int:
    """The client's number, so that no two draw the same batches."""
    number = client_id(context)
    return int(number) % 2**31 if number.isdigit() else sum(map(ord, number))
