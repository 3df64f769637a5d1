"""How operations pass axis labels on; an operation without a rule fixes every label that it meets.

A rule gets the axes of the positional arguments (None for what is not a tensor), the arguments and the shape of the
first result, and returns the result's axes. It unites the labels of axes that are summed over together, or added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from llpf_plugin.alignment import shape_rules as shapes
from llpf_plugin.alignment.axes import Axes, Labels

Rule = Callable[[Labels, Sequence[Any], Sequence[Any], Sequence[int]], "Axes | None"]
"""``(labels, axes of the arguments, the arguments, shape of the result)`` to the result's axes, None where it fails."""

POINTWISE = frozenset({"hardswish", "rsub", "masked_fill", "where", "hardsigmoid", "rrelu_with_noise", "dropout"})
"""Pointwise operations that PyTorch does not tag as such."""


def broadcast(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Pointwise: what stands at the same place is the same unit."""
    result: Axes = [() for _ in shape]
    for own in (axis for axis in axes if isinstance(axis, list)):
        for i, axis in enumerate(own, start=len(shape) - len(own)):
            if axis and labels.length(axis) == shape[i]:
                result[i] = labels.unite(result[i], axis) if result[i] else axis
    return result


def same(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """The first argument, unit by unit, or relative to all units of an axis alike, as softmax."""
    return list(axes[0])


def copied(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``copy_``: the second argument, where the shapes agree."""
    return broadcast(labels, axes[1:2], args, shape)


def matmul(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``[…, n, k] · […, k, m]``: the two k are the same units."""
    a, b = axes[0], axes[1]
    labels.unite(a[-1], b[-2])
    return [*(labels.unite(x, y) for x, y in zip(a[:-2], b[:-2], strict=True)), a[-2], b[-1]]


def biased_matmul(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``addmm`` and ``baddbmm``: a product and what is added to it."""
    return broadcast(labels, [matmul(labels, axes[1:3], args, shape), axes[0]], args, shape)


def linear(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """``[…, k]`` through a weight ``[m, k]`` and a bias ``[m]``."""
    inputs, weight = axes[0], axes[1]
    labels.unite(inputs[-1], weight[1])
    bias = axes[2] if len(axes) > 2 else None
    return broadcast(labels, [[*inputs[:-1], weight[0]], bias], args, shape)


def convolution(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes | None:
    """Channels in and out; of a grouped convolution the groups are units, and the channels within each alike."""
    inputs, weight, bias = axes[:3]
    transposed, groups = args[6], args[8]
    labels.fix(*inputs[2:], *weight[2:])
    if transposed:
        if groups != 1:
            return None
        labels.unite(inputs[1], weight[0])
        out = weight[1]
    else:
        group = labels.axis(groups)
        within = labels.axis(labels.length(inputs[1]) // groups)
        labels.unite(inputs[1], (*group, *within))
        labels.unite(weight[1], within)
        out = labels.unite(weight[0], (*group, *labels.axis(labels.length(weight[0]) // groups)))
    if bias is not None:
        labels.unite(out, bias[0])
    return [inputs[0], out, *(labels.axis(n, fixed=True) for n in shape[2:])]


def batch_norm(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Scale, shift and running statistics go with their channel."""
    for own in axes[1:5]:
        if own is not None:
            labels.unite(axes[0][1], own[0])
    return list(axes[0])


def layer_norm(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Scale and shift go with their unit; the statistics are independent of the order."""
    for own in axes[2:4]:
        for mine, theirs in zip(reversed(axes[0]), reversed(own or []), strict=False):
            labels.unite(mine, theirs)
    return list(axes[0])


def group_norm(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Groups of channels are units, and the channels within each alike."""
    groups = int(args[6])
    channels = (*labels.axis(groups), *labels.axis(labels.length(axes[0][1]) // groups))
    for own in (axes[0][1:2], axes[1], axes[2]):
        if own:
            labels.unite(own[0], channels)
    return list(axes[0])


def pooled(dimensions: int) -> Rule:
    """The rule of pooling or resizing over the last axes, as many as ``dimensions``, whose places are fixed."""

    def rule(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
        labels.fix(*axes[0][-dimensions:])
        return [*axes[0][:-dimensions], *(labels.axis(n, fixed=True) for n in shape[-dimensions:])]

    return rule


def reduced(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """A mean or sum over some axes, which is independent of their order."""
    own = axes[0]
    given = args[1] if len(args) > 1 and args[1] is not None else []
    dims = {d % len(own) for d in ([given] if isinstance(given, int) else given)} or set(range(len(own)))
    keep = len(shape) == len(own)
    return [() if i in dims else axis for i, axis in enumerate(own) if keep or i not in dims]


def embedding(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes:
    """Rows by index: their order is fixed."""
    labels.fix(axes[0][0])
    return [*axes[1], axes[0][1]]


def attention(labels: Labels, axes: Sequence[Any], args: Sequence[Any], shape: Sequence[int]) -> Axes | None:
    """Scaled dot product of ``[batch, heads, places, width]``: heads are units, and so are the widths."""
    q, k, v = axes[:3]
    if any(labels.length(x) != labels.length(y) for x, y in zip(q[:-2], k[:-2], strict=True)):
        return None
    labels.unite(q[-1], k[-1])
    labels.fix(q[-2], k[-2], v[-2])
    leading = [labels.unite(labels.unite(x, y), z) for x, y, z in zip(q[:-2], k[:-2], v[:-2], strict=True)]
    return [*leading, q[-2], v[-1]]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("clone", "detach", "alias", "_to_copy", "lift_fresh", "_softmax", "_log_softmax", "fill"), same),
    **dict.fromkeys(("mm", "bmm"), matmul),
    **dict.fromkeys(("addmm", "baddbmm"), biased_matmul),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "logsumexp", "var"), reduced),
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), layer_norm),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze"), shapes.viewed),
    **dict.fromkeys(("transpose", "t"), shapes.transposed),
    **dict.fromkeys(("select", "unbind"), shapes.selected),
    **dict.fromkeys(("slice", "constant_pad_nd"), shapes.sliced),
    **dict.fromkeys(("split", "split_with_sizes"), shapes.split),
    "permute": shapes.permuted,
    "unsqueeze": shapes.unsqueezed,
    "expand": shapes.expanded,
    "cat": shapes.concatenated,
    "copy": copied,
    "linear": linear,
    "convolution": convolution,
    "native_group_norm": group_norm,
    "embedding": embedding,
}
"""Rules by the name of the ATen operation, without its namespace and the underscore of in-place writes."""

PATTERNS: tuple[tuple[re.Pattern[str], Rule], ...] = (
    (re.compile(r"batch_norm"), batch_norm),
    (re.compile(r"^_scaled_dot_product"), attention),
    (re.compile(r"(pool|upsample\w*)1d"), pooled(1)),
    (re.compile(r"(pool|upsample\w*)2d"), pooled(2)),
    (re.compile(r"(pool|upsample\w*)3d"), pooled(3)),
)
"""Rules by a pattern in the name."""


def rule_for(name: str, pointwise: bool) -> Rule | None:
    """The rule of an operation, None if there is none."""
    plain = name.removesuffix("_")
    if plain in RULES:
        return RULES[plain]
    if pointwise or plain in POINTWISE:
        return broadcast
    return next((rule for pattern, rule in PATTERNS if pattern.search(plain)), None)
