"""The server: a strategy, rounds, and what came out."""

import json
from logging import INFO
from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp

from digits_app import dataset
from digits_app.model import Net, evaluate
from digits_app.strategy import make_strategy
from llpf_flower import LLPFStrategy

app = ServerApp()


def evaluate_fn(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Loss and accuracy of the server's model, on the test images; clients may be served their own meanwhile."""
    net = Net()
    net.load_state_dict(arrays.to_torch_state_dict())
    loss, accuracy = evaluate(net, dataset.test_set())
    return MetricRecord({"loss": loss, "accuracy": accuracy})


def show(clients: dict[int, float], server: dict[int, float]) -> None:
    """Log both accuracies of each round: clients may be served better than by the server's model."""
    for number, served in clients.items():
        log(INFO, "Round %d: accuracy %.3f as served to the clients", number, served)
        log(INFO, "Round %d: accuracy %.3f of the server's model", number, server[number])


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One run."""
    config = context.run_config
    name, out, resume = str(config["strategy"]), str(config["out-dir"]), str(config["resume"])
    rounds = 1 if name == "oneshot" else int(config["num-server-rounds"])
    torch.manual_seed(int(config["seed"]))
    strategy = make_strategy(name, out)
    start = ArrayRecord(Net().state_dict())
    if resume:
        if not isinstance(strategy, LLPFStrategy):
            raise ValueError(f"strategy = {name!r} keeps no checkpoints that resume = {resume!r} could go on from")
        start = strategy.resume(resume)
        rounds = max(1, rounds - strategy.first_round)
    patience = float(config["round-timeout"])
    result = strategy.start(grid, start, rounds, timeout=patience, evaluate_fn=evaluate_fn)
    accuracy = {k: m["accuracy"] for k, m in result.evaluate_metrics_serverapp.items()}
    clients = {k: m["accuracy"] for k, m in result.evaluate_metrics_clientapp.items()}
    show(clients, accuracy)
    if out:
        Path(out).mkdir(parents=True, exist_ok=True)
        found = {"strategy": name, "server": accuracy, "clients": clients}
        Path(out, "results.json").write_text(json.dumps(found, indent=1))
        torch.save(result.arrays.to_torch_state_dict(), Path(out, "final.pt"))
