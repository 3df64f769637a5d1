"""The strategies of the federated benchmarks, by the names of their rows: a new row is an entry here."""

from collections.abc import Callable, Mapping

from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, Strategy

from llpf_flower import LLPFStrategy

STRATEGIES: Mapping[str, Callable[..., Strategy]] = {
    "FedAvg": FedAvg,
    "FedAvg, largest client first": FedAvg,
    "FedAvgM, largest client first": lambda **o: FedAvgM(server_momentum=0.5, **o),
    "FedAvg, fresh weights": FedAvg,
    "FedAvgM, fresh weights": lambda **o: FedAvgM(server_momentum=0.5, **o),
    "FedAvgM": lambda **o: FedAvgM(server_momentum=0.5, **o),
    "FedProx": lambda **o: FedProx(proximal_mu=0.1, **o),
    "FedAdam": lambda **o: FedAdam(eta=0.01, tau=1e-3, **o),
    "LLPFStrategy": lambda **o: LLPFStrategy(first="spheres", **o),
    "LLPFStrategy, momentum": lambda **o: LLPFStrategy(first="spheres", server_momentum=0.5, **o),
    "LLPFStrategy, own served": lambda **o: LLPFStrategy(first="spheres", serve_own=True, **o),
    "LLPFStrategy, first chosen": LLPFStrategy,
    "LLPFStrategy, first chosen, momentum": lambda **o: LLPFStrategy(server_momentum=0.5, **o),
}
"""By name. "Largest client first": all clients take the model of the one with the most examples. "Fresh weights": all
take new initial weights (He's), and nothing of the clients is kept. "Own served": each client is served by its own
model until the mean is as good. "First chosen": the first model is chosen by the clients' losses on their own training
data."""

OWN_SERVED = "LLPFStrategy, own served"


def largest_first(name: str) -> bool:
    """Whether all clients begin with the model of the largest one."""
    return name.endswith("largest client first")


def fresh(name: str) -> bool:
    """Whether all clients begin with new initial weights."""
    return name.endswith("fresh weights")


def chosen(name: str) -> bool:
    """Whether the first model is chosen."""
    return "first chosen" in name


INDEPENDENT_ONLY = tuple(
    name for name in STRATEGIES if largest_first(name) or fresh(name) or chosen(name) or name == OWN_SERVED
)
"""What differs only from independent starts."""
