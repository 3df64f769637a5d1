"""``docs/tasks.md`` has every built-in task, with its default width and its number of parameters."""

import re
from pathlib import Path

import pytest
import torch

from llpf_plugin import load_task
from llpf_plugin.tasks import BUILT_IN, vision
from llpf_plugin.tasks.models import SmallResNet

pytest.importorskip("torchvision", reason="torchvision has most of the networks")
pytest.importorskip("sklearn", reason="scikit-learn has the digits")

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
ROWS = {name: (int(width), int(size.replace(",", ""))) for name, width, size in re.findall(
    r"^\| `(\S+)` \| [^|]+ \| (\d+) \| ([\d,]+) \|", PAGE, re.MULTILINE
)}  # fmt: skip


def test_the_page_has_every_task() -> None:
    others = {name for name in BUILT_IN if name.startswith("cifar100/")}
    folders = {name for name in BUILT_IN if name.startswith(("hf/", "images/", "tabular/"))}
    assert ROWS.keys() == BUILT_IN.keys() - others - folders and all(f"`{name}`" in PAGE for name in folders)
    assert {name.replace("cifar100", "cifar10") for name in others} == {
        name for name in ROWS if name.startswith("cifar10/") and name != "cifar10/resnet8"
    }


@pytest.mark.parametrize("name", ROWS)
def test_width_and_parameters_are_those_of_the_task(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(30, 1, 28, 28) if name.startswith("mnist") else torch.zeros(30, 3, 32, 32)
    monkeypatch.setattr(vision, "_read", lambda *_, **__: (images, torch.zeros(30).long()))
    folder_of_images = name.startswith("imagenet10")
    model = SmallResNet(64, (2, 2, 2, 2), stem=7) if folder_of_images else load_task(name).model
    assert sum(p.numel() for p in model.parameters()) == ROWS[name][1]
    if not folder_of_images:
        wide = load_task(name, {"width": ROWS[name][0]}).model
        assert [p.shape for p in wide.parameters()] == [p.shape for p in model.parameters()]
