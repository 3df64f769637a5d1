"""Torchvision's networks with a stem for images of 32×32 pixels: no stride, no pooling at the start.

``width`` is the number of channels that a network begins with; all others are in proportion. Strides and sizes are
those of the implementations that the paper names (appendix N), unless the docstring says otherwise.
"""

from torch import Tensor, nn

from llpf_plugin.tasks.optional import torchvision


class VGG(nn.Module):
    """Features, ``[n, 3, 32, 32] → [n, channels, 1, 1]``, and one linear layer, as in pytorch-cifar."""

    def __init__(self, features: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 3, 32, 32] → [n, classes]``."""
        return self.classifier(self.features(x).flatten(1))


def scaled(channels: int, width: int, own: int, multiple: int = 1) -> int:
    """``channels`` times ``width / own``, rounded to a ``multiple`` above 0."""
    return multiple * max(1, round(channels * width / (own * multiple)))


def vgg11(width: int = 64, classes: int = 10) -> nn.Module:
    """VGG11 with BatchNorm (Simonyan and Zisserman, 2015): 9,231,114 parameters for ten classes."""
    vgg = torchvision("models.vgg")
    layers = [part if part == "M" else scaled(part, width, 64) for part in vgg.cfgs["A"]]
    return VGG(vgg.make_layers(layers, batch_norm=True), layers[-2], classes)


def densenet(width: int = 12, classes: int = 10) -> nn.Module:
    """DenseNet with the 121 layers of DenseNet-BC (Huang et al., 2017): 1,000,618 parameters for ten classes.

    ``width`` is the growth rate k; the stem has 2k channels.
    """
    made = torchvision("models.densenet").DenseNet(width, (6, 12, 24, 16), 2 * width, num_classes=classes)
    made.features.conv0 = nn.Conv2d(3, 2 * width, 3, 1, 1, bias=False)
    made.features.norm0 = made.features.relu0 = made.features.pool0 = nn.Identity()
    return made


def mobilenetv2(width: int = 32, classes: int = 10) -> nn.Module:
    """MobileNetV2 (Sandler et al., 2018): 2,236,682 parameters for ten classes; the last convolution keeps its 1,280.

    The image is halved twice. The paper's implementation (chenhang98) has 1,088 more, a 1×1 convolution in the first
    block.
    """
    stages = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 1], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
    mobilenet = torchvision("models.mobilenetv2")
    made = mobilenet.MobileNetV2(classes, width / 32, inverted_residual_setting=stages, dropout=0.0)
    made.features[0][0].stride = (1, 1)
    return made


def shufflenetv2(width: int = 24, classes: int = 10) -> nn.Module:
    """ShuffleNetV2 1× (Ma et al., 2018): 1,263,854 parameters for ten classes.

    The paper calls its network ShuffleNetV2; the implementation that it names (chenhang98) is the first ShuffleNet.
    """
    channels = [width, *(scaled(part, width, 24, multiple=2) for part in (116, 232, 464, 1024))]
    made = torchvision("models.shufflenetv2").ShuffleNetV2([4, 8, 4], channels, classes)
    made.conv1[0].stride, made.maxpool = (1, 1), nn.Identity()
    return made


def efficientnet_b0(width: int = 32, classes: int = 10) -> nn.Module:
    """EfficientNet-B0 (Tan and Le, 2019) without the last 1×1 convolution, as in pytorch-cifar: 3,598,598 parameters.

    Dropout before the linear layer is 0.2; there is no stochastic depth.
    """
    efficientnet = torchvision("models.efficientnet")
    expand, kernels, strides = (1, 6, 6, 6, 6, 6, 6), (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1)
    inputs, outputs, depths = (32, 16, 24, 40, 80, 112, 192), (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)
    rows = zip(expand, kernels, strides, inputs, outputs, depths, strict=True)
    stages = [efficientnet.MBConvConfig(*row, width_mult=width / 32) for row in rows]
    made = efficientnet.EfficientNet(stages, 0.2, 0.0, classes, last_channel=8)
    made.features = made.features[:-1]
    made.features[0][0].stride = (1, 1)
    made.classifier[1] = nn.Linear(stages[-1].out_channels, classes)
    return made


def regnetx_200mf(width: int = 24, classes: int = 10) -> nn.Module:
    """RegNetX-200MF (Radosavovic et al., 2020) with a stem of 64 channels: 2,321,946 parameters for ten classes.

    ``width`` is that of the first stage, a multiple of the group width 8.
    """
    regnet = torchvision("models.regnet")
    widths = [scaled(part, width, 24, multiple=8) for part in (24, 56, 152, 368)]
    blocks = regnet.BlockParams([1, 1, 4, 7], widths, [8] * 4, [1.0] * 4, [1, 1, 2, 2])
    made = regnet.RegNet(blocks, classes, stem_width=scaled(64, width, 24))
    made.stem[0].stride = (1, 1)
    return made
