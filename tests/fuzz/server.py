"""Runs ``llpf`` and reads files of others in forks of this process, which has everything imported already.

One job a line, as JSON: ``words`` of a command, or a function (``module:function``) to ``call`` with a ``place``;
``cwd``; the ``patience``. A job with ``modules`` imports them for all that come. A job with a ``folder`` is killed
before its operation number ``die_at`` on the files there, if there are as many; with ``die_after`` it is killed after
so many seconds. One answer a line: ``code``, ``text``, ``seconds``, the number of ``operations``, ``busy``, seconds of
processor time, and ``grown``, the bytes that it took beside what this process has.
"""

import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

GUARD = 3 << 30
"""Bytes that a job may ask for, so that none takes the machine's memory."""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _do(job: dict[str, Any]) -> int:
    """The job, in this process; its exit code."""
    if "call" in job:
        from llpf_plugin.errors import LLPFError

        module, _, function = job["call"].partition(":")
        try:
            getattr(import_module(module), function)(Path(job["place"]))
        except LLPFError as error:
            print(f"llpf: {error}", file=sys.stderr)
            return 1
        return 0
    from helpers import scripts

    sys.argv = ["llpf", *job["words"]]
    try:
        return int(scripts.run("llpf") or 0)  # type: ignore[call-overload, no-any-return]
    except SystemExit as stop:
        return int(stop.code or 0)


class Operations:
    """Counts what a process does to the files of a folder, and kills it before one of them."""

    EVENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")

    def __init__(self, folder: str, die_at: int) -> None:
        self.folder, self.die_at, self.count = folder, die_at, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook."""
        writing = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not (writing or event in self.EVENTS):
            return
        places = [os.fsdecode(a) for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
        if event in ("os.remove", "os.rmdir") and arguments[-1] >= 0:  # of `rmtree`, which goes by open folders
            places = [str(Path(f"/proc/self/fd/{arguments[-1]}").readlink())]
        if not any(self.folder in place for place in places):
            return
        self.count += 1
        if self.count == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _child(job: dict[str, Any], text: int) -> None:
    """Do the job and write what came of it."""
    os.dup2(text, 1)
    os.dup2(text, 2)
    os.chdir(job["cwd"])
    os.environ.update(job.get("env", {}))
    taken, before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize(), _peak()
    resource.setrlimit(resource.RLIMIT_AS, (taken + GUARD, taken + GUARD))
    busy, operations = time.process_time(), Operations(job.get("folder") or "", job.get("die_at", 0))
    if "folder" in job:
        sys.addaudithook(operations)
    try:
        code = _do(job)
    except BaseException:
        code = 1
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    found = {"code": code, "grown": _peak() - before, "operations": operations.count}
    Path(job["answer"]).write_text(json.dumps({**found, "busy": time.process_time() - busy}))
    os._exit(0)


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """What came of a job, at most ``patience`` seconds later."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as text, tempfile.TemporaryDirectory() as folder:
        job = {**job, "answer": str(Path(folder) / "answer")}
        child = os.fork()
        if child == 0:
            os.setsid()
            _child(job, text.fileno())
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if time.monotonic() - began > job.get("die_after", job["patience"]):
                with suppress(ProcessLookupError):  # it has no group of its own yet
                    os.killpg(child, signal.SIGKILL)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
            time.sleep(0.002)
        done = Path(job["answer"])
        found = json.loads(done.read_text()) if done.exists() else {"code": -9, "grown": 0}
        text.seek(0)
        said = text.read().decode("utf-8", "backslashreplace")
    return {**found, "text": said, "seconds": time.monotonic() - began}


IMPORTED = (
    "torch", "pydantic", "rich.progress", "llpf_cli.app", "llpf_cli.merge", "llpf_cli.compare", "llpf_cli.order",
    "llpf_cli.report", "llpf_cli.results", "llpf_cli.watch", "llpf_cli.preview", "llpf_plugin.checkpoint",
    "llpf_plugin.merging", "llpf_plugin.order", "llpf_plugin.report", "llpf_plugin.preflight", "helpers.tiny",
    "helpers.scripts", "networkx", "scipy.optimize", "matplotlib.pyplot", "torch._dynamo",
)  # fmt: skip
"""What the commands import, so that the forks have it."""


def main() -> None:
    """Serve jobs, one a line."""
    for name in IMPORTED:
        import_module(name)
    import torch
    from helpers import tiny

    torch.set_num_threads(1)
    tiny.pair("mlp")
    for line in sys.stdin:
        job = json.loads(line)
        for name in job.get("modules", ()):
            import_module(name)
        print(json.dumps({} if "modules" in job else answer(job)), flush=True)


if __name__ == "__main__":
    main()
