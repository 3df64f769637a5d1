"""A real deployment with TLS and node authentication; a SuperNode is killed in it, and the ServerApp too (slow)."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

from helpers import flower_keys
from helpers import flower_processes as flower

from llpf_flower import LLPFStrategy

ROUNDS = 6


class Deployment:
    """A SuperLink and two SuperNodes, each in a process and a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ports = folder, flower.free_ports(4)
        self.mark, self.keys = f"secure-{self.ports[0]}", flower_keys.made(folder / "keys", 2)
        self.app = Path(shutil.copytree(flower.APP, folder / "app"))
        self.nodes: dict[int, subprocess.Popen[bytes]] = {}
        (folder / "command").mkdir()
        (folder / "command" / "config.toml").write_text(
            '[superlink]\ndefault = "deploy"\n\n[superlink.deploy]\n'
            f'address = "127.0.0.1:{self.ports[0]}"\nroot-certificates = "{self.keys.ca}"\n'
        )

    def link(self) -> None:
        """Start the SuperLink, and register the keys of the SuperNodes."""
        self._start("link", "flower-superlink", *self.keys.link, "--host", "127.0.0.1", "--port", str(self.ports[0]),
                    "--disable-runtime-dependency-installation")  # fmt: skip
        assert flower.wait_until(lambda: flower.listening(self.ports[0]), 300), self.log("link")
        for i in range(2):
            self.command("flwr", "supernode", "register", str(self.keys.public(i)), "deploy")

    def node(self, i: int) -> None:
        """Start a SuperNode."""
        config = f"partition-id={i} num-partitions=2 state-dir='{self.folder / f'state{i}'}'"
        self.nodes[i] = self._start(
            f"node{i}", "flower-supernode", *self.keys.node(i), "--superlink", f"127.0.0.1:{self.ports[0]}",
            "--host", "127.0.0.1", "--port", str(self.ports[1 + i]), "--node-config", config,
        )  # fmt: skip

    def revive(self, i: int) -> None:
        """Start a SuperNode again until it is let in, which is once its last sign of life has been forgotten."""

        def stays() -> bool:
            self.node(i)
            return not flower.wait_until(lambda: self.nodes[i].poll() is not None, 15)

        assert flower.wait_until(stays, 300), self.log(f"node{i}")

    def kill(self, words: str, kind: str = "cmdline") -> int:
        """Kill every process of ours with this in its command line, or in its environment; how many there were."""
        killed = 0
        for pid in flower.marked(self.mark):
            with suppress(OSError):
                if words.encode() in Path(f"/proc/{pid}/{kind}").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        return killed

    def command(self, *words: str, seconds: float = 300) -> str:
        return flower.run(list(words), self._environment("command"), self.app, seconds)

    def begin(self, settings: str) -> None:
        """``flwr run``, which returns at once."""
        self.command("flwr", "run", ".", "deploy", "-c", settings)

    def states(self) -> list[str]:
        """Of the runs, the newest first."""
        listed = self.command("flwr", "list", "deploy", "--format", "json")
        return [run["status"] for run in json.loads(listed[listed.index("{") :])["runs"]]

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-6000:]

    def _environment(self, name: str) -> dict[str, str]:
        return flower.environment(self.folder / name, self.mark, self.ports[3])

    def _start(self, name: str, *words: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("a") as log:
            own = [str(flower.BIN / words[0]), *words[1:]]
            return subprocess.Popen(own, env=self._environment(name), stdout=log, stderr=log)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_nodes_and_the_server_are_killed_under_tls_and_the_run_goes_on(tmp_path: Path) -> None:
    deployed, out = Deployment(tmp_path), tmp_path / "out"
    settings = f"num-server-rounds={ROUNDS} round-timeout=40 start-epochs=5 alpha=0.0 out-dir='{out}'"

    def reached(number: int) -> bool:
        return flower.wait_until(lambda: (out / f"round-{number:05d}.safetensors").is_file(), 600)

    with flower.cleaned_up(deployed.mark):
        deployed.link()
        for i in range(2):
            deployed.node(i)
        deployed.begin(settings)
        assert reached(1), deployed.log("link") + deployed.log("node0")
        assert deployed.kill(f"FLWR_HOME={tmp_path / 'node1'}", "environ") > 1, "the node, and what it had started"
        deployed.revive(1)
        assert reached(3), deployed.log("link") + deployed.log("node1")
        assert deployed.kill("flwr-serverapp") > 0
        assert flower.wait_until(lambda: deployed.states()[0].startswith("finished"), 300), deployed.log("link")
        assert deployed.states()[0] != "finished:completed"
        deployed.begin(f"{settings} resume='{out}'")
        assert flower.wait_until(lambda: deployed.states()[0].startswith("finished"), 1200), deployed.log("link")
        assert deployed.states()[0] == "finished:completed", deployed.log("link")
    strategy = LLPFStrategy()
    strategy.resume(out)
    assert [row["round"] for row in strategy.rows] == list(range(1, ROUNDS + 1))
    assert [row["clients"] for row in strategy.rows][-3:] == [2, 2, 2], "the node that was started again takes part"
    assert (out / "rounds.png").is_file() and json.loads((out / "results.json").read_text())["clients"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_node_whose_key_is_not_registered_takes_no_part(tmp_path: Path) -> None:
    deployed = Deployment(tmp_path)
    with flower.cleaned_up(deployed.mark):
        deployed.link()
        deployed.command("flwr", "supernode", "list", "deploy")
        (tmp_path / "strangers").mkdir()
        stranger = flower_keys.made(tmp_path / "strangers" / "keys", 2)
        shutil.copy(stranger.folder / "node0", deployed.keys.folder / "node0")
        deployed.node(0)
        assert flower.wait_until(lambda: deployed.nodes[0].poll() is not None, 120), deployed.log("node0")
