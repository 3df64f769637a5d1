from pathlib import Path

import pytest
import torch
from helpers.checkpoint_samples import Tied, network
from torch import Tensor, nn

from llpf_plugin.checkpoint import read
from llpf_plugin.errors import MismatchError
from llpf_plugin.preflight import (
    Finding,
    compare,
    complete,
    fits,
    layer_statistics,
    off_sphere,
    raise_errors,
)


def weights(seed: int = 0) -> dict[str, Tensor]:
    return network(seed).state_dict()


def of_level(findings: list[Finding], level: str) -> list[str]:
    return [str(finding) for finding in findings if finding.level == level]


def the_error(findings: list[Finding]) -> str:
    (error,) = of_level(findings, "error")
    return error


def test_a_good_pair_has_only_a_note_on_its_counter() -> None:
    (finding,) = compare(weights(0), weights(1), model=network())
    assert finding == Finding(
        "note", "1 tensors are not floating point", "1.num_batches_tracked", "They are kept from A."
    )
    assert fits(weights(), network(), "a.pt") == []
    raise_errors([finding])


def test_names_of_one_side_are_listed() -> None:
    a, b = weights(0), weights(1)
    b["extra.weight"] = b.pop("0.bias")
    with pytest.raises(MismatchError) as caught:
        raise_errors(compare(a, b, ("a.pt", "b.pt")))
    message = str(caught.value)
    assert message.startswith("2 errors:\n- 1 tensors of a.pt are missing in b.pt: 0.bias. Both must be of one arch")
    assert "- 1 tensors of b.pt are missing in a.pt: extra.weight." in message


def test_many_names_are_counted() -> None:
    many = {f"layer{i}": torch.ones(2) for i in range(63)}
    message = the_error(compare({**many, "x": torch.zeros(1)}, {"x": torch.ones(1)}))
    assert "63 tensors of A are missing in B: layer0, layer1," in message
    assert "layer9 and 53 more (63 in all)" in message and "layer10" not in message


def test_two_architectures() -> None:
    errors = of_level(compare(weights(), Tied().state_dict(), ("a.pt", "b.pt")), "error")
    assert any("0.weight" in error for error in errors) and any("embed.weight" in error for error in errors)


def test_a_prefix_is_recognized() -> None:
    wrapped = {f"encoder.{k}": t for k, t in weights().items()}
    for error in of_level(fits(wrapped, network(), "a.pt"), "error"):
        assert "The names of a.pt have the prefix 'encoder.': without it they are those of the model." in error


def test_shapes() -> None:
    b = {**weights(1), "3.weight": torch.ones(10, 7)}
    assert "1 tensors differ in shape: 3.weight (A (10, 144), B (10, 7))" in the_error(compare(weights(), b))
    assert "3.weight (b.pt (10, 7), the model (10, 144))" in the_error(fits(b, network(), "b.pt"))


def test_dtypes() -> None:
    half = {k: t.half() if t.is_floating_point() else t for k, t in weights(1).items()}
    (warning,) = of_level(compare(weights(), half), "warning")
    assert warning.startswith("8 tensors differ in dtype: 0.weight (A float32, B float16)")
    quantized = {**weights(1), "3.weight": weights(1)["3.weight"].to(torch.int8)}
    assert "3.weight (A float32, B int8). Save both unquantized." in the_error(compare(weights(), quantized))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nan_and_infinity_are_located_and_counted(dtype: torch.dtype) -> None:
    b = {k: t.to(dtype) if t.is_floating_point() else t for k, t in weights(1).items()}
    a = {k: t.to(dtype) if t.is_floating_point() else t for k, t in weights(0).items()}
    b["3.weight"][0, :3] = float("nan")
    b["3.weight"][1, 0] = -float("inf")
    message = the_error(compare(a, b, ("a.pt", "b.pt")))
    assert message.startswith("b.pt holds NaN or infinity: 3.weight (3 NaN, 1 Inf of 1440). Training diverged")


def test_nan_in_float8() -> None:
    a = {"w": torch.ones(4).to(torch.float8_e4m3fn)}
    b = {"w": torch.tensor([1.0, float("nan"), 0.0, 0.0]).to(torch.float8_e4m3fn)}
    assert "w (1 NaN, 0 Inf of 4)" in the_error(compare(a, b))


def test_the_same_model_twice() -> None:
    other_statistics = {**weights(), "1.running_mean": torch.ones(4)}
    for b in (weights(), other_statistics):
        assert "A and B are the same model, bit by bit" in the_error(compare(weights(), b))


def test_nearly_the_same_model() -> None:
    a = weights()
    near = {k: t * (1 + 1e-3) if t.is_floating_point() else t for k, t in a.items()}
    rounded = {k: t.bfloat16() if t.is_floating_point() else t for k, t in a.items()}
    far = {k: t * 1.05 if t.is_floating_point() else t for k, t in a.items()}
    assert any("relative distance 0.001)" in warning for warning in of_level(compare(a, near), "warning"))
    assert any("nearly the same model" in warning for warning in of_level(compare(a, rounded), "warning"))
    assert of_level(compare(a, far), "warning") == []


