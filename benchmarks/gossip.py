"""Gossip averaging from independent initial weights, plain and on the neighbours' variance spheres.

Each client starts from initial weights of its own seed, trains, and averages with its neighbours in a graph, round by
round. The mean of unrelated networks has 1/n of their variance, and learning stalls until that has grown back
(vanishing variance, arXiv 2404.04616). Runs that the JSON file already has are skipped.

    python benchmarks/gossip.py --json gossip.json --clients 16 32 64
    python benchmarks/gossip.py --json gossip.json --report
    python benchmarks/gossip.py --json gossip-mnist.json --task mnist/lenet5 --subset 2000 --clients 16 --epochs 1
"""

import argparse
import itertools
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from federated_report import spread
from federation import Federation, Setting
from flwr.app import MetricRecord, RecordDict
from provenance import add_table, publish, stamp
from shared import table
from torch import nn

from llpf_flower import GossipStrategy, to_weights
from llpf_flower.inprocess import InProcessGrid
from llpf_plugin.files import write_json
from llpf_plugin.geometry import Weights, clone, variance

PLAIN, SPHERES, COMMON = "plain", "on spheres", "plain, common start"
"""How a neighbourhood is averaged; the last row, from one start, is what nothing vanishes in."""

HEAD = (
    "clients, graph", "averaging", "seeds", "lowest variance", "rounds until half right", "until 80 %", "last round",
    "worst client", "all rounds",
)  # fmt: skip


class Gossip(Federation):
    """Clients that begin with initial weights of their own."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.starts = [self._initial(100 * setting.seed + i) for i in range(setting.clients)]
        self.common = self._initial(-1)

    def _initial(self, seed: int) -> Weights:
        """Xavier's initial weights (Glorot and Bengio, 2010), as in the paper that described the plateau."""
        generator = torch.Generator().manual_seed(20_000 + seed)
        weights = clone(self.task.model.state_dict())
        for tensor in (t for t in weights.values() if t.dim() >= 2):
            nn.init.xavier_normal_(tensor, generator=generator)
        return weights

    def gossip(self, topology: str, how: str) -> dict[str, Any]:
        """By round: the mean and the worst client's accuracy, and the variance of what clients are served.

        The variance is that of the matrices over their initial ones', the mean over matrices and clients.
        """
        rounds: list[list[float]] = []
        began = [self.common] * len(self.starts) if how == COMMON else self.starts

        def note(records: list[RecordDict], _: str) -> MetricRecord:
            rows = sorted([dict(r["metrics"]) for r in records], key=lambda r: r["client"])  # type: ignore[arg-type]
            right = [row["accuracy"] for row in rows]
            members = strategy._members.placed()  # type: ignore[union-attr]
            kept = mean(_kept(to_weights(m.model), began[i]) for i, m in enumerate(members))
            rounds.append([mean(right), min(right), kept])
            return MetricRecord({"accuracy": mean(right)})

        app = self.app(lambda i: self.local(began[i], i, 1, 0.0), served=False)
        strategy = GossipStrategy(
            topology, min_available_nodes=len(self.starts), evaluate_metrics_aggr_fn=note, seed=self.setting.seed,
            sphere="clients" if how == SPHERES else "none",
        )  # fmt: skip
        begin = time.monotonic()
        strategy.start(InProcessGrid(app, len(self.starts)), self.initial, self.setting.rounds)
        return {"rounds": rounds, "seconds": time.monotonic() - begin, "measured": stamp()}


def _kept(weights: Mapping[str, torch.Tensor], start: Weights) -> float:
    """The variance of matrices over that which they began with, the mean over them."""
    return mean(variance(weights[k]) / variance(t) for k, t in start.items() if t.dim() >= 2)


def until(run: Mapping[str, Any], level: float) -> float:
    """The first round in which the mean client is that good, infinite if none is."""
    return next((i for i, row in enumerate(run["rounds"], 1) if row[0] >= level), math.inf)


def rounds_of(runs: Sequence[Mapping[str, Any]], level: float) -> str:
    """The median over seeds."""
    middle = sorted(until(run, level) for run in runs)[len(runs) // 2]
    return "not reached" if math.isinf(middle) else f"{middle:.0f}"


def rows(done: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A line for each graph and each way to average; accuracies in percent, mean ± deviation over seeds."""
    grouped: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for key, run in done.items():
        grouped.setdefault(tuple(key.split("|")[1:4]), []).append(run)
    return [
        (f"{clients}, {topology}", how, str(len(runs)), f"{mean(min(row[2] for row in r['rounds']) for r in runs):.3f}",
         rounds_of(runs, 0.5), rounds_of(runs, 0.8), spread([100 * r["rounds"][-1][0] for r in runs]),
         f"{mean(100 * r['rounds'][-1][1] for r in runs):.1f}",
         spread([100 * mean(row[0] for row in r["rounds"]) for r in runs]))
        for (clients, topology, how), runs in sorted(grouped.items(), key=lambda item: (int(item[0][0]), item[0][1:]))
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, run what the JSON file does not hold yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("gossip.json"), help="results, kept after every run")
    parser.add_argument("--task", default="digits/mlp")
    parser.add_argument("--subset", type=int, default=0, help="training examples, 0 for all (not for digits)")
    parser.add_argument("--clients", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--topologies", nargs="+", default=["ring", "random-regular:4"])
    parser.add_argument("--averaging", nargs="+", default=[PLAIN, SPHERES, COMMON])
    parser.add_argument("--alpha", type=float, default=0.0, help="of Dirichlet, 0 for IID")
    parser.add_argument("--epochs", type=int, default=5, help="local epochs per round")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--report", action="store_true", help="run nothing, print what the JSON file has")
    add_table(parser)
    asked = parser.parse_args(arguments)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    done = json.loads(asked.json.read_text()) if asked.json.is_file() else {}
    for seed, clients in itertools.product([] if asked.report else asked.seeds, asked.clients):
        setting = Setting(asked.task, asked.subset, clients, asked.alpha, asked.epochs, False, asked.rounds, seed)
        made: Gossip | None = None
        for topology, how in itertools.product(asked.topologies, asked.averaging):
            key = f"{asked.task}|{clients}|{topology}|{how}|{seed}"
            if key not in done:
                made = made or Gossip(setting)
                run = done[key] = made.gossip(topology, how)
                print(
                    f"{key}: {' '.join(f'{100 * r[0]:.0f}' for r in run['rounds'])} ({run['seconds']:.0f} s)",
                    flush=True,
                )
                write_json(asked.json, done)
    publish(table(HEAD, rows(done)), asked.table, arguments, [run["measured"] for run in done.values()])


if __name__ == "__main__":
    main()
