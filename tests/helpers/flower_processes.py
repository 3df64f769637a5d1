"""Flower's real programs in folders and on ports of their own, and their end: by process id, never by name."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

BIN = Path(sys.executable).parent
APP = Path(__file__).parents[2] / "examples" / "flower-digits"
MARK = "LLPF_TEST_RUN"


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def environment(home: Path, mark: str, port: int) -> dict[str, str]:
    """What Flower needs to stay by itself: no telemetry, no registry, a home and a port of its own."""
    root = Path(__file__).parents[2]
    paths = [str(root), str(root / "adapters"), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        "FLWR_HOME": str(home),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(port),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "OMP_NUM_THREADS": "1",
        MARK: mark,
    }


@contextmanager
def cleaned_up(mark: str) -> Iterator[None]:
    """End every process that carries our mark in its environment, also those that Flower left in the background."""
    try:
        yield
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for pid in marked(mark):
                with suppress(ProcessLookupError):
                    os.kill(pid, sign)
            wait_until(lambda: not marked(mark), 20)
        assert not marked(mark)


def marked(mark: str) -> list[int]:
    """Ids of the running processes whose environment has our mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def wait_until(done: object, seconds: float) -> bool:
    """Wait for a condition; whether it came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():  # type: ignore[operator]
            return True
        time.sleep(0.5)
    return False


def run(words: Sequence[str], environment: Mapping[str, str], folder: Path, seconds: float) -> str:
    """A program's output; it must end well in time."""
    done = subprocess.run(
        [str(BIN / words[0]), *words[1:]], env=dict(environment), cwd=folder, timeout=seconds,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def listening(port: int) -> bool:
    """Whether something answers on the port."""
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0
