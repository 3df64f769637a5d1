"""Numpy's pickles: plain values only, and no forged state."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.checkpoint_samples import WEIGHTS

from llpf_plugin.checkpoint import read
from llpf_plugin.errors import CheckpointError


class ForgedDtype:
    """Pickled as numpy's own int64, not as a copy of it, and then given the flags of a dtype of objects."""

    def __reduce__(self) -> tuple[Any, ...]:
        return np.dtype, ("i8", False, False), (3, "<", None, None, None, -1, -1, 63)


@pytest.mark.parametrize("value", [ForgedDtype(), np.dtype([("a", "f4")]), np.datetime64("2024")])
def test_numpy_state_beyond_plain_values(tmp_path: Path, value: Any) -> None:
    torch.save({"state_dict": WEIGHTS, "x": value}, tmp_path / "a.pt")
    if isinstance(value, ForgedDtype):
        read(tmp_path / "a.pt")
        assert not np.dtype("i8").hasobject and np.arange(3).sum() == 3
    else:
        with pytest.raises(CheckpointError, match=r"a\.pt holds data of the numpy dtype '.*', which was not loaded"):
            read(tmp_path / "a.pt")
