"""Known networks: the paper's phases and known counts."""

import pytest
import torch
from torch import nn

from llpf_plugin.errors import OrderError
from llpf_plugin.order import LayerOrder, layer_order, phases, select

torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")


def image(side: int = 64) -> torch.Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def build(name: str, **arguments: bool) -> nn.Module:
    return torchvision.models.get_model(name, weights=None, **arguments)


@pytest.fixture(scope="module")
def resnet18() -> tuple[nn.Module, LayerOrder]:
    model = build("resnet18")
    return model, layer_order(model, image())


def test_resnet18_stages_are_the_phases_of_the_paper_tensor_for_tensor(resnet18: tuple[nn.Module, LayerOrder]) -> None:
    model, order = resnet18
    paper = [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"], ["fc"]]
    expected = [{name for name, _ in model.named_parameters() if name.split(".")[0] in phase} for phase in paper]
    found = [{p for layer in phase.layers for p in order[layer].parameters} for phase in phases(order, "stage")]
    assert found == expected


def test_resnet18_has_three_parallel_regions_each_a_downsample(resnet18: tuple[nn.Module, LayerOrder]) -> None:
    order = resnet18[1]
    second = [layer.name for layer in order.layers if layer.parallel and layer.parallel.endswith(".2")]
    assert second == [f"layer{i}.0.downsample.0" for i in (2, 3, 4)]
    assert len(order.layers) == 21
    assert order["layer2.1.conv1"].after == ("layer2.0.conv2", "layer2.0.downsample.0")


@pytest.mark.parametrize(
    ("name", "layers", "blocks", "stages"),
    [
        ("vgg11", 11, 11, 11),
        ("mobilenet_v2", 53, 20, 20),
        ("mobilenet_v3_small", 54, 14, 14),
        ("densenet121", 122, 63, 9),
        ("efficientnet_b0", 82, 19, 10),
        ("regnet_x_400mf", 72, 24, 6),
    ],
)
def test_known_counts(name: str, layers: int, blocks: int, stages: int) -> None:
    # On meta nothing is computed, and the layers are the same. RegNet needs values to be built.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = build(name)
    order = layer_order(model, image())
    counts = len(order.layers), len(phases(order, "block")), len(phases(order, "stage"))
    assert counts == (layers, blocks, stages)
    assert order.verified and not order.unused


def test_every_parameter_is_in_exactly_one_layer(resnet18: tuple[nn.Module, LayerOrder]) -> None:
    model, order = resnet18
    placed = [parameter for layer in order.layers for parameter in layer.parameters]
    assert sorted(placed) == sorted(name for name, _ in model.named_parameters())


def test_auxiliary_heads_are_found_in_training_mode() -> None:
    order = layer_order(build("googlenet", init_weights=False), image())
    names = [layer.name for layer in order.layers]
    places = [names.index(n) for n in ("inception4a.branch4.1.conv", "aux1.conv.conv", "inception4b.branch1.conv")]
    assert places == sorted(places)
    assert order.tracer == "dispatch+train"
    assert not order.unused


def test_json_gives_the_same_order_back(resnet18: tuple[nn.Module, LayerOrder]) -> None:
    order = resnet18[1]
    again = LayerOrder.from_json(order.to_json())
    assert again.layers == order.layers and again.fingerprint == order.fingerprint
    assert phases(again, "block") == phases(order, "block")
    assert list(again.dag.edges) == list(order.dag.edges)


def test_json_changed_by_hand_is_refused(resnet18: tuple[nn.Module, LayerOrder]) -> None:
    text = resnet18[1].to_json().replace('"numel": 9536', '"numel": 9537')
    with pytest.raises(OrderError, match="changed by hand"):
        LayerOrder.from_json(text)


def test_patterns_match_whole_components(resnet18: tuple[nn.Module, LayerOrder]) -> None:
    order = resnet18[1]
    assert select(order, ["bn1"]) == ("conv1",)
    assert len(select(order, ["layer1"])) == 4
    assert select(order, ["layer*.0.downsample"]) == tuple(f"layer{i}.0.downsample.0" for i in (2, 3, 4))
    with pytest.raises(OrderError, match="did you mean layer"):
        select(order, ["layer"])
