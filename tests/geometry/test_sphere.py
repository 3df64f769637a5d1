import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from llpf_plugin.geometry import sphere

DTYPES = (torch.float64, torch.float32, torch.bfloat16)
SHAPES = ((2,), (7, 5), (4, 3, 3, 3), (1, 257), (64, 64))


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Tensors of every dtype, with a variance from 1e-12 to 1e6 and a mean up to a thousand standard deviations."""
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SHAPES))
    std = 10 ** draw(st.floats(-6, 3))
    mean = std * draw(st.sampled_from((0.0, 1.0, -30.0, 1000.0)))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    tensor = (mean + std * torch.randn(shape, generator=rng, dtype=torch.float64)).to(dtype)
    assume(float(tensor.double().var(correction=0)) > 0)
    return tensor


variances = st.floats(-12, 6).map(lambda exponent: 10**exponent)


def allowed(before: Tensor, after: Tensor) -> float:
    """The relative error that the dtype allows: eps·(1 + |mean|/std), a mean being as hard before as after."""
    spread = min(float(t.double().std(correction=0)) for t in (before, after))
    assume(spread > 0)
    error = torch.finfo(before.dtype).eps * (1 + abs(float(after.double().mean())) / spread)
    assume(error < 0.02)  # the tensor's own rounding is of the size of its spread: nothing can be promised
    return 8 * error


def on_sphere(tensor: Tensor, target: float) -> Tensor:
    """The nearest point of the sphere as `project_` has it; the tensor stays."""
    (projected,) = sphere.project_([tensor.clone(memory_format=torch.preserve_format)], [target])
    return projected


@given(tensors(), variances)
def test_projection_lands_on_the_sphere(tensor: Tensor, target: float) -> None:
    projected = on_sphere(tensor, target)
    error = allowed(tensor, projected)
    assert projected.dtype == tensor.dtype and projected.shape == tensor.shape
    assert float(projected.double().var(correction=0)) == pytest.approx(target, rel=error)


@given(tensors(), variances)
def test_projection_keeps_the_mean(tensor: Tensor, target: float) -> None:
    projected = on_sphere(tensor, target)
    error = allowed(tensor, projected) * target**0.5
    assert float(projected.double().mean()) == pytest.approx(float(tensor.double().mean()), abs=error)


@given(st.integers(0, 2**32), st.sampled_from(SHAPES), variances)
def test_the_distance_to_the_origin_goes_with_the_root_of_the_variance(
    seed: int, shape: tuple[int, ...], target: float
) -> None:
    """Equation 6 and appendix M: with a mean of 0, ‖P‖ = sqrt(n · Var(P))."""
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    projected = on_sphere(tensor - tensor.mean(), target)
    assert float(projected.norm()) == pytest.approx((projected.numel() * target) ** 0.5, rel=1e-9)


@given(tensors(), variances)
def test_projection_is_idempotent(tensor: Tensor, target: float) -> None:
    once = on_sphere(tensor, target)
    error = allowed(tensor, once)
    spread = target**0.5 * float((once.double() - once.double().mean()).abs().max() / once.double().std(correction=0))
    assert torch.allclose(on_sphere(once, target).double(), once.double(), rtol=0, atol=2 * error * spread)


@given(tensors())
def test_a_tensor_on_its_sphere_stays_bit_for_bit(tensor: Tensor) -> None:
    _, std = sphere.moments(tensor)
    assert torch.equal(on_sphere(tensor, float(std.double()) ** 2), tensor)


@given(tensors(), variances)
def test_projection_is_the_formula_of_the_paper(tensor: Tensor, target: float) -> None:
    wide = tensor.double()
    mean = wide.mean()
    exact = mean + (target / wide.var(correction=0)) ** 0.5 * (wide - mean)
    projected = on_sphere(tensor, target)
    error = allowed(tensor, projected)
    assert torch.allclose(projected.double(), exact, rtol=0, atol=error * float((exact - mean).abs().max()))


@given(st.integers(0, 2**32), variances)
def test_no_point_of_the_sphere_is_nearer(seed: int, target: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    tensor, other = torch.randn(2, 6, 4, generator=rng, dtype=torch.float64)
    nearest = (tensor - on_sphere(tensor, target)).norm()
    elsewhere = on_sphere(other, target)
    assert nearest <= (tensor - elsewhere).norm() * (1 + 1e-12)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([[3.0]]),
        torch.tensor(2.5),
        torch.full((3, 4), 0.1),
        torch.zeros(5, dtype=torch.bfloat16),
        torch.arange(6).view(2, 3),
        torch.tensor([True, False]),
        torch.zeros(0, 3),
    ],
    ids=["one element", "no dimension", "constant", "zeros", "integers", "booleans", "empty"],
)
def test_what_has_no_sphere_passes_unchanged(tensor: Tensor) -> None:
    assert not sphere.has_sphere(tensor)
    assert torch.equal(on_sphere(tensor, 4.0), tensor)
    assert sphere.spheres({"w": tensor}, "all") == {}


@given(st.lists(st.tuples(tensors(), variances), min_size=1, max_size=4))
def test_a_list_is_projected_in_place_and_each_tensor_by_itself(pairs: list[tuple[Tensor, float]]) -> None:
    single = [on_sphere(t, v) for t, v in pairs]
    own = [t.clone() for t, _ in pairs]
    places = [t.data_ptr() for t in own]
    result = sphere.project_(own, [v for _, v in pairs])
    assert all(torch.equal(x, y) for x, y in zip(result, single, strict=True))
    assert [t.data_ptr() for t in own] == places


@given(tensors(), variances)
def test_the_pure_function_is_the_projection_and_leaves_its_argument_alone(tensor: Tensor, target: float) -> None:
    before = tensor.clone()
    pure = sphere.project(tensor.double(), target)
    assert torch.equal(tensor, before)
    exact = on_sphere(tensor.double(), target)
    error = allowed(tensor.double(), exact)
    assert torch.allclose(pure, exact, rtol=0, atol=error * float((exact - exact.mean()).abs().max()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_pure_function_keeps_the_dtype_and_leaves_a_constant_tensor_alone(dtype: torch.dtype) -> None:
    tensor = torch.full((3, 4), 0.5, dtype=dtype, requires_grad=True)
    projected = sphere.project(tensor, 4.0)
    projected.sum().backward()
    assert torch.equal(projected, tensor) and projected.dtype == dtype
    assert torch.equal(tensor.grad, torch.ones_like(tensor))  # type: ignore[arg-type]


def test_the_gradient_flows_through_the_pure_function() -> None:
    tensor = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t: sphere.project(t, 0.3), (tensor.requires_grad_(),))
    assert sphere.project(tensor, 0.3).requires_grad


def test_strides_do_not_matter() -> None:
    tensor = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    last = tensor.clone(memory_format=torch.channels_last)
    assert torch.allclose(on_sphere(last, 0.5), on_sphere(tensor, 0.5), rtol=1e-6)
    view = tensor.clone()[:, ::2]
    sphere.project_([view], [2.0])
    assert sphere.variance(view) == pytest.approx(2.0)


def test_a_list_that_does_not_fit_its_targets_is_refused() -> None:
    with pytest.raises(ValueError):
        sphere.project_([torch.randn(3)], [1.0, 2.0])


def test_numbers_worked_by_hand() -> None:
    tensor = torch.tensor([[1.0, 3.0], [5.0, 7.0]])  # mean 4, variance (9 + 1 + 1 + 9)/4 = 5
    assert sphere.variance(tensor) == pytest.approx(5.0)
    assert on_sphere(tensor, 20.0).tolist() == [[-2.0, 2.0], [6.0, 10.0]]  # twice as far from 4
    assert on_sphere(tensor, 0.0).tolist() == [[4.0, 4.0], [4.0, 4.0]]
    assert sphere.project(tensor, 20.0).flatten().tolist() == pytest.approx([-2.0, 2.0, 6.0, 10.0])


def test_which_tensors_are_held() -> None:
    weights = {
        "conv.weight": torch.tensor([[1.0, 3.0]]),
        "conv.bias": torch.tensor([0.0, 4.0]),
        "head.weight": torch.ones(2, 2),
        "steps": torch.tensor([[1, 2]]),
    }
    assert sphere.spheres(weights) == {"conv.weight": pytest.approx(1.0)}
    assert sphere.spheres(weights, "all") == {"conv.weight": pytest.approx(1.0), "conv.bias": pytest.approx(4.0)}
    assert sphere.spheres(weights, "none") == {}


@pytest.mark.parametrize(
    ("magnitude", "direction"), [("weight_g", "weight_v"), ("weight.original0", "weight.original1")]
)
def test_the_magnitude_of_a_weight_normalised_layer_is_a_scale(magnitude: str, direction: str) -> None:
    weights = {f"fc.{magnitude}": torch.tensor([[1.0], [3.0]]), f"fc.{direction}": torch.tensor([[1.0, 3.0]])}
    assert list(sphere.spheres(weights, "all")) == [f"fc.{direction}"]
    assert list(sphere.spheres({f"fc.{magnitude}": torch.tensor([[1.0], [3.0]])})) == [f"fc.{magnitude}"]
    assert not sphere.is_magnitude(f"fc.{direction}", weights)


def test_a_mean_has_the_mean_of_the_variances_by_hand() -> None:
    a, b = torch.tensor([[1.0, -1.0], [1.0, -1.0]]), torch.tensor([[3.0, 3.0], [-3.0, -3.0]])
    found = sphere.mean_on_sphere([a, b], [0.75, 0.25], held=True)
    mean = 0.75 * a.double() + 0.25 * b.double()
    assert sphere.variance(found) == pytest.approx(0.75 * 1 + 0.25 * 9)
    assert torch.allclose(found / found.std(), mean / mean.std()) and found.dtype == torch.float64
    assert torch.equal(sphere.mean_on_sphere([a, b], [0.75, 0.25], held=False), mean)
    constant = torch.ones(2, 2)
    assert torch.equal(sphere.mean_on_sphere([a, constant], [0.5, 0.5], held=True), (a + constant).double() / 2)


@given(tensors())
def test_the_mean_of_a_tensor_with_itself_is_that_tensor(tensor: Tensor) -> None:
    found = sphere.mean_on_sphere([tensor, tensor], [0.5, 0.5], held=True)
    assert torch.equal(found.to(tensor.dtype), tensor) or tensor.dtype == torch.float64
    assert torch.allclose(found, tensor.double(), rtol=1e-12, atol=0)


def test_what_a_gpu_does_in_groups_is_the_same() -> None:
    rng = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=rng) for shape in ((3, 4), (8, 2, 3, 3), (50, 70))] + [
        torch.full((4, 2), 0.3)
    ]
    alone, grouped = [t.clone() for t in tensors], [t.clone() for t in tensors]
    targets = [0.5, 2.0, 1e-4, 0.7]
    sphere.project_(alone, targets)
    sphere._project_grouped_(grouped, targets)
    for one, other in zip(alone, grouped, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    assert torch.equal(grouped[-1], tensors[-1])
    on_them = [t.clone() for t in grouped[:-1]]
    sphere._project_grouped_(on_them, [sphere.variance(t) for t in on_them])
    for one, other in zip(on_them, grouped, strict=False):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
