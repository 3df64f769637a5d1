"""What the documentation shows is what the code does."""

from pathlib import Path

import pytest
import torch

from llpf_plugin.order import layer_order, render

DOCS = Path(__file__).parents[2] / "docs" / "order.md"


def test_the_table_in_the_documentation_is_the_one_that_is_printed() -> None:
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    block = DOCS.read_text(encoding="utf-8").split("```")[1]
    shown = [line for line in block.splitlines()[2:] if line and line != "…"]
    printed = render.table(layer_order(models.resnet18(), torch.zeros(1, 3, 224, 224))).splitlines()
    assert len(shown) == 14 and set(shown) <= set(printed)
