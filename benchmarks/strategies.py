"""The strategies of the federated benchmarks, by the names of their rows: a new row is an entry here."""

from collections.abc import Callable, Mapping

from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, Strategy

from llpf_flower import LLPFStrategy

STRATEGIES: Mapping[str, Callable[..., Strategy]] = {
    "FedAvg": FedAvg,
    "FedAvg, largest client first": FedAvg,
    "FedAvgM": lambda **o: FedAvgM(server_momentum=0.5, **o),
    "FedProx": lambda **o: FedProx(proximal_mu=0.1, **o),
    "FedAdam": lambda **o: FedAdam(eta=0.01, tau=1e-3, **o),
    "LLPFStrategy": LLPFStrategy,
    "LLPFStrategy, momentum": lambda **o: LLPFStrategy(server_momentum=0.5, **o),
    "LLPFStrategy, own served": lambda **o: LLPFStrategy(serve_own=True, **o),
}
"""By name. "Largest client first": all clients take the model of the one with the most examples, then FedAvg. "Own
served": averaging as in LLPFStrategy, each client served by its own model until the mean is as good."""

LARGEST_FIRST, OWN_SERVED = "FedAvg, largest client first", "LLPFStrategy, own served"

INDEPENDENT_ONLY = (LARGEST_FIRST, OWN_SERVED)
"""What differs only from independent starts."""
