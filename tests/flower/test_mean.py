"""The weighted mean on variance spheres: numbers worked by hand, and laws."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from helpers.flower_apps import record, state, values
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from llpf_flower.arrays import view
from llpf_flower.mean import average, by_layer
from llpf_flower.rule import Rule
from llpf_plugin.geometry import variance

PLAIN = Rule(sphere="none")


def test_the_plain_mean_is_weighted_by_examples() -> None:
    models = [(record(w=[[0.0, 4.0]]), 1.0), (record(w=[[4.0, 0.0]]), 3.0)]
    found = average(models, record(w=[[9.0, 9.0]]), PLAIN)
    assert values(found.arrays) == {"w": [[3.0, 1.0]]}


def test_the_mean_is_put_on_the_clients_mean_sphere() -> None:
    # Variances 1 and 9, weighted 1 to 1: 5. The plain mean of (1, -1) and (3, -3) is (2, -2), of variance 4.
    models = [(record(w=[[1.0, -1.0]]), 1.0), (record(w=[[3.0, -3.0]]), 1.0)]
    found = average(models, record(w=[[0.0, 0.0]]))
    np.testing.assert_allclose(values(found.arrays)["w"], [[5**0.5, -(5**0.5)]], rtol=1e-6)
    assert found.kept == pytest.approx({"w": 4 / 5})


def test_on_the_previous_sphere_only_the_direction_is_new() -> None:
    # The mean (3, 1) has mean 2 and variance 1; the previous model's variance is 16.
    models = [(record(w=[[3.0, 1.0]]), 1.0)]
    found = average(models, record(w=[[4.0, -4.0]]), Rule(sphere="previous"))
    np.testing.assert_allclose(values(found.arrays)["w"], [[6.0, -2.0]], rtol=1e-6)


def test_vectors_are_held_on_spheres_only_where_asked() -> None:
    models = [(record(b=[1.0, -1.0]), 1.0), (record(b=[-1.0, 1.0]), 3.0)]
    previous = record(b=[0.0, 0.0])
    assert values(average(models, previous).arrays) == {"b": [-0.5, 0.5]}
    assert values(average(models, previous, Rule(correct="all")).arrays) == {"b": [-1.0, 1.0]}


def test_consensus_is_the_root_mean_square_distance_over_the_norm() -> None:
    # The mean is (2, 0); both clients are at distance 1, with weights 1 and 1.
    models = [(record(w=[[2.0, 1.0]]), 2.0), (record(w=[[2.0, -1.0]]), 2.0)]
    found = average(models, record(w=[[0.0, 0.0]]), PLAIN)
    assert (found.distance, found.norm, found.consensus) == pytest.approx((1.0, 2.0, 0.5))


def test_unrelated_models_lose_all_but_one_in_n_of_their_variance() -> None:
    rng = np.random.default_rng(0)
    models = [(record(w=rng.normal(size=(200, 200)).astype(np.float32)), 1.0) for _ in range(4)]
    found = average(models, models[0][0])
    assert found.kept["w"] == pytest.approx(1 / 4, rel=0.03)
    assert variance(view(found.arrays["w"])) == pytest.approx(1.0, rel=0.02)


def test_counters_are_rounded_and_running_statistics_averaged_off_the_sphere() -> None:
    names = {"bn.running_mean": [[1.0, 2.0]], "bn.num_batches_tracked": np.array(3, np.int64)}
    other = {"bn.running_mean": [[3.0, 2.0]], "bn.num_batches_tracked": np.array(6, np.int64)}
    found = average([(record(**names), 1.0), (record(**other), 2.0)], record(**names)).arrays
    np.testing.assert_allclose(found["bn.running_mean"].numpy(), [[7 / 3, 2.0]], rtol=1e-6)
    assert found["bn.num_batches_tracked"].numpy() == 5 and found["bn.num_batches_tracked"].dtype == "int64"


def test_kept_buffers_and_inactive_layers_are_those_of_the_previous_model() -> None:
    previous = record(**{"a.weight": [[1.0, 0.0]], "c.weight": [[5.0, 5.0]], "n.running_var": [2.0]})
    client = record(**{"a.weight": [[3.0, 0.0]], "c.weight": [[7.0, 8.0]], "n.running_var": [9.0]})
    found = average([(client, 1.0)], previous, Rule("none", buffers="keep"), active={"a.weight"})
    assert values(found.arrays) == {"a.weight": [[3.0, 0.0]], "c.weight": [[5.0, 5.0]], "n.running_var": [2.0]}


def test_half_precision_is_averaged_in_float32_and_cast_back() -> None:
    halves = [np.full((1, 2), x, np.float16) for x in (1.0, 1.0009765625, 1.0)]
    found = average([(record(w=h), 1.0) for h in halves], record(w=halves[0]), PLAIN)
    assert found.arrays["w"].dtype == "float16"
    wanted = average([(record(w=h), 1.0) for h in halves], record(w=halves[0]), Rule("none", dtype="float32"))
    np.testing.assert_allclose(wanted.arrays["w"].numpy(), 1 + 0.0009765625 / 3, rtol=1e-7)


class Read(bytes):
    """Bytes of an array that count how many of them there are."""

    now = most = 0

    def __new__(cls, data: bytes) -> "Read":
        cls.now += 1
        cls.most = max(cls.most, cls.now)
        return super().__new__(cls, data)

    def __del__(self) -> None:
        Read.now -= 1


class Made(Array):
    """An array that is made at every reading."""

    def __init__(self, numbers: np.ndarray) -> None:
        self._array = Array(numbers)
        self.dtype, self.shape, self.stype = self._array.dtype, self._array.shape, self._array.stype

    @property
    def data(self) -> bytes:  # type: ignore[override]
        return Read(self._array.data)


def test_a_few_tensors_are_read_at_a_time_however_many_models_there_are() -> None:
    rng = np.random.default_rng(0)
    models = []
    for weight in range(1, 41):
        model = ArrayRecord()
        for name in ("a", "b"):
            model[name] = Made(rng.normal(size=(300, 300)).astype(np.float32))
        models.append((model, float(weight)))
    zero = record(**{name: np.zeros((300, 300), np.float32) for name in ("a", "b")})
    found = average(models, zero)
    wanted = average([(ArrayRecord({k: a._array for k, a in model.items()}), w) for model, w in models], zero)
    assert values(found.arrays) == values(wanted.arrays) and Read.most <= 4


def test_a_layer_is_as_good_as_its_worst_tensor() -> None:
    assert by_layer({"a.weight": 0.5, "a.bias": 0.2, "b": 1.0}) == {"a": 0.2, "b": 1.0}


finite = st.floats(-8, 8, width=32)


models = st.integers(1, 5).flatmap(
    lambda n: hnp.arrays(np.float32, st.tuples(st.just(n), st.integers(1, 3), st.integers(1, 4)), elements=finite)
)


weights = st.lists(st.integers(1, 1000), min_size=5, max_size=5)


def _records(stack: np.ndarray, weights: list[int]) -> list[tuple[ArrayRecord, float]]:
    return [(record(w=np.ascontiguousarray(a)), float(w)) for a, w in zip(stack, weights, strict=False)]


@given(models, weights)
def test_law_one_client_is_that_client(stack: np.ndarray, weights: list[int]) -> None:
    own = _records(stack[:1], weights)
    assert torch.equal(state(average(own, own[0][0], PLAIN).arrays)["w"], torch.from_numpy(stack[0]))
    on_sphere = state(average(own, own[0][0]).arrays)["w"]
    torch.testing.assert_close(on_sphere, torch.from_numpy(stack[0]), rtol=1e-5, atol=1e-5)


@given(models, weights)
def test_law_equal_clients_are_that_client_whatever_their_weights(stack: np.ndarray, weights: list[int]) -> None:
    equal = _records(np.repeat(stack[:1], 5, axis=0), weights)
    found = average(equal, equal[0][0], PLAIN)
    assert torch.equal(state(found.arrays)["w"], torch.from_numpy(stack[0])) and found.distance == 0
    on_sphere = average(equal, equal[0][0])
    torch.testing.assert_close(state(on_sphere.arrays)["w"], torch.from_numpy(stack[0]), rtol=1e-5, atol=1e-5)


@given(models, weights)
def test_law_the_plain_mean_is_numpys(stack: np.ndarray, weights: list[int]) -> None:
    used = weights[: len(stack)]
    found = state(average(_records(stack, weights), record(w=stack[0]), PLAIN).arrays)["w"]
    np.testing.assert_allclose(found, np.average(stack.astype(np.float64), 0, used), rtol=1e-4, atol=1e-5)


@settings(max_examples=40)
@given(models, weights)
def test_law_the_mean_has_the_clients_variance_and_the_plain_means_direction(
    stack: np.ndarray, weights: list[int]
) -> None:
    own = _records(stack, weights)
    plain = state(average(own, own[0][0], PLAIN).arrays)["w"].double()
    found = state(average(own, own[0][0]).arrays)["w"].double()
    centred, goal = plain - plain.mean(), found - found.mean()
    wanted = np.average([variance(torch.from_numpy(a)) for a in stack], weights=weights[: len(stack)])
    if plain.numel() > 1 and centred.square().mean() > 1e-3 * max(1, float(plain.abs().max()) ** 2):
        assert float(goal.square().mean()) == pytest.approx(wanted, rel=1e-3)
        assert float((centred * goal).sum()) == pytest.approx(float(centred.norm() * goal.norm()), rel=1e-3)
