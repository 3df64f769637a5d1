import pytest
import torch
from helpers import tiny
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from llpf_plugin import LoaderData, Task, TensorData
from llpf_plugin.errors import TaskError
from llpf_plugin.evaluation.point import borrowed, evaluate, norms_with_statistics, reestimate, score
from llpf_plugin.geometry.weights import clone, coordinates
from llpf_plugin.workspace import CPU_BATCH, Workspace


def with_inputs(model: nn.Module, inputs: Tensor) -> Workspace:
    """A task whose objective runs the model and returns the mean of its outputs."""
    data = TensorData(inputs, torch.zeros(len(inputs)))
    return Workspace(Task(model, data, objective=lambda m, batch: m(batch[0]).mean()))


def noise(*shape: int) -> Tensor:
    return 3 + 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_statistics_are_those_of_the_full_data() -> None:
    x = noise(100, 4)
    model = nn.BatchNorm1d(4)
    model.running_mean.fill_(99.0)
    reestimate(with_inputs(model, x))
    assert torch.allclose(model.running_mean, x.mean(0), rtol=1e-5)
    assert torch.allclose(model.running_var, x.var(0), rtol=1e-5)
    assert int(model.num_batches_tracked) == 1


def test_statistics_over_several_batches_are_those_of_update_bn() -> None:
    x = noise(2 * CPU_BATCH + 100, 3)
    ours, theirs = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    workspace = with_inputs(ours, x)
    reestimate(workspace)
    seen = [inputs for inputs, _ in workspace.examples(workspace.task.train).batches(CPU_BATCH)]
    torch.optim.swa_utils.update_bn(seen, theirs)
    assert torch.equal(torch.cat(seen).sort(0).values, x.sort(0).values)
    assert torch.allclose(ours.running_mean, theirs.running_mean) and torch.allclose(
        ours.running_var, theirs.running_var
    )
    assert torch.allclose(ours.running_mean, x.mean(0), rtol=0.05)


def test_a_batch_of_one_example_is_left_out() -> None:
    x, model = noise(6, 3), nn.BatchNorm1d(3)
    loader = [(x[:5], torch.zeros(5)), (x[5:], torch.zeros(1))]
    reestimate(Workspace(Task(model, LoaderData(loader), objective=lambda m, batch: m(batch[0]).mean())))
    assert torch.allclose(model.running_mean, x[:5].mean(0), rtol=1e-5)


@pytest.mark.parametrize("sample", [None, CPU_BATCH + 3])
@pytest.mark.parametrize("loaded", [False, True])
def test_no_batch_is_small_and_none_is_larger_than_asked(sample: int | None, loaded: bool) -> None:
    """Statistics are averaged over batches: a last one of two examples would count as much as all others."""
    held = TensorData(noise(2 * CPU_BATCH + 2, 3), torch.zeros(2 * CPU_BATCH + 2))
    data = LoaderData(DataLoader(TensorDataset(held.inputs, held.targets), len(held))) if loaded else held
    workspace = Workspace(Task(nn.BatchNorm1d(3), data, objective=lambda m, batch: m(batch[0]).mean()))
    sizes = [len(inputs) for inputs, _ in workspace.examples(data, sample).batches(CPU_BATCH)]
    assert max(sizes) <= CPU_BATCH and max(sizes) - min(sizes) <= 1 and sum(sizes) == (sample or len(held))


def test_statistics_of_a_sample() -> None:
    model = nn.BatchNorm1d(3)
    workspace = with_inputs(model, noise(90, 3))
    reestimate(workspace, sample=40)
    drawn = next(workspace.examples(workspace.task.train, 40).batches(CPU_BATCH))[0]
    assert len(drawn) == 40 and torch.allclose(model.running_mean, drawn.mean(0), rtol=1e-5)


@pytest.mark.parametrize("sample", [None, 40])
def test_statistics_of_data_in_any_order_are_those_of_shuffled_data(sample: int | None) -> None:
    """Means of the batches differ by less than a standard error or so; of sorted batches they would by far more."""
    x = torch.linspace(-1, 1, 4 * CPU_BATCH)[:, None]
    model = nn.BatchNorm1d(1)
    reestimate(with_inputs(model, x), sample)
    assert float(model.running_var) == pytest.approx(float(x.var()), rel=0.2)


def test_an_inner_norm_sees_its_inputs_with_dropout_off() -> None:
    x = noise(64, 5)
    model = nn.Sequential(nn.Dropout(0.9), nn.Linear(5, 4), nn.BatchNorm1d(4))
    reestimate(with_inputs(model, x))
    seen = model[1](x).detach()
    assert torch.allclose(model[2].running_mean, seen.mean(0), rtol=1e-4)
    assert torch.allclose(model[2].running_var, seen.var(0), rtol=1e-4)


