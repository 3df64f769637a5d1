"""How well, and at what cost, LLPF connects pairs of independently trained networks: see `pairs`.

python benchmarks/connect.py --task digits/resnet
python benchmarks/connect.py --task cifar10/resnet8
"""

from collections.abc import Mapping, Sequence

from pairs import options, run
from shared import SCHEDULES

from llpf_plugin import LLPF, Task

STAGED = "fixed, FDF stages"

METHODS: Mapping[str, LLPF] = {
    "fixed, all at once": LLPF(schedule=str(SCHEDULES / "at-once.yaml"), repairs=3),
    STAGED: LLPF(schedule=str(SCHEDULES / "stages.yaml"), repairs=3),
    "adaptive, all at once": LLPF(phases="all"),
    "adaptive, FDF stages": LLPF(phases="stage"),
    "adaptive, auto": LLPF(phases="auto"),
}


def methods(task: Task) -> Mapping[str, LLPF]:
    """The methods that fit a task: the schedule in stages names the layers of residual networks."""
    return {name: method for name, method in METHODS.items() if name != STAGED or "resnet" in task.name}


def main(arguments: Sequence[str] | None = None) -> None:
    run(options(__doc__, list(METHODS), arguments), methods, arguments)


if __name__ == "__main__":
    main()
