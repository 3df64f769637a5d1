"""The head of a classifier: which layer it is, and heads of different classes in the form of one."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from helpers import heads
from torch import Tensor, nn

from llpf_plugin.errors import MismatchError, OrderError
from llpf_plugin.geometry.weights import clone, state
from llpf_plugin.merging.head import Head, find_head, rows_of
from llpf_plugin.tasks.models import MLP, LeNet5, RowTransformer, SmallResNet

HEAD = Head("5", ("5.weight", "5.bias"), 4)


class Reversed(nn.Module):
    """Its head is registered first, and has as many outputs as every other layer."""

    def __init__(self, answer: Callable[[Tensor], Tensor] = nn.Identity()) -> None:  # noqa: B008
        super().__init__()
        self.out, self.middle, self.first = (nn.Linear(4, 4) for _ in range(3))
        self.answer = answer

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.out(F.relu(self.middle(F.relu(self.first(x))))))


@pytest.mark.parametrize(
    ("model", "shape", "classes", "layer"),
    [
        (MLP(64, 10, 2, 10), (2, 1, 8, 8), 10, "5"),
        (SmallResNet(4, channels=1), (2, 1, 8, 8), 10, "fc"),
        (RowTransformer(), (2, 1, 8, 8), 10, "head"),
        (LeNet5(), (2, 1, 28, 28), 10, "fc3"),
        (Reversed(), (2, 4), 4, "out"),
        (Reversed(lambda x: x.log_softmax(-1)), (2, 4), 4, "out"),
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=False)), (2, 4), 3, "2"),
    ],
)
def test_it_is_the_last_layer_of_the_order_that_gives_the_scores(
    model: nn.Module, shape: tuple[int, ...], classes: int, layer: str
) -> None:
    before, training = clone(state(model)), model.training
    found = find_head(model, torch.randn(shape), classes)
    assert (found.layer, found.classes) == (layer, classes) and found.parameters[0] == f"{layer}.weight"
    assert model.training == training and all(torch.equal(t, before[name]) for name, t in state(model).items())


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Reversed(lambda x: x.softmax(-1)), (2, 4)),  # a row moves all probabilities
        (Reversed(lambda x: x @ torch.ones(4, 4)), (2, 4)),  # no row has a score of its own
        (nn.Sequential(nn.Linear(4, 5)), (2, 4)),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (2, 1, 5, 5)),
        (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))), (2, 4)),
    ],
)
def test_a_head_that_is_no_linear_layer_of_scores_is_not_found(model: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(OrderError, match="no linear layer gives the scores of 4 classes; the last layer is"):
        find_head(model, torch.randn(shape), 4)


def test_heads_of_some_classes_in_the_form_of_one_of_all() -> None:
    head = Head("fc", ("fc.weight", "fc.bias"), 3)
    a = {"fc.weight": torch.tensor([[1.0, 2], [3, 4]]), "fc.bias": torch.tensor([5.0, 6]), "x": torch.ones(1)}
    b = {"fc.weight": torch.tensor([[7.0, 8]]), "fc.bias": torch.tensor([9.0]), "x": torch.zeros(1)}
    one, other = head.extended(a, [2, 0]), head.extended(b, [1])
    assert one["fc.weight"].tolist() == [[3, 4], [0, 0], [1, 2]] and one["fc.bias"].tolist() == [6, 0, 5]
    assert other["fc.weight"].tolist() == [[0, 0], [7, 8], [0, 0]] and one["x"] is a["x"]
    whole = head.filled(one, other, [2, 0])
    assert whole["fc.weight"].tolist() == [[3, 4], [7, 8], [1, 2]] and whole["fc.bias"].tolist() == [6, 9, 5]
    assert a["fc.weight"].shape == (2, 2) and head.filled(one, other, [0, 1, 2])["fc.bias"].tolist() == [6, 0, 5]


@pytest.mark.parametrize("per_example", [False, True])
def test_a_masked_model_is_the_one_that_knew_less(per_example: bool) -> None:
    """Losses and answers of the extended network are those of the network with fewer outputs, bit by bit or nearly."""
    task, own = heads.points(), heads.classifier(heads.C, 2)
    places = [heads.CLASSES.index(label) for label in heads.C]
    x, y = task.train.batch(32, 0, 0)
    narrow = HEAD.narrowed(task.model, 3)
    narrow.load_state_dict(own)
    task.model.load_state_dict(HEAD.extended(own, places))
    narrow.eval(), task.model.eval()
    known = HEAD.known(places)
    with HEAD.masked(task.model, known.expand(32, 4) if per_example else known):
        masked = task.model(x)
    assert masked[:, 0].eq(-torch.inf).all() and torch.allclose(masked[:, places], narrow(x), atol=1e-6)
    mine = y != 0
    numbers = torch.tensor([places.index(t) for t in y[mine].tolist()])
    assert torch.allclose(F.cross_entropy(masked[mine], y[mine]), F.cross_entropy(narrow(x)[mine], numbers), atol=1e-6)
    assert task.model(x).isfinite().all() and len(task.model[5].weight) == 4 and len(narrow[5].weight) == 3


def test_every_example_has_its_own_mask() -> None:
    model = nn.Sequential(OrderedDict(fc=nn.Linear(2, 3)))
    allowed = torch.tensor([[True, False, True], [False, True, False]])
    with Head("fc", ("fc.weight", "fc.bias"), 3).masked(model, allowed):
        assert torch.equal(model(torch.randn(2, 2)).isfinite(), allowed)
        assert torch.equal(model(torch.randn(2, 5, 2)).isfinite(), allowed.unsqueeze(1).expand(2, 5, 3))


def test_a_checkpoint_without_the_head_is_refused() -> None:
    assert rows_of(HEAD, heads.classifier(heads.A, 1), "a.pt") == 2
    with pytest.raises(MismatchError, match=r"a\.pt has no 5\.weight, which the head of the task's network is"):
        rows_of(HEAD, {"6.weight": torch.ones(2, 2)}, "a.pt")
