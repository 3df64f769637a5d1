from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from helpers import tiny
from torch import Tensor

from llpf_plugin import Compute, Task
from llpf_plugin.errors import TaskError
from llpf_plugin.geometry.weights import clone, coordinates, select
from llpf_plugin.workspace import Workspace


def test_loss_and_gradient_are_those_of_plain_torch(mlp: Task) -> None:
    workspace = Workspace(mlp, seed=5)
    loss = workspace.loss()
    workspace.backward(loss)
    inputs, targets = mlp.train.batch(32, 5, 0)
    parameters = list(mlp.model.parameters())
    expected = F.cross_entropy(mlp.model(inputs), targets)
    assert torch.equal(loss, expected)
    for p, g in zip(parameters, torch.autograd.grad(expected, parameters), strict=True):
        assert torch.equal(p.grad, g)


def test_gradients_do_not_add_up(mlp: Task) -> None:
    workspace = Workspace(mlp)
    workspace.backward(workspace.loss())
    workspace.steps = 0
    first = next(mlp.model.parameters()).grad.clone()
    workspace.backward(workspace.loss())
    assert torch.equal(next(mlp.model.parameters()).grad, first)


def test_a_loss_at_given_weights_is_that_of_the_model_there(conv: Task) -> None:
    a, b = tiny.pair("conv")
    workspace = Workspace(conv)
    conv.model.load_state_dict(a)
    names = list(coordinates(conv.model))
    leaves = {k: b[k].clone().requires_grad_() for k in names}
    lent = workspace.loss(leaves)
    workspace.backward(lent, leaves.values())
    assert workspace.steps == 1 and all(p.grad is None for p in conv.model.parameters())
    assert tiny.same(clone(coordinates(conv.model)), select(a, names))
    conv.model.load_state_dict(b)
    workspace.steps = 0
    own = workspace.loss()
    workspace.backward(own)
    assert torch.equal(own, lent)
    assert all(torch.equal(p.grad, leaves[k].grad) for k, p in conv.model.named_parameters())  # type: ignore[arg-type]


def test_every_loss_counts_as_a_step_and_takes_the_next_batch(mlp: Task) -> None:
    workspace = Workspace(mlp)
    losses = [float(workspace.loss().detach()) for _ in range(4)]
    assert workspace.steps == 4 and len(set(losses)) == 4
    workspace.steps = 2
    assert float(workspace.loss().detach()) == losses[2]


def test_dropout_is_a_function_of_seed_and_step() -> None:
    def losses(seed: int, disturb: int) -> list[float]:
        task = tiny.conv()
        task.model.load_state_dict(tiny.pair("conv")[0])
        workspace = Workspace(task, seed=seed)
        torch.manual_seed(disturb)
        return [float(workspace.loss().detach()) for _ in range(3)]

    assert losses(0, disturb=1) == losses(0, disturb=2)
    assert losses(0, disturb=1) != losses(1, disturb=1)


def test_the_model_is_in_train_mode_for_a_loss(conv: Task) -> None:
    conv.model.eval()
    Workspace(conv).loss()
    assert conv.model.training and conv.model.dropout.training


def test_what_remains_of_the_budget(mlp: Task) -> None:
    workspace = Workspace(mlp)
    assert workspace.remaining is None
    workspace.budget = 2
    seen = []
    for _ in range(3):
        workspace.loss()
        seen.append(workspace.remaining)
    assert seen == [1, 0, 0]


def test_batch_size_is_the_tasks_unless_given(mlp: Task) -> None:
    assert Workspace(mlp).batch_size == 32
    assert Workspace(mlp, batch_size=7).batch_size == 7


def test_low_precision_computes_low_and_keeps_float32_masters(mlp: Task) -> None:
    seen = []
    mlp.model[0].register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    workspace = Workspace(mlp, Compute("cpu", precision="bfloat16"))
    loss = workspace.loss()
    workspace.backward(loss)
    assert seen == [torch.bfloat16]
    assert loss.dtype == torch.float32
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in mlp.model.parameters())


def test_channels_last_gives_the_same_loss(conv: Task) -> None:
    plain = float(Workspace(conv).loss().detach())
    laid_out = Workspace(conv, Compute("cpu", channels_last=True))
    assert conv.model.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert float(laid_out.loss().detach()) == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("device", ["cuda:99", "no-such-device"])
def test_a_device_that_is_not_there_is_named(mlp: Task, device: str) -> None:
    with pytest.raises(TaskError, match=f"'{device}' cannot be used here"):
        Workspace(mlp, Compute(device))


def test_auto_is_a_device_that_works(mlp: Task) -> None:
    assert torch.isfinite(Workspace(mlp, Compute("auto")).loss())


def test_the_peak_of_memory_is_in_bytes(mlp: Task) -> None:
    peak = Workspace(mlp, Compute("cpu")).peak_memory()
    assert peak is not None and 50 * 2**20 < peak < 2**40  # torch alone is larger than the first


def test_samples_are_drawn_once_of_data_of_any_kind() -> None:
    @dataclass  # which has no hash
    class Own:
        n: int = 5
        repeatable: bool = True

        def batches(self, size: int, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
            yield torch.arange(self.n), torch.zeros(self.n)

        def to(self, device: torch.device) -> "Own":
            return self

    workspace, data = Workspace(tiny.mlp()), Own()
    assert workspace.examples(data, 3) is workspace.examples(data, 3)  # type: ignore[arg-type]
    assert len(workspace.examples(data, 3)) == 3 and len(workspace.examples(Own(7), 6)) == 6  # type: ignore[arg-type]
