"""The networks of the paper: sizes, outputs, initial weights, and the order in which data reaches their layers."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from llpf_plugin import Task, load_task
from llpf_plugin.errors import TaskError
from llpf_plugin.order import layer_order
from llpf_plugin.tasks import BUILT_IN, vision
from llpf_plugin.tasks.cifar import cifar10
from llpf_plugin.tasks.models import SmallResNet
from llpf_plugin.tasks.networks.cct import CCT

torchvision = pytest.importorskip("torchvision", reason="torchvision has most of the networks")

SIZES = {
    "resnet18": (11_173_962, 11_220_132),  # kuangliu's pytorch-cifar; He et al. with a 3×3 stem
    "resnet20": (272_474, 278_324),  # 0.27 M (He et al., table 6)
    "vgg11": (9_231_114, 9_277_284),  # pytorch-cifar
    "densenet": (1_000_618, 1_035_268),  # pytorch-cifar, densenet_cifar
    "mobilenetv2": (2_236_682, 2_351_972),  # 1,088 fewer than chenhang98's
    "shufflenetv2": (1_263_854, 1_356_104),  # pytorch-cifar, net_size 1
    "efficientnet-b0": (3_598_598, 3_627_488),  # 1,088 fewer than pytorch-cifar's, which has an unused convolution
    "regnetx-200mf": (2_321_946, 2_355_156),  # pytorch-cifar
    "dla": (16_291_386, 16_337_556),  # pytorch-cifar
    "cct7": (3_760_139, 3_783_269),  # 3.76 M (Hassani et al., table 1)
    "cct2": (283_723, 295_333),  # 0.28 M
}
"""Parameters for ten and for a hundred classes, and where the number is published."""

SMALL = {
    "resnet18": 4, "resnet20": 4, "vgg11": 4, "densenet": 4, "mobilenetv2": 8, "shufflenetv2": 8, "efficientnet-b0": 8,
    "regnetx-200mf": 8, "dla": 2, "cct7": 16, "cct2": 8,
}  # fmt: skip
"""Widths for tests."""


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the data sets, a hundred images of noise."""

    @cache
    def images(n: int) -> Tensor:
        return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    monkeypatch.setattr(vision, "_read", lambda name, *_, **__: (images(100), torch.arange(100) % 10))


def built(network: str, data: str = "cifar10", small: bool = True) -> Task:
    return load_task(f"{data}/{network}", {"width": SMALL[network]} if small else {})


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_every_network_of_the_paper_is_there_on_both_data_sets() -> None:
    assert {f"{data}/{network}" for data in ("cifar10", "cifar100") for network in SIZES} < BUILT_IN.keys()


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
@pytest.mark.parametrize("network", SIZES)
def test_sizes_are_those_that_are_published(network: str, data: str) -> None:
    task = built(network, data, small=False)
    assert size(task.model) == SIZES[network][data == "cifar100"] and task.name == f"{data}/{network}"


@pytest.mark.parametrize("network", SIZES)
def test_a_width_makes_all_of_a_network_small_and_every_parameter_learns(network: str) -> None:
    model = built(network, "cifar100").model
    assert size(model) < max(0.16 * SIZES[network][1], 40_000)
    scores = model(torch.randn(4, 3, 32, 32))
    assert scores.shape == (4, 100)
    scores.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("network", SIZES)
def test_two_seeds_share_no_random_tensor_and_one_seed_all(network: str) -> None:
    task = built(network)
    a, again, b = (task.fresh_model(seed).state_dict() for seed in (1, 1, 2))
    for name, tensor in a.items():
        assert torch.equal(tensor, again[name])
        constant = tensor.float().var(unbiased=False) == 0  # of normalizations, biases and counters
        assert constant or abs(float(torch.cosine_similarity(tensor.flatten(), b[name].flatten(), 0))) < 0.9, name


@pytest.mark.parametrize("network", SIZES)
def test_the_order_of_layers_is_that_of_execution(network: str) -> None:
    task = built(network)
    order = layer_order(task.model, task.example_inputs())
    modules = dict(task.model.named_modules())
    names = [layer.name for layer in order.layers if layer.name in modules]
    assert names == executed(task.model, names) and not order.unused
    assert len(names) >= len(order.layers) - 1, "only the positions of CCT are no module"


def executed(model: nn.Module, names: list[str]) -> list[str]:
    """The modules of these names in the order in which a forward pass calls them."""
    seen: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: seen.append(name)

    handles = [model.get_submodule(name).register_forward_pre_hook(note(name)) for name in names]
    model.eval()(torch.randn(2, 3, 32, 32))
    for handle in handles:
        handle.remove()
    return seen


def test_a_width_that_does_not_split_into_heads_is_refused() -> None:
    with pytest.raises(TaskError, match="a width of 10 does not split into the 4 heads of CCT: give a multiple of 4"):
        cifar10.cct7(width=10)


def test_cct_starts_as_its_authors_have_it() -> None:
    model = CCT()
    assert float(model.classifier.positional_emb.detach().std()) == pytest.approx(0.2, rel=0.02)
    assert float(model.classifier.blocks[3].linear1.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert not any(bool(b.any()) for n, b in model.named_parameters() if n.endswith(("fc.bias", "linear1.bias")))
    drops = [block.drop_path.p for block in model.classifier.blocks[1:]]
    assert drops == pytest.approx([0.1 * i / 6 for i in range(1, 7)])


def test_resnet18_with_a_large_stem_is_torchvisions() -> None:
    ours, theirs = SmallResNet(64, (2, 2, 2, 2), stem=7).eval(), torchvision.models.resnet18(num_classes=10).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x))
