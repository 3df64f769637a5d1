"""Clients and data of the federated benchmarks: everything that the strategies of one setting share.

All strategies of one setting run on the same data, splits, initial models and mini-batches, in one process
(`llpf_flower.inprocess`).
"""

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from hashlib import blake2b
from statistics import mean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from provenance import stamp
from strategies import OWN_SERVED, STRATEGIES, chosen, fresh, largest_first
from torch import Tensor, nn

from llpf_flower import LLPFStrategy, llpf_merge_mod, to_arrays, to_weights
from llpf_flower.inprocess import InProcessGrid
from llpf_plugin import Task, TensorData, load_task
from llpf_plugin.geometry import Weights, clone
from llpf_plugin.training import initialise, train

BATCH, TEST = 32, 500
"""Mini-batch of every client, and the most test images that are used; the learning rate is the task's own."""


@dataclass(frozen=True)
class Setting:
    """What a run depends on besides the strategy.

    Attributes:
        task: of the models and the data.
        subset: training examples, 0 for all.
        clients: how many.
        alpha: of the Dirichlet split by class, 0 for IID.
        epochs: of a client, per round.
        independent: whether clients begin with models of their own, trained apart, or all with one untrained model.
        rounds: how many.
        seed: of split, starts and batches.
        start_epochs: that the independent models are trained for.
        width: of the network, 0 for the task's own.
    """

    task: str
    subset: int
    clients: int
    alpha: float
    epochs: int
    independent: bool
    rounds: int
    seed: int
    start_epochs: float = 100
    width: int = 0

    def key(self, strategy: str) -> str:
        """Name of the run in the JSON file."""
        split = f"Dirichlet {self.alpha:g}" if self.alpha else "IID"
        start = "independent" if self.independent else "common"
        return f"{self.task}|{split}|{self.epochs}|{start}|{strategy}|{self.seed}"


