"""Relative flatness of a mode or a knot at its last linear layer (Petzka et al., 2021, definition 3)."""

from typing import Any

import torch
from torch import Tensor, nn

from llpf_plugin.evaluation.point import reestimate
from llpf_plugin.geometry.weights import Weights, assign
from llpf_plugin.quality.metrics import Metric
from llpf_plugin.tasks.batches import Batch, batch_size
from llpf_plugin.workspace import Workspace


class _Fixed(nn.Module):
    """A model that answers with given scores, so that the objective becomes a function of them."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """The scores, whatever the inputs."""
        return self.scores


def relative_flatness(workspace: Workspace, weights: Weights, sample: int | None = 1000) -> Metric:
    """``κ = Σ_{s,s'} ⟨w_s, w_s'⟩ · Tr(H_{s,s'})`` over the rows of the last linear layer; smaller is flatter.

    The scores are ``z = W·x + c``, so the trace of the block of the Hessian of the mean loss is
    ``mean ‖x‖²·∂²ℓ/∂z_s∂z_s'``, exactly; the loss must be a mean over examples, each a function of its own scores.

    Args:
        workspace: whose model is used as a workspace.
        weights: coordinates of the point.
        sample: training examples, None for all.

    Returns:
        κ, or why it is undefined: the model's output is not that of a linear layer.
    """
    assign(workspace.model, weights)
    reestimate(workspace, sample)
    workspace.model.eval()
    total, count = 0.0, 0
    for batch in workspace.examples(workspace.task.train, sample).batches(workspace.eval_batch):
        last = _last_linear(workspace, batch)
        if last is None:
            return Metric(None, "the model's output is not that of a linear layer")
        layer, features, scores = last
        gram = layer.weight.detach().double() @ layer.weight.detach().double().T
        curvature = _curvature(workspace, batch, scores)
        size = batch_size(batch)
        total += float(torch.einsum("st,nst,n->", gram, curvature, features.double().square().sum(1))) * size
        count += size
    return Metric(total / count)


@torch.no_grad()
def _last_linear(workspace: Workspace, batch: Batch) -> tuple[nn.Linear, Tensor, Tensor] | None:
    """The linear layer whose output is the model's, its inputs ``[n, features]`` and its outputs ``[n, classes]``."""
    seen: dict[nn.Linear, tuple[Tensor, Tensor]] = {}
    whole: list[Any] = []

    def listen(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, nn.Linear):
            seen[module] = (inputs[0], output)

    handles = [m.register_forward_hook(listen) for m in workspace.model.modules() if isinstance(m, nn.Linear)]
    handles.append(workspace.model.register_forward_hook(lambda module, inputs, output: whole.append(output)))
    try:
        workspace.task.score(batch)
    finally:
        for handle in handles:
            handle.remove()
    for layer, (inputs, output) in seen.items():
        if whole and output is whole[-1] and output.dim() == 2:
            return layer, inputs, output
    return None


def _curvature(workspace: Workspace, batch: Batch, scores: Tensor) -> Tensor:
    """``∂²(mean loss)/∂z_s∂z_s'`` of every example by itself, ``[n, classes, classes]``."""
    z = scores.detach().double().requires_grad_()
    with torch.enable_grad():
        result = workspace.task.objective(_Fixed(z), batch)
        loss = result[0] if isinstance(result, tuple) else result
        (slope,) = torch.autograd.grad(loss, z, create_graph=True)
        if not slope.requires_grad:  # a loss that is linear in the scores is flat
            return torch.zeros(*z.shape, z.shape[1], dtype=z.dtype, device=z.device)
        columns = [torch.autograd.grad(slope[:, s].sum(), z, retain_graph=True)[0] for s in range(z.shape[1])]
    return torch.stack(columns, 1)
