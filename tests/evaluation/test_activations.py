"""REPAIR: what it promises of every corrected layer, what it leaves alone, and that it leaves no trace."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from helpers import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from llpf_plugin import LLPFError, Task, TensorData
from llpf_plugin.evaluation import repair_activations, score, spread_of
from llpf_plugin.evaluation.correctable import NORMALIZED, OUTPUT
from llpf_plugin.geometry.weights import Weights, clone, coordinates, lerp
from llpf_plugin.workspace import Workspace


class Conv1D(nn.Module):
    """GPT-2's linear layer, as transformers has it: its weight is ``[in, out]``."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.randn(nf))

    def forward(self, x: Tensor) -> Tensor:
        """``[…, nx] → […, nf]``."""
        return x @ self.weight + self.bias


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), (6,)),
    "conv": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 2, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)
        ),
        (2, 5, 5),
    ),
    "series": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)), (2, 5)),
    "tokens": (lambda: nn.Sequential(Conv1D(5, 4), nn.GELU(), Conv1D(3, 5), nn.Flatten(), nn.Linear(9, 3)), (3, 4)),
}
"""By the axes of units that they have, with the shape of an input."""

every_network = pytest.mark.parametrize("name", NETWORKS)


def workspace_of(model: nn.Module, *shape: int) -> Workspace:
    inputs = 2 + torch.randn(300, *shape, generator=torch.Generator().manual_seed(0))  # three batches on a CPU
    return Workspace(Task(model, TensorData(inputs, torch.arange(300) % 3)))


def made(build: Callable[[], nn.Module], *shape: int, seed: int = 0) -> tuple[Workspace, Weights, Weights]:
    """A workspace, and two networks that nobody trained."""
    torch.manual_seed(seed)
    a, b = (clone(build().state_dict()) for _ in range(2))
    return workspace_of(build(), *shape), a, b


@every_network
@given(t=st.floats(0, 1), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_every_corrected_unit_has_the_mean_and_the_deviation_between_its_ends(name: str, t: float, seed: int) -> None:
    build, shape = NETWORKS[name]
    workspace, a, b = made(build, *shape, seed=seed)
    found = repair_activations(workspace, a, b, lerp(a, b, t), t)
    at_a, at_b, now = (spread_of(workspace, w, found.corrected) for w in (a, b, found.weights))
    assert len(found.corrected) == sum(isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | Conv1D) for m in build()) - 1
    for layer in found.corrected:
        for key in ("mean", "std"):
            one, other, own = (getattr(s[layer], key) for s in (at_a, at_b, now))
            assert torch.allclose(own, (1 - t) * one + t * other, rtol=1e-4, atol=1e-5), (layer, key)


@every_network
@pytest.mark.parametrize("t", [0, 1])
def test_the_ends_stay_bit_by_bit_what_they_are(name: str, t: float) -> None:
    build, shape = NETWORKS[name]
    workspace, a, b = made(build, *shape)
    assert tiny.same(repair_activations(workspace, a, b, lerp(a, b, t), t).weights, b if t else a)


@every_network
def test_the_folded_layer_is_the_layer_with_an_affine_map_after_each_unit(name: str) -> None:
    build, shape = NETWORKS[name]
    workspace, a, b = made(build, *shape)
    before = lerp(a, b, 0.5)
    found = repair_activations(workspace, a, b, before, 0.5)
    (_, first), *_ = workspace.model.named_children()
    layer = found.corrected[0]
    at_a, at_b, merged = (spread_of(workspace, w, [layer])[layer] for w in (a, b, before))
    x = workspace.task.train.inputs  # type: ignore[attr-defined]
    plain, folded = (
        torch.func.functional_call(first, {k: w[f"{layer}.{k}"] for k in ("weight", "bias")}, x).double()
        for w in (before, found.weights)
    )
    axis = {nn.Conv2d: -3, nn.Conv1d: -2}.get(type(first), -1)
    scale = (at_a.std + at_b.std) / 2 / merged.std
    expected = scale * (plain.movedim(axis, -1) - merged.mean) + (at_a.mean + at_b.mean) / 2
    assert torch.allclose(folded.movedim(axis, -1), expected, rtol=1e-4, atol=1e-5)


def test_a_layer_without_bias_gets_the_scale_only() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3))

    workspace, a, b = made(build, 6)
    before = lerp(a, b, 0.5)
    found = repair_activations(workspace, a, b, before, 0.5)
    at_a, at_b, merged, now = (spread_of(workspace, w, ["0"])["0"] for w in (a, b, before, found.weights))
    assert torch.allclose(now.std, (at_a.std + at_b.std) / 2, rtol=1e-4)
    assert torch.allclose(now.mean, merged.mean * now.std / merged.std, rtol=1e-4)
    assert not torch.allclose(now.mean, (at_a.mean + at_b.mean) / 2, rtol=0.01)


def test_a_unit_that_does_not_vary_gets_the_shift_only() -> None:
    workspace, a, b = made(NETWORKS["mlp"][0], 6)
    b["0.weight"] = -a["0.weight"]  # the average has no input left
    found = repair_activations(workspace, a, b, lerp(a, b, 0.5), 0.5)
    at_a, at_b, now = (spread_of(workspace, w, ["0"])["0"] for w in (a, b, found.weights))
    assert not found.weights["0.weight"].any() and not now.std.any()
    assert torch.allclose(now.mean, (at_a.mean + at_b.mean) / 2, atol=1e-5)


