"""Several ranks on this machine: processes that are forked where torch is imported already, connected by gloo."""

import multiprocessing
import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import Any

from llpf_plugin.ranks import joined

PATIENCE = 100.0
"""Seconds after which ranks count as hanging."""

_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(
    [
        "torch._dynamo",
        "torch.distributed.fsdp",
        "torch.distributed.tensor",
        "llpf_plugin.merging",
        "llpf_plugin.report",
        "helpers.tiny",
    ]
)


def free_port() -> int:
    """A port on loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What ``torchrun`` tells a rank."""
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip


def run(function: Callable[..., Any], *arguments: Any, size: int = 2, joins: bool = True) -> list[Any]:
    """What a function returns on every rank.

    Args:
        function: of a module that the ranks can import.
        *arguments: the same for all.
        size: how many ranks there are.
        joins: whether they join before; a command does so itself.

    Raises:
        AssertionError: a rank hangs, or raised an exception, which is told.
    """
    results = outcomes(function, *arguments, size=size, joins=joins)
    failed = [f"rank {rank}: {result}" for rank, (kind, result) in enumerate(results) if kind != "result"]
    assert not failed, "\n".join(failed)
    return [result for _, result in results]


def outcomes(
    function: Callable[..., Any], *arguments: Any, size: int = 2, joins: bool = True, missing: Sequence[int] = ()
) -> list[tuple[str, Any]]:
    """How every rank ended: ``("result", value)``, or the name of an exception and what it says; None if it died.

    Ranks that are ``missing`` are not started, and left out.
    """
    port, begun = free_port(), []
    for rank in (rank for rank in range(size) if rank not in missing):
        ours, theirs = _fork.Pipe()
        work = (theirs, environment(rank, size, port), function, arguments, sys.path, joins)
        process = _fork.Process(target=_rank, args=work, daemon=True)
        process.start()
        theirs.close()
        begun.append((process, ours))
    found: list[tuple[str, Any]] = []
    for process, ours in begun:
        try:
            assert ours.poll(PATIENCE), "a rank hangs"
            found.append(pickle.loads(ours.recv_bytes()))
        except EOFError:
            found.append(("died", None))
        finally:
            process.join(5)
            process.kill()
    return found


def _rank(
    pipe: Connection, told: Mapping[str, str], function: Callable[..., Any], arguments: Any, path: list[str],
    joins: bool,
) -> None:  # fmt: skip
    import torch

    sys.path[:] = path
    os.environ.update(told)
    torch.set_num_threads(1)
    try:
        with joined() if joins else nullcontext():
            result = function(*arguments)
        found = ("result", result)
    except BaseException as error:
        print(traceback.format_exc(), file=sys.stderr)
        found = (type(error).__name__, str(error))
    pipe.send_bytes(pickle.dumps(found))  # plainly: the tensors must outlive this process
