"""Join the ranks that ``torchrun`` started, and leave them; a process that it did not start stays alone."""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from contextlib import ExitStack, suppress
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Any

from llpf_plugin.errors import InterruptedRun, RankError
from llpf_plugin.ranks.group import Group, current, set_current, wait_for_all
from llpf_plugin.ranks.lifeline import DONE, Lifeline

OLDEST = "2.13"
"""Of torch; with 2.6 some ranks were lost when they parted."""

JOIN = 45.0
"""Seconds within which all ranks must come."""

COLLECTIVE = timedelta(hours=2)
"""What ranks wait for each other at most; one that is lost is noticed within a minute, see `Lifeline`."""

FIRST, PATIENCE = 5.0, 15.0
"""Seconds for rank 0 to say what this rank has met too; and for all others to have heard it."""


class joined:  # noqa: N801 - a context manager
    """Search together with the other ranks inside the block.

    The environment says which ranks there are (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and so on, which ``torchrun``
    sets); where it does not, or there is only one, the block runs as it would without. What is searched, measured or
    merged inside must be the same on every rank. ``torch.distributed`` must not have been initialised before.

    Attributes:
        silent: this rank has ended with an error that another one says.

    Raises:
        RankError: torch is too old, or another rank is missing, or was lost; or the block ends with an error that
            another rank has met.

    Example:
        >>> with joined():
        ...     merged = merge(["a.pt", "b.pt"], "cifar10/resnet18", out=Path("run"))
    """

    def __init__(self) -> None:
        self.silent = False
        self._stack = ExitStack()
        self._before: Any = None
        self._lifeline: Lifeline | None = None

    def __enter__(self) -> Group:
        size, rank = (int(os.environ.get(name) or default) for name, default in (("WORLD_SIZE", 1), ("RANK", 0)))
        if size == 1:
            return current()
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what fails is said in a sentence, not in a stack of C++
        lifeline = self._lifeline = _came_together(rank, size)
        self._listen(lifeline)
        lifeline.start()
        return self._stack.enter_context(set_current(Group(rank, size, lifeline)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lifeline is None:
            return
        try:
            if error is None:
                wait_for_all()  # whoever ends early must not take the others along
                self._lifeline.tell(DONE)
        except RankError as lost:
            error = lost
            raise
        finally:
            if error is not None:
                self.silent = _ended(self._lifeline, error)
            self._leave(self._lifeline, error)

    def _listen(self, lifeline: Lifeline) -> None:
        """Let SIGTERM, by which ``torchrun`` ends the other ranks, be one sentence too."""

        def stop(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise lifeline.explained("this run was ended from outside (SIGTERM)")

        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, stop)
            lifeline.interrupts = True

    def _leave(self, lifeline: Lifeline, error: BaseException | None) -> None:
        self._stack.close()
        if self._before is not None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the others may be gone first
        lost = lifeline.gone is not None and not lifeline.gone.told
        lifeline.part(0.0 if lost else PATIENCE)
        if error is not None:  # the others are not there to part from, and nothing more is to be said
            return
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
        _disconnect()


def _ended(lifeline: Lifeline, error: BaseException) -> bool:
    """Tell the others that this rank ends with an error; whether one of them says what there is to say.

    All meet most errors, and then rank 0 says it. What was lost, every rank says that is left.
    """
    if lifeline.interrupts:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stopped = isinstance(error, KeyboardInterrupt | InterruptedRun)
    words = "it was stopped" if stopped else str(error) or type(error).__name__
    lifeline.tell(words)
    if isinstance(error, RankError) and (error.told or (lifeline.gone is not None and not lifeline.gone.told)):
        return error.told
    threading.Thread(target=_disconnect, daemon=True).start()  # so that nobody waits for this rank
    return lifeline.rank > 0 and lifeline.end_of_first(FIRST) == words


def _disconnect() -> None:
    import torch.distributed as dist

    with suppress(RuntimeError):
        dist.destroy_process_group()


def _came_together(rank: int, size: int) -> Lifeline:
    """Wait for all ranks, and connect them.

    Raises:
        RankError: some of them have not come in time.
    """
    import torch
    import torch.distributed as dist

    if torch.torch_version.TorchVersion(torch.__version__) < OLDEST:
        raise RankError(f"several ranks need torch {OLDEST} or later, and this is {torch.__version__}")
    began, patience = time.monotonic(), timedelta(seconds=JOIN)
    where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=patience))
    except (RuntimeError, ValueError) as error:
        told = str(error).strip().splitlines()[0]
        raise RankError(f"not all of {size} ranks have come to {where} within {JOIN:.0f} s ({told})") from error
    store = dist.PrefixStore("llpf", store)
    for key, value in (("beat", "0"), ("end", ""), ("left", ""), ("here", f"{platform.node()}, process {os.getpid()}")):
        store.set(f"{key}/{rank}", value)
    names = _names(store, size, JOIN - (time.monotonic() - began))
    cuda = torch.cuda.is_available() and dist.is_nccl_available()
    local = int(os.environ.get("LOCAL_RANK", 0))
    if cuda and local < torch.cuda.device_count():
        torch.cuda.set_device(local)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo", store=dist.PrefixStore("group", store), rank=rank,
            world_size=size, timeout=COLLECTIVE,
        )  # fmt: skip
    except RuntimeError as error:
        raise RankError(f"the {size} ranks cannot be connected: {str(error).strip().splitlines()[0]}") from error
    return Lifeline(_connection(where), rank, names, store)


def _names(store: Any, size: int, patience: float) -> list[str]:
    """What to call each rank, as soon as all of them are here.

    Raises:
        RankError: names those that are not.
    """
    keys = [f"here/{rank}" for rank in range(size)]
    with suppress(RuntimeError):
        store.wait(keys, timedelta(seconds=max(1.0, patience)))
    try:
        missing = [rank for rank, key in enumerate(keys) if not store.check([key])]
        if not missing:
            return [f"rank {i} of {size} ({here.decode()})" for i, here in enumerate(store.multi_get(keys))]
    except RuntimeError:
        missing = [0]
    names = ", ".join(map(str, missing))
    what = f"rank {names} of {size} is" if len(missing) == 1 else f"ranks {names} of {size} are"
    raise RankError(f"{what} missing: not there within {JOIN:.0f} s, so that nothing was begun")


def _connection(where: str) -> Any:
    """A connection to the store that waits for nobody else's."""
    import torch.distributed as dist

    host, _, port = where.rpartition(":")
    store = dist.TCPStore(host, int(port), is_master=False, wait_for_workers=False)
    return dist.PrefixStore("llpf", store)