def test_momentum_comes_back_and_nothing_stays_in_train_mode(conv: Task) -> None:
    conv.model.bn1.momentum, conv.model.bn2.momentum = 0.3, None
    reestimate(Workspace(conv))
    assert conv.model.bn1.momentum == 0.3 and conv.model.bn2.momentum is None
    assert not any(m.training for m in conv.model.modules())


def test_momentum_comes_back_when_the_model_fails() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(3, 1))
    with pytest.raises(TaskError, match="shapes cannot be multiplied"):
        reestimate(with_inputs(model, noise(8, 4)))
    assert model[0].momentum == 0.1 and not model[0].training


def test_parameters_do_not_change(conv: Task) -> None:
    before = clone(coordinates(conv.model))
    reestimate(Workspace(conv))
    assert tiny.same(coordinates(conv.model), before)


def test_instance_norm_with_statistics() -> None:
    x = noise(20, 3, 7)
    model = nn.InstanceNorm1d(3, track_running_stats=True)
    reestimate(with_inputs(model, x))
    assert torch.allclose(model.running_mean, x.mean((0, 2)), rtol=1e-3)
    assert torch.allclose(model.running_var, x.var(2).mean(0), rtol=1e-4)
    assert model.momentum == 0.1


def test_instance_norm_over_several_batches() -> None:
    x = noise(2 * CPU_BATCH, 3, 7)
    model = nn.InstanceNorm1d(3, track_running_stats=True)
    reestimate(with_inputs(model, x))
    assert torch.allclose(model.running_mean, x.mean((0, 2)), rtol=1e-3)


def test_only_norms_with_statistics_count() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False), nn.LayerNorm(3))
    assert norms_with_statistics(model) == [model[0]]
    plain = with_inputs(nn.LayerNorm(3), noise(8, 3))
    plain.task.train.batches = None  # type: ignore[method-assign]  # not even looked at
    reestimate(plain)


def test_score_is_the_mean_over_examples_in_eval_mode(conv: Task, conv_pair: tuple[dict[str, Tensor], ...]) -> None:
    conv.model.load_state_dict(conv_pair[0])
    inputs, targets = conv.test.inputs, conv.test.targets
    logits = conv.model.eval()(inputs)
    conv.model.train()
    got = score(Workspace(conv), conv.test)
    assert got.loss == pytest.approx(float(nn.functional.cross_entropy(logits, targets).detach()), rel=1e-6)
    assert got.accuracy == pytest.approx(float((logits.argmax(1) == targets).float().mean()))


def test_score_weighs_batches_by_their_examples() -> None:
    x = noise(CPU_BATCH + 10, 1)
    got = score(with_inputs(nn.Identity(), x), TensorData(x, torch.zeros(len(x))))
    assert got.loss == pytest.approx(float(x.double().mean()), rel=1e-5) and got.accuracy is None


def test_score_of_a_loader_counts_what_it_gave() -> None:
    loader = [(torch.tensor([[1.0], [3.0]]), torch.zeros(2)), (torch.tensor([[8.0]]), torch.zeros(1))]
    workspace = with_inputs(nn.Identity(), noise(4, 1))
    assert score(workspace, LoaderData(loader)).loss == 4.0
    assert score(workspace, LoaderData(loader), sample=2).loss in (2.0, 4.5, 5.5)


def test_score_leaves_no_graph_and_counts_no_gradient_step(conv: Task) -> None:
    workspace = Workspace(conv)
    score(workspace, conv.test)
    assert workspace.steps == 0 and all(p.grad is None for p in conv.model.parameters())


def test_borrowed_weights_and_buffers_come_back_bit_for_bit(conv: Task) -> None:
    workspace = Workspace(conv)
    before = clone(conv.model.state_dict())
    with pytest.raises(ZeroDivisionError), borrowed(workspace):
        evaluate(workspace, tiny.pair("conv")[1], {"train": conv.train})
        assert not tiny.same(conv.model.state_dict(), before)
        raise ZeroDivisionError
    assert tiny.same(conv.model.state_dict(), before)


def test_evaluate_scores_every_split_with_fresh_statistics(conv: Task) -> None:
    workspace = Workspace(conv)
    stale = tiny.pair("conv")[0]
    for k in stale:
        if "running" in k:
            stale[k].fill_(7.0)
    scores, buffers = evaluate(workspace, stale, {"train": conv.train, "validation": None, "test": conv.test})
    assert scores["validation"] is None
    assert scores["train"].accuracy > 0.95 and scores["test"].accuracy > 0.9
    expected = tiny.pair("conv")[0]  # trained, then re-estimated on the same data
    assert all(torch.allclose(buffers[k].float(), expected[k].float(), rtol=1e-5, atol=1e-6) for k in buffers)
    assert set(buffers) == {k for k in stale if "running" in k or "tracked" in k}