class Positions(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("positions", torch.arange(3.0) * scale)


def test_float_buffers_that_differ() -> None:
    a, b = Positions(1.0), Positions(2.0)
    b.norm.running_mean.fill_(7.0)
    (warning,) = of_level(compare(a.state_dict(), b.state_dict(), model=a), "warning")
    assert warning.startswith("Float buffers of A and B differ: positions.")
    assert of_level(compare(a.state_dict(), Positions(1.0).state_dict(), model=a), "warning") == []


def test_ties() -> None:
    torch.manual_seed(0)
    a, b = Tied().state_dict(), Tied().state_dict()
    (note,) = of_level(compare(a, b), "note")
    assert note.startswith("Tied weights in A: embed.weight = head.weight.")
    copied = {k: t.clone() for k, t in b.items()}
    assert of_level(compare(a, copied), "error") == []  # equal, though stored twice
    copied["head.weight"] += 1
    assert "Tied in A, but different in B: embed.weight = head.weight." in the_error(compare(a, copied))
    assert "Tied in B, but different in A: embed.weight = head.weight." in the_error(compare(copied, a))
    assert "The model ties weights that differ in b.pt: embed" in the_error(fits(copied, Tied(), "b.pt"))


def test_complete_adds_tied_names_and_old_batch_counters() -> None:
    model = Tied()
    stored = {"embed.weight": model.embed.weight.detach() + 1}
    full = complete(stored, model.state_dict())
    assert full["head.weight"] is full["embed.weight"]
    model.load_state_dict(full)
    (note,) = fits(stored, model, "a.safetensors")
    assert note.level == "note" and note.where == "head.weight"

    old = {k: t for k, t in weights().items() if not k.endswith("num_batches_tracked")}
    (note,) = fits(old, network(), "a.pt")
    assert note.level == "note" and note.where == "1.num_batches_tracked"
    network().load_state_dict(complete(old, weights()))


def test_missing_and_extra_names_of_a_model() -> None:
    short = weights()
    del short["3.bias"]
    assert "1 tensors of the model are missing in a.pt: 3.bias. Check the file" in the_error(
        fits(short, network(), "a.pt")
    )
    long = {**weights(), "aux.weight": torch.ones(2)}
    assert "1 tensors of a.pt are missing in the model: aux.weight." in the_error(fits(long, network(), "a.pt"))


def test_statistics_by_hand() -> None:
    a = {"w": torch.tensor([[1.0, -1.0], [1.0, -1.0]]), "bias": torch.ones(3), "n": torch.ones(2, 2).long()}
    b = {"w": torch.tensor([[2.0, -2.0], [-2.0, 2.0]]), "bias": torch.ones(3), "n": torch.ones(2, 2).long()}
    (row,) = layer_statistics(a, b)
    assert (row.name, row.shape) == ("w", (2, 2))
    assert (row.variance_a, row.variance_b, row.ratio) == pytest.approx((1.0, 4.0, 4.0))
    assert row.cosine == 0.0
    assert row.distance == pytest.approx((1 + 1 + 9 + 9) ** 0.5)
    assert off_sphere([row]) == []  # four elements differ that much by chance


@pytest.mark.parametrize(("scale", "differs"), [(1.0, False), (1.13, False), (1.17, True), (0.88, False), (0.85, True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_variance_spheres_differ_beyond_a_ratio(scale: float, differs: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    w = torch.randn(200, 50) + 3
    rows = layer_statistics({"w": w.to(dtype)}, {"w": (w * scale).to(dtype)})
    assert bool(off_sphere(rows)) == differs


def test_constant_and_one_element_tensors_have_no_sphere() -> None:
    a = {"zero": torch.zeros(3, 3), "one": torch.ones(1, 1), "grown": torch.zeros(2, 2)}
    b = {"zero": torch.zeros(3, 3), "one": torch.full((1, 1), 5.0), "grown": torch.eye(2)}
    rows = layer_statistics(a, b)
    assert [row.ratio for row in rows] == [1.0, 1.0, float("inf")]
    assert off_sphere(rows) == []
    assert of_level(compare({**a, "x": torch.ones(3)}, {**b, "x": torch.zeros(3)}), "error") == []


def test_pair_of_files_in_different_forms(tmp_path: Path) -> None:
    torch.save({"state_dict": {f"module.{k}": t for k, t in weights(0).items()}}, tmp_path / "a.pt")
    torch.save(weights(1), tmp_path / "b.pt")
    a, b = read(tmp_path / "a.pt"), read(tmp_path / "b.pt")
    assert {finding.level for finding in compare(a.weights, b.weights, ("a.pt", "b.pt"), network())} == {"note"}
    with pytest.raises(MismatchError, match="the same model"):
        raise_errors(compare(a.weights, read(tmp_path / "a.pt").weights))
