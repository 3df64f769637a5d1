"""How operations pass axis labels on, and what they leave free; one without a rule fixes every label that it meets.

A rule gets the axes of the positional arguments (None for what is not a tensor), the arguments and the shape of the
first result, and returns the result's axes. It unites the labels of axes that are added, and those that are summed over
together with each other's dual.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llpf_plugin.alignment import layer_rules as layers
from llpf_plugin.alignment import pointwise_rules as pointwise
from llpf_plugin.alignment import shape_rules as shapes
from llpf_plugin.alignment.axes import Axes, Freedom, Labels
from llpf_plugin.alignment.layer_rules import POSITIVE

Rule = Callable[[Labels, Sequence[Any], Sequence[Any], Sequence[int]], "Axes | shapes.Several | None"]
"""``(labels, axes of the arguments, the arguments, shape of the result)`` to the result's axes, None where it fails."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros"), partial(pointwise.constant, free=Freedom.ALL)),
    **dict.fromkeys(("ones", "ones_like", "new_ones", "full", "full_like", "new_full"), pointwise.constant),
    **dict.fromkeys(("clone", "detach", "alias", "_to_copy", "lift_fresh", "neg"), pointwise.same),
    **dict.fromkeys(("_softmax", "_log_softmax", "fill"), pointwise.relative),
    **dict.fromkeys(("add", "sub"), pointwise.total),
    **dict.fromkeys(("mul",), pointwise.product),
    **dict.fromkeys(("div",), pointwise.quotient),
    **dict.fromkeys(("pow", "square"), pointwise.power),
    **dict.fromkeys(
        ("relu", "leaky_relu", "prelu", "_prelu_kernel", "abs"), partial(pointwise.function, free=POSITIVE)
    ),
    **dict.fromkeys(
        ("hardswish", "rsub", "masked_fill", "where", "hardsigmoid", "rrelu_with_noise", "dropout"), pointwise.function
    ),  # PyTorch does not tag these as pointwise
    **dict.fromkeys(("mm", "bmm"), layers.matmul),
    **dict.fromkeys(("addmm", "baddbmm"), layers.biased_matmul),
    **dict.fromkeys(("mean", "sum"), partial(layers.reduced, free=Freedom.ALL)),
    **dict.fromkeys(("amax", "amin"), partial(layers.reduced, free=POSITIVE)),
    **dict.fromkeys(("logsumexp", "var"), layers.reduced),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze"), shapes.viewed),
    **dict.fromkeys(("transpose", "t"), shapes.transposed),
    **dict.fromkeys(("split", "split_with_sizes"), shapes.split),
    **dict.fromkeys(("index_select", "gather"), shapes.gathered),
    **dict.fromkeys(("index_add", "scatter_reduce", "scatter_add"), shapes.scattered),
    "linalg_vector_norm": layers.vector_norm,
    "select": shapes.selected,
    "unbind": shapes.unbound,
    "slice": shapes.sliced,
    "index": shapes.indexed,
    "constant_pad_nd": shapes.padded,
    "permute": shapes.permuted,
    **dict.fromkeys(("roll", "flip"), shapes.moved),
    "as_strided": shapes.strided,
    "repeat": shapes.repeated,
    "unsqueeze": shapes.unsqueezed,
    "expand": shapes.expanded,
    "cat": shapes.concatenated,
    "copy": pointwise.copied,
    "linear": layers.linear,
    "convolution": layers.convolution,
    "native_layer_norm": layers.layer_norm,
    "_fused_rms_norm": layers.rms_norm,
    "native_group_norm": layers.group_norm,
    "embedding": layers.embedding,
}
"""Rules by the name of the ATen operation, without its namespace and the underscore of in-place writes."""

PATTERNS: tuple[tuple[re.Pattern[str], Rule], ...] = (
    (re.compile(r"batch_norm"), layers.batch_norm),
    (re.compile(r"^_scaled_dot_product"), layers.attention),
    *(
        (re.compile(rf"{name}{n}d"), partial(layers.pooled, dims=n, free=free))
        for n in (1, 2, 3)
        for name, free in (("max_pool", POSITIVE), (r"(avg_pool|upsample\w*)", Freedom.ALL))
    ),
)
"""Rules by a pattern in the name."""


def rule_for(name: str, tagged: bool) -> Rule | None:
    """The rule of an operation, None if there is none.

    Args:
        name: of the ATen operation.
        tagged: whether PyTorch says that it is pointwise.
    """
    plain = name.removesuffix("_")
    if plain in RULES:
        return RULES[plain]
    if tagged:
        return pointwise.function
    return next((rule for pattern, rule in PATTERNS if pattern.search(plain)), None)
