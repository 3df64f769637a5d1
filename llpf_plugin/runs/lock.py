"""Of two processes that would write to one place one is refused, and told who has it.

The lock is the system's own, on a small file with the number of the process: it goes when the process goes, however
that ends, and the file with it or with the next process that takes the place.
"""

import glob
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from llpf_plugin.errors import InUseError, RankError
from llpf_plugin.files import LOCK, refusal, remove_leftovers
from llpf_plugin.ranks.group import gathered, is_first, together, wait_for_all

_PATIENCE = 1.0
"""Seconds to wait for the name of a process that has just taken a place."""

_FAR = 1 << 30
"""Windows locks bytes, which nobody else can read then: one behind all that is written."""

_handles: set[int] = set()

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)
else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _let_go() -> None:
        """The workers of data loaders are forks, and may live longer than the process that has the lock."""
        for handle in _handles:
            os.close(handle)
        _handles.clear()

    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def held(folder: Path | None) -> Iterator[None]:
    """Keep other processes from writing to a folder while the block runs.

    It is made where there is none, and goes with the lock if nothing was written into it. Where the file system has no
    locks, the block runs without one.

    Of several ranks the first has it for all of them, and all must see it.

    Args:
        folder: the folder, None for nothing.

    Raises:
        InUseError: another process has it, which is named.
        RunError: it cannot be written.
        RankError: a rank does not see it.
    """
    with ExitStack() as stack:
        if folder is not None and is_first() and (folder.is_dir() or not folder.exists()):
            stack.enter_context(_made(folder))  # a file is refused by whoever writes there
            stack.enter_context(_locked(folder / LOCK, folder))
        if folder is not None and together():
            _check_seen(folder)
        yield


def _check_seen(folder: Path) -> None:
    """Refuse a folder that is not the same for all ranks, by the lock in it.

    Raises:
        RankError: names the first rank for which it is another one.
    """
    wait_for_all()  # until it is locked
    locks = gathered((folder / LOCK).read_bytes() if (folder / LOCK).is_file() else None)
    if others := [rank for rank, lock in enumerate(locks) if lock != locks[0]]:
        raise RankError(
            f"rank {others[0]} does not see the folder {folder} in which rank 0 writes: name one with -o that is the "
            "same on all machines, by its whole path"
        )


@contextmanager
def held_file(file: Path) -> Iterator[None]:
    """`held` for a single file, or for a folder that is written as one; what killed processes left of it is removed.

    Args:
        file: which is to be made or replaced.

    Raises:
        InUseError: another process writes it, which is named.
        RunError: it cannot be written.
    """
    if not is_first():
        yield
        return
    file = file.resolve()  # a link stays one, and what is written lies where it leads
    with _made(file.parent), _locked(file.with_name(f".{file.name}{LOCK}"), file):
        remove_leftovers(file.parent, f"{glob.escape(file.stem)}.*")
        yield


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Have a folder while the block runs; what was missing of it goes again if it stayed empty."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(error, folder) or error from error
    try:
        yield
    finally:
        for empty in missing:
            with suppress(OSError):
                empty.rmdir()


@contextmanager
def _locked(lock: Path, place: Path) -> Iterator[None]:
    """Have a lock while the block runs."""
    handle = _take_lock(lock, place)
    try:
        yield
    finally:
        _release(handle, lock)


def _take_lock(lock: Path, place: Path) -> int:
    """The lock's file, open and locked, with this process in it."""
    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise refusal(error, place) or error from error
        try:
            _take(handle)
        except (BlockingIOError, PermissionError) as error:
            os.close(handle)
            raise InUseError(
                f"{place} is being written by {_holder(lock)}: wait until it has ended, or name another place with -o"
            ) from error
        except OSError:  # this file system has no locks
            pass
        if _is_at(handle, lock):
            break
        os.close(handle)  # whoever had it removed the file in between
    _handles.add(handle)
    with suppress(OSError):  # on a full disk it stays nameless
        os.truncate(handle, 0)
        os.write(handle, f"{os.getpid()} {platform.node()}\n".encode())
    return handle


def _is_at(handle: int, lock: Path) -> bool:
    """Whether an open file is still the one at its place."""
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except FileNotFoundError:
        return False


def _holder(lock: Path) -> str:
    """The process that has a lock, in words."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        with suppress(OSError, UnicodeDecodeError):
            number, _, node = lock.read_text(encoding="utf-8").strip().partition(" ")
            if number.isdecimal():
                return f"process {number}" + (f" on {node}" if node != platform.node() else "")
        time.sleep(0.02)
    return "another process"


def _release(handle: int, lock: Path) -> None:
    """Remove the file while it is locked, so that nobody locks one that is about to go."""
    if handle not in _handles:  # a fork, which has closed it
        return
    _handles.discard(handle)
    if os.name != "nt":
        lock.unlink(missing_ok=True)
    os.close(handle)
    if os.name == "nt":  # where open files cannot be removed
        with suppress(OSError):
            lock.unlink(missing_ok=True)
