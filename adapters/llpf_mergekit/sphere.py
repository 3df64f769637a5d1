"""The method ``llpf_sphere``: mergekit gives it one tensor of every model at a time."""

import torch
from mergekit.merge_methods import PerInput, TensorGroup, merge_method

from llpf_plugin.errors import LLPFError
from llpf_plugin.geometry import mean_on_sphere

PAPER = "https://arxiv.org/abs/2505.02604"


@merge_method(name="llpf_sphere", pretty_name="LLPF mean on variance spheres", reference_url=PAPER)
def llpf_sphere(group: TensorGroup, weight: PerInput[float] = 1.0) -> torch.Tensor:  # type: ignore[assignment]
    """The weighted mean of a tensor over the models; a matrix gets the weighted mean of the models' variances.

    Args:
        group: the tensor of every model, of one shape and dtype.
        weight: what each model counts; normalized to 1 in all.

    Returns:
        The tensor, computed in float64, in the models' dtype.

    Raises:
        LLPFError: a weight is negative or not finite, or all are 0.
    """
    weights = weight.values_for(group.entries)
    total = sum(weights)
    if not (0 < total < float("inf") and min(weights) >= 0):
        raise LLPFError(f"llpf_sphere: weights must be 0 or more, and not all 0: {', '.join(map(str, weights))}")
    tensors = group.tensors
    mean = mean_on_sphere(tensors, [one / total for one in weights], tensors[0].dim() >= 2)
    return mean.to(tensors[0].dtype)
