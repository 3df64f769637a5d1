"""How well, and at what cost, LLPF connects pairs of independently trained networks: see `pairs`.

python benchmarks/connect.py --task digits/resnet
python benchmarks/connect.py --task cifar10/resnet8
"""

from collections.abc import Mapping, Sequence

from pairs import options, run
from shared import SCHEDULES

from llpf_plugin import LLPF

METHODS: Mapping[str, LLPF] = {
    "fixed, all at once": LLPF(schedule=str(SCHEDULES / "at-once.yaml")),
    "fixed, FDF stages": LLPF(schedule=str(SCHEDULES / "stages.yaml")),
    "adaptive, all at once": LLPF(phases="all"),
    "adaptive, FDF stages": LLPF(phases="stage"),
    "adaptive, auto": LLPF(phases="auto"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    run(options(__doc__, list(METHODS), arguments), lambda task: METHODS, arguments)


if __name__ == "__main__":
    main()
