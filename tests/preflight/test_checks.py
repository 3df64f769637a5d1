"""Each check, by what it says of weights that are wrong in one way."""

import pytest
import torch
from helpers.checkpoint_samples import Tied, network
from helpers.findings import of_level, the_error
from torch import Tensor

from llpf_plugin.errors import MismatchError
from llpf_plugin.preflight import compare, fits, look, raise_errors


def weights(seed: int = 0) -> dict[str, Tensor]:
    return network(seed).state_dict()


def test_names_of_one_side_are_listed() -> None:
    a, b = weights(0), weights(1)
    b["extra.weight"] = b.pop("0.bias")
    with pytest.raises(MismatchError) as caught:
        raise_errors(compare(a, b, ("a.pt", "b.pt")))
    message = str(caught.value)
    assert message.startswith(
        "1 tensors of a.pt are missing in b.pt, and 1 the other way round: 0.bias; extra.weight. Both must have one"
    )
    del b["extra.weight"]
    assert the_error(compare(a, b)).startswith("1 tensors of A are missing in B: 0.bias.")


def test_one_mismatch_of_both_files_is_told_once() -> None:
    a, b = ({f"x.{k}.y": t for k, t in weights(seed).items()} for seed in range(2))
    (error,) = of_level(look(a, b, network(), ("a.pt", "b.pt")), "error")
    assert error.startswith(
        f"{len(a)} tensors of a.pt and b.pt are missing in the model, and {len(a)} the other way round"
    )
    b["more"] = torch.ones(1)
    errors = of_level(look(a, b, network(), ("a.pt", "b.pt")), "error")
    assert [error.split(" are ")[0] for error in errors] == [f"{len(a)} tensors of a.pt", f"{len(b)} tensors of b.pt"]


def test_models_stored_in_half_precision_are_no_warning() -> None:
    a, b = ({k: t.bfloat16() if t.is_floating_point() else t for k, t in weights(s).items()} for s in range(2))
    found = look(a, b, network(), ("a.pt", "b.pt"))
    assert not of_level(found, "warning") + of_level(found, "error")
    (note,) = [note for note in of_level(found, "note") if "dtype" in note]
    assert note.startswith(
        "8 tensors of a.pt and b.pt are stored in another dtype than the model's: 0.weight (a.pt and b.pt"
    )


def test_many_names_are_counted() -> None:
    many = {f"layer{i}": torch.ones(2) for i in range(63)}
    message = the_error(compare({**many, "x": torch.zeros(1)}, {"x": torch.ones(1)}))
    assert "63 tensors of A are missing in B: layer0, layer1, layer2 and 60 more (63 in all)" in message


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


def test_ties() -> None:
    torch.manual_seed(0)
    a, b = Tied().state_dict(), Tied().state_dict()
    (note,) = of_level(compare(a, b), "note")
    assert note.startswith("tied weights in A: embed.weight = head.weight.")
    copied = {k: t.clone() for k, t in b.items()}
    assert of_level(compare(a, copied), "error") == []  # equal, though stored twice
    copied["head.weight"] += 1
    assert "tied in A, but different in B: embed.weight = head.weight." in the_error(compare(a, copied))
    assert "tied in B, but different in A: embed.weight = head.weight." in the_error(compare(copied, a))
    assert "the model ties weights that differ in b.pt: embed" in the_error(fits(copied, Tied(), "b.pt"))