class Odd(nn.Module):
    """Whatever has a reason to be left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.tied, self.twin = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.twin.weight = self.tied.weight
        self.twice, self.unused, self.free = nn.Linear(6, 6), nn.Linear(6, 6), nn.Parameter(torch.eye(6))
        self.computed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.one, self.other = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[n, 6] → [n, 3]``, twice."""
        x = self.twin(self.tied(torch.relu(self.first(x)))) @ self.free
        x = self.computed(self.twice(self.twice(x)))[:, None]
        x = self.attention(x, x, x)[0].squeeze(1)
        return self.other(x).squeeze(0), self.one(x)


def test_what_cannot_be_corrected_is_left_alone_and_named() -> None:
    workspace, a, b = made(Odd, 6)
    data = workspace.task.train
    workspace.task = Task(workspace.model, data, objective=lambda m, batch: torch.cat(m(batch[0])).square().mean())
    before = lerp(a, b, 0.5)
    found = repair_activations(workspace, a, b, before, 0.5)
    assert found.corrected == ("first",)
    assert found.left == {
        "tied": "shares its weight", "twin": "shares its weight", "twice": "runs more than once",
        "computed": "has a weight that is computed, or that the path does not move",
        "other": OUTPUT, "one": OUTPUT, "unused": "is not called as a module",
        "free": "is neither a linear layer nor a convolution",
        "attention": "is neither a linear layer nor a convolution", "attention.out_proj": "is not called as a module",
    }  # fmt: skip
    assert [k for k, w in found.weights.items() if not torch.equal(w, before[k])] == ["first.weight", "first.bias"]


def test_layers_come_in_the_order_in_which_they_run() -> None:
    class Reversed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.c, self.b, self.a = (nn.Linear(6, n) for n in (3, 6, 6, 6))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.c(self.b(self.a(x))))

    workspace, a, b = made(Reversed, 6)
    assert repair_activations(workspace, a, b, lerp(a, b, 0.5), 0.5).corrected == ("a", "b", "c")


@pytest.mark.parametrize(("inplace", "corrected"), [(False, ()), (True, ("0",))])
def test_before_batchnorm_nothing_is_corrected_but_an_activation_between_them_counts(
    inplace: bool, corrected: tuple[str, ...]
) -> None:
    """A ReLU in place writes into the layer's output, which BatchNorm then does not see."""

    def build() -> nn.Module:
        between = nn.ReLU(inplace=True) if inplace else nn.Identity()
        return nn.Sequential(nn.Linear(6, 5), between, nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))

    workspace, a, b = made(build, 6)
    found = repair_activations(workspace, a, b, lerp(a, b, 0.5), 0.5)
    assert found.corrected == corrected and found.left.get("0") == (None if corrected else NORMALIZED)


@pytest.mark.parametrize("name", tiny.TASKS)
def test_model_ends_and_average_are_as_they_were(name: str) -> None:
    workspace, (a, b) = Workspace(tiny.TASKS[name]()), tiny.pair(name)
    merged = lerp(a, b, 0.3)
    held = [a, b, merged, workspace.model.state_dict()]
    before = [clone(w) for w in held]
    found = repair_activations(workspace, a, b, merged, 0.3)
    assert all(tiny.same(x, y) for x, y in zip(held, before, strict=True)) and list(found.weights) == list(merged)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in workspace.model.modules())


def test_coordinates_are_enough_and_what_they_lack_is_left_alone() -> None:
    workspace, (a, b) = Workspace(tiny.mlp()), tiny.pair("mlp")
    whole = repair_activations(workspace, a, b, lerp(a, b, 0.5), 0.5)
    own = [{k: w[k] for k in coordinates(workspace.model)} for w in (a, b)]
    assert tiny.same(whole.weights, repair_activations(workspace, *own, lerp(*own, 0.5), 0.5).weights)
    part = [{k: t for k, t in w.items() if k.startswith("2")} for w in own]
    found = repair_activations(workspace, *part, lerp(*part, 0.5), 0.5)
    assert found.corrected == () and "the path does not move" in found.left["0"]


@pytest.mark.parametrize("t", [-0.1, 1.5, float("nan")])
def test_a_place_beyond_the_line_is_refused(t: float) -> None:
    workspace, (a, b) = Workspace(tiny.mlp()), tiny.pair("mlp")
    with pytest.raises(LLPFError, match=r"^t = .*: it must be in \[0, 1\]$"):
        repair_activations(workspace, a, b, a, t)


def test_repaired_points_make_a_path_without_jumps() -> None:
    workspace, (a, b) = Workspace(tiny.mlp()), tiny.pair("mlp")
    points = [repair_activations(workspace, a, b, lerp(a, b, t), t).weights for t in torch.linspace(0, 1, 41).tolist()]
    steps = [sum(float((p[k] - q[k]).square().sum()) for k in p) ** 0.5 for p, q in pairwise(points)]
    assert max(steps) < 5 * sum(steps) / len(steps)


def test_a_compiled_model_is_heard_as_well() -> None:
    """A compiled model that has run before passes by hooks that come later, and would leave every layer as it is."""
    (a, b), compiled = tiny.pair("mlp"), Workspace(tiny.mlp())
    compiled.model.compile(backend="eager")
    score(compiled, compiled.task.train)
    merged = lerp(a, b, 0.5)
    found, plain = (repair_activations(w, a, b, merged, 0.5) for w in (compiled, Workspace(tiny.mlp())))
    assert found.corrected == ("0",) and tiny.same(found.weights, plain.weights)
