"""A user's task, however wrong: it works, or one error says in a sentence what the matter is; it never hangs."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import torch
import torch._dynamo  # otherwise the first search imports it, which takes seconds
from helpers.commands import Result, merge, process
from user_tasks import TASKS, net

from llpf_plugin import LLPFError, find_path, load_task

PATIENCE = 20
"""Seconds after which a search over some hundred examples counts as hanging."""

INTERRUPTS: dict[str, type[BaseException]] = {
    "is_interrupted": KeyboardInterrupt, "interrupts_the_factory": KeyboardInterrupt,
    "exits": SystemExit, "exits_the_factory": SystemExit,
}  # fmt: skip
"""What is meant to stop the program may do so."""


class Hangs(KeyboardInterrupt):
    """The search was not done in time: no error, since an error in the user's code would be explained as its fault."""


def hangs(_signal: int, _frame: FrameType | None) -> None:
    raise Hangs(f"it was still running after {PATIENCE} s")


@contextmanager
def soon() -> Iterator[None]:
    """A time limit for what this process does."""
    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """What a task changes for the whole process is put back."""
    yield
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)


def ends(name: str, folder: Path) -> tuple[Path, Path]:
    """Two checkpoints of the task's model; of another where it has none that could be saved."""
    places = folder / "a.pt", folder / "b.pt"
    for seed, place in enumerate(places):
        torch.manual_seed(seed)
        try:
            weights = TASKS[name]().model.state_dict()
            [tensor.numel() for tensor in weights.values() if isinstance(tensor, torch.Tensor)]
        except BaseException:
            weights = net().state_dict()
        torch.save(weights, place)
    torch.set_default_dtype(torch.float32)
    return places


def outcome(name: str, a: Path, b: Path) -> str | None:
    """Search a path; what came of it in words, if that is neither a path nor an error of ours."""
    try:
        with soon():
            find_path(a, b, load_task(f"user_tasks:{name}"), tolerance=1.5, budget=60, points=2)
    except (LLPFError, INTERRUPTS.get(name, LLPFError)):
        pass
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return None


WITH_WORKERS = ("a_loader_with_a_worker", "a_worker_that_dies")
"""Tasks that fork this process. When a worker has died, torch raises in whatever the process does by then."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in TASKS if name not in WITH_WORKERS])
def test_a_task_works_or_is_refused(tmp_path: Path, name: str) -> None:
    found = outcome(name, *ends(name, tmp_path))
    assert found is None, found


def asked(name: str, folder: Path) -> list[object]:
    words = ["--tolerance", 1.5, "--budget", 60, "--points", 2, "--no-report"]
    return [*ends(name, folder), "--task", f"user_tasks:{name}", "-o", folder / "run", *words]


def apart(name: str, folder: Path) -> Result:
    """The command, in a process of its own."""
    path = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    return process("llpf-merge", *asked(name, folder), env=path)


def test_a_loader_with_a_worker_works(tmp_path: Path) -> None:
    result = apart("a_loader_with_a_worker", tmp_path)
    assert result.code == 0 and not result.traceback, result.text


def test_a_worker_that_dies_is_an_error(tmp_path: Path) -> None:
    result = apart("a_worker_that_dies", tmp_path)
    assert result.code == 1 and not result.traceback and "worker" in result.err, result.err[-1000:]


def command(name: str, folder: Path) -> Result:
    with soon():
        return merge(*asked(name, folder))


PRINTED = (
    "a_parameter_without_elements", "names_with_markup_in_a_dictionary", "name_is_hard_to_print",
    "names_that_are_no_text", "names_with_markup", "names_with_tags", "names_that_lead_elsewhere", "a_very_long_name",
    "a_layer_called_metadata", "a_parameter_called_metadata",
)  # fmt: skip
"""Tasks whose names or tensors are hard to print or to store."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PRINTED)
def test_the_command_prints_any_name(tmp_path: Path, name: str) -> None:
    result = command(name, tmp_path)
    assert not result.traceback and result.code in (0, 1, 3), result.err[-1000:]
    assert "\x1b" not in result.text


def test_a_run_that_the_task_ended_says_how_to_go_on(tmp_path: Path) -> None:
    result = command("raises_in_the_walk", tmp_path)
    assert result.code == 1 and not result.traceback, result.err[-1000:]
    assert "users bug in the walk" in result.err and "--resume" in result.err


def test_a_run_that_is_interrupted_says_how_to_go_on(tmp_path: Path) -> None:
    result = command("is_interrupted", tmp_path)
    assert result.code == 130 and "--resume" in result.err, result.text


def test_a_factory_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    result = command("interrupts_the_factory", tmp_path)
    assert result.code == 130 and not result.traceback and not (tmp_path / "run").exists(), result.text


@pytest.mark.parametrize("name", ["exits", "exits_the_factory"])
def test_a_task_that_exits_is_an_error(tmp_path: Path, name: str) -> None:
    result = command(name, tmp_path)
    assert result.code == 1 and result.err.startswith("llpf merge: "), result
