"""Aggregation beside FedAvg's: CPU seconds and peak memory on models of the size of ResNet18.

Each strategy aggregates the same replies in a process of its own, in turns.

    python benchmarks/federated_throughput.py
"""

import argparse
import logging
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from provenance import add_table, publish, stamp
from shared import table
from strategies import STRATEGIES

from llpf_flower import LLPFStrategy, to_arrays
from llpf_flower.inprocess import InProcessGrid
from llpf_plugin.geometry import Weights
from llpf_plugin.tasks.models import SmallResNet


def throughput(options: argparse.Namespace) -> str:
    """Start the processes; the table."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.repeats):
        for name in ("FedAvg", "LLPFStrategy"):
            words = [sys.executable, __file__, "--strategy", name, "--clients", str(options.clients)]
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
    head = ("strategy", "CPU seconds (best)", "GB/s", "× FedAvg", "peak memory above the replies, in models")
    return f"{options.clients} clients, ResNet18 (11.2 million float32 parameters)\n\n{table(head, rows)}"


def resnet18_bytes() -> int:
    """Bytes of one model."""
    return sum(t.numel() * t.element_size() for t in load_resnet18().values())


def load_resnet18() -> Weights:
    """Random weights in the shapes of ResNet18 for CIFAR-10."""
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5, help="aggregations of each strategy")
    parser.add_argument("--strategy", choices=list(STRATEGIES), help="only one aggregation, in this process")
    add_table(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.strategy:
        aggregate(options)
    else:
        publish(throughput(options), options.table, arguments, [stamp()])


if __name__ == "__main__":
    main()
