"""Networks trained with a given weight decay, or to sharp minima, kept in a folder."""

from pathlib import Path

from shared import trained

from llpf_plugin import Compute, Task
from llpf_plugin.geometry import Weights

CPU = Compute("cpu")


def mode(task: Task, seed: int, cache: Path, decay: float, sharp: bool = False, compute: Compute = CPU) -> Weights:
    """A trained network, from the cache if it is there.

    Args:
        task: what is trained, by its recipe.
        seed: of the initial weights and the batches.
        cache: the folder; networks of the task's own weight decay are those of ``connect.py``.
        decay: the weight decay.
        sharp: keep the learning rate constant, as the paper does for sharp minima (appendix L).
        compute: device and precision of the training.
    """
    kind = "" if decay == task.recipe.weight_decay and not sharp else f"_wd{decay:g}{'_sharp' * sharp}"
    place = cache / f"{task.name.replace('/', '_')}{kind}_{seed}.pt"
    return trained(task, place, seed, compute, weight_decay=decay, constant=sharp)
