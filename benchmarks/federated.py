"""Flower's strategies beside ours: accuracy by round, what clients see on the way, one-shot merging, and throughput.

All strategies of one setting run on the same data, splits, initial models and mini-batches, in one process
(`llpf_flower.inprocess`). Runs that a JSON file already holds are not run again, so that a series goes on where it was
stopped.

    python benchmarks/federated.py curves --json digits.json --seeds 0 1 2
    python benchmarks/federated.py curves --json mnist.json --task mnist/lenet5 --subset 2000 --seeds 0 1 2
    python benchmarks/federated.py report --json digits.json --figure docs/flower-digits.svg
    python benchmarks/federated.py oneshot --json oneshot.json --seeds 0 1 2
    python benchmarks/federated.py throughput
"""

import argparse
import itertools
import json
import logging
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, Strategy
from scipy import stats
from shared import machine, table
from torch import Tensor

from llpf_flower import LLPFStrategy, LLPFWalk, join_models, llpf_merge_mod, to_arrays, to_weights
from llpf_flower.inprocess import InProcessGrid
from llpf_flower.oneshot import finetune
from llpf_plugin import Defaults, Task, TensorData, load_task
from llpf_plugin.evaluate import evaluate
from llpf_plugin.files import write_json
from llpf_plugin.gradient import Gradient
from llpf_plugin.training import initialise, train
from llpf_plugin.weights import Weights, clone

BATCH, LR, TEST = 32, 0.05, 1000
"""Mini-batch and learning rate of every client, and the most test images that are used."""

QUIET = {"fraction_train": 1.0, "fraction_evaluate": 1.0}

STRATEGIES: Mapping[str, Callable[..., Strategy]] = {
    "FedAvg": FedAvg,
    "FedAvg, largest client first": FedAvg,
    "FedAvgM": lambda **o: FedAvgM(server_momentum=0.5, **o),
    "FedProx": lambda **o: FedProx(proximal_mu=0.1, **o),
    "FedAdam": lambda **o: FedAdam(eta=0.01, tau=1e-3, **o),
    "LLPFStrategy": LLPFStrategy,
    "LLPFWalk": LLPFWalk,
}
"""By name; "largest client first": all clients take the model of the one with the most examples, then FedAvg."""


@dataclass(frozen=True)
class Setting:
    """What a run depends on besides the strategy.

    Attributes:
        task: of the models and the data.
        subset: training examples, 0 for all.
        clients: how many.
        alpha: of the Dirichlet split by class, 0 for IID.
        epochs: of a client in a round.
        independent: whether clients begin with models of their own, trained apart, or all with one untrained model.
        rounds: how many.
        seed: of split, starts and batches.
    """

    task: str
    subset: int
    clients: int
    alpha: float
    epochs: int
    independent: bool
    rounds: int
    seed: int

    def key(self, strategy: str) -> str:
        """Name of the run in the JSON file."""
        split = f"Dirichlet {self.alpha:g}" if self.alpha else "IID"
        start = "independent" if self.independent else "common"
        return f"{self.task}|{split}|{self.epochs}|{start}|{strategy}|{self.seed}"


