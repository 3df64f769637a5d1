import math

import pytest
import torch
from helpers import tiny
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from llpf_plugin.geometry import weights
from llpf_plugin.tasks.task import Task


class Tied(nn.Module):
    """An embedding tied to the head, one BatchNorm under two names, and a mask that is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight
        self.norm = self.norm_again = nn.BatchNorm1d(4)
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))
        self.register_buffer("scratch", torch.zeros(1), persistent=False)


def test_coordinates_are_the_parameters_themselves_once() -> None:
    model = Tied()
    own = weights.coordinates(model)
    assert list(own) == ["embed.weight", "norm.weight", "norm.bias"]
    own["embed.weight"].fill_(3.0)
    assert model.head.weight.tolist() == [[3.0] * 4] * 5
    assert not own["embed.weight"].requires_grad


def test_integer_parameters_are_no_coordinates() -> None:
    model = nn.ParameterDict({"w": torch.ones(2), "index": nn.Parameter(torch.tensor([1]), requires_grad=False)})
    assert list(weights.coordinates(model)) == ["w"]


def test_buffers_are_what_is_saved_and_no_parameter() -> None:
    names = {f"{norm}.{k}" for norm in ("norm", "norm_again") for k in ("running_mean", "running_var")}
    counters = {"norm.num_batches_tracked", "norm_again.num_batches_tracked"}
    assert set(weights.buffers(Tied())) == names | counters | {"mask"}


def test_ties_name_the_coordinate() -> None:
    expected = {"head.weight": "embed.weight", "norm_again.weight": "norm.weight", "norm_again.bias": "norm.bias"}
    assert weights.ties(Tied()) == expected


def test_clone_shares_nothing() -> None:
    a = {"w": torch.ones(2), "n": torch.tensor(3)}
    copy = weights.clone(a)
    copy["w"].zero_()
    assert a["w"].tolist() == [1.0, 1.0] and copy["n"].dtype == torch.int64


def test_select_keeps_the_order_asked_for() -> None:
    a = {"w": torch.ones(1), "v": torch.zeros(1), "u": torch.zeros(1)}
    assert list(weights.select(a, ["u", "w"])) == ["u", "w"]


def test_measures_by_hand() -> None:
    a = {"w": torch.tensor([[3.0, 0.0]]), "b": torch.tensor([0.0])}
    b = {"w": torch.tensor([[0.0, 0.0]]), "b": torch.tensor([4.0])}
    assert weights.norm(a) == 3.0
    assert weights.distance(a, b) == 5.0
    assert weights.relative_distance(a, b) == 5.0 / 4.0
    assert weights.cosine(a, b) == 0.0
    assert weights.cosine(a, {"w": -2 * a["w"], "b": a["b"]}) == -1.0
    assert weights.cosine(a, {"w": a["w"] * 0, "b": a["b"]}) == 0.0
    assert weights.relative_distance(a, {"w": a["w"] * 0, "b": a["b"]}) == 3.0  # no scale: the distance itself


def test_distances_are_summed_in_float64() -> None:
    a, b = {"w": torch.full((10_000,), 1 + 2**-12)}, {"w": torch.ones(10_000)}
    assert weights.distance(a, b) == pytest.approx(100 * 2**-12, rel=1e-12)


@given(st.integers(0, 2**32), st.floats(0, 1), st.sampled_from((torch.float64, torch.float32, torch.bfloat16)))
def test_lerp_is_the_segment_and_exact_at_the_ends(seed: int, t: float, dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(2, 5, generator=rng, dtype=torch.float64)).to(dtype)
    a, b = {"w": x}, {"w": y}
    assert torch.equal(weights.lerp(a, b, 0.0)["w"], x) and torch.equal(weights.lerp(a, b, 1.0)["w"], y)
    point = weights.lerp(a, b, t)["w"]
    assert point.dtype == dtype
    exact = (1 - t) * x.double() + t * y.double()
    assert torch.allclose(
        point.double(), exact, rtol=0, atol=4 * torch.finfo(dtype).eps * float((x.abs() + y.abs()).max())
    )


def test_lerp_takes_counters_from_the_nearer_end() -> None:
    a, b = {"n": torch.tensor(10)}, {"n": torch.tensor(20)}
    assert [int(weights.lerp(a, b, t)["n"]) for t in (0, 0.49, 0.5, 1)] == [10, 10, 20, 20]


def test_large_tensors_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = ({"w": torch.randn(7, 5, generator=torch.Generator().manual_seed(seed))} for seed in range(2))
    whole = weights.distance(a, b)
    monkeypatch.setattr(weights, "PIECE", 4)
    assert weights.distance(a, b) == pytest.approx(whole, rel=1e-14)


def test_lerp_between_two_dtypes_keeps_the_finer_one() -> None:
    a, b = {"w": torch.tensor([1.0, 2.0], dtype=torch.bfloat16)}, {"w": torch.tensor([1.001, 4.0])}
    for start, end in ((a, b), (b, a)):
        assert weights.lerp(start, end, 0.5)["w"].dtype == torch.float32
        assert torch.allclose(weights.lerp(start, end, 0.5)["w"], torch.tensor([1.0005, 3.0]))
        assert torch.equal(weights.lerp(start, end, 0.0)["w"].float(), start["w"].float())
        assert torch.equal(weights.lerp(start, end, 1.0)["w"].float(), end["w"].float())


def test_lerp_keeps_infinities_that_both_ends_have() -> None:
    mask = {"mask": torch.tensor([0.0, -math.inf])}
    for t in (0.0, 0.5, 1.0):
        assert torch.equal(weights.lerp(mask, weights.clone(mask), t)["mask"], mask["mask"])


def test_assign_writes_in_place_and_keeps_the_training_flags() -> None:
    model = Tied()
    model.norm.eval()
    place = model.embed.weight.data_ptr()
    state = weights.clone(model.state_dict())
    new = {k: torch.full_like(t, 2) for k, t in state.items()}
    weights.assign(model, new)
    assert model.embed.weight.data_ptr() == place
    assert all(torch.equal(t, torch.full_like(t, 2)) for t in model.state_dict().values())
    assert model.training and not model.norm.training and model.head.training


def test_assign_drops_what_a_module_caches_in_eval_mode() -> None:
    class Cached(nn.Linear):
        """Keeps ``2·weight`` from its first call in eval mode until it is trained again."""

        cache: Tensor | None = None

        def train(self, mode: bool = True) -> "Cached":
            self.cache = None
            return super().train(mode)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                return x @ (2 * self.weight).T
            self.cache = 2 * self.weight if self.cache is None else self.cache
            return x @ self.cache.T

    model = nn.Sequential(Cached(1, 1, bias=False)).eval()
    weights.assign(model, {"0.weight": torch.tensor([[1.0]])})
    assert model(torch.ones(1, 1)).item() == 2.0
    weights.assign(model, {"0.weight": torch.tensor([[5.0]])})
    assert model(torch.ones(1, 1)).item() == 10.0 and not model[0].training


def test_assign_names_a_tensor_that_the_model_lacks(mlp: Task) -> None:
    with pytest.raises(KeyError, match="nowhere"):
        weights.assign(mlp.model, {"nowhere": torch.zeros(1)})


class Words(nn.Module):
    """An embedding that shortens its rows while it runs, tied to a layer's weight; and running statistics."""

    def __init__(self, max_norm: float | None = None) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(5, 3, max_norm=max_norm), nn.Linear(3, 5, bias=False)
        self.norm = nn.BatchNorm1d(3)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.embed(x)))


