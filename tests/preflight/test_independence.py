"""Independent pairs, pairs of one initialisation, and pairs that share a tensor."""

import pytest
import torch
from helpers import tiny
from hypothesis import given
from hypothesis import strategies as st

from llpf_plugin import LLPF, Task, align, find_path, load_task
from llpf_plugin.geometry.weights import Weights, clone, coordinates
from llpf_plugin.merging import Request, Source, open_pair
from llpf_plugin.preflight.independence import ALIKE, CHANCE, centred_cosine, independent, trained
from llpf_plugin.search import SearchOptions
from llpf_plugin.training import train
from llpf_plugin.workspace import Compute

DIGITS = {"digits/mlp": {"width": 32, "depth": 3}, "digits/resnet": {"width": 8}}
SEEDS = range(5)


def said(a: Weights, b: Weights, task: Task) -> list[str]:
    return [str(found) for found in independent(a, b, coordinates(task.model))]


@pytest.fixture(scope="module", params=DIGITS)
def networks(request: pytest.FixtureRequest) -> tuple[Task, list[Weights]]:
    """Five networks of five seeds, trained on digits; ten pairs."""
    task = load_task(request.param, DIGITS[request.param])
    return task, [train(load_task(request.param, DIGITS[request.param]), seed, epochs=2) for seed in SEEDS]


def finetuned(task: Task, start: Weights, seed: int) -> Weights:
    """A network after some steps from another one's weights, on batches of its own."""
    model = task.model
    model.load_state_dict(start)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for step in range(20):
        optimizer.zero_grad()
        task.score(task.train.batch(64, seed, step))[0].backward()
        optimizer.step()
    return clone(model.state_dict())


def test_ten_independent_pairs_raise_no_alarm(networks: tuple[Task, list[Weights]]) -> None:
    task, trained_ones = networks
    pairs = [(a, b) for i, a in enumerate(trained_ones) for b in trained_ones[:i]]
    assert len(pairs) == 10 and not any(said(a, b, task) for a, b in pairs)


def test_two_networks_that_were_finetuned_from_one_are_not_independent(networks: tuple[Task, list[Weights]]) -> None:
    task, (start, *_) = networks
    found = said(finetuned(task, start, 1), finetuned(task, start, 2), task)
    matrices = sum(t.dim() >= 2 for t in coordinates(task.model).values())
    assert len(found) == 1
    assert f"not trained independently: {matrices} of {matrices} tensors are alike" in found[0]


def test_one_shared_tensor_among_independent_ones_is_named(networks: tuple[Task, list[Weights]]) -> None:
    task, (a, b, *_) = networks
    shared = [k for k, t in coordinates(task.model).items() if t.dim() >= 2][1]
    (found,) = said(a, {**b, shared: a[shared] + 0.1 * a[shared].std() * torch.randn_like(a[shared])}, task)
    assert f"A and B share 1 of {sum(t.dim() >= 2 for t in coordinates(task.model).values())} tensors" in found
    assert f"{shared} (cosine 0.99" in found


@given(st.integers(2, 200), st.integers(2, 40), st.floats(-9, 9), st.floats(-9, 9), st.integers(0, 2**32))
def test_means_and_variances_make_no_tensors_alike(n: int, m: int, mean: float, other: float, seed: int) -> None:
    """Tensors far from the origin have a cosine of almost 1, but not about their means."""
    rng = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, m, generator=rng, dtype=torch.float64) for _ in range(2))
    a, b = a + mean, 3 * b + other
    assert abs(centred_cosine(a, b)) <= max(ALIKE + CHANCE / (n * m) ** 0.5, 0.999 if n * m < 40 else 0)
    assert centred_cosine(a, 2 * a + 1) == pytest.approx(1)
    assert centred_cosine(a, torch.full_like(a, other)) == 0


def test_small_tensors_are_alike_by_chance() -> None:
    """Of 16 weights, a cosine of 1 is no more than 4 standard deviations."""
    a = {"w": torch.randn(4, 4)}
    assert independent(a, a, ["w"]) == []


def test_what_is_not_trained_says_nothing() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 3))
    model[0].weight.requires_grad_(False)
    assert trained(model, ["0.weight", "0.bias", "1.weight"]) == ["0.bias", "1.weight"]


def test_a_search_warns_before_it_walks() -> None:
    task, (a, _) = tiny.conv(), tiny.pair("conv")
    b = {
        k: t + 0.2 * t.std() * torch.randn_like(t) if k.endswith("weight") and t.dim() > 1 else t for k, t in a.items()
    }
    with pytest.warns(UserWarning, match="A and B were not trained independently: 3 of 3 tensors are alike"):
        find_path(a, b, task, LLPF(), budget=4, points=1)


def test_an_aligned_pair_is_judged_as_it_was_trained(networks: tuple[Task, list[Weights]]) -> None:
    task, (a, b, *_) = networks
    matched = align(a, b, task).weights
    alike = [centred_cosine(a[k], matched[k]) for k, t in coordinates(task.model).items() if t.dim() >= 2]
    assert max(alike) > 0.3  # or else nothing would be tested here
    request = Request(task, LLPF(), SearchOptions(), Compute("cpu"), align="always")
    pair = open_pair("1-2", [Source("a", a), Source("b", b)], request)
    assert pair.matching is not None and pair.search.findings == []
