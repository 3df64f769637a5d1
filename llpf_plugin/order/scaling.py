"""Which weights can be scaled without changing what a model computes: degrees through the graph of operations.

Scale some weights by c > 0; every value in the graph then scales with some power of c, its *degree*, or with none. A
normalization brings any degree back to 0. If all results have degree 0, the scaling changes nothing, up to the small
constants that normalizations add. What the graph cannot tell counts as a change, so that the answer is a proposal;
`llpf_plugin.llpf.scale_invariance` checks it in numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import fx

from llpf_plugin.order.trace.flow import operation

Degree = float | None
"""The power of c with which a value scales, or None if there is none."""

EPS = 1e-3
"""Constants up to this size are taken for those that keep a normalization from dividing by 0."""

_VIEWS = frozenset(
    [
        *("view", "reshape", "_unsafe_view", "_reshape_alias", "flatten", "unflatten", "as_strided", "alias", "detach"),
        *("t", "transpose", "permute", "squeeze", "unsqueeze", "expand", "expand_as", "diagonal", "unfold", "im2col"),
        *("slice", "select", "narrow", "split", "split_with_sizes", "unbind", "chunk", "getitem", "pixel_shuffle"),
        *("clone", "contiguous", "copy", "to", "_to_copy", "lift_fresh", "cat", "stack", "repeat", "roll", "flip"),
        *("index", "index_select", "gather", "embedding", "topk", "sort", "dropout", "native_dropout"),
        *("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad2d"),
    ]
)
"""Operations that move values or leave them out."""
_HOMOGENEOUS = frozenset(
    [
        *("relu", "leaky_relu", "abs", "neg", "sum", "mean", "cumsum", "max", "min", "amax", "amin"),
        *("norm", "linalg_vector_norm", "std", "std_mean"),
        *("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d"),
        *("adaptive_max_pool1d", "adaptive_max_pool2d"),
        *("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"),
    ]
)
"""Functions with ``f(c·x) = c·f(x)`` for c > 0."""
_PRODUCTS = frozenset(
    ["mul", "mm", "bmm", "mv", "dot", "vdot", "vecdot", "matmul", "convolution", "conv2d", "einsum", "linear"]
)
_SUMS = frozenset(["add", "sub", "rsub", "maximum", "minimum", "where"])
_NORMS = frozenset(
    [
        *("batch_norm", "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
        *("cudnn_batch_norm", "miopen_batch_norm", "instance_norm", "layer_norm", "native_layer_norm"),
        *("group_norm", "native_group_norm", "rms_norm", "_fused_rms_norm"),
    ]
)
_POWERS = {"square": 2.0, "sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0}
_WITH_BIAS = ("addmm", "addmv", "baddbmm")


def scale_free(graph: fx.Graph, scaled: Collection[str]) -> bool:
    """Whether scaling these parameters by one positive factor leaves all results of the graph as they are.

    Args:
        graph: operations in the order of execution; ``meta["parameter"]`` marks the nodes of parameters.
        scaled: names of parameters, as in ``model.named_parameters()``.
    """
    degrees: dict[fx.Node, Degree] = {}
    for node in graph.nodes:
        if node.op in ("get_attr", "placeholder"):
            degrees[node] = 1.0 if node.meta.get("parameter") in scaled else 0.0
            continue
        sources = {degrees[source] for source in node.all_input_nodes}
        if node.op == "output":
            return sources <= {0.0}
        if sources <= {0.0}:
            degrees[node] = 0.0
        else:
            degrees[node] = None if None in sources else _degree(node, degrees)
    return True


def _degree(node: fx.Node, degrees: Mapping[fx.Node, Degree]) -> Degree:
    """The degree of an operation's result, of which some arguments have degrees other than 0 and all have one."""
    name = operation(node).removesuffix("_")

    def of(value: Any) -> float:
        found = degrees[value] if isinstance(value, fx.Node) else 0.0
        return 0.0 if found is None else found

    arguments = [*node.args, *node.kwargs.values()]
    if name in _NORMS:
        return _norm(node, of)
    if name == "_weight_norm_interface":  # the direction of the first times the magnitude in the second
        return of(arguments[1])
    if "scaled_dot_product" in name:
        return of(arguments[2]) if of(arguments[0]) + of(arguments[1]) == 0 else None
    if name in _POWERS:
        return _POWERS[name] * of(arguments[0])
    if name == "pow":
        power = arguments[1]
        return power * of(arguments[0]) if isinstance(power, int | float) else None
    if name in _WITH_BIAS:
        return _agree([of(arguments[0]), of(arguments[1]) + of(arguments[2])])
    if name == "div":
        return of(arguments[0]) - of(arguments[1])
    if name in _PRODUCTS:
        return _product(name, arguments, of)
    if name in _SUMS:
        return _sum(name, arguments, of)
    if name in _VIEWS or name in _HOMOGENEOUS:
        return _agree([of(source) for source in node.all_input_nodes if _carries(name, node, source)])
    return None


def _norm(node: fx.Node, of: Callable[[Any], float]) -> Degree:
    """What is normalized has degree 0, unless the affine pair is scaled."""
    affine = [of(source) for source in node.all_input_nodes if source is not node.args[0]]
    return None if any(affine) else 0.0


def _product(name: str, arguments: list[Any], of: Callable[[Any], float]) -> Degree:
    if name == "einsum":
        return sum(of(operand) for operand in arguments[1])
    product = of(arguments[0]) + of(arguments[1])
    biased = name in ("convolution", "conv2d", "linear") and len(arguments) > 2 and isinstance(arguments[2], fx.Node)
    return _agree([product, of(arguments[2])]) if biased else product


def _sum(name: str, arguments: list[Any], of: Callable[[Any], float]) -> Degree:
    """The common degree of the terms; constants are ignored if they are as small as `EPS`."""
    terms = arguments[1:3] if name == "where" else arguments[:2]
    if any(not isinstance(term, fx.Node) and abs(term) > EPS for term in terms):
        return None
    return _agree([of(term) for term in terms if isinstance(term, fx.Node)])


def _carries(name: str, node: fx.Node, source: fx.Node) -> bool:
    """Whether an argument's values, and not only its places, are in the result: indices are places."""
    if name in ("index", "index_select", "gather", "embedding"):
        return source is node.args[0]
    if name == "copy":
        return source is node.args[1]
    return True


def _agree(degrees: list[float]) -> Degree:
    """The one degree that all have, else None."""
    return degrees[0] if degrees and all(d == degrees[0] for d in degrees) else None
