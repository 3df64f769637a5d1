"""The first model of clients that start apart: who is asked, what is taken, and when nothing is chosen."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping as Fixed
from helpers import tiny
from helpers.flower_apps import QUIET, app, echo, fixed, grid, number, record, values
from helpers.flower_clients import accuracy, shard, start
from torch import nn

from llpf_flower import LLPFStrategy, to_arrays, to_weights
from llpf_flower.first import apart, choose, correlations
from llpf_plugin.errors import LLPFError

SIZE = 40
RNG = np.random.default_rng(0)
START, *MODELS = (record(w=RNG.normal(size=(SIZE, SIZE)).astype(np.float32)) for _ in range(5))
EXAMPLES = {0: 1, 1: 4, 2: 2, 3: 1}
"""Client 1, node 1002, is the largest."""

Loss = Callable[[np.ndarray, int], float]


class Clients:
    """Clients that begin with unrelated models, then send back what they get, and evaluate as they are told.

    Attributes:
        asked: by client, how often it evaluated.
    """

    def __init__(self, loss: Loss, name: str = "loss") -> None:
        self.loss, self.name, self.asked = loss, name, dict.fromkeys(range(4), 0)

    def train(self, message: Message, context: Context) -> dict[str, Any]:
        i, now = number(context), int(message.content["config"]["server-round"])  # type: ignore[index, arg-type]
        arrays = MODELS[i] if now == 1 else message.content["arrays"]
        return {"arrays": arrays, "metrics": MetricRecord({"num-examples": EXAMPLES[i]})}

    def evaluate(self, message: Message, context: Context) -> dict[str, Any]:
        i = number(context)
        self.asked[i] += 1
        loss = self.loss(message.content["arrays"]["w"].numpy(), i)  # type: ignore[index]
        return {"metrics": MetricRecord({"num-examples": EXAMPLES[i], self.name: loss})}

    def run(self, rounds: int = 1, nodes: int = 4, **options: Any) -> tuple[LLPFStrategy, Any]:
        made = LLPFStrategy(**options)
        return made, made.start(grid(app(self.train, self.evaluate), nodes), START, rounds)


def near(model: ArrayRecord) -> Loss:
    """A loss that a given model has least of."""
    target = model["w"].numpy()
    return lambda w, _: float(((w - target) ** 2).mean())


def test_the_correlation_of_unrelated_models_is_none_and_of_equal_ones_all() -> None:
    # Shares 1/2, 1/4, 1/4: the plain mean of unrelated models keeps 6/16 of their variance.
    assert correlations({"a": 6 / 16, "b": 1.0, "c": 11 / 16}, [2, 1, 1]) == pytest.approx({"a": 0, "b": 1, "c": 0.5})
    assert correlations({"a": 1.0}, [3]) == {}
    assert apart({"a": 0.5, "b": 0.6}, [1, 1]) == {"a", "b"}
    assert apart({"frozen": 1.0, "more": 1.0, "head": 0.5}, [1, 1]) == frozenset()


def test_a_candidate_that_knows_little_is_no_better_than_a_fresh_one() -> None:
    losses = {"spheres": 2.2, "aligned": 1.8, "largest": math.inf}
    # Three quarters of 2.3 are 1.73, of 2.5 they are 1.88; where a zero network has no such loss, the lowest is taken.
    assert [choose(losses, chance) for chance in (2.3, 2.5, math.inf, -1.0)] == [
        "fresh",
        "aligned",
        "aligned",
        "aligned",
    ]


def test_a_common_start_changes_nothing_and_asks_nobody() -> None:
    def train(message: Message, context: Context) -> dict[str, Any]:
        step = np.random.default_rng(number(context)).normal(size=(SIZE, SIZE)).astype(np.float32)
        arrays = ArrayRecord({"w": Array(message.content["arrays"]["w"].numpy() + 0.3 * step)})  # type: ignore[index]
        return {"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}

    clients, found = Clients(near(START)), []
    for first in ("auto", "spheres", "fresh"):
        made = LLPFStrategy(first=first, server_momentum=0.5)
        result = made.start(grid(app(train, clients.evaluate), 4), START, 2)
        found.append((values(result.arrays), made.rows))
    assert found[0] == found[1] == found[2] and set(clients.asked.values()) == {3 * 2}


def test_clients_choose_the_model_of_the_lowest_loss_which_its_owner_does_not_judge(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clients = Clients(near(MODELS[1]))
    made, result = clients.run()
    assert "one of which is a client's own" in caplog.text
    assert values(result.arrays) == values(MODELS[1]) and made.rows[0]["first"] == "largest"
    metrics = result.train_metrics_clientapp[1]
    assert metrics["llpf-first/largest"] == 1 and metrics["llpf-first-loss/largest"] == 0.0
    assert sorted(made.rows[0]["first losses"]) == ["initial", "largest", "spheres"]
    # Three candidates and zeros, and then the evaluation of the round.
    assert clients.asked == {0: 5, 1: 1, 2: 5, 3: 5}
    assert "largest" in made.table() and result.evaluate_metrics_clientapp[1]["loss"] == 0.0


def test_the_model_that_the_run_began_with_may_be_the_best() -> None:
    made, result = Clients(near(START)).run()
    assert made.rows[0]["first"] == "initial" and values(result.arrays) == values(START)


def test_where_all_know_little_new_weights_are_drawn_the_same_in_every_run() -> None:
    runs = [Clients(lambda w, i: 2.3).run(server_momentum=0.5) for _ in range(2)]
    assert [made.rows[0]["first"] for made, _ in runs] == ["fresh", "fresh"]
    found = runs[0][1].arrays["w"].numpy()
    assert np.array_equal(found, runs[1][1].arrays["w"].numpy())
    assert found.std() == pytest.approx((2 / SIZE) ** 0.5, rel=0.05)


def test_clients_that_fail_or_have_no_finite_loss_are_not_asked_again() -> None:
    def loss(w: np.ndarray, i: int) -> float:
        if i == 0:
            raise RuntimeError("on purpose")
        return math.nan if i == 2 else near(MODELS[1])(w, i)

    clients = Clients(loss)
    made, _ = clients.run()
    assert made.rows[0]["first"] == "largest" and clients.asked == {0: 2, 1: 1, 2: 2, 3: 5}


def test_a_network_of_zeros_may_have_no_loss() -> None:
    """As one with weight normalization has none: then the lowest loss is taken, whatever it is."""
    clients = Clients(lambda w, i: near(MODELS[1])(w, i) + 9.0 if w.any() else math.nan)
    made, _ = clients.run()
    assert made.rows[0]["first"] == "largest" and clients.asked == {0: 5, 1: 1, 2: 5, 3: 5}


@pytest.mark.parametrize(
    ("clients", "options"),
    [
        (Clients(near(MODELS[1]), name="accuracy"), {}),
        (Clients(near(MODELS[1])), QUIET),
        (Clients(lambda w, i: math.nan), {}),
        (Clients(near(MODELS[1])), {"first_by": "cost"}),
    ],
)
def test_where_nobody_can_tell_it_is_the_mean_on_spheres(
    clients: Clients, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    made, result = clients.run(**options)
    assert made.rows[0]["first"] == "spheres" and "Nobody could judge the candidates" in caplog.text
    _, wanted = clients.run(first="spheres", **options)
    assert values(result.arrays) == values(wanted.arrays)


def test_the_loss_may_have_any_name() -> None:
    assert Clients(near(MODELS[1]), "perplexity").run(first_by="perplexity")[0].rows[0]["first"] == "largest"
    assert Clients(near(MODELS[1]), "Eval_Loss").run()[0].rows[0]["first"] == "largest"


def test_the_same_sample_of_clients_is_asked_about_every_candidate() -> None:
    clients = Clients(near(MODELS[1]))
    clients.run(fraction_evaluate=0.5)
    assert sum(clients.asked.values()) in (4 * 1 + 2, 4 * 2 + 2) and max(clients.asked.values()) <= 5


def test_a_resumed_run_does_not_choose_again(tmp_path: Path) -> None:
    whole, wanted = Clients(near(MODELS[1])).run(4)
    Clients(near(MODELS[1])).run(2, checkpoint_dir=tmp_path)
    again, clients = LLPFStrategy(), Clients(near(MODELS[1]))
    result = again.start(grid(app(clients.train, clients.evaluate), 4), again.resume(tmp_path), 2)
    assert values(result.arrays) == values(wanted.arrays) and again.rows == whole.rows
    apart_again = LLPFStrategy()
    apart_again.start(grid(fixed(dict(enumerate(MODELS))), 4), apart_again.resume(tmp_path), 1)
    assert "first" not in apart_again.rows[-1]


def test_the_first_round_is_the_first_in_which_a_reply_counts() -> None:
    clients = Clients(near(MODELS[1]))

    def train(message: Message, context: Context) -> dict[str, Any]:
        now = int(message.content["config"]["server-round"])  # type: ignore[index, arg-type]
        if now == 1:
            raise RuntimeError("on purpose")
        return {"arrays": MODELS[number(context)], "metrics": MetricRecord({"num-examples": EXAMPLES[number(context)]})}

    made = LLPFStrategy()
    made.start(grid(app(train, clients.evaluate), 4), START, 3)
    assert ["first" in row for row in made.rows] == [False, True, False]


def test_in_another_strategy_nothing_is_chosen() -> None:
    clients = Clients(near(MODELS[1]))
    inner = LLPFStrategy()
    Fixed(inner, 1.0, 1e9, 4).start(grid(app(clients.train, clients.evaluate), 4), START, 1)
    assert "first" not in inner.rows[0] and set(clients.asked.values()) == {1}


def test_parts_of_models_and_plain_means_are_only_averaged() -> None:
    parts = {0: MODELS[0], 1: record(w=MODELS[1]["w"].numpy(), v=[1.0, 2.0])}
    made = LLPFStrategy()
    made.start(grid(fixed(parts), 2), record(w=START["w"].numpy(), v=[0.0, 0.0]), 1)
    plain, _ = Clients(near(MODELS[1])).run(sphere="none")
    assert "first" not in made.rows[0] and "first" not in plain.rows[0]


def permuted(net: nn.Sequential, seed: int) -> dict[str, Any]:
    """The same function with its hidden units in another order."""
    order = torch.randperm(net[0].out_features, generator=torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
    weights = net.state_dict()
    return {
        "0.weight": weights["0.weight"][order], "0.bias": weights["0.bias"][order],
        "2.weight": weights["2.weight"][:, order], "2.bias": weights["2.bias"],
    }  # fmt: skip


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))


def test_models_that_differ_in_the_order_of_their_units_have_that_function_as_their_mean() -> None:
    torch.manual_seed(0)
    net, x = network(), torch.randn(5, 6)
    models = {i: to_arrays(permuted(net, i)) for i in range(3)}
    made = LLPFStrategy(**QUIET, first="aligned", network=(network, x))
    result = made.start(grid(fixed(models), 3), to_arrays(network().state_dict()), 1)
    mean = network()
    mean.load_state_dict(to_weights(result.arrays))
    assert made.rows[0]["first"] == "aligned"
    torch.testing.assert_close(mean(x), net(x))


def test_a_network_of_other_tensors_aligns_nothing(caplog: pytest.LogCaptureFixture) -> None:
    made, _ = Clients(near(MODELS[1])).run(network=(network, torch.randn(5, 6)))
    assert made.rows[0]["first"] == "largest" and "other tensors than the clients' models" in caplog.text
    named, _ = Clients(near(MODELS[1])).run(first="aligned", network=(network, torch.randn(5, 6)))
    assert named.rows[0]["first"] == "spheres"


def test_with_a_task_the_server_chooses_and_asks_nobody(caplog: pytest.LogCaptureFixture) -> None:
    task = tiny.mlp()
    models = {i: to_arrays(start(i)) for i in range(3)}
    sizes = {i: float(len(shard(i).train)) for i in range(3)}
    made = LLPFStrategy(task=task, **QUIET)
    result = made.start(grid(fixed(models, sizes), 3), to_arrays(tiny.mlp().model.state_dict()), 1)
    losses = made.rows[0]["first losses"]
    assert set(losses) == {"spheres", "aligned", "aligned-spheres", "largest", "initial"}
    chosen = made.rows[0]["first"]
    assert losses[chosen] == min(losses.values()) and f"First model: {chosen}" in caplog.text
    assert accuracy(to_weights(result.arrays)) > 0.8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"first": "best"}, "first = 'best': it must be one of auto, spheres, aligned"),
        ({"first": "aligned"}, "first = 'aligned' needs the network"),
    ],
)
def test_a_first_model_that_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(LLPFError, match=words):
        LLPFStrategy(**options)


def test_a_second_run_chooses_again() -> None:
    clients = Clients(near(MODELS[1]))
    made = LLPFStrategy()
    for _ in range(2):
        made.start(grid(app(clients.train, clients.evaluate), 4), START, 2)
        assert [row.get("first") for row in made.rows] == ["largest", None]


def test_one_client_alone_starts_together_with_itself() -> None:
    made = LLPFStrategy(min_train_nodes=1, min_evaluate_nodes=1, min_available_nodes=1)
    made.start(grid(app(echo), 1), START, 1)
    assert "first" not in made.rows[0]
