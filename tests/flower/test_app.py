"""The example app: every strategy in this process, and (slow) a real simulation and a real deployment."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="the Flower adapter needs flwr: pip install 'llpf-plugin[flower]'")

import torch
from flwr.app import ArrayRecord
from helpers import flower_processes as flower
from helpers.flower_apps import grid

from llpf_flower import LLPFStrategy

CONFIG = {
    "strategy": "fedavg", "num-server-rounds": 3, "local-epochs": 1, "lr": 0.05, "alpha": 0.0, "seed": 0,
    "independent-starts": True, "start-epochs": 3, "out-dir": "", "resume": "", "round-timeout": 600,
}  # fmt: skip
ROUNDS = {"oneshot": 1}


NAMES = ["fedavg", "fedprox", "fedavgm", "llpf", "llpfm", "llpf-own", "llpf-merge", "gossip", "oneshot"]


@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(flower.APP))
    from digits_app.client_app import app
    from digits_app.model import Net
    from digits_app.server_app import evaluate_fn
    from digits_app.strategy import make_strategy

    torch.manual_seed(0)
    nodes = grid(app, 2, run_config={**CONFIG, "strategy": name})
    made = make_strategy(name)
    rounds = ROUNDS.get(name, 3)
    result = made.start(nodes, ArrayRecord(Net().state_dict()), rounds, evaluate_fn=evaluate_fn)
    accuracy = result.evaluate_metrics_serverapp[rounds]["accuracy"]
    # After three rounds from independent starts the baselines are still at the level of chance, or near it.
    assert accuracy > (0.5 if name in ("llpf-own", "oneshot") else 0.05)
    assert list(result.evaluate_metrics_clientapp) == list(range(1, rounds + 1))


def test_the_log_tells_what_clients_are_served_from_the_servers_model(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(flower.APP))
    from digits_app.server_app import show

    show({1: 0.845}, {0: 0.1, 1: 0.63})
    assert "Round 1: accuracy 0.845 as served to the clients" in caplog.text
    assert "Round 1: accuracy 0.630 of the server's model" in caplog.text and "Round 0" not in caplog.text


def test_an_unknown_strategy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(flower.APP))
    from digits_app.strategy import make_strategy

    with pytest.raises(ValueError, match="'fedsgd': it must be one of fedavg"):
        make_strategy("fedsgd")


def test_the_split_deals_every_image_to_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(flower.APP))
    from digits_app import dataset

    for alpha in (0.0, 1.0):
        sizes = [len(dataset.client_set(i, 5, alpha, seed=1)[1]) for i in range(5)]
        assert sum(sizes) == 1797 - dataset.TEST - dataset.SERVER


def copied_app(folder: Path) -> Path:
    """The app in a folder of its own: `flwr run` builds a bundle beside it."""
    return Path(shutil.copytree(flower.APP, folder / "app"))


def settings(out: Path) -> str:
    return f"num-server-rounds=3 start-epochs=5 alpha=0.0 out-dir='{out}'"


def results(out: Path) -> dict[str, dict[str, float]]:
    found = json.loads((out / "results.json").read_text())
    assert len(found["server"]) == 4 and len(found["clients"]) == 3
    return found


linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@pytest.mark.slow
@linux
@pytest.mark.skipif(find_spec("ray") is None, reason="simulations need Ray: pip install 'flwr[simulation]'")
def test_a_real_simulation(tmp_path: Path) -> None:
    (port,) = flower.free_ports(1)
    app, out, mark = copied_app(tmp_path), tmp_path / "out", f"simulation-{port}"
    env = flower.environment(tmp_path / "home", mark, port)
    federation = "num-supernodes=3 client-resources-num-cpus=1"
    with flower.cleaned_up(mark):
        words = ["flwr", "run", ".", "local", "--stream", "--federation-config", federation, "-c", settings(out)]
        text = flower.run(words, env, app, 1500)
        listed = flower.run(["flwr", "list", "local", "--format", "json"], env, app, 300)
    assert "finished:completed" in listed, text[-4000:]
    found = results(out)
    assert min(found["clients"].values()) > 0.5 and (out / "rounds.png").is_file()


@pytest.mark.slow
@linux
def test_a_real_deployment_with_two_supernodes(tmp_path: Path) -> None:
    ports = flower.free_ports(4)
    app, out, mark = copied_app(tmp_path), tmp_path / "out", f"deployment-{ports[0]}"
    command = tmp_path / "command"
    command.mkdir()
    text = f'[superlink]\ndefault = "deploy"\n\n[superlink.deploy]\naddress = "127.0.0.1:{ports[0]}"\ninsecure = true\n'
    (command / "config.toml").write_text(text)
    states = [tmp_path / f"state{i}" for i in range(2)]

    def start(name: str, *words: str) -> None:
        env = flower.environment(tmp_path / name, mark, ports[3])
        with (tmp_path / f"{name}.log").open("w") as log:
            subprocess.Popen([str(flower.BIN / words[0]), *words[1:]], env=env, stdout=log, stderr=log)

    with flower.cleaned_up(mark):
        start("link", "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(ports[0]),
              "--disable-runtime-dependency-installation")  # fmt: skip
        assert flower.wait_until(lambda: flower.listening(ports[0]), 300), (tmp_path / "link.log").read_text()
        for i in range(2):
            config = f"partition-id={i} num-partitions=2 state-dir='{states[i]}'"
            start(f"node{i}", "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{ports[0]}",
                  "--host", "127.0.0.1", "--port", str(ports[1 + i]), "--node-config", config)  # fmt: skip
        env = flower.environment(command, mark, ports[3])
        text = flower.run(["flwr", "run", ".", "deploy", "--stream", "-c", settings(out)], env, app, 1500)
        merging = settings(tmp_path / "merging") + " strategy='llpf-merge'"
        text += flower.run(["flwr", "run", ".", "deploy", "--stream", "-c", merging], env, app, 1500)
        gossip = settings(tmp_path / "gossip") + " strategy='gossip'"
        text += flower.run(["flwr", "run", ".", "deploy", "--stream", "-c", gossip], env, app, 1500)
        listed = flower.run(["flwr", "list", "deploy", "--format", "json"], env, app, 300)
    assert listed.count("finished:completed") == 3, text[-4000:] + (tmp_path / "link.log").read_text()[-4000:]
    assert min(results(out)["clients"].values()) > 0.5
    # Every message is a process of its own there: what a client keeps between rounds is in its folder.
    assert [[p.name for p in states[i].iterdir()] for i in range(2)] == [[f"client-{i}.safetensors"] for i in range(2)]
    strategy = LLPFStrategy()
    strategy.resume(tmp_path / "merging")
    assert [row["clients"] for row in strategy.rows] == [2, 2, 2]
