"""Weight matching: what was shuffled is found again, and alignment changes no function."""

import pytest
import torch
from helpers import tiny

from llpf_plugin import Task
from llpf_plugin.alignment import Group, Symmetry, align, align_models, match, match_all, symmetry
from llpf_plugin.errors import MismatchError
from llpf_plugin.evaluation.point import evaluate
from llpf_plugin.geometry.weights import clone, coordinates, distance, select
from llpf_plugin.workspace import Workspace


def test_a_shuffled_copy_is_matched_back_bit_for_bit(conv: Task) -> None:
    a, _ = tiny.pair("conv")
    found = symmetry(conv.model, conv.example_inputs())
    rng = torch.Generator().manual_seed(3)
    orders = {g.name: torch.randperm(g.size, generator=rng)[None] for g in found.groups}
    matching = align(a, found.change(a, orders), conv)
    assert tiny.same(matching.weights, a)
    assert matching.distance[0] > 1 and matching.distance[1] == 0


def test_matching_two_units_by_hand() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.GELU(), torch.nn.Linear(2, 1, bias=False))
    found = symmetry(model, torch.randn(3, 2))
    a = {"0.weight": torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "2.weight": torch.tensor([[1.0, -1.0]])}
    b = {"0.weight": torch.tensor([[0.2, 1.0], [1.0, 0.1]]), "2.weight": torch.tensor([[-1.0, 1.0]])}
    assert match(a, b, model, found).permutations["0.weight[0]"].tolist() == [[1, 0]]
    assert match(a, a, model, found).permutations["0.weight[0]"].tolist() == [[0, 1]]


def test_alignment_comes_nearer_and_computes_the_same() -> None:
    for name, make in tiny.TASKS.items():
        task, (a, b) = make(), tiny.pair(name)
        kept = clone(b)
        matching = align(a, b, task)
        assert tiny.same(b, kept) and list(matching.weights) == list(b)
        assert matching.distance[1] < matching.distance[0]
        names = list(coordinates(task.model))
        assert matching.distance[1] == distance(select(a, names), select(matching.weights, names))
        scores = [evaluate(Workspace(task), w, {"train": task.train})[0]["train"] for w in (b, matching.weights)]
        assert scores[0] is not None and scores[1] is not None
        assert abs(scores[0].loss - scores[1].loss) < 1e-5 and scores[0].accuracy == scores[1].accuracy


def test_same_seed_same_permutations(conv: Task) -> None:
    a, b = tiny.pair("conv")
    one, other = align(a, b, conv), align(a, b, conv)
    assert tiny.same(one.weights, other.weights) and one.sweeps == other.sweeps


def test_no_task_is_needed() -> None:
    task, (a, b) = tiny.conv(), tiny.pair("conv")
    one, other = align(a, b, task), align_models(a, b, task.model, torch.zeros(2, 1, 5, 5))
    assert tiny.same(one.weights, other.weights) and one.distance == other.distance


def test_where_a_scale_has_a_zero_units_only_change_places() -> None:
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(12, 3, 10, dropout=0.0, batch_first=True, norm_first=True)
    model = torch.nn.Sequential(torch.nn.Linear(16, 12), layer, torch.nn.LayerNorm(12), torch.nn.Linear(12, 2)).double()
    inputs = torch.randn(3, 4, 16, dtype=torch.float64)
    found, a = symmetry(model, inputs), clone(model.state_dict())
    b = {k: torch.randn_like(t) for k, t in a.items()}
    b["1.norm1.weight"][0] = 0
    model.load_state_dict(b)
    before = model.eval()(inputs)
    result = match(a, b, model, found)
    assert {g.name: g.kind for g in result.symmetry.groups}["0.weight[0]"] == "permutation"
    model.load_state_dict(result.weights)
    assert torch.allclose(model(inputs), before, atol=1e-9) and result.distance[1] < result.distance[0]


def test_weights_that_are_not_finite_are_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    a, inputs = clone(model.state_dict()), torch.randn(2, 4)
    b = {**a, "2.weight": a["2.weight"] * float("nan")}
    with pytest.raises(MismatchError, match=r"model 2: 2\.weight is not finite"):
        align_models(a, b, model, inputs)
    with pytest.raises(MismatchError, match=r"model 3: 2\.weight is not finite"):
        match_all([a, a, b], model, symmetry(model, inputs))


def test_a_consensus_does_not_absorb_a_scale_with_a_zero_either() -> None:
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(12, 3, 10, dropout=0.0, batch_first=True, norm_first=True)
    model = torch.nn.Sequential(torch.nn.Linear(16, 12), layer, torch.nn.LayerNorm(12), torch.nn.Linear(12, 2)).double()
    a = clone(model.state_dict())
    b = {k: torch.randn_like(t) for k, t in a.items()}
    b["1.norm1.weight"][0] = 0
    found = match_all([a, b], model, symmetry(model, torch.randn(3, 4, 16, dtype=torch.float64)))
    assert all(t.isfinite().all() for w in found.weights for t in w.values())


def test_what_was_done_is_said_in_words() -> None:
    groups = {kind: Group(kind, (), kind) for kind in ("permutation", "scaling", "rotary")}  # type: ignore[arg-type]
    words = [Symmetry(tuple(groups[k] for k in kinds)).done for kinds in (["permutation"], ["scaling"], [*groups])]
    assert words == ["re-ordered", "re-ordered and scaled", "re-ordered, scaled and rotated"]
