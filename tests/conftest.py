import logging
import signal
from collections.abc import Iterator

import pytest
import torch
from helpers import tiny
from hypothesis import settings

from llpf_plugin.geometry.weights import Weights
from llpf_plugin.tasks.task import Task

torch.set_num_threads(1)
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """The log levels of before, after a test that called a program's ``main``."""
    disabled, flwr = logging.root.manager.disable, logging.getLogger("flwr")
    level = flwr.level
    yield
    logging.disable(disabled)
    flwr.setLevel(level)


@pytest.fixture
def mlp() -> Task:
    return tiny.mlp()


@pytest.fixture
def conv() -> Task:
    return tiny.conv()


@pytest.fixture
def mlp_pair() -> tuple[Weights, Weights]:
    return tiny.pair("mlp")


@pytest.fixture
def conv_pair() -> tuple[Weights, Weights]:
    return tiny.pair("conv")


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> Iterator[None]:
    """A job in the background of a shell ignores Ctrl-C; the tests that send it need Python's own answer to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
