"""One-shot merging: pairwise along low-loss paths, on a small set of the server's own."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import torch
from helpers import tiny
from helpers.flower_apps import fixed, grid, values

from llpf_flower import OneShotLLPF, join_models, to_arrays, to_weights
from llpf_flower.oneshot import finetune
from llpf_plugin import LLPF
from llpf_plugin.errors import LLPFError
from llpf_plugin.evaluation import evaluate
from llpf_plugin.geometry import Weights
from llpf_plugin.training import train
from llpf_plugin.workspace import Workspace


def accuracy(weights: Weights) -> float:
    workspace = Workspace(tiny.mlp())
    found = evaluate(workspace, weights, {"test": workspace.task.test})[0]["test"]
    assert found is not None and found.accuracy is not None
    return found.accuracy


def models() -> list[Weights]:
    return [*tiny.pair("mlp"), train(tiny.mlp(), 3)]


def test_three_models_are_joined_within_the_budget() -> None:
    found = join_models(models(), tiny.mlp(), budget=400)
    assert (found.pairs, found.joined) == (2, 2) and 0 < found.steps <= 400
    assert accuracy(found.weights) > 0.95
    assert all(not torch.equal(found.weights["0.weight"], m["0.weight"]) for m in models())


def test_pairs_are_aligned_unless_that_is_not_wanted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        aligned = join_models(models()[:2], tiny.mlp(), budget=400)
        assert "models 1-2: B's units were re-ordered and scaled: the same function" in caplog.text
        caplog.clear()
        plain = join_models(models()[:2], tiny.mlp(), budget=400, align="never")
        assert "units" not in caplog.text
    assert not tiny.same(aligned.weights, plain.weights)


def test_one_model_is_settled_and_that_is_all() -> None:
    found = join_models(models()[:1], tiny.mlp(), budget=50)
    assert found.pairs == 0 and found.steps <= 10 and accuracy(found.weights) > 0.95


def test_a_pair_that_cannot_be_joined_leaves_the_first_of_it() -> None:
    found = join_models(models()[:2], tiny.mlp(), budget=20, method=LLPF(share=0.01, repairs=0))
    assert found.joined == 0 and accuracy(found.weights) > 0.95


def test_the_same_model_twice_is_that_model() -> None:
    twice = [models()[0], models()[0]]
    found = join_models(twice, tiny.mlp(), budget=100)
    assert found.joined == 0 and accuracy(found.weights) > 0.95


def test_equal_models_are_joined_once() -> None:
    one, other = models()[:2]
    found = join_models([one, other, one, other], tiny.mlp(), budget=400)
    assert (found.joined, found.pairs) == (1, 1) and accuracy(found.weights) > 0.95


def test_a_pair_that_cannot_be_searched_leaves_the_better_of_it(caplog: pytest.LogCaptureFixture) -> None:
    found = join_models(models()[:2], tiny.mlp(), budget=100, max_loss=1e-9)
    assert (found.joined, found.pairs) == (0, 1) and accuracy(found.weights) > 0.95
    assert "1 pairs could not be searched" in caplog.text


def test_any_method_joins_them() -> None:
    found = join_models(models()[:2], tiny.mlp(), budget=400, method="sphere-curve")
    assert (found.joined, found.pairs) == (1, 1) and 0 < found.steps <= 400 and accuracy(found.weights) > 0.95


def test_without_models_or_steps_there_is_nothing_to_join() -> None:
    with pytest.raises(LLPFError, match="no model to join"):
        join_models([], tiny.mlp())
    with pytest.raises(LLPFError, match="budget = 20 for 3 models"):
        join_models(models(), tiny.mlp(), budget=20)


def test_finetuning_takes_the_steps_that_it_is_given() -> None:
    before = models()[0]
    assert torch.equal(finetune(before, tiny.mlp(), 0)["0.weight"], before["0.weight"])
    assert not torch.equal(finetune(before, tiny.mlp(), 3)["0.weight"], before["0.weight"])


def test_the_strategy_joins_what_the_clients_send() -> None:
    sent = {i: to_arrays(m) for i, m in enumerate(models()[:2])}
    strategy = OneShotLLPF(task=tiny.mlp(), budget=300, search={"points": 2})
    result = strategy.start(grid(fixed(sent, {0: 5, 1: 9}), 2), sent[0], num_rounds=1)
    assert accuracy(to_weights(result.arrays)) > 0.95
    assert strategy.joined is not None and strategy.rows[0]["joined"] == "1 of 1"
    again = OneShotLLPF(task=tiny.mlp(), budget=300, search={"points": 2}).start(
        grid(fixed(sent, {0: 5, 1: 9}), 2), sent[0], num_rounds=1
    )
    assert values(again.arrays) == values(result.arrays)
