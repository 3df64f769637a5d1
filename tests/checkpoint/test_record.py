"""A hash of weights."""

import torch

from llpf_plugin.checkpoint import fingerprint


def test_fingerprint_sees_names_shapes_dtypes_and_bytes() -> None:
    weights = {"a": torch.arange(6.0), "b": torch.ones(())}
    assert fingerprint(weights) == fingerprint(dict(reversed(weights.items())))
    assert fingerprint(weights) == "58e803dadb7a713ac95c05b46ccfe0d5"
    others = [
        {"c": weights["a"], "b": weights["b"]},
        {**weights, "a": weights["a"].reshape(2, 3)},
        {**weights, "a": weights["a"].view(torch.int32)},
        {**weights, "a": weights["a"].nextafter(torch.tensor(9.0))},
        {"a": weights["a"]},
    ]
    assert len({fingerprint(other) for other in [weights, *others]}) == 6
    assert fingerprint({"a": torch.ones(4, 5).T}) == fingerprint({"a": torch.ones(5, 4)})
