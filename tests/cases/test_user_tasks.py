"""A user's task, however wrong: it works, or one error says in a sentence what the matter is; it never hangs."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import torch
from helpers.commands import Result, merge, process
from user_tasks import TASKS, net

from llpf_plugin import LLPFError, find_path, load_task

PATIENCE = 6
"""Seconds after which a search over some hundred examples counts as hanging."""

INTERRUPTS: dict[str, type[BaseException]] = {
    "is_interrupted": KeyboardInterrupt, "interrupts_the_factory": KeyboardInterrupt,
    "exits": SystemExit, "exits_the_factory": SystemExit,
}  # fmt: skip
"""What is meant to stop the program may do so."""

FAULTS = {
    "what the user's code raises comes out as it is": (
        "raises_in_the_first_call raises_in_the_walk runs_out_of_gpu_memory runs_out_of_memory raises_stop_iteration "
        "misses_a_file calls_itself raises_now_and_then raises_with_markup_and_colours a_broken_image "
        "raises_in_evaluation_mode raises_in_training_mode raises_a_base_exception"
    ),
    "what an objective returns is not looked at before it is reckoned with": (
        "loss_is_a_vector loss_is_a_float loss_is_none loss_is_in_a_dictionary returns_three_values returns_a_list "
        "loss_is_an_integer loss_is_complex count_is_a_vector"
    ),
    "whether a loss has a gradient is left to backward()": (
        "loss_is_detached loss_is_taken_without_gradients turns_gradients_off all_frozen runs_backward_itself "
        "loss_is_a_constant"
    ),
    "an empty split is divided by its size": ("no_validation_examples no_test_examples"),
    "BatchNorm is given a batch of one example": (
        "one_example_and_batch_norm batches_of_one_and_batch_norm a_last_batch_of_one_and_batch_norm"
    ),
    "what a task is made of is not looked at": (
        "a_plain_data_loader a_plain_tuple no_data model_is_none model_is_a_function "
        "model_is_a_class an_uninitialized_layer has_no_objective batch_size_is_zero defaults_are_negative"
    ),
    "that model, data and objective do not go together is said by torch alone": (
        "inputs_are_doubles inputs_are_integers inputs_have_another_width validation_batches_are_built_otherwise "
        "targets_are_floats targets_are_out_of_range targets_are_negative half_precision_for_floats "
        "statistics_in_half_precision data_on_the_meta_device sparse_inputs returns_a_tuple"
    ),
    "the length of what has none is asked for": "an_endless_loader",
    "all of what has no end is read": "an_endless_loader_with_a_length",
    "state that is no tensor is taken for one": "extra_state",
}
"""What is wrong today, and the tasks that show it."""

FAILS_TODAY = {name: reason for reason, names in FAULTS.items() for name in names.split()}


class Hangs(Exception):  # noqa: N818 - as in: the search hangs
    """The search was not done in time."""


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


def fails(reason: str) -> pytest.MarkDecorator:
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


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
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=fails(FAILS_TODAY[n])) if n in FAILS_TODAY else n for n in TASKS if n not in WITH_WORKERS],
)
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


@fails("what the user's code raises comes out as it is")
def test_a_worker_that_dies_is_an_error(tmp_path: Path) -> None:
    result = apart("a_worker_that_dies", tmp_path)
    assert result.code == 1 and not result.traceback and "worker" in result.err, result.err[-1000:]


def command(name: str, folder: Path) -> Result:
    with soon():
        return merge(*asked(name, folder))


PRINTED = {
    "a_parameter_without_elements": "IndexError where the tensors' statistics are shown",
    "names_with_markup_in_a_dictionary": "MarkupError: names are printed as markup",
    "name_is_hard_to_print": "MarkupError: names are printed as markup",
    "names_that_are_no_text": "UnicodeEncodeError where the knots are stored",
    "names_with_markup": None, "names_with_tags": None, "names_that_lead_elsewhere": None, "a_very_long_name": None,
    "a_layer_called_metadata": None, "a_parameter_called_metadata": None,
}  # fmt: skip
"""Tasks whose names or tensors are hard to print or to store, and why the command fails with them today."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=fails(reason)) if reason else n for n, reason in PRINTED.items()]
)
def test_the_command_prints_any_name(tmp_path: Path, name: str) -> None:
    result = command(name, tmp_path)
    assert not result.traceback and result.code in (0, 1, 3), result.err[-1000:]
    assert "\x1b" not in result.text


@fails("nothing is said of how to go on")
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
@fails("the task's exit code is the command's, and nothing is said")
def test_a_task_that_exits_is_an_error(tmp_path: Path, name: str) -> None:
    result = command(name, tmp_path)
    assert result.code == 1 and result.err.startswith("llpf merge: "), result