class Federation:
    """Clients with data, and everything that the strategies of one setting share."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        given = {"subset": setting.subset, "width": setting.width}
        self.task = load_task(setting.task, {k: v for k, v in given.items() if v})
        test = self.task.test
        assert isinstance(self.task.train, TensorData) and isinstance(test, TensorData)
        self.test = test.subset(TEST)
        self.parts = dirichlet(self.task.train.targets, setting.clients, setting.alpha, setting.seed)
        self.tasks = [self._client_task(i) for i in range(setting.clients)]
        self.starts: list[Weights] = []
        if setting.independent:
            self.starts = [
                train(task, 1000 * setting.seed + i, epochs=setting.start_epochs) for i, task in enumerate(self.tasks)
            ]
        initialise(self.task, 7000 + setting.seed)
        self.initial = to_arrays(self.task.model.state_dict())
        self.fresh = to_arrays(fresh_weights(to_weights(self.initial), 7500 + setting.seed))
        self._looked: tuple[bytes, Tensor] = (b"", torch.zeros(0))

    def _client_task(self, i: int) -> Task:
        """One client's part of the training data, with a model to work in."""
        data = self.task.train
        assert isinstance(data, TensorData)
        part = TensorData(data.inputs[self.parts[i]], data.targets[self.parts[i]], data.augment)
        defaults = replace(self.task.defaults, batch_size=BATCH, momentum=0.9)
        recipe, model = replace(self.task.recipe, batch_size=BATCH), deepcopy(self.task.model)
        return replace(self.task, train=part, validation=None, test=None, defaults=defaults, recipe=recipe, model=model)

    def steps(self, i: int) -> int:
        """Gradient steps of a client per round."""
        return self.setting.epochs * max(1, len(self.parts[i]) // BATCH)

    def seen(self, weights: Mapping[str, Tensor], i: int) -> tuple[float, float]:
        """A client's accuracy on the test images, and with the test images weighted by the client's own classes."""
        right = self._right(weights)
        targets = self.task.train.targets  # type: ignore[attr-defined]
        classes = int(targets.max()) + 1
        share = torch.bincount(targets[self.parts[i]], minlength=classes).double()
        by_class = torch.zeros(classes).double()
        counts = torch.bincount(self.test.targets, minlength=classes).double()
        by_class.index_add_(0, self.test.targets, right)
        return float(right.mean()), float((by_class / counts.clamp_min(1) * share / share.sum()).sum())

    @torch.no_grad()
    def _right(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Which test images a model gets right; a model that all clients are sent is looked at once."""
        digest = blake2b(b"".join(t.numpy().tobytes() for t in weights.values())).digest()
        if digest != self._looked[0]:
            self.task.model.load_state_dict(dict(weights))
            self.task.model.eval()
            self._looked = digest, (self.task.model(self.test.inputs).argmax(-1) == self.test.targets).double()
        return self._looked[1]

    @torch.no_grad()
    def own_loss(self, weights: Mapping[str, Tensor], i: int) -> float:
        """A model's loss on a client's training data."""
        data = self.tasks[i].train
        assert isinstance(data, TensorData)
        self.task.model.load_state_dict(dict(weights))
        self.task.model.eval()
        return float(F.cross_entropy(self.task.model(data.inputs), data.targets))

    def app(self, first: Callable[[int], Weights] | None, served: bool) -> ClientApp:
        """The clients.

        Args:
            first: the model that a client sends in the first round, None for what it was sent.
            served: give them the mod that serves them their own model as long as it is better.
        """
        own = llpf_merge_mod(lambda c: self.tasks[number(c)], own=lambda c: self.starts[number(c)])
        app = ClientApp(mods=[own] if served else [])

        @app.train()
        def _train(message: Message, context: Context) -> Message:
            i, round_ = number(context), int(message.content["config"]["server-round"])
            begin = to_weights(message.content["arrays"])
            metrics = MetricRecord({"num-examples": len(self.parts[i])})
            if self.starts and round_ == 1:  # the starts are trained already
                arrays = to_arrays(begin if first is None else first(i))
            else:
                arrays = to_arrays(self.local(begin, i, round_, float(message.content["config"].get("proximal-mu", 0))))
            return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

        @app.evaluate()
        def _evaluate(message: Message, context: Context) -> Message:
            i = number(context)
            accuracy, own = self.seen(to_weights(message.content["arrays"]), i)
            size, loss = len(self.parts[i]), self.own_loss(to_weights(message.content["arrays"]), i)
            words = {"num-examples": size, "client": i, "accuracy": accuracy, "own": own, "loss": loss}
            metrics = MetricRecord(words)
            return Message(RecordDict({"metrics": metrics}), reply_to=message)

        return app

    def local(self, begin: Mapping[str, Tensor], i: int, round_: int, mu: float) -> Weights:
        """A client's own training: SGD with momentum 0.9, FedProx's pull where ``mu`` is above 0."""
        task = self.tasks[i]
        task.model.load_state_dict(dict(begin))
        task.model.train()
        optimizer = torch.optim.SGD(task.model.parameters(), task.defaults.lr, 0.9, fused=True)
        anchor = [p.detach().clone() for p in task.model.parameters()] if mu else []
        for step in range(self.steps(i)):
            inputs, targets = task.train.batch(BATCH, 100 * self.setting.seed + i, round_ * self.steps(i) + step)
            loss = F.cross_entropy(task.model(inputs), targets)
            if mu:
                loss = loss + mu / 2 * sum(
                    ((p - q) ** 2).sum() for p, q in zip(task.model.parameters(), anchor, strict=True)
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return clone(task.model.state_dict())

    def run(self, name: str) -> dict[str, Any]:
        """One strategy: by round, the accuracies that the clients see."""
        app = self.app(self._first(name), name == OWN_SERVED)
        rounds: list[list[list[float]]] = []

        def note(records: list[RecordDict], _: str) -> MetricRecord:
            rows = sorted([dict(r["metrics"]) for r in records], key=lambda r: r["client"])  # type: ignore[arg-type]
            rounds.append([[round(row["accuracy"], 5), round(row["own"], 5)] for row in rows])
            return MetricRecord({"accuracy": mean(row["accuracy"] for row in rows)})

        begin = time.monotonic()
        nodes = InProcessGrid(app, self.setting.clients)
        network = (lambda: deepcopy(self.task.model), self.task.example_inputs())  # to align models by
        known = {"network": network} if chosen(name) else {}
        strategy = STRATEGIES[name](evaluate_metrics_aggr_fn=note, fraction_train=1.0, fraction_evaluate=1.0, **known)
        strategy.start(nodes, self.fresh if fresh(name) else self.initial, self.setting.rounds)
        starts = self.starts or [to_weights(self.initial)] * self.setting.clients
        return {
            "start": [list(self.seen(w, i)) for i, w in enumerate(starts)],
            "rounds": rounds,
            "first": strategy.rows[0].get("first") if isinstance(strategy, LLPFStrategy) else None,
            "seconds": time.monotonic() - begin,
            "measured": stamp(),
        }

    def _first(self, name: str) -> Callable[[int], Weights] | None:
        """What each client sends in the first round."""
        if fresh(name):
            return None
        largest = max(range(self.setting.clients), key=lambda i: len(self.parts[i]))
        return (lambda i: self.starts[largest]) if largest_first(name) else (lambda i: self.starts[i])


def fresh_weights(weights: Weights, seed: int) -> Weights:
    """He's normal initial weights for all matrices; the rest stays."""
    generator = torch.Generator().manual_seed(seed)
    return {
        k: nn.init.kaiming_normal_(torch.empty_like(t), generator=generator) if t.dim() >= 2 else t
        for k, t in weights.items()
    }


def number(context: Context) -> int:
    """The client's number."""
    return int(context.node_config["partition-id"])


def dirichlet(targets: Tensor, clients: int, alpha: float, seed: int) -> list[Tensor]:
    """Indices by client; every client gets at least one batch of examples, drawn from all."""
    rng = np.random.default_rng(seed)
    if alpha == 0:
        return [torch.from_numpy(np.sort(p)) for p in np.array_split(rng.permutation(len(targets)), clients)]
    parts: list[list[int]] = [[] for _ in range(clients)]
    for label in range(int(targets.max()) + 1):
        where = rng.permutation(np.flatnonzero(targets.numpy() == label))
        cuts = (np.cumsum(rng.dirichlet([alpha] * clients))[:-1] * len(where)).astype(int)
        for part, some in zip(parts, np.split(where, cuts), strict=True):
            part.extend(some.tolist())
    for part in parts:
        while len(part) < BATCH:
            part.append(int(rng.integers(len(targets))))
    return [torch.tensor(sorted(part)) for part in parts]