class Federation:
    """Clients with data, and everything that the strategies of one setting share."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.task = load_task(setting.task, {"subset": setting.subset} if setting.subset else {})
        test = self.task.test
        assert isinstance(self.task.train, TensorData) and isinstance(test, TensorData)
        self.test = test.subset(TEST)
        self.parts = dirichlet(self.task.train.targets, setting.clients, setting.alpha, setting.seed)
        self.starts: list[Weights] = []
        if setting.independent:
            self.starts = [train(self.client_task(i), 1000 * setting.seed + i) for i in range(setting.clients)]
        initialise(self.task.model, 7000 + setting.seed)
        self.initial = to_arrays(self.task.model.state_dict())

    def client_task(self, i: int) -> Task:
        """One client's part of the training data."""
        data = self.task.train
        assert isinstance(data, TensorData)
        part = TensorData(data.inputs[self.parts[i]], data.targets[self.parts[i]], data.augment)
        settings = Defaults(BATCH, LR, 0.9, self.task.defaults.tolerance)
        return replace(
            self.task, train=part, validation=None, test=None, defaults=settings, model=deepcopy(self.task.model)
        )

    def steps(self, i: int) -> int:
        """Gradient steps of a client in a round."""
        return self.setting.epochs * max(1, len(self.parts[i]) // BATCH)

    def seen(self, weights: Mapping[str, Tensor], i: int) -> tuple[float, float]:
        """A client's accuracy on the test images, and with the test images weighted by the client's own classes."""
        self.task.model.load_state_dict(dict(weights))
        self.task.model.eval()
        with torch.no_grad():
            right = (self.task.model(self.test.inputs).argmax(-1) == self.test.targets).double()
        targets = self.task.train.targets  # type: ignore[attr-defined]
        classes = int(targets.max()) + 1
        share = torch.bincount(targets[self.parts[i]], minlength=classes).double()
        by_class = torch.zeros(classes).double()
        counts = torch.bincount(self.test.targets, minlength=classes).double()
        by_class.index_add_(0, self.test.targets, right)
        return float(right.mean()), float((by_class / counts.clamp_min(1) * share / share.sum()).sum())

    def app(self, walks: bool, first: int | None) -> ClientApp:
        """The clients.

        Args:
            walks: give them our mod.
            first: the client whose model all others take instead of their own, None for their own.
        """
        mods: list[Any] = []
        if walks:
            own = (lambda c: self.starts[_number(c)]) if self.starts else None
            tasks = [self.client_task(i) for i in range(self.setting.clients)]
            mods = [_StepsOf(self, llpf_merge_mod(lambda c: tasks[_number(c)], own=own, seed=self.setting.seed))]
        app = ClientApp(mods=mods)

        @app.train()
        def _train(message: Message, context: Context) -> Message:
            i, round_ = _number(context), int(message.content["config"]["server-round"])
            begin = message.content["arrays"].to_torch_state_dict()
            metrics = MetricRecord({"num-examples": len(self.parts[i])})
            if self.starts and round_ == 1:  # the starts are trained already
                arrays = to_arrays(self.starts[i if first is None else first])
            else:
                arrays = to_arrays(self.local(begin, i, round_, float(message.content["config"].get("proximal-mu", 0))))
            return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

        @app.evaluate()
        def _evaluate(message: Message, context: Context) -> Message:
            i = _number(context)
            accuracy, own = self.seen(message.content["arrays"].to_torch_state_dict(), i)
            metrics = MetricRecord({"num-examples": 1, "client": i, "accuracy": accuracy, "own": own})
            return Message(RecordDict({"metrics": metrics}), reply_to=message)

        return app

    def local(self, begin: Mapping[str, Tensor], i: int, round_: int, mu: float) -> Weights:
        """A client's own training: SGD with momentum 0.9, FedProx's pull where ``mu`` is above 0."""
        task = self.client_task(i)
        task.model.load_state_dict(dict(begin))
        task.model.train()
        optimizer = torch.optim.SGD(task.model.parameters(), LR, 0.9)
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
        largest = max(range(self.setting.clients), key=lambda i: len(self.parts[i]))
        app = self.app(name == "LLPFWalk", largest if "largest" in name else None)
        rounds: list[list[list[float]]] = []

        def note(records: list[RecordDict], _: str) -> MetricRecord:
            rows = sorted([dict(r["metrics"]) for r in records], key=lambda r: r["client"])  # type: ignore[arg-type]
            rounds.append([[row["accuracy"], row["own"]] for row in rows])
            return MetricRecord({"accuracy": mean(row["accuracy"] for row in rows)})

        begin = time.monotonic()
        nodes = InProcessGrid(app, self.setting.clients)
        strategy = STRATEGIES[name](evaluate_metrics_aggr_fn=note, **QUIET)
        strategy.start(nodes, self.initial, self.setting.rounds)
        starts = self.starts or [to_weights(self.initial)] * self.setting.clients
        handed = [r["round"] for r in getattr(strategy, "rows", []) if r.get("serving") == "mean"]
        return {
            "start": [list(self.seen(w, i)) for i, w in enumerate(starts)],
            "rounds": rounds,
            "seconds": time.monotonic() - begin,
            "averaging from": handed[0] if handed else None,
        }


class _StepsOf:
    """Our mod with as many gradient steps a round as the same client's training takes."""

    def __init__(self, federation: Federation, mod: Any) -> None:
        self.federation, self.mod = federation, mod

    def __call__(self, message: Message, context: Context, call_next: Any) -> Message:
        return replace(self.mod, steps=self.federation.steps(_number(context)))(message, context, call_next)


def _number(context: Context) -> int:
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


def curves(options: argparse.Namespace) -> None:
    """Run what the JSON file does not hold yet."""
    place = Path(options.json)
    done = json.loads(place.read_text()) if place.is_file() else {}
    product = itertools.product(options.seeds, options.alphas, options.epochs, options.starts)
    for seed, alpha, epochs, start in product:
        setting = Setting(
            options.task, options.subset, options.clients, alpha, epochs, start == "independent", options.rounds, seed
        )
        missing = [s for s in options.strategies if setting.key(s) not in done]
        if start == "common":
            missing = [s for s in missing if "largest" not in s]
        federation = Federation(setting) if missing else None
        for name in missing:
            assert federation is not None
            done[setting.key(name)] = federation.run(name)
            last = done[setting.key(name)]["rounds"][-1]
            print(f"{setting.key(name)}: {100 * mean(a for a, _ in last):.1f} %", flush=True)
            write_json(place, done)


def report(options: argparse.Namespace) -> None:
    """Tables in Markdown, and the curves as a picture."""
    done = json.loads(Path(options.json).read_text())
    groups: dict[tuple[str, ...], dict[str, dict[int, Any]]] = {}
    for key, found in done.items():
        task, split, epochs, start, strategy, seed = key.split("|")
        groups.setdefault((task, start, split, epochs), {}).setdefault(strategy, {})[int(seed)] = found
    for (task, start, split, epochs), by_strategy in sorted(groups.items()):
        seeds = sorted(set.intersection(*(set(runs) for runs in by_strategy.values())))
        if not seeds:
            continue
        print(f"\n**{task}, {start} start, {split}, local epochs {epochs}** ({len(seeds)} seeds)\n")
        print(group_table(by_strategy, seeds))
    if options.figure:
        draw(groups, options.figure)


HEAD = (
    "strategy", "mean client, last round", "worst client, last round", "paired difference to FedAvg",
    "lowest any client sees", "largest drop under its own start", "rounds to FedAvg's end − 1",
)  # fmt: skip


def group_table(by_strategy: Mapping[str, Mapping[int, Any]], seeds: Sequence[int]) -> str:
    """One line a strategy; accuracies in percent on the test images, means over seeds."""
    reference = by_strategy.get("FedAvg")
    rows = []
    for name in STRATEGIES:
        if name not in by_strategy:
            continue
        runs = [by_strategy[name][s] for s in seeds]
        final = [100 * mean(a for a, _ in r["rounds"][-1]) for r in runs]
        worst = [100 * min(a for a, _ in r["rounds"][-1]) for r in runs]
        lowest = [100 * min(a for row in r["rounds"] for a, _ in row) for r in runs]
        drops = [drop(r) for r in runs]
        gaps = (
            [f - 100 * mean(a for a, _ in reference[s]["rounds"][-1]) for f, s in zip(final, seeds, strict=True)]
            if reference
            else []
        )
        reached = [rounds_to(r, reference[s]) for r, s in zip(runs, seeds, strict=True)] if reference else []
        rows.append((
            name, spread(final), f"{mean(worst):.1f}", "" if name == "FedAvg" else interval(gaps),
            f"{min(lowest):.1f}", f"{max(drops):.1f}", median_rounds(reached),
        ))  # fmt: skip
    return table(HEAD, rows)


def drop(run: Mapping[str, Any]) -> float:
    """How far, in points, any client ever falls under the accuracy of its own start; never below 0."""
    gaps = [begin[0] - now[0] for row in run["rounds"] for begin, now in zip(run["start"], row, strict=True)]
    return 100 * max(0.0, *gaps)


def rounds_to(run: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
    """Rounds until the mean client is within a point of where FedAvg ends; infinite if it is never."""
    level = mean(a for a, _ in reference["rounds"][-1]) - 0.01
    for number, row in enumerate(run["rounds"], start=1):
        if mean(a for a, _ in row) >= level:
            return number
    return math.inf


def median_rounds(rounds: Sequence[float]) -> str:
    """The median, or how many never came."""
    if not rounds:
        return ""
    middle = sorted(rounds)[len(rounds) // 2]
    return "not reached" if math.isinf(middle) else f"{middle:.0f}"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def interval(gaps: Sequence[float]) -> str:
    """Mean paired difference with its 95 % interval (Student)."""
    if len(gaps) < 2:
        return f"{mean(gaps):+.1f}" if gaps else ""
    half = float(stats.t.ppf(0.975, len(gaps) - 1)) * stdev(gaps) / len(gaps) ** 0.5
    return f"{mean(gaps):+.1f} [{mean(gaps) - half:+.1f}, {mean(gaps) + half:+.1f}]"


def draw(groups: Mapping[tuple[str, ...], Mapping[str, Mapping[int, Any]]], place: str) -> None:
    """Mean client accuracy by round, a panel a setting; the band is from the worst client to the best, seed 0."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    keys = sorted(groups)
    columns = min(3, len(keys))
    lines = -(-len(keys) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.0 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, key in zip(np.ravel(figure.subplots(lines, columns, squeeze=False)), keys, strict=False):
        for color, (name, runs) in enumerate(groups[key].items()):
            rows = np.array([[[a for a, _ in row] for row in [r["start"], *r["rounds"]]] for r in runs.values()])
            mine = "LLPF" in name
            axes.plot(100 * rows.mean((0, 2)), color=f"C{color}", lw=2 if mine else 1, label=name)
            if name in ("FedAvg", "LLPFWalk"):
                axes.plot(100 * rows.min((0, 2)), color=f"C{color}", lw=0.8, ls=":")
        axes.set_title(f"{key[0]}, {key[1]}, {key[2]}, {key[3]} ep.", fontsize=8)
        axes.set_ylim(0, 101)
    figure.axes[0].legend(fontsize=6)
    figure.supxlabel("round (0: the clients' starts; dotted: the worst client of all seeds)", fontsize=8)
    figure.supylabel("test accuracy, %", fontsize=8)
    figure.savefig(place)


def oneshot(options: argparse.Namespace) -> None:
    """Models trained apart, merged once, with a small set of the server's own."""
    place = Path(options.json)
    done = json.loads(place.read_text()) if place.is_file() else {}
    for seed, alpha in itertools.product(options.seeds, options.alphas):
        setting = Setting(options.task, options.subset, options.clients, alpha, 1, True, 1, seed)
        key = f"{setting.task}|{'IID' if not alpha else f'Dirichlet {alpha:g}'}|{seed}"
        if key not in done:
            done[key] = one_shot(Federation(setting), options.server, options.budget)
            print(key, done[key], flush=True)
            write_json(place, done)
    print(oneshot_table(done))


def one_shot(federation: Federation, server: int, budget: int) -> dict[str, float]:
    """Test accuracies of the merges, and of what they are compared with."""
    held = federation.task.validation
    assert isinstance(held, TensorData)
    half = server // 2
    data = {"train": held.subset(half), "validation": TensorData(held.inputs[half:server], held.targets[half:server])}
    task = replace(
        federation.task, **data, model=deepcopy(federation.task.model), defaults=Defaults(BATCH, LR, 0.9, 0.1)
    )
    models, sizes = federation.starts, [len(p) for p in federation.parts]
    plain = {
        k: sum(m[k].double() * n for m, n in zip(models, sizes, strict=True)).div(sum(sizes)).to(models[0][k].dtype)  # type: ignore[union-attr]
        for k in models[0]
    }
    gradient = Gradient(replace(task, model=deepcopy(task.model)))

    def accuracy(weights: Weights) -> float:
        found = evaluate(gradient, weights, {"test": federation.test})[0]["test"]
        assert found is not None and found.accuracy is not None
        return found.accuracy

    alone = [accuracy(m) for m in models]
    scores = sum(_probabilities(federation, m) for m in models)
    best = max(range(len(models)), key=lambda i: alone[i])
    joined = join_models(models, task, budget)
    return {
        "ensemble": float((scores.argmax(-1) == federation.test.targets).double().mean()),  # type: ignore[union-attr]
        "best client": alone[best],
        "mean": accuracy(plain),
        "best client, finetuned": accuracy(finetune(models[best], task, joined.steps)),
        "mean, finetuned": accuracy(finetune(plain, task, joined.steps)),
        "OneShotLLPF": accuracy(joined.weights),
        "steps": joined.steps,
    }


@torch.no_grad()
def _probabilities(federation: Federation, weights: Weights) -> Tensor:
    federation.task.model.load_state_dict(weights)
    federation.task.model.eval()
    return federation.task.model(federation.test.inputs).softmax(-1)


def oneshot_table(done: Mapping[str, Mapping[str, float]]) -> str:
    """One line a split."""
    groups: dict[str, list[Mapping[str, float]]] = {}
    for key, found in done.items():
        groups.setdefault(", ".join(key.split("|")[:2]), []).append(found)
    names = [n for n in next(iter(done.values())) if n != "steps"]
    rows = [
        (f"{group} ({len(runs)} seeds)", *(spread([100 * r[n] for r in runs]) for n in names),
         f"{100 * mean(r['OneShotLLPF'] / r['ensemble'] for r in runs):.0f} %", f"{mean(r['steps'] for r in runs):.0f}")
        for group, runs in groups.items()
    ]  # fmt: skip
    return table(("setting", *names, "OneShotLLPF of ensemble", "steps"), rows)


def throughput(options: argparse.Namespace) -> None:
    """Each strategy aggregates the same replies in a process of its own, in turns."""
    print(f"{options.clients} clients, ResNet18 (11.2 million float32 parameters), {machine()}\n")
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.repeats):
        for name in ("FedAvg", "LLPFStrategy"):
            words = [sys.executable, __file__, "aggregate", "--strategy", name, "--clients", str(options.clients)]
            seconds, memory = map(
                float, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-2:]
            )
            found.setdefault(name, []).append((seconds, memory))
    size = resnet18_bytes()
    base = min(s for s, _ in found["FedAvg"])
    rows = [
        (name, f"{min(s for s, _ in runs):.2f}", f"{options.clients * size / min(s for s, _ in runs) / 1e9:.2f}",
         f"{base / min(s for s, _ in runs):.2f}", f"{min(m for _, m in runs) / size:.2f}")
        for name, runs in found.items()
    ]  # fmt: skip
    print(
        table(("strategy", "CPU seconds (best)", "GB/s", "× FedAvg", "peak memory above the replies, in models"), rows)
    )


def resnet18_bytes() -> int:
    """Bytes of one model."""
    return sum(t.numel() * t.element_size() for t in load_resnet18().values())


def load_resnet18() -> Weights:
    """Random weights in the shapes of ResNet18 for CIFAR-10."""
    from llpf_plugin.tasks.models import SmallResNet

    return SmallResNet(64, (2, 2, 2, 2)).state_dict()


def aggregate(options: argparse.Namespace) -> None:
    """One aggregation: its CPU seconds, and the bytes that the process grew by at its peak."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    InProcessGrid(ClientApp(), 0)  # makes Message work in this process
    reference = load_resnet18()
    rng = np.random.default_rng(0)
    replies = []
    for node in range(options.clients):
        arrays = {
            k: np.asarray(rng.standard_normal(t.shape), np.float32) if t.is_floating_point() else t.numpy()
            for k, t in reference.items()
        }
        message = Message(
            RecordDict(
                {
                    "arrays": ArrayRecord({k: Array(a) for k, a in arrays.items()}),
                    "metrics": MetricRecord({"num-examples": 100 + node}),
                }
            ),
            node,
            "train",
        )
        replies.append(message)
    strategy = STRATEGIES[options.strategy]()
    if isinstance(strategy, LLPFStrategy):
        strategy.arrays = to_arrays(reference)
    before, begin = resident(), time.process_time()
    arrays_out, _ = strategy.aggregate_train(1, replies)
    seconds = time.process_time() - begin
    assert arrays_out is not None
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


def resident() -> int:
    """Bytes that the process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("curves", "report", "oneshot", "throughput", "aggregate"):
        sub = commands.add_parser(name)
        sub.add_argument("--json", default="federated.json", help="results, kept after every run")
        sub.add_argument("--figure", help="picture of the curves (report)")
        sub.add_argument("--task", default="digits/resnet")
        sub.add_argument("--subset", type=int, default=0, help="training examples, 0 for all (not for digits)")
        sub.add_argument("--clients", type=int, default=10)
        sub.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
        sub.add_argument("--alphas", type=float, nargs="+", default=[0.0, 0.3, 0.1], help="of Dirichlet, 0 for IID")
        sub.add_argument("--epochs", type=int, nargs="+", default=[1, 10], help="local epochs a round")
        sub.add_argument("--starts", nargs="+", default=["independent", "common"])
        sub.add_argument("--rounds", type=int, default=20)
        sub.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
        sub.add_argument("--server", type=int, default=100, help="examples of the server's own (oneshot)")
        sub.add_argument("--budget", type=int, default=1000, help="gradient steps on them (oneshot)")
        sub.add_argument("--repeats", type=int, default=5, help="aggregations (throughput)")
        sub.add_argument("--strategy", default="FedAvg", help="(aggregate)")
    options = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    {"curves": curves, "report": report, "oneshot": oneshot, "throughput": throughput, "aggregate": aggregate}[
        options.command
    ](options)


if __name__ == "__main__":
    main()
