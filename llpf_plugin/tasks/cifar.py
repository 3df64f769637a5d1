"""Tasks on CIFAR-10 and CIFAR-100: the networks of the paper, by the recipes of its table 6."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from torch import nn

from llpf_plugin.tasks import table6
from llpf_plugin.tasks.data import crop_and_flip
from llpf_plugin.tasks.models import SmallResNet
from llpf_plugin.tasks.networks import cifar
from llpf_plugin.tasks.networks.cct import CCT
from llpf_plugin.tasks.networks.dla import DLA
from llpf_plugin.tasks.recipe import Recipe
from llpf_plugin.tasks.task import Defaults, Task
from llpf_plugin.tasks.vision import SIDE, flag, splits

Subset: TypeAlias = int | None
Folder: TypeAlias = str | None
Side: TypeAlias = int | None

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASSES_100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
""".split()  # noqa: SIM905 - a hundred words


class Cifar:
    """One of the two data sets. Its methods make tasks, one for each network, and all take the same arguments.

    ``width`` is the number of channels that the network begins with; all others are in proportion, and the default is
    the paper's network. ``subset`` takes the first so many images of a fixed shuffle. ``augment`` crops and flips while
    training and settling, as the paper does. ``data`` is the folder of torchvision's files. ``side`` makes the images
    smaller, for networks that end in a mean over whatever is left of them. Networks that table 6 names
    for CIFAR-10 alone have the same recipe on CIFAR-100.

    Args:
        name: torchvision's.
        classes: their names, in the order of the targets.
        mean: of each channel of the training images.
        std: likewise.
    """

    def __init__(self, name: str, classes: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> None:
        self.name, self.names, self.classes, self.mean, self.std = name, tuple(classes), len(classes), mean, std

    def resnet8(self, width: int = 16, subset: Subset = None, augment: bool = False, data: Folder = None) -> Task:
        """A ResNet of three blocks, not one of the paper's; not augmented unless asked."""
        build, recipe = partial(SmallResNet, int(width), (1, 1, 1), self.classes), Recipe(40, weight_decay=5e-4)
        return self._task("resnet8", build, recipe, Defaults(lr=0.02), subset, augment, data)

    def resnet18(
        self, width: int = 64, subset: Subset = None, augment: bool = True, data: Folder = None, side: Side = None
    ) -> Task:
        """ResNet18 with a 3×3 stem: 11,173,962 parameters for ten classes."""
        build = partial(SmallResNet, int(width), (2, 2, 2, 2), self.classes)
        recipe = table6.RESNET18 if self.classes == 10 else table6.RESNET18_CIFAR100
        return self._paper("resnet18", build, recipe, subset, augment, data, side)

    def resnet20(
        self, width: int = 16, subset: Subset = None, augment: bool = True, data: Folder = None, side: Side = None
    ) -> Task:
        """ResNet20 (He et al., 2016) with 1×1 convolutions as shortcuts: 272,474 parameters for ten classes."""
        build = partial(SmallResNet, int(width), (3, 3, 3), self.classes)
        return self._paper("resnet20", build, table6.RESNET20, subset, augment, data, side)

    def vgg11(self, width: int = 64, subset: Subset = None, augment: bool = True, data: Folder = None) -> Task:
        """See `llpf_plugin.tasks.networks.cifar.vgg11`."""
        return self._paper("vgg11", self._of(cifar.vgg11, width), table6.COSINE, subset, augment, data)

    def densenet(
        self, width: int = 12, subset: Subset = None, augment: bool = True, data: Folder = None, side: Side = None
    ) -> Task:
        """See `llpf_plugin.tasks.networks.cifar.densenet`; ``width`` is the growth rate."""
        return self._paper("densenet", self._of(cifar.densenet, width), table6.COSINE, subset, augment, data, side)

    def mobilenetv2(
        self, width: int = 32, subset: Subset = None, augment: bool = True, data: Folder = None, side: Side = None
    ) -> Task:
        """See `llpf_plugin.tasks.networks.cifar.mobilenetv2`."""
        return self._paper(
            "mobilenetv2", self._of(cifar.mobilenetv2, width), table6.MOBILENETV2, subset, augment, data, side
        )

    def shufflenetv2(
        self, width: int = 24, subset: Subset = None, augment: bool = True, data: Folder = None, side: Side = None
    ) -> Task:
        """See `llpf_plugin.tasks.networks.cifar.shufflenetv2`."""
        build = self._of(cifar.shufflenetv2, width)
        return self._paper("shufflenetv2", build, table6.SHUFFLENETV2, subset, augment, data, side)

    def efficientnet_b0(
        self, width: int = 32, subset: Subset = None, augment: bool = True, data: Folder = None, side: Side = None
    ) -> Task:
        """See `llpf_plugin.tasks.networks.cifar.efficientnet_b0`."""
        build = self._of(cifar.efficientnet_b0, width)
        return self._paper("efficientnet-b0", build, table6.COSINE, subset, augment, data, side)

    def regnetx_200mf(
        self, width: int = 24, subset: Subset = None, augment: bool = True, data: Folder = None, side: Side = None
    ) -> Task:
        """See `llpf_plugin.tasks.networks.cifar.regnetx_200mf`."""
        build = self._of(cifar.regnetx_200mf, width)
        return self._paper("regnetx-200mf", build, table6.COSINE, subset, augment, data, side)

    def dla(self, width: int = 16, subset: Subset = None, augment: bool = True, data: Folder = None) -> Task:
        """See `llpf_plugin.tasks.networks.dla.DLA`."""
        return self._paper("dla", self._of(DLA, width), table6.COSINE, subset, augment, data)

    def cct7(
        self, width: int = 256, subset: Subset = None, augment: bool = True, data: Folder = None, side: Side = None
    ) -> Task:
        """CCT-7/3×1 (Hassani et al., 2021): 3,760,139 parameters for ten classes; ``width`` is that of the tokens."""
        build = partial(CCT, int(width), classes=self.classes, side=int(side or SIDE))
        return self._paper("cct7", build, table6.CCT7, subset, augment, data, side)

    def cct2(
        self, width: int = 128, subset: Subset = None, augment: bool = True, data: Folder = None, side: Side = None
    ) -> Task:
        """CCT-2/3×2 (Hassani et al., 2021): 283,723 parameters for ten classes; ``width`` is that of the tokens."""
        sizes: dict[str, Any] = {"heads": 2, "depth": 2, "ratio": 1, "convolutions": 2, "side": int(side or SIDE)}
        build = partial(CCT, int(width), classes=self.classes, **sizes)
        return self._paper("cct2", build, table6.CCT7, subset, augment, data, side)

    def _of(self, network: Callable[[int, int], nn.Module], width: int) -> Callable[[], nn.Module]:
        return partial(network, int(width), self.classes)

    def _paper(
        self, network: str, build: Callable[[], nn.Module], recipe: Recipe, subset: Any, augment: Any, data: Any,
        side: Any = None,
    ) -> Task:  # fmt: skip
        """A task that settles on batches as large as those that its ends were trained on."""
        defaults = Defaults(batch_size=recipe.batch_size or Defaults.batch_size, lr=0.01)
        return self._task(network, build, recipe, defaults, subset, augment, data, side)

    def _task(
        self, network: str, build: Callable[[], nn.Module], recipe: Recipe, defaults: Defaults,
        subset: Any, augment: Any, data: Any, side: Any = None,
    ) -> Task:  # fmt: skip
        padding = int(side or SIDE) // 8
        augmentation = crop_and_flip(padding) if flag(augment) else None
        parts = splits(self.name, data, subset, self.mean, self.std, augmentation, side)
        name = f"{self.name.lower()}/{network}"
        return Task(
            build(), name=name, defaults=defaults, recipe=recipe, build=build, classes=self.names, **parts
        )  # fmt: skip


cifar10 = Cifar("CIFAR10", CLASSES, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
cifar100 = Cifar("CIFAR100", CLASSES_100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
