"""The client's merge step: towards the federation's model, on its own spheres and data."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import torch
from helpers import tiny
from helpers.flower_clients import accuracy, shard, start

from llpf_flower import Pace, merge_into_local
from llpf_plugin.errors import LLPFError, MismatchError
from llpf_plugin.geometry import coordinates, distance, select, spheres


def test_the_local_half_comes_closer_on_its_spheres_and_stays_good() -> None:
    task, before, incoming = shard(0), start(0), start(1)
    merged = merge_into_local(before, incoming, task, share=0.4, steps=100)
    names = list(coordinates(task.model))
    gap = [distance(select(w, names), select(incoming, names)) for w in (before, merged.weights)]
    assert merged.low and gap[1] < 0.8 * gap[0] and merged.moved == pytest.approx(1 - gap[1] / gap[0])
    assert spheres(select(merged.weights, names)) == pytest.approx(spheres(select(before, names)), rel=1e-4)
    assert accuracy(merged.weights, task) >= accuracy(before, task) - 0.02
    assert merged.incoming_loss > merged.own_loss and merged.ticks > 0


def test_the_local_half_keeps_to_its_steps_and_goes_on_with_the_next_batches() -> None:
    first = merge_into_local(start(0), start(1), shard(0), steps=7)
    assert first.pace.steps == 7
    second = merge_into_local(first.weights, start(1), shard(0), steps=5, pace=first.pace)
    assert second.pace.steps <= 12 and second.pace.level == first.pace.level


def test_the_local_half_is_repeatable_bit_by_bit() -> None:
    runs = [merge_into_local(start(0), start(1), shard(0), steps=20, seed=3) for _ in range(2)]
    assert tiny.same(runs[0].weights, runs[1].weights)


def test_without_a_low_tick_the_client_keeps_its_model_and_tries_smaller_ones() -> None:
    task = shard(0)
    level = Pace(share=0.4, level=-1.0)  # no loss comes down to this
    merged = merge_into_local(start(0), start(1), task, share=1.0, steps=10, pace=level, tolerance=0.1)
    assert tiny.same(merged.weights, start(0)) and not merged.low and merged.moved == 0.0 and merged.ticks == 0
    assert merged.pace.share <= 0.2


def test_inactive_layers_only_settle() -> None:
    names = {"0.weight", "0.bias"}
    merged = merge_into_local(start(0), start(1), shard(0), share=0.5, steps=100, active=names)
    moved = {k: distance({k: merged.weights[k]}, start(0)) for k in ("0.weight", "2.weight")}
    gap = {k: distance({k: start(0)[k]}, start(1)) for k in moved}
    assert moved["0.weight"] / gap["0.weight"] > 2 * moved["2.weight"] / gap["2.weight"]


def test_the_local_half_refuses_what_does_not_fit() -> None:
    with pytest.raises(LLPFError, match="share = 0"):
        merge_into_local(start(0), start(1), shard(0), share=0)
    with pytest.raises(MismatchError, match=r"NaN or infinity in 0\.bias"):
        merge_into_local(start(0), {**start(1), "0.bias": torch.full((16,), torch.nan)}, shard(0))
    with pytest.raises(MismatchError, match=r"0\.weight"):
        merge_into_local(start(0), {**start(1), "0.weight": torch.ones(2, 2)}, shard(0))