def test_lent_tensors_are_the_parameters_memory_and_buffers_are_copied() -> None:
    model, new = Words(), {k: t + 1 for k, t in Words().state_dict().items()}
    new["head.weight"] = new["embed.weight"]
    weights.lend(model, new)
    assert tiny.same(model.state_dict(), new) and model.head.weight is model.embed.weight
    assert model.embed.weight.data_ptr() == new["embed.weight"].data_ptr() and model.embed.weight.requires_grad
    assert model.norm.running_mean.data_ptr() != new["norm.running_mean"].data_ptr()
    weights.lend(model, {"norm.weight": torch.ones(3, dtype=torch.float64)})
    assert model.norm.weight.dtype == torch.float32 and model.norm.weight.tolist() == [1, 1, 1]


def test_what_is_lent_is_not_written_into() -> None:
    model, new = Words(max_norm=0.1), {k: t + 1 for k, t in Words().state_dict().items()}
    new["head.weight"] = new["embed.weight"]
    before = weights.clone(new)
    weights.lend(model, new)
    model(torch.tensor([0, 1, 2]))
    assert tiny.same(new, before) and model.embed.weight[:3].norm(dim=1).max() < 0.11


def test_a_scripted_module_is_lent_to() -> None:
    model = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    weights.lend(model, {"0.weight": 2 * torch.eye(2), "0.bias": torch.zeros(2)})
    assert model(torch.ones(1, 2)).tolist() == [[2, 2]]
