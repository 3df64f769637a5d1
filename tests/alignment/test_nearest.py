"""The nearest change of each kind: what was done is found again, and nothing else is nearer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llpf_plugin.alignment import nearest
from llpf_plugin.alignment.groups import Change, changed
from llpf_plugin.alignment.nearest import Products

SEEDS = st.integers(0, 10_000)
Pair = tuple[torch.Tensor, torch.Tensor]


def rows(seed: int, units: int = 4) -> Pair:
    """Rows of some units and of their duals, in two blocks."""
    rng = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, units, n, generator=rng, dtype=torch.float64) for n in (7, 9))  # type: ignore[return-value]


def products(a: Pair, b: Pair, of: str = "") -> Products:
    """What the change of a kind is found from."""
    product = PRODUCTS.get(of, nearest.outer)
    return Products(product(a[0], b[0]), product(a[1], b[1]), product(b[0], b[0]), product(b[1], b[1]))


def done(pair: Pair, change: Change) -> Pair:
    return changed(pair[0], change), changed(pair[1], change, dual=True)


def apart(a: Pair, b: Pair) -> torch.Tensor:
    """Squared distance of every block."""
    return sum((x - y).square().sum((-2, -1)) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


PRODUCTS = {"scaling": nearest.inner, "factors": nearest.inner, "rotary": nearest.complex_inner}
FINDERS = {
    "scaling": nearest.scale, "factors": nearest.factor, "rotary": nearest.complex_factor,
    "invertible": nearest.invertible, "orthogonal": lambda p: nearest.rotation(p.p + p.n),
    "permutation": lambda p: nearest.permutation(p.p + p.n),
}  # fmt: skip


def random_change(kind: str, rng: torch.Generator) -> Change:
    if kind == "permutation":
        return torch.stack([torch.randperm(4, generator=rng) for _ in range(2)])
    if kind == "scaling":
        return torch.rand(2, 4, generator=rng, dtype=torch.float64) + 0.5
    if kind == "factors":
        signs = torch.randint(2, (2, 4), generator=rng) * 2 - 1
        return (torch.rand(2, 4, generator=rng, dtype=torch.float64) + 0.5) * signs
    if kind == "rotary":
        return torch.polar(torch.rand(2, 2, generator=rng).double() + 0.5, 6 * torch.rand(2, 2, generator=rng).double())
    matrix = torch.randn(2, 4, 4, generator=rng, dtype=torch.float64)
    return torch.linalg.qr(matrix)[0] if kind == "orthogonal" else torch.linalg.qr(matrix)[0] + 0.1 * matrix


@pytest.mark.parametrize("kind", FINDERS)
@settings(max_examples=20)
@given(seed=SEEDS)
def test_what_was_done_is_found_again(kind: str, seed: int) -> None:
    a = rows(seed)
    b = done(a, random_change(kind, torch.Generator().manual_seed(seed)))
    found = done(b, FINDERS[kind](products(a, b, kind)))
    assert (apart(a, found) < 1e-12 * apart(a, (0 * a[0], 0 * a[1]))).all()


@pytest.mark.parametrize("kind", [kind for kind in FINDERS if kind != "invertible"])
@settings(max_examples=20)
@given(seed=SEEDS)
def test_no_other_change_of_its_kind_is_nearer(kind: str, seed: int) -> None:
    rng, a, b = torch.Generator().manual_seed(seed), rows(seed), rows(seed + 1)
    best = apart(a, done(b, FINDERS[kind](products(a, b, kind))))
    for _ in range(5):
        assert (best <= apart(a, done(b, random_change(kind, rng))) * (1 + 1e-9)).all()


@settings(max_examples=20)
@given(seed=SEEDS)
def test_a_rotation_can_leave_the_vector_of_ones(seed: int) -> None:
    similar = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found, ones = nearest.rotation(similar, ones=False), torch.ones(5, dtype=torch.float64)
    assert torch.allclose(found @ ones, ones.expand(2, 5)) and torch.allclose(found @ found.mT, torch.eye(5).double())


def test_an_invertible_matrix_is_found_where_one_side_says_nothing() -> None:
    a, b = rows(0), rows(1)
    nothing = (b[0], 0 * b[1])
    found = nearest.invertible(products((a[0], 0 * a[1]), nothing))
    assert found.isfinite().all() and torch.linalg.matrix_rank(found).tolist() == [4, 4]


@settings(max_examples=20)
@given(seed=SEEDS)
def test_an_invertible_matrix_is_no_worse_than_none_and_than_a_rotation(seed: int) -> None:
    a, b = rows(seed), rows(seed + 1)
    found, turn = (apart(a, done(b, FINDERS[kind](products(a, b, kind)))) for kind in ("invertible", "orthogonal"))
    assert (found <= turn * (1 + 1e-12)).all() and (found <= apart(a, b) * (1 + 1e-12)).all()
