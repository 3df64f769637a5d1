"""What was measured, as JSON for machines."""

import json

import numpy as np

from llpf_plugin.files import plain
from llpf_plugin.report import Measured, document


def test_json_has_neither_nan_nor_infinity() -> None:
    assert plain({"a": np.array([1.0, np.nan]), "b": (np.int64(3), float("inf")), 4: None}) == {
        "a": [1.0, None], "b": [3, None], "4": None,
    }  # fmt: skip


def test_everything_is_there_and_is_json(everything: Measured) -> None:
    found = document([everything, everything])
    assert (found["format"], found["version"], len(found["runs"])) == ("llpf-report", 1, 2)
    text = json.dumps(found, allow_nan=False)
    one = json.loads(text)["runs"][0]
    assert one["pair"] == ["0", "1"] and one["task_arguments"] == {"width": 3}
    assert one["settings"] == {"points": 4, "max_loss": 0.2, "thin": 0}
    assert set(one["metrics"]) == {"train", "validation"} and "saddle" in one["metrics"]["train"]
    assert len(one["points"]) == len(everything.quality.rows) and one["knots"] == len(everything.quality.path.knots)
    assert one["cost"]["gradient_steps"] == everything.steps
    assert one["merged"]["t"] == everything.picked.t and len(one["straight_line"]) == 11
    assert set(one["sharpness"]) == set(one["relative_flatness"]) and one["plane"]["loss"]
    assert len(one["layers"]["layers"]) == 3 and len(one["layer_barriers"]) == 3


def test_what_was_not_requested_is_null(measured: Measured) -> None:
    one = document([measured])["runs"][0]
    assert one["plane"] is None and one["sharpness"] == {} and list(one["layer_barriers"]) == []
    assert "saddle" not in one["metrics"]["train"]
