"""Aggregation beside FedAvg's: CPU seconds and peak memory on models of the size of ResNet18, or of a task's.

Each strategy aggregates the same replies in a process of its own, in turns. With ``--on-the-fly`` a reply's tensors are
made as they are read and kept by nobody, so that the peak is that of the aggregation alone, whatever Flower holds.

    python benchmarks/federated_throughput.py
    python benchmarks/federated_throughput.py --task digits/mlp --clients 100
    python benchmarks/federated_throughput.py --on-the-fly --clients 1000 --repeats 2
"""

import argparse
import io
import logging
import math
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
from llpf_plugin.tasks import load_task
from llpf_plugin.tasks.models import SmallResNet


def throughput(options: argparse.Namespace) -> str:
    """Start the processes; the table."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.repeats):
        for name in ("LLPFStrategy",) if options.on_the_fly else ("FedAvg", "LLPFStrategy"):
            words = [sys.executable, __file__, "--strategy", name, "--clients", str(options.clients)]
            words += ["--on-the-fly"] * options.on_the_fly + ["--task", options.task, "--within", str(options.within)]
            seconds, memory = map(
                float, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-2:]
            )
            found.setdefault(name, []).append((seconds, memory))
    weights = load_weights(options.task)
    size = sum(t.numel() * t.element_size() for t in weights.values())
    base = min((s for s, _ in found.get("FedAvg", [])), default=math.nan)
    rows = [
        (name, f"{min(s for s, _ in runs):.3g}", f"{options.clients * size / min(s for s, _ in runs) / 1e9:.2f}",
         f"{base / min(s for s, _ in runs):.2f}" if base > 0 else "", f"{min(m for _, m in runs) / size:.2f}")
        for name, runs in found.items()
    ]  # fmt: skip
    head = ("strategy", "CPU seconds (best)", "GB/s", "× FedAvg", "peak memory above the replies, in models")
    made = ", replies made as they are read" * options.on_the_fly
    return f"{options.clients} clients, {options.task} ({size / 1e6:.3g} MB){made}\n\n{table(head, rows)}"


def load_weights(task: str) -> Weights:
    """Random weights in the shapes of ResNet18 for CIFAR-10, or of a task's network."""
    return SmallResNet(64, (2, 2, 2, 2)).state_dict() if task == RESNET18 else load_task(task).model.state_dict()


RESNET18 = "ResNet18"


class Made(Array):
    """An array whose bytes are made at every reading: a part of one long array of noise."""

    noise = memoryview(b"")

    def __init__(self, shape: Sequence[int], client: int) -> None:
        self.dtype, self.shape, self.stype = "float32", tuple(shape), "numpy.ndarray"
        self._header, self._start = _header(self.shape), 4 * (client % 1000)

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """Header and noise, as NumPy writes them."""
        return self._header + self.noise[self._start : self._start + 4 * math.prod(self.shape)]


def _header(shape: tuple[int, ...]) -> bytes:
    """What stands before the numbers in NumPy's format."""
    place = io.BytesIO()
    np.lib.format.write_array_header_1_0(place, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return place.getvalue()


def model_of(reference: Weights, rng: np.random.Generator) -> ArrayRecord:
    """A client's model: noise in the shapes of the reference; counters as they are."""
    arrays = {
        k: np.asarray(rng.standard_normal(t.shape), np.float32) if t.is_floating_point() else t.numpy()
        for k, t in reference.items()
    }
    return ArrayRecord({k: Array(a) for k, a in arrays.items()})


def made_model(reference: Weights, client: int) -> ArrayRecord:
    """The same, made on the fly."""
    record = ArrayRecord()
    for name, tensor in reference.items():
        record[name] = Made(tensor.shape, client) if tensor.is_floating_point() else Array(tensor.numpy())
    return record


def aggregate(options: argparse.Namespace) -> None:
    """One aggregation: its CPU seconds, and the bytes that the process grew by at its peak."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    InProcessGrid(ClientApp(), 0)  # makes Message work in this process
    reference = load_weights(options.task)
    rng = np.random.default_rng(0)
    replies = []
    longest = max(t.numel() for t in reference.values())
    Made.noise = memoryview(rng.standard_normal(longest + 1000, np.float32).tobytes())
    for node in range(options.clients):
        arrays = made_model(reference, node) if options.on_the_fly else model_of(reference, rng)
        metrics = MetricRecord({"num-examples": 100 + node})
        replies.append(Message(RecordDict({"arrays": arrays, "metrics": metrics}), node, "train"))
    strategy = STRATEGIES[options.strategy]()
    if isinstance(strategy, LLPFStrategy):
        strategy.arrays = to_arrays(reference)
    before, seconds = resident(), list[float]()
    for _ in range(options.within):
        begin = time.process_time()
        arrays_out, _ = strategy.aggregate_train(1, replies)
        seconds.append(time.process_time() - begin)
        assert arrays_out is not None
    print(min(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


def resident() -> int:
    """Bytes that the process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--task", default=RESNET18, help="whose network the clients' models have")
    parser.add_argument("--within", type=int, default=1, help="aggregations in one process, of which the best counts")
    parser.add_argument("--on-the-fly", action="store_true", help="make replies as they are read")
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
