"""A pair and its model: what fits, what is added, and what is not worth connecting."""

from pathlib import Path

import pytest
import torch
from helpers.checkpoint_samples import Tied, network
from helpers.findings import of_level, the_error
from torch import Tensor, nn

from llpf_plugin.checkpoint import read
from llpf_plugin.errors import MismatchError
from llpf_plugin.preflight import Finding, check_pair, compare, complete, fits, look, raise_errors


def weights(seed: int = 0) -> dict[str, Tensor]:
    return network(seed).state_dict()


def test_a_good_pair_has_only_a_note_on_its_counter() -> None:
    (finding,) = compare(weights(0), weights(1), model=network())
    assert finding == Finding(
        "note", "1 tensors are not floating point", "1.num_batches_tracked", "They are kept from A."
    )
    assert fits(weights(), network(), "a.pt") == []
    raise_errors([finding])


def test_a_pair_is_made_whole_or_refused_with_all_that_is_wrong() -> None:
    model, (a, b) = network(), (weights(0), weights(1))
    del a["1.num_batches_tracked"]
    whole = check_pair(a, b, model)
    assert all(sorted(w) == sorted(model.state_dict()) for w in whole) and "1.num_batches_tracked" not in a
    b["3.bias"][0] = float("nan")
    del b["0.bias"]
    errors = of_level(look(a, b, model, ("a.pt", "b.pt")), "error")
    with pytest.raises(MismatchError) as caught:
        check_pair(a, b, model, ("a.pt", "b.pt"))
    assert len(errors) == 1 and "0.bias" in errors[0] and errors[0] in str(caught.value), "told once"
    b["0.bias"] = weights(1)["0.bias"]
    assert "3.bias (1 NaN" in of_level(look(a, b, model, ("a.pt", "b.pt")), "error")[0]


def test_two_architectures() -> None:
    errors = of_level(compare(weights(), Tied().state_dict(), ("a.pt", "b.pt")), "error")
    assert any("0.weight" in error for error in errors) and any("embed.weight" in error for error in errors)


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
    assert warning.startswith("float buffers of A and B differ: positions.")
    assert of_level(compare(a.state_dict(), Positions(1.0).state_dict(), model=a), "warning") == []


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


def test_pair_of_files_in_different_forms(tmp_path: Path) -> None:
    torch.save({"state_dict": {f"module.{k}": t for k, t in weights(0).items()}}, tmp_path / "a.pt")
    torch.save(weights(1), tmp_path / "b.pt")
    a, b = read(tmp_path / "a.pt"), read(tmp_path / "b.pt")
    assert {finding.level for finding in compare(a.weights, b.weights, ("a.pt", "b.pt"), network())} == {"note"}
    with pytest.raises(MismatchError, match="the same model"):
        raise_errors(compare(a.weights, read(tmp_path / "a.pt").weights))
