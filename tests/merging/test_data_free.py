"""The mean of models on the spheres between theirs, by hand."""

import pytest
import torch
from helpers import tiny
from torch import nn

from llpf_plugin.alignment import symmetry
from llpf_plugin.errors import MismatchError
from llpf_plugin.evaluation import statistics_of
from llpf_plugin.geometry import variance
from llpf_plugin.merging import Source, align_to, mean_on_spheres


class Tied(nn.Module):
    """Two names for one matrix, a vector, and a buffer that no normalization keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(2, 2), nn.Linear(2, 2, bias=False)
        self.other.weight = self.one.weight
        self.register_buffer("mask", torch.tensor([1.0, float("-inf")]))


def test_matrices_get_the_variance_between_theirs_and_all_else_is_a_mean() -> None:
    model = Tied()
    a = {"one.weight": torch.tensor([[1.0, -1.0], [1.0, -1.0]]), "one.bias": torch.tensor([1.0, 2.0])}
    b = {"one.weight": torch.tensor([[3.0, 3.0], [-3.0, -3.0]]), "one.bias": torch.tensor([3.0, 0.0])}
    full = [{**w, "other.weight": w["one.weight"], "mask": torch.full((2,), float(i))} for i, w in enumerate((a, b))]
    found = mean_on_spheres(full, [0.75, 0.25], model)
    mean = 0.75 * a["one.weight"] + 0.25 * b["one.weight"]
    assert variance(found["one.weight"]) == pytest.approx(0.75 * 1 + 0.25 * 9)
    assert torch.allclose(found["one.weight"] / found["one.weight"].std(), (mean / mean.std()).double())
    assert torch.equal(found["other.weight"], found["one.weight"])
    assert found["one.bias"].tolist() == [1.5, 1.5] and found["mask"].tolist() == [0.0, 0.0], "the first model's"


def test_running_statistics_are_named() -> None:
    assert statistics_of(tiny.ConvNet()) == [f"bn{i}.running_{kind}" for i in (1, 2) for kind in ("mean", "var")]
    assert statistics_of(nn.BatchNorm1d(2)) == ["running_mean", "running_var"] and statistics_of(Tied()) == []


def test_what_is_aligned_keeps_its_dtypes_and_models_that_do_not_fit_are_named() -> None:
    a, b = tiny.pair("conv")
    half = {k: t.half() if t.is_floating_point() else t for k, t in b.items()}
    x, model = torch.zeros(1, 1, 5, 5), tiny.ConvNet()
    known = symmetry(model, x)
    found = align_to(Source("a", a), Source("b", half), model, x, known)
    assert {k: t.dtype for k, t in found.matching.weights.items()} == {k: t.dtype for k, t in half.items()}
    assert found.difference < 1e-5 and found.source.name == "b"
    assert tiny.same(dict(model.named_parameters()), {k: a[k] for k, _ in model.named_parameters()})
    with pytest.raises(MismatchError, match=r"fc\.bias"):
        align_to(Source("a", a), Source("b", {**b, "fc.bias": b["fc.bias"][:2]}), model, x, known)
