"""Between Flower's records and tensors: nothing is lost, and what holds no numbers is refused."""

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import numpy as np
import torch
from flwr.app import Array

from llpf_flower import to_arrays, to_weights
from llpf_flower.arrays import to_array, view
from llpf_plugin.errors import MismatchError


def test_bfloat16_travels_as_float32_and_comes_back_exactly() -> None:
    weights = {"w": torch.tensor([[1.0, 0.2]], dtype=torch.bfloat16), "n": torch.tensor(3)}
    sent = to_arrays(weights)
    assert sent["w"].dtype == "float32"
    back = to_weights(sent)
    assert torch.equal(back["w"].bfloat16(), weights["w"]) and torch.equal(back["n"], weights["n"])


@pytest.mark.parametrize("array", [Array(np.array(["text"])), Array("float32", (2,), "numpy.ndarray", b"nonsense")])
def test_what_is_no_array_of_numbers_is_refused(array: Array) -> None:
    with pytest.raises(MismatchError, match="cannot be read"):
        view(array)


def test_reading_copies_nothing_and_column_major_arrays_are_read_too() -> None:
    array = Array(np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)))
    assert view(array).tolist() == [[0, 1, 2], [3, 4, 5]]
    plain = to_array(torch.arange(3.0))
    assert view(plain).data_ptr() == view(plain).data_ptr()
