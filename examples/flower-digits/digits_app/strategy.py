"""The strategies by name."""

from flwr.serverapp.strategy import FedAvg, FedAvgM, FedProx, Strategy

from digits_app import dataset
from digits_app.model import Net
from llpf_flower import GossipStrategy, LLPFStrategy, OneShotLLPF
from llpf_plugin import Defaults, Task, TensorData


def server_task() -> Task:
    """The server's own small set, for one-shot merging; half of it chooses points of the paths."""
    images, digits = dataset.server_set()
    half = len(digits) // 2
    train, choose = TensorData(images[:half], digits[:half]), TensorData(images[half:], digits[half:])
    return Task(Net(), train, choose, defaults=Defaults(batch_size=32, lr=0.05))


def make_strategy(name: str, out_dir: str | None = None) -> Strategy:
    """The strategy that the run config names."""
    folder = {"checkpoint_dir": out_dir} if out_dir else {}
    makers = {
        "fedavg": FedAvg,
        "fedprox": lambda: FedProx(proximal_mu=0.1),
        "fedavgm": lambda: FedAvgM(server_momentum=0.5),
        "llpf": lambda: LLPFStrategy(**folder),
        "llpfm": lambda: LLPFStrategy(server_momentum=0.5, **folder),
        "llpf-own": lambda: LLPFStrategy(server_momentum=0.5, serve_own=True, **folder),
        "llpf-merge": lambda: LLPFStrategy(server_momentum=0.5, **folder),
        "gossip": lambda: GossipStrategy("ring"),
        "oneshot": lambda: OneShotLLPF(task=server_task(), budget=1000, **folder),
    }
    if name not in makers:
        raise ValueError(f"strategy = {name!r}: it must be one of {', '.join(makers)}")
    return makers[name]()
