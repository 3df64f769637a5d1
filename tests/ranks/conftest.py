"""Several ranks need a new torch; the refusal of an older one is tested everywhere."""

import pytest
import torch

from llpf_plugin.ranks.join import OLDEST


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.torch_version.TorchVersion(torch.__version__) < OLDEST:
        for item in items:
            if "tests/ranks" in item.nodeid and "refused" not in item.name:
                item.add_marker(pytest.mark.skip(reason=f"several ranks need torch {OLDEST}"))
