"""Golden runs: the knots of short searches, bit for bit, so that a change of structure changes nothing.

``golden/`` holds the ends as files, and the digest of every knot as version 0.1.0 found them on the processor and with
the torch that ``golden.json`` names. Elsewhere sums are taken in another order; there the knots' norms are compared to
1e-5, but for the walks in `CHAOTIC`: one move that is accepted here and rejected there changes all that follows.
``python tests/test_golden.py`` writes the file anew, where an algorithm was meant to change.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from llpf_plugin import (
    LLPF,
    AutoNEB,
    Bezier,
    Compute,
    Finetune,
    Linear,
    Method,
    SphereCurve,
    find_path,
    load_task,
    walk_to_origin,
)
from llpf_plugin import Path as LossPath
from llpf_plugin.geometry.weights import Weights

GOLDEN = Path(__file__).parent / "golden"
SCHEDULE = str(GOLDEN / "schedule.yaml")

TASKS = {"mlp": ("digits/mlp", {"width": 24, "depth": 3}), "resnet": ("digits/resnet", {"width": 4})}

MLP, RESNET = ("mlp-a", "mlp-b"), ("resnet-a", "resnet-b")
DOWN, UP = ("resnet-c", "resnet-a"), ("resnet-a", "resnet-c")

RUNS: dict[str, tuple[tuple[str, str], Method, dict[str, Any]]] = {
    "adaptive": (MLP, LLPF(phases="all"), {"seed": 1}),
    "auto": (RESNET, LLPF(), {}),
    "auto, hands over": (RESNET, LLPF(share=0.4, reject_above=0.12, repairs=1), {"tolerance": 0.1, "budget": 200}),
    "schedule": (MLP, LLPF(schedule=SCHEDULE), {"tolerance": 1.0, "lr": None}),
    "phases": (RESNET, LLPF(phases="stage"), {"budget": 150}),
    "phases, swept": (RESNET, LLPF(phases="stage"), {"budget": 700}),
    "layers, all on spheres": (MLP, LLPF(phases="layer", correct="all"), {"budget": 120}),
    "repairs": (
        MLP, LLPF(phases="all", share=0.3, threshold=0.3, reject_above=1.2), {"tolerance": 0.04, "budget": 300}
    ),
    "thinned": (MLP, LLPF(phases="all", share=0.02), {"budget": 150}),
    "across": (DOWN, LLPF(), {"budget": 200}),
    "across, from below": (UP, LLPF(), {"budget": 200}),
    "across, walked": (DOWN, LLPF(exact_legs=False), {"budget": 200}),
    "origin": (("resnet-a", "origin"), LLPF(), {"to": 0.3, "tolerance": 0.5, "budget": 80}),
    "origin, walked": (("mlp-a", "origin"), LLPF(exact_legs=False), {"to": 0.2, "budget": 120}),
    "origin, schedule": (("mlp-a", "origin"), LLPF(schedule=SCHEDULE), {"tolerance": 1.0, "budget": 120, "lr": None}),
    "sphere-curve": (RESNET, SphereCurve(steps=40), {}),
    "bezier": (MLP, Bezier(steps=40), {}),
    "autoneb": (MLP, AutoNEB(steps=80), {}),
    "finetune": (RESNET, Finetune(steps=40), {}),
    "linear": (MLP, Linear(), {}),
    "found rate": (RESNET, LLPF(), {"lr": None, "budget": 200}),
}  # fmt: skip

CHAOTIC = ("auto, hands over", "phases", "phases, swept", "across, from below", "found rate")


def search(name: str) -> LossPath:
    """One of the runs, measured coarsely: what counts here are its knots."""
    (a, b), method, options = RUNS[name]
    task = load_task(*TASKS[a.partition("-")[0]])
    ends = [load_file(GOLDEN / f"{end}.safetensors") for end in (a, b) if end != "origin"]
    function = walk_to_origin if b == "origin" else find_path
    options = {"tolerance": 0.3, "points": 1, "sample": 200, "lr": task.defaults.lr, **options}
    return function(*ends, task, method, compute=Compute("cpu"), **options)


def found(path: LossPath) -> dict[str, Any]:
    return {
        "steps": path.cost.gradient_steps, "outcome": path.outcome.name,
        "digests": [digest(knot) for knot in path.knots],
        "norms": [[float(f"{t.double().norm():.9g}") for t in knot.values()] for knot in path.knots],
    }  # fmt: skip


def digest(weights: Weights) -> str:
    hashed = hashlib.sha256()
    for name, tensor in weights.items():
        hashed.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return hashed.hexdigest()


def processor() -> str:
    """The processor, as far as the system tells; virtual ones of one name differ in model and instructions."""
    file = Path("/proc/cpuinfo")
    first = file.read_text().partition("\n\n")[0].splitlines() if file.is_file() else []
    known = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in first)}
    flags = hashlib.sha256(" ".join(sorted(known.get("flags", "").split())).encode()).hexdigest()[:8]
    kind = "/".join(known.get(k, "") for k in ("cpu family", "model", "stepping"))
    return f"{known.get('model name', 'unknown')} {kind} {flags}"


@pytest.mark.parametrize("name", RUNS)
def test_the_knots_are_those_of_before(name: str) -> None:
    golden = json.loads((GOLDEN / "golden.json").read_text())
    before, now = golden["runs"][name], found(search(name))
    if (golden["processor"], golden["torch"]) == (processor(), torch.__version__):
        assert now == before
    elif name not in CHAOTIC:
        assert (now["steps"], now["outcome"]) == (before["steps"], before["outcome"])
        np.testing.assert_allclose(now["norms"], before["norms"], rtol=1e-5)


def test_no_run_is_missing_or_left_over() -> None:
    assert set(json.loads((GOLDEN / "golden.json").read_text())["runs"]) == set(RUNS)


if __name__ == "__main__":
    torch.set_num_threads(1)
    values = {"processor": processor(), "torch": torch.__version__, "runs": {n: found(search(n)) for n in RUNS}}
    (GOLDEN / "golden.json").write_text(json.dumps(values, indent=0) + "\n")
